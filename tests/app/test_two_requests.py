"""A payment that pays two requests, or two addresses of ours: of which one is paid, another's by now, or free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from electrum.bitcoin import address_to_script
from electrum.interface import TxBroadcastServerReturnedError
from electrum.invoices import PR_UNPAID, Request
from electrum.transaction import Transaction

from payjoin_plugin.app.offering import request_made_in_window
from payjoin_plugin.app.view import view_of
from payjoin_plugin.client.pace import Backoff
from payjoin_plugin.errors import UserError
from payjoin_plugin.wire.uri import parse
from tests.app.test_charged_once import HOUR, a_while
from tests.app.test_kept_originals import one_for_two, other_payment, seen_to
from tests.app.test_own_money import two_keys
from tests.bip78.payments import Payment
from tests.merchant import AMOUNT, Merchant, on_electrums_loop, shop
from tests.wallet.wallets import foreign_outpoint, reopen, transaction


def beside(merchant: Merchant, uri: str, address: str, amount_sat: int, *, purse: str = "beside") -> Payment:
    """A payment of a request that pays another address too."""
    made = merchant.shop.payment(parse(uri).address, purse=purse)
    (to_us, (change, change_sat)) = made.outputs
    return replace(made, outputs=(to_us, (address_to_script(address), amount_sat), (change, change_sat - amount_sat)))


# What an original pays besides its own request


@asynccontextmanager
async def held_beside(
    folder: Path, amount_sat: int = AMOUNT, *, paid: str = ""
) -> AsyncIterator[tuple[Merchant, str, Request, Transaction]]:
    """Hold an original that pays a second request too, of which no session has it, and which is `paid` otherwise."""
    async with shop(folder) as merchant:
        merchant.wallet.config.PAYJOIN_ASK_BEFORE_CONTRIBUTING = True
        second = merchant.request(wanted=paid == "after it, with an offer that nobody took")
        other = transaction([foreign_outpoint("second")], [(second.get_address(), AMOUNT)])
        if paid == "before it":
            merchant.sees(other)
        session_id, uri = merchant.offer()
        made = beside(merchant, uri, second.get_address(), amount_sat)
        paying = asyncio.ensure_future(merchant.shop.sender(uri, made=made).run())
        await merchant.until_row(session_id, reason="needs_approval")
        if paid.startswith("after it"):
            merchant.sees(other)
        yield merchant, session_id, second, made.transaction()
        paying.cancel()


@pytest.mark.parametrize("paid", ["", "before it", "after it", "after it, with an offer that nobody took"])
@pytest.mark.parametrize("amount_sat", [1_000, AMOUNT])
@on_electrums_loop
async def test_it_goes_out_whatever_becomes_of_another_request_that_it_pays_something_for(
    tmp_path: Path, set_ahead: Callable[[int], None], paid: str, amount_sat: int
) -> None:
    async with held_beside(tmp_path, amount_sat, paid=paid) as (merchant, _session_id, _second, original):
        set_ahead(2 * HOUR)
        await merchant.until(lambda: merchant.network.broadcast == [original.txid()])


@on_electrums_loop
async def test_it_becomes_no_local_transaction_by_which_electrum_would_call_another_request_paid(
    tmp_path: Path,
) -> None:
    async with held_beside(tmp_path) as (merchant, _session_id, second, original):
        assert list(merchant.sessions.objections.at_stake()) == [original.txid()], "which the removal tells"
        assert merchant.sessions.handover.to_go() == set()
        await merchant.close()
        assert merchant.sessions.handover.hand_over() == 0
        assert merchant.wallet.get_invoice_status(second) == PR_UNPAID


@pytest.mark.parametrize(("amount_sat", "paid"), [(AMOUNT, "after it"), (1_000, "")])
@on_electrums_loop
async def test_it_becomes_one_where_that_request_is_paid_or_would_not_be(
    tmp_path: Path, amount_sat: int, paid: str
) -> None:
    async with held_beside(tmp_path, amount_sat, paid=paid) as (merchant, _session_id, _second, _original):
        await merchant.close()
        assert merchant.sessions.handover.hand_over() == 1


# Two requests whose sessions both have it


@on_electrums_loop
async def test_it_does_not_go_out_where_the_other_one_is_paid_and_that_is_said(
    tmp_path: Path, set_ahead: Callable[[int], None]
) -> None:
    async with one_for_two(tmp_path) as (merchant, first, second, original):
        merchant.sees(other_payment(merchant, second))
        set_ahead(2 * HOUR)
        await a_while(merchant)
        await merchant.until(lambda: not merchant.sessions.live.is_at_work(first))
        assert merchant.network.broadcast == []
        said = "Another request that it pays too has been paid: nothing is broadcast by itself."
        assert view_of(merchant.sessions, first).trouble == merchant.row(first)["held_back"] == said
        assert list(merchant.sessions.objections.at_stake()) == [original.txid()]
        assert merchant.sessions.handover.to_go() == set()


@on_electrums_loop
async def test_it_does_not_go_out_where_the_address_of_one_is_another_customers(
    tmp_path: Path, set_ahead: Callable[[int], None]
) -> None:
    async with one_for_two(tmp_path) as (merchant, first, second, _original):
        address = merchant.row(second)["address"]
        await merchant.sessions.store.flush()
        alone = reopen(merchant.wallet)
        merchant.sessions.store.close()
        await merchant.close()
        set_ahead(2 * HOUR)
        third = alone.create_request(AMOUNT, "another customer", HOUR, address)
        alone.save_db()
        again = Merchant(merchant.shop, reopen(alone))
        await again.open()
        await a_while(again)
        assert again.network.broadcast == []
        assert "Another request waits" in (view_of(again.sessions, first).trouble or "")
        await again.close()
        assert again.sessions.handover.hand_over() == 0
        assert again.wallet.get_invoice_status(again.wallet.get_request(third)) == PR_UNPAID


@asynccontextmanager
async def each_pays_both(folder: Path) -> AsyncIterator[tuple[Merchant, list[str]]]:
    """Two sessions that hold an original each, of other coins, which pays both requests."""
    async with shop(folder) as merchant:
        merchant.wallet.config.PAYJOIN_ASK_BEFORE_CONTRIBUTING = True
        offers, paying = [merchant.offer(), merchant.offer()], []
        addresses = [parse(uri).address for _, uri in offers]
        for (session_id, uri), other in zip(offers, reversed(addresses), strict=True):
            made = beside(merchant, uri, other, AMOUNT, purse=session_id)
            paying.append(asyncio.ensure_future(merchant.shop.sender(uri, made=made).run()))
            await merchant.until_row(session_id, reason="needs_approval")
        yield merchant, [session_id for session_id, _ in offers]
        for one in paying:
            one.cancel()


@on_electrums_loop
async def test_of_two_that_each_pay_both_requests_one_goes_out(
    tmp_path: Path, set_ahead: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "next", lambda _: 0.05)
    async with each_pays_both(tmp_path) as (merchant, _ids):
        hear = merchant.network.on_broadcast
        merchant.network.on_broadcast = lambda tx: asyncio.get_running_loop().call_later(1, hear, tx)
        set_ahead(2 * HOUR)
        await merchant.until(lambda: bool(merchant.network.broadcast))
        await asyncio.sleep(1.5)
        await seen_to(merchant)
        assert len(merchant.network.broadcast) == 1


@on_electrums_loop
async def test_of_two_that_each_pay_both_requests_one_goes_out_by_hand_before_the_wallet_has_heard_of_it(
    tmp_path: Path,
) -> None:
    async with each_pays_both(tmp_path) as (merchant, (first, second)):
        merchant.network.on_broadcast = lambda _: None
        await merchant.sessions.broadcast_original(first)
        with pytest.raises(UserError, match="a moment ago"):
            await merchant.sessions.broadcast_original(second)
        assert len(merchant.network.broadcast) == 1


@on_electrums_loop
async def test_one_that_was_refused_keeps_the_other_from_nobody(tmp_path: Path) -> None:
    async with each_pays_both(tmp_path) as (merchant, (first, second)):
        take = merchant.network.broadcast_transaction

        async def refuse(_tx: Transaction) -> None:
            raise TxBroadcastServerReturnedError("mempool min fee not met")

        merchant.network.broadcast_transaction = refuse  # type: ignore[method-assign,assignment]
        with pytest.raises(UserError, match="min fee"):
            await merchant.sessions.broadcast_original(first)
        merchant.network.broadcast_transaction = take  # type: ignore[method-assign]
        assert [await merchant.sessions.broadcast_original(second)] == merchant.network.broadcast


@on_electrums_loop
async def test_who_pays_a_little_to_our_other_address_withholds_it_from_nobody(tmp_path: Path) -> None:
    async with shop(tmp_path, text=two_keys()) as merchant:
        first, other = merchant.wallet.get_receiving_addresses()
        with request_made_in_window(wanted=True):
            request = merchant.wallet.get_request(merchant.wallet.create_request(AMOUNT, "", HOUR, first))
        uri, session_id = merchant.uri(request), merchant.session_of(request)
        await merchant.shop.sender(uri, made=beside(merchant, uri, other, 1_000)).run()
        await merchant.until_row(session_id, stage="waiting_for_broadcast")
        assert merchant.wallet.get_receiving_address() == other, "at the first one our own coin would pay the request"
