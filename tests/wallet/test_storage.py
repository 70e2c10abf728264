from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from electrum import util
from electrum.wallet import Abstract_Wallet

from payjoin_plugin.errors import UnreadableLog
from payjoin_plugin.wallet.storage import SEEN_KEPT, WalletStore
from tests.wallet.wallets import (
    PASSWORD,
    POSTED,
    created_record,
    dumped_and_reloaded,
    keep,
    make_wallet,
    plugin_storage,
    reopen,
    run,
    store_of,
)

# Logs


def test_a_log_survives_dump_and_reload(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.create("s1", role="receiver", record=created_record())
    store.append("s1", POSTED)
    again = store_of(dumped_and_reloaded(wallet))
    assert again.session_ids() == ["s1"]
    assert again.raw_log("s1") == {"format": 1, "role": "receiver", "events": [created_record(), POSTED]}


def test_a_reloaded_log_is_appended_to(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.create("s1", role="receiver", record=created_record())
    once = dumped_and_reloaded(wallet)
    store_of(once).append("s1", POSTED)
    log = store_of(dumped_and_reloaded(once)).raw_log("s1")
    assert isinstance(log, dict)
    assert log["events"] == [created_record(), POSTED]


def test_the_session_of_a_request_is_found_at_once_and_after_a_reload(
    wallet: Abstract_Wallet, store: WalletStore
) -> None:
    store.create("s1", role="receiver", record=created_record("first00000"))
    store.create("s2", role="receiver", record=created_record("second0000"))
    for some in (store, store_of(dumped_and_reloaded(wallet))):
        assert [some.session_of_request(key) for key in ("first00000", "second0000", "none")] == ["s1", "s2", None]


def test_the_newest_session_of_a_request_counts(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.create("zz", role="receiver", record=created_record(at=100))
    store.create("aa", role="receiver", record=created_record(at=200))
    assert store.session_of_request("aabbccddee") == "aa"
    assert store_of(dumped_and_reloaded(wallet)).session_of_request("aabbccddee") == "aa"


def test_a_session_is_not_made_twice(store: WalletStore) -> None:
    store.create("s1", role="receiver", record=created_record())
    with pytest.raises(ValueError, match="exists"):
        store.create("s1", role="receiver", record=created_record())


@pytest.mark.parametrize("value", [b"raw", {1, 2}, object(), float("nan")], ids=["bytes", "set", "object", "nan"])
def test_what_is_no_json_is_refused_before_it_can_spoil_the_file(
    wallet: Abstract_Wallet, store: WalletStore, value: object
) -> None:
    store.create("s1", role="receiver", record=created_record())
    with pytest.raises((TypeError, ValueError)):
        store.append("s1", {"at": 1, "event": value})
    log = store_of(dumped_and_reloaded(wallet)).raw_log("s1")
    assert isinstance(log, dict)
    assert log["events"] == [created_record()]


def test_a_record_that_is_changed_later_does_not_change_the_log(store: WalletStore) -> None:
    record: dict[str, Any] = {**created_record(), "list": [1]}
    store.create("s1", role="receiver", record=record)
    record["list"].append(2)
    log = store.raw_log("s1")
    assert isinstance(log, dict)
    assert log["events"][0]["list"] == [1]


@pytest.mark.parametrize(
    "log", [None, 7, "text", [], {}, {"events": {}}, {"format": 1, "role": "receiver", "events": "x"}]
)
def test_a_damaged_log_is_not_written_to_and_stays_as_it_is(wallet: Abstract_Wallet, log: object) -> None:
    plugin_storage(wallet)["sessions"] = {"bad": log, "good": {"format": 1, "role": "receiver", "events": []}}
    store = store_of(wallet)
    with pytest.raises(UnreadableLog):
        store.append("bad", POSTED)
    store.append("good", POSTED)
    assert json.loads(wallet.db.dump())["plugin_data"]["payjoin"]["sessions"]["bad"] == log


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 0},
        {"version": "1"},
        {"version": True},
        {"sessions": []},
        {"waiting": 3},
        {"declined": "x"},
        {"directory_keys": []},
        {"seen": {}},
        {"seen": [["one"]]},
        {"seen": [[1, "s"]]},
        {"exposed": [3]},
        {"coin_secret": "zz"},
        {"coin_secret": "00"},
    ],
    ids=str,
)
def test_damaged_storage_is_read_only_and_loses_nothing(wallet: Abstract_Wallet, damage: dict[str, Any]) -> None:
    storage = plugin_storage(wallet)
    storage["other"] = "kept"
    for key, value in damage.items():
        storage[key] = value
    before = json.loads(wallet.db.dump())["plugin_data"]
    store = store_of(wallet)
    assert store.unreadable is not None
    assert not store.unreadable.newer
    writes: tuple[Callable[[], object], ...] = (
        lambda: store.create("s1", role="receiver", record=created_record()),
        lambda: store.append("s1", POSTED),
        lambda: store.set_waiting("r", 1),
        lambda: store.decline("r"),
        lambda: store.mark_seen(["a:0"], "s"),
        lambda: store.mark_exposed(["a:0"]),
        lambda: store.set_directory_keys({}),
        lambda: store.raw_log("s1"),
    )
    for write in writes:
        with pytest.raises(UnreadableLog, match="damaged"):
            write()
    assert json.loads(wallet.db.dump())["plugin_data"] == before


