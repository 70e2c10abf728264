"""The receiver's live task: look at the state, do its step, get an event, record it. The whole protocol on one screen.

The order that makes a crash harmless is always the same: record what you are about to reveal, flush it to the disk,
reveal it, record that you did. A step whose await ends after the session moved (Abort, a deleted request) drops its
event.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import assert_never

from ..bip78.original import read_original
from ..errors import KeysRejected, NotSent, NotYetKnown, SenderGone, SessionExpired, TransientError, WalletError
from ..session.events import (
    AcceptedOriginal,
    Closed,
    CommittedContribution,
    Failure,
    PostedProposal,
    ReceiverEvent,
    RefusedOriginal,
    RenewedKeys,
    RetrievedOriginal,
    SignedProposal,
)
from ..session.log import Session
from ..session.ports import EventStore, Policy, ReceiverWallet
from ..session.receiver import (
    BuildingProposal,
    CheckingOriginal,
    PostingError,
    PostingProposal,
    ProposalPosted,
    ReceiverState,
    SessionClosed,
    Signing,
    WaitingForOriginal,
    created_of,
)
from ..session.status import Waiting
from .checking import Checks, is_double_spend
from .deadline import deadline
from .mail import Mail
from .pace import LATE_CHECK, LONGEST_LEAVE, MOST_RENEWALS, Backoff, Pace
from .waiting import Consent, WaitingRoom


class End(Enum):
    """Why a runner stopped."""

    CLOSED = "closed"
    EXPIRED = "expired"
    SENDER_GONE = "sender_gone"
    """A v1 sender did not wait long enough; no answer can reach them any more."""
    COIN_GONE = "coin_gone"
    """Our coin was spent elsewhere; set by who watches the chain."""


class Runner:
    """Drives one receiver session until it is closed or expired. Lives on the event loop."""

    def __init__(
        self,
        session: Session[ReceiverState, ReceiverEvent],
        *,
        wallet: ReceiverWallet,
        mail: Mail,
        store: EventStore,
        policy: Policy,
        clock: Callable[[], float],
        pace: Pace,
        record: Callable[[ReceiverState, ReceiverEvent], bool],
        changed: Callable[[], None],
    ) -> None:
        """`record(state, event)` records `event` if the session still stands at `state`, and says whether it did.

        `changed()` is called after every turn that a person may see. `clock` returns unix time in seconds.
        """
        self.session = session
        self.trouble: TransientError | WalletError | OSError | None = None
        """What went wrong last, where it is being tried again."""
        self.end: End | None = None
        """Why it stopped; set by who runs it."""
        self.answered_elsewhere = False
        """Whether other bytes than ours lie in the sender's mailbox: a copy of this wallet file was quicker."""
        self._wallet, self._mail, self._store, self._policy = wallet, mail, store, policy
        self._clock, self._pace, self._record, self._changed = clock, pace, record, changed
        self._backoff, self._began_at = Backoff(), clock()
        self._room = WaitingRoom(wallet=wallet, policy=policy, store=store, changed=changed)
        self._checks = Checks(wallet=wallet, clock=clock)
        self._has_read_back = False
        self._may_be_out = False
        """Whether the proposal may have left the machine in this run. What an earlier one did is not known: a double
        spend holds it back as if it had not, and at worst it is not repeated until the user says so."""

    async def run(self) -> End:
        """Drive the session. Cancel it at any moment: nothing that was revealed is forgotten."""
        try:
            return await self._run()
        finally:
            self._room.forget()

    async def _run(self) -> End:
        while True:
            state = self.session.state
            if not isinstance(state, BuildingProposal | Signing) and not self._holds_back(state):
                self._room.forget()  # no answer is being made any more
            if isinstance(state, SessionClosed):
                return End.CLOSED
            try:
                event = await self._in_time(state)
            except SessionExpired:
                if self._is_late(state) and self._clock() < self._ends_at(state):
                    continue  # the check of an original that came in time
                if not isinstance(state, PostingError):
                    return End.EXPIRED
                event = Closed(Failure())  # nobody waits to be told any more
            except SenderGone:
                return End.SENDER_GONE
            except (TransientError, WalletError, OSError) as trouble:
                await self._rest(trouble)
                continue
            self.trouble = None
            if not isinstance(event, CommittedContribution):  # a coin was chosen: nothing may come between
                await self._store.quiet()
            if event is not None and self._record(state, event):
                self._changed()
            if isinstance(event, RenewedKeys):
                await asyncio.sleep(self._backoff.next())  # it has not worked yet: new keys may be refused as well
            else:
                self._backoff.reset()

    async def _step(self, state: ReceiverState) -> ReceiverEvent | None:
        match state:
            case WaitingForOriginal():
                return await self._poll(state)
            case CheckingOriginal():
                return await self._check(state)
            case BuildingProposal():
                return await self._contribute(state)
            case Signing():
                return await self._sign(state)
            case PostingProposal():
                return await self._answer(state)
            case PostingError():
                return await self._tell(state)
            case ProposalPosted():
                await self._stay(state)
                return None
            case SessionClosed():
                return None
            case unreachable:
                assert_never(unreachable)

    async def _poll(self, state: WaitingForOriginal) -> RetrievedOriginal | Closed | None:
        async with self._pace.poll(self._clock):
            content = await self._mail.poll(state.created.directory, state.poll())
        return None if content is None else state.retrieved(content)

    async def _check(self, state: CheckingOriginal) -> AcceptedOriginal | RefusedOriginal | None:
        original = state.read(accept_v1=self._policy.accept_v1_senders)
        if isinstance(original, RefusedOriginal):
            return original
        if self._is_late(state) or not self._wallet.is_current():
            await self._store.flush()  # the mailbox will not give it again
        await self._wallet.ready()
        try:
            return await self._checks.judge(state, original)
        except NotYetKnown:
            await self._store.flush()
            raise

    async def _contribute(self, state: BuildingProposal) -> CommittedContribution | RefusedOriginal | None:
        await self._wallet.ready()
        if self._checks.is_none and (refusal := await self._check_again(state)) is not None:
            return refusal
        original = read_original(state.retrieved.original)
        await self._store.quiet()
        # From here to the recorded event nothing is awaited: no other session can take the same coin.
        seen_before = self._wallet.seen_before(original, self.session.id)
        accept_v1 = self._policy.accept_v1_senders
        if (refusal := state.refuse(accept_v1=accept_v1, seen_before=seen_before)) is not None:
            return refusal
        if (reason := self._room.must_wait()) is not None:
            await self._room.wait(reason)
            return None
        limits = self._wallet.fee_limits(state.payment_sat)
        coin = state.choose(self._wallet.coins(), limits, exposed=self._wallet.exposed())
        if coin is None:
            await self._room.wait(Waiting.NO_COIN)
            return None
        if self._checks.forget_old():
            return None
        self._room.leave()
        event = state.commit(coin, limits, position=secrets.randbelow(state.input_count + 1))
        if isinstance(event, CommittedContribution) and not self._room.may_give(event):
            return None
        return event

    async def _sign(self, state: Signing) -> SignedProposal | None:
        await self._wallet.ready()
        if self._checks.is_none:
            await self._check_again(state)  # only a double spend matters here: what else may be said was said
        if (reason := self._room.must_wait()) is not None:  # started again here: the user's word is not recorded
            await self._room.wait(reason)
            return None
        committed = state.committed
        if not self._room.may_give(committed):
            return None
        try:
            proposal = await self._wallet.sign(committed.proposal, committed.outpoints, password=self._room.password)
        finally:
            self._room.forget()  # no password stays in memory, and a wrong one is asked for again
        self._room.leave()
        return state.signed(proposal)

    async def _answer(self, state: PostingProposal) -> PostedProposal | None:
        await self._wallet.ready()
        if not self._may_be_out:
            # One that was known when the user let us sign holds nothing back.
            known = self._room.double_spend and not self._holds_back(state)
            if self._checks.is_none:
                await self._check_again(state)
            if not known and self._room.is_held_back():
                self._room.forget()
                await self._room.wait(Waiting.DOUBLE_SPEND)
                return None
            self._room.leave()
        await self._store.flush()
        if self.session.state is not state:
            return None
        could_be_out, self._may_be_out = self._may_be_out, True
        try:
            await self._mail.answer(state.created.directory, state.answer(), waits=state.retrieved.reply_key is None)
        except NotSent:
            self._may_be_out = could_be_out
            raise
        return PostedProposal()

    def _holds_back(self, state: ReceiverState) -> bool:
        return isinstance(state, PostingProposal) and self.waiting is Waiting.DOUBLE_SPEND

    async def _tell(self, state: PostingError) -> Closed | None:
        await self._store.flush()
        if self.session.state is not state:
            return None
        with suppress(SenderGone):
            await self._mail.answer(state.created.directory, state.answer(), waits=state.retrieved.reply_key is None)
        return Closed(Failure())

    async def _stay(self, state: ProposalPosted) -> None:
        """Wait for the end, which the chain tells, or for expiry. Look once at what lies in the sender's mailbox.

        A mailbox is written once, and two copies of a wallet file answer with two coins.
        """
        if not self._has_read_back and (call := state.read_back()) is not None:
            content = await self._mail.poll(state.created.directory, call)
            self.answered_elsewhere = content is not None and not state.is_ours(content)
        self._has_read_back = True
        self._changed()
        await asyncio.Event().wait()

    # What surrounds a step

    async def _in_time(self, state: ReceiverState) -> ReceiverEvent | None:
        """Do the step of `state` before the session's time is over. Raises SessionExpired."""
        ends_at = self._ends_at(state)
        if self._clock() >= ends_at:
            raise SessionExpired
        try:
            async with deadline(ends_at, self._clock) as limit:
                return await self._step(state)
        except KeysRejected:
            return await self._renew_keys(state)
        except TimeoutError:
            if limit.expired():
                raise SessionExpired from None
            raise

    def _ends_at(self, state: ReceiverState) -> float:
        """Return until when (unix time in seconds) `state` may take its step: until expiry.

        An original that came in time may be money: its check goes on, though no answer does.
        """
        expires_at = created_of(state).expires_at
        return max(expires_at, self._began_at) + LATE_CHECK if self._is_late(state) else expires_at

    def _is_late(self, state: ReceiverState) -> bool:
        return isinstance(state, CheckingOriginal) and self._clock() >= state.created.expires_at

    async def _renew_keys(self, state: ReceiverState) -> RenewedKeys:
        created = created_of(state)
        keys = await self._mail.renew_keys(created.directory, created.ohttp_keys)
        if sum(isinstance(record.event, RenewedKeys) for record in self.session.records) >= MOST_RENEWALS:
            raise KeysRejected
        return RenewedKeys(keys)

    async def _check_again(self, state: BuildingProposal | Signing | PostingProposal) -> RefusedOriginal | None:
        """Check anew what was checked long ago, before a restart, or before the sender's coins moved."""
        original = read_original(state.retrieved.original)
        verdict = await self._checks.judge(CheckingOriginal(state.created, state.retrieved), original)
        # Coins that went elsewhere after the check are the user's to judge.
        was_known, self._room.double_spend = self._room.double_spend, is_double_spend(verdict)
        if self._room.double_spend and not was_known:
            self._room.forget()  # what was said before the news does not count
        return verdict if isinstance(verdict, RefusedOriginal) and not self._room.double_spend else None

    async def _rest(self, trouble: TransientError | WalletError | OSError) -> None:
        self.trouble = trouble
        self._changed()
        wait = (self._checks.waits if isinstance(trouble, NotYetKnown) else self._backoff).next()
        state, created = self.session.state, created_of(self.session.state)
        if isinstance(state, WaitingForOriginal | ProposalPosted):  # an answer does not wait
            wait = max(wait, min(self._mail.asked_away(created.directory), LONGEST_LEAVE))
        await asyncio.sleep(min(wait, max(self._ends_at(state) - self._clock(), 0)))

    # Waiting for the wallet or the user

    @property
    def waiting(self) -> Waiting | None:
        """Why the session waits for the wallet or the user."""
        return self._room.reason

    @waiting.setter
    def waiting(self, reason: Waiting | None) -> None:
        self._room.reason = reason

    def answer_now(self, consent: Consent) -> None:
        """Take the user's word: to this contribution, to answer all the same, or with this password."""
        self._room.answer_now(consent)

    def wallet_changed(self) -> None:
        """Look again: a coin may have come, or the wallet may be unlocked."""
        self._room.look_again()

    def coins_moved(self) -> None:
        """Check again: something happened to the sender's coins."""
        self._checks.forget()
        self._room.look_again()
