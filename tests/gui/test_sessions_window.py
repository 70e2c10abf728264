"""The *Payjoin sessions* window."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from electrum.transaction import TxInput
from PyQt6.QtCore import QCoreApplication, QPoint, Qt
from PyQt6.QtTest import QTest
from PyQt6.QtWidgets import QMenu

from payjoin_plugin.app.offering import request_made_in_window
from payjoin_plugin.app.sessions import WalletSessions
from payjoin_plugin.app.view import view_of
from payjoin_plugin.app.visible import PaidBy
from payjoin_plugin.gui import sessions as sessions_window
from payjoin_plugin.gui.session_model import Column, Row, SessionModel, Show, row_of
from payjoin_plugin.session.events import Abort, Closed
from payjoin_plugin.session.status import Status
from tests.gui.house import House, Resident, press
from tests.wallet.wallets import run, see_in_mempool, transaction


def open_window(shop: Resident, session_id: str | None = None) -> Any:
    shop.parts.show_sessions(session_id)
    window = shop.parts._window_of_sessions
    shop.house.until(lambda: window._has_loaded)
    return window


def shown(window: Any) -> list[str]:
    model = window.model
    return [model.data(model.index(row, Column.DESCRIPTION)) for row in range(model.rowCount())]


def test_an_empty_window_says_what_payjoin_is_and_how_to_start(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    window = open_window(shop)
    assert window.empty.isVisible()
    assert window.empty.text().startswith("No payjoins yet. Make a request in the Receive tab")


def test_it_lists_filters_and_searches(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request(message="Two coffees")
    rent = shop.request(40_000_000, message="Rent")
    shop.sessions.ledger.record(shop.sessions.ledger.open[shop.session_of(rent)], Closed(Abort()))
    window = open_window(shop)
    assert window.show_box.currentText() == "Open"
    assert shown(window) == ["Two coffees"]
    window.show_box.setCurrentText("Not paid")
    assert shown(window) == ["Rent"]
    window.show_box.setCurrentText("All")
    window.search.setText("coff")
    assert shown(window) == ["Two coffees"]
    window.search.clear()
    window.table.sortByColumn(Column.AMOUNT, window.table.horizontalHeader().sortIndicatorOrder().DescendingOrder)
    assert shown(window) == ["Rent", "Two coffees"]


def test_the_timeline_tells_what_happened(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    window = open_window(shop, session_id)
    assert window.detail.title.text() == "Two coffees · 0.001 BTC"
    assert window.detail.address.words == shop.wallet.get_request(shop.tab.request_list.get_current_key()).get_address()
    assert window.detail.line.text().startswith("Waiting for the sender to pay · 2")
    offer = house.sender().offer(shop)
    house.until(lambda: "Answered" in window.detail.timeline.toPlainText())
    told = [line[21:].partition(" ")[0] for line in window.detail.timeline.toPlainText().splitlines()]
    assert told == ["Request", "The", "Checked:", "Adding", "Signed", "Answered"]
    offer.complete(shop)
    house.until(lambda: window.detail.line.text().startswith("Paid by payjoin"))
    assert window.detail.money.text().startswith("You add 0.05 BTC and receive 0.00099")
    assert not window.detail.buttons["abort"].isEnabled()
    assert window.detail.buttons["abort"].toolTip() == "The payment is already on its way."
    assert window.detail.buttons["show"].isEnabled()
    paid = view_of(shop.sessions, session_id)
    for otherwise in (
        replace(paid, paid_by=PaidBy.ORIGINAL),
        replace(paid, paid_by=None),
        replace(paid, paid_by=None, replaced_by=("00", 1)),
        replace(paid, paid_by=None, status=Status.ABORTED),
        replace(paid, paid_by=None, status=Status.FAILED, double_spent=True),
    ):
        assert window.detail._money(otherwise) == "", "of a payjoin that did not come there is nothing to tell"


def test_what_is_not_selected_is_not_exported(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    window = open_window(shop, shop.session_of(shop.request()))
    assert window.detail.session_id is not None
    assert window.export.isEnabled()
    window.search.setText("nothing is called so")
    assert not window.export.isEnabled()


def test_the_timeline_tells_amounts_in_the_unit_of_the_window(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request(150_000))
    house.config.set_key("decimal_point", 5, save=False)
    try:
        window = open_window(shop, session_id)
        assert "Request made for 1.5 mBTC, valid until" in window.detail.timeline.toPlainText()
    finally:
        house.config.set_key("decimal_point", 8, save=False)
    told = shop.sessions.report.row_with_events(session_id)["events"][0]["detail"]
    assert told.startswith("Request made for 0.0015 BTC, valid until"), "commands have one unit for all"


def test_a_declined_request_is_not_called_aborted(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    request_id = shop.request()
    window = open_window(shop, shop.session_of(request_id))
    shop.parts.deeds.decline(request_id)
    house.until(lambda: "Without payjoin, as you chose" in window.detail.timeline.toPlainText())
    assert "bort" not in window.detail.timeline.toPlainText()
    assert window.model._rows[shop.session_of(request_id)].said == "Without payjoin"


def test_an_export_carries_no_address_unless_that_is_wanted(house: House, tmp_path: Path) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    house.sender().offer(shop)
    house.until(lambda: "Answered" in shop.line)
    window = open_window(shop, session_id)
    window.save(tmp_path / "redacted.json", session_id, with_details=False)
    redacted = (tmp_path / "redacted.json").read_text()
    for secret in (session_id, "bcrt1", "0.05", "0.001", "5000000", "100000"):
        assert secret not in redacted
    events = json.loads(redacted)["session"]["events"]
    assert [event["event"] for event in events][-1] == "PostedProposal"
    window.save(tmp_path / "whole.json", session_id, with_details=True)
    assert "bcrt1" in (tmp_path / "whole.json").read_text()


def many_rows(count: int) -> list[Row]:
    statuses = list(Status)
    return [
        Row(f"s{n}", 1_795_000_000 + n, f"Invoice {n}", 10_000 + n * 7 % 1000, statuses[n % 7], None, 0, f"invoice {n}")
        for n in range(count)
    ]


@pytest.mark.parametrize("column", list(Column))
def test_ten_thousand_sessions_are_sorted_and_searched(house: House, column: Column) -> None:
    model = SessionModel(QCoreApplication.instance(), house.config)
    model.put(many_rows(10_000))
    model.sort(column)
    model.choose(Show.NOT_PAID, "99")
    assert 0 < model.rowCount() < 10_000


def test_the_window_leads_to_the_settings(house: House) -> None:
    shop = house.open("shop", 5_000_000)
    window = open_window(shop, None)
    seen = house.answers(press("Cancel"))
    window.settings.click()
    assert seen[0].title == "Payjoin settings"


def test_a_window_that_is_closed_while_it_loads_tells_electrum_of_no_fault(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    faults: list[object] = []
    monkeypatch.setattr(sys, "excepthook", lambda *fault: faults.append(fault))
    may_load = threading.Event()

    def slow(*args: Any) -> Row:
        may_load.wait(5)
        return row_of(*args)

    monkeypatch.setattr(sessions_window, "row_of", slow)
    shop.parts.show_sessions(None)
    shop.parts._window_of_sessions.close()
    house.settle(0.2)
    may_load.set()
    house.settle(0.5)
    assert faults == []


def test_what_keeps_the_sessions_from_loading_is_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()

    def failing(*_args: Any) -> Row:
        raise KeyError("gone <b>")

    monkeypatch.setattr(sessions_window, "row_of", failing)
    shop.parts.show_sessions(None)
    window = shop.parts._window_of_sessions
    house.until(window.empty.isVisible)
    assert window.empty.text() == "The sessions could not be loaded: 'gone <b>'"


def test_a_description_is_not_read_as_html_in_its_tooltip(house: House) -> None:
    model = SessionModel(QCoreApplication.instance(), house.config)
    said = {"<img src='file:///x'>": "<qt>&lt;img src=&#x27;file:///x&#x27;&gt;</qt>", "A & B": "A & B"}
    for description, tooltip in said.items():
        model.put([Row("s", 1, description, 0, Status.ACTIVE, None, 0, "")])
        assert model.data(model.index(0, Column.DESCRIPTION), Qt.ItemDataRole.ToolTipRole) == tooltip


@pytest.mark.parametrize("description", ["x" * 3000, "line\n" * 300, "lorem ipsum " * 300])
def test_no_description_makes_the_window_larger(house: House, description: str) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    request_id = shop.request()
    shop.wallet.get_request(request_id).message = description
    window = open_window(shop, shop.session_of(request_id))
    house.settle(0.2)
    assert (window.width(), window.height()) == (1000, 520)
    assert window.minimumSizeHint().height() <= 520
    assert window.detail.title.text().endswith("… · 0.001 BTC")
    (row,) = shown(window)
    assert "\n" not in row


def test_what_the_search_hides_is_not_shown_beside_it_either(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    alpha = shop.session_of(shop.request(message="alpha"))
    shop.request(message="beta")
    window = open_window(shop, alpha)
    window.search.setText("beta")
    assert shown(window) == ["beta"]
    assert window.detail.session_id is None
    assert window.detail.title.text() == window.detail.line.text() == window.detail.timeline.toPlainText() == ""
    assert all(button.isHidden() for button in window.detail.buttons.values())
    shop.parts.show_sessions(alpha)
    assert window.detail.title.text().startswith("alpha")


def test_the_menu_entry_keeps_the_selection_of_an_open_window(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    sessions = [shop.session_of(shop.request(message=message)) for message in ("alpha", "beta")]
    for session_id in sessions:
        window = open_window(shop, session_id)
        shop.parts.show_sessions(None)
        assert window.detail.session_id == session_id
        assert window.model.session_at(window.table.currentIndex().row()) == session_id


def test_a_fault_in_one_part_leaves_the_others_fresh(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    window = open_window(shop, shop.session_of(shop.request()))
    window.detail.line.setText("stale")

    def refresh() -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(shop.parts.toggle, "refresh", refresh)
    shop.parts._refresh()
    assert window.detail.line.text().startswith("Waiting for the sender")


def status_shown(window: Any) -> tuple[str, str]:
    """What the list says of the one session, and which group it is in."""
    window.show_box.setCurrentText("All")
    said = window.model.data(window.model.index(0, Column.STATUS))
    (group,) = (show for show in (Show.OPEN, Show.PAID, Show.NOT_PAID) if window.model.count(show))
    return said, group.name


def test_an_aborted_payjoin_that_was_completed_is_listed_as_paid(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    window = open_window(shop, session_id)
    shop.sessions.ledger.record(shop.sessions.ledger.open[session_id], Closed(Abort()))
    shop.parts._refresh()
    assert status_shown(window) == ("Aborted", "NOT_PAID")
    transaction = offer.complete(shop)
    shop.parts._refresh()
    assert status_shown(window) == ("Paid by payjoin", "PAID")
    shop.wallet.adb.remove_transaction(transaction.txid())
    shop.parts._refresh()
    assert status_shown(window) == ("Aborted", "NOT_PAID")


def test_a_dropped_payment_is_not_listed_as_paid(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    transaction = offer.complete(shop)
    house.until(lambda: shop.line.startswith("Paid"))
    window = open_window(shop, session_id)
    assert status_shown(window) == ("Paid by payjoin", "PAID")
    shop.wallet.adb.remove_transaction(transaction.txid())
    shop.parts._refresh()
    assert status_shown(window) == ("Dropped", "NOT_PAID")


def _is_unknown(shop: Resident, txin: TxInput) -> bool:
    return shop.wallet.db.get_transaction(txin.prevout.txid.hex()) is None


def test_what_a_double_spend_left_at_the_address_is_no_payment(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    payjoin = offer.complete(shop)
    house.until(lambda: shop.line.startswith("Paid"))
    window = open_window(shop, session_id)
    shop.wallet.adb.remove_transaction(payjoin.txid())
    theirs = next(txin.prevout.to_str() for txin in payjoin.inputs() if _is_unknown(shop, txin))
    address = shop.wallet.get_request(shop.tab.request_list.get_current_key()).get_address()
    see_in_mempool(shop.wallet, transaction([theirs], [(address, 600)]))
    shop.parts._refresh()
    assert status_shown(window) == ("Dropped", "NOT_PAID")
    assert shop.line == "It was replaced by another payment of the sender's to this wallet: 0.000006 BTC."


def test_a_description_does_not_turn_what_stands_beside_it(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    window = open_window(shop, shop.session_of(shop.request(100_000, message="\u202eRent\u2066")))
    assert window.detail.title.words == "Rent · 0.001 BTC"


def test_the_list_stays_where_it_was_scrolled_to(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    wallet = shop.wallet
    with request_made_in_window(wanted=True):
        made = [wallet.create_request(20_000 + n, f"Coffee {n}", 3600, wallet.create_new_address()) for n in range(15)]
    window = open_window(shop, shop.session_of(made[0]))
    window.resize(800, 200)
    house.settle(0.2)
    window.show_box.setCurrentText("All")
    first, other = (window.model.session_at(row) for row in (0, 5))
    window.show_session(first)
    bar = window.table.verticalScrollBar()
    bar.setValue(bar.maximum())
    assert bar.value() > 0
    run(shop.sessions.abort(other))
    house.until(lambda: window.model._rows[other].said == "Aborted")
    assert bar.value() == bar.maximum()
    assert window.table.currentIndex().row() == window.model.row_number(first) == 0


def test_a_new_request_is_listed_at_once(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    window = open_window(shop)
    assert window.model.rowCount() == 1
    shop.request(70_000)
    house.until(lambda: window.model.rowCount() == 2)


def test_the_menu_is_that_of_the_selected_row_wherever_qt_says_it_was_asked_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    ids = [shop.session_of(shop.request(amount_sat)) for amount_sat in (70_000, 80_000)]
    window = open_window(shop, ids[0])
    asked: list[str] = []
    monkeypatch.setattr(sessions_window, "add_session_actions", lambda _, view, _deeds: asked.append(view.session_id))
    monkeypatch.setattr(QMenu, "exec", lambda *_: None)
    for session_id in ids:
        window.show_session(session_id)
        window._menu(QPoint(5, 5_000))
    assert asked == ids


def test_without_a_network_a_waiting_session_says_so(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    shop.wallet.network = None
    assert view_of(shop.sessions, session_id).trouble == "Electrum is offline."


def test_what_is_chosen_while_it_loads_stays_chosen(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    may_load = threading.Event()

    def slow(*args: Any) -> Row:
        may_load.wait(5)
        return row_of(*args)

    monkeypatch.setattr(sessions_window, "row_of", slow)
    shop.parts.show_sessions(None)
    window = shop.parts._window_of_sessions
    assert window.detail.title.words == "Loading…"
    window.show_box.setFocus()
    QTest.keyClick(window.show_box, Qt.Key.Key_End)  # All
    assert window.show_box.currentData() is Show.ALL
    may_load.set()
    house.until(lambda: window._has_loaded)
    assert window.show_box.currentData() is Show.ALL
    assert window.detail.title.words != "Loading…"


def statuses(window: Any) -> set[str]:
    model = window.model
    return {model.data(model.index(row, Column.STATUS)) for row in range(model.rowCount())}


def test_what_ended_long_ago_follows_the_chain_though_another_one_is_selected(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    ended = shop.session_of(shop.request())
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    shop.sessions.ledger.record(shop.sessions.ledger.open[ended], Closed(Abort()))
    window = open_window(shop, shop.session_of(shop.request(70_000)))
    window.show_box.setCurrentText("All")
    house.until(lambda: statuses(window) == {"Aborted", "Waiting"})
    transaction = offer.complete(shop)
    house.until(lambda: statuses(window) == {"Paid by payjoin", "Waiting"})
    shop.wallet.adb.remove_transaction(transaction.txid())
    house.until(lambda: statuses(window) == {"Aborted", "Waiting"})


def test_what_had_paid_counts_as_dropped_once_the_wallet_is_current(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    transaction = offer.complete(shop)
    house.until(lambda: shop.line.startswith("Paid"))
    monkeypatch.setattr(shop.sessions.receiver_wallet, "is_current", lambda: False)
    shop.wallet.adb.remove_transaction(transaction.txid())
    window = open_window(shop, shop.session_of(shop.request(70_000)))
    window.show_box.setCurrentText("All")
    assert statuses(window) == {"Paid by payjoin", "Waiting"}
    monkeypatch.undo()
    shop.parts._refresh()
    house.until(lambda: statuses(window) == {"Dropped", "Waiting"})


def test_a_wait_for_a_coin_is_named_so(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    shop.window.set_frozen_state_of_coins(shop.wallet.get_utxos(), freeze=True)
    house.sender().offer(shop)
    house.until(lambda: "until a coin" in shop.line)
    assert status_shown(open_window(shop, session_id)) == ("Needs a coin", "OPEN")


@pytest.mark.parametrize("which", ["at first", "again"])
def test_what_moves_while_all_are_loaded_is_shown_as_it_is_now(
    house: House, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    ids = [shop.session_of(shop.request(amount_sat)) for amount_sat in (70_000, 80_000)]
    read, may_go_on = list[str](), threading.Event()

    def slow(sessions: WalletSessions, session_id: str) -> Row:
        row = row_of(sessions, session_id)
        if threading.current_thread() is not threading.main_thread():
            read.append(session_id)
            may_go_on.wait(10)
        return row

    if which == "again":
        window = open_window(shop)
    monkeypatch.setattr("payjoin_plugin.gui.sessions.row_of", slow)
    if which == "again":
        window._was_current = False  # as after a time offline
        window.refresh()
    else:
        shop.parts.show_sessions(None)
        window = shop.parts._window_of_sessions
    house.until(lambda: read)
    window.show_session(next(one for one in ids if one != read[0]))  # the one in the pane is looked at anyway
    run(shop.sessions.abort(read[0]))
    house.settle(0.5)
    may_go_on.set()
    house.until(lambda: window._has_loaded and not window._all._is_under_way)
    assert window.model._rows[read[0]].said == "Aborted"
