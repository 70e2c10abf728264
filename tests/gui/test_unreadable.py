"""What cannot be read is said, and left as it is: one session's record, or all of the wallet's payjoin storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from electrum.transaction import Transaction

from tests.gui.house import House, Resident, press
from tests.gui.test_abort import waiting_for_password
from tests.gui.test_deeds import confirm_elsewhere
from tests.gui.test_requests import is_marked
from tests.gui.test_sessions_window import shown
from tests.wallet.wallets import PASSWORD, pay, plugin_storage, see_in_mempool

DAMAGED = "Payjoin's data in this wallet is damaged."
NEWER = "Payjoin's data in this wallet was made by a newer version of Payjoin."
WHOLE: dict[str, tuple[Callable[[Any], object], str]] = {
    "newer": (lambda ours: ours.__setitem__("version", 2), NEWER),
    "no version": (lambda ours: ours.__setitem__("version", "one"), DAMAGED),
    "no sessions": (lambda ours: ours.__setitem__("sessions", "gone"), DAMAGED),
}


def reopened(house: House, shop: Resident, change: Callable[[Any], object]) -> Resident:
    """Close a wallet's window, change what the plugin has in the wallet, and open it again."""
    wallet = shop.wallet
    house.close_window(shop.window)
    change(plugin_storage(wallet))
    again = house.move_in(wallet)
    again.tab.request_list.setCurrentIndex(again.tab.request_list.model().index(0, 0))
    house.settle(0.3)
    return again


def sessions_window(shop: Resident) -> Any:
    shop.parts.show_sessions(None)
    window = shop.parts._window_of_sessions
    shop.house.until(lambda: window._has_loaded)
    return window


@pytest.mark.parametrize("what", WHOLE)
def test_storage_that_cannot_be_read_is_said_wherever_payjoin_is(house: House, what: str) -> None:
    change, sentence = WHOLE[what]
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    shop = reopened(house, shop, change)
    house.until(lambda: shop.parts.toggle.reason.words == sentence)
    assert not shop.parts.toggle.box.isEnabled()
    expected = {"newer": "Made by a newer version of Payjoin.", "no version": "Its record is damaged."}
    assert shop.line.startswith(expected.get(what, sentence))
    shop.request(70_000)
    assert shop.line == sentence
    assert "pj=" not in shop.tab.URI
    window = sessions_window(shop)
    assert window.empty.isVisible()
    assert window.empty.text().startswith(sentence)
    assert ("Update the plugin" in window.empty.text()) == (what == "newer")
    tx = pay(house.sender().wallet, shop.wallet.get_receiving_addresses()[0], 70_000)
    see_in_mempool(shop.wallet, tx)
    assert shop.wallet.get_user_notifications_for_new_txns([tx]) == ["New transaction: received 0.0007 BTC"]
    assert shop.parts.finder.settled_by(tx) is None


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda log: log.__setitem__("format", 99), "Made by a newer version of Payjoin. Left as it is."),
        (lambda log: log["events"].append({"at": 1, "event": "nonsense"}), "Its record is damaged. Left as it is."),
    ],
    ids=["newer", "damaged"],
)
def test_a_session_that_cannot_be_read_is_said_and_the_others_go_on(
    house: House, change: Callable[[Any], object], line: str
) -> None:
    shop = house.open("shop", 5_000_000, password=PASSWORD).with_keys()
    session_id = shop.session_of(shop.request())
    shop = reopened(house, shop, lambda ours: change(ours["sessions"][session_id]))
    assert shop.line == line
    assert "pj=" not in shop.tab.URI
    assert shop.buttons == ["Abort payjoin", "Details"]
    assert shop.parts.panel.buttons[0].toolTip() == "Its record cannot be read."
    shop.press("Details")
    window = shop.parts._window_of_sessions
    house.until(lambda: window._has_loaded and window.detail.line.text() == line)
    assert not any(window.detail.buttons[name].isEnabled() for name in ("abort", "broadcast", "show", "copy"))
    shop.request(70_000)
    assert shop.line.startswith("Waiting for the sender to pay")


