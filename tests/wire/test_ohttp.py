from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.errors import DecodeError, Garbled
from payjoin_plugin.wire.bech32 import encode as bech32_encode
from payjoin_plugin.wire.hpke import setup_recipient
from payjoin_plugin.wire.keys import PublicKey, SecretKey
from payjoin_plugin.wire.ohttp import MESSAGE_BYTES, REQUEST_BYTES, RESPONSE_BYTES, KeyConfig, Opener, encapsulate
from tests.wire.samples import (
    GATEWAY,
    GATEWAY_KEYS,
    damaged,
    gateway_answers,
    gateway_opens,
    key,
    key_configs,
    secret_keys,
    vectors,
)

VECTORS = vectors("ohttp_vectors")
RUST_GATEWAY = SecretKey(bytes.fromhex(VECTORS["gateway_sk_hex"]))
RUST_CONFIG = bytes.fromhex(VECTORS["key_config_hex"])
exchanges = pytest.mark.parametrize("exchange", VECTORS["exchanges"], ids=lambda exchange: exchange["note"])


def test_a_directory_s_configuration_is_read_and_written() -> None:
    config = KeyConfig.from_bytes(RUST_CONFIG)
    assert config == KeyConfig(1, RUST_GATEWAY.public_key)
    assert config.to_bytes() == RUST_CONFIG


def test_the_compact_form_is_that_of_rust_payjoin() -> None:
    compact = KeyConfig.from_bytes(RUST_CONFIG).to_compact()
    assert compact.hex() == VECTORS["oh_bytes_hex"]
    assert "OH1" + bech32_encode(compact) == VECTORS["oh_param"]


@given(key_configs)
def test_a_configuration_is_read_as_written_in_both_forms(config: KeyConfig) -> None:
    assert KeyConfig.from_bytes(config.to_bytes()) == config
    assert KeyConfig.from_compact(config.to_compact()) == config
    assert (len(config.to_bytes()), len(config.to_compact())) == (74, 34)


@given(st.one_of(st.binary(max_size=80), damaged(RUST_CONFIG), damaged(RUST_CONFIG[:35])))
def test_any_bytes_are_a_configuration_or_a_decode_error(encoded: bytes) -> None:
    for read, write in ((KeyConfig.from_bytes, KeyConfig.to_bytes), (KeyConfig.from_compact, KeyConfig.to_compact)):
        try:
            config = read(encoded)
        except DecodeError:
            continue
        assert write(config) == encoded


@pytest.mark.parametrize("place", [2, 69, 71, 73], ids=["KEM", "length", "KDF", "AEAD"])
def test_a_configuration_for_another_suite_is_refused(place: int) -> None:
    other = bytearray(RUST_CONFIG)
    other[place] ^= 1
    with pytest.raises(DecodeError):
        KeyConfig.from_bytes(bytes(other))


@pytest.mark.parametrize("key_id", [-1, 256])
def test_a_key_id_is_one_byte(key_id: int) -> None:
    with pytest.raises(DecodeError):
        KeyConfig(key_id, GATEWAY.public_key)


@exchanges
def test_requests_of_rust_payjoin_open_with_the_gateway_s_key(exchange: dict[str, Any]) -> None:
    opened = gateway_opens(bytes.fromhex(exchange["enc_request_hex"]), RUST_GATEWAY)
    assert opened.hex() == exchange["request_bhttp_padded_hex"]


@exchanges
def test_responses_of_a_rust_directory_open(exchange: dict[str, Any]) -> None:
    request = bytes.fromhex(exchange["enc_request_hex"])
    enc = PublicKey.from_bytes(request[7:72])
    # The gateway's context exports what the client's does.
    context = setup_recipient(enc, RUST_GATEWAY, b"message/bhttp request\0" + request[:7])
    opened = Opener(enc, context).open(bytes.fromhex(exchange["enc_response_hex"]))
    assert opened.hex() == exchange["response_bhttp_padded_hex"]


