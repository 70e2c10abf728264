"""Finding the session that a transaction of the wallet belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .view import View, view_of
from .visible import PaidBy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from electrum.transaction import Transaction

    from .sessions import WalletSessions


class Finder:
    """Finds the session that a transaction settled. The logs are read as far as their first record, once."""

    def __init__(self, sessions: WalletSessions) -> None:
        self._sessions = sessions
        self._known: set[str] = set()
        self._by_address: dict[str, list[str]] = {}

    def settled_by(self, tx: Transaction) -> View | None:
        """Return the session that `tx` settled, whether by the payjoin or without it."""
        return next((view for view in self._paid_to_by(tx) if view.paid_txid == tx.txid()), None)

    def is_payjoin(self, tx: Transaction) -> bool:
        """Tell whether `tx` is a payjoin, also one that the network has dropped."""
        return any(
            tx.txid() == (view.paid_txid if view.paid_by is PaidBy.PAYJOIN else view.payjoin_txid)
            for view in self._paid_to_by(tx)
        )

    def paid_to_by(self, tx: Transaction) -> list[str]:
        """Return the sessions to whose addresses `tx` pays, whatever became of them."""
        if self._sessions.store.unreadable is not None or tx.txid() is None:
            return []
        self._look_for_new_ones()
        return [session_id for txout in tx.outputs() for session_id in self._by_address.get(txout.address, ())]

    def _paid_to_by(self, tx: Transaction) -> Iterator[View]:
        return (view_of(self._sessions, session_id) for session_id in self.paid_to_by(tx))

    def _look_for_new_ones(self) -> None:
        for session_id in self._sessions.store.session_ids():
            if session_id in self._known:
                continue
            self._known.add(session_id)
            match self._sessions.store.raw_log(session_id):
                case {"events": [{"address": str(address)}, *_]}:
                    self._by_address.setdefault(address, []).append(session_id)
