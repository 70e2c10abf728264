"""What a person may know of a session. The values of the enums are the commands' contract.

The status follows from the first and the last record and the clock: no replay, so ten thousand closed sessions cost
nothing. Stage and details of one session come from its replay or from its live state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from ..bip78.psbt import parse
from ..bip78.recognise import expected_txid, payjoin_transaction
from ..errors import Fault, UnreadableLog
from .events import (
    Abort,
    Closed,
    CommittedContribution,
    Created,
    Failure,
    Fallback,
    RenewedKeys,
    Success,
    Unrecognized,
)
from .log import KIND_OF, Record, decode_record, raw_events
from .receiver import (
    BuildingProposal,
    CheckingOriginal,
    PostingError,
    PostingProposal,
    ProposalPosted,
    ReceiverState,
    SessionClosed,
    Signing,
    WaitingForOriginal,
    committed_contribution,
    held_original,
    open_state,
)


class Status(Enum):
    """Where a session stands, as a person says it."""

    ACTIVE = "active"
    EXPIRED = "expired"
    """Not closed, and its time is over."""
    COMPLETED = "completed"
    """The payjoin was seen; not necessarily confirmed."""
    PAID_WITHOUT_PAYJOIN = "paid_without_payjoin"
    FAILED = "failed"
    ABORTED = "aborted"
    UNREADABLE = "unreadable"


class Stage(Enum):
    """What an active session is doing."""

    WAITING_FOR_SENDER = "waiting_for_sender"
    CHECKING_ORIGINAL = "checking_original"
    WAITING_FOR_WALLET = "waiting_for_wallet"
    POSTING_PROPOSAL = "posting_proposal"
    POSTING_ERROR = "posting_error"
    WAITING_FOR_BROADCAST = "waiting_for_broadcast"


class Waiting(Enum):
    """Why a session waits for the wallet or the user. Known to the live task only, never stored."""

    LOCKED = "locked"
    NEEDS_APPROVAL = "needs_approval"
    NO_COIN = "no_coin"
    DOUBLE_SPEND = "double_spend"
    FAULT = "fault"
    """A fault of ours; the log file has it."""


class Over(Enum):
    """Why nothing can come of a session any more."""

    CLOSED = "closed"
    LAPSED = "lapsed"
    """It expired, and nothing had come."""


@dataclass(frozen=True)
class Head:
    """What the first and the last record of a log say."""

    created: Created
    created_at: int
    status: Status


def read_head(raw_log: object, *, now: int) -> Head:
    """Read the ends of a stored receiver's log, without replay. Raises UnreadableLog."""
    events = raw_events(raw_log, role="receiver")
    first, last = decode_record(events[0]), decode_record(events[-1])
    if not isinstance(first.event, Created):
        raise UnreadableLog("the log does not begin with its creation")
    return Head(first.event, first.at, status_of(first.event, last, now=now))


def read_over(raw_log: object, *, now: int) -> Over | None:
    """Tell whether nothing can come of a stored receiver's log any more; None where something may.

    By the words in it alone, so that ten thousand of them cost little. Raises UnreadableLog where its head is damaged.
    """
    match raw_events(raw_log, role="receiver"):
        case [*_, {"event": word}] if word == KIND_OF[Closed]:
            return Over.CLOSED
        case [{"event": "created", "expires_at": int(expires_at)}, *later] if expires_at <= now:
            renewed = all(isinstance(raw, Mapping) and raw.get("event") == KIND_OF[RenewedKeys] for raw in later)
            return Over.LAPSED if renewed else None
        case _:
            return None


def read_expiry(raw_log: object) -> int:
    """Read when a stored receiver's log expires (unix seconds), and nothing else of it. Raises UnreadableLog."""
    match raw_events(raw_log, role="receiver"):
        case [{"expires_at": int(expires_at)}, *_]:
            return expires_at
        case _:
            raise UnreadableLog("the log does not begin with its creation")


