from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest
from aiorpcx import Batch as RpcBatch
from aiorpcx import JSONRPCv2, Request
from electrum.bitcoin import script_to_scripthash
from electrum.interface import PaddedRSTransport
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.errors import Unreachable
from payjoin_plugin.wallet import chain as chain_module
from payjoin_plugin.wallet.chain import SPENDERS_FETCHED, pings_to_fill
from tests.wallet.lookups import ALICE, BOB, SCRIPT, Setting, known_as, raw
from tests.wallet.wallets import foreign_outpoint, run, transaction

# What comes out


def test_an_unspent_coin_is_known_with_its_transaction_and_height(one: Setting) -> None:
    assert one.ask() == known_as(one.funding, unspent=True, confirmed_at=120)


def test_a_coin_of_the_mempool_has_no_height(one: Setting) -> None:
    one.chain.txs[one.funding.txid()] = (one.funding, -1)
    assert one.ask() == known_as(one.funding, unspent=True)


@pytest.mark.parametrize("height", [0, 130])
def test_the_transaction_that_spent_a_coin_is_found(one: Setting, height: int) -> None:
    spender = transaction([one.coin], [(BOB, 49_000)])
    one.chain.add(spender, height=height)
    assert one.ask() == known_as(one.funding, spender=spender, spent_at=height)
    assert one.look_up.batches == 2


def test_a_coin_that_nobody_knows_is_unknown(one: Setting) -> None:
    one.chain.txs.clear()
    assert one.ask() == known_as(None)
    assert one.look_up.batches == 1  # with an empty history there is no spender to fetch


def test_another_transaction_at_the_script_is_no_spender(one: Setting) -> None:
    one.session().answers["blockchain.scripthash.listunspent"] = []
    one.chain.add(transaction([foreign_outpoint("y")], [(ALICE, 7_000)]), height=150)
    assert one.ask().spender is None


def test_a_coin_at_another_script_than_claimed_is_not_listed(one: Setting) -> None:
    found = run(one.look_up.look_up({one.coin: BOB}))[one.coin]
    assert not found.unspent
    assert found.previous_tx == raw(one.funding)


def test_each_of_many_coins_gets_its_own_answer(one: Setting) -> None:
    spent = f"{one.funding.txid()}:0"
    spender = transaction([spent], [(BOB, 900)])
    one.chain.add(spender)
    unknown = foreign_outpoint("never made")
    found = run(one.look_up.look_up({one.coin: SCRIPT, spent: BOB, unknown: SCRIPT}))
    assert {outpoint: (on.unspent, on.spender) for outpoint, on in found.items()} == {
        one.coin: (True, None),
        spent: (False, raw(spender)),
        unknown: (False, None),
    }


def test_nothing_is_asked_about_no_coins(one: Setting) -> None:
    assert run(one.look_up.look_up({})) == {}
    assert one.look_up.batches == 0


# What is not believed


@pytest.mark.parametrize("answer", [None, 7, "", "zz", "00", {"hex": "00"}, [], "cHNidP8=", "70736274ff0100"], ids=str)
def test_a_previous_transaction_that_is_none_is_unknown(one: Setting, answer: object) -> None:
    one.session().answers["blockchain.transaction.get"] = answer
    assert one.ask() == known_as(None, unspent=True, confirmed_at=120)


def test_another_transaction_than_the_one_asked_for_is_not_believed(one: Setting) -> None:
    other = transaction([foreign_outpoint("z")], [(BOB, 1_000), (ALICE, 99_000)])
    one.session().answers["blockchain.transaction.get"] = other.serialize()
    assert one.ask().previous_tx is None


def test_a_spender_that_was_not_asked_for_is_not_believed(one: Setting) -> None:
    real = transaction([one.coin], [(BOB, 49_000)])
    one.chain.add(real)
    invented = transaction([one.coin], [(BOB, 1)])
    one.session().answers["blockchain.transaction.get"] = invented.serialize()
    assert one.ask().spender is None


@pytest.mark.parametrize(("vout", "height"), [(0, 5), (2, 5), (-1, 5), (None, 5)])
def test_a_list_that_does_not_name_the_coin_leaves_it_unlisted(one: Setting, vout: int | None, height: int) -> None:
    entry = {"tx_hash": one.funding.txid(), "height": height} | ({} if vout is None else {"tx_pos": vout})
    one.session().answers["blockchain.scripthash.listunspent"] = [entry]
    assert not one.ask().unspent


TXID = "ab" * 32
NO_LISTS: list[Any] = [
    None,
    {},
    "x",
    [None],
    [[]],
    [{}],
    [{"tx_hash": TXID}],
    [{"tx_hash": 1, "height": 5}],
    [{"tx_hash": "ab", "height": 5}],
    [{"tx_hash": "ü" * 64, "height": 5}],
    [{"tx_hash": TXID, "height": "5"}],
    [{"tx_hash": TXID, "height": None}],
    [{"tx_hash": TXID, "height": 5.5}],
    [{"tx_hash": TXID, "height": float("inf")}],
    [{"tx_hash": TXID, "height": float("nan")}],
    [{"tx_hash": TXID, "height": -2}],
    [{"tx_hash": TXID, "height": 2**31}],
    [{"tx_hash": TXID, "height": 5, "tx_pos": "1"}],
    [{"tx_hash": TXID, "height": 5}, {}],
]


@pytest.mark.parametrize("nonsense", NO_LISTS, ids=str)
@pytest.mark.parametrize("method", [chain_module.UNSPENT, chain_module.HISTORY])
def test_nonsense_is_the_fault_of_the_server_and_the_next_one_is_asked(method: str, nonsense: object) -> None:
    setting = Setting("main", "one", "two")
    for number in (1, 2):
        setting.session(number).answers[method] = nonsense
    for _ in range(2):
        with pytest.raises(Unreachable):
            setting.ask()
    assert [len(setting.session(number).batches) for number in (1, 2)] == [1, 1]
    assert setting.ask().unspent


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["tx_hash", "tx_pos", "height"]), inner)
    ),
    max_leaves=10,
)


