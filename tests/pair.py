"""A sender and a receiver, joined by a directory in memory: no sockets, and time that jumps.

Both are driven by the real thing: the receiver by client/runner.py and client/mail.py, the sender by session/sender.py.
Each can lose all that it has not flushed, at any moment (`Points`), and goes on from its disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext

from electrum.bitcoin import script_to_address
from electrum.transaction import Transaction

from payjoin_plugin.bip78.parameters import Parameters, to_query
from payjoin_plugin.bip78.psbt import Psbt
from payjoin_plugin.client.directory import Relays
from payjoin_plugin.client.mail import Mail, Transport
from payjoin_plugin.client.pace import Pace
from payjoin_plugin.client.runner import End, Runner
from payjoin_plugin.errors import ErrorReplyReceived, Fault, TransientError
from payjoin_plugin.session import receiver as receiving
from payjoin_plugin.session import sender as sending
from payjoin_plugin.session.events import (
    Abort,
    Closed,
    CommittedContribution,
    Created,
    CreatedSender,
    Failure,
    Outcome,
    PostedOriginal,
    ProposalReceived,
    ReceiverEvent,
    SenderEvent,
)
from payjoin_plugin.session.log import Session, decode_log
from payjoin_plugin.session.receiver import (
    ProposalPosted,
    ReceiverState,
    SessionClosed,
    WaitingForOriginal,
    created_of,
    held_original,
)
from payjoin_plugin.session.sender import PollingForProposal, PostingOriginal, SenderClosed, SenderState
from payjoin_plugin.session.status import fault_of
from payjoin_plugin.wire.keys import SecretKey
from payjoin_plugin.wire.mailbox import open_message_b
from payjoin_plugin.wire.uri import PjEndpoint, encode_endpoint
from tests.bip78.payments import BOB, Money, Payment, bobs_coin, payment, sign_senders
from tests.helpers import FakeWallet, MemoryStore, Points, Policy, PowerCut, clock
from tests.mailroom.directory import Answer, Held
from tests.world import MemoryTransport, World, content_of

ReceiverSession = Session[ReceiverState, ReceiverEvent]
SenderSession = Session[SenderState, SenderEvent]


class Receiver:
    """A merchant: one wallet and its sessions."""

    def __init__(self, world: World, *money: Money, disk: str | None = None) -> None:
        """`disk`: of another machine, copied."""
        self.world, self.points, self.policy = world, Points(), Policy()
        self.store = MemoryStore(self.points, disk) if disk else MemoryStore(self.points)
        self.wallet = FakeWallet(world.chain, self.store, *money)
        self.transport = MemoryTransport(world, self.points)
        self.carrier: Transport = self.transport
        """What carries our calls; a test may put another one in its place."""
        self.sessions: dict[str, ReceiverSession] = {}
        self.runners: dict[str, Runner] = {}
        self.changed: Callable[[], None] = lambda: None
        self.boots = 1
        self.slept = 0.0
        """Seconds that the machine slept: the clock on the wall went on, the loop's did not."""
        self._fold()

    def offer(self, amount_sat: int = 50_000, *, lifetime: int = 3600) -> str:
        """Make a payment request and its session, both in Electrum's own save."""
        session_id = f"session {len(self.sessions)}"
        created = Created(
            request_id=f"request {len(self.sessions)}",
            address=script_to_address(BOB.script),
            amount_sat=amount_sat,
            receiver_key=SecretKey.generate(),
            directory=self.world.directory_url,
            ohttp_keys=self.world.keys,
            expires_at=int(clock()) + lifetime,
        )
        self.store.create(session_id, created, role="receiver", at=int(clock()))
        self.store.save_by_electrum()
        self._fold()
        return session_id

    def created(self, session_id: str) -> Created:
        return created_of(self.sessions[session_id].state)

    def endpoint(self, session_id: str) -> PjEndpoint:
        state = self.sessions[session_id].state
        assert isinstance(state, WaitingForOriginal)
        return state.endpoint

    def clock(self) -> float:
        return clock() + self.slept

    def runner(self, session_id: str) -> Runner:
        """The runner of a session, new after each power cut."""
        if session_id not in self.runners:
            session = self.sessions[session_id]
            self.runners[session_id] = Runner(
                session,
                wallet=self.wallet,
                mail=Mail(self.carrier, Relays(lambda: self.world.relay_urls, pick=lambda some: some[0]), self.clock),
                store=self.store,
                policy=self.policy,
                clock=self.clock,
                pace=Pace(nullcontext),
                record=lambda state, event: self._record(session, state, event),
                changed=lambda: self.changed(),  # noqa: PLW0108 - it may be another one by then
            )
        return self.runners[session_id]

    async def run(self, session_id: str) -> End:
        """Drive a session to its end, through power cuts."""
        while True:
            try:
                return await self.runner(session_id).run()
            except PowerCut:
                self.power_up()

    def power_up(self) -> None:
        """Go on from the disk."""
        self.boots += 1
        self.store = self.store.after_power_cut()
        before = self.wallet
        # In another order: whoever chooses again chooses another coin.
        self.wallet = FakeWallet(self.world.chain, self.store, *reversed(before.money))
        self.wallet.limits, self.wallet.password = before.limits, before.password
        self.runners.clear()
        self.sessions.clear()
        self._fold()

    def abort(self, session_id: str) -> None:
        """The user's word, in memory."""
        self.sessions[session_id].record(Closed(Abort()), now=int(clock()))

    def state(self, session_id: str) -> ReceiverState:
        return self.sessions[session_id].state

    def events(self, session_id: str) -> list[str]:
        return [type(record.event).__name__ for record in self.sessions[session_id].records]

    def _fold(self) -> None:
        for session_id, log in self.store.content["sessions"].items():
            if session_id not in self.sessions:
                records = decode_log(log, role="receiver")
                self.sessions[session_id] = Session(session_id, self.store, receiving.apply, records)

    def _record(self, session: ReceiverSession, state: ReceiverState, event: ReceiverEvent) -> bool:
        """What ledger.py does, as far as the sessions of one wallet meet each other in it."""
        if not session.record(event, now=int(clock()), after=state):
            return False
        if isinstance(event, CommittedContribution):
            original = held_original(session.state)
            assert original is not None
            self.store.mark_seen(original, session.id)
            self.wallet.reserved |= set(event.outpoints)
            self.wallet.shown |= set(event.outpoints)
        self.points.reach(f"recorded {type(event).__name__}")
        return True


