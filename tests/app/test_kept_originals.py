"""Senders' payments that lie in our hands after their session, or its log, is gone, in a real wallet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from electrum.bitcoin import address_to_script
from electrum.transaction import Transaction
from electrum.util import trigger_callback

from payjoin_plugin.app.commands import PayjoinCommands
from payjoin_plugin.app.originals import DEEP
from payjoin_plugin.app.view import view_of
from payjoin_plugin.errors import UnreadableLog, UserError
from payjoin_plugin.wire.uri import parse
from tests.app.test_settling import elsewhere, hear, hold, kept, pay_otherwise
from tests.app.test_unreadable import damage
from tests.merchant import AMOUNT, Merchant, on_electrums_loop, shop
from tests.pair import Sender
from tests.wallet.wallets import HEIGHT, foreign_outpoint, reopen, see_confirmed, transaction

SOON = 3
"""Real seconds until a request expires that is to."""


def other_payment(merchant: Merchant, session_id: str) -> Transaction:
    """A payment of a request's whole amount, of somebody's other coins."""
    return transaction([foreign_outpoint(session_id)], [(merchant.row(session_id)["address"], AMOUNT)])


def vanish(merchant: Merchant, session_id: str, tx: Transaction) -> None:
    """Let the server know no more of a transaction. Electrum tells nobody of it, but that the wallet was updated."""
    merchant.shop.chain.txs.pop(tx.txid(), None)
    address, adb = merchant.row(session_id)["address"], merchant.wallet.adb
    adb.receive_history_callback(address, [(tx.txid(), 0)], {})
    adb.receive_history_callback(address, [], {})
    assert adb.get_tx_height(tx.txid()).is_local_like()
    trigger_callback("wallet_updated", merchant.wallet)


async def hold_paid_otherwise(
    merchant: Merchant, **details: Any
) -> tuple[str, Sender, Transaction, asyncio.Future[Any]]:
    """Hold an original whose request another payment pays."""
    session_id, sender, paying = await hold(merchant, **details)
    other = other_payment(merchant, session_id)
    merchant.sees(other)
    await merchant.until_row(session_id, status="paid_without_payjoin")
    return session_id, sender, other, paying


async def seen_to(merchant: Merchant) -> None:
    await asyncio.gather(*merchant.sessions.settling.tasks.values())


# What settled the session goes as it came


@on_electrums_loop
async def test_an_original_is_broadcast_at_expiry_where_the_payment_that_ended_its_session_vanished(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, other, paying = await hold_paid_otherwise(merchant, exp=SOON)
        vanish(merchant, session_id, other)
        await merchant.until(lambda: merchant.network.broadcast == [sender.made.transaction().txid()])
        assert merchant.row(session_id)["expires_at"] <= time.time()
        assert merchant.row(session_id)["status"] == "paid_without_payjoin"
        paying.cancel()


@pytest.mark.parametrize("by", ["a payjoin", "the original", "another payment"])
@on_electrums_loop
async def test_it_is_broadcast_after_a_restart_too_whatever_had_ended_the_session(
    tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        original = sender.made.transaction()
        if by == "a payjoin":
            merchant.sessions.answer(session_id, password=None)
            await paying
            await merchant.until_row(session_id, stage="waiting_for_broadcast")
        match by:
            case "a payjoin":
                seen = sender.payjoin()
            case "the original":
                seen = original
            case _:
                seen = other_payment(merchant, session_id)
        merchant.sees(seen)
        await merchant.until(lambda: session_id not in merchant.sessions.ledger.open)
        vanish(merchant, session_id, seen)
        merchant.wallet.save_db()
        monkeypatch.setattr("payjoin_plugin.app.settling.now", lambda: int(time.time()) + 7200)
        again = await merchant.crash_and_restart()
        await again.until(lambda: again.network.broadcast == [original.txid()])
        paying.cancel()
        await again.close()


@on_electrums_loop
async def test_before_expiry_what_vanished_may_come_back(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _, other, paying = await hold_paid_otherwise(merchant)
        vanish(merchant, session_id, other)
        await merchant.until(lambda: len(merchant.sessions.settling.tasks) == 1)
        seen = view_of(merchant.sessions, session_id)
        assert (seen.is_current, seen.paid_by, seen.can_broadcast) == (True, None, True)
        again = await merchant.crash_and_restart()
        await again.until(lambda: again.batches > 0)
        assert again.network.broadcast == []
        paying.cancel()
        await again.close()


@pytest.mark.parametrize("what", ["aborted", "paid", "double-spent"])
@on_electrums_loop
async def test_after_expiry_it_is_not_broadcast_where(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        if what == "aborted":
            await merchant.sessions.abort(session_id)
        else:
            other = other_payment(merchant, session_id)
            merchant.sees(other)
            await merchant.until_row(session_id, status="paid_without_payjoin")
            if what == "double-spent":
                vanish(merchant, session_id, other)
                merchant.shop.chain.add(elsewhere(sender))
        merchant.wallet.save_db()
        monkeypatch.setattr("payjoin_plugin.app.settling.now", lambda: int(time.time()) + 7200)
        again = await merchant.crash_and_restart()
        if what == "paid":
            again.sees(other)
        before = again.batches
        trigger_callback("wallet_updated", again.wallet)
        await again.until(lambda: again.batches > before or not again.sessions.settling.tasks)
        assert again.network.broadcast == []
        paying.cancel()
        await again.close()


# The block that settled the session is undone


@on_electrums_loop
async def test_an_original_is_broadcast_at_expiry_where_the_block_that_spent_its_coins_is_undone(
    tmp_path: Path, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        txid, other = sender.made.transaction().txid(), elsewhere(sender)
        hear(merchant, other, confirmed=True, height=HEIGHT - DEEP + 2)
        await merchant.until_row(session_id, status="failed")
        assert kept(merchant) == {txid}
        assert merchant.sessions.objections.at_stake() == {}
        trigger_callback("wallet_updated", merchant.wallet)
        await merchant.until(lambda: session_id in merchant.sessions.settling.tasks)
        del merchant.shop.chain.txs[other.txid()]
        set_ahead(3600)
        await merchant.until(lambda: merchant.network.broadcast == [txid])
        assert merchant.row(session_id)["status"] == "failed"
        paying.cancel()


@on_electrums_loop
async def test_it_is_broadcast_too_where_the_block_had_the_payjoin(
    tmp_path: Path, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        original, payjoin = sender.made.transaction(), sender.payjoin()
        merchant.wallet.db.put("stored_height", HEIGHT + 1)
        see_confirmed(merchant.wallet, payjoin, height=HEIGHT + 1)
        await merchant.until_row(session_id, status="completed", confirmations=1)
        merchant.wallet.db.remove_verified_tx(payjoin.txid())
        vanish(merchant, session_id, payjoin)
        set_ahead(3600)
        await merchant.until(lambda: merchant.network.broadcast == [original.txid()])


@on_electrums_loop
async def test_an_original_whose_coins_a_block_spends_elsewhere_is_handed_over_to_nobody(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        hear(merchant, elsewhere(sender), confirmed=True, height=HEIGHT)
        await merchant.until_row(session_id, status="failed")
        await merchant.close()
        assert merchant.sessions.handover.hand_over() == 0
        assert kept(merchant) == {sender.made.transaction().txid()}
        paying.cancel()


@on_electrums_loop
async def test_an_original_that_is_not_to_be_broadcast_is_forgotten_too_when_what_spent_its_coins_is_deep(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path) as merchant:
        merchant.wallet.config.PAYJOIN_BROADCAST_ORIGINAL_BY_ITSELF = False
        session_id, sender, paying = await hold(merchant)
        hear(merchant, elsewhere(sender), confirmed=True, height=HEIGHT)
        await merchant.until_row(session_id, status="failed")
        assert kept(merchant) == {sender.made.transaction().txid()}
        merchant.wallet.db.put("stored_height", HEIGHT + DEEP - 1)
        trigger_callback("blockchain_updated")
        await merchant.until(lambda: kept(merchant) == set())
        paying.cancel()


@on_electrums_loop
async def test_an_original_is_forgotten_when_a_transaction_of_the_wallet_spends_its_coins_deep_in_the_chain(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        merchant.wallet.db.put("stored_height", HEIGHT + DEEP - 1)
        see_confirmed(merchant.wallet, sender.payjoin(), height=HEIGHT + 1)
        await merchant.until_row(session_id, status="completed", confirmations=DEEP - 1)
        assert kept(merchant) == {sender.made.transaction().txid()}
        merchant.wallet.db.put("stored_height", HEIGHT + DEEP)
        trigger_callback("blockchain_updated")
        await merchant.until(lambda: kept(merchant) == set())


# Two requests that one transaction pays


@asynccontextmanager
async def one_for_two(folder: Path, second_sat: int = AMOUNT) -> AsyncIterator[tuple[Merchant, str, str, Transaction]]:
    """Two sessions that hold the same transaction, which pays the request of each in full."""
    async with shop(folder) as merchant:
        merchant.wallet.config.PAYJOIN_ASK_BEFORE_CONTRIBUTING = True
        offers = [merchant.offer(), merchant.offer(second_sat)]
        first_script, second_script = (address_to_script(parse(uri).address) for _, uri in offers)
        made = merchant.shop.payment(parse(offers[0][1]).address)
        change = made.outputs[1][0], made.outputs[1][1] - second_sat
        made = replace(made, outputs=((first_script, AMOUNT), (second_script, second_sat), change))
        paying = []
        for session_id, uri in offers:
            paying.append(asyncio.ensure_future(merchant.shop.sender(uri, made=made).run()))
            await merchant.until_row(session_id, reason="needs_approval")
        (first, _), (second, _) = offers
        yield merchant, first, second, made.transaction()
        for one in paying:
            one.cancel()


@pytest.mark.parametrize("end", ["aborted", "deleted"])
@on_electrums_loop
async def test_the_end_of_one_of_two_requests_does_not_keep_back_the_payment_of_both(
    tmp_path: Path, end: str, set_ahead: Callable[[int], None]
) -> None:
    async with one_for_two(tmp_path) as (merchant, first, second, original):
        if end == "aborted":
            await merchant.sessions.abort(first)
        else:
            merchant.wallet.delete_request(merchant.row(first)["request_id"])
        assert [one.aborted for one in merchant.sessions.store.kept.all()] == [True, False]
        set_ahead(3600)
        await merchant.until_row(second, status="paid_without_payjoin")
        assert merchant.network.broadcast == [original.txid()]


@on_electrums_loop
async def test_a_part_payment_of_one_request_is_none_of_a_deleted_one_that_asked_for_as_much(
    tmp_path: Path, set_ahead: Callable[[int], None]
) -> None:
    async with one_for_two(tmp_path, AMOUNT + 10_000) as (merchant, first, second, original):
        merchant.wallet.delete_request(merchant.row(first)["request_id"])
        merchant.sees(other_payment(merchant, second))
        set_ahead(3600)
        await merchant.until(lambda: merchant.network.broadcast == [original.txid()])


@on_electrums_loop
async def test_the_payment_of_two_requests_is_broadcast_without_their_logs_unless_both_were_aborted(
    tmp_path: Path,
) -> None:
    async with one_for_two(tmp_path) as (merchant, first, second, original):
        await merchant.sessions.abort(first)
        merchant.wallet.db.prune_uninstalled_plugin_data(set())
        merchant.wallet.save_db()
        again = await merchant.crash_and_restart()
        assert {row["session_id"] for row in await again.sessions.report.rows(every=False)} == {first, second}
        await seen_to(again)
        assert again.network.broadcast == [original.txid()]
        await again.close()


@on_electrums_loop
async def test_the_payment_of_two_requests_of_which_one_is_paid_can_be_broadcast_for_the_other(tmp_path: Path) -> None:
    async with one_for_two(tmp_path) as (merchant, first, second, original):
        merchant.sees(other_payment(merchant, second))
        await merchant.until_row(second, status="paid_without_payjoin")
        assert list(merchant.sessions.objections.at_stake()) == [original.txid()]
        with pytest.raises(UserError, match="paid already"):
            await merchant.sessions.broadcast_original(second)
        assert await merchant.sessions.broadcast_original(first) == original.txid()


@on_electrums_loop
async def test_the_payment_of_two_requests_is_handed_over_once_and_taken_back_once(tmp_path: Path) -> None:
    async with one_for_two(tmp_path) as (merchant, _, _, original):
        await merchant.close()
        assert merchant.sessions.handover.hand_over() == 1
        assert merchant.wallet.adb.get_tx_height(original.txid()).is_local_like()
        merchant.wallet.save_db()
        again = Merchant(merchant.shop, reopen(merchant.wallet))
        await again.open()
        assert again.wallet.adb.get_transaction(original.txid()) is None
        assert [one.handed_over for one in again.sessions.store.kept.all()] == [False, False]
        await again.close()


# The log is unreadable, or gone


@asynccontextmanager
async def without_its_log(
    folder: Path, *, damaged: bool, aborted: bool = False
) -> AsyncIterator[tuple[Merchant, str, Transaction]]:
    """A wallet that holds an original, opened again; its session's log is damaged, or was pruned by Electrum."""
    async with shop(folder) as merchant:
        session_id, sender, paying = await hold(merchant)
        if aborted:
            await merchant.sessions.abort(session_id)
        if not damaged:
            merchant.wallet.db.prune_uninstalled_plugin_data(set())
        merchant.wallet.save_db()
        await merchant.close()
        if damaged:
            damage(merchant, lambda ours: ours["sessions"][session_id]["events"][0].update(address="nonsense"))
        again = Merchant(merchant.shop, reopen(merchant.wallet))
        await again.open()
        try:
            yield again, session_id, sender.made.transaction()
        finally:
            paying.cancel()
            await again.close()


