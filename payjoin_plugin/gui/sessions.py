"""The *Payjoin sessions* window: the list, and what happened in one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from electrum.gui.qt.util import Buttons, CancelButton, OkButton, WindowModalDialog, WWLabel, getSaveFileName
from electrum.i18n import _
from electrum.version import ELECTRUM_VERSION
from PyQt6 import sip
from PyQt6.QtCore import QItemSelectionModel, Qt, QTimer
from PyQt6.QtGui import QIcon
from PyQt6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QSplitter,
    QStackedWidget,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from ..app.view import exported, session_ids, view_of
from .bridge import Look, at_leisure
from .detail import DetailPane
from .requests import add_session_actions
from .session_model import Column, Row, SessionModel, Show, row_of

if TYPE_CHECKING:
    from electrum.gui.qt.main_window import ElectrumWindow
    from PyQt6.QtCore import QPoint

    from ..app.sessions import WalletSessions
    from .bridge import Bridge
    from .deeds import Deeds

MINUTE = 60_000
"""Milliseconds between looks at the clock."""


class SessionsWindow(QDialog):
    """Stays open beside Electrum's window."""

    def __init__(
        self,
        window: ElectrumWindow,
        sessions: WalletSessions,
        deeds: Deeds,
        bridge: Bridge,
        icon: QIcon,
        *,
        show_settings: Callable[[QWidget], None],
    ) -> None:
        super().__init__(window)
        self._window, self._sessions, self._deeds, self._bridge = window, sessions, deeds, bridge
        self.setWindowTitle(_("Payjoin sessions"))
        self.setWindowIcon(icon)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(1000, 520)
        self._wanted: str | None = None
        self._was_open: set[str] = set()
        self._moved: set[str] = set()
        """Sessions to whose addresses something was paid since the last look."""
        self._looked_at = set(sessions.ledger.open)
        """Those that were looked at since all were loaded: what is being loaded again may be older than that."""
        self._all = Look(bridge, self._rows, self._loaded, self._not_loaded)
        self._was_current = sessions.receiver_wallet.is_current()
        self._has_loaded = self._has_chosen = False

        self.show_box = QComboBox()
        for show, words in (
            (Show.OPEN, _("Open")),
            (Show.PAID, _("Paid")),
            (Show.NOT_PAID, _("Not paid")),
            (Show.ALL, _("All")),
        ):
            self.show_box.addItem(words, show)
        self.search = QLineEdit()
        self.search.setPlaceholderText(_("Description, amount, date or address"))
        self.search.setClearButtonEnabled(True)
        self.export = QPushButton(_("Export…"))
        self.export.setAutoDefault(False)
        self.export.setEnabled(False)
        self.settings = QPushButton(_("Settings…"))
        self.settings.setAutoDefault(False)
        self.settings.clicked.connect(lambda: show_settings(self))
        self.model = SessionModel(self, window.config)
        self.table = self._make_table()
        self.detail = DetailPane(window, sessions, deeds)
        self.empty = WWLabel(self._why_empty())
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setTextFormat(Qt.TextFormat.PlainText)
        self.empty.setMargin(40)
        self._lay_out()

        self.show_box.activated.connect(self._note_choice)
        self.show_box.currentIndexChanged.connect(self._choose)
        self.search.textChanged.connect(self._choose)
        self.export.clicked.connect(self._export)
        self._clock = QTimer(self)
        self._clock.timeout.connect(self._minute_passed)
        self._clock.start(MINUTE)
        self.detail.title.say(_("Loading…"))
        self._all.want()

    def show_session(self, session_id: str | None) -> None:
        """Open, raise, and select a session."""
        self._wanted = session_id
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
        self.show()
        self.raise_()
        self.activateWindow()
        if self._has_loaded:
            self._select_wanted()

    def look_at(self, session_ids: Iterable[str]) -> None:
        """Look at these, too, the next time: the chain has news of them."""
        self._moved.update(session_ids)

    def refresh(self) -> None:
        """Look again at what is or was open, and at what the chain has news of."""
        if not self._has_loaded:
            self._looked_at |= set(self._sessions.ledger.open)
            return
        if (is_current := self._sessions.receiver_wallet.is_current()) is not self._was_current:
            self._was_current = is_current  # until then, what had paid and is not seen counts as paid
            self._all.want()
        moved, self._moved = self._moved, set()
        is_open = set(self._sessions.ledger.open)
        is_shown = {self.detail.session_id} if self.detail.session_id is not None else set()
        looked_at = is_open | self._was_open | is_shown | moved
        self._looked_at |= looked_at
        self.model.put(row_of(self._sessions, session_id) for session_id in looked_at)
        self._was_open = is_open
        self._show_or_explain()
        self._keep_selection()
        self.detail.refresh()

    def _make_table(self) -> QTableView:
        table = QTableView()
        table.setModel(self.model)
        table.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QTableView.SelectionMode.SingleSelection)
        table.setSortingEnabled(True)
        table.sortByColumn(Column.DATE, Qt.SortOrder.DescendingOrder)
        table.setShowGrid(False)
        table.setAlternatingRowColors(True)
        table.setWordWrap(False)
        table.setTabKeyNavigation(False)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(round(1.7 * table.fontMetrics().lineSpacing()))
        header, metrics = table.horizontalHeader(), table.fontMetrics()
        header.setHighlightSections(False)
        for column, sample in (
            (Column.DATE, "0000-00-00 00:00"),
            (Column.AMOUNT, "00 000 000.00"),
            (Column.STATUS, _("Paid by payjoin")),
            (Column.LEFT, "00 h 00 min"),
        ):
            table.setColumnWidth(column, metrics.horizontalAdvance(sample) + 24)
        header.setSectionResizeMode(Column.DESCRIPTION, QHeaderView.ResizeMode.Stretch)
        table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        table.customContextMenuRequested.connect(self._menu)
        self.model.modelReset.connect(self._keep_selection)
        table.selectionModel().currentRowChanged.connect(self._selected)
        return table

    def _lay_out(self) -> None:
        bar = QHBoxLayout()
        bar.addWidget(QLabel(_("Show")))
        bar.addWidget(self.show_box)
        bar.addSpacing(12)
        bar.addWidget(QLabel(_("Search")))
        bar.addWidget(self.search, 1)
        bar.addSpacing(12)
        bar.addWidget(self.export)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.addWidget(self.table)
        splitter.addWidget(self.detail)
        splitter.setStretchFactor(0, 3)
        splitter.setStretchFactor(1, 2)
        splitter.setSizes([620, 380])
        splitter.setChildrenCollapsible(False)
        full = QWidget()
        box = QVBoxLayout(full)
        box.setContentsMargins(0, 0, 0, 0)
        box.addLayout(bar)
        box.addWidget(splitter, 1)
        self._pages = QStackedWidget()
        self._pages.addWidget(self.empty)
        self._pages.addWidget(full)
        self._pages.setCurrentIndex(1)
        close = QPushButton(_("Close"))
        close.setAutoDefault(False)
        close.clicked.connect(self.close)
        outer = QVBoxLayout(self)
        outer.addWidget(self._pages, 1)
        outer.addLayout(Buttons(self.settings, close))

    # Loading: the ends of each log, on another thread

    def _rows(self) -> list[Row]:
        return [row_of(self._sessions, session_id) for session_id in at_leisure(session_ids(self._sessions))]

    def _loaded(self, rows: list[Row]) -> None:
        if sip.isdeleted(self):
            return  # closed while it was loading
        is_first, self._has_loaded = not self._has_loaded, True
        if is_first and not self._has_chosen:  # while there are none yet: ten thousand are arranged once
            show = Show.OPEN if any(row.belongs_to(Show.OPEN) for row in rows) else Show.ALL
            self.show_box.setCurrentIndex(self.show_box.findData(show))
            self._choose()
        self.model.put(rows)
        self._moved |= self._looked_at
        self._looked_at = set()
        self.refresh()
        if is_first:
            self.detail.clear()
            self._select_wanted()

    def _not_loaded(self, sentence: str) -> None:
        if sip.isdeleted(self) or self._has_loaded:
            return
        self.empty.setText(_("The sessions could not be loaded: {}").format(sentence))
        self._pages.setCurrentIndex(0)

    def _show_or_explain(self) -> None:
        is_worth_it = self._sessions.store.unreadable is None or self._sessions.originals.kept()
        self._pages.setCurrentIndex(1 if is_worth_it and self.model.count(Show.ALL) else 0)

    def _why_empty(self) -> str:
        if (unreadable := self._sessions.store.unreadable) is None:
            return _(
                "No payjoins yet. Make a request in the Receive tab: its link lets the sender's wallet mix one of your "
                "coins into their payment, so that nobody can tell from the chain who paid whom."
            )
        left = _("It is left as it is. Until it can be read, this wallet's requests offer no payjoin.")
        what = _("Update the plugin to see them.") if unreadable.newer else _("A backup of the wallet file may help.")
        return f"{unreadable} {left} {what}"

    # Choosing

    def _note_choice(self) -> None:
        self._has_chosen = True

    def _choose(self) -> None:
        self.model.choose(self.show_box.currentData(), self.search.text())
        # One that leaves the list by itself, since it was paid, stays: somebody is watching it.
        if self.detail.session_id is not None and self.model.row_number(self.detail.session_id) is None:
            self.detail.clear()
        self.export.setEnabled(self.detail.session_id is not None)

    def _select_wanted(self) -> None:
        if self._wanted is not None and self.model.row_number(self._wanted) is None:
            self.search.clear()
            self.show_box.setCurrentIndex(self.show_box.findData(Show.ALL))
        wanted, self._wanted = self._wanted or self.detail.session_id, None
        number = self.model.row_number(wanted) if wanted is not None else None
        if number is None and self.detail.session_id is None and self.model.rowCount():
            number = 0
        if number is not None:
            self._select(number)

    def _select(self, number: int) -> None:
        flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
        index = self.model.index(number, Column.DATE)
        self.table.selectionModel().setCurrentIndex(index, flags)
        self.table.scrollTo(index)

    def _keep_selection(self) -> None:
        """Select the session in the detail pane again, and show the same rows: a reset of the model forgets it."""
        session_id, scrolled = self.detail.session_id, self.table.verticalScrollBar().value()
        number = self.model.row_number(session_id) if session_id is not None else None
        if number is not None and self.table.currentIndex().row() != number:
            self._select(number)
            self.table.verticalScrollBar().setValue(scrolled)

    def _selected(self) -> None:
        session_id = self.model.session_at(self.table.currentIndex().row())
        if session_id is not None and session_id != self.detail.session_id:
            self.detail.show_session(session_id)
        self.export.setEnabled(self.detail.session_id is not None)

    def _menu(self, place: QPoint) -> None:
        # Of the selected row, which a click makes this one: by the keyboard Qt names a place that is a row too low.
        session_id = self.model.session_at(self.table.currentIndex().row())
        if session_id is None:
            return
        menu = QMenu(self.table)
        menu.setToolTipsVisible(True)
        add_session_actions(menu, view_of(self._sessions, session_id), self._deeds)
        menu.exec(self.table.viewport().mapToGlobal(place))

    def _minute_passed(self) -> None:
        if self.isVisible():
            self.refresh()
            self.model.time_passed()

    # Export

    def _export(self) -> None:
        session_id = self.detail.session_id
        if session_id is None:
            return
        dialog = WindowModalDialog(self, _("Export"))
        tick = QCheckBox(_("with addresses and transactions"))
        box = QVBoxLayout(dialog)
        box.addWidget(
            WWLabel(_("Saves what happened in the selected session and when, for somebody who helps. No keys."))
        )
        box.addWidget(tick)
        box.addLayout(Buttons(CancelButton(dialog), OkButton(dialog, _("Save…"))))
        if not self._deeds.questions.run(dialog):
            return
        with_details = tick.isChecked()
        file_name = getSaveFileName(
            parent=self,
            title=_("Export"),
            filename="payjoin-session.json",
            filter="*.json",
            config=self._window.config,
        )
        if file_name and not sip.isdeleted(self):  # the window may be gone meanwhile, and Electrum with it
            self.save(Path(file_name), session_id, with_details=with_details)

    def save(self, file: Path, session_id: str, *, with_details: bool) -> None:
        """Write a session into a file."""
        session = exported(self._sessions, session_id, with_details=with_details)
        text = json.dumps({"electrum": ELECTRUM_VERSION, "session": session}, indent=2)
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            self._window.show_error(str(error), parent=self)
