"""Every standard type of script, signed by Electrum with real keys, and every way to get it wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from electrum.crypto import sha256
from electrum.transaction import Transaction, TxOutput
from electrum_ecc import CURVE_ORDER, ecdsa_der_sig_from_r_and_s, get_r_and_s_from_ecdsa_der_sig
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.bip78.original import read_original
from payjoin_plugin.bip78.signatures import verify_inputs
from tests.bip78.payments import KINDS, Account, Money, payment, vectors
from tests.bip78.stacks import ECDSA_KINDS, is_valid, spent_by, stack_of, with_signature


@pytest.mark.parametrize("kind", KINDS)
def test_what_electrum_signed_is_valid(kind: str) -> None:
    made = payment(kind)
    assert is_valid(made.transaction(), made)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.binary(max_size=8))
def test_what_electrum_signed_with_any_keys_is_valid(kind: str, seed: bytes) -> None:
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
