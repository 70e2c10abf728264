"""A merchant: a real Electrum wallet in a file, with its payjoin sessions, a directory and relays on loopback, and an
Electrum server that is a model. And the people who pay. All of it lives on Electrum's own event loop.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec

import pytest
from electrum import network as electrum_network
from electrum import util
from electrum.bitcoin import address_to_script
from electrum.invoices import Request
from electrum.transaction import Transaction
from electrum.wallet import Abstract_Wallet

from payjoin_plugin.app.offering import request_made_in_window
from payjoin_plugin.app.services import Services
from payjoin_plugin.app.sessions import WalletSessions
from payjoin_plugin.bip78.parameters import Parameters, to_query
from payjoin_plugin.bip78.psbt import Psbt
from payjoin_plugin.client import deadline
from payjoin_plugin.client.transport import Connections, HttpTransport
from payjoin_plugin.wire.uri import PjEndpoint, parse
from tests.bip78.payments import Money, Payment, payment
from tests.client.outlets import electrum_sessions
from tests.mailroom.mailroom import Mailroom
from tests.pair import Sender
from tests.wallet.servers import Chain, Network, Server
from tests.wallet.wallets import NAME, fund, make_wallet, plugin_storage, reopen, see_confirmed, see_in_mempool
from tests.world import World

P = ParamSpec("P")

COINS = (300_000, 400_000)
AMOUNT = 50_000
NOW_AND_THEN = 0.05
"""Real seconds."""
PATIENCE = 20
"""Real seconds for which something is waited for that must come."""


def on_electrums_loop(test: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    """Run a test where Electrum runs its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run_coroutine_threadsafe(test(*args, **kwargs), util.get_asyncio_loop()).result()

    return run


def wall_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what sets the clock so many seconds ahead. Whoever sleeps until a moment looks at it often."""
    wall, ahead = time.time, 0

    def set_ahead(seconds: int) -> None:
        nonlocal ahead
        ahead = seconds

    monkeypatch.setattr(time, "time", lambda: wall() + ahead)
    monkeypatch.setattr(deadline, "LONGEST_NAP", NOW_AND_THEN)
    return set_ahead


class OnlineNetwork(Network):
    """Electrum's connections, with what it does through them."""

    def __init__(self, chain: Chain) -> None:
        server = Server("main", chain)
        server.on_broadcast = lambda tx: self.broadcast_transaction(tx)  # noqa: PLW0108  tests put another one there
        super().__init__(server)
        self.chain = chain
        self.proxy = None
        self.is_proxy_tor = False
        self.broadcast: list[str] = []
        self.on_broadcast: Callable[[Transaction], object] = lambda _: None

    def is_connected(self) -> bool:
        return True

    async def get_transaction(self, txid: str) -> str:
        raw = self.chain.transaction(txid)
        assert isinstance(raw, str)
        return raw

    async def broadcast_transaction(self, tx: Transaction) -> None:
        self.broadcast.append(tx.txid())
        self.chain.add(tx)
        self.on_broadcast(tx)


class Synchronizer:
    """Of Electrum's two tasks that keep a wallet up to date, as much as the wallet looks at: it always is."""

    def __init__(self, interface: Any = None) -> None:
        self.interface = interface

    def is_up_to_date(self) -> bool:
        return True

    def reset_request_counters(self) -> None:
        """Nothing is counted."""

    def add(self, address: str) -> None:
        """Every address is known."""

    def remove_spv_proof_for_tx(self, txid: str) -> None:
        """No proof is kept."""

    async def stop(self) -> None:
        """Nothing runs."""


