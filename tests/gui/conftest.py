"""One Electrum for all tests of the window, since a process has one QApplication; each test has its own wallets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gui.house import House
from tests.wallet.wallets import electrum_running

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """End the process where a dialog waits for an answer that no test gives: Qt's loop hears no signal."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.timeout(120, method="thread"))


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
