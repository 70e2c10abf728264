"""Why a sender's own payment that is due does not go out by itself, as a sentence; by hand it can be tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from electrum.i18n import _

if TYPE_CHECKING:
    from .sessions import WalletSessions


def why_held_back(sessions: WalletSessions, session_id: str, txid: str) -> str | None:
    """Return any reason, for who does not see what became of the sender's coins."""
    holds = sessions.originals.holds(txid)
    if session_id in sessions.double_spends.seen or any(sessions.originals.has_visible_spender(one) for one in holds):
        return _("Another transaction spends its coins.")
    return refusal(sessions, session_id) or objection(sessions, txid)


def refusal(sessions: WalletSessions, session_id: str) -> str | None:
    """Return why the network does not take it: it is tried again."""
    refused = sessions.settling.refusals.get(session_id)
    return None if refused is None else _("It was refused, and is tried again: {}").format(refused)


def objection(sessions: WalletSessions, txid: str) -> str | None:
    """Return what speaks against it: it could charge its sender twice, or pay somebody else's request."""
    kept, against = sessions.originals.holds(txid), sessions.objections
    paid = [against.is_paid(one) for one in kept]
    if any(against.is_in_the_way(one) for one in kept):
        said = _("Another request waits at the same address, and would count as paid too")
    elif any(paid) and not all(paid):
        said = _("Another request that it pays too has been paid")
    elif any(against.is_in_doubt(one) for one in kept):
        said = _("Another payment was seen a few minutes ago, and may be seen again")
    else:
        return None
    return _("{}: nothing is broadcast by itself.").format(said)
