"""Calls: what goes out to a relay, and what each thing that can come back is turned into."""

from __future__ import annotations

import asyncio
import gzip
import json

import aiohttp
import pytest
from electrum.util import make_aiohttp_session

from payjoin_plugin.client.transport import (
    ANSWER_LIMIT,
    CALL_TIMEOUT,
    Connections,
    HttpTransport,
)
from payjoin_plugin.errors import DirectoryStatus, Garbled, KeysRejected, NotSent, Unreachable
from payjoin_plugin.wire.bhttp import Response, decode_request, encode_response
from payjoin_plugin.wire.ohttp import MESSAGE_BYTES
from tests.client.outlets import transport
from tests.client.servers import Answer, HttpServer, Seen, hang_up, reply, says, silence
from tests.mailroom.gateway import Gateway

DIRECTORY = "https://directory.test"
CALL = bytes(range(256)) * 32
ANSWER = CALL[::-1]
WRONG_KEY = json.dumps(
    {"type": "https://iana.org/assignments/http-problem-types#ohttp-key", "title": "key identifier unknown"}
).encode()


async def outcome(answer: Answer, *, seconds: float = 75) -> bytes:
    """What a call comes to at a relay that answers so."""
    async with (
        HttpServer(answer) as relay,
        transport(call_timeout=aiohttp.ClientTimeout(total=seconds)) as out,
    ):
        return await out.post(relay.url(), DIRECTORY, CALL)


async def test_a_call_is_posted_to_the_relay_with_the_directory_in_its_path() -> None:
    async with HttpServer(says(reply(body=ANSWER))) as relay, transport() as out:
        assert await out.post(relay.url(), "HTTPS://Directory.test:443", CALL) == ANSWER
    [seen] = relay.seen
    assert (seen.method, seen.target, seen.body) == ("POST", "/https://directory.test/", CALL)


async def test_nothing_in_a_call_names_electrum_or_python() -> None:
    async with HttpServer(says(reply(body=ANSWER))) as relay, transport() as out:
        await out.post(relay.url(), DIRECTORY, CALL)
    assert relay.seen[0].headers == {
        "Host": f"127.0.0.1:{relay.port}",
        "Content-Type": "message/ohttp-req",
        "Accept": "*/*",
        "Content-Length": "8192",
    }


async def test_a_session_factory_that_names_electrum_is_not_repeated() -> None:
    connections = Connections(lambda timeout: make_aiohttp_session(None, timeout=timeout))
    async with HttpServer(says(reply(body=ANSWER))) as relay:
        await HttpTransport(connections).post(relay.url(), DIRECTORY, CALL)
        await connections.close()
    assert "User-Agent" not in relay.seen[0].headers


@pytest.mark.parametrize("status", [200, 302, 400, 503])
async def test_8192_bytes_are_an_answer_whatever_the_outer_status(status: int) -> None:
    assert await outcome(says(reply(status, ANSWER))) == ANSWER


@pytest.mark.parametrize("length", [0, MESSAGE_BYTES - 1, MESSAGE_BYTES + 1, ANSWER_LIMIT + 1])
async def test_a_good_status_with_another_length_is_garbled(length: int) -> None:
    with pytest.raises(Garbled):
        await outcome(says(reply(200, bytes(length))))


@pytest.mark.parametrize("status", [201, 202, 400, 404, 413, 429, 500, 503])
async def test_another_status_is_told_as_it_is(status: int) -> None:
    with pytest.raises(DirectoryStatus) as caught:
        await outcome(says(reply(status, b"sorry")))
    assert (caught.value.status, caught.value.inner, caught.value.retry_after) == (status, False, None)
    assert not isinstance(caught.value, KeysRejected)


async def test_a_status_carries_the_wait_that_was_asked_for() -> None:
    with pytest.raises(DirectoryStatus) as caught:
        await outcome(says(reply(503, Retry_After="7")))
    assert caught.value.retry_after == 7


@pytest.mark.parametrize("kind", ["application/problem+json", None])
async def test_a_key_that_the_gateway_does_not_know_is_told_apart(kind: str | None) -> None:
    headers = {} if kind is None else {"Content_Type": kind}
    with pytest.raises(KeysRejected):
        await outcome(says(reply(400, WRONG_KEY, **headers)))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, WRONG_KEY),
        (400, b""),
        (400, b"\xff"),
        (400, b'{"type": "about:blank"}'),
        (400, b'{"type": 7}'),
        (400, b'["#ohttp-key"]'),
        (400, b"[" * 1000),
        (400, WRONG_KEY + b" " * 1024),
    ],
)
async def test_any_other_problem_is_only_a_status(status: int, body: bytes) -> None:
    with pytest.raises(DirectoryStatus) as caught:
        await outcome(says(reply(status, body)))
    assert not isinstance(caught.value, KeysRejected)


async def test_a_redirect_is_not_followed() -> None:
    async with HttpServer(says(reply(307, Location="/elsewhere"))) as relay, transport() as out:
        with pytest.raises(DirectoryStatus):
            await out.post(relay.url(), DIRECTORY, CALL)
    assert len(relay.seen) == 1


async def test_a_cookie_is_not_given_back() -> None:
    async with HttpServer(says(reply(body=ANSWER, Set_Cookie="who=you; Path=/"))) as relay, transport() as out:
        for _ in range(2):
            await out.post(relay.url("localhost"), DIRECTORY, CALL)
    assert ["Cookie" in seen.headers for seen in relay.seen] == [False, False]


