"""The machine's plug is pulled (kill -9) between request and answer, at six moments; each time the payjoin comes about.

Each moment is a state in which the session stays, since a part that it needs was stopped. The receiver goes through the
second mailroom's relay, so that the sender is not cut off with them.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from tests.interop.conftest import new_wallet, start_relay
from tests.interop.mailboxes import holds_our_answer, own_mailbox, written
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT, assert_paid_by_payjoin, frozen, new_sender
from tests.stand.electrum_daemon import ElectrumError
from tests.stand.mailroom import RealMailroom
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

PASSWORD = "secret of the till"


def pull_the_plug(merchant: Receiver) -> None:
    merchant.daemon.kill()
    assert not merchant.daemon.running


def session_in_file(merchant: Receiver, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events that are on disk."""
    sessions = merchant.stored()["plugin_data"]["payjoin"]["sessions"]
    events: list[dict[str, Any]] = sessions[request["payjoin"]["session_id"]]["events"]
    return events


def test_when_nothing_came_yet(stand: Stand, merchant: Receiver) -> None:
    sender = new_sender(stand)
    request = merchant.payjoin_request(AMOUNT)
    merchant.until(request["payjoin"]["session_id"], stage="waiting_for_sender")
    pull_the_plug(merchant)
    merchant.restart()
    assert merchant.with_payjoin(request["request_id"])["URI"] == request["URI"]
    run = sender.send(request["URI"])
    assert_paid_by_payjoin(stand, merchant, request, sender, run)
    assert holds_our_answer(stand, merchant, request["payjoin"]["session_id"])


def test_when_the_original_lies_in_a_mailbox_that_no_relay_leads_to(
    stand: Stand, merchant: Receiver, second_mailroom: RealMailroom
) -> None:
    sender = new_sender(stand)
    request = merchant.payjoin_request(AMOUNT)
    second_mailroom.relay.kill()
    run = sender.send(request["URI"])
    run.wait_for("Posted Original PSBT")
    session_id = request["payjoin"]["session_id"]
    session = merchant.until_session(session_id, lambda row: row["reason"] is not None, "it says what is wrong")
    assert session["stage"] == "waiting_for_sender"
    assert "127.0.0.1" in session["reason"]
    pull_the_plug(merchant)
    start_relay(second_mailroom, stand)
    merchant.restart()
    assert_paid_by_payjoin(stand, merchant, request, sender, run)
    assert holds_our_answer(stand, merchant, request["payjoin"]["session_id"])


def test_when_the_original_came_but_nobody_can_say_whether_it_is_good(stand: Stand, merchant: Receiver) -> None:
    sender = new_sender(stand)
    request = merchant.payjoin_request(AMOUNT)
    with frozen(stand.server.service):
        run = sender.send(request["URI"])
        merchant.until(request["payjoin"]["session_id"], stage="checking_original")
        assert merchant.events(request["payjoin"]["session_id"]) == ["Created", "RetrievedOriginal"]
        pull_the_plug(merchant)
    merchant.restart()
    assert_paid_by_payjoin(stand, merchant, request, sender, run)
    assert holds_our_answer(stand, merchant, request["payjoin"]["session_id"])


def test_when_the_wallet_is_locked(stand: Stand, mortal: Receiver) -> None:
    locked = new_wallet(stand, mortal, 1_000_000, 1_000_001, password=PASSWORD)
    senders = [new_sender(stand), new_sender(stand)]
    requests = [locked.payjoin_request(AMOUNT) for _ in senders]
    answered, unlocked = (request["payjoin"]["session_id"] for request in requests)
    before = written(stand)
    runs = [sender.send(request["URI"]) for sender, request in zip(senders, requests, strict=True)]
    for session_id in (answered, unlocked):
        locked.until(session_id, stage="waiting_for_wallet", reason="locked")
    pull_the_plug(locked)
    locked.restart()
    for session_id in (answered, unlocked):
        locked.until(session_id, stage="waiting_for_wallet", reason="locked")
        assert locked.events(session_id)[-1] == "AcceptedOriginal"
    originals = {own_mailbox(request["URI"]) for request in requests}
    assert written(stand) - before == originals

    with pytest.raises(ElectrumError, match="password"):
        locked.rpc("payjoin_answer", session_id=answered, password="a wrong one")
    locked.rpc("payjoin_answer", session_id=answered, password=PASSWORD)
    assert_paid_by_payjoin(stand, locked, requests[0], senders[0], runs[0])
    assert len(written(stand) - before - originals) == 1
    assert locked.session(unlocked)["reason"] == "locked"

    locked.rpc("unlock", password=PASSWORD)
    assert_paid_by_payjoin(stand, locked, requests[1], senders[1], runs[1])
    assert len(written(stand) - before - originals) == 2


def test_when_the_answer_is_written_but_cannot_be_posted(
    stand: Stand, merchant: Receiver, second_mailroom: RealMailroom
) -> None:
    sender = new_sender(stand)
    request = merchant.payjoin_request(AMOUNT)
    session_id = request["payjoin"]["session_id"]
    with frozen(stand.server.service):
        run = sender.send(request["URI"])
        merchant.until(session_id, stage="checking_original")
        second_mailroom.relay.kill()
    merchant.until(session_id, stage="posting_proposal")
    merchant.until_session(session_id, lambda row: row["reason"] is not None, "it says what is wrong")
    pull_the_plug(merchant)
    on_disk = session_in_file(merchant, request)
    assert on_disk[-1]["event"] == "signed_proposal"
    start_relay(second_mailroom, stand)
    merchant.restart()
    assert_paid_by_payjoin(stand, merchant, request, sender, run)
    assert holds_our_answer(stand, merchant, session_id)
    merchant.daemon.stop()
    assert session_in_file(merchant, request)[: len(on_disk)] == on_disk


def test_when_the_answer_is_posted_but_the_sender_has_not_looked(stand: Stand, merchant: Receiver) -> None:
    sender = new_sender(stand)
    request = merchant.payjoin_request(AMOUNT)
    session_id = request["payjoin"]["session_id"]
    before = written(stand)
    with ExitStack() as asleep:
        with frozen(stand.server.service):
            run = sender.send(request["URI"])
            run.wait_for("Posted Original PSBT")
            merchant.until(session_id, stage="checking_original")
            asleep.enter_context(frozen(run))
        merchant.until(session_id, stage="waiting_for_broadcast")
        pull_the_plug(merchant)
        merchant.restart()
        merchant.until(session_id, stage="waiting_for_broadcast")
        assert holds_our_answer(stand, merchant, session_id)
    assert_paid_by_payjoin(stand, merchant, request, sender, run)
    assert len(written(stand) - before) == 2
