"""The lists of directories and relays in the settings dialog: *Add*, *Remove*, *Test*."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from electrum.gui.qt.util import line_dialog
from electrum.i18n import _
from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..app.services import is_useless
from ..app.settings import checked
from ..errors import UserError
from .labels import KeyHelpLabel, plain_tooltip

if TYPE_CHECKING:
    from ..app.services import Services
    from .bridge import Bridge

ROWS = 4
"""Entries that are seen without scrolling."""


class ServiceList(QWidget):
    """One list. Its order is the order of preference."""

    refused = pyqtSignal()
    """`trouble` says why an address was refused."""

    def __init__(self, name: str, words: str, help_text: str, *, check: Callable[[str], str | None]) -> None:
        """`check(url)` returns why an address is refused, or None."""
        super().__init__()
        self._name, self._check = name, check
        self.table = QTableWidget(0, 2)
        self.table.horizontalHeader().hide()
        self.table.verticalHeader().hide()
        self.table.setShowGrid(False)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setTabKeyNavigation(False)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().setDefaultSectionSize(round(1.5 * self.table.fontMetrics().lineSpacing()))
        self.table.setFixedHeight(round(ROWS * 1.5 * self.table.fontMetrics().lineSpacing()) + 6)
        self.trouble = QLabel("")
        self.trouble.setTextFormat(Qt.TextFormat.PlainText)
        self.trouble.setWordWrap(True)
        self.trouble.setVisible(False)
        self.add_button, self.remove_button, self.up_button = (
            QPushButton(_("Add…")),
            QPushButton(_("Remove")),
            QPushButton(_("Move up")),
        )
        self.add_button.clicked.connect(self._ask)
        self.remove_button.clicked.connect(self.remove_selected)
        self.up_button.clicked.connect(self.move_up)
        self.row = QHBoxLayout()
        self.row.addWidget(KeyHelpLabel(words, help_text))
        self.row.addStretch(1)
        for button in (self.add_button, self.remove_button, self.up_button):
            button.setAutoDefault(False)
            self.row.addWidget(button)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addLayout(self.row)
        box.addWidget(self.table, 1)
        box.addWidget(self.trouble)
        self.table.itemSelectionChanged.connect(self._show_what_can_be_done)

    def urls(self) -> list[str]:
        """Return the addresses in order."""
        return [self.table.item(row, 0).text() for row in range(self.table.rowCount())]

    def set_urls(self, urls: list[str]) -> None:
        """Show these addresses."""
        self.table.setRowCount(0)
        for url in urls:
            self._append(url)
        self._show_what_can_be_done()

    def add(self, text: str) -> bool:
        """Add an address, or say why not."""
        try:
            (url,) = checked(self._name, [text.strip()])
        except UserError as error:
            return self._refuse(refusal(self._name, error))
        if url in self.urls():
            return self._refuse(_("It is in the list already."))
        if (reason := self._check(url)) is not None:
            return self._refuse(reason)
        self.trouble.setVisible(False)
        self._append(url)
        self.table.selectRow(self.table.rowCount() - 1)
        return True

    def remove_selected(self) -> None:
        """Remove the selected address; the last one stays."""
        row = self.table.currentRow()
        if row >= 0 and self.table.rowCount() > 1:
            self.table.removeRow(row)
        self._show_what_can_be_done()

    def move_up(self) -> None:
        """Prefer the selected address to the one above it."""
        row = self.table.currentRow()
        if row > 0:
            urls = self.urls()
            urls[row - 1 : row + 1] = [urls[row], urls[row - 1]]
            self.set_urls(urls)
            self.table.selectRow(row - 1)

    def say(self, results: dict[str, str]) -> None:
        """Show a word beside each address."""
        for row, url in enumerate(self.urls()):
            item = QTableWidgetItem(results.get(url, ""))
            item.setToolTip(plain_tooltip(item.text()))
            self.table.setItem(row, 1, item)

    def _append(self, url: str) -> None:
        row = self.table.rowCount()
        self.table.insertRow(row)
        self.table.setItem(row, 0, QTableWidgetItem(url))
        self.table.setItem(row, 1, QTableWidgetItem(""))

    def _refuse(self, sentence: str) -> bool:
        self.trouble.setText(sentence)
        self.trouble.setVisible(True)
        self.refused.emit()
        return False

    def _ask(self) -> None:
        text = line_dialog(self.window(), _("Add"), _("Address, such as https://payjo.in"), _("Add"))
        if text:
            self.add(text)

    def _show_what_can_be_done(self) -> None:
        row = self.table.currentRow() if self.table.selectedItems() else -1
        self.remove_button.setEnabled(row >= 0 and self.table.rowCount() > 1)
        self.remove_button.setToolTip("" if self.table.rowCount() > 1 else _("One is needed."))
        self.up_button.setEnabled(row > 0)


class ServiceLists(QWidget):
    """Both lists, and the test of their entries as they stand in the dialog."""

    def __init__(self, parent: QWidget, services: Services, bridge: Bridge) -> None:
        super().__init__(parent)
        self._services, self._bridge = services, bridge
        usual = " " + _("At least one. If you change nothing: {}.")
        self.directories = ServiceList(
            "directories",
            _("Directories"),
            _("Keep sealed messages for you until they are fetched. The first one that can be reached is used.")
            + usual.format(", ".join(services.settings.default("directories"))),
            check=lambda _url: None,
        )
        self.relays = ServiceList(
            "ohttp_relays",
            _("Relays"),
            _("Hide your network address from the directory. One is chosen at random for each session.")
            + usual.format(", ".join(services.settings.default("ohttp_relays"))),
            check=self._objection,
        )
        self.relays.up_button.setVisible(False)
        self.test_button = QPushButton(_("Test"))
        self.test_button.setAutoDefault(False)
        self.test_button.setToolTip(_("Reaches each entry and fetches the directory's keys."))
        self.test_button.clicked.connect(self.test)
        self.result = QLabel("")
        self.result.setTextFormat(Qt.TextFormat.PlainText)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 8, 0, 0)
        box.addWidget(self.directories, 1)
        box.addWidget(self.relays, 1)
        row = QHBoxLayout()
        row.addWidget(self.result)
        row.addStretch(1)
        row.addWidget(self.test_button)
        box.addLayout(row)

    def test(self) -> None:
        """Reach each entry; say beside it what came of that."""
        self.test_button.setEnabled(False)
        self.result.setText(_("Testing…"))
        for service_list in (self.directories, self.relays):
            service_list.say(dict.fromkeys(service_list.urls(), "…"))
        checking = self._services.check(directories=self.directories.urls(), relays=self.relays.urls())
        self._bridge.run(checking, self._tested, self._not_tested)

    def objection(self) -> str | None:
        """Return why the two lists cannot be used together, or None."""
        directories = self.directories.urls()
        if all(is_useless(relay, directories) for relay in self.relays.urls()):
            return _("Every relay in the list is run by your directory's operator: add one that somebody else runs.")
        return None

    def _tested(self, found: dict[str, Any]) -> None:
        self.test_button.setEnabled(True)
        self.result.setText("")
        for name, service_list in (("directories", self.directories), ("ohttp_relays", self.relays)):
            service_list.say({url: _words(result) for url, result in found[name].items()})

    def _not_tested(self, sentence: str) -> None:
        self.test_button.setEnabled(True)
        self.result.setText(sentence)
        for service_list in (self.directories, self.relays):
            service_list.say({})

    def _objection(self, relay: str) -> str | None:
        if is_useless(relay, self.directories.urls()):
            return _("Refused: the operator of your directory runs this relay too, and would see who asks for what.")
        return None


def refusal(name: str, error: Exception) -> str:
    """Return why a setting was refused, as a sentence beside its field: without the name that commands have for it."""
    said = str(error).removeprefix(f"{name}: ")
    return said[:1].upper() + said[1:]


def _words(result: dict[str, Any]) -> str:
    if result["works"]:
        return _("ok, {} s").format(f"{result['seconds']:.1f}")
    return str(result["reason"])
