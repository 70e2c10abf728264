"""The mailboxes of a BIP 77 directory: what lies in them, and who waits at them. No sockets, no clock.

    v2   POST ──► mailbox ──► GET, GET, GET …      written once, read as often as one likes, gone after a week
                     ▲
                  pollers wait here; the first POST serves all of them

    v1   plain POST ──► held in memory ──► GET, once
                 ◄── PUT ◄────────────────── the receiver's answer, to the sender who still waits

BIP 77, *Directory* and *Backwards compatibility*, with the details of payjoin-mailroom 0.1.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from payjoin_plugin.wire.mailbox import ShortId

TTL = 7 * 24 * 3600
"""Seconds that a message is kept (payjoin-mailroom's `mailbox_ttl`), whatever the session's expiration says."""
CAPACITY = 2**21
"""Mailboxes, those counted in which nothing lies yet but at which somebody waits."""


class Full(Exception):
    """No room for another mailbox; or, in a mailbox of a v1 sender, for another v1 sender."""


class AlreadyRead(Exception):
    """The v1 sender's original has been handed out, and nothing else can come while he waits."""


class NobodyWaits(Exception):
    """An answer for a v1 sender who is not there, or not any more."""


class Wait:
    """Someone who waits: a poller for a message, or a v1 sender for his answer."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        """What was waited for, once it is there."""
        self.given_up = False
        self._callbacks: list[Callable[[], None]] = []

    def then(self, callback: Callable[[], None]) -> None:
        """Call back when the content is there, or now."""
        if self.content is None:
            self._callbacks.append(callback)
        else:
            callback()

    def serve(self, content: bytes) -> None:
        self.content = content
        for callback in self._callbacks:
            callback()


@dataclass
class _Message:
    content: bytes
    stored_at: float


@dataclass
class _HeldSender:
    """A v1 sender who waits for his answer, and his original until it has been read."""

    original: bytes | None
    answer: Wait = field(default_factory=Wait)


class Mailboxes:
    """All mailboxes of one directory. `now` is in seconds, from any clock that never goes back."""

    def __init__(self, *, ttl: float = TTL, capacity: int = CAPACITY) -> None:
        self._ttl = ttl
        self._capacity = capacity
        self._messages: dict[ShortId, _Message] = {}  # in the order of their storing
        self._pollers: dict[ShortId, list[Wait]] = {}
        self._senders: dict[ShortId, _HeldSender] = {}

    def waiting(self, mailbox: ShortId) -> int:
        """How many pollers wait at `mailbox`."""
        return len(self._pollers.get(mailbox, ()))

    def holds_sender(self, mailbox: ShortId) -> bool:
        """Whether a v1 sender occupies `mailbox`."""
        return mailbox in self._senders

    def peek(self, mailbox: ShortId) -> bytes | None:
        """What lies in `mailbox`, for a test to look at."""
        message = self._messages.get(mailbox)
        return message.content if message else None

    def post(self, mailbox: ShortId, content: bytes, *, now: float) -> bool:
        """Store a message. False: another one lies there already, and stays. Raises Full.

        The same content again counts as stored, for a sender whose answer got lost.
        """
        self._make_room(now)
        if mailbox in self._messages:
            return self._messages[mailbox].content == content
        self._messages[mailbox] = _Message(content, now)
        self._serve_pollers(mailbox, content)
        return True

    def get(self, mailbox: ShortId, *, now: float) -> bytes | Wait:
        """Return what there is to read, or a place to wait for it. Raises AlreadyRead, Full."""
        self._prune(now)
        sender = self._senders.get(mailbox)
        if sender and sender.original is not None:
            original, sender.original = sender.original, None  # plaintext: kept no longer than needed
            return original
        if mailbox in self._messages:
            return self._messages[mailbox].content
        self._make_room(now)
        if sender:
            raise AlreadyRead
        wait = Wait()
        self._pollers.setdefault(mailbox, []).append(wait)
        return wait

    def leave(self, mailbox: ShortId, wait: Wait) -> None:
        """A poller goes away, served or not."""
        pollers = self._pollers.get(mailbox, [])
        if wait in pollers:
            pollers.remove(wait)
        if not pollers:
            self._pollers.pop(mailbox, None)

    def post_plain(self, mailbox: ShortId, original: bytes, *, now: float) -> Wait:
        """A v1 sender brings his original and waits for the answer. Raises Full."""
        self._make_room(now)
        if mailbox in self._senders:
            raise Full
        sender = _HeldSender(original)
        self._senders[mailbox] = sender
        if self._serve_pollers(mailbox, original):
            sender.original = None
        return sender.answer

    def put(self, mailbox: ShortId, answer: bytes) -> None:
        """The receiver answers the v1 sender. Raises NobodyWaits."""
        sender = self._senders.pop(mailbox, None)
        if sender is None or sender.answer.given_up:
            raise NobodyWaits
        sender.answer.serve(answer)

    def withdraw(self, mailbox: ShortId, answer: Wait) -> None:
        """The v1 sender's time is over: his original goes with him."""
        sender = self._senders.get(mailbox)
        if sender and sender.answer is answer:
            del self._senders[mailbox]

    def hang_up(self, answer: Wait) -> None:
        """The v1 sender closed his connection. As in payjoin-mailroom, his original stays until a PUT."""
        answer.given_up = True

    def _serve_pollers(self, mailbox: ShortId, content: bytes) -> bool:
        pollers = self._pollers.pop(mailbox, [])
        for poller in pollers:
            poller.serve(content)
        return bool(pollers)

    def _make_room(self, now: float) -> None:
        self._prune(now)
        if len(self._messages) + len(self._pollers) + len(self._senders) >= self._capacity:
            raise Full

    def _prune(self, now: float) -> None:
        while self._messages:
            mailbox, oldest = next(iter(self._messages.items()))
            if oldest.stored_at + self._ttl >= now:
                break
            del self._messages[mailbox]
