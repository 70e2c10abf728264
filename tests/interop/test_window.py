"""The real window receives a payjoin from payjoin-cli, through the reference's directory and relay, on a real node."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.demo.window import Window
from tests.interop.receiver import Receiver
from tests.stand.payjoin_cli import txid_of
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

AMOUNT = 100_000


@pytest.fixture
def offscreen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real window that nobody sees."""
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")


@pytest.fixture
def shop(offscreen: None, own_receiver: Callable[..., Receiver]) -> tuple[Receiver, Window]:
    receiver = own_receiver(5_000_000, 3_000_000)
    return receiver, Window(receiver.daemon)


def test_the_window_says_what_happens_from_the_request_to_the_block(
    stand: Stand, shop: tuple[Receiver, Window]
) -> None:
    receiver, window = shop
    before = receiver.balance_sat()
    request = receiver.get_request(window.request(AMOUNT, "coffee"))
    shown = window.read()
    assert shown["line"].startswith("Waiting for the sender to pay · ")
    assert shown["buttons"] == ["Abort payjoin", "Details"]
    assert shown["uri"] == request["URI"]

    run = stand.payjoin_cli("windows-customer", 2_000_000).send(request["URI"])
    txid = txid_of(run)
    window.until_line("Paid by payjoin: ")
    session = receiver.session(request["payjoin"]["session_id"])
    fee = session["receiver_fee_sat"]
    assert window.line.endswith(f"your share of the fee {fee} sat.")
    assert session["payjoin_txid"] == txid
    assert receiver.balance_sat() == before + AMOUNT - fee
    shown = window.read()
    assert shown["buttons"] == ["Abort payjoin", "Details", "Show transaction"]
    assert "pj=" not in shown["uri"]

    stand.mine()
    receiver.until(session["session_id"], confirmations=1)
    window.until(lambda: window.history()[0][0] == "coffee", "the history calls it what its request is called")
    window.until(
        lambda: (window.history()[0][1] or "").startswith("Payjoin. You added "), "the history marks the payjoin"
    )
    assert [mark for _, mark in window.history()[1:] if mark] == []
