"""The ends of a payjoin as a tree, and the play of one branch on real processes.

A branch is a stage, what the receiver does at it, and what the sender does after that. `play_all` plays every branch
that there is, each in a wallet of its own, all at the same time, and tells what the receiver's Electrum then says: with
everything in the mempool, and after a block.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tests.interop.conftest import fund_together, master_key
from tests.interop.receiver import Receiver
from tests.sender.payer import Coin, Payer
from tests.sender.payment import Terms, V2Payment, prepare
from tests.stand.electrum_daemon import ElectrumDaemon
from tests.stand.node import NodeError
from tests.stand.processes import wait_until
from tests.stand.stand import Stand

NUMBER = itertools.count(1)
AMOUNT = 100_000
RECEIVERS_COIN, SENDERS_COIN = 1_000_000, 150_000
"""Satoshis. A sender's coin pays the amount alone, with change."""
LIFE = 15
"""Seconds until those requests expire that are to expire; enough to bring each to its stage before."""


REQUEST = {0: "unpaid", 1: "expired", 3: "paid", 7: "unconfirmed"}
"""Electrum's PR_UNPAID, PR_EXPIRED, PR_PAID and PR_UNCONFIRMED."""


class Stage(Enum):
    BEFORE = "Nothing has come"
    HELD = "The original is held"
    OUT = "The proposal is out"


class SenderDoes(Enum):
    PAYJOIN = "broadcasts the payjoin"
    ORIGINAL = "broadcasts the original"
    OTHER = "pays by another transaction"
    DOUBLE_SPEND = "spends their coins elsewhere"
    NOTHING = "does nothing"


class ReceiverDoes(Enum):
    WAITS = "waits"
    ABORTS = "aborts"
    BROADCASTS = "aborts and broadcasts the original"
    OFF = "is off meanwhile"
    EXPIRES = "waits until it expires"


@dataclass(frozen=True)
class Branch:
    stage: Stage
    sender: SenderDoes
    receiver: ReceiverDoes

    @property
    def impossible(self) -> str | None:
        """Why there is no such branch."""
        if self.sender is SenderDoes.PAYJOIN and self.stage is not Stage.OUT:
            return "There is no payjoin to broadcast before the proposal is out."
        if self.stage is not Stage.BEFORE:
            return None
        if self.sender is SenderDoes.DOUBLE_SPEND:
            return "Nobody knows the sender's coins before their original has come."
        if self.receiver is ReceiverDoes.BROADCASTS:
            return "There is no original to broadcast before one has come."
        return None

    @property
    def foreseen(self) -> tuple[str, str]:
        """The status that the design has for it, in the mempool and after a block."""
        if self.receiver in (ReceiverDoes.ABORTS, ReceiverDoes.BROADCASTS):
            return "aborted", "aborted"
        if self.receiver is ReceiverDoes.EXPIRES and self.stage is Stage.BEFORE:
            return "expired", "expired"  # with nothing held it is done
        if self.receiver is ReceiverDoes.EXPIRES:
            return "paid_without_payjoin", "paid_without_payjoin"  # the original goes out by itself
        match self.sender:
            case SenderDoes.PAYJOIN:
                return "completed", "completed"
            case SenderDoes.ORIGINAL | SenderDoes.OTHER:
                return "paid_without_payjoin", "paid_without_payjoin"
            case SenderDoes.DOUBLE_SPEND:
                return "active", "failed"
            case SenderDoes.NOTHING:
                return "active", "active"


TREE = [Branch(*branch) for branch in itertools.product(Stage, SenderDoes, ReceiverDoes)]
POSSIBLE = [branch for branch in TREE if branch.impossible is None]


@dataclass(frozen=True, order=True)
class Row:
    """A row of Electrum's history."""

    name: str
    gained_sat: int
    depth: str
    """Confirmed, unconfirmed, or local: not in the mempool (any more)."""


@dataclass(frozen=True)
class Told:
    """What the receiver's Electrum says of a branch at one moment."""

    status: str
    stage: str | None
    reason: str | None
    end: str | None
    """The detail of the last event where that is `Closed`."""
    confirmations: int | None
    history: tuple[Row, ...]
    """Since the request."""
    gained_sat: int
    """The whole balance against that before the request."""
    request: str
    """The status that Electrum gives it."""
    received_sat: int


