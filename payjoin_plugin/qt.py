"""The plugin in Electrum's window."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from electrum.gui.qt.transaction_dialog import dialogs
from electrum.gui.qt.util import read_QIcon_from_bytes
from electrum.plugin import hook

from .app.plugin import PayjoinPlugin
from .faults import own_fault
from .gui.bridge import Bridge, wait_for
from .gui.questions import Questions
from .gui.removal import Removal
from .gui.transactions import add_line, fill_line, remove_lines
from .gui.window import WindowParts

if TYPE_CHECKING:
    from electrum.daemon import Daemon
    from electrum.gui.qt.main_window import ElectrumWindow
    from electrum.gui.qt.transaction_dialog import TxDialog
    from electrum.plugin import Plugins
    from electrum.simple_config import SimpleConfig
    from electrum.transaction import PartialTxInput
    from electrum.wallet import Abstract_Wallet
    from PyQt6.QtGui import QIcon
    from PyQt6.QtWidgets import QMenu, QWidget


class Plugin(PayjoinPlugin):
    """Electrum's hooks, passed on. They return nothing: Electrum allows only one plugin an answer."""

    def __init__(self, parent: Plugins, config: SimpleConfig, name: str) -> None:
        super().__init__(parent, config, name)
        self._parts: dict[ElectrumWindow, WindowParts] = {}
        self._coming: dict[ElectrumWindow, Bridge] = {}
        """The windows whose wallet's sessions are being started."""
        self._questions = Questions()
        self._removal = Removal(self, self._questions)

    @cached_property
    def icon(self) -> QIcon:
        """Ours. Electrum makes plugins before there is a QApplication, so it is read when it is needed."""
        return read_QIcon_from_bytes(self.read_file("payjoin.png"))

    def parts_of(self, window: ElectrumWindow) -> WindowParts | None:
        """Return what we put into a window."""
        return self._parts.get(window)

    @hook
    def daemon_wallet_loaded(self, daemon: Daemon, wallet: Abstract_Wallet) -> None:  # noqa: ARG002  # the hook's
        """A wallet was opened. Here the daemon's lock is held."""
        self.start_wallet_soon(wallet)

    @hook
    def load_wallet(self, wallet: Abstract_Wallet, window: ElectrumWindow) -> None:
        """A window was made for a wallet; also after the plugin was installed, when the wallet was open already."""
        # Two hundred sessions that wait for the user take a second to start, on the loop: Qt's thread is not kept.
        self._coming[window] = bridge = Bridge(window)
        bridge.run(self._ready(wallet), lambda _: self._move_in(window), lambda _: self._stay_out(window))

    @hook
    def on_close_window(self, window: ElectrumWindow) -> None:
        """A window closes; its wallet may go on, with another window."""
        self._stay_out(window)
        if (parts := self._parts.pop(window, None)) is not None:
            parts.remove()

    @hook
    def wallet_export_request(self, exported: dict[str, Any], key: str) -> None:
        """A payment request becomes JSON."""
        self.export_request(exported, key)

    @hook
    def receive_list_menu(self, window: ElectrumWindow, menu: QMenu, key: str) -> None:
        """The menu of a request opens."""
        if (parts := self._parts.get(window)) is not None:
            parts.requests.add_menu(menu, key)

    @hook
    def qt_utxo_menu(self, menu: QMenu, coins: Sequence[PartialTxInput], wallet: Abstract_Wallet) -> None:
        """The menu of a coin opens."""
        for window, parts in self._parts.items():
            if window.wallet is wallet:
                parts.coins.add_menu(menu, coins)

    @hook
    def transaction_dialog(self, dialog: TxDialog) -> None:
        """A transaction's dialog is being made."""
        if dialog.main_window in self._parts:
            add_line(dialog)

    @hook
    def transaction_dialog_update(self, dialog: TxDialog) -> None:
        """A transaction's dialog shows what it knows."""
        if (parts := self._parts.get(dialog.main_window)) is not None:
            fill_line(dialog, parts.finder)

    def requires_settings(self) -> bool:
        """We have settings."""
        return True

    def settings_dialog(self, window: QWidget) -> None:
        """Show them. `window`: Electrum's dialog of this plugin."""
        from .gui.settings import SettingsDialog  # noqa: PLC0415  # only when it is opened: see PayjoinPlugin

        self._questions.run(SettingsDialog(window, self.config, self.services))

    def on_close(self) -> None:
        """Take everything down, since the plugin is being removed."""
        self._questions.close()
        for window in list(self._coming):
            self._stay_out(window)
        for parts in self._parts.values():
            parts.remove()
        self._parts.clear()
        self._removal.close()
        remove_lines(dialogs)
        wait_for(self.close_soon())  # two hundred kept payments take Electrum seconds

    async def _ready(self, wallet: Abstract_Wallet) -> None:
        """Start the sessions of a wallet, and read what its window will ask for.

        Each kept payment is read once, which costs. Not while the window is at work: Python's threads take turns.
        """
        await self.started(wallet)
        if (sessions := self.sessions_of(wallet)) is not None:
            with own_fault("the kept payments"):  # the window's parts come all the same
                await asyncio.to_thread(sessions.originals.held_addresses)

    def _move_in(self, window: ElectrumWindow) -> None:
        self._stay_out(window)
        sessions = self.sessions_of(window.wallet)
        if sessions is not None and window not in self._parts:
            self._parts[window] = WindowParts(window, sessions, self.icon, self.settings_dialog)

    def _stay_out(self, window: ElectrumWindow) -> None:
        """Wait no more for the sessions of a window."""
        if (bridge := self._coming.pop(window, None)) is not None:
            bridge.close()
            bridge.deleteLater()
