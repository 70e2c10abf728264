from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from electrum.transaction import PartialTransaction, PartialTxInput, Transaction, TxOutpoint, TxOutput

from payjoin_plugin.bip78.contribution import (
    ANSWER_LIMIT,
    INPUT_WEIGHTS,
    Coin,
    Contribution,
    FeeLimits,
    choose_coin,
    contribute,
    finish_proposal,
)
from payjoin_plugin.bip78.original import Original, read_original
from payjoin_plugin.bip78.parameters import AdditionalFee, Parameters, from_query
from payjoin_plugin.bip78.psbt import Psbt, parse, parse_as_is, psbt_bytes, psbt_of, serialize
from payjoin_plugin.bip78.relay import dust_limit
from payjoin_plugin.errors import Fault, OriginalRefused, WalletError
from tests.bip78.payments import (
    ALICE,
    BOB,
    KINDS,
    OUR_KINDS,
    Account,
    Money,
    Payment,
    bobs_coin,
    payment,
    sign_ours,
    vectors,
)

PLENTY = FeeLimits(max_rate=25_000, max_sat=100_000, min_rate=250)


def read(made: Payment) -> Original:
    return read_original(made.original())


def added(
    made: Payment, coin: Money | None = None, *, limits: FeeLimits = PLENTY, position: int = 0, **asked: Any
) -> Contribution:
    return contribute(
        read(made),
        Parameters(version=2, **asked),
        (coin or bobs_coin()).coin(),
        payment_vout=0,
        limits=limits,
        position=position,
    )


# Which coin


def choose(made: Payment, coins: list[Money], *, exposed: tuple[Money, ...] = (), vout: int = 0) -> str | None:
    """Choose among `coins` and return the chosen outpoint."""
    chosen = choose_coin(
        read(made),
        [coin.coin() for coin in coins],
        payment_vout=vout,
        exposed=frozenset(coin.outpoint for coin in exposed),
    )
    return chosen.outpoint if chosen else None


def test_no_coin_no_choice() -> None:
    assert choose(payment(), []) is None


def test_one_of_the_senders_own_inputs_is_no_choice() -> None:
    made = payment()
    assert choose(made, [made.coins[0]]) is None


def test_the_first_coin_that_leaves_no_input_unnecessary_is_taken() -> None:
    # Alice pays 50 000 out of about 150 000 and keeps 100 000. After a coin of 80 000 the smallest output is the change
    # of 100 000, and the input of 80 000 would not have been needed. After 120 000 it is.
    small, large, larger = bobs_coin(80_000), bobs_coin(120_000), bobs_coin(130_000)
    assert choose(payment(), [small, large, larger]) == large.outpoint


def test_the_payments_old_value_does_not_count() -> None:
    """The reference's known fault: payment 1, change 4 000 000, a coin of 3 000 000 passes there."""
    made = payment(amount=1_000, change=4_000_000)
    bad, good = bobs_coin(3_000_000), bobs_coin(4_500_000)
    assert choose(made, [bad, good]) == good.outpoint


def test_three_outputs_are_looked_at_as_well() -> None:
    made = payment()
    made = replace(made, outputs=(*made.outputs, (ALICE.script, 100_000))).with_rate(1000)
    small, large = bobs_coin(80_000), bobs_coin(120_000)
    assert choose(made, [small, large]) == large.outpoint


def test_data_is_no_output_to_compare_with() -> None:
    made = payment()
    made = replace(made, outputs=(*made.outputs, (b"\x6a\x01x", 0)))
    small, large = bobs_coin(80_000), bobs_coin(120_000)
    assert choose(made, [small, large]) == large.outpoint


def test_a_sweep_has_nothing_to_avoid() -> None:
    made = payment()
    made = replace(made, outputs=made.outputs[:1])
    small, large = bobs_coin(1_000), bobs_coin(120_000)
    assert choose(made, [small, large]) == small.outpoint


def test_the_first_is_taken_if_none_fits() -> None:
    first, second = bobs_coin(80_000), bobs_coin(70_000)
    assert choose(payment(), [first, second]) == first.outpoint


@pytest.mark.parametrize("kind", OUR_KINDS)
def test_a_coin_of_the_senders_type_is_preferred(kind: str) -> None:
    coins = [bobs_coin(120_000, kind=other) for other in OUR_KINDS]
    assert choose(payment(kind), coins) == bobs_coin(120_000, kind=kind).outpoint


def test_another_type_is_better_than_none() -> None:
    coin = bobs_coin(kind="p2pkh")
    assert choose(payment("p2tr"), [coin]) == coin.outpoint


def test_a_coin_that_was_exposed_is_offered_again_whatever_shape_it_makes() -> None:
    fitting, exposed = bobs_coin(120_000), bobs_coin(80_000)
    assert choose(payment(), [fitting, exposed]) == fitting.outpoint
    assert choose(payment(), [fitting, exposed], exposed=(exposed,)) == exposed.outpoint


def test_among_exposed_coins_the_fitting_one_is_taken() -> None:
    small, large = bobs_coin(80_000), bobs_coin(120_000)
    assert choose(payment(), [small, large], exposed=(small, large)) == large.outpoint


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
    for _, fields in _input_fields(proposal):
        assert fields <= {"utxo", "witness_utxo"}
    assert b"secret" not in psbt_bytes(proposal)


def _input_fields(psbt: Psbt) -> list[tuple[str, set[str]]]:
    """The fields that each input has, by outpoint."""
    empty = PartialTxInput(prevout=TxOutpoint(bytes(32), 0))
    names = [*vars(empty), "utxo"]
    skip = {"prevout", "nsequence", "_TxInput__address", "_TxInput__scriptpubkey", "_TxInput__value_sats", "_utxo"}
    tx = parse_as_is(psbt)
    assert not tx.xpubs
    assert not tx._unknown
    for txout in tx.outputs():
        assert {None} == {txout.redeem_script, txout.witness_script}
        assert {} == txout.bip32_paths == txout._unknown
    return [
        (
            txin.prevout.to_str(),
            {
                name.removeprefix("_")
                for name in names
                if name not in skip and getattr(txin, name) != getattr(empty, name) and not name.startswith("_is_")
            },
        )
        for txin in tx.inputs()
    ]


# Finishing


def finished(made: Payment, coin: Money) -> Psbt:
    unsigned = added(made, coin).proposal
    return finish_proposal(unsigned, sign_ours(unsigned, coin), (coin.outpoint,))


@pytest.mark.parametrize("kind", OUR_KINDS)
def test_our_input_is_final_and_nobody_elses(kind: str) -> None:
    coin = bobs_coin(kind=kind)
    fields = dict(_input_fields(finished(payment(*KINDS), coin)))
    ours = fields.pop(coin.outpoint)
    assert (
        ours
        == {
            "p2wpkh": {"witness_utxo", "witness"},
            "p2wpkh-p2sh": {"witness_utxo", "witness", "script_sig"},
            "p2pkh": {"utxo", "script_sig"},
        }[kind]
    )
    assert [sorted(names) for names in fields.values()] == [
        ["utxo"] if sender in ("p2pkh", "p2sh") else ["witness_utxo"] for sender in KINDS
    ]


@pytest.mark.parametrize("kind", OUR_KINDS)
def test_the_expected_weight_is_the_weight_of_the_longest_signature(kind: str) -> None:
    coin = bobs_coin(kind=kind)
    psbt = finished(payment(), coin)
    [txin] = [txin for txin in parse(psbt).inputs() if txin.prevout.to_str() == coin.outpoint]
    actual = 4 * len(txin.serialize_to_network(script_sig=txin.script_sig or b"")) + len(txin.witness or b"")
    low_r = 4 if kind == "p2pkh" else 1  # Electrum grinds for a short R: one byte less
    assert actual == INPUT_WEIGHTS[kind] - low_r


def test_a_senders_whole_previous_transaction_is_cut_to_what_segwit_needs() -> None:
    made = payment("p2wpkh")
    tx = parse(made.original())
    tx.inputs()[0].utxo = Transaction(made.coins[0].previous)
    original = read_original(serialize(tx))
    coin = bobs_coin()
    unsigned = contribute(original, Parameters(), coin.coin(), payment_vout=0, limits=PLENTY, position=0).proposal
    fields = dict(_input_fields(unsigned))
    assert fields[made.coins[0].outpoint] == {"utxo", "witness_utxo"}
    fields = dict(_input_fields(finish_proposal(unsigned, sign_ours(unsigned, coin), (coin.outpoint,))))
    assert fields[made.coins[0].outpoint] == {"witness_utxo"}


def test_an_answer_with_a_large_previous_transaction_still_fits() -> None:
    coin = Money.of(Account.of("Bob's coin", "p2pkh"), 80_000, vout=300)
    assert len(coin.previous) > ANSWER_LIMIT
    psbt = finished(payment(), coin)
    assert len(psbt_bytes(psbt)) < ANSWER_LIMIT
    assert dict(_input_fields(psbt))[coin.outpoint] == {"witness_utxo", "script_sig"}


def tampering(change: Callable[[PartialTransaction], None], *, after: bool = True) -> None:
    coin = bobs_coin()
    unsigned = added(payment(), coin).proposal
    tx = parse(sign_ours(unsigned, coin) if after else unsigned)
    change(tx)
    signed = serialize(tx) if after else sign_ours(serialize(tx), coin)
    finish_proposal(unsigned, signed, (coin.outpoint,))


def set_value(tx: PartialTransaction) -> None:
    tx.outputs()[0].value -= 1


def set_sequence(tx: PartialTransaction) -> None:
    tx.inputs()[1].nsequence = 0


def drop_output(tx: PartialTransaction) -> None:
    tx._outputs.pop()


def set_locktime(tx: PartialTransaction) -> None:
    tx.locktime = 1


def drop_signature(tx: PartialTransaction) -> None:
    for txin in tx.inputs():
        txin.witness = None


def damage_signature(tx: PartialTransaction) -> None:
    [txin] = [txin for txin in tx.inputs() if txin.has_witness()]
    txin.witness = txin.witness[:10] + b"\x00" + txin.witness[11:]


def declare_none(tx: PartialTransaction) -> None:
    for txin in tx.inputs():
        txin.sighash = 2


@pytest.mark.parametrize(
    "change", [set_value, set_sequence, drop_output, set_locktime, drop_signature, damage_signature]
)
def test_a_wallet_that_signed_something_else_is_not_believed(change: Callable[[PartialTransaction], None]) -> None:
    with pytest.raises(WalletError):
        tampering(change)


def test_a_wallet_that_signed_for_less_than_all_is_not_believed() -> None:
    with pytest.raises(WalletError):
        tampering(declare_none, after=False)


@pytest.mark.parametrize("signed", ["", "garbage", psbt_of(b"psbt\xff")])
def test_a_wallet_that_returns_nonsense_is_not_believed(signed: str) -> None:
    coin = bobs_coin()
    with pytest.raises(WalletError):
        finish_proposal(added(payment(), coin).proposal, Psbt(signed), (coin.outpoint,))


def test_a_wallet_that_signs_nothing_is_not_believed() -> None:
    coin = bobs_coin()
    unsigned = added(payment(), coin).proposal
    with pytest.raises(WalletError):
        finish_proposal(unsigned, unsigned, (coin.outpoint,))
    with pytest.raises(WalletError):
        finish_proposal(unsigned, sign_ours(unsigned, coin), ())
    with pytest.raises(WalletError):
        finish_proposal(unsigned, sign_ours(unsigned, coin), (coin.outpoint, bobs_coin(1_000).outpoint))


def test_what_a_wallet_adds_beside_the_signature_stays_at_home() -> None:
    coin = bobs_coin()
    made = payment()
    unsigned = added(made, coin).proposal
    tx = parse(sign_ours(unsigned, coin))
    for part in (*tx.inputs(), *tx.outputs()):
        part.bip32_paths = {coin.owner.keys[0]: (b"\x01\x02\x03\x04", [0])}
        part._unknown = {b"\x77mine": b"secret"}
    sender_input = tx.inputs()[1]
    sender_input.witness_utxo = TxOutput(scriptpubkey=sender_input.scriptpubkey, value=1)
    sender_input.witness = b"\x01\x01x"
    psbt = finish_proposal(unsigned, serialize(tx), (coin.outpoint,))
    assert psbt == finish_proposal(unsigned, sign_ours(unsigned, coin), (coin.outpoint,))


def test_bobs_payment_grows_by_the_coin_less_the_fee() -> None:
    tx = parse(finished(payment(rate=1000), bobs_coin(80_000)))
    assert tx.outputs()[0].scriptpubkey == BOB.script
    assert tx.outputs()[0].value == 50_000 + 80_000 - 272
