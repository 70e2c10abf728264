"""The runner where it waits: for the wallet, the user, the disk, the Electrum server and the clock. Time jumps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest

from payjoin_plugin.client.runner import LOOK_AGAIN, STALE_CHECK, Consent, End, Runner
from payjoin_plugin.errors import Fault, WalletError
from payjoin_plugin.session.receiver import (
    PATIENCE,
    BuildingProposal,
    PostingProposal,
    ProposalPosted,
    Signing,
)
from payjoin_plugin.session.status import Waiting
from tests.bip78.payments import ALICE, bobs_coin
from tests.helpers import START, clock, eventually, jumping
from tests.mailroom import faults
from tests.mailroom.directory import Answer
from tests.mailroom.faults import Planned
from tests.mailroom.journal import Seen
from tests.pair import Pair
from tests.session.test_pair import check_the_end

PASSWORD = "correct horse"
MINUTES = 60


@asynccontextmanager
async def running(pair: Pair) -> AsyncIterator[Runner]:
    """Both sides run while a test acts; then the receiver comes to its end."""
    tasks = [asyncio.ensure_future(pair.sender.run()), asyncio.ensure_future(pair.receiver.run(pair.session_id))]
    await asyncio.sleep(0)
    try:
        yield pair.receiver.runner(pair.session_id)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answered(pair: Pair) -> bool:
    return isinstance(pair.state, ProposalPosted)


def looks_of(pair: Pair) -> int:
    """How often the Electrum server was asked."""
    return sum(point.startswith("looking up") for point in pair.receiver.points.passed)


def spend_elsewhere(pair: Pair) -> None:
    other = replace(pair.made, outputs=((ALICE.script, 140_000),))
    spender = bytes.fromhex(other.transaction().serialize())
    pair.world.chain.change(pair.made, unspent=False, spender=spender)


# A locked wallet


@jumping
async def test_a_locked_wallet_waits_with_the_original_on_disk() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with running(pair) as runner:
        await asyncio.sleep(10 * MINUTES)
        assert runner.waiting is Waiting.LOCKED
        assert isinstance(pair.state, BuildingProposal)
        assert pair.receiver.store.saves == 1
        assert pair.sender.answers == set()
        pair.receiver.power_up()
        assert isinstance(pair.state, BuildingProposal)


@jumping
async def test_a_wallet_that_is_unlocked_answers_soon() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with running(pair) as runner:
        await asyncio.sleep(10 * MINUTES)
        pair.receiver.wallet.password = None
        await asyncio.sleep(LOOK_AGAIN + 1)
        assert answered(pair)
        assert runner.waiting is None
        assert pair.receiver.store.saves == 2


@jumping
async def test_a_wallet_that_says_that_it_changed_is_looked_at_at_once() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with running(pair) as runner:
        await asyncio.sleep(10 * MINUTES)
        pair.receiver.wallet.password = None
        runner.wallet_changed()
        before = clock()
        await eventually(lambda: answered(pair))
        assert clock() - before <= 1


@jumping
async def test_a_password_answers_this_once() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with running(pair) as runner:
        await asyncio.sleep(10 * MINUTES)
        runner.answer_now(Consent(PASSWORD))
        await eventually(lambda: answered(pair))
        assert pair.receiver.wallet.locked()
        assert PASSWORD not in pair.receiver.store.disk


@jumping
async def test_consent_without_the_password_does_not_unlock() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with running(pair) as runner:
        await asyncio.sleep(MINUTES)
        runner.answer_now(Consent())
        await asyncio.sleep(MINUTES)
        assert runner.waiting is Waiting.LOCKED


@jumping
async def test_after_a_wrong_password_the_right_one_is_asked_for() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with running(pair) as runner:
        await asyncio.sleep(MINUTES)
        runner.answer_now(Consent("battery staple"))
        await asyncio.sleep(MINUTES)
        assert runner.waiting is Waiting.LOCKED
        runner.answer_now(Consent(PASSWORD))
        await eventually(lambda: answered(pair))


@jumping
async def test_a_wallet_that_was_locked_again_before_it_signed_waits_there() -> None:
    pair = Pair()

    def lock() -> None:
        pair.receiver.wallet.password = PASSWORD

    pair.receiver.points.do_at("recorded CommittedContribution", lock)
    async with running(pair) as runner:
        await asyncio.sleep(MINUTES)
        assert isinstance(pair.state, Signing)
        assert runner.waiting is Waiting.LOCKED
        pair.receiver.wallet.password = None
        await eventually(lambda: answered(pair))


@jumping
async def test_a_wallet_that_refuses_to_sign_is_asked_again() -> None:
    pair = Pair()

    async def refuse() -> None:
        raise WalletError("The device is not plugged in.")

    pair.receiver.points.do_at("signing", refuse)
    pair.receiver.points.do_at("signing (2)", refuse)
    async with running(pair) as runner:
        await asyncio.sleep(1)
        assert str(runner.trouble) == "The device is not plugged in."
        await eventually(lambda: answered(pair))
        assert runner.trouble is None


# The user's word


@jumping
async def test_where_each_answer_is_asked_for_nothing_is_chosen_before() -> None:
    pair = Pair()
    pair.receiver.policy.ask_before_contributing = True
    async with running(pair) as runner:
        await asyncio.sleep(10 * MINUTES)
        assert runner.waiting is Waiting.NEEDS_APPROVAL
        assert isinstance(pair.state, BuildingProposal)
        assert pair.receiver.wallet.shown == set()
        runner.answer_now(Consent())
        await eventually(lambda: answered(pair))


@jumping
async def test_consent_is_not_remembered_over_a_restart() -> None:
    pair = Pair()
    pair.receiver.policy.ask_before_contributing = True
    pair.receiver.points.cut_power_at("signing")
    async with running(pair) as runner:
        await asyncio.sleep(MINUTES)
        runner.answer_now(Consent())
        await asyncio.sleep(MINUTES)
        again = pair.receiver.runner(pair.session_id)
        assert again is not runner
        assert again.waiting is Waiting.NEEDS_APPROVAL


@jumping
async def test_a_session_that_waits_expires_unanswered() -> None:
    pair = Pair()
    pair.receiver.policy.ask_before_contributing = True
    assert await pair.run_receiver() is End.EXPIRED
    assert clock() == START + 3600
    assert pair.sender.answers == set()


# A coin


@jumping
async def test_a_wallet_without_a_coin_waits_for_one() -> None:
    pair = Pair()
    pair.receiver.wallet.money.clear()
    async with running(pair) as runner:
        await asyncio.sleep(10 * MINUTES)
        assert runner.waiting is Waiting.NO_COIN
        assert pair.receiver.store.saves == 1
        pair.receiver.wallet.money.append(bobs_coin())
        runner.wallet_changed()
        await eventually(lambda: answered(pair))
        assert runner.waiting is None


# The check grows old


@pytest.mark.parametrize(("waited", "looks"), [(STALE_CHECK - 2, 1), (STALE_CHECK + 2, 2)])
def test_a_check_that_is_old_when_the_answer_is_possible_is_made_again(waited: int, looks: int) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        pair.receiver.wallet.password = PASSWORD
        async with running(pair) as runner:
            await asyncio.sleep(waited)
            pair.receiver.wallet.password = None
            runner.wallet_changed()
            await eventually(lambda: answered(pair))
            assert looks_of(pair) == looks

    run()


@jumping
async def test_a_sender_whose_coins_went_elsewhere_meanwhile_is_left_to_the_user() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with running(pair) as runner:
        await asyncio.sleep(MINUTES)
        spend_elsewhere(pair)
        pair.receiver.wallet.password = None
        await asyncio.sleep(MINUTES)
        assert runner.waiting is Waiting.DOUBLE_SPEND
        assert isinstance(pair.state, BuildingProposal)
        runner.answer_now(Consent())
        await eventually(lambda: answered(pair))


@jumping
async def test_coins_that_move_while_we_wait_are_looked_at_again() -> None:
    pair = Pair()
    pair.receiver.policy.ask_before_contributing = True
    async with running(pair) as runner:
        await asyncio.sleep(1)
        spend_elsewhere(pair)
        runner.coins_moved()
        runner.answer_now(Consent())
        await asyncio.sleep(MINUTES)
        assert runner.waiting is Waiting.DOUBLE_SPEND


@jumping
async def test_a_sender_whose_coins_are_not_listed_any_more_is_not_waited_for_until_the_end() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with running(pair) as runner:
        await asyncio.sleep(MINUTES)
        pair.world.chain.change(pair.made, unspent=False)
        pair.receiver.wallet.password = None
        await asyncio.sleep(3 * PATIENCE)
        assert runner.waiting is Waiting.DOUBLE_SPEND


@jumping
async def test_a_fault_that_shows_in_the_second_check_is_told_to_the_sender() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with running(pair):
        await asyncio.sleep(MINUTES)
        pair.world.chain.change(pair.made, ours=True)
        pair.receiver.wallet.password = None
        await eventually(lambda: pair.events[-1] == "Closed")
        assert pair.fault is Fault.SEEN_BEFORE


@jumping
async def test_the_time_in_which_nobody_could_be_asked_does_not_count_against_the_sender() -> None:
    pair = Pair()
    pair.world.chain.is_reachable = False
    async with running(pair):
        await asyncio.sleep(3 * PATIENCE)
        pair.world.chain.change(pair.made, unspent=False)
        pair.world.chain.is_reachable = True
        looks = looks_of(pair)
        await eventually(lambda: looks_of(pair) > looks)
        assert pair.events[-1] == "RetrievedOriginal"
        pair.world.chain.change(pair.made, unspent=True)
        await eventually(lambda: answered(pair))


@jumping
async def test_nothing_is_checked_before_the_wallet_is_up_to_date() -> None:
    pair = Pair()
    pair.receiver.wallet.is_up_to_date.clear()
    async with running(pair):
        await asyncio.sleep(10 * MINUTES)
        assert pair.events == ["Created", "RetrievedOriginal"]
        assert "looking up" not in pair.receiver.points.passed
        pair.receiver.wallet.is_up_to_date.set()
        await eventually(lambda: answered(pair))


# The disk


@jumping
async def test_with_a_full_disk_nothing_leaves_and_it_is_tried_again() -> None:
    pair = Pair()
    pair.receiver.store.is_full = True
    async with running(pair) as runner:
        await asyncio.sleep(10 * MINUTES)
        assert isinstance(runner.trouble, OSError)
        assert isinstance(pair.state, PostingProposal)
        assert pair.sender.answers == set()
        pair.receiver.store.is_full = False
        await eventually(lambda: answered(pair))
        assert pair.receiver.store.saves == 1
        assert runner.trouble is None


@jumping
async def test_with_a_full_disk_no_error_leaves_either() -> None:
    pair = Pair(query="v=3")
    pair.receiver.store.is_full = True
    async with running(pair):
        await asyncio.sleep(10 * MINUTES)
        assert pair.sender.answers == set()
        pair.receiver.store.is_full = False
        await eventually(lambda: len(pair.sender.answers) == 1)


@jumping
async def test_an_original_that_waits_is_saved_as_soon_as_there_is_room() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    pair.receiver.store.is_full = True
    async with running(pair) as runner:
        await asyncio.sleep(10 * MINUTES)
        assert pair.receiver.store.saves == 0
        pair.receiver.store.is_full = False
        await eventually(lambda: pair.receiver.store.saves == 1)
        assert runner.waiting is Waiting.LOCKED


# The clock


@jumping
async def test_a_directory_that_sends_us_away_is_left_alone_for_so_long() -> None:
    pair = Pair()
    polls: list[float] = []

    async def busy(exchange: faults.Exchange) -> Answer:
        polls.append(clock())
        return await faults.fail_with(503, retry_after=200)(exchange)

    plan = Planned(busy, lambda seen: seen.is_poll() and seen.is_at(pair.endpoint.mailbox), times=3)
    pair.world.faults.planned.append(plan)
    async with running(pair):
        await eventually(lambda: answered(pair), within=900)
    assert all(later - earlier >= 200 for earlier, later in pairwise(polls))


@jumping
async def test_expiry_is_not_slept_over() -> None:
    pair = Pair()
    plan = Planned(faults.fail_with(503, retry_after=1700), Seen.is_poll, times=100)
    pair.world.faults.planned.append(plan)
    assert await pair.run_receiver() is End.EXPIRED
    assert clock() == START + 3600


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
    async with running(pair):
        await asyncio.sleep(MINUTES)
    assert told[0]
    assert not told[-1]
