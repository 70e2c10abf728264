from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from electrum import util
from electrum.wallet import Abstract_Wallet

from payjoin_plugin.wallet.storage import WalletStore
from tests.wallet.wallets import created_record, make_wallet, plugin_storage, reopen, run, settle

POSTED = {"at": 1_795_000_009, "event": "posted_proposal"}


@pytest.fixture
def wallet(tmp_path: Path) -> Abstract_Wallet:
    return make_wallet(tmp_path, on_disk=True)


@pytest.fixture
def store(wallet: Abstract_Wallet) -> WalletStore:
    store = WalletStore(wallet, plugin_storage(wallet))
    store.create("s1", role="receiver", record=created_record())
    wallet.save_db()
    settle()  # what Electrum still had to do on the loop would wait for the lock that some tests hold
    return store


def events_on_disk(wallet: Abstract_Wallet) -> list[str]:
    log: Any = WalletStore(reopen(wallet), plugin_storage(reopen(wallet))).raw_log("s1")
    return [record["event"] for record in log["events"]]


class Saving:
    """Notes on which thread Electrum is made to write, each time."""

    def __init__(self, wallet: Abstract_Wallet) -> None:
        self.threads: list[int] = []
        self._save = wallet.save_db
        wallet.save_db = self

    def __call__(self) -> None:
        self.threads.append(threading.get_ident())
        self._save()


def test_a_flushed_record_is_on_disk(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.append("s1", POSTED)
    assert events_on_disk(wallet) == ["created"]
    run(store.flush())
    assert events_on_disk(wallet) == ["created", "posted_proposal"]
    assert store.saves == 1


def test_a_clean_store_is_not_saved(store: WalletStore) -> None:
    run(store.flush())
    store.flush_now()
    assert store.saves == 0


def test_a_second_flush_saves_nothing(store: WalletStore) -> None:
    store.append("s1", POSTED)
    run(store.flush())
    run(store.flush())
    assert store.saves == 1


def test_writing_what_is_there_already_needs_no_save(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.set_waiting("r", 5)
    wallet.save_db()
    store.set_waiting("r", 5)
    run(store.flush())
    assert store.saves == 0


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.create("s2", role="receiver", record=created_record()),
        lambda store: store.append("s1", POSTED),
        lambda store: store.set_waiting("r", 5),
        lambda store: store.drop_waiting("waits"),
        lambda store: store.decline("r"),
        lambda store: store.forget_request("waits"),
        lambda store: store.mark_seen(["a:0"], "s1"),
        lambda store: store.mark_exposed(["a:0"]),
        lambda store: store.coin_secret(),
        lambda store: store.kept.keep(
            "bb",
            "0200",
            session_id="s1",
            request_id="r",
            address="a",
            amount_sat=20_000,
            since_height=9,
            label="",
            at=1,
        ),
        lambda store: store.kept.drop("aa"),
    ],
    ids=["create", "append", "wait", "drop", "decline", "forget", "seen", "exposed", "secret", "keep", "drop original"],
)
def test_each_kind_of_write_alone_is_worth_a_save(
    wallet: Abstract_Wallet, store: WalletStore, write: Callable[[WalletStore], object]
) -> None:
    store.set_waiting("waits", 5)
    store.kept.keep(
        "aa", "0200", session_id="s1", request_id="r", address="a", amount_sat=20_000, since_height=9, label="", at=1
    )
    wallet.save_db()
    write(store)
    run(store.flush())
    assert store.saves == 1
    assert json.loads(reopen(wallet).db.dump()) == json.loads(wallet.db.dump())


def test_what_only_electrum_has_changed_is_not_our_business(wallet: Abstract_Wallet, store: WalletStore) -> None:
    wallet.set_label("x", "y")
    run(store.flush())
    assert store.saves == 0
    assert wallet.db.modified()


