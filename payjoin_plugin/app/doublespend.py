"""Watching the senders' coins: whether they go elsewhere between the check and the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from electrum.logging import Logger

from ..client.pace import Backoff
from ..errors import Unreachable
from ..session.outcome import is_conflict
from ..session.receiver import ProposalPosted, SessionClosed, held_original, open_state
from ..wallet.coinwatch import watch_coins
from .ledger import ReceiverSession, now

if TYPE_CHECKING:
    from ..wallet.chain import ChainLookUp
    from ..wallet.spenders import Fate, Spender
    from .originals import Originals

AFTER_ANSWER = 600
"""Seconds after the answer for which the coins are watched."""


class DoubleSpends(Logger):
    """One wallet's watches, a task each, on the event loop."""

    def __init__(
        self,
        chain: ChainLookUp,
        originals: Originals,
        found: Callable[[ReceiverSession, Sequence[Spender]], None],
    ) -> None:
        """`found(session, conflicts)` is called when a session's coins are seen to be gone, and when no more.

        There are no conflicts where a coin went with what made it.
        """
        Logger.__init__(self)
        self.seen: set[str] = set()
        """The sessions whose sender's coins are gone: spent elsewhere, or never made."""
        self._chain, self._originals, self._found = chain, originals, found
        self._watches: dict[str, asyncio.Task[None]] = {}

    def watch(self, session: ReceiverSession, *, look: bool = False) -> None:
        """Watch the coins of the original that `session` holds, until it ends. `look`: ask at once, after a restart."""
        if session.id not in self._watches and held_original(session.state) is not None:
            task = asyncio.get_running_loop().create_task(self._watch(session, look=look))
            self._watches[session.id] = task
            task.add_done_callback(lambda _: self._watches.pop(session.id, None))

    def hear(self, session: ReceiverSession, fate: Fate) -> None:
        """Take note of what the Electrum server says that became of the sender's coins."""
        state = open_state(session.state)
        conflicts = [tx for tx in fate.spenders if is_conflict(state, tx.raw)]
        are_gone = bool(conflicts) or fate.vanished
        if not are_gone and session.id not in self.seen:
            return
        if are_gone:
            self.seen.add(session.id)
        else:
            self.seen.discard(session.id)
        self._found(session, conflicts)

    def stop(self, session_id: str) -> None:
        """Watch no more. On any thread."""
        if (task := self._watches.get(session_id)) is not None:
            task.get_loop().call_soon_threadsafe(task.cancel)

    async def close(self) -> None:
        """End every watch."""
        tasks = list(self._watches.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, session: ReceiverSession, *, look: bool) -> None:
        original = held_original(session.state)
        assert original is not None
        scripts = original.input_scripts
        moved, backoff = asyncio.Event(), Backoff()
        watching = asyncio.get_running_loop().create_task(watch_coins(self._chain, scripts.values(), moved.set))
        if look:
            moved.set()
        try:
            while not isinstance(session.state, SessionClosed) and await self._has_moved(session, moved):
                moved.clear()
                try:
                    self.hear(session, await self._originals.fate_of(original.txid, scripts))
                except Unreachable:
                    await asyncio.sleep(backoff.next())
                    moved.set()
                else:
                    backoff.reset()
        finally:
            watching.cancel()

    async def _has_moved(self, session: ReceiverSession, moved: asyncio.Event) -> bool:
        """Wait for a change; False where the answer is out so long that none is waited for any more."""
        while not moved.is_set():
            left: float = AFTER_ANSWER
            if isinstance(session.state, ProposalPosted) and session.id not in self.seen:
                left += session.records[-1].at - now()
            if left <= 0:
                return False
            try:
                async with asyncio.timeout(left):
                    await moved.wait()
            except TimeoutError:
                pass
        return True
