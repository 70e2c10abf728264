"""The field's transport, https, with the real payjoin-mailroom: keys by CONNECT, TLS in TLS; calls to a TLS relay.

    us ──► [SOCKS ──►] TLS ── relay ── CONNECT ──► TLS ── directory       keys:  both ends have TLS
    us ──► [SOCKS ──►] TLS ── relay ── plain http ─────── directory       calls: the relay trusts only public CAs

The relay opens a tunnel to `payjo.in` without asking it first, so the directory is payjo.in here. That takes a mount
namespace with a hosts file of its own, and a network namespace, in which port 443 is free and which nothing leaves.
This file is also the program that runs inside: it prints what it found, and the tests look at that.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import electrum.util
import pytest

from payjoin_plugin.client.transport import Connections, HttpTransport, Route
from payjoin_plugin.errors import TransientError
from payjoin_plugin.wire.keys import SecretKey
from payjoin_plugin.wire.mailbox import ShortId, get, post, read_poll, read_post
from payjoin_plugin.wire.ohttp import KeyConfig
from tests.client.outlets import electrum_sessions, socks
from tests.client.servers import SocksServer, Terminator, TestAuthority
from tests.stand.mailroom import NAME, RealMailroom
from tests.stand.parts import peers

ROOT = Path(__file__).parent.parent.parent
DIRECTORY = "payjo.in"
RELAY = "relay.test"
HOSTS = Path("/etc/hosts")
IFF_UP = 1
SIOCSIFFLAGS = 0x8914


@dataclass
class Way:
    """What came of everything, one way: with or without a proxy."""

    keys: str = ""
    """In hex, from https://payjo.in through the relay."""
    message: str = ""
    """In hex, what was polled out of the mailbox that something was posted into."""
    wrong_keys: str = ""
    asked_of_proxy: list[str] = field(default_factory=list)


@dataclass
class Found:
    keys: str
    """In hex, as the directory gives them on its own plain port."""
    message: str
    probed: str
    """In hex, the keys that a probe came back with."""
    without_proxy: Way
    with_proxy: Way


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    if peers.find(NAME) is None:
        pytest.skip(f"{NAME} is missing. {peers.REMEDY}")
    inside = subprocess.run(
        [*namespace(), sys.executable, __file__, str(tmp_path_factory.mktemp("https"))],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert inside.returncode == 0, inside.stderr
    told = json.loads(inside.stdout)
    ways = (Way(**told.pop("without_proxy")), Way(**told.pop("with_proxy")))
    return Found(**told, without_proxy=ways[0], with_proxy=ways[1])


def namespace() -> list[str]:
    """The command in front of a command that is to have mounts and a network of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is missing. Install it as root: apt-get install util-linux")
    command, as_somebody = ["unshare", "--mount", "--net"], ["--user", "--map-root-user"]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return command
    if subprocess.run([*command, *as_somebody, "true"], capture_output=True, check=False).returncode == 0:
        return [*command, *as_somebody]
    pytest.skip(f"namespaces are missing ({tried.stderr.strip()}). Run as root, where the system allows them")


pytestmark = pytest.mark.timeout(120)


def test_keys_come_through_a_tls_relay_from_a_tls_directory(found: Found) -> None:
    assert found.without_proxy.keys == found.keys


def test_keys_come_through_a_proxy_a_tls_relay_and_from_a_tls_directory(found: Found) -> None:
    assert found.with_proxy.keys == found.keys


def test_what_is_posted_through_a_tls_relay_is_polled_through_it(found: Found) -> None:
    assert found.without_proxy.message == found.message


def test_what_is_posted_through_a_proxy_and_a_tls_relay_is_polled_through_them(found: Found) -> None:
    assert found.with_proxy.message == found.message


def test_the_proxy_hears_the_relays_name_and_no_other(found: Found) -> None:
    assert set(found.with_proxy.asked_of_proxy) == {RELAY}
    assert found.without_proxy.asked_of_proxy == []


def test_a_probe_finds_that_relay_and_directory_work(found: Found) -> None:
    assert found.probed == found.keys


def test_the_real_directorys_word_for_wrong_keys_is_understood_through_the_real_relay(found: Found) -> None:
    assert found.without_proxy.wrong_keys == found.with_proxy.wrong_keys == "KeysRejected"


# What runs inside the namespaces


def main(folder: Path) -> None:
    hosts = folder / "hosts"
    hosts.write_text(f"{HOSTS.read_text()}\n127.0.0.1 {DIRECTORY} {RELAY}\n")
    subprocess.run(["mount", "--bind", hosts, HOSTS], check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
    mailroom = RealMailroom(folder)
    try:
        result = asyncio.run(try_both_ways(mailroom, TestAuthority(folder)))
    finally:
        mailroom.stop()
    print(json.dumps(asdict(result)))


async def try_both_ways(mailroom: RealMailroom, authority: TestAuthority) -> Found:
    electrum.util.ca_path = str(authority.file)  # the one thing that is not as in the field
    message = os.urandom(7168)
    directory_port, relay_port = (int(url.rpartition(":")[2]) for url in (mailroom.directory_url, mailroom.relay_url))
    async with (
        Terminator(directory_port, tls=authority.server(DIRECTORY), port=443),
        Terminator(relay_port, tls=authority.server(RELAY)) as relay,
        SocksServer({RELAY: relay.port}) as proxy,
    ):
        relay_url = f"https://{RELAY}:{relay.port}"
        direct = await try_one_way(Connections(electrum_sessions()), relay_url, mailroom.directory_url, message)
        connections = Connections(electrum_sessions())
        probed = await HttpTransport(connections).probe(relay_url, mailroom.directory_url)
        await connections.close()
        behind = Connections(electrum_sessions(socks(proxy.port)), lambda: Route(proxied=True))
        proxied = await try_one_way(behind, relay_url, mailroom.directory_url, message)
        proxied.asked_of_proxy = [asked.host for asked in proxy.asked]
    return Found(mailroom.keys().hex(), message.hex(), probed.keys.to_bytes().hex(), direct, proxied)


async def try_one_way(connections: Connections, relay: str, plain_directory: str, message: bytes) -> Way:
    way = Way()
    out = HttpTransport(connections)
    keys = await out.fetch_keys(relay, f"https://{DIRECTORY}")
    way.keys = keys.to_bytes().hex()

    mailbox = ShortId.of(SecretKey.generate().public_key)
    call = post(plain_directory, mailbox, keys, message)
    read_post(call, await out.post(relay, plain_directory, call.body))
    call = get(plain_directory, mailbox, keys)
    way.message = (read_poll(call, await out.post(relay, plain_directory, call.body)) or b"").hex()

    wrong = post(plain_directory, mailbox, KeyConfig(keys.key_id, SecretKey.generate().public_key), message)
    try:
        await out.post(relay, plain_directory, wrong.body)
    except TransientError as error:
        way.wrong_keys = type(error).__name__
    await connections.close()
    return way


if __name__ == "__main__":
    main(Path(sys.argv[1]))
