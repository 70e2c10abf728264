"""What stands on the stack beside the signature, for every standard type of script."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import pytest
from electrum.bitcoin import construct_script, construct_witness, hash_160, opcodes, pubkeyhash_to_p2pkh_script
from electrum.crypto import sha256, sha256d
from electrum.transaction import Transaction, TxInput, TxOutpoint, TxOutput, multisig_script, script_GetOp
from electrum_ecc import ECPrivkey, ecdsa_der_sig_from_r_and_s

from payjoin_plugin.bip78.signatures import verify_inputs
from tests.bip78.payments import KINDS, Account, Money, Payment, payment
from tests.bip78.stacks import NESTED, is_valid, put, stack_of


@pytest.mark.parametrize("kind", KINDS)
def test_one_element_more_is_refused(kind: str) -> None:
    made = payment(kind)
    tx = made.transaction()
    assert not is_valid(put(tx, [b"\x02", *stack_of(tx)]), made)


@pytest.mark.parametrize("kind", KINDS)
def test_an_annex_is_refused(kind: str) -> None:
    made = payment(kind)
    tx = made.transaction()
    assert not is_valid(put(tx, [*stack_of(tx), b"\x50annex"]), made)


@pytest.mark.parametrize("kind", KINDS)
def test_one_element_less_is_refused(kind: str) -> None:
    made = payment(kind)
    tx = made.transaction()
    assert not is_valid(put(tx, stack_of(tx)[1:]), made)


@pytest.mark.parametrize("kind", KINDS)
def test_no_signature_at_all_is_refused(kind: str) -> None:
    made = payment(kind)
    tx = made.transaction()
    tx.inputs()[0].script_sig = b""
    tx.inputs()[0].witness = b"\x00"
    assert not is_valid(tx, made)


@pytest.mark.parametrize("kind", ["p2wpkh", "p2wsh", "p2tr"])
def test_native_segwit_has_no_script(kind: str) -> None:
    made = payment(kind)
    tx = made.transaction()
    tx.inputs()[0].script_sig = b"\x51"
    assert not is_valid(tx, made)


@pytest.mark.parametrize("kind", ["p2pkh", "p2sh"])
def test_a_legacy_input_has_no_witness(kind: str) -> None:
    made = payment(kind)
    tx = made.transaction()
    tx.inputs()[0].witness = construct_witness([b"x"])
    assert not is_valid(tx, made)


@pytest.mark.parametrize("kind", NESTED)
def test_nothing_stands_before_a_nested_script(kind: str) -> None:
    made = payment(kind)
    tx = made.transaction()
    tx.inputs()[0].script_sig = b"\x00" + tx.inputs()[0].script_sig
    assert not is_valid(tx, made)


@pytest.mark.parametrize("kind", NESTED)
def test_a_nested_script_without_witness_is_refused(kind: str) -> None:
    made = payment(kind)
    tx = made.transaction()
    tx.inputs()[0].witness = b"\x00"
    assert not is_valid(tx, made)


@pytest.mark.parametrize("script_sig", [b"\x4c", b"\x05x", b"\x61", b"\x4c\x01\x07", b"\x01\x07"])
@pytest.mark.parametrize("kind", ["p2pkh", "p2sh", *NESTED])
def test_a_script_that_is_no_list_of_minimal_pushes_is_refused(kind: str, script_sig: bytes) -> None:
    made = payment(kind)
    tx = made.transaction()
    tx.inputs()[0].script_sig = script_sig
    assert not is_valid(tx, made)


@pytest.mark.parametrize("kind", ["p2pkh", "p2sh", *NESTED])
def test_a_roundabout_push_is_refused(kind: str) -> None:
    made = payment(kind)
    tx = made.transaction()
    *_, (_, last, _) = script_GetOp(tx.inputs()[0].script_sig)
    before = tx.inputs()[0].script_sig[: -len(last)].rstrip(bytes([len(last)]))
    tx.inputs()[0].script_sig = before + b"\x4d" + len(last).to_bytes(2, "little") + last
    assert not is_valid(tx, made)


@pytest.mark.parametrize("kind", ["p2sh", "p2wsh", "p2wsh-p2sh"])
def test_multisig_signatures_stand_in_the_order_of_their_keys(kind: str) -> None:
    made = payment(kind)
    tx = made.transaction()
    dummy, first, second, script = stack_of(tx)
    assert not is_valid(put(tx, [dummy, second, first, script]), made)


@pytest.mark.parametrize("kind", ["p2sh", "p2wsh", "p2wsh-p2sh"])
def test_the_dummy_is_empty(kind: str) -> None:
    made = payment(kind)
    tx = made.transaction()
    assert not is_valid(put(tx, [b"\x01", *stack_of(tx)[1:]]), made)


@pytest.mark.parametrize("kind", ["p2sh", "p2wsh", "p2wsh-p2sh"])
def test_any_two_of_three_keys_will_do(kind: str) -> None:
    made = payment(kind)
    owner = made.coins[0].owner
    for missing in range(3):
        tx = made.unsigned()
        tx.inputs()[0].script_descriptor = owner.descriptor
        pairs = [(owner.keys[n], owner.secrets[n]) for n in range(3) if n != missing]
        for key, secret in pairs:
            tx.add_signature_to_txin(txin_idx=0, signing_pubkey=key, sig=tx.sign_txin(0, secret))
        assert is_valid(Transaction(tx.serialize()), made)


def spend_script(script: bytes, *, witness: bool) -> bool:
    """Whether a P2SH or P2WSH of `script` can be spent with nothing but that script."""
    locked = construct_script([0, sha256(script)]) if witness else b"\xa9\x14" + hash_160(script) + b"\x87"
    tx = payment().transaction()
    tx.inputs()[0].witness = construct_witness([b"", b"", script]) if witness else b"\x00"
    tx.inputs()[0].script_sig = b"" if witness else construct_script([b"", b"", script])
    return verify_inputs(tx, [TxOutput(scriptpubkey=locked, value=1)], [0])


KEY = Account.of("Alice").keys[0]


@pytest.mark.parametrize("witness", [False, True])
@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"\x51",
        b"\x4c",
        b"\x6a",
        construct_script([1, KEY, 1]),
        construct_script([1, 1, opcodes.OP_CHECKMULTISIG]),
        construct_script([0, KEY, 1, opcodes.OP_CHECKMULTISIG]),
        construct_script([1, KEY, 2, opcodes.OP_CHECKMULTISIG]),
        construct_script([1, KEY[:-1], 1, opcodes.OP_CHECKMULTISIG]),
        construct_script([1, *[KEY] * 16, 16, opcodes.OP_CHECKMULTISIG]),
        construct_script([1, KEY, 1, opcodes.OP_CHECKMULTISIGVERIFY]),
        construct_script([1, opcodes.OP_DUP, 1, opcodes.OP_CHECKMULTISIG]),
        construct_script([KEY, opcodes.OP_CHECKSIG]),
    ],
)
def test_other_scripts_are_refused(script: bytes, *, witness: bool) -> None:
    assert not spend_script(script, witness=witness)


@pytest.mark.parametrize("script", [b"", b"\x51", b"\x52\x02xy", KEY, construct_script([KEY, opcodes.OP_CHECKSIG])])
def test_outputs_of_other_types_are_refused(script: bytes) -> None:
    made = payment()
    assert not verify_inputs(made.transaction(), [TxOutput(scriptpubkey=script, value=made.coins[0].value)], [0])


def test_a_taproot_key_off_the_curve_is_refused() -> None:
    made = payment("p2tr")
    spent = TxOutput(scriptpubkey=b"\x51\x20" + b"\xff" * 32, value=made.coins[0].value)
    assert not verify_inputs(made.transaction(), [spent], [0])


def test_a_key_off_the_curve_is_refused() -> None:
    made = payment("p2wpkh")
    tx = made.transaction()
    key = b"\x02" + b"\xff" * 32
    put(tx, [stack_of(tx)[0], key])
    assert not verify_inputs(tx, [TxOutput(scriptpubkey=construct_script([0, hash_160(key)]), value=1)], [0])


class OldAccount(Account):
    """With keys from before 2012."""

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        return tuple(ECPrivkey(secret).get_public_key_bytes(compressed=False) for secret in self.secrets)


def uncompressed(kind: str) -> Payment:
    return replace(payment(), coins=(Money.of(OldAccount.of("Alice", kind), 200_000),))


@pytest.mark.parametrize("kind", ["p2pkh", "p2sh"])
def test_a_legacy_key_may_be_uncompressed(kind: str) -> None:
    made = uncompressed(kind)
    assert is_valid(made.transaction(), made)


def test_a_hybrid_key_is_refused() -> None:
    made = uncompressed("p2pkh")
    tx = made.transaction()
    signature, key = stack_of(tx)
    hybrid = bytes([6 + (key[-1] & 1)]) + key[1:]
    put(tx, [signature, hybrid])
    assert not verify_inputs(tx, [TxOutput(scriptpubkey=pubkeyhash_to_p2pkh_script(hash_160(hybrid)), value=1)], [0])


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("multisig", [True, False])
def test_a_segwit_key_is_compressed(*, compressed: bool, multisig: bool) -> None:
    """Signed by hand, since Electrum makes no such script."""
    secret = ECPrivkey(Account.of("Alice").secrets[0])
    key = secret.get_public_key_bytes(compressed=compressed)
    script = multisig_script([key.hex()], 1)
    locked = construct_script([0, sha256(script) if multisig else hash_160(key)])
    tx = payment().transaction()
    stack = [b"", b"", script] if multisig else [b"", key]
    funding = payment().transaction()
    funding.outputs()[0].scriptpubkey = locked
    funding.invalidate_ser_cache()
    txin = TxInput(prevout=TxOutpoint.from_str(f"{funding.txid()}:0"), script_sig=b"", witness=construct_witness(stack))
    txin.utxo = funding
    tx.inputs()[0] = txin
    signature = secret.ecdsa_sign(sha256d(tx.serialize_preimage(0, sighash=1)), sigencode=ecdsa_der_sig_from_r_and_s)
    stack[1 if multisig else 0] = signature + b"\x01"
    txin.witness = construct_witness(stack)
    assert verify_inputs(tx, [funding.outputs()[0]], [0]) == compressed
