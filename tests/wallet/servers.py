"""A small Electrum server: a model of chain and mempool, behind objects that look like Electrum's connections to it.

Its answers have the form of ElectrumX 1.20; the interop tests hold the real one to the same.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Self

from aiorpcx import RPCError, TaskTimeout
from electrum.bitcoin import script_to_scripthash
from electrum.fee_policy import FeeHistogram, FeeTimeEstimates
from electrum.synchronizer import history_status
from electrum.transaction import Transaction

HEIGHT = 200
UNKNOWN = RPCError(
    2, "daemon error: DaemonError({'code': -5, 'message': 'No such mempool or blockchain transaction.'})"
)


class Chain:
    """Blocks and mempool, as one server sees them."""

    def __init__(self) -> None:
        self.height = HEIGHT
        self.txs: dict[str, tuple[Transaction, int]] = {}

    def add(self, tx: Transaction, *, height: int = 0) -> str:
        """Let `tx` be in the block of that height; 0: in the mempool."""
        txid: str = tx.txid()
        self.txs[txid] = (tx, height)
        return txid

    def transaction(self, txid: str) -> object:
        return self.txs[txid][0].serialize() if txid in self.txs else UNKNOWN

    def listunspent(self, scripthash: str) -> list[dict[str, object]]:
        spent = {txin.prevout.to_str() for tx, _ in self.txs.values() for txin in tx.inputs()}
        return [
            {"tx_hash": txid, "tx_pos": vout, "height": height, "value": value}
            for txid, vout, height, value in self._outputs(scripthash)
            if f"{txid}:{vout}" not in spent
        ]

    def history(self, scripthash: str) -> list[dict[str, object]]:
        paying = {txid for txid, _, _, _ in self._outputs(scripthash)}
        outpoints = {f"{txid}:{vout}" for txid, vout, _, _ in self._outputs(scripthash)}
        spending = {
            txid
            for txid, (tx, _) in self.txs.items()
            if any(txin.prevout.to_str() in outpoints for txin in tx.inputs())
        }
        return [{"tx_hash": txid, "height": self.txs[txid][1]} for txid in sorted(paying | spending)]

    def _outputs(self, scripthash: str) -> Iterator[tuple[str, int, int, int]]:
        for txid, (tx, height) in self.txs.items():
            for vout, txout in enumerate(tx.outputs()):
                if script_to_scripthash(txout.scriptpubkey) == scripthash:
                    yield txid, vout, height, txout.value


class Batch:
    """What `session.send_batch()` gives: requests are collected, and answered when the block is left."""

    def __init__(self, session: Session) -> None:
        self.results: tuple[object, ...] = ()
        self._session = session
        self._requests: list[tuple[str, list[str]]] = []

    def add_request(self, method: str, params: list[str] | tuple[()] = ()) -> None:
        self._requests.append((method, list(params)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._session.batches.append(self._requests)
        await self._session.on_batch()
        self.results = tuple(self._session.answer(method, params) for method, params in self._requests)


class Session:
    """A connection's session. Its faults are switched on by setting `on_batch`, `on_request` or `answers`."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.batches: list[list[tuple[str, list[str]]]] = []
        self.singles: list[tuple[str, list[str]]] = []
        self.answers: dict[str, object] = {}
        """Answers to a method that differ from the chain's."""
        self.on_batch: Callable[[], Any] = _fine
        self.on_request: Callable[[], Any] = _fine
        self.queues: dict[str, list[asyncio.Queue[list[object]]]] = {}
        self.refuses_to_watch: set[str] = set()

    def send_batch(self) -> Batch:
        return Batch(self)

    async def send_request(self, method: str, params: list[str]) -> object:
        self.singles.append((method, params))
        await self.on_request()
        answer = self.answer(method, params)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answer(self, method: str, params: list[str]) -> object:
        if method in self.answers:
            return self.answers[method]
        match method:
            case "blockchain.transaction.get":
                return self.chain.transaction(*params)
            case "blockchain.scripthash.listunspent":
                return self.chain.listunspent(*params)
            case "blockchain.scripthash.get_history":
                return self.chain.history(*params)
            case "server.ping":
                return None
        return RPCError(-32601, f"unknown method {method}")

    async def subscribe(self, _method: str, params: list[str], queue: asyncio.Queue[list[object]]) -> None:
        (scripthash,) = params
        self.queues.setdefault(scripthash, []).append(queue)
        await self.on_request()
        if scripthash in self.refuses_to_watch:
            raise RPCError(1, "history too large")
        await queue.put([scripthash, self.status(scripthash)])

    def unsubscribe(self, queue: asyncio.Queue[list[object]]) -> None:
        for queues in self.queues.values():
            if queue in queues:
                queues.remove(queue)

    def status(self, scripthash: str) -> str | None:
        history = [(str(entry["tx_hash"]), entry["height"]) for entry in self.chain.history(scripthash)]
        status: str | None = history_status(history)
        return status

    def notify(self) -> None:
        """Tell the subscribers of every script its status; on the event loop."""
        for scripthash, queues in self.queues.items():
            for queue in queues:
                queue.put_nowait([scripthash, self.status(scripthash)])


