"""The list of requests: payjoin as a property of a request, its menu, and a question before one is deleted.

No session is replayed for the list, however many have a row: a tooltip is made when Qt is about to show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from electrum.gui.qt.request_list import ROLE_KEY
from electrum.i18n import _
from PyQt6.QtCore import QEvent, QModelIndex, QObject, QSignalBlocker
from PyQt6.QtGui import QHelpEvent, QIcon, QStandardItem
from PyQt6.QtWidgets import QMenu, QToolTip

from ..app.view import View, view_of_request
from ..faults import own_fault
from .labels import plain_tooltip
from .words import line_of, why_no_abort

if TYPE_CHECKING:
    from electrum.gui.qt.main_window import ElectrumWindow

    from ..app.sessions import WalletSessions
    from .deeds import Deeds
    from .wraps import Wraps


class RequestMarks(QObject):
    """The requests of one window's list."""

    def __init__(self, window: ElectrumWindow, sessions: WalletSessions, deeds: Deeds, icon: QIcon) -> None:
        super().__init__(window)
        self._window, self._sessions, self._deeds, self._icon = window, sessions, deeds, icon
        self._list = window.receive_tab.request_list
        self._electrums: dict[str, QIcon] = {}
        """The icon that Electrum gave a request, in the place of which ours stands."""

    def wrap(self, wraps: Wraps) -> None:
        """Mark the rows whenever Electrum fills the list, and stand before deletions."""
        wraps.after(self._list, "update", self.refresh)
        wraps.before(self._list, "delete_requests", self._may_delete)
        wraps.around(self._sessions.wallet, "delete_expired_requests", self._delete_expired)
        self._list.viewport().installEventFilter(self)
        self.refresh()

    def remove(self) -> None:
        """Give Electrum its icons back. To have it fill its list anew would cost a millisecond a request."""
        self._list.viewport().removeEventFilter(self)
        for date in self._rows():
            if self._is_marked(date):
                date.setIcon(self._electrums[date.data(ROLE_KEY)])
        self._list.viewport().update()
        self.deleteLater()

    def refresh(self) -> None:
        """Give each request that has a session our icon, or had one whose payment is kept. Electrum rewrites none."""
        of_kept = {one.request_id for one in self._sessions.originals.kept().values()}
        for date in self._rows():
            request_id = date.data(ROLE_KEY)
            if self._is_marked(date):
                continue
            if request_id in of_kept or self._sessions.store.session_of_request(request_id) is not None:
                self._electrums[request_id] = date.icon()
                date.setIcon(self._icon)
        self._list.viewport().update()

    def _rows(self) -> Iterator[QStandardItem]:
        """Go through the first cells of all rows, in order to change icons."""
        model = self._list.std_model
        # Qt would measure the whole list again after each of the changes, and none makes a row larger.
        with QSignalBlocker(model):
            for row in range(model.rowCount()):
                yield model.item(row, self._list.Columns.DATE)

    def _is_marked(self, date: QStandardItem) -> bool:
        return bool(date.icon().cacheKey() == self._icon.cacheKey())

    def eventFilter(self, _viewport: QObject, event: QEvent) -> bool:  # noqa: N802  # Qt's
        """Show the state of a request's payjoin as its row's tooltip. Electrum's rows have none."""
        if event.type() is not QEvent.Type.ToolTip or not isinstance(event, QHelpEvent):
            return False
        with own_fault("a tooltip"):
            if said := self._tooltip(self._list.indexAt(event.pos())):
                QToolTip.showText(event.globalPos(), said, self._list.viewport())
                return True
        return False

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

    def _tooltip(self, index: QModelIndex) -> str:
        request_id = index.siblingAtColumn(self._list.Columns.DATE).data(ROLE_KEY)
        view = view_of_request(self._sessions, request_id) if request_id else None
        return "" if view is None else plain_tooltip(_("Payjoin: {}").format(line_of(view, self._window.config).text))

    def _may_delete(self, request_ids: Iterable[str]) -> bool:
        held = self._held(request_ids)
        return not held or self._deeds.questions.ask(self._window, self._warning(held), _("Delete requests"))

    def _delete_expired(self, original: object) -> list[str]:
        with own_fault("delete_expired_requests"):
            unpaid = self._sessions.wallet.get_unpaid_requests()
            held = self._held(request.get_id() for request in unpaid if request.has_expired())
            if held and not self._deeds.questions.ask(self._window, self._warning(held), _("Delete expired requests")):
                return []
        return original()  # type: ignore[operator]  # Electrum's method

    def _held(self, request_ids: Iterable[str]) -> dict[str, int]:
        """Return what the senders' payments pay (sat) that lie in our hands for these requests, unseen by anybody."""
        wanted, kept = set(request_ids), self._sessions.originals.kept().values()
        lost = self._sessions.objections.at_stake()
        return {one.session_id: lost[one.txid] for one in kept if one.request_id in wanted and one.txid in lost}

    def _warning(self, held: dict[str, int]) -> str:
        amount = self._window.config.format_amount_and_units(sum(held.values()))
        if len(held) == 1:
            said = _("The sender has signed a payment of {} for this request, and it was not broadcast.").format(amount)
        else:
            said = _("{} of these requests hold signed payments of {} that were not broadcast.").format(
                len(held), amount
            )
        if held.keys() & self._sessions.double_spends.seen:
            said += " " + _("The sender's coins were spent elsewhere: it may never be mined.")
        ends = _("Deleting ends the payjoin. The payment can still be broadcast from Wallet, Payjoin sessions. Delete?")
        if len(held) > 1:
            ends = _(
                "Deleting ends the payjoins. The payments can still be broadcast from Wallet, Payjoin sessions. Delete?"
            )
        return said + "\n\n" + ends


def add_session_actions(menu: QMenu, view: View, deeds: Deeds) -> None:
    """Add *Abort payjoin* and *Broadcast original payment…* to a menu."""
    abort = menu.addAction(_("Abort payjoin"), lambda: deeds.abort(view.session_id))
    reason = why_no_abort(view)
    abort.setEnabled(reason is None)
    abort.setToolTip(reason or _("Ends the payjoin; the address can still be paid without it."))
    if view.can_broadcast:
        menu.addAction(_("Broadcast original payment…"), lambda: deeds.broadcast(view.session_id))
