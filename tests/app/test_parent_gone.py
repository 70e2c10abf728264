"""The transaction that made the sender's coin is replaced, or dropped, before a block has it: the coin is no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from electrum.interface import TxBroadcastServerReturnedError
from electrum.network import UntrustedServerReturnedError
from electrum.transaction import Transaction
from electrum.util import trigger_callback

from payjoin_plugin.app import originals, settling
from payjoin_plugin.app.originals import LOST_AFTER
from payjoin_plugin.app.view import view_of
from payjoin_plugin.client import checking
from payjoin_plugin.client.pace import Backoff
from tests.app.test_own_money import bill_paid
from tests.app.test_settling import SOON, hold, kept
from tests.merchant import Merchant, on_electrums_loop, shop
from tests.pair import Sender
from tests.wallet.wallets import HEIGHT, reopen, see_confirmed


def forget_parent(merchant: Merchant, sender: Sender) -> Transaction:
    """Let the Electrum server forget what made the sender's coin, tell who watches, and return it."""
    parent = Transaction(sender.made.coins[0].previous)
    del merchant.shop.chain.txs[parent.txid()]
    notify(merchant)
    return parent


def notify(merchant: Merchant) -> None:
    session = merchant.network.interfaces["main"].session
    assert session is not None
    session.notify()


@on_electrums_loop
async def test_a_coin_that_is_no_more_is_a_double_spend_until_its_parent_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "PATIENCE", 0)
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        parent = forget_parent(merchant, sender)
        await merchant.until_row(session_id, reason="double_spend")
        assert view_of(merchant.sessions, session_id).double_spent
        merchant.shop.chain.add(parent)
        notify(merchant)
        await merchant.until_row(session_id, reason="needs_approval")
        assert not view_of(merchant.sessions, session_id).double_spent
        assert kept(merchant) == {sender.made.transaction().txid()}
        paying.cancel()


@on_electrums_loop
async def test_after_the_answer_it_is_shown_and_nothing_is_done(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, uri = merchant.offer()
        sender = merchant.shop.sender(uri)
        await sender.run()
        await merchant.until_row(session_id, stage="waiting_for_broadcast")
        forget_parent(merchant, sender)
        await merchant.until_row(session_id, reason="double_spend", status="active")
        assert merchant.events(session_id)[-1] == "PostedProposal"
        assert kept(merchant) == {sender.made.transaction().txid()}


@pytest.mark.parametrize("aborted", [False, True])
@on_electrums_loop
async def test_an_original_whose_coin_nobody_knows_for_two_weeks_is_let_go_and_its_address_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_ahead: Callable[[int], None], *, aborted: bool
) -> None:
    monkeypatch.setattr(Backoff, "next", lambda _: 0.01)
    monkeypatch.setattr(settling, "LONGEST_REFUSED", 0.01)
    monkeypatch.setattr(originals, "AN_HOUR", 0)
    async with shop(tmp_path) as merchant:

        async def refuse(_tx: Transaction) -> None:
            raise TxBroadcastServerReturnedError("bad-txns-inputs-missingorspent")

        merchant.network.broadcast_transaction = refuse  # type: ignore[method-assign,assignment]
        session_id, sender, paying = await hold(merchant, exp=SOON)
        forget_parent(merchant, sender)
        await merchant.until_row(session_id, status="expired")
        await merchant.until(lambda: merchant.sessions.store.kept.all()[0].vanished_at is not None)
        if aborted:
            await merchant.sessions.abort(session_id)
        merchant.wallet.delete_request(merchant.row(session_id)["request_id"])
        set_ahead(LOST_AFTER - 60)
        trigger_callback("wallet_updated", merchant.wallet)
        await asyncio.sleep(0.2)
        assert kept(merchant) != set()
        assert merchant.row(session_id)["address"] not in merchant.wallet.get_unused_addresses()
        set_ahead(LOST_AFTER + 60)
        trigger_callback("wallet_updated", merchant.wallet)
        await merchant.until(lambda: kept(merchant) == set())
        assert merchant.row(session_id)["address"] in merchant.wallet.get_unused_addresses()
        assert merchant.sessions.original_hex(session_id) is not None, "the log has it for ever"
        paying.cancel()


@on_electrums_loop
async def test_the_address_of_a_payjoin_that_may_come_back_with_its_parent_goes_to_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_ahead: Callable[[int], None]
) -> None:
    monkeypatch.setattr(settling, "LONGEST_REFUSED", 0.01)
    monkeypatch.setattr(originals, "AN_HOUR", 0)
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        forget_parent(merchant, sender)
        set_ahead(7200)
        await merchant.until_row(session_id, status="expired")
        await merchant.until(lambda: merchant.sessions.store.kept.all()[0].vanished_at is not None)
        merchant.wallet.delete_request(merchant.row(session_id)["request_id"])
        set_ahead(LOST_AFTER + 7200)
        trigger_callback("wallet_updated", merchant.wallet)
        await asyncio.sleep(0.3)
        assert merchant.row(session_id)["address"] not in merchant.wallet.get_unused_addresses()
        coin = merchant.sessions.store.kept.all()[0].contributed[0]
        ours = [one for one in merchant.wallet.get_spendable_coins() if one.prevout.to_str() == coin]
        see_confirmed(merchant.wallet, bill_paid(merchant, 10_000, ours), height=HEIGHT)
        trigger_callback("wallet_updated", merchant.wallet)
        await merchant.until(lambda: kept(merchant) == set())
        assert merchant.row(session_id)["address"] in merchant.wallet.get_unused_addresses()


@pytest.mark.parametrize("log_is_there", [True, False], ids=["by its session", "without its log"])
@on_electrums_loop
async def test_its_original_is_kept_and_tried_and_out_when_the_parent_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, log_is_there: bool
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant, exp=SOON)
        parent = forget_parent(merchant, sender)
        if not log_is_there:
            merchant.wallet.db.prune_uninstalled_plugin_data(set())
        merchant.wallet.save_db()
        again = Merchant(merchant.shop, reopen(merchant.wallet))
        await merchant.close()
        tried = 0
        take = again.network.broadcast_transaction

        async def unknown(_txid: str) -> str:
            raise UntrustedServerReturnedError(original_exception=Exception("no such transaction"))

        async def take_with_its_parent(tx: Transaction) -> None:
            nonlocal tried
            tried += 1
            if parent.txid() not in again.shop.chain.txs:
                assert kept(again) == {tx.txid()}
                raise TxBroadcastServerReturnedError("bad-txns-inputs-missingorspent")
            await take(tx)

        again.network.get_transaction = unknown  # type: ignore[method-assign,assignment]
        again.network.broadcast_transaction = take_with_its_parent  # type: ignore[method-assign]
        monkeypatch.setattr(Backoff, "next", lambda _: 0.01)
        await again.open()
        await again.until(lambda: tried > 1)
        if log_is_there:
            assert view_of(again.sessions, session_id).double_spent
        again.shop.chain.add(parent)
        await again.until(lambda: again.network.broadcast == [sender.made.transaction().txid()])
        paying.cancel()
        await again.close()
