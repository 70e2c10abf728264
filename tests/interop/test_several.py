"""Several wallets, several receivers, and a wallet that is closed and opened again while a sender waits."""

from __future__ import annotations

import signal

import pytest

from tests.interop.conftest import new_wallet
from tests.interop.mailboxes import own_mailbox, written
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT, assert_paid_by_payjoin, new_sender
from tests.stand.electrum_daemon import ElectrumError
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def shop(stand: Stand, daemon: Receiver) -> Receiver:
    return new_wallet(stand, daemon, 1_000_000, 1_000_001)


def test_two_wallets_of_one_daemon_and_a_second_daemon_are_paid_at_the_same_time(
    stand: Stand, daemon: Receiver, shop: Receiver, merchant: Receiver
) -> None:
    till = new_wallet(stand, daemon, 1_000_000)
    receivers = (shop, till, merchant)
    senders = [new_sender(stand) for _ in receivers]
    requests = [receiver.payjoin_request(AMOUNT) for receiver in receivers]
    runs = [sender.send(request["URI"]) for sender, request in zip(senders, requests, strict=True)]
    for receiver, request, sender, run in zip(receivers, requests, senders, runs, strict=True):
        assert_paid_by_payjoin(stand, receiver, request, sender, run)

    # Each wallet knows its own session and no other.
    of_shop = requests[0]["payjoin"]["session_id"]
    assert of_shop in {row["session_id"] for row in shop.rpc("payjoin_sessions", all=True)}
    assert of_shop not in {row["session_id"] for row in till.rpc("payjoin_sessions", all=True)}
    for command in ("session", "abort"):
        with pytest.raises(ElectrumError, match="this wallet has no payjoin session"):
            till.rpc(f"payjoin_{command}", session_id=of_shop)
    with pytest.raises(ElectrumError, match="this wallet has no request"):
        till.rpc("payjoin_decline", request_id=requests[0]["request_id"])


def test_a_wallet_that_is_opened_twice_answers_once(stand: Stand, shop: Receiver) -> None:
    request, sender, before = shop.payjoin_request(AMOUNT), new_sender(stand), written(stand)
    shop.open()
    shop.open()
    assert shop.get_request(request["request_id"])["URI"] == request["URI"]
    assert_paid_by_payjoin(stand, shop, request, sender, sender.send(request["URI"]))
    assert len(written(stand) - before) == 2


def test_a_closed_wallet_answers_nothing_until_it_is_opened(stand: Stand, daemon: Receiver) -> None:
    closed = new_wallet(stand, daemon, 1_000_000)
    request, sender, before = closed.payjoin_request(AMOUNT), new_sender(stand), written(stand)
    closed.daemon.close_wallet(closed.wallet)
    run = sender.send(request["URI"])
    run.wait_for("Posted Original PSBT")
    with pytest.raises(ElectrumError, match=r"^wallet not loaded$"):
        closed.rpc("payjoin_sessions")
    assert written(stand) - before == {own_mailbox(request["URI"])}
    closed.open()
    assert_paid_by_payjoin(stand, closed, request, sender, run)


@pytest.mark.parametrize("by", ["SIGINT", "SIGTERM", "stop"])
def test_a_daemon_that_is_stopped_goes_on_when_it_is_started(stand: Stand, merchant: Receiver, by: str) -> None:
    request, sender = merchant.payjoin_request(AMOUNT), new_sender(stand)
    service = merchant.daemon.service
    assert service is not None
    if by == "stop":
        merchant.daemon.rpc("stop")
        service.wait()
    else:
        service.stop(by=signal.Signals[by], seconds=5)
    assert service.returncode != -signal.SIGKILL
    run = sender.send(request["URI"])
    run.wait_for("Posted Original PSBT")
    merchant.restart()
    assert_paid_by_payjoin(stand, merchant, request, sender, run)
