"""What chain.py and coinwatch.py rely on in Electrum's connections to servers, on real ones over loopback."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiorpcx
import pytest
from aiorpcx import RPCError
from electrum import network as electrum_network
from electrum.interface import Interface, NotificationSession, PaddedRSTransport, _RSClient
from electrum.network import Network
from electrum.util import OldTaskGroup

from payjoin_plugin.errors import Unreachable
from payjoin_plugin.wallet.chain import ChainLookUp, pings_to_fill
from tests.wallet import servers
from tests.wallet.lookups import SCRIPT
from tests.wallet.wallets import foreign_outpoint, make_config, run, transaction

Handler = Callable[[list[Any]], object]


class ElectrumX:
    """Answers JSON-RPC over TCP as it is told to, line by line, and keeps what came."""

    def __init__(self, answer: Handler) -> None:
        self.lines: list[bytes] = []
        self.heard = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while line := await reader.readline():
            self.lines.append(line)
            self.heard.set()
            if (answer := self._answer(json.loads(line))) is not None:
                writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()


@asynccontextmanager
async def connected(answer: Handler) -> AsyncIterator[tuple[Any, ElectrumX]]:
    """A session as Electrum opens it, over its own padding transport, and the server at its other end."""
    electrumx = ElectrumX(answer)
    listening = await asyncio.start_server(electrumx.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with OldTaskGroup() as group:
        network = SimpleNamespace(config=make_config_in_memory(), debug=False)
        interface = SimpleNamespace(taskgroup=group, network=network, debug=False, logger=None)
        client = _RSClient(
            session_factory=lambda *args, **kwargs: NotificationSession(*args, **kwargs, interface=interface),
            host="127.0.0.1",
            port=port,
            transport=PaddedRSTransport,
        )
        async with client as session:
            session.set_default_timeout(10)
            yield session, electrumx
        await group.cancel_remaining()
    listening.close()
    for writer in electrumx.writers:
        writer.close()
    await listening.wait_closed()


def make_config_in_memory() -> Any:
    return SimpleNamespace(NETWORK_MAX_INCOMING_MSG_SIZE=8_100_000)


def obedient(message: Any) -> object:
    """Answers each call with its method's name."""
    if isinstance(message, list):
        return [obedient(call) for call in message]
    return {"jsonrpc": "2.0", "id": message["id"], "result": message["method"]}


def without_batches(message: Any) -> object:
    """Answers a batch with the one error that names no request."""
    if isinstance(message, list):
        return {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "batches are not supported"}}
    return obedient(message)


def with_session(answer: Handler, what: Callable[[Any, ElectrumX], Awaitable[Any]]) -> Any:
    async def connect_and_do() -> Any:
        async with connected(answer) as (session, electrumx):
            return await what(session, electrumx)

    return run(connect_and_do())


CALLS = [("blockchain.transaction.get", "00" * 32), ("blockchain.scripthash.listunspent", "11" * 32)]


async def ask_in_a_batch(session: Any, *, pings: int = 0) -> tuple[object, ...]:
    async with session.send_batch() as batch:
        for method, argument in CALLS:
            batch.add_request(method, [argument])
        for _ in range(pings):
            batch.add_request("server.ping")
    results: tuple[object, ...] = batch.results
    return results


def test_a_batch_is_one_message_and_its_results_are_in_order() -> None:
    async def ask(session: Any, electrumx: ElectrumX) -> None:
        assert await ask_in_a_batch(session) == tuple(method for method, _ in CALLS)
        assert len(electrumx.lines) == 1

    with_session(obedient, ask)


def test_results_are_in_order_whatever_the_order_of_the_answers() -> None:
    async def ask(session: Any, _electrumx: ElectrumX) -> None:
        assert await ask_in_a_batch(session) == tuple(method for method, _ in CALLS)

    with_session(lambda message: list(reversed(obedient(message))), ask)  # type: ignore[call-overload]


def test_an_error_in_a_batch_is_a_result_that_is_an_exception() -> None:
    def answer(message: Any) -> object:
        return [{"jsonrpc": "2.0", "id": call["id"], "error": {"code": 2, "message": "no such"}} for call in message]

    async def ask(session: Any, _electrumx: ElectrumX) -> None:
        first, second = await ask_in_a_batch(session)
        assert isinstance(first, RPCError)
        assert isinstance(second, RPCError)
        assert first.code == 2

    with_session(answer, ask)


def test_a_small_message_soon_after_another_is_held_back_and_a_filled_batch_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PaddedRSTransport, "WAIT_FOR_BUFFER_GROWTH_SECONDS", 3600)  # longer than anybody here waits

    async def ask(session: Any, _electrumx: ElectrumX) -> None:
        await ask_in_a_batch(session, pings=pings_to_fill(CALLS))
        small = asyncio.ensure_future(session.send_request("server.ping", []))
        for _ in range(10):  # it takes the loop some turns to write it
            await asyncio.sleep(0)
        assert b"server.ping" in session.transport._sbuffer
        await ask_in_a_batch(session, pings=pings_to_fill(CALLS))
        assert await small == "server.ping", "it left with the batch"

    with_session(obedient, ask)


