"""A sender's payment as it lies in the wallet file beside the logs, read entry by entry.

    payjoin_originals = {txid: {"tx", HOLD…, "handed_over", "named", "vanished_at", "also": {session id: {HOLD…}}}}
    HOLD              = "session_id", "request_id", "address", "amount_sat", "since_height", "label", "at",
                        "contributed", "aborted", "deleted_paid"

One transaction may pay several requests. The first session that holds it stands in the entry itself, and further ones
in "also", each with its own mark of an abort.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from electrum.wallet import Abstract_Wallet

    from .barrier import Barrier

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
    address: str | None = None
    """The request's, which the payment pays; it may pay others too. None: nobody wrote it down."""
    amount_sat: int | None = None
    """What the request asks for, in satoshis; the payment may be of more. None: nobody wrote it down."""
    since_height: int | None = None
    """Blocks up to this height have nothing for the request, whatever a reorg put into them. None: nobody wrote it
    down."""
    aborted: bool = False
    """The user ended its session, or deleted its request: it is never broadcast by itself for this one, even when its
    log is gone."""
    contributed: tuple[str, ...] = ()
    """Our coins (`txid:n`) that are out in a proposal beside it."""
    deleted_paid: bool = False
    """Its request was paid when the user deleted it, and we saw to that."""
    handed_over: bool = False
    """It became a local transaction of Electrum's when the plugin was taken out."""
    named: str = ""
    """The name that we gave that transaction; empty where it had one of the user's."""
    vanished_at: int | None = None
    """Since when (unix time in seconds) the server knows nothing of what made one of its coins; None where it does."""


class KeptOriginals:
    """The kept payments of one wallet file. What is said of one is in memory until the barrier's next save."""

    def __init__(self, wallet: Abstract_Wallet, barrier: Barrier) -> None:
        self._wallet, self._barrier = wallet, barrier

    def keep(
        self,
        txid: str,
        tx: str,
        *,
        session_id: str,
        request_id: str,
        address: str,
        amount_sat: int,
        since_height: int,
        label: str,
        at: int,
    ) -> None:
        """Keep a payment for a session.

        `tx`: all of it as hex; `amount_sat`: what was asked for, in satoshis; `at`: unix time in seconds.
        """
        hold = plain(
            {
                "session_id": session_id,
                "request_id": request_id,
                "address": address,
                "amount_sat": amount_sat,
                "since_height": since_height,
                "label": label,
                "at": at,
            }
        )
        with self._wallet.db.lock:
            kept = self._wallet.db.get_dict(ORIGINALS_KEY)
            if any(one.session_id != session_id for one in _read(txid, kept.get(txid))):
                if not isinstance(kept[txid].get("also"), MutableMapping):
                    kept[txid]["also"] = {}
                kept[txid]["also"][session_id] = hold
                kept[txid]["tx"] = tx
            else:
                kept[txid] = {"tx": tx, **hold}
            self._barrier.mark()

    def all(self) -> list[KeptOriginal]:
        """Return the payments, for each session that holds one. What cannot be read is left out, not deleted."""
        with self._wallet.db.lock:
            return [original for txid, entry in self._entries().items() for original in _read(txid, entry)]

    def of(self, txid: str) -> list[KeptOriginal]:
        """Return one payment, for each session that holds it. The others are not looked at: there may be hundreds."""
        with self._wallet.db.lock:
            return _read(txid, self._entries().get(txid))

    def has(self, txid: str) -> bool:
        """Tell whether a payment is kept, readable or not."""
        with self._wallet.db.lock:
            return txid in self._entries()

    def mark_contributed(self, txid: str, session_id: str, outpoints: Sequence[str]) -> None:
        """Remember the coins of ours (`txid:n`) that a session shows to who made a payment."""
        self._mark_hold(txid, session_id, contributed=list(outpoints))

    def mark_aborted(self, txid: str, session_id: str) -> None:
        """Remember that the user ended a session that holds a payment."""
        self._mark_hold(txid, session_id, aborted=True)

    def mark_requests_deleted(self, paid: Mapping[str, bool]) -> None:
        """Remember that the user wants no more of some requests: for these no payment goes out by itself.

        `paid`: which of them (request IDs) were paid. Such a payment is wanted all the same, should what paid vanish.
        """
        with self._wallet.db.lock:
            for hold in (one for entry in self._entries().values() for one in _holds(entry)):
                request_id = hold.get("request_id")
                if isinstance(request_id, str) and request_id in paid:
                    self._mark(hold, **({"deleted_paid": True} if paid[request_id] else {"aborted": True}))

    def mark_handed_over(self, txid: str, *, is_so: bool, named: str = "") -> None:
        """Remember whether a payment is a local transaction of Electrum's by our doing, and its name."""
        with self._wallet.db.lock:
            self._mark(self._entries().get(txid), handed_over=is_so, named=named)

    def mark_vanished(self, txid: str, since: int | None) -> None:
        """Remember since when (unix seconds) nobody knows what made one of a payment's coins; None: it is there.

        No save of ours is due for that: Electrum's next one takes it.
        """
        with self._wallet.db.lock:
            entry = self._entries().get(txid)
            if isinstance(entry, MutableMapping) and entry.get("vanished_at") != since:
                entry["vanished_at"] = since

    def drop(self, txid: str) -> None:
        """Forget a payment that will never be mined."""
        with self._wallet.db.lock:
            if self._wallet.db.get(ORIGINALS_KEY, {}).pop(txid, None) is not None:
                self._barrier.mark()

    def _mark_hold(self, txid: str, session_id: str, **marks: bool | list[str]) -> None:
        with self._wallet.db.lock:
            for hold in _holds(self._entries().get(txid)):
                if hold.get("session_id") == session_id:
                    self._mark(hold, **marks)

    def _entries(self) -> Mapping[str, object]:
        stored = self._wallet.db.get(ORIGINALS_KEY)
        return stored if isinstance(stored, Mapping) else {}

    def _mark(self, entry: object, **marks: bool | str | list[str]) -> None:
        if isinstance(entry, MutableMapping):
            for name, mark in marks.items():
                entry[name] = mark
            self._barrier.mark()


