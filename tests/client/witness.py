"""A process that does what it is told with the transport, and swears to each connection and look-up that it made.

    python -m tests.client.witness ORDER       prints a JSON object: what came of each step, what was connected to,
                                               which names were looked up

It is a process of its own so that nothing but the client under test is in it: the servers are elsewhere. What it swears
to it sees by CPython's audit events, which are raised in front of the system calls themselves, whoever makes them. HTTP
sessions and proxy setting are made as the plugin makes them; only the CA is the test's, and Electrum's network a stub.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

import electrum.network
import electrum.util
from electrum.network import ProxySettings

from payjoin_plugin.app.services import _new_http_session, _route
from payjoin_plugin.client.transport import Connections, HttpTransport
from payjoin_plugin.errors import TransientError
from tests.client.outlets import socks

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
    tor: bool = False
    """Whether Electrum has found out that the proxy is Tor."""
    offline: bool = False
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
    connections = Connections(_new_http_session, _route)
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


@dataclass(frozen=True)
class Network:
    """Of Electrum's network what the plugin asks for its proxy; the whole would connect to Electrum servers."""

    proxy: ProxySettings
    is_proxy_tor: bool


def main() -> None:
    order = Order(**json.loads(sys.argv[1]))
    electrum.util.ca_path = order.ca_file
    if not order.offline:
        proxy = ProxySettings()
        if order.socks_port is not None:
            proxy = socks(order.socks_port, user=order.socks_user, mode=order.socks_mode)
        electrum.network._INSTANCE = Network(proxy, order.tor)
    watch = Watch()
    steps = asyncio.run(carry_out(order))
    print(json.dumps(asdict(Testimony(steps, watch.connections, watch.look_ups))))


if __name__ == "__main__":
    main()
