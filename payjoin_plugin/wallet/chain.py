"""What an Electrum server says of the coins that an original spends: one JSON-RPC batch, one round trip.

Electrum holds small messages back for up to a second, and so does the server. Requests one after another cost a second
each; together in one batch that is filled up with pings they cost what the network costs.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from aiorpcx import Batch, JSONRPCv2, Request, TaskTimeout
from aiorpcx.jsonrpc import JSONRPC, CodeMessageError
from electrum.bitcoin import script_to_scripthash
from electrum.interface import PaddedRSTransport
from electrum.logging import get_logger
from electrum.synchronizer import history_status
from electrum.transaction import Transaction
from electrum.util import is_hash256_str

from ..bip78.psbt import parse_transaction
from ..errors import DecodeError, Unreachable

if TYPE_CHECKING:
    from electrum.interface import Interface
    from electrum.wallet import Abstract_Wallet

_logger = get_logger(__name__)

BATCH_PATIENCE = 8
"""Seconds. A server that takes no batches is silent: its one error names no request."""
SINGLES_PATIENCE = 15
"""Seconds for the same, asked one by one."""
SPENDERS_FETCHED = 20
"""Of the transactions at a coin's script, so many are looked at to find the one that spent it; the newest first."""

STATUSES_KEPT = 1000
"""Scripts of which it is remembered what was seen; so many originals are checked at once at most."""

SPENDERS_FETCHED_IN_ALL = 40
"""An original of many spent coins must not make us a burden to the server. A coin whose spender is not found counts as
not listed, which is refused as well, only later."""

PREVIOUS = "blockchain.transaction.get"
UNSPENT = "blockchain.scripthash.listunspent"
HISTORY = "blockchain.scripthash.get_history"
NEVER_DEFERRED = 2 * PaddedRSTransport.MIN_PACKET_SIZE
"""Bytes. Electrum and ElectrumX pad what they send to powers of two, hold small messages back for a second, and put the
newer part of a full buffer off where that saves padding. Less than 1024 bytes can be waiting there, so a message of
2048 to 3072 leaves at once, whatever stands before it."""
SHORTEST_ANSWER = len('{"jsonrpc":"2.0","result":null,"id":1}')
"""Bytes that a server sends for a ping, at least."""
NO_BLOCK = 2**31
"""A height that no block will ever have."""
BUSY = (JSONRPC.SERVER_BUSY, JSONRPC.EXCESSIVE_RESOURCE_USAGE, JSONRPC.INTERNAL_ERROR)
"""Errors that say nothing of what was asked."""

Call: TypeAlias = tuple[str, str]
"""A method and its only argument."""
Answers: TypeAlias = Mapping[Call, Any]
"""What a server said: entries, or of a transaction whatever it gave. None: it said that it cannot tell."""


class Entry(NamedTuple):
    """A transaction in a server's list of a script's history or coins."""

    txid: str
    height: int
    """Of its block; 0: in the mempool, -1: there, with a parent that is there too."""
    vout: int
    """Of the coin; -1 where no coin is named."""


class OnChain(NamedTuple):
    """What is known of one outpoint. What hashes are for is checked; the rest is the server's word."""

    previous_tx: bytes | None
    """The transaction that made the coin; its txid was recomputed."""
    unspent: bool
    """The server lists it as unspent, its mempool considered."""
    spender: bytes | None
    """A transaction that spends it; its txid was recomputed."""
    spent_at: int
    """Height of the block that holds the spender, as the server says; 0 if none does."""
    confirmed_at: int
    """Height of the block that holds it, as the server lists it; 0 if none does, or if it is not listed."""

    @property
    def is_unknown(self) -> bool:
        """Whether the server knows neither the coin nor what made it."""
        return self.previous_tx is None and not self.unspent and self.spender is None


