"""Several payjoin-cli senders at the same moment, to as many sessions of one wallet: Electrum's, and payjoin-cli's."""

from __future__ import annotations

import time

from bench.ground import Ground
from bench.table import Figure, figure
from tests.stand.payjoin_cli import PayjoinCli, Run, txid_of, uri_of
from tests.stand.processes import ProcessError, wait_until

SIZES = (2, 5, 10, 50)
REFERENCES_LATEST = 45.0
"""Seconds that payjoin-cli's senders are waited for: longer than the directory holds a poll."""


def measure(ground: Ground) -> list[Figure]:
    """Return the waits of each crowd; every sender of Electrum's must get its payjoin."""
    stand, electrum = ground.stand, ground.receiver
    # A crowd uses each coin once, and what it leaves is confirmed before the next.
    # Twice as many: open proposals have at most half of a wallet's coins.
    ground.fund(electrum, 2 * max(SIZES))
    people = [
        stand.payjoin_cli(f"crowd-{number}", *(2_000_000 for _ in range(2 * len(SIZES))))
        for number in range(max(SIZES))
    ]
    stand.mine()
    figures = []
    for size in SIZES:
        # force: Electrum makes more addresses than it looks for after a restore.
        requests = [electrum.payjoin_request(40_000 + number, force=True) for number in range(size)]
        _settle(ground)
        started = time.monotonic()
        begun, runs = _sent(people, [request["URI"] for request in requests], started)
        for run in runs:
            txid_of(run)
            run.wait()
        served = [begin + run.duration for begin, run in zip(begun, runs, strict=True)]
        ground.say(f"{size} at the same moment: all served {max(served):.3f} s after the first began")
        figures.append(figure(f"{size} senders at the same moment", [run.duration for run in runs]))
        figures.append(figure(f"{size} senders, the last after the first", [max(served) - min(served)]))
        for request in requests:
            electrum.until(request["payjoin"]["session_id"], status="completed")
        stand.mine()
        figures.append(_to_reference(ground, people[:size]))
    return figures


def _to_reference(ground: Ground, people: list[PayjoinCli]) -> Figure:
    """Let the same crowd pay a payjoin-cli that goes on with as many sessions; return how many had their payjoin."""
    size = len(people)
    reference = ground.stand.payjoin_cli(f"crowd-reference-{size}", *(2_000_000 for _ in range(2 * size)))
    _settle(ground)
    uris = []
    for number in range(size):
        receiving = reference.receive(40_000 + number)
        uris.append(uri_of(receiving))
        receiving.wait_for("Polling receive request")
        receiving.kill()
    resumed = reference.resume()
    time.sleep(2)  # its polls are open
    started = time.monotonic()
    _, runs = _sent(people, uris, started)
    answered = 0
    for run in runs:
        try:
            run.wait(max(0.1, started + REFERENCES_LATEST - time.monotonic()))
            txid_of(run)
            answered += 1
        except ProcessError:  # its database was locked, or two sessions chose one coin
            run.kill()
    resumed.kill()
    ground.say(f"{size} at the same moment, payjoin-cli: {answered} served")
    ground.stand.mine()
    return figure(
        f"{size} senders to payjoin-cli's resume: served within {REFERENCES_LATEST:.0f} s", [answered], unit="1"
    )


def _sent(people: list[PayjoinCli], uris: list[str], started: float) -> tuple[list[float], list[Run]]:
    """Start them all; return when each began, in seconds after `started`."""
    begun, runs = [], []
    for person, uri in zip(people, uris, strict=False):
        begun.append(time.monotonic() - started)
        runs.append(person.send(uri))
    return begun, runs


def _settle(ground: Ground) -> None:
    """Wait until Electrum has heard of the newest block: a payment in that second would wait for it."""
    daemon, node = ground.receiver.daemon, ground.stand.node
    ground.stand.mine()
    wait_until(
        lambda: daemon.rpc("getinfo")["blockchain_height"] == node.height(),
        what="Electrum has heard of the newest block",
    )
    daemon.wait_synced()
