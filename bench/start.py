"""How long Electrum takes to start, with the plugin and without it: a command, and the window."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from pathlib import Path

from bench.ground import Ground
from bench.table import Figure, figure
from tests.stand.electrum_daemon import KEY_VARIABLE, LAUNCHER, ElectrumDaemon
from tests.stand.parts import electrum, environment
from tests.wallet.wallets import electrum_running, make_wallet

COMMAND = ("--regtest", "--offline", "getconfig", "auto_connect")
WINDOW = ("--regtest", "--offline", "gui")
QUIET = {
    "dont_show_testnet_warning": True,
    "auto_connect": False,
    "oneserver": True,
    "decimal_point": 8,
    "terms_of_use_accepted": 9,
}
"""Each would be asked by a dialog."""
FIRST_WINDOW = Path(__file__).with_name("first_window.py")


def measure(ground: Ground) -> list[Figure]:
    """Start both in turns, with and without."""
    folders = {"without": _folder(ground, "start-without"), "with": _folder(ground, "start-with")}
    ElectrumDaemon("start-with", folders["with"], server=None).install(ground.plugin)
    figures = []
    for what, run, rounds in (("a command", _command, ground.rounds), ("the window", _window, ground.rounds // 2)):
        taken: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
        for number in range(rounds + 1):
            for name, folder in folders.items():
                taken[name].append(run(folder))
            ground.say(f"start: {what} {number}/{rounds}: {taken['without'][-1]} without, {taken['with'][-1]} with")
        for column, kind in enumerate(("CPU", "by the clock")):
            # The first round fills caches, and is not counted.
            times = {name: [run[column] for run in runs[1:]] for name, runs in taken.items()}
            figures += [figure(f"start of {what}, {name} the plugin, {kind}", times[name]) for name in times]
            more = statistics.median(times["with"]) - statistics.median(times["without"])
            figures.append(figure(f"start of {what}, difference of the medians, {kind}", [more]))
    return figures


def _folder(ground: Ground, name: str) -> Path:
    folder = ground.folder / name
    daemon = ElectrumDaemon(name, folder, server=None)  # makes the settings
    for key, value in QUIET.items():
        daemon.setconfig(key, value)
    with electrum_running():
        wallets = folder / "regtest" / "wallets"
        make_wallet(wallets, "default_wallet", on_disk=True).save_db()
    return folder


def _command(folder: Path) -> tuple[float, float]:
    began, before = time.monotonic(), os.times()
    done = subprocess.run(
        [environment.python(), "-P", LAUNCHER, electrum.ensure().launcher, "-D", folder, *COMMAND],
        env=_env(folder),
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout) is False, done.stdout
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.monotonic() - began


def _window(folder: Path) -> tuple[float, float]:
    done = subprocess.run(
        [environment.python(), "-P", FIRST_WINDOW, LAUNCHER, electrum.ensure().launcher, "-D", folder, *WINDOW],
        env=_env(folder) | {"QT_QPA_PLATFORM": "offscreen"},
        check=True,
        capture_output=True,
        text=True,
    )
    (folder / "regtest" / "daemon").unlink(missing_ok=True)  # it was not let end in order
    cpu, seconds = done.stdout.splitlines()[-1].split()
    return float(cpu), float(seconds)


def _env(folder: Path) -> dict[str, str]:
    env = environment.variables()
    env.pop("PYTHONPATH", None)
    return env | {KEY_VARIABLE: str(folder / "plugins_key")}
