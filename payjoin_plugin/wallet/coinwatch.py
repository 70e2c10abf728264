"""Hears of it when a sender's coins move elsewhere.

A wallet learns of transactions at its own addresses only: a double spend that does not pay us would never be heard of.
So each script that an original spends from is subscribed to, on the connection that the check used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from electrum.bitcoin import script_to_scripthash

from ..errors import Unreachable
from .chain import ChainLookUp

if TYPE_CHECKING:
    from electrum.interface import Interface

SUBSCRIBE = "blockchain.scripthash.subscribe"
MAX_SCRIPTS = 20
"""More are not watched: a server answers only so many, and the check before the answer asks for all anyway."""
AGAIN = 5
"""Seconds before another connection is looked for."""


async def watch_coins(chain: ChainLookUp, scripts: Iterable[bytes], on_change: Callable[[], None]) -> None:
    """Call `on_change` whenever the history of one of the scripts (scriptPubKeys) changes. Runs until it is cancelled.

    What changed between the last look-up and the subscription, which takes a second to leave, counts too. A change says
    nothing by itself: look the coins up again. Silence proves nothing either.
    """
    hashes = list(dict.fromkeys(script_to_scripthash(script) for script in scripts))[:MAX_SCRIPTS]
    known: dict[str, object] = {**chain.statuses(hashes)}
    while True:
        with suppress(Unreachable):
            await _watch_on(chain.connection(), hashes, known, on_change)
        await asyncio.sleep(AGAIN)


async def _watch_on(
    server: Interface, hashes: Iterable[str], known: dict[str, object], on_change: Callable[[], None]
) -> None:
    """Watch on one connection until it ends. `known`: the last status of each script, kept from one to the next."""
    session: Any = server.session
    queue: asyncio.Queue[tuple[str, object]] = asyncio.Queue()
    listening = asyncio.ensure_future(_listen(queue, known, on_change))
    ended = asyncio.ensure_future(server.got_disconnected.wait())
    try:
        # What a server refuses (a script of too many transactions) cannot be watched; the others can.
        await asyncio.gather(
            *(session.subscribe(SUBSCRIBE, [hash_], queue) for hash_ in hashes), return_exceptions=True
        )
        await asyncio.wait([listening, ended], return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            listening.result()
    finally:
        session.unsubscribe(queue)
        listening.cancel()
        ended.cancel()


async def _listen(
    queue: asyncio.Queue[tuple[str, object]], known: dict[str, object], on_change: Callable[[], None]
) -> None:
    while True:
        hash_, status = await queue.get()
        if known.setdefault(hash_, status) != status:
            known[hash_] = status
            on_change()
