from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from electrum.wallet import Abstract_Wallet

from payjoin_plugin.wallet.seams import Seams
from payjoin_plugin.wallet.storage import WalletStore
from tests.wallet.lookups import Setting
from tests.wallet.owners import Owner
from tests.wallet.receivers import Receiver, make_receiver
from tests.wallet.wallets import electrum_running, fund, make_wallet, store_of


@pytest.fixture(autouse=True, scope="module")
def electrum_loop() -> Iterator[None]:
    with electrum_running():
        yield


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    """With one confirmed coin of 50 000 sat."""
    return make_receiver(tmp_path)


@pytest.fixture
def sender(tmp_path: Path) -> Abstract_Wallet:
    """With one confirmed coin of 100 000 sat."""
    wallet = make_wallet(tmp_path, "sender")
    fund(wallet, 100_000)
    return wallet


@pytest.fixture
def one() -> Setting:
    """With the wallet's own server."""
    return Setting("main")


@pytest.fixture
def two() -> Setting:
    """With another server besides."""
    return Setting("main", "other")


@pytest.fixture
def wallet(tmp_path: Path) -> Abstract_Wallet:
    """On disk, and empty."""
    return make_wallet(tmp_path, on_disk=True)


@pytest.fixture
def store(wallet: Abstract_Wallet) -> WalletStore:
    return store_of(wallet)


@pytest.fixture
def owner(wallet: Abstract_Wallet) -> Owner:
    return Owner(wallet)


@pytest.fixture
def seams(wallet: Abstract_Wallet, owner: Owner) -> Seams:
    """Put on the wallet."""
    seams = Seams(wallet, owner)
    seams.install()
    return seams
