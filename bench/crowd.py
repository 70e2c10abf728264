"""Several payjoin-cli senders at the same moment, to as many sessions of one Electrum wallet."""

from __future__ import annotations

import time

from bench.ground import Ground
from bench.table import Figure, figure
from tests.stand.payjoin_cli import txid_of

SIZES = (2, 5, 10, 50)


def measure(ground: Ground) -> list[Figure]:
    """Return the waits of each crowd; every sender must get its payjoin."""
    stand, electrum = ground.stand, ground.receiver
    # A crowd uses each coin once, and what it leaves is confirmed before the next.
    # Twice as many: open proposals have at most half of a wallet's coins.
    ground.fund(electrum, 2 * max(SIZES))
    people = [stand.payjoin_cli(f"crowd-{number}", *(2_000_000 for _ in SIZES)) for number in range(max(SIZES))]
    stand.mine()
    figures = []
    for size in SIZES:
        # force: Electrum makes more addresses than it looks for after a restore.
        requests = [electrum.payjoin_request(40_000 + number, force=True) for number in range(size)]
        started = time.monotonic()
        begun, runs = [], []
        for person, request in zip(people, requests, strict=False):
            begun.append(time.monotonic() - started)
            runs.append(person.send(request["URI"]))
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
    return figures
