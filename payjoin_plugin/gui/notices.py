"""Notifications: one sentence for each turn that needs or interests the user, never two for one payment.

Electrum rings for every new transaction of the wallet. Where that is a payjoin, our sentence stands in for Electrum's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from electrum.i18n import _

from ..app.finder import Finder
from ..app.view import View, head_of, view_of
from ..app.visible import PaidBy
from ..errors import UnreadableLog
from ..faults import own_fault
from ..session.status import Status, Waiting
from .bridge import Look

if TYPE_CHECKING:
    from electrum.gui.qt.main_window import ElectrumWindow
    from electrum.transaction import Transaction

    from ..app.sessions import WalletSessions
    from .bridge import Bridge
    from .wraps import Wraps


class Notices:
    """What one window rings for."""

    def __init__(self, window: ElectrumWindow, sessions: WalletSessions, bridge: Bridge, finder: Finder) -> None:
        self._window, self._sessions = window, sessions
        self._finder = finder
        # Two hundred kept payments take a twentieth of a second at first: Qt's thread is not kept.
        self._left_to_user = Look(bridge, partial(_left_to_user, sessions), self._ring_for_what_is_left)
        self._waiting: dict[str, Waiting] = {}
        self._spent: set[str] = set()
        """Sessions whose sender's coins went elsewhere, as of the last look."""
        self._left: set[str] = set()
        """Payments (txid) that were said to wait for the user."""
        self._paid: dict[str, set[str]] = {}
        """The coins (`txid:n`) that were spent by what was rung for, by session: what spends one of them too takes
        that payment's place, and what spends others is another payment."""

    def wrap(self, wraps: Wraps) -> None:
        """Stand around the sentences that the wallet makes of new transactions."""
        wraps.around(self._sessions.wallet, "get_user_notifications_for_new_txns", self._in_our_words)

    def look(self) -> None:
        """Ring for what began to need the user: once for each turn."""
        self._look_who_waits()
        self._look_what_was_spent()
        self._left_to_user.want()

    def _look_who_waits(self) -> None:
        waiting = {
            session_id: runner.waiting
            for session_id, runner in list(self._sessions.live.runners.items())
            if runner.waiting is not None
        }
        for session_id, reason in waiting.items():
            if self._waiting.get(session_id) is not reason and (said := _needs_you(reason)) is not None:
                self._window.notify(said)
        self._waiting = waiting

    def _look_what_was_spent(self) -> None:
        """Where nothing was answered yet, the session waits, and that rings."""
        seen = set(self._sessions.double_spends.seen)
        for session_id in seen - self._spent:
            view = view_of(self._sessions, session_id)
            if view.is_active and view.answered:
                self._window.notify(_("You have answered a sender whose coins were then spent elsewhere."))
        self._spent = seen

    def _ring_for_what_is_left(self, left: dict[str, int]) -> None:
        if not (new := left.keys() - self._left):
            return
        self._left |= new
        amount = self._window.config.format_amount_and_units(sum(left[txid] for txid in new))
        self._window.notify(
            _("A sender's own payment of {} is ready. You are paid when you broadcast it.").format(amount)
            if len(new) == 1
            else _("{} senders' own payments, {} in all, are ready. You are paid when you broadcast them.").format(
                len(new), amount
            )
        )

    def _in_our_words(
        self, original: Callable[[Sequence[Transaction]], list[str]], txns: Sequence[Transaction]
    ) -> list[str]:
        ours, others = [], []
        for tx in txns:
            said = None
            with own_fault("a notification"):
                said = self._words_for(tx)
            if said is None:
                others.append(tx)
            elif said:
                ours.append(said)
        return [*ours, *(original(others) if others else ())]

    def _words_for(self, tx: Transaction) -> str | None:
        """Return our sentence; an empty one where nothing is to be said, None where Electrum's own is right."""
        view = self._finder.settled_by(tx)
        if view is None:
            # Electrum hands over also what was replaced meanwhile: the original, where the payjoin has come.
            is_gone = self._sessions.wallet.adb.get_tx_height(tx.txid()).is_local_like()
            return "" if is_gone and self._finder.paid_to_by(tx) else None
        said, coins = self._said(view), {txin.prevout.to_str() for txin in tx.inputs()}
        rung = self._paid.setdefault(view.session_id, set())
        if said is not None and not rung.isdisjoint(coins):
            return ""
        rung |= coins
        return said

    def _said(self, view: View) -> str | None:
        amounts = self._window.config.format_amount_and_units
        if view.paid_by is PaidBy.PAYJOIN and view.share is not None:
            return _("Paid by payjoin: {}.").format(amounts(view.share.received_sat))
        if view.paid_by is PaidBy.ORIGINAL and view.held is not None:
            return _("The sender's own payment was broadcast: {}.").format(amounts(view.held.payment_sat))
        return None


def _needs_you(reason: Waiting) -> str | None:
    return {
        Waiting.LOCKED: _("A sender is waiting: unlock the wallet to answer."),
        Waiting.NEEDS_APPROVAL: _("A sender is waiting for your answer."),
        Waiting.NO_COIN: _("A sender is waiting until a coin of yours is free."),
        Waiting.DOUBLE_SPEND: _("The sender's coins were spent elsewhere; your answer was held back."),
    }.get(reason)


def _left_to_user(sessions: WalletSessions) -> dict[str, int]:
    """Return the senders' payments (txid, sat) that are due and are left to the user to broadcast.

    By the settings, or since another request waits at the address, or was paid otherwise and would be twice. Not those
    of an aborted session: the user has decided.
    """
    if not sessions.receiver_wallet.is_current():
        return {}
    kept, at_stake = list(sessions.originals.kept().values()), sessions.objections.at_stake()
    if sessions.settings.broadcast_original_by_itself:
        against = sessions.objections
        kept = [one for one in kept if against.is_in_the_way(one) or against.is_paid_to_any(one)]
    return {
        one.txid: at_stake[one.txid]
        for one in kept
        if one.txid in at_stake and not one.aborted and _is_due(sessions, one.session_id)
    }


def _is_due(sessions: WalletSessions, session_id: str) -> bool:
    try:
        head = head_of(sessions, session_id)
    except UnreadableLog:
        return True
    return head.status is Status.FAILED or head.created.expires_at <= int(time.time())
