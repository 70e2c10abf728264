"""How a session ends by itself: by what the chain shows, and by the sender's own payment where there was no payjoin."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from electrum.logging import Logger

from .bip78.recognise import spends_any
from .client.pace import Backoff
from .errors import Unreachable, UnreadableLog, UserError
from .ledger import Ledger, ReceiverSession, log_ref
from .originals import Originals, Standing
from .session.events import Closed, Failure
from .session.outcome import outcome_of
from .session.receiver import SessionClosed, committed_contribution, created_of, held_original
from .wallet.watching import request_paid, seen_for

if TYPE_CHECKING:
    from electrum.wallet import Abstract_Wallet

    from .settings import Settings
    from .wallet.receiving import ElectrumReceiverWallet


class Settling(Logger):
    """One wallet's endings. Replacement, confirmation and reorgs after the end are Electrum's."""

    def __init__(
        self,
        wallet: Abstract_Wallet,
        ledger: Ledger,
        originals: Originals,
        *,
        electrum: ElectrumReceiverWallet,
        settings: Settings,
    ) -> None:
        Logger.__init__(self)
        self._wallet, self._ledger, self._originals = wallet, ledger, originals
        self._electrum, self._settings = electrum, settings

    def look_at_chain(self, session: ReceiverSession) -> bool:
        """Close `session` if the wallet sees how it ended, and say whether it did."""
        state = session.state
        if isinstance(state, SessionClosed) or not self._electrum.is_current():
            return False
        original, committed = held_original(state), committed_contribution(state)
        outpoints = (*(original.outpoints if original else ()), *(committed.outpoints if committed else ()))
        request = self._wallet.get_request(state.created.request_id)
        seen = seen_for(
            self._wallet,
            address=state.created.address,
            outpoints=outpoints,
            since_height=request.height if request is not None else 0,
        )
        outcome = outcome_of(state, seen, request_paid=self._is_paid(session)) if seen else None
        return outcome is not None and self._ledger.record(session, Closed(outcome), after=state)

    def is_coin_gone(self, session: ReceiverSession) -> bool:
        """Tell whether our contributed coin went elsewhere: then no payjoin can come of it any more."""
        committed = committed_contribution(session.state)
        if committed is None or isinstance(session.state, SessionClosed):
            return False
        seen = seen_for(self._wallet, address=created_of(session.state).address, outpoints=committed.outpoints)
        return any(spends_any(tx.raw, committed.outpoints) for tx in seen)

    async def broadcast_original(self, session: ReceiverSession) -> str:
        """Broadcast the sender's payment since the user wants it, and return its txid.

        Raises UserError where there is none, where it could charge the sender twice, and where the network refuses it;
        Unreachable.
        """
        original = held_original(session.state)
        if original is None:
            raise UserError(f"session_id: session {session.id} holds no original payment")
        if self._is_paid(session):
            raise UserError("the request is paid already; broadcasting the original could charge the sender twice")
        await self._originals.broadcast(original.fallback.hex())
        return original.txid

    async def without_payjoin(self, session: ReceiverSession) -> None:
        """Broadcast the sender's payment by ourselves, where the setting says so and nothing else is on its way.

        After expiry, after a failure, and where the sender or our coin has gone; never after an abort. Tries until the
        network has answered.
        """
        original = held_original(session.state)
        failed = isinstance(session.state, SessionClosed) and isinstance(session.state.outcome, Failure)
        if original is None or (isinstance(session.state, SessionClosed) and not failed):
            return
        scripts = dict(zip(original.outpoints, original.input_scripts, strict=True))
        await self._broadcast_by_itself(original.txid, scripts, session)

    async def leftovers(self) -> None:
        """At wallet load: see where each kept payment stands. One whose log is gone is treated as an expired one's."""
        for txid, kept in self._originals_kept().items():
            if kept in self._ledger.open:
                continue  # its own task sees to it
            try:
                session = self._ledger.session(kept) if self._ledger.knows(kept) else None
            except UnreadableLog:
                continue  # not ours to judge
            if session is None:
                await self._broadcast_by_itself(txid, None, None)
            else:
                await self.without_payjoin(session)

    def _originals_kept(self) -> dict[str, str]:
        return {txid: kept.session_id for txid, kept in self._ledger.store.originals().items()}

    async def _broadcast_by_itself(
        self, txid: str, scripts: dict[str, bytes] | None, session: ReceiverSession | None
    ) -> None:
        backoff = Backoff()
        await self._electrum.ready()
        while self._settings.broadcast_original_by_itself and txid in self._originals_kept():
            if session is not None and self._is_paid(session):
                return
            try:
                if await self._originals.standing(txid, scripts) is Standing.OPEN:
                    await self._originals.broadcast(self._ledger.store.originals()[txid].tx)
            except Unreachable:
                await asyncio.sleep(backoff.next())
                continue
            except UserError as refusal:
                name = log_ref(session.id) if session else "one whose log is gone"
                self.logger.info(f"the original of session {name} was refused: {refusal}")
            return

    def _is_paid(self, session: ReceiverSession) -> bool:
        request = self._wallet.get_request(created_of(session.state).request_id)
        return request is not None and request_paid(self._wallet, request)
