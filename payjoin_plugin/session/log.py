"""The event log: its JSON, and the session that it folds into.

    {"format": 1, "role": "receiver",
     "events": [{"at": 1795000000, "event": "created", …}, {"at": 1795000100, "event": "closed", "outcome": "abort"}]}

Reading is strict: an unknown kind or field, a missing field or a wrong type is UnreadableLog, never a guess. A new
field has a default and keeps `format`; anything else raises it and comes with an upgrade and a golden log in
tests/vectors/logs.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from functools import cache
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import IllegalEvent, PayjoinError, UnreadableLog
from ..wire.keys import PublicKey, SecretKey
from ..wire.ohttp import KeyConfig
from . import events as ev
from .ports import EventStore

FORMAT = 1

KINDS: dict[str, type] = {
    "created": ev.Created,
    "renewed_keys": ev.RenewedKeys,
    "retrieved_original": ev.RetrievedOriginal,
    "accepted_original": ev.AcceptedOriginal,
    "committed_contribution": ev.CommittedContribution,
    "signed_proposal": ev.SignedProposal,
    "posted_proposal": ev.PostedProposal,
    "refused_original": ev.RefusedOriginal,
    "created_sender": ev.CreatedSender,
    "posted_original": ev.PostedOriginal,
    "closed": ev.Closed,
}
"""The words in the file, fixed for ever; so are the class names, which the commands say."""

OUTCOMES: dict[str, type] = {
    "success": ev.Success,
    "proposal_received": ev.ProposalReceived,
    "failure": ev.Failure,
    "abort": ev.Abort,
    "fallback": ev.Fallback,
    "unrecognized": ev.Unrecognized,
}
"""A unit outcome is its word alone; one that carries something is `{word: {…}}`."""

KIND_OF = {cls: word for words in (KINDS, OUTCOMES) for word, cls in words.items()}

_KEYS: dict[type, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    bytes: (bytes, bytes),
    SecretKey: (lambda key: key.raw, SecretKey),
    PublicKey: (lambda key: key.compressed, PublicKey),
    KeyConfig: (KeyConfig.to_bytes, KeyConfig.from_bytes),
}
"""What is written as hex."""


@dataclass(frozen=True)
class Record:
    """An event and when it was recorded."""

    at: int
    """Unix time in seconds."""
    event: ev.Event


def encode_record(record: Record) -> dict[str, Any]:
    """Return `record` as JSON-able values."""
    return {"at": record.at, "event": KIND_OF[type(record.event)], **_encode_fields(record.event)}


def decode_record(raw: object) -> Record:
    """Read one record. Raises UnreadableLog."""
    if not isinstance(raw, Mapping):
        raise UnreadableLog("a record is no object")
    values = dict(raw)
    at, word = values.pop("at", None), values.pop("event", None)
    if type(at) is not int or not isinstance(word, str):
        raise UnreadableLog("a record lacks its time or its event")
    if not 0 <= at < 2**32:  # as in a block; far beyond it no calendar goes
        raise UnreadableLog("a record's time is none")
    if word not in KINDS:
        raise UnreadableLog(f"unknown event {word!r}")
    return Record(at, _decode_fields(KINDS[word], values))


def decode_log(raw: object, *, role: str) -> list[Record]:
    """Read a whole stored log of `role`. Raises UnreadableLog."""
    return [decode_record(record) for record in raw_events(raw, role=role)]


def raw_events(raw: object, *, role: str) -> Sequence[object]:
    """Return the undecoded events of a stored log after checking its head. Raises UnreadableLog."""
    if not isinstance(raw, Mapping):
        raise UnreadableLog("the log is no object")
    number = raw.get("format")
    if type(number) is not int or number < 1:
        raise UnreadableLog("the log has no format number")
    if number > FORMAT:
        raise UnreadableLog(f"the log has format {number}, this version reads {FORMAT}", newer=True)
    if set(raw) != {"format", "role", "events"} or raw["role"] != role:
        raise UnreadableLog("the log's head is damaged")
    records = raw["events"]
    if not isinstance(records, Sequence) or isinstance(records, str) or not records:
        raise UnreadableLog("the log has no events")
    return records


def empty_log(*, role: str) -> dict[str, Any]:
    """Return the head of a new log."""
    return {"format": FORMAT, "role": role, "events": []}


State = TypeVar("State")
E = TypeVar("E", bound=ev.Event)


class Session(Generic[State, E]):
    """A log and the state that it folds into. May be used from any thread: the store's lock guards each move."""

    def __init__(
        self, session_id: str, store: EventStore, apply: Callable[[State | None, E], State], records: Sequence[Record]
    ) -> None:
        """Fold `records`. Raises UnreadableLog where they do not follow each other."""
        self.id = session_id
        self.records = list(records)
        self._store = store
        self._apply = apply
        self.state = replay(records, apply)

    def record(self, event: E, *, now: int, after: State | None = None) -> bool:
        """Append `event`, in memory. With `after`: only if the session still stands there; else return False.

        Raises IllegalEvent, and then nothing was recorded.
        """
        with self._store.lock:
            if after is not None and self.state is not after:
                return False
            state = self._apply(self.state, event)
            record = Record(now, event)
            self._store.append(self.id, encode_record(record))
            self.records.append(record)
            self.state = state
        return True


