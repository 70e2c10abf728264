"""One wallet's offers: a request gets its session, at once or late, and its URI has `pj` while nothing has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from electrum.logging import Logger
from electrum.util import get_asyncio_loop

from ..client.pace import Backoff
from ..session.events import Abort, Closed
from ..session.receiver import (
    BuildingProposal,
    CheckingOriginal,
    Signing,
    WaitingForOriginal,
    created_of,
)
from ..wallet.watching import request_paid, requests_at
from ..wire.uri import append_pj
from .ledger import Ledger, ReceiverSession, now

if TYPE_CHECKING:
    from electrum.invoices import Request
    from electrum.wallet import Abstract_Wallet

    from .live import LiveSessions
    from .offering import Offering
    from .services import Services

UNANSWERED = (WaitingForOriginal, CheckingOriginal, BuildingProposal, Signing)
"""The states from which a session can end without anybody's having seen a coin of ours."""


class Offers(Logger):
    """What is not said to belong to the event loop may be called on any thread."""

    def __init__(
        self,
        wallet: Abstract_Wallet,
        ledger: Ledger,
        offering: Offering,
        *,
        services: Services,
        live: LiveSessions,
        run: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        """`run(session_id)` starts a session's task, on the event loop; `changed()` is called on any thread."""
        Logger.__init__(self)
        self._wallet, self._store, self._ledger, self._offering = wallet, ledger.store, ledger, offering
        self._services, self._live, self._run, self._changed = services, live, run, changed
        self._unsaved: set[str] = set()
        """Sessions made after their request and not on disk yet: their URI is not shown."""
        self.late: set[str] = set()
        """Those that are on disk, of this run: somebody may have the plain URI of their request."""
        self._is_closed = False

    def close(self) -> None:
        """Save nothing any more. On the event loop."""
        self._is_closed = True

    def request_added(self, request: Request, *, imported: bool) -> None:
        """Give a new request its session, in memory: Electrum's own save of the request takes both to the disk.

        Not one that is `imported`. The offer of an older one at its address ends: Electrum counts what arrives there
        for each of them, and our own coin would pay the new one.
        """
        for older in requests_at(self._wallet, request.get_address()):
            if (session := self._ledger.of_request(older)) is not None:
                self._take_back(session)
        if imported or not self._offering.wanted() or self._offering.why_never(request) is not None:
            return
        if self._offering.why_not_now() is not None:
            self._store.set_waiting(request.get_id(), now())
            return
        self._make(request)

    def _take_back(self, session: ReceiverSession) -> None:
        while isinstance(state := session.state, UNANSWERED):
            if created_of(state).expires_at <= now() and not isinstance(state, WaitingForOriginal):
                return  # what it holds is due
            if self._ledger.record(session, Closed(Abort()), after=state):
                self._live.stop_soon(session.id)

    def _make(self, request: Request, *, late: bool = False) -> None:
        session_id, created = self._offering.new_session(request, now())
        if late:
            self._unsaved.add(session_id)  # first of all: another thread may ask for the URI at any moment
        self._store.drop_waiting(created.request_id)
        session = self._ledger.create(session_id, created)
        if requests_at(self._wallet, created.address) - {created.request_id}:  # another thread made one meanwhile
            self._take_back(session)
        get_asyncio_loop().call_soon_threadsafe(self._run, session_id)
        get_asyncio_loop().call_soon_threadsafe(self._changed)

    def uri_of(self, session: ReceiverSession | None, plain: str) -> str:
        """Return the URI of a request: with `pj` while nothing has come, plain in every other stage."""
        if session is None or session.id in self._unsaved or not isinstance(session.state, WaitingForOriginal):
            return plain
        if session.state.created.expires_at <= now():
            return plain
        self._services.turns.look(session.id)
        return append_pj(plain, session.state.endpoint)

    async def make_late(self) -> None:
        """Give the requests that waited for it their session, now that the cause may have gone. On the event loop."""
        if self._store.unreadable is not None:
            return
        self._store.set_directory_keys(self._services.cache.dump())
        for request_id in self._store.waiting_requests():
            request = self._wallet.get_request(request_id)
            over = request is None or request.has_expired() or request_paid(self._wallet, request)
            if over or self._offering.why_never(request) is not None:
                self._store.drop_waiting(request_id)
            elif self._offering.why_not_now() is None:
                self._make(request, late=True)
        backoff = Backoff()
        while self._unsaved and not self._is_closed:
            made = frozenset(self._unsaved)
            try:
                await self._store.flush()
            except OSError as trouble:
                self.logger.info(f"new payjoin sessions wait for the disk: {trouble!r}")
                await asyncio.sleep(backoff.next())
                continue
            self._unsaved -= made
            self.late |= made
            self._changed()
