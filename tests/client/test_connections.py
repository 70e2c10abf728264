"""Kept connections: who shares them, how many requests they carry, and when they are cut."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import aiohttp
import pytest

from payjoin_plugin.client.transport import Connections, HttpTransport, Route
from payjoin_plugin.errors import Dropped, NotSent, Unreachable
from tests.client.outlets import electrum_sessions, socks
from tests.client.servers import Answer, HttpServer, Seen, reply, says, silence

DIRECTORY = "https://directory.test"
CALL = bytes(8192)
ANSWERED = reply(body=bytes(8192))
AIOHTTP_LIMIT = 100
"""Connections of one HTTP session of Electrum's; a request beyond waits until another one has ended."""


class Setting:
    """A proxy setting that a test changes; counts the HTTP sessions that were made by it."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.made = 0
        self.connections = Connections(self._new_session, lambda: self.route)

    def transport(self) -> HttpTransport:
        return HttpTransport(self.connections)

    def _new_session(self, timeout: aiohttp.ClientTimeout) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
        self.made += 1
        return electrum_sessions()(timeout)


async def test_requests_one_after_another_take_one_connection() -> None:
    setting = Setting(Route())
    async with HttpServer(says(ANSWERED)) as relay:
        for out in (setting.transport(), setting.transport()):
            await out.post(relay.url(), DIRECTORY, CALL)
            await out.post(relay.url(), DIRECTORY, CALL)
        await setting.connections.close()
    assert [seen.connection for seen in relay.seen] == [0, 0, 0, 0]
    assert setting.made == 1


async def test_requests_that_are_over_do_not_count() -> None:
    setting = Setting(Route())
    async with HttpServer(says(ANSWERED)) as relay:
        for _ in range(AIOHTTP_LIMIT + 1):
            await setting.transport().post(relay.url(), DIRECTORY, CALL)
        await setting.connections.close()
    assert setting.made == 1


async def test_more_polls_than_one_http_session_carries_are_under_way_at_once() -> None:
    polls = 2 * AIOHTTP_LIMIT + 1
    all_here = asyncio.Barrier(polls)

    async def answer(_: Seen, writer: asyncio.StreamWriter) -> None:
        await all_here.wait()
        writer.write(ANSWERED)

    setting = Setting(Route())
    async with HttpServer(answer) as relay:
        out = setting.transport()
        await asyncio.gather(*(out.post(relay.url(), DIRECTORY, CALL) for _ in range(polls)))
        await setting.connections.close()
    assert setting.made == 3


async def test_behind_tor_no_two_transports_share_a_connection_nor_do_two_relays() -> None:
    setting = Setting(Route(proxied=True, isolated=True))
    async with HttpServer(says(ANSWERED)) as relay:
        for out in (setting.transport(), setting.transport()):
            for host in ("127.0.0.1", "localhost", "127.0.0.1"):
                await out.post(relay.url(host), DIRECTORY, CALL)
        await setting.connections.close()
    assert [seen.connection for seen in relay.seen] == [0, 1, 0, 2, 3, 2]
    assert setting.made == 4


async def test_a_closed_transport_cuts_its_own_connections_and_nobody_elses() -> None:
    setting = Setting(Route(proxied=True, isolated=True))
    async with HttpServer(says(ANSWERED)) as relay:
        ending, staying = setting.transport(), setting.transport()
        for out in (ending, staying):
            await out.post(relay.url(), DIRECTORY, CALL)
        await ending.close()
        for out in (ending, staying):
            await out.post(relay.url(), DIRECTORY, CALL)
        await setting.connections.close()
    assert [seen.connection for seen in relay.seen] == [0, 1, 2, 1]


async def test_a_shared_connection_survives_the_end_of_one_transport() -> None:
    setting = Setting(Route())
    async with HttpServer(says(ANSWERED)) as relay:
        out = setting.transport()
        await out.post(relay.url(), DIRECTORY, CALL)
        await out.close()
        await setting.transport().post(relay.url(), DIRECTORY, CALL)
        await setting.connections.close()
    assert [seen.connection for seen in relay.seen] == [0, 0]


async def test_a_new_proxy_setting_cuts_what_is_under_way_and_takes_no_old_connection() -> None:
    asked = asyncio.Event()

    async def poll(seen: Seen, _: asyncio.StreamWriter) -> None:
        asked.set()
        await seen.left()

    setting = Setting(Route())
    async with HttpServer(says(ANSWERED)) as relay, HttpServer(poll) as polled:
        await setting.transport().post(relay.url(), DIRECTORY, CALL)
        long_poll = asyncio.ensure_future(setting.transport().post(polled.url(), DIRECTORY, CALL))
        await asked.wait()

        setting.route = Route(setting="another proxy", proxied=True)
        await setting.transport().post(relay.url(), DIRECTORY, CALL)

        with pytest.raises(Unreachable):
            await long_poll
        await setting.connections.close()
    assert [seen.connection for seen in relay.seen] == [0, 1]


async def test_a_setting_that_changes_while_an_http_session_is_made_is_obeyed() -> None:
    made: list[Route] = []
    routes = [Route(setting="old"), Route(setting="new"), Route(setting="new"), Route(setting="new")]
    new_session = electrum_sessions()

    def make(timeout: aiohttp.ClientTimeout) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
        made.append(routes[0])
        return new_session(timeout)

    connections = Connections(make, lambda: routes.pop(0) if len(routes) > 1 else routes[0])
    async with HttpServer(says(ANSWERED)) as relay:
        await HttpTransport(connections).post(relay.url(), DIRECTORY, CALL)
        await connections.close()
    assert [route.setting for route in made] == ["new", "new"]


async def test_closing_everything_ends_what_is_under_way() -> None:
    asked = asyncio.Event()

    async def poll(seen: Seen, _: asyncio.StreamWriter) -> None:
        asked.set()
        await seen.left()

    setting = Setting(Route())
    async with HttpServer(poll) as relay:
        long_poll = asyncio.ensure_future(setting.transport().post(relay.url(), DIRECTORY, CALL))
        await asked.wait()
        await setting.connections.close()
        with pytest.raises(Unreachable):
            await long_poll


async def close_at_once(seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def begin_and_close(seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(ANSWERED[:-100])
    writer.close()


async def test_a_kept_connection_that_is_closed_just_as_we_ask_is_told_apart_and_nothing_is_sent_twice() -> None:
    setting = Setting(Route())
    async with HttpServer(says(ANSWERED)) as relay:
        out = setting.transport()
        await out.post(relay.url(), DIRECTORY, CALL)
        relay.answer = close_at_once
        with pytest.raises(Dropped):
            await out.post(relay.url(), DIRECTORY, CALL)
        assert [seen.connection for seen in relay.seen] == [0, 0]
        relay.answer = says(ANSWERED)
        await out.post(relay.url(), DIRECTORY, CALL)
        assert [seen.connection for seen in relay.seen] == [0, 0, 1]
        await setting.connections.close()


@pytest.mark.parametrize(
    ("answer", "kept"), [(close_at_once, False), (begin_and_close, False), (begin_and_close, True)]
)
async def test_a_relay_that_hangs_up_on_a_new_connection_or_within_its_answer_has_failed(
    answer: Answer, *, kept: bool
) -> None:
    setting = Setting(Route())
    async with HttpServer(says(ANSWERED)) as relay:
        if kept:
            await setting.transport().post(relay.url(), DIRECTORY, CALL)
        relay.answer = answer
        with pytest.raises(Unreachable) as caught:
            await setting.transport().post(relay.url(), DIRECTORY, CALL)
        assert not isinstance(caught.value, Dropped)
        await setting.connections.close()


async def test_electrum_offline_is_told_in_its_own_words() -> None:
    def offline(_: aiohttp.ClientTimeout) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
        raise Unreachable("Electrum is offline")

    async with HttpServer(silence) as relay:
        with pytest.raises(Unreachable, match=r"^Electrum is offline$"):
            await HttpTransport(Connections(offline)).post(relay.url(), DIRECTORY, CALL)
    assert relay.seen == []


async def test_a_proxy_setting_that_is_none_is_told_and_not_gone_around() -> None:
    broken = socks(1)
    broken.port = ""
    async with HttpServer(silence) as relay:
        with pytest.raises(NotSent, match="the proxy setting cannot be used"):
            await HttpTransport(Connections(electrum_sessions(broken))).post(relay.url(), DIRECTORY, CALL)
    assert relay.seen == []


async def test_an_onion_address_without_a_proxy_is_refused_before_anybody_hears_of_it() -> None:
    setting = Setting(Route())
    with pytest.raises(NotSent, match="only be reached through Tor"):
        await setting.transport().post("http://abc.onion", DIRECTORY, CALL)
    with pytest.raises(NotSent, match="only be reached through Tor"):
        await setting.transport().fetch_keys(None, "http://abc.onion")
    assert setting.made == 0
