"""Bob's Electrum as a window: the same data folder and wallet, and a hand at its mouse and keyboard (puppet.py)."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

from tests.stand.electrum_daemon import WALLET, ElectrumDaemon
from tests.stand.processes import free_port, wait_until

KEY_VARIABLE = "DEMO_WINDOW_KEY"  # the name that the puppet reads
PUPPET = Path(__file__).with_name("puppet.py")
SETTINGS: dict[str, object] = {
    "dont_show_testnet_warning": True,
    "auto_connect": False,  # else Electrum asks how to connect
    "receive_qr_visible": True,
}
SAT_PER_UNIT = 100_000
"""Electrum's window counts in mBTC, unless told otherwise."""
SECONDS = 60
PAUSE = 4
"""Seconds in which a person reads what is new in the window."""


def has_display() -> bool:
    """Tell whether a window could open here."""
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))


class Window:
    """Electrum's window, as the demo sees it."""

    def __init__(self, electrum: ElectrumDaemon, wallet: str = WALLET) -> None:
        """Stop the daemon, and open its wallet in the window."""
        electrum.stop()
        for key, value in SETTINGS.items():
            electrum.setconfig(key, value)
        port, key = free_port(), secrets.token_hex(16)
        electrum.front = (PUPPET, str(port))
        electrum.starts = ("gui", "-w", electrum.wallet_path(wallet))
        os.environ[KEY_VARIABLE] = key
        try:
            electrum.start()
        finally:
            del os.environ[KEY_VARIABLE]
        self.electrum = electrum
        self._caller: Connection = Client(("127.0.0.1", port), authkey=bytes.fromhex(key))
        self.until(lambda: bool(self._ask("ready")), "the window is there and can offer payjoin")

    def request(self, amount_sat: int, message: str) -> str:
        """Make a request in the receive tab, as a person does; return its ID."""
        request_id = str(self._ask("request", f"{Decimal(amount_sat) / SAT_PER_UNIT:f}", message))
        self.until(lambda: "pj=" in self.read()["uri"], "the receive tab shows a link with pj")
        return request_id

    def read(self) -> dict[str, Any]:
        """Return what the receive tab shows."""
        shown: dict[str, Any] = self._ask("read")
        return shown

    @property
    def line(self) -> str:
        """What the status line says."""
        return str(self.read()["line"])

    def until_line(self, beginning: str) -> str:
        """Return the status line as soon as it begins so."""
        self.until(lambda: self.line.startswith(beginning), f"the receive tab says {beginning!r}")
        return self.line

    def press(self, words: str) -> None:
        """Press one of the buttons below it."""
        self._ask("press", words)

    def dialogs(self) -> dict[str, str]:
        """Return the other windows that are open, and what they say."""
        found: dict[str, str] = self._ask("dialogs")
        return found

    def close_dialogs(self) -> None:
        """Close them."""
        self._ask("close_dialogs")

    def history(self) -> list[tuple[str, str | None]]:
        """Show the history; return description and tooltip of each row."""
        rows: list[tuple[str, str | None]] = self._ask("history")
        return rows

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Return once `condition` holds."""
        services = [self.electrum.service] if self.electrum.service else []
        wait_until(condition, what=what, seconds=SECONDS, services=services)

    def pause(self) -> None:
        """Leave the window as it is for a while, where a person sits in front of it."""
        if sys.stdout.isatty():
            time.sleep(PAUSE)

    def wait_until_closed(self) -> None:
        """Leave the window to the viewer."""
        service = self.electrum.service
        assert service is not None
        while service.running:
            time.sleep(0.2)

    def _ask(self, name: str, *arguments: object) -> Any:
        try:
            self._caller.send((name, arguments))
            done, result = self._caller.recv()
        except (EOFError, OSError) as error:
            service = self.electrum.service
            assert service is not None
            raise service.error("the window was closed") from error
        if not done:
            raise RuntimeError(result)
        return result
