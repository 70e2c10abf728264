from __future__ import annotations

import asyncio
import threading
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


class SavingThread:
    """Notes on which thread Electrum is made to write."""

    def __init__(self, wallet: Abstract_Wallet) -> None:
        self.ident: int | None = None
        self._save = wallet.save_db
        wallet.save_db = self

    def __call__(self) -> None:
        self.ident = threading.get_ident()
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
    saving = SavingThread(wallet)

    async def loop_thread() -> int:
        return threading.get_ident()

    store.append("s1", POSTED)
    run(store.flush())
    assert saving.ident is not None
    assert saving.ident != run(loop_thread())


def test_a_thread_without_a_loop_flushes_too(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.append("s1", POSTED)
    store.flush_now()
    assert store.saves == 1
    assert events_on_disk(wallet) == ["created", "posted_proposal"]


def test_a_disk_that_refuses_is_said_to_everybody_who_waits(wallet: Abstract_Wallet, store: WalletStore) -> None:
    path, wallet.storage.path = wallet.storage.path, str(Path(wallet.storage.path).parent / "gone" / "wallet")
    with wallet.db.lock:
        store.append("s1", POSTED)
        flushes = [asyncio.run_coroutine_threadsafe(store.flush(), util.get_asyncio_loop()) for _ in range(3)]
        settle()
    for flush in flushes:
        with pytest.raises(OSError, match="gone"):
            flush.result(timeout=10)
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


def test_a_cancelled_caller_does_not_stop_the_save(wallet: Abstract_Wallet, store: WalletStore) -> None:
    async def cancelled_while_it_waits() -> None:
        caller = asyncio.ensure_future(store.flush())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

    with wallet.db.lock:
        store.append("s1", POSTED)
        run(cancelled_while_it_waits())
    run(store.flush())  # waits for the save that is under way, or finds it done
    assert store.saves == 1
    assert events_on_disk(wallet) == ["created", "posted_proposal"]


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
