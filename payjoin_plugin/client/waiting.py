"""Where a session waits for its wallet or its user, and what the user said: for one answer, and never stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from ..session.events import CommittedContribution
from ..session.ports import EventStore, Policy, ReceiverWallet
from ..session.status import Waiting
from .pace import LOOK_AGAIN


@dataclass(frozen=True)
class Consent:
    """The user's word to answer now: for this one answer, and never stored."""

    password: str | None = field(default=None, repr=False)
    outpoints: tuple[str, ...] | None = None
    """The coins that they agreed to add; None: whichever are chosen, at any share of the fee within the limits."""
    receiver_fee_sat: int = 0
    """The share of the fee that they agreed to with them."""
    despite_double_spend: bool = True
    """They were told of a double spend, if there is one; else one that came to light under their eyes holds back."""

    def covers(self, committed: CommittedContribution) -> bool:
        """Tell whether this contribution is what was agreed to, or costs less."""
        if self.outpoints is None:
            return True
        return committed.outpoints == self.outpoints and committed.receiver_fee_sat <= self.receiver_fee_sat


class WaitingRoom:
    """One session's; it is told when to look again."""

    def __init__(
        self, *, wallet: ReceiverWallet, policy: Policy, store: EventStore, changed: Callable[[], None]
    ) -> None:
        """`changed()` is called when the session begins to wait, for something else too, and when it goes on."""
        self.reason: Waiting | None = None
        """What the session waits for."""
        self.double_spend = False
        """Whether the sender's coins were seen spent elsewhere, after the check."""
        self._consent: Consent | None = None
        """The user's word, until `forget`."""
        self._wallet, self._policy, self._store, self._changed = wallet, policy, store, changed
        self._wake = asyncio.Event()

    @property
    def password(self) -> str | None:
        """The one that the user gave."""
        return self._consent.password if self._consent is not None else None

    def answer_now(self, consent: Consent) -> None:
        """Take the user's word."""
        self._consent = consent
        self._wake.set()

    def is_held_back(self) -> bool:
        """Tell whether a double spend came to light of which the user's last word, if any, knew nothing."""
        return self.double_spend and (self._consent is None or not self._consent.despite_double_spend)

    def forget(self) -> None:
        """Forget the user's word: it was acted upon, or does not count any more."""
        self._consent = None

    def look_again(self) -> None:
        """Something happened to the wallet, or to the sender's coins."""
        self._wake.set()

    def must_wait(self) -> Waiting | None:
        """Return what stands against an answer now. A word that knew too little is forgotten, and its password."""
        if self.is_held_back():
            self.forget()
            return Waiting.DOUBLE_SPEND
        if self._policy.ask_before_contributing and self._consent is None:
            return Waiting.NEEDS_APPROVAL
        if self._wallet.locked() and self.password is None:
            return Waiting.LOCKED
        return None

    def may_give(self, committed: CommittedContribution) -> bool:
        """Tell whether this contribution is what the user agreed to, where they want to be asked.

        A word that was said of another one is forgotten: it is asked for anew.
        """
        if not self._policy.ask_before_contributing or self._consent is None or self._consent.covers(committed):
            return True
        self.forget()
        return False

    async def wait(self, reason: Waiting) -> None:
        """Wait until it is time to look again. Raises OSError."""
        if self.reason is not reason:
            self.reason = reason
            self._changed()
        await self._store.flush()  # an original that is held is worth a payment
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN):
                await self._wake.wait()

    def leave(self) -> None:
        """Go on."""
        if self.reason is not None:
            self.reason = None
            self._changed()
