"""How long a payjoin-cli sender waits: its whole run, with payjoin-cli and with Electrum as receiver in turns.

And where Electrum's milliseconds go: the parts are of a second daemon, whose plugin is the same and writes marks.
"""

from __future__ import annotations

from pathlib import Path

from bench.ground import Ground
from bench.probe import PARTS, parts_of_last, with_probe
from bench.table import Figure, figure
from tests.interop.conftest import settings_for
from tests.interop.receiver import Receiver
from tests.stand.payjoin_cli import PayjoinCli, txid_of, uri_of
from tests.stand.processes import wait_until
from tests.stand.stand import Stand

AMOUNT = 50_000


def measure(ground: Ground) -> list[Figure]:
    """Alternate between the receivers, `rounds` times each, on one stand."""
    stand, rounds = ground.stand, ground.rounds
    marks = ground.folder / "marks"
    ours = _receiver(ground, "bench-wait", ground.plugin)
    probed = _receiver(ground, "bench-parts", with_probe(ground.plugin, marks))
    # Plenty of coins: a change that is not confirmed yet is no good coin to measure with.
    sender = stand.payjoin_cli("bench-sender", *(1_000_000 for _ in range(6 * rounds)))
    reference = stand.payjoin_cli("bench-receiver", *(2_000_000 for _ in range(2 * rounds)))
    _settle(stand)
    waits: dict[str, list[float]] = {"payjoin-cli": [], "Electrum": [], "Electrum with marks": []}
    parts = []
    for number in range(rounds):
        waits["payjoin-cli"].append(_to_reference(sender, reference))
        _settle(stand)
        waits["Electrum"].append(_to_electrum(sender, ours))
        _settle(stand)
        waits["Electrum with marks"].append(_to_electrum(sender, probed))
        parts.append(parts_of_last(marks))
        _settle(stand)
        newest = ", ".join(f"{name} {times[-1]:.3f} s" for name, times in waits.items())
        ground.say(f"wait {number + 1}/{rounds}: {newest}")
    names = [name for name, _, _ in PARTS]
    return [
        *(figure(f"sender's whole run, receiver {name}", values) for name, values in waits.items()),
        *(figure(f"  {name}", [part[name].wall_ms for part in parts], unit="ms") for name in names),
        *(figure(f"  {name}: CPU", [part[name].cpu_ms for part in parts], unit="ms") for name in names),
    ]


def _receiver(ground: Ground, name: str, plugin: Path) -> Receiver:
    receiver = Receiver(ground.stand.electrum(name, plugin=plugin, settings=settings_for(ground.stand)), "wallet")
    ground.fund(receiver, ground.rounds)
    return receiver


def _settle(stand: Stand) -> None:
    """Confirm everything, and wait until each wallet has heard of it.

    A node locks what it sends to the newest block (against fee sniping), and Electrum hears of a block up to a second
    later; a payment in that second waits for it, and in no other.
    """
    stand.mine()
    for daemon in (one for one in stand.daemons.values() if one.running):
        wait_until(
            lambda daemon=daemon: daemon.rpc("getinfo")["blockchain_height"] == stand.node.height(),  # type: ignore[misc]
            what="Electrum has heard of the newest block",
        )
        daemon.wait_synced()


def _to_reference(sender: PayjoinCli, receiver: PayjoinCli) -> float:
    receiving = receiver.receive(AMOUNT)
    uri = uri_of(receiving)
    receiving.wait_for("Polling receive request")
    wait = _wait_of(sender, uri)
    receiving.wait()
    return wait


def _to_electrum(sender: PayjoinCli, receiver: Receiver) -> float:
    request = receiver.payjoin_request(AMOUNT)
    wait = _wait_of(sender, request["URI"])
    receiver.until(request["payjoin"]["session_id"], status="completed")
    return wait


def _wait_of(sender: PayjoinCli, uri: str) -> float:
    run = sender.send(uri)
    txid_of(run)
    run.wait()
    return run.duration
