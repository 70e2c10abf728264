"""Run the benchmarks: `python -m bench [--rounds N] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench import crowd, wait
from bench.table import table
from tests.interop.conftest import build_zip, settings_for
from tests.interop.receiver import Receiver
from tests.stand.stand import Stand


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="payments to each receiver; default: 20")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    wanted = parser.parse_args()
    plugin = build_zip(Path(tempfile.mkdtemp(prefix="payjoin-bench-")))
    with Stand(mailroom=True, timeout=30) as stand:
        daemon = stand.electrum("bench", plugin=plugin, settings=settings_for(stand))
        receiver = Receiver(daemon, "wallet")
        stand.fund(daemon, *(3_000_000 + number for number in range(wanted.rounds + max(crowd.SIZES))))
        figures = wait.measure(stand, receiver, rounds=wanted.rounds, said=say)
        figures += crowd.measure(stand, receiver, said=say)
    print(f"\n{platform.machine()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}")
    print(table(figures))
    if wanted.json:
        wanted.json.write_text(json.dumps([row.as_json() for row in figures], indent=1) + "\n")
    return 0


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