@dataclass(kw_only=True)
class Play(ABC):
    """One branch while it is played, whoever the sender is."""

    branch: Branch
    stand: Stand
    receiver: Receiver
    request: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """Txid → what a transaction of this branch is called."""
    is_refused: bool = False
    """The network did not take what the sender broadcast."""
    told: list[Told] = field(default_factory=list)
    """In the mempool, and after a block."""
    fault: Exception | None = None
    """What was waited for in vain."""

    @property
    def session_id(self) -> str:
        return str(self.request["payjoin"]["session_id"])

    @property
    @abstractmethod
    def is_asked(self) -> bool:
        """Whether the receiver is asked before they answer."""

    @abstractmethod
    def reach_stage(self) -> None:
        """Make the request, and bring it to the branch's stage."""

    @abstractmethod
    def let_sender_act(self) -> None:
        """Do what the branch's sender does."""

    def make_request(self) -> None:
        expires = self.branch.receiver is ReceiverDoes.EXPIRES
        self.request = self.receiver.payjoin_request(AMOUNT, **({"expiry": LIFE} if expires else {}))

    def let_receiver_act(self) -> None:
        if self.branch.receiver in (ReceiverDoes.ABORTS, ReceiverDoes.BROADCASTS):
            broadcasts = self.branch.receiver is ReceiverDoes.BROADCASTS
            self.receiver.rpc("payjoin_abort", session_id=self.session_id, broadcast_original=broadcasts)

    def wait_for_receiver(self) -> None:
        """Wait until what the receiver did, or waited for, has shown."""
        if self.branch.receiver is ReceiverDoes.BROADCASTS:
            self._wait_for_history()
        if self.branch.receiver is ReceiverDoes.EXPIRES:
            has_original = self.branch.stage is not Stage.BEFORE
            status = "paid_without_payjoin" if has_original else "expired"
            self.receiver.until(self.session_id, status=status, seconds=LIFE + 60)

    def look(self, *, confirmed: bool) -> None:
        """Wait until the receiver knows what there is to know, and note what they are told."""
        foreseen = self.branch.foreseen[confirmed]
        self._wait_for_history(confirmed=confirmed)
        session = self.receiver.until(self.session_id, status=foreseen)
        if foreseen == "active" and self.branch.sender is SenderDoes.DOUBLE_SPEND:
            session = self.receiver.until(self.session_id, reason="double_spend")
        request = self.receiver.get_request(self.request["request_id"])
        last = session["events"][-1]
        self.told.append(
            Told(
                status=session["status"],
                stage=session["stage"],
                reason=session["reason"],
                end=last["detail"] if last["event"] == "Closed" else None,
                confirmations=session["confirmations"],
                history=tuple(sorted(self._row(row) for row in self._history())),
                gained_sat=self.receiver.balance_sat() - RECEIVERS_COIN,
                request=REQUEST[request["status"]],
                received_sat=request["payjoin"]["received_sat"],
            )
        )

    def _wait_for_history(self, *, confirmed: bool = False) -> None:
        """Wait until the wallet has what the node has of this branch."""
        known = {txid for txid in self.names if self._is_at_node(txid)}
        wait_until(
            lambda: {row["txid"] for row in self._history() if row["height"] >= confirmed} == known,
            what=f"{self.branch}: the wallet knows of {[self.names[txid] for txid in known]}",
            seconds=60,
        )

    def _is_at_node(self, txid: str) -> bool:
        try:
            self.stand.node.rpc("getrawtransaction", txid)
        except NodeError:
            return False
        return True

    def _history(self) -> list[dict[str, Any]]:
        """The rows of Electrum's history, without that of the coin that the wallet began with."""
        return [row for row in self.receiver.rpc("onchain_history") if row["txid"] in self.names]

    def _row(self, row: dict[str, Any]) -> Row:
        depth = "confirmed" if row["confirmations"] else "unconfirmed" if row["height"] >= 0 else "local"
        return Row(self.names[row["txid"]], row["amount_sat"], depth)


@dataclass(kw_only=True)
class OwnPlay(Play):
    """A branch with our own sender, who can do everything."""

    payer: Payer
    coin: Coin
    other_coin: Coin
    payment: V2Payment | None = None

    @property
    def is_asked(self) -> bool:
        return self.branch.stage is Stage.HELD

    def make_request(self) -> None:
        super().make_request()
        terms = Terms(coins=[self.coin])
        self.payment = prepare(self.payer, self.request["URI"], relay=self.stand.mailroom.relay_url, terms=terms)
        original = self.stand.node.rpc("decoderawtransaction", self.payment.original_transaction.hex())
        self.names[original["txid"]] = "original"

    def reach_stage(self) -> None:
        self.make_request()
        assert self.payment is not None
        match self.branch.stage:
            case Stage.HELD:
                self.payment.post()
                self.receiver.until(self.session_id, status="active", reason="needs_approval")
            case Stage.OUT:
                self.payment.fetch()
                payjoin = self.stand.node.rpc("decoderawtransaction", self.payment.sign_payjoin().hex())
                self.names[payjoin["txid"]] = "payjoin"
                self.receiver.until(self.session_id, status="active", stage="waiting_for_broadcast")

    def let_sender_act(self) -> None:
        assert self.payment is not None
        try:
            match self.branch.sender:
                case SenderDoes.PAYJOIN:
                    self.payment.broadcast_payjoin()
                case SenderDoes.ORIGINAL:
                    self.payment.broadcast_original()
                case SenderDoes.OTHER:
                    paid = self.payer.spend([self.other_coin.outpoint], to=self.request["address"], value_sat=AMOUNT)
                    self.names[self.payer.broadcast(paid)] = "other payment"
                case SenderDoes.DOUBLE_SPEND:
                    self.payment.spend_otherwise()
                case SenderDoes.NOTHING:
                    pass
        except NodeError:
            self.is_refused = True


