"""The list of requests."""

from __future__ import annotations

from typing import Any

import pytest
from electrum.gui.qt.request_list import ROLE_KEY
from electrum.invoices import Request
from PyQt6.QtWidgets import QMenu

from payjoin_plugin.gui import requests as marks
from tests.gui.house import House, Resident, press
from tests.wallet.wallets import PASSWORD


def row_of(shop: Resident, request_id: str) -> int:
    model = shop.tab.request_list.std_model
    return next(row for row in range(model.rowCount()) if model.item(row, 0).data(ROLE_KEY) == request_id)


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
    columns = shop.tab.request_list.Columns
    return str(shop.tab.request_list.std_model.item(row_of(shop, request_id), columns.STATUS).toolTip())


def test_a_payjoin_is_a_property_of_the_request(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    request_id = shop.request()
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
    assert len(shop.sessions.store.originals()) == 1, "the payment can still be broadcast"
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
    monkeypatch.setattr(marks, "view_of", failing)
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


def test_the_history_tells_amounts_in_the_unit_of_now(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: "Answered" in shop.line)
    item = {"txid": offer.complete(shop).txid()}
    history = shop.parts.history
    assert " BTC and received" in history._said(item)
    house.config.BTC_AMOUNTS_DECIMAL_POINT = 5
    try:
        assert " mBTC and received" in history._said(item)
    finally:
        house.config.BTC_AMOUNTS_DECIMAL_POINT = 8
