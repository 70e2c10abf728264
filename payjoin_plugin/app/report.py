"""What commands and screens show of a wallet's sessions: plain values, secrets left out."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from electrum.i18n import _
from electrum.util import format_satoshis

from ..client.runner import End
from ..errors import UnreadableLog
from ..session import events as ev
from ..session.outcome import is_payjoin
from ..session.receiver import SessionClosed, created_of, open_state
from ..session.status import (
    Stage,
    Status,
    Waiting,
    details_of,
    fault_of,
    read_contributed,
    read_head,
    stage_of,
    status_of,
)
from ..wallet.watching import confirmations, received_sat
from .held_back import why_held_back
from .ledger import now
from .sentences import describe
from .visible import PaidBy, paid_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from electrum.invoices import Request
    from electrum.transaction import Transaction

    from .ledger import ReceiverSession
    from .sessions import WalletSessions

FIELDS = (
    "session_id",
    "role",
    "request_id",
    "address",
    "amount_sat",
    "status",
    "stage",
    "reason",
    "confirmations",
    "created_at",
    "expires_at",
    "original_txid",
    "payjoin_txid",
    "contributed_sat",
    "receiver_fee_sat",
    "received_sat",
    "held_back",
)
"""The keys of a row, in order. A value is null where it is not known."""


class Report:
    """Reads; changes nothing."""

    def __init__(self, sessions: WalletSessions) -> None:
        self._sessions = sessions

    async def rows(self, *, every: bool) -> list[dict[str, Any]]:
        """Return a row for each session without `Closed` (`every`: for each), newest first.

        And one for each kept payment that has lost its log.
        """
        known = self._sessions.ledger.knows
        found = [self.row(session_id) for session_id in self._sessions.originals.kept() if not known(session_id)]
        for session_id in self._sessions.store.session_ids():
            if every or self._sessions.ledger.is_unclosed(session_id) or self._is_unreadable(session_id):
                found.append(self.row(session_id))
                await asyncio.sleep(0)  # a long history must not hold up the loop
        return sorted(found, key=lambda row: -(row["created_at"] or 0))

    def row(self, session_id: str) -> dict[str, Any]:
        """Return one session as a row."""
        empty: dict[str, Any] = dict.fromkeys(FIELDS)
        try:
            session = self._sessions.ledger.session(session_id)
        except UnreadableLog as unreadable:
            return empty | self._unreadable(session_id, unreadable)
        created, details = created_of(session.state), details_of(session.state)
        status, stage = self.status(session), self._stage(session)
        request = self._sessions.wallet.get_request(created.request_id)
        since_height = request.height if request is not None else 0
        received = self._received_sat(created.address, since_height=since_height)
        kind, txid = paid_by(self._sessions.wallet, session)
        return empty | {
            "session_id": session_id,
            "role": "receiver",
            "request_id": created.request_id,
            "address": created.address,
            "amount_sat": created.amount_sat,
            "status": status.value,
            "stage": stage.value if stage else None,
            "reason": self._reason(session),
            "confirmations": self._confirmations(session, txid),
            "created_at": session.records[0].at,
            "expires_at": created.expires_at,
            "original_txid": txid if kind is PaidBy.ORIGINAL else details.original_txid,
            "payjoin_txid": txid if kind is PaidBy.PAYJOIN else details.payjoin_txid,
            "contributed_sat": details.contributed_sat,
            "receiver_fee_sat": details.receiver_fee_sat,
            "received_sat": received,
            "held_back": self._held_back(session, details.original_txid) if kind is None else None,
        }

    def row_with_events(self, session_id: str, amounts: Callable[[int], str] | None = None) -> dict[str, Any]:
        """Return one session as a row with its events in words. `amounts` writes satoshis; None: as commands do."""
        row = self.row(session_id)
        if row["status"] == Status.UNREADABLE.value:
            return row | {"events": []}
        session = self._sessions.ledger.session(session_id)
        declined = self._sessions.store.is_declined(row["request_id"])
        events = [describe(record, session, amounts or _btc, declined=declined) for record in session.records]
        return row | {"events": events}

    def status(self, session: ReceiverSession) -> Status:
        """Return where a session stands."""
        return status_of(created_of(session.state), session.records[-1], now=now())

    def of_request(self, request: Request, plain_uri: str | None) -> dict[str, Any] | None:
        """Return what the JSON of a payment request says under `payjoin`; None for a lightning request."""
        address = request.get_address()
        if address is None:
            return None
        session_id = self._sessions.store.session_of_request(request.get_id())
        if session_id is None:
            return {"unavailable": self._sessions.offering.why_none(request)}
        known = {"session_id": session_id, "plain_uri": plain_uri}
        if self._is_unreadable(session_id):
            return known | {"status": Status.UNREADABLE.value}
        try:
            # A merchant lists thousands of requests: no log is replayed for one.
            raw_log = self._sessions.store.raw_log(session_id)
            status = read_head(raw_log, now=now()).status
        except UnreadableLog:
            return known | {"status": Status.UNREADABLE.value}
        received = self._received_sat(address, since_height=request.height)
        return known | {"status": status.value, "received_sat": received}

    def _received_sat(self, address: str, *, since_height: int) -> int:
        """Return what came to an address, net of our coins."""
        wallet = self._sessions.wallet
        return received_sat(wallet, address, came_back_to=self._came_back_to, since_height=since_height)

    def _came_back_to(self, tx: Transaction, coins: frozenset[str]) -> str | None:
        """Return to which of the addresses that `tx` pays a session gave these coins of ours; None if none did.

        Several may have given the same coin, one after the other: the one whose payjoin it is did. Reads every log, for
        the rare transaction that pays several of our addresses.
        """
        found = None
        for session_id in self._sessions.store.session_ids():
            with suppress(UnreadableLog):
                raw_log = self._sessions.store.raw_log(session_id)
                match raw_log:
                    case {"events": [{"address": str(address)}, *_]} if coins & {
                        *read_contributed(raw_log)
                    } and address in {txout.address for txout in tx.outputs()}:
                        found = address
                        session = self._sessions.ledger.session(session_id)
                        if is_payjoin(open_state(session.state), bytes.fromhex(tx.serialize())):
                            return found
        return found

    def _unreadable(self, session_id: str, unreadable: UnreadableLog) -> dict[str, Any]:
        """Return what can be said of a session whose log is unreadable or gone: that, and the payment that is kept."""
        if not self._sessions.ledger.knows(session_id):
            reason = _("Its record is gone.")
        elif unreadable.newer:
            reason = _("Made by a newer version of Payjoin. Left as it is.")
        else:
            reason = _("Its record is damaged. Left as it is.") + f" ({unreadable})"
        said = {"session_id": session_id, "status": Status.UNREADABLE.value, "reason": reason}
        if (kept := self._sessions.originals.of_session(session_id)) is None:
            return said
        depth = confirmations(self._sessions.wallet, kept.txid)
        is_due = depth is None and not kept.aborted and self._sessions.originals.may_be_mined(kept.txid)
        return said | {
            "reason": reason + " " + _("The sender's own payment is kept."),
            "request_id": kept.request_id,
            "confirmations": depth,
            "original_txid": kept.txid,
            "held_back": why_held_back(self._sessions, session_id, kept.txid) if is_due else None,
        }

    def _is_unreadable(self, session_id: str) -> bool:
        return session_id in self._sessions.ledger.unreadable

    def _stage(self, session: ReceiverSession) -> Stage | None:
        if self.status(session) is not Status.ACTIVE:
            return None
        runner = self._sessions.live.runners.get(session.id)
        return stage_of(session.state, runner.waiting if runner else None)

    def _reason(self, session: ReceiverSession) -> str | None:
        if (fault := fault_of(session.records)) is not None:
            return fault.value
        runner = self._sessions.live.runners.get(session.id)
        if runner is None or isinstance(session.state, SessionClosed):
            return None
        if runner.waiting is not None and self.status(session) is Status.ACTIVE:  # the task ends a moment later
            return runner.waiting.value
        if runner.answered_elsewhere:
            return "answered_elsewhere"
        if runner.end in (End.SENDER_GONE, End.COIN_GONE):
            return runner.end.value
        if session.id in self._sessions.double_spends.seen:
            return Waiting.DOUBLE_SPEND.value
        return str(runner.trouble) if runner.trouble is not None else None

    def _held_back(self, session: ReceiverSession, txid: str | None) -> str | None:
        """Return why the sender's own payment, which is due, does not go out by itself. After an abort none is."""
        status, runner = self.status(session), self._sessions.live.runners.get(session.id)
        is_given_up = runner is not None and runner.end in (End.SENDER_GONE, End.COIN_GONE)
        is_due = status is not Status.ABORTED and (status is not Status.ACTIVE or is_given_up)
        if txid is None or not is_due or not self._sessions.originals.may_be_mined(txid):
            return None
        return why_held_back(self._sessions, session.id, txid)

    def _confirmations(self, session: ReceiverSession, paid_txid: str | None) -> int | None:
        """Return how deep is what paid a session; where nothing did, what ended it."""
        match session.state:
            case SessionClosed(outcome=ev.Unrecognized(txid)) if paid_txid is None:
                return confirmations(self._sessions.wallet, txid)
        return None if paid_txid is None else confirmations(self._sessions.wallet, paid_txid)


def _btc(amount_sat: int) -> str:
    return f"{format_satoshis(amount_sat)} BTC"
