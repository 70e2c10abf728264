"""The plugin between Electrum's threads: what waits for whom, and what it leaves when it goes."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from electrum import network as electrum_network
from electrum import util
from electrum.commands import Commands
from electrum.daemon import Daemon
from electrum.storage import StorageOnDiskUnexpectedlyChanged
from electrum.util import UserFacingException

from payjoin_plugin.app.plugin import PayjoinPlugin
from payjoin_plugin.cmdline import Plugin
from payjoin_plugin.wallet.kept import ORIGINALS_KEY
from tests.app.test_settling import hold
from tests.merchant import on_electrums_loop, shop
from tests.wallet.wallets import fund, make_wallet, run

LONG = 5
"""Real seconds in which a lock that anybody gives back is given back."""


def plugin_in(config: Any, kind: type[PayjoinPlugin] = PayjoinPlugin) -> PayjoinPlugin:
    """A plugin that is on."""
    config.enable_plugin("payjoin")
    parent = SimpleNamespace(close_plugin=lambda _plugin: None, is_authorized=lambda _name: True)
    plugin = kind(parent, config, "payjoin")
    plugin.is_enabled = lambda: True
    return plugin


def test_a_wallet_that_is_loaded_while_the_loop_lists_the_wallets_stops_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(electrum_network, "_INSTANCE", None)
    wallet = make_wallet(tmp_path, on_disk=True)
    daemon = Daemon(wallet.config, listen_jsonrpc=False)
    plugin = plugin_in(wallet.config, Plugin)
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
    run(plugin.started(loaded))
    sessions = plugin.sessions_of(loaded)
    assert sessions is not None
    daemon.stop_wallet(loaded.storage.get_path())
    assert plugin.sessions_of(loaded) is None
    plugin.close()
    run(daemon.stop())


def test_a_request_made_before_the_daemon_has_loaded_its_plugins_waits_for_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(electrum_network, "_INSTANCE", None)
    wallet = make_wallet(tmp_path, on_disk=True)
    fund(wallet, 300_000)
    wallet.save_db()
    wallet.config.PAYJOIN_OFFER_IN_COMMANDS = True
    daemon = Daemon(wallet.config, listen_jsonrpc=False)
    loaded = daemon.load_wallet(wallet.storage.get_path(), None)
    monkeypatch.setattr(electrum_network, "_INSTANCE", SimpleNamespace(daemon=daemon))
    adding = Commands(config=wallet.config, daemon=daemon).add_request("0.001", wallet_path=wallet.storage.get_path())
    added = asyncio.run_coroutine_threadsafe(adding, util.get_asyncio_loop())
    for _ in range(10):
        run(asyncio.sleep(0))
    assert not added.done()
    plugin = plugin_in(wallet.config, Plugin)
    daemon._plugins = plugin.parent
    request_id = added.result(LONG)["request_id"]
    sessions = plugin.sessions_of(loaded)
    assert sessions is not None
    assert list(sessions.store.waiting_requests()) == [request_id]  # for the directory's keys
    daemon._plugins = None
    daemon.stop_wallet(loaded.storage.get_path())
    plugin.close()
    run(daemon.stop())


@on_electrums_loop
async def test_what_runs_though_the_setting_says_off_can_be_seen_and_stopped_and_nothing_begins(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _ = merchant.offer()
        plugin = plugin_in(merchant.wallet.config)
        plugin._wallets[merchant.wallet] = merchant.sessions
        merchant.wallet.config.disable_plugin("payjoin")
        (row,) = await plugin.commands.sessions(merchant.wallet, every=False)
        assert row["session_id"] == session_id
        assert (await plugin.commands.abort(merchant.wallet, session_id, broadcast=False))["status"] == "aborted"
        other = plugin_in(merchant.wallet.config)
        merchant.wallet.config.disable_plugin("payjoin")
        with pytest.raises(UserFacingException, match="disabled"):
            await other.commands.sessions(merchant.wallet, every=False)


@on_electrums_loop
async def test_a_wallet_that_cannot_be_saved_keeps_no_other_from_getting_its_payments(tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    async with shop(folders[0]) as first, shop(folders[1]) as second:
        (_, _, paying), (_, sender, paying_too) = await hold(first), await hold(second)
        plugin = plugin_in(first.wallet.config)
        plugin._wallets = {merchant.wallet: merchant.sessions for merchant in (first, second)}

        def refuse() -> None:  # two Electrums with one file
            raise StorageOnDiskUnexpectedlyChanged("expected size 1, found 2")

        first.wallet.save_db = refuse
        await plugin._close()
        del first.wallet.save_db
        (kept,) = second.on_disk()[ORIGINALS_KEY].values()
        assert kept["handed_over"]
        assert second.wallet.db.get_transaction(sender.made.transaction().txid()) is not None
        assert not any(
            merchant.sessions.live.is_at_work(id_) for merchant in (first, second) for id_ in merchant._all()
        )
        for one in (paying, paying_too):
            one.cancel()


@on_electrums_loop
async def test_a_wallet_whose_stop_is_cut_short_is_forgotten_all_the_same(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        told: list[bool] = []
        merchant.sessions._closed = lambda: told.append(True)
        merchant.sessions.double_spends.close = asyncio.Event().wait  # type: ignore[method-assign,assignment]
        stopping = asyncio.ensure_future(merchant.sessions.stop())
        await asyncio.sleep(0)
        assert told == []
        stopping.cancel()
        await asyncio.wait([stopping])
        assert told == [True]
        del merchant.sessions.double_spends.close
