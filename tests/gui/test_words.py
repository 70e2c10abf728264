"""What the status line says of the ends of a session, and what it offers: only what is so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from payjoin_plugin.app.view import Payment, View
from payjoin_plugin.app.visible import PaidBy
from payjoin_plugin.errors import Fault
from payjoin_plugin.gui.words import Act, line_of
from payjoin_plugin.session.status import Stage, Status, Waiting
from tests.wallet.wallets import make_config

HELD = Payment("00" * 32, 100_000, 200, 1.5)
DROPPED = "The payment was dropped by the network."
FAILED = "The payjoin failed: their payment is not signed, or not validly."


def line(folder: Path, status: Status, **known: Any) -> tuple[str, tuple[Act, ...]]:
    view = View("0123456789abcdef", status, fault=Fault.NOT_SIGNED, **known)
    said = line_of(view, make_config(folder))
    return said.text, said.acts


def test_what_paid_without_payjoin_and_was_dropped_is_not_called_paid(tmp_path: Path) -> None:
    status = Status.PAID_WITHOUT_PAYJOIN
    assert line(tmp_path, status, held=HELD, is_kept=True) == (DROPPED, (Act.BROADCAST,))
    assert line(tmp_path, status, held=HELD) == (DROPPED, ())
    assert line(tmp_path, status) == (DROPPED, ())
    paid = "Paid, without payjoin."
    assert line(tmp_path, status, held=HELD, paid_by=PaidBy.OTHER, paid_txid="00") == (paid, (Act.SHOW,))


def test_a_payjoin_that_took_the_place_of_the_original_is_called_one(tmp_path: Path) -> None:
    status = Status.PAID_WITHOUT_PAYJOIN
    said = line(tmp_path, status, held=HELD, paid_by=PaidBy.PAYJOIN, paid_txid="00")
    assert said == ("Paid by payjoin.", (Act.SHOW,))


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.PAID_WITHOUT_PAYJOIN])
def test_what_was_replaced_by_another_payment_to_us_is_not_called_dropped(tmp_path: Path, status: Status) -> None:
    text, acts = line(tmp_path, status, held=HELD, is_kept=True, replaced_by=("00", 99_000))
    assert text == "It was replaced by another payment of the sender's to this wallet: 0.99 mBTC."
    assert acts == (Act.SHOW,)


def test_what_came_otherwise_after_the_end_is_told_with_its_amount(tmp_path: Path) -> None:
    came = "Another payment of the sender's came to this wallet: 0.99 mBTC."
    for status, ended in ((Status.EXPIRED, "Expired."), (Status.ABORTED, "Aborted.")):
        assert line(tmp_path, status, held=HELD, replaced_by=("00", 99_000)) == (f"{ended} {came}", (Act.SHOW,))


def test_an_original_that_was_let_go_is_not_denied(tmp_path: Path) -> None:
    assert line(tmp_path, Status.COMPLETED, held=HELD, paid_by=PaidBy.ORIGINAL, paid_txid="00") == (
        "Paid, without payjoin.",
        (Act.SHOW,),
    )
    said = line(tmp_path, Status.EXPIRED, held=HELD)
    assert said == ("Expired. The sender's own payment is kept no longer.", (Act.BROADCAST,))
    assert line(tmp_path, Status.EXPIRED) == ("Expired. Nothing came.", ())


def test_before_electrum_has_asked_its_server_nothing_is_called_dropped(tmp_path: Path) -> None:
    text, acts = line(tmp_path, Status.PAID_WITHOUT_PAYJOIN, held=HELD, is_current=False)
    assert (text, acts) == ("Paid, without payjoin.", ())
    text, _ = line(tmp_path, Status.COMPLETED, held=HELD, payjoin_kept=True, is_current=False)
    assert text == "Paid by payjoin."


@pytest.mark.parametrize(
    ("paid_by", "expired", "failed"),
    [
        (
            PaidBy.PAYJOIN,
            "Expired, but the sender completed it: paid.",
            "The sender completed it all the same: paid.",
        ),
        (
            PaidBy.ORIGINAL,
            "Expired. The sender's own payment was broadcast instead.",
            "Paid by the sender's own payment.",
        ),
        (PaidBy.OTHER, "Expired. Paid, without payjoin.", "Paid, without payjoin."),
    ],
)
def test_what_paid_after_the_end_is_called_what_it_is(
    tmp_path: Path, paid_by: PaidBy, expired: str, failed: str
) -> None:
    assert line(tmp_path, Status.EXPIRED, paid_by=paid_by) == (expired, (Act.SHOW,))
    assert line(tmp_path, Status.FAILED, paid_by=paid_by, held=HELD) == (f"{FAILED} {failed}", (Act.SHOW,))


def test_what_was_declined_is_not_called_aborted(tmp_path: Path) -> None:
    assert line(tmp_path, Status.ABORTED, declined=True) == ("Without payjoin, as you chose.", ())
    paid = line(tmp_path, Status.ABORTED, declined=True, paid_by=PaidBy.OTHER, paid_txid="00")
    assert paid == ("Paid, without payjoin.", (Act.SHOW,))
    held, acts = line(tmp_path, Status.ABORTED, declined=True, held=HELD, is_kept=True)
    assert (held, acts) == ("Payjoin aborted. The sender's own payment was not broadcast.", (Act.BROADCAST,))


def test_what_came_and_was_not_checked_is_not_called_nothing(tmp_path: Path) -> None:
    assert line(tmp_path, Status.EXPIRED) == ("Expired. Nothing came.", ())
    came = "Expired. The sender's payment came, but could not be checked in time."
    assert line(tmp_path, Status.EXPIRED, unchecked=True) == (came, ())
    aborted = "Payjoin aborted. The sender's own payment was not checked. The address can still be paid."
    assert line(tmp_path, Status.ABORTED, unchecked=True) == (aborted, ())


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        (False, "Careful: the sender's coins were spent elsewhere. Nothing was answered."),
        (True, "Careful: the sender's coins were spent elsewhere. The answer is held back."),
    ],
)
def test_that_nothing_was_answered_is_said_before_the_answer_was_signed(
    tmp_path: Path, said: str, *, answered: bool
) -> None:
    held_back = {"stage": Stage.WAITING_FOR_WALLET, "waiting": Waiting.DOUBLE_SPEND, "answered": answered}
    assert line(tmp_path, Status.ACTIVE, **held_back)[0] == said


def test_a_double_spend_is_named_wherever_it_may_be_the_end(tmp_path: Path) -> None:
    spent = {"held": HELD, "double_spent": True}
    expired = "Expired. The sender's coins were spent elsewhere."
    assert line(tmp_path, Status.EXPIRED, **spent) == (expired, ())
    assert line(tmp_path, Status.EXPIRED, is_kept=True, **spent) == (expired, (Act.BROADCAST,))
    failed = "The payjoin failed: the sender's coins were spent elsewhere."
    assert line(tmp_path, Status.FAILED, is_kept=True, **spent) == (failed, (Act.BROADCAST,))
    assert line(tmp_path, Status.FAILED, **spent) == (failed, (Act.NEW_REQUEST,))