@dataclass
class Shop:
    """What outlives a merchant's program: the world outside, and the people who pay."""

    folder: Path
    mailroom: Mailroom
    connections: Connections
    chain: Chain = field(default_factory=Chain)

    def sender(
        self,
        uri: str,
        amount_sat: int = AMOUNT,
        *,
        made: Payment | None = None,
        psbt: Psbt | None = None,
        parameters: Parameters | None = None,
    ) -> Sender:
        """Somebody who is about to pay a request. The Electrum server knows their coins.

        `psbt`: what is sent instead of the payment's original.
        """
        made = made or self.payment(parse(uri).address, amount_sat)
        world = World(self.mailroom.directory.directory, self.mailroom.directory_url, self.mailroom.relay_urls)
        sender = Sender(world, endpoint_of(uri), made, query=to_query(parameters or Parameters(version=2)), psbt=psbt)
        sender.carrier = HttpTransport(self.connections)
        return sender

    def same_coin(self, sender: Sender, uri: str) -> Payment:
        """A payment of another request, out of the coins of a payment that was made already."""
        script: bytes = address_to_script(parse(uri).address)
        return replace(sender.made, outputs=((script, AMOUNT), *sender.made.outputs[1:]))

    def payment(self, address: str, amount_sat: int = AMOUNT, *kinds: str, purse: str = "") -> Payment:
        """A payment out of coins, one of each kind, that the Electrum server knows; the same each time, of a purse."""
        made = payment(*kinds, amount=amount_sat)
        if purse:
            made = replace(made, coins=tuple(Money.of(coin.owner, coin.value, name=purse) for coin in made.coins))
        script: bytes = address_to_script(address)
        made = replace(made, outputs=((script, amount_sat), *made.outputs[1:]), locktime=0)
        for coin in made.coins:
            self.chain.add(Transaction(coin.previous), height=150)
        return made


class WalletLock:
    """Electrum's lock of a wallet, which it takes before that of the file: the other way round two threads block."""

    def __init__(self, wallet: Abstract_Wallet) -> None:
        self._inner, self._of_file = wallet.lock, wallet.db.lock
        self.taken_second = 0

    def __enter__(self) -> None:
        if self._of_file._is_owned() and not self._inner._is_owned():
            self.taken_second += 1
        self._inner.acquire()

    def __exit__(self, *_: object) -> None:
        self._inner.release()


