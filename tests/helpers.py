"""What the tests of the middle levels share.

JumpingLoop    an event loop that does not wait: where nothing is left to do now, its time jumps to the next timer
Points         the moments between two things that somebody does, by name: a test has something happen there
MemoryStore    logs with a disk: what was not flushed is lost in a power cut
FakeWallet     a receiver's wallet with real keys, which signs with Electrum's transaction code
eventually     waits for a condition that others bring about, as an event of the loop tells
"""

from __future__ import annotations

import asyncio
import errno
import functools
import json
import selectors
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec

from electrum.bitcoin import address_to_script

from payjoin_plugin.bip78.contribution import Coin, FeeLimits, finish_proposal
from payjoin_plugin.bip78.original import ChainFacts, InputFacts, Original
from payjoin_plugin.bip78.psbt import Psbt
from payjoin_plugin.errors import Unreachable, WalletError
from payjoin_plugin.session.events import Event
from payjoin_plugin.session.log import Record, empty_log, encode_record
from tests.bip78.payments import HEIGHT, Money, Payment, sign_ours

P = ParamSpec("P")

START = 1_795_000_000
"""Unix time at which each jumping test begins."""

FAST_ENOUGH = 0.005
"""Real seconds in which whatever is under way on loopback arrives."""


# Time


class _JumpingSelector(selectors.DefaultSelector):
    """Looks at the sockets for `patience` real seconds; then the time that was to be waited has passed."""

    def __init__(self, patience: float) -> None:
        super().__init__()
        self.passed = 0.0
        self._patience = patience

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None and self._patience == 0:
            raise AssertionError("everybody waits for somebody else, for ever")
        events = super().select(timeout if timeout is None else min(timeout, self._patience))
        if not events and timeout:
            self.passed += timeout
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """Time stands still while anything happens."""

    def __init__(self, *, patience: float = 0.0) -> None:
        """`patience`: real seconds for which sockets are looked at before time jumps; without it there are none."""
        self._jumping = _JumpingSelector(patience)
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.passed