def play_all(stand: Stand, branches: Iterable[Branch], new_daemon: Callable[[str], ElectrumDaemon]) -> Sequence[Play]:
    """Play branches at the same time, and return them with what the receivers were told, or with what went wrong."""
    return play_at_once(stand, _prepare(stand, list(branches), daemons_for(new_daemon)))


def daemons_for(new_daemon: Callable[[str], ElectrumDaemon]) -> dict[ReceiverDoes, ElectrumDaemon]:
    """Make two daemons: one that is off meanwhile, and one for all others."""
    away, there = new_daemon("away"), new_daemon("there")
    return {does: away if does is ReceiverDoes.OFF else there for does in ReceiverDoes}


def play_at_once(stand: Stand, plays: Sequence[Play]) -> Sequence[Play]:
    """Play what was prepared."""
    _reach_stages(plays)
    _each(plays, Play.let_receiver_act)
    _each(plays, Play.wait_for_receiver)
    with _off([play for play in plays if play.branch.receiver is ReceiverDoes.OFF]):
        _each(plays, lambda play: play.let_sender_act())
    _each(plays, lambda play: play.look(confirmed=False))
    stand.mine()
    _each(plays, lambda play: play.look(confirmed=True))
    return plays


def _each(plays: Iterable[Play], act: Callable[[Play], None]) -> None:
    """Do one thing in every branch. One that goes wrong is out; the others go on."""
    for play in plays:
        if play.fault is None:
            try:
                act(play)
            except Exception as fault:  # noqa: BLE001  # whatever it is, its own test shows it
                play.fault = fault


def _prepare(stand: Stand, branches: list[Branch], daemons: dict[ReceiverDoes, ElectrumDaemon]) -> list[OwnPlay]:
    """Give each branch a wallet with a coin, and the sender two coins for each."""
    wallets = [new_wallet(daemons[branch.receiver]) for branch in branches]
    payer = Payer.create(stand, f"branches-{next(NUMBER)}")
    fund_together(
        stand,
        {wallet.daemon.address(wallet.wallet): RECEIVERS_COIN for wallet in wallets}
        | {payer.address(): SENDERS_COIN for _ in range(2 * len(branches))},
    )
    coins = iter(payer.coins())
    plays = [
        OwnPlay(branch=branch, stand=stand, payer=payer, receiver=wallet, coin=next(coins), other_coin=next(coins))
        for branch, wallet in zip(branches, wallets, strict=True)
    ]
    for wallet in wallets:
        wait_for_coin(wallet)
    return plays


def new_wallet(daemon: ElectrumDaemon) -> Receiver:
    name = f"branch-{next(NUMBER)}"
    daemon.restore_wallet(master_key(name), name)
    return Receiver(daemon, name)


def wait_for_coin(wallet: Receiver) -> None:
    wait_until(
        lambda: wallet.daemon.balance_sat(wallet.wallet, confirmed=True) == RECEIVERS_COIN,
        what=f"{wallet.wallet} has its coin",
    )


def _reach_stages(plays: Sequence[Play]) -> None:
    """Bring each branch to its stage, those that ask the user last: that is a setting."""
    _each([play for play in plays if not play.is_asked], lambda play: play.reach_stage())
    for daemon in {play.receiver.daemon.name: play.receiver.daemon for play in plays}.values():
        daemon.setconfig("plugins.payjoin.ask_before_contributing", value=True)
    _each([play for play in plays if play.is_asked], lambda play: play.reach_stage())


@contextmanager
def _off(plays: list[Play]) -> Iterator[None]:
    """Stop the daemons of these for as long as the block lasts."""
    daemons = {play.receiver.daemon.name: play.receiver.daemon for play in plays}.values()
    for daemon in daemons:
        daemon.stop()
    yield
    for daemon in daemons:
        daemon.start()
    for play in plays:
        play.receiver.open()
