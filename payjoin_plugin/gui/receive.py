"""The receive tab: the toggle for the next request, and the status of the selected one.

    Description       [______________________________]        ▓▓▓▓▓▓▓▓▓
    Requested amount  [________ mBTC]                          ▓       ▓
    Expiry            [   1 day    ]                           ▓  QR   ▓
    ☑ Payjoin         why not, where it cannot be              ▓       ▓
    [Clear]                       [Onchain] [Lightning]        ▓▓▓▓▓▓▓▓▓
    Waiting for the sender to pay · 23 h 59 min left
    [Abort payjoin] [Details] [Unlock and answer]

The status has its place in the empty space left of the QR code, whether there is a status or not: nothing moves.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from electrum.i18n import _
from PyQt6.QtCore import QObject, QSize, QTimer
from PyQt6.QtWidgets import QCheckBox, QGridLayout, QHBoxLayout, QLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from ..app.offering import request_made_in_window
from ..app.view import View, view_of_request
from ..session.status import Status, Waiting
from .bridge import Look
from .countdown import next_change
from .labels import LineLabel, StillLabel, plain_tooltip
from .words import Act, Line, act_words, why_no_abort

if TYPE_CHECKING:
    from electrum.gui.qt.main_window import ElectrumWindow
    from electrum.invoices import Request

    from ..app.sessions import WalletSessions
    from .bridge import Bridge
    from .deeds import Deeds
    from .wraps import Wraps

TOGGLE_ROW = 3
"""Electrum leaves this row of the tab's grid empty."""
ROOM = 70
"""Pixels by which Electrum's lowest window must be higher for the tick and the status."""
BUTTONS = 4
"""*Abort payjoin* and *Details*, each in its place whatever happens, and at most two deeds more."""


class Toggle(QObject):
    """The tick *Payjoin* for the next requests. It is the setting `offer_in_window` itself."""

    def __init__(self, window: ElectrumWindow, sessions: WalletSessions, bridge: Bridge) -> None:
        super().__init__(window)
        self._window = window
        # Looking for coins takes its time in a large wallet: Qt's thread is not kept.
        self._obstacle = Look(bridge, sessions.offering.obstacle, self._show, lambda _: self._show((None, False)))
        self._setting = window.config.cv.from_key("plugins.payjoin.offer_in_window")
        self.box = QCheckBox(_("Payjoin"))
        explained = _(
            "The sender's wallet may mix one of your coins into their payment, so that nobody can tell from the chain "
            "who paid whom. Every wallet can still pay the request."
        )
        self.box.setToolTip(explained)
        self.box.setWhatsThis(explained)
        self.box.setChecked(bool(self._setting.get()))
        self.box.clicked.connect(self._setting.set)
        self.reason = LineLabel()
        grid = window.receive_tab.receive_grid
        grid.addWidget(self.box, TOGGLE_ROW, 0)
        grid.addWidget(self.reason, TOGGLE_ROW, 1, 1, -1)
        QWidget.setTabOrder(window.receive_tab.expiry_button, self.box)

    def remove(self) -> None:
        """Take it out of the tab."""
        for widget in (self.box, self.reason):
            self._window.receive_tab.receive_grid.removeWidget(widget)
            widget.hide()
            widget.deleteLater()

    def refresh(self) -> None:
        """Look again whether payjoin is possible."""
        self.box.setChecked(bool(self._setting.get()) and self.box.isEnabled())
        self._obstacle.want()

    def create_invoice(self, original: Any, is_lightning: bool) -> None:  # noqa: FBT001  # Electrum's signature
        """Stand around the tab's `create_invoice`: an on-chain request of the tab offers what the tick says."""
        if is_lightning:
            original(is_lightning)
            return
        with request_made_in_window(wanted=self.box.isChecked()):
            original(is_lightning)

    def _show(self, obstacle: tuple[str | None, bool]) -> None:
        reason, for_ever = obstacle
        self.box.setEnabled(not for_ever)
        self.box.setChecked(bool(self._setting.get()) and not for_ever)
        self.reason.say(reason if reason and (for_ever or self.box.isChecked()) else "")


