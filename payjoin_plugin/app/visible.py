"""What of a session is visible in the mempool or in a block, whatever its log says of its end.

By inputs and outputs, as the log's own end is found (session/outcome.py): who replaces a payment, or signs with another
script, gets another txid.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from electrum.transaction import Transaction

from ..bip78.recognise import spends_any
from ..session.events import Fallback, Success, Unrecognized
from ..session.outcome import Seen, outcome_of
from ..session.receiver import OpenState, SessionClosed, committed_contribution, created_of, held_original, open_state
from ..wallet.watching import net_sat, request_paid, seen_for

if TYPE_CHECKING:
    from electrum.wallet import Abstract_Wallet

    from .ledger import ReceiverSession


class PaidBy(Enum):
    """What of a session is visible in the mempool or in a block."""

    PAYJOIN = "payjoin"
    ORIGINAL = "original"
    OTHER = "other"


def seen_of(wallet: Abstract_Wallet, session: ReceiverSession) -> list[Seen]:
    """Return what the wallet sees that pays a session's address, or spends a coin of its transactions."""
    created, original = created_of(session.state), held_original(session.state)
    committed, request = committed_contribution(session.state), wallet.get_request(created.request_id)
    return seen_for(
        wallet,
        address=created.address,
        outpoints=(*(original.outpoints if original else ()), *(committed.outpoints if committed else ())),
        since_height=request.height if request is not None else 0,
    )


def paid_by(wallet: Abstract_Wallet, session: ReceiverSession) -> tuple[PaidBy | None, str | None]:
    """Return what paid a session, and its txid; None where nothing is visible that did."""
    if not (seen := seen_of(wallet, session)):
        return None, None
    request = wallet.get_request(created_of(session.state).request_id)
    is_paid = request is not None and request_paid(wallet, request)
    if isinstance(session.state, SessionClosed) and isinstance(session.state.outcome, Unrecognized):
        is_paid = is_paid or session.state.outcome.pays_request
    kinds = {_kind(open_state(session.state), tx, is_paid=is_paid): tx.txid for tx in seen}
    return next(((kind, kinds[kind]) for kind in PaidBy if kind in kinds), (None, None))


def replaced_by(wallet: Abstract_Wallet, session: ReceiverSession) -> tuple[str, int] | None:
    """Return the txid of what is visible, spends the sender's coins and pays this wallet, at whichever address.

    As Electrum's own bump of a payjoin does, once the sender has signed it too. And what it pays, net of a coin of ours
    in it (satoshis): it may be less than was asked.
    """
    if (original := held_original(session.state)) is None:
        return None
    for seen in seen_of(wallet, session):
        if spends_any(seen.raw, original.outpoints) and (came_sat := net_sat(wallet, Transaction(seen.raw))) > 0:
            return seen.txid, came_sat
    return None


def _kind(state: OpenState, tx: Seen, *, is_paid: bool) -> PaidBy | None:
    match outcome_of(state, [tx], request_paid=is_paid):
        case Success():
            return PaidBy.PAYJOIN
        case Fallback():
            return PaidBy.ORIGINAL
        case Unrecognized(pays_request=True):
            return PaidBy.OTHER
        case _:
            return None