@on_electrums_loop
async def test_an_original_whose_log_is_unreadable_is_broadcast_as_one_without_a_log(tmp_path: Path) -> None:
    async with without_its_log(tmp_path, damaged=True) as (merchant, session_id, original):
        assert merchant.row(session_id)["status"] == "unreadable"
        await seen_to(merchant)
        assert merchant.network.broadcast == [original.txid()]


@pytest.mark.parametrize("damaged", [True, False], ids=["unreadable", "gone"])
@on_electrums_loop
async def test_one_that_was_aborted_is_listed_and_broadcast_by_hand_alone(tmp_path: Path, *, damaged: bool) -> None:
    async with without_its_log(tmp_path, damaged=damaged, aborted=True) as (merchant, session_id, original):
        trigger_callback("wallet_updated", merchant.wallet)
        await seen_to(merchant)
        assert merchant.network.broadcast == []
        (row,) = await merchant.sessions.report.rows(every=damaged)  # a closed one is not read before
        assert (row["session_id"], row["status"]) == (session_id, "unreadable")
        assert (row["original_txid"], row["confirmations"]) == (original.txid(), None)
        assert row["reason"].endswith("The sender's own payment is kept.")
        assert PayjoinCommands._known(merchant.sessions, session_id) == session_id
        assert merchant.sessions.report.row_with_events(session_id) == row | {"events": []}
        assert merchant.sessions.original_hex(session_id) == original.serialize()
        assert await merchant.sessions.broadcast_original(session_id) == original.txid()
        assert merchant.network.broadcast == [original.txid()]
        assert merchant.row(session_id)["confirmations"] == 0