class StatusPanel(QWidget):
    """The line and the buttons of the selected request."""

    def __init__(self, window: ElectrumWindow, sessions: WalletSessions, deeds: Deeds) -> None:
        super().__init__()
        self._window, self._sessions, self._deeds = window, sessions, deeds
        self._tab = window.receive_tab
        self._view: View | None = None
        self._line = Line("")
        self._notes: list[str] = []
        self._acts: tuple[Act, ...] = ()
        self.label = StillLabel()
        self.buttons = [QPushButton() for _ in range(BUTTONS)]
        row = QHBoxLayout()
        for number, button in enumerate(self.buttons):
            button.setVisible(False)
            button.clicked.connect(partial(self._do, number))
            row.addWidget(button)
        row.addStretch(1)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(4)
        box.addWidget(self.label)
        box.addLayout(row)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Maximum)
        self._countdown = QTimer(self)
        self._countdown.setSingleShot(True)
        self._countdown.timeout.connect(self._tick)
        self._time_is_over = QTimer(self)
        self._time_is_over.setSingleShot(True)
        self._time_is_over.timeout.connect(self.refresh)
        self._keep_rows(self._tab.receive_grid)
        self._lowest = window.minimumHeight()
        window.setMinimumHeight(self._lowest + ROOM)
        self._place = _column_of(self._tab)
        self._place.insertWidget(1, self)
        before: QWidget = self._tab.create_lightning_invoice_button
        for button in self.buttons:
            QWidget.setTabOrder(before, button)
            before = button

    @staticmethod
    def _keep_rows(grid: QGridLayout) -> None:
        """Keep the tab's fields from being squeezed in a low window, now that there is more in it."""
        for row in range(grid.rowCount()):
            items = [item for column in range(2) if (item := grid.itemAtPosition(row, column)) is not None]
            grid.setRowMinimumHeight(row, max((item.sizeHint().height() for item in items), default=0))

    def sizeHint(self) -> QSize:  # noqa: N802  # Qt's
        """Two lines and the buttons, whether they are there or not."""
        return self.minimumSizeHint() + QSize(0, self.fontMetrics().lineSpacing() + 12)

    def minimumSizeHint(self) -> QSize:  # noqa: N802  # Qt's
        """One line and the buttons: as much as there is room for in Electrum's lowest window."""
        return QSize(0, self.fontMetrics().lineSpacing() + self.buttons[0].sizeHint().height() + 4)

    def wrap(self, wraps: Wraps) -> None:
        """Follow the selection."""
        wraps.after(self._tab, "update_current_request", self.refresh)

    def remove(self) -> None:
        """Take it out of the tab."""
        self._countdown.stop()
        self._time_is_over.stop()
        self._window.setMinimumHeight(self._lowest)
        self._place.removeWidget(self)
        for row in range(self._tab.receive_grid.rowCount()):
            self._tab.receive_grid.setRowMinimumHeight(row, 0)
        self.hide()
        self.deleteLater()

    def refresh(self) -> None:
        """Show the selected request as it stands now."""
        request = self._selected()
        self._view = view_of_request(self._sessions, request.get_id()) if request is not None else None
        if request is None or request.get_address() is None:
            self._show(Line(""), None)
        elif self._view is None:
            self._show(Line(self._why_plain(request)), None)
        else:
            if self._view.waiting is Waiting.NEEDS_APPROVAL:
                self._deeds.foresee(self._view.session_id)
            self._show(self._deeds.line(self._view), self._view)
        self._tick()

    def refresh_link(self) -> None:
        """Show the selected request's link as it is now."""
        request = self._selected()
        if request is None or not self._tab.URI:
            return
        if (self._sessions.wallet.get_request_URI(request) or "") != self._tab.URI:
            self._tab.update_current_request()

    def _selected(self) -> Request | None:
        requests = self._tab.request_list
        if len(requests.selectionModel().selectedRows(0)) > 1:
            return None
        key = requests.get_current_key()
        return self._sessions.wallet.get_request(key) if key else None

    def _why_plain(self, request: Request) -> str:
        if request.get_id() in self._sessions.store.waiting_requests():
            return _("Preparing payjoin…") + " " + self._sessions.offering.why_plain(request)
        return self._sessions.offering.why_plain(request)

    def _show(self, line: Line, view: View | None) -> None:
        self._line = line
        self._notes = []
        if view is not None and view.offers and view.offered_late:
            self._notes.append(_("The link offers payjoin now: copy it again."))
        if view is not None and view.trouble and (view.is_active or view.can_broadcast):
            self._notes.append(_("It was refused, and is tried again: see Details.") if view.refused else view.trouble)
        self._acts = () if view is None else (Act.ABORT, Act.DETAILS, *line.acts)
        for number, button in enumerate(self.buttons):
            button.setVisible(number < len(self._acts))
            if number < len(self._acts):
                button.setText(act_words(self._acts[number]))
        reason = why_no_abort(view) if view is not None else None
        self.buttons[0].setEnabled(reason is None)
        self.buttons[0].setToolTip(reason or "")
        self.buttons[0].setAccessibleDescription(reason or "")  # a disabled button has no focus to ask for a tooltip by

    def _do(self, number: int, *_clicked: object) -> None:
        if self._view is not None and number < len(self._acts):
            self._deeds.do(self._acts[number], self._view.session_id)

    def _is_too_long(self) -> bool:
        return self.label.heightForWidth(self.label.width()) > self.label.height()

    def _tick(self) -> None:
        """Say how much time is left, and look again when that changes."""
        self._countdown.stop()
        left = max(0, (self._view.expires_at or 0) - int(time.time())) if self._view is not None else 0
        self.label.setText("\n".join((self._line.said(left), *self._notes)))
        self.label.setToolTip(plain_tooltip(self.label.text()) if self._is_too_long() else self._line.hint)
        if self._view is None or self._view.status is not Status.ACTIVE:
            return
        if left == 0:
            self._time_is_over.start(1000)
        elif self._line.counts_down:
            self._countdown.start(1000 * next_change(left))
        else:
            self._countdown.start(1000 * max(1, left))


def _column_of(tab: QWidget) -> Any:
    """Return the tab's left column, which holds its grid."""

    def search(layout: QLayout) -> QLayout | None:
        for number in range(layout.count()):
            inner = layout.itemAt(number).layout()
            if inner is tab.receive_grid:
                return layout
            if inner is not None and (found := search(inner)) is not None:
                return found
        return None

    column = search(tab.layout())
    assert column is not None, "Electrum's receive tab has another layout than 4.8.3's"
    return column
