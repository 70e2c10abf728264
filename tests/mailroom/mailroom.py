"""A directory and one or more relays, on loopback, in this process.

    async with Mailroom(timeout=0.2) as mailroom:
        mailroom.directory_url, mailroom.relay_url          # http://127.0.0.1:…, free ports
        mailroom.directory.inject(lose_answer, when=Seen.is_post)
        await mailroom.directory.journal.until(lambda: mailroom.directory.waiting(mailbox) == 1)

Its servers share nothing but this: a relay finds the directory by the URL that a client gives it.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from payjoin_plugin.wire.ohttp import KeyConfig

from .directory import Directory
from .http import JOURNAL_LENGTH, TIMEOUT, Server


class Mailroom:
    """A directory and one or more relays, on loopback, in this process."""

    def __init__(
        self,
        *,
        v1: bool = True,
        relays: int = 1,
        timeout: float = TIMEOUT,
        directory_port: int = 0,
        relay_port: int = 0,
        clock: Callable[[], float] = time.time,
        hostname: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        trust: ssl.SSLContext | None = None,
        journal_length: int = JOURNAL_LENGTH,
    ) -> None:
        """`timeout` in seconds, for pollers and v1 senders. Port 0 is a free one. `tls`, `trust`: as of Server."""

        def server(port: int) -> Server:
            return Server(
                Directory(v1=v1),
                port=port,
                timeout=timeout,
                clock=clock,
                hostname=hostname,
                tls=tls,
                trust=trust,
                journal_length=journal_length,
            )

        self.directory = server(directory_port)
        """The server whose directory is used."""
        self.relays = [server(relay_port if number == 0 else 0) for number in range(relays)]
        """The servers whose relays are used."""

    @property
    def directory_url(self) -> str:
        return self.directory.url

    @property
    def relay_urls(self) -> list[str]:
        return [relay.url for relay in self.relays]

    @property
    def relay(self) -> Server:
        return self.relays[0]

    @property
    def relay_url(self) -> str:
        return self.relay.url

    @property
    def keys(self) -> KeyConfig:
        """The directory's, as they are now."""
        return self.directory.directory.gateway.config

    async def __aenter__(self) -> Self:
        try:
            for server in (self.directory, *self.relays):
                await server.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        for server in (*self.relays, self.directory):
            await server.stop()
