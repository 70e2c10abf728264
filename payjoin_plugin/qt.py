"""The plugin in Electrum's window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from electrum.plugin import hook

from .plugin import PayjoinPlugin

if TYPE_CHECKING:
    from electrum.daemon import Daemon
    from electrum.gui.qt.main_window import ElectrumWindow
    from electrum.wallet import Abstract_Wallet


class Plugin(PayjoinPlugin):
    """Electrum's hooks, passed on. They return nothing: Electrum allows only one plugin an answer."""

    @hook
    def daemon_wallet_loaded(self, daemon: Daemon, wallet: Abstract_Wallet) -> None:  # noqa: ARG002  # the hook's
        """A wallet was opened."""
        self.start_wallet(wallet)

    @hook
    def load_wallet(self, wallet: Abstract_Wallet, window: ElectrumWindow) -> None:  # noqa: ARG002  # the hook's
        """A window was made for a wallet; also after the plugin was installed, when the wallet was open already."""
        self.start_wallet(wallet)

    @hook
    def wallet_export_request(self, exported: dict[str, Any], key: str) -> None:
        """A payment request becomes JSON."""
        self.export_request(exported, key)
