"""The runner and its HTTP, against a directory and relays on loopback that do wrong on order. Time jumps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from payjoin_plugin.client.runner import End
from payjoin_plugin.client.transport import Connections, HttpTransport
from payjoin_plugin.errors import KeysRejected
from payjoin_plugin.session.events import Abort
from payjoin_plugin.session.receiver import PostingProposal, ProposalPosted
from payjoin_plugin.wire.bhttp import Response
from payjoin_plugin.wire.mailbox import ShortId
from tests.client.outlets import electrum_sessions
from tests.helpers import clock, eventually, jumping_on_sockets
from tests.mailroom import faults
from tests.mailroom.directory import Answer
from tests.mailroom.faults import Fault as NetworkFault
from tests.mailroom.faults import Hold
from tests.mailroom.journal import Seen
from tests.mailroom.mailroom import Mailroom
from tests.pair import Pair
from tests.session.test_pair import check_the_end
from tests.session.test_pair_v1 import check_proposal_in
from tests.world import World

TIMES = 2
"""How often a fault strikes."""


@dataclass
class Place:
    """A pair whose calls go over loopback."""

    pair: Pair
    mailroom: Mailroom
    connections: Connections

    @property
    def senders_mailbox(self) -> ShortId:
        return ShortId.of(self.pair.sender.reply_key.public_key)

    def posts(self) -> int:
        """How many answers reached the directory."""
        return len(self.mailroom.directory.journal.posts(self.senders_mailbox))

    async def run(self) -> None:
        """Let sender and receiver come to their ends, but for expiry."""
        receiver = asyncio.ensure_future(self.pair.receiver.run(self.pair.session_id))
        await self.pair.sender.run()
        await eventually(lambda: isinstance(self.pair.state, ProposalPosted))
        receiver.cancel()
        await asyncio.gather(receiver, return_exceptions=True)

    def check(self) -> None:
        """A payjoin came about, by what the directory was asked."""
        self.pair.world.asked = [seen.inner for seen in self.mailroom.directory.journal.requests if seen.inner]
        check_the_end(self.pair)


@asynccontextmanager
async def loopback(*, relays: int = 2) -> AsyncIterator[Place]:
    connections = Connections(electrum_sessions())
    async with Mailroom(relays=relays, clock=clock) as mailroom:
        world = World(
            directory=mailroom.directory.directory,
            directory_url=mailroom.directory_url,
            relay_urls=mailroom.relay_urls,
        )
        pair = Pair(world=world)
        pair.receiver.carrier = HttpTransport(connections)
        pair.sender.carrier = HttpTransport(connections)
        try:
            yield Place(pair, mailroom, connections)
        finally:
            await connections.close()


NETWORK_FAULTS: dict[str, NetworkFault] = {
    "nobody there": faults.hang_up,
    "answer lost": faults.lose_answer,
    "500": faults.fail_with(500),
    "503": faults.fail_with(503, retry_after=5),
    "too short": faults.resize(8191),
    "far too long": faults.resize(100_000),
    "empty": faults.resize(0),
    "garbled": faults.garble,
    "key rejected, though it is right": faults.reject_key,
}

CALLS: dict[str, Callable[[Place, Seen], bool]] = {
    "the receiver's poll": lambda place, seen: seen.is_poll() and seen.is_at(place.pair.endpoint.mailbox),
    "the original": lambda place, seen: seen.is_post() and seen.is_at(place.pair.endpoint.mailbox),
    "the sender's poll": lambda place, seen: seen.is_poll() and seen.is_at(place.senders_mailbox),
    "the answer": lambda place, seen: seen.is_post() and seen.is_at(place.senders_mailbox),
}


@jumping_on_sockets
async def test_a_payjoin_comes_about_over_http() -> None:
    async with loopback() as place:
        await place.run()
        place.check()
        assert place.posts() == 1


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("wrong", NETWORK_FAULTS)
def test_whatever_the_directory_does_wrong_the_end_is_the_same(wrong: str, call: str) -> None:
    @jumping_on_sockets
    async def run() -> None:
        async with loopback() as place:
            server = place.mailroom.directory
            server.inject(NETWORK_FAULTS[wrong], when=lambda seen: CALLS[call](place, seen), times=TIMES)
            await place.run()
            place.check()
            assert server.faults_left == 0

    run()


@pytest.mark.parametrize("wrong", ["nobody there", "answer lost", "500", "503", "too short", "empty"])
def test_whatever_the_relays_do_wrong_the_end_is_the_same(wrong: str) -> None:
    @jumping_on_sockets
    async def run() -> None:
        async with loopback() as place:
            for relay in place.mailroom.relays:
                relay.inject(NETWORK_FAULTS[wrong], times=TIMES)
            await place.run()
            place.check()
            assert [relay.faults_left for relay in place.mailroom.relays] == [0, 0]

    run()


@jumping_on_sockets
async def test_a_directory_that_answers_inside_with_something_else_is_asked_again() -> None:
    async with loopback() as place:
        wrong = faults.answer_inside(Response(500, b""))
        place.mailroom.directory.inject(wrong, when=lambda seen: seen.is_post() and place.posts() > 0, times=TIMES)
        await place.run()
        place.check()


@jumping_on_sockets
async def test_where_one_relay_is_down_the_other_one_carries_everything() -> None:
    async with loopback() as place:
        await place.mailroom.relays[0].stop()
        await place.run()
        place.check()


@jumping_on_sockets
async def test_a_directory_that_was_down_for_a_while_is_waited_for() -> None:
    async with loopback() as place:
        await place.mailroom.directory.stop()
        running = asyncio.ensure_future(place.run())
        await asyncio.sleep(100)
        assert place.pair.receiver.runner(place.pair.session_id).trouble is not None
        await place.mailroom.directory.start()
        await running
        place.check()


@jumping_on_sockets
async def test_keys_that_the_directory_changed_are_fetched_and_used() -> None:
    async with loopback() as place:
        place.mailroom.directory.rotate_keys()
        receiver = asyncio.ensure_future(place.pair.receiver.run(place.pair.session_id))
        await asyncio.sleep(1)
        assert place.pair.events == ["Created", "RenewedKeys"]
        place.pair.endpoint = place.pair.receiver.endpoint(place.pair.session_id)
        place.pair.send()
        place.pair.sender.carrier = HttpTransport(place.connections)
        receiver.cancel()
        await place.run()
        place.check()


@jumping_on_sockets
async def test_a_directory_that_rejects_its_own_keys_is_no_reason_for_new_ones() -> None:
    async with loopback() as place:
        place.mailroom.directory.inject(faults.reject_key, when=Seen.is_poll, times=3)
        told: list[str] = []
        runner = place.pair.receiver.runner(place.pair.session_id)
        place.pair.receiver.changed = lambda: told.append(type(runner.trouble).__name__)
        receiver = asyncio.ensure_future(runner.run())
        await asyncio.sleep(90)
        assert told == [KeysRejected.__name__] * 3
        assert runner.trouble is None
        assert place.pair.events == ["Created"]
        receiver.cancel()
        await asyncio.gather(receiver, return_exceptions=True)


@jumping_on_sockets
async def test_a_receiver_who_waits_asks_once_in_thirty_seconds() -> None:
    async with loopback() as place:
        assert await place.pair.receiver.run(place.pair.session_id) is End.EXPIRED
        assert len(place.mailroom.directory.journal.polls()) == 3600 / 30


@jumping_on_sockets
async def test_an_old_sender_is_answered_over_http() -> None:
    async with loopback() as place:
        receiver = asyncio.ensure_future(place.pair.receiver.run(place.pair.session_id))
        async with (
            aiohttp.ClientSession() as http,
            http.post(
                f"{place.mailroom.directory_url}/{place.pair.endpoint.mailbox}?v=1",
                data=place.pair.made.original(),
                headers={"Content-Type": "text/plain"},
            ) as response,
        ):
            answer = Answer(response.status, await response.read())
        receiver.cancel()
        place.pair.world.asked = [seen.inner for seen in place.mailroom.directory.journal.puts() if seen.inner]
        check_proposal_in(place.pair, answer)


@jumping_on_sockets
async def test_an_old_sender_who_is_gone_is_not_answered_for_ever() -> None:
    async with loopback() as place:
        place.pair.receiver.points.do_at("before save", lambda: asyncio.sleep(31))
        receiver = asyncio.ensure_future(place.pair.receiver.run(place.pair.session_id))
        url = f"{place.mailroom.directory_url}/{place.pair.endpoint.mailbox}?v=1"
        async with aiohttp.ClientSession() as http, http.post(url, data=place.pair.made.original()) as response:
            assert response.status == 503
        assert await receiver is End.SENDER_GONE
        assert isinstance(place.pair.state, PostingProposal)


# Aborted while a call is under way


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", ["the receiver's poll", "the answer"])
def test_nothing_is_posted_after_an_abort(call: str, moment: str) -> None:
    @jumping_on_sockets
    async def run() -> None:
        async with loopback() as place:
            pair, server, hold = place.pair, place.mailroom.directory, Hold()
            fault = hold.before if moment == "before" else hold.after
            server.inject(fault, when=lambda seen: CALLS[call](place, seen))
            sender = asyncio.ensure_future(pair.sender.run())
            receiver = asyncio.ensure_future(pair.receiver.run(pair.session_id))
            await hold.reached.wait()
            posted = place.posts()
            pair.receiver.abort(pair.session_id)
            await pair.receiver.store.flush()
            receiver.cancel()
            hold.released.set()
            await asyncio.sleep(60)
            sender.cancel()
            await asyncio.gather(sender, receiver, return_exceptions=True)
            assert pair.outcome == Abort()
            assert place.posts() == posted
            if call == "the receiver's poll":
                assert posted == 0

    run()


@jumping_on_sockets
async def test_an_answer_that_the_relay_still_holds_is_recalled_by_an_abort() -> None:
    async with loopback(relays=3) as place:  # the receiver polls through the first, the sender through the last
        pair, hold = place.pair, Hold()
        pair.receiver.points.do_at("after save", lambda: place.mailroom.relays[1].inject(hold.before))
        sender = asyncio.ensure_future(pair.sender.run())
        receiver = asyncio.ensure_future(pair.receiver.run(pair.session_id))
        await hold.reached.wait()
        pair.receiver.abort(pair.session_id)
        await pair.receiver.store.flush()
        receiver.cancel()
        await asyncio.gather(receiver, return_exceptions=True)
        await asyncio.sleep(60)
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        assert place.posts() == 0


# Stopped and started again


@pytest.mark.parametrize("call", CALLS)
def test_a_receiver_killed_while_a_call_is_under_way_comes_to_the_same_end(call: str) -> None:
    @jumping_on_sockets
    async def run() -> None:
        async with loopback() as place:
            pair, hold = place.pair, Hold()
            place.mailroom.directory.inject(hold.after, when=lambda seen: CALLS[call](place, seen))
            sender = asyncio.ensure_future(pair.sender.run())
            first = asyncio.ensure_future(pair.receiver.run(pair.session_id))
            await hold.reached.wait()
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            pair.receiver.power_up()
            hold.released.set()
            second = asyncio.ensure_future(pair.receiver.run(pair.session_id))
            await sender
            await eventually(lambda: isinstance(pair.state, ProposalPosted))
            second.cancel()
            place.check()

    run()
