"""The runner where it waits: for the wallet, the user, a coin and the Electrum server. Time jumps."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from payjoin_plugin.client.pace import LOOK_AGAIN, PATIENCE, STALE_CHECK
from payjoin_plugin.client.runner import End
from payjoin_plugin.client.waiting import Consent
from payjoin_plugin.errors import Fault, NotSent, TransientError, Unreachable, WalletError
from payjoin_plugin.session.events import CommittedContribution
from payjoin_plugin.session.receiver import BuildingProposal, PostingProposal, Signing
from payjoin_plugin.session.status import Waiting
from tests.bip78.payments import ALICE, bobs_coin
from tests.helpers import START, FakeWallet, clock, eventually, jumping
from tests.pair import Pair

PASSWORD = "correct horse"
MINUTES = 60


def looks_of(pair: Pair) -> int:
    """How often the Electrum server was asked."""
    return sum(point.startswith("looking up") for point in pair.receiver.points.passed)


def spend_elsewhere(pair: Pair) -> None:
    other = replace(pair.made, outputs=((ALICE.script, 140_000),))
    spender = bytes.fromhex(other.transaction().serialize())
    pair.world.chain.change(pair.made, unspent=False, spender=spender)


def lock_before_the_signature(pair: Pair) -> None:
    def lock() -> None:
        pair.receiver.wallet.password = PASSWORD

    pair.receiver.points.do_at("recorded CommittedContribution", lock)


# A locked wallet


@jumping
async def test_a_locked_wallet_waits_with_the_original_on_disk() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with pair.running() as runner:
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
    async with pair.running() as runner:
        await asyncio.sleep(10 * MINUTES)
        pair.receiver.wallet.password = None
        await asyncio.sleep(LOOK_AGAIN + 1)
        assert pair.is_answered
        assert runner.waiting is None
        assert pair.receiver.store.saves == 2


@jumping
async def test_a_wallet_that_says_that_it_changed_is_looked_at_at_once() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with pair.running() as runner:
        await asyncio.sleep(10 * MINUTES)
        pair.receiver.wallet.password = None
        runner.wallet_changed()
        before = clock()
        await eventually(lambda: pair.is_answered)
        assert clock() - before <= 1


@jumping
async def test_a_password_answers_this_once() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with pair.running() as runner:
        await asyncio.sleep(10 * MINUTES)
        runner.answer_now(Consent(PASSWORD))
        await eventually(lambda: pair.is_answered)
        assert pair.receiver.wallet.locked()
        assert PASSWORD not in pair.receiver.store.disk


@jumping
async def test_consent_without_the_password_does_not_unlock() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        runner.answer_now(Consent())
        await asyncio.sleep(MINUTES)
        assert runner.waiting is Waiting.LOCKED


@jumping
async def test_after_a_wrong_password_the_right_one_is_asked_for() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        runner.answer_now(Consent("battery staple"))
        await asyncio.sleep(MINUTES)
        assert runner.waiting is Waiting.LOCKED
        runner.answer_now(Consent(PASSWORD))
        await eventually(lambda: pair.is_answered)


@jumping
async def test_a_wallet_that_was_locked_again_before_it_signed_waits_there() -> None:
    pair = Pair()
    lock_before_the_signature(pair)
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        assert isinstance(pair.state, Signing)
        assert runner.waiting is Waiting.LOCKED
        pair.receiver.wallet.password = None
        await eventually(lambda: pair.is_answered)


@jumping
async def test_coins_that_move_before_the_signature_hold_it_back() -> None:
    pair = Pair()
    lock_before_the_signature(pair)
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        spend_elsewhere(pair)
        runner.coins_moved()
        pair.receiver.wallet.password = None
        await asyncio.sleep(MINUTES)
        assert isinstance(pair.state, Signing)
        assert runner.waiting is Waiting.DOUBLE_SPEND
        runner.answer_now(Consent())
        await eventually(lambda: pair.is_answered)


@jumping
async def test_a_wallet_that_refuses_to_sign_is_asked_again() -> None:
    pair = Pair()

    async def refuse() -> None:
        raise WalletError("The device is not plugged in.")

    pair.receiver.points.do_at("signing", refuse)
    pair.receiver.points.do_at("signing (2)", refuse)
    async with pair.running() as runner:
        await asyncio.sleep(1)
        assert str(runner.trouble) == "The device is not plugged in."
        await eventually(lambda: pair.is_answered)
        assert runner.trouble is None


# The user's word


@jumping
async def test_where_each_answer_is_asked_for_nothing_is_chosen_before() -> None:
    pair = Pair()
    pair.receiver.policy.ask_before_contributing = True
    async with pair.running() as runner:
        await asyncio.sleep(10 * MINUTES)
        assert runner.waiting is Waiting.NEEDS_APPROVAL
        assert isinstance(pair.state, BuildingProposal)
        assert pair.receiver.wallet.shown == set()
        runner.answer_now(Consent())
        await eventually(lambda: pair.is_answered)


@jumping
async def test_consent_is_not_remembered_over_a_restart() -> None:
    pair = Pair()
    pair.receiver.policy.ask_before_contributing = True
    pair.receiver.points.cut_power_at("signing")
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        runner.answer_now(Consent())
        await asyncio.sleep(MINUTES)
        again = pair.receiver.runner(pair.session_id)
        assert again is not runner
        assert again.waiting is Waiting.NEEDS_APPROVAL


def shown(pair: Pair) -> CommittedContribution:
    """What an answer would give now, as a window shows it."""
    state, wallet = pair.state, pair.receiver.wallet
    assert isinstance(state, BuildingProposal)
    coin = state.choose(wallet.coins(), wallet.limits, exposed=wallet.exposed())
    assert coin is not None
    event = state.commit(coin, wallet.limits, position=0)
    assert isinstance(event, CommittedContribution)
    return event


def word(committed: CommittedContribution, password: str | None = None) -> Consent:
    return Consent(password, committed.outpoints, committed.receiver_fee_sat)


@jumping
async def test_a_word_to_one_coin_gives_no_other_and_is_asked_for_anew() -> None:
    pair = Pair()
    pair.receiver.policy.ask_before_contributing = True
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        agreed = word(shown(pair))
        pair.receiver.wallet.money[:] = [bobs_coin(90_000, name="another")]
        seen: list[Waiting | None] = []
        pair.receiver.changed = lambda: seen.append(runner.waiting)
        runner.answer_now(agreed)
        await asyncio.sleep(MINUTES)
        assert seen == [None, Waiting.NEEDS_APPROVAL]
        assert runner.waiting is Waiting.NEEDS_APPROVAL
        assert pair.receiver.wallet.shown == set()
        other = shown(pair)
        runner.answer_now(word(other))
        await eventually(lambda: pair.is_answered)
        assert pair.receiver.wallet.shown == set(other.outpoints)


@jumping
async def test_a_word_to_a_share_of_the_fee_gives_no_more() -> None:
    pair = Pair()
    pair.receiver.policy.ask_before_contributing = True
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        now = shown(pair)
        runner.answer_now(word(replace(now, receiver_fee_sat=now.receiver_fee_sat - 1)))
        await asyncio.sleep(MINUTES)
        assert runner.waiting is Waiting.NEEDS_APPROVAL
        assert pair.receiver.wallet.shown == set()
        runner.answer_now(word(replace(now, receiver_fee_sat=now.receiver_fee_sat + 1)))
        await eventually(lambda: pair.is_answered)


@jumping
async def test_a_word_to_another_coin_than_the_one_that_stands_signs_nothing() -> None:
    pair = Pair()
    pair.receiver.policy.ask_before_contributing = True
    pair.receiver.wallet.password = PASSWORD
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        runner.answer_now(Consent("battery staple"))
        await asyncio.sleep(MINUTES)
        state = pair.state
        assert isinstance(state, Signing)
        runner.answer_now(word(replace(state.committed, outpoints=("another:0",)), PASSWORD))
        await asyncio.sleep(MINUTES)
        assert runner.waiting is Waiting.NEEDS_APPROVAL
        assert pair.receiver.wallet.signatures == 0
        runner.answer_now(word(state.committed, PASSWORD))
        await eventually(lambda: pair.is_answered)


@jumping
async def test_who_is_not_asked_answers_with_any_coin() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        runner.answer_now(Consent(PASSWORD, ("another:0",)))
        await eventually(lambda: pair.is_answered)


@jumping
async def test_a_session_that_waits_expires_unanswered() -> None:
    pair = Pair()
    pair.receiver.policy.ask_before_contributing = True
    assert await pair.run_receiver() is End.EXPIRED
    assert clock() == START + 3600
    assert pair.sender.answers == set()


# The password afterwards


def remembers(word: str, *, inside: object) -> bool:
    """Whether `word` can be reached from an object of ours, but for the wallet and the loop."""
    seen: set[int] = set()
    left = [inside]
    while left:
        thing = left.pop()
        if id(thing) in seen or isinstance(thing, FakeWallet):
            continue
        seen.add(id(thing))
        if thing == word:
            return True
        if isinstance(thing, dict | list | tuple | set | frozenset):
            left += thing.values() if isinstance(thing, dict) else thing
        elif type(thing).__module__.startswith("payjoin_plugin.client"):
            left += vars(thing).values()
    return False


@jumping
async def test_a_password_is_forgotten_once_it_has_signed() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        runner.answer_now(Consent(PASSWORD))
        assert remembers(PASSWORD, inside=runner)
        await eventually(lambda: pair.is_answered)
        assert not remembers(PASSWORD, inside=runner)


@jumping
async def test_a_password_is_forgotten_when_the_original_is_refused_after_all() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        pair.world.chain.change(pair.made, ours=True)
        pair.receiver.store.is_full = True  # so that it stays at telling the sender
        runner.answer_now(Consent(PASSWORD))
        await eventually(lambda: pair.events[-1] == "RefusedOriginal")
        assert not remembers(PASSWORD, inside=runner)


@jumping
async def test_a_password_is_forgotten_when_it_was_given_for_another_coin() -> None:
    pair = Pair()
    pair.receiver.policy.ask_before_contributing = True
    pair.receiver.wallet.password = PASSWORD
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        runner.answer_now(Consent(PASSWORD, ("another:0",)))
        assert remembers(PASSWORD, inside=runner)
        await asyncio.sleep(MINUTES)
        assert runner.waiting is Waiting.NEEDS_APPROVAL
        assert not remembers(PASSWORD, inside=runner)


@jumping
async def test_a_password_is_forgotten_when_the_session_ends_before_it_was_used() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        runner.answer_now(Consent(PASSWORD))
    assert not pair.is_answered
    assert not remembers(PASSWORD, inside=runner)


# A coin


@jumping
async def test_a_wallet_without_a_coin_waits_for_one() -> None:
    pair = Pair()
    pair.receiver.wallet.money.clear()
    async with pair.running() as runner:
        await asyncio.sleep(10 * MINUTES)
        assert runner.waiting is Waiting.NO_COIN
        assert pair.receiver.store.saves == 1
        pair.receiver.wallet.money.append(bobs_coin())
        runner.wallet_changed()
        await eventually(lambda: pair.is_answered)
        assert runner.waiting is None


# The check grows old


@pytest.mark.parametrize(("waited", "looks"), [(STALE_CHECK - 2, 1), (STALE_CHECK + 2, 2)])
def test_a_check_that_is_old_when_the_answer_is_possible_is_made_again(waited: int, looks: int) -> None:
    @jumping
    async def run() -> None:
        pair = Pair()
        pair.receiver.wallet.password = PASSWORD
        async with pair.running() as runner:
            await asyncio.sleep(waited)
            pair.receiver.wallet.password = None
            runner.wallet_changed()
            await eventually(lambda: pair.is_answered)
            assert looks_of(pair) == looks

    run()


@jumping
async def test_a_sender_whose_coins_went_elsewhere_meanwhile_is_left_to_the_user() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        spend_elsewhere(pair)
        pair.receiver.wallet.password = None
        await asyncio.sleep(MINUTES)
        assert runner.waiting is Waiting.DOUBLE_SPEND
        assert isinstance(pair.state, BuildingProposal)
        runner.answer_now(Consent())
        await eventually(lambda: pair.is_answered)


@jumping
async def test_coins_that_move_while_we_wait_are_looked_at_again() -> None:
    pair = Pair()
    pair.receiver.policy.ask_before_contributing = True
    async with pair.running() as runner:
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
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        pair.world.chain.change(pair.made, unspent=False)
        pair.receiver.wallet.password = None
        await asyncio.sleep(3 * PATIENCE)
        assert runner.waiting is Waiting.DOUBLE_SPEND


@jumping
async def test_a_fault_that_shows_in_the_second_check_is_told_to_the_sender() -> None:
    pair = Pair()
    pair.receiver.wallet.password = PASSWORD
    async with pair.running():
        await asyncio.sleep(MINUTES)
        pair.world.chain.change(pair.made, ours=True)
        pair.receiver.wallet.password = None
        await eventually(lambda: pair.events[-1] == "Closed")
        assert pair.fault is Fault.SEEN_BEFORE


@jumping
async def test_the_time_in_which_nobody_could_be_asked_does_not_count_against_the_sender() -> None:
    pair = Pair()
    pair.world.chain.is_reachable = False
    async with pair.running():
        await asyncio.sleep(3 * PATIENCE)
        pair.world.chain.change(pair.made, unspent=False)
        pair.world.chain.is_reachable = True
        looks = looks_of(pair)
        await eventually(lambda: looks_of(pair) > looks)
        assert pair.events[-1] == "RetrievedOriginal"
        pair.world.chain.change(pair.made, unspent=True)
        await eventually(lambda: pair.is_answered)


@jumping
async def test_nothing_is_checked_before_the_wallet_is_up_to_date() -> None:
    pair = Pair()
    pair.receiver.wallet.is_up_to_date.clear()
    async with pair.running():
        await asyncio.sleep(10 * MINUTES)
        assert pair.events == ["Created", "RetrievedOriginal"]
        assert "looking up" not in pair.receiver.points.passed
        pair.receiver.wallet.is_up_to_date.set()
        await eventually(lambda: pair.is_answered)


@jumping
async def test_nothing_is_answered_before_the_wallet_is_up_to_date() -> None:
    pair = Pair()
    pair.receiver.points.do_at("recorded SignedProposal", pair.receiver.wallet.is_up_to_date.clear)
    async with pair.running():
        await asyncio.sleep(10 * MINUTES)
        assert pair.sender.answers == set()
        pair.receiver.wallet.is_up_to_date.set()
        await eventually(lambda: pair.is_answered)


# A double spend that shows before the proposal has left


class Road:
    """The receiver's way out, which is closed for answers until it is opened."""

    def __init__(self, pair: Pair, trouble: TransientError) -> None:
        self.is_open = False
        self.tries = 0
        self._post = pair.receiver.transport.post
        self._pair, self._trouble = pair, trouble
        pair.receiver.transport.post = self.post  # type: ignore[method-assign]

    async def post(self, relay: str, directory: str, body: bytes) -> bytes:
        if not self.is_open and isinstance(self._pair.state, PostingProposal):
            self.tries += 1
            raise self._trouble
        return await self._post(relay, directory, body)


