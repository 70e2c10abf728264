"""The coins tab: what a reserved coin is reserved for, and until when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from electrum.i18n import _
from electrum.util import format_time
from PyQt6.QtWidgets import QMenu

if TYPE_CHECKING:
    from electrum.gui.qt.main_window import ElectrumWindow
    from electrum.transaction import PartialTxInput

    from ..app.sessions import WalletSessions
    from .wraps import Wraps


class CoinMarks:
    """The coins of one window's list."""

    def __init__(self, window: ElectrumWindow, sessions: WalletSessions, show_session: Callable[[str], None]) -> None:
        self._window, self._sessions, self._show_session = window, sessions, show_session
        self._list = window.utxo_list
        self._reserved: frozenset[str] = frozenset()

    def wrap(self, wraps: Wraps) -> None:
        """Stand behind Electrum's painting of a row."""
        wraps.after(self._list, "refresh_row", self._explain)

    def remove(self) -> None:
        """Let Electrum paint its list without us."""
        self._list.refresh_all()

    def refresh(self) -> None:
        """Repaint where coins were reserved or released, and keep new ones out of coin control."""
        reserved = frozenset(self._sessions.reserved_outpoints())
        if reserved == self._reserved:
            return
        fresh, self._reserved = reserved - self._reserved, reserved
        # Electrum does not ask again whether a coin that was chosen by hand is frozen.
        if self._list._spend_set & fresh:  # noqa: SLF001  # Electrum has no public name for it
            self._list._spend_set -= fresh  # noqa: SLF001
            self._list.update_coincontrol_bar()
        self._list.refresh_all()

    def add_menu(self, menu: QMenu, coins: Sequence[PartialTxInput]) -> None:
        """Add the way to the session to the menu of a reserved coin."""
        if len(coins) != 1:
            return
        found = self._sessions.ledger.reserved_for(coins[0].prevout.to_str())
        if found is not None:
            session_id, _until = found
            menu.addSeparator()
            menu.addAction(_("Payjoin details"), lambda: self._show_session(session_id))

    def _explain(self, outpoint: str, row: int) -> None:
        if outpoint not in self._reserved:
            return
        found = self._sessions.ledger.reserved_for(outpoint)
        if found is not None:
            _session_id, until = found
            column = self._list.Columns.OUTPOINT
            reserved = _("Reserved for a payjoin until {}").format(format_time(until))
            self._list.std_model.item(row, column).setToolTip(f"{outpoint}\n{reserved}")
