"""Each state meets each event: it moves to a named state, or the event is illegal and nothing moves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from payjoin_plugin.errors import IllegalEvent
from payjoin_plugin.session.events import Abort, Closed, ReceiverEvent
from payjoin_plugin.session.receiver import (
    PostingError,
    ReceiverState,
    SessionClosed,
    apply,
    held_original,
)
from tests.session.samples import (
    ACCEPTED,
    CLOSED,
    COMMITTED,
    CREATED,
    OUTCOMES,
    RECEIVER_EVENTS,
    REFUSED,
    RENEWED,
    RETRIEVED,
    fold,
    open_states,
)

ARCHITECTURE = Path(__file__).parent.parent.parent / "docs" / "architecture.md"
EDGE = re.compile(r"^\s*(\[\*\]|\w+) --> (\w+) ?: ?(\w+)\s*$", re.MULTILINE)


def edges() -> set[tuple[str, str, str]]:
    found = set()
    states: list[ReceiverState | None] = [None, *open_states(), fold(CREATED, CLOSED)]
    for state in states:
        for event in RECEIVER_EVENTS:
            try:
                after = apply(state, event)
            except IllegalEvent:
                continue
            name = type(state).__name__ if state is not None else "[*]"
            found.add((name, type(after).__name__, type(event).__name__))
    return found


def test_the_diagram_in_the_documentation_is_what_apply_does() -> None:
    text = ARCHITECTURE.read_text()
    block = text.split("<!-- receiver-diagram -->")[1]
    assert {(a, b, event) for a, b, event in EDGE.findall(block)} == edges()


def test_only_creation_begins_a_session() -> None:
    for event in RECEIVER_EVENTS:
        if event is not CREATED:
            with pytest.raises(IllegalEvent):
                apply(None, event)


@pytest.mark.parametrize("event", RECEIVER_EVENTS, ids=lambda event: type(event).__name__)
def test_nothing_follows_a_close(event: ReceiverEvent) -> None:
    with pytest.raises(IllegalEvent):
        apply(fold(CREATED, CLOSED), event)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_every_open_state_can_close_and_remembers_what_it_was(outcome: object) -> None:
    for state in open_states():
        closed = apply(state, Closed(outcome))  # type: ignore[arg-type]
        assert closed == SessionClosed(state, outcome)  # type: ignore[arg-type]


def test_new_keys_replace_the_old_ones_and_nothing_else() -> None:
    before, after = fold(CREATED), fold(CREATED, RENEWED)
    assert not isinstance(after, SessionClosed)
    assert after.created.ohttp_keys == RENEWED.ohttp_keys
    assert type(after) is type(before)


def test_an_original_is_held_once_it_was_accepted_and_not_before() -> None:
    assert held_original(fold(CREATED)) is None
    assert held_original(fold(CREATED, RETRIEVED)) is None
    assert held_original(fold(CREATED, RETRIEVED, ACCEPTED)) is not None


def test_an_original_refused_by_a_limit_of_ours_is_still_held() -> None:
    state = fold(CREATED, RETRIEVED, ACCEPTED, REFUSED)
    assert isinstance(state, PostingError)
    assert held_original(state) is not None
    assert held_original(fold(CREATED, RETRIEVED, REFUSED)) is None


def test_a_closed_session_still_gives_its_original() -> None:
    assert held_original(fold(CREATED, RETRIEVED, ACCEPTED, COMMITTED, Closed(Abort()))) is not None
