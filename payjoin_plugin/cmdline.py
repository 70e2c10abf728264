"""The plugin in Electrum's daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from electrum.network import Network
from electrum.plugin import hook
from electrum.util import get_asyncio_loop

from .app.plugin import PayjoinPlugin

if TYPE_CHECKING:
    from electrum.daemon import Daemon
    from electrum.plugin import Plugins
    from electrum.simple_config import SimpleConfig
    from electrum.wallet import Abstract_Wallet


class Plugin(PayjoinPlugin):
    """Electrum's hooks, passed on. They return nothing: Electrum allows only one plugin an answer."""

    def __init__(self, parent: Plugins, config: SimpleConfig, name: str) -> None:
        super().__init__(parent, config, name)
        network = Network.get_instance()
        if network is not None and network.daemon is not None:
            # The daemon answers commands before it loads its plugins: a wallet may have been opened without us.
            get_asyncio_loop().call_soon_threadsafe(self._start_open_wallets, network.daemon)

    def _start_open_wallets(self, daemon: Daemon) -> None:
        for wallet in daemon.get_wallets().values():
            self.start_wallet_soon(wallet)

    @hook
    def daemon_wallet_loaded(self, daemon: Daemon, wallet: Abstract_Wallet) -> None:  # noqa: ARG002  # the hook's
        """A wallet was opened. Here the daemon's lock is held."""
        self.start_wallet_soon(wallet)

    @hook
    def wallet_export_request(self, exported: dict[str, Any], key: str) -> None:
        """A payment request becomes JSON."""
        self.export_request(exported, key)
