"""The one question before a payjoin is aborted: what happens next, and what becomes of the sender's own payment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from electrum.gui.qt.util import Buttons, WindowModalDialog, WWLabel
from electrum.i18n import _
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QCheckBox, QPushButton, QVBoxLayout, QWidget

from ..app.view import View
from .words import fee_words, short_txid, why_no_abort

if TYPE_CHECKING:
    from electrum.simple_config import SimpleConfig


class AbortDialog(WindowModalDialog):
    """Follows its session, and stays open until the abort is on disk."""

    def __init__(
        self, parent: QWidget, look: Callable[[], View], config: SimpleConfig, *, abort: Callable[[AbortDialog], None]
    ) -> None:
        """`look()` returns the session as it is now; `abort(dialog)` begins, and leads to `succeeded` or `failed`."""
        super().__init__(parent, _("Abort payjoin"))
        self.setMinimumWidth(440)
        self.question, self.payment = WWLabel(""), WWLabel("")
        self.broadcast = QCheckBox(_("Broadcast it"))
        self.note = WWLabel(_("Whichever is mined counts; both pay you."))
        self.trouble = WWLabel("")
        self.trouble.setTextFormat(Qt.TextFormat.PlainText)
        self.trouble.setVisible(False)
        self.keep = QPushButton()
        self.keep.clicked.connect(self.reject)
        self.abort = QPushButton(_("Abort payjoin"))
        self.abort.clicked.connect(self._begin)
        self.keep.setDefault(True)
        self._look, self._config, self._abort = look, config, abort
        self._shown: tuple[str, str, str | None] | None = None
        self._has_begun = self._is_saving = False

        box = QVBoxLayout(self)
        for widget in (self.question, self.payment, self.broadcast, self.note, self.trouble):
            box.addWidget(widget)
        box.addStretch(1)
        box.addLayout(Buttons(self.keep, self.abort))
        self.refresh()

    @property
    def wants_broadcast(self) -> bool:
        """Whether the sender's own payment shall be broadcast."""
        return not self.broadcast.isHidden() and self.broadcast.isChecked()

    def refresh(self) -> None:
        """Say what holds now. The user's tick stays while the question is the same."""
        if self._has_begun:
            return
        view = self._look()
        reason = why_no_abort(view)
        payment = _payment(view, self._config) if reason is None and view.can_broadcast else ""
        says = (reason or _consequences(view, self._config), payment, reason)
        if says == self._shown:
            return
        self._shown = says
        self.question.setText(says[0])
        self.payment.setText(payment)
        self.broadcast.setChecked(bool(payment) and not view.answered and not view.double_spent)
        for widget in (self.payment, self.broadcast):
            widget.setVisible(bool(payment))
        self.note.setVisible(bool(payment) and view.answered and not view.double_spent)
        self.keep.setText(_("Keep waiting") if reason is None else _("Close"))
        self.abort.setEnabled(reason is None)
        self.adjustSize()

    def reject(self) -> None:
        """Close, by the button, Esc or the window's own X; not while nobody knows yet whether it is aborted."""
        if not self._is_saving:
            super().reject()

    def succeeded(self) -> None:
        """The abort is on disk."""
        self._is_saving = False
        self.accept()

    def failed(self, sentence: str) -> None:
        """Nothing was aborted."""
        self._is_saving = False
        self.trouble.setText(sentence)
        self.trouble.setVisible(True)
        self.adjustSize()
        self.keep.setText(_("Close"))
        self.keep.setEnabled(True)

    def _begin(self) -> None:
        shown = self._shown
        self.refresh()
        if self._shown != shown:  # the session moved on a moment ago: what is said now was not read yet
            return
        self._has_begun = self._is_saving = True
        for widget in (self.keep, self.abort, self.broadcast):
            widget.setEnabled(False)
        self._abort(self)


def _consequences(view: View, config: SimpleConfig) -> str:
    if view.answered and view.double_spent:
        return _(
            "Your answer is with the sender already, but their coins were spent elsewhere: it may come to nothing. "
            "Aborting stops the waiting."
        )
    if view.answered:
        return _(
            "Your answer is with the sender already: they can still complete it, and you are paid then too. "
            "Aborting stops the waiting."
        )
    if view.double_spent:
        return _(
            "The sender will get no answer. Their coins were spent elsewhere: their payment to you may never be mined."
        )
    if view.can_broadcast and view.held is not None:
        amount = config.format_amount_and_units(view.held.payment_sat)
        return _("The sender has signed a payment of {} to you. You can receive it now, without payjoin.").format(
            amount
        )
    return _("The sender will get no answer. The address stays valid: it can still be paid without payjoin.")


def _payment(view: View, config: SimpleConfig) -> str:
    """Return what the tick is about."""
    if view.held is None:
        return ""
    return _("The sender's own payment: fee {}, transaction {}.").format(
        fee_words(view.held, config), short_txid(view.held.txid)
    )
