"""Who holds a poll open, and who waits for a turn. Time jumps; each poll is held for its 30 s."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

import pytest

from payjoin_plugin.client.turns import FIRST_SHARE, HOLD, LAST_MINUTE, LOOKED_AT, OTHER_GAP, YOUNG, Turns
from tests.helpers import START, clock, jumping

DAY = 24 * 3600.0
OLD = START - 2 * YOUNG
CEILING = 20


class Shop:
    """Sessions that poll for ever, and what each poll of them was."""

    def __init__(self, ceiling: int | Callable[[], int] = CEILING, *, hold: float = HOLD) -> None:
        self.turns = Turns(ceiling if callable(ceiling) else lambda: ceiling, clock)
        self.polls: list[tuple[float, str]] = []
        """When each poll went out (seconds after the start), and whose it was."""
        self.open: set[str] = set()
        self.most_open = 0
        self._hold = hold
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def add(self, *names: str, made_at: float = OLD, expires_at: float = START + DAY) -> None:
        for name in names:
            self.tasks[name] = asyncio.create_task(self._poll(name, made_at, expires_at))

    async def _poll(self, name: str, made_at: float, expires_at: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(expires_at - clock()):
                while True:
                    async with self.turns.take(name, made_at=made_at, expires_at=expires_at):
                        self.polls.append((clock() - START, name))
                        self.open.add(name)
                        self.most_open = max(self.most_open, len(self.open))
                        try:
                            await asyncio.sleep(self._hold)
                        finally:
                            self.open.discard(name)

    def times_of(self, name: str) -> list[float]:
        return [at for at, whose in self.polls if whose == name]


def names(kind: str, count: int) -> list[str]:
    return [f"{kind} {number}" for number in range(count)]


def longest_silence(shop: Shop, name: str, *, until: float) -> float:
    """Seconds for which a session had no poll open, at most."""
    times = shop.times_of(name)
    ends = [0.0, *(at + HOLD for at in times)]
    return max(begin - end for end, begin in zip(ends, [*times, until], strict=True))


@pytest.fixture(autouse=True)
def seed() -> None:
    random.seed(77)


@jumping
async def test_as_many_as_the_ceiling_always_have_a_poll_open() -> None:
    shop = Shop()
    shop.add(*names("old", CEILING))
    await asyncio.sleep(2 * HOLD)
    shop.polls.clear()
    await asyncio.sleep(100 * HOLD)
    assert len(shop.polls) >= 0.95 * CEILING * 100
    assert shop.most_open == CEILING


@jumping
async def test_no_more_polls_are_open_than_the_ceiling_whoever_comes() -> None:
    shop = Shop()
    shop.add(*names("old", 100))
    shop.add(*names("young", 100), made_at=START)
    for number in range(100):
        shop.turns.look(f"old {number}")
        await asyncio.sleep(1)
    assert shop.most_open == CEILING


@jumping
async def test_a_new_request_goes_out_at_once_beside_old_ones_that_take_turns() -> None:
    shop = Shop()
    shop.add(*names("old", 1000))
    await asyncio.sleep(10 * HOLD)
    waits = []
    for number in range(50):
        shop.add(f"new {number}", made_at=clock())
        await asyncio.sleep(60)
        waits.append(shop.times_of(f"new {number}")[0] - (clock() - START - 60))
        shop.tasks[f"new {number}"].cancel()
    assert sum(waits) / len(waits) <= 1.5 * HOLD / CEILING


@jumping
async def test_a_request_that_somebody_looks_at_has_a_poll_open_from_then_on() -> None:
    shop = Shop()
    shop.add(*names("old", 1000))
    await asyncio.sleep(10 * HOLD)
    shop.turns.look("old 700")
    looked_at = clock() - START
    await asyncio.sleep(100 * HOLD)
    polls = [at for at in shop.times_of("old 700") if at >= looked_at]
    assert polls[0] - looked_at <= 4 * HOLD / CEILING or "old 700" in shop.open
    assert len(polls) >= 90


@jumping
async def test_only_the_ten_looked_at_last_come_first() -> None:
    shop = Shop()
    everybody = names("old", 1000)
    shop.add(*everybody)
    for name in everybody:  # as a command does that lists them all
        shop.turns.look(name)
    await asyncio.sleep(10 * HOLD)
    shop.polls.clear()
    await asyncio.sleep(10 * HOLD)
    often = {name for name in everybody if len(shop.times_of(name)) >= 9}
    assert often == set(everybody[-LOOKED_AT:])


@jumping
async def test_a_request_is_no_longer_among_the_first_after_its_first_hour() -> None:
    shop = Shop()
    shop.add(*names("old", 1000))
    shop.add("young", made_at=START)
    await asyncio.sleep(YOUNG)
    assert len(shop.times_of("young")) >= 0.95 * YOUNG / HOLD
    shop.polls.clear()
    await asyncio.sleep(YOUNG)
    assert len(shop.times_of("young")) <= 5


@jumping
async def test_of_more_young_ones_than_there_is_room_for_the_newest_come_first() -> None:
    shop = Shop()
    for number in range(40):
        shop.add(f"young {number}", made_at=START - 40 + number)
    await asyncio.sleep(10 * HOLD)
    shop.polls.clear()
    await asyncio.sleep(10 * HOLD)
    often = {name for name in shop.tasks if len(shop.times_of(name)) >= 9}
    assert often == {f"young {number}" for number in range(40 - int(CEILING * FIRST_SHARE), 40)}


@jumping
async def test_the_others_have_a_quarter_however_many_come_first() -> None:
    shop = Shop()
    shop.add(*names("old", 50))
    shop.add(*names("young", 500), made_at=START)
    await asyncio.sleep(HOLD)
    shop.polls.clear()
    await asyncio.sleep(YOUNG - 2 * HOLD)
    share = sum(whose.startswith("old") for _, whose in shop.polls) / len(shop.polls)
    assert share > 0
    assert all(shop.times_of(name) for name in names("old", 50))


@jumping
async def test_turns_are_fair_and_nobody_waits_longer_than_the_formula_says() -> None:
    shop = Shop()
    everybody = names("old", 200)
    shop.add(*everybody)
    hours = 3 * 3600
    await asyncio.sleep(hours)
    counts = [len(shop.times_of(name)) for name in everybody]
    assert max(counts) - min(counts) <= 1
    bound = HOLD * (len(everybody) / CEILING - 1)
    silences = [longest_silence(shop, name, until=hours) for name in everybody]
    assert max(silences) <= 1.15 * bound


@jumping
async def test_a_thousand_old_sessions_make_no_burst_at_the_start() -> None:
    shop = Shop(100)
    shop.add(*names("old", 1000))
    await asyncio.sleep(HOLD)
    seconds = [int(at) for at, _ in shop.polls]
    assert max(seconds.count(second) for second in seconds) <= 8
    assert len(shop.polls) <= 110


@jumping
async def test_polls_that_fail_at_once_go_out_no_faster() -> None:
    shop = Shop(100, hold=0.0)
    shop.add(*names("old", 1000))
    await asyncio.sleep(10 * HOLD)
    assert len(shop.polls) <= 1.1 * 100 * 10 / OTHER_GAP


@jumping
async def test_a_session_asks_once_more_in_its_last_minute() -> None:
    shop = Shop()
    expires_at = START + 1000.0
    shop.add(*names("old", 1000))
    await asyncio.sleep(10)
    shop.add("ending", expires_at=expires_at)
    await asyncio.sleep(2000)
    assert any(expires_at - START - LAST_MINUTE <= at for at in shop.times_of("ending"))


@jumping
async def test_it_does_so_beside_more_young_ones_than_there_is_room_for() -> None:
    shop = Shop()
    shop.add(*names("young", CEILING), made_at=START)
    shop.add(*names("old", 300))
    await asyncio.sleep(60)
    shop.add("ending", expires_at=clock() + LAST_MINUTE - 1)
    await asyncio.sleep(LAST_MINUTE)
    assert shop.times_of("ending")


@jumping
async def test_who_is_cancelled_while_waiting_or_polling_leaves_nothing_behind() -> None:
    shop = Shop()
    shop.add(*names("old", 60))
    await asyncio.sleep(2 * HOLD)
    for task in shop.tasks.values():
        task.cancel()
    await asyncio.gather(*shop.tasks.values(), return_exceptions=True)
    shop.polls.clear()
    shop.add("next", made_at=clock())
    await asyncio.sleep(1)
    assert len(shop.polls) == 1


@jumping
async def test_a_lower_ceiling_counts_from_the_next_turn_on() -> None:
    ceiling = CEILING
    shop = Shop(lambda: ceiling)
    shop.add(*names("old", 100))
    await asyncio.sleep(3 * HOLD)
    ceiling = 10
    await asyncio.sleep(2 * HOLD)
    assert len(shop.open) <= 10
