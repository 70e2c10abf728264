"""The plugin goes and comes back: what it warns of, what it ends, and that nothing of ours stays behind."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from electrum.commands import Commands
from electrum.gui.qt.plugins_dialog import PluginsDialog
from electrum.plugin import Plugins, hooks
from electrum.util import callback_mgr, get_asyncio_loop
from PyQt6.QtCore import QEventLoop, QTimer
from PyQt6.QtGui import QAction
from PyQt6.QtWidgets import QWidget

from payjoin_plugin.gui import bridge
from payjoin_plugin.session.events import Abort, Closed
from tests.gui.house import House, Resident, press
from tests.gui.test_abort import last_event_on_disk
from tests.gui.test_requests import icon_of, is_marked
from tests.wallet.wallets import PASSWORD


@pytest.fixture(autouse=True)
def back_again(house: House) -> Iterator[None]:
    """The plugin is there again after the test."""
    yield
    enable(house)


def enable(house: House) -> None:
    if "payjoin" not in house.plugins.plugins:
        house.use_mailroom()  # with the plugin go its settings
        house.plugin = house.plugins.load_payjoin()


def remove(house: House, *answers: str) -> list[Any]:
    """Press *Remove* in Electrum's dialog of plugins; return what was asked."""
    dialog = PluginsDialog(house.config, house.plugins, gui_object=house.gui)
    asked = house.answers(*(press(answer) for answer in answers))
    dialog.uninstall_plugin("payjoin")
    dialog.close()
    house.settle(0.3)
    return asked


def reloaded(house: House) -> list[Resident]:
    house.settle(0.3)
    return [Resident(house, window) for window in house.gui.windows]


def names_of(window: QWidget) -> list[str]:
    """Every widget and timer of a window, by class and text."""
    found = []
    for child in [*window.findChildren(QWidget), *window.findChildren(QTimer)]:
        text = getattr(child, "text", lambda: "")
        found.append(f"{type(child).__name__} {text() if callable(text) else ''}")
    return sorted(found)


def wraps_on(shop: Resident) -> set[str]:
    """Every attribute of an instance that stands before a method of its class, and ours on a class."""
    window = shop.window
    targets: list[Any] = [shop.wallet, shop.tab, shop.tab.request_list, window.utxo_list, window.history_model]
    on_instances = {
        f"{type(target).__name__}.{name}"
        for target in targets
        for name in vars(target)
        if callable(vars(target)[name]) and callable(getattr(type(target), name, None))
    }
    on_instances |= {f"ElectrumWindow.{name}" for name, value in vars(window).items() if is_ours(value)}
    on_classes = {f"PluginsDialog.{name}" for name, value in vars(PluginsDialog).items() if is_ours(value)}
    return on_instances | on_classes


def is_ours(thing: object) -> bool:
    return str(getattr(thing, "__module__", "")).startswith("payjoin_plugin")


def listeners() -> list[object]:
    """What of ours Electrum's bus calls. It holds it weakly: what earlier tests left goes when it is collected."""
    gc.collect()
    return [
        callback
        for callbacks in callback_mgr._wcallbacks.values()
        for weak in callbacks
        if (callback := weak()) is not None and is_ours(callback)
    ]


def tasks() -> list[str]:
    """What of ours runs on Electrum's loop."""
    running = (task.get_coro() for task in asyncio.all_tasks(get_asyncio_loop()))
    return [str(coroutine) for coroutine in running if "payjoin_plugin" in coroutine.cr_code.co_filename]  # type: ignore[union-attr]


