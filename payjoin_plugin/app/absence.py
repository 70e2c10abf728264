"""What became of a request without us: deleted, its payment removed, its address given out again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..faults import own_fault
from ..session.receiver import ProposalPosted, created_of, holds_original
from ..wallet.watching import requests_at
from .ending import end
from .ledger import now
from .originals import LOST_AFTER

if TYPE_CHECKING:
    from electrum.wallet import Abstract_Wallet

    from .ledger import Ledger, ReceiverSession
    from .objections import Objections
    from .originals import Originals


def catch_up(wallet: Abstract_Wallet, ledger: Ledger, originals: Originals, objections: Objections) -> None:
    """Do what we would have done, by what the wallet file shows; before any session goes on."""
    undone = (one for one in originals.kept().values() if not (one.aborted or one.deleted_paid))
    deleted = [one for one in undone if wallet.get_request(one.request_id) is None]
    # Where the address is another request's by now, nobody can tell whose payment came there.
    ledger.store.kept.mark_requests_deleted(
        {one.request_id: objections.is_paid(one) and not requests_at(wallet, one.address or "") for one in deleted}
    )
    held = set(originals.kept())
    for session in list(ledger.open.values()):
        # A file that is written in parts may lack the second half of what belongs together.
        if session.id not in held and holds_original(session.state) and not _is_long_over(session):
            with own_fault("a payment that is kept again"):  # none keeps the others back
                ledger.keep_original(session)
    thrown_away = {one.session_id for one in originals.kept().values() if one.aborted}
    for session in list(ledger.open.values()):
        if session.id in thrown_away or _is_over(wallet, session):
            end(wallet, ledger, session)


def awaken(wallet: Abstract_Wallet, ledger: Ledger, session_id: str) -> None:
    """Look whether a session is over that lapsed by a clock that was ahead: its address was free meanwhile."""
    session = ledger.open.get(session_id)
    if session is not None and _is_over(wallet, session):
        end(wallet, ledger, session)


def _is_long_over(session: ReceiverSession) -> bool:
    """Tell whether a session's payment may have been let go."""
    return created_of(session.state).expires_at + LOST_AFTER <= now()


def _is_over(wallet: Abstract_Wallet, session: ReceiverSession) -> bool:
    """Tell whether a session's request is gone, or its address another one's: our own coin would pay that."""
    created = created_of(session.state)
    if wallet.get_request(created.request_id) is None:
        return True
    may_answer = not isinstance(session.state, ProposalPosted) and created.expires_at > now()
    return may_answer and bool(requests_at(wallet, created.address) - {created.request_id})
