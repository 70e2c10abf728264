"""Which sessions hold a poll open at the directory, and how the others take turns.

A directory holds a poll for HOLD = 30 s. A session that always has one open hears of an original at once, and costs two
polls a minute, a connection and its buffers. A thousand of them would cost Python some per cent of a core, and more
open files than some systems allow (256 on macOS). So at most C polls are open at once (the setting `open_polls`). With
N sessions that wait, H of them among the first:

    open at once               min(N, C)
    CPU                        (cost of one poll) * min(N, C) / HOLD
    an original is fetched     at once by those that always have a poll open,
                               at most HOLD * ((N - H) / (C - H) - 1) s late by those that take turns

The first: the ten requests looked at last, those younger than an hour, and those in their last minute, so that what
came meanwhile is not lost. They have up to three quarters of C, the newest where there are more; the rest is the
others', whoever has waited longest first. A first one goes out as soon as a poll is free: where all C are taken one
becomes free every HOLD / C s on the average. The others go out one by one, moved at random by half, so that opening a
wallet with a thousand sessions makes no burst, and neither does a relay that fails a thousand of them.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from .pace import JITTER

HOLD = 30.0
"""Seconds that directories hold a poll (BIP 77 asks for no number; payjoin-mailroom's is this)."""

YOUNG = 3600.0
"""Seconds after its making for which a request is likely to be paid at any moment."""

LAST_MINUTE = 60.0
"""Seconds before its expiry in which a session asks once more: long enough for a poll that is held, and a retry."""

LOOKED_AT = 10
"""Requests: those whose URI was shown last. A window shows one; a shop's script asks for those of its open tills."""

FIRST_SHARE = 0.75
"""Of the ceiling, for the first. The others always have the rest."""

OTHER_GAP = 0.75
"""Of the time in which a poll of theirs becomes free on the average, between two of the others: none stays unused."""

FIRST_GAP = 0.02
"""Seconds between two of the first: a hundred of them after a start take two seconds, not one long turn of the loop."""


@dataclass(eq=False, slots=True)
class _Claim:
    """Somebody who waits for a turn, or has one."""

    session_id: str
    made_at: float
    expires_at: float
    granted: asyncio.Future[None] = field(repr=False)
    is_first: bool = False


class Turns:
    """The open polls of this process, whatever wallet their sessions belong to. Belongs to the event loop."""

    def __init__(self, ceiling: Callable[[], int], clock: Callable[[], float]) -> None:
        """`ceiling` is asked each time. `clock` returns unix time in seconds."""
        self._ceiling, self._clock = ceiling, clock
        self._waiting: dict[_Claim, None] = {}
        """In the order in which they came."""
        self._open: set[_Claim] = set()
        self._looked_at: deque[str] = deque(maxlen=LOOKED_AT)
        self._first_due = self._other_due = 0.0
        """The loop's time before which no other one of its kind goes out."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_soon = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @asynccontextmanager
    async def take(self, session_id: str, *, made_at: float, expires_at: float) -> AsyncIterator[bool]:
        """Have a turn, for one poll, and be told whether the next one will be at once: for the first it is.

        Both times are unix times in seconds.
        """
        self._loop = asyncio.get_running_loop()
        claim = _Claim(session_id, made_at, expires_at, self._loop.create_future())
        self._waiting[claim] = None
        try:
            self._go_on()
            await claim.granted
            yield claim.is_first or not self._waiting
        finally:
            self._waiting.pop(claim, None)
            self._open.discard(claim)
            self._go_on_soon()  # who comes again at once is among those that wait, by then

    def look(self, session_id: str) -> None:
        """Note that somebody looks at the request of a session: its payer may be there. On any thread."""
        if self._looked_at and self._looked_at[-1] == session_id:
            return
        if session_id in self._looked_at:
            self._looked_at.remove(session_id)
        self._looked_at.append(session_id)
        if self._loop is not None and not self._loop.is_closed():
            self._go_on_soon()

    def _go_on_soon(self) -> None:
        """Do it once, for many that come in one turn of the loop: a command looks at every request. On any thread."""
        if not self._is_soon:
            self._is_soon = True
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._go_on)

    def _go_on(self) -> None:
        """Give turns to whoever may have one now, and come again when the next one is due."""
        assert self._loop is not None
        self._is_soon = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and len(self._open) < (ceiling := self._ceiling()):
            now, firsts = self._loop.time(), sum(claim.is_first for claim in self._open)
            first = self._first() if firsts < int(ceiling * FIRST_SHARE) else None
            due = self._other_due if first is None else self._first_due
            if due > now:
                self._timer = self._loop.call_at(due, self._go_on)
                return
            if first is None:
                gap = OTHER_GAP * HOLD / (ceiling - firsts)
                self._other_due = now + gap * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  no secret
            else:
                self._first_due = now + FIRST_GAP
            self._give(first or next(iter(self._waiting)), is_first=first is not None)

    def _give(self, claim: _Claim, *, is_first: bool) -> None:
        del self._waiting[claim]
        if not claim.granted.done():  # its task was cancelled, and has not run since
            claim.is_first = is_first
            self._open.add(claim)
            claim.granted.set_result(None)

    def _first(self) -> _Claim | None:
        """Return who of those that wait comes before the others.

        The one looked at last; else one whose time is nearly over, which has no other chance; else the newest.
        """
        now = self._clock()
        ranks = {session_id: rank for rank, session_id in enumerate(self._looked_at.copy())}  # other threads look, too
        firsts = [
            claim
            for claim in self._waiting
            if now - claim.made_at < YOUNG or claim.session_id in ranks or claim.expires_at - now < LAST_MINUTE
        ]

        def order(claim: _Claim) -> tuple[int, bool, float]:
            return ranks.get(claim.session_id, -1), claim.expires_at - now < LAST_MINUTE, claim.made_at

        return max(firsts, key=order, default=None)
