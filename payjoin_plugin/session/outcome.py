"""How a session ends by what the wallet sees. Pure: the watcher of wallet/ brings the transactions.

Transactions are matched by their inputs and outputs, never by txid alone: a legacy input's scriptSig is part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..bip78.recognise import same_payment, sender_inputs, spends_any
from ..errors import DecodeError
from .events import Fallback, Outcome, SenderInput, Success, Unrecognized
from .receiver import CheckingOriginal, OpenState, PostingProposal, ProposalPosted, held_original


@dataclass(frozen=True)
class Seen:
    """A transaction that the wallet sees in the mempool or in a block (height ≥ 0)."""

    txid: str
    raw: bytes = field(repr=False)
    confirmed: bool
    pays_request: bool
    """It has an output to the request's address, and is not out of our own coins alone."""


def is_conflict(state: OpenState, raw: bytes) -> bool:
    """Tell whether the transaction `raw` spends a coin of the sender's and is neither the original nor the payjoin."""
    original = held_original(state)
    if original is None or not spends_any(raw, original.outpoints) or same_payment(raw, original.psbt):
        return False
    return not is_payjoin(state, raw)


def is_payjoin(state: OpenState, raw: bytes) -> bool:
    """Tell whether the transaction `raw` is the payjoin that the session proposed."""
    return isinstance(state, PostingProposal | ProposalPosted) and same_payment(raw, state.signed.proposal)


def _is_unchecked(state: OpenState, raw: bytes) -> bool:
    """Tell whether the transaction `raw` is the original that is still being checked, whatever that may be."""
    try:
        return isinstance(state, CheckingOriginal) and same_payment(raw, state.retrieved.original)
    except DecodeError:
        return False


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
            return Fallback() if _is_unchecked(state, tx.raw) else Unrecognized(tx.txid, pays_request=True)
    for tx in seen:
        if tx.confirmed and is_conflict(state, tx.raw):
            return Unrecognized(tx.txid, pays_request=tx.pays_request and request_paid)
    return None
