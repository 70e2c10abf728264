"""HTTP to relays, and through them to directories: the only place that opens a connection.

    a call    POST relay/https://directory/            8192 bytes there, 8192 bytes back (BIP 77, OHTTP)
    its keys  CONNECT directory:443 at the relay, then TLS with the directory inside (RFC 9540)
    both      through Electrum's proxy where one is set: SOCKS, in it TLS with the relay, in it the rest

A directory never sees our address: its keys too come through a relay. Only a directory of plain http is asked itself: a
relay that is asked over plain http answers with its own keys, and such a directory is on this machine or a Tor service.

What goes out is the same for everybody: no User-Agent, no cookies, no redirects, no compression. What comes in is
bounded while it is read. Whatever goes wrong is a `TransientError`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from urllib.parse import urlsplit

import aiohttp
import aiohttp_socks
from yarl import URL

from ..errors import DecodeError, DirectoryStatus, Dropped, Garbled, KeysRejected, NotSent, Unreachable
from ..wire.bhttp import Request, decode_response, encode_request
from ..wire.mailbox import relay_url
from ..wire.ohttp import MESSAGE_BYTES, KeyConfig, encapsulate
from ..wire.uri import check_service_url
from .pace import parse_retry_after

CALL_HEADERS = {"Content-Type": "message/ohttp-req", "Accept": "*/*"}
"""RFC 9458, section 6.1; a relay answers any other type with 415."""

KEYS_HEADERS = {"Accept": "application/ohttp-keys"}
KEYS_PATH = "/.well-known/ohttp-gateway"
"""RFC 9540, section 4."""

SKIPPED_HEADERS = ("User-Agent", "Accept-Encoding")
"""What aiohttp would add. Without them we look like rust-payjoin, which is what most others use."""

CONNECT_HEADERS = {"User-Agent": "Mozilla/5.0", "Accept": "*/*", "Accept-Encoding": "identity"}
"""In a CONNECT they cannot be left out: aiohttp would put its name and version there."""

ANSWER_LIMIT = 65536
"""Bytes: what rust-payjoin reads of an answer. A good one has 8192; 74 where keys are asked for."""

PROBLEM_LIMIT = 1024
"""Bytes of a problem document (RFC 9457) that are looked at; payjoin-mailroom's has 103."""

WRONG_KEY = "#ohttp-key"
"""How the problem type *the gateway does not know this key* ends (RFC 9458, section 5.3)."""

NO_MAILBOX = "/payjoin/check"
"""A path that is no mailbox's: a directory answers at once that nothing is there (404, encapsulated)."""

CALL_TIMEOUT = aiohttp.ClientTimeout(total=75, sock_connect=30, sock_read=45)
"""Seconds. A directory holds a poll for 30, and we wait half as long again; a new Tor circuit may need 30 before."""

KEYS_TIMEOUT = aiohttp.ClientTimeout(total=45, sock_connect=30, sock_read=15)
"""Seconds."""

SessionFactory = Callable[[aiohttp.ClientTimeout], AbstractAsyncContextManager[aiohttp.ClientSession]]
"""Makes an HTTP session by the proxy setting of the moment; Electrum's `make_aiohttp_session` is one."""


@dataclass(frozen=True)
class Route:
    """How requests leave this machine at the moment."""

    setting: Hashable = None
    """The proxy's whole setting. Connections are kept while it stays equal, and cut when it does not."""
    proxied: bool = False
    """Whether there is a proxy. Without one no name under .onion is looked up."""
    isolated: bool = False
    """Whether the proxy tells streams apart by their SOCKS user, as Tor does."""


@dataclass(eq=False)
class _Kept:
    """An HTTP session that is kept for later requests."""

    http: aiohttp.ClientSession
    stack: AsyncExitStack
    setting: Hashable
    owner: HttpTransport | None
    host: str | None
    """With `owner`: whose requests it is for, and to which host. None and None: everybody's."""
    in_flight: int = 0

    @property
    def free(self) -> bool:
        """Whether another request goes out at once: aiohttp makes those beyond its limit (100) wait for their turn."""
        limit = self.http.connector.limit if self.http.connector else 0
        return limit == 0 or self.in_flight < limit