def test_the_readme_lists_every_wrap_and_no_other(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    _, _, after = (Path(__file__).parents[2] / "README.md").read_text().partition("## What is changed in Electrum")
    listed = {name.rpartition(".")[2] for name in re.findall("`([^`]+)`", after.partition("Besides these:")[0])}
    for_good = {"is_plugin_enabler_config_key": Plugins, "add_request": Commands}
    for name, owner in for_good.items():
        assert "payjoin_plugin" in getattr(owner, name).__code__.co_filename, name  # `wraps` hides the module
    assert listed - {"setconfig", "pj"} == {name.partition(".")[2] for name in wraps_on(shop)} | set(for_good)


def test_nothing_of_ours_stays_and_all_comes_back(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    shop.parts.show_sessions(None)
    house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    assert len(wraps_on(shop)) > 10
    assert listeners()
    assert tasks()

    house.plugins.disable("payjoin")
    house.settle(0.3)
    assert [name for name in names_of(shop.window) if "ayjoin" in name] == []
    assert wraps_on(shop) == set()
    assert not [action for action in shop.window.findChildren(QAction) if "ayjoin" in action.text()]
    assert not [entry for entries in hooks.values() for entry in entries if entry[0].name == "payjoin"]
    assert listeners() == []
    assert tasks() == []

    house.gui.reload_windows()
    (plain,) = reloaded(house)
    plain_names = names_of(plain.window)
    enable(house)
    house.gui.reload_windows()
    (again,) = reloaded(house)
    assert names_of(again.window) != plain_names
    assert len(wraps_on(again)) > 10
    again.tab.request_list.setCurrentIndex(again.tab.request_list.model().index(0, 0))
    house.until(lambda: again.line.startswith("Answered"))

    house.plugins.disable("payjoin")
    house.gui.reload_windows()
    (plain,) = reloaded(house)
    assert names_of(plain.window) == plain_names, "the second time as the first"


def test_qt_goes_on_while_the_plugin_is_taken_out(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    parts, may_end, ended, refreshes = shop.parts, asyncio.Event(), list[bool](), list[bool]()
    close = house.plugin._close

    async def slow() -> None:
        await asyncio.wait_for(may_end.wait(), 10)
        await close()
        ended.append(True)

    def meanwhile() -> None:
        parts._refresh_soon()  # as an event does that Electrum's bus had queued
        refreshes.append(parts._soon.isActive())
        get_asyncio_loop().call_soon_threadsafe(may_end.set)

    monkeypatch.setattr(house.plugin, "_close", slow)
    QTimer.singleShot(0, meanwhile)
    house.plugins.disable("payjoin")
    assert ended == [True]
    assert refreshes == [False]


def test_whoever_ends_electrum_while_the_plugin_is_taken_out_waits_for_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.open("shop", 5_000_000).with_keys()
    ended: list[bool] = []
    close = house.plugin._close

    async def slow() -> None:
        await asyncio.sleep(0.2)
        await close()
        ended.append(True)

    class Ended(QEventLoop):
        """What `exec` does where the application ends."""

        def exec(self, *_flags: Any) -> int:
            return -1

    monkeypatch.setattr(house.plugin, "_close", slow)
    monkeypatch.setattr(bridge, "QEventLoop", Ended)
    house.plugins.disable("payjoin")
    assert ended == [True]


def test_requests_have_electrums_icons_again_after_the_removal(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.parts.toggle.box.click()
    plain = icon_of(shop, shop.request(70_000)).cacheKey()
    shop.parts.toggle.box.click()
    payjoin = shop.request()
    assert is_marked(shop, payjoin)
    house.plugins.disable("payjoin")
    assert icon_of(shop, payjoin).cacheKey() == plain


def test_a_request_is_plain_electrums_after_the_removal(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    assert "pj=" in shop.tab.URI
    house.plugins.disable("payjoin")
    house.settle(0.2)
    shop.tab.update_current_request()
    assert "pj=" not in shop.tab.URI
    shop.request(50_000)
    assert "pj=" not in shop.tab.URI


def test_with_nothing_open_only_electrum_asks(house: House) -> None:
    house.open("shop", 5_000_000).with_keys()
    asked = remove(house, "&Yes", "OK")
    assert asked[0].text == "Remove plugin 'payjoin'?"
    assert "payjoin" not in house.plugins.plugins


def test_whoever_keeps_the_plugin_keeps_every_session(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    asked = remove(house, "Keep the plugin")
    assert asked[0].title == "Remove Payjoin"
    assert asked[0].text.startswith("A payjoin is open. Without the plugin its sender gets no answer")
    assert asked[0].buttons == ("Keep the plugin", "End it and remove…")
    assert house.plugins.get("payjoin") is house.plugin
    assert session_id in shop.sessions.ledger.open


def test_a_payment_that_comes_under_the_question_is_asked_about_too(house: House) -> None:
    shop = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    shop.request()

    def yes_after_a_payment_came(dialog: Any) -> None:
        house.sender().offer(shop)
        house.until(lambda: "Unlock the wallet" in shop.line)
        press("End it and remove…")(dialog)

    dialog = PluginsDialog(house.config, house.plugins, gui_object=house.gui)
    asked = house.answers(yes_after_a_payment_came, press("Keep the plugin"))
    dialog.uninstall_plugin("payjoin")
    dialog.close()
    assert "payment" not in asked[0].text.partition("The address")[0]
    assert "A sender's own payment of 0.001 BTC was not broadcast." in asked[1].text
    assert house.plugins.get("payjoin") is house.plugin


def test_the_no_to_electrums_own_question_ends_nothing(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    remove(house, "End it and remove…", "&No")
    assert session_id in shop.sessions.ledger.open
    house.plugins.disable("payjoin")  # in another way, later: that ends no session
    enable(house)
    house.gui.reload_windows()
    (again,) = reloaded(house)
    assert session_id in again.sessions.ledger.open


def test_removal_ends_open_sessions_and_hands_the_senders_payment_to_electrum(house: House) -> None:
    locked = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    shop = house.open("shop", 5_000_000).with_keys()
    held, waits = locked.session_of(locked.request()), shop.session_of(shop.request(70_000))
    house.sender().offer(locked)
    house.until(lambda: "Unlock the wallet" in locked.line)
    (txid,) = (original.txid for original in locked.sessions.store.kept.all())

    asked = remove(house, "End them and remove…", "&Yes", "OK")
    assert asked[0].text.startswith("2 payjoins are open.")
    assert "A sender's own payment of 0.001 BTC was not broadcast. It becomes a local transaction" in asked[0].text
    assert house.network.broadcast == []
    for wallet, session_id in ((locked.wallet, held), (shop.wallet, waits)):
        assert last_event_on_disk(wallet, session_id) == Closed(Abort())
    assert locked.wallet.adb.get_transaction(txid) is not None
    assert locked.wallet.get_label_for_txid(txid).startswith("Payjoin: the sender's own payment. While it is local,")

    enable(house)
    house.gui.reload_windows()
    for resident in reloaded(house):
        assert resident.sessions.ledger.open == {}
    assert locked.wallet.adb.get_transaction(txid) is None, "the plugin has taken it back"
    asked = remove(house, "Remove…", "&Yes", "OK")
    assert asked[0].text.startswith("A sender's own payment of 0.001 BTC was not broadcast.")
    assert locked.wallet.adb.get_transaction(txid) is not None


def test_a_payment_of_an_aborted_session_is_warned_of_too(house: House) -> None:
    locked = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    locked.request()
    house.sender().offer(locked)
    house.until(lambda: "Unlock the wallet" in locked.line)
    house.answers(press("Abort payjoin", tick=False))
    locked.press("Abort payjoin")
    house.until(lambda: locked.line.startswith("Payjoin aborted."))
    asked = remove(house, "Keep the plugin")
    assert asked[0].text.startswith("A sender's own payment of 0.001 BTC was not broadcast.")
    assert asked[0].buttons == ("Keep the plugin", "Remove…")


def test_a_payment_that_would_pay_another_request_is_not_called_a_local_transaction(house: House) -> None:
    locked = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    address = locked.wallet.get_request(locked.request()).get_address()
    house.sender().offer(locked)
    house.until(lambda: "Unlock the wallet" in locked.line)
    locked.wallet.create_request(200_000, "another customer", 3600, address)
    (kept,) = locked.sessions.store.kept.all()
    asked = remove(house, "Remove…", "&Yes", "OK")
    assert asked[0].text.startswith("A sender's own payment of 0.001 BTC was not broadcast, and becomes none:")
    assert locked.wallet.adb.get_transaction(kept.txid) is None


def test_other_plugins_are_removed_as_ever(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    dialog = PluginsDialog(house.config, house.plugins, gui_object=house.gui)
    asked = house.answers(press("&No"))
    dialog.uninstall_plugin("labels")
    dialog.close()
    assert asked[0].text == "Remove plugin 'labels'?"
