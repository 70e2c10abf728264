"""A sender and a receiver, joined in memory: whole payjoins, and what becomes of them when somebody stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from electrum.transaction import Transaction

from payjoin_plugin.bip78.psbt import psbt_bytes
from payjoin_plugin.client.runner import End
from payjoin_plugin.session.events import Abort, ProposalReceived
from payjoin_plugin.session.receiver import ProposalPosted, SessionClosed
from payjoin_plugin.session.sender import SenderClosed
from payjoin_plugin.session.status import details_of
from tests.bip78.payments import KINDS, OUR_KINDS
from tests.helpers import jumping
from tests.pair import Pair

HAPPY = [
    "Created",
    "RetrievedOriginal",
    "AcceptedOriginal",
    "CommittedContribution",
    "SignedProposal",
    "PostedProposal",
]

RECEIVER_POINTS = [
    "before GET",
    "after GET",
    "recorded RetrievedOriginal",
    "looking up",
    "recorded AcceptedOriginal",
    "recorded CommittedContribution",
    "signing",
    "recorded SignedProposal",
    "before save",
    "after save",
    "before POST",
    "after POST",
    "recorded PostedProposal",
    "before GET (2)",
    "after GET (2)",
]
"""Every moment between two things that a receiver does. The second GET looks at what the sender's mailbox holds."""

SENDER_POINTS = [
    "before POST",
    "after POST",
    "recorded PostedOriginal",
    "before GET",
    "after GET",
    "recorded Closed",
    "before save",
    "after save",
]


def check_the_end(pair: Pair) -> Transaction:
    """The sender has a payjoin, it is what the receiver's log says, and no other answer was ever given."""
    state = pair.state
    assert isinstance(state, ProposalPosted)
    payjoin = pair.sender.payjoin()
    assert pair.sender.answers == {psbt_bytes(state.signed.proposal).rstrip(b"\0")}
    spent = {txin.prevout.to_str() for txin in payjoin.inputs()}
    assert spent == {*state.committed.outpoints, *(coin.outpoint for coin in pair.made.coins)}
    assert payjoin.outputs()[0].value == 50_000 + 80_000 - state.committed.receiver_fee_sat
    return payjoin


@jumping
async def test_every_moment_is_named() -> None:
    pair = Pair()
    await pair.run()
    assert pair.receiver.points.passed == RECEIVER_POINTS
    assert pair.sender.points.passed == SENDER_POINTS


# Whole payjoins