def replay(records: Sequence[Record], apply: Callable[[State | None, E], State]) -> State:
    """Fold `records` into a state. Raises UnreadableLog."""
    state: State | None = None
    try:
        for record in records:
            state = apply(state, record.event)  # type: ignore[arg-type]  # the role was checked with the head
    except IllegalEvent as illegal:
        raise UnreadableLog(str(illegal)) from illegal
    if state is None:
        raise UnreadableLog("the log has no events")
    return state


def _encode_fields(value: Any) -> dict[str, Any]:
    return {field.name: _encode(getattr(value, field.name)) for field in fields(value)}


def _encode(value: Any) -> Any:
    if type(value) in _KEYS:
        return _KEYS[type(value)][0](value).hex()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if type(value) in OUTCOMES.values():
        inner, word = _encode_fields(value), KIND_OF[type(value)]
        return {word: inner} if inner else word
    if hasattr(value, "__dataclass_fields__"):
        return _encode_fields(value)
    return value


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _decode_fields(cls: type, values: Mapping[str, Any]) -> Any:
    known = {field.name: field for field in fields(cls)}
    if unknown := set(values) - set(known):
        raise UnreadableLog(f"{cls.__name__} has unknown fields {sorted(unknown)}")
    missing = [name for name, field in known.items() if name not in values and field.default is MISSING]
    if missing:
        raise UnreadableLog(f"{cls.__name__} lacks {missing}")
    return cls(**{name: _decode(_hints(cls)[name], value) for name, value in values.items()})


def _decode(hint: Any, value: Any) -> Any:
    hint = getattr(hint, "__supertype__", hint)  # a NewType
    if hint == ev.Outcome:
        return _decode_outcome(value)
    if get_origin(hint) in (Union, types.UnionType):
        (inner,) = (kind for kind in get_args(hint) if kind is not type(None))
        return None if value is None else _decode(inner, value)
    if get_origin(hint) is tuple and isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_decode(get_args(hint)[0], item) for item in value)
    try:
        if hint in _KEYS and isinstance(value, str):
            return _KEYS[hint][1](bytes.fromhex(value))
        if isinstance(hint, type) and issubclass(hint, Enum):
            return hint(value)
    except (ValueError, PayjoinError) as error:
        raise UnreadableLog(f"a value is no {hint.__name__}") from error
    if hasattr(hint, "__dataclass_fields__") and isinstance(value, Mapping):
        return _decode_fields(hint, value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise UnreadableLog(f"a value is no {hint}")


def _decode_outcome(value: Any) -> Any:
    word, inner = (value, {}) if isinstance(value, str) else _single(value)
    if word not in OUTCOMES:
        raise UnreadableLog(f"unknown outcome {word!r}")
    if bool(inner) != bool(fields(OUTCOMES[word])):
        raise UnreadableLog(f"the outcome {word!r} is damaged")
    return _decode_fields(OUTCOMES[word], inner)


def _single(value: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(value, Mapping) and len(value) == 1:
        ((word, inner),) = value.items()
        if isinstance(word, str) and isinstance(inner, Mapping):
            return word, inner
    raise UnreadableLog("an outcome is neither a word nor an object with one")
