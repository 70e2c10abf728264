"""One wallet's session logs: which sessions are open, recording, and what each event entails outside its log."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from electrum.bitcoin import COIN, TOTAL_COIN_SUPPLY_LIMIT_IN_BTC
from electrum.logging import Logger

from ..errors import UnreadableLog
from ..session.events import Abort, AcceptedOriginal, Closed, CommittedContribution, Created, ReceiverEvent
from ..session.log import Record, Session, decode_log, encode_record
from ..session.receiver import (
    CheckingOriginal,
    ReceiverState,
    WaitingForOriginal,
    apply,
    committed_contribution,
    created_of,
    held_original,
    holds_original,
    open_state,
)
from ..session.status import Over, details_of, read_expiry, read_over
from ..wallet.seams import is_unfrozen
from ..wallet.watching import height_before, requests_at, script_of

if TYPE_CHECKING:
    from electrum.wallet import Abstract_Wallet

    from ..wallet.storage import WalletStore

MOST_SAT = TOTAL_COIN_SUPPLY_LIMIT_IN_BTC * COIN
"""There is no more money."""

ReceiverSession = Session[ReceiverState, ReceiverEvent]


def now() -> int:
    """Return the unix time in seconds."""
    return int(time.time())


class Ledger(Logger):
    """Recording is a dictionary write under the wallet's lock, on any thread; `store.flush()` is the barrier."""

    def __init__(self, wallet: Abstract_Wallet, store: WalletStore) -> None:
        Logger.__init__(self)
        self.store = store
        self._wallet = wallet
        self.open: dict[str, ReceiverSession] = {}
        """The sessions of which something may come, expired ones that hold an original among them."""
        self.lapsed: dict[str, int] = {}
        """Those that expired without anything having come, and when: not closed, and done, unless the clock was wrong.
        """
        self.unreadable: dict[str, UnreadableLog] = {}
        """The logs that this version cannot read."""
        self._reserved: dict[str, tuple[tuple[str, ...], int]] = {}
        """Session → its coins (`txid:n`), and until when (unix seconds) it keeps them out of other payments. Two may
        have the same one: what has expired gives its coin to the next, and may end after it."""

    def load(self) -> None:
        """Fold the sessions of which something may come. Another one is folded when somebody asks for it."""
        moment = now()
        for session_id in self.store.session_ids():
            self._load(session_id, moment)

    def _load(self, session_id: str, moment: int) -> None:
        try:
            raw_log = self.store.raw_log(session_id)
            over = read_over(raw_log, now=moment)
            if over is None:
                self._adopt(self.session(session_id))
            elif over is Over.LAPSED:
                self.lapsed[session_id] = read_expiry(raw_log)
        except UnreadableLog as unreadable:
            self.unreadable[session_id] = unreadable
            self.logger.warning(f"a session's log cannot be read and is left as it is: {unreadable}")

    def is_unclosed(self, session_id: str) -> bool:
        """Tell whether a session that can be read has no `Closed`."""
        return session_id in self.open or session_id in self.lapsed

    def let_lapse(self, session: ReceiverSession) -> bool:
        """Have done with a session that expired, if nothing is held, and say whether that was so."""
        with self.store.lock:
            if not isinstance(session.state, WaitingForOriginal):
                return False
            self.open.pop(session.id, None)
            self.lapsed[session.id] = created_of(session.state).expires_at
            return True

    def awaken(self) -> list[str]:
        """Open the sessions again that lapsed by a clock that was ahead, and return them."""
        with self.store.lock:
            moment = now()
            early = [session_id for session_id, expires_at in self.lapsed.items() if expires_at > moment]
            for session_id in early:
                del self.lapsed[session_id]
                self._load(session_id, moment)
        return early

    def knows(self, session_id: str) -> bool:
        """Tell whether there is a log of that name."""
        return session_id in self.store.session_ids()

    def session(self, session_id: str) -> ReceiverSession:
        """Return a session, live or folded from its log. Raises UnreadableLog."""
        if (session := self.open.get(session_id)) is not None:
            return session
        records = decode_log(self.store.raw_log(session_id), role="receiver")
        folded: ReceiverSession = Session(session_id, self.store, apply, records)
        _check_contents(folded.state)
        return folded

    def if_readable(self, session_id: str) -> ReceiverSession | None:
        """Return a session; None where its log is unreadable or gone."""
        try:
            return self.session(session_id)
        except UnreadableLog:
            return None

    def is_readable(self, session_id: str) -> bool:
        """Tell whether there is a log of that name that this version can read."""
        return self.if_readable(session_id) is not None

    def unsettled(self) -> list[ReceiverSession]:
        """Return the sessions that something may still come of: one that expired with nothing held is done.

        Where the original is not checked yet, it may be held: its check goes on after expiry.
        """
        moment = now()
        return [
            session
            for session in list(self.open.values())
            if created_of(session.state).expires_at > moment
            or isinstance(session.state, CheckingOriginal)
            or holds_original(session.state)
        ]

    def of_request(self, request_id: str) -> ReceiverSession | None:
        """Return the open session of a payment request."""
        return self.open.get(self.store.session_of_request(request_id) or "")

    def create(self, session_id: str, created: Created) -> ReceiverSession:
        """Begin a log, in memory."""
        record = Record(now(), created)
        with self.store.lock:
            self.store.create(session_id, role="receiver", record=encode_record(record))
            self.store.coin_secret()  # from the first save on: a copy of the file is to choose the same coin
            session: ReceiverSession = Session(session_id, self.store, apply, [record])
            self._adopt(session)
        return session

    def record(self, session: ReceiverSession, event: ReceiverEvent, *, after: ReceiverState | None = None) -> bool:
        """Record `event` and, in the same save, what it entails. With `after`: only if the session stands there.

        A contribution is none where another request has got the address: our own coin would pay it. It is an abort.
        """
        if isinstance(event, CommittedContribution):
            created = created_of(session.state)
            if requests_at(self._wallet, created.address) - {created.request_id}:
                self.record(session, Closed(Abort()), after=after)
                return False
            self._take_back_unfreeze(event)  # not while the store's lock is held: Electrum takes its own first
        with self.store.lock:
            if not session.record(event, now=now(), after=after):
                return False
            self.logger.debug(f"session {log_ref(session.id)}: {type(event).__name__}")
            match event:
                case AcceptedOriginal():
                    self.keep_original(session)
                case CommittedContribution():
                    self._expose(session, event)
                case Closed():
                    self._close(session, event)
                case _:
                    pass
        return True

    def reserved_outpoints(self) -> set[str]:
        """Return the coins in open proposals that have not expired."""
        moment = now()
        return {outpoint for coins, until in list(self._reserved.values()) if until > moment for outpoint in coins}

    def reserved_for(self, outpoint: str) -> tuple[str, int] | None:
        """Return the session that keeps a coin out of other payments, and until when (unix time in seconds)."""
        moment = now()
        for session_id, (coins, until) in list(self._reserved.items()):
            if until > moment and outpoint in coins:
                return session_id, until
        return None

    def exposed_outpoints(self) -> frozenset[str]:
        """Return the coins that proposals have shown to somebody, finished or not."""
        return self.store.exposed()

    def _adopt(self, session: ReceiverSession) -> None:
        self.open[session.id] = session
        if (committed := committed_contribution(session.state)) is not None:
            self._reserve(session, committed)

    def keep_original(self, session: ReceiverSession) -> None:
        """Keep the payment that a session holds where Electrum keeps it without us too."""
        original, created = held_original(session.state), created_of(session.state)
        assert original is not None
        request = self._wallet.get_request(created.request_id)
        self.store.kept.keep(
            original.txid,
            original.fallback.hex(),
            session_id=session.id,
            request_id=created.request_id,
            address=created.address,
            amount_sat=created.amount_sat,
            since_height=height_before(self._wallet, request) if request is not None else 0,
            label=request.get_message() if request is not None else "",
            at=now(),
        )
        if (committed := committed_contribution(session.state)) is not None:
            self.store.kept.mark_contributed(original.txid, session.id, committed.outpoints)

    def _close(self, session: ReceiverSession, closed: Closed) -> None:
        self.open.pop(session.id, None)
        self.lapsed.pop(session.id, None)
        self._reserved.pop(session.id, None)  # our coin is free, where no other session has it too
        original = held_original(session.state)
        if original is not None and isinstance(closed.outcome, Abort):
            self.store.kept.mark_aborted(original.txid, session.id)

    def name_payjoin(self, session: ReceiverSession) -> None:
        """Call the payjoin what its request is called, as Electrum does with plain payments.

        It takes a transaction that spends a coin of ours for an outgoing one, and leaves it without a name. Not while
        the store's lock is held: Electrum takes the wallet's first.
        """
        txid, request = details_of(session.state).payjoin_txid, self._wallet.get_request(_request_id(session))
        if txid is not None and request is not None and not self._wallet.get_label_for_txid(txid):
            self._wallet.set_label(txid, request.get_message())

    def _take_back_unfreeze(self, committed: CommittedContribution) -> None:
        """Have Electrum forget an "Unfreeze" of long ago: one that is said from here on wins over the reservation."""
        said = [outpoint for outpoint in committed.outpoints if is_unfrozen(self._wallet, outpoint)]
        if said:
            self._wallet.set_frozen_state_of_coins(said, None, write_to_disk=False)

    def _expose(self, session: ReceiverSession, committed: CommittedContribution) -> None:
        original = held_original(session.state)
        assert original is not None
        self._reserve(session, committed)
        self.store.mark_exposed(committed.outpoints)
        self.store.mark_seen(original.outpoints, session.id)
        self.store.kept.mark_contributed(original.txid, session.id, committed.outpoints)

    def _reserve(self, session: ReceiverSession, committed: CommittedContribution) -> None:
        self._reserved[session.id] = committed.outpoints, created_of(session.state).expires_at


def _request_id(session: ReceiverSession) -> str:
    return created_of(session.state).request_id


def _check_contents(state: ReceiverState) -> None:
    """Read every value of a log that is read later on, so that damage shows here. Raises UnreadableLog."""
    created, accepted = created_of(state), getattr(open_state(state), "accepted", None)
    try:
        script_of(created.address)
        created.expires_at.to_bytes(4)
        assert 0 <= created.amount_sat <= MOST_SAT
        if (committed := committed_contribution(state)) is not None:
            assert 0 <= committed.receiver_fee_sat <= MOST_SAT
            assert 0 <= committed.sender_fee_sat <= MOST_SAT
        if accepted is not None and (original := held_original(state)) is not None:
            outputs = original.tx.outputs()
            assert all(0 <= vout < len(outputs) for vout in accepted.payment_vouts)
        details_of(state)
    except Exception as error:
        # Electrum's parsers raise whatever comes to hand on bytes that are none of theirs.
        raise UnreadableLog(f"a value in it is damaged: {type(error).__name__}") from error


def log_ref(session_id: str) -> str:
    """Return how a session is called in log files, which users share."""
    return hashlib.sha256(session_id.encode()).hexdigest()[:6]
