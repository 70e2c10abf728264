"""The user's settings: bounds, and reading them. Their names and defaults stand in `__init__.py`, as Electrum wants.

A wrong value is refused when it is set, with a sentence. One that was written into the config file by hand is not
trusted either: it counts as the default.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from electrum.i18n import _

from ..errors import DecodeError, UserError
from ..wire.uri import check_service_url

if TYPE_CHECKING:
    from electrum.simple_config import SimpleConfig

PREFIX = "plugins.payjoin."

SETTINGS_CHANGED = "payjoin_settings_changed"
"""The event on Electrum's bus when a setting was changed, by a window or a command."""

DAY = 24 * 3600
"""Seconds."""


BOUNDS = {
    "session_lifetime": (60, 7 * DAY),
    "minimum_amount": (0, 100_000_000),
    "max_receiver_fee_rate": (1, 1000),
    "max_receiver_fee_sat": (0, 1_000_000),
    "open_polls": (10, 1000),
}
"""The least and the most, in the unit of the setting."""


def _number(what: str, unit: Callable[[], str]) -> Callable[[object], float]:
    low, high = BOUNDS[what]

    def check(value: object) -> float:
        if isinstance(value, Decimal):  # what Electrum's `setconfig` makes of a fraction, and cannot store
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            said = _("{} must be a number from {} to {} {}, not {}")
            raise UserError(said.format(what, f"{low:,}", f"{high:,}", unit(), repr(value)))
        return value

    return check


def _whole(what: str, unit: Callable[[], str]) -> Callable[[object], int]:
    low, high = BOUNDS[what]

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            shown = str(value) if isinstance(value, Decimal) else repr(value)
            said = _("{} must be a whole number from {} to {} {}, not {}")
            raise UserError(said.format(what, f"{low:,}", f"{high:,}", unit(), shown))
        return value

    return check


def _switch(what: str) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        if not isinstance(value, bool):
            raise UserError(_("{} must be true or false, not {}").format(what, repr(value)))
        return value

    return check


def _urls(what: str) -> Callable[[object], list[str]]:
    def check(value: object) -> list[str]:
        if not isinstance(value, (list, tuple)) or not value or not all(isinstance(url, str) for url in value):
            said = _("{} must be a JSON list of at least one address, such as {}")
            raise UserError(said.format(what, '["https://server.example"]'))
        try:
            return [check_service_url(url) for url in value]
        except DecodeError as error:
            raise UserError(f"{what}: {url_fault(str(error))}") from error

    return check


def url_fault(said: str) -> str:
    """Return what `check_service_url` says of an address in the user's language: wire/ knows only one."""
    return {
        "give only the scheme, the host and the port of a server, such as https://payjo.in": _(
            "give only the scheme, the host and the port of a server, such as https://payjo.in"
        ),
        "a URL is made of printable ASCII characters": _("a URL is made of printable ASCII characters"),
        "a URL must start with https:// or http://": _("a URL must start with https:// or http://"),
        "a URL with a user name is not accepted": _("a URL with a user name is not accepted"),
        "a URL without a proper host name": _("a URL without a proper host name"),
        "a URL with a wrong IPv6 address": _("a URL with a wrong IPv6 address"),
        "a URL with a port out of range": _("a URL with a port out of range"),
        "http is accepted for .onion and for this machine only; use https": _(
            "http is accepted for .onion and for this machine only; use https"
        ),
    }.get(said, said)


CHECKS: dict[str, Callable[[object], Any]] = {
    "directories": _urls("directories"),
    "ohttp_relays": _urls("ohttp_relays"),
    "offer_in_window": _switch("offer_in_window"),
    "offer_in_commands": _switch("offer_in_commands"),
    "session_lifetime": _whole("session_lifetime", lambda: _("seconds")),
    "minimum_amount": _whole("minimum_amount", lambda: _("sat")),
    "max_receiver_fee_rate": _number("max_receiver_fee_rate", lambda: _("sat/vB (or null: automatic)")),
    "max_receiver_fee_sat": _whole("max_receiver_fee_sat", lambda: _("sat")),
    "open_polls": _whole("open_polls", lambda: _("polls")),
    "accept_v1_senders": _switch("accept_v1_senders"),
    "ask_before_contributing": _switch("ask_before_contributing"),
    "broadcast_original_by_itself": _switch("broadcast_original_by_itself"),
}


def checked(name: str, value: object) -> Any:
    """Return `value` as it is to be stored. Raises UserError."""
    return CHECKS[name](value)


class Settings:
    """The settings as they are at this moment."""

    def __init__(self, config: SimpleConfig) -> None:
        self._config = config

    def _get(self, name: str) -> Any:
        var = self._config.cv.from_key(PREFIX + name)
        value = var.get()
        if value is None:  # Electrum's default, or a null that somebody wrote into the file
            return var.get_default_value()
        try:
            return CHECKS[name](value)
        except UserError:
            return var.get_default_value()

    def default(self, name: str) -> Any:
        """Return what a setting is where nobody has changed it."""
        return self._config.cv.from_key(PREFIX + name).get_default_value()

    @property
    def directories(self) -> list[str]:
        """Origins, in the order of preference."""
        return list(self._get("directories"))

    @property
    def ohttp_relays(self) -> list[str]:
        """Origins; one is chosen at random for a session."""
        return list(self._get("ohttp_relays"))

    @property
    def offer_in_window(self) -> bool:
        """Whether a new request of the receive tab offers payjoin."""
        return bool(self._get("offer_in_window"))

    @property
    def offer_in_commands(self) -> bool:
        """Whether a new request of a command offers payjoin."""
        return bool(self._get("offer_in_commands"))

    @property
    def session_lifetime(self) -> int:
        """Seconds, at most; a request's own expiry may end it sooner."""
        return int(self._get("session_lifetime"))

    @property
    def open_polls(self) -> int:
        """Polls that are open at the directory at once, of all wallets together."""
        return int(self._get("open_polls"))

    @property
    def minimum_amount(self) -> int:
        """Satoshis."""
        return int(self._get("minimum_amount"))

    @property
    def max_receiver_fee_rate(self) -> float | None:
        """sat/vB; None: automatic."""
        value = self._get("max_receiver_fee_rate")
        return None if value is None else float(value)

    @property
    def max_receiver_fee_sat(self) -> int:
        """Satoshis, or one per cent of the payment if that is more."""
        return int(self._get("max_receiver_fee_sat"))

    @property
    def accept_v1_senders(self) -> bool:
        """Whether senders of the old protocol are answered."""
        return bool(self._get("accept_v1_senders"))

    @property
    def ask_before_contributing(self) -> bool:
        """Whether each answer needs the user's word."""
        return bool(self._get("ask_before_contributing"))

    @property
    def broadcast_original_by_itself(self) -> bool:
        """Whether an original is broadcast when time runs out or the payjoin failed."""
        return bool(self._get("broadcast_original_by_itself"))
