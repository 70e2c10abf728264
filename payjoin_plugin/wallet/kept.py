"""A sender's payment as it lies in the wallet file beside the logs, read entry by entry.

    payjoin_originals = {txid: {"tx", "session_id", "request_id", "label", "at", "aborted", "handed_over", "named",
                                "also": {session id: {"session_id", "request_id", "label", "at", "aborted"}}}}

One transaction may pay several requests. The first session that holds it stands in the entry itself, and further ones
in "also", each with its own mark of an abort.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ORIGINALS_KEY = "payjoin_originals"

_KINDS = {"tx": str, "session_id": str, "request_id": str, "label": str, "at": int}


@dataclass(frozen=True)
class KeptOriginal:
    """A payment that can be broadcast, for one of the sessions that hold it; it outlives the session and the plugin."""

    txid: str
    tx: str = field(repr=False)
    """The whole transaction as hex."""
    session_id: str
    request_id: str
    label: str
    """What the transaction is called, should it become Electrum's own."""
    at: int
    """Unix time in seconds."""
    aborted: bool = False
    """The user ended its session: it is never broadcast by itself for this one, even when its log is gone."""
    handed_over: bool = False
    """It became a local transaction of Electrum's when the plugin was taken out."""
    named: str = ""
    """The name that we gave that transaction; empty where it had one of the user's."""


def read_kept(txid: str, entry: object) -> list[KeptOriginal]:
    """Return what an entry says, for each session that it can be read of."""
    return [original for hold in _holds(entry) if (original := _read_hold(txid, entry, hold)) is not None]


def hold_of(entry: object, session_id: str) -> Mapping[str, object] | None:
    """Return the part of an entry that is one session's own."""
    return next((hold for hold in _holds(entry) if hold.get("session_id") == session_id), None)


def _holds(entry: object) -> list[Mapping[str, object]]:
    if not isinstance(entry, Mapping):
        return []
    also = entry.get("also")
    further = also.values() if isinstance(also, Mapping) else ()
    return [hold for hold in (entry, *further) if isinstance(hold, Mapping)]


def _read_hold(txid: str, entry: Any, hold: Mapping[str, object]) -> KeptOriginal | None:
    values = {name: (entry if name == "tx" else hold).get(name) for name in _KINDS}
    if not all(isinstance(values[name], kind) for name, kind in _KINDS.items()):
        return None
    return KeptOriginal(
        txid,
        **values,  # type: ignore[arg-type]  # of the right kinds, as was seen
        aborted=hold.get("aborted") is True,
        handed_over=entry.get("handed_over") is True,
        named=named if isinstance(named := entry.get("named"), str) else "",
    )
