"""A payjoin is aborted after each event and after each thing that is awaited, with and without the original broadcast.

payjoin-cli sends; each session is held at its moment (inside.py). Then the plug is pulled, for an abort is final.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.interop.grip import Grip
from tests.interop.mailboxes import own_mailbox, written
from tests.interop.payments import is_at_node
from tests.interop.scenes import ANSWERED, PAYJOIN, RECEIVERS_COIN, Held, begin, wait_for_all
from tests.interop.sender import AMOUNT
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

HOLDS_AN_ORIGINAL = PAYJOIN[PAYJOIN.index("AcceptedOriginal") :]
CASES = [(moment, False) for moment in PAYJOIN[1:]] + [(moment, True) for moment in HOLDS_AN_ORIGINAL]
"""The moments, and whether the original is broadcast by the same word."""
each = pytest.mark.parametrize(
    ("moment", "broadcast"), [pytest.param(*case, id=f"{case[0]}{' and broadcast' * case[1]}") for case in CASES]
)


@dataclass
class Aborted:
    """A session, and what was said of it when it was aborted."""

    held: Held
    row: dict[str, Any]


@pytest.fixture(scope="module")
def grip(stand: Stand, plugin_zip: Path) -> Grip:
    return Grip(stand, "aborting", plugin_zip)


@pytest.fixture(scope="module")
def before(stand: Stand) -> set[str]:
    return written(stand)


@pytest.fixture(scope="module")
def aborted(stand: Stand, grip: Grip, before: set[str]) -> Iterator[dict[tuple[str, bool], Aborted]]:  # it comes first
    """Every session, aborted at its moment; the plug pulled, and the same Electrum started again as it is."""
    scene = begin(stand, grip, [("payjoin", moment) for moment, _ in CASES])
    wait_for_all(grip, scene)
    done = {}
    for held, (moment, broadcast) in zip(scene, CASES, strict=True):
        row = held.receiver.rpc("payjoin_abort", session_id=held.session_id, broadcast_original=broadcast)
        done[moment, broadcast] = Aborted(held, row)
    grip.daemon.kill()
    grip.daemon.front = ()
    grip.daemon.start()
    for one in done.values():
        one.held.receiver.open()
    yield done
    for held in scene:
        held.run.send(signal.SIGCONT)
        held.run.stop()


@each
def test_it_is_over_for_good(aborted: dict[tuple[str, bool], Aborted], *, moment: str, broadcast: bool) -> None:
    one = aborted[moment, broadcast]
    receiver, session_id = one.held.receiver, one.held.session_id
    assert one.row["status"] == "aborted"
    session = receiver.session(session_id)
    assert session["status"] == "aborted"
    assert (session["stage"], session["reason"]) == (None, None)
    assert [event["event"] for event in session["events"]].index("Closed") == len(session["events"]) - 1
    again = receiver.rpc("payjoin_abort", session_id=session_id)
    what_the_chain_says = {"confirmations": None, "received_sat": None}
    assert again | what_the_chain_says == one.row | what_the_chain_says
    request = receiver.get_request(one.held.request["request_id"])
    assert request["URI"] == request["payjoin"]["plain_uri"]


@each
def test_the_original_is_broadcast_where_it_was_asked_for_and_nowhere_else(
    stand: Stand, aborted: dict[tuple[str, bool], Aborted], *, moment: str, broadcast: bool
) -> None:
    one = aborted[moment, broadcast]
    txid = one.row["original_txid"]
    assert (txid is not None) == (moment in HOLDS_AN_ORIGINAL)
    if broadcast:
        one.held.receiver.until(one.held.session_id, confirmations=0)
        assert one.held.receiver.balance_sat() == RECEIVERS_COIN + AMOUNT
    elif txid is not None:
        assert not is_at_node(stand, txid)
        assert txid in one.held.receiver.stored()["payjoin_originals"]


def test_those_have_an_answer_that_had_one_before_and_nobody_else(
    stand: Stand, before: set[str], aborted: dict[tuple[str, bool], Aborted]
) -> None:
    originals = {own_mailbox(one.held.request["URI"]) for one in aborted.values()}
    assert originals < written(stand)
    answered = [moment for moment, _ in aborted if moment in ANSWERED]
    assert len(written(stand) - before - originals) == len(answered)
