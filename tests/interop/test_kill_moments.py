"""kill -9 after each event and after each thing that is awaited, so between a save and the post that it is for, too.

Many sessions of one daemon, each in a wallet of its own, are held at one moment each (inside.py); then the plug is
pulled once, and Electrum started again as it is. Each comes to the same end as if nothing had been, and the one answer
that the sender has is the one of which the log tells.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from payjoin_plugin.errors import ErrorReplyReceived
from tests.interop.branches import wait_for_coin
from tests.interop.conftest import fund_together, master_key
from tests.interop.mailboxes import holds_our_answer
from tests.interop.payments import is_at_node, pay, txid_of_original
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT, WHOLE_LOG, assert_paid_by_payjoin, new_sender
from tests.interop.struck import NEW, Grip
from tests.sender.payer import Payer
from tests.sender.payment import Terms, V2Payment
from tests.stand.payjoin_cli import Run, txid_of
from tests.stand.processes import ProcessError, wait_until
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

NUMBER = itertools.count(1)
RECEIVERS_COIN, SENDERS_COIN = 1_000_000, 2_000_000
"""Satoshis."""

BEGINNING = ("Created", "Created poll", "RetrievedOriginal", "RetrievedOriginal look_up")
PAYJOIN = (
    *BEGINNING,
    "AcceptedOriginal",
    "CommittedContribution",
    "CommittedContribution sign",
    "SignedProposal",
    "SignedProposal flush",
    "SignedProposal answer",
    "PostedProposal",
    "PostedProposal poll",
)
"""Every moment of a session that ends as a payjoin."""
REFUSAL = ("RefusedOriginal", "RefusedOriginal flush", "RefusedOriginal answer", "Closed")
TOO_LITTLE = (*BEGINNING, *REFUSAL)
"""Every moment of a session whose sender pays less than was asked."""
TOO_DEAR = (*BEGINNING, "AcceptedOriginal", *REFUSAL)
"""Every moment of a session whose payjoin would cost us more than our limit. The original is then broadcast."""
BROADCAST = ("before", "after")

ABOUT_TO_POST = "SignedProposal flush"
ANSWERED = PAYJOIN[PAYJOIN.index(ABOUT_TO_POST) + 1 :]
"""The moments at which the sender could go on. They are kept asleep, or the payjoin might be seen before the plug."""

UNDISTURBED = "nothing is held"


@dataclass
class Struck:
    """A session that was held at a moment when the plug was pulled."""

    moment: str
    receiver: Receiver
    request: dict[str, Any] = field(default_factory=dict)
    sender: Run | V2Payment | None = None
    on_disk: list[dict[str, Any]] = field(default_factory=list)
    """The events that were there before the new start."""

    @property
    def session_id(self) -> str:
        return str(self.request["payjoin"]["session_id"])

    @property
    def key(self) -> str:
        """What it is held by."""
        return txid_of_original(self.payment) if self.moment in BROADCAST else self.session_id

    @property
    def run(self) -> Run:
        assert isinstance(self.sender, Run)
        return self.sender

    @property
    def payment(self) -> V2Payment:
        assert isinstance(self.sender, V2Payment)
        return self.sender

    def stored(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.receiver.stored()["plugin_data"]["payjoin"]["sessions"][self.session_id][
            "events"
        ]
        return events


Scene = dict[tuple[str, str], Struck]
"""By what comes of it (`payjoin`, `v1`, `too little`, `too dear`) and the moment."""

MOMENTS = (
    *(("payjoin", moment) for moment in PAYJOIN[1:]),  # what was Created has begun to poll when its ID is known
    ("v1", "SignedProposal answer"),  # the sender has it and is gone: it cannot be said again
    *(("too little", moment) for moment in REFUSAL),
    *(("too dear", moment) for moment in (*REFUSAL, *BROADCAST)),
)
HELD = [pytest.param(*one, id=" ".join(one)) for one in MOMENTS]


@pytest.fixture(scope="module")
def grip(stand: Stand, plugin_zip: Path) -> Grip:
    return Grip(stand, "struck", plugin_zip)


@pytest.fixture(scope="module")
def undisturbed(stand: Stand, grip: Grip) -> Scene:
    """One session of each kind that nobody holds."""
    scene = _begin(stand, grip, [(kind, UNDISTURBED) for kind in ("payjoin", "too little", "too dear")])
    scene["payjoin", UNDISTURBED].receiver.until(scene["payjoin", UNDISTURBED].session_id, status="completed")
    for kind in ("too little", "too dear"):
        scene[kind, UNDISTURBED].receiver.until(scene[kind, UNDISTURBED].session_id, status="failed")
    dear = txid_of_original(scene["too dear", UNDISTURBED].payment)
    wait_until(lambda: BROADCAST[-1] in grip.passed(dear), what="the original is broadcast")
    return scene


@pytest.fixture(scope="module")
def scene(stand: Stand, grip: Grip, undisturbed: Scene) -> Scene:  # it comes first
    """Every session at its moment, the plug pulled, and the same Electrum started again, without our hand in it."""
    scene = _begin(stand, grip, MOMENTS)
    for struck in scene.values():
        if struck.moment in ANSWERED:
            grip.wait_for(struck.session_id, ABOUT_TO_POST)
            struck.run.send(signal.SIGSTOP)
            grip.hold(struck.session_id, struck.moment)
    for struck in scene.values():
        grip.wait_for(struck.key, struck.moment)
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


@pytest.fixture
def doomed(stand: Stand, grip: Grip) -> Receiver:
    """A wallet in a daemon that will kill itself when it is told to, before the event it records can be saved."""
    grip.daemon.stop()
    grip.reach_in()
    receiver = _new_wallet(grip)
    stand.fund(receiver.daemon, RECEIVERS_COIN, wallet=receiver.wallet)
    return receiver


def _restart(grip: Grip, receiver: Receiver) -> None:
    """Start the daemon as it is."""
    grip.daemon.front = ()
    receiver.restart()


def _begin(stand: Stand, grip: Grip, wanted: Sequence[tuple[str, str]]) -> Scene:
    """Make a wallet, a request and a sender for each, say where it is to be held, and have all pay."""
    receivers = [_new_wallet(grip) for _ in wanted]
    names = [f"struck-{next(NUMBER)}" for _ in wanted]
    people = {name: stand.payjoin_cli(name) for name in names}
    fund_together(
        stand,
        {one.daemon.address(one.wallet): RECEIVERS_COIN for one in receivers}
        | {stand.node.address(name): SENDERS_COIN for name in names},
    )
    scene: Scene = {}
    for receiver, (kind, moment) in zip(receivers, wanted, strict=True):
        wait_for_coin(receiver)
        request = receiver.payjoin_request(AMOUNT)
        scene[kind, moment] = struck = Struck(moment, receiver, request)
        if moment not in (UNDISTURBED, *BROADCAST):
            grip.hold(struck.session_id, ABOUT_TO_POST if moment in ANSWERED else moment)
    for name, ((kind, moment), struck) in zip(names, scene.items(), strict=True):
        uri = struck.request["URI"]
        match kind:
            case "payjoin" | "v1":
                struck.sender = people[name].send(uri, v1=kind == "v1")
            case "too little":
                assert "amount=0.001&" in uri
                struck.sender = people[name].send(uri.replace("amount=0.001&", "amount=0.00099999&"))
            case "too dear":
                # Our share at this rate is above the limit, and the sender offers nothing.
                struck.sender = pay(Payer(stand, name), struck.request, Terms(fee_rate=200, offer_sat=0))
                if moment in BROADCAST:
                    grip.hold(struck.key, moment)
                struck.payment.post()
    return scene


def _new_wallet(grip: Grip) -> Receiver:
    name = f"struck-{next(NUMBER)}"
    grip.daemon.restore_wallet(master_key(name), name)
    return Receiver(grip.daemon, name)


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


def _is_told(struck: Struck) -> None:
    """Check that the sender hears of the refusal."""
    if isinstance(struck.sender, Run):
        struck.sender.wait_for("The receiver rejected the original PSBT")
        return
    with pytest.raises(ErrorReplyReceived) as refused:
        struck.payment.wait()
    assert refused.value.code == "not-enough-money"


def test_what_was_to_be_posted_was_on_disk(scene: Scene) -> None:
    for (kind, moment), struck in scene.items():
        last = struck.on_disk[-1]["event"]
        if kind in ("payjoin", "v1") and moment in ("SignedProposal flush", "SignedProposal answer"):
            assert last == "signed_proposal"
        if kind.startswith("too") and moment in ("RefusedOriginal flush", "RefusedOriginal answer"):
            assert last == "refused_original"
        if moment in BROADCAST:
            assert last == "closed"


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
    assert Struck("Closed", doomed, request).stored()[-1]["event"] in ("signed_proposal", "posted_proposal")
    _restart(grip, doomed)
    _is_paid(doomed, session_id, run)
