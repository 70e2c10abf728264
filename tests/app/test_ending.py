"""A real Electrum wallet's payjoins that end otherwise: refused, aborted, declined, deleted, expired, double spent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from electrum.address_synchronizer import AddressSynchronizer
from electrum.interface import TxBroadcastServerReturnedError
from electrum.transaction import Transaction
from electrum.util import trigger_callback

from payjoin_plugin.app.view import view_of
from payjoin_plugin.client.mail import Mail
from payjoin_plugin.errors import UserError
from payjoin_plugin.session.status import Status
from payjoin_plugin.wire.uri import parse
from tests.bip78.payments import ALICE
from tests.merchant import AMOUNT, Merchant, endpoint_of, on_electrums_loop, shop
from tests.pair import Sender
from tests.wallet.wallets import pay, transaction


@on_electrums_loop
async def test_a_refused_sender_hears_why_and_so_do_we(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, uri = merchant.offer()
        sender = merchant.shop.sender(uri, AMOUNT - 1)
        await sender.run()
        assert sender.error == "original-psbt-rejected"
        row = await merchant.until_row(session_id, status="failed")
        assert row["reason"] == "pays_too_little"


@on_electrums_loop
async def test_a_sender_who_broadcasts_the_original_has_paid_without_payjoin(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, uri = merchant.offer()
        sender = merchant.shop.sender(uri)
        await sender.run()
        merchant.sees(sender.made.transaction())
        row = await merchant.until_row(session_id, status="paid_without_payjoin")
        assert row["original_txid"] == sender.made.transaction().txid()
        assert row["confirmations"] == 0


@pytest.mark.parametrize("kind", ["p2pkh", "p2wpkh-p2sh", "p2wpkh"])
@on_electrums_loop
async def test_a_payjoin_that_is_completed_after_an_abort_has_its_txid_and_depth(tmp_path: Path, kind: str) -> None:
    async with shop(tmp_path) as merchant:
        session_id, uri = merchant.offer()
        made = merchant.shop.payment(parse(uri).address, AMOUNT, kind)
        sender = merchant.shop.sender(uri, made=made)
        await sender.run()
        await merchant.until_row(session_id, stage="waiting_for_broadcast")
        await merchant.sessions.abort(session_id)
        assert merchant.row(session_id)["confirmations"] is None
        txid = merchant.sees(sender.payjoin())
        row = merchant.row(session_id)
        assert (row["status"], row["payjoin_txid"], row["confirmations"]) == ("aborted", txid, 0)


@on_electrums_loop
async def test_a_payjoin_that_takes_the_place_of_the_original_has_its_depth(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        original = sender.made.transaction()
        merchant.sees(original)
        await merchant.until_row(session_id, status="paid_without_payjoin", confirmations=0)
        del merchant.shop.chain.txs[original.txid()]
        txid = merchant.sees(sender.payjoin())
        row = merchant.row(session_id)
        assert (row["payjoin_txid"], row["confirmations"]) == (txid, 0)


@on_electrums_loop
async def test_another_payment_after_an_abort_has_its_depth(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, uri = merchant.offer()
        await merchant.sessions.abort(session_id)
        merchant.sees(merchant.shop.payment(parse(uri).address).transaction())
        assert merchant.row(session_id)["confirmations"] == 0


@on_electrums_loop
async def test_a_request_that_somebody_else_paid_is_paid_without_payjoin(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, uri = merchant.offer()
        merchant.sees(merchant.shop.payment(parse(uri).address).transaction())
        await merchant.until_row(session_id, status="paid_without_payjoin")


@on_electrums_loop
async def test_an_abort_is_on_disk_and_no_answer_follows(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await merchant.asked()
        await merchant.sessions.abort(session_id)
        assert merchant.events_on_disk(session_id)[-1] == "closed"
        assert merchant.row(session_id)["status"] == "aborted"
        await merchant.sessions.abort(session_id)
        with pytest.raises(UserError):
            merchant.sessions.answer(session_id, password=None)
        assert await merchant.sessions.broadcast_original(session_id) == sender.made.transaction().txid()
        assert merchant.network.broadcast == [sender.made.transaction().txid()]
        posts = merchant.shop.mailroom.directory.journal.posts()
        assert [seen.is_at(sender.endpoint.mailbox) for seen in posts] == [True]
        paying.cancel()


@on_electrums_loop
async def test_with_a_full_disk_an_abort_says_so_and_no_answer_follows(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _, paying = await merchant.asked()
        with merchant.full_disk(), pytest.raises(OSError, match="No space"):
            await merchant.sessions.abort(session_id)
        assert session_id not in merchant.sessions.live.runners
        await merchant.sessions.abort(session_id)
        assert merchant.events_on_disk(session_id)[-1] == "closed"
        paying.cancel()


@on_electrums_loop
async def test_a_declined_request_is_plain_for_good(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        request = merchant.request()
        session_id = merchant.session_of(request)
        await merchant.sessions.decline(request.get_id())
        assert "pj=" not in merchant.uri(request)
        assert merchant.row(session_id)["status"] == "aborted"
        again = await merchant.crash_and_restart()
        assert "pj=" not in again.uri(again.wallet.get_request(request.get_id()))
        assert again.row(session_id)["status"] == "aborted"
        await again.close()


@on_electrums_loop
async def test_a_request_whose_sender_has_answered_cannot_be_declined(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        request = merchant.request()
        await merchant.shop.sender(merchant.uri(request)).run()
        with pytest.raises(UserError, match="payjoin_abort"):
            await merchant.sessions.decline(request.get_id())


@on_electrums_loop
async def test_a_deleted_request_takes_its_session_along_in_the_same_write(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        request = merchant.request()
        session_id = merchant.session_of(request)
        merchant.wallet.delete_request(request.get_id())
        assert merchant.sessions.store.saves == 0
        assert merchant.events_on_disk(session_id) == ["created", "closed"]
        assert request.get_id() not in merchant.on_disk()["payment_requests"]
        assert merchant.row(session_id)["status"] == "aborted"


@pytest.mark.parametrize("restarted", [False, True], ids=["", "after a restart"])
@on_electrums_loop
async def test_the_session_of_a_deleted_request_that_expired_with_nothing_held_ends_as_an_abort(
    tmp_path: Path, set_ahead: Callable[[int], None], *, restarted: bool
) -> None:
    async with shop(tmp_path) as merchant:
        request = merchant.request()
        session_id = merchant.session_of(request)
        set_ahead(7200)
        await merchant.until(lambda: session_id not in merchant.sessions.ledger.open)
        again = await merchant.crash_and_restart() if restarted else merchant
        again.wallet.delete_request(request.get_id())
        assert again.events_on_disk(session_id) == ["created", "closed"]
        assert await again.sessions.report.rows(every=False) == []
        await again.close()


@on_electrums_loop
async def test_a_request_made_while_the_wallet_closes_is_not_listened_for(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, uri = merchant.offer()
        await merchant.sessions.stop()
        sender = asyncio.ensure_future(merchant.shop.sender(uri).run())
        directory = merchant.shop.mailroom.directory
        await directory.journal.until(lambda: len(directory.journal.posts()) == 1)
        await directory.journal.until(lambda: len(directory.journal.polls()) >= 1)
        assert merchant.sessions.live.runners == {}
        assert merchant.events_on_disk(session_id) == ["created"]
        assert all(not seen.is_at(endpoint_of(uri).mailbox) for seen in directory.journal.polls())
        sender.cancel()


@on_electrums_loop
async def test_a_wallet_that_closes_stops_everything_at_once(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        for number in range(20):
            merchant.offer(AMOUNT + number)
        directory = merchant.shop.mailroom.directory
        await directory.journal.until(lambda: len(directory.journal.polls()) == 20)
        async with asyncio.timeout(1):
            await merchant.sessions.stopped()
        assert merchant.wallet.get_request_URI.__func__ is type(merchant.wallet).get_request_URI


# The sender's own payment


def spend_elsewhere(merchant: Merchant, sender: Sender, *, confirmed: bool = False) -> str:
    """The Electrum server hears of a double spend, and tells who watches."""
    elsewhere = replace(sender.made, outputs=((ALICE.script, 140_000),)).transaction()
    merchant.shop.chain.add(elsewhere, height=180 if confirmed else 0)
    session = merchant.network.interfaces["main"].session
    assert session is not None
    session.notify()
    return elsewhere.txid()


@on_electrums_loop
async def test_an_original_that_is_held_at_expiry_is_broadcast(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await merchant.asked(exp=2)
        await merchant.until_row(session_id, status="paid_without_payjoin")
        assert merchant.network.broadcast == [sender.made.transaction().txid()]
        paying.cancel()


@on_electrums_loop
async def test_a_session_that_expires_with_nothing_held_leaves_nothing_running_and_is_still_listed(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _ = merchant.offer(exp=2)
        await merchant.until_row(session_id, status="expired")
        await merchant.until(lambda: session_id not in merchant.sessions.live.runners)
        assert session_id not in merchant.sessions.ledger.open
        again = await merchant.crash_and_restart()
        assert not again.sessions.live.runners
        (row,) = await again.sessions.report.rows(every=False)
        assert (row["session_id"], row["status"]) == (session_id, "expired")
        await again.sessions.abort(session_id)
        assert await again.sessions.report.rows(every=False) == []


@pytest.mark.parametrize("by", ["a look at its URI", "a block", "a block after a restart"])
@on_electrums_loop
async def test_a_session_that_lapsed_by_a_clock_that_was_ahead_goes_on_when_the_clock_is_right(
    tmp_path: Path, by: str, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path) as merchant:
        request = merchant.request()
        session_id, uri = merchant.session_of(request), merchant.uri(request)
        merchant.wallet.save_db()
        set_ahead(7200)
        await merchant.until(lambda: session_id not in merchant.sessions.ledger.open)
        again = await merchant.crash_and_restart() if by.endswith("restart") else merchant
        assert again.sessions.ledger.open == {}
        set_ahead(0)
        if by == "a look at its URI":
            assert "pj=" not in merchant.uri(request)
            await merchant.until(lambda: merchant.uri(request) == uri)
        else:
            trigger_callback("blockchain_updated")
        paying = asyncio.ensure_future(again.shop.sender(uri).run())
        await again.until_row(session_id, stage="waiting_for_broadcast")
        await paying
        await again.close()


@on_electrums_loop
async def test_an_original_that_only_our_limit_refused_is_broadcast(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        merchant.wallet.config.PAYJOIN_MAX_RECEIVER_FEE_SAT = 0
        session_id, uri = merchant.offer()
        sender = merchant.shop.sender(uri)
        await sender.run()
        assert sender.error == "not-enough-money"
        await merchant.until(lambda: merchant.network.broadcast == [sender.made.transaction().txid()])
        assert merchant.row(session_id)["status"] == "failed"


@on_electrums_loop
async def test_nothing_is_broadcast_by_itself_where_the_user_does_not_want_it(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        merchant.wallet.config.PAYJOIN_MAX_RECEIVER_FEE_SAT = 0
        merchant.wallet.config.PAYJOIN_BROADCAST_ORIGINAL_BY_ITSELF = False
        session_id, uri = merchant.offer()
        await merchant.shop.sender(uri).run()
        await merchant.until_row(session_id, status="failed")
        await merchant.sessions.live._tasks[session_id]
        assert merchant.network.broadcast == []


@on_electrums_loop
async def test_an_original_that_is_visible_is_not_broadcast_again(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        merchant.wallet.config.PAYJOIN_MAX_RECEIVER_FEE_SAT = 0
        session_id, uri = merchant.offer()
        sender = merchant.shop.sender(uri)
        original = sender.made.transaction()
        merchant.network.on_broadcast = lambda _: None
        await sender.run()
        merchant.shop.chain.add(original)
        await merchant.until_row(session_id, status="failed")
        await merchant.sessions.live._tasks[session_id]
        assert merchant.network.broadcast in ([], [original.txid()])
        again = await merchant.crash_and_restart()
        await asyncio.gather(*again.sessions.settling.tasks.values())
        assert again.network.broadcast == []
        await again.close()


@on_electrums_loop
async def test_a_double_spend_that_is_seen_before_the_answer_holds_it_back(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await merchant.asked()
        spend_elsewhere(merchant, sender)
        await merchant.until_row(session_id, reason="double_spend")
        merchant.sessions.answer(session_id, password=None)
        await merchant.until_row(session_id, stage="waiting_for_broadcast")
        await paying


@on_electrums_loop
async def test_the_original_is_broadcast_when_our_coin_goes_elsewhere(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path, 300_000) as merchant:
        elsewhere = pay(merchant.wallet, merchant.wallet.get_receiving_addresses()[0], 200_000)
        session_id, uri = merchant.offer()
        sender = merchant.shop.sender(uri)
        await sender.run()
        merchant.sees(Transaction(elsewhere.serialize()))
        await merchant.until_row(session_id, status="paid_without_payjoin")
        assert merchant.network.broadcast == [sender.made.transaction().txid()]


@on_electrums_loop
async def test_where_the_network_refuses_it_then_the_row_says_so(tmp_path: Path) -> None:
    async with shop(tmp_path, 300_000) as merchant:

        async def refuse(_tx: Transaction) -> None:
            raise TxBroadcastServerReturnedError("mempool min fee not met")

        merchant.network.broadcast_transaction = refuse  # type: ignore[method-assign,assignment]
        elsewhere = pay(merchant.wallet, merchant.wallet.get_receiving_addresses()[0], 200_000)
        session_id, _sender = await merchant.answered()
        assert merchant.row(session_id)["held_back"] is None
        merchant.sees(Transaction(elsewhere.serialize()))
        await merchant.until(lambda: "min fee not met" in (merchant.row(session_id)["held_back"] or ""))
        assert merchant.row(session_id)["reason"] == "coin_gone"


@on_electrums_loop
async def test_a_payjoin_that_was_bumped_to_another_address_of_ours_is_known_as_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AddressSynchronizer, "_are_new_inputs_valid", lambda *_, **__: True)  # nobody signed the bump
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        payjoin = sender.payjoin()
        txid = merchant.sees(payjoin)
        await merchant.until_row(session_id, status="completed")
        assert view_of(merchant.sessions, session_id).replaced_by is None
        address, other = merchant.row(session_id)["address"], merchant.wallet.get_change_addresses()[0]
        bumped = transaction(
            [txin.prevout.to_str() for txin in payjoin.inputs()],
            [(other if out.address == address else out.scriptpubkey, out.value - 500) for out in payjoin.outputs()],
        )
        merchant.wallet.adb.remove_transaction(txid)
        merchant.sees(bumped)
        view = view_of(merchant.sessions, session_id)
        assert (view.status, view.paid_by) == (Status.COMPLETED, None)
        came = merchant.row(session_id)["amount_sat"] - 500 - merchant.row(session_id)["receiver_fee_sat"]
        assert view.replaced_by == (bumped.txid(), came)
        assert merchant.row(session_id)["held_back"] == "Another transaction spends its coins."


@on_electrums_loop
async def test_no_answer_leaves_while_an_abort_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shop(tmp_path) as merchant:
        session_id, uri = merchant.offer()
        answers, left, on_its_way = Mail.answer, 0, asyncio.Event()

        async def slowly(self: Mail, *args: Any, **details: Any) -> None:
            nonlocal left
            if merchant.row(session_id)["stage"] == "posting_proposal":  # the sender writes by this function too
                on_its_way.set()
                await asyncio.sleep(0.3)
                left += 1
            await answers(self, *args, **details)

        monkeypatch.setattr(Mail, "answer", slowly)
        paying = asyncio.ensure_future(merchant.shop.sender(uri).run())
        await on_its_way.wait()
        save = merchant.wallet.save_db

        def save_slowly() -> None:
            time.sleep(1)
            save()

        merchant.wallet.save_db = save_slowly
        await merchant.sessions.abort(session_id)
        del merchant.wallet.save_db
        assert left == 0
        assert merchant.row(session_id)["status"] == "aborted"
        paying.cancel()
