"""How a session ends by itself: by what the chain shows, and by the sender's own payment where there was no payjoin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from electrum.logging import Logger
from electrum.transaction import Transaction

from .errors import UserError
from .ledger import Ledger, ReceiverSession
from .session.events import Closed
from .session.outcome import outcome_of
from .session.receiver import SessionClosed, committed_contribution, created_of, held_original
from .wallet.watching import request_paid, seen_for

if TYPE_CHECKING:
    from electrum.wallet import Abstract_Wallet


class Settling(Logger):
    """One wallet's endings. Replacement, confirmation and reorgs after the end are Electrum's."""

    def __init__(self, wallet: Abstract_Wallet, ledger: Ledger) -> None:
        Logger.__init__(self)
        self._wallet, self._ledger = wallet, ledger

    def look_at_chain(self, session: ReceiverSession) -> bool:
        """Close `session` if the wallet sees how it ended, and say whether it did."""
        state = session.state
        if isinstance(state, SessionClosed) or not self._wallet.is_up_to_date():
            return False
        original, committed = held_original(state), committed_contribution(state)
        outpoints = (*(original.outpoints if original else ()), *(committed.outpoints if committed else ()))
        request = self._wallet.get_request(state.created.request_id)
        since_height = request.height if request is not None else 0
        seen = seen_for(self._wallet, address=state.created.address, outpoints=outpoints, since_height=since_height)
        outcome = outcome_of(state, seen, request_paid=self._is_paid(session)) if seen else None
        return outcome is not None and self._ledger.record(session, Closed(outcome), after=state)

    async def broadcast_original(self, session: ReceiverSession) -> str:
        """Broadcast the sender's payment and return its txid.

        Raises UserError where there is none, or where it could charge the sender twice; else Electrum's own errors.
        """
        original = held_original(session.state)
        if original is None:
            raise UserError(f"session_id: session {session.id} holds no original payment")
        if self._is_paid(session):
            raise UserError("the request is paid already; broadcasting the original could charge the sender twice")
        if self._wallet.network is None:
            raise UserError("Electrum is offline")
        await self._wallet.network.broadcast_transaction(Transaction(original.fallback.hex()))
        return original.txid

    def _is_paid(self, session: ReceiverSession) -> bool:
        request = self._wallet.get_request(created_of(session.state).request_id)
        return request is not None and request_paid(self._wallet, request)
