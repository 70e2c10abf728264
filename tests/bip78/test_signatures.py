"""Every standard type of script, signed by Electrum with real keys, and every way to get it wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import pytest
from electrum.bitcoin import construct_script, construct_witness, hash_160, opcodes, pubkeyhash_to_p2pkh_script
from electrum.crypto import sha256, sha256d
from electrum.transaction import Transaction, TxInput, TxOutpoint, TxOutput, multisig_script, script_GetOp
from electrum_ecc import CURVE_ORDER, ECPrivkey, ecdsa_der_sig_from_r_and_s, get_r_and_s_from_ecdsa_der_sig
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.bip78.original import read_original
from payjoin_plugin.bip78.signatures import verify_inputs
from tests.bip78.payments import KINDS, Account, Money, Payment, payment, vectors

ECDSA_KINDS = tuple(kind for kind in KINDS if kind != "p2tr")
NESTED = ("p2wpkh-p2sh", "p2wsh-p2sh")


def spent_by(made: Payment) -> list[TxOutput]:
    return [TxOutput(scriptpubkey=coin.owner.script, value=coin.value) for coin in made.coins]


def is_valid(tx: Transaction, made: Payment) -> bool:
    return verify_inputs(tx, spent_by(made), range(len(made.coins)))


def stack_of(tx: Transaction) -> list[bytes]:
    """The elements that open input 0, a nested script's own push left out."""
    txin = tx.inputs()[0]
    if txin.has_witness():
        return list(txin.witness_elements())
    return [data for _, data, _ in script_GetOp(txin.script_sig)]


def put(tx: Transaction, stack: list[bytes]) -> Transaction:
    txin = tx.inputs()[0]
    if txin.has_witness():
        txin.witness = construct_witness(stack)
    else:
        txin.script_sig = construct_script(stack)
    return tx


def with_signature(kind: str, change: Callable[[bytes], bytes]) -> bool:
    """Whether a payment of `kind` is valid whose first signature was changed."""
    made = payment(kind)
    tx = made.transaction()
    stack = stack_of(tx)
    place = 1 if stack[0] == b"" else 0
    stack[place] = change(stack[place])
    return is_valid(put(tx, stack), made)


@pytest.mark.parametrize("kind", KINDS)
def test_what_electrum_signed_is_valid(kind: str) -> None:
    made = payment(kind)
    assert is_valid(made.transaction(), made)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.binary(max_size=8))
def test_it_is_so_with_any_keys(kind: str, seed: bytes) -> None:
    owner = Account(kind, tuple(sha256(seed + bytes([number])) for number in range(3)))
    made = replace(payment(), coins=(Money.of(owner, 200_000),))
    assert is_valid(made.transaction(), made)


def test_inputs_of_all_kinds_stand_beside_each_other() -> None:
    made = payment(*KINDS)
    assert is_valid(made.transaction(), made)


def test_only_the_inputs_asked_for_are_looked_at() -> None:
    made = payment("p2wpkh", "p2pkh")
    tx = made.transaction()
    tx.inputs()[1].script_sig = b""
    assert verify_inputs(tx, spent_by(made), [0])
    assert not verify_inputs(tx, spent_by(made), [0, 1])


def test_bip_78s_own_original_is_valid() -> None:
    original = read_original(vectors("bip78")["bip78"]["original_psbt"])
    assert verify_inputs(Transaction(original.fallback), original.spent, [0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sighash", [0x02, 0x03, 0x81, 0x82, 0x83])
def test_another_sighash_than_all_is_refused(kind: str, sighash: int) -> None:
    made = replace(payment(kind), sighash=sighash)
    assert not is_valid(made.transaction(), made)


def test_taproot_may_say_all_or_leave_it_unsaid() -> None:
    made = replace(payment("p2tr"), sighash=1)
    tx = made.transaction()
    assert len(stack_of(tx)[0]) == 65
    assert is_valid(tx, made)


def test_taproots_default_is_never_said() -> None:
    assert not with_signature("p2tr", lambda signature: signature + b"\x00")


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_of_another_transaction_is_refused(kind: str) -> None:
    made = payment(kind)
    tx = made.transaction()
    tx.outputs()[1].value -= 1
    assert not is_valid(tx, made)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("p2pkh", "p2sh")])
