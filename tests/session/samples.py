"""One of each event, with fixed keys and the original and proposal of BIP 78's own test vectors."""

from __future__ import annotations

import json
from pathlib import Path

from payjoin_plugin.bip78.psbt import Psbt
from payjoin_plugin.errors import Fault
from payjoin_plugin.session import events as ev
from payjoin_plugin.session.receiver import OpenState, ReceiverState, apply
from payjoin_plugin.wire.keys import SecretKey
from payjoin_plugin.wire.ohttp import KeyConfig

VECTORS = Path(__file__).parent.parent / "vectors"
BIP78 = json.loads((VECTORS / "bip78.json").read_text())["bip78"]

ORIGINAL = Psbt(BIP78["original_psbt"])
PROPOSAL = Psbt(BIP78["payjoin_proposal"])
OURS = "833b085de288cda6ff614c6e8655f61e7ae4f84604a2751998dc25a0d1ba278f:1"
SENDERS = "833b085de288cda6ff614c6e8655f61e7ae4f84604a2751998dc25a0d1ba278f:0"

RECEIVER_KEY = SecretKey(bytes([1]) * 32)
REPLY_KEY = SecretKey(bytes([2]) * 32)
GATEWAY_KEY = SecretKey(bytes([3]) * 32)
EPHEMERAL = SecretKey(bytes([4]) * 32)
EXPIRES_AT = 1_795_086_400

CREATED = ev.Created(
    request_id="0123456789",
    address="2N3wqAFNGFMcDpJsbdRCsFnPkrjNGXuRA4z",
    amount_sat=2_000_000,
    receiver_key=RECEIVER_KEY,
    directory="https://payjo.in",
    ohttp_keys=KeyConfig(1, GATEWAY_KEY.public_key),
    expires_at=EXPIRES_AT,
)
RENEWED = ev.RenewedKeys(KeyConfig(2, GATEWAY_KEY.public_key))
RETRIEVED = ev.RetrievedOriginal(
    ORIGINAL, "v=2&maxadditionalfeecontribution=182&additionalfeeoutputindex=0", REPLY_KEY.public_key
)
ACCEPTED = ev.AcceptedOriginal((1,))
COMMITTED = ev.CommittedContribution((OURS,), PROPOSAL, receiver_fee_sat=0, sender_fee_sat=182)
SIGNED = ev.SignedProposal(PROPOSAL, EPHEMERAL)
POSTED = ev.PostedProposal()
REFUSED = ev.RefusedOriginal(Fault.COINS_GONE, '{"errorCode": "original-psbt-rejected", "message": "no"}')
SUCCESS = ev.Success((ev.SenderInput(SENDERS, b"\x01\x02", (b"\x03", b"")),))
OUTCOMES: tuple[ev.Outcome, ...] = (
    SUCCESS,
    ev.Failure(),
    ev.Abort(),
    ev.Fallback(),
    ev.Unrecognized("ab" * 32, pays_request=True),
)
CLOSED = ev.Closed(ev.Abort())

RECEIVER_EVENTS: tuple[ev.ReceiverEvent, ...] = (
    CREATED,
    RENEWED,
    RETRIEVED,
    ACCEPTED,
    COMMITTED,
    SIGNED,
    POSTED,
    REFUSED,
    CLOSED,
)

HAPPY: tuple[ev.ReceiverEvent, ...] = (
    CREATED,
    RETRIEVED,
    ACCEPTED,
    COMMITTED,
    SIGNED,
    POSTED,
    ev.Closed(SUCCESS),
)
"""A payjoin as it should be."""


def fold(*events: ev.ReceiverEvent) -> ReceiverState:
    """Return the state after `events`."""
    state: ReceiverState | None = None
    for event in events:
        state = apply(state, event)
    assert state is not None
    return state


def open_states() -> list[OpenState]:
    """Return each open state once, reached by the events that lead there."""
    paths = [HAPPY[:length] for length in range(1, 7)] + [(CREATED, RETRIEVED, REFUSED)]
    states = [fold(*path) for path in paths]
    return [state for state in states if isinstance(state, OpenState)]