@given(st.integers(0, REQUEST_BYTES).flatmap(lambda length: st.just(b"r" * length)), key_configs)
def test_every_request_is_8192_bytes(request: bytes, config: KeyConfig) -> None:
    body, _ = encapsulate(config, request)
    assert len(body) == MESSAGE_BYTES == 8192


@given(st.binary(max_size=200), secret_keys, st.integers(0, 255))
def test_the_gateway_reads_the_request_and_padding_behind_it(request: bytes, gateway: SecretKey, key_id: int) -> None:
    body, _ = encapsulate(KeyConfig(key_id, gateway.public_key), request)
    assert body[:7] == bytes([key_id]) + bytes.fromhex("0016 0001 0003")
    opened = gateway_opens(body, gateway)
    assert len(opened) == REQUEST_BYTES == 8104
    assert opened.startswith(request)


def test_the_padding_is_random() -> None:
    paddings = {gateway_opens(encapsulate(GATEWAY_KEYS, b"request")[0])[7:] for _ in range(5)}
    assert len(paddings) == 5
    assert all(padding.strip(b"\0") for padding in paddings)


def test_a_request_that_is_repeated_has_nothing_in_common_with_the_first() -> None:
    first, second = (encapsulate(GATEWAY_KEYS, b"request")[0] for _ in range(2))
    assert first[:8] == second[:8]
    assert first[8:72] != second[8:72]
    assert first[72:] != second[72:]


def test_a_request_that_does_not_fit_is_a_fault_of_ours() -> None:
    with pytest.raises(ValueError, match="too long"):
        encapsulate(GATEWAY_KEYS, bytes(REQUEST_BYTES + 1))


@given(st.binary(max_size=200))
def test_the_answer_opens_with_its_padding(response: bytes) -> None:
    body, opener = encapsulate(GATEWAY_KEYS, b"request")
    opened = opener.open(gateway_answers(body, response))
    assert len(opened) == RESPONSE_BYTES == 8144
    assert opened.rstrip(b"\0") == response.rstrip(b"\0")


SAMPLE, _ = encapsulate(GATEWAY_KEYS, b"request", ephemeral=key("ephemeral"))


@given(damaged(gateway_answers(SAMPLE, b"response")))
def test_a_damaged_answer_is_garbled(answer: bytes) -> None:
    _, opener = encapsulate(GATEWAY_KEYS, b"request", ephemeral=key("ephemeral"))
    with pytest.raises(Garbled):
        opener.open(answer)


def test_the_undamaged_answer_opens() -> None:
    _, opener = encapsulate(GATEWAY_KEYS, b"request", ephemeral=key("ephemeral"))
    assert opener.open(gateway_answers(SAMPLE, b"response")).startswith(b"response\0")


@given(st.one_of(st.binary(max_size=100), st.just(bytes(8192)), st.just(b"<html>".ljust(8192))))
def test_anything_else_is_garbled(answer: bytes) -> None:
    _, opener = encapsulate(GATEWAY_KEYS, b"request")
    with pytest.raises(Garbled):
        opener.open(answer)


def test_the_answer_to_another_request_is_garbled() -> None:
    body, _ = encapsulate(GATEWAY_KEYS, b"request")
    _, other = encapsulate(GATEWAY_KEYS, b"request")
    with pytest.raises(Garbled):
        other.open(gateway_answers(body, b"response"))


def test_an_opener_opens_once() -> None:
    body, opener = encapsulate(GATEWAY_KEYS, b"request")
    answer = gateway_answers(body, b"response")
    opener.open(answer)
    with pytest.raises(ValueError, match="once"):
        opener.open(answer)


def test_an_opener_that_saw_garbage_is_used_up_too() -> None:
    body, opener = encapsulate(GATEWAY_KEYS, b"request")
    with pytest.raises(Garbled):
        opener.open(b"")
    with pytest.raises(ValueError, match="once"):
        opener.open(gateway_answers(body, b"response"))
