from __future__ import annotations

import pytest

from tests.wallet.wallets import start_electrum


@pytest.fixture(autouse=True, scope="session")
def electrum_loop() -> None:
    start_electrum()
