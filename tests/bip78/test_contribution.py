from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from payjoin_plugin.bip78.contribution import (
    Coin,
    FeeLimits,
    contribute,
)
from payjoin_plugin.bip78.original import Original, read_original
from payjoin_plugin.bip78.parameters import AdditionalFee, Parameters, from_query
from payjoin_plugin.bip78.psbt import parse, parse_as_is, psbt_bytes, psbt_of, serialize
from payjoin_plugin.bip78.standard import dust_limit
from payjoin_plugin.errors import Fault, OriginalRefused
from tests.bip78.payments import (
    ALICE,
    KINDS,
    Money,
    bobs_coin,
    payment,
    vectors,
)
from tests.bip78.proposals import PLENTY, added, input_fields, read

# Money


def reference_original() -> Original:
    return read_original(vectors("bip78")["bip78"]["original_psbt"])


def reference_coin() -> Coin:
    """A P2SH-P2WPKH coin of 2 000 000 sat, as in the vectors."""
    return bobs_coin(2_000_000, kind="p2wpkh-p2sh").coin()


REFERENCE_RATE = 500
"""sat/kwu that the reference was told to charge. Ours charges the original's own: 332 sat for 661 weight units, 502."""


@pytest.mark.parametrize(
    "case",
    [case for case in vectors("receiver_fee_vectors")["cases"] if case["min_sat_per_kwu"] == REFERENCE_RATE],
    ids=lambda case: f"{case['query']} at most {case['max_sat_per_kwu']}",
)
def test_the_reference_divides_the_fee_the_same(case: dict[str, Any]) -> None:
    limits = FeeLimits(max_rate=case["max_sat_per_kwu"] + 2, max_sat=10**6, min_rate=250)
    original = reference_original()
    asked = from_query(case["query"])
    give = partial(contribute, original, asked, reference_coin(), payment_vout=1, limits=limits, position=1)
    if "error" in case:
        with pytest.raises(OriginalRefused) as refusal:
            give()
        assert refusal.value.fault is Fault.COSTS_TOO_MUCH
        return
    made = give()
    change, paid = (txout.value for txout in parse(made.proposal).outputs())
    assert (change, paid) == (case["change_value"], case["payment_value"] - 1)  # 183 sat at 502, where 500 makes 182


@pytest.mark.parametrize(
    "query",
    [
        "maxadditionalfeecontribution=182&additionalfeeoutputindex=1",
        "maxadditionalfeecontribution=100000000&additionalfeeoutputindex=0",
        "maxadditionalfeecontribution=182&additionalfeeoutputindex=2",
        "maxadditionalfeecontribution=0&additionalfeeoutputindex=0",
        "",
    ],
    ids=["our own output", "more than it holds", "no such output", "nothing", "no offer"],
)
def test_an_offer_that_means_nothing_leaves_the_fee_to_us(query: str) -> None:
    made = contribute(
        reference_original(), from_query(query), reference_coin(), payment_vout=1, limits=PLENTY, position=0
    )
    assert (made.sender_fee_sat, made.receiver_fee_sat) == (0, 183)


def test_the_sender_pays_what_was_offered() -> None:
    made = added(payment(rate=1000), additional_fee=AdditionalFee(max_sat=272, output_index=1))
    assert (made.sender_fee_sat, made.receiver_fee_sat) == (272, 0)


def test_we_pay_what_the_offer_lacks() -> None:
    made = added(payment(rate=1000), additional_fee=AdditionalFee(max_sat=200, output_index=1))
    assert (made.sender_fee_sat, made.receiver_fee_sat) == (200, 72)


def test_the_sender_pays_no_more_than_their_software_lets_pass() -> None:
    """The rate is rounded down before it is multiplied (the reference's sender does so)."""
    made = payment(rate=1000)
    generous = added(made, additional_fee=AdditionalFee(max_sat=5_000, output_index=1))
    assert generous.sender_fee_sat == 272


def test_a_relay_fee_that_rose_meanwhile_is_ours_to_pay() -> None:
    limits = replace(PLENTY, min_rate=2000)
    made = added(payment(rate=1000), limits=limits, additional_fee=AdditionalFee(max_sat=5_000, output_index=1))
    assert made.sender_fee_sat == 272
    assert made.receiver_fee_sat == 2 * (561 + 272) - 561 - 272


def test_the_senders_output_is_left_above_dust() -> None:
    made = payment(change=300, rate=1000)
    contribution = added(made, additional_fee=AdditionalFee(max_sat=272, output_index=1))
    assert contribution.sender_fee_sat == 6
    assert parse(contribution.proposal).outputs()[1].value == dust_limit(made.outputs[1][0])


def test_an_output_at_its_limit_gives_nothing() -> None:
    made = added(payment(change=294), additional_fee=AdditionalFee(max_sat=272, output_index=1))
    assert made.sender_fee_sat == 0