def test_a_server_that_takes_no_batches_leaves_a_batch_without_an_answer() -> None:
    async def ask(session: Any, electrumx: ElectrumX) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await ask_in_a_batch(session)
        assert len(electrumx.lines) == 1
        assert await session.send_request("blockchain.transaction.get", ["00" * 32]) == "blockchain.transaction.get"

    with_session(without_batches, ask)


def test_when_the_connection_ends_what_waits_is_cancelled() -> None:
    async def ask(session: Any, electrumx: ElectrumX) -> None:
        asking = asyncio.ensure_future(ask_in_a_batch(session))
        await electrumx.heard.wait()
        electrumx.writers[0].close()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not asking.cancelling()

    with_session(lambda _message: None, ask)


def test_electrums_own_time_limit_is_no_timeout_error_of_asyncio() -> None:
    async def ask(session: Any, _electrumx: ElectrumX) -> None:
        session.set_default_timeout(0.05)
        with pytest.raises(aiorpcx.TaskTimeout):
            await ask_in_a_batch(session)

    with_session(lambda _message: None, ask)


def test_a_subscription_puts_the_first_status_and_each_change_into_the_queue() -> None:
    async def ask(session: Any, electrumx: ElectrumX) -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        await session.subscribe("blockchain.scripthash.subscribe", ["aa"], queue)
        assert await queue.get() == ["aa", "blockchain.scripthash.subscribe"]
        change = {"jsonrpc": "2.0", "method": "blockchain.scripthash.subscribe", "params": ["aa", "new"]}
        electrumx.writers[0].write(json.dumps(change).encode() + b"\n")
        assert list(await queue.get()) == ["aa", "new"]
        session.unsubscribe(queue)
        assert queue not in session.subscriptions["blockchain.scripthash.subscribe['aa']"]

    with_session(obedient, ask)


# The look-up over such a connection


def look_up_over(session: Any) -> ChainLookUp:
    server: Any = servers.Server("main", servers.Chain())
    server.session = session
    return ChainLookUp(servers.wallet_on(servers.Network(server)))


def from_chain(chain: servers.Chain) -> Handler:
    """A server with the answers of the small chain that the other tests use."""
    model = servers.Session(chain)

    def answer(message: Any) -> object:
        if isinstance(message, list):
            return [answer(call) for call in message]
        result = model.answer(message["method"], message.get("params", []))
        head = {"jsonrpc": "2.0", "id": message["id"]}
        if isinstance(result, RPCError):
            return {**head, "error": {"code": result.code, "message": result.message}}
        return {**head, "result": result}

    return answer


def test_a_coin_is_looked_up_in_one_message() -> None:
    chain = servers.Chain()
    coin = f"{chain.add(transaction([foreign_outpoint('x')], [(SCRIPT, 9_000)]), height=5)}:0"

    async def look_up(session: Any, electrumx: ElectrumX) -> None:
        found = await look_up_over(session).look_up({coin: SCRIPT})
        assert found[coin].unspent
        assert found[coin].confirmed_at == 5
        assert len(electrumx.lines) == 1

    with_session(from_chain(chain), look_up)


def test_a_connection_that_ends_during_a_look_up_is_unreachable() -> None:
    async def look_up(session: Any, electrumx: ElectrumX) -> None:
        asking = asyncio.ensure_future(look_up_over(session).look_up({foreign_outpoint("x"): SCRIPT}))
        await electrumx.heard.wait()
        electrumx.writers[0].close()
        with pytest.raises(Unreachable):
            await asking

    with_session(lambda _message: None, look_up)


# What the look-ups read of Electrum's objects


def test_a_network_has_its_connections_in_a_dictionary_under_a_lock(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(electrum_network, "_INSTANCE", None)  # there may be but one, and the window's tests keep theirs

    async def look_at_it() -> None:
        network = Network(make_config(tmp_path))
        assert network.interface is None
        with network.interfaces_lock:
            assert network.interfaces == {}
        assert network.relay_fee is None
        assert network.blockchain().height() == network.get_local_height() == -1  # no header yet
        assert network.blockchain().read_header(0) is None
        assert not network.is_connected()

    run(look_at_it())


def test_a_connection_says_whether_it_is_ready_which_chain_it_follows_and_how_far() -> None:
    source = inspect.getsource(Interface.__init__)
    for attribute in ("self.session =", "self.tip =", "self.blockchain =", "self.got_disconnected =", "self.server ="):
        assert attribute in source
    assert callable(Interface.is_connected_and_ready)
