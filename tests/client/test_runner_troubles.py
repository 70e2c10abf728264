"""The runner where something is wrong: with the disk, the clock, the directory or ourselves. Time jumps."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from payjoin_plugin.client.deadline import LONGEST_NAP
from payjoin_plugin.client.pace import LATE_CHECK, LONGEST_LEAVE, MOST_RENEWALS
from payjoin_plugin.client.runner import End
from payjoin_plugin.session.events import Failure
from payjoin_plugin.session.receiver import PostingProposal, Signing
from payjoin_plugin.session.status import Waiting
from payjoin_plugin.wire.mailbox import ShortId
from tests.helpers import START, clock, eventually, jumping
from tests.mailroom import faults
from tests.mailroom.directory import KEY_REJECTED, Answer
from tests.mailroom.faults import Planned
from tests.mailroom.journal import Seen
from tests.pair import Pair, send_v1
from tests.session.test_pair import check_the_end
from tests.session.test_pair_v1 import check_proposal_in

PASSWORD = "correct horse"
MINUTES = 60


def lying(pair: Pair, fault: faults.Fault) -> Planned:
    """Let the relay that the receiver draws first, and the sender last, do wrong all the time."""
    liar = pair.world.relay_urls[0]
    return Planned(fault, lambda seen: seen.target == liar, times=1_000_000)


# The disk


@jumping
async def test_with_a_full_disk_nothing_leaves_and_it_is_tried_again() -> None:
    pair = Pair()
    pair.receiver.store.is_full = True
    async with pair.running() as runner:
        await asyncio.sleep(10 * MINUTES)
        assert isinstance(runner.trouble, OSError)
        assert isinstance(pair.state, PostingProposal)
        assert pair.sender.answers == set()
        pair.receiver.store.is_full = False
        await eventually(lambda: pair.is_answered)
        assert pair.receiver.store.saves == 1
        assert runner.trouble is None


@jumping
async def test_with_a_full_disk_no_error_leaves_either() -> None:
    pair = Pair(query="v=3")
    pair.receiver.store.is_full = True
    async with pair.running():
        await asyncio.sleep(10 * MINUTES)
        assert pair.sender.answers == set()
        pair.receiver.store.is_full = False
        await eventually(lambda: len(pair.sender.answers) == 1)


@jumping
async def test_an_original_that_waits_is_saved_as_soon_as_there_is_room() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    pair.receiver.store.is_full = True
    async with pair.running() as runner:
        await asyncio.sleep(10 * MINUTES)
        assert pair.receiver.store.saves == 0
        pair.receiver.store.is_full = False
        await eventually(lambda: pair.receiver.store.saves == 1)
        assert runner.waiting is Waiting.LOCKED


# The clock


@jumping
async def test_expiry_is_not_slept_over() -> None:
    pair = Pair()
    pair.world.faults.planned.append(Planned(faults.fail_with(503, retry_after=1700), Seen.is_poll, times=100))
    assert await pair.receiver.run(pair.session_id) is End.EXPIRED
    assert clock() == START + 3600


@jumping
async def test_a_session_that_has_answered_ends_soon_after_a_sleep_of_the_machine_in_which_it_expired() -> None:
    pair = Pair()
    running = asyncio.ensure_future(pair.run_receiver())
    await eventually(lambda: pair.is_answered)
    pair.receiver.slept = 8 * 3600
    await asyncio.sleep(LONGEST_NAP + 1)
    assert running.done()
    assert await running is End.EXPIRED


# A check that is not finished at expiry


async def run_past_expiry(pair: Pair) -> End:
    """Let the original come, and the Electrum server be away until an hour after expiry."""
    pair.world.chain.is_reachable = False
    running = asyncio.ensure_future(pair.run_receiver())
    await asyncio.sleep(2 * 3600)
    assert pair.events == ["Created", "RetrievedOriginal"]
    pair.world.chain.is_reachable = True
    return await running


@jumping
async def test_an_original_that_could_not_be_checked_before_expiry_is_kept_after_it_and_not_answered() -> None:
    pair = Pair()
    assert await run_past_expiry(pair) is End.EXPIRED
    assert pair.events == ["Created", "RetrievedOriginal", "AcceptedOriginal"]
    assert clock() < START + 2 * 3600 + 100
    assert pair.sender.answers == set()


@jumping
async def test_an_original_that_is_checked_after_expiry_survives_a_power_cut_first() -> None:
    pair = Pair()
    pair.receiver.points.cut_power_at("recorded AcceptedOriginal")
    assert await run_past_expiry(pair) is End.EXPIRED
    assert pair.receiver.boots == 2
    assert pair.events == ["Created", "RetrievedOriginal", "AcceptedOriginal"]


@jumping
async def test_an_original_that_is_refused_after_expiry_is_not_answered_and_the_session_fails() -> None:
    pair = Pair()
    pair.world.chain.change(pair.made, ours=True)
    assert await run_past_expiry(pair) is End.CLOSED
    assert pair.events == ["Created", "RetrievedOriginal", "RefusedOriginal", "Closed"]
    assert pair.outcome == Failure()
    assert pair.sender.answers == set()


@pytest.mark.parametrize("is_off", [False, True], ids=["at work", "off"])
def test_a_session_whose_sender_could_not_be_told_until_expiry_fails_then(*, is_off: bool) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        pair.world.chain.change(pair.made, ours=True)
        answers = Planned(
            faults.hang_up, lambda seen: seen.is_post() and not seen.is_at(pair.endpoint.mailbox), times=1_000_000
        )
        pair.world.faults.planned.append(answers)
        async with pair.running():
            await eventually(lambda: pair.events[-1] == "RefusedOriginal")
            await asyncio.sleep(60)
        if is_off:
            pair.receiver.power_up()
            await asyncio.sleep(3600)
        assert await pair.run_receiver() is End.CLOSED
        assert clock() >= START + 3600
        assert pair.outcome == Failure()
        assert pair.sender.error is None

    run()


@jumping
async def test_a_check_after_expiry_is_given_up_after_a_day_and_begun_anew_at_the_next_start() -> None:
    pair = Pair()
    pair.world.chain.is_reachable = False
    assert await pair.run_receiver() is End.EXPIRED
    assert clock() == pytest.approx(START + 3600 + LATE_CHECK, abs=1)
    looks = sum(point.startswith("looking up") for point in pair.receiver.points.passed)
    assert looks <= (3600 + LATE_CHECK) / 30
    await asyncio.sleep(3 * LATE_CHECK)
    pair.receiver.power_up()
    pair.world.chain.is_reachable = True
    assert await pair.receiver.run(pair.session_id) is End.EXPIRED
    assert pair.events == ["Created", "RetrievedOriginal", "AcceptedOriginal"]


@jumping
async def test_a_wallet_that_is_not_up_to_date_before_expiry_checks_after_it() -> None:
    pair = Pair()
    pair.receiver.wallet.is_up_to_date.clear()
    running = asyncio.ensure_future(pair.run_receiver())
    await asyncio.sleep(2 * 3600)
    pair.receiver.wallet.is_up_to_date.set()
    assert await running is End.EXPIRED
    assert pair.events == ["Created", "RetrievedOriginal", "AcceptedOriginal"]


# Sent away


def polls_of(pair: Pair, fault: faults.Fault) -> list[tuple[str, float]]:
    """Let the receiver's polls go wrong; return by whom and when, as they come."""
    polls: list[tuple[str, float]] = []

    async def noted(exchange: faults.Exchange) -> Answer:
        polls.append((exchange.seen.target, clock()))
        return await fault(exchange)

    plan = Planned(noted, lambda seen: seen.is_poll() and seen.is_at(pair.endpoint.mailbox), times=1000)
    pair.world.faults.planned.append(plan)
    return polls