class Sender:
    """A payer who speaks BIP 77."""

    def __init__(
        self, world: World, endpoint: PjEndpoint, made: Payment, *, query: str | None = None, psbt: Psbt | None = None
    ) -> None:
        """`psbt`: what is sent instead of the payment's original."""
        self.world, self.made, self.endpoint = world, made, endpoint
        self.points = Points()
        self.store = MemoryStore(self.points)
        self.transport = MemoryTransport(world, self.points)
        self.carrier: Transport = self.transport
        """What carries our calls; a test may put another one in its place."""
        self.reply_key = SecretKey.generate()
        self.error: str | None = None
        """The error that the receiver answered with."""
        created = CreatedSender(
            endpoint=encode_endpoint(endpoint),
            original=psbt or made.original(),
            query=to_query(Parameters(version=2)) if query is None else query,
            reply_key=self.reply_key,
            payee_script=made.outputs[0][0],
        )
        self.store.create("sender", created, role="sender", at=int(clock()))
        self.store.save_by_electrum()
        self._fold()

    async def run(self) -> SenderClosed:
        """Drive the session to its end, through power cuts."""
        while True:
            try:
                return await self._run()
            except PowerCut:
                self.store = self.store.after_power_cut()
                self._fold()

    @property
    def answers(self) -> set[bytes]:
        """All that was ever posted to our mailbox, opened."""
        return {
            open_message_b(message, reply_key=self.reply_key, receiver_key=self.endpoint.receiver_key).rstrip(b"\0")
            for message in self.world.posted_to(self.reply_key.public_key)
        }

    def payjoin(self) -> Transaction:
        """The payjoin transaction, signed."""
        state = self.session.state
        assert isinstance(state, SenderClosed)
        assert isinstance(state.outcome, ProposalReceived)
        return sign_senders(state.outcome.proposal, self.made.coins)

    async def _run(self) -> SenderClosed:
        relays = Relays(lambda: self.world.relay_urls, pick=lambda some: some[-1])
        mail = Mail(self.carrier, relays, clock)
        while not isinstance(state := self.session.state, SenderClosed):
            try:
                event = await self._step(state, mail)
            except TransientError:
                await asyncio.sleep(1)
                continue
            if event is not None:
                self.session.record(event, now=int(clock()))
                self.points.reach(f"recorded {type(event).__name__}")
        await self.store.flush()
        return state

    async def _step(self, state: PostingOriginal | PollingForProposal, mail: Mail) -> SenderEvent | None:
        if isinstance(state, PostingOriginal):
            await mail.answer(self.world.directory_url, state.offer())
            return PostedOriginal()
        if (content := await mail.poll(self.world.directory_url, state.poll())) is None:
            return None
        try:
            return state.received(content)
        except ErrorReplyReceived as error:
            self.error = error.code
            return Closed(Failure())

    def _fold(self) -> None:
        records = decode_log(self.store.content["sessions"]["sender"], role="sender")
        self.session: SenderSession = Session("sender", self.store, sending.apply, records)