class ChainLookUp:
    """Asks Electrum servers about other people's coins, and keeps to one server while that one knows.

    Another one than the wallet's own where there is one: the wallet's has all our addresses, and need not learn of the
    sender's coins before they pay us.
    """

    def __init__(self, wallet: Abstract_Wallet) -> None:
        self.batches = 0
        """How many batches were sent."""
        self._wallet = wallet
        self._statuses: dict[str, str | None] = {}
        """Script hash → the status of its history when it was last looked up."""
        self._server: Interface | None = None
        self._doubted: set[str] = set()
        self._without_batches: set[str] = set()
        self._one_by_one_next = False

    async def look_up(
        self, scripts: Mapping[str, bytes], *, known: Mapping[str, bytes] | None = None
    ) -> dict[str, OnChain]:
        """Ask about outpoints (`txid:n`), given with the scriptPubKey that each is said to have.

        `known`: previous transactions that are at hand, by txid; they are not asked for, and must hash right.
        Where something stayed open, the next call asks another server. Raises Unreachable.
        """
        if not scripts:
            return {}
        previous = {txid: tx for txid, raw in (known or {}).items() if (tx := _transaction(raw.hex(), txid))}
        calls = [(UNSPENT, _hash(script)) for script in scripts.values()]
        calls += [(HISTORY, _hash(script)) for script in scripts.values()]
        calls += [(PREVIOUS, txid) for outpoint in scripts if (txid := _txid(outpoint)) not in previous]
        server = self._choose()
        answers = await self._ask(server, calls)
        for method, argument in answers:
            if method == PREVIOUS and (tx := _transaction(answers[method, argument], argument)):
                previous[argument] = tx
            elif method == HISTORY:
                self._note_status(argument, answers[method, argument])
        listed = {
            outpoint: _listed_height(outpoint, answers[UNSPENT, _hash(script)]) for outpoint, script in scripts.items()
        }
        gone = {outpoint: script for outpoint, script in scripts.items() if listed[outpoint] is None}
        spenders = await self._spenders(server, gone, answers)
        made_by = {txid: bytes.fromhex(tx.serialize()) for txid, tx in previous.items()}
        found = {
            outpoint: OnChain(
                previous_tx=made_by.get(_txid(outpoint)),
                unspent=height is not None,
                spender=(spender := spenders.get(outpoint, (None, 0)))[0],
                spent_at=spender[1],
                confirmed_at=height or 0,
            )
            for outpoint, height in listed.items()
        }
        if any(one.previous_tx is None or not (one.unspent or one.spender) for one in found.values()):
            self._doubt(server)
        return found

    def statuses(self, hashes: Iterable[str]) -> dict[str, str | None]:
        """Return the statuses that the histories of scripts had when they were last looked up, where they were."""
        return {hash_: self._statuses[hash_] for hash_ in hashes if hash_ in self._statuses}

    def _note_status(self, hash_: str, history: Sequence[Entry] | None) -> None:
        self._statuses.pop(hash_, None)
        if history is not None:
            self._statuses[hash_] = history_status([(entry.txid, entry.height) for entry in history])
        if len(self._statuses) > STATUSES_KEPT:
            del self._statuses[next(iter(self._statuses))]

    def connection(self) -> Interface:
        """Return the connection that the look-ups use. Raises Unreachable."""
        return self._choose()

    async def _spenders(
        self, server: Interface, gone: Mapping[str, bytes], answers: Answers
    ) -> dict[str, tuple[bytes, int]]:
        """Find what spent the coins that are not listed, and at which height, by the history of their scripts."""
        candidates = {
            outpoint: _newest(answers[HISTORY, _hash(script)], but=_txid(outpoint)) for outpoint, script in gone.items()
        }
        if not any(candidates.values()):
            return {}
        calls = list(dict.fromkeys((PREVIOUS, txid) for txids in candidates.values() for txid in txids))
        fetched = await self._ask(server, calls[:SPENDERS_FETCHED_IN_ALL])
        spenders = {}
        for outpoint, txids in candidates.items():
            for txid, height in txids.items():
                tx = _transaction(fetched.get((PREVIOUS, txid)), txid)
                if tx is not None and any(txin.prevout.to_str() == outpoint for txin in tx.inputs()):
                    spenders[outpoint] = (bytes.fromhex(tx.serialize()), height)
        return spenders

    # Which server

    def _choose(self) -> Interface:
        network = self._wallet.network
        if network is None:
            raise Unreachable("Electrum is offline")
        main = network.interface
        with network.interfaces_lock:
            connected = [server for server in network.interfaces.values() if server.is_connected_and_ready()]
        others = [
            server
            for server in connected
            if server is not main
            and str(server.server) not in self._doubted
            and server.blockchain is network.blockchain()
            and server.tip >= network.get_local_height() - 1
        ]
        if self._server not in others:
            self._server = secrets.choice(others) if others else None
        if not others:
            self._doubted.clear()
        if (server := self._server or main) is None:
            raise Unreachable("no Electrum server is connected")
        return server

    def _doubt(self, server: Interface) -> None:
        """Ask somebody else next time: a server may lag or lie."""
        self._doubted.add(str(server.server))

    # How it is asked

    async def _ask(self, server: Interface, calls: Iterable[Call]) -> Answers:
        calls = list(dict.fromkeys(calls))
        name, was_silent = str(server.server), False
        try:
            if name not in self._without_batches and not self._one_by_one_next:
                try:
                    return await self._ask_in_a_batch(server, calls)
                except (TimeoutError, TaskTimeout):
                    was_silent = True
            self._one_by_one_next = False
            answers = await self._ask_one_by_one(server, calls)
        except Unreachable:
            self._doubt(server)
            raise
        if was_silent:
            self._without_batches.add(name)
        return answers

    async def _ask_in_a_batch(self, server: Interface, calls: Sequence[Call]) -> Answers:
        self.batches += 1
        _logger.debug(f"asking about coins in a batch of {len(calls)}")
        try:
            async with asyncio.timeout(BATCH_PATIENCE), _session(server).send_batch() as batch:
                for method, argument in calls:
                    batch.add_request(method, [argument])
                for _ in range(pings_to_fill(calls)):
                    batch.add_request("server.ping")
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            # aiorpcX cancels what waits when the connection ends. Too large an answer ends it, and must end one only.
            self._one_by_one_next = True
            raise Unreachable("the Electrum server has closed the connection") from None
        except CodeMessageError as error:
            raise Unreachable("the Electrum server broke its protocol") from error
        return {call: _result(call, result) for call, result in zip(calls, batch.results, strict=False)}

    async def _ask_one_by_one(self, server: Interface, calls: Sequence[Call]) -> Answers:
        session = _session(server)
        try:
            async with asyncio.timeout(SINGLES_PATIENCE):
                results = await asyncio.gather(
                    *(session.send_request(method, [argument]) for method, argument in calls), return_exceptions=True
                )
        except TimeoutError as error:
            raise Unreachable("the Electrum server did not answer in time") from error
        return {call: _result(call, result) for call, result in zip(calls, results, strict=True)}


