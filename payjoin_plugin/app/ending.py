"""How a session ends whose request is gone, or whose payment the user threw away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..session.events import Abort, Closed, Success
from ..session.outcome import outcome_of
from ..session.receiver import created_of, open_state
from ..wallet.watching import arrived_sat, requests_at
from .visible import seen_of

if TYPE_CHECKING:
    from electrum.wallet import Abstract_Wallet

    from .ledger import Ledger, ReceiverSession


def end(wallet: Abstract_Wallet, ledger: Ledger, session: ReceiverSession) -> bool:
    """End a session by what the chain shows, or else as an abort, the user's word; False where it moved meanwhile."""
    state = session.state
    created = created_of(state)
    is_its_own = not requests_at(wallet, created.address) - {created.request_id}  # what came there, else somebody's
    is_paid = is_its_own and arrived_sat(wallet, created.address) >= created.amount_sat
    outcome = outcome_of(open_state(state), seen_of(wallet, session), request_paid=is_paid) or Abort()
    if not ledger.record(session, Closed(outcome), after=state):
        return False
    if isinstance(outcome, Success):
        ledger.name_payjoin(session)
    return True
