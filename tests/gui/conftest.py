"""One Electrum for all tests of the window, since a process has one QApplication; each test has its own wallets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gui.house import House
from tests.wallet.wallets import electrum_running


@pytest.fixture(scope="session")
def electrum(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with electrum_running():
        house = House(tmp_path_factory.mktemp("electrum"))
        yield house
        house.close()


@pytest.fixture
def house(electrum: House) -> Iterator[House]:
    yield electrum
    electrum.tidy()
