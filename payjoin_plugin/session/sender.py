"""The sender's half: enough for the tests and the demo, in the same pattern as the receiver's.

PostingOriginal ─► PollingForProposal ─► SenderClosed
"""

from __future__ import annotations

from dataclasses import dataclass

from ..bip78.parameters import from_query, parse_error
from ..bip78.psbt import Psbt, cut_psbt, psbt_of
from ..bip78.sender_checks import check_proposal
from ..errors import ErrorReplyReceived, IllegalEvent, ProtocolError
from ..wire.keys import SecretKey
from ..wire.mailbox import (
    Call,
    ShortId,
    get,
    open_message_b,
    post,
    seal_message_a,
)
from ..wire.uri import PjEndpoint, decode_endpoint
from .events import Closed, CreatedSender, Failure, Outcome, PostedOriginal, ProposalReceived, SenderEvent


@dataclass(frozen=True)
class PostingOriginal:
    """The payment is signed, and the receiver has not got it."""

    created: CreatedSender

    def offer(self, *, ephemeral: SecretKey | None = None) -> Call:
        """Put the original into the receiver's mailbox (BIP 77, message A). Tests pass `ephemeral`."""
        endpoint = _endpoint(self.created)
        message = seal_message_a(
            f"{self.created.original}\n{self.created.query}".encode(),
            reply_key=self.created.reply_key.public_key,
            receiver_key=endpoint.receiver_key,
            ephemeral=ephemeral,
        )
        return post(endpoint.directory, endpoint.mailbox, endpoint.ohttp_keys, message)


@dataclass(frozen=True)
class PollingForProposal:
    """The receiver may answer, or broadcast the original, at any moment."""

    created: CreatedSender

    def poll(self) -> Call:
        """Ask our mailbox for the answer."""
        endpoint = _endpoint(self.created)
        return get(endpoint.directory, ShortId.of(self.created.reply_key.public_key), endpoint.ohttp_keys)

    def received(self, content: bytes) -> Closed:
        """Check the answer against the original (BIP 78, *Sender's payjoin proposal checklist*).

        Raises ErrorReplyReceived where the receiver said no; a broken answer is a Failure.
        """
        endpoint = _endpoint(self.created)
        try:
            padded = open_message_b(content, reply_key=self.created.reply_key, receiver_key=endpoint.receiver_key)
            if (reply := parse_error(padded)) is not None:
                raise reply
            proposal = check_proposal(
                psbt_of(cut_psbt(padded)),
                self.created.original,
                parameters=from_query(self.created.query),
                payee_script=self.created.payee_script,
            )
        except ErrorReplyReceived:
            raise
        except ProtocolError:
            return Closed(Failure())
        return Closed(ProposalReceived(proposal))


@dataclass(frozen=True)
class SenderClosed:
    """Over."""

    before: PostingOriginal | PollingForProposal
    outcome: Outcome


SenderState = PostingOriginal | PollingForProposal | SenderClosed


def apply(state: SenderState | None, event: SenderEvent) -> SenderState:
    """Return the state after `event`. Raises IllegalEvent."""
    match state, event:
        case None, CreatedSender():
            return PostingOriginal(event)
        case PostingOriginal(), PostedOriginal():
            return PollingForProposal(state.created)
        case ((PostingOriginal() | PollingForProposal()), Closed()):
            return SenderClosed(state, event.outcome)
        case _:
            raise IllegalEvent(f"{type(event).__name__} does not follow {type(state).__name__}")


def fallback_psbt(state: SenderState) -> Psbt:
    """Return the payment without payjoin."""
    held = state.before if isinstance(state, SenderClosed) else state
    return held.created.original


def _endpoint(created: CreatedSender) -> PjEndpoint:
    return decode_endpoint(created.endpoint)
