"""The sockets: a server that is both directory and relay, as one process of payjoin-mailroom is.

What is answered stands in directory.py and relay.py; here requests come in, wait, and answers go out.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import aiohttp
from aiohttp import web

from payjoin_plugin.wire.bhttp import Request, encode_response
from payjoin_plugin.wire.mailbox import ShortId

from .directory import GATEWAY_PATH, SELF_LOOP_HEADER, Answer, Directory, Held, Refused
from .faults import Exchange, Fault, Faults, HangUp, Planned
from .gateway import Sealer
from .journal import REQUEST_TYPE, Journal, Seen
from .relay import OptIns, Origin, Probe, is_for_relay, origin, origin_in_path
from .store import Wait
from .tunnel import Front

TIMEOUT = 30.0
"""Seconds that a poller and a v1 sender wait, in BIP 77 and in payjoin-mailroom."""
JOURNAL_LENGTH = 100_000
"""Requests that a journal keeps."""
GIVE_UP = 0.05
"""Seconds that a server which is stopped leaves to those who still wait."""
PREFLIGHT = {
    "access-control-allow-methods": "CONNECT, GET, OPTIONS, POST",
    "access-control-allow-headers": "Content-Type, Content-Length",
}
PASSED_ON = ("content-type", "retry-after")
"""Headers of a directory's answer that a relay hands to its client."""

T = TypeVar("T")