@pytest.mark.parametrize("our_kind", OUR_KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_payjoin_of_every_kind_of_coin_comes_about(kind: str, our_kind: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair(kind, our_kind=our_kind)
        end, _ = await pair.run()
        assert pair.events == HAPPY
        assert end is End.EXPIRED
        payjoin = check_the_end(pair)
        foretold = details_of(pair.state).payjoin_txid
        assert foretold in (None, payjoin.txid())

    run()


@jumping
async def test_a_payjoin_costs_one_save_and_one_look_at_the_chain() -> None:
    pair = Pair()
    await pair.run()
    assert pair.receiver.store.saves == 1
    assert pair.receiver.points.passed.count("looking up") == 1
    assert pair.receiver.wallet.signatures == 1


@jumping
async def test_a_sender_who_comes_late_finds_the_receiver_waiting() -> None:
    pair = Pair()
    receiver = asyncio.ensure_future(pair.receiver.run(pair.session_id))
    await asyncio.sleep(3000)
    await pair.sender.run()
    await receiver
    check_the_end(pair)


@jumping
async def test_a_receiver_who_comes_late_finds_the_original() -> None:
    pair = Pair()
    sender = asyncio.ensure_future(pair.sender.run())
    await asyncio.sleep(3000)
    await pair.receiver.run(pair.session_id)
    await sender
    check_the_end(pair)


@jumping
async def test_a_sender_who_offers_a_fee_pays_for_our_input() -> None:
    pair = Pair(query="v=2&maxadditionalfeecontribution=1000&additionalfeeoutputindex=1")
    await pair.run()
    payjoin = check_the_end(pair)
    assert payjoin.outputs()[0].value == 130_000
    assert payjoin.outputs()[1].value < 100_000


@jumping
async def test_a_fee_out_of_another_output_of_ours_is_no_offer() -> None:
    pair = Pair(query="v=2&maxadditionalfeecontribution=1000&additionalfeeoutputindex=1")
    pair.receiver.wallet.own_vouts = (0, 1)
    await pair.run()
    payjoin = check_the_end(pair)
    assert payjoin.outputs()[0].value < 130_000
    assert payjoin.outputs()[1].value == 100_000


# Killed


@pytest.mark.parametrize("point", RECEIVER_POINTS)
def test_a_receiver_killed_at_any_moment_comes_to_the_same_end(point: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        pair.receiver.points.cut_power_at(point)
        await pair.run()
        assert pair.receiver.boots == 2
        check_the_end(pair)

    run()


@pytest.mark.parametrize("point", RECEIVER_POINTS)
def test_a_receiver_killed_at_the_same_moment_again_comes_to_the_same_end(point: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        name = point.partition(" (")[0]
        pair.receiver.points.cut_power_at(point)
        pair.receiver.points.cut_power_at(f"{name} ({3 if '(' in point else 2})")
        await pair.run()
        check_the_end(pair)

    run()


@pytest.mark.parametrize("point", SENDER_POINTS)
def test_a_sender_killed_at_any_moment_comes_to_the_same_end(point: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        pair.sender.points.cut_power_at(point)
        await pair.run()
        check_the_end(pair)

    run()


@jumping
async def test_both_killed_before_they_knew_that_they_were_heard_come_to_the_same_end() -> None:
    pair = Pair()
    pair.receiver.points.cut_power_at("after POST")
    pair.sender.points.cut_power_at("after POST")
    await pair.run()
    assert len(pair.world.posted_to(pair.sender.reply_key.public_key)) == 2
    assert len(pair.world.posted_to(pair.endpoint.receiver_key)) == 2
    check_the_end(pair)


# Aborted


@pytest.mark.parametrize("cancelled", [True, False], ids=["cancelled at once", "not cancelled yet"])
@pytest.mark.parametrize("point", RECEIVER_POINTS)
def test_nothing_is_begun_after_an_abort(point: str, *, cancelled: bool) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        asked_before: list[int] = []

        def abort() -> Awaitable[None] | None:
            pair.receiver.abort(pair.session_id)
            asked_before.append(len(pair.receiver.transport.asked))
            if cancelled:
                task.cancel()
            return None if point.startswith("recorded") else pair.receiver.store.flush()

        pair.receiver.points.do_at(point, abort)
        task = asyncio.ensure_future(pair.run_receiver())
        await asyncio.gather(task, return_exceptions=True)
        await pair.receiver.store.flush()

        state = pair.state
        assert isinstance(state, SessionClosed)
        assert state.outcome == Abort()
        assert pair.events[:-1] == HAPPY[: len(pair.events) - 1]
        # A call that was under way may still arrive; no other one is begun.
        begun = pair.receiver.transport.asked[asked_before[0] :]
        under_way = [point.split()[1]] if point.startswith("before") and point != "before save" else []
        assert begun == ([] if cancelled else under_way)
        pair.receiver.power_up()
        assert await pair.receiver.run(pair.session_id) is End.CLOSED

    run()


# Expired


@pytest.mark.parametrize("point", RECEIVER_POINTS)
def test_nothing_is_begun_after_expiry(point: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        asked_before: list[int] = []

        def expire() -> Awaitable[None] | None:
            asked_before.append(len(pair.receiver.transport.asked))
            if point.startswith("recorded"):
                pair.receiver.slept += 4000
                return None
            return asyncio.sleep(4000)

        pair.receiver.points.do_at(point, expire)
        assert await pair.run_receiver() is End.EXPIRED
        assert "Closed" not in pair.events
        assert pair.receiver.transport.asked[asked_before[0] :] == []
        pair.receiver.power_up()
        assert await pair.receiver.run(pair.session_id) is End.EXPIRED

    run()


@jumping
async def test_an_answer_that_was_given_before_expiry_stands() -> None:
    pair = Pair()
    pair.receiver.points.do_at("after POST", lambda: asyncio.sleep(4000))
    end, closed = await pair.run()
    assert end is End.EXPIRED
    assert isinstance(closed, SenderClosed)
    assert isinstance(closed.outcome, ProposalReceived)
