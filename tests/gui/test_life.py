"""Windows come and go; what else of Electrum's shows a payjoin."""

from __future__ import annotations

import pytest
from electrum.gui.qt.main_window import ElectrumWindow
from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtWidgets import QMenu, QWidget

from payjoin_plugin.app.finder import Finder
from payjoin_plugin.gui.questions import Questions
from tests.gui.house import House, Resident
from tests.gui.test_deeds import drop, paid
from tests.wallet.wallets import pay, see_in_mempool


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


def test_the_history_marks_a_payjoin_and_nothing_else(house: House) -> None:
    shop = house.open("shop", 5_000_000, 5_000_000).with_keys()
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    txid = offer.complete(shop).txid()
    house.until(lambda: shop.line.startswith("Paid by payjoin"))
    shop.request(70_000, message="Rent")
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    plain = offer.pay_plainly(shop).txid()
    house.until(lambda: shop.line.startswith("Paid, without"))
    shop.window.tabs.setCurrentIndex(0)
    house.settle(0.2)
    shop.window.history_list.update()
    marks = history_marks(shop)
    icon, tooltip, description = marks.pop(txid)
    assert icon is not None
    assert tooltip.startswith("Payjoin. You added 0.05 BTC and received 0.00099")
    assert description == "Two coffees"
    assert plain in marks
    assert not any(icon or tooltip for icon, tooltip, _ in marks.values())


def test_the_history_is_painted_before_its_payjoins_are_looked_at_one_by_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, tx = paid(house)
    history, looked_at = shop.parts.history, list[str]()
    look = history._look

    def noted(txid: str) -> str | None:
        looked_at.append(txid)
        said: str | None = look(txid)
        return said

    shop.window.tabs.setCurrentIndex(0)
    shop.window.history_list.update()
    house.until(lambda: history_marks(shop)[tx.txid()][0] is not None)
    monkeypatch.setattr(history, "_look", noted)
    history._known.clear()
    assert all(icon is None for icon, _tooltip, _text in history_marks(shop).values())
    assert looked_at == []
    assert len(history._wanted) == 2, "the payjoin, and what paid for our coin"
    history._look_at_next()
    assert len(looked_at) == 1
    house.until(lambda: history_marks(shop)[tx.txid()][0] is not None)
    assert len(looked_at) == 2


def history_marks(shop: Resident) -> dict[str, tuple[object, str, str]]:
    """Icon, tooltip and text of each transaction's description, as the view gets them."""
    view = shop.window.history_list
    shown = {}
    for row in range(view.model().rowCount()):
        index = view.model().index(row, view.Columns.DESCRIPTION)
        roles = (Qt.ItemDataRole.DecorationRole, Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.DisplayRole)
        icon, tooltip, text = (index.data(role) for role in roles)
        shown[view.tx_item_from_proxy_row(row)["txid"]] = (icon, tooltip, text)
    return shown


REPLACE = ("Increase fee", "Cancel (double-spend)")
"""What Electrum's menu offers of an unconfirmed transaction with a coin of ours in it."""


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which of Electrum's dialogs were opened, in every window that is made from now on."""
    opened: list[str] = []
    for name in ("bump_fee_dialog", "dscancel_dialog"):
        monkeypatch.setattr(ElectrumWindow, name, lambda _window, _tx, name=name: opened.append(name))
    return opened


def choose_in_history(shop: Resident, txid: str, words: str) -> None:
    """Choose an entry of a transaction's menu in the history."""
    view = shop.window.history_list
    shop.window.tabs.setCurrentIndex(0)
    shop.house.settle(0.2)
    view.update()
    (row,) = (n for n in range(view.model().rowCount()) if view.tx_item_from_proxy_row(n)["txid"] == txid)
    menus: list[QMenu] = []
    view.open_menu = lambda menu, _place: menus.append(menu)
    view.create_menu(view.visualRect(view.model().index(row, view.Columns.DESCRIPTION)).center())
    (action,) = (action for action in menus[0].actions() if action.text() == words)
    action.trigger()


def test_whoever_replaces_a_payjoin_is_asked_first(
    house: House, replaced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answers = [False, False, True, True]

    def ask(_questions: Questions, _window: ElectrumWindow, _question: str, title: str) -> bool:
        asked.append(title)
        return answers.pop(0)

    monkeypatch.setattr(Questions, "ask", ask)
    shop, tx = paid(house)
    for opened in ([], ["bump_fee_dialog", "dscancel_dialog"]):
        for words in REPLACE:
            choose_in_history(shop, tx.txid(), words)
        assert replaced == opened
    assert asked == [*REPLACE, *REPLACE]


def test_whoever_replaces_a_dropped_payjoin_is_asked_too(
    house: House, replaced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Questions, "ask", lambda _questions, _window, question, _title: asked.append(question))
    shop, tx = paid(house)
    drop(shop, tx)
    choose_in_history(shop, tx.txid(), "Increase fee")
    assert asked[0].startswith("This is a payjoin.")
    assert replaced == []


@pytest.mark.parametrize("words", REPLACE)
def test_other_transactions_are_replaced_as_ever(house: House, replaced: list[str], words: str) -> None:
    shop = house.open("shop", 5_000_000)
    tx = pay(shop.wallet, house.sender().wallet.get_receiving_addresses()[0], 70_000)
    see_in_mempool(shop.wallet, tx)
    choose_in_history(shop, tx.txid(), words)
    assert len(replaced) == 1


def test_while_nothing_changes_no_timer_of_ours_is_faster_than_a_second(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    shop.parts.show_sessions(None)
    house.settle(1)
    timers = [timer for timer in shop.window.findChildren(QTimer) if is_ours(timer.parent()) and timer.isActive()]
    assert len(timers) == 2, "the countdown, and the clock of the list"
    assert all(timer.interval() >= 1000 for timer in timers)


def is_ours(thing: object) -> bool:
    return type(thing).__module__.startswith("payjoin_plugin")


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
