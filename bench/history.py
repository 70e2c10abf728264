"""A wallet with many closed sessions: what they add to its opening, and how the sessions window is with them.

Their addresses have each a payment in a block, as those of paid requests have.

Each figure comes from a process of its own (bench/window.py). Electrum reads the file and we start our sessions: these
are told apart, since the first happens with the plugin switched off too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.ground import Ground
from bench.table import Figure, figure
from tests.wallet.wallets import electrum_running, fund, make_wallet

SIZES = (100, 1000, 10000)
RUNS = 3
LOG = Path(__file__).parents[1] / "tests" / "vectors" / "logs" / "format-1-success.json"
QT_SESSIONS = 200


def measure(ground: Ground) -> list[Figure]:
    """Open wallets of growing history, each some times."""
    figures: list[Figure] = []
    empty = _runs(ground, 0)
    for size in SIZES:
        found = _runs(ground, size)
        name, base = f"{size} closed sessions", min(run["read"] for run in empty)
        ground.say(f"history: {name}: {found[-1]}")
        figures += [
            figure(f"{name}: file", [run["file_kb"] / size for run in found], unit="kB each"),
            figure(f"{name}: Electrum's reading of them, CPU", [run["read"] - base for run in found]),
            figure(f"{name}: our start, CPU", [run["start"] for run in found]),
            figure(f"{name}: memory, Electrum's", [run["read_kb"] / size for run in found], unit="kB each"),
            figure(f"{name}: memory, ours", [run["start_kb"] / size for run in found], unit="kB each"),
            figure(f"{name}: sessions window shown", [run["shown"] for run in found]),
            figure(f"{name}: its longest turn of Qt's thread", [run["longest"] for run in found]),
            figure(f"{name}: filtered", [run["filtered"] for run in found]),
        ]
    found = [_child("--open", str(QT_SESSIONS), folder=_folder(ground, f"open-{number}")) for number in range(RUNS)]
    figures += [
        figure(f"{QT_SESSIONS} open sessions, Qt's thread: {what}", [run[what] for run in found]) for what in found[0]
    ]
    for kind, *words in (("that wait for the user",), ("aborted, a payment held", "--aborted")):
        found = [
            _child("--held", str(QT_SESSIONS), *words, folder=_folder(ground, f"held-{len(words)}-{number}"))
            for number in range(RUNS)
        ]
        figures += [
            figure(f"{QT_SESSIONS} sessions {kind}, Qt's thread: {what}", [run[what] for run in found])
            for what in found[0]
        ]
    return figures


def _runs(ground: Ground, size: int) -> list[dict[str, float]]:
    folder = _folder(ground, f"history-{size}")
    path = make_file(folder, size)
    return [_child("--file", str(path), folder=_folder(ground, f"run-{size}-{number}")) for number in range(RUNS)]


def _folder(ground: Ground, name: str) -> Path:
    folder = ground.folder / name
    folder.mkdir()
    return folder


def _child(*words: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.window", *words, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def make_file(folder: Path, size: int) -> Path:
    """Make a wallet file with so many completed sessions."""
    with electrum_running():
        wallet = make_wallet(folder, on_disk=True)
        addresses = wallet.get_receiving_addresses()
        for number, address in enumerate(addresses):
            fund(wallet, 100_000 + number, address=address, label=f"paid {number}")
        wallet.save_db()
        path = Path(wallet.storage.get_path())
    content: dict[str, Any] = json.loads(path.read_text())
    log: dict[str, Any] = json.loads(LOG.read_text())["log"]
    created, *later = log["events"]
    sessions = {
        f"{number:016x}": {
            **log,
            "events": [
                created | {"request_id": f"{number:010x}", "address": addresses[number % len(addresses)]},
                *later,
            ],
        }
        for number in range(size)
    }
    content["plugin_data"] = {"payjoin": {"version": 1, "sessions": sessions}}
    path.write_text(json.dumps(content, indent=4, sort_keys=True))  # as Electrum writes it
    return path
