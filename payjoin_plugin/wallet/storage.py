"""The plugin's part of the wallet file.

    plugin_data/payjoin = {"version": 1,
                           "sessions": {id: {"format", "role", "events": [{"at", "event", …}, …]}},
                           "waiting": {request id: since}, "declined": {request id: true},
                           "seen": [[outpoint, session id], …], "exposed": [outpoint, …], "coin_secret": hex,
                           "directory_keys": {…}}
    payjoin_originals   = {txid: {"tx", "session_id", …}}          (wallet/kept.py)

The second stands at the top of the file: Electrum deletes a plugin's data where the plugin is missing, and an original
is money. Only plain JSON goes in, and only by the operations that Electrum tracks: an item set or popped of a
dictionary, an append to or a removal from a list. Anything else would be lost, or would break the file.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from electrum.i18n import _

from ..errors import UnreadableLog
from ..session.log import empty_log
from .barrier import Barrier
from .kept import KeptOriginals, plain

if TYPE_CHECKING:
    from electrum.stored_dict import StoredDict
    from electrum.wallet import Abstract_Wallet

VERSION = 1
SEEN_KEPT = 4000
"""Inputs of answered originals that are remembered, and as many coins of ours that they were shown."""
_MAPPINGS = ("sessions", "waiting", "declined", "directory_keys")


class WalletStore:
    """One wallet's session logs and what stands beside them. Everything but `flush` may be called from any thread.

    Storage that is damaged, or that a newer version made, is left as it is: writing raises `UnreadableLog`.
    """

    def __init__(self, wallet: Abstract_Wallet, storage: StoredDict) -> None:
        """`storage`: what Electrum's `plugin.get_storage(wallet)` returns."""
        self._wallet = wallet
        self._storage = storage
        self._barrier = Barrier(wallet)
        self.kept = KeptOriginals(wallet, self._barrier)
        self.unreadable = _fault_of(storage)
        """Why nothing may be written; None where all is well."""
        self._session_of_request = _index(self._sessions())
        self._seen: dict[str, str] = {} if self.unreadable else dict(storage.get("seen", ()))

    # The barrier

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Electrum's own lock of the wallet file. Re-entrant."""
        lock: AbstractContextManager[Any] = self._wallet.db.lock
        return lock

    @property
    def saves(self) -> int:
        """How often we made Electrum write its file."""
        return self._barrier.saves

    async def flush(self) -> None:
        """Return when all that was written before the call is on disk. Raises OSError."""
        await self._barrier.flush()

    async def quiet(self) -> None:
        """Return when no save of ours is under way: who records then does not hold up the event loop."""
        await self._barrier.quiet()

    def flush_now(self) -> None:
        """Do as `flush`, blocking: for Qt's thread. Raises OSError."""
        self._barrier.flush_now()

    def close(self) -> None:
        """Never save again. From here on a flush with something to save raises OSError."""
        self._barrier.close()

    # Session logs

    def session_ids(self) -> list[str]:
        """Return the IDs of all sessions, unreadable ones too, in no particular order."""
        with self.lock:
            return list(self._sessions())

    def raw_log(self, session_id: str) -> object:
        """Return a log as it is stored; do not change it. Raises UnreadableLog where nothing here can be read.

        And where it is gone: Electrum prunes the logs where it lacks the plugin, and keeps the originals.
        """
        self._check_readable()
        try:
            return self._sessions()[session_id]
        except KeyError:
            raise UnreadableLog(_("it is gone")) from None

    def create(self, session_id: str, *, role: str, record: Mapping[str, Any]) -> None:
        """Begin a new log with its first record, in memory."""
        with self.lock:
            sessions = self._to_write("sessions", {})
            if session_id in sessions:
                raise ValueError(f"session {session_id} exists")
            sessions[session_id] = {**empty_log(role=role), "events": [plain(record)]}
            if isinstance(request_id := record.get("request_id"), str):
                self._session_of_request[request_id] = session_id

    def append(self, session_id: str, record: Mapping[str, Any]) -> None:
        """Append a record to a log, in memory. Raises UnreadableLog where the log is damaged."""
        with self.lock:
            log = self._to_write("sessions", {}).get(session_id)
            events = log.get("events") if isinstance(log, Mapping) else None
            if not isinstance(events, list):
                raise UnreadableLog("the log has no events")
            events.append(plain(record))

    def session_of_request(self, request_id: str) -> str | None:
        """Return the session of a payment request, the newest where there are several."""
        return self._session_of_request.get(request_id)

    # Requests without a session

    def set_waiting(self, request_id: str, since: int) -> None:
        """Remember a request that payjoin was wanted for but not possible yet. `since`: unix time in seconds."""
        with self.lock:
            self._to_write("waiting", {})[request_id] = since

    def drop_waiting(self, request_id: str) -> None:
        """Forget that a request waits for its session."""
        self._drop("waiting", request_id)

    def waiting_requests(self) -> dict[str, int]:
        """Return the waiting requests and since when they wait (unix time in seconds)."""
        with self.lock:
            return dict(self._to_read("waiting"))

    def decline(self, request_id: str) -> None:
        """Remember that the user wants a request without payjoin."""
        with self.lock:
            self._to_write("declined", {})[request_id] = True

    def is_declined(self, request_id: str) -> bool:
        """Tell whether the user wants a request without payjoin."""
        return request_id in self._to_read("declined")

    def forget_request(self, request_id: str) -> None:
        """Drop both marks of a request that was deleted. Its session's log stays."""
        self._drop("waiting", request_id)
        self._drop("declined", request_id)

    # Against probing

    def mark_seen(self, outpoints: Iterable[str], session_id: str) -> None:
        """Remember the inputs of an original that got a proposal: the newest 4,000 of the whole wallet."""
        with self.lock:
            seen = self._to_write("seen", [])
            for outpoint in outpoints:
                if outpoint not in self._seen:
                    self._seen[outpoint] = session_id
                    seen.append([outpoint, session_id])
            while len(seen) > SEEN_KEPT:
                oldest = seen[0]
                seen.remove(oldest)
                self._seen.pop(oldest[0], None)

    def seen_before(self, outpoint: str, session_id: str) -> bool:
        """Tell whether another session has shown a coin to an original that spends `outpoint`."""
        return self._seen.get(outpoint, session_id) != session_id

    def mark_exposed(self, outpoints: Iterable[str]) -> None:
        """Remember coins of ours that a proposal shows to somebody: they are offered first to the next one."""
        with self.lock:
            exposed = self._to_write("exposed", [])
            for outpoint in outpoints:
                if outpoint not in exposed:
                    exposed.append(outpoint)
            while len(exposed) > SEEN_KEPT:
                exposed.remove(exposed[0])

    def exposed(self) -> frozenset[str]:
        """Return the coins of ours that proposals have shown, spent ones among them."""
        with self.lock:
            return frozenset(() if self.unreadable else self._storage.get("exposed", ()))

    def coin_secret(self) -> bytes:
        """Return the 32 bytes that order this wallet's coins the same way for ever; they are made at the first call."""
        with self.lock:
            if "coin_secret" not in self._storage:
                self._to_write("coin_secret", secrets.token_hex(32))
            return bytes.fromhex(self._storage["coin_secret"])

    # OHTTP keys

    def directory_keys(self) -> dict[str, Any]:
        """Return the directories' keys as they were stored."""
        with self.lock:
            return dict(plain(self._to_read("directory_keys")))

    def set_directory_keys(self, keys: Mapping[str, Any]) -> None:
        """Store the directories' keys. They can be fetched again: Electrum's next save takes them, none of ours."""
        with self.lock:
            self._check_readable()
            self._storage.setdefault("version", VERSION)
            self._storage["directory_keys"] = plain(keys)

    # How it is read and written

    def _check_readable(self) -> None:
        if self.unreadable is not None:  # a new one each time: one that is raised again and again grows
            raise UnreadableLog(str(self.unreadable), newer=self.unreadable.newer)

    def _sessions(self) -> Mapping[str, object]:
        return self._to_read("sessions")

    def _to_read(self, name: str) -> Mapping[str, Any]:
        part = self._storage.get(name)
        return part if isinstance(part, Mapping) else {}

    def _to_write(self, name: str, default: object) -> Any:
        """Return a part of the storage that the caller, who holds the lock, is about to change."""
        self._check_readable()
        self._storage.setdefault("version", VERSION)
        part = self._storage.setdefault(name, default)
        self._barrier.mark()
        return part

    def _drop(self, part: str, request_id: str) -> None:
        with self.lock:
            if request_id in self._to_read(part):
                self._to_write(part, {}).pop(request_id)


