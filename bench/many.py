"""Many open sessions in one wallet: what they cost while nothing comes, and how soon an original is answered.

The sessions are older than their first hour, so that those beyond `open_polls` take turns. What payjoin costs is the
difference to the same wallet in an Electrum with the plugin switched off.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from electrum.json_db import JsonDB

from bench.ground import Ground
from bench.process import cpu_seconds, memory_kb
from bench.table import Figure, figure, table
from payjoin_plugin.client.turns import LOOKED_AT
from tests.interop.conftest import settings_for
from tests.interop.receiver import Receiver
from tests.stand.payjoin_cli import PayjoinCli, Run, txid_of, uri_of
from tests.stand.processes import ProcessError

SIZES = (10, 100, 1000)
"""If no others are asked for."""
CROWDED = 150
"""Young requests at the largest size: twice as many as have a poll open all the time."""
WINDOW = 60.0
"""Seconds for which an idle process is watched: two polls of each session that holds one open."""
WINDOWS = 3
"""In a row: what Electrum does by itself varies."""
SENDERS = 5
"""To requests just shown, to young ones, and to random ones."""
OLDER = 7200
"""Seconds by which the sessions are made older than they are."""
LIFETIME = 7 * 24 * 3600
LATEST = 600.0
"""Seconds that a sender to a random request is waited for."""
SOON = 45.0
"""The same for one whose receiver holds a poll open for each session, or should."""
SETTLE = 45.0
"""Seconds after a start before anything is measured."""
POLL = 30
"""Seconds that the directory holds a poll: with more sessions than polls, a turn of them all takes several."""
OPEN_POLLS = 100
"""What the setting `open_polls` is, by default."""


@dataclass
class Idle:
    """What a process did while nothing came."""

    cpu_percent: list[float]
    """Of a core, for each window."""
    memory_kb: float
    requests_a_minute: float


def measure(ground: Ground) -> list[Figure]:
    """Grow two receivers side by side, and look at them at each size."""
    stand = ground.stand
    settings = settings_for(stand, session_lifetime=LIFETIME)
    electrum = Receiver(stand.electrum("many", plugin=ground.plugin, settings=settings), "wallet")
    count = SENDERS * (2 + 3 * len(ground.sizes))
    ground.fund(electrum, 2 * count)
    senders = [
        stand.payjoin_cli(f"many-{number}", *(1_000_000 for _ in range(5 * len(ground.sizes) + 1)))
        for number in range(SENDERS)
    ]
    stand.mine()
    requests: list[dict[str, Any]] = []
    figures = []
    for size in ground.sizes:
        ground.say(f"many: making {size} sessions")
        while len(requests) < size:
            requests.append(electrum.payjoin_request(30_000 + len(requests), force=True, expiry=LIFETIME))
        # A new one for each size: what is paid and not closed yet is looked after by `resume` too.
        reference = stand.payjoin_cli(f"many-reference-{size}", *(2_000_000 for _ in range(2 * count)))
        stand.mine()
        uris = [_made_by(reference, 30_000 + number) for number in range(size)]
        figures += _of_electrum(ground, electrum, requests, senders)
        if size >= OPEN_POLLS and size == ground.sizes[-1]:
            figures += _of_crowded(ground, size, electrum, requests, senders)
            stand.mine()
        electrum.daemon.stop()  # its polls are not to be counted among theirs
        figures += _of_reference(ground, reference, uris, senders)
        ground.say(table(figures))  # the next size may fail, half an hour later
        electrum.restart()
    electrum.daemon.stop()
    return figures


def _of_electrum(
    ground: Ground, electrum: Receiver, requests: list[dict[str, Any]], senders: list[PayjoinCli]
) -> list[Figure]:
    size, daemon = len(requests), electrum.daemon
    daemon.stop()
    _make_older(Path(daemon.wallet_path()))
    daemon.setconfig("plugins.payjoin.enabled", value=False)
    without = _restarted(ground, electrum, sessions=0)
    daemon.stop()
    daemon.setconfig("plugins.payjoin.enabled", value=True)
    idle = _restarted(ground, electrum, sessions=size)
    ground.say(f"many: {size} in Electrum: {idle}; without the plugin: {without}")
    shown = []
    for sender in senders:
        chosen = requests.pop(random.randrange(len(requests)))
        uri = electrum.get_request(chosen["request_id"])["URI"]  # whoever shows it looks at it
        shown.append(_paid(sender.send(uri)))
    young = _to_young(electrum, requests, senders)
    chosen_ones = [requests.pop(random.randrange(len(requests))) for _ in senders] if len(requests) >= SENDERS else []
    runs = [sender.send(chosen["URI"]) for sender, chosen in zip(senders, chosen_ones, strict=False)]
    waits = [_paid(run) for run in runs]
    ground.stand.mine()
    name = f"{size} open sessions, Electrum"
    return [
        figure(f"{name}: CPU of a core", [mean(idle.cpu_percent) - mean(without.cpu_percent)], unit="%"),
        figure(f"{name}: CPU of a core with Electrum's own", idle.cpu_percent, unit="%"),
        figure(f"{name}: CPU of a core without the plugin", without.cpu_percent, unit="%"),
        figure(f"{name}: memory", [(idle.memory_kb - without.memory_kb) / 1024], unit="MB"),
        figure(f"{name}: requests a minute", [idle.requests_a_minute], unit="1"),
        figure(f"{name}: sender's wait, on screen", shown),
        *([figure(f"{name}: sender's wait, one of the last hour", young)] if young else []),
        *([figure(f"{name}: sender's wait, a random one", waits)] if waits else []),
    ]


def _to_young(electrum: Receiver, requests: list[dict[str, Any]], senders: list[PayjoinCli]) -> list[float]:
    """Pay requests of the last hour at which nobody looks any more; nothing where there are too few others."""
    if len(requests) <= LOOKED_AT:
        return []
    young = [electrum.payjoin_request(20_000 + number, force=True) for number in range(len(senders))]
    for other in requests[:LOOKED_AT]:
        electrum.get_request(other["request_id"])
    time.sleep(POLL)
    return [_paid(sender.send(request["URI"])) for sender, request in zip(senders, young, strict=True)]


def _of_crowded(
    ground: Ground, size: int, electrum: Receiver, requests: list[dict[str, Any]], senders: list[PayjoinCli]
) -> list[Figure]:
    """Pay the oldest of more young requests than have a poll open all the time: they take turns with the old ones."""
    young = [electrum.payjoin_request(21_000 + number, force=True) for number in range(CROWDED)]
    for other in requests[:LOOKED_AT]:
        electrum.get_request(other["request_id"])
    time.sleep(POLL)
    name = f"{size} open sessions, Electrum: the oldest of {CROWDED} of the last hour"
    return _in_time(ground, name, [sender.send(one["URI"]) for sender, one in zip(senders, young, strict=False)])


def _in_time(ground: Ground, name: str, runs: Iterable[Run]) -> list[Figure]:
    """Wait for senders who may have no answer for long: its database was locked, it had no coin left, or no turn."""
    waits, tried = [], 0
    for run in runs:
        tried += 1
        try:
            waits.append(_paid(run, within=SOON))
        except ProcessError:
            ground.say(f"{name}: no answer within {SOON:g} s")
            run.kill()
    answered = figure(f"{name}: senders answered within {SOON:g} s, of {tried}", [len(waits)], unit="1")
    return [answered, *([figure(f"{name}: sender's wait", waits)] if waits else [])]


def _of_reference(ground: Ground, reference: PayjoinCli, uris: list[str], senders: list[PayjoinCli]) -> list[Figure]:
    size = len(uris)
    resumed = reference.resume()
    idle = _watched(ground, resumed.pid)
    ground.say(f"many: {size} in payjoin-cli: {idle}")
    name = f"{size} open sessions, payjoin-cli"
    # One after the other: at once, most have no answer (bench crowd).
    random_ones = (sender.send(uris.pop(random.randrange(len(uris)))) for sender in senders)
    waits = _in_time(ground, f"{name}: a random one", random_ones)
    resumed.kill()
    ground.stand.mine()
    return [
        figure(f"{name}: CPU of a core", idle.cpu_percent, unit="%"),
        figure(f"{name}: memory", [idle.memory_kb / 1024], unit="MB"),
        figure(f"{name}: requests a minute", [idle.requests_a_minute], unit="1"),
        *waits,
    ]


def _restarted(ground: Ground, electrum: Receiver, *, sessions: int) -> Idle:
    electrum.daemon.start()
    electrum.daemon.load_wallet(electrum.wallet)
    electrum.daemon.wait_synced(seconds=120)
    assert electrum.daemon.service is not None
    return _watched(ground, electrum.daemon.service.pid, settle=max(SETTLE, POLL * sessions / OPEN_POLLS))


def _watched(ground: Ground, pid: int, *, settle: float = SETTLE) -> Idle:
    """Let a process settle, so that each session had its turn, then watch it."""
    time.sleep(settle)
    directory, cpu_percent, started = ground.stand.mailroom.directory, [], time.monotonic()
    before = _requests(directory.output)
    for _ in range(WINDOWS):
        cpu, began = cpu_seconds(pid), time.monotonic()
        time.sleep(WINDOW)
        cpu_percent.append(round(100 * (cpu_seconds(pid) - cpu) / (time.monotonic() - began), 3))
    seconds = time.monotonic() - started
    return Idle(
        cpu_percent=cpu_percent,
        memory_kb=memory_kb(pid),
        requests_a_minute=round(60 * (_requests(directory.output) - before) / seconds, 1),
    )


def _requests(log: str) -> int:
    return log.count("started processing request")


def _made_by(reference: PayjoinCli, amount_sat: int) -> str:
    """Make a session of payjoin-cli's, and leave it to a later `resume`."""
    receiving = reference.receive(amount_sat, expire_in=LIFETIME)
    uri = uri_of(receiving)
    receiving.wait_for("Polling receive request")
    receiving.kill()
    return uri


def _paid(run: Run, *, within: float = LATEST) -> float:
    """Wait until a sender has paid, and return how long that took."""
    run.wait(within)
    txid_of(run)
    return run.duration


def _make_older(path: Path) -> None:
    """Let the sessions of a wallet file be two hours older."""
    content = JsonDB("").load_data(path.read_text())
    for log in content["plugin_data"]["payjoin"]["sessions"].values():
        for event in log["events"]:
            event["at"] -= OLDER
    path.write_text(json.dumps(content))
