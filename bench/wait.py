"""How long a payjoin-cli sender waits: its whole run, with payjoin-cli and with Electrum as receiver in turns."""

from __future__ import annotations

from bench.ground import Ground
from bench.table import Figure, figure
from tests.interop.receiver import Receiver
from tests.stand.payjoin_cli import PayjoinCli, txid_of, uri_of

AMOUNT = 50_000


def measure(ground: Ground) -> list[Figure]:
    """Alternate between the two receivers, `rounds` times each, on one stand."""
    stand, electrum, rounds = ground.stand, ground.receiver, ground.rounds
    stand.fund(electrum.daemon, *(3_000_000 + number for number in range(rounds)))
    # Twice as many coins as payments: a change that is not confirmed yet is no good coin to measure with.
    sender = stand.payjoin_cli("bench-sender", *(1_000_000 for _ in range(4 * rounds)))
    reference = stand.payjoin_cli("bench-receiver", *(2_000_000 for _ in range(2 * rounds)))
    stand.mine()
    waits: dict[str, list[float]] = {"payjoin-cli": [], "Electrum": []}
    for number in range(rounds):
        waits["payjoin-cli"].append(_to_reference(sender, reference))
        stand.mine()  # both receivers are paid with confirmed coins
        waits["Electrum"].append(_to_electrum(sender, electrum))
        stand.mine()
        theirs, ours = waits["payjoin-cli"][-1], waits["Electrum"][-1]
        ground.say(f"wait {number + 1}/{rounds}: payjoin-cli {theirs:.3f} s, Electrum {ours:.3f} s")
    return [figure(f"sender's whole run, receiver {name}", values) for name, values in waits.items()]


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
