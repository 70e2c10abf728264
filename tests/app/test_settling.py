"""What becomes of the senders' own payments, and of sessions whose sender's coins went elsewhere, in a real wallet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from electrum.bitcoin import address_to_script
from electrum.interface import TxBroadcastHashMismatch, TxBroadcastServerReturnedError, TxBroadcastUnknownError
from electrum.network import UntrustedServerReturnedError
from electrum.transaction import Transaction
from electrum.util import trigger_callback

from payjoin_plugin.app.settling import LONGEST_REFUSED
from payjoin_plugin.app.view import view_of
from payjoin_plugin.bip78.contribution import Coin
from payjoin_plugin.bip78.original import ChainFacts, Original
from payjoin_plugin.bip78.parameters import Parameters
from payjoin_plugin.client import deadline
from payjoin_plugin.client.pace import Backoff
from payjoin_plugin.errors import Unreachable, UserError
from payjoin_plugin.session.status import Waiting
from payjoin_plugin.wallet.kept import ORIGINALS_KEY
from payjoin_plugin.wire.uri import parse
from tests.bip78.payments import ALICE
from tests.merchant import AMOUNT, Merchant, on_electrums_loop, shop
from tests.pair import Sender
from tests.wallet.servers import Blockchain
from tests.wallet.wallets import HEIGHT, foreign_outpoint, reopen, see_confirmed, transaction

BLOCK = 180

SOON = 2
"""Real seconds until a request expires that is to."""


class BlockOf(Blockchain):
    """A chain in which one block holds nothing but one transaction."""

    def __init__(self, txid: str, height: int) -> None:
        self.txid, self.at = txid, height

    def read_header(self, height: int) -> dict[str, Any] | None:
        header: dict[str, Any] | None = super().read_header(height)
        return header and (header | {"merkle_root": self.txid} if height == self.at else header)


def elsewhere(sender: Sender) -> Transaction:
    """A transaction of the sender's that spends the same coins and does not pay us."""
    return replace(sender.made, outputs=((ALICE.script, 140_000),)).transaction()


def hear(
    merchant: Merchant, tx: Transaction, *, confirmed: bool = False, proved: bool = True, height: int = BLOCK
) -> None:
    """Let the Electrum server know of a transaction that is not the wallet's, and tell who watches."""

    async def proof(_txid: str, height: int) -> dict[str, Any]:
        return {"merkle": [], "pos": 0, "block_height": height}

    async def no_proof(_txid: str, _height: int) -> dict[str, Any]:
        raise UntrustedServerReturnedError(original_exception=Exception("not in block"))

    merchant.network.get_merkle_for_transaction = proof if proved else no_proof  # type: ignore[attr-defined]
    merchant.network.blockchain = lambda: BlockOf(tx.txid(), height)  # type: ignore[method-assign]
    merchant.shop.chain.add(tx, height=height if confirmed else 0)
    session = merchant.network.interfaces["main"].session
    assert session is not None
    session.notify()


async def hold(merchant: Merchant, **details: Any) -> tuple[str, Sender, asyncio.Future[Any]]:
    """Bring a session to where it holds an original and waits for the user."""
    merchant.wallet.config.PAYJOIN_ASK_BEFORE_CONTRIBUTING = True
    session_id, uri = merchant.offer(**details)
    sender = merchant.shop.sender(uri, made=merchant.shop.payment(parse(uri).address, purse=session_id))
    paying = asyncio.ensure_future(sender.run())
    await merchant.until_row(session_id, reason="needs_approval")
    return session_id, sender, paying


def kept(merchant: Merchant) -> set[str]:
    return {one.txid for one in merchant.sessions.store.kept.all()}


# The sender's coins went elsewhere


