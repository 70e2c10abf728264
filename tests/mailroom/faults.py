"""What can go wrong between a client and a directory, on order: `server.inject(lose_answer, when=Seen.is_post)`.

A fault stands around the answering of one request. It may let it happen (`await exchange.proceed()`) or not, and
return another answer, or none (HangUp).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from payjoin_plugin.wire.bhttp import Response, encode_response

from .directory import KEY_REJECTED, Answer
from .gateway import MESSAGE_LENGTH, Sealer
from .journal import Seen


class HangUp(Exception):
    """No answer: the connection is closed."""


@dataclass(frozen=True)
class Exchange:
    """A request about to be answered."""

    seen: Seen
    proceed: Callable[[], Awaitable[Answer]]
    """Do what was asked, and return the answer."""
    sealer: Sealer | None
    """At a directory, for a request inside OHTTP: what seals its answer."""


Fault = Callable[[Exchange], Awaitable[Answer]]


@dataclass
class Planned:
    """A fault that waits for its request."""

    fault: Fault
    when: Callable[[Seen], bool]
    times: int


@dataclass
class Faults:
    """The faults that are planned at one server; the first that fits is taken."""

    planned: list[Planned] = field(default_factory=list)

    async def apply(self, exchange: Exchange) -> Answer:
        """Answer the exchange, well or badly. Raises HangUp, and what its answering raises."""
        for plan in self.planned:
            if plan.when(exchange.seen):
                plan.times -= 1
                if plan.times == 0:
                    self.planned.remove(plan)
                return await plan.fault(exchange)
        return await exchange.proceed()


async def hang_up(exchange: Exchange) -> Answer:
    """Close the connection instead of doing anything."""
    raise HangUp


async def lose_answer(exchange: Exchange) -> Answer:
    """Do what was asked, store it, then close the connection."""
    await exchange.proceed()
    raise HangUp


async def reject_key(exchange: Exchange) -> Answer:
    """Say that the gateway does not know the key (RFC 9458 §5.2), though it does."""
    return KEY_REJECTED


async def garble(exchange: Exchange) -> Answer:
    """Do what was asked, then answer with as many bytes as OHTTP has, none of them right."""
    return replace(await exchange.proceed(), body=secrets.token_bytes(MESSAGE_LENGTH))


def fail_with(status: int, body: bytes = b"", *, retry_after: int | None = None) -> Fault:
    """Answer with a bare status, and do nothing."""
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}

    async def fault(exchange: Exchange) -> Answer:
        return Answer(status, body, headers)

    return fault


def resize(length: int) -> Fault:
    """Do what was asked, then answer with `length` bytes: the first ones of the right answer, and zeros."""

    async def fault(exchange: Exchange) -> Answer:
        answer = await exchange.proceed()
        return replace(answer, body=answer.body[:length].ljust(length, b"\0"))

    return fault


def answer_inside(response: Response | bytes) -> Fault:
    """Do nothing, and answer with a well encapsulated response of our choice, or with bytes that are no BHTTP."""

    async def fault(exchange: Exchange) -> Answer:
        if exchange.sealer is None:
            raise AssertionError("only a directory can answer inside OHTTP")
        return Answer(200, exchange.sealer.seal(response if isinstance(response, bytes) else encode_response(response)))

    return fault


class Hold:
    """A fault that delays: it is `reached`, and goes on when it is `released`. Give `before` or `after` to `inject`."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.released = asyncio.Event()

    async def before(self, exchange: Exchange) -> Answer:
        """Wait, then do what was asked."""
        self.reached.set()
        await self.released.wait()
        return await exchange.proceed()

    async def after(self, exchange: Exchange) -> Answer:
        """Do what was asked, then wait, then answer."""
        answer = await exchange.proceed()
        self.reached.set()
        await self.released.wait()
        return answer
