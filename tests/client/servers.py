"""A relay, a directory and a SOCKS proxy, as small as can be, on real sockets; and a certificate authority for them.

    TestAuthority   makes certificates; its own is the only one that the clients of a test trust
    HttpServer      a relay or a directory: writes down what it is asked, answers as it is told, opens tunnels
    Terminator      puts TLS in front of a server that has none
    SocksServer     SOCKS, with users and passwords: resolves the names of a test, as Tor would, and nobody else does

They share nothing with the package, so that they are no wiser than it is.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
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
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
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
    """Listens on loopback while it is entered, and hangs up when it is left."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        """`port` is for a server that somebody looks for at a port of its own."""
        self._tls = tls
        self._tasks: list[asyncio.Future[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.port = port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()  # TLS would wait for a client that is gone to say goodbye
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.ensure_future(self._serve(reader, writer, len(self._tasks))))
        self._writers.append(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self.serve(reader, writer, number)
        finally:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        raise NotImplementedError

    async def pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        """Join a connection with a port of this machine until one side ends."""
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, port)
        self._writers.append(far_writer)

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
            far_writer.close()


class HttpServer(Server):
    """Speaks HTTP/1.1 and keeps connections. CONNECT leads to the ports of `tunnels`, by `host:port`."""

    def __init__(
        self, answer: Answer, *, tls: ssl.SSLContext | None = None, tunnels: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(tls=tls)
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
                await self.pipe(reader, writer, self._tunnels[target])
                return
            await self.answer(seen, writer)
            await writer.drain()
            if writer.is_closing():
                return


class Terminator(Server):
    """Takes TLS off, in front of a server of plain http at `behind`."""

    def __init__(self, behind: int, *, tls: ssl.SSLContext, port: int = 0) -> None:
        super().__init__(tls=tls, port=port)
        self._behind = behind

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await self.pipe(reader, writer, self._behind)


@dataclass(frozen=True)
class Asked:
    """What a SOCKS client asked for, and as whom."""

    user: str
    host: str
    port: int


class SocksServer(Server):
    """SOCKS5 (RFC 1928, 1929) and SOCKS4a. Leads to the ports of `names`, by name; nothing else does it know.

    Port 0: the one that was asked for.
    """

    def __init__(self, names: Mapping[str, int]) -> None:
        super().__init__()
        self._names = names
        self.asked: list[Asked] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        [version] = await reader.readexactly(1)
        asked = await (self._greet_4 if version == 4 else self._greet_5)(reader, writer)
        self.asked.append(asked)
        known = asked.host in self._names
        if version == 4:
            writer.write(bytes([0, 0x5A if known else 0x5B]) + bytes(6))
        else:
            writer.write(bytes([5, 0 if known else 4, 0, 1]) + bytes(6))
        if known:
            await self.pipe(reader, writer, self._names[asked.host] or asked.port)

    async def _greet_5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Asked:
        methods = await _counted(reader)
        user = b""
        if 2 in methods:
            writer.write(b"\x05\x02")
            await reader.readexactly(1)
            user = await _counted(reader)
            await _counted(reader)
            writer.write(b"\x01\x00")
        else:
            writer.write(b"\x05\x00")
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await _counted(reader)).decode()
        else:
            host = str(ip_address(await reader.readexactly({1: 4, 4: 16}[kind])))
        return Asked(user.decode(), host, int.from_bytes(await reader.readexactly(2), "big"))

    async def _greet_4(self, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> Asked:
        port = int.from_bytes((await reader.readexactly(3))[1:], "big")
        address = await reader.readexactly(4)
        user = (await reader.readuntil(b"\0"))[:-1].decode()
        if address[:3] == bytes(3):
            return Asked(user, (await reader.readuntil(b"\0"))[:-1].decode(), port)
        return Asked(user, str(ip_address(address)), port)


async def _counted(reader: asyncio.StreamReader) -> bytes:
    [length] = await reader.readexactly(1)
    return await reader.readexactly(length)


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
