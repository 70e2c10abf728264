"""Time limits by the clock on the wall.

A loop's own clock stands still while the machine sleeps (Linux, macOS), and a request expires all the same. So whoever
waits long looks at the wall now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

LONGEST_NAP = 60.0
"""Seconds of the loop's time between two looks at the clock: by so much, at most, a sleep of the machine delays us."""


async def sleep_until(moment: float, clock: Callable[[], float]) -> None:
    """Return when `clock` shows `moment`, both unix time in seconds."""
    while (left := moment - clock()) > 0:  # noqa: ASYNC110 - nobody tells what the wall shows
        await asyncio.sleep(min(left, LONGEST_NAP))


@asynccontextmanager
async def deadline(moment: float, clock: Callable[[], float]) -> AsyncIterator[asyncio.Timeout]:
    """Do what `asyncio.timeout` does, when `clock` shows `moment` (unix time in seconds).

    What is inside stays in the same task: between its end and what follows nobody else gets a turn.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def look() -> None:
        nonlocal timer
        left = moment - clock()
        if left > 0:
            timer = loop.call_later(min(left, LONGEST_NAP), look)
        else:
            limit.reschedule(loop.time())

    async with asyncio.timeout(None) as limit:
        look()
        try:
            yield limit
        finally:
            if timer is not None:
                timer.cancel()