@pytest.mark.parametrize(
    ("limits", "coin"),
    [
        (replace(PLENTY, max_sat=271), bobs_coin()),
        (replace(PLENTY, max_rate=995), bobs_coin()),
        (PLENTY, bobs_coin(272)),
    ],
    ids=["in satoshi", "as a rate", "more than the coin brings"],
)
def test_a_share_beyond_the_limits_is_refused(limits: FeeLimits, coin: Money) -> None:
    with pytest.raises(OriginalRefused) as refusal:
        added(payment(rate=1000), coin, limits=limits)
    assert refusal.value.fault is Fault.COSTS_TOO_MUCH


def test_a_share_at_the_limits_is_paid() -> None:
    limits = FeeLimits(max_rate=1000, max_sat=272, min_rate=250)
    assert added(payment(rate=1000), bobs_coin(273), limits=limits).receiver_fee_sat == 272


def test_a_high_rate_is_no_harm_if_the_sender_pays() -> None:
    limits = FeeLimits(max_rate=0, max_sat=0, min_rate=250)
    offer = AdditionalFee(max_sat=6_800, output_index=1)
    assert added(payment(rate=25_000), limits=limits, additional_fee=offer).receiver_fee_sat == 0


# Shape


@pytest.mark.parametrize("position", [0, 1, 2])
def test_our_input_stands_where_it_was_drawn(position: int) -> None:
    made = payment("p2wpkh", "p2wpkh")
    coin = bobs_coin()
    outpoints = [txin.prevout.to_str() for txin in parse(added(made, coin, position=position).proposal).inputs()]
    assert outpoints.pop(position) == coin.outpoint
    assert outpoints == [sender.outpoint for sender in made.coins]


def test_our_input_copies_the_first_sequence() -> None:
    made = payment("p2wpkh", "p2wpkh")
    tx = made.unsigned()
    tx.inputs()[1].nsequence = 7
    for index, coin in enumerate(made.coins):
        coin.owner.sign(tx, index)
    original = read_original(psbt_of(tx.serialize_as_bytes(force_psbt=True)))
    made_of = contribute(original, Parameters(), bobs_coin().coin(), payment_vout=0, limits=PLENTY, position=2)
    assert [txin.nsequence for txin in parse(made_of.proposal).inputs()] == [0xFFFFFFFD, 7, 0xFFFFFFFD]


def test_version_and_locktime_stay() -> None:
    tx = parse(added(replace(payment(), version=1, locktime=77)).proposal)
    assert (tx.version, tx.locktime) == (1, 77)


def test_the_wallets_coin_is_not_changed() -> None:
    coin = bobs_coin().coin()
    before = coin.txin.to_json()
    contribute(read(payment()), Parameters(), coin, payment_vout=0, limits=PLENTY, position=0)
    assert coin.txin.to_json() == before


def test_the_original_is_not_changed() -> None:
    original = read(payment())
    before = serialize(original.tx)
    contribute(original, Parameters(), bobs_coin().coin(), payment_vout=0, limits=PLENTY, position=0)
    assert serialize(original.tx) == before


def test_nothing_of_the_senders_is_left_but_what_is_spent() -> None:
    """Not a signature, not a key path, not a field that nobody knows."""
    made = payment(*KINDS)
    tx = parse_as_is(made.original())
    for part in (*tx.inputs(), *tx.outputs()):
        part.bip32_paths = {ALICE.keys[0]: (b"\x01\x02\x03\x04", [0])}
        part._unknown = {b"\x77mine": b"secret"}
        part.redeem_script = None
    tx._unknown = {b"\x77mine": b"secret"}
    for txin in tx.inputs():
        txin.sigs_ecdsa = {ALICE.keys[0]: b"\x30"}
        txin.tap_key_sig = bytes(64)
        txin.sighash = 1
    original = read_original(serialize(tx))
    proposal = contribute(
        original, Parameters(), bobs_coin().coin(), payment_vout=0, limits=PLENTY, position=0
    ).proposal
    for _, fields in input_fields(proposal):
        assert fields <= {"utxo", "witness_utxo"}
    assert b"secret" not in psbt_bytes(proposal)


def with_many_outputs(count: int) -> Original:
    """An original as large as its number of outputs makes it."""
    one = payment(amount=50_000, change=500_000)
    many = ((ALICE.script, 1_000),) * count
    return read(replace(one, outputs=(*one.outputs, *many)).with_rate(1_000))


def test_an_original_too_large_to_be_answered_is_refused_before_a_coin_is_shown() -> None:
    coin = bobs_coin(1_000_000).coin()
    with pytest.raises(OriginalRefused) as refusal:
        contribute(with_many_outputs(180), Parameters(), coin, payment_vout=0, limits=PLENTY, position=0)
    assert refusal.value.fault is Fault.NOT_STANDARD


def test_a_large_original_that_can_be_answered_is_answered() -> None:
    coin = bobs_coin(1_000_000).coin()
    assert contribute(with_many_outputs(100), Parameters(), coin, payment_vout=0, limits=PLENTY, position=0).proposal
