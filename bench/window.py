"""What bench/history.py measures, in a process of its own: one wallet, opened in Electrum's window without a screen.

    python -m bench.window --file WALLET --folder FOLDER      open a wallet with a history, and its sessions window
    python -m bench.window --open 200 --folder FOLDER         a wallet with open sessions: single things of Qt's thread

The last line of the output is JSON: seconds, and kilobytes where the name says so.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from electrum.storage import WalletStorage
from electrum.wallet import Wallet
from electrum.wallet_db import WalletDB

from bench.process import memory_kb
from payjoin_plugin.gui.sessions import SessionsWindow
from tests.gui.house import House, Resident
from tests.wallet.wallets import electrum_running

PATIENCE = 60
"""Seconds for a window to be filled."""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--open", type=int)
    parser.add_argument("--folder", type=Path, required=True)
    wanted = parser.parse_args()
    with electrum_running():
        house = House(wanted.folder)
        figures = with_open_sessions(house, wanted.open) if wanted.open else with_history(house, wanted.file)
        print(json.dumps(figures), flush=True)
        os._exit(0)  # the window's own end is none of our figures


def with_history(house: House, path: Path) -> dict[str, float]:
    """Open a wallet, then its sessions window; filter it."""
    gc.collect()
    at_first, began = memory_kb(os.getpid()), time.process_time()
    storage = WalletStorage(str(path))
    wallet = Wallet(WalletDB(storage.read(), storage=storage, upgrade=True), config=house.config)
    read = time.process_time() - began
    gc.collect()
    after_read, began = memory_kb(os.getpid()), time.process_time()
    wallet.network = house.network
    house.plugin.start_wallet(wallet)
    started = time.process_time() - began
    gc.collect()
    after_start = memory_kb(os.getpid())
    shop = house.move_in(wallet)
    began = time.monotonic()
    sessions = _open_sessions(shop)
    longest = _busiest(house, lambda: sessions._has_loaded)
    shown = time.monotonic() - began
    sessions.show_box.setCurrentIndex(sessions.show_box.count() - 1)
    filtered = max(_took(lambda text=text: sessions.search.setText(text)) for text in ("b", "bc", "bcrt1q", ""))  # type: ignore[misc]
    return {
        "file_kb": path.stat().st_size / 1000,
        "read": read,
        "read_kb": after_read - at_first,
        "start": started,
        "start_kb": after_start - after_read,
        "shown": shown,
        "longest": longest,
        "filtered": filtered,
    }


def with_open_sessions(house: House, count: int) -> dict[str, float]:
    """Make many requests, and time what Qt's thread then does at once."""
    shop = house.open("shop", 5_000_000).with_keys()
    for number in range(count):
        shop.wallet.create_request(20_000 + number, f"Coffee {number}", 3600, shop.wallet.create_new_address())
    shop.window.receive_tab.request_list.update()
    sessions = _open_sessions(shop)
    _busiest(house, lambda: sessions._has_loaded)
    return {
        "a turn of one session": max(_took(shop.parts._refresh) for _ in range(5)),
        "the request list made anew, Electrum's part too": max(
            _took(shop.window.receive_tab.request_list.update) for _ in range(5)
        ),
        "filtered": max(_took(lambda text=text: sessions.search.setText(text)) for text in ("c", "coffee 1", "")),  # type: ignore[misc]
        "a request made, Electrum's part too": _took(lambda: _make_request(shop)),
    }


def _make_request(shop: Resident) -> None:
    """Press the button, as a person does."""
    shop.tab.receive_amount_e.setAmount(50_000)
    shop.tab.create_onchain_invoice_button.click()


def _open_sessions(shop: Resident) -> SessionsWindow:
    shop.parts.show_sessions(None)
    window = shop.parts._window_of_sessions
    assert isinstance(window, SessionsWindow)
    return window


def _busiest(house: House, done: Callable[[], bool]) -> float:
    """Let Qt work until `done()`; return the longest that it was busy with one thing."""
    end, longest = time.monotonic() + PATIENCE, 0.0
    while not done():
        assert time.monotonic() < end
        longest = max(longest, _took(house.gui.app.processEvents))
        time.sleep(0.001)
    return longest


def _took(what: Callable[[], object]) -> float:
    began = time.monotonic()
    what()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
