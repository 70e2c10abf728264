from __future__ import annotations

from collections.abc import Callable

import pytest
from electrum.transaction import PartialTransaction, Transaction, TxOutput

from payjoin_plugin.bip78.contribution import (
    ANSWER_LIMIT,
    INPUT_WEIGHTS,
    contribute,
    finish_proposal,
)
from payjoin_plugin.bip78.original import read_original
from payjoin_plugin.bip78.parameters import Parameters
from payjoin_plugin.bip78.psbt import Psbt, parse, psbt_bytes, psbt_of, serialize
from payjoin_plugin.errors import WalletError
from tests.bip78.payments import (
    BOB,
    KINDS,
    OUR_KINDS,
    Account,
    Money,
    bobs_coin,
    payment,
    sign_ours,
)
from tests.bip78.proposals import PLENTY, added, finished, input_fields


@pytest.mark.parametrize("kind", OUR_KINDS)
def test_our_input_is_final_and_nobody_elses(kind: str) -> None:
    coin = bobs_coin(kind=kind)
    fields = dict(input_fields(finished(payment(*KINDS), coin)))
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
    fields = dict(input_fields(unsigned))
    assert fields[made.coins[0].outpoint] == {"utxo", "witness_utxo"}
    fields = dict(input_fields(finish_proposal(unsigned, sign_ours(unsigned, coin), (coin.outpoint,))))
    assert fields[made.coins[0].outpoint] == {"witness_utxo"}


def test_an_answer_with_a_large_previous_transaction_still_fits() -> None:
    coin = Money.of(Account.of("Bob's coin", "p2pkh"), 80_000, vout=300)
    assert len(coin.previous) > ANSWER_LIMIT
    psbt = finished(payment(), coin)
    assert len(psbt_bytes(psbt)) < ANSWER_LIMIT
    assert dict(input_fields(psbt))[coin.outpoint] == {"witness_utxo", "script_sig"}


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
