"""A sender and a receiver, joined in memory: what the network, strangers and the sender can do wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from payjoin_plugin.bip78.psbt import psbt_bytes
from payjoin_plugin.client.runner import End
from payjoin_plugin.errors import Fault, Unreachable
from payjoin_plugin.session.events import Failure
from payjoin_plugin.session.receiver import ProposalPosted, held_original
from payjoin_plugin.wire.bhttp import Response
from payjoin_plugin.wire.keys import SecretKey
from payjoin_plugin.wire.mailbox import ShortId, seal_message_a
from tests.bip78.payments import payment
from tests.helpers import jumping
from tests.mailroom import faults
from tests.mailroom.directory import Answer
from tests.mailroom.faults import Exchange, Planned
from tests.mailroom.faults import Fault as NetworkFault
from tests.mailroom.journal import Seen
from tests.pair import Pair, Receiver, Sender
from tests.session.test_pair import check_the_end


async def duplicate(exchange: Exchange) -> Answer:
    """The directory gets the same request twice."""
    await exchange.proceed()
    return await exchange.proceed()


NETWORK_FAULTS: dict[str, NetworkFault] = {
    "nobody there": faults.hang_up,
    "answer lost": faults.lose_answer,
    "duplicated": duplicate,
    "500": faults.fail_with(500),
    "503": faults.fail_with(503),
    "404": faults.fail_with(404),
    "too short": faults.resize(8191),
    "empty": faults.resize(0),
    "garbled": faults.garble,
    "key rejected, though it is right": faults.reject_key,
    "500 inside": faults.answer_inside(Response(500, b"")),
    "404 inside": faults.answer_inside(Response(404, b"")),
    "no HTTP inside": faults.answer_inside(b"\xff" * 20),
}

CALLS: dict[str, Callable[[Pair, Seen], bool]] = {
    "the receiver's poll": lambda pair, seen: seen.is_poll() and seen.is_at(pair.endpoint.mailbox),
    "the original": lambda pair, seen: seen.is_post() and seen.is_at(pair.endpoint.mailbox),
    "the sender's poll": lambda pair, seen: seen.is_poll() and not seen.is_at(pair.endpoint.mailbox),
    "the answer": lambda pair, seen: seen.is_post() and not seen.is_at(pair.endpoint.mailbox),
}


# The network


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("wrong", NETWORK_FAULTS)
def test_whatever_the_network_does_wrong_the_end_is_the_same(wrong: str, call: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        plan = Planned(NETWORK_FAULTS[wrong], lambda seen: CALLS[call](pair, seen), times=3)
        pair.world.faults.planned.append(plan)
        await pair.run()
        check_the_end(pair)
        assert pair.world.faults.planned == [] or wrong == "duplicated"

    run()


@jumping
async def test_keys_that_the_directory_changed_are_renewed_and_the_uri_gets_the_new_ones() -> None:
    pair = Pair()
    pair.world.directory.gateway = pair.world.directory.gateway.rotated()
    receiver = asyncio.ensure_future(pair.receiver.run(pair.session_id))
    await asyncio.sleep(1)
    endpoint = pair.receiver.endpoint(pair.session_id)
    assert endpoint == replace(pair.endpoint, ohttp_keys=pair.world.keys)
    pair.sender = Sender(pair.world, endpoint, pair.made)
    await pair.sender.run()
    await receiver
    check_the_end(pair)
    assert pair.events.count("RenewedKeys") == 1


@pytest.mark.parametrize("point", ["before save", "after save", "recorded SignedProposal"])
def test_keys_that_changed_before_the_answer_are_renewed_for_it(point: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        _rotate_at(pair, point)
        await pair.run_receiver()
        assert pair.events[-2:] == ["RenewedKeys", "PostedProposal"]
        assert len(pair.sender.answers) == 1

    run()


@jumping
async def test_keys_that_changed_before_an_error_are_renewed_for_it() -> None:
    pair = Pair(query="v=3")
    _rotate_at(pair, "after save")
    await pair.run_receiver()
    assert pair.events[-2:] == ["RenewedKeys", "Closed"]
    assert len(pair.sender.answers) == 1


@jumping
async def test_keys_that_changed_after_the_answer_are_renewed_to_look_at_it() -> None:
    pair = Pair()
    _rotate_at(pair, "recorded PostedProposal")
    assert await pair.run_receiver() is End.EXPIRED
    assert pair.events[-2:] == ["PostedProposal", "RenewedKeys"]
    assert pair.receiver.transport.asked[-1] == "GET"


@pytest.mark.parametrize("point", ["fetching keys", "recorded RenewedKeys"])
def test_a_receiver_killed_while_keys_are_renewed_answers_all_the_same(point: str) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        _rotate_at(pair, "after save")
        pair.receiver.points.cut_power_at(point)
        await pair.run_receiver()
        assert isinstance(pair.state, ProposalPosted)
        assert len(pair.sender.answers) == 1

    run()


@jumping
async def test_keys_that_cannot_be_fetched_at_once_are_fetched_later() -> None:
    pair = Pair()

    def away() -> None:
        raise Unreachable("away")

    _rotate_at(pair, "after save")
    pair.receiver.points.do_at("fetching keys", away)
    pair.receiver.points.do_at("fetching keys (2)", away)
    await pair.run_receiver()
    assert isinstance(pair.state, ProposalPosted)
    assert len(pair.sender.answers) == 1


def _rotate_at(pair: Pair, point: str) -> None:
    def rotate() -> None:
        pair.world.directory.gateway = pair.world.directory.gateway.rotated()

    pair.receiver.points.do_at(point, rotate)


# Strangers


def _message(key: SecretKey, body: bytes) -> bytes:
    return seal_message_a(body, reply_key=SecretKey.generate().public_key, receiver_key=key.public_key)


def _changed(message: bytes) -> bytes:
    return message[:-1] + bytes([message[-1] ^ 1])


GARBAGE: dict[str, Callable[[SecretKey], bytes]] = {
    "nothing": lambda _: b"",
    "a word": lambda _: b"hello",
    "a wrong line": lambda _: b"cHNidP8=\nv=1",
    "bytes": lambda _: b"\xff" * 7168,
    "few bytes": lambda _: b"\xff",
    "a message for somebody else": lambda _: _message(SecretKey.generate(), b"x"),
    "a message cut short": lambda key: _message(key, b"x")[:-1],
    "a message with a changed bit": lambda key: _changed(_message(key, b"x")),
}


@pytest.mark.parametrize("v1", [True, False], ids=["a directory with v1", "a directory without"])
@pytest.mark.parametrize("garbage", GARBAGE)
def test_other_peoples_garbage_ends_the_session_as_a_failure(garbage: str, *, v1: bool) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        pair.world.directory.v1 = v1
        created = pair.receiver.created(pair.session_id)
        pair.world.leave(pair.endpoint.mailbox, GARBAGE[garbage](created.receiver_key))
        assert await pair.receiver.run(pair.session_id) is End.CLOSED
        assert pair.outcome == Failure()
        assert pair.fault is Fault.NOT_A_PAYMENT
        assert held_original(pair.state) is None
        assert {request.method for request in pair.world.asked} <= {"GET", "PUT"}

    run()


@pytest.mark.parametrize(
    "body", [b"\xff", psbt_bytes(payment().original()) + b"\nv=2"], ids=["a byte", "a binary PSBT"]
)
def test_who_sealed_something_else_than_text_is_told_so(body: bytes) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        reply_key, receiver_key = pair.sender.reply_key.public_key, pair.endpoint.receiver_key
        message = seal_message_a(body, reply_key=reply_key, receiver_key=receiver_key)
        pair.world.leave(pair.endpoint.mailbox, message)
        assert await pair.receiver.run(pair.session_id) is End.CLOSED
        assert pair.events == ["Created", "RetrievedOriginal", "RefusedOriginal", "Closed"]
        assert pair.fault is Fault.NOT_A_PAYMENT
        (answer,) = pair.sender.answers
        assert json.loads(answer)["errorCode"] == "original-psbt-rejected"

    run()


@jumping
async def test_what_a_quicker_stranger_left_in_the_senders_mailbox_is_told_apart_from_our_answer() -> None:
    pair = Pair()
    stranger = b"\x02" * 7168
    pair.receiver.points.do_at(
        "before POST", lambda: pair.world.leave(ShortId.of(pair.sender.reply_key.public_key), stranger)
    )
    runner = pair.receiver.runner(pair.session_id)
    await pair.run_receiver()
    assert runner.answered_elsewhere


@jumping
async def test_our_own_answer_is_known_again() -> None:
    pair = Pair()
    runner = pair.receiver.runner(pair.session_id)
    await pair.run_receiver()
    assert not runner.answered_elsewhere


@jumping
async def test_of_two_copies_of_a_wallet_one_answers_and_the_other_hears_of_it() -> None:
    pair = Pair()
    copy = Receiver(pair.world, *reversed(pair.receiver.wallet.money), disk=pair.receiver.store.disk)
    runners = [receiver.runner(pair.session_id) for receiver in (pair.receiver, copy)]
    await asyncio.gather(*(runner.run() for runner in runners), pair.sender.run())
    assert [runner.answered_elsewhere for runner in runners] == [False, True]
    assert len(pair.sender.answers) == 2
    assert pair.sender.payjoin()
