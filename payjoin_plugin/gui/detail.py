"""One session in words: what happened when, what it costs, and what can be done."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from electrum.gui.qt.util import WWLabel
from electrum.i18n import _
from electrum.util import format_time
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QGridLayout, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from ..app.view import View, view_of
from ..app.visible import PaidBy
from ..session.status import Status, Waiting
from .labels import LineLabel, one_line
from .words import Act, act_words, notes_of, sat, why_no_abort

if TYPE_CHECKING:
    from electrum.gui.qt.main_window import ElectrumWindow

    from ..app.sessions import WalletSessions
    from .deeds import Deeds


class DetailPane(QWidget):
    """The right half of the sessions window."""

    def __init__(self, window: ElectrumWindow, sessions: WalletSessions, deeds: Deeds) -> None:
        super().__init__()
        self._window, self._sessions, self._deeds = window, sessions, deeds
        self.session_id: str | None = None
        self._further: dict[str, Act] = {}
        """What the buttons of that name do."""
        self.title = LineLabel()
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        self.address = LineLabel()
        self.line, self.notes, self.money = WWLabel(""), WWLabel(""), WWLabel("")
        for label in (self.line, self.notes, self.money):
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.timeline = QPlainTextEdit()
        self.timeline.setReadOnly(True)
        self.timeline.setTabChangesFocus(True)
        self.buttons: dict[str, QPushButton] = {}
        grid = QGridLayout()
        for number, (name, words) in enumerate(
            (
                ("abort", _("Abort payjoin")),
                ("broadcast", _("Broadcast original…")),
                ("show", _("Show transaction")),
                ("copy", _("Copy link")),
                ("first", ""),
                ("second", ""),
            )
        ):
            button = self.buttons[name] = QPushButton(words)
            button.setAutoDefault(False)
            button.clicked.connect(partial(self._pressed, name))
            grid.addWidget(button, *divmod(number, 2))
        box = QVBoxLayout(self)
        box.setContentsMargins(8, 0, 0, 0)
        for widget in (self.title, self.address, self.line, self.notes, self.money):
            box.addWidget(widget)
        box.addWidget(self.timeline, 1)
        box.addLayout(grid)
        self.setMinimumWidth(300)
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)  # else the dark theme's splitter shows through
        self.refresh()

    def show_session(self, session_id: str) -> None:
        """Show a session."""
        self.session_id = session_id
        self.refresh()

    def clear(self) -> None:
        """Show none."""
        self.session_id = None
        for label in (self.title, self.address):
            label.say("")
        for text in (self.line, self.notes, self.money):
            text.setText("")
        self.timeline.setPlainText("")
        self.refresh()

    def refresh(self) -> None:
        """Show the session as it stands now."""
        if self.session_id is None:
            for button in self.buttons.values():
                button.setVisible(False)
            return
        view = view_of(self._sessions, self.session_id)
        line = self._deeds.line(view)
        if view.waiting is Waiting.NEEDS_APPROVAL:
            self._deeds.foresee(view.session_id)  # the wallet may have changed: other than what is shown repaints it
        request = self._sessions.wallet.get_request(view.request_id)
        name = (request.get_message() if request is not None else "") or _("Request")
        amount = self._window.config.format_amount_and_units(view.amount_sat) if view.amount_sat else ""
        self.title.say(" · ".join(part for part in (one_line(name, 30), amount) if part))
        self.address.say(view.address)
        self.line.setText(line.said(max(0, (view.expires_at or 0) - int(time.time()))))
        for label, text in ((self.notes, "\n".join(notes_of(view))), (self.money, self._money(view))):
            label.setText(text)
            label.setVisible(bool(text))
        row = self._sessions.report.row_with_events(view.session_id, self._window.config.format_amount_and_units)
        told = "\n".join(f"{_clock(event['at'])}  {event['detail']}" for event in row["events"])
        if told != self.timeline.toPlainText():
            self.timeline.setPlainText(told)
        self._show_buttons(view, line.acts)

    def _money(self, view: View) -> str:
        """Say what a payjoin gives and costs; nothing where none comes of the session, or something else paid."""
        may_come = view.is_active and view.paid_by is None
        counts_as_paid = view.status is Status.COMPLETED and view.paid_by is None and not view.is_current
        if view.share is None or not (may_come or counts_as_paid or view.paid_by is PaidBy.PAYJOIN):
            return ""
        amounts = self._window.config.format_amount_and_units
        said = _("You add {} and receive {} net of it. Your share of the fee: {}; the sender's: {}.")
        return said.format(
            amounts(view.share.contributed_sat),
            amounts(view.share.received_sat),
            sat(view.share.receiver_fee_sat),
            sat(view.share.sender_fee_sat),
        )

    def _show_buttons(self, view: View, acts: tuple[Act, ...]) -> None:
        reason = why_no_abort(view)
        for button in self.buttons.values():
            button.setVisible(True)
        self.buttons["abort"].setEnabled(reason is None)
        self.buttons["abort"].setToolTip(reason or "")
        can_broadcast = view.can_broadcast or Act.BROADCAST in acts
        self.buttons["broadcast"].setEnabled(can_broadcast and not self._deeds.is_broadcasting(view.session_id))
        self.buttons["broadcast"].setToolTip(
            "" if can_broadcast else _("There is no payment of the sender's that could be broadcast.")
        )
        self.buttons["show"].setEnabled(Act.SHOW in acts)
        self.buttons["copy"].setEnabled(view.offers)
        self.buttons["copy"].setToolTip("" if view.offers else _("Its link no longer offers payjoin."))
        common = (Act.BROADCAST, Act.SHOW, Act.NEW_REQUEST)
        self._further = dict(zip(("first", "second"), (act for act in acts if act not in common), strict=False))
        for name in ("first", "second"):
            self.buttons[name].setVisible(name in self._further)
            if name in self._further:
                self.buttons[name].setText(act_words(self._further[name]))

    def _pressed(self, name: str, *_clicked: object) -> None:
        if self.session_id is None:
            return
        if name == "copy":
            self._deeds.copy_link(view_of(self._sessions, self.session_id))
            return
        acts = {"abort": Act.ABORT, "broadcast": Act.BROADCAST, "show": Act.SHOW, **self._further}
        if name in acts:
            self._deeds.do(acts[name], self.session_id)


def _clock(at: int) -> str:
    """Return day and time to the second."""
    return f"{format_time(at)}:{at % 60:02}"
