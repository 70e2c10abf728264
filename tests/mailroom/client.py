"""A small client of directories and relays, made of payjoin_plugin.wire: for the tests of the mailroom itself.

The plugin's own client is payjoin_plugin/client/transport.py; this one also asks what nobody should.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import ParamSpec, Self

import aiohttp
from yarl import URL

from payjoin_plugin.wire.bhttp import Request, Response, decode_response, encode_request
from payjoin_plugin.wire.hpke import SUITE_IDS, setup_sender
from payjoin_plugin.wire.mailbox import ShortId
from payjoin_plugin.wire.ohttp import MESSAGE_BYTES, KeyConfig, Opener, encapsulate

from .directory import GATEWAY_PATH
from .journal import REQUEST_TYPE

OHTTP = {"content-type": REQUEST_TYPE}

P = ParamSpec("P")


def asynchronous(test: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    """Run a test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs), debug=True)

    return run


def request(method: str, mailbox: ShortId | str, content: bytes = b"") -> Request:
    """An inner request of a mailbox, to no directory in particular: directories don't look."""
    return Request(method, "https", "directory.example", f"/{mailbox}", content)


def encapsulate_exactly(keys: KeyConfig, plaintext: bytes) -> tuple[bytes, Opener]:
    """An encapsulated request of just these bytes, unpadded, BHTTP or not."""
    header = bytes([keys.key_id]) + SUITE_IDS
    enc, context = setup_sender(keys.public_key, b"message/bhttp request\0" + header)
    return header + enc.uncompressed + context.seal(plaintext), Opener(enc, context)


@dataclass(frozen=True)
class Reply:
    """An answer as it came, and what was inside if it was encapsulated."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)
    opened: bytes | None = field(default=None, repr=False)
    """The BHTTP inside, with its padding."""

    @property
    def inner(self) -> Response:
        """The response inside. Raises DecodeError where there is none."""
        return decode_response(self.opened or b"")


class Client:
    """`async with Client() as client`. Waits as long as it takes; pytest has the time limit."""

    def __init__(self, *, trust: ssl.SSLContext | None = None) -> None:
        """`trust`: for servers behind TLS; the system's own otherwise."""
        self._trust = trust
        self._session: aiohttp.ClientSession

    async def send(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
    ) -> Reply:
        """One request, its URL exactly as given."""
        async with self._session.request(
            method, URL(url, encoded=True), data=body or None, headers=headers, proxy=proxy, allow_redirects=False
        ) as response:
            kept = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, kept, await response.read())

    async def inside(self, url: str, keys: KeyConfig, inner: Request | bytes) -> Reply:
        """One request inside OHTTP, padded as BIP 77 wants it."""
        plaintext = inner if isinstance(inner, bytes) else encode_request(inner)
        return await self.encapsulated(url, *encapsulate(keys, plaintext))

    async def encapsulated(self, url: str, message: bytes, opener: Opener) -> Reply:
        """Send an encapsulated request; open its answer if it is one."""
        reply = await self.send("POST", url, message, headers=OHTTP)
        if reply.status != 200 or len(reply.body) != MESSAGE_BYTES:
            return reply
        return replace(reply, opened=opener.open(reply.body))

    async def __aenter__(self) -> Self:
        # Nobody's cookies, redirects or default types.
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers={"Content-Type"},
            timeout=aiohttp.ClientTimeout(total=None),
            connector=aiohttp.TCPConnector(limit=0, ssl=self._trust or True),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()


def gateway_url(directory: str) -> str:
    """Where a directory takes requests inside OHTTP."""
    return directory + GATEWAY_PATH
