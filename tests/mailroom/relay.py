"""Where an OHTTP relay may forward to. Values in, values out; `now` is an argument.

A request names the directory in its path, `POST /https://directory.example/` (RFC 9540). So that a relay is no open
proxy, a directory has to say that it wants to be forwarded to: the relay asks once and remembers the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .directory import ALLOWED_PURPOSES, PURPOSES_TYPE

LONG = 7 * 24 * 3600
"""Seconds for which a directory's yes or no is remembered, in payjoin-mailroom 0.1.3."""
SHORT = 5
"""Seconds for which its trouble is."""
LONGEST_RETRY_AFTER = 24 * 3600

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Origin:
    """A directory as a relay knows it."""

    scheme: str
    authority: str
    """`host:port`, the port always written out."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def is_for_relay(method: str, path: str) -> bool:
    """Whether a request to a mailroom means its relay. (A POST to `/` means a relay's default directory.)"""
    return method in {"OPTIONS", "CONNECT"} or (
        method in {"GET", "POST"} and (path.startswith(("/http://", "/https://")) or (method, path) == ("POST", "/"))
    )


def origin_in_path(path: str) -> Origin | None:
    """`/https://host[:port][/]` → its origin; None for anything else."""
    match = re.fullmatch(r"/(https?)://([^/\s]+)/?", path)
    return origin(match[1], match[2]) if match else None


def origin(scheme: str, authority: str) -> Origin | None:
    """The origin with its port written out; None where `authority` is none."""
    match = re.fullmatch(r"((?:[^:@/\s\[\]]+@)?(?:\[[0-9A-Fa-f:.]+\]|[^:@/\s\[\]]+))(?::(\d{1,5}))?", authority)
    return Origin(scheme, f"{match[1]}:{match[2] or DEFAULT_PORTS[scheme]}") if match else None


@dataclass(frozen=True)
class Probe:
    """What a directory said to `GET /.well-known/ohttp-gateway?allowed_purposes`. Status None: nothing."""

    status: int | None
    content_type: str | None = None
    body: bytes = b""
    retry_after: int | None = None

    @property
    def opted_in(self) -> bool:
        return self.status == 200 and self.content_type == PURPOSES_TYPE and self.body == ALLOWED_PURPOSES

    @property
    def remembered_for(self) -> float:
        """Seconds."""
        match self.status:
            case 504:
                return 0
            case 429 | 503 if self.retry_after is not None:
                return min(self.retry_after, LONGEST_RETRY_AFTER)
            case int(status) if 200 <= status < 300 or 400 <= status < 500:
                return LONG
        return SHORT


class OptIns:
    """What a relay remembers of the directories that it has asked."""

    def __init__(self) -> None:
        self._known: dict[Origin, tuple[bool, float]] = {}

    def known(self, directory: Origin, *, now: float) -> bool | None:
        """Whether it may be forwarded to; None: it has to be asked."""
        opted_in, until = self._known.get(directory, (False, now))
        return opted_in if now < until else None

    def learn(self, directory: Origin, probe: Probe, *, now: float) -> bool:
        """Remember what it said; return whether it may be forwarded to."""
        self._known[directory] = (probe.opted_in, now + probe.remembered_for)
        return probe.opted_in
