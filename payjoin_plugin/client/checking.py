"""One session's checks of its original against what the Electrum server says, and how old the last one is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..bip78.original import Original
from ..errors import Fault, NotYetKnown, OriginalRefused
from ..session.answer import refused
from ..session.events import AcceptedOriginal, RefusedOriginal
from ..session.ports import ReceiverWallet
from ..session.receiver import CheckingOriginal
from .pace import FIRST_LOOK_UP, PATIENCE, STALE_CHECK, Backoff


class Checks:
    """Asks, and remembers when. Nothing of it is stored: after a restart everything is checked anew."""

    def __init__(self, *, wallet: ReceiverWallet, clock: Callable[[], float]) -> None:
        """`clock` returns unix time in seconds."""
        self.waits = Backoff(FIRST_LOOK_UP)
        """Before the server is asked again that did not know enough."""
        self._wallet, self._clock = wallet, clock
        self._unknown_since: float | None = None
        """By the loop's time, which unlike the clock stands still while the machine sleeps."""
        self._checked_at: float | None = None

    @property
    def is_none(self) -> bool:
        """Whether there is no check that counts."""
        return self._checked_at is None

    def forget_old(self) -> bool:
        """Tell whether the check is too old to answer upon; it does not count any more, then."""
        if self._checked_at is not None and self._clock() - self._checked_at > STALE_CHECK:
            self._checked_at = None
        return self._checked_at is None

    def forget(self) -> None:
        """The check does not count any more: something happened to the sender's coins."""
        self._checked_at = None

    async def judge(self, state: CheckingOriginal, original: Original) -> AcceptedOriginal | RefusedOriginal:
        """Check `original`. Raises NotYetKnown while asking again may help, and what the wallet raises."""
        verdict: AcceptedOriginal | RefusedOriginal
        try:
            vouts = state.check_payment(original, script_pubkey=self._wallet.script_of(state.created.address))
            facts = await self._wallet.look_up(original)
            verdict = state.check(original, facts, payment_vouts=vouts)
        except OriginalRefused as refusal:
            verdict = refused(refusal)
        except NotYetKnown as unknown:
            now = asyncio.get_running_loop().time()
            if self._unknown_since is None:
                self._unknown_since = now
            if now - self._unknown_since < PATIENCE:
                raise
            verdict = refused(OriginalRefused(Fault.COINS_GONE, str(unknown)))
        self._unknown_since, self._checked_at = None, self._clock()
        self.waits.reset()
        return verdict


def is_double_spend(verdict: AcceptedOriginal | RefusedOriginal) -> bool:
    """Tell whether the sender's coins were seen to be gone elsewhere."""
    return isinstance(verdict, RefusedOriginal) and verdict.fault is Fault.COINS_GONE
