"""Notifications: one sentence for each turn that needs or interests the user, never two for one payment.

Electrum rings for every new transaction of the wallet. Where that is a payjoin, our sentence stands in for Electrum's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from electrum.i18n import _

from ..app.view import Finder, View
from ..app.visible import PaidBy
from ..session.status import Waiting
from .wraps import own_fault

if TYPE_CHECKING:
    from electrum.gui.qt.main_window import ElectrumWindow
    from electrum.transaction import Transaction

    from ..app.sessions import WalletSessions
    from .wraps import Wraps


class Notices:
    """What one window rings for."""

    def __init__(self, window: ElectrumWindow, sessions: WalletSessions, finder: Finder) -> None:
        self._window, self._sessions = window, sessions
        self._finder = finder
        self._waiting: dict[str, Waiting] = {}

    def wrap(self, wraps: Wraps) -> None:
        """Stand around the sentences that the wallet makes of new transactions."""
        wraps.around(self._sessions.wallet, "get_user_notifications_for_new_txns", self._in_our_words)

    def look(self) -> None:
        """Ring for the sessions that began to wait for the user."""
        waiting = {
            session_id: runner.waiting
            for session_id, runner in list(self._sessions.live.runners.items())
            if runner.waiting is not None
        }
        for session_id, reason in waiting.items():
            if self._waiting.get(session_id) is not reason and (said := _needs_you(reason)) is not None:
                self._window.notify(said)
        self._waiting = waiting

    def _in_our_words(
        self, original: Callable[[Sequence[Transaction]], list[str]], txns: Sequence[Transaction]
    ) -> list[str]:
        ours, others = [], []
        for tx in txns:
            said = None
            with own_fault("a notification"):
                view = self._finder.settled_by(tx)
                said = self._said(view) if view is not None else None
            if said is None:
                others.append(tx)
            else:
                ours.append(said)
        return [*ours, *(original(others) if others else ())]

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
        Waiting.DOUBLE_SPEND: _("The sender's coins were spent elsewhere; your answer was held back."),
    }.get(reason)
