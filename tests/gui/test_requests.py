"""The list of requests."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from electrum.gui.qt.request_list import ROLE_KEY
from electrum.invoices import Request
from electrum.wallet import Abstract_Wallet
from PyQt6.QtCore import QEvent
from PyQt6.QtGui import QHelpEvent, QIcon
from PyQt6.QtWidgets import QMenu, QToolTip

from payjoin_plugin.session.log import decode_log
from tests.gui.house import House, Resident, press
from tests.gui.many import with_held_payments
from tests.wallet.wallets import PASSWORD, make_wallet


def row_of(shop: Resident, request_id: str) -> int:
    model = shop.tab.request_list.std_model
    return next(row for row in range(model.rowCount()) if model.item(row, 0).data(ROLE_KEY) == request_id)


def icon_of(shop: Resident, request_id: str) -> QIcon:
    icon: QIcon = shop.tab.request_list.std_model.item(row_of(shop, request_id), 0).icon()
    return icon


def is_marked(shop: Resident, request_id: str) -> bool:
    """Whether a request's row has our icon."""
    return icon_of(shop, request_id).cacheKey() == shop.house.plugin.icon.cacheKey()


def menu_of(shop: Resident, request_id: str) -> dict[str, bool]:
    """What our part of a request's menu offers, and whether it is enabled."""
    menu = QMenu()
    shop.house.plugin.receive_list_menu(shop.window, menu, request_id)
    return {action.text(): action.isEnabled() for action in menu.actions() if action.text()}


def choose(shop: Resident, request_id: str, words: str) -> None:
    menu = QMenu()
    shop.house.plugin.receive_list_menu(shop.window, menu, request_id)
    (action,) = (action for action in menu.actions() if action.text() == words)
    action.trigger()


def tooltip(shop: Resident, request_id: str) -> str:
    """What Qt shows when the mouse rests on a request."""
    view = shop.tab.request_list
    index = view.proxy.mapFromSource(view.std_model.index(row_of(shop, request_id), view.Columns.STATUS))
    view.scrollTo(index)
    place = view.visualRect(index).center()
    QToolTip.hideText()
    asks = QHelpEvent(QEvent.Type.ToolTip, place, view.viewport().mapToGlobal(place))
    shop.house.gui.app.sendEvent(view.viewport(), asks)
    return QToolTip.text()


def test_a_payjoin_is_a_property_of_the_request(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    request_id = shop.request()
    assert is_marked(shop, request_id)
    assert tooltip(shop, request_id) == "Payjoin: Waiting for the sender to pay"
    house.sender().offer(shop)
    house.until(lambda: "Answered" in tooltip(shop, request_id))


def test_the_menu_makes_a_request_plain(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    request_id = shop.request()
    assert menu_of(shop, request_id) == {"Abort payjoin": True, "Without payjoin": True, "Payjoin details": True}
    choose(shop, request_id, "Without payjoin")
    house.until(lambda: "pj=" not in shop.tab.URI)
    assert shop.line == "Without payjoin, as you chose."
    assert tooltip(shop, request_id) == "Payjoin: Without payjoin, as you chose."
    assert menu_of(shop, request_id) == {"Abort payjoin": False, "Payjoin details": True}


def test_deleting_a_request_asks_where_the_senders_payment_is_held(house: House) -> None:
    shop = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    request_id = shop.request()
    house.sender().offer(shop)
    house.until(lambda: "Unlock the wallet" in shop.line)
    assert "Broadcast original payment…" in menu_of(shop, request_id)
    asked = house.answers(press("&No"))
    shop.tab.request_list.delete_requests([request_id])
    assert "signed a payment of 0.001 BTC" in asked[0].text
    assert shop.wallet.get_request(request_id) is not None
    house.answers(press("&Yes"))
    shop.tab.request_list.delete_requests([request_id])
    assert shop.wallet.get_request(request_id) is None
    house.settle(0.3)
    assert len(shop.sessions.store.kept.all()) == 1, "the payment can still be broadcast"
    assert shop.line == ""


def test_deleting_a_request_that_nobody_answered_asks_nothing(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    request_id = shop.request()
    shop.tab.request_list.delete_requests([request_id])
    assert shop.wallet.get_request(request_id) is None


def test_a_fault_of_ours_does_not_keep_expired_requests_from_being_deleted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    request_id = shop.request()

    def failing(*_args: Any) -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(Request, "has_expired", lambda _request: True)
    monkeypatch.setattr(shop.sessions.objections, "at_stake", failing)
    assert shop.wallet.delete_expired_requests() == [request_id]


def test_a_tooltip_follows_the_chain_after_the_end(house: House) -> None:
    shop = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    request_id = shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: "Unlock the wallet" in shop.line)
    house.answers(press("Abort payjoin", tick=False))
    shop.press("Abort payjoin")
    house.until(lambda: "was not broadcast" in tooltip(shop, request_id))
    offer.pay_plainly(shop)
    house.until(lambda: tooltip(shop, request_id) == "Payjoin: Aborted. Paid by the sender's own payment.")


def test_the_list_replays_no_session_of_its_rows(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    wallet = with_held_payments(house, 5, aborted=True)
    replayed = set[str]()

    def counted(log: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            replayed.add(log["events"][0]["request_id"])
        return decode_log(log, **kwargs)

    monkeypatch.setattr("payjoin_plugin.app.ledger.decode_log", counted)
    shop = house.move_in(wallet)
    house.config.BTC_AMOUNTS_DECIMAL_POINT = 5
    try:
        shop.parts._refresh()
        shop.tab.request_list.update()
        asked = house.answers(press("&No"))
        shop.tab.request_list.delete_requests([request.get_id() for request in wallet.get_unpaid_requests()])
        assert "5 of these requests hold signed payments of 1.0001 mBTC" in asked[0].text
    finally:
        house.config.BTC_AMOUNTS_DECIMAL_POINT = 8
    assert len(replayed) <= 1, "the one that the receive tab shows"
    (request, *_) = wallet.get_unpaid_requests()
    assert "was not broadcast" in tooltip(shop, request.get_id())


def test_the_window_does_not_wait_for_its_sessions(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, may_start = house.plugin.started, threading.Event()

    async def slow(wallet: Abstract_Wallet) -> None:
        await asyncio.to_thread(may_start.wait)
        await started(wallet)

    monkeypatch.setattr(house.plugin, "started", slow)
    wallets = [make_wallet(tmp_path, name, on_disk=True) for name in ("patient", "hasty")]
    patient, hasty = [house.gui._create_window_for_wallet(wallet) for wallet in wallets]
    assert house.plugin.parts_of(patient) is None
    house.close_window(hasty)
    may_start.set()
    house.until(lambda: house.plugin.parts_of(patient) is not None)
    assert house.plugin.parts_of(hasty) is None


def test_the_history_tells_amounts_in_the_unit_of_now(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: "Answered" in shop.line)
    item = {"txid": offer.complete(shop).txid()}
    history = shop.parts.history
    house.until(lambda: " BTC and received" in (history._said(item) or ""))
    house.config.BTC_AMOUNTS_DECIMAL_POINT = 5
    try:
        house.until(lambda: " mBTC and received" in (history._said(item) or ""))
    finally:
        house.config.BTC_AMOUNTS_DECIMAL_POINT = 8
