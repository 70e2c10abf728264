"""Time limits by the clock on the wall: while the machine sleeps, the loop's clock stands still. Time jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from payjoin_plugin.client.deadline import LONGEST_NAP, deadline, sleep_until
from tests.helpers import START, clock, jumping

HOUR = 3600


class Wall:
    """A clock that goes on while the loop's stands still."""

    def __init__(self) -> None:
        self.slept = 0.0
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return clock() + self.slept


async def stay_until(moment: float, wall: Wall) -> None:
    with pytest.raises(TimeoutError):
        async with deadline(moment, wall):
            await asyncio.Event().wait()


Wait = Callable[[float, Wall], Awaitable[None]]
both = pytest.mark.parametrize("wait", [sleep_until, stay_until])


@both
def test_a_wait_ends_when_its_time_has_come(wait: Wait) -> None:
    @jumping
    async def run() -> None:
        await wait(START + HOUR + 0.25, Wall())
        assert clock() == pytest.approx(START + HOUR + 0.25, abs=1e-3)
        await wait(START + HOUR, Wall())
        assert clock() == pytest.approx(START + HOUR + 0.25, abs=1e-3)

    run()


@both
def test_a_sleep_of_the_machine_does_not_stretch_a_wait_by_more_than_a_minute(wait: Wait) -> None:
    @jumping
    async def run() -> None:
        wall = Wall()
        waiting = asyncio.ensure_future(wait(START + 8 * HOUR, wall))
        await asyncio.sleep(HOUR / 7)
        wall.slept = 7 * HOUR + 50 * 60
        await asyncio.sleep(LONGEST_NAP)
        assert not waiting.done()
        wall.slept = 9 * HOUR
        await asyncio.sleep(LONGEST_NAP + 1)
        assert waiting.done()
        await waiting

    run()


@both
def test_the_clock_is_looked_at_once_a_minute_and_not_more_often(wait: Wait) -> None:
    @jumping
    async def run() -> None:
        wall = Wall()
        await wait(START + HOUR, wall)
        assert wall.looks <= HOUR / LONGEST_NAP + 2

    run()


@jumping
async def test_what_ends_in_time_leaves_no_timer_behind() -> None:
    async with deadline(START + HOUR, clock) as limit:
        await asyncio.sleep(HOUR / 2)
    await asyncio.sleep(HOUR)
    assert not limit.expired()


@jumping
async def test_a_time_limit_of_somebody_else_s_is_told_apart() -> None:
    with pytest.raises(TimeoutError):
        async with deadline(START + HOUR, clock) as limit:
            raise TimeoutError
    assert not limit.expired()
