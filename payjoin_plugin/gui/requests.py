"""The list of requests: payjoin as a property of a request, its menu, and a question before one is deleted."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from electrum.gui.qt.request_list import ROLE_KEY
from electrum.i18n import _
from PyQt6.QtCore import QSignalBlocker
from PyQt6.QtGui import QIcon
from PyQt6.QtWidgets import QMenu

from ..app.view import View, head_of, view_of, view_of_request
from ..errors import UnreadableLog
from ..session.status import Status
from .labels import plain_tooltip
from .words import line_of, why_no_abort
from .wraps import own_fault

if TYPE_CHECKING:
    from electrum.gui.qt.main_window import ElectrumWindow

    from ..app.sessions import WalletSessions
    from .deeds import Deeds
    from .wraps import Wraps


class RequestMarks:
    """The requests of one window's list."""

    def __init__(self, window: ElectrumWindow, sessions: WalletSessions, deeds: Deeds, icon: QIcon) -> None:
        self._window, self._sessions, self._deeds, self._icon = window, sessions, deeds, icon
        self._list = window.receive_tab.request_list
        self._tooltips: dict[str, tuple[object, object, str]] = {}
        """Session → its state and what else its tooltip was made from, and the tooltip."""

    def wrap(self, wraps: Wraps) -> None:
        """Mark the rows whenever Electrum fills the list, and stand before deletions."""
        wraps.after(self._list, "update", self.refresh)
        wraps.before(self._list, "delete_requests", self._may_delete)
        wraps.around(self._sessions.wallet, "delete_expired_requests", self._delete_expired)
        self.refresh()

    def remove(self) -> None:
        """Let Electrum paint its list without us."""
        self._list.update()

    def refresh(self) -> None:
        """Give each request that has a session our icon, and its state as tooltip. Electrum rewrites neither."""
        model, column = self._list.std_model, self._list.Columns
        # Qt would measure the whole list again after each of the changes, and none makes a row larger.
        with QSignalBlocker(model):
            for row in range(model.rowCount()):
                date = model.item(row, column.DATE)
                session_id = self._sessions.store.session_of_request(date.data(ROLE_KEY))
                if session_id is None:
                    continue
                tooltip = self._tooltip(session_id)
                if date.toolTip() == tooltip:
                    continue
                date.setIcon(self._icon)
                for part in (column.DATE, column.DESCRIPTION, column.AMOUNT, column.STATUS):
                    model.item(row, part).setToolTip(tooltip)
        self._list.viewport().update()

    def add_menu(self, menu: QMenu, request_id: str) -> None:
        """Add what can be done with the payjoin of one request to its menu."""
        request = self._sessions.wallet.get_request(request_id)
        if request is None or request.get_address() is None:
            return
        view = view_of_request(self._sessions, request_id)
        menu.addSeparator()
        menu.setToolTipsVisible(True)
        if view is None:
            waits = request_id in self._sessions.store.waiting_requests()
            if waits:
                menu.addAction(_("Without payjoin"), lambda: self._deeds.decline(request_id))
            return
        add_session_actions(menu, view, self._deeds)
        if view.offers:
            menu.addAction(_("Without payjoin"), lambda: self._deeds.decline(request_id))
        menu.addAction(_("Payjoin details"), lambda: self._deeds.show_details(view.session_id))

    def _tooltip(self, session_id: str) -> str:
        session = self._sessions.ledger.open.get(session_id)
        state, circumstances = session.state if session is not None else None, self._circumstances(session_id)
        known = self._tooltips.get(session_id)
        if known is None or known[0] is not state or known[1] != circumstances:
            line = line_of(view_of(self._sessions, session_id), self._window.config)
            known = (state, circumstances, plain_tooltip(_("Payjoin: {}").format(line.text)))
            self._tooltips[session_id] = known
        return known[2]

    def _circumstances(self, session_id: str) -> object:
        """Return what a view is made from besides the state. Nothing is replayed: each repaint asks for every row."""
        sessions, runner = self._sessions, self._sessions.live.runners.get(session_id)
        try:
            head = head_of(sessions, session_id)
        except UnreadableLog:
            return None
        return (
            head.status,
            sessions.wallet.adb.get_address_history(head.created.address),
            (runner.waiting, runner.answered_elsewhere) if runner is not None else None,
            session_id in sessions.double_spends.seen,
            sessions.electrum.is_current(),
            self._window.config.format_amount_and_units(1),
        )

    def _may_delete(self, request_ids: Iterable[str]) -> bool:
        held = [view for request_id in request_ids if (view := self._held(request_id)) is not None]
        return not held or self._window.question(self._warning(held), title=_("Delete requests"))

    def _delete_expired(self, original: object) -> list[str]:
        with own_fault("delete_expired_requests"):
            now = int(time.time())
            held = [
                view
                for request in self._sessions.wallet.get_unpaid_requests()
                if request.has_expired()
                and (view := self._held(request.get_id())) is not None
                and (view.expires_at or 0) <= now
            ]
            if held and not self._window.question(self._warning(held), title=_("Delete expired requests")):
                return []
        return original()  # type: ignore[operator]  # Electrum's method

    def _held(self, request_id: str) -> View | None:
        """Return the session of a request if the sender's payment lies in our hands and nothing of it is visible."""
        session_id = self._sessions.store.session_of_request(request_id)
        if session_id is None:
            return None
        view = view_of(self._sessions, session_id)
        return view if view.can_broadcast and view.status is not Status.UNREADABLE else None

    def _warning(self, held: list[View]) -> str:
        total = sum(view.held.payment_sat for view in held if view.held is not None)
        amount = self._window.config.format_amount_and_units(total)
        if len(held) == 1:
            said = _("The sender has signed a payment of {} for this request, and it was not broadcast.").format(amount)
        else:
            said = _("{} of these requests hold signed payments of {} that were not broadcast.").format(
                len(held), amount
            )
        return (
            said
            + "\n\n"
            + _("Deleting ends the payjoin. The payment can still be broadcast from Wallet, Payjoin sessions. Delete?")
        )


def add_session_actions(menu: QMenu, view: View, deeds: Deeds) -> None:
    """Add *Abort payjoin* and *Broadcast original payment…* to a menu."""
    abort = menu.addAction(_("Abort payjoin"), lambda: deeds.abort(view.session_id))
    reason = why_no_abort(view)
    abort.setEnabled(reason is None)
    abort.setToolTip(reason or _("Ends the payjoin; the address can still be paid without it."))
    if view.can_broadcast:
        menu.addAction(_("Broadcast original payment…"), lambda: deeds.broadcast(view.session_id))
