from __future__ import annotations

from collections.abc import Callable

import pytest
from electrum_ecc import CURVE_ORDER
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.errors import DecodeError
from payjoin_plugin.wire import secp256k1
from payjoin_plugin.wire.keys import PublicKey, SecretKey, shared_x
from tests.wire.samples import key, public_keys, secret_keys, vectors

DH = vectors("secp256k1_dh_x_only")
ONE, TWO = (SecretKey(bytes.fromhex(pair["sk"])) for pair in DH["keys"])
ECDH = [secp256k1.ecdh_x_libsecp, secp256k1.ecdh_x_plain]


@pytest.mark.parametrize("pair", DH["keys"], ids=["one", "two"])
def test_a_secret_key_has_the_public_key_of_the_vectors(pair: dict[str, str]) -> None:
    assert SecretKey(bytes.fromhex(pair["sk"])).public_key.uncompressed.hex() == pair["pk"]


@pytest.mark.parametrize("ecdh_x", ECDH)
def test_both_ways_of_diffie_hellman_give_the_x_coordinate_of_the_vectors(
    ecdh_x: Callable[[bytes, bytes], bytes],
) -> None:
    assert ecdh_x(ONE.public_key.uncompressed, TWO.raw).hex() == DH["dh_x"]
    assert ecdh_x(TWO.public_key.uncompressed, ONE.raw).hex() == DH["dh_x"]


def test_an_x_coordinate_that_starts_with_zeros_keeps_them() -> None:
    secret = next(
        secret
        for secret in (key(f"short {n}") for n in range(10_000))
        if secp256k1.ecdh_x_plain(ONE.public_key.uncompressed, secret.raw)[0] == 0
    )
    assert len(shared_x(secret, ONE.public_key)) == 32
    assert shared_x(secret, ONE.public_key) == shared_x(ONE, secret.public_key)


@given(secret_keys, secret_keys)
def test_two_keys_share_the_same_secret_from_either_side(one: SecretKey, two: SecretKey) -> None:
    assert shared_x(one, two.public_key) == shared_x(two, one.public_key)


@given(public_keys)
def test_a_public_key_is_the_same_from_33_and_from_65_bytes(public: PublicKey) -> None:
    assert PublicKey.from_bytes(public.compressed) == public
    assert PublicKey.from_bytes(public.uncompressed) == public


@given(st.one_of(st.binary(max_size=70), st.binary(min_size=32, max_size=32).map(lambda x: b"\2" + x)))
def test_any_bytes_are_a_public_key_or_a_decode_error(encoded: bytes) -> None:
    try:
        public = PublicKey.from_bytes(encoded)
    except DecodeError:
        return
    assert encoded in (public.compressed, public.uncompressed)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        ONE.public_key.compressed[:-1],
        ONE.public_key.compressed + b"\0",
        ONE.public_key.uncompressed[:-1],
        ONE.public_key.uncompressed[1:],
        b"\0" * 33,
        b"\4" + b"\0" * 64,
        b"\2" + b"\xff" * 32,
    ],
    ids=["empty", "32", "34", "64", "without 04", "zeros", "infinity", "x above p"],
)
def test_bytes_that_are_no_point_are_refused(encoded: bytes) -> None:
    with pytest.raises(DecodeError):
        PublicKey.from_bytes(encoded)


def test_a_y_coordinate_that_does_not_belong_to_x_is_refused() -> None:
    wrong = ONE.public_key.uncompressed[:33] + TWO.public_key.uncompressed[33:]
    with pytest.raises(DecodeError):
        PublicKey.from_bytes(wrong)


def test_the_hybrid_encoding_is_refused() -> None:
    hybrid = bytes([6 + (ONE.public_key.uncompressed[64] & 1)]) + ONE.public_key.uncompressed[1:]
    with pytest.raises(DecodeError):
        PublicKey.from_bytes(hybrid)


@pytest.mark.parametrize(
    "raw",
    [b"", b"\1" * 31, b"\1" * 33, b"\0" * 32, CURVE_ORDER.to_bytes(32), b"\xff" * 32],
    ids=["empty", "31", "33", "zero", "n", "above n"],
)
def test_a_secret_key_out_of_range_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        SecretKey(raw)


@pytest.mark.parametrize("scalar", [1, CURVE_ORDER - 1])
def test_the_ends_of_the_range_are_secret_keys(scalar: int) -> None:
    generator_x = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
    assert SecretKey(scalar.to_bytes(32)).public_key.compressed[1:].hex() == generator_x


def test_a_secret_key_does_not_show_itself() -> None:
    assert repr(ONE) == f"{ONE}" == "SecretKey(…)"


def test_each_generated_key_is_another() -> None:
    assert len({SecretKey.generate() for _ in range(50)}) == 50


def test_keys_are_equal_by_value() -> None:
    assert SecretKey(ONE.raw) == ONE
    assert len({PublicKey(ONE.public_key.compressed), ONE.public_key}) == 1
    assert ONE.public_key != TWO.public_key


class TestFaultsOfOurs:
    """What `keys.py` has excluded is noticed all the same, before libsecp256k1 aborts the process."""

    def test_zero_has_no_public_point(self) -> None:
        with pytest.raises(ValueError, match="secret key"):
            secp256k1.public_point(bytes(32))

    def test_zero_has_no_shared_secret(self) -> None:
        with pytest.raises(ValueError, match="secret key"):
            secp256k1.ecdh_x_libsecp(ONE.public_key.uncompressed, bytes(32))

    def test_a_wrong_point_has_no_shared_secret(self) -> None:
        with pytest.raises(ValueError, match="point"):
            secp256k1.ecdh_x_libsecp(bytes(65), ONE.raw)


def test_a_function_that_the_library_lacks_is_known_to_be_missing() -> None:
    assert secp256k1.has("secp256k1_ec_pubkey_parse")
    assert not secp256k1.has("secp256k1_ec_pubkey_parse", "secp256k1_no_such_function")