def test_a_save_of_electrums_own_counts(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.append("s1", POSTED)
    wallet.save_db()
    wallet.set_label("x", "y")
    run(store.flush())
    assert store.saves == 0
    assert events_on_disk(wallet) == ["created", "posted_proposal"]


def test_all_who_wait_share_one_save(wallet: Abstract_Wallet, store: WalletStore) -> None:
    with wallet.db.lock:  # no save can begin
        for _ in range(10):
            store.append("s1", POSTED)
        flushes = [asyncio.run_coroutine_threadsafe(store.flush(), util.get_asyncio_loop()) for _ in range(10)]
        settle()
        assert not any(flush.done() for flush in flushes)
    for flush in flushes:
        flush.result(timeout=10)
    assert store.saves == 1


def test_what_is_recorded_during_a_save_waits_for_the_next_one(wallet: Abstract_Wallet, store: WalletStore) -> None:
    in_save, may_end = threading.Event(), threading.Event()
    save = wallet.save_db

    def slow_disk() -> None:
        save()
        in_save.set()
        may_end.wait(10)

    wallet.save_db = slow_disk
    store.append("s1", POSTED)
    first = asyncio.run_coroutine_threadsafe(store.flush(), util.get_asyncio_loop())
    assert in_save.wait(10)
    recorder = threading.Thread(target=store.append, args=("s1", POSTED))
    recorder.start()  # the first save has the lock, so this waits until it has ended
    may_end.set()
    recorder.join()
    first.result(timeout=10)
    run(store.flush())
    assert store.saves == 2
    assert events_on_disk(wallet) == ["created", "posted_proposal", "posted_proposal"]


def test_the_loop_goes_on_during_a_save(wallet: Abstract_Wallet, store: WalletStore) -> None:
    saving = Saving(wallet)

    async def loop_thread() -> int:
        return threading.get_ident()

    store.append("s1", POSTED)
    run(store.flush())
    (thread,) = saving.threads
    assert thread != run(loop_thread())


def test_a_thread_without_a_loop_flushes_too(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.append("s1", POSTED)
    store.flush_now()
    assert store.saves == 1
    assert events_on_disk(wallet) == ["created", "posted_proposal"]


def test_a_disk_that_refuses_is_said_to_everybody_who_waits(wallet: Abstract_Wallet, store: WalletStore) -> None:
    path, wallet.storage.path = wallet.storage.path, str(Path(wallet.storage.path).parent / "gone" / "wallet")
    saving = Saving(wallet)
    with wallet.db.lock:
        store.append("s1", POSTED)
        flushes = [asyncio.run_coroutine_threadsafe(store.flush(), util.get_asyncio_loop()) for _ in range(3)]
        settle()
    for flush in flushes:
        with pytest.raises(OSError, match="gone"):
            flush.result(timeout=10)
    assert len(saving.threads) == 1
    assert store.saves == 0
    wallet.storage.path = path
    run(store.flush())
    assert store.saves == 1
    assert events_on_disk(wallet) == ["created", "posted_proposal"]


def test_a_save_that_wrote_nothing_is_not_taken_for_one(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.append("s1", POSTED)
    wallet.db.set_modified(b=False)  # Electrum then writes nothing, and does not say so
    with pytest.raises(OSError, match="did not write"):
        run(store.flush())


def test_a_file_that_somebody_else_wrote_to_is_an_error_of_the_disk(tmp_path: Path) -> None:
    wallet = reopen(make_wallet(tmp_path, on_disk=True, wallet_partial_writes=True))
    store = WalletStore(wallet, plugin_storage(wallet))
    wallet.save_db()
    with Path(wallet.storage.get_path()).open("ab") as file:
        file.write(b" ")
    store.create("s1", role="receiver", record=created_record())
    with pytest.raises(OSError, match="expected size"):
        run(store.flush())


def test_a_cancelled_caller_does_not_stop_the_save_for_the_others(wallet: Abstract_Wallet, store: WalletStore) -> None:
    with wallet.db.lock:
        store.append("s1", POSTED)
        one, other = (asyncio.run_coroutine_threadsafe(store.flush(), util.get_asyncio_loop()) for _ in range(2))
        settle()
        one.cancel()
        settle()
    other.result(timeout=10)
    assert one.cancelled()
    assert store.saves == 1
    assert events_on_disk(wallet) == ["created", "posted_proposal"]


def test_what_is_recorded_just_after_a_save_is_not_taken_for_saved(wallet: Abstract_Wallet, store: WalletStore) -> None:
    async def record_before_the_loop_hears_of_the_save() -> None:
        first = asyncio.ensure_future(store.flush())
        for _ in range(3):
            await asyncio.sleep(0)  # until the save is handed to its thread
        while store.saves == 0:
            time.sleep(0.001)  # noqa: ASYNC251  the loop stands still, so that it does not hear of the save
        assert not first.done()
        store.append("s1", POSTED)
        await store.flush()
        await first

    store.append("s1", POSTED)
    run(record_before_the_loop_hears_of_the_save())
    assert store.saves == 2
    assert events_on_disk(wallet) == ["created", "posted_proposal", "posted_proposal"]


def test_a_closed_wallets_file_is_not_written_any_more(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.close()
    run(store.flush())  # there is nothing that was not saved
    store.append("s1", POSTED)
    with pytest.raises(OSError, match="closed"):
        run(store.flush())
    with pytest.raises(OSError, match="closed"):
        store.flush_now()
    assert events_on_disk(wallet) == ["created"]


def test_a_wallet_in_memory_has_nothing_to_wait_for(tmp_path: Path) -> None:
    wallet = make_wallet(tmp_path)
    store = WalletStore(wallet, plugin_storage(wallet))
    store.create("s1", role="receiver", record=created_record())
    run(store.flush())
    assert store.saves == 0


def test_who_waits_until_it_is_quiet_leaves_the_loop_running_during_a_save(
    wallet: Abstract_Wallet, store: WalletStore
) -> None:
    may_end, save = threading.Event(), wallet.save_db

    def slow_save() -> None:
        may_end.wait(10)
        save()

    wallet.save_db = slow_save
    store.append("s1", POSTED)

    async def record_during_a_save() -> list[bool]:
        saving, waiting = asyncio.create_task(store.flush()), asyncio.create_task(store.quiet())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        before = waiting.done()
        may_end.set()
        await waiting
        await saving
        return [before, store.saves == 1]

    assert run(record_during_a_save()) == [False, True]


def test_it_is_quiet_where_nothing_is_saved(store: WalletStore) -> None:
    store.append("s1", POSTED)
    run(store.quiet())
    assert store.saves == 0
