from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest
from electrum import util
from electrum.bitcoin import script_to_scripthash

from payjoin_plugin.wallet import coinwatch
from payjoin_plugin.wallet.chain import ChainLookUp
from payjoin_plugin.wallet.coinwatch import MAX_SCRIPTS, watch_coins
from tests.wallet.servers import Chain, Network, Server, connection_lost, wallet_on
from tests.wallet.wallets import foreign_outpoint, run, transaction

SCRIPT = bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6")
OTHER = bytes.fromhex("00141863143c14c5166804bd19203356da136c985678")


class Watch:
    """A running watch on a chain with one coin, and two servers."""

    def __init__(self) -> None:
        self.chain = Chain()
        self.coin = f"{self.chain.add(transaction([foreign_outpoint('x')], [(SCRIPT, 9_000)]), height=5)}:0"
        self.main, self.other = Server("main", self.chain), Server("other", self.chain)
        self.network = Network(self.main, self.other)
        self.asked = ChainLookUp(wallet_on(self.network))
        self.calls = 0
        self._task: Future[None] | None = None

    def start(self, *scripts: bytes, called: Callable[[], None] | None = None) -> Future[None]:
        watch = watch_coins(self.asked, scripts or [SCRIPT], called or self.called)
        self._task = asyncio.run_coroutine_threadsafe(watch, util.get_asyncio_loop())
        turn()
        return self._task

    def look_up(self) -> None:
        """Let the check see the coin, as it was before the watch."""
        run(self.asked.look_up({self.coin: SCRIPT}))

    def called(self) -> None:
        self.calls += 1

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        turn()

    def double_spend(self, server: Server) -> None:
        self.chain.add(transaction([self.coin], [(OTHER, 8_000)]))
        assert server.session is not None
        on_loop(server.session.notify)

    def drop(self, server: Server) -> None:
        self.network.interfaces.pop(server.server)
        on_loop(server.got_disconnected.set)


def on_loop(what: Callable[[], object]) -> None:
    async def do() -> None:
        what()

    run(do())
    turn()


def turn() -> None:
    """Let everything on the loop run that can run now."""

    async def turns() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    run(turns())


def watched_on(server: Server) -> list[str]:
    assert server.session is not None
    return [scripthash for scripthash, queues in server.session.queues.items() if queues]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    monkeypatch.setattr(coinwatch, "AGAIN", 0)
    watch = Watch()
    yield watch
    watch.stop()


def test_the_connection_of_the_check_is_subscribed_to(watch: Watch) -> None:
    watch.start()
    assert watched_on(watch.other) == [script_to_scripthash(SCRIPT)]
    assert watched_on(watch.main) == []


def test_the_first_status_is_no_change(watch: Watch) -> None:
    watch.start()
    assert watch.calls == 0


def test_a_double_spend_is_heard(watch: Watch) -> None:
    watch.start()
    watch.double_spend(watch.other)
    assert watch.calls == 1


def test_the_same_status_again_is_no_change(watch: Watch) -> None:
    watch.start()
    assert watch.other.session is not None
    on_loop(watch.other.session.notify)
    assert watch.calls == 0


def test_when_the_connection_ends_another_one_is_watched(watch: Watch) -> None:
    watch.start()
    watch.drop(watch.other)
    assert watched_on(watch.main) == [script_to_scripthash(SCRIPT)]
    assert watched_on(watch.other) == []
    watch.double_spend(watch.main)
    assert watch.calls == 1


def test_what_happened_between_two_connections_is_heard(watch: Watch) -> None:
    watch.start()
    watch.chain.add(transaction([watch.coin], [(OTHER, 8_000)]))
    watch.drop(watch.other)
    assert watch.calls == 1


def test_what_happened_between_the_look_up_and_the_watch_is_heard(watch: Watch) -> None:
    watch.look_up()
    watch.chain.add(transaction([watch.coin], [(OTHER, 8_000)]))
    watch.start()
    assert watch.calls == 1


def test_what_the_look_up_saw_is_no_change(watch: Watch) -> None:
    watch.chain.add(transaction([watch.coin], [(OTHER, 8_000)]))
    watch.look_up()
    watch.start()
    assert watch.calls == 0


def test_offline_it_waits_for_a_connection(watch: Watch) -> None:
    main, watch.network.interface = watch.network.interface, None
    watch.network.interfaces.clear()
    watch.start()
    assert watched_on(watch.main) == []
    watch.network.interface = main
    turn()
    assert watched_on(watch.main) == [script_to_scripthash(SCRIPT)]


def test_equal_scripts_are_watched_once_and_at_most_twenty(watch: Watch) -> None:
    scripts = [bytes([0, 20, *number.to_bytes(20, "big")]) for number in range(MAX_SCRIPTS + 10)]
    watch.start(*scripts[:3], *scripts)
    assert watched_on(watch.other) == [script_to_scripthash(script) for script in scripts[:MAX_SCRIPTS]]


def test_a_script_that_the_server_refuses_leaves_the_others_watched(watch: Watch) -> None:
    assert watch.other.session is not None
    watch.other.session.refuses_to_watch = {script_to_scripthash(OTHER)}
    watch.start(OTHER, SCRIPT)
    watch.double_spend(watch.other)
    assert watch.calls == 1


def test_a_connection_that_ends_while_it_is_asked_is_left(watch: Watch) -> None:
    assert watch.other.session is not None
    watch.other.session.on_request = connection_lost
    watch.start()
    watch.drop(watch.other)
    assert watched_on(watch.main) == [script_to_scripthash(SCRIPT)]


def test_a_stopped_watch_leaves_nothing_behind(watch: Watch) -> None:
    task = watch.start()
    watch.stop()
    assert task.cancelled()
    assert watched_on(watch.other) == []
    watch.double_spend(watch.other)
    assert watch.calls == 0


def test_a_fault_in_what_is_called_ends_the_watch_and_is_seen(watch: Watch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    task = watch.start(called=broken)
    watch.double_spend(watch.other)
    with pytest.raises(ZeroDivisionError):
        task.result(timeout=1)
    assert watched_on(watch.other) == []