RECORDS: dict[str, tuple[Callable[[Any, str], object], str]] = {
    "newer": (lambda ours, session_id: ours["sessions"][session_id].__setitem__("format", 99), "Made by a newer"),
    "gone": (lambda ours, session_id: ours["sessions"].pop(session_id), "Its record is gone."),
    "all newer": (lambda ours, _session_id: ours.__setitem__("version", 2), "Made by a newer"),
}


@pytest.mark.parametrize("what", RECORDS)
def test_a_kept_payment_can_be_had_without_its_record(house: House, what: str) -> None:
    change, said = RECORDS[what]
    house.config.set_key("plugins.payjoin.broadcast_original_by_itself", value=False, save=False)
    shop, session_id = waiting_for_password(house)
    shop = reopened(house, shop, lambda ours: change(ours, session_id))
    (kept,) = shop.sessions.originals.kept().values()
    assert shop.line.startswith(said)
    assert shop.line.endswith(" The sender's own payment of 0.001 BTC is kept.")
    assert shop.buttons == ["Abort payjoin", "Details", "Broadcast it…"]
    request_id = shop.tab.request_list.get_current_key()
    assert is_marked(shop, request_id)
    asked = house.answers(press("&No"))
    shop.tab.request_list.delete_requests([request_id])
    assert "The sender has signed a payment of 0.001 BTC for this request" in asked[0].text
    window = sessions_window(shop)
    assert not window.empty.isVisible()
    assert shown(window) == ["Two coffees"]
    assert window.detail.line.text() == shop.line
    asked = house.answers(press("&Yes"))
    window.detail.buttons["broadcast"].click()
    house.until(lambda: house.network.broadcast == [kept.txid])
    assert f"Its fee: not known. Transaction {kept.txid[:4]}" in asked[0].text
    see_in_mempool(shop.wallet, Transaction(kept.tx))
    house.until(lambda: shop.line.startswith(said) and shop.line.endswith(" The request is paid."))
    assert shop.buttons == ["Abort payjoin", "Details", "Show transaction"]


def test_a_kept_payment_whose_coins_a_block_spends_is_not_offered(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.config.set_key("plugins.payjoin.broadcast_original_by_itself", value=False, save=False)
    shop = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    session_id = shop.session_of(shop.request())
    offer = house.sender().offer(shop)
    house.until(lambda: "Unlock the wallet" in shop.line)
    shop = reopened(house, shop, lambda ours: ours["sessions"].pop(session_id))
    assert "Broadcast it…" in shop.buttons
    monkeypatch.setattr("payjoin_plugin.app.originals.DEEP", 10_000)  # the block is not deep enough to forget it
    confirm_elsewhere(house, offer, monkeypatch)
    shop = reopened(house, shop, lambda _ours: None)  # a wallet's load asks the server about each kept payment
    house.until(lambda: shop.line == "Its record is gone. The sender's coins were spent elsewhere.")
    assert shop.buttons == ["Abort payjoin", "Details"]


def test_of_a_request_of_whose_payjoin_nothing_is_left_nothing_untrue_is_said(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    session_id = shop.session_of(shop.request())
    offer = house.sender().offer(shop)
    house.until(lambda: "Unlock the wallet" in shop.line)
    confirm_elsewhere(house, offer, monkeypatch)
    shop = reopened(house, shop, lambda ours: ours["sessions"].pop(session_id))
    house.until(lambda: not shop.sessions.originals.kept(), "the block is deep")
    shop.parts._refresh()
    assert shop.line == "This request has no payjoin."
    assert shop.buttons == []


def test_a_kept_payment_is_listed_when_record_and_request_are_gone(house: House) -> None:
    house.config.set_key("plugins.payjoin.broadcast_original_by_itself", value=False, save=False)
    shop, session_id = waiting_for_password(house)
    shop = reopened(house, shop, lambda ours: ours["sessions"].pop(session_id))
    house.answers(press("&Yes"))
    shop.tab.request_list.delete_requests([shop.tab.request_list.get_current_key()])
    window = sessions_window(shop)
    assert shown(window) == ["Record gone"]
    assert window.detail.buttons["broadcast"].isEnabled()