def jumping(test: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    """Run a test in a jumping loop of its own, without sockets."""
    return _in_loop(test, JumpingLoop)


def jumping_on_sockets(test: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    """Run a test in a jumping loop of its own, in which loopback has the time that it needs."""
    return _in_loop(test, lambda: JumpingLoop(patience=FAST_ENOUGH))


def _in_loop(
    test: Callable[P, Coroutine[object, object, None]], loop: Callable[[], asyncio.AbstractEventLoop]
) -> Callable[P, None]:
    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def clock() -> float:
    """Unix time, by the running loop."""
    return START + asyncio.get_running_loop().time()


async def eventually(condition: Callable[[], bool], *, within: float = 600) -> None:
    """Return once `condition` holds; look each second of the loop's time. For jumping loops only."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - time jumps, and nobody tells of what is looked for
            await asyncio.sleep(1)


# Moments


class PowerCut(BaseException):
    """The machine stops here. No code of ours can catch it."""


Action = Callable[[], Awaitable[None] | None]


class Points:
    """Names each moment that somebody passes; a second one of the same name is `name (2)`, and so on."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self._actions: dict[str, Action] = {}

    def do_at(self, point: str, action: Action) -> None:
        """Let `action` happen once, when `point` is passed. A coroutine is awaited where that is possible."""
        self._actions[point] = action

    def cut_power_at(self, point: str) -> None:
        self.do_at(point, _cut_power)

    def reach(self, name: str) -> Awaitable[None] | None:
        """Pass a moment at which nothing can be awaited."""
        times = sum(passed.partition(" (")[0] == name for passed in self.passed) + 1
        point = name if times == 1 else f"{name} ({times})"
        self.passed.append(point)
        action = self._actions.pop(point, None)
        return action() if action is not None else None

    async def pause(self, name: str) -> None:
        if (awaitable := self.reach(name)) is not None:
            await awaitable


def _cut_power() -> None:
    raise PowerCut


# The disk


class MemoryStore:
    """Implements session.ports.EventStore. `seen` rides in the same file, as in the wallet's."""

    def __init__(self, points: Points, disk: str = '{"sessions": {}, "seen": {}}') -> None:
        self.lock = threading.RLock()
        self.points = points
        self.disk = disk
        self.content: dict[str, Any] = json.loads(disk)
        self.is_full = False
        self.saves = 0

    def create(self, session_id: str, event: Event, *, role: str, at: int) -> None:
        self.content["sessions"][session_id] = {
            **empty_log(role=role),
            "events": [encode_record(Record(at, event))],
        }

    def append(self, session_id: str, record: Mapping[str, Any]) -> None:
        self.content["sessions"][session_id]["events"].append(record)

    async def quiet(self) -> None:
        pass

    async def flush(self) -> None:
        if json.dumps(self.content) == self.disk:
            return
        await self.points.pause("before save")
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.disk, self.saves = json.dumps(self.content), self.saves + 1
        await self.points.pause("after save")

    def save_by_electrum(self) -> None:
        """Electrum saves the file for reasons of its own."""
        self.disk = json.dumps(self.content)

    def mark_seen(self, original: Original, session_id: str) -> None:
        for outpoint in original.outpoints:
            self.content["seen"].setdefault(outpoint, session_id)

    def after_power_cut(self) -> MemoryStore:
        """What is there when the machine runs again."""
        return MemoryStore(self.points, self.disk)


# The wallet


@dataclass
class Policy:
    """Implements session.ports.Policy."""

    accept_v1_senders: bool = True
    ask_before_contributing: bool = False


@dataclass
class ChainView:
    """What the Electrum server says, to everybody who asks."""

    inputs: dict[str, InputFacts] = field(default_factory=dict)
    is_reachable: bool = True

    def add(self, made: Payment, **changes: Any) -> None:
        """Let the coins of a payment be there; `changes` go to each of them."""
        self.inputs |= made.facts(**changes).inputs

    def change(self, made: Payment, **changes: Any) -> None:
        for coin in made.coins:
            self.inputs[coin.outpoint] = replace(self.inputs[coin.outpoint], **changes)

    def facts(self) -> ChainFacts:
        if not self.is_reachable:
            raise Unreachable("the Electrum server is away")
        return ChainFacts(dict(self.inputs), relay_fee_rate=250, height=HEIGHT, median_time=START)


class FakeWallet:
    """Implements session.ports.ReceiverWallet."""

    def __init__(self, chain: ChainView, store: MemoryStore, *money: Money) -> None:
        self.chain, self.store, self.money = chain, store, list(money)
        self.limits = FeeLimits(max_rate=10_000, max_sat=5_000, min_rate=250)
        self.password: str | None = None
        """Where there is one, the wallet is locked, and signs only with it."""
        self.own_vouts: tuple[int, ...] = (0,)
        """The original's outputs that are ours."""
        self.is_up_to_date = asyncio.Event()
        self.is_up_to_date.set()
        self.reserved: set[str] = set()
        self.shown: set[str] = set()
        self.signatures = 0

    def script_of(self, address: str) -> bytes:
        return bytes(address_to_script(address))

    def is_current(self) -> bool:
        return self.is_up_to_date.is_set()

    async def ready(self) -> None:
        await self.is_up_to_date.wait()

    async def look_up(self, original: Original) -> ChainFacts:
        await self.store.points.pause("looking up")
        return replace(self.chain.facts(), own_vouts=self.own_vouts)

    def seen_before(self, original: Original, session_id: str) -> bool:
        seen = self.store.content["seen"]
        return any(seen.get(outpoint, session_id) != session_id for outpoint in original.outpoints)

    def coins(self) -> Sequence[Coin]:
        return [money.coin() for money in self.money if money.outpoint not in self.reserved]

    def exposed(self) -> frozenset[str]:
        return frozenset(self.shown)

    def fee_limits(self, payment_sat: int) -> FeeLimits:
        return self.limits

    def locked(self) -> bool:
        return self.password is not None

    async def sign(self, proposal: Psbt, outpoints: Sequence[str], *, password: str | None) -> Psbt:
        await self.store.points.pause("signing")
        if password != self.password:
            raise WalletError("The password is wrong.")
        (coin,) = (money for money in self.money if money.outpoint in outpoints)
        self.signatures += 1
        return finish_proposal(proposal, sign_ours(proposal, coin), tuple(outpoints))
