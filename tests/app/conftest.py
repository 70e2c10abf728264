from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from payjoin_plugin.app import objections, settling
from tests.merchant import wall_clock
from tests.wallet.wallets import electrum_running


@pytest.fixture(autouse=True)
def what_was_dropped_stays_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for minutes whether a payment comes back; the one about that says how long it does."""
    monkeypatch.setattr(objections, "DOUBT", 0.0)


@pytest.fixture
def set_ahead(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Call it with seconds, and the clock is so many ahead."""
    return wall_clock(monkeypatch)


@pytest.fixture(autouse=True)
def short_breath(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "BREATH", 0.05)


@pytest.fixture(autouse=True, scope="module")
def electrum_loop() -> Iterator[None]:
    with electrum_running():
        yield


@pytest.fixture
def run_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Call it with seconds, and the program has run for so many more. What was dropped is doubted for ten minutes."""
    monotonic, more = time.monotonic, 0.0

    def run_for(seconds: float) -> None:
        nonlocal more
        more += seconds

    monkeypatch.setattr(objections, "time", SimpleNamespace(monotonic=lambda: monotonic() + more))
    monkeypatch.setattr(objections, "DOUBT", 600.0)
    return run_for
