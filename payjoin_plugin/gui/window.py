"""All that is ours in one of Electrum's windows, put in and taken out as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from electrum.gui.common_qt.util import QtEventListener, qt_event_listener
from electrum.i18n import _
from PyQt6.QtCore import QObject, QTimer
from PyQt6.QtGui import QIcon
from PyQt6.QtWidgets import QWidget

from ..app.finder import Finder
from ..faults import own_fault
from .bridge import Bridge
from .coins import CoinMarks
from .deeds import Deeds
from .history import HistoryMarks
from .notices import Notices
from .questions import Questions
from .receive import StatusPanel, Toggle
from .requests import RequestMarks
from .wraps import Wraps

if TYPE_CHECKING:
    from electrum.address_synchronizer import AddressSynchronizer
    from electrum.gui.qt.main_window import ElectrumWindow
    from electrum.transaction import Transaction
    from electrum.wallet import Abstract_Wallet

    from ..app.sessions import WalletSessions
    from .sessions import SessionsWindow

SOON = 100
"""Milliseconds in which any number of turns make one repaint."""


class WindowParts(QObject, QtEventListener):
    """The parts in one window."""

    def __init__(
        self,
        window: ElectrumWindow,
        sessions: WalletSessions,
        icon: QIcon,
        show_settings: Callable[[QWidget], None],
    ) -> None:
        """`show_settings(parent)` opens the settings dialog."""
        super().__init__(window)
        self.window, self.sessions = window, sessions
        self.bridge = Bridge(self)
        self._wraps = Wraps()
        self._window_of_sessions: SessionsWindow | None = None
        self._icon, self._show_settings = icon, show_settings
        self._questions = Questions()
        self.deeds = Deeds(
            window,
            sessions,
            self.bridge,
            self._questions,
            details=self.show_sessions,
            changed=self._refresh_soon,
        )
        self.toggle = Toggle(window, sessions, self.bridge)
        self.panel = StatusPanel(window, sessions, self.deeds)
        self.requests = RequestMarks(window, sessions, self.deeds, icon)
        self.coins = CoinMarks(window, sessions, self.show_sessions)
        self.finder = Finder(sessions)
        self.history = HistoryMarks(window, self.finder, icon, self._questions)
        self.notices = Notices(window, sessions, self.bridge, self.finder)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._refresh)
        self._is_removed = False

        self._wraps.around(window.receive_tab, "create_invoice", self.toggle.create_invoice)
        self.panel.wrap(self._wraps)
        self.requests.wrap(self._wraps)
        self.coins.wrap(self._wraps)
        self.history.wrap(self._wraps)
        self.notices.wrap(self._wraps)
        self._menu_action = window.wallet_menu.addAction(_("Payjoin sessions"), lambda: self.show_sessions(None))
        self.register_callbacks()
        self._refresh()

    def remove(self) -> None:
        """Take everything out: no widget, menu, wrapper or timer stays."""
        self.unregister_callbacks()
        self._is_removed = True  # what Electrum's bus has queued for us still comes
        self._soon.stop()
        self._questions.close()
        self.bridge.close()
        self._wraps.remove()
        self.window.wallet_menu.removeAction(self._menu_action)
        self._menu_action.deleteLater()
        if self._window_of_sessions is not None:
            self._window_of_sessions.close()
            self._window_of_sessions = None
        with own_fault("leaving the window"):
            self.requests.remove()
            self.coins.remove()
            self.history.remove()
        self.panel.remove()
        self.toggle.remove()
        self.deeds.deleteLater()
        self.deleteLater()

    def show_sessions(self, session_id: str | None) -> None:
        """Open the sessions window, at a session."""
        from .sessions import SessionsWindow  # noqa: PLC0415  # only when it is opened: see PayjoinPlugin

        if self._window_of_sessions is None:
            self._window_of_sessions = SessionsWindow(
                self.window, self.sessions, self.deeds, self.bridge, self._icon, show_settings=self._show_settings
            )
            self._window_of_sessions.finished.connect(self._forget_sessions_window)
        self._window_of_sessions.show_session(session_id)

    # Electrum's bus

    @qt_event_listener
    def on_event_payjoin_changed(self, wallet: Abstract_Wallet) -> None:
        """A session of a wallet made a turn."""
        if wallet is self.sessions.wallet:
            self._refresh_soon()

    @qt_event_listener
    def on_event_wallet_updated(self, wallet: Abstract_Wallet) -> None:
        """A wallet has news: coins may have come or gone."""
        if wallet is self.sessions.wallet:
            self._refresh_soon()

    @qt_event_listener
    def on_event_payjoin_settings_changed(self) -> None:
        """A setting was changed, maybe in another window."""
        self._refresh_soon()

    @qt_event_listener
    def on_event_status(self, *_args: object) -> None:
        """The connection came or went."""
        self._refresh_soon()

    @qt_event_listener
    def on_event_adb_added_tx(self, adb: AddressSynchronizer, _txid: str, tx: Transaction) -> None:
        """A transaction came."""
        self._look_at_paid_by(adb, tx)

    @qt_event_listener
    def on_event_adb_removed_tx(self, adb: AddressSynchronizer, _txid: str, tx: Transaction | None) -> None:
        """A transaction went."""
        self._look_at_paid_by(adb, tx)

    @qt_event_listener
    def on_event_adb_tx_height_changed(self, adb: AddressSynchronizer, txid: str, _old: int, _new: int) -> None:
        """A transaction moved between local, mempool and block."""
        self._look_at_paid_by(adb, adb.get_transaction(txid))

    def _look_at_paid_by(self, adb: AddressSynchronizer, tx: Transaction | None) -> None:
        """What ended long ago may be paid after all, or no more."""
        if adb is self.sessions.wallet.adb and tx is not None and self._window_of_sessions is not None:
            self._window_of_sessions.look_at(self.finder.paid_to_by(tx))
            self._refresh_soon()

    def _forget_sessions_window(self) -> None:
        self._window_of_sessions = None

    def _refresh_soon(self) -> None:
        if not self._soon.isActive() and not self._is_removed:
            self._soon.start(SOON)

    def _refresh(self) -> None:
        """Repaint what shows sessions. Each part costs milliseconds, whatever the number of sessions."""
        for refresh in (
            self.toggle.refresh,
            self.panel.refresh_link,
            self.panel.refresh,
            self.requests.refresh,
            self.coins.refresh,
            self.notices.look,
            self.deeds.refresh,
        ):
            with own_fault(refresh.__qualname__):
                refresh()
        if self._window_of_sessions is not None:
            with own_fault("the sessions window"):
                self._window_of_sessions.refresh()
