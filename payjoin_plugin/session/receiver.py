"""The receiver's states, the one function that moves between them, and the step that each of them allows.

    WaitingForOriginal ─► CheckingOriginal ─► BuildingProposal ─► Signing ─► PostingProposal ─► ProposalPosted
                                 │                   │
                                 └──► PostingError ◄─┘                     any of them ─► SessionClosed

A state holds what its step needs and nothing else; the step is a method of the state that allows it. Steps are pure:
going out they make the encrypted call, coming in they turn bytes and facts into an event. They change nothing:
a session moves only when an event is recorded, and `apply` is the only function that makes a state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..bip78.contribution import Coin, FeeLimits, choose_coin, contribute
from ..bip78.original import ChainFacts, Original, check_original, check_payment, check_terms, read_original
from ..bip78.parameters import Parameters, from_query
from ..bip78.psbt import Psbt, psbt_bytes
from ..errors import DecodeError, Fault, IllegalEvent, OpenError, OriginalRefused
from ..wire.keys import SecretKey
from ..wire.mailbox import Call, ShortId, get, open_message_a
from ..wire.uri import PjEndpoint
from .answer import own_mailbox, post_sealed, put_plain, refused, same_inside, seal
from .events import (
    AcceptedOriginal,
    Closed,
    CommittedContribution,
    Created,
    Failure,
    Outcome,
    PostedProposal,
    ReceiverEvent,
    RefusedOriginal,
    RenewedKeys,
    RetrievedOriginal,
    SignedProposal,
)


@dataclass(frozen=True)
class WaitingForOriginal:
    """The URI is out; nothing has come."""

    created: Created

    @property
    def endpoint(self) -> PjEndpoint:
        """What the request's URI says in `pj` (BIP 77, *Payjoin URI*)."""
        return PjEndpoint(
            directory=self.created.directory,
            mailbox=own_mailbox(self.created),
            expires_at=self.created.expires_at,
            ohttp_keys=self.created.ohttp_keys,
            receiver_key=self.created.receiver_key.public_key,
        )

    def poll(self) -> Call:
        """Ask our mailbox for the original."""
        return get(self.created.directory, own_mailbox(self.created), self.created.ohttp_keys)

    def retrieved(self, content: bytes) -> RetrievedOriginal | Closed:
        """What came out of our mailbox: an original, or something that is none and ends the session.

        A mailbox is written once, so after something else nothing better can come.
        """
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return self._opened(content)
        # A directory hands over a v1 sender's body as the plain text that it is (BIP 77, *Backwards compatibility*).
        original, _, query = text.partition("\n")
        return RetrievedOriginal(Psbt(original), query, reply_key=None)

    def _opened(self, content: bytes) -> RetrievedOriginal | Closed:
        try:
            reply_key, body = open_message_a(content, self.created.receiver_key)
        except (DecodeError, OpenError):
            return Closed(Failure())
        # What is no text (a binary PSBT, say) is no PSBT of BIP 78's: it is refused, and the sender told.
        original, _, query = body.decode(errors="replace").partition("\n")
        return RetrievedOriginal(Psbt(original), query, reply_key)


@dataclass(frozen=True)
class CheckingOriginal:
    """An original is here; whether it is a payment is not known yet."""

    created: Created
    retrieved: RetrievedOriginal

    def read(self, *, accept_v1: bool) -> Original | RefusedOriginal:
        """Check all that can be checked without asking anybody.

        What cannot be read, and is of a version that we do not speak, is refused for that. A payment is checked first.
        """
        try:
            return read_original(self.retrieved.original)
        except OriginalRefused as unread:
            refusal = unread
        try:
            _parameters(self.retrieved, accept_v1=accept_v1)
        except OriginalRefused as unspoken:
            refusal = unspoken
        return refused(refusal, accept_v1=accept_v1)

    def check_payment(self, original: Original, *, script_pubkey: bytes) -> tuple[int, ...]:
        """Return the outputs that pay the request: it is paid, and signed for. Raises OriginalRefused."""
        return check_payment(original, script_pubkey=script_pubkey, amount_sat=self.created.amount_sat)

    def check(self, original: Original, facts: ChainFacts, *, payment_vouts: tuple[int, ...]) -> AcceptedOriginal:
        """Check it against what the Electrum server and the wallet know. Raises OriginalRefused, NotYetKnown."""
        check_original(original, facts)
        return AcceptedOriginal(payment_vouts, facts.own_vouts)


