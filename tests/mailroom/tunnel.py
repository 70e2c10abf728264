"""HTTP CONNECT, by which clients fetch a directory's keys through a relay, end to end. aiohttp's server has none.

    client ── CONNECT directory:443 ──► relay          a relay that knows the directory for one opens a tunnel;
           ◄─ 200 ───────────────────── relay          from then on it moves bytes that it cannot read (TLS)
           ◄─ ─ ─ TLS ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─► directory

A connection's first bytes decide who serves it: a CONNECT is ours, everything else is handed to aiohttp.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .faults import HangUp

METHOD = b"CONNECT "
LARGEST_HEAD = 16 * 1024

Decide = Callable[[str], Awaitable[int]]
"""From the `host:port` of a CONNECT to the status to answer; 200 opens the tunnel. Raises HangUp."""


class Front(asyncio.Protocol):
    """The first protocol of each connection."""

    def __init__(self, http: Callable[[], asyncio.Protocol], decide: Decide, tasks: set[asyncio.Task[None]]) -> None:
        self._http = http
        self._decide = decide
        self._tasks = tasks
        self._received = b""
        self._upstream: asyncio.StreamWriter | None = None
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._upstream is not None:
            self._upstream.write(data)
            return
        self._received += data
        if self._task is not None:
            return  # what comes before the tunnel stands is sent when it does
        start = self._received[: len(METHOD)]
        if not METHOD.startswith(start):
            self._hand_over()
        elif b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            self._task = asyncio.get_running_loop().create_task(self._connect(head))
            self._tasks.add(self._task)
            self._task.add_done_callback(self._tasks.discard)
        elif len(self._received) > LARGEST_HEAD:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def _hand_over(self) -> None:
        protocol = self._http()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._received)

    async def _connect(self, head: bytes) -> None:
        authority = head.split(b" ", 2)[1].decode("ascii", "replace")
        try:
            status = await self._decide(authority)
            if status != 200:
                self._transport.write(
                    b"HTTP/1.1 %d Refused\r\naccess-control-allow-origin: *\r\ncontent-length: 0\r\n\r\n" % status
                )
                return
            host, _, port = authority.rpartition(":")
            reader, self._upstream = await asyncio.open_connection(host.strip("[]"), int(port))
            self._transport.write(b"HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\n\r\n")
            self._upstream.write(self._received)
            while data := await reader.read(65536):
                self._transport.write(data)
        except (OSError, HangUp):
            pass  # the directory is gone, or a fault is: the client sees the connection close
        finally:
            self._transport.close()
            if self._upstream is not None:
                self._upstream.close()
