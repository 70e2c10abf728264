"""What bench/history.py measures, in a process of its own: one wallet, opened in Electrum's window without a screen.

    python -m bench.window --file WALLET --folder FOLDER      open a wallet with a history, and its sessions window
    python -m bench.window --open 200 --folder FOLDER         a wallet with open sessions: single things of Qt's thread
    python -m bench.window --held 200 --aborted --folder FOLDER   the same where each holds a sender's payment

The last line of the output is JSON: seconds, and kilobytes where the name says so.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from electrum.storage import WalletStorage
from electrum.wallet import Wallet
from electrum.wallet_db import WalletDB

from bench.process import memory_kb
from payjoin_plugin import qt
from payjoin_plugin.gui.sessions import SessionsWindow
from payjoin_plugin.gui.window import WindowParts
from payjoin_plugin.qt import Plugin
from tests.gui.house import House, Resident
from tests.gui.many import with_held_payments
from tests.wallet.wallets import electrum_running, run

PATIENCE = 60
"""Seconds for a window to be filled."""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--open", type=int)
    parser.add_argument("--held", type=int)
    parser.add_argument("--aborted", action="store_true")
    parser.add_argument("--folder", type=Path, required=True)
    wanted = parser.parse_args()
    with electrum_running():
        house = House(wanted.folder)
        if wanted.open:
            figures = with_open_sessions(house, wanted.open)
        elif wanted.held:
            figures = with_payments(house, wanted.held, aborted=wanted.aborted)
        else:
            figures = with_history(house, wanted.file)
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
    run(house.plugin.started(wallet))
    started = time.process_time() - began
    gc.collect()
    after_start = memory_kb(os.getpid())
    shop = house.move_in(wallet)
    began = time.monotonic()
    sessions = _open_sessions(shop)
    opened = time.monotonic() - began  # on Qt's thread, all of it
    longest = max(opened, _busiest(house, lambda: sessions._has_loaded))
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


def with_payments(house: House, count: int, *, aborted: bool) -> dict[str, float]:
    """Open a wallet whose sessions hold a sender's payment each, and time what Qt's thread does at once."""
    wallet = with_held_payments(house, count, aborted=aborted)
    hook, parts = _timed(Plugin, "load_wallet"), _timed(WindowParts, "__init__")
    house.plugins.disable("payjoin")
    house.plugin = house.plugins.load_payjoin()  # Electrum keeps the hooks that it was given
    shop = house.move_in(wallet)
    house.settle(2)
    request_list = shop.window.receive_tab.request_list
    ids = [request.get_id() for request in wallet.get_unpaid_requests()]
    held = _took(lambda: shop.parts.requests._held(ids))
    listed = max(_took(request_list.update) for _ in range(5))
    turn = max(_took(shop.parts._refresh) for _ in range(5))
    waits = _timed(qt, "wait_for")
    taken_out = _took(lambda: house.plugins.disable("payjoin"))
    return {
        "the window opens: our hook": max(hook),
        "our parts are put in": max(parts),
        "the request list made anew, Electrum's part too": listed,
        "a turn of one session": turn,
        "before all are deleted": held,
        "the plugin is taken out, Qt going on": taken_out,
        "of it without Qt": taken_out - sum(waits),
    }


def _timed(owner: type | ModuleType, name: str) -> list[float]:
    """Time each call of a method from now on."""
    original, took = getattr(owner, name), list[float]()

    @wraps(original)
    def timed(*args: Any, **kwargs: Any) -> None:
        took.append(_took(lambda: original(*args, **kwargs)))

    setattr(owner, name, timed)
    return took


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