@dataclass(frozen=True)
class BuildingProposal:
    """The original is a payment. Every wait for the wallet or the user stands here."""

    created: Created
    retrieved: RetrievedOriginal
    accepted: AcceptedOriginal

    @property
    def input_count(self) -> int:
        """How many inputs the sender has; ours may stand before, between or after them."""
        return len(read_original(self.retrieved.original).outpoints)

    @property
    def payment_sat(self) -> int:
        """What the original pays us, in satoshis."""
        outputs = read_original(self.retrieved.original).tx.outputs()
        return sum(int(outputs[vout].value) for vout in self.accepted.payment_vouts)

    @property
    def _parameters(self) -> Parameters:
        return from_query(self.retrieved.query).without_fee_from(self.accepted.own_vouts)

    def refuse(self, *, accept_v1: bool, seen_before: bool) -> RefusedOriginal | None:
        """Refuse a payjoin, where one cannot be; the original stays a payment that we hold.

        `seen_before`: one of its coins was in an original of another session that got a proposal.
        """
        try:
            parameters = _parameters(self.retrieved, accept_v1=accept_v1)
            if seen_before:
                raise OriginalRefused(Fault.SEEN_BEFORE)
            check_terms(read_original(self.retrieved.original), parameters)
        except OriginalRefused as refusal:
            return refused(refusal, accept_v1=accept_v1)
        return None

    def choose(self, coins: Sequence[Coin], limits: FeeLimits, *, exposed: frozenset[str]) -> Coin | None:
        """Choose the coin to add; None where there is none."""
        return choose_coin(
            read_original(self.retrieved.original),
            self._parameters,
            coins,
            payment_vout=self.accepted.payment_vouts[0],
            limits=limits,
            exposed=exposed,
        )

    def commit(self, coin: Coin, limits: FeeLimits, *, position: int) -> CommittedContribution | RefusedOriginal:
        """Add `coin` as input number `position`."""
        try:
            made = contribute(
                read_original(self.retrieved.original),
                self._parameters,
                coin,
                payment_vout=self.accepted.payment_vouts[0],
                limits=limits,
                position=position,
            )
        except OriginalRefused as refusal:
            return refused(refusal)
        return CommittedContribution(made.outpoints, made.proposal, made.receiver_fee_sat, made.sender_fee_sat)


@dataclass(frozen=True)
class Signing:
    """Coin and fee stand; the signature is missing."""

    created: Created
    retrieved: RetrievedOriginal
    accepted: AcceptedOriginal
    committed: CommittedContribution

    def signed(self, proposal: Psbt, *, ephemeral: SecretKey | None = None) -> SignedProposal:
        """Turn the finished proposal into the answer. Tests pass `ephemeral`."""
        if self.retrieved.reply_key is None:
            return SignedProposal(proposal, None)
        return SignedProposal(proposal, ephemeral or SecretKey.generate())


@dataclass(frozen=True)
class PostingProposal:
    """The answer is ready; from its first byte out it counts as given."""

    created: Created
    retrieved: RetrievedOriginal
    accepted: AcceptedOriginal
    committed: CommittedContribution
    signed: SignedProposal

    def answer(self) -> Call:
        """Put the proposal into the sender's mailbox."""
        if self.retrieved.reply_key is None:
            return put_plain(self.created, self.signed.proposal.encode())
        body = psbt_bytes(self.signed.proposal)
        sealed = seal(self.created, self.retrieved.reply_key, body, ephemeral=self.signed.ephemeral)
        return post_sealed(self.created, self.retrieved.reply_key, sealed)


@dataclass(frozen=True)
class ProposalPosted:
    """The sender has our answer. What becomes of it, the chain says."""

    created: Created
    retrieved: RetrievedOriginal
    accepted: AcceptedOriginal
    committed: CommittedContribution
    signed: SignedProposal

    def read_back(self) -> Call | None:
        """Ask the sender's mailbox what lies in it. None for a v1 sender, whose answer is gone with their request."""
        if self.retrieved.reply_key is None:
            return None
        return get(self.created.directory, ShortId.of(self.retrieved.reply_key), self.created.ohttp_keys)

    def is_ours(self, content: bytes) -> bool:
        """Tell whether `content` is the answer that this log gave."""
        assert self.retrieved.reply_key is not None
        body = psbt_bytes(self.signed.proposal)
        mine = seal(self.created, self.retrieved.reply_key, body, ephemeral=self.signed.ephemeral)
        return same_inside(mine, content)


