"""The settings dialog."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from electrum.commands import Commands
from electrum.util import get_asyncio_loop
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QCheckBox

from payjoin_plugin import SETTINGS
from payjoin_plugin.app import trouble
from payjoin_plugin.gui.labels import KeyHelpLabel
from payjoin_plugin.gui.settings import FeeRate, SettingsDialog
from tests.gui.house import House
from tests.mailroom.mailroom import Mailroom
from tests.wallet.wallets import run

CHANGED: dict[str, Any] = {
    "offer_in_window": False,
    "offer_in_commands": True,
    "minimum_amount": 25_000,
    "open_polls": 250,
    "session_lifetime": 90 * 60,
    "ask_before_contributing": True,
    "broadcast_original_by_itself": False,
    "accept_v1_senders": False,
    "max_receiver_fee_sat": 1234,
    "max_receiver_fee_rate": 12.5,
}


@pytest.fixture
def dialog(house: House) -> Iterator[SettingsDialog]:
    shop = house.open("shop", 5_000_000)
    dialog = SettingsDialog(shop.window, house.config, house.plugin.services)
    dialog.show()
    yield dialog
    dialog.reject()


def test_it_shows_what_is_set(house: House, dialog: SettingsDialog) -> None:
    for name in (*CHANGED, "directories", "ohttp_relays"):
        assert dialog.field(name) == getattr(house.plugin.services.settings, name)


@pytest.mark.parametrize("name", CHANGED)
def test_each_setting_is_kept_by_save_and_not_before(house: House, dialog: SettingsDialog, name: str) -> None:
    before = getattr(house.plugin.services.settings, name)
    dialog.fill(name, CHANGED[name])
    assert getattr(house.plugin.services.settings, name) == before
    dialog.save_button.click()
    assert getattr(house.plugin.services.settings, name) == CHANGED[name] != before


@pytest.mark.parametrize(
    ("name", "value"),
    [("session_lifetime", 90), ("session_lifetime", 86401), ("max_receiver_fee_rate", 2.25)],
)
def test_save_leaves_what_nobody_edited(house: House, name: str, value: float) -> None:
    house.config.set_key(f"plugins.payjoin.{name}", value, save=False)
    shop = house.open("shop", 5_000_000)
    dialog = SettingsDialog(shop.window, house.config, house.plugin.services)
    assert dialog.field(name) == value
    house.config.set_key("plugins.payjoin.minimum_amount", 30_000, save=False)  # by a command, meanwhile
    dialog.save_button.click()
    assert getattr(house.plugin.services.settings, name) == value
    assert house.plugin.services.settings.minimum_amount == 30_000


def test_an_edit_that_was_saved_with_a_refused_one_can_be_taken_back(house: House, dialog: SettingsDialog) -> None:
    relays = dialog.lists.relays.urls()
    dialog.fill("minimum_amount", 25_000)
    dialog.lists.relays.set_urls(["nonsense"])
    dialog.save_button.click()
    dialog.fill("minimum_amount", 10_000)
    dialog.lists.relays.set_urls(relays)
    dialog.save_button.click()
    assert house.plugin.services.settings.minimum_amount == 10_000


@pytest.mark.parametrize(("typed", "rate"), [("0.5", 1), ("0.9", 1), ("1", 1), ("1.5", 1.5), ("0", None)])
def test_a_rate_below_one_is_one_and_only_zero_is_automatic(
    dialog: SettingsDialog, typed: str, rate: float | None
) -> None:
    dialog.fill("max_receiver_fee_rate", 7)
    (field,) = dialog.findChildren(FeeRate)
    field.lineEdit().setText(typed)
    field.interpretText()
    field.editingFinished.emit()
    assert field.value() == (rate or 0)
    assert dialog.field("max_receiver_fee_rate") == rate


def test_the_arrows_of_the_rate_skip_what_is_below_one(dialog: SettingsDialog) -> None:
    (field,) = dialog.findChildren(FeeRate)
    dialog.fill("max_receiver_fee_rate", 1.5)
    shown = []
    for step in (-1, -1, 1):
        field.stepBy(step)
        shown.append(field.value())
    assert shown == [1, 0, 1]


def test_the_tick_of_each_window_follows_what_was_saved(house: House) -> None:
    shop, other = house.open("shop", 5_000_000).with_keys(), house.open("other", 5_000_000)
    dialog = SettingsDialog(shop.window, house.config, house.plugin.services)
    dialog.fill("offer_in_window", value=False)
    dialog.save_button.click()
    house.until(lambda: not any(resident.parts.toggle.box.isChecked() for resident in (shop, other)))
    shop.request()
    assert "pj=" not in shop.tab.URI


def setconfig(house: House, name: str, value: object) -> None:
    """As the command does, in the daemon that the window is part of."""
    commands = Commands(config=house.config, daemon=house.daemon)
    run(commands.setconfig(f"plugins.payjoin.{name}", json.dumps(value)))


def test_the_tick_follows_a_command(house: House) -> None:
    shop = house.open("shop", 5_000_000)
    setconfig(house, "offer_in_window", value=False)
    house.until(lambda: not shop.parts.toggle.box.isChecked())
    setconfig(house, "offer_in_window", value=None)
    house.until(shop.parts.toggle.box.isChecked)


def test_what_a_command_sets_is_shown_where_nobody_has_edited(house: House, dialog: SettingsDialog) -> None:
    dialog.fill("session_lifetime", 90 * 60)
    setconfig(house, "session_lifetime", 7200)
    setconfig(house, "minimum_amount", 25_000)
    house.until(lambda: dialog.field("minimum_amount") == 25_000)
    dialog.save_button.click()
    assert house.plugin.services.settings.session_lifetime == 90 * 60
    assert house.plugin.services.settings.minimum_amount == 25_000


def test_the_keys_of_a_directory_that_a_command_sets_are_fetched_at_once(house: House) -> None:
    house.open("shop", 5_000_000).with_keys()
    get_asyncio_loop().call_soon_threadsafe(house.plugin.services.keeper.poke)  # its minute begins anew
    house.settle(0.2)
    other = Mailroom(timeout=1)
    run(other.__aenter__())
    try:
        setconfig(house, "directories", [other.directory_url])
        house.until(lambda: house.plugin.services.keeper.current() is not None)
    finally:
        run(other.stop())


def test_cancel_changes_nothing(house: House, dialog: SettingsDialog) -> None:
    dialog.fill("minimum_amount", 25_000)
    dialog.reject()
    assert house.plugin.services.settings.minimum_amount == 10_000


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://relay.example", "https"),
        ("ftp://relay.example", "https"),
        ("https://relay.example/path", "only the scheme, the host and the port"),
        ("nonsense", ""),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_a_sentence(dialog: SettingsDialog, url: str, why: str) -> None:
    relays = dialog.lists.relays
    before = relays.urls()
    assert not relays.add(url)
    assert relays.urls() == before
    assert relays.trouble.isVisible()
    assert why in relays.trouble.text()


@pytest.mark.parametrize("name", ["directories", "relays"])
def test_a_refusal_is_scrolled_to(house: House, dialog: SettingsDialog, name: str) -> None:
    dialog.resize(500, 300)
    house.settle()
    service_list = getattr(dialog.lists, name)
    assert not service_list.add("http://relay.example")
    house.settle()
    trouble, seen = service_list.trouble, dialog.scroll.viewport()
    top = trouble.mapTo(seen, trouble.rect().topLeft()).y()
    assert top >= 0
    assert top + trouble.height() <= seen.height()
    assert trouble.height() >= trouble.heightForWidth(trouble.width())


def test_a_relay_of_the_directorys_operator_is_refused(dialog: SettingsDialog) -> None:
    dialog.lists.directories.set_urls(["https://payjo.in"])
    assert not dialog.lists.relays.add("https://relay.payjo.in")
    assert "operator" in dialog.lists.relays.trouble.text()
    assert dialog.lists.relays.add("https://relay.example")


def test_lists_that_cannot_work_together_are_not_saved(house: House, dialog: SettingsDialog) -> None:
    before = house.plugin.services.settings.ohttp_relays
    dialog.lists.relays.set_urls(["https://relay.payjo.in"])
    dialog.lists.directories.set_urls(["https://payjo.in"])
    dialog.save_button.click()
    assert dialog.isVisible()
    assert dialog.trouble.text().startswith("Every relay in the list is run by your directory's operator")
    assert house.plugin.services.settings.ohttp_relays == before
    assert dialog.lists.relays.add("https://relay.example")
    dialog.save_button.click()
    assert not dialog.isVisible()
    assert house.plugin.services.settings.ohttp_relays == ["https://relay.payjo.in", "https://relay.example"]


def test_what_the_setting_itself_refuses_is_said_and_the_dialog_stays(house: House, dialog: SettingsDialog) -> None:
    dialog.lists.relays.set_urls(["nonsense"])
    dialog.save_button.click()
    assert dialog.isVisible()
    assert dialog.trouble.text() == "A URL must start with https:// or http://"


def test_the_last_entry_cannot_be_removed(dialog: SettingsDialog) -> None:
    relays = dialog.lists.relays
    relays.table.selectRow(0)
    relays.remove_selected()
    assert len(relays.urls()) == 1
    relays.add("https://relay.example")
    relays.table.selectRow(0)
    relays.remove_selected()
    assert relays.urls() == ["https://relay.example"]


def test_the_order_of_directories_is_the_users(dialog: SettingsDialog) -> None:
    directories = dialog.lists.directories
    directories.set_urls(["https://a.example", "https://b.example"])
    directories.table.selectRow(1)
    directories.move_up()
    assert directories.urls() == ["https://b.example", "https://a.example"]


def test_a_test_tells_of_each_entry_what_came_of_it(
    house: House, dialog: SettingsDialog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble, "_", lambda text: f"translated: {text}")
    dead = "http://127.0.0.1:9"
    dialog.lists.relays.set_urls([house.mailroom.relay_url, dead])
    dialog.lists.test_button.click()
    assert dialog.lists.result.text() == "Testing…"
    assert not dialog.lists.test_button.isEnabled()
    house.until(dialog.lists.test_button.isEnabled, "the test")
    results = [dialog.lists.relays.table.item(row, 1).text() for row in (0, 1)]
    assert results[0].startswith("ok, ")
    assert results[1].startswith("cannot be reached (translated: 127.0.0.1 cannot be reached: ")
    assert dialog.lists.directories.table.item(0, 1).text().startswith("ok, ")


def test_what_a_test_answers_is_not_read_as_html(dialog: SettingsDialog) -> None:
    relays = dialog.lists.relays
    relays.say({relays.urls()[0]: "<b>nonsense</b>"})
    assert relays.table.item(0, 1).toolTip() == "<qt>&lt;b&gt;nonsense&lt;/b&gt;</qt>"
    assert dialog.lists.result.textFormat() is Qt.TextFormat.PlainText


def test_the_help_of_each_setting_names_its_default_and_its_bounds(dialog: SettingsDialog) -> None:
    lists: list[Any] = [SETTINGS["directories"][0], SETTINGS["ohttp_relays"][0]]
    helped = [label.help_text.replace("\N{NARROW NO-BREAK SPACE}", " ") for label in dialog.findChildren(KeyHelpLabel)]
    assert [said[said.rindex("If you change nothing") :] for said in helped if "If you change" in said] == [
        "If you change nothing: by itself.",
        *(f"If you change nothing: {', '.join(usual)}." for usual in lists),
    ]
    assert [said[said.rindex("From ") :] for said in helped if "; if you change" in said] == [
        "From 0 to 100 000 000; if you change nothing: 10 000.",
        "From 1 min to 7 d; if you change nothing: 1 d.",
        "From 0 to 1 000 000; if you change nothing: 5 000.",
        "From 1 to 1 000; if you change nothing: automatic.",
        "From 10 to 1 000; if you change nothing: 100.",
    ]
    boxes = {
        box.text(): box.toolTip().partition("If you change nothing: ")[2] for box in dialog.findChildren(QCheckBox)
    }
    assert sorted(boxes.values()) == ["off.", "on.", "on.", "on."]
