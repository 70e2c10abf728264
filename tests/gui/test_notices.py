"""One notice for each turn that needs or interests the user, and one for a payment."""

from __future__ import annotations

import threading

import pytest
from electrum.transaction import Transaction

from payjoin_plugin.app.objections import Objections
from payjoin_plugin.app.sessions import WalletSessions
from payjoin_plugin.gui import notices
from tests.gui.house import House, Offer, Resident
from tests.gui.test_deeds import spend_elsewhere
from tests.wallet.wallets import pay, see_in_mempool

PREFIX = "plugins.payjoin."


def answered(house: House) -> tuple[Resident, Offer]:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    return shop, offer


def said_of(shop: Resident, *txns: Transaction) -> list[str]:
    """What Electrum rings for transactions that it has collected."""
    said: list[str] = shop.wallet.get_user_notifications_for_new_txns(list(txns))
    return said


def test_what_was_replaced_rings_no_more(house: House) -> None:
    shop, offer = answered(house)
    original, payjoin = offer.pay_plainly(shop), offer.complete(shop)
    (said,) = said_of(shop, original, payjoin)
    assert said.startswith("Paid by payjoin: ")


def test_a_payment_that_takes_anothers_place_rings_no_second_time(house: House) -> None:
    shop, offer = answered(house)
    assert said_of(shop, offer.pay_plainly(shop)) == ["The sender's own payment was broadcast: 0.001 BTC."]
    assert said_of(shop, offer.complete(shop)) == []


def test_a_second_payment_rings_though_electrum_rang_for_the_first(house: House) -> None:
    shop, offer = answered(house)
    (address,) = (request.get_address() for request in shop.wallet.get_unpaid_requests())
    plain = Transaction(pay(house.sender().wallet, address, 100_000).serialize())
    see_in_mempool(shop.wallet, plain)
    assert said_of(shop, plain) == ["New transaction: received 0.001 BTC"]
    (said,) = said_of(shop, offer.complete(shop))
    assert said.startswith("Paid by payjoin: ")


def test_who_waits_for_a_coin_is_told_of(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    shop.window.set_frozen_state_of_coins(shop.wallet.get_utxos(), freeze=True)
    house.sender().offer(shop)
    house.until(lambda: house.rung)
    assert house.rung == ["A sender is waiting until a coin of yours is free."]


def test_a_payment_that_is_left_to_the_user_is_told_of_once(house: House) -> None:
    house.config.set_key(PREFIX + "broadcast_original_by_itself", value=False, save=False)
    house.config.set_key(PREFIX + "max_receiver_fee_sat", value=0, save=False)
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    house.sender().offer(shop)
    house.until(lambda: house.rung)
    shop.parts._refresh()
    assert house.rung == ["A sender's own payment of 0.001 BTC is ready. You are paid when you broadcast it."]


@pytest.mark.parametrize("objection", ["is_in_the_way", "is_paid_to_any"])
def test_a_payment_that_another_request_holds_back_is_told_of(
    house: House, monkeypatch: pytest.MonkeyPatch, objection: str
) -> None:
    monkeypatch.setattr(Objections, objection, lambda *_: True)
    house.config.set_key(PREFIX + "max_receiver_fee_sat", value=0, save=False)
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    house.sender().offer(shop)
    house.until(lambda: house.rung)
    assert house.rung == ["A sender's own payment of 0.001 BTC is ready. You are paid when you broadcast it."]
    assert house.network.broadcast == []


def test_what_is_left_to_the_user_is_looked_for_off_qts_thread(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_on: list[bool] = []
    look = notices._left_to_user

    def noted(sessions: WalletSessions) -> dict[str, int]:
        looked_on.append(threading.current_thread() is threading.main_thread())
        return look(sessions)

    monkeypatch.setattr(notices, "_left_to_user", noted)
    house.open("shop", 5_000_000)
    house.until(lambda: looked_on)
    assert not any(looked_on)


def test_coins_that_are_spent_elsewhere_after_the_answer_are_told_of_once(house: House) -> None:
    shop, offer = answered(house)
    spend_elsewhere(house, offer)
    house.until(lambda: house.rung)
    shop.parts._refresh()
    assert house.rung == ["You have answered a sender whose coins were then spent elsewhere."]