@dataclass(frozen=True)
class PostingError:
    """The original was refused, and the sender has not been told."""

    created: Created
    retrieved: RetrievedOriginal
    accepted: AcceptedOriginal | None
    """There, where the original was a payment all the same: it can still be broadcast."""
    refusal: RefusedOriginal

    def answer(self) -> Call:
        """Put the error into the sender's mailbox. A v1 sender hears it by PUT, the only way that reaches them."""
        reply = self.refusal.reply.encode()
        if self.retrieved.reply_key is None:
            return put_plain(self.created, reply)
        return post_sealed(self.created, self.retrieved.reply_key, seal(self.created, self.retrieved.reply_key, reply))


OpenState = (
    WaitingForOriginal | CheckingOriginal | BuildingProposal | Signing | PostingProposal | ProposalPosted | PostingError
)


@dataclass(frozen=True)
class SessionClosed:
    """Over. It never answers again; what it was is still readable."""

    before: OpenState
    outcome: Outcome


ReceiverState = OpenState | SessionClosed


def apply(state: ReceiverState | None, event: ReceiverEvent) -> ReceiverState:
    """Return the state after `event`: the only place where a session moves, live or replayed.

    Raises IllegalEvent.
    """
    match state, event:
        case None, Created():
            return WaitingForOriginal(event)
        case ((WaitingForOriginal() | PostingProposal() | ProposalPosted() | PostingError()), RenewedKeys()):
            return replace(state, created=replace(state.created, ohttp_keys=event.ohttp_keys))
        case WaitingForOriginal(), RetrievedOriginal():
            return CheckingOriginal(state.created, event)
        case CheckingOriginal(), AcceptedOriginal():
            return BuildingProposal(state.created, state.retrieved, event)
        case CheckingOriginal(), RefusedOriginal():
            return PostingError(state.created, state.retrieved, None, event)
        case BuildingProposal(), RefusedOriginal():
            return PostingError(state.created, state.retrieved, state.accepted, event)
        case BuildingProposal(), CommittedContribution():
            return Signing(state.created, state.retrieved, state.accepted, event)
        case Signing(), SignedProposal():
            return PostingProposal(state.created, state.retrieved, state.accepted, state.committed, event)
        case PostingProposal(), PostedProposal():
            return ProposalPosted(state.created, state.retrieved, state.accepted, state.committed, state.signed)
        case ((None | SessionClosed()), _):
            pass  # Closed is always the last event, and Created the first
        case _, Closed():
            return SessionClosed(state, event.outcome)
        case _:
            pass
    raise IllegalEvent(f"{type(event).__name__} does not follow {type(state).__name__}")


def held_original(state: ReceiverState) -> Original | None:
    """Return the original where it is known to be a payment, in whatever stage; it can be broadcast."""
    match open_state(state):
        case WaitingForOriginal() | CheckingOriginal() | PostingError(accepted=None):
            return None
        case held:
            return read_original(held.retrieved.original)


def holds_original(state: ReceiverState) -> bool:
    """Tell whether `held_original` gives one, without reading it."""
    return getattr(open_state(state), "accepted", None) is not None


def open_state(state: ReceiverState) -> OpenState:
    """Return where a session stands, or where it stood when it was closed."""
    return state.before if isinstance(state, SessionClosed) else state


def created_of(state: ReceiverState) -> Created:
    """Return what the session began with, its directory's keys renewed."""
    return open_state(state).created


def committed_contribution(state: ReceiverState) -> CommittedContribution | None:
    """Return our contribution where one was chosen."""
    match state:
        case SessionClosed():
            return committed_contribution(state.before)
        case Signing() | PostingProposal() | ProposalPosted():
            return state.committed
        case _:
            return None


def _parameters(retrieved: RetrievedOriginal, *, accept_v1: bool) -> Parameters:
    """Return what the sender asks for. Raises OriginalRefused for a version that is not ours, or nonsense."""
    if retrieved.reply_key is None and not accept_v1:
        raise OriginalRefused(Fault.VERSION)
    return from_query(retrieved.query)
