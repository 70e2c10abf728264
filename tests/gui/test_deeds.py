"""What the buttons do when something goes another way: dropped, double spent, failed, a fault of ours."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from electrum.interface import TxBroadcastServerReturnedError
from electrum.transaction import Transaction
from electrum.util import get_asyncio_loop
from PyQt6.QtCore import Qt
from PyQt6.QtTest import QTest

from payjoin_plugin.app.view import Share, foreseen_share, view_of
from payjoin_plugin.errors import UserError
from payjoin_plugin.gui.words import sat
from payjoin_plugin.session.events import Closed, Failure
from payjoin_plugin.session.receiver import Signing
from payjoin_plugin.session.status import Waiting
from tests.app.test_settling import BLOCK, BlockOf
from tests.gui.house import House, Offer, Resident, press
from tests.gui.test_abort import waiting_for_password
from tests.gui.test_requests import menu_of
from tests.gui.test_sessions_window import open_window
from tests.wallet.wallets import PASSWORD, pay, run, see_in_mempool, transaction

ASK = "plugins.payjoin.ask_before_contributing"


def paid(house: House) -> tuple[Resident, Transaction]:
    """A shop that was paid by payjoin, and the payjoin."""
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    tx = offer.complete(shop)
    house.until(lambda: shop.line.startswith("Paid by payjoin"))
    return shop, tx


def drop(shop: Resident, tx: Transaction) -> None:
    """The mempool forgets a transaction; for Electrum it is a local one then."""
    with shop.wallet.adb.lock:
        del shop.wallet.adb.unconfirmed_tx[tx.txid()]
    shop.sessions.changed()
    shop.house.until(lambda: shop.line == "The payjoin was dropped by the network.")


def spend_elsewhere(house: House, offer: Offer, *, height: int = 0) -> Transaction:
    """The sender's coins go elsewhere, in the mempool or in a block, and the Electrum server tells who watches."""
    sender = offer.sender.wallet
    tx = Transaction(pay(sender, sender.get_receiving_addresses()[1], 60_000).serialize())
    house.chain.add(tx, height=height)
    session = house.network.interfaces["main"].session
    assert session is not None
    session.notify()
    return tx


