"""A sender of the old protocol and a receiver, joined in memory: BIP 77, *Backwards compatibility*."""

from __future__ import annotations

import asyncio
import json

import pytest

from payjoin_plugin.bip78.parameters import Parameters
from payjoin_plugin.bip78.psbt import Psbt
from payjoin_plugin.bip78.sender_checks import check_proposal
from payjoin_plugin.client.runner import End
from payjoin_plugin.errors import Fault
from payjoin_plugin.session.events import Abort, Failure
from payjoin_plugin.session.receiver import PostingProposal, ProposalPosted, held_original
from tests.bip78.payments import BOB, payment, sign_senders
from tests.helpers import jumping
from tests.mailroom import faults
from tests.mailroom.directory import Answer
from tests.mailroom.faults import Planned
from tests.mailroom.journal import Seen
from tests.pair import Pair, send_v1
from tests.world import HOLD

UNAVAILABLE = 503

LOST = ["after GET", "recorded RetrievedOriginal", "looking up", "signing", "recorded SignedProposal", "before save"]
"""Moments at which only the memory has the original: the directory hands it out once, and holds it no longer."""
KEPT = ["after save", "before PUT"]
TOLD = ["after PUT", "recorded PostedProposal"]


async def pay(pair: Pair, query: str = "v=1") -> Answer:
    """Pay while the receiver runs; return what the sender hears."""
    receiver = asyncio.ensure_future(pair.receiver.run(pair.session_id))
    answer = await send_v1(pair.world, pair.endpoint, pair.made, query)
    await receiver
    return answer


def check_proposal_in(pair: Pair, answer: Answer) -> None:
    assert answer.status == 200
    proposal = Psbt(answer.body.decode())
    parameters = Parameters(version=1, output_substitution=False)
    restored = check_proposal(proposal, pair.made.original(), parameters=parameters, payee_script=BOB.script)
    assert sign_senders(restored, pair.made.coins).outputs()[0].value > 50_000
    assert set(pair.world.put()) == {answer.body}


@jumping
async def test_an_old_sender_gets_a_payjoin() -> None:
    pair = Pair()
    check_proposal_in(pair, await pay(pair))
    assert isinstance(pair.state, ProposalPosted)
    assert pair.receiver.transport.asked == ["GET", "PUT"]  # there is no mailbox to look at afterwards


@jumping
async def test_an_old_sender_who_comes_while_nobody_listens_is_told_so() -> None:
    pair = Pair()
    answer = await send_v1(pair.world, pair.endpoint, pair.made)
    assert answer.status == UNAVAILABLE
    assert await pair.receiver.run(pair.session_id) is End.EXPIRED
    assert pair.events == ["Created"]


@pytest.mark.parametrize("point", LOST)
def test_a_receiver_killed_before_the_save_costs_the_payjoin_and_not_the_payment(point: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        pair.receiver.points.cut_power_at(point)
        answer = await pay(pair)
        assert answer.status == UNAVAILABLE
        assert pair.world.put() == []
        assert pair.events == ["Created"]

    run()


@pytest.mark.parametrize("point", KEPT)
def test_a_receiver_killed_after_the_save_still_answers(point: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        pair.receiver.points.cut_power_at(point)
        check_proposal_in(pair, await pay(pair))
        assert pair.receiver.boots == 2

    run()


@pytest.mark.parametrize("point", TOLD)
def test_a_receiver_killed_after_the_answer_says_nothing_else(point: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        pair.receiver.points.cut_power_at(point)
        check_proposal_in(pair, await pay(pair))
        assert pair.receiver.boots == 2

    run()


@pytest.mark.parametrize("wrong", [faults.hang_up, faults.fail_with(500), faults.fail_with(503)])
def test_an_answer_that_did_not_get_through_is_put_again(wrong: faults.Fault) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        pair.world.faults.planned.append(Planned(wrong, Seen.is_put, times=2))
        check_proposal_in(pair, await pay(pair))
        assert isinstance(pair.state, ProposalPosted)

    run()


@jumping
async def test_an_old_sender_who_is_gone_before_the_answer_ends_the_waiting_and_closes_nothing() -> None:
    pair = Pair()
    pair.receiver.points.do_at("signing", lambda: asyncio.sleep(HOLD + 1))
    receiver = asyncio.ensure_future(pair.receiver.run(pair.session_id))
    answer = await send_v1(pair.world, pair.endpoint, pair.made)
    assert answer.status == UNAVAILABLE
    assert await receiver is End.SENDER_GONE
    assert isinstance(pair.state, PostingProposal)


@pytest.mark.parametrize(
    ("query", "code", "fault"),
    [
        ("v=3", "version-unsupported", Fault.VERSION),
        ("v=1&minfeerate=no", "original-psbt-rejected", Fault.FEE_TOO_SMALL),
    ],
)
def test_a_refused_old_sender_hears_it_in_json(query: str, code: str, fault: Fault) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        answer = await pay(pair, query)
        assert answer.status == 200
        assert json.loads(answer.body)["errorCode"] == code
        assert pair.outcome == Failure()
        assert pair.fault is fault

    run()


@jumping
async def test_an_old_sender_of_too_little_hears_it_too() -> None:
    pair = Pair()
    pair.send(payment(amount=49_999))
    answer = await pay(pair)
    assert json.loads(answer.body)["errorCode"] == "original-psbt-rejected"
    assert pair.fault is Fault.PAYS_TOO_LITTLE


@jumping
async def test_old_senders_can_be_refused_altogether() -> None:
    pair = Pair()
    pair.receiver.policy.accept_v1_senders = False
    answer = await pay(pair)
    reply = json.loads(answer.body)
    assert reply["errorCode"] == "version-unsupported"
    assert reply["supported"] == [2]
    assert pair.outcome == Failure()
    assert pair.fault is Fault.VERSION
    assert held_original(pair.state) is not None


@jumping
async def test_a_refusal_that_comes_too_late_still_ends_the_session() -> None:
    pair = Pair()
    pair.receiver.points.do_at("after save", lambda: asyncio.sleep(HOLD + 1))
    answer = await pay(pair, "v=3")
    assert answer.status == UNAVAILABLE
    assert pair.outcome == Failure()


@pytest.mark.parametrize("point", [*LOST, "after save", "before PUT"])
def test_an_old_sender_hears_nothing_after_an_abort(point: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()

        def abort() -> None:
            pair.receiver.abort(pair.session_id)
            receiver.cancel()

        pair.receiver.points.do_at(point, abort)
        receiver = asyncio.ensure_future(pair.receiver.run(pair.session_id))
        answer = await send_v1(pair.world, pair.endpoint, pair.made)
        await asyncio.gather(receiver, return_exceptions=True)
        assert answer.status == UNAVAILABLE
        assert pair.outcome == Abort()
        assert pair.world.put() == []

    run()