@given(json_values, json_values, json_values)
def test_no_answer_whatever_is_a_fault_of_ours(transaction_get: object, listunspent: object, history: object) -> None:
    setting = Setting("main")
    setting.session().answers = {
        "blockchain.transaction.get": transaction_get,
        "blockchain.scripthash.listunspent": listunspent,
        "blockchain.scripthash.get_history": history,
    }
    with suppress(Unreachable):
        assert setting.ask().spender is None


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    float("inf"),
    float("nan"),
    "",
    "ü",
    TXID,
    [],
    {},
    [[]],
    [None],
    [{}],
    10**30,
    {"a": 1},
]


def test_no_list_that_is_nearly_right_is_a_fault_of_ours() -> None:
    rng = random.Random(5)

    def odd_list(txid: str) -> object:
        names = ("tx_hash", "tx_pos", "height", "value")
        entries = [
            {name: rng.choice([*ODD, txid]) for name in rng.sample(names, rng.randint(0, 4))}
            for _ in range(rng.randint(1, 3))
        ]
        return rng.choice([rng.choice(ODD), entries, [rng.choice(ODD)]])

    async def look_up_some() -> None:
        setting = Setting("main")
        for _ in range(300):
            setting.session().answers = {
                method: odd_list(setting.funding.txid())
                for method in (chain_module.PREVIOUS, chain_module.UNSPENT, chain_module.HISTORY)
                if rng.random() < 0.6
            }
            with suppress(Unreachable):
                await setting.look_up.look_up({setting.coin: SCRIPT})

    for _ in range(10):  # a part at a time: on a busy machine all of them take longer than anybody waits
        run(look_up_some())


def test_a_busy_script_costs_a_bounded_number_of_transactions(one: Setting) -> None:
    one.session().answers["blockchain.scripthash.listunspent"] = []
    for number in range(SPENDERS_FETCHED + 30):
        one.chain.add(
            transaction([foreign_outpoint(f"y{number}")], [(ALICE, 7_000 + number)]), height=130 + number % 50
        )
    one.ask()
    asked = [params for method, params in one.session().batches[1] if method == "blockchain.transaction.get"]
    assert len(asked) == SPENDERS_FETCHED


def test_the_mempool_is_looked_through_first_then_the_newest_blocks(one: Setting) -> None:
    for number in range(SPENDERS_FETCHED):
        one.chain.add(transaction([foreign_outpoint(f"y{number}")], [(ALICE, 7_000 + number)]), height=121 + number)
    in_mempool = transaction([one.coin], [(BOB, 49_000)])
    one.chain.add(in_mempool)
    assert one.ask().spender == raw(in_mempool)
    asked = [params[0] for method, params in one.session().batches[1] if method == "blockchain.transaction.get"]
    heights = [one.chain.txs[txid][1] for txid in asked]
    assert heights == [0, *range(120 + SPENDERS_FETCHED, 121, -1)]


# One round trip


def test_all_is_asked_in_one_batch(one: Setting) -> None:
    one.ask()
    (batch,) = one.session().batches
    scripthash = script_to_scripthash(SCRIPT)
    assert [call for call in batch if call[0] != "server.ping"] == [
        ("blockchain.scripthash.listunspent", [scripthash]),
        ("blockchain.scripthash.get_history", [scripthash]),
        ("blockchain.transaction.get", [one.funding.txid()]),
    ]
    assert one.look_up.batches == 1
    assert one.session().singles == []


def test_coins_of_one_script_and_one_transaction_are_asked_for_once(one: Setting) -> None:
    both = transaction([foreign_outpoint("both")], [(ALICE, 1_000), (ALICE, 2_000)])
    txid = one.chain.add(both, height=5)
    found = run(one.look_up.look_up({f"{txid}:0": SCRIPT, f"{txid}:1": SCRIPT}))
    assert all(on.unspent for on in found.values())
    assert len([call for call in one.session().batches[0] if call[0] != "server.ping"]) == 3


def test_a_previous_transaction_at_hand_is_not_asked_for(one: Setting) -> None:
    found = one.ask(known={one.funding.txid(): raw(one.funding)})
    assert found.previous_tx == raw(one.funding)
    assert "blockchain.transaction.get" not in [method for method, _ in one.session().batches[0]]


def test_a_wrong_transaction_at_hand_is_asked_for_all_the_same(one: Setting) -> None:
    other = transaction([foreign_outpoint("z")], [(ALICE, 1_000)])
    assert one.ask(known={one.funding.txid(): raw(other)}).previous_tx == raw(one.funding)


@pytest.mark.parametrize("inputs", [1, 2, 3, 10, 60])
def test_batch_and_answer_are_large_enough_to_leave_at_once(inputs: int) -> None:
    calls = [
        (method, f"{number:064x}")
        for number in range(inputs)
        for method in (chain_module.PREVIOUS, chain_module.UNSPENT, chain_module.HISTORY)
    ]
    pings = pings_to_fill(calls)
    requests = [Request(method, [argument]) for method, argument in calls] + [Request("server.ping", [])] * pings
    batch = JSONRPCv2.batch_message(RpcBatch(requests), range(len(requests)))
    answers = [JSONRPCv2.response_message(None, number) for number in range(len(requests))]
    for message in (batch, JSONRPCv2.batch_message_from_parts(answers)):
        assert len(message) >= 2 * PaddedRSTransport.MIN_PACKET_SIZE
