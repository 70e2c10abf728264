"""Where a session waits for its wallet or its user, and what the user said: for one answer, and never stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ..session.ports import EventStore, Policy, ReceiverWallet
from ..session.status import Waiting
from .pace import LOOK_AGAIN


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
        self.password: str | None = None
        """The one that the user gave, until `forget`."""
        self._may_answer = False
        self._wallet, self._policy, self._store, self._changed = wallet, policy, store, changed
        self._wake = asyncio.Event()

    def answer_now(self, password: str | None) -> None:
        """Take the user's word: to answer all the same, or with this password."""
        self._may_answer, self.password = True, password
        self._wake.set()

    def is_held_back(self) -> bool:
        """Tell whether a double spend came to light after the user's last word."""
        return self.double_spend and not self._may_answer

    def forget(self) -> None:
        """Forget the user's word: it was acted upon, or does not count any more."""
        self._may_answer, self.password = False, None

    def look_again(self) -> None:
        """Something happened to the wallet, or to the sender's coins."""
        self._wake.set()

    def must_wait(self) -> Waiting | None:
        """Return what stands against an answer now."""
        if self.is_held_back():
            return Waiting.DOUBLE_SPEND
        if self._policy.ask_before_contributing and not self._may_answer:
            return Waiting.NEEDS_APPROVAL
        if self._wallet.locked() and self.password is None:
            return Waiting.LOCKED
        return None

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
