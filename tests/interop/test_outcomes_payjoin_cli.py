"""The branches of the tree that payjoin-cli can play: it completes, takes its own payment, or goes away for good.

It is put to sleep (SIGSTOP) once its original is posted, and wakes when the receiver has done what they do.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.branches import (
    POSSIBLE,
    RECEIVERS_COIN,
    SENDERS_COIN,
    Branch,
    Play,
    ReceiverDoes,
    SenderDoes,
    Stage,
    daemons_for,
    new_wallet,
    play_at_once,
    wait_for_coin,
)
from tests.interop.conftest import fund_together, settings_for
from tests.stand.payjoin_cli import PayjoinCli, Run
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(400)

NUMBER = itertools.count(1)
PLAYED = [
    branch
    for branch in POSSIBLE
    if branch.stage is not Stage.BEFORE
    and branch.sender in (SenderDoes.PAYJOIN, SenderDoes.ORIGINAL, SenderDoes.NOTHING)
]
"""payjoin-cli posts its original as soon as it is started, and knows no other payment."""
each = pytest.mark.parametrize(
    "branch", PLAYED, ids=lambda branch: f"{branch.stage.name}-{branch.receiver.name}-{branch.sender.name}"
)


@dataclass(kw_only=True)
class PlayOfPayjoinCli(Play):
    """A branch with payjoin-cli as the sender."""

    person: PayjoinCli
    run: Run | None = None

    @property
    def is_asked(self) -> bool:
        return True  # or the answer would be there before payjoin-cli sleeps

    def reach_stage(self) -> None:
        self.make_request()
        self.run = self.person.send(self.request["URI"])
        row = self.receiver.until(self.session_id, status="active", reason="needs_approval")
        self.names[row["original_txid"]] = "original"
        self.run.send(signal.SIGSTOP)
        if self.branch.stage is Stage.OUT:
            self.receiver.rpc("payjoin_answer", session_id=self.session_id)
            row = self.receiver.until(self.session_id, status="active", stage="waiting_for_broadcast")
            self.names[row["payjoin_txid"]] = "payjoin"

    def let_sender_act(self) -> None:
        assert self.run is not None
        self.run.send(signal.SIGCONT)
        match self.branch.sender:
            case SenderDoes.PAYJOIN:
                self.run.wait()
                self.is_refused = "Payjoin sent" not in self.run.output
            case SenderDoes.ORIGINAL:
                self.run.stop()
                self.person.cancel(self._session_of_payjoin_cli()).wait()
            case _:
                self.run.stop()

    def _session_of_payjoin_cli(self) -> str:
        rows = [line.split() for line in self.person.history()]
        return next(words[0] for words in rows if "Sender" in words)


@pytest.fixture(scope="module")
def plays(stand: Stand, plugin_zip: Path) -> Iterator[dict[Branch, Play]]:
    settings = settings_for(stand)
    daemons = daemons_for(lambda name: stand.electrum(f"cli-{name}", plugin=plugin_zip, settings=settings))
    people = [stand.payjoin_cli(f"cli-branch-{next(NUMBER)}") for _ in PLAYED]
    wallets = [new_wallet(daemons[branch.receiver]) for branch in PLAYED]
    fund_together(
        stand,
        {wallet.daemon.address(wallet.wallet): RECEIVERS_COIN for wallet in wallets}
        | {stand.node.address(person.name): SENDERS_COIN for person in people},
    )
    made = [
        PlayOfPayjoinCli(branch=branch, stand=stand, receiver=wallet, person=person)
        for branch, wallet, person in zip(PLAYED, wallets, people, strict=True)
    ]
    for wallet in wallets:
        wait_for_coin(wallet)
    yield {play.branch: play for play in play_at_once(stand, made)}
    for play in made:
        if play.run is not None:
            play.run.stop()


@each
def test_a_branch_ends_as_it_was_designed(branch: Branch, plays: dict[Branch, Play]) -> None:
    play = plays[branch]
    if play.fault is not None:
        raise play.fault
    assert tuple(told.status for told in play.told) == branch.foreseen
    for told in play.told:
        assert told.gained_sat == sum(row.gained_sat for row in told.history)
        assert told.received_sat == sum(row.gained_sat for row in told.history if row.depth != "local")


@each
def test_what_the_sender_chose_is_what_was_mined(branch: Branch, plays: dict[Branch, Play]) -> None:
    mined = [row.name for row in plays[branch].told[-1].history if row.depth == "confirmed"]
    original_is_out = branch.receiver in (ReceiverDoes.BROADCASTS, ReceiverDoes.EXPIRES)
    match branch.sender:
        case SenderDoes.PAYJOIN:
            # It pays too little more than the original to replace it, and expires for payjoin-cli too.
            assert plays[branch].is_refused == original_is_out
            assert mined == ["original" if original_is_out else "payjoin"]
        case SenderDoes.ORIGINAL:
            assert mined == ["original"]
        case _:
            assert mined == (["original"] if original_is_out else [])