@on_electrums_loop
async def test_a_double_spend_in_a_block_ends_the_session_and_the_original_is_money_no_longer(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        other = elsewhere(sender)
        hear(merchant, other)
        await merchant.until_row(session_id, reason="double_spend")
        assert kept(merchant) == {sender.made.transaction().txid()}
        hear(merchant, other, confirmed=True)
        await merchant.until_row(session_id, status="failed")
        assert kept(merchant) == set()
        paying.cancel()


@on_electrums_loop
async def test_a_block_that_the_chain_does_not_prove_ends_nothing(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        hear(merchant, elsewhere(sender), confirmed=True, proved=False)
        await merchant.until_row(session_id, reason="double_spend")
        assert merchant.row(session_id)["status"] == "active"
        assert kept(merchant) == {sender.made.transaction().txid()}
        paying.cancel()


@on_electrums_loop
async def test_how_deep_a_double_spend_is_the_proof_says_and_not_the_server(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:

        async def proof(_txid: str, _height: int) -> dict[str, Any]:
            return {"merkle": [], "pos": 0, "block_height": HEIGHT}

        session_id, sender, paying = await hold(merchant)
        hear(merchant, elsewhere(sender), confirmed=True, height=HEIGHT)
        merchant.network.get_merkle_for_transaction = proof  # type: ignore[attr-defined]
        merchant.shop.chain.add(elsewhere(sender), height=BLOCK)
        await merchant.until_row(session_id, status="failed")
        assert kept(merchant) == {sender.made.transaction().txid()}
        paying.cancel()


@on_electrums_loop
async def test_a_double_spend_that_the_mempool_forgets_alarms_nobody_any_more(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        other = elsewhere(sender)
        hear(merchant, other)
        await merchant.until_row(session_id, reason="double_spend")
        del merchant.shop.chain.txs[other.txid()]
        session = merchant.network.interfaces["main"].session
        assert session is not None
        session.notify()
        await merchant.until_row(session_id, reason="needs_approval")
        assert merchant.sessions.double_spends.seen == set()
        paying.cancel()


@on_electrums_loop
async def test_a_double_spend_is_heard_of_after_the_electrum_server_has_said_nonsense(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        session = merchant.network.interfaces["main"].session
        assert session is not None
        await merchant.until(lambda: any(session.queues.values()))  # the coins are watched
        before = merchant.batches
        session.answers["blockchain.scripthash.get_history"] = [{"tx_hash": "ü" * 64, "height": 5}]
        for scripthash, queues in session.queues.items():
            for queue in queues:
                queue.put_nowait([scripthash, "changed"])
        await merchant.until(lambda: merchant.batches > before)
        session.answers.clear()
        hear(merchant, elsewhere(sender))
        await merchant.until_row(session_id, reason="double_spend")
        paying.cancel()


@on_electrums_loop
async def test_nonsense_of_the_electrum_server_stops_no_session(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session, before = merchant.network.interfaces["main"].session, merchant.batches
        assert session is not None
        session.answers["blockchain.scripthash.get_history"] = [{"tx_hash": "ü" * 64, "height": 5}]
        session_id, uri = merchant.offer()
        sender = merchant.shop.sender(uri)
        paying = asyncio.ensure_future(sender.run())
        await merchant.until(lambda: merchant.batches > before)
        session.answers.clear()
        await paying
        await merchant.until_row(session_id, stage="waiting_for_broadcast")


@on_electrums_loop
async def test_a_payment_that_is_due_and_double_spent_says_why_it_does_not_go_out(
    tmp_path: Path, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        hear(merchant, elsewhere(sender))
        await merchant.until_row(session_id, reason="double_spend")
        set_ahead(7200)
        await merchant.until_row(session_id, status="expired", held_back="Another transaction spends its coins.")
        assert merchant.network.broadcast == []
        paying.cancel()


@on_electrums_loop
async def test_the_original_itself_is_no_double_spend(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        before = merchant.batches
        hear(merchant, sender.made.transaction())
        await merchant.until(lambda: merchant.batches > before)
        for _ in range(20):  # let the answer be heard
            await asyncio.sleep(0)
        assert merchant.sessions.double_spends.seen == set()
        assert merchant.row(session_id)["reason"] == "needs_approval"
        paying.cancel()


@on_electrums_loop
async def test_at_expiry_a_double_spend_keeps_the_original_back_until_it_is_gone(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant, exp=2)
        other = elsewhere(sender)
        hear(merchant, other)
        await merchant.until_row(session_id, status="expired", reason="double_spend")
        assert merchant.network.broadcast == []
        del merchant.shop.chain.txs[other.txid()]
        await merchant.until_row(session_id, status="paid_without_payjoin")
        assert merchant.network.broadcast == [sender.made.transaction().txid()]
        paying.cancel()


@on_electrums_loop
async def test_a_double_spend_after_the_answer_is_seen_when_the_wallet_opens_again(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        await merchant.sessions.store.flush()
        merchant.shop.chain.add(elsewhere(sender))
        again = await merchant.crash_and_restart()
        await again.until_row(session_id, stage="waiting_for_broadcast", reason="double_spend")
        await again.close()


# The original is refused


@pytest.mark.parametrize(
    "parameters", [Parameters(version=3), Parameters(version=2, min_fee_rate=12_500)], ids=["version", "minimum fee"]
)
@on_electrums_loop
async def test_a_payment_that_gets_no_payjoin_is_broadcast(tmp_path: Path, parameters: Parameters) -> None:
    async with shop(tmp_path) as merchant:
        session_id, uri = merchant.offer()
        sender = merchant.shop.sender(uri, parameters=parameters)
        await sender.run()
        await merchant.until_row(session_id, status="failed")
        txid = sender.made.transaction().txid()
        await merchant.until(lambda: merchant.network.broadcast == [txid])
        assert merchant.row(session_id)["original_txid"] == txid
        assert sender.error is not None


@on_electrums_loop
async def test_a_double_spend_whose_block_is_undone_is_forgotten_with_the_next_block(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        other = elsewhere(sender)
        hear(merchant, other, confirmed=True, height=merchant.wallet.adb.get_local_height())
        await merchant.until_row(session_id, status="failed")
        await merchant.until(lambda: not view_of(merchant.sessions, session_id).can_broadcast)
        trigger_callback("blockchain_updated")
        await merchant.until(lambda: session_id in merchant.sessions.settling.tasks)
        del merchant.shop.chain.txs[other.txid()]
        trigger_callback("blockchain_updated")
        await merchant.until(lambda: view_of(merchant.sessions, session_id).can_broadcast)
        paying.cancel()


@on_electrums_loop
async def test_a_payment_of_two_requests_is_not_broadcast_unasked_where_one_is_paid_otherwise(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        merchant.wallet.config.PAYJOIN_ASK_BEFORE_CONTRIBUTING = True
        (first, first_uri), (second, second_uri) = merchant.offer(), merchant.offer(exp=2)
        made = merchant.shop.payment(parse(second_uri).address)
        (paid, (change, left)), script = made.outputs, address_to_script(parse(first_uri).address)
        made = replace(made, outputs=(paid, (script, AMOUNT), (change, left - AMOUNT)))
        paying = [asyncio.ensure_future(merchant.shop.sender(uri, made=made).run()) for uri in (first_uri, second_uri)]
        for session_id in (first, second):
            await merchant.until_row(session_id, reason="needs_approval")
        merchant.sees(transaction([foreign_outpoint("other")], [(parse(first_uri).address, AMOUNT)]))
        await merchant.until_row(first, status="paid_without_payjoin")
        await merchant.until_row(second, status="expired")
        await asyncio.gather(*merchant.sessions.live._tasks.values())
        assert merchant.network.broadcast == []
        for task in paying:
            task.cancel()


# Broadcasting by hand


@on_electrums_loop
async def test_an_original_that_is_out_is_not_broadcast_again_and_that_is_no_error(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        txid = sender.made.transaction().txid()
        assert await merchant.sessions.broadcast_original(session_id) == txid
        await merchant.until_row(session_id, status="paid_without_payjoin")
        assert await merchant.sessions.broadcast_original(session_id) == txid
        assert merchant.network.broadcast == [txid]
        paying.cancel()


@on_electrums_loop
async def test_an_original_does_not_get_in_the_way_of_its_payjoin(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        merchant.shop.chain.add(sender.payjoin())  # the server has it, and the wallet has not heard of it
        with pytest.raises(UserError, match="payjoin is on its way"):
            await merchant.sessions.broadcast_original(session_id)
        assert merchant.network.broadcast == []


@on_electrums_loop
async def test_an_original_whose_coins_are_gone_for_good_is_not_broadcast(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        hear(merchant, elsewhere(sender), confirmed=True)
        await merchant.until_row(session_id, status="failed")
        with pytest.raises(UserError, match="spent otherwise"):
            await merchant.sessions.broadcast_original(session_id)
        paying.cancel()


@on_electrums_loop
async def test_an_original_is_broadcast_where_the_block_that_spent_its_coins_was_undone_later(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        other = elsewhere(sender)
        hear(merchant, other, confirmed=True)
        await merchant.until_row(session_id, status="failed")
        assert kept(merchant) == set()
        del merchant.shop.chain.txs[other.txid()]
        txid = sender.made.transaction().txid()
        assert await merchant.sessions.broadcast_original(session_id) == txid
        assert merchant.network.broadcast == [txid]
        paying.cancel()


@on_electrums_loop
async def test_what_the_network_says_to_an_original_is_shown(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:

        async def refuse(_tx: Transaction) -> None:
            raise TxBroadcastServerReturnedError("min relay fee not met")

        merchant.network.broadcast_transaction = refuse  # type: ignore[method-assign,assignment]
        session_id, _sender, paying = await hold(merchant, exp=2)
        await merchant.until(lambda: "min relay fee" in str(merchant.row(session_id)["reason"]))
        assert merchant.row(session_id)["status"] == "expired"
        paying.cancel()


REFUSALS = [
    TxBroadcastUnknownError(),
    TxBroadcastServerReturnedError("mempool min fee not met"),
    TxBroadcastHashMismatch("unexpected transaction ID"),
    ZeroDivisionError("what no one foresaw"),
]


@pytest.mark.parametrize("log_is_there", [True, False], ids=["by its session", "without its log"])
def test_a_refusal_is_shown_and_the_original_tried_again_until_the_network_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, log_is_there: bool
) -> None:
    waits: list[float] = []

    def quickly(backoff: Backoff) -> float:
        waits.append(backoff._longest)
        return 0.01

    @on_electrums_loop
    async def run() -> None:
        async with shop(tmp_path) as merchant:
            session_id, sender, paying = await hold(merchant, exp=SOON)
            txid = sender.made.transaction().txid()
            if not log_is_there:
                merchant.wallet.db.prune_uninstalled_plugin_data(set())
            merchant.wallet.save_db()
            again = Merchant(merchant.shop, reopen(merchant.wallet))
            await merchant.close()
            take, said, left = again.network.broadcast_transaction, set[str](), list(REFUSALS)

            async def refuse(tx: Transaction) -> None:
                said.update(again.sessions.settling.refusals.values())
                if left:
                    raise left.pop(0)
                assert "unexpected transaction ID" in again.row(session_id)["held_back"]
                if log_is_there:
                    assert "unexpected transaction ID" in str(again.row(session_id)["reason"])
                    assert "unexpected transaction ID" in str(view_of(again.sessions, session_id).trouble)
                await take(tx)

            again.network.broadcast_transaction = refuse  # type: ignore[method-assign]
            monkeypatch.setattr(Backoff, "next", quickly)
            await again.open()
            await again.until(lambda: again.network.broadcast == [txid])
            assert len(said) == len(REFUSALS) - 1
            assert waits.count(LONGEST_REFUSED) == len(REFUSALS)
            await again.until(lambda: again.sessions.settling.refusals == {})
            paying.cancel()
            await again.close()

    run()


@on_electrums_loop
async def test_what_is_refused_is_let_be_once_a_block_spends_its_coins(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        tried = 0

        async def refuse(_tx: Transaction) -> None:
            nonlocal tried
            tried += 1
            raise TxBroadcastServerReturnedError("txn-mempool-conflict")

        merchant.network.broadcast_transaction = refuse  # type: ignore[method-assign,assignment]
        session_id, sender, paying = await hold(merchant, exp=SOON)
        await merchant.until(lambda: tried > 0)
        hear(merchant, elsewhere(sender), confirmed=True)
        await merchant.until_row(session_id, status="failed")
        await merchant.until(lambda: not merchant.sessions.live.is_at_work(session_id))
        assert merchant.sessions.settling.tasks == {}
        assert kept(merchant) == set()
        paying.cancel()


# When the wallet opens


@on_electrums_loop
async def test_originals_without_a_log_are_broadcast_but_for_the_aborted_and_the_paid(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        left, sender, waiting = await hold(merchant)
        aborted, _, given_up = await hold(merchant)
        paid, _, waiting_too = await hold(merchant)
        deleted, _, waiting_as_well = await hold(merchant)
        await merchant.sessions.abort(aborted)
        pay_otherwise(merchant, paid)
        pay_otherwise(merchant, deleted)
        merchant.wallet.delete_request(merchant.row(deleted)["request_id"])
        assert len(kept(merchant)) == 4
        # As an Electrum without the plugin leaves the file.
        merchant.wallet.db.prune_uninstalled_plugin_data(set())
        merchant.wallet.save_db()
        again = await merchant.crash_and_restart()
        await asyncio.gather(*again.sessions.settling.tasks.values())
        assert again.sessions.store.session_ids() == []
        assert again.network.broadcast == [sender.made.transaction().txid()]
        assert left not in again.sessions.ledger.open
        for paying in (waiting, given_up, waiting_too, waiting_as_well):
            paying.cancel()
        await again.close()


def pay_otherwise(merchant: Merchant, session_id: str) -> None:
    """Let the wallet see another payment of a request in a block."""
    tx = transaction([foreign_outpoint(session_id)], [(merchant.row(session_id)["address"], AMOUNT)])
    see_confirmed(merchant.wallet, tx, height=HEIGHT + 1)


@on_electrums_loop
async def test_a_kept_original_that_is_damaged_stays_and_keeps_the_others_not_back(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        _, sender, paying = await hold(merchant)
        originals = merchant.wallet.db.get_dict(ORIGINALS_KEY)
        (txid,) = originals
        damaged = dict(originals[txid]) | {"tx": "no hex at all"}
        originals["00" * 32] = damaged
        originals["11" * 32] = dict(originals[txid])  # another one's name
        merchant.wallet.db.prune_uninstalled_plugin_data(set())
        merchant.wallet.save_db()
        again = await merchant.crash_and_restart()
        await asyncio.gather(*again.sessions.settling.tasks.values())
        assert again.network.broadcast == [sender.made.transaction().txid()]
        assert [one.txid for one in again.sessions.originals.kept().values()] == [txid]
        assert len(again.sessions.held_addresses()) == 1
        assert again.on_disk()[ORIGINALS_KEY]["00" * 32] == damaged
        paying.cancel()
        await again.close()


# An original that could not be checked in time


@asynccontextmanager
async def expired_unchecked(tmp_path: Path) -> AsyncIterator[tuple[Merchant, str, Sender]]:
    """A session whose time is over while the Electrum server does not say whether its original is a payment."""
    async with unchecked(tmp_path, exp=3) as (merchant, session_id, sender):
        await merchant.until_row(session_id, status="expired")
        yield merchant, session_id, sender


@asynccontextmanager
async def unchecked(tmp_path: Path, *, exp: int) -> AsyncIterator[tuple[Merchant, str, Sender]]:
    """A session whose original the Electrum server does not say anything of."""
    async with shop(tmp_path) as merchant:

        async def away(original: Original) -> ChainFacts:
            raise Unreachable("away")

        merchant.sessions.receiver_wallet.look_up = away  # type: ignore[method-assign]
        session_id, uri = merchant.offer(exp=exp)
        sender = merchant.shop.sender(uri)
        paying = asyncio.ensure_future(sender.run())
        await merchant.until_row(session_id, stage="checking_original")
        yield merchant, session_id, sender
        paying.cancel()


@on_electrums_loop
async def test_an_original_that_could_not_be_checked_before_expiry_is_broadcast_after_it(tmp_path: Path) -> None:
    async with expired_unchecked(tmp_path) as (merchant, session_id, sender):
        assert merchant.network.broadcast == []
        assert view_of(merchant.sessions, session_id).unchecked
        assert [session.id for session in merchant.sessions.ledger.unsettled()] == [session_id]
        del merchant.sessions.receiver_wallet.look_up
        await merchant.until_row(session_id, status="paid_without_payjoin")
        assert not view_of(merchant.sessions, session_id).unchecked
        assert merchant.network.broadcast == [sender.made.transaction().txid()]
        assert sender.answers == set()


@on_electrums_loop
async def test_an_original_that_could_not_be_checked_before_expiry_is_broadcast_after_a_restart(tmp_path: Path) -> None:
    async with expired_unchecked(tmp_path) as (merchant, session_id, sender):
        await merchant.until(lambda: merchant.events_on_disk(session_id)[-1] == "retrieved_original")
        again = await merchant.crash_and_restart()
        await again.until_row(session_id, status="paid_without_payjoin")
        assert again.network.broadcast == [sender.made.transaction().txid()]
        await again.close()


@on_electrums_loop
async def test_an_original_that_is_checked_after_expiry_is_kept_where_nothing_is_broadcast_by_itself(
    tmp_path: Path,
) -> None:
    async with expired_unchecked(tmp_path) as (merchant, session_id, sender):
        merchant.wallet.config.PAYJOIN_BROADCAST_ORIGINAL_BY_ITSELF = False
        del merchant.sessions.receiver_wallet.look_up
        txid = sender.made.transaction().txid()
        await merchant.until(lambda: kept(merchant) == {txid})
        assert await merchant.sessions.broadcast_original(session_id) == txid


@on_electrums_loop
async def test_an_original_that_is_seen_while_it_is_checked_has_paid_without_payjoin(tmp_path: Path) -> None:
    async with unchecked(tmp_path, exp=3600) as (merchant, session_id, sender):
        txid = merchant.sees(sender.made.transaction())
        await merchant.until_row(session_id, status="paid_without_payjoin", original_txid=txid)
        events = merchant.sessions.report.row_with_events(session_id)["events"]
        assert events[-1]["detail"] == "Paid, without payjoin"


# Faults


@on_electrums_loop
async def test_after_a_fault_of_ours_the_original_is_broadcast_when_its_time_has_come(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant, exp=10)

        def fails() -> Sequence[Coin]:
            raise ZeroDivisionError

        merchant.sessions.receiver_wallet.coins = fails  # type: ignore[method-assign]
        merchant.sessions.answer(session_id, password=None)
        await merchant.until_row(session_id, reason="fault")
        assert merchant.network.broadcast == []
        await merchant.until_row(session_id, status="paid_without_payjoin")
        assert merchant.network.broadcast == [sender.made.transaction().txid()]
        paying.cancel()


@on_electrums_loop
async def test_after_a_fault_of_ours_a_sleep_of_the_machine_does_not_put_off_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "LONGEST_NAP", 0.1)
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)

        def fails() -> Sequence[Coin]:
            raise ZeroDivisionError

        merchant.sessions.receiver_wallet.coins = fails  # type: ignore[method-assign]
        merchant.sessions.answer(session_id, password=None)
        await merchant.until_row(session_id, reason="fault")
        wall = time.time
        monkeypatch.setattr(time, "time", lambda: wall() + 3600)
        await merchant.until_row(session_id, status="paid_without_payjoin")
        assert merchant.network.broadcast == [sender.made.transaction().txid()]
        paying.cancel()


@on_electrums_loop
async def test_a_session_that_had_a_fault_of_ours_cannot_be_answered(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _, paying = await hold(merchant)
        merchant.sessions.live.runners[session_id].waiting = Waiting.FAULT
        with pytest.raises(UserError, match="not waiting"):
            merchant.sessions.answer(session_id, password=None)
        paying.cancel()


@on_electrums_loop
async def test_a_payjoin_that_the_file_has_already_is_no_lost_coin_while_the_wallet_starts(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        merchant.wallet._up_to_date = False
        merchant.network.interface = None
        session = merchant.sessions.ledger.open[session_id]
        merchant.sees(sender.payjoin())
        assert not merchant.sessions.settling.look_at_chain(session)
        assert not merchant.sessions.settling.is_coin_gone(session)
