"""How fast a session asks. Time jumps."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.client.pace import (
    FIRST_WAIT,
    JITTER,
    LONGEST_GAP,
    LONGEST_RETRY_AFTER,
    LONGEST_WAIT,
    MEAN_GAP,
    QUICK,
    Backoff,
    Pace,
    parse_retry_after,
)
from payjoin_plugin.errors import Unreachable
from tests.helpers import clock, jumping

LONG_POLL = 30.0


async def poll(pace: Pace, *, takes: float) -> None:
    async with pace.poll(clock):
        await asyncio.sleep(takes)


async def gap_before_next(pace: Pace) -> float:
    """Seconds until the next poll goes out, which is a long one."""
    before = clock()
    async with pace.poll(clock):
        gap = clock() - before
        await asyncio.sleep(LONG_POLL)
    return gap


async def gap_after(pace: Pace, took: float) -> float:
    """Seconds between an answer that took so long and the next poll."""
    await poll(pace, takes=took)
    return await gap_before_next(pace)


@jumping
async def test_the_first_poll_goes_out_at_once() -> None:
    assert await gap_before_next(Pace(nullcontext)) == 0


@jumping
async def test_after_a_long_poll_the_next_one_goes_out_at_once() -> None:
    assert await gap_after(Pace(nullcontext), LONG_POLL) == 0
    assert await gap_after(Pace(nullcontext), QUICK) == 0


@jumping
async def test_after_quick_answers_the_gaps_are_random_with_a_mean_of_five_seconds() -> None:
    random.seed(77)
    gaps = [await gap_after(Pace(nullcontext), 0.01) for _ in range(3000)]
    assert 0.9 * MEAN_GAP < statistics.mean(gaps) < 1.1 * MEAN_GAP
    assert max(gaps) == pytest.approx(LONGEST_GAP)


@jumping
async def test_a_gap_is_waited_once() -> None:
    pace = Pace(nullcontext)
    assert await gap_after(pace, 0.01) > 0
    assert await gap_before_next(pace) == 0


@jumping
async def test_the_time_in_the_gap_is_not_taken_for_a_long_poll() -> None:
    pace = Pace(nullcontext)
    await poll(pace, takes=0.01)
    await poll(pace, takes=0.01)
    assert await gap_before_next(pace) > 0


@jumping
async def test_the_time_that_a_turn_is_waited_for_is_not_taken_for_a_long_poll() -> None:
    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        await asyncio.sleep(LONG_POLL)
        yield

    pace = Pace(turn)
    await poll(pace, takes=0.01)
    assert await gap_before_next(pace) > LONG_POLL


@jumping
async def test_a_poll_that_failed_makes_no_gap() -> None:
    pace = Pace(nullcontext)
    with pytest.raises(Unreachable):
        async with pace.poll(clock):
            raise Unreachable("the relay is away")
    assert await gap_before_next(pace) == 0


def test_failures_are_waited_for_longer_and_longer() -> None:
    random.seed(77)
    series = [[backoff.next() for _ in range(20)] for backoff in (Backoff() for _ in range(500))]
    means = [statistics.mean(waits) for waits in zip(*series, strict=True)]
    assert means[0] == pytest.approx(FIRST_WAIT, rel=0.1)
    assert means[1] == pytest.approx(FIRST_WAIT * 1.5, rel=0.1)
    assert means[-1] == pytest.approx(LONGEST_WAIT, rel=0.1)
    assert all(earlier < later * 1.1 for earlier, later in pairwise(means))


def test_no_wait_leaves_its_bounds() -> None:
    random.seed(77)
    for _ in range(500):
        backoff = Backoff()
        assert FIRST_WAIT * (1 - JITTER) <= backoff.next() <= FIRST_WAIT * (1 + JITTER)
        assert all(0 < backoff.next() <= LONGEST_WAIT * (1 + JITTER) for _ in range(30))


def test_after_a_success_the_waits_begin_anew() -> None:
    backoff = Backoff()
    for _ in range(20):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= FIRST_WAIT * (1 + JITTER)


# Retry-After


NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("007", 7),
        ("9" * 5000, LONGEST_RETRY_AFTER),
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30),
        ("Tue, 24 Nov 2026 12:00:30 -0000", 30),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0),
        ("Tue, 24 Nov 2099 12:00:00 GMT", LONGEST_RETRY_AFTER),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("١٢", None),
        ("inf", None),
        ("soon", None),
        ("Tue, 99 Nov 2026 12:00:30 GMT", None),
        ("Tue, 24 Nov 99999999999999999999 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOON) == seconds


def test_a_date_without_a_zone_is_utc_wherever_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "EST+5")
    time.tzset()
    try:
        assert parse_retry_after("Tue, 24 Nov 2026 12:00:30 -0000", now=NOON) == 30
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.one_of(st.text(), st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ ?.*")))
def test_no_retry_after_is_longer_than_the_limit_or_raises(value: str) -> None:
    wait = parse_retry_after(value, now=NOON)
    assert wait is None or 0 <= wait <= LONGEST_RETRY_AFTER
