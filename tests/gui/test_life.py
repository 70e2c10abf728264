"""Windows come and go, and so does the plugin: nothing of ours stays behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from electrum.plugin import hooks
from PyQt6.QtCore import QTimer
from PyQt6.QtWidgets import QWidget

from payjoin_plugin.app.view import Finder
from tests.gui.house import House, Resident
from tests.wallet.wallets import pay, see_in_mempool

SEAMS = (
    "add_payment_request get_request_URI delete_request stop get_unused_addresses is_frozen_coin "
    "get_user_notifications_for_new_txns delete_expired_requests"
).split()


@pytest.fixture
def removed(house: House) -> Iterator[None]:
    """The plugin is there again after the test."""
    yield
    if "payjoin" not in house.plugins.plugins:
        house.plugin = house.plugins.load_payjoin()


def names_of(window: QWidget) -> list[str]:
    """Every widget and timer of a window, by class and text."""
    found = []
    for child in [*window.findChildren(QWidget), *window.findChildren(QTimer)]:
        text = getattr(child, "text", lambda: "")
        found.append(f"{type(child).__name__} {text() if callable(text) else ''}")
    return sorted(found)


def wraps_on(shop: Resident) -> set[str]:
    """Every attribute of an instance that stands before a method of its class."""
    targets: list[Any] = [shop.wallet, shop.tab, shop.tab.request_list, shop.window.utxo_list]
    return {
        f"{type(target).__name__}.{name}"
        for target in targets
        for name in vars(target)
        if callable(vars(target)[name]) and callable(getattr(type(target), name, None))
    }


def test_removal_leaves_no_widget_menu_wrap_or_timer(house: House, removed: None) -> None:
    plain_house_window = house.open("plain")
    house.plugins.disable("payjoin")
    house.settle(0.3)
    plain = names_of(plain_house_window.window)
    house.plugin = house.plugins.load_payjoin()
    house.gui.reload_window(plain_house_window.window)
    house.settle(0.3)
    window = house.gui.windows[-1]
    assert window is not plain_house_window.window
    resident = Resident(house, window)
    assert names_of(window) != plain
    assert wraps_on(resident)
    house.plugins.disable("payjoin")
    house.settle(0.3)
    assert [name for name in names_of(window) if "ayjoin" in name] == []
    assert wraps_on(resident) == set()
    assert not [action for action in window.wallet_menu.actions() if "ayjoin" in action.text()]
    assert not [entry for entries in hooks.values() for entry in entries if entry[0].name == "payjoin"]


def test_a_request_is_plain_electrums_after_the_removal(house: House, removed: None) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    assert "pj=" in shop.tab.URI
    house.plugins.disable("payjoin")
    house.settle(0.2)
    shop.tab.update_current_request()
    assert "pj=" not in shop.tab.URI
    shop.request(50_000)
    assert "pj=" not in shop.tab.URI


def test_a_reloaded_window_goes_on_where_it_was(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    request_id = shop.request()
    house.gui.reload_window(shop.window)
    house.settle(0.3)
    again = Resident(house, house.gui.windows[-1])
    assert again.window is not shop.window
    again.tab.request_list.set_current_key(request_id)
    house.until(lambda: again.line.startswith("Waiting for the sender"))
    assert house.plugin.parts_of(shop.window) is None
    house.sender().offer(again)
    house.until(lambda: again.line.startswith("Answered"))


def test_two_windows_show_each_its_own_wallet(house: House) -> None:
    shop, cafe = house.open("shop", 5_000_000).with_keys(), house.open("cafe", 3_000_000).with_keys()
    shop.request()
    cafe.request()
    house.sender().offer(cafe)
    house.until(lambda: cafe.line.startswith("Answered"))
    assert shop.line.startswith("Waiting for the sender")


def test_one_payment_rings_once(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    offer.complete(shop)
    house.until(lambda: house.rung)
    house.settle(1.5)
    assert len(house.rung) == 1
    assert house.rung[0].startswith("Paid by payjoin: 0.00099")


def test_a_plain_payment_rings_as_electrum_rings(house: House) -> None:
    shop = house.open("shop", 5_000_000)
    tx = pay(house.sender().wallet, shop.wallet.get_receiving_addresses()[0], 70_000)
    see_in_mempool(shop.wallet, tx)
    assert shop.wallet.get_user_notifications_for_new_txns([tx]) == ["New transaction: received 0.0007 BTC"]


def test_the_transaction_dialog_says_that_it_is_a_payjoin(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    tx = offer.complete(shop)
    house.until(lambda: shop.line.startswith("Paid by payjoin"))
    view = Finder(shop.sessions).settled_by(tx)
    assert view is not None
    shop.press("Show transaction")
    house.settle(0.3)
    from electrum.gui.qt.transaction_dialog import dialogs  # noqa: PLC0415

    line = dialogs[-1].findChild(QWidget, "payjoin_line")
    assert line is not None
    assert line.isVisible()
    assert line.text().startswith("Payjoin. You added 0.05 BTC and received 0.00099")
    dialogs[-1].close()


def test_a_reserved_coin_says_for_what_and_until_when(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    coins = shop.window.utxo_list
    coins.update()
    (outpoint,) = coins._utxo_dict
    coins.add_to_coincontrol(list(coins._utxo_dict.values()))
    house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    house.settle(0.3)
    coins.update()  # as when the tab is opened
    assert coins._spend_set == set(), "coin control would spend it silently"
    assert "Reserved for a payjoin until" in coins.std_model.item(0, coins.Columns.OUTPOINT).toolTip()
    found = shop.sessions.ledger.reserved_for(outpoint)
    assert found is not None
    assert found[0] == session_id
