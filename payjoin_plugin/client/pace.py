"""How fast a session asks: the gap between polls, the wait after a failure, and the one that a server asks for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime

QUICK = 1.0
"""Seconds. An answer that comes sooner was no long poll: the directory answers at once, or holds a v1 sender."""

MEAN_GAP = 5.0
"""Seconds; the mean of the exponential gap after a quick answer (field practice, so that no rhythm tells who polls)."""

LONGEST_GAP = 30.0
"""Seconds."""

FIRST_WAIT, GROWTH, LONGEST_WAIT, JITTER = 1.0, 1.5, 60.0, 0.5
"""Seconds, factor, seconds, and the fraction by which each wait is moved at random."""

FIRST_LOOK_UP = 0.2
"""Seconds before an Electrum server is asked again about an original that it does not know enough of. It is a second
behind with a coin or a block that is new, and the sender waits."""

LONGEST_LEAVE = 300.0
"""Seconds for which no session polls, at most, where every relay asks to be left alone. Answers never wait for that."""

LONGEST_RETRY_AFTER = 1800.0
"""Seconds: nobody sends us away for longer than a relay is left alone that fails."""

PATIENCE = 30
"""Seconds for which an input that the Electrum server merely does not list is asked for again."""

STALE_CHECK = 30
"""Seconds after which an original is looked up again before it is answered."""

LATE_CHECK = 24 * 3600
"""Seconds for which the check of an original that came in time goes on after expiry, or after a start that is later:
the Electrum server may be away for a day. The next start tries again."""

MOST_RENEWALS = 20
"""For each session: a directory that changes its keys all the time must not fill the wallet file."""

LOOK_AGAIN = 2
"""Seconds between looks at a wallet that cannot answer yet; Electrum tells nobody when it is unlocked."""


class Pace:
    """When a session polls: in its turn, and not before the gap is over; none after a long poll, a random one else."""

    def __init__(self, turn: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        """`turn()` is held while a poll is open."""
        self._turn = turn
        self._gap = 0.0

    @asynccontextmanager
    async def poll(self, clock: Callable[[], float]) -> AsyncIterator[None]:
        """Wait until the next poll may go out, and see how long it takes. `clock` returns seconds."""
        gap, self._gap = self._gap, 0.0
        if gap:
            await asyncio.sleep(gap)
        async with self._turn():
            asked_at = clock()
            yield
        if clock() - asked_at < QUICK:
            self._gap = min(random.expovariate(1 / MEAN_GAP), LONGEST_GAP)


class Backoff:
    """The wait after a failure: half as long again each time, at most a minute where not said otherwise, jittered."""

    def __init__(self, first: float = FIRST_WAIT, *, longest: float = LONGEST_WAIT) -> None:
        """`first`, `longest`: seconds."""
        self._first = self._wait = first
        self._longest = longest

    def next(self) -> float:
        """Return the next wait in seconds."""
        wait, self._wait = self._wait, min(self._wait * GROWTH, self._longest)
        return wait * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  no secret

    def reset(self) -> None:
        """Something worked."""
        self._wait = self._first


def parse_retry_after(value: str, *, now: float) -> float | None:
    """Return the seconds that a `Retry-After` asks for (RFC 9110, section 10.2.3), at most LONGEST_RETRY_AFTER.

    None where there is no such header, or nonsense in it. `now` is unix time in seconds.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return min(max(date.timestamp() - now, 0.0), LONGEST_RETRY_AFTER)
