from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.errors import DecodeError
from payjoin_plugin.wire.ellswift import (
    P,
    decode,
    decode_libsecp,
    decode_plain,
    encode,
    encode_libsecp,
    encode_plain,
    xswiftec,
    xswiftec_inverse,
)
from payjoin_plugin.wire.keys import PublicKey
from tests.wire.samples import key, public_keys, vectors

VECTORS = vectors("ellswift")
DECODERS = [decode, decode_libsecp, decode_plain]
ENCODERS = [encode, encode_libsecp, encode_plain]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("case", VECTORS["decode"], ids=lambda case: case["comment"])
def test_encodings_of_bip_324_are_read(case: dict[str, Any], decoder: Callable[[bytes], PublicKey]) -> None:
    public = decoder(bytes.fromhex(case["ellswift"]))
    assert public.compressed[1:].hex() == case["x"]
    assert public.compressed[0] & 1 == case["y_parity"]


@pytest.mark.parametrize("case", VECTORS["inverse"], ids=lambda case: case["u"][:8])
def test_the_eight_inverses_are_those_of_bip_324(case: dict[str, Any]) -> None:
    x, u = int(case["x"], 16), int(case["u"], 16)
    inverses = [xswiftec_inverse(x, u, number) for number in range(8)]
    assert [None if t is None else t.to_bytes(32).hex() for t in inverses] == case["t"]


@given(public_keys, st.integers(1, P - 1), st.integers(0, 7))
def test_an_inverse_leads_back(public: PublicKey, u: int, case: int) -> None:
    x = int.from_bytes(public.compressed[1:])
    t = xswiftec_inverse(x, u, case)
    assert t is None or xswiftec(u, t) == x


@given(st.binary(min_size=64, max_size=64))
def test_any_64_bytes_are_a_key_and_both_decoders_agree_which(encoding: bytes) -> None:
    assert decode_libsecp(encoding) == decode_plain(encoding)


@pytest.mark.parametrize("encoder", ENCODERS)
@given(public=public_keys)
def test_what_one_writes_the_others_read(encoder: Callable[[PublicKey], bytes], public: PublicKey) -> None:
    encoding = encoder(public)
    assert len(encoding) == 64
    assert [decoder(encoding) for decoder in DECODERS] == [public] * 3


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_key_is_never_written_the_same_way_twice(encoder: Callable[[PublicKey], bytes]) -> None:
    public = key("twice").public_key
    assert len({encoder(public)[:32] for _ in range(20)}) == 20


@pytest.mark.parametrize("encoder", ENCODERS)
def test_no_bit_of_an_encoding_is_always_the_same(encoder: Callable[[PublicKey], bytes]) -> None:
    public = key("random").public_key
    numbers = [int.from_bytes(encoder(public)) for _ in range(64)]
    ones = zeros = 0
    for number in numbers:
        ones |= number
        zeros |= ~number
    parity = 1  # of t: it tells that of y
    assert ones | parity == (1 << 512) - 1
    assert (zeros | parity) & ((1 << 512) - 1) == (1 << 512) - 1


@pytest.mark.parametrize("length", [0, 33, 63, 65])
def test_another_length_is_refused(length: int) -> None:
    with pytest.raises(DecodeError):
        decode(bytes(length))
