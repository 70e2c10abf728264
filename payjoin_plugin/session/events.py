"""What can happen in a session. Read this file first.

A session is nothing but the list of these events. Each one is there because it came from outside, was a free
choice, changed something outside, or ended the session; whatever can be recomputed from them is not.

    ours                    rust-payjoin 1.2
    Created                 Created
    RenewedKeys             (none: its sessions die with the directory's keys)
    RetrievedOriginal       RetrievedOriginalPayload
    AcceptedOriginal        CheckedBroadcastSuitability … IdentifiedReceiverOutputs (pure checks, run again on replay)
    CommittedContribution   CommittedOutputs, CommittedInputs, AppliedFeeRange
    SignedProposal          FinalizedProposal
    PostedProposal          PostedPayjoinProposal
    RefusedOriginal         GotReplyableError
    Closed                  Closed, Cancelled, ProtocolFailed

Sender's half: CreatedSender, PostedOriginal, Closed(ProposalReceived | Failure | Abort).

The times stand beside the events in the log (`log.py`), never in them: `apply` does not know the clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..bip78.psbt import Psbt
from ..errors import Fault
from ..wire.keys import PublicKey, SecretKey
from ..wire.ohttp import KeyConfig


@dataclass(frozen=True)
class Created:
    """A payment request was made, and its mailbox is offered in the URI."""

    request_id: str
    """The ID of Electrum's own payment request."""
    address: str
    amount_sat: int
    receiver_key: SecretKey
    directory: str
    """Origin of the directory, such as `https://payjo.in`."""
    ohttp_keys: KeyConfig
    expires_at: int
    """Unix time in seconds; the `EX` of the URI."""


@dataclass(frozen=True)
class RenewedKeys:
    """The directory refused the OHTTP keys that we had, and gave these."""

    ohttp_keys: KeyConfig


@dataclass(frozen=True)
class RetrievedOriginal:
    """A message of the sender's lay in our mailbox, and it opened."""

    original: Psbt = field(repr=False)
    """As it came: not parsed yet."""
    query: str
    """The sender's parameters as they came (BIP 78, *Optional parameters*)."""
    reply_key: PublicKey | None
    """None for a BIP 78 (v1) sender, who reads the answer from our own mailbox."""


@dataclass(frozen=True)
class AcceptedOriginal:
    """The original passed every check: it is a payment to this request."""

    payment_vouts: tuple[int, ...]
    """The outputs of the original that pay the request's address."""
    own_vouts: tuple[int, ...] = ()
    """All its outputs that are the wallet's, these among them. Empty in the oldest logs."""


@dataclass(frozen=True)
class CommittedContribution:
    """Our coin, its place and the fee were chosen. The coin is reserved from here on."""

    outpoints: tuple[str, ...]
    """The contributed coins, `txid:n`."""
    proposal: Psbt = field(repr=False)
    """Before signing."""
    receiver_fee_sat: int
    """Our share of the fee, taken out of the output that pays us."""
    sender_fee_sat: int
    """What the sender's fee output gives, beyond the original's fee."""


@dataclass(frozen=True)
class SignedProposal:
    """The proposal is final, as the sender will see it."""

    proposal: Psbt = field(repr=False)
    ephemeral: SecretKey | None
    """The answer's ephemeral key: a repeated answer is the same bytes inside. None for a v1 sender."""


@dataclass(frozen=True)
class PostedProposal:
    """The directory took the answer."""


@dataclass(frozen=True)
class RefusedOriginal:
    """The original has a fault, and this is what the sender is told."""

    fault: Fault
    reply: str
    """BIP 78 error JSON."""


@dataclass(frozen=True)
class CreatedSender:
    """The sender's first event: a signed payment, and the endpoint that it is offered to."""

    endpoint: str
    """The receiver's `pj` value, fragment and all."""
    original: Psbt = field(repr=False)
    query: str
    reply_key: SecretKey
    payee_script: bytes


@dataclass(frozen=True)
class PostedOriginal:
    """The directory took the original: the receiver may broadcast it from now on."""


@dataclass(frozen=True)
class SenderInput:
    """What the sender put into one input of the payjoin transaction."""

    outpoint: str
    script_sig: bytes
    witness: tuple[bytes, ...]


@dataclass(frozen=True)
class Success:
    """Receiver: the wallet sees the payjoin transaction. The proposal and these make the whole of it."""

    inputs: tuple[SenderInput, ...]


@dataclass(frozen=True)
class ProposalReceived:
    """Sender: the proposal passed every check; what remains is to sign and broadcast it."""

    proposal: Psbt = field(repr=False)


@dataclass(frozen=True)
class Failure:
    """The counterparty broke the protocol."""


@dataclass(frozen=True)
class Abort:
    """The user ended it. A plain marker."""


@dataclass(frozen=True)
class Fallback:
    """Paid without payjoin: the wallet sees the original transaction."""


@dataclass(frozen=True)
class Unrecognized:
    """A transaction that is neither the original nor the payjoin settled it."""

    txid: str
    pays_request: bool
    """Whether it pays the request. Stands here because the status follows from the last event alone."""


Outcome = Success | ProposalReceived | Failure | Abort | Fallback | Unrecognized


@dataclass(frozen=True)
class Closed:
    """The end, and always the last event."""

    outcome: Outcome


ReceiverEvent = (
    Created
    | RenewedKeys
    | RetrievedOriginal
    | AcceptedOriginal
    | CommittedContribution
    | SignedProposal
    | PostedProposal
    | RefusedOriginal
    | Closed
)

SenderEvent = CreatedSender | PostedOriginal | Closed

Event = ReceiverEvent | SenderEvent
