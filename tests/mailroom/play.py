"""Requests that are played to a mailroom, ours or the real one, and what is compared of the answers.

    @case("POST different bytes to filled mailbox")    the name of a row of directory_observations.json, if it is one
    async def second_message(room: Room) -> None:
        await room.post(b"first")                      remembered for the comparison
        room.row(await room.post(b"second"))           and this is what the row speaks of

test_observations.py plays the cases to our mailroom and compares with what was once observed of payjoin-mailroom;
tests/interop/test_mailroom_agrees.py plays them to both.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from payjoin_plugin.wire.bhttp import Request
from payjoin_plugin.wire.mailbox import ShortId, relay_url
from payjoin_plugin.wire.ohttp import KeyConfig, Opener

from .client import Client, Reply, encapsulate_exactly, gateway_url, request


@dataclass(frozen=True)
class Observed:
    """What is compared of an answer. The rest is date, connection handling, and ciphertext."""

    status: int
    content_type: str | None
    length: int
    body: bytes | None
    """None for an encapsulated answer; what was inside is next."""
    opened: bytes | None
    """The whole BHTTP, padding included."""
    anyone_may_read: bool
    """Access-Control-Allow-Origin: *"""
    waited: bool
    """Whether the answer took as long as a poll is held."""


@dataclass(frozen=True)
class Place:
    """A mailroom: where it is and how it is set."""

    directory: str
    relay: str
    keys: KeyConfig
    seconds: float
    """How long it holds a poll."""
    stranger: str
    """An HTTP server that is no directory."""
    nobody: str
    """A URL where nobody listens."""


class Room:
    """One case at one place."""

    def __init__(self, name: str, place: Place, client: Client) -> None:
        self.place = place
        self.keys = place.keys
        self.client = client
        self.observed: list[Observed | None] = []
        """Every answer, in the order of asking."""
        self.rows: list[Observed] = []
        """Those of which the row speaks."""
        self._name = name

    def mailbox(self, number: int = 0) -> ShortId:
        """A mailbox of this case, the same at every place."""
        return ShortId(hashlib.sha256(f"{self._name} {number}".encode()).digest()[:8])

    def row(self, *observed: Observed) -> None:
        self.rows.extend(observed)

    async def ask(self, asking: Awaitable[Reply]) -> Observed:
        """Await an answer and remember it."""
        place = len(self.observed)
        self.observed.append(None)
        started = time.monotonic()
        reply = await asking
        observed = Observed(
            status=reply.status,
            content_type=reply.headers.get("content-type"),
            length=len(reply.body),
            body=reply.body if reply.opened is None else None,
            opened=reply.opened,
            anyone_may_read=reply.headers.get("access-control-allow-origin") == "*",
            waited=time.monotonic() - started > 0.95 * self.place.seconds,
        )
        self.observed[place] = observed
        return observed

    async def inside(self, inner: Request | bytes) -> Observed:
        """Ask the directory itself, inside OHTTP, padded."""
        return await self.ask(self.client.inside(gateway_url(self.place.directory), self.keys, inner))

    async def exactly(self, plaintext: bytes) -> Observed:
        """Ask with a message that is encapsulated as it is."""
        return await self.encapsulated(*encapsulate_exactly(self.keys, plaintext))

    async def encapsulated(self, message: bytes, opener: Opener) -> Observed:
        return await self.ask(self.client.encapsulated(gateway_url(self.place.directory), message, opener))

    async def get(self, mailbox: ShortId | str | None = None, content: bytes = b"") -> Observed:
        return await self.inside(request("GET", mailbox if mailbox is not None else self.mailbox(), content))

    async def post(self, content: bytes, mailbox: ShortId | str | None = None) -> Observed:
        return await self.inside(request("POST", mailbox if mailbox is not None else self.mailbox(), content))

    async def put(self, content: bytes, mailbox: ShortId | str | None = None) -> Observed:
        return await self.inside(request("PUT", mailbox if mailbox is not None else self.mailbox(), content))

    async def plain(
        self, method: str, path: str, body: bytes = b"", *, headers: dict[str, str] | None = None
    ) -> Observed:
        """Ask the directory, without OHTTP."""
        return await self.ask(self.client.send(method, self.place.directory + path, body, headers=headers))

    def send_v1(self, body: bytes = b"original", query: str = "v=1") -> asyncio.Task[Observed]:
        """Start a v1 sender's POST; its answer comes later."""
        return asyncio.create_task(self.plain("POST", f"/{self.mailbox()}?{query}", body))

    async def forwarded(self, inner: Request, *, directory: str | None = None) -> Observed:
        """Ask the directory through the relay, inside OHTTP."""
        url = relay_url(self.place.relay, directory or self.place.directory)
        return await self.ask(self.client.inside(url, self.keys, inner))

    async def to_relay(self, method: str, path: str, body: bytes = b"", *, headers: dict[str, str]) -> Observed:
        """Ask the relay itself; its path is given with all that stands in it."""
        return await self.ask(self.client.send(method, self.place.relay + path, body, headers=headers))

    async def connect(self, authority: str) -> Observed:
        """Ask the relay for a tunnel, and say good-bye."""
        return await self.ask(_connect(self.place.relay, authority))


Case = Callable[[Room], Awaitable[None]]
CASES: dict[str, Case] = {}
WITHOUT_V1: dict[str, Case] = {}
"""The same for a directory that takes no v1 senders."""


def case(name: str, *, v1: bool = True) -> Callable[[Case], Case]:
    def register(function: Case) -> Case:
        (CASES if v1 else WITHOUT_V1)[name] = function
        return function

    return register


async def play(name: str, place: Place, *, v1: bool = True) -> Room:
    """Play a case and return what came of it."""
    async with Client() as client:
        room = Room(name, place, client)
        await (CASES if v1 else WITHOUT_V1)[name](room)
    return room


async def _connect(relay: str, authority: str) -> Reply:
    host, _, port = relay.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        return Reply(int(lines[0].split(" ")[1]), headers, b"")
    finally:
        writer.close()
        await writer.wait_closed()
