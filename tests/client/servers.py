"""A relay, a directory and a SOCKS proxy, as small as can be, on real sockets; and a certificate authority for them.

    TestAuthority   makes certificates; its own is the only one that the clients of a test trust
    HttpServer      a relay or a directory: writes down what it is asked, answers as it is told, opens tunnels
    SocksServer     SOCKS5 with user and password: resolves the names of a test, as Tor would, and nobody else does
"""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LOOPBACK = "127.0.0.1"


class TestAuthority:
    """A CA that lives as long as a test."""

    __test__ = False

    def __init__(self, folder: Path, name: str = "test CA") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        """What a client must trust."""
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, host: str) -> ssl.SSLContext:
        """What a server named `host` needs."""
        key = ec.generate_private_key(ec.SECP256R1())
        name: x509.GeneralName = x509.DNSName(host)
        with suppress(ValueError):
            name = x509.IPAddress(ip_address(host))
        certificate = (
            self._builder(x509.Name([]), key)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        file = self._folder / f"{host}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int
    """Counts the server's connections from 0."""
    left: Callable[[], Awaitable[bytes]] = field(repr=False)
    """Returns when the client hangs up."""


Answer = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Listens on a free port of loopback while it is entered, and hangs up when it is left."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number, self._connections = self._connections, self._connections + 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self.serve(reader, writer, number)
        finally:
            self._tasks.discard(task)
            await close(writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        raise NotImplementedError


class HttpServer(Server):
    """Speaks HTTP/1.1 and keeps connections. CONNECT leads to the ports of `tunnels`, by `host:port`."""

    def __init__(
        self, answer: Answer, *, tls: ssl.SSLContext | None = None, tunnels: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(tls)
        self.answer = answer
        self.seen: list[Seen] = []
        self._tunnels = tunnels or {}

    def url(self, host: str = LOOPBACK) -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            request_line, *lines = head.strip().split("\r\n")
            method, target, _ = request_line.split(" ")
            headers = dict(line.split(": ", 1) for line in lines)
            body = await reader.readexactly(int(headers.get("Content-Length", 0)))
            seen = Seen(method, target, headers, body, number, reader.read)
            self.seen.append(seen)
            if method == "CONNECT" and target in self._tunnels:
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await pipe(reader, writer, self._tunnels[target])
                return
            await self.answer(seen, writer)
            await writer.drain()
            if writer.is_closing():
                return


@dataclass(frozen=True)
class Asked:
    """What a SOCKS client asked for, and as whom."""

    user: str
    host: str
    port: int


class SocksServer(Server):
    """SOCKS5 (RFC 1928, 1929). Leads to the ports of `names`, by name; another name it does not know."""

    def __init__(self, names: Mapping[str, int]) -> None:
        super().__init__()
        self._names = names
        self.asked: list[Asked] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        user = ""
        if 2 in methods:
            writer.write(b"\x05\x02")
            _, length = await reader.readexactly(2)
            user = (await reader.readexactly(length)).decode()
            await reader.readexactly((await reader.readexactly(1))[0])
            writer.write(b"\x01\x00")
        else:
            writer.write(b"\x05\x00")
        _, _, _, kind = await reader.readexactly(4)
        assert kind == 3, "a client that looked the name up itself"
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(Asked(user, host, port))
        known = host in self._names
        writer.write(b"\x05" + (b"\x00" if known else b"\x04") + b"\x00\x01\x00\x00\x00\x00\x00\x00")
        if known:
            await pipe(reader, writer, self._names[host])


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Join a connection with a port of this machine until one side ends."""
    far_reader, far_writer = await asyncio.open_connection(LOOPBACK, port)

    async def one_way(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()

    ways = [asyncio.ensure_future(one_way(reader, far_writer)), asyncio.ensure_future(one_way(far_reader, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await close(far_writer)


async def close(writer: asyncio.StreamWriter) -> None:
    """Hang up, and return when that is done."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def reply(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """An HTTP response; `_` in a header's name stands for `-`."""
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n{''.join(lines)}\r\n".encode() + body


def says(*replies: bytes) -> Answer:
    """Answer with these in turn, and then with the last one for ever."""
    left = list(replies)

    async def answer(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return answer


async def silence(_: Seen, __: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def hang_up(_: Seen, writer: asyncio.StreamWriter) -> None:
    """Close without a word."""
    writer.close()
