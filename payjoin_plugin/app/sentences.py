"""What happened, in words: a sentence for each event, and for each fault of a sender's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, assert_never

from electrum.i18n import _
from electrum.util import format_time

from ..errors import Fault
from ..session import events as ev
from ..session.receiver import held_original

if TYPE_CHECKING:
    from ..session.log import Record
    from .ledger import ReceiverSession


def describe(
    record: Record, session: ReceiverSession, amounts: Callable[[int], str], *, declined: bool
) -> dict[str, Any]:
    """Return an event as its name, its time (unix seconds) and a sentence."""
    return {
        "event": type(record.event).__name__,
        "at": record.at,
        "time": format_time(record.at),
        "detail": _sentence(record.event, session, amounts, declined=declined),
    }


def _sentence(event: ev.Event, session: ReceiverSession, amounts: Callable[[int], str], *, declined: bool) -> str:
    match event:
        case ev.Created():
            until = format_time(event.expires_at)
            return _("Request made for {}, valid until {}").format(amounts(event.amount_sat), until)
        case ev.RenewedKeys():
            return _("The directory changed its keys")
        case ev.RetrievedOriginal(reply_key=None):
            return _("A payment came, from a wallet of the old protocol")
        case ev.RetrievedOriginal():
            return _("The sender's payment came")
        case ev.AcceptedOriginal():
            original = held_original(session.state)
            assert original is not None
            return _("Checked: signed, unspent, and pays this request; its fee is {} sat").format(original.fee_sat)
        case ev.CommittedContribution():
            return _("Adding your coin {}; your share of the fee is {} sat, the sender's {} sat more").format(
                ", ".join(event.outpoints), event.receiver_fee_sat, event.sender_fee_sat
            )
        case ev.SignedProposal():
            return _("Signed")
        case ev.PostedProposal():
            return _("Answered")
        case ev.RefusedOriginal():
            return _("Refused: {}").format(fault_words(event.fault))
        case ev.Closed():
            return _outcome(event.outcome, declined=declined)
        case ev.CreatedSender() | ev.PostedOriginal():
            raise AssertionError("a sender's event in a receiver's log")
        case unreachable:
            assert_never(unreachable)


def _outcome(outcome: ev.Outcome, *, declined: bool) -> str:
    match outcome:
        case ev.Success():
            return _("Paid by payjoin")
        case ev.Failure():
            return _("The payjoin failed")
        case ev.Abort() if declined:
            return _("Without payjoin, as you chose")
        case ev.Abort():
            return _("Payjoin aborted")
        case ev.Fallback():
            return _("Paid, without payjoin")
        case ev.Unrecognized(pays_request=True):
            return _("Paid by another transaction")
        case ev.Unrecognized():
            return _("The sender's coins were spent elsewhere")
        case ev.ProposalReceived():
            raise AssertionError("a sender's outcome in a receiver's log")
        case unreachable:
            assert_never(unreachable)


def fault_words(fault: Fault) -> str:
    """Return our own words for a fault, from a fixed table; never a peer's text."""
    return {
        Fault.NOT_A_PAYMENT: _("something else than a payment came"),
        Fault.PAYS_SOMETHING_ELSE: _("their payment does not pay this request"),
        Fault.PAYS_TOO_LITTLE: _("their payment pays less than was asked"),
        Fault.NOT_SIGNED: _("their payment is not signed, or not validly"),
        Fault.COINS_GONE: _("their payment spends coins that are gone"),
        Fault.FEE_TOO_SMALL: _("their payment pays too small a fee"),
        Fault.NOT_STANDARD: _("their payment is too large for a payjoin, or no node would relay it"),
        Fault.SEEN_BEFORE: _("their payment uses a coin of this wallet, or one that was in an earlier payjoin"),
        Fault.COSTS_TOO_MUCH: _("it would cost you more than your limit"),
        Fault.VERSION: _("their wallet speaks a version that we don't"),
    }[fault]
