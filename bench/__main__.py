"""Run the benchmarks: `python -m bench [NAME …] [--rounds N] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from electrum.version import ELECTRUM_VERSION

from bench import crowd, crypto, history, many, start, storage, wait
from bench.ground import Ground
from bench.table import Figure, table
from tests.stand.parts import peers

PARTS = {
    "wait": wait,
    "crypto": crypto,
    "crowd": crowd,
    "many": many,
    "history": history,
    "storage": storage,
    "start": start,
}
"""What can be measured: each has `measure(ground)`, which returns its figures."""


def _commit() -> str:
    """Name what is measured; "unknown" outside of a clone."""
    folder = Path(__file__).parents[1]
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() or "unknown"


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(PARTS)}; default: all")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="how often each is repeated; default: 20")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=many.SIZES, metavar="N", help="how many sessions `many` opens"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    others = ", ".join(f"{name} {version}" for name, version in peers.VERSIONS.items())
    versions = f"Electrum {ELECTRUM_VERSION}, {others}, commit {_commit()}"
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    figures: list[Figure] = []
    with Ground(rounds=wanted.rounds, sizes=sorted(wanted.sizes)) as ground:
        for name in (name for name in PARTS if name in (wanted.names or PARTS)):
            ground.say(f"== {name}")
            figures += PARTS[name].measure(ground)
            if wanted.json:  # after each part: the next may fail, an hour later
                rows = [row.as_json() for row in figures]
                wanted.json.write_text(
                    json.dumps({"machine": machine, "date": day, "versions": versions, "figures": rows}, indent=1)
                    + "\n"
                )
    print(f"\n{machine}, {day}; {versions}")
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
