from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.errors import DecodeError
from payjoin_plugin.wire.bech32 import ALPHABET, decode, encode

EXAMPLES = {
    "59a584597637f9c1": "TXJCGKTKXLUUZ",  # BIP 77's example URI
    "75987c67": "WKV8CEC",
    "4bac4221f80382a0": "FWKYYG0CQWP2Q",  # rust-payjoin
    "": "",
    "00": "QQ",
    "ff": "LU",
}


@pytest.mark.parametrize(("data", "text"), EXAMPLES.items())
def test_examples_are_written_and_read(data: str, text: str) -> None:
    assert encode(bytes.fromhex(data)) == text
    assert decode(text) == bytes.fromhex(data)


@given(st.binary(max_size=100))
def test_what_is_written_is_read(data: bytes) -> None:
    assert decode(encode(data)) == data


@given(st.text(ALPHABET, max_size=50))
def test_any_text_of_the_alphabet_is_read_as_all_bytes_that_it_fills(text: str) -> None:
    assert len(decode(text)) == len(text) * 5 // 8


@given(st.one_of(st.text(max_size=20), st.text(ALPHABET + "1bio", max_size=20)))
def test_any_text_is_bytes_or_a_decode_error(text: str) -> None:
    try:
        data = decode(text)
    except DecodeError:
        assert set(text) - set(ALPHABET)
    else:
        assert encode(data) == text[: len(encode(data)) - 1] + encode(data)[-1:]


@pytest.mark.parametrize("character", "1BIObio?-q \xe9")
def test_a_character_outside_of_the_alphabet_is_refused(character: str) -> None:
    with pytest.raises(DecodeError):
        decode("QQ" + character)


def test_bits_that_fill_no_byte_are_dropped() -> None:
    assert decode("TXJCGKTKXLUUR") == decode("TXJCGKTKXLUUZ") == decode("TXJCGKTKXLUUZQ")
