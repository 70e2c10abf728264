"""The gateway against rust-payjoin's recorded exchanges: here we agree with others, not only with ourselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.errors import Garbled
from payjoin_plugin.wire.keys import SecretKey
from payjoin_plugin.wire.ohttp import encapsulate
from tests.mailroom.client import encapsulate_exactly
from tests.mailroom.gateway import MESSAGE_LENGTH, RESPONSE_LENGTH, Gateway, KeyRejected

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ohttp_vectors.json").read_text())
GATEWAY = Gateway(SecretKey(bytes.fromhex(VECTORS["gateway_sk_hex"])))

exchanges = pytest.mark.parametrize("exchange", VECTORS["exchanges"], ids=lambda exchange: exchange["note"])


def test_the_key_configuration_is_that_of_the_vector() -> None:
    assert GATEWAY.config.to_bytes().hex() == VECTORS["key_config_hex"]


@exchanges
def test_a_recorded_request_opens_to_its_message(exchange: dict[str, Any]) -> None:
    message, _ = GATEWAY.open(bytes.fromhex(exchange["enc_request_hex"]))
    assert message.hex() == exchange["request_bhttp_padded_hex"]


@exchanges
def test_a_recorded_response_is_sealed_byte_by_byte(exchange: dict[str, Any]) -> None:
    _, sealer = GATEWAY.open(bytes.fromhex(exchange["enc_request_hex"]))
    recorded = bytes.fromhex(exchange["enc_response_hex"])
    response = bytes.fromhex(exchange["response_bhttp_padded_hex"])
    assert sealer.seal(response.rstrip(b"\0"), nonce=recorded[:32]) == recorded


def test_every_response_has_a_nonce_of_its_own() -> None:
    _, sealer = GATEWAY.open(bytes.fromhex(VECTORS["exchanges"][0]["enc_request_hex"]))
    assert sealer.seal(b"response") != sealer.seal(b"response")


@given(st.binary(max_size=RESPONSE_LENGTH + 100))
def test_every_response_has_the_same_length_and_is_cut_where_it_is_longer(response: bytes) -> None:
    message, opener = encapsulate(GATEWAY.config, b"request")
    _, sealer = GATEWAY.open(message)
    sealed = sealer.seal(response)
    assert len(sealed) == MESSAGE_LENGTH
    assert opener.open(sealed) == response[:RESPONSE_LENGTH].ljust(RESPONSE_LENGTH, b"\0")


def test_a_response_to_one_request_does_not_open_another() -> None:
    first, _ = encapsulate(GATEWAY.config, b"request")
    _, opener = encapsulate(GATEWAY.config, b"request")
    _, sealer = GATEWAY.open(first)
    with pytest.raises(Garbled):
        opener.open(sealer.seal(b"response"))


def test_a_request_for_a_key_that_was_changed_is_rejected() -> None:
    gateway = Gateway()
    message, _ = encapsulate(gateway.config, b"request")
    assert gateway.rotated().config.key_id != gateway.config.key_id
    with pytest.raises(KeyRejected):
        gateway.rotated().open(message)


def test_a_request_for_another_key_of_the_same_id_is_rejected() -> None:
    message, _ = encapsulate(Gateway().config, b"request")
    with pytest.raises(KeyRejected):
        GATEWAY.open(message)


@pytest.mark.parametrize("position", [0, 1, 2, 3, 4, 5, 6, 7, 8, 71, 72, -1])
def test_a_request_with_any_byte_changed_is_rejected(position: int) -> None:
    message = bytearray(encapsulate_exactly(GATEWAY.config, b"request")[0])
    message[position] ^= 1
    with pytest.raises(KeyRejected):
        GATEWAY.open(bytes(message))


@given(st.binary(max_size=200))
def test_junk_is_rejected_and_nothing_worse(junk: bytes) -> None:
    for message in (junk, GATEWAY.config.to_bytes()[:1] + bytes.fromhex("001600010003") + junk):
        with pytest.raises(KeyRejected):
            GATEWAY.open(message)
