"""A sender and a receiver, joined in memory: originals that are refused, and what their senders are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from payjoin_plugin.bip78.original import read_original
from payjoin_plugin.bip78.psbt import Psbt, serialize
from payjoin_plugin.client.pace import PATIENCE
from payjoin_plugin.client.runner import End
from payjoin_plugin.errors import FAULT_CODES, ErrorCode, Fault
from payjoin_plugin.session.events import Abort, Failure
from payjoin_plugin.session.receiver import committed_contribution, held_original
from payjoin_plugin.session.sender import fallback_psbt
from payjoin_plugin.session.status import fault_of
from tests.bip78.payments import ALICE, HEIGHT, Money, Payment, payment
from tests.helpers import START, clock, jumping
from tests.pair import Pair, Sender
from tests.session.test_pair import check_the_end


def _dust(made: Payment) -> Payment:
    return replace(made, outputs=(*made.outputs, (ALICE.script, 100)))


def _spent_elsewhere(pair: Pair) -> None:
    other = replace(pair.made, outputs=((ALICE.script, 140_000),))
    spender = bytes.fromhex(other.transaction().serialize())
    pair.world.chain.change(pair.made, unspent=False, spender=spender)


def _unknown(pair: Pair) -> None:
    pair.world.chain.inputs.clear()


def _costly(pair: Pair) -> None:
    pair.receiver.wallet.limits = replace(pair.receiver.wallet.limits, max_sat=0)


def _seen(pair: Pair) -> None:
    pair.receiver.store.mark_seen(read_original(pair.made.original()), "another session")


REFUSALS: dict[str, tuple[Fault, Callable[[Pair], object]]] = {
    "no PSBT": (Fault.NOT_A_PAYMENT, lambda pair: pair.send(psbt=Psbt("no PSBT"))),
    "nothing for us": (Fault.PAYS_SOMETHING_ELSE, lambda pair: pair.send(_paying(ALICE.script))),
    "too little": (Fault.PAYS_TOO_LITTLE, lambda pair: pair.send(payment(amount=49_999))),
    "not signed": (Fault.NOT_SIGNED, lambda pair: pair.send(psbt=_unsigned(pair.made))),
    "signed by somebody else": (Fault.NOT_SIGNED, lambda pair: pair.send(psbt=_forged(pair.made))),
    "spent elsewhere": (Fault.COINS_GONE, _spent_elsewhere),
    "coins that nobody knows": (Fault.COINS_GONE, _unknown),
    "too small a fee": (Fault.FEE_TOO_SMALL, lambda pair: pair.send(payment(rate=100))),
    "dust": (Fault.NOT_STANDARD, lambda pair: pair.send(_dust(pair.made))),
    "locked": (Fault.NOT_STANDARD, lambda pair: pair.send(replace(pair.made, locktime=HEIGHT + 100, sequence=0))),
    "a coin of our own": (Fault.SEEN_BEFORE, lambda pair: pair.world.chain.change(pair.made, ours=True)),
    "something unreadable of an unknown version": (
        Fault.VERSION,
        lambda pair: pair.send(psbt=Psbt("no PSBT"), query="v=3"),
    ),
}
"""What is no payment, and how it comes about."""

PAYMENTS: dict[str, tuple[Fault, Callable[[Pair], object]]] = {
    "a senseless fee rate": (Fault.FEE_TOO_SMALL, lambda pair: pair.send(query="v=2&minfeerate=no")),
    "a fee below their own minimum": (Fault.FEE_TOO_SMALL, lambda pair: pair.send(query="v=2&minfeerate=50")),
    "a relative lock": (Fault.NOT_STANDARD, lambda pair: pair.send(replace(pair.made, sequence=2))),
    "a coin that was seen": (Fault.SEEN_BEFORE, _seen),
    "too costly for us": (Fault.COSTS_TOO_MUCH, _costly),
    "an unknown version": (Fault.VERSION, lambda pair: pair.send(query="v=3")),
}
"""What is a payment, and gets no payjoin all the same."""

EVERY = REFUSALS | PAYMENTS


def _paying(script: bytes) -> Payment:
    made = payment()
    return replace(made, outputs=((script, 50_000), *made.outputs[1:]))


def _unsigned(made: Payment) -> Psbt:
    return serialize(made.unsigned())


def _forged(made: Payment) -> Psbt:
    thief = Money(replace(made.coins[0].owner, secrets=ALICE.secrets), made.coins[0].previous, 1, made.coins[0].value)
    tx = made.unsigned()
    thief.owner.sign(tx, 0)
    return serialize(tx)


def test_each_fault_is_among_the_refusals() -> None:
    assert {fault for fault, _ in EVERY.values()} == set(Fault)


@pytest.mark.parametrize("what", EVERY)
def test_a_refused_sender_gets_one_error_and_the_session_fails(what: str) -> None:
    @jumping
    async def run() -> None:
        expected, arrange = EVERY[what]
        pair = Pair()
        arrange(pair)
        end, _ = await pair.run()
        assert end is End.CLOSED
        assert pair.outcome == Failure()
        assert pair.fault is expected
        assert pair.events[-2:] == ["RefusedOriginal", "Closed"]
        (answer,) = pair.sender.answers
        _check_error(answer, expected)
        assert len(pair.world.posted_to(pair.sender.reply_key.public_key)) == 1
        assert pair.sender.error == FAULT_CODES[expected].value
        assert fallback_psbt(pair.sender.session.state)
        assert pair.receiver.wallet.signatures == 0

    run()


def _check_error(answer: bytes, fault: Fault, *, supported: tuple[int, ...] = (1, 2)) -> None:
    reply = json.loads(answer)
    code = FAULT_CODES[fault]
    assert reply["errorCode"] == code.value
    assert reply["message"]
    assert reply.get("supported") == (list(supported) if code is ErrorCode.VERSION_UNSUPPORTED else None)


REFUSED_POINTS = [
    "after GET",
    "recorded RetrievedOriginal",
    "looking up",
    "recorded RefusedOriginal",
    "before save",
    "after save",
    "before POST",
    "after POST",
    "recorded Closed",
]


@pytest.mark.parametrize("point", REFUSED_POINTS)
def test_a_receiver_killed_at_any_moment_of_a_refusal_says_the_same(point: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        _spent_elsewhere(pair)
        pair.receiver.points.cut_power_at(point)
        await pair.run()
        assert pair.receiver.boots == 2
        assert pair.outcome == Failure()
        (answer,) = pair.sender.answers
        _check_error(answer, Fault.COINS_GONE)

    run()


@pytest.mark.parametrize("point", REFUSED_POINTS[:-2])
def test_nobody_is_told_of_a_refusal_after_an_abort(point: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        _spent_elsewhere(pair)
        pair.receiver.points.do_at(point, lambda: pair.receiver.abort(pair.session_id))
        assert await pair.run_receiver() is End.CLOSED
        assert pair.outcome == Abort()
        assert len(pair.sender.answers) == (1 if point == "before POST" else 0)

    run()


@pytest.mark.parametrize("what", EVERY)
def test_a_refused_original_is_held_where_it_is_a_payment(what: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        EVERY[what][1](pair)
        await pair.run()
        held = held_original(pair.state)
        assert (held.txid if held else None) == (pair.made.transaction().txid() if what in PAYMENTS else None)

    run()


@pytest.mark.parametrize("what", [what for what in PAYMENTS if what != "too costly for us"])
def test_nobody_is_asked_about_a_payment_that_gets_no_payjoin_anyway(what: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        PAYMENTS[what][1](pair)
        pair.receiver.policy.ask_before_contributing = True
        pair.receiver.wallet.password = "nobody gives it"
        await pair.run()
        assert clock() < START + 10
        assert pair.receiver.wallet.shown == set()

    run()


@jumping
async def test_an_input_that_is_listed_late_is_waited_for() -> None:
    pair = Pair()
    _unknown(pair)
    pair.receiver.points.do_at("looking up (3)", lambda: pair.world.chain.add(pair.made))
    await pair.run()
    check_the_end(pair)


@jumping
async def test_an_input_that_stays_unknown_is_refused_after_half_a_minute() -> None:
    pair = Pair()
    _unknown(pair)
    receiver = asyncio.ensure_future(pair.run_receiver())
    await asyncio.sleep(PATIENCE - 1)
    assert pair.events == ["Created", "RetrievedOriginal"]
    await receiver
    refused_at = pair.receiver.sessions[pair.session_id].records[-1].at
    assert PATIENCE <= refused_at - START < 3 * PATIENCE


@jumping
async def test_the_time_in_which_the_machine_slept_is_no_waiting_for_an_input() -> None:
    pair = Pair()
    _unknown(pair)

    def sleep() -> None:
        pair.receiver.slept += 10 * PATIENCE

    pair.receiver.points.do_at("looking up (2)", sleep)
    pair.receiver.points.do_at("looking up (4)", lambda: pair.world.chain.add(pair.made))
    await pair.run()
    check_the_end(pair)


@jumping
async def test_an_electrum_server_that_is_away_is_nobodys_fault() -> None:
    pair = Pair()
    pair.world.chain.is_reachable = False

    def come_back() -> None:
        pair.world.chain.is_reachable = True

    pair.receiver.points.do_at("looking up (4)", come_back)
    await pair.run()
    check_the_end(pair)


# Two sessions of one wallet


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one after the other"])
def test_one_payment_offered_to_two_requests_gets_one_proposal(*, at_once: bool) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        other_id = pair.receiver.offer()
        other = Sender(pair.world, pair.receiver.endpoint(other_id), pair.made)
        if at_once:
            await asyncio.gather(pair.run(), pair.receiver.run(other_id), other.run())
        else:
            await pair.run()
            other_id = pair.receiver.offer()
            other = Sender(pair.world, pair.receiver.endpoint(other_id), pair.made)
            await asyncio.gather(pair.receiver.run(other_id), other.run())
        errors = [sender.error for sender in (pair.sender, other)]
        assert sorted(errors, key=str) == [None, "original-psbt-rejected"]
        assert pair.receiver.wallet.signatures == 1
        refused = other_id if pair.sender.error is None else pair.session_id
        assert fault_of(pair.receiver.sessions[refused].records) is Fault.SEEN_BEFORE

    run()


@jumping
async def test_one_payment_that_passed_two_checks_gets_one_proposal_all_the_same() -> None:
    pair = Pair()
    pair.receiver.wallet.password = "both wait"
    other_id = pair.receiver.offer()
    other = Sender(pair.world, pair.receiver.endpoint(other_id), pair.made)
    tasks = asyncio.gather(pair.run(), pair.receiver.run(other_id), other.run())
    await asyncio.sleep(5)
    assert pair.receiver.events(other_id)[-1] == pair.events[-1] == "AcceptedOriginal"
    pair.receiver.wallet.password = None
    await tasks
    assert pair.receiver.wallet.signatures == 1
    assert sorted([pair.sender.error, other.error], key=str) == [None, "original-psbt-rejected"]


@jumping
async def test_senders_at_the_same_moment_get_different_coins() -> None:
    pair = Pair()
    other_id = pair.receiver.offer()
    other_made = payment("p2wpkh", "p2wpkh")
    pair.world.chain.add(other_made)
    other = Sender(pair.world, pair.receiver.endpoint(other_id), other_made)
    await asyncio.gather(pair.run(), pair.receiver.run(other_id), other.run())
    contributed = [committed_contribution(pair.receiver.state(one)) for one in (pair.session_id, other_id)]
    assert contributed[0] is not None
    assert contributed[1] is not None
    assert contributed[0].outpoints != contributed[1].outpoints
    check_the_end(pair)
