"""A process that does what it is told with the transport, and swears to each connection and look-up that it made.

    python -m tests.client.witness ORDER       prints a JSON object: what came of each step, what was connected to,
                                               which names were looked up

It is a process of its own so that nothing but the client under test is in it: the servers are elsewhere. It sees what it
swears to by CPython's audit events, which are raised in front of the system calls themselves, whoever makes them.
"""

from __future__ import annotations

import asyncio
import copy
import json
import secrets
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
import electrum.util
from electrum.network import ProxySettings

from payjoin_plugin.client.transport import Connections, HttpTransport, Route
from payjoin_plugin.errors import TransientError
from tests.client.outlets import electrum_sessions, socks

CONNECTIONS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
LOOK_UPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}


@dataclass(frozen=True)
class Order:
    """What the witness is to do."""

    ca_file: str
    relays: list[str]
    directory: str
    call: str
    """The body of each call, in hex."""
    socks_port: int | None = None
    socks_user: str | None = None
    socks_mode: str = "socks5"
    isolated: bool = False
    transports: int = 1

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Testimony:
    """What the witness says afterwards."""

    __test__ = False

    steps: list[str]
    """In order: `keys HEX`, `answer LENGTH`, or the error that came instead."""
    connections: list[str]
    """`host:port` of each."""
    look_ups: list[str]


class Watch:
    """Writes down where this process turns to. An audit hook stays for good: there is one."""

    def __init__(self) -> None:
        self.connections: list[str] = []
        self.look_ups: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in CONNECTIONS:
            self.connections.append(":".join(map(str, arguments[1][:2])))
        elif event in LOOK_UPS:
            self.look_ups.append(str(arguments[0]))


async def carry_out(order: Order) -> list[str]:
    """For each transport: fetch the keys through the first relay, poll twice through it, post through the last."""
    proxy = None if order.socks_port is None else socks(order.socks_port, user=order.socks_user, mode=order.socks_mode)
    route = Route(setting=str(proxy), proxied=proxy is not None, isolated=order.isolated)

    def new_session(timeout: aiohttp.ClientTimeout) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
        return electrum_sessions(somebody_new(proxy) if order.isolated else proxy)(timeout)

    connections = Connections(new_session, lambda: route)
    body = bytes.fromhex(order.call)
    steps = []
    for _ in range(order.transports):
        out = HttpTransport(connections)
        try:
            steps.append(f"keys {(await out.fetch_keys(order.relays[0], order.directory)).to_bytes().hex()}")
        except TransientError as error:
            steps.append(f"{type(error).__name__}: {error}")
        for relay in (order.relays[0], order.relays[0], order.relays[-1]):
            try:
                steps.append(f"answer {len(await out.post(relay, order.directory, body))}")
            except TransientError as error:
                steps.append(f"{type(error).__name__}: {error}")
    await connections.close()
    return steps


def somebody_new(proxy: ProxySettings | None) -> ProxySettings:
    """The setting with credentials that nobody has used: Tor gives them a circuit of their own."""
    new: ProxySettings = copy.copy(proxy)
    new.user = new.password = secrets.token_hex(8)
    return new


def main() -> None:
    order = Order(**json.loads(sys.argv[1]))
    electrum.util.ca_path = order.ca_file  # the one thing that is not as in the field
    watch = Watch()
    steps = asyncio.run(carry_out(order))
    print(json.dumps(asdict(Testimony(steps, watch.connections, watch.look_ups))))


if __name__ == "__main__":
    main()
