"""Whether a wallet has heard all that its server has to say.

Electrum's flags say that nothing is being fetched, not that nothing is on its way: after a sleep of the machine, or on
a bad line, what the server said may be minutes late. What it answers comes behind all of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from electrum.i18n import _
from electrum.logging import get_logger

from ..errors import Unreachable
from .watching import confirmations, script_of

if TYPE_CHECKING:
    from electrum.interface import Interface
    from electrum.wallet import Abstract_Wallet

_logger = get_logger(__name__)

PATIENCE = 10
"""Seconds that a broadcast waits for the wallet to have all the news of its server."""
SHORT_LOOK = 0.2
"""Seconds between two looks whether it has."""
BETWEEN_QUESTIONS = 1.0
"""Seconds between two questions to the server, which counts what it is asked."""


async def wait_for_news(
    wallet: Abstract_Wallet, connection: Callable[[], Interface | None], addresses: Iterable[str], *, but: str
) -> Interface | None:
    """Return the `connection` as soon as the wallet has all the news of it; None where that takes too long.

    For some addresses the server is asked, too; one transaction (txid) is no news: `but`, which is to be broadcast and
    may be out. Between its answer and the return nothing is waited for. Raises Unreachable.
    """
    end = asyncio.get_running_loop().time() + PATIENCE
    while True:
        server = connection()
        if server is not None and await _has_heard_all(wallet, server, addresses, but=but) and connection() is server:
            return server
        pause = SHORT_LOOK if server is None else BETWEEN_QUESTIONS
        if asyncio.get_running_loop().time() + pause > end:
            return None
        await asyncio.sleep(pause)  # Electrum's own event tells of half of it only


async def _has_heard_all(wallet: Abstract_Wallet, server: Interface, addresses: Iterable[str], *, but: str) -> bool:
    for address in addresses:
        try:
            history = await server.get_history_for_scripthash(script_of(address)[1])
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise Unreachable(_("the Electrum server did not answer")) from None  # the connection has ended
        except Exception as error:
            # A limit of time, an error of the server's, an answer that Electrum does not take: all of many types.
            raise Unreachable(_("the Electrum server did not answer")) from error
        if any(_is_news(wallet, txid, address) for txid in {str(entry["tx_hash"]) for entry in history} - {but}):
            _logger.info("the wallet's server has more for an address than the wallet has heard")
            return False
    return True


def _is_news(wallet: Abstract_Wallet, txid: str, address: str) -> bool:
    """Tell whether the wallet does not know of a transaction, or takes what pays the address for dropped."""
    tx = wallet.db.get_transaction(txid)
    if tx is not None and all(txout.address != address for txout in tx.outputs()):
        return False
    return confirmations(wallet, txid) is None
