"""What reached a server and what it answered, for tests to count, to look at and to wait for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from payjoin_plugin.wire.bhttp import Request
from payjoin_plugin.wire.mailbox import ShortId

REQUEST_TYPE = "message/ohttp-req"
"""RFC 9458 §7.1."""


@dataclass(frozen=True)
class Seen:
    """One request, as the server saw it on the network; at a directory also what was inside."""

    method: str
    target: str
    """Path and query, as they were sent."""
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)
    inner: Request | None = None

    def is_ohttp(self) -> bool:
        """Whether it carries OHTTP, as all do but fetching keys, v1 senders, and relays that ask whether they may."""
        return self.method == "POST" and self.headers.get("content-type") == REQUEST_TYPE

    def is_connect(self) -> bool:
        """Whether keys are about to be fetched through the relay."""
        return self.method == "CONNECT"

    def is_poll(self) -> bool:
        return self.inner is not None and self.inner.method == "GET"

    def is_post(self) -> bool:
        """Whether a message is left in a mailbox."""
        return self.inner is not None and self.inner.method == "POST"

    def is_put(self) -> bool:
        """Whether a v1 sender is answered."""
        return self.inner is not None and self.inner.method == "PUT"

    def is_at(self, mailbox: ShortId) -> bool:
        return self.inner is not None and self.inner.path == f"/{mailbox}"


class Journal:
    """The requests and answers of one server, in their order.

    `keep` bounds both lists, so that a server that runs for days does not grow.
    """

    def __init__(self, *, keep: int) -> None:
        self.requests: deque[Seen] = deque(maxlen=keep)
        self.answers: deque[tuple[Seen, int]] = deque(maxlen=keep)
        """With the status; an answer that was lost on purpose is not among them."""
        self._awaited: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def polls(self, mailbox: ShortId | None = None) -> list[Seen]:
        """The GETs inside OHTTP, of all mailboxes or of one."""
        return [seen for seen in self.requests if seen.is_poll() and (mailbox is None or seen.is_at(mailbox))]

    def posts(self, mailbox: ShortId | None = None) -> list[Seen]:
        """The POSTs inside OHTTP."""
        return [seen for seen in self.requests if seen.is_post() and (mailbox is None or seen.is_at(mailbox))]

    def puts(self, mailbox: ShortId | None = None) -> list[Seen]:
        """The PUTs inside OHTTP."""
        return [seen for seen in self.requests if seen.is_put() and (mailbox is None or seen.is_at(mailbox))]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return as soon as `condition` holds; it is looked at whenever something happens at the server."""
        if condition():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.append((condition, future))
        await future

    def asked(self, seen: Seen) -> None:
        self.requests.append(seen)
        self.changed()

    def answered(self, seen: Seen, status: int) -> None:
        self.answers.append((seen, status))
        self.changed()

    def changed(self) -> None:
        """Something happened: those who wait for it may go on."""
        awaited, self._awaited = self._awaited, []
        for condition, future in awaited:
            if future.done():
                continue
            if condition():
                future.set_result(None)
            else:
                self._awaited.append((condition, future))
