from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.errors import DecodeError
from payjoin_plugin.wire.bhttp import (
    Request,
    Response,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    encode_varint,
)
from tests.wire.samples import vectors

EXCHANGES = vectors("ohttp_vectors")["exchanges"]
exchanges = pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["note"])

ascii_text = st.text(st.characters(max_codepoint=127), max_size=80)
contents = st.one_of(st.binary(max_size=100), st.integers(16_370, 16_400).map(bytes))
requests = st.builds(Request, ascii_text, ascii_text, ascii_text, ascii_text, contents)
responses = st.builds(Response, st.integers(200, 599), contents)

RFC_9292_FIGURE_8 = bytes.fromhex("""
    00034745 54056874 74707300 0a2f6865 6c6c6f2e 74787440 6c0a7573 65722d61 67656e74 34637572 6c2f372e 31362e33
    206c6962 6375726c 2f372e31 362e3320 4f70656e 53534c2f 302e392e 376c207a 6c69622f 312e322e 3304686f 73740f77
    77772e65 78616d70 6c652e63 6f6d0f61 63636570 742d6c61 6e677561 67650665 6e2c206d 690000
""")
RFC_9292_FIGURE_13 = bytes.fromhex(
    "0140c8001d5468697320636f6e74656e7420636f6e7461696e732043524c462e0d0a0d07747261696c65720474657874"
)
RFC_9458_REQUEST = bytes.fromhex("00034745540568747470730b6578616d706c652e636f6d012f")
RFC_9458_RESPONSE = bytes.fromhex("0140c8")


def test_the_request_of_rfc_9292_is_read_without_its_headers() -> None:
    assert decode_request(RFC_9292_FIGURE_8) == Request("GET", "https", "", "/hello.txt")


def test_the_response_of_rfc_9292_is_read_without_its_trailer() -> None:
    assert decode_response(RFC_9292_FIGURE_13) == Response(200, b"This content contains CRLF.\r\n")


def test_the_truncated_examples_of_rfc_9458_are_read() -> None:
    assert decode_request(RFC_9458_REQUEST) == Request("GET", "https", "example.com", "/")
    assert decode_response(RFC_9458_RESPONSE) == Response(200)


@exchanges
def test_requests_of_rust_payjoin_are_read(exchange: dict[str, Any]) -> None:
    fields = exchange["request_parsed"]
    expected = Request(
        fields["method"], fields["scheme"], fields["authority"], fields["path"], bytes.fromhex(fields["content_hex"])
    )
    assert decode_request(bytes.fromhex(exchange["request_bhttp_padded_hex"])) == expected


@exchanges
def test_responses_of_a_rust_directory_are_read(exchange: dict[str, Any]) -> None:
    fields = exchange["response_parsed"]
    expected = Response(fields["status"], bytes.fromhex(fields["content_hex"]))
    assert decode_response(bytes.fromhex(exchange["response_bhttp_padded_hex"])) == expected


@exchanges
def test_what_we_write_is_what_rust_writes_in_front_of_its_padding(exchange: dict[str, Any]) -> None:
    request = bytes.fromhex(exchange["request_bhttp_padded_hex"])
    response = bytes.fromhex(exchange["response_bhttp_padded_hex"])
    assert request.startswith(encode_request(decode_request(request)))
    assert response.startswith(encode_response(decode_response(response)))


@given(requests, st.binary(max_size=50))
def test_a_request_is_read_as_written_whatever_pads_it(request: Request, padding: bytes) -> None:
    assert decode_request(encode_request(request) + padding) == request


@given(responses, st.binary(max_size=50))
def test_a_response_is_read_as_written_whatever_pads_it(response: Response, padding: bytes) -> None:
    assert decode_response(encode_response(response) + padding) == response


def test_a_cut_request_fails_unless_only_empty_parts_are_missing() -> None:
    request = Request("GET", "https", "payjo.in", "/FWKYYG0CQWP2Q")
    message = encode_request(request)
    assert message.endswith(b"\0\0\0")
    for missing in range(1, 4):
        assert decode_request(message[:-missing]) == request
    for length in range(len(message) - 3):
        with pytest.raises(DecodeError):
            decode_request(message[:length])


def test_a_cut_response_fails_unless_only_empty_parts_are_missing() -> None:
    response = Response(200, b"content")
    message = encode_response(response)
    assert decode_response(message[:-1]) == response
    bare = len(b"\1\x40\xc8")
    for length in set(range(len(message) - 1)) - {bare, bare + 1}:
        with pytest.raises(DecodeError):
            decode_response(message[:length])


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_a_decode_error(message: bytes) -> None:
    for prefix in (b"", b"\0", b"\1", b"\1\x40\xc8"):
        for decode in (decode_request, decode_response):
            with suppress(DecodeError):
                assert isinstance(decode(prefix + message), Request | Response)


def test_a_text_that_is_not_ascii_is_refused() -> None:
    message = encode_request(Request("GET", "https", "payjo.in", "/")).replace(b"payjo", b"pa\xffjo")
    with pytest.raises(DecodeError):
        decode_request(message)
    with pytest.raises(ValueError, match="ascii"):
        encode_request(Request("GET", "https", "päyjo.in", "/"))


def test_a_request_is_not_taken_for_a_response_nor_the_reverse() -> None:
    with pytest.raises(DecodeError):
        decode_response(encode_request(Request("GET", "https", "payjo.in", "/")))
    with pytest.raises(DecodeError):
        decode_request(encode_response(Response(200)))


@pytest.mark.parametrize("framing", [2, 3])
def test_the_indeterminate_length_form_is_refused(framing: int) -> None:
    for decode in (decode_request, decode_response):
        with pytest.raises(DecodeError):
            decode(bytes([framing]) + RFC_9292_FIGURE_13[1:])


def test_informational_responses_are_skipped() -> None:
    processing, early_hints = bytes.fromhex("4066 0a 0772756e6e696e67 0131"), bytes.fromhex("4067 00")
    final = encode_response(Response(200, b"final"))
    assert decode_response(final[:1] + processing + early_hints + final[1:]) == Response(200, b"final")


def test_informational_responses_alone_are_no_response() -> None:
    with pytest.raises(DecodeError):
        decode_response(bytes.fromhex("01 4067 00"))


@pytest.mark.parametrize("status", [0, 99, 600, 1000])
def test_a_status_that_is_none_is_refused(status: int) -> None:
    with pytest.raises(DecodeError):
        decode_response(encode_response(Response(status)))


VARINTS = {  # RFC 9000, appendix A.1
    "25": 37,
    "7bbd": 15_293,
    "9d7f3e7d": 494_878_333,
    "c2197c5eff14e88c": 151_288_809_941_952_652,
}


@pytest.mark.parametrize(("encoded", "value"), VARINTS.items())
def test_integers_are_written_as_in_rfc_9000(encoded: str, value: int) -> None:
    assert encode_varint(value).hex() == encoded


def test_an_integer_may_be_longer_than_it_must() -> None:
    short = encode_response(Response(200, b"x"))
    long = short[:-3] + bytes.fromhex("c000000000000001") + short[-2:]
    assert decode_response(long) == Response(200, b"x")


def test_a_length_beyond_all_bytes_is_refused() -> None:
    with pytest.raises(DecodeError):
        decode_response(bytes.fromhex("0140c800 ffffffffffffffff 00"))


def test_an_integer_of_more_than_62_bits_cannot_be_written() -> None:
    assert encode_varint(2**62 - 1) == b"\xff" * 8
    with pytest.raises(ValueError, match="too large"):
        encode_varint(2**62)
