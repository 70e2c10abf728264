"""Which Electrum server is asked about a sender's coins, and what happens when it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiorpcx import ProtocolError, RPCError

from payjoin_plugin.errors import Unreachable
from payjoin_plugin.wallet import chain as chain_module
from payjoin_plugin.wallet.chain import ChainLookUp
from tests.wallet.lookups import SCRIPT, Setting, known_as
from tests.wallet.servers import Network, Server, connection_lost, silence, timed_out, wallet_on
from tests.wallet.wallets import foreign_outpoint, run

# Which server


def test_the_wallets_own_server_is_not_asked_where_there_is_another(two: Setting) -> None:
    assert two.ask().unspent
    assert two.session(0).batches == []
    assert len(two.session(1).batches) == 1


def test_one_server_is_kept_to(two: Setting) -> None:
    setting = Setting("main", *(f"other {number}" for number in range(10)))
    for _ in range(5):
        setting.ask()
    assert sorted(len(setting.session(number).batches) for number in range(11)) == [0] * 10 + [5]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda server: setattr(server, "tip", 150),
        lambda server: setattr(server, "blockchain", "a fork"),
        lambda server: server.got_disconnected.set(),
    ],
    ids=["lagging", "on a fork", "gone"],
)
def test_a_server_that_cannot_know_is_not_asked(two: Setting, spoil: Callable[[Server], None]) -> None:
    spoil(two.servers[1])
    two.ask()
    assert len(two.session(0).batches) == 1


def test_where_something_stayed_open_another_server_is_asked_next(two: Setting) -> None:
    two.session(1).answers["blockchain.scripthash.listunspent"] = []
    assert not two.ask().unspent
    assert two.ask().unspent
    assert len(two.session(0).batches) == 1


def test_after_the_last_server_it_is_the_first_ones_turn_again(two: Setting) -> None:
    two.chain.txs.clear()
    for _ in range(4):
        two.ask()
    assert [len(two.session(number).batches) for number in (0, 1)] == [2, 2]


def test_offline_nobody_is_asked() -> None:
    with pytest.raises(Unreachable, match="offline"):
        run(ChainLookUp(wallet_on(None)).look_up({foreign_outpoint("x"): SCRIPT}))


def test_without_a_connection_nobody_is_asked() -> None:
    with pytest.raises(Unreachable, match="no Electrum server"):
        run(ChainLookUp(wallet_on(Network())).look_up({foreign_outpoint("x"): SCRIPT}))


def test_a_server_without_a_session_is_unreachable(one: Setting) -> None:
    one.servers[0].session = None
    with pytest.raises(Unreachable):
        one.ask()


# What goes wrong


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "BATCH_PATIENCE", 0.3)
    monkeypatch.setattr(chain_module, "SINGLES_PATIENCE", 0.3)


@pytest.mark.usefixtures("_short")
def test_a_server_that_takes_no_batches_is_asked_one_by_one_and_from_then_on(one: Setting) -> None:
    one.session().on_batch = silence
    assert one.ask().unspent
    assert one.ask().unspent
    assert len(one.session().batches) == 1
    assert len(one.session().singles) == 6


def test_electrums_own_time_limit_counts_as_silence(one: Setting) -> None:
    one.session().on_batch = timed_out
    assert one.ask().unspent


def test_one_by_one_an_unknown_transaction_is_unknown(one: Setting) -> None:
    one.session().on_batch = timed_out
    one.chain.txs.clear()
    assert one.ask() == known_as(None)


@pytest.mark.usefixtures("_short")
def test_a_server_that_is_silent_at_all_is_unreachable_and_not_blamed_for_batches(two: Setting) -> None:
    two.session(1).on_batch = silence
    two.session(1).on_request = silence
    with pytest.raises(Unreachable, match="in time"):
        two.ask()
    assert two.ask().unspent  # the other server
    assert len(two.session(0).batches) == 1
    two.look_up._doubted.clear()
    two.session(1).on_batch = two.session(0).on_batch
    two.ask()
    assert len(two.session(1).batches) == 2


def test_a_connection_that_ends_is_unreachable_and_the_next_is_asked_one_by_one(two: Setting) -> None:
    two.session(1).on_batch = connection_lost
    with pytest.raises(Unreachable, match="closed"):
        two.ask()
    assert two.ask().unspent  # whatever was too large for a batch does not end this connection too
    assert two.session(0).batches == []
    assert len(two.session(0).singles) == 3
    two.look_up._doubted.clear()
    two.session(1).on_batch = two.session(0).on_batch
    two.ask()
    assert len(two.session(1).batches) == 2
    del two.network.interfaces["other"]
    two.ask()
    assert len(two.session(0).batches) == 1


def test_a_connection_that_ends_between_single_questions_is_unreachable(one: Setting) -> None:
    one.session().on_batch = timed_out
    one.session().on_request = connection_lost
    with pytest.raises(Unreachable):
        one.ask()


@pytest.mark.parametrize("code", [-102, -101, -32603])
def test_a_busy_servers_error_is_no_answer_about_the_coin(one: Setting, code: int) -> None:
    one.session().answers["blockchain.transaction.get"] = RPCError(code, "busy")
    with pytest.raises(Unreachable, match="busy"):
        one.ask()


def test_an_error_about_one_script_leaves_the_coin_unlisted(one: Setting) -> None:
    one.session().answers["blockchain.scripthash.listunspent"] = RPCError(1, "history too large")
    one.session().answers["blockchain.scripthash.get_history"] = RPCError(1, "history too large")
    assert one.ask() == known_as(one.funding)


def test_a_server_that_breaks_the_protocol_is_unreachable(one: Setting) -> None:
    async def broken() -> None:
        raise ProtocolError(-32600, "response to unsent batch")

    one.session().on_batch = broken
    with pytest.raises(Unreachable, match="protocol"):
        one.ask()


def test_a_cancelled_look_up_is_cancelled(one: Setting) -> None:
    async def cancelled() -> None:
        one.session().on_batch = silence
        asking = asyncio.ensure_future(one.look_up.look_up({one.coin: SCRIPT}))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run(cancelled())
    assert not one.look_up._one_by_one_next