class Connections:
    """The HTTP sessions of this process, kept so that TLS and Tor circuits are not made anew for each request.

    Everybody shares them, since one costs some 20 ms and 0.6 MB (the list of CAs). Behind Tor each transport has one of
    its own for each relay: `new_session` draws new SOCKS credentials for each, hence another circuit, so that no relay
    and no exit can tell that two sessions are the same person's.
    """

    def __init__(self, new_session: SessionFactory, route: Callable[[], Route] = Route) -> None:
        """`route` is asked before each request. It, or `new_session`, raises Unreachable while Electrum is offline."""
        self._new_session = new_session
        self._route = route
        self._kept: list[_Kept] = []

    @asynccontextmanager
    async def lease(self, owner: HttpTransport, host: str) -> AsyncIterator[aiohttp.ClientSession]:
        """Give the HTTP session for one request of `owner` that goes to `host` first. Raises Unreachable."""
        kept = await self._find(owner, host)
        kept.in_flight += 1
        try:
            yield kept.http
        finally:
            kept.in_flight -= 1

    async def close(self, owner: HttpTransport | None = None) -> None:
        """Cut the connections that are `owner`'s alone, or all of them; requests under way raise Unreachable."""
        await self._cut([kept for kept in self._kept if owner is None or kept.owner is owner])

    async def _find(self, owner: HttpTransport, host: str) -> _Kept:
        """Find or make one. No await follows the last look at the route, so the request takes the route of now."""
        while True:
            route = self._route()
            if host.endswith(".onion") and not route.proxied:
                raise NotSent(f"{host} can only be reached through Tor, and no proxy is set")
            if outdated := [kept for kept in self._kept if kept.setting != route.setting]:
                await self._cut(outdated)
                continue
            mine = (owner, host) if route.isolated else (None, None)
            for kept in self._kept:
                if (kept.owner, kept.host) == mine and kept.free:
                    return kept
            opened = await self._open(route, *mine)
            if self._route() == route:
                return opened

    async def _open(self, route: Route, owner: HttpTransport | None, host: str | None) -> _Kept:
        stack = AsyncExitStack()
        try:
            http = await stack.enter_async_context(self._new_session(CALL_TIMEOUT))
        except (OSError, ValueError) as error:
            raise NotSent(f"the proxy setting cannot be used: {error}") from error
        http.headers.clear()
        http.trace_configs.append(_TELL_REUSE)
        kept = _Kept(http, stack, route.setting, owner, host)
        self._kept.append(kept)
        return kept

    async def _cut(self, doomed: Sequence[_Kept]) -> None:
        self._kept = [kept for kept in self._kept if kept not in doomed]
        # Shielded: who is cancelled meanwhile leaves nothing open.
        await asyncio.shield(asyncio.gather(*(kept.stack.aclose() for kept in doomed)))


@dataclass(frozen=True)
class Reached:
    """What a probe found: the keys, how long they took, and how long the directory took to answer through the relay."""

    keys: KeyConfig
    keys_seconds: float
    answer_seconds: float