@on_electrums_loop
async def test_without_its_log_it_does_not_get_in_the_way_of_what_may_be_its_payjoin(tmp_path: Path) -> None:
    async with without_its_log(tmp_path, damaged=False, aborted=True) as (merchant, session_id, original):
        like_a_payjoin = transaction(
            [original.inputs()[0].prevout.to_str(), foreign_outpoint("ours")],
            [(original.outputs()[0].address, 350_000)],
        )
        merchant.shop.chain.add(like_a_payjoin)
        with pytest.raises(UserError, match="payjoin is on its way"):
            await merchant.sessions.broadcast_original(session_id)


@on_electrums_loop
async def test_a_session_that_nobody_knows_has_no_original(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        assert not merchant.sessions.knows("0123456789abcdef")
        with pytest.raises(UnreadableLog):
            merchant.sessions.original_hex("0123456789abcdef")
        with pytest.raises(UnreadableLog):
            await merchant.sessions.broadcast_original("0123456789abcdef")


# The plugin is taken out


@on_electrums_loop
async def test_what_is_paid_otherwise_is_not_at_stake_and_becomes_no_local_transaction(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        assert list(merchant.sessions.objections.at_stake()) == [sender.made.transaction().txid()]
        pay_otherwise(merchant, session_id)
        await merchant.until_row(session_id, status="paid_without_payjoin")
        assert kept(merchant) == {sender.made.transaction().txid()}
        assert merchant.sessions.objections.at_stake() == {}
        before = merchant.wallet.get_balance()
        await merchant.close()
        assert merchant.sessions.handover.hand_over() == 0
        assert merchant.wallet.get_balance() == before
        paying.cancel()