def test_storage_of_a_newer_version_is_listed_and_left_alone(wallet: Abstract_Wallet) -> None:
    storage = plugin_storage(wallet)
    storage["version"] = 2
    storage["sessions"] = {"s1": {"anything": []}}
    storage["seen"] = {"another": "shape"}
    store = store_of(wallet)
    assert store.unreadable is not None
    assert store.unreadable.newer
    assert store.session_ids() == ["s1"]
    assert not store.seen_before("a:0", "s")
    assert store.exposed() == frozenset()
    with pytest.raises(UnreadableLog, match="newer"):
        store.append("s1", POSTED)


def test_a_wallet_that_payjoin_only_looked_at_is_not_changed(wallet: Abstract_Wallet) -> None:
    plugin_storage(wallet)
    wallet.save_db()
    before = wallet.db.dump()
    store = store_of(wallet)
    store.session_ids()
    store.waiting_requests()
    store.is_declined("r")
    store.kept.all()
    store.directory_keys()
    store.drop_waiting("r")
    store.forget_request("r")
    store.kept.drop("00" * 32)
    assert wallet.db.dump() == before
    assert not wallet.db.modified()


def test_logs_are_indexed_without_being_decoded(wallet: Abstract_Wallet) -> None:
    bare = {"at": 1, "event": "created", "request_id": "r1"}  # none that could be decoded
    plugin_storage(wallet)["sessions"] = {"s1": {"format": 1, "role": "receiver", "events": [bare, {}]}}
    assert store_of(wallet).session_of_request("r1") == "s1"


# The whole of it through an encrypted file, and through Electrum's partial writes


def test_an_encrypted_wallet_keeps_everything(tmp_path: Path) -> None:
    wallet = make_wallet(tmp_path, password=PASSWORD, encrypt_file=True, on_disk=True)
    store = store_of(wallet)
    store.create("s1", role="receiver", record=created_record())
    run(store.flush())
    assert b"created" not in Path(wallet.storage.get_path()).read_bytes()
    assert store_of(reopen(wallet, password=PASSWORD)).session_ids() == ["s1"]


def test_every_kind_of_write_survives_electrums_partial_writes(tmp_path: Path) -> None:
    first = make_wallet(tmp_path, on_disk=True, wallet_partial_writes=True)
    store_of(first).mark_seen([f"{number:x}:0" for number in range(SEEN_KEPT)], "s0")
    first.save_db()
    wallet = reopen(first)  # only now, and until the file has doubled, Electrum appends patches
    store = store_of(wallet)
    store.create("s1", role="receiver", record=created_record("r~/1"))
    run(store.flush())
    store.append("s1", POSTED)
    store.set_waiting("r2", 5)
    store.decline("r3")
    store.mark_seen(["new:0", "new:1"], "s1")
    store.mark_exposed(["ours:1"])
    store.set_directory_keys({"https://payjo.in": {"keys": "00"}})
    store.set_directory_keys({"https://payjo.in": {"keys": "01"}})
    keep(store)
    keep(store, "bb" * 32)
    secret = store.coin_secret()
    run(store.flush())
    store.drop_waiting("r2")
    store.kept.drop("aa" * 32)
    run(store.flush())
    assert store.saves == 3
    assert wallet.db.modified()  # so it never wrote the whole file
    again = store_of(reopen(wallet))
    log = again.raw_log("s1")
    assert isinstance(log, dict)
    assert [record["event"] for record in log["events"]] == ["created", "posted_proposal"]
    assert again.waiting_requests() == {}
    assert again.is_declined("r3")
    assert again.seen_before("new:1", "other")
    assert [number for number in range(4) if not again.seen_before(f"{number:x}:0", "other")] == [0, 1]
    assert again.exposed() == {"ours:1"}
    assert again.directory_keys() == {"https://payjo.in": {"keys": "01"}}
    assert [one.txid for one in again.kept.all()] == ["bb" * 32]
    assert again.coin_secret() == secret


def test_recording_is_allowed_on_any_thread_and_loses_nothing(wallet: Abstract_Wallet, store: WalletStore) -> None:
    async def record_from_many_threads() -> None:
        await asyncio.gather(
            *(asyncio.to_thread(store.create, f"s{number}", role="receiver", record=created_record(f"r{number}"))
              for number in range(50)),
            *(store.flush() for _ in range(5)),
        )  # fmt: skip
        await store.flush()

    run(record_from_many_threads())
    again = store_of(reopen(wallet))
    assert sorted(again.session_ids()) == sorted(f"s{number}" for number in range(50))
    assert util.get_asyncio_loop().is_running()
