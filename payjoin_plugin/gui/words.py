"""The words of every state of a session: what is happening, what you can do, how long."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, assert_never

from electrum.i18n import _

from ..app.sentences import fault_words
from ..app.view import Payment, Share, View
from ..app.visible import PaidBy
from ..session.status import Stage, Status, Waiting
from .countdown import time_left

if TYPE_CHECKING:
    from electrum.simple_config import SimpleConfig


class Act(Enum):
    """What a person can do with a session."""

    UNLOCK = "unlock"
    ANSWER = "answer"
    ANSWER_ANYWAY = "answer_anyway"
    BROADCAST = "broadcast"
    BROADCAST_AGAIN = "broadcast_again"
    REMOVE = "remove"
    SHOW = "show"
    ABORT = "abort"
    NEW_REQUEST = "new_request"
    DETAILS = "details"


def act_words(act: Act) -> str:
    """Return what stands on the button."""
    return {
        Act.UNLOCK: _("Unlock and answer"),
        Act.ANSWER: _("Answer…"),
        Act.ANSWER_ANYWAY: _("Answer all the same"),
        Act.BROADCAST: _("Broadcast it…"),
        Act.BROADCAST_AGAIN: _("Broadcast again"),
        Act.REMOVE: _("Remove it"),
        Act.SHOW: _("Show transaction"),
        Act.ABORT: _("Abort payjoin"),
        Act.NEW_REQUEST: _("New request"),
        Act.DETAILS: _("Details"),
    }[act]


@dataclass(frozen=True)
class Line:
    """The status line of a session, with its buttons beside *Abort payjoin* and *Details*."""

    text: str
    acts: tuple[Act, ...] = ()
    counts_down: bool = False
    """The time left follows the text."""
    hint: str = ""
    """For who wonders what to do, as a tooltip."""

    def said(self, seconds: int) -> str:
        """Return the line with `seconds` left."""
        if not self.counts_down:
            return self.text
        unbroken = time_left(seconds).replace(" ", "\N{NO-BREAK SPACE}")
        return _("{} · {} left").format(self.text, unbroken)


def line_of(view: View, config: SimpleConfig, foreseen: Share | None = None) -> Line:
    """Return the status line. `foreseen`: what answering now would add and cost, where that is known."""
    if view.replaced_by is not None and view.status in REPLACEABLE:
        return _replaced(view, view.replaced_by[1], config)
    match view.status:
        case Status.ACTIVE:
            return _active(view, config, foreseen)
        case Status.COMPLETED if view.paid_by is PaidBy.PAYJOIN or _is_unknown(view):
            return Line(_paid_by_payjoin(view, config), (Act.SHOW,))
        case Status.COMPLETED if view.paid_by is not None:
            return Line(_("Paid, without payjoin."), (Act.SHOW,))
        case Status.COMPLETED if view.payjoin_kept:
            return Line(_("The payjoin was dropped by the network."), (Act.BROADCAST_AGAIN, Act.REMOVE))
        case Status.COMPLETED:
            text = _("The payjoin was dropped by the network, and removed here. The address can still be paid.")
            return Line(text, _to_broadcast(view))
        case Status.PAID_WITHOUT_PAYJOIN:
            return _paid_without_payjoin(view, config)
        case Status.FAILED:
            return _failed(view)
        case Status.ABORTED:
            return _aborted(view)
        case Status.EXPIRED:
            return _expired(view)
        case Status.UNREADABLE:
            return _unreadable(view, config)
        case unreachable:
            assert_never(unreachable)


REPLACEABLE = (Status.COMPLETED, Status.PAID_WITHOUT_PAYJOIN, Status.EXPIRED, Status.ABORTED)
"""What another payment of the sender's may have come instead of. A failure names its own cause."""


def _replaced(view: View, came_sat: int, config: SimpleConfig) -> Line:
    came = config.format_amount_and_units(came_sat)
    if view.status in (Status.COMPLETED, Status.PAID_WITHOUT_PAYJOIN):
        said = _("It was replaced by another payment of the sender's to this wallet: {}.")
    else:
        ended = _("Expired.") if view.status is Status.EXPIRED else _("Aborted.")
        said = ended + " " + _("Another payment of the sender's came to this wallet: {}.")
    return Line(said.format(came), (Act.SHOW,))


def _is_unknown(view: View) -> bool:
    """Tell whether what paid may be there and is not seen: Electrum forgets the mempool when it is closed."""
    return view.paid_by is None and not view.is_current


def _paid_without_payjoin(view: View, config: SimpleConfig) -> Line:
    if view.paid_by is PaidBy.PAYJOIN:  # it took the original's place
        return Line(_paid_by_payjoin(view, config), (Act.SHOW,))
    if view.paid_by is not None or _is_unknown(view):
        return Line(_("Paid, without payjoin."), (Act.SHOW,) if view.paid_txid else ())
    return Line(_("The payment was dropped by the network."), _to_broadcast(view))