class Merchant:
    """One run of a merchant's program."""

    def __init__(self, shop: Shop, wallet: Abstract_Wallet) -> None:
        self.shop, self.wallet = shop, wallet
        self._lock = wallet.lock = wallet.adb.lock = WalletLock(wallet)
        self.network = OnlineNetwork(shop.chain)
        self.network.on_broadcast = lambda tx: see_in_mempool(wallet, tx)
        wallet.network = self.network
        wallet.adb.synchronizer = wallet.adb.verifier = Synchronizer(self.network.interface)
        wallet._up_to_date = True
        electrum_network._INSTANCE = self.network
        self.is_closed = False
        self.refusals = 0
        """How often a full disk refused."""
        self._moved = asyncio.Event()
        self.services = Services(wallet.config, self._keys_changed)
        self.sessions = WalletSessions(
            wallet, plugin_storage(wallet), self.services, changed=self._changed, closed=lambda: None
        )

    async def open(self, *, with_keys: bool = True) -> None:
        """Start, as the plugin does."""
        self.sessions.start()
        if with_keys:
            self.services.start()
            await self.until(lambda: self.services.keeper.current() is not None)

    async def close(self) -> None:
        """Stop, and save nothing."""
        if not self.is_closed:
            self.is_closed = True
            await self.sessions.stop()
            await self.services.stop()
            assert not self._lock.taken_second

    async def crash_and_restart(self) -> Merchant:
        """Lose all that is not on disk, and open the file again."""
        again = Merchant(self.shop, reopen(self.wallet))  # as the disk is now
        self.sessions.store.close()
        await self.close()
        await again.open()
        return again

    # Requests

    def request(self, amount_sat: int = AMOUNT, *, wanted: bool = True, exp: int = 3600) -> Request:
        """Make a payment request in the receive tab."""
        with request_made_in_window(wanted=wanted):
            request_id = self.wallet.create_request(amount_sat, "coffee", exp, self.wallet.create_new_address())
        request: Request = self.wallet.get_request(request_id)
        return request

    def uri(self, request: Request) -> str:
        uri: str = self.wallet.get_request_URI(request)
        return uri

    def session_of(self, request: Request) -> str:
        session_id = self.sessions.store.session_of_request(request.get_id())
        assert session_id is not None
        return session_id

    def offer(self, amount_sat: int = AMOUNT, **details: Any) -> tuple[str, str]:
        """Make a request that offers payjoin; return its session and its URI."""
        request = self.request(amount_sat, **details)
        uri = self.uri(request)
        assert "pj=" in uri
        return self.session_of(request), uri

    # What is seen

    async def asked(self, **details: Any) -> tuple[str, Sender, asyncio.Future[Any]]:
        """Bring a session to where it holds an original and asks the user: its ID, its sender, and their task."""
        self.wallet.config.PAYJOIN_ASK_BEFORE_CONTRIBUTING = True
        session_id, uri = self.offer(**details)
        sender = self.shop.sender(uri)
        paying = asyncio.ensure_future(sender.run())
        await self.until_row(session_id, reason="needs_approval")
        return session_id, sender, paying

    async def answered(self) -> tuple[str, Sender]:
        """Bring a session to where its sender has the answer."""
        session_id, uri = self.offer()
        sender = self.shop.sender(uri)
        await sender.run()
        await self.until_row(session_id, stage="waiting_for_broadcast")
        return session_id, sender

    def row(self, session_id: str) -> dict[str, Any]:
        return self.sessions.report.row(session_id)

    def events(self, session_id: str) -> list[str]:
        return [event["event"] for event in self.sessions.report.row_with_events(session_id)["events"]]

    def on_disk(self) -> dict[str, Any]:
        """The wallet file (which has no password) as it is now."""
        content: dict[str, Any] = json.loads(reopen(self.wallet).db.dump())
        return content

    def logs_on_disk(self) -> dict[str, Any]:
        logs: dict[str, Any] = self.on_disk()["plugin_data"][NAME].get("sessions", {})
        return logs

    def events_on_disk(self, session_id: str) -> list[str]:
        return [record["event"] for record in self.logs_on_disk()[session_id]["events"]]

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """The file cannot be written."""

        def refuse() -> None:
            self.refusals += 1
            self._changed()
            raise OSError(errno.ENOSPC, "No space left on device")

        self.wallet.save_db = refuse
        try:
            yield
        finally:
            del self.wallet.save_db

    def sees(self, tx: Transaction, *, confirmed: bool = False) -> str:
        """Let the wallet hear of a transaction from its server."""
        self.shop.chain.add(tx, height=180 if confirmed else 0)
        return see_confirmed(self.wallet, tx, height=180) if confirmed else see_in_mempool(self.wallet, tx)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` holds; it is looked at whenever something changed, and now and then: a disk tells
        nobody."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._moved.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._moved.wait(), NOW_AND_THEN)
        except TimeoutError:
            raise AssertionError(f"it did not come about: {[self.row(one) for one in self._all()]}") from None

    async def until_row(self, session_id: str, **expected: object) -> dict[str, Any]:
        """Return a session's row once it is as expected."""
        await self.until(lambda: expected.items() <= self.row(session_id).items())
        return self.row(session_id)

    @property
    def batches(self) -> int:
        """How often the Electrum server was asked for somebody's coins."""
        return self.sessions.receiver_wallet._chain.batches

    def _all(self) -> list[str]:
        return self.sessions.store.session_ids()

    def _changed(self) -> None:
        util.get_asyncio_loop().call_soon_threadsafe(self._moved.set)

    def _keys_changed(self) -> None:
        self._changed()
        asyncio.get_running_loop().create_task(self.sessions.offer_late())


@asynccontextmanager
async def shop(folder: Path, *coins: int, with_keys: bool = True, **details: Any) -> AsyncIterator[Merchant]:
    """A merchant with confirmed coins, who is open."""
    before = electrum_network._INSTANCE
    connections = Connections(electrum_sessions())
    async with Mailroom(relays=2) as mailroom:
        wallet = make_wallet(folder, on_disk=True, **details)
        fund(wallet, *(coins or COINS), address=wallet.get_receiving_addresses()[-1])
        wallet.config.PAYJOIN_DIRECTORIES = [mailroom.directory_url]
        wallet.config.PAYJOIN_OHTTP_RELAYS = mailroom.relay_urls
        wallet.save_db()
        merchant = Merchant(Shop(folder, mailroom, connections), wallet)
        try:
            await merchant.open(with_keys=with_keys)
            yield merchant
        finally:
            await merchant.close()
            await connections.close()
            electrum_network._INSTANCE = before


def endpoint_of(uri: str) -> PjEndpoint:
    endpoint = parse(uri).endpoint
    assert isinstance(endpoint, PjEndpoint)
    return endpoint
