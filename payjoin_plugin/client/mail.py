"""One session's way to its mailboxes: which relay carries a call, and whose fault a failure is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from ..errors import DirectoryStatus, Dropped, KeysRejected, SenderGone, TransientError
from ..wire.mailbox import Call, read_poll, read_post
from ..wire.ohttp import KeyConfig
from .directory import Relays

T = TypeVar("T")


class Transport(Protocol):
    """Carries opaque bytes to a directory through a relay."""

    async def post(self, relay: str, directory: str, body: bytes) -> bytes:
        """Return the answer's body. Raises TransientError."""

    async def fetch_keys(self, relay: str | None, directory: str) -> KeyConfig:
        """Return the directory's OHTTP keys. Raises TransientError."""


class Mail:
    """Polls go through one relay for as long as it works; an answer goes through another where two are left."""

    def __init__(self, transport: Transport, relays: Relays, clock: Callable[[], float]) -> None:
        """`clock` returns unix time in seconds."""
        self._transport = transport
        self._relays = relays
        self._clock = clock
        self._poll_relay: str | None = None
        self._suspect: str | None = None
        """Who brought the word that our keys are refused, while nobody has asked whether that is so."""
        self._said_gone: str | None = None
        """Who was the first to say that a v1 sender is gone."""

    async def poll(self, directory: str, call: Call) -> bytes | None:
        """Ask a mailbox; None while nothing lies in it. Raises TransientError."""
        if self._poll_relay is None or not self._relays.has(self._poll_relay):
            self._poll_relay = self._relays.choose(directory, avoid=self._suspect, now=self._clock())
        return await self._carry(self._poll_relay, directory, call, read_poll)

    async def answer(self, directory: str, call: Call, *, waits: bool = False) -> None:
        """Put something into a mailbox. `waits`: it is for a v1 sender, whose request waits at the directory.

        Raises TransientError and, where they waited in vain, SenderGone. What is not sealed is believed when a
        second relay says so too, where there is one: the first time it is a TransientError.
        """
        avoid = self._suspect or self._said_gone or self._poll_relay
        relay = self._relays.choose(directory, avoid=avoid, now=self._clock())
        try:
            await self._carry(relay, directory, call, read_post)
        except DirectoryStatus as status:
            if not waits or not _says_gone(status):
                raise
            if not status.inner and self._said_gone is None and self._is_another(directory, relay):
                self._said_gone = relay
                raise
            for said in filter(None, (relay, self._said_gone)):
                self._relays.succeeded(said)  # it carried the directory's word
            raise SenderGone from status

    def asked_away(self, directory: str) -> float:
        """Return for how many seconds polls are to wait: 0 unless each relay asked to be left alone."""
        return self._relays.asked_away(directory, now=self._clock())

    async def renew_keys(self, directory: str, refused: KeyConfig) -> KeyConfig:
        """Fetch the directory's keys after the word that it refused ours. Raises TransientError.

        That word is not sealed. Where the keys are the same, the relay that brought it has made it up, and has failed.
        """
        suspect = self._suspect
        try:
            keys = await self._fetch_keys(directory)
        except TransientError:
            if suspect == self._poll_relay:
                self._poll_relay = None  # whoever it was, another one may do better
            raise
        self._suspect = None
        if keys == refused:
            if suspect is not None:
                self._blame(suspect)
            raise KeysRejected
        return keys

    async def _fetch_keys(self, directory: str) -> KeyConfig:
        relay = self._relays.choose(directory, avoid=self._suspect, now=self._clock())
        try:
            return await self._transport.fetch_keys(relay, directory)
        except TransientError:
            self._relays.failed(relay, now=self._clock())
            raise

    async def _carry(self, relay: str, directory: str, call: Call, read: Callable[[Call, bytes], T]) -> T:
        """Make the call and `read` its answer. What the directory says, well carried, is no fault of the relay's."""
        try:
            answer = read(call, await self._transport.post(relay, directory, call.body))
        except KeysRejected:
            self._suspect = relay
            raise
        except Dropped:
            raise  # no failure, and the next try opens a connection of its own
        except TransientError as error:
            if isinstance(error, DirectoryStatus) and error.inner:
                self._relays.succeeded(relay)
            else:
                # Outside it is the relay that speaks, whoever it speaks for: it alone is left alone.
                asked = error.retry_after if isinstance(error, DirectoryStatus) else None
                self._blame(relay, asked=asked or 0.0)
            raise
        self._relays.succeeded(relay)
        if relay == self._suspect:
            self._suspect = None
        return answer

    def _is_another(self, directory: str, relay: str) -> bool:
        return self._relays.choose(directory, avoid=relay, now=self._clock()) != relay

    def _blame(self, relay: str, *, asked: float = 0.0) -> None:
        self._relays.failed(relay, now=self._clock(), asked=asked)
        if relay == self._poll_relay:
            self._poll_relay = None


def _says_gone(status: DirectoryStatus) -> bool:
    """Tell whether a PUT reaches nobody: it came too late (an outer 400 or 410), or this directory has no v1 (404)."""
    if status.inner:
        return status.status == 404
    return status.status in (400, 410) and not isinstance(status, KeysRejected)
