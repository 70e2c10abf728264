"""The sockets: waiting, counting, faults, tunnels. What is answered is compared in test_observations.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from payjoin_plugin.errors import DecodeError, Garbled
from payjoin_plugin.wire.bhttp import Response
from payjoin_plugin.wire.mailbox import ShortId, relay_url
from payjoin_plugin.wire.ohttp import KeyConfig
from tests.mailroom.certificates import make_certificates
from tests.mailroom.client import Client, Reply, asynchronous, gateway_url, request
from tests.mailroom.directory import GATEWAY_PATH, KEY_REJECTED
from tests.mailroom.faults import (
    Hold,
    answer_inside,
    fail_with,
    garble,
    hang_up,
    lose_answer,
    reject_key,
    resize,
)
from tests.mailroom.journal import Seen
from tests.mailroom.mailroom import Mailroom

MAILBOX = ShortId(b"mailbox1")
OTHER = ShortId(b"mailbox2")
LONG = 3600.0
"""Seconds to hold a poll where a test ends it in another way."""


class Asker:
    """A client of one mailroom."""

    def __init__(self, mailroom: Mailroom, client: Client) -> None:
        self.mailroom = mailroom
        self.client = client

    async def direct(self, method: str, content: bytes = b"", mailbox: ShortId = MAILBOX) -> Reply:
        url = gateway_url(self.mailroom.directory_url)
        return await self.client.inside(url, self.mailroom.keys, request(method, mailbox, content))

    async def relayed(self, method: str, content: bytes = b"", mailbox: ShortId = MAILBOX, *, by: int = 0) -> Reply:
        url = relay_url(self.mailroom.relay_urls[by], self.mailroom.directory_url)
        return await self.client.inside(url, self.mailroom.keys, request(method, mailbox, content))

    async def polling(self, *, pollers: int = 1) -> list[asyncio.Task[Reply]]:
        """Pollers who wait at the directory, having come through the relay."""
        tasks = [asyncio.create_task(self.relayed("GET")) for _ in range(pollers)]
        await self.mailroom.directory.journal.until(lambda: self.mailroom.directory.waiting(MAILBOX) == pollers)
        return tasks


@asynccontextmanager
async def asker(*, seconds: float = LONG, relays: int = 1) -> AsyncIterator[Asker]:
    async with Mailroom(timeout=seconds, relays=relays) as mailroom, Client() as client:
        yield Asker(mailroom, client)


@asynchronous
async def test_a_message_goes_through_relay_and_directory() -> None:
    async with asker() as ask:
        assert (await ask.relayed("POST", b"message")).inner == Response(200)
        assert (await ask.relayed("GET")).inner == Response(200, b"message")


@asynchronous
async def test_pollers_wait_until_a_message_comes() -> None:
    async with asker() as ask:
        pollers = await ask.polling(pollers=3)
        await ask.relayed("POST", b"message")
        assert [reply.inner for reply in await asyncio.gather(*pollers)] == [Response(200, b"message")] * 3


@asynchronous
async def test_a_poll_ends_empty_when_its_time_is_over() -> None:
    async with asker(seconds=0.01) as ask:
        assert (await ask.relayed("GET")).inner == Response(202)
        assert ask.mailroom.directory.waiting(MAILBOX) == 0


@asynchronous
async def test_a_poller_who_hangs_up_is_forgotten_through_the_relay_too() -> None:
    async with asker() as ask:
        (poller,) = await ask.polling()
        poller.cancel()
        await ask.mailroom.directory.journal.until(lambda: ask.mailroom.directory.waiting(MAILBOX) == 0)


@asynchronous
async def test_a_v1_sender_waits_for_the_receivers_answer() -> None:
    async with asker() as ask:
        directory = ask.mailroom.directory
        url = f"{ask.mailroom.directory_url}/{MAILBOX}?v=1"
        sender = asyncio.create_task(ask.client.send("POST", url, b"original"))
        await directory.journal.until(lambda: directory.directory.mailboxes.holds_sender(MAILBOX))
        assert (await ask.relayed("GET")).inner == Response(200, b"original\nv=1")
        assert (await ask.relayed("PUT", b"proposal")).inner == Response(200)
        assert (await sender).body == b"proposal"


@asynchronous
async def test_the_journal_counts_what_reached_each_mailbox() -> None:
    async with asker(seconds=0.01) as ask:
        await ask.relayed("GET")
        await ask.relayed("POST", b"one")
        await ask.direct("POST", b"two", OTHER)
        await ask.direct("PUT", b"three", OTHER)
        journal = ask.mailroom.directory.journal
        assert len(journal.polls()) == 1
        assert [seen.inner.content for seen in journal.posts() if seen.inner] == [b"one", b"two"]
        assert (len(journal.polls(MAILBOX)), len(journal.polls(OTHER))) == (1, 0)
        assert (len(journal.posts(OTHER)), len(journal.puts(OTHER))) == (1, 1)
        assert [status for seen, status in journal.answers if seen.inner] == [200, 200, 200, 400]


@asynchronous
async def test_the_relays_journal_has_what_a_relay_can_know() -> None:
    async with asker() as ask:
        for _ in range(2):
            await ask.relayed("POST", b"message")
        seen = [seen for seen in ask.mailroom.relay.journal.requests if seen.method == "POST"]
        assert {one.target for one in seen} == {f"/{ask.mailroom.directory_url}/"}
        assert [one.inner for one in seen] == [None, None]
        assert len({one.body for one in seen}) == 2
        assert {len(one.body) for one in seen} == {8192}


@asynchronous
async def test_each_relay_has_a_journal_of_its_own() -> None:
    async with asker(relays=2) as ask:
        await ask.relayed("POST", b"message", by=1)
        assert [len(relay.journal.requests) for relay in ask.mailroom.relays] == [0, 1]


@asynchronous
async def test_a_relay_asks_a_directory_once_whether_it_may() -> None:
    async with asker() as ask:
        await asyncio.gather(*(ask.relayed("POST", b"message") for _ in range(5)))
        probes = [seen for seen in ask.mailroom.directory.journal.requests if seen.target.endswith("allowed_purposes")]
        assert len(probes) == 1


@asynchronous
async def test_a_lost_answer_was_acted_upon() -> None:
    async with asker() as ask:
        ask.mailroom.directory.inject(lose_answer, when=Seen.is_post)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await ask.direct("POST", b"message")
        assert (await ask.direct("GET")).inner == Response(200, b"message")


@asynchronous
async def test_an_answer_lost_behind_the_relay_is_a_bad_gateway() -> None:
    async with asker() as ask:
        ask.mailroom.directory.inject(lose_answer, when=Seen.is_post)
        assert (await ask.relayed("POST", b"message")).status == 502
        assert ask.mailroom.directory.directory.mailboxes.peek(MAILBOX) == b"message"


@asynchronous
async def test_a_closed_connection_leaves_nothing() -> None:
    async with asker() as ask:
        ask.mailroom.relay.inject(hang_up)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await ask.relayed("POST", b"message")
        assert ask.mailroom.directory.directory.mailboxes.peek(MAILBOX) is None


@asynchronous
async def test_a_failure_comes_as_often_as_it_was_ordered() -> None:
    async with asker() as ask:
        ask.mailroom.directory.inject(fail_with(503, retry_after=7), when=Seen.is_post, times=2)
        replies = [await ask.relayed("POST", b"message") for _ in range(3)]
        assert [reply.status for reply in replies] == [503, 503, 200]
        assert [reply.headers.get("retry-after") for reply in replies] == ["7", "7", None]
        assert ask.mailroom.directory.faults_left == 0


@asynchronous
async def test_a_fault_waits_for_the_request_that_fits() -> None:
    async with asker(seconds=0.01) as ask:
        ask.mailroom.directory.inject(fail_with(500), when=lambda seen: seen.is_post() and seen.is_at(OTHER))
        assert (await ask.direct("POST", b"message")).status == 200
        assert ask.mailroom.directory.faults_left == 1
        assert (await ask.direct("POST", b"message", OTHER)).status == 500


@asynchronous
async def test_an_answer_can_have_a_wrong_length() -> None:
    async with asker() as ask:
        for length in (0, 100, 9000):
            ask.mailroom.relay.inject(resize(length))
            assert len((await ask.relayed("POST", b"message")).body) == length


@asynchronous
async def test_an_answer_can_be_garbage_of_the_right_length() -> None:
    async with asker() as ask:
        ask.mailroom.directory.inject(garble)
        with pytest.raises(Garbled):
            await ask.relayed("POST", b"message")


@asynchronous
async def test_a_key_can_be_called_unknown_and_really_change() -> None:
    async with asker(seconds=0.01) as ask:
        ask.mailroom.directory.inject(reject_key)
        reply = await ask.relayed("GET")
        assert (reply.status, reply.body) == (KEY_REJECTED.status, KEY_REJECTED.body)
        assert reply.headers["content-type"] == "application/problem+json"

        old = ask.mailroom.keys
        ask.mailroom.directory.rotate_keys()
        url = gateway_url(ask.mailroom.directory_url)
        assert (await ask.client.inside(url, old, request("GET", MAILBOX))).body == KEY_REJECTED.body
        fetched = KeyConfig.from_bytes((await ask.client.send("GET", url)).body)
        assert (await ask.client.inside(url, fetched, request("GET", MAILBOX))).inner == Response(202)


@asynchronous
async def test_an_answer_inside_can_be_anything() -> None:
    async with asker() as ask:
        ask.mailroom.directory.inject(answer_inside(Response(418, b"teapot")))
        assert (await ask.relayed("GET")).inner == Response(418, b"teapot")
        ask.mailroom.directory.inject(answer_inside(b"\xff no BHTTP"))
        reply = await ask.relayed("GET")
        with pytest.raises(DecodeError):
            _ = reply.inner


@asynchronous
async def test_a_request_can_be_held_before_and_after_it_is_acted_upon() -> None:
    async with asker() as ask:
        mailboxes = ask.mailroom.directory.directory.mailboxes
        before, after = Hold(), Hold()
        ask.mailroom.directory.inject(before.before, when=Seen.is_post)
        ask.mailroom.directory.inject(after.after, when=Seen.is_post)
        first = asyncio.create_task(ask.relayed("POST", b"message"))
        await before.reached.wait()
        second = asyncio.create_task(ask.relayed("POST", b"message", OTHER))
        await after.reached.wait()
        assert (mailboxes.peek(MAILBOX), mailboxes.peek(OTHER)) == (None, b"message")
        assert not second.done()
        before.released.set()
        after.released.set()
        assert [(await task).inner for task in (first, second)] == [Response(200)] * 2


@asynchronous
async def test_a_server_that_was_stopped_comes_back_with_its_port_and_its_messages() -> None:
    async with asker() as ask:
        await ask.relayed("POST", b"message")
        url = ask.mailroom.directory_url
        await ask.mailroom.directory.stop()
        assert (await ask.relayed("GET")).status == 502
        await ask.mailroom.directory.start()
        assert ask.mailroom.directory_url == url
        assert (await ask.relayed("GET")).inner == Response(200, b"message")


@asynchronous
async def test_stopping_does_not_wait_for_pollers() -> None:
    async with asker() as ask:
        (poller,) = await ask.polling()
        await ask.mailroom.stop()
        with pytest.raises(aiohttp.ClientError):
            await poller


@asynchronous
async def test_the_clock_of_the_mailboxes_can_be_set() -> None:
    now = 1_800_000_000.0
    async with Mailroom(timeout=0.01, clock=lambda: now) as mailroom, Client() as client:
        ask = Asker(mailroom, client)
        await ask.direct("POST", b"message")
        now += 8 * 24 * 3600
        assert (await ask.direct("GET")).inner == Response(202)


@asynchronous
async def test_a_connect_is_refused_where_it_leads_nowhere() -> None:
    async with asker() as ask:
        for authority, status in (("127.0.0.1:1", 404), ("no:port:at:all", 400)):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(ask.mailroom.relay_url.rpartition(":")[2]))
            writer.write(f"CONNECT {authority} HTTP/1.1\r\n".encode())
            await writer.drain()
            writer.write(b"\r\n")
            assert (await reader.read()).startswith(f"HTTP/1.1 {status} ".encode())
            writer.close()
            await writer.wait_closed()


@asynchronous
async def test_a_connect_can_fail_on_order() -> None:
    async with asker() as ask:
        for fault, answer in ((fail_with(503), b"HTTP/1.1 503 "), (hang_up, b"")):
            ask.mailroom.relay.inject(fault, when=Seen.is_connect)
            reader, writer = await asyncio.open_connection("127.0.0.1", int(ask.mailroom.relay_url.rpartition(":")[2]))
            writer.write(b"CONNECT directory.example:443 HTTP/1.1\r\n\r\n")
            assert (await reader.read())[: len(b"HTTP/1.1 503 ")] == answer
            writer.close()
            await writer.wait_closed()


@asynchronous
async def _fetch_keys_by_connect(folder: Path) -> None:
    certificates = make_certificates(folder)
    async with Mailroom(hostname="localhost", tls=certificates.server, trust=certificates.client) as mailroom:
        async with aiohttp.ClientSession() as session:
            url = mailroom.directory_url + GATEWAY_PATH
            # TLS to the relay, and inside its tunnel TLS to the directory.
            async with session.get(url, proxy=mailroom.relay_url, ssl=certificates.client) as response:
                assert KeyConfig.from_bytes(await response.read()) == mailroom.keys
        methods = [seen.method for seen in mailroom.relay.journal.requests]
        assert methods == ["CONNECT"]
        assert [seen.target for seen in mailroom.directory.journal.requests][-1] == GATEWAY_PATH


def test_keys_are_fetched_through_the_relay_by_connect(tmp_path: Path) -> None:
    _fetch_keys_by_connect(tmp_path)


@asynchronous
async def _post_over_tls(folder: Path) -> None:
    certificates = make_certificates(folder)
    async with (
        Mailroom(hostname="localhost", tls=certificates.server, trust=certificates.client) as mailroom,
        Client(trust=certificates.client) as client,
    ):
        ask = Asker(mailroom, client)
        assert (await ask.relayed("POST", b"message")).inner == Response(200)
        assert (await ask.relayed("GET")).inner == Response(200, b"message")


def test_messages_go_over_tls(tmp_path: Path) -> None:
    _post_over_tls(tmp_path)
