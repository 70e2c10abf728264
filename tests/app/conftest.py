from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.wallet.wallets import electrum_running


@pytest.fixture(autouse=True, scope="module")
def electrum_loop() -> Iterator[None]:
    with electrum_running():
        yield
