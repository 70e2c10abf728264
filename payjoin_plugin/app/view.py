"""What a screen shows of one session: plain values out of its log, its live task and the chain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from electrum.i18n import _
from electrum.transaction import Transaction

from ..errors import Fault, UnreadableLog, WalletError
from ..session.events import RefusedOriginal, Unrecognized
from ..session.receiver import (
    BuildingProposal,
    CheckingOriginal,
    PostingProposal,
    ProposalPosted,
    SessionClosed,
    Signing,
    WaitingForOriginal,
    committed_contribution,
    created_of,
    held_original,
    open_state,
)
from ..session.status import Head, Stage, Status, Waiting, details_of, fault_of, read_head, stage_of
from ..wallet.watching import confirmations
from .held_back import objection, refusal
from .ledger import now
from .visible import PaidBy, paid_by, replaced_by

if TYPE_CHECKING:
    from ..client.runner import Runner
    from .ledger import ReceiverSession
    from .sessions import WalletSessions


@dataclass(frozen=True)
class Payment:
    """The sender's own payment, which can be broadcast."""

    txid: str
    payment_sat: int
    fee_sat: int | None = None
    """None where only the payment itself is kept, without what it spends."""
    fee_rate: float = 0
    """sat/vB."""


@dataclass(frozen=True)
class Share:
    """What we put into a payjoin, and what it costs."""

    outpoints: tuple[str, ...]
    contributed_sat: int
    receiver_fee_sat: int
    sender_fee_sat: int
    """All that the sender pays: the original's fee and what they add to it."""
    received_sat: int
    """Net: what the payjoin's output pays us, less our own coin."""


@dataclass(frozen=True)
class View:
    """One session. None where something is not known (yet)."""

    session_id: str
    status: Status
    newer: bool = False
    """Unreadable, since a newer version made it."""
    is_gone: bool = False
    """Unreadable, since there is no record of it."""
    stage: Stage | None = None
    waiting: Waiting | None = None
    fault: Fault | None = None
    trouble: str | None = None
    """What is being tried again, as a sentence."""
    refused: bool = False
    """It is the sender's own payment, and the sentence is as long as the network's reason."""
    request_id: str = ""
    declined: bool = False
    """The user wants the request without payjoin: its session ended as aborted."""
    address: str = ""
    amount_sat: int | None = None
    created_at: int | None = None
    expires_at: int | None = None
    unchecked: bool = False
    """An original came, and nobody knows whether it is a payment."""
    held: Payment | None = None
    is_kept: bool = False
    """What is held has not been settled by a block: it may be mined yet."""
    share: Share | None = None
    answered: bool = False
    """The sender may have our answer: they can still complete it."""
    answered_elsewhere: bool = False
    double_spent: bool = False
    """The sender's coins were seen spent elsewhere."""
    is_current: bool = True
    """What the wallet sees is of this connection: what is not visible is gone."""
    paid_by: PaidBy | None = None
    paid_txid: str | None = None
    replaced_by: tuple[str, int] | None = None
    """What is visible in the place of what had paid, and what it pays us (sat): it has the sender's coins, and pays
    another address of ours, or less."""
    payjoin_txid: str | None = None
    payjoin_kept: bool = False
    """The wallet has the payjoin, whether the network has it or not."""
    offers: bool = False
    """The request's URI carries `pj`."""
    offered_late: bool = False
    """It did not at first, in this run: who was given it has a plain one."""

    @property
    def is_active(self) -> bool:
        """Whether it can be aborted."""
        return self.status is Status.ACTIVE

    @property
    def can_broadcast(self) -> bool:
        """Whether broadcasting the sender's own payment makes sense: it is held, and nothing of it is visible."""
        is_visible = self.paid_by is not None or self.replaced_by is not None
        return self.held is not None and self.is_kept and not is_visible


def view_of_request(sessions: WalletSessions, request_id: str) -> View | None:
    """Return the session of a request; None where it has none."""
    session_id = sessions.store.session_of_request(request_id)
    if session_id is None:  # its record may be gone, and the sender's payment kept
        kept = sessions.originals.kept().values()
        session_id = next((one.session_id for one in kept if one.request_id == request_id), None)
    return None if session_id is None else view_of(sessions, session_id)


def view_of(sessions: WalletSessions, session_id: str) -> View:
    """Return one session. It is replayed where it is closed: for one at a time."""
    try:
        session = sessions.ledger.session(session_id)
    except UnreadableLog as unreadable:
        return _without_record(sessions, View(session_id, Status.UNREADABLE, newer=unreadable.newer))
    runner = sessions.live.runners.get(session_id)
    created, status = created_of(session.state), sessions.report.status(session)
    waiting = runner.waiting if runner is not None and status is Status.ACTIVE else None
    kind, paid_txid = paid_by(sessions.wallet, session)
    held = _held(session)
    return View(
        session_id=session_id,
        status=status,
        stage=stage_of(session.state, waiting) if status is Status.ACTIVE else None,
        waiting=waiting,
        fault=fault_of(session.records),
        trouble=(refused := refusal(sessions, session_id))
        or (objection(sessions, held.txid) if held is not None and kind is None else None)
        or _trouble(sessions, runner),
        refused=refused is not None,
        request_id=created.request_id,
        declined=sessions.store.is_declined(created.request_id),
        address=created.address,
        amount_sat=created.amount_sat,
        created_at=session.records[0].at,
        expires_at=created.expires_at,
        unchecked=isinstance(open_state(session.state), CheckingOriginal),
        held=held,
        is_kept=held is not None and sessions.originals.may_be_mined(held.txid),
        share=_share(session),
        answered=isinstance(session.state, (PostingProposal, ProposalPosted)),
        answered_elsewhere=runner is not None and runner.answered_elsewhere,
        double_spent=session_id in sessions.double_spends.seen or _is_spent_elsewhere(session),
        is_current=sessions.receiver_wallet.is_current(),
        paid_by=kind,
        paid_txid=paid_txid,
        replaced_by=replaced_by(sessions.wallet, session) if kind is None else None,
        payjoin_txid=(payjoin_txid := details_of(session.state).payjoin_txid),
        payjoin_kept=payjoin_txid is not None and sessions.wallet.adb.get_transaction(payjoin_txid) is not None,
        offers=status is Status.ACTIVE and isinstance(session.state, WaitingForOriginal),
        offered_late=session_id in sessions.offers.late,
    )


