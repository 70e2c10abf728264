"""Inside the window's process: types, clicks and reads as a person would, when the demo says so.

    python -P puppet.py PORT THE-STAND'S-LAUNCHER electrum's words …

Nothing of Electrum or of the plugin is changed. What is done is done by Qt's own events, on Qt's thread, to the widgets
that a person sees.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection, Listener
from typing import Any

from electrum.gui.qt.main_window import ElectrumWindow
from PyQt6.QtCore import QObject, Qt, pyqtSignal
from PyQt6.QtTest import QTest
from PyQt6.QtWidgets import QApplication, QPushButton, QWidget

BETWEEN_KEYS = 25
"""Milliseconds."""
KEY_VARIABLE = "DEMO_WINDOW_KEY"


class Puppet(QObject):
    """Made on the main thread, which becomes Qt's."""

    asked = pyqtSignal(object)

    def __init__(self) -> None:
        super().__init__()
        self.asked.connect(self._do)  # queued, since it is emitted on another thread

    # What can be asked for

    def ready(self) -> bool:
        """Tell whether the window is there, knows its coins, and can offer payjoin."""
        window = _window()
        parts = _parts(window) if window is not None else None
        if window is None or parts is None or not window.isVisible() or not window.wallet.is_up_to_date():
            return False
        return parts.sessions.offering.obstacle() == (None, False)

    def request(self, amount: str, message: str) -> str:
        """Fill in the receive tab, press the button, and return the request's ID."""
        window = _window()
        window.show_receive_tab()
        tab = window.receive_tab
        for field, text in ((tab.receive_message_e, message), (tab.receive_amount_e, amount)):
            QTest.mouseClick(field, Qt.MouseButton.LeftButton)
            field.clear()
            QTest.keyClicks(field, text, delay=BETWEEN_KEYS)
        QTest.mouseClick(tab.create_onchain_invoice_button, Qt.MouseButton.LeftButton)
        return str(tab.request_list.get_current_key())

    def read(self) -> dict[str, Any]:
        """Return what the receive tab shows."""
        window = _window()
        panel = _parts(window).panel
        return {
            "uri": window.receive_tab.receive_e.toPlainText(),
            "line": panel.label.text(),
            "buttons": [button.text() for button in panel.buttons if not button.isHidden()],
            "toggle": _parts(window).toggle.box.isChecked(),
        }

    def press(self, words: str) -> None:
        """Press one of the buttons below the status line."""
        panel = _parts(_window()).panel
        (button,) = (button for button in panel.buttons if button.text() == words and not button.isHidden())
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def dialogs(self) -> dict[str, str]:
        """Return the other windows that are open: title, and the texts in it."""
        return {
            widget.windowTitle(): "\n".join(_texts(widget))
            for widget in QApplication.topLevelWidgets()
            if widget.isVisible() and not isinstance(widget, ElectrumWindow) and widget.windowTitle()
        }

    def close_dialogs(self) -> None:
        """Close them."""
        for widget in QApplication.topLevelWidgets():
            if widget.isVisible() and not isinstance(widget, ElectrumWindow) and widget.windowTitle():
                widget.close()

    def history(self) -> list[tuple[str, str | None]]:
        """Show the history; return description and tooltip of each row."""
        window = _window()
        window.tabs.setCurrentIndex(0)
        view = window.history_list
        indexes = [view.model().index(row, view.Columns.DESCRIPTION) for row in range(view.model().rowCount())]
        return [(index.data(), index.data(Qt.ItemDataRole.ToolTipRole)) for index in indexes]

    # How it is carried out

    def _do(self, what: tuple[Future[Any], str, tuple[Any, ...]]) -> None:
        future, name, arguments = what
        deed: Callable[..., Any] = getattr(self, name)
        try:
            future.set_result(deed(*arguments))
        except BaseException as error:  # noqa: BLE001 - it belongs to the one who asked
            future.set_exception(RuntimeError(f"{name}: {type(error).__name__}: {error}"))

    def serve(self, listener: Listener) -> None:
        """Answer one caller; on a thread of its own, until they hang up."""
        with listener.accept() as caller:
            while self._answer(caller):
                pass

    def _answer(self, caller: Connection) -> bool:
        try:
            name, arguments = caller.recv()
        except (EOFError, OSError):
            return False
        future: Future[Any] = Future()
        self.asked.emit((future, name, arguments))
        try:
            caller.send((True, future.result()))
        except RuntimeError as error:
            caller.send((False, str(error)))
        return True


def _window() -> Any:
    return next((w for w in QApplication.topLevelWidgets() if isinstance(w, ElectrumWindow)), None)


def _parts(window: Any) -> Any:
    plugin = window.gui_object.plugins.get("payjoin")
    return plugin.parts_of(window) if plugin is not None else None


def _texts(widget: QWidget) -> list[str]:
    found = []
    for child in widget.findChildren(QWidget):
        read = getattr(child, "toPlainText", getattr(child, "text", None))
        if read is not None and child.isVisibleTo(widget) and not isinstance(child, QPushButton):
            found.append(str(read()))
    return [text for text in found if text]


def main() -> None:
    """Be there when Electrum's window comes, and run Electrum."""
    port = int(sys.argv[1])
    listener = Listener(("127.0.0.1", port), authkey=bytes.fromhex(os.environ.pop(KEY_VARIABLE)))
    puppet = Puppet()
    threading.Thread(target=puppet.serve, args=(listener,), daemon=True).start()
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
