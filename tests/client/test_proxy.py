"""With a proxy set, no byte goes around it; with the proxy dead, nothing leaves. Proven at the socket.

    witness ──► SOCKS5 ──► relay (TLS) ──► directory (TLS)     keys, by CONNECT: TLS in TLS in SOCKS
                      └──► relay (TLS)                          polls and posts

The client is a process of its own (witness.py), with Electrum's own HTTP sessions and proxy settings, by the plugin's
own hand (services.py). The names of the relays and the directory exist in the SOCKS server alone: who looks them up
elsewhere is found out twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from payjoin_plugin.wire.keys import SecretKey
from payjoin_plugin.wire.ohttp import KeyConfig
from tests.client.servers import HttpServer, Server, SocksServer, TestAuthority, reply, says
from tests.client.witness import Order, Testimony

ROOT = Path(__file__).parent.parent.parent
KEYS = KeyConfig(7, SecretKey.generate().public_key)
CALL = bytes(range(256)) * 32
FIRST, SECOND, DIRECTORY = "relay-one.test", "relay-two.test", "directory.test"
NOT_OURS = "http://127.0.0.1:9"
"""A proxy in the environment: Electrum has a setting of its own, which alone counts."""
ALL_WELL = [f"keys {KEYS.to_bytes().hex()}", "answer 8192", "answer 8192", "answer 8192"]


@dataclass(frozen=True)
class Field:
    """Two relays and a directory, all with TLS, and a proxy that knows the way to the relays."""

    first: HttpServer
    second: HttpServer
    directory: HttpServer
    proxy: SocksServer
    order: Order

    @property
    def proxy_address(self) -> str:
        return f"127.0.0.1:{self.proxy.port}"


@asynccontextmanager
async def field(folder: Path) -> AsyncIterator[Field]:
    authority = TestAuthority(folder)
    answers = says(reply(body=bytes(8192)))
    async with (
        HttpServer(says(reply(body=KEYS.to_bytes())), tls=authority.server(DIRECTORY)) as directory,
        HttpServer(answers, tls=authority.server(FIRST), tunnels={f"{DIRECTORY}:443": directory.port}) as first,
        HttpServer(answers, tls=authority.server(SECOND)) as second,
        SocksServer({FIRST: first.port, SECOND: second.port}) as proxy,
    ):
        yield Field(
            first,
            second,
            directory,
            proxy,
            Order(
                ca_file=str(authority.file),
                relays=[f"https://{FIRST}", f"https://{SECOND}:8443"],
                directory=f"https://{DIRECTORY}",
                call=CALL.hex(),
                socks_port=proxy.port,
            ),
        )


async def sworn(order: Order) -> Testimony:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.client.witness", order.to_json()),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HTTPS_PROXY": NOT_OURS, "ALL_PROXY": NOT_OURS},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert errors == b""
    return Testimony(**json.loads(output))


@pytest.mark.parametrize("mode", ["socks5", "socks4"])
async def test_with_a_proxy_every_connection_is_to_it_and_no_name_is_looked_up(tmp_path: Path, mode: str) -> None:
    async with field(tmp_path) as there:
        said = await sworn(replace(there.order, socks_mode=mode))
    assert said.steps == ALL_WELL
    assert set(said.connections) == {there.proxy_address}
    assert said.look_ups == []
    # And all of it was heard at the other end.
    assert {(asked.host, asked.port) for asked in there.proxy.asked} == {(FIRST, 443), (SECOND, 8443)}
    assert [seen.method for seen in there.first.seen] == ["CONNECT", "POST", "POST"]
    assert [seen.body for seen in (*there.first.seen[1:], *there.second.seen)] == [CALL, CALL, CALL]
    assert [seen.target for seen in there.directory.seen] == ["/.well-known/ohttp-gateway"]


async def test_without_a_proxy_the_witness_sees_the_relays_and_the_look_ups(tmp_path: Path) -> None:
    """The proof of the proof: what the test above does not find, it would find."""
    async with field(tmp_path) as there:
        relay = there.first.url("localhost")
        said = await sworn(replace(there.order, relays=[relay], socks_port=None))
    assert f"127.0.0.1:{there.first.port}" in said.connections
    assert "localhost" in said.look_ups
    assert there.proxy.asked == []


async def test_with_a_dead_proxy_nothing_leaves_and_the_request_says_why(tmp_path: Path) -> None:
    async with field(tmp_path) as there:
        async with Server() as dead:
            pass
        said = await sworn(replace(there.order, socks_port=dead.port))
    assert len(said.steps) == 4
    for step in said.steps:
        assert step.startswith("NotSent: the proxy does not work: ")
        assert f"Couldn't connect to proxy 127.0.0.1:{dead.port}" in step
    assert set(said.connections) == {f"127.0.0.1:{dead.port}"}
    assert said.look_ups == []
    assert there.first.seen == there.second.seen == there.directory.seen == []


class NoProxy(Server):
    """Says something that is not SOCKS, and hangs up."""

    def __init__(self, word: bytes) -> None:
        super().__init__()
        self._word = word

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(self._word)
        writer.write_eof()
        await reader.read()


@pytest.mark.parametrize("word", [b"", b"\x05", b"\x05\x00\x05\x00", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_a_proxy_that_hangs_up_or_talks_nonsense_is_not_gone_around(tmp_path: Path, word: bytes) -> None:
    async with field(tmp_path) as there, NoProxy(word) as broken:
        said = await sworn(replace(there.order, socks_port=broken.port))
    assert [step.split(":")[0] for step in said.steps] == ["NotSent"] * 4
    assert all("proxy" in step for step in said.steps)
    assert set(said.connections) == {f"127.0.0.1:{broken.port}"}
    assert said.look_ups == []


async def test_a_relay_that_the_proxy_cannot_reach_is_not_gone_around_to(tmp_path: Path) -> None:
    async with field(tmp_path) as there:
        said = await sworn(replace(there.order, relays=["https://unknown.test"]))
    assert said.steps == [
        "NotSent: directory.test through unknown.test cannot be reached by the proxy: Host unreachable",
        *["NotSent: unknown.test cannot be reached by the proxy: Host unreachable"] * 3,
    ]
    assert set(said.connections) == {there.proxy_address}
    assert said.look_ups == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_a_directory_of_this_machine_is_reached_by_the_proxy_too(tmp_path: Path, host: str) -> None:
    async with field(tmp_path) as there:
        order = replace(there.order, relays=[f"http://{host}:80"], directory=f"http://{host}:81")
        said = await sworn(order)
    assert [step.split(":")[0] for step in said.steps] == ["NotSent"] * 4
    assert set(said.connections) == {there.proxy_address}
    assert said.look_ups == []


async def test_behind_tor_each_transport_and_each_relay_has_a_circuit_of_its_own(tmp_path: Path) -> None:
    async with field(tmp_path) as there:
        said = await sworn(replace(there.order, tor=True, transports=2))
    assert said.steps == ALL_WELL * 2
    users = {(asked.user, asked.host) for asked in there.proxy.asked}
    assert len(users) == len({user for user, _ in users}) == 4
    assert "" not in {user for user, _ in users}


async def test_the_users_own_name_at_the_proxy_is_kept(tmp_path: Path) -> None:
    async with field(tmp_path) as there:
        said = await sworn(replace(there.order, tor=True, socks_user="me"))
    assert said.steps == ALL_WELL
    assert {asked.user for asked in there.proxy.asked} == {"me"}


async def test_electrum_offline_says_nothing_to_anybody(tmp_path: Path) -> None:
    async with field(tmp_path) as there:
        said = await sworn(replace(there.order, offline=True))
    assert said.steps == ["NotSent: Electrum is offline"] * 4
    assert said.connections == said.look_ups == []
