"""The real stand, once for all tests of this level: node, Electrum server, directory and relay of the reference."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from electrum import constants
from electrum.bip32 import BIP32Node

from tests.interop.receiver import Receiver
from tests.sender.payer import Payer
from tests.stand import http
from tests.stand.mailroom import RealMailroom
from tests.stand.missing import MissingPart
from tests.stand.node import MINER, SATS
from tests.stand.stand import Stand

ROOT = Path(__file__).parent.parent.parent
NUMBER = itertools.count(1)

COINS = (5_000_000, 3_000_000)
"""Satoshis: what a receiver's wallet has, two confirmed coins."""


def build_zip(folder: Path) -> Path:
    """Build the plugin as its README says, and return a copy of the zip."""
    subprocess.run([sys.executable, "setup.py", "zip"], cwd=ROOT, check=True, capture_output=True)
    version = json.loads((ROOT / "manifest.json").read_text())["version"]
    return Path(shutil.copy(ROOT / "dist" / f"payjoin-{version}.zip", folder))


@pytest.fixture(scope="session")
def plugin_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_zip(tmp_path_factory.mktemp("zip"))


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    try:
        started = Stand(tmp_path_factory.mktemp("stand"), mailroom=True, v1=True, timeout=30)
    except MissingPart as missing:
        pytest.skip(str(missing))
    with started:
        yield started


def settings_for(stand: Stand, **more: object) -> dict[str, object]:
    """Return the plugin's settings for the real mailroom."""
    chosen: dict[str, object] = {
        "directories": [stand.mailroom.directory_url],
        "ohttp_relays": [stand.mailroom.relay_url],
        "offer_in_commands": True,
        **more,
    }
    return {f"plugins.payjoin.{name}": value for name, value in chosen.items()}


@pytest.fixture(scope="session")
def daemon(stand: Stand, plugin_zip: Path) -> Receiver:
    """One daemon for the tests that leave it as it was."""
    return Receiver(stand.electrum("shared", plugin=plugin_zip, settings=settings_for(stand)), "wallet")


@pytest.fixture(scope="session")
def counter(stand: Stand, plugin_zip: Path) -> Receiver:
    """One daemon for the tests that change settings or start it again. Each opens its own wallet."""
    return Receiver(stand.electrum("counter", plugin=plugin_zip, settings=settings_for(stand)), "wallet")


@pytest.fixture(scope="session")
def second_mailroom(stand: Stand) -> Iterator[RealMailroom]:
    """Another directory and relay, for those who are cut off while their counterparty is not."""
    mailroom = RealMailroom(stand.folder / "second-mailroom", logs=stand.logs / "second-mailroom")
    warm_up(mailroom, stand)
    yield mailroom
    mailroom.stop()


def warm_up(mailroom: RealMailroom, stand: Stand) -> None:
    """Let a relay that was started meet the stand's directory, by a junk request (tests/stand/mailroom.py says why)."""
    http.request("POST", f"{mailroom.relay_url}/{stand.mailroom.directory_url}/", b"junk")


def start_relay(mailroom: RealMailroom, stand: Stand) -> None:
    """Start a relay again that was killed."""
    mailroom.start("relay")
    warm_up(mailroom, stand)


@pytest.fixture(scope="session")
def mortal(stand: Stand, plugin_zip: Path, second_mailroom: RealMailroom) -> Receiver:
    """One daemon for the tests that kill it. Each opens its own wallet; its relay is the second mailroom's."""
    settings = settings_for(stand, ohttp_relays=[second_mailroom.relay_url])
    return Receiver(stand.electrum("mortal", plugin=plugin_zip, settings=settings), "wallet")


@pytest.fixture(scope="session")
def mortal_wallet(stand: Stand, mortal: Receiver) -> Receiver:
    """A wallet with a coin for each test that has the daemon killed, stopped or cut off."""
    return new_wallet(stand, mortal, *(1_000_000 + number for number in range(14)))


@pytest.fixture
def merchant(stand: Stand, second_mailroom: RealMailroom, mortal_wallet: Receiver) -> Receiver:
    """That wallet, open, whatever the last test did to the daemon and its relay."""
    if not second_mailroom.relay.running:
        start_relay(second_mailroom, stand)
    if mortal_wallet.daemon.running:
        mortal_wallet.open()
    else:
        mortal_wallet.restart()
    return mortal_wallet


@pytest.fixture
def receiver(stand: Stand, daemon: Receiver) -> Receiver:
    """A new wallet with coins, in the daemon that all share."""
    return new_wallet(stand, daemon, *COINS)


@pytest.fixture
def own_receiver(stand: Stand, plugin_zip: Path) -> Iterator[Callable[..., Receiver]]:
    """Make a daemon of the test's own, which may be killed: `own_receiver(*coins, **settings)`."""
    made: list[Receiver] = []

    def make(*coins: int, **settings: object) -> Receiver:
        name = f"own-{next(NUMBER)}"
        found = Receiver(stand.electrum(name, plugin=plugin_zip, settings=settings_for(stand, **settings)), "wallet")
        made.append(found)
        if coins:
            stand.fund(found.daemon, *coins)
        return found

    yield make
    for receiver in made:
        receiver.daemon.stop()


@pytest.fixture(scope="session")
def payer(stand: Stand) -> Payer:
    """A customer with a coin for each of many payments, that has a change left."""
    payer = Payer.create(stand, "payer")
    fund_together(stand, {payer.address(): 150_000 for _ in range(60)})
    return payer


def fund_together(stand: Stand, amounts: dict[str, int]) -> None:
    """Pay many addresses at once, in one block."""
    stand.node.rpc("sendmany", "", {address: sat / SATS for address, sat in amounts.items()}, wallet=MINER)
    stand.mine()


@contextmanager
def setting(receiver: Receiver, name: str, value: object) -> Iterator[None]:
    """Have a setting of the plugin otherwise for as long as the block lasts."""
    key = f"plugins.payjoin.{name}"
    before = receiver.daemon.getconfig(key)
    receiver.daemon.setconfig(key, value)
    try:
        yield
    finally:
        receiver.daemon.setconfig(key, before)


def master_key(name: str) -> str:
    """Return the private master key of a segwit wallet. Restored, it is there at once; a new seed takes a second."""
    master = BIP32Node.from_rootseed(hashlib.sha256(name.encode()).digest(), xtype="p2wpkh")
    return str(master.to_xprv(net=constants.BitcoinRegtest))


def new_wallet(stand: Stand, daemon: Receiver, *coins: int, password: str | None = None) -> Receiver:
    """Make another wallet in a daemon, with confirmed coins."""
    found = Receiver(daemon.daemon, f"wallet-{next(NUMBER)}", password)
    daemon.daemon.restore_wallet(master_key(found.wallet), found.wallet, password=password)
    if coins:
        stand.fund(daemon.daemon, *coins, wallet=found.wallet)
    return found


def new_lightning_wallet(stand: Stand, daemon: Receiver, *coins: int) -> Receiver:
    """Make a wallet of a new seed, as people do: only such a one has lightning."""
    found = Receiver(daemon.daemon, f"wallet-{next(NUMBER)}")
    daemon.daemon.create_wallet(found.wallet)
    stand.fund(daemon.daemon, *coins, wallet=found.wallet)
    return found
