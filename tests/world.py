"""Where a sender and a receiver meet: a directory in memory, the way to it with its faults, and the chain."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from payjoin_plugin.errors import DirectoryStatus, Garbled, KeysRejected, Unreachable
from payjoin_plugin.wire.bhttp import Request, encode_response
from payjoin_plugin.wire.keys import PublicKey
from payjoin_plugin.wire.mailbox import ShortId
from payjoin_plugin.wire.ohttp import MESSAGE_BYTES, KeyConfig
from tests.helpers import ChainView, Points, clock
from tests.mailroom.directory import KEY_REJECTED, Answer, Directory, Held, Refused
from tests.mailroom.faults import Exchange, Faults, HangUp
from tests.mailroom.gateway import Sealer
from tests.mailroom.journal import REQUEST_TYPE, Seen
from tests.mailroom.store import Wait

HOLD = 30
"""Seconds that the directory holds a poll, and a v1 sender."""


@dataclass
class World:
    """What both sides meet: the directory, what goes wrong on the way to it, and the chain."""

    directory: Directory = field(default_factory=Directory)
    directory_url: str = "https://directory.example"
    relay_urls: list[str] = field(default_factory=lambda: ["https://relay-one.test", "https://relay-two.invalid"])
    chain: ChainView = field(default_factory=ChainView)
    faults: Faults = field(default_factory=Faults)
    asked: list[Request] = field(default_factory=list)
    """Every inner request that reached the directory."""

    @property
    def keys(self) -> KeyConfig:
        return self.directory.gateway.config

    def posted_to(self, key: PublicKey) -> list[bytes]:
        """Everything that anybody ever posted to the mailbox of `key`, kept or not."""
        path = f"/{ShortId.of(key)}"
        return [request.content for request in self.asked if (request.method, request.path) == ("POST", path)]

    def put(self) -> list[bytes]:
        """Every answer for v1 senders."""
        return [request.content for request in self.asked if request.method == "PUT"]

    def leave(self, mailbox: ShortId, content: bytes) -> None:
        """Somebody else was quicker at a mailbox."""
        self.directory.mailboxes.post(mailbox, content, now=clock())


class MemoryTransport:
    """Implements client.mail.Transport: to the directory of the same process, with its faults."""

    def __init__(self, world: World, points: Points) -> None:
        self.relays: list[str] = []
        self.asked: list[str] = []
        """The methods of our inner requests that reached the directory."""
        self._world, self._points = world, points

    async def post(self, relay: str, directory: str, body: bytes) -> bytes:
        assert directory == self._world.directory_url
        self.relays.append(relay)
        try:
            answer = await self._answer(relay, body)
        except HangUp:
            raise Unreachable("the relay hung up") from None
        if len(answer.body) == MESSAGE_BYTES:
            return answer.body
        if answer == KEY_REJECTED:
            raise KeysRejected
        if answer.status != 200:
            retry_after = answer.headers.get("retry-after")
            raise DirectoryStatus(answer.status, inner=False, retry_after=float(retry_after) if retry_after else None)
        raise Garbled("a wrong length")

    async def fetch_keys(self, relay: str | None, directory: str) -> KeyConfig:
        await self._points.pause("fetching keys")
        return self._world.keys

    async def _answer(self, relay: str, body: bytes) -> Answer:
        try:
            inner, sealer = self._world.directory.open(body)
        except Refused as refused:
            return refused.answer
        await self._points.pause(f"before {inner.method}")
        await asyncio.sleep(0)  # who was cancelled meanwhile gets no further
        self.asked.append(inner.method)
        self._world.asked.append(inner)
        seen = Seen("POST", relay, {"content-type": REQUEST_TYPE}, body, inner)
        answer = await self._world.faults.apply(Exchange(seen, lambda: self._serve(inner, sealer), sealer))
        await self._points.pause(f"after {inner.method}")
        return answer

    async def _serve(self, inner: Request, sealer: Sealer) -> Answer:
        try:
            response = self._world.directory.serve(inner, now=clock())
        except Refused as refused:
            return refused.answer
        if isinstance(response, Held):
            content = await content_of(response.wait)
            response = response.timed_out() if content is None else response.served(content)
        return Answer(200, sealer.seal(encode_response(response)))


async def content_of(wait: Wait) -> bytes | None:
    """What was waited for; None when the directory's patience is over."""
    there = asyncio.Event()
    wait.then(there.set)
    try:
        async with asyncio.timeout(HOLD):
            await there.wait()
    except TimeoutError:
        pass
    return wait.content
