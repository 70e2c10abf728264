from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from electrum.bip32 import BIP32Node
from electrum.transaction import PartialTransaction, PartialTxInput, PartialTxOutput, TxOutpoint
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.bip78.contribution import FeeLimits, contribute, finish_proposal
from payjoin_plugin.bip78.original import read_original
from payjoin_plugin.bip78.parameters import AdditionalFee, Parameters
from payjoin_plugin.bip78.psbt import Psbt, parse, parse_as_is, psbt_bytes, psbt_of, serialize, spent_output
from payjoin_plugin.bip78.sender_checks import check_proposal
from payjoin_plugin.errors import DecodeError, ProposalRefused, ProtocolError
from tests.bip78.payments import ALICE, BOB, KINDS, Account, bobs_coin, payment, sign_ours, sign_senders, vectors

REFERENCE = vectors("sender_proposal_check_vectors")
PAYEE = parse(REFERENCE["original_psbt"]).outputs()[REFERENCE["payee_output_index"]].scriptpubkey


def judge(case: dict[str, Any]) -> Psbt:
    index = case["fee_output_index"]
    return check_proposal(
        case["proposal_psbt"],
        REFERENCE["original_psbt"],
        parameters=Parameters(
            output_substitution=case["output_substitution_allowed"],
            additional_fee=None if index is None else AdditionalFee(case["max_additional_fee"], index),
            min_fee_rate=case["min_fee_rate_sat_per_kwu"],
        ),
        payee_script=PAYEE,
    )


def what_matters(psbt: Psbt) -> list[object]:
    tx = parse(psbt)
    return [
        tx.serialize_to_network(include_sigs=False),
        [(spent_output(txin), txin.script_sig or None, txin.witness) for txin in tx.inputs()],
    ]


@pytest.mark.parametrize(
    "case", [case for case in REFERENCE["cases"] if case["accepted"]], ids=lambda case: case["case"]
)
def test_the_reference_accepts_the_same_and_signs_the_same(case: dict[str, Any]) -> None:
    assert what_matters(judge(case)) == what_matters(case["processed_psbt"])


RULES = {
    "no contribution offered but fee output reduced": "an output of ours shrank",
    "tx version changed": "the version changed",
    "sender sequence changed": "the sequence of an input of ours changed",
    "receiver sequence differs": "an added input has another sequence",
    "sender input removed": "an input of ours is missing or moved",
    "sender input has final witness": "an input of ours is final",
    "sender input has final scriptsig": "an input of ours is final",
    "sender input sighash ALL|ANYONECANPAY": "another sighash type is asked for",
    "receiver input not finalized": "an added input is not final",
    "receiver input no utxo": "an added input does not say what it spends",
    "payee took the fee contribution": "the receiver kept our contribution to the fee",
    "absolute fee decreased": "the fee sank",
    "payment decreased below original, substitution disallowed": "the payment changed, which was forbidden",
    "payment output removed, substitution allowed": "an output of ours is missing or moved",
    "change output removed": "an output of ours is missing or moved",
    "min fee rate far above": "the fee rate is too low",
}


@pytest.mark.parametrize(
    "case", [case for case in REFERENCE["cases"] if not case["accepted"]], ids=lambda case: case["case"]
)
def test_the_reference_refuses_the_same_for_the_same_reason(case: dict[str, Any]) -> None:
    with pytest.raises(ProposalRefused) as refusal:
        judge(case)
    assert refusal.value.rule == RULES[case["case"]]


def test_bip_78s_own_proposal_is_accepted() -> None:
    given_in_bip = vectors("bip78")["bip78"]
    restored = check_proposal(
        given_in_bip["payjoin_proposal"],
        given_in_bip["original_psbt"],
        parameters=Parameters(additional_fee=AdditionalFee(182, 0)),
        payee_script=PAYEE,
    )
    assert what_matters(restored) == what_matters(given_in_bip["payjoin_proposal_with_sender_info"])


# Our own proposals, and what an evil receiver might make of them


MADE = payment("p2wpkh", "p2pkh", rate=1000)
COIN = bobs_coin()
ASKED = Parameters(version=2, additional_fee=AdditionalFee(max_sat=200, output_index=1), min_fee_rate=1000)
_UNSIGNED = contribute(
    read_original(MADE.original()),
    ASKED,
    COIN.coin(),
    payment_vout=0,
    limits=FeeLimits(max_rate=2000, max_sat=10_000, min_rate=250),
    position=1,
).proposal
PROPOSAL = finish_proposal(_UNSIGNED, sign_ours(_UNSIGNED, COIN), (COIN.outpoint,))


def check(proposal: Psbt = PROPOSAL, **asked: Any) -> Psbt:
    return check_proposal(proposal, MADE.original(), parameters=replace(ASKED, **asked), payee_script=BOB.script)


def refused(change: Callable[[PartialTransaction], None], **asked: Any) -> str:
    """The rule that a changed proposal breaks."""
    tx = parse_as_is(PROPOSAL)
    change(tx)
    with pytest.raises(ProposalRefused) as refusal:
        check(serialize(tx), **asked)
    return refusal.value.rule


def test_our_own_proposal_is_accepted_and_can_be_signed() -> None:
    tx = sign_senders(check(), MADE.coins)
    assert [txin.prevout.to_str() for txin in tx.inputs()] == [
        MADE.coins[0].outpoint,
        COIN.outpoint,
        MADE.coins[1].outpoint,
    ]


def test_our_own_proposal_is_accepted_without_substitution() -> None:
    assert check(output_substitution=False) == check()


def set_locktime(tx: PartialTransaction) -> None:
    tx.locktime -= 1


