"""Abort: one question, and then nothing is answered any more."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Any

import pytest
from electrum import i18n
from electrum.gui.qt.util import WWLabel
from electrum.util import get_asyncio_loop
from electrum.wallet import Abstract_Wallet
from PyQt6 import sip
from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtTest import QTest

from payjoin_plugin.gui.abort import AbortDialog
from payjoin_plugin.session.events import Abort, Closed
from payjoin_plugin.session.log import decode_log
from tests.gui.house import House, Resident, press
from tests.gui.screenshots import Longer
from tests.mailroom.faults import Hold
from tests.wallet.wallets import PASSWORD, plugin_storage, reopen


def last_event_on_disk(wallet: Abstract_Wallet, session_id: str) -> object:
    reopened = reopen(wallet)
    return decode_log(plugin_storage(reopened)["sessions"][session_id], role="receiver")[-1].event


def test_before_the_sender_comes_abort_makes_the_request_plain(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    asked = house.answers(press("Abort payjoin"))
    shop.press("Abort payjoin")
    assert last_event_on_disk(shop.wallet, session_id) == Closed(Abort())
    assert asked[0].texts == (
        "The sender will get no answer. The address stays valid: it can still be paid without payjoin.",
    )
    assert asked[0].buttons == ("Keep waiting", "Abort payjoin")
    house.until(lambda: shop.line == "Payjoin aborted. The address can still be paid.")
    assert "pj=" not in shop.tab.URI
    house.settle(0.5)
    polls = len(house.mailroom.directory.journal.polls())
    house.settle(2.5)
    assert len(house.mailroom.directory.journal.polls()) <= polls + 1, "it polls on"


def test_keep_waiting_changes_nothing(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    house.answers(press("Keep waiting"))
    shop.press("Abort payjoin")
    house.settle(0.2)
    assert session_id in shop.sessions.ledger.open
    assert shop.line.startswith("Waiting")


def test_a_question_that_was_answered_is_gone(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    for answer in ("Keep waiting", "Keep waiting", "Abort payjoin"):
        house.answers(press(answer))
        shop.press("Abort payjoin")
    house.settle(0.1)
    assert shop.window.findChildren(AbortDialog) == []


def waiting_for_password(house: House) -> tuple[Resident, str]:
    shop = house.open("locked", 5_000_000, password=PASSWORD).with_keys()
    session_id = shop.session_of(shop.request())
    house.sender().offer(shop)
    house.until(lambda: "Unlock the wallet" in shop.line)
    return shop, session_id


def test_with_the_senders_payment_in_hand_it_is_broadcast_instead(house: House) -> None:
    shop, session_id = waiting_for_password(house)
    original = shop.sessions.held_original(session_id)
    assert original is not None
    asked = house.answers(press("Abort payjoin"))
    shop.press("Abort payjoin")
    house.until(lambda: house.network.broadcast)
    assert house.network.broadcast == [original.txid]
    assert "The sender has signed a payment of 0.001 BTC to you." in asked[0].text
    txid = f"{original.txid[:4]}…{original.txid[-2:]}"
    assert f"The sender's own payment: fee 300 sat (2.1 sat/vbyte), transaction {txid}." in asked[0].texts
    assert last_event_on_disk(shop.wallet, session_id) == Closed(Abort())


def test_without_the_tick_the_senders_payment_stays_ready(house: House) -> None:
    shop, _ = waiting_for_password(house)
    house.answers(press("Abort payjoin", tick=False))
    shop.press("Abort payjoin")
    house.until(lambda: shop.line == "Payjoin aborted. The sender's own payment was not broadcast.")
    assert house.network.broadcast == []
    assert shop.buttons == ["Abort payjoin", "Details", "Broadcast it…"]
    asked = house.answers(press("&Yes"))
    shop.press("Broadcast it…")
    house.until(lambda: house.network.broadcast)
    assert "0.001 BTC" in asked[0].text


def test_after_the_answer_it_says_that_the_sender_may_still_complete_it(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))
    asked = house.answers(press("Abort payjoin"))
    shop.press("Abort payjoin")
    house.until(lambda: "aborted" in shop.line)
    assert "they can still complete it, and you are paid then too" in asked[0].text
    assert "Whichever is mined counts; both pay you." in asked[0].text
    assert house.network.broadcast == [], "the tick is off by default then"
    offer.complete(shop)
    house.until(lambda: shop.line == "Aborted, but the sender completed it: paid.")


def test_an_abort_that_cannot_be_saved_says_so_in_the_dialog(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    save_db = shop.wallet.save_db

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    shop.wallet.save_db = full
    trouble: list[str] = []

    def when_it_has_failed(dialog: Any) -> None:
        house.until(lambda: not dialog.trouble.isHidden())
        trouble.append(dialog.trouble.text())
        press("Close")(dialog)

    house.answers(press("Abort payjoin"), when_it_has_failed)
    shop.press("Abort payjoin")
    assert trouble == ["The wallet file cannot be saved: No space left on device"]
    shop.wallet.save_db = save_db
    shop.wallet.save_db()
    assert last_event_on_disk(shop.wallet, session_id) == Closed(Abort()), "Electrum's next save has it"


def saving_waits(shop: Resident) -> Callable[[], object]:
    """The disk is not done until it is released."""
    released, flush = asyncio.Event(), shop.sessions.store.flush

    async def waits() -> None:
        await released.wait()
        await flush()

    shop.sessions.store.flush = waits  # type: ignore[method-assign]
    return lambda: get_asyncio_loop().call_soon_threadsafe(released.set)


@pytest.mark.parametrize("way", ["Esc", "X"])
def test_the_dialog_cannot_be_left_before_the_abort_is_on_disk(house: House, way: str) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    release = saving_waits(shop)

    def leave(dialog: Any) -> None:
        press("Abort payjoin")(dialog)
        house.settle(0.1)
        QTest.keyClick(dialog, Qt.Key.Key_Escape) if way == "Esc" else dialog.close()
        house.settle(0.1)
        assert dialog.isVisible()
        release()
        house.until(lambda: not dialog.isVisible())

    house.answers(leave)
    shop.press("Abort payjoin")
    assert last_event_on_disk(shop.wallet, session_id) == Closed(Abort())


@pytest.mark.parametrize("when", ["while it asks", "while it saves"])
def test_the_question_goes_with_its_window(house: House, when: str) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    release = saving_waits(shop)
    is_gone: list[bool] = []

    def close_the_window(dialog: Any) -> None:
        if when == "while it saves":
            press("Abort payjoin")(dialog)
            house.settle(0.1)
        QTimer.singleShot(200, release)
        house.close_window(shop.window)
        is_gone.append(sip.isdeleted(dialog) or not dialog.isVisible())
        if not is_gone[0]:
            dialog.done(0)

    house.answers(close_the_window)
    shop.press("Abort payjoin")
    assert is_gone == [True]


# The session moves on under the open question


def test_an_answer_that_leaves_under_the_question_changes_it(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()

    def when_it_is_answered(dialog: Any) -> None:
        house.sender().offer(shop)
        house.until(lambda: "they can still complete it" in dialog.question.text())
        assert dialog.payment.text().startswith("The sender's own payment: fee")
        assert not dialog.broadcast.isHidden()
        assert not dialog.note.isHidden()
        assert not dialog.broadcast.isChecked()
        press("Abort payjoin")(dialog)

    house.answers(when_it_is_answered)
    shop.press("Abort payjoin")
    house.until(lambda: "aborted" in shop.line)
    assert house.network.broadcast == []


def test_all_that_it_says_has_room_in_whatever_language(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    monkeypatch.setattr(i18n, "_language", Longer())
    cut: list[str] = []

    def when_it_is_answered(dialog: Any) -> None:
        house.sender().offer(shop)
        house.until(lambda: not dialog.note.isHidden())
        house.settle(0.1)
        labels = [label for label in dialog.findChildren(WWLabel) if label.isVisible()]
        cut.extend(label.text() for label in labels if label.height() < label.heightForWidth(label.width()))
        if dialog.broadcast.width() < dialog.broadcast.sizeHint().width():
            cut.append(dialog.broadcast.text())
        assert len(labels) == 3
        press("Keep waiting")(dialog)

    house.answers(when_it_is_answered)
    shop.parts.panel.buttons[0].click()
    assert cut == []


def test_the_tick_to_broadcast_does_not_survive_an_answer(house: House) -> None:
    shop, session_id = waiting_for_password(house)

    def when_it_is_answered(dialog: Any) -> None:
        assert dialog.broadcast.isChecked()
        get_asyncio_loop().call_soon_threadsafe(lambda: shop.sessions.answer(session_id, password=PASSWORD))
        house.until(lambda: "they can still complete it" in dialog.question.text())
        press("Abort payjoin")(dialog)

    house.answers(when_it_is_answered)
    shop.press("Abort payjoin")
    house.settle(0.5)
    assert house.network.broadcast == []


def test_a_tick_that_the_user_took_away_stays_away_while_nothing_happens(house: House) -> None:
    shop, _ = waiting_for_password(house)

    def untick(dialog: Any) -> None:
        dialog.broadcast.setChecked(False)
        shop.sessions.changed()
        house.settle(0.5)
        press("Abort payjoin")(dialog)

    house.answers(untick)
    shop.press("Abort payjoin")
    house.settle(0.5)
    assert house.network.broadcast == []


def test_a_payment_that_comes_under_the_question_leaves_nothing_to_abort(house: House) -> None:
    shop = house.open("shop", 5_000_000).with_keys()
    shop.request()
    offer = house.sender().offer(shop)
    house.until(lambda: shop.line.startswith("Answered"))

    def when_it_is_paid(dialog: Any) -> None:
        offer.complete(shop)
        house.until(lambda: not dialog.abort.isEnabled())
        assert dialog.question.text() == "The payment is already on its way."
        assert dialog.broadcast.isHidden()
        press("Close")(dialog)

    house.answers(when_it_is_paid)
    shop.press("Abort payjoin")
    house.until(lambda: shop.line.startswith("Paid by payjoin"))


def test_a_press_just_after_the_session_moved_is_not_taken_for_the_old_question(house: House) -> None:
    shop, session_id = waiting_for_password(house)

    def at_once(dialog: Any) -> None:
        shop.parts.deeds.refresh = lambda: None
        get_asyncio_loop().call_soon_threadsafe(lambda: shop.sessions.answer(session_id, password=PASSWORD))
        house.until(lambda: shop.line.startswith("Answered"))
        press("Abort payjoin")(dialog)
        assert dialog.keep.isEnabled()
        assert "they can still complete it" in dialog.question.text()
        press("Keep waiting")(dialog)

    house.answers(at_once)
    shop.press("Abort payjoin")
    assert session_id in shop.sessions.ledger.open


# In the middle of a step


def held_at_the_check(house: House, shop: Resident) -> Callable[[], object]:
    """The Electrum server does not answer until it is released."""
    released, look_up = asyncio.Event(), shop.sessions.receiver_wallet.look_up

    async def waits(*arguments: object) -> object:
        await released.wait()
        return await look_up(*arguments)  # type: ignore[arg-type]

    shop.sessions.receiver_wallet.look_up = waits  # type: ignore[assignment, method-assign]
    return lambda: get_asyncio_loop().call_soon_threadsafe(released.set)


def held_at_the_post(house: House, shop: Resident) -> Callable[[], object]:
    """The directory does not take our answer until it is released; the sender's own post comes through first."""
    hold, posts = Hold(), iter(range(9))
    house.mailroom.directory.inject(hold.before, when=lambda seen: seen.is_post() and next(posts) > 0)
    return lambda: get_asyncio_loop().call_soon_threadsafe(hold.released.set)


