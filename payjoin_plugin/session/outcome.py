"""How a session ends by what the wallet sees. Pure: the watcher of wallet/ brings the transactions.

Transactions are matched by their inputs and outputs, never by txid alone: a legacy input's scriptSig is part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..bip78.recognise import same_payment, sender_inputs, spends_any
from .events import Fallback, Outcome, SenderInput, Success, Unrecognized
from .receiver import OpenState, PostingProposal, ProposalPosted, held_original


@dataclass(frozen=True)
class Seen:
    """A transaction that the wallet sees in the mempool or in a block (height ≥ 0)."""

    txid: str
    raw: bytes = field(repr=False)
    confirmed: bool
    pays_request: bool
    """It has an output to the request's address."""


def outcome_of(state: OpenState, seen: Sequence[Seen], *, request_paid: bool) -> Outcome | None:
    """Return how the session ended, or None while it goes on.

    `seen`: what pays the request's address or spends a coin of the session's. `request_paid`: Electrum's own sum calls
    the request paid by transactions of height ≥ 0. Less than the amount closes nothing, and an unconfirmed conflict of
    the original only holds the answer back.
    """
    for tx in seen:
        if isinstance(state, (PostingProposal, ProposalPosted)) and same_payment(tx.raw, state.signed.proposal):
            inputs = sender_inputs(tx.raw, state.committed.outpoints)
            return Success(tuple(SenderInput(outpoint, *signed) for outpoint, signed in inputs.items()))
    original = held_original(state)
    for tx in seen:
        if original is not None and same_payment(tx.raw, original.psbt):
            return Fallback()
    for tx in seen:
        if tx.pays_request and request_paid:
            return Unrecognized(tx.txid, pays_request=True)
    for tx in seen:
        if tx.confirmed and original is not None and spends_any(tx.raw, original.outpoints):
            return Unrecognized(tx.txid, pays_request=tx.pays_request and request_paid)
    return None
