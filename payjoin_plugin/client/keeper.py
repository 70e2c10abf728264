"""Keeps the OHTTP keys of the directory in use at hand, so that the first request of the day has its `pj` at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import TransientError
from ..wire.ohttp import KeyConfig
from .directory import KeyCache, Relays
from .mail import Transport
from .pace import Backoff

TRIES = 3
"""Relays that are asked for one directory's keys before the next directory has its turn."""

LOOK_AGAIN = 60.0
"""Seconds between looks at the age of the keys."""


class KeyKeeper:
    """Fetches keys when they are missing or getting old. The first directory whose keys can be had is in use."""

    def __init__(
        self,
        transport: Transport,
        relays: Relays,
        cache: KeyCache,
        *,
        directories: Callable[[], list[str]],
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        """`clock` returns unix time in seconds; `changed()` is called when keys came, or could not be had."""
        self.trouble: TransientError | None = None
        """Why there are no keys, after every directory was tried."""
        self._transport, self._relays, self._cache = transport, relays, cache
        self._directories, self._clock, self._changed = directories, clock, changed
        self._poked = asyncio.Event()

    def current(self) -> tuple[str, KeyConfig] | None:
        """Return the directory in use and its keys. May be called from any thread."""
        now = self._clock()
        for directory in self._directories():
            if (keys := self._cache.get(directory, now)) is not None:
                return directory, keys
        return None

    def poke(self) -> None:
        """Look at once: the network, the proxy or the settings changed."""
        self._poked.set()

    async def run(self) -> None:
        """Keep the keys fresh until cancelled."""
        backoff = Backoff()
        while True:
            self._poked.clear()
            await self.refresh()
            wait = LOOK_AGAIN
            if self.trouble is not None:
                wait = backoff.next()
            else:
                backoff.reset()
            try:
                async with asyncio.timeout(wait):
                    await self._poked.wait()
                    backoff.reset()
            except TimeoutError:
                pass

    async def refresh(self) -> None:
        """Fetch the keys of the first directory that gives them, unless those at hand are fresh."""
        # Where other directories were set meanwhile, their keys may be at hand: then only the trouble has gone.
        before, had_trouble = self.current(), self.trouble is not None
        self.trouble = await self._try_directories()
        if self.trouble is not None or had_trouble or self.current() != before:
            self._changed()

    async def _try_directories(self) -> TransientError | None:
        trouble: TransientError | None = None
        for directory in self._directories():
            if not self._cache.stale(directory, self._clock()):
                return None
            try:
                self._cache.put(directory, await self._fetch(directory), self._clock())
            except TransientError as error:
                trouble = trouble or error
                if self._cache.get(directory, self._clock()) is not None:
                    return None  # getting old, but good for a while
            else:
                return None
        return trouble

    async def _fetch(self, directory: str) -> KeyConfig:
        """Ask through one relay after another. Where none of them brings keys, it is no relay's fault."""
        tried: list[str] = []
        while True:
            relay = self._relays.choose(directory, now=self._clock())
            tried.append(relay)
            try:
                keys = await self._transport.fetch_keys(relay, directory)
            except TransientError:
                self._relays.failed(relay, now=self._clock())
                if len(tried) == TRIES:
                    for blamed in tried:
                        self._relays.succeeded(blamed)
                    raise
            else:
                self._relays.succeeded(relay)
                return keys
