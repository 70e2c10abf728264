"""A merchant with Electrum's daemon and our plugin: what a test asks of them, and waits for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.stand.electrum_daemon import SATS, ElectrumDaemon
from tests.stand.processes import wait_until

TERMINAL = ("completed", "paid_without_payjoin", "failed", "aborted")


@dataclass
class Receiver:
    """One wallet of a daemon."""

    daemon: ElectrumDaemon
    wallet: str
    password: str | None = None
    """The wallet's, where it has one. Opening it does not unlock it: it still cannot sign."""

    def rpc(self, method: str, **params: object) -> Any:
        """Run one of Electrum's commands on the wallet. Raises ElectrumError."""
        return self.daemon.rpc(method, wallet_path=self.daemon.wallet_path(self.wallet), **params)

    def request(self, amount_sat: int, **params: object) -> dict[str, Any]:
        """Make a payment request and return it as Electrum's command shows it."""
        request: dict[str, Any] = self.rpc("add_request", amount=str(Decimal(amount_sat) / SATS), **params)
        return request

    def payjoin_request(self, amount_sat: int, **params: object) -> dict[str, Any]:
        """Make a request that offers payjoin, and return it once it does."""
        return self.with_payjoin(self.request(amount_sat, **params)["request_id"])

    def with_payjoin(self, request_id: str) -> dict[str, Any]:
        """Return a request as soon as its URI offers payjoin."""
        return self.until_request(request_id, lambda request: "pj=" in request["URI"], "its URI has pj")

    def get_request(self, request_id: str) -> dict[str, Any]:
        """Return a request as Electrum shows it."""
        request: dict[str, Any] = self.rpc("get_request", request_id=request_id)
        return request

    def until_request(
        self, request_id: str, condition: Callable[[dict[str, Any]], bool], what: str, seconds: float = 60
    ) -> dict[str, Any]:
        """Return a request as soon as `condition` holds for it."""
        return self._until(lambda: self.get_request(request_id), condition, f"request {request_id}: {what}", seconds)

    def session(self, session_id: str) -> dict[str, Any]:
        """Return a payjoin session with its events."""
        session: dict[str, Any] = self.rpc("payjoin_session", session_id=session_id)
        return session

    def until(self, session_id: str, *, seconds: float = 60, **expected: object) -> dict[str, Any]:
        """Return a session as soon as its row says what is expected, such as `status="completed"`."""

        def holds(session: dict[str, Any]) -> bool:
            if session["status"] in TERMINAL and expected.get("status", session["status"]) != session["status"]:
                raise AssertionError(f"the session ended otherwise: {session}")
            return all(session[key] == value for key, value in expected.items())

        return self._until(lambda: self.session(session_id), holds, f"session {session_id}: {expected}", seconds)

    def until_session(
        self, session_id: str, condition: Callable[[dict[str, Any]], bool], what: str, seconds: float = 60
    ) -> dict[str, Any]:
        """Return a session as soon as `condition` holds for it."""
        return self._until(lambda: self.session(session_id), condition, f"session {session_id}: {what}", seconds)

    def events(self, session_id: str) -> list[str]:
        """Return the names of a session's events."""
        return [event["event"] for event in self.session(session_id)["events"]]

    def stored(self) -> dict[str, Any]:
        """Return what lies in the wallet file (which has no password) now."""
        text = Path(self.daemon.wallet_path(self.wallet)).read_text()
        content: dict[str, Any] = json.loads(text)
        return content

    def balance_sat(self) -> int:
        """Return the whole balance, unconfirmed coins included."""
        return self.daemon.balance_sat(self.wallet)

    def restart(self) -> None:
        """Start the daemon again after it ended, and open the wallet."""
        self.daemon.start()
        self.open()

    def open(self) -> None:
        """Open the wallet, and wait for the plugin: Electrum answers before it has loaded any."""
        self.daemon.load_wallet(self.wallet, password=self.password)
        self.rpc("payjoin_sessions")

    def _until(
        self,
        look: Callable[[], dict[str, Any]],
        condition: Callable[[dict[str, Any]], bool],
        what: str,
        seconds: float,
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def holds() -> bool:
            found.clear()
            found.update(look())
            return condition(found)

        started = time.monotonic()
        try:
            wait_until(holds, what=what, seconds=seconds, services=[self.daemon.service] if self.daemon.service else ())
        except Exception as error:
            raise AssertionError(f"after {time.monotonic() - started:.1f} s: {what}; now it is {found}") from error
        return found
