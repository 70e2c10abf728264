"""A payment that pays two requests, or two addresses of ours: of which one is paid, another's by now, or free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from electrum.bitcoin import address_to_script
from electrum.invoices import PR_UNPAID

from payjoin_plugin.app.offering import request_made_in_window
from payjoin_plugin.app.view import view_of
from payjoin_plugin.client.pace import Backoff
from payjoin_plugin.wire.uri import parse
from tests.app.test_charged_once import HOUR, a_while
from tests.app.test_kept_originals import one_for_two, seen_to
from tests.app.test_own_money import two_keys
from tests.bip78.payments import Payment
from tests.merchant import AMOUNT, Merchant, on_electrums_loop, shop
from tests.wallet.wallets import foreign_outpoint, reopen, transaction


def beside(merchant: Merchant, uri: str, address: str, amount_sat: int, *, purse: str = "beside") -> Payment:
    """A payment of a request that pays another address too."""
    made = merchant.shop.payment(parse(uri).address, purse=purse)
    (to_us, (change, change_sat)) = made.outputs
    return replace(made, outputs=(to_us, (address_to_script(address), amount_sat), (change, change_sat - amount_sat)))


@pytest.mark.parametrize("wanted", [False, True], ids=["plain", "with an offer that nobody took"])
@on_electrums_loop
async def test_it_does_not_go_out_where_a_request_of_which_no_session_heard_is_paid(
    tmp_path: Path, set_ahead: Callable[[int], None], *, wanted: bool
) -> None:
    async with shop(tmp_path) as merchant:
        merchant.wallet.config.PAYJOIN_ASK_BEFORE_CONTRIBUTING = True
        session_id, uri = merchant.offer()
        second = merchant.request(wanted=wanted)
        made = beside(merchant, uri, second.get_address(), AMOUNT)
        paying = asyncio.ensure_future(merchant.shop.sender(uri, made=made).run())
        await merchant.until_row(session_id, reason="needs_approval")
        merchant.sees(transaction([foreign_outpoint("second")], [(second.get_address(), AMOUNT)]))
        set_ahead(2 * HOUR)
        await a_while(merchant)
        await merchant.until(lambda: not merchant.sessions.live.is_at_work(session_id))
        assert merchant.network.broadcast == []
        paying.cancel()


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


@on_electrums_loop
async def test_of_two_that_each_pay_both_requests_one_goes_out(
    tmp_path: Path, set_ahead: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "next", lambda _: 0.05)
    async with shop(tmp_path) as merchant:
        merchant.wallet.config.PAYJOIN_ASK_BEFORE_CONTRIBUTING = True
        offers, paying = [merchant.offer(), merchant.offer()], []
        addresses = [parse(uri).address for _, uri in offers]
        for (session_id, uri), other in zip(offers, reversed(addresses), strict=True):
            made = beside(merchant, uri, other, AMOUNT, purse=session_id)
            paying.append(asyncio.ensure_future(merchant.shop.sender(uri, made=made).run()))
            await merchant.until_row(session_id, reason="needs_approval")
        hear = merchant.network.on_broadcast
        merchant.network.on_broadcast = lambda tx: asyncio.get_running_loop().call_later(1, hear, tx)
        set_ahead(2 * HOUR)
        await merchant.until(lambda: bool(merchant.network.broadcast))
        await asyncio.sleep(1.5)
        await seen_to(merchant)
        assert len(merchant.network.broadcast) == 1
        for one in paying:
            one.cancel()


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
