"""The one question before a payjoin is aborted: what happens next, and what becomes of the sender's own payment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from electrum.gui.qt.util import Buttons, WindowModalDialog, WWLabel
from electrum.i18n import _
from PyQt6.QtWidgets import QCheckBox, QPushButton, QVBoxLayout, QWidget

from ..app.view import View
from .words import sat, short_txid

if TYPE_CHECKING:
    from electrum.simple_config import SimpleConfig


class AbortDialog(WindowModalDialog):
    """Stays open until the abort is on disk."""

    def __init__(
        self, parent: QWidget, view: View, config: SimpleConfig, *, abort: Callable[[AbortDialog], None]
    ) -> None:
        """`abort(dialog)` begins the abort; then somebody calls `succeeded` or `failed`."""
        super().__init__(parent, _("Abort payjoin"))
        self.setMinimumWidth(440)
        self.question = WWLabel(_consequences(view, config))
        self.broadcast = QCheckBox(_tick(view, config))
        self.broadcast.setChecked(not view.answered)
        self.broadcast.setVisible(view.can_broadcast)
        self.note = WWLabel(_("Whichever is mined counts; both pay you."))
        self.note.setVisible(view.can_broadcast and view.answered)
        self.trouble = WWLabel("")
        self.trouble.setVisible(False)
        self.keep = QPushButton(_("Keep waiting"))
        self.keep.clicked.connect(self.reject)
        self.abort = QPushButton(_("Abort payjoin"))
        self.abort.clicked.connect(self._begin)
        self.keep.setDefault(True)
        self._abort = abort

        box = QVBoxLayout(self)
        for widget in (self.question, self.broadcast, self.note, self.trouble):
            box.addWidget(widget)
        box.addStretch(1)
        box.addLayout(Buttons(self.keep, self.abort))

    @property
    def wants_broadcast(self) -> bool:
        """Whether the sender's own payment shall be broadcast."""
        return not self.broadcast.isHidden() and self.broadcast.isChecked()

    def succeeded(self) -> None:
        """The abort is on disk."""
        self.accept()

    def failed(self, sentence: str) -> None:
        """Nothing was aborted."""
        self.trouble.setText(sentence)
        self.trouble.setVisible(True)
        self.keep.setText(_("Close"))
        self.keep.setEnabled(True)

    def _begin(self) -> None:
        for widget in (self.keep, self.abort, self.broadcast):
            widget.setEnabled(False)
        self._abort(self)


def _consequences(view: View, config: SimpleConfig) -> str:
    if view.answered:
        return _(
            "Your answer is with the sender already: they can still complete it, and you are paid then too. "
            "Aborting stops the waiting."
        )
    if view.held is not None:
        amount = config.format_amount_and_units(view.held.payment_sat)
        return _("The sender has signed a payment of {} to you. You can receive it now, without payjoin.").format(
            amount
        )
    return _("The sender will get no answer. The address stays valid: it can still be paid without payjoin.")


def _tick(view: View, config: SimpleConfig) -> str:
    if view.held is None:
        return ""
    return (
        _("Broadcast it (fee {}, {}, {})").format(
            sat(view.held.fee_sat), config.format_fee_rate(view.held.fee_rate * 1000), short_txid(view.held.txid)
        )
        if not view.answered
        else _("Broadcast the sender's own payment (fee {}, {}, {})").format(
            sat(view.held.fee_sat), config.format_fee_rate(view.held.fee_rate * 1000), short_txid(view.held.txid)
        )
    )
