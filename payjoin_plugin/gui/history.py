"""The history list: our icon beside a payjoin's description, and in words, as tooltip, what we added and received.

Its menu offers to replace a payjoin, since a coin in it is ours. A question says first what follows.

Electrum has no hook for the rows, and its own icon says how deep a transaction lies. So the mark stands where Electrum
has none: decoration and tooltip of the description. (The description is the request's: app/ledger.py.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from electrum.gui.qt.history_list import HistoryColumns
from electrum.i18n import _
from PyQt6.QtCore import QModelIndex, Qt, QTimer
from PyQt6.QtGui import QIcon

from ..app.finder import Finder
from ..app.visible import PaidBy
from ..faults import own_fault
from .words import payjoin_words
from .wraps import Wraps

if TYPE_CHECKING:
    from electrum.gui.qt.main_window import ElectrumWindow
    from electrum.transaction import Transaction

    from .questions import Questions

ROLES = (Qt.ItemDataRole.DecorationRole, Qt.ItemDataRole.ToolTipRole)


class HistoryMarks:
    """The rows of one window's history."""

    def __init__(self, window: ElectrumWindow, finder: Finder, icon: QIcon, questions: Questions) -> None:
        self._window, self._finder, self._icon = window, finder, icon
        self._ask = partial(questions.ask, window)
        self._known: dict[tuple[str, int, str], str | None] = {}
        """What is said of a transaction at a height, in a unit of amounts; None of one that is no payjoin."""
        self._wanted: dict[tuple[str, int, str], None] = {}
        """Those that a row was painted for, and that are not known yet."""
        self._idle = QTimer(window)
        self._idle.setSingleShot(True)
        self._idle.timeout.connect(self._look_at_next)

    def wrap(self, wraps: Wraps) -> None:
        """Stand before the model's answers to its view, which asks for the rows on screen and no others."""
        wraps.around(self._window.history_model, "data", self._data)
        wraps.before(self._window, "bump_fee_dialog", self._may_bump)
        wraps.before(self._window, "dscancel_dialog", self._may_cancel)
        self._repaint()

    def remove(self) -> None:
        """Let Electrum paint its list without us."""
        self._idle.stop()
        self._idle.deleteLater()
        self._repaint()

    def _repaint(self) -> None:
        self._window.history_list.viewport().update()

    def _data(self, original: Callable[..., Any], index: QModelIndex, role: int) -> Any:
        if role in ROLES and index.isValid() and index.column() == HistoryColumns.DESCRIPTION:
            with own_fault("the history"):
                said = self._said(index.internalPointer().get_data())
                if said is not None:
                    return self._icon if role == Qt.ItemDataRole.DecorationRole else said
        return original(index, role)

    def _said(self, item: dict[str, Any]) -> str | None:
        txid, height = item.get("txid"), item.get("height", 0)
        if txid is None or item.get("lightning"):
            return None
        key = (txid, height, self._window.config.format_amount_and_units(1))
        if key not in self._known:  # a session is replayed, which takes its time: one at a time, between Qt's own turns
            self._wanted[key] = None
            self._idle.start(0)
        return self._known.get(key)

    def _look_at_next(self) -> None:
        key = next(iter(self._wanted))
        del self._wanted[key]
        self._known[key] = None
        with own_fault("the history"):
            self._known[key] = self._look(key[0])
        if self._wanted:
            self._idle.start(0)
        else:
            self._repaint()

    def _look(self, txid: str) -> str | None:
        tx = self._window.wallet.adb.get_transaction(txid)
        view = self._finder.settled_by(tx) if tx is not None else None
        if view is None or view.paid_by is not PaidBy.PAYJOIN:
            return None
        return payjoin_words(view.share, self._window.config) if view.share is not None else _("Payjoin.")

    def _may_bump(self, tx: Transaction) -> bool:
        question = _(
            "This is a payjoin. A version with a higher fee must be signed by the sender as well, and Electrum takes "
            "what pays you for change: it may give it another address, and your request would count as unpaid. To "
            "speed the payjoin up, send its coin to yourself with a high fee instead.\n\nGo on all the same?"
        )
        return not self._finder.is_payjoin(tx) or self._ask(question, _("Increase fee"))

    def _may_cancel(self, tx: Transaction) -> bool:
        question = _(
            "This payjoin pays you. To cancel it is to spend your own coin in it elsewhere: the payjoin is dead then, "
            "and you are not paid by it.\n\nCancel it all the same?"
        )
        return not self._finder.is_payjoin(tx) or self._ask(question, _("Cancel (double-spend)"))