@jumping
async def test_a_relay_that_sends_us_away_sends_away_nobody_but_itself() -> None:
    pair = Pair()
    liar = pair.world.relay_urls[0]
    pair.world.faults.planned.append(lying(pair, faults.fail_with(503, retry_after=1800)))
    async with pair.running():
        await eventually(lambda: pair.is_answered, within=10)
        await asyncio.sleep(20 * MINUTES)
    assert pair.receiver.transport.relays.count(liar) == 1


@jumping
async def test_relays_that_all_send_us_away_are_left_alone_for_so_long() -> None:
    pair = Pair()
    polls = polls_of(pair, faults.fail_with(503, retry_after=200))
    async with pair.running():
        await asyncio.sleep(3000)
    for relay in pair.world.relay_urls:
        times = [at for asked, at in polls if asked == relay]
        assert len(times) > 5
        assert all(later - earlier >= 200 for earlier, later in pairwise(times))


@pytest.mark.parametrize("relays", [1, 2])
def test_no_poll_waits_longer_than_five_minutes_for_whom_it_may_ask(relays: int) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        del pair.world.relay_urls[relays:]
        polls = polls_of(pair, faults.fail_with(503, retry_after=1800))
        async with pair.running():
            await asyncio.sleep(3000)
        assert len(polls) >= 3000 // LONGEST_LEAVE
        assert all(later - earlier <= LONGEST_LEAVE for (_, earlier), (_, later) in pairwise(polls))

    run()


@pytest.mark.parametrize("query", [None, "v=3"], ids=["proposal", "error"])
@pytest.mark.parametrize("relays", [1, 2])
def test_an_answer_waits_for_nobody_who_sends_us_away(relays: int, query: str | None) -> None:
    @jumping
    async def run() -> None:
        pair = Pair(query=query)
        del pair.world.relay_urls[relays:]
        mailbox = ShortId.of(pair.sender.reply_key.public_key)
        away = faults.fail_with(503, retry_after=1800)
        plan = Planned(away, lambda seen: seen.is_post() and seen.is_at(mailbox), times=3)
        pair.world.faults.planned.append(plan)
        async with pair.running():
            await eventually(lambda: pair.events[-1] in ("PostedProposal", "Closed"), within=20)
        assert plan.times == 0

    run()