def plain(value: object) -> Any:
    """Return `value` as JSON would give it back. A value that is none raises here, before it can spoil the file."""
    return json.loads(json.dumps(value, allow_nan=False))


def _read(txid: str, entry: object) -> list[KeptOriginal]:
    return [original for hold in _holds(entry) if (original := _read_hold(txid, entry, hold)) is not None]


def _holds(entry: object) -> list[Mapping[str, object]]:
    """Return the parts of an entry, one for each session that holds the payment."""
    if not isinstance(entry, Mapping):
        return []
    also = entry.get("also")
    further = also.values() if isinstance(also, Mapping) else ()
    return [hold for hold in (entry, *further) if isinstance(hold, Mapping)]


def _read_hold(txid: str, entry: Any, hold: Mapping[str, object]) -> KeptOriginal | None:
    coins: Any = hold.get("contributed")
    values = {name: (entry if name == "tx" else hold).get(name) for name in _KINDS}
    if not all(isinstance(values[name], kind) for name, kind in _KINDS.items()):
        return None
    return KeptOriginal(
        txid,
        **values,  # type: ignore[arg-type]  # of the right kinds, as was seen
        address=address if isinstance(address := hold.get("address"), str) else None,
        amount_sat=amount_sat if isinstance(amount_sat := hold.get("amount_sat"), int) else None,
        since_height=height if isinstance(height := hold.get("since_height"), int) else None,
        contributed=tuple(one for one in coins if _is_outpoint(one)) if isinstance(coins, list) else (),
        aborted=hold.get("aborted") is True,
        deleted_paid=hold.get("deleted_paid") is True,
        handed_over=entry.get("handed_over") is True,
        named=named if isinstance(named := entry.get("named"), str) else "",
        vanished_at=since if isinstance(since := entry.get("vanished_at"), int) else None,
    )


def _is_outpoint(coin: object) -> bool:
    return isinstance(coin, str) and coin.count(":") == 1