class Blockchain:
    """Headers, as far as the median time needs them: a block every ten minutes, each with a time of its own."""

    def height(self) -> int:
        return HEIGHT

    def is_tip_stale(self) -> bool:
        return True  # a wallet then sets no locktime

    def read_header(self, height: int) -> dict[str, int] | None:
        return {"timestamp": block_time(height)} if 0 <= height <= HEIGHT else None


BLOCKCHAIN = Blockchain()


def block_time(height: int) -> int:
    return 1_795_000_000 + 600 * height


class Server:
    """What Electrum calls an interface."""

    def __init__(self, name: str, chain: Chain) -> None:
        self.server = name
        self.session: Session | None = Session(chain)
        self.blockchain: object = BLOCKCHAIN
        self.tip = HEIGHT
        self.got_disconnected = asyncio.Event()
        self.on_broadcast: Callable[[Transaction], Any] = self._take

    async def broadcast_transaction(self, tx: Transaction) -> None:
        await self.on_broadcast(tx)

    async def get_history_for_scripthash(self, scripthash: str) -> list[dict[str, object]]:
        assert self.session is not None
        history: Any = await self.session.send_request("blockchain.scripthash.get_history", [scripthash])
        return list(history)

    async def close(self) -> None:
        self.got_disconnected.set()

    async def _take(self, tx: Transaction) -> None:
        assert self.session is not None
        self.session.chain.add(tx)

    def is_connected_and_ready(self) -> bool:
        return not self.got_disconnected.is_set()


class Network:
    """Electrum's connections: the first server is the wallet's own."""

    def __init__(self, *servers: Server) -> None:
        self.interface: Server | None = servers[0] if servers else None
        self.interfaces = {server.server: server for server in servers}
        self.interfaces_lock = threading.Lock()
        self.relay_fee: int | None = None
        self.fee_estimates = FeeTimeEstimates()
        self.mempool_fees = FeeHistogram()

    def blockchain(self) -> Blockchain:
        return BLOCKCHAIN

    def get_local_height(self) -> int:
        return HEIGHT


def wallet_on(network: Network | None) -> Any:
    """As much of a wallet as the look-ups see."""
    return SimpleNamespace(network=network)


async def _fine() -> None:
    pass


async def silence() -> None:
    """The server says nothing, ever."""
    await asyncio.Event().wait()


async def connection_lost() -> None:
    """What aiorpcX does to a waiting request when its connection ends."""
    raise asyncio.CancelledError


async def timed_out() -> None:
    """What aiorpcX does to a request that its own limit has ended."""
    raise TaskTimeout(30)