def pings_to_fill(calls: Sequence[Call]) -> int:
    """Return how many `server.ping` make the batch, and the answer to it, large enough to leave at once."""
    requests = [Request(method, [argument]) for method, argument in calls]
    ping = Request("server.ping", [])
    size = len(_message(requests))
    to_fill_batch = -(-(NEVER_DEFERRED - size) // (len(_message([*requests, ping])) - size))
    return max(to_fill_batch, -(-NEVER_DEFERRED // SHORTEST_ANSWER))


def _message(requests: Sequence[Request]) -> bytes:
    message: bytes = JSONRPCv2.batch_message(Batch(requests), range(len(requests)))
    return message


def _session(server: Interface) -> Any:
    if server.session is None:
        raise Unreachable("the Electrum server is not connected")
    return server.session


def _result(call: Call, result: object) -> Any:
    """Return what was said. Raises Unreachable where it was nothing about what was asked, or nonsense."""
    if isinstance(result, CodeMessageError):
        if result.code in BUSY:
            raise Unreachable("the Electrum server is busy")
        return None
    if isinstance(result, BaseException):
        raise Unreachable("the Electrum server did not answer") from result
    return result if call[0] == PREVIOUS else _entries(result)


def _entries(result: object) -> list[Entry]:
    """Decode a list of transactions or coins. Raises Unreachable for anything else."""
    if not isinstance(result, list):
        raise Unreachable("the Electrum server broke its protocol")
    return [_entry(raw) for raw in result]


def _entry(raw: object) -> Entry:
    match raw:
        case {"tx_hash": txid, "height": int(height), **more} if is_hash256_str(txid) and -1 <= height < NO_BLOCK:
            vout = more.get("tx_pos", -1)
            if isinstance(vout, int):
                return Entry(txid, height, vout)
    raise Unreachable("the Electrum server broke its protocol")


def _txid(outpoint: str) -> str:
    return outpoint.partition(":")[0]


def _hash(script: bytes) -> str:
    scripthash: str = script_to_scripthash(script)
    return scripthash


def _transaction(raw: object, txid: str) -> Transaction | None:
    """Return the transaction if it is the one that was asked for; whatever else it may be, None."""
    try:
        tx = parse_transaction(bytes.fromhex(raw)) if isinstance(raw, str) else None
    except (DecodeError, ValueError):
        return None
    return tx if tx is not None and tx.txid() == txid else None


def _listed_height(outpoint: str, listed: Sequence[Entry] | None) -> int | None:
    """Return the height at which a server's list of unspent coins has `outpoint`; 0: in the mempool, None: nowhere."""
    heights = (max(0, entry.height) for entry in listed or () if f"{entry.txid}:{entry.vout}" == outpoint)
    return next(heights, None)


def _newest(history: Sequence[Entry] | None, *, but: str) -> dict[str, int]:
    """Return the transactions of a script that may have spent a coin of it, with their heights (0: in the mempool).

    The mempool's first, then the newest.
    """
    heights = {entry.txid: max(0, entry.height) for entry in history or () if entry.txid != but}
    newest = sorted(heights, key=lambda txid: heights[txid] or NO_BLOCK, reverse=True)
    return {txid: heights[txid] for txid in newest[:SPENDERS_FETCHED]}