def _fault_of(storage: Mapping[str, Any]) -> UnreadableLog | None:
    version = storage.get("version", VERSION)
    if type(version) is int and version > VERSION:
        return UnreadableLog(_("Payjoin's data in this wallet was made by a newer version of Payjoin."), newer=True)
    sound = (
        type(version) is int
        and version >= 1
        and all(isinstance(storage.get(part, {}), Mapping) for part in _MAPPINGS)
        and _are_pairs(storage.get("seen", []))
        and _are_texts(storage.get("exposed", []))
        and _is_secret(storage.get("coin_secret", "00" * 32))
    )
    return None if sound else UnreadableLog(_("Payjoin's data in this wallet is damaged."))


def _are_pairs(seen: object) -> bool:
    return isinstance(seen, list) and all(_are_texts(pair) and len(pair) == 2 for pair in seen)


def _are_texts(texts: object) -> bool:
    return isinstance(texts, list) and all(isinstance(text, str) for text in texts)


def _is_secret(text: object) -> bool:
    try:
        return isinstance(text, str) and len(bytes.fromhex(text)) == 32
    except ValueError:
        return False


def _index(sessions: Mapping[str, object]) -> dict[str, str]:
    """Return the session of each request by the first record of each log; nothing is decoded."""
    newest: dict[str, tuple[int, str]] = {}
    for session_id, log in sessions.items():
        match log:
            case {"events": [{"request_id": str(request_id), "at": int(at)}, *_]}:
                newest[request_id] = max(newest.get(request_id, (at, session_id)), (at, session_id))
    return {request_id: session_id for request_id, (_, session_id) in newest.items()}
