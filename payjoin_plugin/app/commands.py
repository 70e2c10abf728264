"""What the commands do. Each answers with the thing that it is about; an error is a sentence about an argument."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from electrum.util import UserFacingException

from ..errors import PayjoinError, UserError

if TYPE_CHECKING:
    from electrum.wallet import Abstract_Wallet

    from .plugin import PayjoinPlugin
    from .sessions import WalletSessions

P = ParamSpec("P")
T = TypeVar("T")


def _user_facing(command: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    @wraps(command)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await command(*args, **kwargs)
        except (PayjoinError, OSError) as error:
            raise UserFacingException(str(error)) from error

    return run


class PayjoinCommands:
    """The commands of `__init__.py`, with the plugin at hand. They run on the event loop."""

    def __init__(self, plugin: PayjoinPlugin) -> None:
        self._plugin = plugin

    @_user_facing
    async def sessions(self, wallet: Abstract_Wallet, every: object) -> list[dict[str, Any]]:
        """Return the open sessions, or every one, newest first."""
        if not isinstance(every, bool):
            raise UserError(f"all: must be true or false, not {every!r}")
        sessions = self._of(wallet)
        if sessions.store.unreadable is not None and not sessions.store.session_ids():
            raise UserError(str(sessions.store.unreadable))
        return await sessions.report.rows(every=every)

    @_user_facing
    async def session(self, wallet: Abstract_Wallet, session_id: object) -> dict[str, Any]:
        """Return one session with its events."""
        sessions = self._of(wallet)
        return sessions.report.row_with_events(self._known(sessions, session_id))

    @_user_facing
    async def abort(self, wallet: Abstract_Wallet, session_id: object, broadcast: object) -> dict[str, Any]:
        """Abort, and return the session."""
        if not isinstance(broadcast, bool):
            raise UserError(f"broadcast_original: must be true or false, not {broadcast!r}")
        sessions = self._of(wallet)
        known = self._known(sessions, session_id)
        await sessions.abort(known)
        if broadcast and sessions.held_original(known) is not None:
            await sessions.broadcast_original(known)
        return sessions.report.row(known)

    @_user_facing
    async def answer(self, wallet: Abstract_Wallet, session_id: object, password: str | None) -> dict[str, Any]:
        """Give the user's word to answer now, and return the session."""
        sessions = self._of(wallet)
        known = self._known(sessions, session_id)
        sessions.answer(known, password=password)
        return sessions.report.row(known)

    @_user_facing
    async def broadcast_original(self, wallet: Abstract_Wallet, session_id: object) -> str:
        """Broadcast the original, and return its txid."""
        sessions = self._of(wallet)
        return await sessions.broadcast_original(self._known(sessions, session_id))

    @_user_facing
    async def original(self, wallet: Abstract_Wallet, session_id: object) -> str:
        """Return the original as hex."""
        sessions = self._of(wallet)
        known = self._known(sessions, session_id)
        if (original := sessions.original_hex(known)) is None:
            raise UserError(f"session_id: session {known} holds no original payment")
        return original

    @_user_facing
    async def decline(self, wallet: Abstract_Wallet, request_id: object) -> dict[str, Any]:
        """Make a request's URI plain, and return the request."""
        request = wallet.get_request(request_id) if isinstance(request_id, str) else None
        if request is None:
            raise UserError(f"request_id: this wallet has no request {request_id!r}")
        if request.get_address() is None:
            raise UserError(f"request_id: {request_id} is a lightning request and has no payjoin to decline")
        await self._of(wallet).decline(request.get_id())
        return dict(wallet.export_request(request))

    @_user_facing
    async def check(self) -> dict[str, Any]:
        """Try every relay and directory."""
        return await self._plugin.check_services()

    def _of(self, wallet: Abstract_Wallet) -> WalletSessions:
        # A daemon that is offline opens wallets before it loads its plugins, and nobody can name them to us.
        self._plugin.start_wallet_soon(wallet)
        sessions = self._plugin.sessions_of(wallet)
        if sessions is None and not self._plugin.is_wanted():  # what runs, though switched off since, can be stopped
            raise UserError("the payjoin plugin is disabled: enable it in Electrum's list of plugins")
        if sessions is None:
            raise UserError("payjoin has not started for this wallet; see the log")
        return sessions

    @staticmethod
    def _known(sessions: WalletSessions, session_id: object) -> str:
        if not isinstance(session_id, str) or not sessions.knows(session_id):
            raise UserError(f"session_id: this wallet has no payjoin session {session_id!r}")
        return session_id
