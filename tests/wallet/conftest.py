from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from electrum.wallet import Abstract_Wallet

from tests.wallet.lookups import Setting
from tests.wallet.receivers import Receiver, make_receiver
from tests.wallet.wallets import electrum_running, fund, make_wallet


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
