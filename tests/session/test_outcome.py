"""How a session ends by what the wallet sees, told with the transactions of a whole payjoin."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from electrum.transaction import Transaction

from payjoin_plugin.bip78.psbt import Psbt
from payjoin_plugin.errors import IllegalEvent, UnreadableLog
from payjoin_plugin.session.events import (
    Closed,
    Failure,
    Fallback,
    Outcome,
    PostedOriginal,
    ProposalReceived,
    Success,
    Unrecognized,
)
from payjoin_plugin.session.log import Record, decode_record, encode_record, replay
from payjoin_plugin.session.outcome import Seen, is_conflict, is_payjoin, outcome_of
from payjoin_plugin.session.receiver import (
    CheckingOriginal,
    OpenState,
    SessionClosed,
    apply,
    committed_contribution,
    held_original,
)
from payjoin_plugin.session.sender import apply as apply_to_sender
from payjoin_plugin.session.sender import fallback_psbt
from payjoin_plugin.session.status import Details, details_of, payjoin_txid, read_head
from tests.bip78.payments import ALICE, BOB, KINDS, Payment, payment
from tests.helpers import START, jumping
from tests.pair import Pair
from tests.session.test_pair import HAPPY

SEGWIT = ("p2wpkh", "p2wsh", "p2tr")


def whole_payjoin(kind: str = "p2wpkh") -> Pair:
    """Sender and receiver, after all that they have to say."""
    pairs: list[Pair] = []

    @jumping
    async def run() -> None:
        pair = Pair(kind)
        await pair.run()
        pairs.append(pair)

    run()
    return pairs[0]


@pytest.fixture(scope="module")
def pair() -> Pair:
    return whole_payjoin()


def states(pair: Pair) -> list[OpenState]:
    """Where the receiver's session stood after each event."""
    records = pair.receiver.sessions[pair.session_id].records
    found = [replay(records[:length], apply) for length in range(1, len(records) + 1)]
    return [state for state in found if not isinstance(state, SessionClosed)]


def seen(tx: Transaction, *, confirmed: bool = False) -> Seen:
    pays = any(txout.scriptpubkey == BOB.script for txout in tx.outputs())
    return Seen(tx.txid(), bytes.fromhex(tx.serialize()), confirmed=confirmed, pays_request=pays)


def elsewhere(made: Payment, amount: int = 150_000) -> Transaction:
    """The sender's coins, spent for something else."""
    return replace(made, outputs=((ALICE.script, amount),)).transaction()


def other_payment(amount: int = 50_000) -> Transaction:
    """Somebody pays the request out of other coins."""
    return payment("p2wpkh", "p2wpkh", amount=amount).transaction()


@pytest.mark.parametrize("kind", KINDS)
def test_a_payjoin_that_is_seen_is_a_success_and_the_log_can_rebuild_it(kind: str) -> None:
    pair = whole_payjoin(kind)
    payjoin = pair.sender.payjoin()
    for state in states(pair)[-2:]:
        outcome = outcome_of(state, [seen(payjoin)], request_paid=True)
        assert isinstance(outcome, Success)
        event = decode_record(json.loads(json.dumps(encode_record(Record(START, Closed(outcome)))))).event
        assert event == Closed(outcome)
        closed = apply(state, Closed(outcome))
        assert payjoin_txid(closed) == payjoin.txid()
        assert details_of(closed).payjoin_txid == payjoin.txid()


def test_a_payjoin_counts_before_the_directory_said_that_it_took_the_answer(pair: Pair) -> None:
    state = states(pair)[HAPPY.index("SignedProposal")]
    assert isinstance(outcome_of(state, [seen(pair.sender.payjoin())], request_paid=False), Success)


@pytest.mark.parametrize("confirmed", [True, False])
def test_an_original_that_is_seen_ends_every_state_that_holds_it(pair: Pair, *, confirmed: bool) -> None:
    original = seen(pair.made.transaction(), confirmed=confirmed)
    for state in states(pair):
        if held_original(state) is not None:
            assert outcome_of(state, [original], request_paid=True) == Fallback()


def test_an_original_that_is_seen_while_it_is_checked_is_one_if_it_pays_the_request(pair: Pair) -> None:
    state = states(pair)[HAPPY.index("RetrievedOriginal")]
    original = seen(pair.made.transaction())
    assert isinstance(state, CheckingOriginal)
    assert outcome_of(state, [original], request_paid=True) == Fallback()
    assert outcome_of(state, [original], request_paid=False) is None


def test_what_came_may_be_no_transaction_at_all_when_another_one_pays(pair: Pair) -> None:
    state = states(pair)[HAPPY.index("RetrievedOriginal")]
    assert isinstance(state, CheckingOriginal)
    state = replace(state, retrieved=replace(state.retrieved, original=Psbt("cHNidP8=")))
    other = seen(other_payment())
    assert outcome_of(state, [other], request_paid=True) == Unrecognized(other.txid, pays_request=True)


