"""Whatever a mouse can do, the keyboard can."""

from __future__ import annotations

from typing import Any

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtTest import QTest
from PyQt6.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QTableView, QWidget

from payjoin_plugin.gui.labels import KeyHelpLabel
from payjoin_plugin.gui.settings import SettingsDialog
from tests.gui.house import House, press


def tab_stops(first: QWidget) -> list[QWidget]:
    """Where Tab leads, from `first` on, once around."""
    found, widget = [first], first.nextInFocusChain()
    while widget is not None and widget is not first:
        if widget.isVisible() and widget.isEnabled() and widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
            found.append(widget)
        widget = widget.nextInFocusChain()
    return found


def test_tab_goes_through_the_receive_tab_in_the_order_in_which_it_is_read(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    tab, panel = shop.tab, shop.parts.panel
    stops = tab_stops(tab.receive_message_e)
    order = [tab.receive_amount_e, tab.expiry_button, shop.parts.toggle.box, tab.create_onchain_invoice_button]
    places = [stops.index(widget) for widget in (*order, *panel.buttons[:2], tab.request_list)]
    assert places == sorted(places)


def test_space_presses_the_buttons_of_the_receive_tab(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    asked = house.answers(press("Keep waiting"))
    QTest.keyClick(shop.parts.panel.buttons[0], Qt.Key.Key_Space)
    assert asked[0].title == "Abort payjoin · Two coffees"
    assert asked[0].buttons[0] == "Keep waiting"


def test_escape_leaves_the_question_of_an_abort_without_one(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    asked = house.answers(lambda dialog: QTest.keyClick(dialog, Qt.Key.Key_Escape))
    shop.press("Abort payjoin")
    assert asked
    assert session_id in shop.sessions.ledger.open


def test_tab_reaches_all_of_the_sessions_window(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.parts.show_sessions(shop.session_of(shop.request()))
    window = shop.parts._window_of_sessions
    house.until(lambda: window._has_loaded and window.detail.session_id is not None)
    usable = {widget for widget in inputs_in(window) if widget.isVisible() and widget.isEnabled()}
    assert usable - set(tab_stops(window.search)) == set()
    assert {window.show_box, window.table, window.export, window.detail.buttons["abort"]} <= usable


@pytest.mark.parametrize("key", [Qt.Key.Key_Space, Qt.Key.Key_Return])
def test_each_help_text_is_shown_by_a_key(house: House, key: Qt.Key) -> None:
    shop = house.open("shop", 5_000_000)
    dialog = SettingsDialog(shop.window, house.config, house.plugin.services)
    dialog.show()
    labels = dialog.findChildren(KeyHelpLabel)
    assert len(labels) >= 7
    stops = tab_stops(labels[0])
    for label in labels:
        assert label in stops
        asked = house.answers(press("OK"))
        QTest.keyClick(label, key)
        assert asked[0].text == label.help_text
    usable = {widget for widget in inputs_in(dialog) if widget.isVisible() and widget.isEnabled()}
    assert {widget.text() for widget in usable - set(stops) if isinstance(widget, QAbstractButton)} == set()
    dialog.reject()


def inputs_in(widget: QWidget) -> list[Any]:
    """What a person can use in it."""
    kinds = (QAbstractButton, QComboBox, QLineEdit, QTableView)
    return [child for kind in kinds for child in widget.findChildren(kind) if not is_inner(child)]


def is_inner(widget: QWidget) -> bool:
    """Whether Qt made it inside another widget: the corner of a table, the cross in a line, the list of a box."""
    parent = widget.parentWidget()
    return (
        isinstance(parent, QTableView | QLineEdit | QComboBox | QAbstractSpinBox) or "Private" in type(parent).__name__
    )
