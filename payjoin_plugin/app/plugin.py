"""The plugin: what it owns for this Electrum, and for each open wallet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from electrum.plugin import BasePlugin
from electrum.util import get_asyncio_loop, trigger_callback

from ..errors import PayjoinError
from .commands import PayjoinCommands

if TYPE_CHECKING:
    from concurrent.futures import Future

    from electrum.plugin import Plugins
    from electrum.simple_config import SimpleConfig
    from electrum.wallet import Abstract_Wallet

    from .services import Services
    from .sessions import WalletSessions

CHANGED = "payjoin_changed"
"""The event on Electrum's bus after every change that a person may see; carries the wallet."""


@dataclass(frozen=True)
class AtStake:
    """What the removal of the plugin would end, in all open wallets."""

    sessions: int
    """Those that something may still come of."""
    payments: int
    """Senders' own payments that were not broadcast, and become local transactions."""
    payments_sat: int
    left_out: int = 0
    """Those that become none, since another payment or request speaks against it."""
    left_out_sat: int = 0


class PayjoinPlugin(BasePlugin):
    """Common to the daemon and the window.

    Nothing starts before a wallet is there: Electrum makes this object in short-lived processes too. Nor is the rest of
    us imported: out of a zip Python compiles it each time, which takes a tenth of a second.
    """

    def __init__(self, parent: Plugins, config: SimpleConfig, name: str) -> None:
        super().__init__(parent, config, name)
        self.commands = PayjoinCommands(self)
        self._wallets: dict[Abstract_Wallet, WalletSessions] = {}
        self.ends_sessions = False
        """The user was asked, and wants every session ended when we are removed."""

    @cached_property
    def services(self) -> Services:
        """What all wallets share."""
        from .services import Services  # noqa: PLC0415  see the class

        return Services(self.config, self._keys_changed)

    def sessions_of(self, wallet: Abstract_Wallet) -> WalletSessions | None:
        """Return the sessions of an open wallet."""
        return self._wallets.get(wallet)

    def start_wallet_soon(self, wallet: Abstract_Wallet) -> None:
        """Start the sessions of a wallet, once. Electrum says more than once that a wallet is there. On any thread.

        Not a moment is waited for the event loop: Electrum's daemon says it with its lock of the wallets held, and the
        loop may be waiting for that lock to list them. What stops the wallet goes over the loop too, after this.
        """
        loop = get_asyncio_loop()
        if asyncio.events._get_running_loop() is loop:  # noqa: SLF001  # the public form raises where none runs
            self._start_wallet(wallet)
        else:
            loop.call_soon_threadsafe(self._start_wallet, wallet)

    async def started(self, wallet: Abstract_Wallet) -> None:
        """Do the same, and return when it is done. On the event loop."""
        self._start_wallet(wallet)

    def is_wanted(self) -> bool:
        """Tell whether the user has the plugin on. Electrum makes it anew for a command of ours where it is off."""
        return bool(self.config.is_plugin_enabled(self.name))

    def _start_wallet(self, wallet: Abstract_Wallet) -> None:
        if wallet in self._wallets or not self.is_wanted():
            return
        from .sessions import WalletSessions  # noqa: PLC0415  see the class

        try:
            sessions = WalletSessions(
                wallet,
                self.get_storage(wallet),
                self.services,
                changed=lambda: trigger_callback(CHANGED, wallet),
                closed=lambda: self._forget(wallet),
            )
        except PayjoinError as error:
            self.logger.warning(f"payjoin is off for this wallet: {error}")
            return
        self._wallets[wallet] = sessions
        sessions.start()
        if wallet.network is not None:
            self.services.start()

    def _forget(self, wallet: Abstract_Wallet) -> None:
        self._wallets.pop(wallet, None)

    def export_request(self, exported: dict[str, Any], wallet_request: str) -> None:
        """Add `payjoin` to the JSON of a request that one of the open wallets has."""
        for sessions in list(self._wallets.values()):
            request = sessions.wallet.get_request(wallet_request)
            if request is not None and request.get_address() == exported.get("address"):
                said = sessions.report.of_request(request, request.get_bip21_URI())
                if said is not None:
                    exported["payjoin"] = said
                return

    async def check_services(self) -> dict[str, Any]:
        """Try every relay and directory."""
        return await self.services.check()

    def at_stake(self) -> AtStake:
        """Return what our removal would end."""
        every = list(self._wallets.values())
        payments: list[int] = []
        left_out: list[int] = []
        for sessions in every:
            to_go = sessions.handover.to_go()
            for txid, amount_sat in sessions.objections.at_stake().items():
                (payments if txid in to_go else left_out).append(amount_sat)
        open_ones = sum(len(sessions.ledger.unsettled()) for sessions in every)
        return AtStake(open_ones, len(payments), sum(payments), len(left_out), sum(left_out))

    def on_close(self) -> None:
        """Take everything down, since the plugin is being removed. Electrum calls this on the window's thread."""
        self.close_soon().result()

    def close_soon(self) -> Future[None]:
        """Begin to do so; when it is done, all that is to stay is on disk."""
        return asyncio.run_coroutine_threadsafe(self._close(), get_asyncio_loop())

    async def _close(self) -> None:
        for sessions in list(self._wallets.values()):
            try:
                await self._leave(sessions)
            except Exception:
                # Electrum is half way through removing us: one wallet that cannot be saved, or whatever Electrum's own
                # calls raise, keeps no other one back. Its wallet is saved again when it closes.
                self.logger.exception("a wallet could not be left as it should be")
        await self.services.stop()

    async def _leave(self, sessions: WalletSessions) -> None:
        try:
            if self.ends_sessions:
                sessions.abort_all()
        finally:
            await sessions.stop()
            sessions.handover.hand_over()
            sessions.store.flush_now()

    def _keys_changed(self) -> None:
        for sessions in list(self._wallets.values()):
            asyncio.get_running_loop().create_task(sessions.offer_late())
