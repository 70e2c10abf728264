"""The books of who paid what for which request, and the chain: what random histories are held against."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from electrum.invoices import Request
from electrum.transaction import Transaction

from tests.pair import Sender
from tests.wallet.servers import HEIGHT, Blockchain, Chain, block_time

DEEP = 6
"""Blocks under which nothing comes back."""


@dataclass(eq=False)
class Ask:
    """A request, as its owner and its customer know it. Each is of another amount: two alike are one to Electrum."""

    name: str
    request: Request
    uri: str
    session_id: str  # empty without payjoin
    is_fresh: bool  # Electrum gave its address out, with us
    is_live: bool = True
    wanted: bool | None = True  # the owner's word; None where nobody can tell
    left_paid: bool | None = None  # whether it was paid when it was deleted without us

    def __post_init__(self) -> None:
        self.address, self.sat = self.request.get_address(), self.request.get_amount_sat()

    def has_expired(self) -> bool:
        return bool(self.request.time + self.request.exp <= time.time())


@dataclass(eq=False)
class Held:
    """An original that a customer has posted."""

    name: str
    ask: Ask
    sender: Sender
    is_odd: bool  # of a version that gets no payjoin: due at once
    payjoin: Transaction | None = None
    has_come: bool | None = None
    is_coin_gone: bool = False  # what our own coin was spent by is no payjoin of it: it may be due at once
    is_settled: bool = False

    def __post_init__(self) -> None:
        self.tx, self.paying = self.sender.made.transaction(), asyncio.ensure_future(self.sender.run())


class Model(Blockchain):
    """The chain, of which no block has more than one transaction, and the books of who paid what for which request."""

    def __init__(self, chain: Chain) -> None:
        self.txs, self.height_now, self.by_itself = chain.txs, HEIGHT, True
        self.asks: list[Ask] = []
        self.held: list[Held] = []
        self.ever: dict[str, Transaction] = {}
        self.books: dict[str, tuple[Ask | None, str]] = {}  # for which request each is meant, and what it is called

    def read_header(self, height: int) -> dict[str, Any]:
        roots = [txid for txid, (_, at) in self.txs.items() if at == height > HEIGHT]
        return {"timestamp": block_time(height), "merkle_root": (*roots, "00" * 32)[0]}

    def spenders(self, tx: Transaction) -> dict[str, int]:
        """Return what is visible and spends a coin that `tx` spends, and its height."""
        return {txid: at for txid, (one, at) in self.txs.items() if spent(tx) & spent(one)}

    def put(self, tx: Transaction) -> bool:
        """Let the mempool take a transaction, and say whether it does: it replaces others, but none in a block."""
        lacks, others = {coin[:64] for coin in spent(tx)} & self.ever.keys() - self.txs.keys(), self.spenders(tx)
        if lacks or any(others.values()):
            return False
        for other in others:
            self.drop(other)
        self.ever[tx.txid()], self.txs[tx.txid()] = tx, (tx, 0)
        return True

    def drop(self, txid: str) -> None:
        """Let the mempool forget a transaction, and what spends it."""
        self.txs.pop(txid, None)
        for other in [one for one, (tx, _) in self.txs.items() if txid in {coin[:64] for coin in spent(tx)}]:
            self.drop(other)

    def came_to(self, ask: Ask, held: Held | None = None, *, meant: bool = False) -> int:
        """Return what is visible at a request's address (`meant`: for it), but for what spends an original's coins."""
        but = self.spenders(held.tx) if held is not None else {}
        some = [txid for txid in self.txs.keys() - but if not meant or self.books.get(txid, (None,))[0] is ask]
        return sum(paid_to(ask, self.txs[txid][0]) for txid in some)

    def others_at(self, ask: Ask) -> list[Ask]:
        return [one for one in self.asks if one.is_live and one is not ask and one.address == ask.address]

    def why_not(self, held: Held) -> list[str]:
        """Return what forbids that an original goes out by itself."""
        against = {
            "the setting is off": not self.by_itself,
            "its owner does not want it": held.ask.wanted is False,
            "it is not due": not (held.ask.has_expired() or held.is_odd or held.is_coin_gone),
            "its request is paid": self.came_to(held.ask, held, meant=True) >= held.ask.sat,
            "it pays another one's request": any(self.came_to(one, held) == 0 for one in self.others_at(held.ask)),
        }
        return [why for why, is_so in against.items() if is_so]

    def must_go(self) -> list[Held]:
        """Return the originals that are not out, though nothing whatever speaks against it."""
        free = [one for one in self.kept() if one.ask.wanted and not self.spenders(one.tx) and not self.why_not(one)]
        alone = [one for one in free if not self.others_at(one.ask) and self.came_to(one.ask, one) < one.ask.sat]
        return [one for one in alone if one.ask.has_expired() or one.is_odd]

    def kept(self) -> list[Held]:
        return [one for one in self.held if one.has_come and not one.is_settled]

    def note(self) -> None:
        """Note what became of the coins of the originals."""
        for one in self.held:
            spenders = self.spenders(one.tx)
            one.is_settled |= any(0 < at <= self.height_now + 1 - DEEP for at in spenders.values())
            if one.payjoin is not None:
                one.is_coin_gone |= bool(self.spenders(one.payjoin).keys() - spenders)


def spent(tx: Transaction) -> set[str]:
    return {txin.prevout.to_str() for txin in tx.inputs()}


def paid_to(ask: Ask, tx: Transaction) -> int:
    return sum(txout.value for txout in tx.outputs() if txout.address == ask.address)