@jumping
async def test_coins_that_move_before_a_byte_of_the_proposal_has_left_hold_it_back() -> None:
    pair = Pair()
    road = Road(pair, NotSent("nobody listens"))
    async with pair.running() as runner:
        await asyncio.sleep(5 * MINUTES)
        assert road.tries > 1
        spend_elsewhere(pair)
        runner.coins_moved()
        await asyncio.sleep(5 * MINUTES)
        road.is_open = True
        await asyncio.sleep(5 * MINUTES)
        assert pair.sender.answers == set()
        assert runner.waiting is Waiting.DOUBLE_SPEND
        runner.answer_now(Consent())
        await eventually(lambda: pair.is_answered)
        assert runner.waiting is None


@jumping
async def test_a_proposal_that_is_held_back_goes_out_when_the_double_spend_is_gone() -> None:
    pair = Pair()
    road = Road(pair, NotSent("nobody listens"))
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        chain = dict(pair.world.chain.inputs)
        spend_elsewhere(pair)
        runner.coins_moved()
        await eventually(lambda: runner.waiting is Waiting.DOUBLE_SPEND)
        road.is_open = True
        pair.world.chain.inputs = chain
        runner.coins_moved()
        await eventually(lambda: pair.is_answered)
        assert runner.waiting is None