def _to_broadcast(view: View) -> tuple[Act, ...]:
    return (Act.BROADCAST,) if view.can_broadcast else ()


def _active(view: View, config: SimpleConfig, foreseen: Share | None) -> Line:
    match view.stage:
        case _ if view.paid_by is not None:
            return Line(_("The payment is on its way."), (Act.SHOW,))
        case _ if view.waiting is Waiting.FAULT:
            return Line(_("Payjoin had a fault; see the log. The sender can still pay without it."))
        case Stage.WAITING_FOR_SENDER | None:
            return Line(_("Waiting for the sender to pay"), counts_down=True, hint=_no_need_to_wait())
        case Stage.CHECKING_ORIGINAL:
            return Line(_("The sender's payment has come. Checking it…"))
        case Stage.WAITING_FOR_WALLET:
            return _waiting(view, config, foreseen)
        case Stage.POSTING_PROPOSAL:
            return Line(_("Sending the answer…"))
        case Stage.POSTING_ERROR:
            return Line(_("Telling the sender that their payment cannot be accepted…"))
        case Stage.WAITING_FOR_BROADCAST:
            return Line(_answered(view), counts_down=True, hint=_no_need_to_wait())
        case unreachable:
            assert_never(unreachable)


def _no_need_to_wait() -> str:
    return _("You need not stay here. Even Electrum may be closed: it goes on when it is open again, within the time.")


def _answered(view: View) -> str:
    if view.answered_elsewhere:
        return _("Another copy of this wallet has answered. Waiting for the sender to complete the payment")
    if view.double_spent:
        return _("Answered, but the sender's coins were spent elsewhere: it may come to nothing")
    return _("Answered. Waiting for the sender to complete the payment")


def _waiting(view: View, config: SimpleConfig, foreseen: Share | None) -> Line:
    match view.waiting:
        case Waiting.LOCKED:
            text = _("The sender is waiting. Unlock the wallet to answer")
            return Line(text, (Act.UNLOCK,), counts_down=True)
        case Waiting.NEEDS_APPROVAL:
            text = _("The sender is waiting for your answer")
            if foreseen is not None:
                text = _("The sender is waiting. Adding {} of yours costs {}").format(
                    config.format_amount_and_units(foreseen.contributed_sat), sat(foreseen.receiver_fee_sat)
                )
            return Line(text, (Act.ANSWER,), counts_down=True)
        case Waiting.NO_COIN:
            text = _("The sender is waiting until a coin of yours is free")
            return Line(text, counts_down=True)
        case Waiting.DOUBLE_SPEND:
            text = _("Careful: the sender's coins were spent elsewhere. Nothing was answered.")
            if view.answered:  # signed, and after a restart nobody knows whether it had left
                text = _("Careful: the sender's coins were spent elsewhere. The answer is held back.")
            return Line(text, (Act.ANSWER_ANYWAY,))
        case _:
            return Line(_("The sender is waiting"), counts_down=True)


def payjoin_words(share: Share, config: SimpleConfig) -> str:
    """Return what we put into a payjoin and got out of it."""
    amounts = config.format_amount_and_units
    return _("Payjoin. You added {} and received {} net of it; your share of the fee {}, the sender's {}.").format(
        amounts(share.contributed_sat),
        amounts(share.received_sat),
        sat(share.receiver_fee_sat),
        sat(share.sender_fee_sat),
    )


def _paid_by_payjoin(view: View, config: SimpleConfig) -> str:
    if view.share is None:
        return _("Paid by payjoin.")
    return _("Paid by payjoin: {}, your share of the fee {}.").format(
        config.format_amount_and_units(view.share.received_sat), sat(view.share.receiver_fee_sat)
    )


def _failed(view: View) -> Line:
    is_spent = view.double_spent and view.paid_by is None
    reason = fault_words(view.fault) if view.fault is not None else ""
    if is_spent:
        reason = _("the sender's coins were spent elsewhere")
    failed = _("The payjoin failed: {}.").format(reason) if reason else _("The payjoin failed.")
    if view.paid_by is not None:
        paid = {
            PaidBy.PAYJOIN: _("The sender completed it all the same: paid."),
            PaidBy.ORIGINAL: _("Paid by the sender's own payment."),
            PaidBy.OTHER: _("Paid, without payjoin."),
        }[view.paid_by]
        return Line(failed + " " + paid, (Act.SHOW,))
    if view.can_broadcast and not is_spent:
        failed += " " + _("Their payment without payjoin is ready.")
    return Line(failed, _to_broadcast(view) or (Act.NEW_REQUEST,))


