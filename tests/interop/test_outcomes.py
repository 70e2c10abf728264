"""Every way in which a payjoin can end, on real processes. docs/outcomes.md is made of what was seen here.

The expected statuses stand in branches.py. To renew the document: PAYJOIN_WRITE_OUTCOMES=1 pytest this file.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from tests.interop.branches import AMOUNT, POSSIBLE, TREE, Branch, Play, ReceiverDoes, SenderDoes, Stage, Told, play_all
from tests.interop.conftest import settings_for
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(400)

DOCUMENT = Path(__file__).parents[2] / "docs" / "outcomes.md"
WRITE = "PAYJOIN_WRITE_OUTCOMES"

HEAD = f"""# How a payjoin can end

Made by `tests/interop/test_outcomes.py`, which plays each line on real processes and fails when this page says
otherwise. Renew it with `{WRITE}=1`.

At each stage the receiver acts first, then the sender. An arrow stands between what Electrum says with everything in
the mempool and what it says after a block. The request is over {AMOUNT:,} sat; the sender offers to pay for the
receiver's coin. *History*, *balance* and *request* are Electrum's own words, *balance* and `received_sat` are in
satoshis. *Local* is what Electrum calls a transaction that the mempool has dropped; it counts as unconfirmed balance
there, and Electrum goes on calling its request unconfirmed. `received_sat` and `confirmations` are ours, and count only
what is visible.

`completed` and `paid_without_payjoin` mean that the payment was seen once, not that it confirmed, and they stay where
the mempool drops it. `expired` means that time ran out before anything that paid was seen; what pays the address
afterwards does not change it where nothing had come, and `received_sat` counts it.
"""

COLUMNS = (
    "The receiver",
    "The sender",
    "`status`",
    "`stage`, `reason`",
    "The log ends with",
    "`confirmations`",
    "History",
    "Balance",
    "Request",
    "`received_sat`",
)


@pytest.fixture(scope="module")
def plays(stand: Stand, plugin_zip: Path) -> dict[Branch, Play]:
    settings = settings_for(stand)
    played = play_all(
        stand, POSSIBLE, lambda name: stand.electrum(f"branches-{name}", plugin=plugin_zip, settings=settings)
    )
    return {play.branch: play for play in played}


@pytest.mark.parametrize(
    "branch", POSSIBLE, ids=lambda branch: f"{branch.stage.name}-{branch.receiver.name}-{branch.sender.name}"
)
def test_a_branch_ends_as_it_was_designed(branch: Branch, plays: dict[Branch, Play]) -> None:
    play = plays[branch]
    if play.fault is not None:
        raise play.fault
    assert tuple(told.status for told in play.told) == branch.foreseen


def test_the_document_says_what_was_seen(plays: dict[Branch, Play]) -> None:
    text = document(plays)
    if os.environ.get(WRITE):
        DOCUMENT.write_text(text)
    assert DOCUMENT.read_text() == text, f"renew it: {WRITE}=1 pytest {Path(__file__).name}"


def test_a_request_is_paid_when_the_block_has_the_amount_and_not_else(plays: dict[Branch, Play]) -> None:
    for play in plays.values():
        _, told = play.told
        assert (told.request == "paid") == (told.received_sat >= AMOUNT), play.branch


def test_what_was_received_is_what_the_history_shows_and_the_network_has(plays: dict[Branch, Play]) -> None:
    for play in plays.values():
        for told in play.told:
            assert told.received_sat == sum(row.gained_sat for row in told.history if row.depth != "local"), play.branch


def test_the_balance_gained_what_the_history_shows(plays: dict[Branch, Play]) -> None:
    for play in plays.values():
        for told in play.told:
            assert told.gained_sat == sum(row.gained_sat for row in told.history), play.branch


def test_a_sender_who_has_paid_already_is_not_charged_for_the_original_too(plays: dict[Branch, Play]) -> None:
    others = [play for branch, play in plays.items() if branch.sender is SenderDoes.OTHER]
    for play in others:
        if play.branch.receiver in (ReceiverDoes.WAITS, ReceiverDoes.OFF, ReceiverDoes.ABORTS):
            assert [row.name for row in play.told[-1].history] == ["other payment"], play.branch


def test_an_abort_broadcasts_nothing_by_itself(plays: dict[Branch, Play]) -> None:
    for stage in Stage:
        play = plays[Branch(stage, SenderDoes.NOTHING, ReceiverDoes.ABORTS)]
        assert [told.history for told in play.told] == [(), ()], play.branch


def document(plays: dict[Branch, Play]) -> str:
    sections = [HEAD]
    for stage in Stage:
        rows = [COLUMNS, ("---",) * len(COLUMNS)]
        for receiver, sender in itertools.product(ReceiverDoes, SenderDoes):
            if (play := plays.get(Branch(stage, sender, receiver))) is not None:
                rows.append(_cells(play))
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        sections.append(f"## {stage.value}\n\n{table}\n")
        sections.append(_impossible(stage))
    return "\n".join(section for section in sections if section)


def _impossible(stage: Stage) -> str:
    """The branches that there are not, by the reason."""
    reasons = {branch.impossible: None for branch in TREE if branch.stage is stage and branch.impossible is not None}
    return f"Left out: {' '.join(reasons)}\n" if reasons else ""


def _cells(play: Play) -> tuple[str, ...]:
    sender = play.branch.sender.value + ("; the network refuses it" if play.is_refused else "")
    return (
        play.branch.receiver.value,
        sender,
        _both([told.status for told in play.told]),
        _both([_stage(told) for told in play.told]),
        _both([told.end or "" for told in play.told]),
        _both(["" if told.confirmations is None else str(told.confirmations) for told in play.told]),
        _history(*play.told),
        _both([f"{told.gained_sat:+,}" if told.gained_sat else "0" for told in play.told]),
        _both([told.request for told in play.told]),
        _both([f"{told.received_sat:,}" for told in play.told]),
    )


def _stage(told: Told) -> str:
    return ", ".join(filter(None, (told.stage, told.reason)))


def _both(values: list[str]) -> str:
    before, after = values
    return before if before == after else f"{before or '-'} → {after or '-'}"


def _history(before: Told, after: Told) -> str:
    """One phrase a transaction."""
    depths: dict[tuple[str, int], list[str]] = {}
    for row in (*before.history, *after.history):
        depths.setdefault((row.name, row.gained_sat), []).append(row.depth)
    return "; ".join(
        f"{name} {gained:+,} ({' → '.join(dict.fromkeys(depth))})" for (name, gained), depth in sorted(depths.items())
    )