def test_an_original_that_is_seen_before_it_reached_us_is_another_payment(pair: Pair) -> None:
    original = seen(pair.made.transaction())
    assert outcome_of(states(pair)[0], [original], request_paid=True) == Unrecognized(original.txid, pays_request=True)


def test_the_payjoin_is_looked_for_before_anything_else(pair: Pair) -> None:
    all_of_them = [seen(other_payment()), seen(pair.made.transaction()), seen(pair.sender.payjoin())]
    assert isinstance(outcome_of(states(pair)[-1], all_of_them, request_paid=True), Success)


def test_another_payment_of_the_whole_amount_ends_the_session(pair: Pair) -> None:
    other = seen(other_payment())
    for state in states(pair):
        assert outcome_of(state, [other], request_paid=True) == Unrecognized(other.txid, pays_request=True)


def test_less_than_the_amount_ends_nothing(pair: Pair) -> None:
    for state in states(pair):
        assert outcome_of(state, [seen(other_payment(10_000), confirmed=True)], request_paid=False) is None


def test_an_unconfirmed_double_spend_ends_nothing(pair: Pair) -> None:
    for state in states(pair):
        assert outcome_of(state, [seen(elsewhere(pair.made))], request_paid=False) is None


def test_a_confirmed_double_spend_ends_the_session_without_a_payment(pair: Pair) -> None:
    spent = seen(elsewhere(pair.made), confirmed=True)
    for state in states(pair):
        expected = Unrecognized(spent.txid, pays_request=False) if held_original(state) else None
        assert outcome_of(state, [spent], request_paid=False) == expected


def test_a_double_spend_is_what_spends_the_senders_coins_and_is_neither_original_nor_payjoin(pair: Pair) -> None:
    spent, original, payjoin, other = (
        seen(tx).raw for tx in (elsewhere(pair.made), pair.made.transaction(), pair.sender.payjoin(), other_payment())
    )
    for state in states(pair):
        assert is_conflict(state, spent) == (held_original(state) is not None)
        assert not is_conflict(state, original)
        assert not is_conflict(state, other)
    assert not is_conflict(states(pair)[-1], payjoin)
    assert is_payjoin(states(pair)[-1], payjoin)
    assert not is_payjoin(states(pair)[-1], original)


def test_a_payjoin_that_was_changed_is_none(pair: Pair) -> None:
    payjoin = pair.sender.payjoin()
    changed = Transaction(payjoin.serialize())
    changed.outputs()[1].value -= 1
    changed.invalidate_ser_cache()
    assert outcome_of(states(pair)[-1], [seen(changed)], request_paid=False) is None


def test_nothing_seen_ends_nothing(pair: Pair) -> None:
    for state in states(pair):
        assert outcome_of(state, [], request_paid=False) is None


# What the log tells meanwhile


def test_the_details_grow_with_the_log(pair: Pair) -> None:
    original_txid = pair.made.transaction().txid()
    details = [details_of(state) for state in states(pair)]
    nothing = Details(None, None, (), None, None, None)
    assert details[:2] == [nothing, nothing]
    assert details[2] == replace(nothing, original_txid=original_txid)
    committed = committed_contribution(states(pair)[-1])
    assert committed is not None
    for later in details[3:]:
        assert later.contributed == committed.outpoints
        assert later.contributed_sat == 80_000
        assert later.received_sat == 50_000 - committed.receiver_fee_sat
    assert details[3].payjoin_txid is None
    assert {later.payjoin_txid for later in details[4:]} == {pair.sender.payjoin().txid()}


@pytest.mark.parametrize("outcome", [Fallback(), Failure()], ids=["fallback", "failure"])
def test_a_session_that_ended_otherwise_keeps_its_details(pair: Pair, outcome: Outcome) -> None:
    for state in states(pair):
        assert details_of(apply(state, Closed(outcome))) == details_of(state)


# The ends of a log


def test_a_senders_end_is_no_receivers() -> None:
    raw = {"format": 1, "role": "receiver", "events": []}
    pair = whole_payjoin()
    created = encode_record(pair.receiver.sessions[pair.session_id].records[0])
    closed = encode_record(Record(START, Closed(ProposalReceived(pair.made.original()))))
    with pytest.raises(UnreadableLog):
        read_head(raw | {"events": [created, closed]}, now=START)


def test_no_events_are_no_session() -> None:
    with pytest.raises(UnreadableLog):
        replay([], apply)


def test_an_outcome_is_a_word_or_an_object(pair: Pair) -> None:
    with pytest.raises(UnreadableLog):
        decode_record({"at": START, "event": "closed", "outcome": 7})
    with pytest.raises(UnreadableLog):
        decode_record({"at": START, "event": "closed", "outcome": {"success": 7}})


def test_a_senders_session_begins_once_and_ends_once(pair: Pair) -> None:
    state = pair.sender.session.state
    with pytest.raises(IllegalEvent):
        apply_to_sender(state, PostedOriginal())
    with pytest.raises(IllegalEvent):
        apply_to_sender(None, PostedOriginal())
    assert fallback_psbt(state) == pair.made.original()
