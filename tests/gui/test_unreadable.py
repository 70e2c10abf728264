"""What cannot be read is said, and left as it is: one session's record, or all of the wallet's payjoin storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.gui.house import House, Resident
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
