"""Who and what takes part: node, Electrum server, directory, relay, Bob's Electrum, Alice's wallet."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setup import build_zip
from tests.demo.page import DIM, INDENT, Page
from tests.demo.window import Window
from tests.interop.receiver import Receiver
from tests.sender.payer import Funds, Payer
from tests.stand import http
from tests.stand.electrum_daemon import SATS
from tests.stand.parts import electrum as electrum_part
from tests.stand.parts import environment, peers
from tests.stand.payjoin_cli import PayjoinCli
from tests.stand.processes import Service, wait_until
from tests.stand.stand import Mailroom, Stand

ROOT = Path(__file__).parent.parent.parent

BOBS_COINS = (5_000_000, 3_000_000)
ALICES_COIN = 2_000_000


@dataclass(frozen=True)
class Stage:
    """All of it, running."""

    stand: Stand
    bob: Receiver
    alice: Payer
    relay: str
    cli: PayjoinCli | None
    """Alice's payjoin-cli; None: she has this project's test sender."""
    window: Window | None
    """Bob's Electrum, where it is a window; None: it is the daemon."""

    def transaction(self, raw: str) -> Transaction:
        """Read a transaction (hex), and find out whose its coins were and are."""
        found = self.stand.node.rpc("decoderawtransaction", raw)
        spent = [
            self.stand.node.rpc("getrawtransaction", txin["txid"], 1)["vout"][txin["vout"]] for txin in found["vin"]
        ]
        return Transaction(
            inputs=tuple(self._piece(txout) for txout in spent),
            outputs=tuple(self._piece(txout) for txout in found["vout"]),
            weight=found["weight"],
        )

    def _piece(self, txout: Mapping[str, Any]) -> Piece:
        address: str = txout["scriptPubKey"]["address"]
        if self.bob.rpc("ismine", address=address):
            who = "Bob"
        else:
            known = self.stand.node.rpc("getaddressinfo", address, wallet=self.alice.name)
            who = "Alice" if known["ismine"] else "somebody"
        return Piece(who, address, round(txout["value"] * SATS))


@dataclass(frozen=True)
class Piece:
    """An input or an output."""

    who: str
    address: str
    sat: int


@dataclass(frozen=True)
class Transaction:
    """What goes in and out, and whose it is."""

    inputs: tuple[Piece, ...]
    outputs: tuple[Piece, ...]
    weight: int

    @property
    def fee(self) -> int:
        """Satoshis."""
        return sum(piece.sat for piece in self.inputs) - sum(piece.sat for piece in self.outputs)

    @property
    def vsize(self) -> float:
        """Virtual bytes."""
        return self.weight / 4

    def gain(self, who: str) -> int:
        """Return by how many satoshis somebody has more by it."""
        put = sum(piece.sat for piece in self.inputs if piece.who == who)
        return sum(piece.sat for piece in self.outputs if piece.who == who) - put


class PythonMailroom:
    """This project's own directory and relay, as a process."""

    def __init__(self, *, log: Path) -> None:
        self.service = Service(
            "mailroom",
            [environment.python(), "-m", "tests.mailroom"],
            log=log,
            env=environment.variables(),
            folder=ROOT,
        )
        wait_until(lambda: "relay " in self.service.output, what="it says where it is", services=[self.service])
        self.directory_url, self.relay_url = (line.split()[1] for line in self.service.output.splitlines()[:2])

    def keys(self) -> bytes:
        """Return the directory's OHTTP keys."""
        return http.request("GET", f"{self.directory_url}/.well-known/ohttp-gateway")[1]


def set_the_stage(page: Page, folder: Path, stack: ExitStack, *, rust: bool, window: bool) -> Stage:
    """Start everything and say so. What was started ends with `stack`."""
    page.line(f"{INDENT}Starting it takes some seconds …", style=DIM)
    stand = Stand(folder, mailroom=rust)
    stack.callback(stand.stop)
    page.entry("node", f"Bitcoin {stand.node.program.version.partition('.knots')[0]}, on a chain of its own (regtest)")
    page.entry("server", f"ElectrumX at {stand.server.address.removesuffix(':t')}, as Electrum wants one")

    mailroom: Mailroom = stand.mailroom if rust else _python_mailroom(stand, stack)
    maker = f"payjoin-mailroom {peers.VERSIONS['payjoin-mailroom']}" if rust else "this project's test mailroom"
    page.entry("directory", f"{mailroom.directory_url}   keeps sealed letters until they are fetched")
    page.entry("relay", f"{mailroom.relay_url}   carries them, so that the directory never sees who writes")
    page.entry("", f"Both are {maker}.")

    cli = stand.payjoin_cli("alice", ALICES_COIN) if rust else None
    alice = Payer(stand, "alice") if cli else Payer.create(stand, "alice", Funds("p2wpkh", ALICES_COIN))
    sender = f"payjoin-cli {peers.VERSIONS['payjoin-cli']}" if rust else "this project's test sender"
    page.entry("Alice", f"pays. She has {sender} and a wallet of the node.")

    archive = build_zip(ROOT)
    settings: dict[str, object] = {
        "plugins.payjoin.directories": [mailroom.directory_url],
        "plugins.payjoin.ohttp_relays": [mailroom.relay_url],
    }
    daemon = stand.electrum("bob", plugin=archive, settings=settings)
    page.entry(
        "Bob",
        f"is paid. He has Electrum {electrum_part.VERSION}, {'a window' if window else 'the daemon'}, with "
        f"{archive.name}: built just now, installed, and authorized with a plugin password, as a user does it.",
    )
    # A wallet that still subscribes to its addresses while a block comes may never hear of a payment in that block:
    # ElectrumX then keeps the history that it read before.
    daemon.wait_synced()
    stand.fund(daemon, *BOBS_COINS)
    shown = Window(daemon) if window else None
    return Stage(stand, Receiver(daemon, "wallet"), alice, mailroom.relay_url, cli, shown)


def _python_mailroom(stand: Stand, stack: ExitStack) -> PythonMailroom:
    mailroom = PythonMailroom(log=stand.logs / "mailroom.log")
    stack.callback(mailroom.service.stop)
    return mailroom
