"""The receive tab: what a person sees from the request to the payment."""

from __future__ import annotations

import pytest
from electrum.gui.qt.qrcodewidget import QRCodeWidget
from PyQt6.QtGui import QGuiApplication

from tests.gui.house import House, Resident, press
from tests.wallet.wallets import PASSWORD, master_key


@pytest.fixture
def shop(house: House) -> Resident:
    return house.open("shop", 5_000_000).with_keys()


def test_a_request_offers_payjoin_wherever_its_link_is_shown(shop: Resident) -> None:
    request_id = shop.request()
    uri = shop.tab.URI
    assert "&pjos=0&pj=HTTP" in uri
    assert shop.tab.receive_e.toPlainText() == uri
    assert shop.tab.receive_qr.data == uri
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    assert clipboard.text() == uri
    request = shop.wallet.get_request(request_id)
    assert shop.wallet.get_request_URI(request) == uri
    assert shop.wallet.export_request(request)["URI"] == uri
    assert shop.line.startswith("Waiting for the sender to pay · 2")
    assert shop.buttons == ["Abort payjoin", "Details"]


def test_upper_case_makes_the_qr_code_smaller(shop: Resident) -> None:
    shop.request(message="")
    plain, _, pj = str(shop.tab.URI).partition("&pj=")
    assert pj == pj.upper()
    mailbox = pj.removeprefix("HTTP://").partition("/")[2]  # the test's directory has an address of its own
    assert mailbox
    code, lower = shop.tab.receive_qr, QRCodeWidget()
    code.setData(f"{plain}&pj=HTTPS://PAYJO.IN/{mailbox}")
    lower.setData(f"{plain}&pj=https://payjo.in/{mailbox.lower()}")
    assert (code.qr.modules_count, lower.qr.modules_count) == (53, 57)


def test_without_the_tick_a_request_is_plain_though_commands_may_offer(house: House, shop: Resident) -> None:
    house.config.set_key("plugins.payjoin.offer_in_commands", value=True, save=False)
    shop.parts.toggle.box.click()
    shop.request()
    assert "pj=" not in shop.tab.URI
    assert shop.line == "This request has no payjoin."
    assert shop.buttons == []


def test_the_tick_is_the_setting(house: House, shop: Resident) -> None:
    shop.parts.toggle.box.click()
    assert house.plugin.services.settings.offer_in_window is False
    shop.parts.toggle.box.click()
    assert house.plugin.services.settings.offer_in_window is True


def test_every_window_shows_the_tick_as_it_was_clicked_in_one(house: House, shop: Resident) -> None:
    ours, other = shop.parts.toggle.box, house.open("other", 5_000_000).parts.toggle.box
    for _click in range(2):
        ours.click()
        house.until(lambda: other.isChecked() is ours.isChecked())


def test_without_the_tick_nothing_is_said_of_what_stands_against_it(house: House, shop: Resident) -> None:
    house.network.is_online = False
    shop.parts.toggle.refresh()
    house.until(lambda: shop.parts.toggle.reason.words == "Electrum is offline.")
    shop.parts.toggle.box.click()
    house.until(lambda: not shop.parts.toggle.reason.words)
    shop.parts.toggle.box.click()
    house.until(lambda: shop.parts.toggle.reason.words == "Electrum is offline.")


def test_a_request_without_an_amount_says_why_it_is_plain(shop: Resident) -> None:
    shop.request(None)
    assert shop.line == "No amount was asked for."


def test_a_small_request_says_why_it_is_plain(shop: Resident) -> None:
    shop.request(5_000)
    assert shop.line == "The amount is below your minimum of 0.0001 BTC."


def test_the_minimum_is_given_in_the_unit_of_the_window(house: House, shop: Resident) -> None:
    house.config.set_key("decimal_point", 5, save=False)
    try:
        shop.request(5_000)
        assert shop.line == "The amount is below your minimum of 0.1 mBTC."
    finally:
        house.config.set_key("decimal_point", 8, save=False)


def test_a_wallet_that_cannot_sign_says_so_beside_the_tick(house: House) -> None:
    house.answers(press("OK"))  # Electrum warns of such wallets
    watching = house.open("watching", text=_public_key("watched"))
    house.until(lambda: watching.parts.toggle.reason.words)
    assert watching.parts.toggle.reason.words == "This wallet cannot sign by itself (watch-only)."
    assert not watching.parts.toggle.box.isEnabled()
    assert not watching.parts.toggle.box.isChecked()


def test_the_link_is_made_a_payjoins_when_that_becomes_possible_and_the_user_is_told(
    house: House, shop: Resident
) -> None:
    house.network.is_online = False
    shop.request()
    assert "pj=" not in shop.tab.URI
    assert shop.line == "Preparing payjoin… Electrum is offline."
    house.network.is_online = True
    shop.sessions._chain_changed()
    house.until(lambda: "pj=" in shop.tab.URI)
    assert shop.tab.receive_e.toPlainText() == shop.tab.URI
    assert "The link offers payjoin now: copy it again." in shop.line