async def send_v1(world: World, endpoint: PjEndpoint, made: Payment, query: str = "v=1") -> Answer:
    """Pay as BIP 78 has it: one plain request, and its answer."""
    path = f"/{endpoint.mailbox}"
    answer = world.directory.serve_plain("POST", path, query, made.original().encode(), now=clock())
    if not isinstance(answer, Held):
        return answer
    content = await content_of(answer.wait)
    return answer.timed_out() if content is None else answer.served(content)


class Pair:
    """One payment of Alice's to Bob."""

    def __init__(
        self, *kinds: str, our_kind: str = "p2wpkh", query: str | None = None, world: World | None = None
    ) -> None:
        self.world = world or World()
        self.made = payment(*kinds)
        self.world.chain.add(self.made)
        self.receiver = Receiver(self.world, bobs_coin(kind=our_kind, name="one"), bobs_coin(kind=our_kind, name="two"))
        self.session_id = self.receiver.offer()
        self.endpoint = self.receiver.endpoint(self.session_id)
        self.sender = Sender(self.world, self.endpoint, self.made, query=query)

    @property
    def state(self) -> ReceiverState:
        return self.receiver.state(self.session_id)

    @property
    def events(self) -> list[str]:
        return self.receiver.events(self.session_id)

    @property
    def is_answered(self) -> bool:
        return isinstance(self.state, ProposalPosted)

    @property
    def outcome(self) -> Outcome:
        """How the receiver's session ended."""
        state = self.state
        assert isinstance(state, SessionClosed)
        return state.outcome

    @property
    def fault(self) -> Fault | None:
        """Why it failed."""
        return fault_of(self.receiver.sessions[self.session_id].records)

    def send(self, made: Payment | None = None, *, psbt: Psbt | None = None, query: str | None = None) -> None:
        """Let the sender send something else."""
        if made is not None:
            self.made = made
            self.world.chain.add(made)
        self.sender = Sender(self.world, self.endpoint, self.made, psbt=psbt, query=query)

    async def run(self) -> tuple[End, SenderClosed]:
        """Let both come to their ends. A receiver who has answered stays until expiry."""
        return await asyncio.gather(self.receiver.run(self.session_id), self.sender.run())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Runner]:
        """Let both run while a test acts; then they are stopped."""
        tasks = [asyncio.ensure_future(self.sender.run()), asyncio.ensure_future(self.receiver.run(self.session_id))]
        await asyncio.sleep(0)
        try:
            yield self.receiver.runner(self.session_id)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def run_receiver(self) -> End:
        """Let the receiver come to its end; the sender may wait for ever."""
        sender = asyncio.ensure_future(self.sender.run())
        try:
            return await self.receiver.run(self.session_id)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
