"""The directory's keys are at hand, and nobody is asked more often than it needs. Time jumps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from payjoin_plugin.client.directory import KEYS_FRESH, KEYS_LIFE, KeyCache, Relays
from payjoin_plugin.client.keeper import LOOK_AGAIN, TRIES, KeyKeeper
from payjoin_plugin.client.transport import Connections, HttpTransport
from payjoin_plugin.errors import Garbled, Unreachable
from payjoin_plugin.wire.ohttp import KeyConfig
from tests.client.outlets import electrum_sessions
from tests.helpers import clock, eventually, jumping, jumping_on_sockets
from tests.mailroom.gateway import Gateway
from tests.mailroom.mailroom import Mailroom

FIRST, SECOND = "https://first.example", "https://second.example"
RELAYS = ["https://one.test", "https://two.invalid", "https://three.org", "https://four.net"]
HOUR = 3600


@dataclass
class Field:
    """Directories that give their keys, and how a keeper fares. Implements client.mail.Transport."""

    gateways: dict[str, Gateway] = field(default_factory=lambda: {FIRST: Gateway(), SECOND: Gateway()})
    away: set[str] = field(default_factory=set)
    """Directories and relays that do not answer."""
    directories: list[str] = field(default_factory=lambda: [FIRST, SECOND])
    asked: list[tuple[float, str, str]] = field(default_factory=list)
    """When, through which relay, whom."""
    told: int = 0
    """How often the keeper said that something changed."""

    def __post_init__(self) -> None:
        self.cache = KeyCache()
        self.relays = Relays(lambda: RELAYS, pick=lambda some: some[0])
        self.keeper = KeyKeeper(
            self, self.relays, self.cache, directories=lambda: self.directories, clock=clock, changed=self._changed
        )

    async def post(self, relay: str, directory: str, body: bytes) -> bytes:
        raise AssertionError("a keeper makes no calls")

    async def fetch_keys(self, relay: str | None, directory: str) -> KeyConfig:
        assert relay is not None
        self.asked.append((clock(), relay, directory))
        await asyncio.sleep(1)
        if self.away & {relay, directory}:
            raise Unreachable(f"{directory} is away")
        return self.gateways[directory].config

    def asked_of(self, directory: str) -> list[float]:
        return [at for at, _, asked in self.asked if asked == directory]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self.keeper.run())
        await asyncio.sleep(30)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _changed(self) -> None:
        self.told += 1


@jumping
async def test_keys_are_there_after_the_start() -> None:
    there = Field()
    assert there.keeper.current() is None
    async with there.running():
        assert there.keeper.current() == (FIRST, there.gateways[FIRST].config)
        assert there.told == 1
        assert there.keeper.trouble is None


@jumping
async def test_fresh_keys_are_not_fetched_again() -> None:
    there = Field()
    async with there.running():
        await asyncio.sleep(KEYS_FRESH - LOOK_AGAIN)
        assert len(there.asked) == 1


@jumping
async def test_keys_are_fetched_anew_before_they_are_too_old() -> None:
    there = Field()
    async with there.running():
        for _ in range(24):
            await asyncio.sleep(HOUR)
            assert there.keeper.current() is not None
        first, *later = there.asked_of(FIRST)
        assert later
        assert all(
            KEYS_FRESH < after - before < KEYS_LIFE for before, after in zip([first, *later], later, strict=False)
        )


@jumping
async def test_keys_that_stayed_the_same_are_no_news() -> None:
    there = Field()
    async with there.running():
        await asyncio.sleep(24 * HOUR)
        assert there.told == 1


@jumping
async def test_keys_that_changed_are_news() -> None:
    there = Field()
    async with there.running():
        there.gateways[FIRST] = there.gateways[FIRST].rotated()
        await asyncio.sleep(KEYS_LIFE)
        assert there.told == 2
        assert there.keeper.current() == (FIRST, there.gateways[FIRST].config)


@jumping
async def test_keys_from_the_wallet_file_are_used_at_once() -> None:
    there = Field()
    there.cache.put(FIRST, there.gateways[FIRST].config, clock())
    assert there.keeper.current() == (FIRST, there.gateways[FIRST].config)
    async with there.running():
        assert there.asked == []


@jumping
async def test_where_a_directory_is_away_the_next_one_is_used() -> None:
    there = Field(away={FIRST})
    async with there.running():
        assert there.keeper.current() == (SECOND, there.gateways[SECOND].config)
        assert there.keeper.trouble is None
        assert len(there.asked_of(FIRST)) == TRIES


@jumping
async def test_the_first_directory_is_used_again_once_it_is_back() -> None:
    there = Field(away={FIRST})
    async with there.running():
        there.away.clear()
        await asyncio.sleep(10 * LOOK_AGAIN)
        assert there.keeper.current() == (FIRST, there.gateways[FIRST].config)
        assert there.told == 2


@jumping
async def test_other_relays_are_tried_before_another_directory() -> None:
    there = Field(away=set(RELAYS[: TRIES - 1]))
    async with there.running():
        assert there.keeper.current() == (FIRST, there.gateways[FIRST].config)
        assert [relay for _, relay, _ in there.asked] == RELAYS[:TRIES]


@jumping
async def test_relays_that_failed_where_another_one_worked_are_left_alone() -> None:
    there = Field(away={RELAYS[0]})
    async with there.running():
        assert there.relays.choose(FIRST, now=clock()) == RELAYS[1]


@jumping
async def test_a_directory_that_is_gone_for_good_puts_no_relay_in_quarantine() -> None:
    there = Field(away={FIRST})
    async with there.running():
        await asyncio.sleep(4 * HOUR + 17)
        assert there.relays.choose(SECOND, now=clock()) == RELAYS[0]
        assert there.relays.choose(SECOND, now=clock(), avoid=RELAYS[0]) == RELAYS[1]


@jumping
async def test_where_all_are_away_it_says_so_and_tries_again() -> None:
    there = Field(away={FIRST, SECOND})
    async with there.running():
        assert str(there.keeper.trouble) == f"{FIRST} is away"
        assert there.told >= 1
        there.away.clear()
        await eventually(lambda: there.keeper.trouble is None)
        assert there.keeper.current() is not None


@jumping
async def test_tries_become_seldom_while_nobody_answers() -> None:
    there = Field(away={FIRST, SECOND})
    async with there.running():
        await asyncio.sleep(HOUR)
        before = len(there.asked)
        await asyncio.sleep(HOUR)
        assert len(there.asked) - before <= 2 * TRIES * HOUR / 30


@jumping
async def test_keys_that_are_getting_old_are_good_until_they_are_too_old() -> None:
    there = Field()
    there.directories = [FIRST]
    async with there.running():
        there.away = {FIRST}
        await asyncio.sleep(KEYS_LIFE - 60)
        assert there.keeper.current() is not None
        assert there.keeper.trouble is None
        await asyncio.sleep(200)
        assert there.keeper.current() is None
        assert there.keeper.trouble is not None


@jumping
async def test_whoever_pokes_does_not_wait() -> None:
    there = Field(away={FIRST, SECOND})
    async with there.running():
        await asyncio.sleep(HOUR)
        there.away.clear()
        there.keeper.poke()
        await asyncio.sleep(10)
        assert there.keeper.current() is not None


@jumping
async def test_a_directory_that_gives_nonsense_is_one_that_is_away() -> None:
    there = Field()

    async def nonsense(relay: str | None, directory: str) -> KeyConfig:
        if directory == FIRST:
            raise Garbled("no keys")
        return there.gateways[directory].config

    there.fetch_keys = nonsense  # type: ignore[method-assign]
    async with there.running():
        assert there.keeper.current() == (SECOND, there.gateways[SECOND].config)


@jumping
async def test_without_a_relay_that_somebody_else_runs_there_are_no_keys() -> None:
    there = Field()
    there.directories = ["https://directory.example"]
    there.relays = Relays(lambda: ["https://relay.directory.example"])
    there.keeper = KeyKeeper(
        there, there.relays, there.cache, directories=lambda: there.directories, clock=clock, changed=lambda: None
    )
    async with there.running():
        assert there.keeper.current() is None
        assert "somebody else" in str(there.keeper.trouble)
        assert there.asked == []


@jumping
async def test_a_setting_that_changed_counts_at_once() -> None:
    there = Field()
    async with there.running():
        there.directories = [SECOND]
        assert there.keeper.current() is None
        there.keeper.poke()
        await asyncio.sleep(5)
        assert there.keeper.current() == (SECOND, there.gateways[SECOND].config)
        assert there.told == 2


@jumping
async def test_where_the_keys_of_another_setting_are_at_hand_that_is_news_as_well() -> None:
    there = Field(away={FIRST}, directories=[FIRST])
    there.cache.put(SECOND, there.gateways[SECOND].config, clock())
    await there.keeper.refresh()
    assert "is away" in str(there.keeper.trouble)
    told, there.directories = there.told, [SECOND]
    await there.keeper.refresh()
    assert there.keeper.trouble is None
    assert there.told == told + 1


@jumping_on_sockets
async def test_the_keys_of_a_real_directory_are_fetched() -> None:
    connections = Connections(electrum_sessions())
    async with Mailroom(clock=clock) as mailroom:
        keeper = KeyKeeper(
            HttpTransport(connections),
            Relays(lambda: mailroom.relay_urls),
            KeyCache(),
            directories=lambda: [mailroom.directory_url],
            clock=clock,
            changed=lambda: None,
        )
        await keeper.refresh()
        assert keeper.current() == (mailroom.directory_url, mailroom.keys)
        await connections.close()