async def test_a_compressed_answer_is_not_unpacked() -> None:
    with pytest.raises(Garbled):
        await outcome(says(reply(body=gzip.compress(ANSWER), Content_Encoding="gzip")))


async def test_an_endless_answer_is_hung_up_on() -> None:
    hung_up = asyncio.Event()

    async def endless(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(bytes(65536))
                await writer.drain()
        finally:
            hung_up.set()

    async with HttpServer(endless) as relay, transport() as out:
        with pytest.raises(Garbled, match="more than 65536 bytes"):
            await out.post(relay.url(), DIRECTORY, CALL)
        await hung_up.wait()


async def test_a_relay_that_hangs_up_is_not_sent_the_same_call_again() -> None:
    async with HttpServer(hang_up) as relay, transport() as out:
        with pytest.raises(Unreachable):
            await out.post(relay.url(), DIRECTORY, CALL)
    assert len(relay.seen) == 1


async def test_a_kept_connection_that_breaks_is_not_sent_the_same_call_again() -> None:
    async with HttpServer(says(reply(body=ANSWER))) as relay, transport() as out:
        await out.post(relay.url(), DIRECTORY, CALL)
        relay.answer = hang_up
        with pytest.raises(Unreachable):
            await out.post(relay.url(), DIRECTORY, CALL)
    assert [seen.connection for seen in relay.seen] == [0, 0]


async def test_an_answer_that_breaks_off_is_no_answer() -> None:
    async def breaks_off(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(body=ANSWER)[:-1])
        writer.close()

    with pytest.raises(Unreachable):
        await outcome(breaks_off)


async def test_a_relay_that_is_silent_is_unreachable_when_its_time_is_over() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1 did not answer in time"):
        await outcome(silence, seconds=0.05)


def test_a_poll_has_the_30_seconds_of_its_directory_half_as_long_again_and_time_to_connect() -> None:
    connect, answer, total = CALL_TIMEOUT.sock_connect, CALL_TIMEOUT.sock_read, CALL_TIMEOUT.total
    assert answer is not None
    assert answer >= 45
    assert total is not None
    assert connect is not None
    assert total >= connect + answer


async def test_a_relay_that_never_ends_its_answer_is_unreachable_when_its_time_is_over() -> None:
    async def stops(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(body=ANSWER)[:-1])

    with pytest.raises(Unreachable, match="in time"):
        await outcome(stops, seconds=0.05)


@pytest.mark.parametrize("nonsense", [b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n"])
async def test_what_is_no_http_is_garbled(nonsense: bytes) -> None:
    with pytest.raises(Garbled):
        await outcome(says(nonsense))


async def test_where_nobody_listens_nothing_is_sent() -> None:
    async with HttpServer(silence) as relay:
        url = relay.url()
    async with transport() as out:
        with pytest.raises(NotSent, match=r"127\.0\.0\.1 cannot be reached"):
            await out.post(url, DIRECTORY, CALL)


async def test_a_call_that_found_a_listener_may_have_left() -> None:
    with pytest.raises(Unreachable) as caught:
        await outcome(hang_up)
    assert not isinstance(caught.value, NotSent)


@pytest.mark.parametrize(
    "wrong", ["http://example.com", "https://a@example.com", "https://example.com/x", "ftp://example.com", ""]
)
async def test_an_address_that_may_not_be_used_is_not_used(wrong: str) -> None:
    async with HttpServer(silence) as relay, transport() as out:
        with pytest.raises(Unreachable):
            await out.post(wrong, DIRECTORY, CALL)
        with pytest.raises(Unreachable):
            await out.post(relay.url(), wrong, CALL)
        with pytest.raises(Unreachable):
            await out.fetch_keys(relay.url(), wrong)
    assert relay.seen == []


async def test_a_cancelled_call_hangs_up() -> None:
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def wait(seen: Seen, _: asyncio.StreamWriter) -> None:
        asked.set()
        await seen.left()
        hung_up.set()

    async with HttpServer(wait) as relay, transport() as out:
        call = asyncio.ensure_future(out.post(relay.url(), DIRECTORY, CALL))
        await asked.wait()
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        await hung_up.wait()


async def test_a_probe_has_the_directory_answer_through_the_relay() -> None:
    gateway = Gateway()
    asked: list[str] = []

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.method == "GET":
            writer.write(reply(body=gateway.config.to_bytes()))
            return
        opened, sealer = gateway.open(seen.body)
        asked.append(decode_request(opened).path)
        writer.write(reply(body=sealer.seal(encode_response(Response(404)))))

    async with HttpServer(answer) as directory, HttpServer(answer) as relay, transport() as out:
        reached = await out.probe(relay.url(), directory.url())
    assert reached.keys == gateway.config
    assert asked == ["/payjoin/check"]
    assert [len(directory.seen), len(relay.seen)] == [1, 1]


async def test_a_probe_of_a_relay_that_makes_answers_up_fails() -> None:
    async with (
        HttpServer(says(reply(body=Gateway().config.to_bytes()))) as directory,
        HttpServer(says(reply(body=ANSWER))) as relay,
        transport() as out,
    ):
        with pytest.raises(Garbled):
            await out.probe(relay.url(), directory.url())
