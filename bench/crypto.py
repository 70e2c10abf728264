"""What one call to a mailbox costs in cryptography, and how much of that is libsecp256k1 itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import electrum_ecc.keys

from bench.ground import Ground
from bench.table import Figure, figure
from payjoin_plugin.wire import secp256k1
from payjoin_plugin.wire.bhttp import Response, encode_response
from payjoin_plugin.wire.keys import SecretKey
from payjoin_plugin.wire.mailbox import (
    ShortId,
    get,
    open_message_a,
    post,
    read_poll,
    read_post,
    seal_message_a,
    seal_message_b,
)
from tests.mailroom.gateway import Gateway

DIRECTORY = "https://directory.example"
ROUNDS = 300
PSBT = bytes(600)


class Library:
    """libsecp256k1, and the seconds that were spent in it."""

    def __init__(self) -> None:
        self.spent = 0.0
        self._real, self._real_bind = secp256k1._library, secp256k1._bind

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return self._timed(found) if name.startswith("secp256k1_") else found

    def bind(self, name: str, *argument_types: type) -> Callable[..., int]:
        """Stand in for `wire.secp256k1._bind`."""
        return self._timed(self._real_bind(name, *argument_types))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Time each call of the library's."""
        with (
            patch.object(secp256k1, "_library", self),
            patch.object(secp256k1, "_bind", self.bind),
            patch.object(electrum_ecc.keys, "_libsecp256k1", self),
        ):
            yield

    def _timed(self, inner: Callable[..., int]) -> Callable[..., int]:
        def outer(*args: object) -> int:
            began = time.perf_counter()
            try:
                return inner(*args)
            finally:
                self.spent += time.perf_counter() - began

        return outer


class Mailbox:
    """One receiver's mailbox at a directory in memory, in which an original lies."""

    def __init__(self) -> None:
        self.gateway, self.receiver, self.reply_key = Gateway(), SecretKey.generate(), SecretKey.generate().public_key
        self.name = ShortId.of(self.receiver.public_key)
        self.original = seal_message_a(PSBT, reply_key=self.reply_key, receiver_key=self.receiver.public_key)

    def says(self, body: bytes, content: bytes = b"") -> bytes:
        """Return the directory's answer."""
        _, sealer = self.gateway.open(body)
        return sealer.seal(encode_response(Response(200, content)))

    def answer(self) -> Iterator[None]:
        """Post a proposal; the directory's own work is done between the two parts."""
        message = seal_message_b(PSBT, receiver_key=self.receiver, reply_key=self.reply_key)
        call = post(DIRECTORY, self.name, self.gateway.config, message)
        yield
        body = self.says(call.body)
        yield
        read_post(call, body)
        yield

    def poll(self) -> Iterator[None]:
        """Ask, and open the original that comes."""
        call = get(DIRECTORY, self.name, self.gateway.config)
        yield
        body = self.says(call.body, self.original)
        yield
        open_message_a(read_poll(call, body) or b"", self.receiver)
        yield


def measure(ground: Ground) -> list[Figure]:
    """Time an answer and a poll that brings an original."""
    ground.say(f"{ROUNDS} answers and polls in memory")
    mailbox, figures = Mailbox(), []
    for name, steps in (
        ("an answer: HPKE sealed, OHTTP there and back", mailbox.answer),
        ("a poll: OHTTP there and back, HPKE opened", mailbox.poll),
    ):
        figures.append(figure(name, [_cpu_ms(steps()) for _ in range(ROUNDS)], unit="ms CPU"))
        figures.append(figure("  of it in libsecp256k1", [_library_ms(steps()) for _ in range(ROUNDS)], unit="ms"))
    return figures


def _cpu_ms(steps: Iterator[None]) -> float:
    began = time.process_time()
    next(steps)
    before = time.process_time() - began
    next(steps)
    began = time.process_time()
    next(steps)
    return (before + time.process_time() - began) * 1000


def _library_ms(steps: Iterator[None]) -> float:
    library = Library()
    with library.watched():
        next(steps)
    next(steps)
    with library.watched():
        next(steps)
    return library.spent * 1000
