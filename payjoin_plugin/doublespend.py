"""Watching the senders' coins: whether they go elsewhere between the check and the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from electrum.logging import Logger
from electrum.transaction import Transaction

from .errors import Unreachable
from .ledger import ReceiverSession
from .session.receiver import PostingProposal, ProposalPosted, SessionClosed, held_original
from .session.status import payjoin_txid
from .wallet.coinwatch import watch_coins

if TYPE_CHECKING:
    from .wallet.chain import ChainLookUp

AFTER_ANSWER = 600
"""Seconds after the answer for which the coins are watched."""


class DoubleSpends(Logger):
    """One wallet's watches, a task each, on the event loop."""

    def __init__(self, chain: ChainLookUp, found: Callable[[str], None]) -> None:
        """`found(session_id)` is called when a session's coins were seen spent elsewhere."""
        Logger.__init__(self)
        self.seen: set[str] = set()
        """The sessions whose sender's coins went elsewhere."""
        self._chain, self._found = chain, found
        self._watches: dict[str, asyncio.Task[None]] = {}

    def watch(self, session: ReceiverSession) -> None:
        """Watch the coins of the original that `session` holds, until it ends."""
        if session.id not in self._watches and held_original(session.state) is not None:
            task = asyncio.get_running_loop().create_task(self._watch(session))
            self._watches[session.id] = task
            task.add_done_callback(lambda _: self._watches.pop(session.id, None))

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

    async def _watch(self, session: ReceiverSession) -> None:
        original = held_original(session.state)
        assert original is not None
        scripts = dict(zip(original.outpoints, original.input_scripts, strict=True))
        moved = asyncio.Event()
        watching = asyncio.get_running_loop().create_task(watch_coins(self._chain, scripts.values(), moved.set))
        try:
            while not isinstance(session.state, SessionClosed):
                limit = AFTER_ANSWER if isinstance(session.state, ProposalPosted) else None
                try:
                    async with asyncio.timeout(limit):
                        await moved.wait()
                except TimeoutError:
                    return
                moved.clear()
                await self._look(session, scripts, original.txid)
        finally:
            watching.cancel()

    async def _look(self, session: ReceiverSession, scripts: dict[str, bytes], original_txid: str) -> None:
        try:
            coins = await self._chain.look_up(scripts)
        except Unreachable:
            return  # the next change, or the check before the answer, tells
        spenders = {Transaction(coin.spender.hex()).txid() for coin in coins.values() if coin.spender is not None}
        expected = {original_txid, payjoin_txid(session.state)}
        legacy = isinstance(session.state, PostingProposal | ProposalPosted) and None in expected
        if spenders - expected and not legacy:
            self.seen.add(session.id)
            self._found(session.id)