STAGES = {
    "checking": (
        held_at_the_check,
        "The sender's payment has come. Checking it…",
        "The sender will get no answer",
    ),
    "posting": (held_at_the_post, "Sending the answer…", "Your answer is with the sender already"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_an_abort_in_the_middle_of_a_step_ends_it_for_good(house: House, stage: str) -> None:
    hold, line, said = STAGES[stage]
    shop = house.open("shop", 5_000_000).with_keys()
    session_id = shop.session_of(shop.request())
    release = hold(house, shop)
    house.sender().offer(shop)
    house.until(lambda: shop.line == line)
    assert shop.buttons == ["Abort payjoin", "Details"]
    asked = house.answers(press("Abort payjoin", tick=False) if stage == "posting" else press("Abort payjoin"))
    shop.press("Abort payjoin")
    assert asked[0].text.startswith(said)
    assert last_event_on_disk(shop.wallet, session_id) == Closed(Abort())
    house.until(lambda: "aborted" in shop.line)
    release()
    house.settle(0.5)
    assert last_event_on_disk(shop.wallet, session_id) == Closed(Abort()), "what came back later is dropped"
    assert session_id not in shop.sessions.live.runners
    journal = house.mailroom.directory.journal
    before = len(journal.requests)
    house.settle(2.5)
    assert len(journal.requests) == before, "no answer and no poll leaves any more"
