"""The plugin between Electrum's threads: what waits for whom, and what it leaves when it goes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from electrum import util
from electrum.daemon import Daemon

from payjoin_plugin.cmdline import Plugin
from tests.wallet.wallets import electrum_running, make_wallet, run

LONG = 5
"""Real seconds in which a lock that anybody gives back is given back."""


@pytest.fixture(autouse=True, scope="module")
def electrum_loop() -> Iterator[None]:
    with electrum_running():
        yield


def plugin_in(config: Any) -> Plugin:
    """A plugin that is on."""
    config.enable_plugin("payjoin")
    parent = SimpleNamespace(close_plugin=lambda _plugin: None, is_authorized=lambda _name: True)
    plugin = Plugin(parent, config, "payjoin")
    plugin.is_enabled = lambda: True
    return plugin


def test_a_wallet_that_is_loaded_while_the_loop_lists_the_wallets_stops_neither(tmp_path: Path) -> None:
    wallet = make_wallet(tmp_path, on_disk=True)
    daemon = Daemon(wallet.config, listen_jsonrpc=False)
    plugin = plugin_in(wallet.config)
    listing, answered = threading.Event(), threading.Event()
    got: list[bool] = []

    def list_wallets() -> None:  # the command's get_wallets(), which would wait for ever
        listing.set()
        got.append(daemon._wallet_lock.acquire(timeout=LONG))
        if got[0]:
            daemon._wallet_lock.release()
        answered.set()

    with daemon._wallet_lock:
        util.get_asyncio_loop().call_soon_threadsafe(list_wallets)
        listing.wait()
        loaded = daemon.load_wallet(wallet.storage.get_path(), None)
    assert answered.wait(2 * LONG)
    assert got == [True]
    plugin.start_wallet_now(loaded)
    sessions = plugin.sessions_of(loaded)
    assert sessions is not None
    daemon.stop_wallet(loaded.storage.get_path())
    assert plugin.sessions_of(loaded) is None
    plugin.close()
    run(daemon.stop())
