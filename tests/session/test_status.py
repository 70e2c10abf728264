"""What a person may know of a session."""

from __future__ import annotations

import pytest

from payjoin_plugin.errors import Fault, UnreadableLog
from payjoin_plugin.session.events import Abort, Closed, Failure, Fallback, Outcome, ReceiverEvent, Unrecognized
from payjoin_plugin.session.log import Record, empty_log, encode_record
from payjoin_plugin.session.receiver import held_original, holds_original
from payjoin_plugin.session.status import (
    Over,
    Stage,
    Status,
    Waiting,
    details_of,
    fault_of,
    read_contributed,
    read_expiry,
    read_head,
    read_over,
    stage_of,
)
from tests.session.samples import (
    ACCEPTED,
    CREATED,
    EXPIRES_AT,
    HAPPY,
    OURS,
    REFUSED,
    RENEWED,
    RETRIEVED,
    SUCCESS,
    fold,
    open_states,
)

OTHER = "ab" * 32


def head(*events: ReceiverEvent, now: int = EXPIRES_AT - 1) -> Status:
    return read_head(raw_log(*events), now=now).status


def raw_log(*events: ReceiverEvent) -> dict[str, object]:
    return empty_log(role="receiver") | {"events": [encode_record(Record(1, event)) for event in events]}


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (SUCCESS, Status.COMPLETED),
        (Failure(), Status.FAILED),
        (Abort(), Status.ABORTED),
        (Fallback(), Status.PAID_WITHOUT_PAYJOIN),
        (Unrecognized(OTHER, pays_request=True), Status.PAID_WITHOUT_PAYJOIN),
        (Unrecognized(OTHER, pays_request=False), Status.FAILED),
    ],
    ids=str,
)
def test_the_status_of_a_closed_session_is_its_outcomes(outcome: Outcome, status: Status) -> None:
    assert head(CREATED, Closed(outcome)) is status
    assert head(CREATED, Closed(outcome), now=EXPIRES_AT + 1) is status


@pytest.mark.parametrize(
    ("events", "over_when_expired"),
    [
        ((CREATED,), Over.LAPSED),
        ((CREATED, RENEWED, RENEWED), Over.LAPSED),
        ((CREATED, RETRIEVED), None),
        ((CREATED, RENEWED, RETRIEVED), None),
        (HAPPY[:-1], None),
    ],
)
def test_something_may_come_of_an_expired_session_only_if_something_came(
    events: tuple[ReceiverEvent, ...], over_when_expired: Over | None
) -> None:
    assert read_over(raw_log(*events), now=EXPIRES_AT) is over_when_expired
    assert read_over(raw_log(*events), now=EXPIRES_AT - 1) is None


def test_nothing_can_come_of_a_closed_session() -> None:
    assert read_over(raw_log(*HAPPY), now=EXPIRES_AT - 1) is Over.CLOSED
    assert read_over(raw_log(CREATED, Closed(Abort())), now=EXPIRES_AT) is Over.CLOSED


@pytest.mark.parametrize("events", [["nonsense"], [{"event": "created", "expires_at": "soon"}], [{"event": "closed?"}]])
def test_a_damaged_log_is_not_over_until_somebody_has_read_it(events: list[object]) -> None:
    assert read_over(empty_log(role="receiver") | {"events": events}, now=EXPIRES_AT) is None
    with pytest.raises(UnreadableLog):
        read_over({"events": events}, now=EXPIRES_AT)


def test_expiry_is_inferred_from_the_clock() -> None:
    assert head(CREATED, now=EXPIRES_AT - 1) is Status.ACTIVE
    assert head(CREATED, now=EXPIRES_AT) is Status.EXPIRED


def test_the_status_looks_at_no_record_between_the_first_and_the_last() -> None:
    raw = empty_log(role="receiver")
    raw["events"] = [encode_record(Record(1, CREATED)), "damage", encode_record(Record(2, Closed(Abort())))]
    assert read_head(raw, now=0).status is Status.ABORTED


def test_a_log_that_does_not_begin_with_its_creation_is_unreadable() -> None:
    with pytest.raises(UnreadableLog):
        head(RETRIEVED)


def test_each_open_state_has_a_stage() -> None:
    assert [stage_of(state, None) for state in open_states()] == [
        Stage.WAITING_FOR_SENDER,
        Stage.CHECKING_ORIGINAL,
        Stage.CHECKING_ORIGINAL,
        Stage.CHECKING_ORIGINAL,
        Stage.POSTING_PROPOSAL,
        Stage.WAITING_FOR_BROADCAST,
        Stage.POSTING_ERROR,
    ]


def test_a_session_that_waits_for_the_wallet_says_so() -> None:
    assert stage_of(fold(*HAPPY[:3]), Waiting.LOCKED) is Stage.WAITING_FOR_WALLET
    assert stage_of(fold(*HAPPY[:5]), Waiting.DOUBLE_SPEND) is Stage.WAITING_FOR_WALLET


def test_a_closed_session_has_no_stage() -> None:
    assert stage_of(fold(*HAPPY), None) is None


def test_a_refusal_says_why_in_our_own_words() -> None:
    records = [Record(1, event) for event in (CREATED, RETRIEVED, REFUSED, Closed(Failure()))]
    assert fault_of(records) is Fault.COINS_GONE


def test_what_was_no_payment_at_all_says_so_too() -> None:
    assert fault_of([Record(1, CREATED), Record(2, Closed(Failure()))]) is Fault.NOT_A_PAYMENT


def test_a_session_that_goes_well_has_no_fault() -> None:
    assert fault_of([Record(1, event) for event in HAPPY]) is None


def test_details_come_from_the_log() -> None:
    details = details_of(fold(*HAPPY[:6]))
    assert details.original_txid is not None
    assert details.contributed == (OURS,)
    assert details.receiver_fee_sat == 0
    assert details.received_sat == 2_000_000


def test_the_payjoins_txid_is_not_foretold_where_a_senders_script_is_part_of_it() -> None:
    assert details_of(fold(*HAPPY[:6])).payjoin_txid is None


def test_the_contributed_coins_are_read_without_replay() -> None:
    raw = empty_log(role="receiver")
    raw["events"] = [encode_record(Record(1, CREATED)), "damage", *(encode_record(Record(1, e)) for e in HAPPY[3:])]
    assert read_contributed(raw) == (OURS,)


def test_a_log_without_a_contribution_has_none() -> None:
    raw = empty_log(role="receiver") | {"events": [encode_record(Record(1, CREATED))]}
    assert read_contributed(raw) == ()


def test_when_a_log_expires_is_read_without_the_rest() -> None:
    raw = empty_log(role="receiver")
    raw["events"] = [encode_record(Record(1, CREATED)), "damage"]
    assert read_expiry(raw) == EXPIRES_AT
    with pytest.raises(UnreadableLog):
        read_expiry(raw | {"events": ["damage"]})


def test_whether_an_original_is_held_is_known_without_reading_it() -> None:
    states = [*open_states(), fold(*HAPPY), fold(CREATED, RETRIEVED, ACCEPTED, REFUSED)]
    assert [holds_original(state) for state in states] == [held_original(state) is not None for state in states]
