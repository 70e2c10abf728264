"""The JSON of the log, and the session that it folds into."""

from __future__ import annotations

import contextlib
import copy
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.errors import IllegalEvent, UnreadableLog
from payjoin_plugin.session.events import Closed, Event
from payjoin_plugin.session.log import (
    FORMAT,
    Record,
    Session,
    decode_log,
    decode_record,
    empty_log,
    encode_record,
    replay,
)
from payjoin_plugin.session.receiver import SessionClosed, WaitingForOriginal, apply
from tests.session.samples import CLOSED, CREATED, HAPPY, OUTCOMES, POSTED, RECEIVER_EVENTS, RETRIEVED, VECTORS

GOLDEN = sorted((VECTORS / "logs").glob("*.json"))
EVERY: tuple[Event, ...] = (*RECEIVER_EVENTS, *(Closed(outcome) for outcome in OUTCOMES))


class ListStore:
    """An event store in memory."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.appended: list[Mapping[str, Any]] = []

    def append(self, session_id: str, record: Mapping[str, Any]) -> None:
        self.appended.append(record)

    async def quiet(self) -> None:
        raise AssertionError

    async def flush(self) -> None:
        """Memory has no disk."""


def stored(*events: Event) -> dict[str, Any]:
    raw = empty_log(role="receiver")
    raw["events"] = [encode_record(Record(1_795_000_000 + number, event)) for number, event in enumerate(events)]
    return json.loads(json.dumps(raw))


@pytest.mark.parametrize("event", EVERY, ids=lambda event: type(event).__name__)
def test_every_event_comes_back_from_json_as_it_was(event: Event) -> None:
    record = Record(1_795_000_000, event)
    assert decode_record(json.loads(json.dumps(encode_record(record)))) == record


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_log_replays_for_ever(path: Path) -> None:
    golden = json.loads(path.read_text())
    records = decode_log(golden["log"], role="receiver")
    for length in range(1, len(records) + 1):
        replay(records[:length], apply)
    assert type(replay(records, apply)).__name__ == golden["state"]


def test_there_is_a_golden_log_of_this_format() -> None:
    assert any(json.loads(path.read_text())["log"]["format"] == FORMAT for path in GOLDEN)


def test_a_newer_format_is_told_apart_from_damage() -> None:
    raw = stored(CREATED)
    raw["format"] = FORMAT + 1
    with pytest.raises(UnreadableLog) as caught:
        decode_log(raw, role="receiver")
    assert caught.value.newer


def damaged() -> list[tuple[str, Any]]:
    def with_event(change: Any) -> dict[str, Any]:
        raw = stored(*HAPPY)
        change(raw["events"])
        return raw

    def at(number: int, **changes: Any) -> Any:
        return lambda events: events[number].update(changes)

    return [
        ("no object", []),
        ("no format", {"role": "receiver", "events": stored(CREATED)["events"]}),
        ("no events", {"format": 1, "role": "receiver", "events": []}),
        ("events that are text", {"format": 1, "role": "receiver", "events": "created"}),
        ("another role", stored(CREATED) | {"role": "sender"}),
        ("an unknown head", stored(CREATED) | {"extra": 1}),
        ("an unknown event", with_event(at(0, event="began"))),
        ("an event without a time", with_event(lambda events: events[0].pop("at"))),
        ("a time that no calendar has", with_event(lambda events: events[0].update(at=10**30))),
        ("a time before all times", with_event(lambda events: events[0].update(at=-1))),
        ("a time that is text", with_event(at(0, at="1795000000"))),
        ("an unknown field", with_event(at(0, colour="red"))),
        ("a missing field", with_event(lambda events: events[0].pop("address"))),
        ("a number that is text", with_event(at(0, amount_sat="2000000"))),
        ("a number that is a truth value", with_event(at(0, amount_sat=True))),
        ("a key that is no hex", with_event(at(0, receiver_key="zz"))),
        ("a key that is none", with_event(at(0, receiver_key="00" * 32))),
        ("a key of a wrong length", with_event(at(1, reply_key="02"))),
        ("a directory's keys cut short", with_event(at(0, ohttp_keys="0100"))),
        ("outputs that are no list", with_event(at(2, payment_vouts=1))),
        ("outputs that are text", with_event(at(2, payment_vouts=["1"]))),
        ("an unknown outcome", with_event(at(6, outcome="won"))),
        ("an outcome with too much", with_event(at(6, outcome={"abort": {"reason": "tired"}}))),
        ("an outcome with too little", with_event(at(6, outcome="success"))),
        ("two outcomes", with_event(at(6, outcome={"abort": {}, "failure": {}}))),
        ("an event that does not follow", with_event(lambda events: events.pop(1))),
        ("two ends", with_event(lambda events: events.append(copy.deepcopy(events[-1])))),
        ("a record that is no object", with_event(lambda events: events.__setitem__(0, None))),
    ]


@pytest.mark.parametrize("raw", [raw for _, raw in damaged()], ids=[name for name, _ in damaged()])
def test_a_damaged_log_is_unreadable_and_never_guessed_at(raw: Any) -> None:
    with pytest.raises(UnreadableLog):
        replay(decode_log(raw, role="receiver"), apply)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    )
)
def test_any_json_is_a_log_or_unreadable(raw: Any) -> None:
    with contextlib.suppress(UnreadableLog):
        replay(decode_log(raw, role="receiver"), apply)


def test_recording_appends_and_moves() -> None:
    store = ListStore()
    session = Session("a", store, apply, [Record(1, CREATED)])
    assert session.record(RETRIEVED, now=2)
    assert [record["event"] for record in store.appended] == ["retrieved_original"]
    assert not isinstance(session.state, WaitingForOriginal)


def test_an_illegal_event_leaves_no_trace() -> None:
    store = ListStore()
    session = Session("a", store, apply, [Record(1, CREATED)])
    with pytest.raises(IllegalEvent):
        session.record(POSTED, now=2)
    assert store.appended == []
    assert isinstance(session.state, WaitingForOriginal)
    assert len(session.records) == 1


def test_an_event_that_comes_after_the_session_moved_is_dropped() -> None:
    store = ListStore()
    session = Session("a", store, apply, [Record(1, CREATED)])
    before = session.state
    session.record(CLOSED, now=2)
    assert not session.record(RETRIEVED, now=3, after=before)
    assert isinstance(session.state, SessionClosed)
    assert len(store.appended) == 1


def test_secrets_do_not_show_in_a_representation() -> None:
    text = " ".join(repr(event) for event in RECEIVER_EVENTS)
    assert "cHNidP" not in text
    for number in (1, 2, 3, 4):
        assert bytes([number]).hex() * 32 not in text
        assert repr(bytes([number]) * 32) not in text