def test_segwit_signs_the_amount(kind: str) -> None:
    made = payment(kind)
    tx = made.transaction()
    assert not verify_inputs(tx, [TxOutput(scriptpubkey=made.coins[0].owner.script, value=1)], [0])


def test_taproot_signs_the_amounts_of_the_other_inputs() -> None:
    made = payment("p2tr", "p2pkh")
    tx = made.transaction()
    mine, other = spent_by(made)
    other.value += 1
    assert not verify_inputs(tx, [mine, other], [0])


@pytest.mark.parametrize("kind", KINDS)
def test_another_owners_script_is_refused(kind: str) -> None:
    made = payment(kind)
    spent = TxOutput(scriptpubkey=Account.of("Mallory", kind).script, value=made.coins[0].value)
    assert not verify_inputs(made.transaction(), [spent], [0])


@pytest.mark.parametrize("kind", KINDS)
@given(bit=st.integers(0, 64 * 8 - 1))
def test_one_wrong_bit_is_refused(kind: str, bit: int) -> None:
    def flip(signature: bytes) -> bytes:
        wrong = bytearray(signature)
        wrong[bit // 8] ^= 1 << bit % 8
        return bytes(wrong)

    assert not with_signature(kind, flip)


@pytest.mark.parametrize("kind", KINDS)
@given(junk=st.binary(max_size=80))
def test_any_bytes_as_signature_are_refused(kind: str, junk: bytes) -> None:
    assert not with_signature(kind, lambda _: junk)


@pytest.mark.parametrize("kind", ECDSA_KINDS)
def test_a_high_s_is_refused(kind: str) -> None:
    def raised(signature: bytes) -> bytes:
        r, s = get_r_and_s_from_ecdsa_der_sig(signature[:-1])
        return der(integer(r), integer(CURVE_ORDER - s))

    assert not with_signature(kind, raised)


def integer(number: int) -> bytes:
    body = number.to_bytes(33).lstrip(b"\x00") or b"\x00"
    body = b"\x00" + body if body[0] & 0x80 else body
    return bytes([2, len(body)]) + body


def der(r: bytes, s: bytes) -> bytes:
    return bytes([0x30, len(r + s)]) + r + s + b"\x01"


def test_the_encoding_of_these_tests_is_electrums() -> None:
    assert with_signature("p2wpkh", lambda old: der(*map(integer, get_r_and_s_from_ecdsa_der_sig(old[:-1]))))
    assert der(integer(2**255), integer(1))[:-1] == ecdsa_der_sig_from_r_and_s(2**255, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda r, s: bytes([0x31, len(r + s)]) + r + s + b"\x01",
        lambda r, s: bytes([0x30, len(r + s) + 1]) + r + s + b"\x01",
        lambda r, s: bytes([0x30, 0x81, len(r + s)]) + r + s + b"\x01",
        lambda r, s: bytes([0x30, len(r + s) + 1]) + r + s + b"\x00\x01",
        lambda r, s: der(bytes([2, len(r) - 1, 0]) + r[2:], s),  # padded
        lambda r, s: der(bytes([3]) + r[1:], s),
        lambda r, s: der(r, bytes([2, len(s) - 1, 0]) + s[2:]),
        lambda _, s: der(integer(0), s),
        lambda _, s: der(integer(CURVE_ORDER), s),
        lambda r, _: der(r, b"\x02\x00"),
        lambda r, _: der(r, b""),
        lambda r, s: der(r, s)[:-1],  # no sighash byte
        lambda *_: b"",
    ],
)
@pytest.mark.parametrize("kind", ECDSA_KINDS)
def test_loose_der_is_refused(kind: str, change: Callable[[bytes, bytes], bytes]) -> None:
    def loosened(signature: bytes) -> bytes:
        return change(*map(integer, get_r_and_s_from_ecdsa_der_sig(signature[:-1])))

    assert not with_signature(kind, loosened)


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
