"""What storage.py and barrier.py rely on in Electrum's wallet file, one test each, named by the assumption."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from electrum.storage import WalletStorage
from electrum.wallet import Abstract_Wallet, Wallet
from electrum.wallet_db import WalletDB

from tests.wallet.wallets import PASSWORD, make_wallet, plugin_storage, reopen, run


@pytest.fixture
def wallet(tmp_path: Path) -> Abstract_Wallet:
    return make_wallet(tmp_path, on_disk=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.__setitem__("new", 1),
        lambda s: s.__setitem__("dict", {"other": 1}),
        lambda s: s["dict"].__setitem__("deep", {"deeper": 1}),
        lambda s: s["dict"].pop("x"),
        lambda s: s.__delitem__("dict"),
        lambda s: s.setdefault("new", {}),
        lambda s: s["list"].append({"at": 1}),
        lambda s: s["list"].remove(1),
        lambda s: s["dict"]["inner"].append(5),
    ],
    ids=["set", "replace", "set deep", "pop", "del", "setdefault", "append", "remove", "append deep"],
)
def test_a_change_by_these_operations_is_tracked_and_written(
    wallet: Abstract_Wallet, change: Callable[[Any], object]
) -> None:
    storage = plugin_storage(wallet)
    storage["dict"], storage["list"] = {"x": 1, "inner": [4]}, [1, 2]
    wallet.save_db()
    assert not wallet.db.modified()
    change(storage)
    assert wallet.db.modified()
    wallet.save_db()
    assert json.loads(json.dumps(plugin_storage(reopen(wallet)))) == json.loads(json.dumps(storage))


def test_setting_an_equal_value_is_no_change(wallet: Abstract_Wallet) -> None:
    plugin_storage(wallet)["keys"] = {"a": [1, {"b": None}]}
    wallet.save_db()
    plugin_storage(wallet)["keys"] = {"a": [1, {"b": None}]}
    assert not wallet.db.modified()


@pytest.mark.parametrize("partial_writes", [False, True])
def test_each_save_begins_a_new_list_of_pending_changes(tmp_path: Path, partial_writes: object) -> None:
    wallet = reopen(make_wallet(tmp_path, on_disk=True, wallet_partial_writes=partial_writes))
    before = wallet.db.pending_changes
    plugin_storage(wallet)["x"] = 1
    assert wallet.db.pending_changes is before
    assert before != []
    wallet.save_db()
    assert wallet.db.pending_changes is not before
    assert wallet.db.pending_changes == []


def test_a_failed_save_keeps_the_list_of_pending_changes(wallet: Abstract_Wallet) -> None:
    plugin_storage(wallet)["x"] = 1
    before = wallet.db.pending_changes
    wallet.storage.path = str(Path(wallet.storage.path).parent / "gone" / "wallet")
    with pytest.raises(OSError, match="gone"):
        wallet.save_db()
    assert wallet.db.pending_changes is before


def test_the_lock_of_the_wallet_file_may_be_taken_twice(wallet: Abstract_Wallet) -> None:
    with wallet.db.lock, wallet.db.lock:
        plugin_storage(wallet)["x"] = 1
        wallet.save_db()


def test_a_daemon_thread_must_not_save_and_the_loops_threads_may(wallet: Abstract_Wallet) -> None:
    errors: list[Exception] = []

    def save() -> None:
        try:
            wallet.set_label("x", str(len(errors)))
            wallet.save_db()
        except Exception as error:  # noqa: BLE001  Electrum raises no better one
            errors.append(error)

    async def on_the_loop() -> None:
        save()
        await asyncio.to_thread(save)

    run(on_the_loop())
    assert errors == []
    thread = threading.Thread(target=save, daemon=True)
    thread.start()
    thread.join()
    assert "daemon thread cannot write db" in str(errors[0])


def test_an_unknown_key_at_the_top_of_the_file_outlives_everything(tmp_path: Path) -> None:
    wallet = make_wallet(tmp_path, on_disk=True, password=PASSWORD)
    wallet.db.get_dict("payjoin_originals")["aa"] = {"tx": "0200"}
    wallet.db.prune_uninstalled_plugin_data(set())
    wallet.update_password(PASSWORD, "another", encrypt_storage=True)
    assert reopen(wallet, password="another").db.get("payjoin_originals") == {"aa": {"tx": "0200"}}
    (tmp_path / "backups").mkdir()
    backup = WalletStorage(wallet.save_backup(str(tmp_path / "backups")))
    backup.decrypt("another")
    restored = Wallet(WalletDB(backup.read(), storage=None, upgrade=True), config=wallet.config)
    assert restored.db.get("payjoin_originals") == {"aa": {"tx": "0200"}}


def test_a_plugins_data_is_deleted_at_the_close_where_the_plugin_is_not_installed(wallet: Abstract_Wallet) -> None:
    plugin_storage(wallet)["x"] = 1
    run(wallet.stop())
    assert reopen(wallet).db.get_plugin_storage() == {}


def test_a_plugins_data_stays_at_the_close_where_the_plugin_is_installed(wallet: Abstract_Wallet) -> None:
    plugin_storage(wallet)["x"] = 1
    wallet.config.set_key("plugins.payjoin.enabled", value=False)
    run(wallet.stop())
    assert reopen(wallet).db.get_plugin_storage() == {"payjoin": {"x": 1}}