def read_contributed(raw_log: object) -> tuple[str, ...]:
    """Read which coins of ours a stored receiver's log contributed (`txid:n`), without replay. Raises UnreadableLog."""
    for raw in raw_events(raw_log, role="receiver"):
        if isinstance(raw, Mapping) and raw.get("event") == KIND_OF[CommittedContribution]:
            event = decode_record(raw).event
            return event.outpoints if isinstance(event, CommittedContribution) else ()
    return ()


def status_of(created: Created, last: Record, *, now: int) -> Status:
    """Return the status. A close wins over expiry."""
    if not isinstance(last.event, Closed):
        return Status.EXPIRED if created.expires_at <= now else Status.ACTIVE
    match last.event.outcome:
        case Success():
            return Status.COMPLETED
        case Fallback() | Unrecognized(pays_request=True):
            return Status.PAID_WITHOUT_PAYJOIN
        case Abort():
            return Status.ABORTED
        case Failure() | Unrecognized():
            return Status.FAILED
        case _:
            raise UnreadableLog("the log ends as a sender's")


def stage_of(state: ReceiverState, waiting: Waiting | None) -> Stage | None:
    """Return the stage of an active session; None once it is closed."""
    match state:
        case SessionClosed():
            return None
        case ProposalPosted():
            return Stage.WAITING_FOR_BROADCAST
        case _ if waiting is not None:
            return Stage.WAITING_FOR_WALLET
        case PostingProposal():
            return Stage.POSTING_PROPOSAL
        case WaitingForOriginal():
            return Stage.WAITING_FOR_SENDER
        case CheckingOriginal() | BuildingProposal() | Signing():
            return Stage.CHECKING_ORIGINAL
        case PostingError():
            return Stage.POSTING_ERROR
        case unreachable:
            assert_never(unreachable)


def fault_of(records: Sequence[Record]) -> Fault | None:
    """Return why the session failed, in our own words; None where it did not."""
    for record in records:
        if (fault := getattr(record.event, "fault", None)) is not None:
            return Fault(fault)
    match records[-1].event:
        case Closed(Failure()):
            return Fault.NOT_A_PAYMENT
        case _:
            return None


@dataclass(frozen=True)
class Details:
    """What a replay tells beyond the status. None where it is not known (yet)."""

    original_txid: str | None
    payjoin_txid: str | None
    contributed: tuple[str, ...]
    """Outpoints of our coins, `txid:n`."""
    contributed_sat: int | None
    receiver_fee_sat: int | None
    received_sat: int | None
    """Net: what the payjoin's output pays us, less our contribution."""


def details_of(state: ReceiverState) -> Details:
    """Read what the log knows of the transactions."""
    original = held_original(state)
    original_txid = original.txid if original else None
    committed = committed_contribution(state)
    if committed is None:
        return Details(original_txid, None, (), None, None, None)
    values = {txin.prevout.to_str(): txin.value_sats() for txin in parse(committed.proposal).inputs()}
    contributed_sat = sum(values[outpoint] or 0 for outpoint in committed.outpoints)
    return Details(
        original_txid=original_txid,
        payjoin_txid=payjoin_txid(state),
        contributed=committed.outpoints,
        contributed_sat=contributed_sat,
        receiver_fee_sat=committed.receiver_fee_sat,
        received_sat=_payment_sat(state) - committed.receiver_fee_sat,
    )


def payjoin_txid(state: ReceiverState) -> str | None:
    """Return the payjoin's txid: certain after Success, foretold where the sender's inputs are native segwit."""
    match state:
        case SessionClosed(PostingProposal() | ProposalPosted() as before, Success(inputs)):
            sender = {txin.outpoint: (txin.script_sig, txin.witness) for txin in inputs}
            txid: str | None = payjoin_transaction(before.signed.proposal, sender).txid()
            return txid
        case SessionClosed():
            return payjoin_txid(state.before)
        case PostingProposal() | ProposalPosted():
            return expected_txid(state.signed.proposal)
        case _:
            return None


def _payment_sat(state: ReceiverState) -> int:
    before, original = open_state(state), held_original(state)
    assert isinstance(before, (Signing, PostingProposal, ProposalPosted)), "no contribution, no payment"
    assert original is not None
    outputs = original.tx.outputs()
    return sum(int(outputs[vout].value) for vout in before.accepted.payment_vouts)
