"""The questions of ours that are open over one window. All are closed, and answered by no, when the window or we go.

Electrum's own helpers make a dialog and wait for its answer in one call, so that nobody else could close it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from electrum.gui.qt.password_dialog import PasswordDialog
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QDialog, QMessageBox

if TYPE_CHECKING:
    from electrum.gui.qt.main_window import ElectrumWindow


class Questions:
    """Those of one owner, which closes them at its end."""

    def __init__(self) -> None:
        self._open: list[QDialog] = []
        self._is_over = False

    def run(self, dialog: QDialog) -> int:
        """Let a dialog be answered; 0, as if it had been rejected, where its owner went meanwhile."""
        if self._is_over:
            return 0
        self._open.append(dialog)
        answer = dialog.exec()
        if dialog not in self._open:
            return 0
        self._open.remove(dialog)
        return answer

    def ask(self, window: ElectrumWindow, question: str, title: str) -> bool:
        """Ask as Electrum does, and tell whether the answer was yes."""
        yes, no = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No
        box = QMessageBox(QMessageBox.Icon.Question, title, "", yes | no, window.top_level_window())
        box.setWindowModality(Qt.WindowModality.WindowModal)
        box.setDefaultButton(no)
        box.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setText(question)
        return self.run(box) == yes

    def password(self, window: ElectrumWindow, message: str) -> str | None:
        """Ask for the wallet's password by Electrum's dialog until it is right; None where the user gives up."""
        while True:
            dialog = PasswordDialog(window.top_level_window(), message)
            accepted, given = self.run(dialog), str(dialog.pw.text())
            dialog.pw.clear()
            if not accepted:
                return None
            try:
                window.wallet.check_password(given)
            except Exception as error:  # noqa: BLE001  # Electrum's own dialogs do the same: its text is for the user
                window.show_error(str(error))
            else:
                return given

    def close(self) -> None:
        """Close them, and let none be asked any more."""
        self._is_over = True
        while self._open:
            self._open.pop().done(0)
