"""Electrum with the zip behind a SOCKS proxy: a whole payjoin goes through it, and none where it is dead.

What the daemon's process connects to is heard at the socket (overheard.py). Beside the proxy that is its Electrum
server, which Electrum itself does not ask through a proxy where it is on this machine.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.client.servers import SocksServer
from tests.interop.conftest import settings_for
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT, assert_paid_by_payjoin, new_sender
from tests.stand.processes import free_port
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

OVERHEARD = Path(__file__).with_name("overheard.py")
LOOK_UP = "127.0.0.1:"
"""Of what is no name."""


@contextmanager
def proxy() -> Iterator[SocksServer]:
    """A SOCKS proxy that leads anywhere on this machine, on a thread of its own."""
    loop, server = asyncio.new_event_loop(), SocksServer({"127.0.0.1": 0})
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def do(step: object) -> None:
        asyncio.run_coroutine_threadsafe(step, loop).result(10)  # type: ignore[arg-type]

    do(server.__aenter__())
    try:
        yield server
    finally:
        do(server.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def test_nothing_of_a_payjoin_goes_around_the_proxy_and_nothing_at_all_where_it_is_dead(
    stand: Stand, plugin_zip: Path
) -> None:
    heard = stand.folder / "overheard"
    allowed = {stand.server.address.removesuffix(":t"), LOOK_UP}
    with proxy() as socks:
        allowed.add(f"127.0.0.1:{socks.port}")
        settings = {**settings_for(stand), "proxy": f"socks5:127.0.0.1:{socks.port}::", "enable_proxy": True}
        daemon = stand.electrum("behind", plugin=plugin_zip, settings=settings, front=(OVERHEARD, heard))
        receiver = Receiver(daemon, "wallet")
        stand.fund(daemon, 1_000_000, 1_000_001)
        sender, request = new_sender(stand), receiver.payjoin_request(AMOUNT)
        assert_paid_by_payjoin(stand, receiver, request, sender, sender.send(request["URI"]))
        assert f"127.0.0.1:{socks.port}" in heard.read_text()
        assert any(stand.mailroom.relay_url.endswith(f":{asked.port}") for asked in socks.asked)
        left = receiver.payjoin_request(AMOUNT)
        assert set(heard.read_text().split()) <= allowed

    heard.write_text("")
    session_id = left["payjoin"]["session_id"]
    receiver.until_session(session_id, lambda row: "proxy" in str(row["reason"]), "it says that the proxy is dead")
    daemon.setconfig("plugins.payjoin.directories", [f"http://127.0.0.1:{free_port()}"])  # whose keys nobody has
    request = receiver.request(AMOUNT)
    assert "pj=" not in request["URI"]
    receiver.until_request(
        request["request_id"], lambda found: "proxy" in found["payjoin"]["unavailable"], "it says so, too"
    )
    assert set(heard.read_text().split()) <= allowed
