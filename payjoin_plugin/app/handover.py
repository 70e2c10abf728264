"""The kept payments while the plugin is taken out: local transactions of Electrum's, which alone can broadcast them.

Never before: a local transaction counts as balance, and its output would be spent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from electrum.i18n import _
from electrum.logging import Logger
from electrum.transaction import Transaction

from ..wallet.watching import confirmations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from electrum.wallet import Abstract_Wallet

    from ..wallet.kept import KeptOriginal, KeptOriginals
    from .objections import Objections
    from .originals import Originals


class Handover(Logger):
    """One wallet's."""

    def __init__(
        self, wallet: Abstract_Wallet, kept: KeptOriginals, originals: Originals, objections: Objections
    ) -> None:
        Logger.__init__(self)
        self._wallet, self._kept, self._originals, self._objections = wallet, kept, originals, objections

    def hand_over(self) -> int:
        """Make every kept payment a labelled local transaction, since we are being removed; return how many.

        Not what is paid otherwise (or was, a moment ago), or spent in a block: nobody shall be asked to broadcast it.
        Nor what would pay another request, which Electrum counts local transactions for, nor what the user has thrown
        away, nor where a payjoin that was dropped is a local transaction already: Electrum would remove that.
        """
        handed = 0
        labels = self._wallet.get_all_labels()  # once: Electrum copies them all
        for kept in self._originals.kept().values():
            try:
                if not self._is_to_go(kept):
                    continue
                if self._wallet.adb.add_transaction(Transaction(kept.tx)):
                    named = "" if kept.txid in labels else self._name(kept)
                    self._kept.mark_handed_over(kept.txid, is_so=True, named=named)
                    handed += 1
            except Exception:
                # One payment that Electrum does not take (unrelated, a conflict) must not keep the others back.
                self.logger.exception("a kept payment could not be handed over")
        return handed

    def to_go(self) -> set[str]:
        """Return the payments (txid) that a removal would make local transactions."""
        return {kept.txid for kept in self._originals.kept().values() if self._is_to_go(kept)}

    def _is_to_go(self, kept: KeptOriginal) -> bool:
        against = self._objections
        if self._originals.is_known(kept) or self._originals.is_spent(kept) or against.is_thrown_away(kept):
            return False
        return not (against.is_paid_to_any(kept) or against.is_in_doubt(kept) or against.pays_another(kept))

    def take_back(self, is_readable: Callable[[str], bool]) -> None:
        """Undo it, since we are here again, for the payments whose logs (`is_readable(session_id)`) are too.

        Without its log a payment is shown nowhere but in Electrum's history, so there it stays. So does one whose
        output was spent meanwhile. One that the user removed from there is wanted no more.
        """
        self.look(self._originals.kept().values())
        labels = self._wallet.get_all_labels()
        for txid, holds in self._handed_over().items():
            if any(self._objections.is_thrown_away(one) for one in holds):
                for one in holds:
                    self._kept.mark_aborted(txid, one.session_id)
            elif any(is_readable(one.session_id) for one in holds):
                self._kept.mark_handed_over(txid, is_so=False)
                self._take(txid)
                if holds[0].named and labels.get(txid) == holds[0].named:
                    self._wallet.set_label(txid, None)

    def look(self, every: Iterable[KeptOriginal]) -> None:
        """Note which payments are no local transactions any more.

        Electrum removed them for what spends a coin, or else the user: that stands, whatever is seen and dropped later.
        """
        for kept in (one for one in every if one.handed_over):
            with self._wallet.adb.lock:  # on another thread Electrum may be between the removal and what comes instead
                if self._wallet.db.get_transaction(kept.txid) is not None:
                    continue
                if self._originals.is_known(kept):
                    self._kept.mark_handed_over(kept.txid, is_so=False)
                elif not kept.aborted:
                    self._kept.mark_aborted(kept.txid, kept.session_id)

    def _handed_over(self) -> dict[str, list[KeptOriginal]]:
        """Return the payments that are handed over, for each session that holds one."""
        found: dict[str, list[KeptOriginal]] = {}
        for kept in self._originals.kept().values():
            if kept.handed_over:
                found.setdefault(kept.txid, []).append(kept)
        return found

    def _take(self, txid: str) -> None:
        is_local = self._wallet.db.get_transaction(txid) is not None and confirmations(self._wallet, txid) is None
        if is_local and not self._wallet.adb.get_depending_transactions(txid):
            self._wallet.adb.remove_transaction(txid)

    def _name(self, kept: KeptOriginal) -> str:
        """Name a payment as a local transaction, and return the name as Electrum writes it, on one line."""
        self._wallet.set_label(kept.txid, _label(kept))
        return str(self._wallet.get_label_for_txid(kept.txid))


def _label(kept: KeptOriginal) -> str:
    """Return what a payment is called as a local transaction."""
    label = _("Payjoin: the sender's own payment. While it is local, broadcast it to be paid.")
    return f"{label} {kept.label}".strip()
