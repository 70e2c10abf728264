"""What stands before an Electrum server: it hears what is asked, and lies where a test wants it to."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.stand.processes import free_port

LONGEST = 2**24
"""Bytes of a line of Electrum's protocol."""


class Front:
    """Hands on the lines of the protocol, over TLS if it has a context for it. Lives in a thread of its own."""

    def __init__(self, server_port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self.asked: list[tuple[str, list[Any]]] = []
        """Methods and arguments, in the order in which they came."""
        self.lies: dict[str, Any] = {}
        """What is answered in place of the truth."""
        self._server_port, self._tls = server_port, tls
        self._writers: list[asyncio.StreamWriter] = []
        self._serving: set[asyncio.Task[None]] = set()
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(started)), daemon=True)
        self._thread.start()
        started.wait()

    def asked_about(self, scripthash: str) -> set[str]:
        """Return the methods that were called for a script."""
        return {method for method, arguments in list(self.asked) if scripthash in arguments}

    @contextmanager
    def lying(self, **lies: Any) -> Iterator[None]:
        """Answer so for as long as the block lasts; the methods are called by the last part of their names."""
        self.lies = lies
        try:
            yield
        finally:
            self.lies = {}

    @contextmanager
    def late(self) -> Iterator[None]:
        """Hold back what the server says while the block lasts, as a bad line does; what it is told comes through."""
        self._loop.call_soon_threadsafe(self._may_speak.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._may_speak.set)

    def stop(self) -> None:
        """Hang up on everybody, once."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join()

    async def _live(self, started: threading.Event) -> None:
        self._loop, self._over, self._may_speak = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        self._may_speak.set()
        async with await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls, limit=LONGEST):
            started.set()
            await self._over.wait()
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port, limit=LONGEST)
        self._writers += writer, to_server
        lied_to: dict[Any, Any] = {}

        def heard(call: dict[str, Any]) -> dict[str, Any]:
            self.asked.append((call["method"], call.get("params", [])))
            name = call["method"].rpartition(".")[2]
            if name in self.lies:
                lied_to[call["id"]] = self.lies[name]
            return call

        def told(answer: dict[str, Any]) -> dict[str, Any]:
            if answer.get("id") in lied_to:
                return {"jsonrpc": "2.0", "id": answer["id"], "result": lied_to.pop(answer["id"])}
            return answer

        always = asyncio.Event()
        always.set()
        await asyncio.gather(
            _hand_on(reader, to_server, heard, always), _hand_on(from_server, writer, told, self._may_speak)
        )


async def _hand_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    look: Callable[[dict[str, Any]], dict[str, Any]],
    may_go: asyncio.Event,
) -> None:
    """Hand on line by line until one side hangs up; then hang up on the other. A batch is a list."""
    try:
        while line := await reader.readline():
            said = json.loads(line)
            said = [look(one) for one in said] if isinstance(said, list) else look(said)
            await may_go.wait()
            writer.write(json.dumps(said).encode() + b"\n")
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
