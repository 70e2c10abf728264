"""kill -9 after each event and after each thing that is awaited, so between a save and the post that it is for, too.

Many sessions of one daemon, each in a wallet of its own, are held at one moment each (inside.py); then the plug is
pulled once, and Electrum started again as it is. Each comes to the same end as if nothing had been, and the one answer
that the sender has is the one of which the log tells.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from payjoin_plugin.errors import ErrorReplyReceived
from tests.interop.grip import NEW, Grip
from tests.interop.mailboxes import holds_our_answer
from tests.interop.payments import is_at_node, pay, txid_of_original
from tests.interop.receiver import Receiver
from tests.interop.scenes import (
    ANSWERED,
    BROADCAST,
    PAYJOIN,
    RECEIVERS_COIN,
    REFUSAL,
    TOO_DEAR,
    TOO_LITTLE,
    UNDISTURBED,
    Held,
    begin,
    new_held_wallet,
    wait_for_all,
)
from tests.interop.sender import AMOUNT, WHOLE_LOG, assert_paid_by_payjoin, new_sender, pay_plainly
from tests.sender.payer import Payer
from tests.stand.payjoin_cli import Run, txid_of
from tests.stand.processes import ProcessError, wait_until
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

Scene = dict[tuple[str, str], Held]
"""By what comes of it and the moment."""

MOMENTS = (
    *(("payjoin", moment) for moment in PAYJOIN[1:]),  # what was Created has begun to poll when its ID is known
    *(("too little", moment) for moment in REFUSAL),
    *(("too dear", moment) for moment in (*REFUSAL, *BROADCAST)),
    # What was answered cannot be said to an old sender again. The last: the directory holds their request for 30 s.
    ("v1", "SignedProposal answer"),
)
HELD = [pytest.param(*one, id=" ".join(one)) for one in MOMENTS]


@pytest.fixture(scope="module")
def grip(stand: Stand, plugin_zip: Path) -> Grip:
    return Grip(stand, "struck", plugin_zip)


@pytest.fixture(scope="module")
def undisturbed(stand: Stand, grip: Grip) -> Scene:
    """One session of each kind that nobody holds."""
    scene = _scene(begin(stand, grip, [(kind, UNDISTURBED) for kind in ("payjoin", "too little", "too dear")]))
    scene["payjoin", UNDISTURBED].receiver.until(scene["payjoin", UNDISTURBED].session_id, status="completed")
    for kind in ("too little", "too dear"):
        scene[kind, UNDISTURBED].receiver.until(scene[kind, UNDISTURBED].session_id, status="failed")
    dear = txid_of_original(scene["too dear", UNDISTURBED].payment)
    wait_until(lambda: BROADCAST[-1] in grip.passed(dear), what="the original is broadcast")
    return scene


@pytest.fixture(scope="module")
def scene(stand: Stand, grip: Grip, undisturbed: Scene) -> Scene:  # it comes first
    """Every session at its moment, the plug pulled, and the same Electrum started again, without our hand in it."""
    scene = _scene(begin(stand, grip, MOMENTS))
    wait_for_all(grip, list(scene.values()))
    grip.daemon.kill()
    for struck in scene.values():
        struck.on_disk = struck.stored()
    grip.daemon.front = ()  # Electrum as it is
    grip.daemon.start()
    for struck in scene.values():
        struck.receiver.open()
        if struck.moment in ANSWERED:
            struck.run.send(signal.SIGCONT)
    return scene


def _scene(held: list[Held]) -> Scene:
    return {(one.kind, one.moment): one for one in held}


@pytest.fixture
def doomed(stand: Stand, grip: Grip) -> Receiver:
    """A wallet in a daemon that will kill itself when it is told to, before the event it records can be saved."""
    grip.daemon.stop()
    grip.reach_in()
    receiver = new_held_wallet(grip)
    stand.fund(receiver.daemon, RECEIVERS_COIN, wallet=receiver.wallet)
    return receiver


def _restart(grip: Grip, receiver: Receiver) -> None:
    """Start the daemon as it is."""
    grip.daemon.front = ()
    receiver.restart()


@pytest.mark.parametrize(
    ("kind", "moments"), [("payjoin", PAYJOIN), ("too little", TOO_LITTLE), ("too dear", TOO_DEAR)]
)
def test_every_moment_has_its_name(grip: Grip, undisturbed: Scene, kind: str, moments: tuple[str, ...]) -> None:
    assert grip.passed(undisturbed[kind, UNDISTURBED].session_id) == list(moments)
    if kind == "too dear":
        assert grip.passed(txid_of_original(undisturbed[kind, UNDISTURBED].payment)) == list(BROADCAST)


@pytest.mark.parametrize(("kind", "moment"), HELD)
def test_the_end_is_the_same_and_there_was_one_answer(stand: Stand, scene: Scene, kind: str, moment: str) -> None:
    struck = scene[kind, moment]
    receiver, session_id = struck.receiver, struck.session_id
    if kind in ("payjoin", "v1"):
        _is_paid(receiver, session_id, struck.run)
        assert kind == "v1" or holds_our_answer(stand, receiver, session_id)
    else:
        receiver.until(session_id, status="failed")
        before = ["Created", "RetrievedOriginal", *(["AcceptedOriginal"] if kind == "too dear" else [])]
        assert receiver.events(session_id) == [*before, "RefusedOriginal", "Closed"]
        _is_told(struck)
        if kind == "too dear":
            receiver.until(session_id, confirmations=0)
            assert is_at_node(stand, txid_of_original(struck.payment))
    assert struck.stored()[: len(struck.on_disk)] == struck.on_disk


def _is_paid(receiver: Receiver, session_id: str, run: Run) -> None:
    """Check that a payjoin has come of a session."""
    session = receiver.until(session_id, status="completed")
    assert session["payjoin_txid"] == txid_of(run)
    # What the sender broadcast may be seen before the directory says again that it has the answer.
    assert receiver.events(session_id) in (WHOLE_LOG, [*WHOLE_LOG[:-2], "Closed"])
    assert receiver.balance_sat() == RECEIVERS_COIN + AMOUNT - session["receiver_fee_sat"]


def _is_told(struck: Held) -> None:
    """Check that the sender hears of the refusal."""
    if isinstance(struck.sender, Run):
        struck.sender.wait_for("The receiver rejected the original PSBT")
        return
    with pytest.raises(ErrorReplyReceived) as refused:
        struck.payment.wait()
    assert refused.value.code == "not-enough-money"


def test_what_was_to_be_posted_was_on_disk(scene: Scene) -> None:
    last = {moment: struck.on_disk[-1]["event"] for moment, struck in scene.items()}
    answers = [
        ("payjoin", "SignedProposal flush"),
        ("payjoin", "SignedProposal answer"),
        ("v1", "SignedProposal answer"),
    ]
    refusals = [
        (kind, moment)
        for kind in ("too little", "too dear")
        for moment in ("RefusedOriginal flush", "RefusedOriginal answer")
    ]
    assert {last[moment] for moment in answers} == {"signed_proposal"}
    assert {last[moment] for moment in refusals} == {"refused_original"}
    assert {last["too dear", moment] for moment in BROADCAST} == {"closed"}


# Killed while an event is being recorded, before any save


def test_a_request_that_was_not_saved_leaves_nothing_behind(grip: Grip, doomed: Receiver) -> None:
    grip.die(NEW, "Created")
    with pytest.raises(ProcessError):
        doomed.request(AMOUNT)
    grip.wait_for_death()
    _restart(grip, doomed)
    assert doomed.rpc("list_requests") == []
    assert doomed.rpc("payjoin_sessions", all=True) == []
    assert doomed.payjoin_request(AMOUNT)["payjoin"]["status"] == "active"


def test_an_abort_that_nobody_was_told_of_is_none(stand: Stand, grip: Grip, doomed: Receiver) -> None:
    request, sender = doomed.payjoin_request(AMOUNT), new_sender(stand)
    session_id = request["payjoin"]["session_id"]
    grip.hold(session_id, "AcceptedOriginal")
    run = sender.send(request["URI"])
    grip.wait_for(session_id, "AcceptedOriginal")
    grip.die(session_id, "Closed")
    with pytest.raises(ProcessError):
        doomed.rpc("payjoin_abort", session_id=session_id)
    grip.wait_for_death()
    _restart(grip, doomed)
    assert_paid_by_payjoin(stand, doomed, request, sender, run)
    assert holds_our_answer(stand, doomed, session_id)


def test_an_end_that_was_seen_and_not_saved_is_seen_again(stand: Stand, grip: Grip, doomed: Receiver) -> None:
    request, sender = doomed.payjoin_request(AMOUNT), new_sender(stand)
    session_id = request["payjoin"]["session_id"]
    grip.die(session_id, "Closed")
    run = sender.send(request["URI"])
    grip.wait_for_death()
    assert Held("payjoin", "Closed", doomed, request).stored()[-1]["event"] in ("signed_proposal", "posted_proposal")
    _restart(grip, doomed)
    _is_paid(doomed, session_id, run)


@pytest.mark.parametrize("other", [False, True], ids=["by the original", "by another transaction"])
def test_an_end_without_payjoin_that_was_seen_and_not_saved_is_seen_again(
    stand: Stand, grip: Grip, doomed: Receiver, payer: Payer, *, other: bool
) -> None:
    request = doomed.payjoin_request(AMOUNT)
    session_id = request["payjoin"]["session_id"]
    payment = pay(payer, request)
    payment.fetch()
    doomed.until(session_id, stage="waiting_for_broadcast")
    grip.die(session_id, "Closed")
    if other:
        txid = pay_plainly(stand, request["URI"])
    else:
        txid = txid_of_original(payment)
        payment.broadcast_original()
    grip.wait_for_death()
    assert Held("payjoin", "Closed", doomed, request).stored()[-1]["event"] in ("signed_proposal", "posted_proposal")
    _restart(grip, doomed)
    doomed.until(session_id, status="paid_without_payjoin", confirmations=0)
    assert doomed.get_request(request["request_id"])["tx_hashes"] == [txid]
