"""What happens to a merchant at random: customers, the network, the owner, Electrum with us and without."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from electrum.bitcoin import address_to_script
from electrum.interface import TxBroadcastServerReturnedError
from electrum.transaction import Transaction
from electrum.util import TxMinedInfo, trigger_callback

from payjoin_plugin.app.offering import request_made_in_window
from payjoin_plugin.bip78.parameters import Parameters
from payjoin_plugin.errors import UserError
from payjoin_plugin.session.events import ProposalReceived
from payjoin_plugin.wallet.watching import script_of
from tests.app.books import DEEP, Ask, Held, Model
from tests.app.test_settling import elsewhere
from tests.merchant import AMOUNT, Merchant
from tests.wallet.servers import HEIGHT
from tests.wallet.wallets import foreign_outpoint, reopen, transaction

TRIFLE, HOUR = 1_000, 3600


class History:
    """What happens to a merchant. Each action says what it does; where it is not possible it does nothing."""

    def __init__(self, merchant: Merchant, seed: int, set_ahead: Callable[[int], None]) -> None:
        self.random, self.set_ahead, self.ahead, self.is_here = Random(seed), set_ahead, 0, True
        self.steps: list[str] = []
        self.faults: list[str] = []
        self.outcomes: dict[str, str] = {}
        self.merchant, self.wallet, self.model = merchant, merchant.wallet, Model(merchant.shop.chain)
        for txid in self.wallet.db.list_transactions():
            self.model.ever[txid] = self.wallet.db.get_transaction(txid)
            merchant.shop.chain.add(self.model.ever[txid], height=150)
        self.wallet.config.PAYJOIN_ASK_BEFORE_CONTRIBUTING = True
        self.adopt(merchant)
        self.sync()

    async def step(self) -> None:
        often: dict[Callable[[], Any], float] = {
            self.asks: 5, self.posts: 50, self.pays_otherwise: 6, self.pays: 3, self.drops: 3, self.confirms: 2,
            self.undoes: 1.5, self.deletes: 1, self.waits: 4,
        }  # fmt: skip
        if self.is_here:
            switches = 0.5 if self.model.by_itself else 4
            often |= {self.approves: 4, self.aborts: 0.7, self.switches: switches, self.restarts: 2.5}
        before = len(self.steps)
        while len(self.steps) == before:
            (action,) = self.random.choices(list(often), list(often.values()))
            if asyncio.iscoroutine(doing := action()):
                await doing

    def says(self, step: str) -> None:
        self.steps.append(step if self.is_here else f"({step})")

    def pick(self, some: list[Any]) -> Any:
        return self.random.choice(some) if some else None

    # Customers

    def asks(self) -> None:
        wallet, name, held = self.wallet, f"r{len(self.model.asks)}", {one.ask.address for one in self.model.kept()}
        is_given = not wallet.is_deterministic() and self.random.random() < 0.15
        address = self.pick(wallet.get_receiving_addresses()) if is_given else wallet.get_unused_address()
        if address is None:
            address = wallet.create_new_address() if wallet.is_deterministic() else wallet.get_receiving_address()
        is_fresh, payjoin, hours = self.is_here and not is_given, self.random.random() < 0.9, self.pick([1, 3])
        self.says(f"{name} at {address[-4:]}{' given' * is_given}{' plain' * (not payjoin)}, {hours} h")
        if is_fresh and set(wallet.get_receiving_addresses()) - held:
            assert address not in held, "the address of a kept original goes to another customer"
        with request_made_in_window(wanted=payjoin):
            request_id = wallet.create_request(AMOUNT + len(self.model.asks), "", hours * HOUR, address)
        uri = wallet.get_request_URI(request := wallet.get_request(request_id))
        for older in self.model.asks:
            if older.address == address and older.wanted and not older.has_expired():
                older.wanted = None  # its offer ends
        session_id = self.merchant.session_of(request) if "pj=" in uri else ""
        self.model.asks.append(Ask(name, request, uri, session_id, is_fresh))

    async def posts(self) -> None:
        taken = {*self.outcomes, *(one.ask.session_id for one in self.model.held), ""}
        live = [one for one in self.model.asks if one.is_live and not one.has_expired()]
        if (ask := self.pick([one for one in live if one.session_id not in taken])) is None:
            return
        name, more, is_odd = f"o{len(self.model.held)}", self.pick([0, 0, 1, 7_000]), self.random.random() < 0.15
        self.says(f"{name} for {ask.name}, {more} more{', odd' * is_odd}")
        made = self.merchant.shop.payment(ask.address, ask.sat + more, purse=name)
        if (other := self.pick([None, *(one for one in live if one.address != ask.address)])) is not None:
            (to_us, (change, change_sat)), sat = made.outputs, self.pick([TRIFLE, other.sat])
            made = replace(made, outputs=(to_us, (address_to_script(other.address), sat), (change, change_sat - sat)))
            self.steps[-1] += f", and {sat} for {other.name}"
        sender = self.merchant.shop.sender(ask.uri, made=made, parameters=Parameters(version=3 if is_odd else 2))
        self.model.ever |= {coin.outpoint[:64]: Transaction(coin.previous) for coin in made.coins}
        self.model.held.append(held := Held(name, ask, sender, is_odd=is_odd))
        self.model.books[held.tx.txid()] = ask, name
        if self.is_here:
            await self.rests()

    def pays_otherwise(self) -> None:
        if (ask := self.pick([one.ask for one in self.model.kept()] or self.model.asks)) is not None:
            sat = self.pick([ask.sat, ask.sat, ask.sat + 1, AMOUNT // 2])
            tx = transaction([foreign_outpoint(f"coin {len(self.steps)}")], [(ask.address, sat)])
            self.puts(tx, ask, f"{sat} of other coins for {ask.name}")

    def pays(self) -> None:
        if (held := self.pick(self.model.kept())) is not None:
            original, payjoin = (held.tx, held.ask, held.name), (held.payjoin, held.ask, f"payjoin of {held.name}")
            away = elsewhere(held.sender), None, f"double spend of {held.name}"
            self.puts(*self.pick([*[payjoin] * 3 * (held.payjoin is not None), original, original, away]))

    # The network

    def puts(self, tx: Transaction, ask: Ask | None, name: str) -> None:
        self.model.books[tx.txid()] = ask, name
        self.says(f"{name} is {'broadcast' if self.model.put(tx) else 'refused'}")
        self.sync()

    def drops(self) -> None:
        if (txid := self.pick([txid for txid, (_, at) in self.model.txs.items() if at == 0])) is not None:
            self.says(f"{self.model.books[txid][1]} is dropped")
            self.model.drop(txid)
            self.sync()

    def confirms(self) -> None:
        some = [txid for txid, (_, at) in self.model.txs.items() if at == 0][: self.random.randint(1, 3)]
        more = self.pick([0, 0, 0, DEEP])
        if some or more:
            self.says(f"blocks: {[self.model.books[txid][1] for txid in some]} and {more} more")
            for txid in some:
                self.model.height_now += 1
                self.model.txs[txid] = self.model.ever[txid], self.model.height_now
            self.model.height_now += more
            self.sync()

    def undoes(self) -> None:
        above = max(self.model.height_now - self.random.randint(1, 3), HEIGHT)
        if some := [txid for txid, (_, at) in self.model.txs.items() if at > above]:
            self.says(f"undone: {', '.join(self.model.books[txid][1] for txid in some)}")
            self.model.txs.update({txid: (self.model.ever[txid], 0) for txid in some})
            self.sync()

    async def waits(self) -> None:
        self.says(f"{(hours := self.pick([2, 4]))} hours pass")
        self.ahead += hours * HOUR
        self.set_ahead(self.ahead)
        if self.is_here:
            await self.merchant.services.keeper.refresh()  # without the directory's keys there are no offers

    def sync(self) -> None:
        """Let the wallet hear all that the server knows, as Electrum does."""
        adb, chain = self.wallet.adb, self.merchant.shop.chain
        self.wallet.db.put("stored_height", self.model.height_now)
        for address in self.wallet.get_addresses():
            history = [(str(one["tx_hash"]), one["height"]) for one in chain.history(script_of(address)[1])]
            if dict(history) != adb.get_address_history(address):
                adb.receive_history_callback(address, history, {})
                for txid in [txid for txid, _ in history if self.wallet.db.get_transaction(txid) is None]:
                    adb.receive_tx_callback(chain.txs[txid][0])
        for txid, at in list(adb.unverified_tx.items()):
            adb.add_verified_tx(txid, TxMinedInfo(_height=at, timestamp=1, txpos=1, header_hash="00" * 32))
        if (session := self.merchant.network.interfaces["main"].session) is not None:
            session.notify()
        self.model.note()
        trigger_callback("blockchain_updated")
        trigger_callback("wallet_updated", self.wallet)

    # The owner

    async def approves(self) -> None:
        asked = [one for one in self.model.held if self.row(one.ask)["reason"] == "needs_approval"]
        if (held := self.pick(asked)) is not None:
            self.says(f"{held.name} is approved")
            self.merchant.sessions.answer(held.ask.session_id, password=None)
            await self.merchant.until(lambda: self.row(held.ask)["reason"] != "needs_approval")
            await self.rests()

    async def aborts(self) -> None:
        if (ask := self.pick([one for one in self.model.asks if one.session_id])) is not None:
            self.says(f"{ask.name} is aborted")
            try:
                await self.merchant.sessions.abort(ask.session_id)
                ask.wanted = False
            except UserError:
                self.steps[-1] += ", too late"

    def deletes(self) -> None:
        live, is_clear = [one for one in self.model.asks if one.is_live], self.random.random() < 0.15
        for ask in live if is_clear else self.random.sample(live, min(len(live), 1)):
            self.says(f"{ask.name} is deleted{' with all' * is_clear}")
            ask.is_live, is_paid = False, self.model.came_to(ask) >= ask.sat
            if not self.is_here:
                ask.left_paid = is_paid
            elif not is_paid:
                ask.wanted = False
            if not is_clear:
                self.wallet.delete_request(ask.request.get_id())
        if is_clear:
            self.wallet.clear_requests()

    def switches(self) -> None:
        self.wallet.config.PAYJOIN_BROADCAST_ORIGINAL_BY_ITSELF = self.model.by_itself = not self.model.by_itself
        self.says(f"by itself: {self.model.by_itself}")

    # Electrum

    async def restarts(self) -> None:
        """Electrum ends as its disk is, perhaps is there without us for a while, and starts with us."""
        self.says(how := self.pick(["crash", "restart", "not here", "removed"]))
        before, sessions = self.statuses(), self.merchant.sessions
        if how == "crash":
            on_disk = [one for one in self.outcomes if self.merchant.events_on_disk(one)[-1] == "closed"]
            self.outcomes = {one: self.outcomes[one] for one in on_disk}
        else:
            self.wallet.save_db()
        if how == "removed":
            await self.merchant.close()
            sessions.handover.hand_over()
            sessions.store.flush_now()
        self.reopens()
        sessions.store.close()
        await self.merchant.close()
        if how in ("not here", "removed"):
            await self.goes_on_without_us()
        self.adopt(Merchant(self.merchant.shop, self.wallet))
        self.wallet.is_up_to_date = lambda: False  # the news come later
        await self.merchant.open()
        del self.wallet.is_up_to_date
        self.sync()
        await self.rests()
        assert how != "restart" or self.statuses() == before, "a restart changed a session"

    async def goes_on_without_us(self) -> None:
        self.is_here = False
        for _ in range(self.random.randrange(5)):
            await self.step()
        self.wallet.save_db()
        self.reopens()
        self.is_here = True
        for ask in [one for one in self.model.asks if one.left_paid is not None]:
            if ask.wanted and not ask.is_live:
                is_sure = ask.left_paid == (self.model.came_to(ask) >= ask.sat) and not self.model.others_at(ask)
                ask.wanted = ask.left_paid if is_sure else None
            ask.left_paid = None
        self.says("here again")

    def reopens(self) -> None:
        self.wallet = reopen(self.wallet)
        for ask in self.model.asks:  # Electrum writes that it has cleared them with something else only
            ask.is_live = self.wallet.get_request(ask.request.get_id()) is not None

    def adopt(self, merchant: Merchant) -> None:
        async def proof(_txid: str, height: int) -> dict[str, Any]:
            return {"merkle": [], "pos": 0, "block_height": height}

        self.merchant, self.wallet = merchant, merchant.wallet
        merchant.network.blockchain = lambda: self.model  # type: ignore[method-assign]
        merchant.network.get_merkle_for_transaction = proof  # type: ignore[attr-defined]
        merchant.network.broadcast_transaction = self.goes_out  # type: ignore[method-assign]

    async def goes_out(self, tx: Transaction) -> None:
        """We broadcast an original by ourselves."""
        (held,) = [one for one in self.model.held if one.tx.txid() == tx.txid()]
        self.steps.append(f"[{held.name} goes out]")
        if why := [*self.model.why_not(held), *["it is out"] * (tx.txid() in self.model.txs)]:
            self.faults.append(f"{held.name} goes out, but {why}")
        if not self.model.put(tx):
            raise TxBroadcastServerReturnedError("txn-mempool-conflict")
        self.sync()

    async def rests(self) -> None:
        """Wait until everything has come that comes, and waits for somebody."""
        await self.merchant.until(lambda: all(self.is_at_rest(one) for one in self.model.held))
        for held in self.model.held:
            row, state = self.row(held.ask), held.sender.session.state
            if held.has_come is None:
                held.has_come = row["status"] == "failed" if held.is_odd else row["reason"] == "needs_approval"
            if held.payjoin is None and isinstance(getattr(state, "outcome", None), ProposalReceived):
                held.payjoin = held.sender.payjoin()

    def is_at_rest(self, held: Held) -> bool:
        row = self.row(held.ask)
        is_answered = row["stage"] == "waiting_for_broadcast" and held.paying.done()
        return (
            row["status"] != "active" or is_answered or row["reason"] in ("needs_approval", "no_coin", "double_spend")
        )

    def row(self, ask: Ask) -> dict[str, Any]:
        return self.merchant.row(ask.session_id)

    def statuses(self) -> dict[str, str]:
        return {one.session_id: self.row(one)["status"] for one in self.model.asks if one.session_id}