def test_whose_link_became_a_payjoins_is_told_later_too(house: House, shop: Resident) -> None:
    house.network.is_online = False
    first = shop.request(message="first")
    shop.request(70_000, message="second")
    house.network.is_online = True
    shop.sessions._chain_changed()
    house.until(lambda: "pj=" in shop.tab.URI)
    shop.tab.request_list.set_current_key(first)
    house.until(lambda: "pj=" in shop.tab.URI and "The link offers payjoin now: copy it again." in shop.line)
    shop.request(80_000, message="third")
    assert "copy it again" not in shop.line


def test_the_detached_code_has_the_link_of_the_tab_at_every_moment(house: House, shop: Resident) -> None:
    house.network.is_online = False
    shop.request()
    shop.window.toggle_qr_window()
    code = shop.window.qr_window.qrw
    assert code.data == shop.tab.URI
    house.network.is_online = True
    shop.sessions._chain_changed()
    house.until(lambda: "pj=" in code.data)
    assert code.data == shop.tab.URI
    shop.request(70_000)
    assert "amount=0.0007" in code.data
    assert "pj=" in code.data
    assert code.data == shop.tab.URI
    house.sender().offer(shop)
    house.until(lambda: "pj=" not in code.data)
    assert code.data == shop.tab.URI


def test_a_payjoin_changes_the_words_until_it_is_paid(house: House, shop: Resident) -> None:
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered. Waiting for the sender to complete the payment · 2"))
    assert "pj=" not in shop.tab.URI
    assert shop.buttons == ["Abort payjoin", "Details"]
    offer.complete(shop)
    house.until(lambda: shop.line.startswith("Paid by payjoin: 0.00099"))
    assert shop.line.endswith(" sat.")
    assert shop.buttons == ["Abort payjoin", "Details", "Show transaction"]


def test_abort_stays_in_its_place_and_says_why_there_is_nothing_to_abort(house: House, shop: Resident) -> None:
    shop.request()
    house.settle(0.1)
    abort, details = shop.parts.panel.buttons[:2]
    places = [abort.geometry(), details.geometry()]
    assert abort.isEnabled()
    assert abort.toolTip() == ""
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    offer.complete(shop)
    house.until(lambda: shop.line.startswith("Paid by payjoin"))
    house.settle(0.1)
    assert not abort.isEnabled()
    assert abort.toolTip() == abort.accessibleDescription() == "The payment is already on its way."
    assert [abort.geometry(), details.geometry()] == places
    shop.request(70_000)
    assert abort.isEnabled()
    assert abort.toolTip() == abort.accessibleDescription() == ""


def test_the_senders_own_payment_is_told_from_a_payjoin(house: House, shop: Resident) -> None:
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    offer.pay_plainly(shop)
    house.until(lambda: shop.line == "Paid, without payjoin.")


def test_a_locked_wallet_asks_for_the_password_and_answers(house: House) -> None:
    shop = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("The sender is waiting. Unlock the wallet to answer · 2"))
    assert shop.buttons == ["Abort payjoin", "Details", "Unlock and answer"]
    assert house.rung == ["A sender is waiting: unlock the wallet to answer."]
    asked = house.answers(press("OK", password="wrong"), press("OK"), press("OK", password=PASSWORD))
    shop.press("Unlock and answer")
    house.until(lambda: shop.line.startswith("Answered"))
    assert [dialog.title for dialog in asked] == ["Enter Password", "Error", "Enter Password"]
    assert not shop.wallet.is_unlocked()
    offer.complete(shop)
    house.until(lambda: shop.line.startswith("Paid by payjoin"))


def test_always_ask_shows_coin_and_cost_before_it_answers(house: House, shop: Resident) -> None:
    house.config.set_key("plugins.payjoin.ask_before_contributing", value=True, save=False)
    shop.request()
    house.sender().offer(shop)
    house.until(lambda: "Adding 0.05 BTC of yours costs" in shop.line)
    asked = house.answers(press("&Yes"))
    shop.press("Answer…")
    house.until(lambda: shop.line.startswith("Answered"))
    assert "0.05 BTC" in asked[0].text


def test_nothing_in_the_tab_moves_when_the_status_changes(house: House, shop: Resident) -> None:
    request_id = shop.request()
    house.settle(0.5)

    def places() -> list[object]:
        return [widget.geometry() for widget in (shop.tab.request_list, shop.tab.receive_widget, shop.parts.panel)]

    before = places()
    for words in ("", "Waiting", "A very long sentence, as German ones are, that tells a lot. " * 4):
        shop.parts.panel.label.setText(words)
        shop.parts.toggle.reason.say(words)
        house.settle(0.1)
        assert places() == before
    shop.tab.request_list.clearSelection()
    house.settle(0.1)
    assert places() == before
    shop.tab.request_list.set_current_key(request_id)
    house.settle(0.1)
    assert places() == before


def _public_key(name: str) -> str:
    from electrum.bip32 import BIP32Node  # noqa: PLC0415

    return str(BIP32Node.from_xkey(master_key(name, "p2wpkh")).to_xpub())