class HttpTransport:
    """One session's requests, or those for keys. Light: what is costly stands in `Connections`."""

    def __init__(
        self,
        connections: Connections,
        *,
        call_timeout: aiohttp.ClientTimeout = CALL_TIMEOUT,
        keys_timeout: aiohttp.ClientTimeout = KEYS_TIMEOUT,
    ) -> None:
        self._connections, self._call_timeout, self._keys_timeout = connections, call_timeout, keys_timeout

    async def post(self, relay: str, directory: str, body: bytes) -> bytes:
        """Have `relay` carry the encapsulated `body` to `directory`; return the 8192 bytes of the answer.

        Raises Unreachable, NotSent, Dropped, Garbled, DirectoryStatus, KeysRejected. A `body` whose answer was lost is
        never sent again: each try is encapsulated anew (BIP 77), so this does not retry.
        """
        relay, directory = _checked(relay), _checked(directory)
        outer, answer = await self._ask(
            "POST", relay_url(relay, directory), data=body, headers=CALL_HEADERS, timeout=self._call_timeout
        )
        if answer is not None and len(answer) == MESSAGE_BYTES:
            return answer
        if outer.status == 400 and _is_wrong_key(answer):
            raise KeysRejected
        if outer.status != 200:
            raise outer
        raise Garbled(f"{relay} answered with {_length(answer)} instead of {MESSAGE_BYTES}")

    async def fetch_keys(self, relay: str | None, directory: str) -> KeyConfig:
        """Fetch the OHTTP keys of `directory` through a tunnel that `relay` makes; no relay sees or changes them.

        A directory of plain http is asked itself. Raises Unreachable, Garbled, DirectoryStatus.
        """
        directory = _checked(directory)
        if relay is None and directory.startswith("https:"):
            raise NotSent(f"the keys of {directory} are fetched through a relay, and there is none")
        relay = _checked(relay) if relay is not None and directory.startswith("https:") else None
        outer, answer = await self._ask(
            "GET", directory + KEYS_PATH, proxy=relay, headers=KEYS_HEADERS, timeout=self._keys_timeout
        )
        if outer.status != 200:
            raise outer
        try:
            return KeyConfig.from_bytes(answer or b"")
        except DecodeError as error:
            raise Garbled(f"{directory} gave {_length(answer)} as its keys: {error}") from None

    async def probe(self, relay: str, directory: str) -> Reached:
        """Try the whole way: fetch the keys, and have the directory answer through the relay.

        Raises as `fetch_keys` and `post`.
        """
        started = time.monotonic()
        keys = await self.fetch_keys(relay, directory)
        fetched = time.monotonic()
        url = urlsplit(directory)
        request, opener = encapsulate(keys, encode_request(Request("GET", url.scheme, url.netloc, NO_MAILBOX)))
        body = opener.open(await self.post(relay, directory, request))
        try:
            decode_response(body)
        except DecodeError as error:
            raise Garbled(f"{directory} answered with no HTTP response: {error}") from None
        return Reached(keys, fetched - started, time.monotonic() - fetched)

    async def close(self) -> None:
        """Cut the connections that are this session's alone."""
        await self._connections.close(self)

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own limits, told apart by phase
        data: bytes | None = None,
        proxy: str | None = None,
    ) -> tuple[DirectoryStatus, bytes | None]:
        """Make a request; return the status, as the error that it is unless the body is good, and the body.

        The body is None where it was longer than ANSWER_LIMIT. With `proxy` the request goes through a tunnel.
        """
        host = urlsplit(proxy or url).hostname or ""
        reused: list[bool] = []
        with _typed_errors(host if proxy is None else f"{urlsplit(url).hostname} through {host}", reused):
            async with self._connections.lease(self, host) as http:
                http.cookie_jar.clear()
                async with http.request(
                    method,
                    URL(url, encoded=True),
                    data=data,
                    headers=headers,
                    skip_auto_headers=SKIPPED_HEADERS,
                    proxy=None if proxy is None else URL(proxy, encoded=True),
                    proxy_headers=CONNECT_HEADERS,
                    allow_redirects=False,
                    trace_request_ctx=reused,
                    auto_decompress=False,
                    timeout=timeout,
                ) as response:
                    reused.clear()
                    wait = parse_retry_after(response.headers.get("Retry-After", ""), now=time.time())
                    return DirectoryStatus(response.status, inner=False, retry_after=wait), await _read(response)


def _checked(url: str) -> str:
    """Return the origin. An address that may not be used is a wrong setting, never the counterparty's fault."""
    try:
        return check_service_url(url)
    except DecodeError as error:
        raise NotSent(str(error)) from None


async def _tell_reuse(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.append(True)


_TELL_REUSE = aiohttp.TraceConfig()
_TELL_REUSE.on_connection_reuseconn.append(_tell_reuse)
_TELL_REUSE.freeze()


@contextmanager
def _typed_errors(where: str, reused: Sequence[bool]) -> Iterator[None]:
    """Turn what aiohttp, the proxy's client and the system raise into errors of ours, with the reason in words.

    `reused` has something in it while an answer is awaited on a connection that was kept.
    """
    try:
        yield
    except (aiohttp_socks.ProxyConnectionError, aiohttp_socks.ProxyTimeoutError, EOFError) as error:
        raise NotSent(f"the proxy does not work: {error}") from error
    except aiohttp_socks.ProxyError as error:
        raise NotSent(f"{where} cannot be reached by the proxy: {error}") from error
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise NotSent(f"{where} cannot be reached: {error}") from error
    except aiohttp.ClientHttpProxyError as error:
        raise Unreachable(f"{where} cannot be reached: the relay refused with status {error.status}") from error
    except aiohttp.ClientResponseError as error:
        raise Garbled(f"{where}: the answer is no HTTP") from error
    except TimeoutError as error:
        raise Unreachable(f"{where} did not answer in time") from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise (Dropped if reused else Unreachable)(f"{where} cannot be reached: {error}") from error
    except (aiohttp.ClientError, OSError, UnicodeError) as error:
        raise Unreachable(f"{where} cannot be reached: {error}") from error


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """Read the body; give up, and hang up, where it gets longer than ANSWER_LIMIT."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_LIMIT:
            response.close()
            return None
    return bytes(body)


def _is_wrong_key(body: bytes | None) -> bool:
    """Whether `body` is the problem document of RFC 9458. By its content alone: a relay drops the type of it."""
    if body is None or len(body) > PROBLEM_LIMIT:
        return False
    try:
        match json.loads(body):
            case {"type": str(problem)}:
                return problem.endswith(WRONG_KEY)
    except (ValueError, RecursionError):
        pass
    return False


def _length(body: bytes | None) -> str:
    return f"more than {ANSWER_LIMIT} bytes" if body is None else f"{len(body)} bytes"
