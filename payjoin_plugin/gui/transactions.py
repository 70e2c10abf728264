"""The transaction dialog: a payjoin says that it is one, what we added, and who paid which fee."""

from __future__ import annotations

from typing import TYPE_CHECKING

from electrum.gui.qt.util import WWLabel

from ..app.finder import Finder
from ..app.visible import PaidBy
from .words import payjoin_words

if TYPE_CHECKING:
    from electrum.gui.qt.transaction_dialog import TxDialog

NAME = "payjoin_line"
"""Qt's name for our label, by which it is found again."""


def add_line(dialog: TxDialog) -> None:
    """Put an empty line above the inputs and outputs."""
    label = WWLabel("")
    label.setObjectName(NAME)
    label.setVisible(False)
    layout = dialog.layout()
    layout.insertWidget(layout.indexOf(dialog.io_widget), label)


def fill_line(dialog: TxDialog, finder: Finder) -> None:
    """Say what the transaction is, where it settled a session by payjoin."""
    label = dialog.findChild(WWLabel, NAME)
    if label is None or dialog.tx is None:
        return
    view = finder.settled_by(dialog.tx) if dialog.tx.is_complete() else None
    if view is None or view.paid_by is not PaidBy.PAYJOIN or view.share is None:
        label.setVisible(False)
        return
    label.setText(payjoin_words(view.share, dialog.config))
    label.setVisible(True)


def remove_lines(dialogs: list[TxDialog]) -> None:
    """Take our line out of every dialog."""
    for dialog in dialogs:
        if (label := dialog.findChild(WWLabel, NAME)) is not None:
            dialog.layout().removeWidget(label)
            label.deleteLater()