def session_ids(sessions: WalletSessions) -> list[str]:
    """Return the IDs of all sessions, and of those of which only the sender's payment is left."""
    kept = (one.session_id for one in sessions.originals.kept().values())
    return list({*sessions.store.session_ids(), *kept})


def _without_record(sessions: WalletSessions, view: View) -> View:
    """Add to the view of a session whose record is unreadable or gone what the kept payment tells."""
    view = replace(view, is_gone=not sessions.ledger.knows(view.session_id))
    if (kept := sessions.originals.of_session(view.session_id)) is None:
        return view
    wallet = sessions.wallet
    payment_sat = sum(txout.value for txout in Transaction(kept.tx).outputs() if wallet.is_mine(txout.address))
    is_seen = confirmations(wallet, kept.txid) is not None
    otherwise = PaidBy.OTHER if sessions.objections.is_paid(kept) else None
    refused = refusal(sessions, view.session_id)
    return replace(
        view,
        request_id=kept.request_id,
        created_at=kept.at,
        held=Payment(kept.txid, payment_sat),
        is_kept=sessions.originals.may_be_mined(kept.txid),
        paid_by=PaidBy.ORIGINAL if is_seen else otherwise,
        paid_txid=kept.txid if is_seen else None,
        trouble=refused or objection(sessions, kept.txid),
        refused=refused is not None,
    )


def foreseen_share(sessions: WalletSessions, session_id: str) -> Share | None:
    """Return what answering now would add and cost; None where the session waits for something else.

    The choice of the coin does not change while nothing else does. It looks at every coin: not on Qt's thread.
    """
    session = sessions.ledger.open.get(session_id)
    if session is not None and isinstance(session.state, Signing):
        return _share(session)
    if session is None or not isinstance(session.state, BuildingProposal):
        return None
    state, original = session.state, held_original(session.state)
    assert original is not None
    wallet = sessions.receiver_wallet
    limits = wallet.fee_limits(state.payment_sat)
    coin = state.choose(wallet.coins(), limits, exposed=wallet.exposed())
    if coin is None:
        return None
    event = state.commit(coin, limits, position=0)
    if isinstance(event, RefusedOriginal):
        return None
    return Share(
        outpoints=event.outpoints,
        contributed_sat=coin.value_sat,
        receiver_fee_sat=event.receiver_fee_sat,
        sender_fee_sat=original.fee_sat + event.sender_fee_sat,
        received_sat=state.payment_sat - event.receiver_fee_sat,
    )


def head_of(sessions: WalletSessions, session_id: str) -> Head:
    """Return the ends of a session's log; nothing is decoded where it is open. Raises UnreadableLog."""
    session = sessions.ledger.open.get(session_id)
    if session is None:
        return read_head(sessions.store.raw_log(session_id), now=now())
    return Head(created_of(session.state), session.records[0].at, sessions.report.status(session))


def exported(sessions: WalletSessions, session_id: str, *, with_details: bool) -> dict[str, Any]:
    """Return a session for somebody who helps: what happened and when, and no more unless `with_details`."""
    row = sessions.report.row_with_events(session_id)
    if with_details:
        return row
    began = row["created_at"] or 0
    kept = {name: row[name] for name in ("status", "stage", "reason", "confirmations")}
    events = [{"event": event["event"], "after_seconds": event["at"] - began} for event in row["events"]]
    return kept | {"events": events}


def _held(session: ReceiverSession) -> Payment | None:
    original = held_original(session.state)
    if original is None:
        return None
    outputs = original.tx.outputs()
    vouts = open_state(session.state).accepted.payment_vouts  # type: ignore[union-attr]  # held: so accepted
    payment_sat = sum(int(outputs[vout].value) for vout in vouts)
    return Payment(original.txid, payment_sat, original.fee_sat, original.fee_sat * 4 / original.weight)


def _is_spent_elsewhere(session: ReceiverSession) -> bool:
    """Tell whether the log ends with it: a block has the sender's coins in a transaction that does not pay for it."""
    outcome = session.state.outcome if isinstance(session.state, SessionClosed) else None
    return isinstance(outcome, Unrecognized) and not outcome.pays_request


def _share(session: ReceiverSession) -> Share | None:
    committed, details, original = (
        committed_contribution(session.state),
        details_of(session.state),
        held_original(session.state),
    )
    if committed is None or original is None:
        return None
    return Share(
        outpoints=committed.outpoints,
        contributed_sat=details.contributed_sat or 0,
        receiver_fee_sat=committed.receiver_fee_sat,
        sender_fee_sat=original.fee_sat + committed.sender_fee_sat,
        received_sat=details.received_sat or 0,
    )


def _trouble(sessions: WalletSessions, runner: Runner | None) -> str | None:
    if sessions.wallet.network is None:
        return _("Electrum is offline.")
    match runner.trouble if runner is not None else None:
        case None:
            return None
        case WalletError() as error:
            return str(error)
        case OSError() as error:
            return _("The wallet file cannot be saved: {}").format(error.strerror or error)
        case _:
            return _("The payjoin service cannot be reached; trying again.")