@jumping
async def test_failures_are_tried_again_more_and_more_seldom_but_at_least_each_minute_and_a_half() -> None:
    pair = Pair()
    polls: list[float] = []

    async def away(_: faults.Exchange) -> Answer:
        polls.append(clock())
        raise faults.HangUp

    pair.world.faults.planned.append(Planned(away, Seen.is_poll, times=1000))
    await pair.receiver.run(pair.session_id)
    gaps = [later - earlier for earlier, later in pairwise(polls)]
    assert all(gap <= 90 for gap in gaps)
    assert gaps[0] <= 1.5
    assert sum(gaps[:3]) < 10
    assert sum(gaps[-10:]) > 300


@jumping
async def test_a_time_limit_inside_a_step_is_trouble_and_not_expiry() -> None:
    pair = Pair()

    def too_slow() -> None:
        raise TimeoutError

    pair.receiver.points.do_at("looking up", too_slow)
    await pair.run()
    check_the_end(pair)


# The directory


@jumping
async def test_a_directory_that_changes_its_keys_all_the_time_does_not_fill_the_wallet_file() -> None:
    pair = Pair()

    async def new_keys(exchange: faults.Exchange) -> Answer:
        pair.world.directory.gateway = pair.world.directory.gateway.rotated()
        return KEY_REJECTED

    pair.world.faults.planned.append(Planned(new_keys, Seen.is_ohttp, times=1_000_000))
    assert await pair.receiver.run(pair.session_id) is End.EXPIRED
    assert 1 < pair.events.count("RenewedKeys") <= MOST_RENEWALS
    assert len(pair.receiver.transport.asked) < 3600 / 30 + MOST_RENEWALS


# A relay that lies


@jumping
async def test_a_relay_that_makes_up_that_keys_are_refused_is_gone_around() -> None:
    pair = Pair()
    liar = pair.world.relay_urls[0]
    pair.world.faults.planned.append(lying(pair, faults.reject_key))
    async with pair.running():
        await eventually(lambda: pair.is_answered, within=10)
    assert "RenewedKeys" not in pair.events
    assert pair.receiver.transport.relays.count(liar) == 1


@jumping
async def test_a_relay_that_makes_up_that_keys_are_refused_does_not_hide_that_a_copy_of_the_wallet_answered() -> None:
    pair = Pair()
    mailbox = ShortId.of(pair.sender.reply_key.public_key)
    pair.receiver.points.do_at("before POST", lambda: pair.world.leave(mailbox, bytes(7168)))
    pair.receiver.points.do_at(
        "recorded PostedProposal", lambda: pair.world.faults.planned.append(lying(pair, faults.reject_key))
    )
    async with pair.running() as runner:
        await eventually(lambda: runner.answered_elsewhere)


@pytest.mark.parametrize("status", [400, 410])
def test_a_relay_that_makes_up_that_an_old_sender_is_gone_ends_nothing(status: int) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        liar = pair.world.relay_urls[1]  # the one for answers
        plan = Planned(faults.fail_with(status), lambda seen: seen.target == liar and seen.is_put(), times=1000)
        pair.world.faults.planned.append(plan)
        receiver = asyncio.ensure_future(pair.receiver.run(pair.session_id))
        check_proposal_in(pair, await send_v1(pair.world, pair.endpoint, pair.made))
        receiver.cancel()

    run()


# A fault of ours


@jumping
async def test_a_fault_of_ours_comes_out_and_leaves_the_session_as_it_was() -> None:
    pair = Pair()

    def divide() -> None:
        raise ZeroDivisionError

    pair.receiver.points.do_at("signing", divide)
    with pytest.raises(ZeroDivisionError):
        await pair.run_receiver()
    assert isinstance(pair.state, Signing)
    pair.receiver.power_up()
    await pair.run()
    check_the_end(pair)


# What a person may see


@jumping
async def test_every_turn_that_a_person_may_see_is_told() -> None:
    pair = Pair()
    told: list[str] = []
    pair.receiver.changed = lambda: told.append(pair.events[-1])
    await pair.run()
    assert list(dict.fromkeys(told)) == pair.events[1:]


@jumping
async def test_trouble_is_told_and_its_end_too() -> None:
    pair = Pair()
    told: list[bool] = []
    runner = pair.receiver.runner(pair.session_id)
    pair.receiver.changed = lambda: told.append(runner.trouble is not None)
    pair.world.faults.planned.append(Planned(faults.hang_up, Seen.is_poll, times=2))
    async with pair.running():
        await asyncio.sleep(MINUTES)
    assert told[0]
    assert not told[-1]