def confirm_elsewhere(house: House, offer: Offer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block takes it, and the server proves that."""

    async def proof(_txid: str, height: int) -> dict[str, Any]:
        return {"merkle": [], "pos": 0, "block_height": height}

    monkeypatch.setattr(house.network, "get_merkle_for_transaction", proof, raising=False)
    sender = offer.sender.wallet
    txid = Transaction(pay(sender, sender.get_receiving_addresses()[1], 60_000).serialize()).txid()
    monkeypatch.setattr(house.network, "blockchain", lambda: BlockOf(txid, BLOCK))
    assert spend_elsewhere(house, offer, height=BLOCK).txid() == txid


# A payjoin that the network dropped


def test_a_dropped_payjoin_is_broadcast_again(house: House) -> None:
    shop, tx = paid(house)
    drop(shop, tx)
    assert shop.buttons == ["Abort payjoin", "Details", "Broadcast again", "Remove it"]
    shop.press("Broadcast again")
    house.until(lambda: house.network.broadcast == [tx.txid()])
    see_in_mempool(shop.wallet, tx)
    house.until(lambda: shop.line.startswith("Paid by payjoin"))


class Slow:
    """A network that answers when it is told to."""

    def __init__(self, shop: Resident, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began: list[str] = []
        self._refusal: str | None = None
        self._may_answer = asyncio.Event()
        monkeypatch.setattr(shop.sessions.originals, "broadcast", self._broadcast)

    async def _broadcast(self, raw: str, _server: object) -> None:
        self.began.append(raw)
        await self._may_answer.wait()
        if self._refusal is not None:
            raise UserError(self._refusal)

    def answer(self, refusal: str | None = None) -> None:
        self._refusal = refusal
        get_asyncio_loop().call_soon_threadsafe(self._may_answer.set)


def test_a_second_click_broadcasts_nothing_twice(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, tx = paid(house)
    drop(shop, tx)
    slow = Slow(shop, monkeypatch)
    session_id = shop.session_of(shop.tab.request_list.get_current_key())
    shop.parts.deeds.broadcast_again(session_id)
    shop.parts.deeds.broadcast_again(session_id)
    house.until(lambda: shop.line == "Broadcasting…" and slow.began)
    assert shop.buttons == ["Abort payjoin", "Details"]
    house.settle(0.2)
    assert slow.began == [tx.serialize()]
    slow.answer()
    house.until(lambda: shop.line == "The payjoin was dropped by the network.")
    shop.press("Broadcast again")
    house.until(lambda: len(slow.began) == 2)


@pytest.mark.parametrize("by", ["the button", "the abort"])
def test_a_payment_of_the_senders_is_said_to_be_broadcast_until_the_network_has_answered(
    house: House, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, _ = waiting_for_password(house)
    session_id = shop.session_of(shop.tab.request_list.get_current_key())
    details, slow = open_window(shop, session_id).detail, Slow(shop, monkeypatch)
    house.answers(press("Abort payjoin", tick=by == "the abort"))
    shop.press("Abort payjoin")
    if by == "the button":
        house.until(lambda: "Broadcast it…" in shop.buttons)
        house.answers(press("&Yes"))
        shop.press("Broadcast it…")
    house.until(lambda: slow.began)
    house.until(lambda: shop.line == details.line.text() == "Broadcasting…")
    assert shop.buttons == ["Abort payjoin", "Details"]
    assert not details.buttons["broadcast"].isEnabled()
    asked = house.answers(press("OK"))
    slow.answer("the network wants a larger fee")
    house.until(lambda: asked)
    assert asked[0].text == "The network wants a larger fee"
    house.until(lambda: shop.line == "Payjoin aborted. The sender's own payment was not broadcast.")
    assert "Broadcast it…" in shop.buttons
    assert details.buttons["broadcast"].isEnabled()


def test_a_dropped_payjoin_is_removed_only_after_a_yes_and_frees_our_coin(house: House) -> None:
    shop, tx = paid(house)
    drop(shop, tx)
    house.answers(press("&No"))
    shop.press("Remove it")
    assert shop.wallet.adb.get_transaction(tx.txid()) is not None
    asked = house.answers(press("&Yes"))
    shop.press("Remove it")
    assert asked[0].text == "Remove the dropped transaction from your history? The request counts as unpaid again."
    assert shop.wallet.adb.get_transaction(tx.txid()) is None
    assert [coin.value_sats() for coin in shop.wallet.get_spendable_coins(confirmed_only=True)] == [5_000_000]
    house.until(lambda: shop.line.startswith("The payjoin was dropped by the network, and removed here."))
    assert shop.buttons == ["Abort payjoin", "Details", "Broadcast it…"]


def test_a_dropped_payjoin_can_be_removed_from_the_window_too(house: House) -> None:
    shop, tx = paid(house)
    drop(shop, tx)
    window = open_window(shop, shop.session_of(shop.tab.request_list.get_current_key()))
    shown_buttons = [button.text() for button in window.detail.buttons.values() if not button.isHidden()]
    assert shown_buttons[-2:] == ["Broadcast again", "Remove it"]
    house.answers(press("&Yes"))
    window.detail.buttons["second"].click()
    assert shop.wallet.adb.get_transaction(tx.txid()) is None


def test_a_payjoin_that_came_back_under_the_question_is_not_removed(house: House) -> None:
    shop, tx = paid(house)
    drop(shop, tx)
    spend = transaction([f"{tx.txid()}:0", f"{tx.txid()}:1"], [(shop.wallet.get_receiving_addresses()[1], 5_000)])
    shop.wallet.adb.verify_txins = None  # made-up signatures
    shop.wallet.adb.add_transaction(spend)

    def yes_after_it_came_back(dialog: Any) -> None:
        see_in_mempool(shop.wallet, tx)
        press("&Yes")(dialog)

    asked = house.answers(yes_after_it_came_back, press("OK"))
    shop.press("Remove it")
    assert asked[0].text.endswith("1 other transactions that spend it go too.")
    assert asked[1].text == "The payjoin is in the network again, and was not removed."
    assert shop.wallet.adb.get_transaction(tx.txid()) is not None


def test_what_cannot_be_broadcast_again_is_said(house: House) -> None:
    shop, tx = paid(house)
    drop(shop, tx)
    shop.wallet.adb.remove_transaction(tx.txid())
    asked = house.answers(press("OK"))
    shop.press("Broadcast again")
    assert asked[0].text == "The wallet no longer has this transaction."


def test_without_a_network_broadcasting_says_so(house: House) -> None:
    shop, tx = paid(house)
    drop(shop, tx)
    shop.wallet.network = None
    asked = house.answers(press("OK"))
    shop.press("Broadcast again")
    house.until(lambda: asked)
    said = "The payjoin service or the Electrum server cannot be reached. (Electrum is offline)"
    assert asked[0].text == said


# A sender who spends the coins elsewhere


def double_spent(house: House, *, password: str | None = None) -> tuple[Resident, Offer]:
    house.config.set_key(ASK, value=True, save=False)
    shop = house.open("shop", 5_000_000, password=password).with_keys()
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("The sender is waiting"))
    spend_elsewhere(house, offer)
    house.until(lambda: shop.line == "Careful: the sender's coins were spent elsewhere. Nothing was answered.")
    return shop, offer


def test_a_double_spend_rings_and_holds_the_answer_back(house: House) -> None:
    shop, _ = double_spent(house)
    assert shop.buttons == ["Abort payjoin", "Details", "Answer all the same"]
    assert house.rung[-1] == "The sender's coins were spent elsewhere; your answer was held back."
    house.answers(press("&No"))
    shop.press("Answer all the same")
    house.settle(0.3)
    assert shop.line.startswith("Careful")


@pytest.mark.parametrize("password", [None, PASSWORD], ids=["without a password", "with a password"])
def test_the_user_may_answer_all_the_same(house: House, password: str | None) -> None:
    shop, offer = double_spent(house, password=password)
    steps = [press("&Yes")] if password is None else [press("&Yes"), press("OK", password=password)]
    asked = house.answers(*steps)
    shop.press("Answer all the same")
    house.until(lambda: shop.line.startswith("Answered, but the sender's coins were spent elsewhere"))
    assert "one of your coins is shown to them, and the payment may never come" in asked[0].text
    assert asked[0].title == "Answer all the same"
    given = view_of(shop.sessions, shop.session_of(shop.tab.request_list.get_current_key())).share
    assert given is not None
    assert f"your share of the fee is {sat(given.receiver_fee_sat)}, the sender pays" in asked[0].text
    assert "Answer with your coin " in asked[0].text
    offer.answer()


@pytest.mark.parametrize("word", ["a Yes", "a password"])
def test_a_word_that_knew_of_no_double_spend_answers_none(house: House, word: str) -> None:
    by_yes = word == "a Yes"
    button = "Answer…" if by_yes else "Unlock and answer"
    house.config.set_key(ASK, value=by_yes, save=False)
    shop = house.open("shop", 5_000_000, password=None if by_yes else PASSWORD).with_keys()
    session_id = shop.session_of(shop.request())
    offer = house.sender().offer(shop)
    house.until(lambda: button in shop.buttons)
    under_it: list[str] = []

    def say_it_after_a_double_spend(dialog: Any) -> None:
        spend_elsewhere(house, offer)
        house.until(lambda: shop.line.startswith("Careful"))
        under_it.append(shop.line)
        (press("&Yes") if by_yes else press("OK", password=PASSWORD))(dialog)

    house.answers(say_it_after_a_double_spend)
    shop.press(button)
    house.until(lambda: under_it)
    house.settle(0.5)
    assert not view_of(shop.sessions, session_id).answered
    assert "Answer all the same" in shop.buttons
    house.answers(*([press("&Yes")] if by_yes else [press("&Yes"), press("OK", password=PASSWORD)]))
    shop.press("Answer all the same")
    house.until(lambda: shop.line.startswith("Answered, but the sender's coins were spent elsewhere"))
    offer.answer()


def test_who_is_not_asked_each_time_is_asked_only_about_the_double_spend(house: House) -> None:
    shop, _ = double_spent(house)
    house.config.set_key(ASK, value=False, save=False)
    asked = house.answers(press("&Yes"))
    shop.press("Answer all the same")
    house.until(lambda: shop.line.startswith("Answered, but the sender's coins were spent elsewhere"))
    assert asked[0].text.endswith("the payment may never come. Answer all the same?")


def test_after_a_restart_the_coin_of_an_answer_that_is_held_back_is_shown(house: House) -> None:
    shop, session_id = asking(house, 5_000_000)
    deeds = shop.parts.deeds
    house.answers(press("&Yes"))
    shop.press("Answer…")
    house.until(lambda: shop.line.startswith("Answered"))
    share = view_of(shop.sessions, session_id).share
    assert foreseen_share(shop.sessions, session_id) is None
    asked = house.answers(press("&No"))
    deeds.answer_anyway(session_id)
    house.until(lambda: asked)
    assert share is not None
    assert f"Answer with your coin {share.outpoints[0][:4]}" in asked[0].text


def test_a_payment_that_can_never_be_mined_is_offered_nowhere(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, offer = double_spent(house)
    confirm_elsewhere(house, offer, monkeypatch)
    house.until(lambda: shop.line == "The payjoin failed: the sender's coins were spent elsewhere.")
    assert shop.buttons == ["Abort payjoin", "Details", "New request"]
    request_id = shop.tab.request_list.get_current_key()
    assert menu_of(shop, request_id) == {"Abort payjoin": False, "Payjoin details": True}
    window = open_window(shop, shop.session_of(request_id))
    assert window.detail.line.text() == shop.line
    assert not window.detail.buttons["broadcast"].isEnabled()
    shop.tab.request_list.delete_requests([request_id])
    assert shop.wallet.get_request(request_id) is None, "it asked though nothing can be broadcast"


def test_with_a_double_spend_no_payment_is_promised(house: House) -> None:
    shop, _ = double_spent(house)
    asked = house.answers(press("Abort payjoin"))
    shop.press("Abort payjoin")
    house.until(lambda: "Payjoin aborted" in shop.line)
    assert asked[0].texts[0] == (
        "The sender will get no answer. Their coins were spent elsewhere: their payment to you may never be mined."
    )
    assert asked[0].texts[-1] == "Broadcast it"
    house.settle(0.3)
    assert house.network.broadcast == [], "the tick is off by default then"


def test_a_double_spend_after_the_answer_is_said(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    spend_elsewhere(house, offer)
    house.until(lambda: "spent elsewhere" in shop.line)
    asked = house.answers(press("Keep waiting"))
    shop.press("Abort payjoin")
    assert asked[0].texts[0] == (
        "Your answer is with the sender already, but their coins were spent elsewhere: it may come to nothing. "
        "Aborting stops the waiting."
    )
    assert "both pay you" not in asked[0].text


def test_what_was_double_spent_and_aborted_is_no_payment_that_waits(house: House) -> None:
    shop, _ = double_spent(house)
    house.answers(press("Abort payjoin", tick=False))
    shop.press("Abort payjoin")
    said = "Payjoin aborted. The sender's coins were spent elsewhere."
    house.until(lambda: shop.line == said and "Broadcast it…" in shop.buttons)
    request_id = shop.tab.request_list.get_current_key()
    asked = house.answers(press("&No"))
    shop.tab.request_list.delete_requests([request_id])
    assert "The sender's coins were spent elsewhere: it may never be mined." in asked[0].text
    (kept,) = shop.sessions.originals.kept().values()
    shop.sessions.store.kept.drop(kept.txid)  # as when the double spend is deep in the chain
    shop.parts._refresh()
    assert (shop.line, shop.buttons) == (said, ["Abort payjoin", "Details"])


# Answers


def asking(house: House, *coins: int, password: str | None = None) -> tuple[Resident, str]:
    """A shop whose owner wants to be asked before each answer, and is."""
    house.config.set_key(ASK, value=True, save=False)
    shop = house.open("shop", *coins, password=password).with_keys()
    session_id = shop.session_of(shop.request())
    house.sender().offer(shop)
    house.until(lambda: "Answer…" in shop.buttons)
    return shop, session_id


class Turned:
    """A Yes to a coin that is frozen meanwhile: it was given, and the session waits for another one."""

    def __init__(self, house: House, shop: Resident, session_id: str) -> None:
        shown = foreseen_share(shop.sessions, session_id)
        assert shown is not None
        self.shown: Share = shown
        self._house, self._shop, self._session_id = house, shop, session_id
        self._given: list[Share | None] = []
        answer = shop.sessions.answer

        def noted(session_id: str, *, password: str | None, agreed: Share | None = None, **more: Any) -> None:
            answer(session_id, password=password, agreed=agreed, **more)
            self._given.append(agreed)

        shop.sessions.answer = noted  # type: ignore[method-assign]

    def freeze(self) -> None:
        coins = [coin for coin in self._shop.wallet.get_utxos() if coin.prevout.to_str() in self.shown.outpoints]
        self._shop.window.set_frozen_state_of_coins(coins, freeze=True)

    def wait(self) -> None:
        runner = self._shop.sessions.live.runners[self._session_id]
        other = self._shop.window.config.format_amount_and_units(9_000_000 - self.shown.contributed_sat)
        self._house.until(lambda: self._given == [self.shown], "the Yes")
        self._house.until(lambda: runner._room._consent is None and runner.waiting is Waiting.NEEDS_APPROVAL)
        self._house.until(lambda: other in self._shop.line and "Answer…" in self._shop.buttons, "the other coin")


def test_a_double_click_asks_once(house: House) -> None:
    shop, _ = asking(house, 5_000_000)
    asked = house.answers(press("&Yes"), press("&Yes"), press("OK"))
    shop.press("Answer…")
    shop.press("Answer…")
    house.until(lambda: shop.line.startswith("Answered"))
    house.settle(0.3)
    assert [dialog.title for dialog in asked] == ["Answer the sender"]


def test_after_a_no_it_can_be_asked_again(house: House) -> None:
    shop, _ = asking(house, 5_000_000)
    asked = house.answers(press("&No"), press("&Yes"))
    shop.press("Answer…")
    house.until(lambda: asked)
    house.settle(0.2)
    shop.press("Answer…")
    house.until(lambda: shop.line.startswith("Answered"))


@pytest.mark.parametrize("end", ["aborted", "deleted"])
def test_a_yes_to_a_session_that_has_ended_says_so(house: House, end: str) -> None:
    shop, session_id = asking(house, 5_000_000)

    def late(dialog: Any) -> None:
        if end == "aborted":
            run(shop.sessions.abort(session_id))
        else:
            shop.wallet.delete_request(shop.tab.request_list.get_current_key())
        press("&Yes")(dialog)

    asked = house.answers(late, press("OK"))
    shop.press("Answer…")
    house.until(lambda: len(asked) == 2)
    assert asked[1].text == "This payjoin has ended meanwhile."


def test_a_password_for_a_session_that_has_ended_says_so(house: House) -> None:
    shop = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    session_id = shop.session_of(shop.request())
    house.sender().offer(shop)
    house.until(lambda: "Unlock the wallet" in shop.line)

    def late(dialog: Any) -> None:
        run(shop.sessions.abort(session_id))
        press("OK", password=PASSWORD)(dialog)

    asked = house.answers(late, press("OK"))
    shop.press("Unlock and answer")
    house.until(lambda: len(asked) == 2)
    assert asked[1].text == "This payjoin has ended meanwhile."


def test_the_coin_that_is_shown_is_the_one_that_is_to_be_had_now(house: House) -> None:
    shop, session_id = asking(house, 5_000_000, 3_000_000)
    house.until(lambda: "Adding" in shop.line)
    first, second = sorted(("Adding 0.05 BTC", "Adding 0.03 BTC"), key=lambda words: words not in shop.line)
    shown = foreseen_share(shop.sessions, session_id)
    assert shown is not None
    coins = [coin for coin in shop.wallet.get_utxos() if coin.prevout.to_str() in shown.outpoints]
    shop.window.set_frozen_state_of_coins(coins, freeze=True)
    house.until(lambda: second in shop.line)
    shop.request(70_000)
    window = open_window(shop, session_id)
    shop.window.set_frozen_state_of_coins(coins, freeze=False)
    house.until(lambda: first in window.detail.line.text(), "the coin in the pane")


def test_a_yes_to_a_coin_that_is_not_to_be_had_any_more_gives_no_other(house: House) -> None:
    shop, session_id = asking(house, 5_000_000, 4_000_000)
    turned = Turned(house, shop, session_id)

    def late(dialog: Any) -> None:
        turned.freeze()
        press("&Yes")(dialog)

    asked = house.answers(late, press("&Yes"))
    shop.press("Answer…")
    turned.wait()
    shop.press("Answer…")
    house.until(lambda: shop.line.startswith("Answered"))
    assert asked[1].text.startswith("The coin or the fee has changed since you agreed.\n\nAnswer with your coin ")
    given = view_of(shop.sessions, session_id).share
    assert given is not None
    assert given.outpoints != turned.shown.outpoints


def test_a_password_that_comes_after_a_yes_is_for_the_coin_of_the_yes(house: House) -> None:
    shop, session_id = asking(house, 5_000_000, 4_000_000, password=PASSWORD)
    turned = Turned(house, shop, session_id)
    asked = house.answers(press("&Yes"), press("Cancel"), press("OK", password=PASSWORD))
    shop.press("Answer…")
    house.until(lambda: len(asked) == 2)
    turned.freeze()
    shop.parts.deeds.unlock(session_id)
    turned.wait()


def test_a_coin_that_was_chosen_before_the_signature_failed_is_the_one_that_is_shown(house: House) -> None:
    shop, session_id = asking(house, 5_000_000, password=PASSWORD)
    shop.sessions.answer(session_id, password="wrong", agreed=foreseen_share(shop.sessions, session_id))
    house.until(lambda: isinstance(shop.sessions.ledger.open[session_id].state, Signing))
    chosen = view_of(shop.sessions, session_id).share
    assert chosen is not None
    runner = shop.sessions.live.runners[session_id]
    house.until(lambda: runner._room._consent is None and runner.waiting is Waiting.NEEDS_APPROVAL, "a wrong password")
    house.settle(0.3)
    shop.parts.deeds.foreseen.clear()
    shop.parts._refresh()
    said = f"The sender is waiting. Adding 0.05 BTC of yours costs {sat(chosen.receiver_fee_sat)}"
    house.until(lambda: shop.line.startswith(said) and "Answer…" in shop.buttons)
    asked = house.answers(press("&Yes"), press("OK", password=PASSWORD))
    shop.press("Answer…")
    house.until(lambda: shop.line.startswith("Answered"))
    assert f"Answer with your coin {chosen.outpoints[0][:4]}" in asked[0].text
    assert view_of(shop.sessions, session_id).share == chosen


# What failed


def test_a_request_that_failed_is_made_anew_from_its_own_words(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request(70_000, "Rent"))
    shop.sessions.ledger.record(shop.sessions.ledger.open[session_id], Closed(Failure()))
    shop.sessions.live.stop_soon(session_id)
    house.until(lambda: shop.line == "The payjoin failed: something else than a payment came.")
    assert shop.buttons == ["Abort payjoin", "Details", "New request"]
    shop.press("New request")
    assert shop.tab.receive_amount_e.get_amount() == 70_000
    assert shop.tab.receive_message_e.text() == "Rent"
    shop.tab.create_onchain_invoice_button.click()
    house.until(lambda: shop.line.startswith("Waiting for the sender to pay"))
    assert "pj=" in shop.tab.URI


def test_a_senders_fault_is_told_from_a_fixed_table_and_their_payment_can_be_had(house: House) -> None:
    house.config.set_key("plugins.payjoin.max_receiver_fee_sat", value=0, save=False)
    house.config.set_key("plugins.payjoin.broadcast_original_by_itself", value=False, save=False)
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    house.sender().offer(shop)
    failed = "The payjoin failed: it would cost you more than your limit."
    house.until(lambda: shop.line == f"{failed} Their payment without payjoin is ready.")
    assert shop.buttons == ["Abort payjoin", "Details", "Broadcast it…"]
    asked = house.answers(press("&Yes"))
    shop.press("Broadcast it…")
    house.until(lambda: house.network.broadcast)
    assert "Broadcast the sender's own payment of 0.001 BTC, without payjoin?" in asked[0].text


def test_a_fault_of_ours_is_said_and_leaves_the_others_alone(house: House) -> None:
    shop = house.open("shop", 5_000_000, 3_000_000).with_keys()
    shop.request()

    async def fails(original: object) -> object:
        del shop.sessions.receiver_wallet.look_up
        raise ZeroDivisionError

    shop.sessions.receiver_wallet.look_up = fails  # type: ignore[assignment, method-assign]
    house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Payjoin had a fault; see the log. The sender can still pay without it."))
    assert shop.buttons == ["Abort payjoin", "Details"]
    shop.request(70_000)
    house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))


def test_an_expired_request_says_so_and_offers_what_is_held(house: House) -> None:
    house.config.set_key("plugins.payjoin.broadcast_original_by_itself", value=False, save=False)
    shop = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    session = shop.sessions.ledger.open[shop.session_of(shop.request())]
    house.sender().offer(shop)
    house.until(lambda: "Unlock the wallet" in shop.line)
    past = replace(session.state.created, expires_at=1)  # type: ignore[union-attr]
    session.state = replace(session.state, created=past)  # type: ignore[arg-type]
    shop.parts._refresh()
    assert shop.line == "Expired. Their payment is ready."
    assert shop.buttons == ["Abort payjoin", "Details", "Broadcast it…"]


def test_who_wants_to_be_asked_meanwhile_is_asked_before_the_password(house: House) -> None:
    shop, session_id = waiting_for_password(house)
    house.config.set_key(ASK, value=True, save=False)
    asked = house.answers(press("&No"))
    shop.parts.deeds.unlock(session_id)
    house.until(lambda: asked)
    assert asked[0].text.startswith("Answer with your coin")
    asked = house.answers(press("&Yes"), press("OK", password=PASSWORD))
    shop.parts.deeds.unlock(session_id)
    house.until(lambda: shop.line.startswith("Answered"))
    assert [dialog.title for dialog in asked] == ["Answer the sender", "Enter Password"]


def test_why_the_network_refuses_a_payment_is_said_in_full_where_there_is_room(house: House) -> None:
    shop = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    session_id = shop.session_of(shop.request())
    house.sender().offer(shop)
    house.until(lambda: "Unlock the wallet" in shop.line)
    house.answers(press("Abort payjoin", tick=False))
    shop.press("Abort payjoin")
    house.until(lambda: "Broadcast it…" in shop.buttons)
    reason = " ".join(TxBroadcastServerReturnedError("min relay fee not met").get_message_for_gui().split())
    shop.sessions.settling.refusals[session_id] = reason
    shop.parts._refresh()
    house.settle(0.1)
    label = shop.parts.panel.label
    assert shop.line.endswith("not broadcast.\nIt was refused, and is tried again: see Details.")
    assert label.heightForWidth(label.width()) <= label.height()
    QTest.keyClick(shop.parts.panel.buttons[1], Qt.Key.Key_Space)
    window = shop.parts._window_of_sessions
    house.until(lambda: window._has_loaded)
    assert window.detail.notes.text() == f"It was refused, and is tried again: {reason}"
    assert window.detail.notes.isVisible()


def test_a_double_spend_is_said_beside_what_happened(house: House) -> None:
    shop, _ = double_spent(house)
    window = open_window(shop, shop.session_of(shop.tab.request_list.get_current_key()))
    assert window.detail.notes.text() == (
        "The sender's coins are spent by another transaction as well: only one of the two can be mined."
    )
