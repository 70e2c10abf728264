"""The barrier: what was written in memory is on disk before anything that reveals it leaves the machine.

Electrum writes its whole file at each save (12 to 16 ms a MB), so there is one save at a time a wallet, and whoever
comes meanwhile shares the next one. A save that Electrum itself makes counts as well: then there is nothing to do.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiorpcx import run_in_thread
from electrum.storage import StorageOnDiskUnexpectedlyChanged
from electrum.stored_dict import StorageReadWriteError

if TYPE_CHECKING:
    from electrum.wallet import Abstract_Wallet


class Barrier:
    """Saves one wallet, as seldom as possible."""

    def __init__(self, wallet: Abstract_Wallet) -> None:
        self.saves = 0
        """How often we made Electrum write its file."""
        self._wallet = wallet
        self._unsaved: list[str] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._closed = False

    def mark(self) -> None:
        """Remember that something of ours was just written in memory. Call it under the wallet's `db.lock`.

        Electrum collects changes in a list, and begins a new list at each save, whoever asked for it. So what is
        marked is on disk as soon as the wallet has another list.
        """
        self._unsaved = self._wallet.db.pending_changes

    def close(self) -> None:
        """Never save again: the wallet was stopped, and its file may be another object's by now."""
        self._closed = True

    async def flush(self) -> None:
        """Return when all that was marked before the call is on disk. Raises OSError."""
        changes = self._unsaved
        while self._are_unsaved(changes):
            if self._saving is None:
                self._saving = asyncio.create_task(self._save())
                self._saving.add_done_callback(_take_exception)
            await asyncio.shield(self._saving)  # a cancelled caller must not take the others' save along

    async def quiet(self) -> None:
        """Return when no save of ours is under way.

        It holds the wallet's lock, in a large file for a second. Who records meanwhile would have the whole loop wait.
        """
        while self._saving is not None:
            await asyncio.wait([self._saving])

    def flush_now(self) -> None:
        """Do as `flush` at once, for threads without an event loop (not a QThread: Electrum refuses those)."""
        with self._wallet.db.lock:
            if not self._are_unsaved(self._unsaved):
                return
            if self._closed:
                raise OSError("the wallet is closed")
            try:
                self._wallet.save_db()
            except (StorageReadWriteError, StorageOnDiskUnexpectedlyChanged) as error:
                raise OSError(str(error)) from error
            if self._are_unsaved(self._unsaved):
                raise OSError("Electrum did not write the wallet file")
            self.saves += 1

    async def _save(self) -> None:
        try:
            await run_in_thread(self.flush_now)
        finally:
            self._saving = None

    def _are_unsaved(self, changes: list[str] | None) -> bool:
        if self._wallet.db.storage is None:
            return False  # a wallet in memory has no disk to wait for
        return bool(changes) and changes is self._wallet.db.pending_changes


def _take_exception(task: asyncio.Task[None]) -> None:
    """Where every caller was cancelled, nobody else looks at what the save raised."""
    if not task.cancelled():
        task.exception()
