"""Directories and the relays to them: who runs which, which relay next, and how long a directory's keys are good.

A relay knows our address and a directory knows our mailbox: whoever runs both knows whose payment it is. So a relay of
the directory's own operator is never used. A relay that fails is left alone for a while, but never all of them for
good: where each one is in quarantine, the one whose time is over first is tried. The fault may be our own
network's, and when that is back nobody should wait for half an hour; how often a session tries is its backoff's affair.
Only where each one has asked to be left alone (`Retry-After`) do polls wait, and not for long.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from ..errors import DecodeError, Unreachable
from ..wire.ohttp import KeyConfig

FIRST_QUARANTINE = 60.0
LONGEST_QUARANTINE = 1800.0
"""Seconds; each failure after a quarantine doubles the next one."""

KEYS_LIFE = 6 * 3600.0
"""Seconds for which fetched keys are given to new sessions."""

KEYS_FRESH = 5 * 3600.0
"""Seconds after which they are fetched anew, while the old ones are still good."""

LAST_TIME = 1e11
"""Unix time, some thousand years from now: what is later is no time, and need not be calculated with."""

PAYJOIN_PROJECT = "the payjoin project"

OPERATORS = {
    "payjo.in": PAYJOIN_PROJECT,
    "lets.payjo.in": PAYJOIN_PROJECT,
    "payjoin.org": PAYJOIN_PROJECT,
    "relay.payjoin.org": PAYJOIN_PROJECT,
    "pj.benalleng.com": PAYJOIN_PROJECT,  # a maintainer of it
    "pj.bobspacebkk.com": "BOB Space",
    "payjoin.achow101.com": "Ava Chow",
    "ohttp.achow101.com": "Ava Chow",
    "payjoin.lab.vinteum.org": "Vinteum",
    "mailroom.luisschwab.net": "Luis Schwab",
    "ohttp.cakewallet.com": "Cake Wallet",
    "payjoin.bullbitcoin.com": "Bull Bitcoin",
    "ohttp.bullbitcoin.com": "Bull Bitcoin",
    "ohttp-relay.obscuravpn.io": "Obscura VPN",
    "pj.sms4sats.com": "sms4sats",
}
"""Who runs which of the known hosts: payjoin-mailroom's list of operators, and what the projects say of themselves."""

OPERATOR_DOMAINS = {".".join(host.split(".")[-2:]): operator for host, operator in OPERATORS.items()}
"""The same for the hosts beside these. None of these domains has a second-level label as short as `co`."""


def operator_of(url: str) -> str:
    """Return who runs the directory or relay at `url`: a name from the table, else the part of the host that is sold.

    That part is the last two labels, three where the second-level label has at most three letters (`co.uk`). This errs
    to *the same* for hosts that share a domain. An address in numbers stands for itself.
    """
    host = _host(url)
    if _address(host) is not None:
        return host
    labels = host.split(".")
    length = 3 if len(labels) > 1 and len(labels[-2]) <= 3 else 2
    domain = ".".join(labels[-length:])
    return OPERATOR_DOMAINS.get(domain, domain)


def same_operator(a: str, b: str) -> bool:
    """Whether one operator runs both; never of servers on this machine, which are the user's own."""
    if _is_loopback(_host(a)) or _is_loopback(_host(b)):
        return False
    return operator_of(a) == operator_of(b)


@dataclass(frozen=True)
class _Quarantine:
    began_at: float
    span: float
    asked: float
    """Seconds of it for which the relay itself asked."""

    @property
    def ends_at(self) -> float:
        return self.began_at + self.span

    def holds(self, now: float) -> bool:
        """Not where the clock was set back to before its beginning."""
        return self.began_at <= now < self.ends_at