def add_xpub(tx: PartialTransaction) -> None:
    secret = BIP32Node.from_rootseed(bytes(16), xtype="standard")
    tx.xpubs[BIP32Node.from_xkey(secret.to_xpub())] = (bytes(4), [])


def add_input_path(tx: PartialTransaction) -> None:
    tx.inputs()[0].bip32_paths[ALICE.keys[0]] = (bytes(4), [0])


def add_output_path(tx: PartialTransaction) -> None:
    tx.outputs()[1].bip32_paths[ALICE.keys[0]] = (bytes(4), [0])


def add_partial_signature(tx: PartialTransaction) -> None:
    tx.inputs()[0].sigs_ecdsa[ALICE.keys[0]] = b"\x30\x01"


def add_taproot_signature(tx: PartialTransaction) -> None:
    tx.inputs()[1].tap_key_sig = bytes(64)


def swap_inputs(tx: PartialTransaction) -> None:
    tx._inputs.reverse()


def repeat_input(tx: PartialTransaction) -> None:
    tx._inputs.append(tx._inputs[1])


def swap_outputs(tx: PartialTransaction) -> None:
    tx._outputs.reverse()


def take_more(tx: PartialTransaction) -> None:
    tx.outputs()[1].value -= 1


def take_from_payment(tx: PartialTransaction) -> None:
    tx.outputs()[0].value = 49_999


def redirect_payment(tx: PartialTransaction) -> None:
    tx.outputs()[0].scriptpubkey = Account.of("Mallory").script


def redirect_change(tx: PartialTransaction) -> None:
    tx.outputs()[1].scriptpubkey = Account.of("Mallory").script


def add_before_payment(tx: PartialTransaction) -> None:
    tx._outputs.insert(0, PartialTxOutput(scriptpubkey=Account.of("Mallory").script, value=1_000))
    tx.outputs()[1].value -= 1_000


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (set_locktime, "the locktime changed"),
        (add_xpub, "an xpub was added"),
        (add_input_path, "an input has a key path"),
        (add_output_path, "an output has a key path"),
        (add_partial_signature, "an input has a partial signature"),
        (add_taproot_signature, "an input has a partial signature"),
        (swap_inputs, "an input of ours is missing or moved"),
        (repeat_input, "an input stands there twice"),
        (swap_outputs, "an output of ours is missing or moved"),
        (take_more, "more was taken than offered"),
        (redirect_change, "an output of ours is missing or moved"),
    ],
)
def test_each_liberty_is_refused(change: Callable[[PartialTransaction], None], rule: str) -> None:
    assert refused(change) == rule


@pytest.mark.parametrize("change", [take_from_payment, redirect_payment, add_before_payment])
def test_without_substitution_the_payment_stays(change: Callable[[PartialTransaction], None]) -> None:
    assert refused(change, output_substitution=False) == "the payment changed, which was forbidden"


def test_with_substitution_the_receiver_may_be_paid_elsewhere() -> None:
    tx = parse_as_is(PROPOSAL)
    redirect_payment(tx)
    assert parse(check(serialize(tx))).outputs()[0].scriptpubkey == Account.of("Mallory").script


def add_light_inputs_only(tx: PartialTransaction) -> None:
    del tx._inputs[1]
    tx.outputs()[0].value = 50_000


def test_nothing_may_be_taken_where_nothing_was_added() -> None:
    assert refused(add_light_inputs_only) == "more was taken than the added inputs weigh"


def test_a_proposal_that_lies_about_our_coins_is_checked_by_what_we_know() -> None:
    tx = parse_as_is(PROPOSAL)
    txin = tx.inputs()[0]
    txin.witness_utxo.value += 100_000
    assert check(serialize(tx)) == check()


def test_an_original_that_does_not_say_what_it_spends_is_no_base() -> None:
    bare = serialize(PartialTransaction.from_tx(MADE.transaction(), strip_witness=False))
    with pytest.raises(ProposalRefused):
        check_proposal(PROPOSAL, bare, parameters=ASKED, payee_script=BOB.script)


RAW = psbt_bytes(PROPOSAL)


@given(at=st.integers(5, len(RAW) - 1), put=st.binary(min_size=1, max_size=5))
def test_a_damaged_proposal_costs_the_sender_nothing(at: int, put: bytes) -> None:
    try:
        restored = parse(check(psbt_of(RAW[:at] + put + RAW[at + len(put) :]), output_substitution=False))
    except ProtocolError:
        return
    by_script = {txout.scriptpubkey: txout.value for txout in restored.outputs()}
    assert by_script[BOB.script] >= 50_000
    assert by_script[MADE.outputs[1][0]] >= MADE.outputs[1][1] - 200


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(junk: bytes) -> None:
    with pytest.raises(DecodeError):
        check(psbt_of(b"psbt\xff" + junk))


@pytest.mark.parametrize("kind", KINDS)
def test_a_receiver_may_contribute_any_kind_of_input(kind: str) -> None:
    """Not ours, but a sender meets others."""
    coin = bobs_coin(kind=kind)
    tx = parse(_UNSIGNED)
    txin = coin.txin()
    tx._inputs[1] = txin
    tx.outputs()[0].value = 50_000 + coin.value - 2_000
    tx.invalidate_ser_cache()
    coin.owner.sign(tx, 1)
    for other in (tx.inputs()[0], tx.inputs()[2]):
        assert not other.is_complete()
    assert check(serialize(tx), additional_fee=AdditionalFee(200, 1))


def test_an_input_of_nobody_is_refused() -> None:
    def add(tx: PartialTransaction) -> None:
        tx._inputs.append(
            PartialTxInput(prevout=TxOutpoint(bytes([7]) * 32, 0), nsequence=0xFFFFFFFD, script_sig=b"\x51")
        )

    assert refused(add) == "an added input does not say what it spends"