@jumping
async def test_a_double_spend_that_the_user_has_answered_to_does_not_hold_the_proposal_back() -> None:
    pair = Pair()
    pair.receiver.policy.ask_before_contributing = True
    road = Road(pair, NotSent("nobody listens"))
    async with pair.running() as runner:
        await asyncio.sleep(1)
        spend_elsewhere(pair)
        runner.coins_moved()
        await eventually(lambda: runner.waiting is Waiting.DOUBLE_SPEND)
        runner.answer_now(Consent())
        await eventually(lambda: road.tries > 2)
        runner.coins_moved()
        tries = road.tries
        await eventually(lambda: road.tries > tries)
        road.is_open = True
        await eventually(lambda: pair.is_answered)


@jumping
async def test_a_proposal_that_may_have_left_is_not_held_back() -> None:
    pair = Pair()
    road = Road(pair, Unreachable("no answer came"))
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        spend_elsewhere(pair)
        runner.coins_moved()
        tries = road.tries
        await eventually(lambda: road.tries > tries)
        assert runner.waiting is None
        road.is_open = True
        await eventually(lambda: pair.is_answered)


@jumping
async def test_a_proposal_that_was_held_back_is_held_back_after_a_restart_until_the_user_decides() -> None:
    pair = Pair()
    road = Road(pair, NotSent("nobody listens"))
    async with pair.running() as runner:
        await asyncio.sleep(MINUTES)
        spend_elsewhere(pair)
        runner.coins_moved()
        await eventually(lambda: runner.waiting is Waiting.DOUBLE_SPEND)
    road.is_open = True
    pair.receiver.power_up()
    async with pair.running() as runner:
        await asyncio.sleep(5 * MINUTES)
        assert runner.waiting is Waiting.DOUBLE_SPEND
        assert pair.sender.answers == set()
        runner.answer_now(Consent())
        await eventually(lambda: pair.is_answered)


@jumping
async def test_a_proposal_that_may_have_left_before_a_restart_is_repeated_after_a_double_spend_as_the_same_bytes() -> (
    None
):
    pair = Pair()
    pair.receiver.points.cut_power_at("after POST")
    pair.receiver.points.do_at("before POST", lambda: spend_elsewhere(pair))
    async with pair.running():
        await eventually(lambda: pair.receiver.boots == 2)
        runner = pair.receiver.runner(pair.session_id)
        await eventually(lambda: runner.waiting is Waiting.DOUBLE_SPEND)
        runner.answer_now(Consent())
        await eventually(lambda: pair.is_answered)
        assert len(pair.world.posted_to(pair.sender.reply_key.public_key)) == 2
        assert len(pair.sender.answers) == 1