class Relays:
    """Which relay next. `now` is unix time in seconds."""

    def __init__(
        self, relays: Callable[[], Sequence[str]], *, pick: Callable[[Sequence[str]], str] = secrets.choice
    ) -> None:
        """`relays` gives the origins as they are set now. `pick` takes one of several; tests pass one that is sure."""
        self._relays = relays
        self._pick = pick
        self._quarantines: dict[str, _Quarantine] = {}

    def choose(self, directory: str, *, now: float, avoid: str | None = None) -> str:
        """Return a relay to `directory` at random; another one than `avoid` where two are left.

        Raises Unreachable where each relay of the list is run by the directory's operator.
        """
        allowed = [relay for relay in self._relays() if not same_operator(relay, directory)]
        if not allowed:
            raise Unreachable(f"there is no relay to {directory} that somebody else runs than the directory")
        good = [relay for relay in allowed if not self._is_quarantined(relay, now)]
        if not good:
            return min(allowed, key=lambda relay: self._quarantines[relay].ends_at)
        others = [relay for relay in good if relay != avoid]
        return self._pick(others or good)

    def has(self, relay: str) -> bool:
        """Tell whether `relay` is set (still)."""
        return relay in self._relays()

    def failed(self, relay: str, *, now: float, asked: float = 0.0) -> None:
        """Put `relay` into quarantine: twice as long as the last time, if it fails when that is over.

        Failures within a quarantine (of many sessions at once, or of a relay that was tried for want of a better one)
        begin it anew without making it longer. `asked`: for how many seconds the relay asked; it is at least so long.
        """
        last = self._quarantines.get(relay)
        if last is None:
            span = FIRST_QUARANTINE
        elif last.holds(now):
            span = last.span
        else:
            span = last.span * 2
        self._quarantines[relay] = _Quarantine(now, min(max(span, asked), LONGEST_QUARANTINE), asked)

    def succeeded(self, relay: str) -> None:
        """Note that `relay` works: its failures are forgotten."""
        self._quarantines.pop(relay, None)

    def asked_away(self, directory: str, *, now: float) -> float:
        """Return the seconds until the first relay to `directory` may be asked; 0 unless each has sent us away."""
        allowed = [relay for relay in self._relays() if not same_operator(relay, directory)]
        return min((self._asks(relay, now) for relay in allowed), default=0.0)

    def _asks(self, relay: str, now: float) -> float:
        quarantine = self._quarantines.get(relay)
        if quarantine is None or not quarantine.holds(now):
            return 0.0
        return max(quarantine.began_at + quarantine.asked - now, 0.0)

    def _is_quarantined(self, relay: str, now: float) -> bool:
        quarantine = self._quarantines.get(relay)
        return quarantine is not None and quarantine.holds(now)


@dataclass(frozen=True)
class _Fetched:
    keys: KeyConfig
    at: float

    def age(self, now: float) -> float:
        """Seconds; without end where the clock was set back, since nobody knows then."""
        return now - self.at if now >= self.at else float("inf")


class KeyCache:
    """The OHTTP keys of each directory and when they were fetched. `now` is unix time in seconds.

    It can be stored as JSON, `{directory: {"keys": hex of the 34 bytes of OH, "at": unix time}}`.
    """

    def __init__(self) -> None:
        self._fetched: dict[str, _Fetched] = {}

    def load(self, stored: object) -> None:
        """Add what `dump` returned once, here or for another wallet: the newer keys win, nonsense is passed over."""
        for directory, fetched in _read_stored(stored):
            known = self._fetched.get(directory)
            if known is None or known.at < fetched.at:
                self._fetched[directory] = fetched

    def dump(self) -> dict[str, dict[str, str | float]]:
        """Return what `load` takes."""
        return {
            directory: {"keys": fetched.keys.to_compact().hex(), "at": fetched.at}
            for directory, fetched in self._fetched.copy().items()
        }

    def get(self, directory: str, now: float) -> KeyConfig | None:
        """Return the keys, unless there are none that are younger than KEYS_LIFE."""
        fetched = self._fetched.get(directory)
        return fetched.keys if fetched is not None and fetched.age(now) < KEYS_LIFE else None

    def stale(self, directory: str, now: float) -> bool:
        """Say whether it is time to fetch: there are none, or they are older than KEYS_FRESH."""
        fetched = self._fetched.get(directory)
        return fetched is None or fetched.age(now) > KEYS_FRESH

    def put(self, directory: str, keys: KeyConfig, now: float) -> None:
        """Keep keys that were fetched now."""
        self._fetched[directory] = _Fetched(keys, now)

    def forget(self, directory: str, keys: KeyConfig) -> None:
        """Drop `keys`, which the directory refused; not those that somebody fetched in the meantime."""
        fetched = self._fetched.get(directory)
        if fetched is not None and fetched.keys == keys:
            del self._fetched[directory]


def _read_stored(stored: object) -> Iterator[tuple[str, _Fetched]]:
    if not isinstance(stored, Mapping):
        return
    for directory, entry in stored.items():
        match entry:
            case {"keys": str(encoded), "at": int() | float() as at} if (
                not isinstance(at, bool) and 0 <= at <= LAST_TIME
            ):
                with suppress(ValueError, DecodeError):
                    yield directory, _Fetched(KeyConfig.from_compact(bytes.fromhex(encoded)), float(at))


def _host(url: str) -> str:
    """Return the host of a URL: lower case, an address in numbers in its one normal form."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    address = _address(host)
    return host if address is None else str(address)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback
