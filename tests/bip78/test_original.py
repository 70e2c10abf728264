from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from electrum.transaction import PartialTransaction, TxOutput
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.bip78.original import read_original
from payjoin_plugin.bip78.parameters import Parameters
from payjoin_plugin.bip78.psbt import Psbt, parse, psbt_bytes, psbt_of, serialize
from payjoin_plugin.errors import Fault, NotYetKnown, OriginalRefused
from tests.bip78.originals import AMOUNT, check, fault_of
from tests.bip78.payments import ALICE, BOB, KINDS, Account, Money, Payment, payment, vectors


@pytest.mark.parametrize("kind", KINDS)
def test_a_payment_is_accepted(kind: str) -> None:
    assert check(payment(kind)) == (0,)


def test_a_payment_out_of_coins_of_all_kinds_is_accepted() -> None:
    assert check(payment(*KINDS)) == (0,)


def test_bip_78s_own_original_is_read() -> None:
    original = read_original(vectors("bip78")["bip78"]["original_psbt"])
    assert original.fee_sat == vectors("bip78")["bip78"]["original_fee_sat"]
    assert original.outpoints == ("833b085de288cda6ff614c6e8655f61e7ae4f84604a2751998dc25a0d1ba278f:0",)
    assert list(original.input_scripts.values()) == [bytes.fromhex("a914de4e1e9061ca59135b035ad5e6d47990454354d087")]


@pytest.mark.parametrize("name", ["multiparty_original_psbt_one", "multiparty_original_psbt_two"])
def test_an_original_that_lacks_signatures_is_refused(name: str) -> None:
    assert fault_of(lambda: read_original(vectors("bip78")["rust_payjoin_test_utils"][name])) in (
        Fault.NOT_SIGNED,
        Fault.NOT_A_PAYMENT,
    )


def test_a_sweep_is_accepted() -> None:
    made = payment()
    assert check(replace(made, outputs=made.outputs[:1])) == (0,)


def test_more_than_was_asked_is_accepted() -> None:
    assert check(payment(amount=AMOUNT + 1)) == (0,)


def test_two_outputs_may_make_up_the_amount() -> None:
    made = payment()
    halves = ((BOB.script, AMOUNT // 2), made.outputs[1], (BOB.script, AMOUNT // 2))
    assert check(replace(made, outputs=halves)) == (0, 2)


def test_less_than_was_asked_is_refused() -> None:
    assert fault_of(lambda: check(payment(amount=AMOUNT - 1))) is Fault.PAYS_TOO_LITTLE


def test_a_payment_to_somebody_else_is_refused() -> None:
    made = replace(payment(), outputs=((ALICE.script, AMOUNT),))
    assert fault_of(lambda: check(made)) is Fault.PAYS_SOMETHING_ELSE


def test_a_payment_to_another_script_of_the_same_key_is_refused() -> None:
    made = replace(payment(), outputs=((Account.of("Bob", "p2pkh").script, AMOUNT),))
    assert fault_of(lambda: check(made)) is Fault.PAYS_SOMETHING_ELSE


@pytest.mark.parametrize("text", ["", "garbage", "cHNidP8BAH", psbt_of(b"psbt\xff\x00")])
def test_what_is_no_psbt_is_no_payment(text: str) -> None:
    assert fault_of(lambda: read_original(Psbt(text))) is Fault.NOT_A_PAYMENT


@given(st.binary(max_size=200))
def test_any_psbt_like_bytes_are_no_payment(junk: bytes) -> None:
    assert fault_of(lambda: read_original(psbt_of(b"psbt\xff" + junk))) is Fault.NOT_A_PAYMENT


RAW = psbt_bytes(payment("p2wpkh", "p2wpkh-p2sh").original())


@given(at=st.integers(5, len(RAW) - 1), put=st.binary(min_size=1, max_size=5))
def test_a_damaged_original_is_refused_or_still_the_same_payment(at: int, put: bytes) -> None:
    damaged = psbt_of(RAW[:at] + put + RAW[at + len(put) :])
    made = payment("p2wpkh", "p2wpkh-p2sh")
    try:
        check(made, psbt=damaged)
    except (OriginalRefused, NotYetKnown):
        pass
    else:
        assert read_original(damaged).fallback == read_original(made.original()).fallback


def changed(made: Payment, change: Callable[[PartialTransaction], None]) -> Psbt:
    tx = parse(made.original())
    change(tx)
    return serialize(tx)


def test_an_unsigned_original_is_refused() -> None:
    unsigned = serialize(payment().unsigned())
    assert fault_of(lambda: read_original(unsigned)) is Fault.NOT_SIGNED


def test_one_unsigned_input_is_enough_to_be_refused() -> None:
    def forget(tx: PartialTransaction) -> None:
        tx.inputs()[1].witness = None

    assert fault_of(lambda: read_original(changed(payment("p2wpkh", "p2wpkh"), forget))) is Fault.NOT_SIGNED


def test_a_partial_signature_is_not_final() -> None:
    made = payment()
    tx = made.unsigned()
    owner = made.coins[0].owner
    tx.inputs()[0].script_descriptor = owner.descriptor
    tx.sign({owner.keys[0]: owner.secrets[0]})
    assert tx.inputs()[0].sigs_ecdsa
    assert fault_of(lambda: read_original(serialize(tx))) is Fault.NOT_SIGNED


def test_an_input_that_does_not_say_what_it_spends_is_refused() -> None:
    bare = serialize(PartialTransaction.from_tx(payment().transaction(), strip_witness=False))
    assert fault_of(lambda: read_original(bare)) is Fault.NOT_A_PAYMENT


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_signature_is_refused(kind: str) -> None:
    made = payment(kind)
    other = replace(made, outputs=((BOB.script, AMOUNT), (ALICE.script, 90_000))).signed()

    def swap(tx: PartialTransaction) -> None:
        tx.inputs()[0].witness = other.inputs()[0].witness
        tx.inputs()[0].script_sig = other.inputs()[0].script_sig

    assert fault_of(lambda: check(made, psbt=changed(made, swap))) is Fault.NOT_SIGNED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sighash", [0x02, 0x03, 0x81])
def test_a_signature_that_leaves_something_open_is_refused(kind: str, sighash: int) -> None:
    assert fault_of(lambda: check(replace(payment(kind), sighash=sighash))) is Fault.NOT_SIGNED


def lie_about_the_value(tx: PartialTransaction) -> None:
    txin = tx.inputs()[0]
    txin.witness_utxo = TxOutput(scriptpubkey=txin.witness_utxo.scriptpubkey, value=txin.witness_utxo.value + 1)


def test_a_segwit_input_cannot_lie_about_its_value() -> None:
    made = payment()
    assert fault_of(lambda: check(made, psbt=changed(made, lie_about_the_value))) is Fault.NOT_SIGNED


def test_a_legacy_input_cannot_lie_about_its_value() -> None:
    """Its signature does not commit to it; the previous transaction tells."""
    made = payment("p2pkh")

    def lie(tx: PartialTransaction) -> None:
        [txin] = tx.inputs()
        txin.convert_utxo_to_witness_utxo()
        lie_about_the_value(tx)

    assert fault_of(lambda: check(made, psbt=changed(made, lie))) is Fault.NOT_SIGNED


def test_a_fee_below_the_relay_fee_is_refused() -> None:
    made = payment(rate=1000)
    assert check(made, replace(made.facts(), relay_fee_rate=990)) == (0,)
    assert fault_of(lambda: check(made, replace(made.facts(), relay_fee_rate=1010))) is Fault.FEE_TOO_SMALL


def test_a_node_counts_whole_virtual_bytes() -> None:
    made = payment()
    first = made.coins[0]
    size = 4 * -(-made.transaction().estimated_weight() // 4)
    for missing, accepted in [(0, True), (1, False)]:
        exact = replace(made, coins=(Money.of(first.owner, first.value - made.fee + size - missing),))
        facts = replace(exact.facts(), relay_fee_rate=1000)
        assert exact.fee == size - missing
        if accepted:
            assert check(exact, facts) == (0,)
        else:
            assert fault_of(partial(check, exact, facts)) is Fault.FEE_TOO_SMALL


def test_a_tenth_of_a_satoshi_per_vbyte_is_enough_where_it_is_relayed() -> None:
    made = payment(rate=26)
    assert check(made, replace(made.facts(), relay_fee_rate=25)) == (0,)


def test_more_out_than_in_is_refused_even_where_nodes_want_no_fee() -> None:
    made = payment(rate=1000)
    coin = made.coins[0]
    poor = replace(made, coins=(Money.of(coin.owner, 1000),))
    assert fault_of(lambda: check(poor, replace(poor.facts(), relay_fee_rate=0))) is Fault.FEE_TOO_SMALL


def test_a_fee_below_the_senders_own_minimum_is_refused() -> None:
    made = payment(rate=1000)
    assert check(made, parameters=Parameters(min_fee_rate=1000)) == (0,)
    assert fault_of(lambda: check(made, parameters=Parameters(min_fee_rate=1010))) is Fault.FEE_TOO_SMALL


def test_a_satoshi_of_rounding_is_forgiven() -> None:
    made = payment(rate=1001)
    short = replace(made, coins=(Money.of(made.coins[0].owner, made.coins[0].value - 1),))
    assert check(short, parameters=Parameters(min_fee_rate=1001)) == (0,)


@pytest.mark.parametrize(
    "made",
    [
        payment(change=293),
        payment(amount=293),
        replace(payment(), version=0),
        replace(payment(), version=4),
        replace(payment(), coins=payment().coins * 2),
        replace(payment(), outputs=((BOB.script, AMOUNT), (b"\x51", 90_000))),
        replace(payment(), outputs=((BOB.script, AMOUNT), *[(ALICE.script, 400)] * 3500)),
    ],
    ids=["dusty change", "dusty payment", "version 0", "version 4", "an outpoint twice", "odd output", "too heavy"],
)
def test_what_no_node_relays_is_refused(made: Payment) -> None:
    assert fault_of(lambda: check(made, amount=1)) is Fault.NOT_STANDARD


def test_what_was_checked_is_what_would_be_broadcast() -> None:
    made = payment(*KINDS)
    original = read_original(made.original())
    assert original.fallback.hex() == made.transaction().serialize()
    assert original.txid == made.transaction().txid()
    assert original.weight == made.transaction().estimated_weight()
    assert original.fee_sat == made.fee
    assert original.outpoints == tuple(coin.outpoint for coin in made.coins)
    assert list(original.input_scripts.values()) == [coin.owner.script for coin in made.coins]
