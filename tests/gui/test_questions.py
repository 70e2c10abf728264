"""Our questions go with the plugin and with their window, and do nothing any more."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from electrum.gui.qt.plugins_dialog import PluginsDialog
from PyQt6 import sip
from PyQt6.QtCore import QTimer

from payjoin_plugin.gui.settings import SettingsDialog
from tests.gui.house import House, Resident, press
from tests.gui.test_abort import waiting_for_password
from tests.gui.test_deeds import asking, drop, paid
from tests.gui.test_removal import enable


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What reached Electrum's crash reporter."""
    found: list[object] = []
    monkeypatch.setattr(sys, "excepthook", lambda *fault: found.append(fault))
    return found


def to_remove(house: House) -> Resident:
    shop, tx = paid(house)
    drop(shop, tx)
    return shop


def to_broadcast(house: House) -> Resident:
    shop, _session_id = waiting_for_password(house)
    house.answers(press("Abort payjoin", tick=False))
    shop.press("Abort payjoin")
    house.until(lambda: "Broadcast it…" in shop.buttons)
    return shop


QUESTIONS: dict[str, Callable[[House], Resident]] = {
    "Remove it": to_remove,
    "Broadcast it…": to_broadcast,
    "Answer…": lambda house: asking(house, 5_000_000)[0],
    "Unlock and answer": lambda house: waiting_for_password(house)[0],
    "Abort payjoin": lambda house: waiting_for_password(house)[0],
}


@pytest.mark.parametrize("how", ["plugin disabled", "window closed"])
@pytest.mark.parametrize("words", QUESTIONS)
def test_a_question_goes_with_the_plugin_and_the_window(
    house: House, faults: list[object], words: str, how: str
) -> None:
    shop = QUESTIONS[words](house)
    is_gone: list[bool] = []

    def step(dialog: Any) -> None:
        if how == "plugin disabled":
            house.plugins.disable("payjoin")
        else:
            house.close_window(shop.window)
        is_gone.append(sip.isdeleted(dialog) or not dialog.isVisible())
        if not is_gone[0]:
            press("&Yes")(dialog)

    house.answers(step)
    (button,) = (button for button in shop.parts.panel.buttons if button.text() == words)
    QTimer.singleShot(0, button.click)
    house.until(lambda: is_gone)
    house.settle(0.3)
    enable(house)
    assert is_gone == [True]
    assert faults == []
    assert house.network.broadcast == []


def test_the_settings_go_with_the_plugin(house: House) -> None:
    house.open("shop", 5_000_000)
    plugins = PluginsDialog(house.config, house.plugins, gui_object=house.gui)
    is_gone: list[bool] = []

    def step(dialog: Any) -> None:
        assert isinstance(dialog, SettingsDialog)
        dialog.fill("minimum_amount", 25_000)
        house.plugins.disable("payjoin")
        is_gone.append(sip.isdeleted(dialog) or not dialog.isVisible())
        if not is_gone[0]:
            dialog.save_button.click()

    house.answers(step)
    QTimer.singleShot(0, lambda: house.plugin.settings_dialog(plugins))
    house.until(lambda: is_gone)
    house.settle(0.1)
    plugins.close()
    enable(house)
    assert is_gone == [True]
    assert house.config.get("plugins.payjoin.minimum_amount") is None
