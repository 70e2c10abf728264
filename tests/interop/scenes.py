"""Many sessions, each in a wallet of its own in one daemon, and each held at a moment of its own (inside.py)."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.interop.branches import wait_for_coin
from tests.interop.conftest import fund_together, master_key
from tests.interop.grip import Grip
from tests.interop.payments import pay, txid_of_original
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT
from tests.sender.payer import Payer
from tests.sender.payment import Terms, V2Payment
from tests.stand.payjoin_cli import Run
from tests.stand.stand import Stand

NUMBER = itertools.count(1)
RECEIVERS_COIN, SENDERS_COIN = 1_000_000, 2_000_000
"""Satoshis."""

RECEIVED = ("Created", "Created poll", "RetrievedOriginal")
BEGINNING = (*RECEIVED, "RetrievedOriginal look_up")
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
TOO_LITTLE = (*RECEIVED, *REFUSAL)
"""Every moment of a session whose sender pays less than was asked: nobody is asked about their coins."""
TOO_DEAR = (*BEGINNING, "AcceptedOriginal", *REFUSAL)
"""Every moment of a session whose payjoin would cost us more than our limit. The original is then broadcast."""
BROADCAST = ("before", "after")

ABOUT_TO_POST = "SignedProposal flush"
ANSWERED = PAYJOIN[PAYJOIN.index(ABOUT_TO_POST) + 1 :]
"""The moments at which the sender could go on. They are kept asleep, or the payjoin might be seen before the plug."""

UNDISTURBED = "nothing is held"


@dataclass
class Held:
    """A session that is held at a moment, or was when the plug was pulled."""

    kind: str
    """What comes of it: `payjoin`, `v1` (the same, from an old sender), `too little`, `too dear`."""
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


def begin(stand: Stand, grip: Grip, wanted: Sequence[tuple[str, str]]) -> list[Held]:
    """Make a wallet, a request and a sender for each, say where it is to be held, and have all pay."""
    receivers = [new_held_wallet(grip) for _ in wanted]
    names = [f"struck-{next(NUMBER)}" for _ in wanted]
    people = {name: stand.payjoin_cli(name) for name in names}
    fund_together(
        stand,
        {one.daemon.address(one.wallet): RECEIVERS_COIN for one in receivers}
        | {stand.node.address(name): SENDERS_COIN for name in names},
    )
    scene = []
    for receiver, (kind, moment) in zip(receivers, wanted, strict=True):
        wait_for_coin(receiver)
        scene.append(held := Held(kind, moment, receiver, receiver.payjoin_request(AMOUNT)))
        if moment not in (UNDISTURBED, *BROADCAST):
            grip.hold(held.session_id, ABOUT_TO_POST if moment in ANSWERED else moment)
    for name, held in zip(names, scene, strict=True):
        uri = held.request["URI"]
        match held.kind:
            case "payjoin" | "v1":
                held.sender = people[name].send(uri, v1=held.kind == "v1")
            case "too little":
                assert "amount=0.001&" in uri
                held.sender = people[name].send(uri.replace("amount=0.001&", "amount=0.00099999&"))
            case "too dear":
                # Our share at this rate is above the limit, and the sender offers nothing.
                held.sender = pay(Payer(stand, name), held.request, Terms(fee_rate=200, offer_sat=0))
                if held.moment in BROADCAST:
                    grip.hold(held.key, held.moment)
                held.payment.post()
    return scene


def wait_for_all(grip: Grip, scene: Sequence[Held]) -> None:
    """Wait until each stands at its moment. Senders who could go on by then are asleep (SIGSTOP)."""
    for held in scene:
        if held.moment in ANSWERED:
            grip.wait_for(held.session_id, ABOUT_TO_POST)
            held.run.send(signal.SIGSTOP)
            grip.hold(held.session_id, held.moment)
    for held in scene:
        grip.wait_for(held.key, held.moment)


def new_held_wallet(grip: Grip) -> Receiver:
    name = f"struck-{next(NUMBER)}"
    grip.daemon.restore_wallet(master_key(name), name)
    return Receiver(grip.daemon, name)