class Server:
    """A directory and a relay behind one port, as one process of payjoin-mailroom is.

    Stopped and started again it keeps its port and its mailboxes.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        port: int = 0,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.time,
        hostname: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        trust: ssl.SSLContext | None = None,
        journal_length: int = JOURNAL_LENGTH,
    ) -> None:
        """`tls` has the server's own certificate, for `hostname`; `trust` is for its calls to directories."""
        self.directory = directory
        self.timeout = timeout
        self.journal = Journal(keep=journal_length)
        self._port = port
        self._clock = clock
        self._hostname = hostname
        self._tls = tls
        self._trust = trust
        self._faults = Faults()
        self._opt_ins = OptIns()
        self._probing = asyncio.Lock()
        self._tunnels: set[asyncio.Task[None]] = set()
        self._client: aiohttp.ClientSession
        self._runner: web.AppRunner
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._hostname}:{self._port}"

    def waiting(self, mailbox: ShortId) -> int:
        """How many pollers wait at `mailbox` now."""
        return self.directory.mailboxes.waiting(mailbox)

    def inject(self, fault: Fault, *, when: Callable[[Seen], bool] = Seen.is_ohttp, times: int = 1) -> None:
        """Let the next `times` requests that fit meet `fault`; without `when` those that carry OHTTP."""
        self._faults.planned.append(Planned(fault, when, times))

    @property
    def faults_left(self) -> int:
        """How many injected faults have not been used up."""
        return len(self._faults.planned)

    def rotate_keys(self) -> None:
        """Change the gateway's key: who has the old one is rejected from now on."""
        self.directory.gateway = self.directory.gateway.rotated()

    async def start(self) -> None:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._trust or True),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        application = web.Application(middlewares=[self._handle], client_max_size=0)
        application.on_response_prepare.append(_as_payjoin_mailroom)
        # A client that goes away ends its waiting: nobody else would be served by it.
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=GIVE_UP)
        await self._runner.setup()
        http = self._runner.server
        assert http is not None
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: Front(http, self._decide_tunnel, self._tunnels), "127.0.0.1", self._port, ssl=self._tls
        )
        self._port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        for task in self._tunnels.copy():
            task.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)
        await self._runner.cleanup()
        await self._client.close()

    @web.middleware
    async def _handle(self, request: web.Request, handler: object) -> web.StreamResponse:
        """Every request but CONNECT, whatever its path."""
        seen = Seen(
            method=request.method,
            target=request.raw_path,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        try:
            answer = await self._route(seen)
        except HangUp:
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        return web.Response(status=answer.status, body=answer.body, headers=dict(answer.headers))

    async def _route(self, seen: Seen) -> Answer:
        """Raises HangUp."""
        path, query = _split(seen.target)
        if is_for_relay(seen.method, path):
            return await self._answer(seen, lambda: self._relay(seen, path))
        if seen.headers.get(SELF_LOOP_HEADER) == self.directory.self_loop_tag:
            return await self._answer(seen, lambda: _at_once(Answer(403)))
        if (seen.method, path) == ("POST", GATEWAY_PATH):
            return await self._gateway(seen)
        return await self._answer(seen, lambda: self._plain(seen, path, query))

    async def _gateway(self, seen: Seen) -> Answer:
        """A request inside OHTTP. One that does not open is journalled as it came."""
        try:
            inner, sealer = self.directory.open(seen.body)
        except Refused as refused:
            refusal = refused.answer
            return await self._answer(seen, lambda: _at_once(refusal))
        return await self._answer(replace(seen, inner=inner), lambda: self._serve(inner, sealer), sealer)

    async def _answer(
        self, seen: Seen, proceed: Callable[[], Awaitable[Answer]], sealer: Sealer | None = None
    ) -> Answer:
        """Journal, and meet the faults that are planned. Raises HangUp."""
        self.journal.asked(seen)
        answer = await self._faults.apply(Exchange(seen, proceed, sealer))
        self.journal.answered(seen, answer.status)
        return answer

    async def _serve(self, inner: Request, sealer: Sealer) -> Answer:
        try:
            response = self.directory.serve(inner, now=self._clock())
        except Refused as refused:
            return refused.answer
        if isinstance(response, Held):
            response = await self._wait(response)
        return Answer(200, sealer.seal(encode_response(response)))

    async def _plain(self, seen: Seen, path: str, query: str) -> Answer:
        try:
            answer = self.directory.serve_plain(seen.method, path, query, seen.body, now=self._clock())
        except Refused as refused:
            return refused.answer
        return await self._wait(answer) if isinstance(answer, Held) else answer

    async def _wait(self, held: Held[T]) -> T:
        self.journal.changed()
        try:
            content = await _content_of(held.wait, seconds=self.timeout)
        except asyncio.CancelledError:
            held.hung_up()
            self.journal.changed()
            raise
        answer = held.timed_out() if content is None else held.served(content)
        self.journal.changed()
        return answer

    async def _relay(self, seen: Seen, path: str) -> Answer:
        if seen.method == "OPTIONS":
            return Answer(204, headers=PREFLIGHT)
        directory = origin_in_path(path)
        if directory is None and path != "/":
            return Answer(400, b"Invalid gateway")
        if directory is not None and not await self._opted_in(directory):
            return Answer(404)
        if seen.method == "GET":
            return Answer(400, b"Not a supported proxy upgrade request")
        if seen.headers.get("content-type") != REQUEST_TYPE:
            return Answer(415)
        if directory is None:
            return Answer(502)  # payjoin-mailroom has payjo.in for its default directory; ours has none
        return await self._forward(directory, seen.body)

    async def _forward(self, directory: Origin, body: bytes) -> Answer:
        headers = {"content-type": REQUEST_TYPE, SELF_LOOP_HEADER: self.directory.self_loop_tag}
        try:
            async with self._client.post(
                f"{directory}{GATEWAY_PATH}", data=body, headers=headers, allow_redirects=False
            ) as response:
                kept = {name: response.headers[name] for name in PASSED_ON if name in response.headers}
                return Answer(response.status, await response.read(), kept)
        except aiohttp.ClientError:
            return Answer(502)

    async def _opted_in(self, directory: Origin) -> bool:
        async with self._probing:
            known = self._opt_ins.known(directory, now=self._clock())
            if known is not None:
                return known
            return self._opt_ins.learn(directory, await self._probe(directory), now=self._clock())

    async def _probe(self, directory: Origin) -> Probe:
        try:
            async with self._client.get(
                f"{directory}{GATEWAY_PATH}?allowed_purposes", allow_redirects=False
            ) as response:
                retry_after = response.headers.get("retry-after", "")
                return Probe(
                    status=response.status,
                    content_type=response.headers.get("content-type"),
                    body=await response.read(),
                    retry_after=int(retry_after) if retry_after.isdecimal() else None,
                )
        except aiohttp.ClientError:
            return Probe(None)

    async def _decide_tunnel(self, authority: str) -> int:
        """Answer a CONNECT with a status. Raises HangUp."""
        answer = await self._answer(Seen("CONNECT", authority, {}, b""), lambda: self._connect(authority))
        return answer.status

    async def _connect(self, authority: str) -> Answer:
        """A tunnel opens to directories that opted in, and those are taken for https."""
        directory = origin("https", authority)
        if directory is None:
            return Answer(400)
        return Answer(200 if await self._opted_in(directory) else 404)


async def _at_once(answer: Answer) -> Answer:
    return answer


async def _content_of(wait: Wait, *, seconds: float) -> bytes | None:
    """What was waited for; None when time is over."""
    there = asyncio.Event()
    wait.then(there.set)
    try:
        async with asyncio.timeout(seconds):
            await there.wait()
    except TimeoutError:
        pass
    return wait.content


def _split(target: str) -> tuple[str, str]:
    """Path and query of a request's target, which may be a whole URL (as a proxy is asked). Nothing is unquoted."""
    if target.startswith(("http://", "https://")):
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("#")[0].partition("?")
    return path, query


async def _as_payjoin_mailroom(_: web.BaseRequest, response: web.StreamResponse) -> None:
    """Every answer may be read by any page, and none has a type that it was not given."""
    response.headers["access-control-allow-origin"] = "*"
    response.headers.pop("Server", None)
    if response.headers.get("Content-Type") == "application/octet-stream":
        del response.headers["Content-Type"]