def _aborted(view: View) -> Line:
    match view.paid_by:
        case PaidBy.PAYJOIN:
            return Line(_("Aborted, but the sender completed it: paid."), (Act.SHOW,))
        case PaidBy.ORIGINAL:
            return Line(_("Aborted. Paid by the sender's own payment."), (Act.SHOW,))
        case PaidBy.OTHER if view.declined:
            return Line(_("Paid, without payjoin."), (Act.SHOW,))
        case PaidBy.OTHER:
            return Line(_("Aborted. Paid, without payjoin."), (Act.SHOW,))
        case None if view.double_spent:
            return Line(_("Payjoin aborted. The sender's coins were spent elsewhere."), _to_broadcast(view))
        case None if view.can_broadcast:
            return Line(_("Payjoin aborted. The sender's own payment was not broadcast."), (Act.BROADCAST,))
        case None if view.unchecked:
            text = _("Payjoin aborted. The sender's own payment was not checked. The address can still be paid.")
            return Line(text)
        case None if view.declined:
            return Line(_("Without payjoin, as you chose."))
        case None:
            return Line(_("Payjoin aborted. The address can still be paid."))
        case unreachable:
            assert_never(unreachable)


def _expired(view: View) -> Line:
    match view.paid_by:
        case PaidBy.PAYJOIN:
            return Line(_("Expired, but the sender completed it: paid."), (Act.SHOW,))
        case PaidBy.ORIGINAL:
            return Line(_("Expired. The sender's own payment was broadcast instead."), (Act.SHOW,))
        case PaidBy.OTHER:
            return Line(_("Expired. Paid, without payjoin."), (Act.SHOW,))
        case None if view.double_spent:
            return Line(_("Expired. The sender's coins were spent elsewhere."), _to_broadcast(view))
        case None if view.can_broadcast:
            return Line(_("Expired. Their payment is ready."), (Act.BROADCAST,))
        case None if view.unchecked:
            return Line(_("Expired. The sender's payment came, but could not be checked in time."))
        case None if view.held is not None:
            return Line(_("Expired. The sender's own payment is kept no longer."), (Act.BROADCAST,))
        case None:
            return Line(_("Expired. Nothing came."))
        case unreachable:
            assert_never(unreachable)


def _unreadable(view: View, config: SimpleConfig) -> Line:
    if view.is_gone:
        said = _("Its record is gone.")
    elif view.newer:
        said = _("Made by a newer version of Payjoin. Left as it is.")
    else:
        said = _("Its record is damaged. Left as it is.")
    if view.held is None:
        return Line(said)
    if view.paid_by is not None:
        return Line(said + " " + _("The request is paid."), (Act.SHOW,) if view.paid_txid else ())
    if not view.can_broadcast:
        return Line(said + " " + _("The sender's coins were spent elsewhere."))
    kept = _("The sender's own payment of {} is kept.").format(config.format_amount_and_units(view.held.payment_sat))
    return Line(said + " " + kept, (Act.BROADCAST,))


def notes_of(view: View) -> list[str]:
    """Return what else is to be said while it is not decided: a double spend, and what is being tried again."""
    if not view.is_active and not view.can_broadcast:
        return []
    spent = _("The sender's coins are spent by another transaction as well: only one of the two can be mined.")
    return [note for note in (spent if view.double_spent else None, view.trouble) if note is not None]


@cache
def short_status(status: Status, stage: Stage | None) -> str:
    """Return a session's state as one or two words for a list."""
    if status is not Status.ACTIVE:
        return {
            Status.EXPIRED: _("Expired"),
            Status.COMPLETED: _("Paid by payjoin"),
            Status.PAID_WITHOUT_PAYJOIN: _("Paid plainly"),
            Status.FAILED: _("Failed"),
            Status.ABORTED: _("Aborted"),
            Status.UNREADABLE: _("Unreadable"),
        }[status]
    return {
        None: _("Open"),
        Stage.WAITING_FOR_SENDER: _("Waiting"),
        Stage.CHECKING_ORIGINAL: _("Checking"),
        Stage.WAITING_FOR_WALLET: _("Needs you"),
        Stage.POSTING_PROPOSAL: _("Answering"),
        Stage.POSTING_ERROR: _("Refusing"),
        Stage.WAITING_FOR_BROADCAST: _("Answered"),
    }[stage]


def why_no_abort(view: View) -> str | None:
    """Return why there is nothing to abort, as a tooltip; None where there is."""
    if view.paid_by is not None:
        return _("The payment is already on its way.")
    if view.is_active and view.stage is not Stage.POSTING_ERROR:
        return None
    if view.stage is Stage.POSTING_ERROR:
        return _("It is ending by itself.")
    if view.status is Status.UNREADABLE:
        return _("Its record cannot be read.")
    return _("This payjoin has ended.")


def sat(amount_sat: int) -> str:
    """Return a fee in satoshis."""
    return _("{} sat").format(f"{amount_sat:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"))


def fee_words(held: Payment, config: SimpleConfig) -> str:
    """Return what the sender's own payment costs them."""
    if held.fee_sat is None:
        return _("not known")
    return f"{sat(held.fee_sat)} ({config.format_fee_rate(held.fee_rate * 1000)})"


def short_txid(txid: str) -> str:
    """Return enough of a txid to tell it from others."""
    return f"{txid[:4]}…{txid[-2:]}"
