from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.errors import DecodeError, DirectoryStatus, Garbled, OpenError
from payjoin_plugin.wire import mailbox
from payjoin_plugin.wire.bhttp import Request, Response, decode_request, encode_response
from payjoin_plugin.wire.ellswift import decode as ellswift_decode
from payjoin_plugin.wire.ellswift import encode as ellswift_encode
from payjoin_plugin.wire.hpke import setup_sender
from payjoin_plugin.wire.keys import PublicKey, SecretKey
from payjoin_plugin.wire.mailbox import (
    CONTENT_LIMIT,
    MESSAGE_A_BODY,
    MESSAGE_B_BODY,
    Call,
    ShortId,
    open_message_a,
    open_message_b,
    read_poll,
    read_post,
    relay_url,
    seal_message_a,
    seal_message_b,
)
from tests.wire.samples import (
    GATEWAY_KEYS,
    damaged,
    directories,
    gateway_answers,
    gateway_opens,
    key,
    short_ids,
    vectors,
)

RUST = vectors("hpke_payjoin_messages")
RECEIVER = SecretKey(bytes.fromhex(RUST["receiver"]["sk_hex"]))
REPLY = SecretKey(bytes.fromhex(RUST["sender_reply"]["sk_hex"]))
OTHER = key("other")
DIRECTORY = "https://payjo.in"
BOX = ShortId.of(RECEIVER.public_key)

EPHEMERAL_A, EPHEMERAL_B = (SecretKey(bytes.fromhex(RUST[name]["skE_hex"])) for name in ("message_a", "message_b"))
BODY_A = RUST["message_a"]["body_text"].encode()
BODY_B = base64.b64decode(RUST["message_b"]["proposal_psbt_base64"])
BODY_ERROR = RUST["message_b_error"]["plaintext_json"].encode()


def rust_message(name: str) -> bytes:
    return bytes.fromhex(RUST[name]["message_hex"])


class TestShortId:
    @pytest.mark.parametrize(("name", "secret"), [("receiver", RECEIVER), ("sender_reply", REPLY)])
    def test_it_is_the_one_that_rust_payjoin_derives(self, name: str, secret: SecretKey) -> None:
        short_id = ShortId.of(secret.public_key)
        assert short_id.raw.hex() == RUST[name]["short_id_hex"]
        assert f"{short_id}" == RUST[name]["short_id"]
        assert ShortId.parse(RUST[name]["short_id"]) == short_id

    @given(short_ids)
    def test_it_is_read_as_written(self, short_id: ShortId) -> None:
        assert len(str(short_id)) == 13
        assert ShortId.parse(str(short_id)) == short_id

    @given(st.text(max_size=20))
    def test_any_text_is_one_or_a_decode_error(self, text: str) -> None:
        try:
            short_id = ShortId.parse(text)
        except DecodeError:
            return
        assert str(short_id)[:12] == text[:12]

    @pytest.mark.parametrize("text", ["TXJCGKTKXLUUR", "TXJCGKTKXLUUZQ"], ids=["last bit set", "14 characters"])
    def test_other_spellings_are_read_as_rust_payjoin_reads_them(self, text: str) -> None:
        assert str(ShortId.parse(text)) == "TXJCGKTKXLUUZ"

    @pytest.mark.parametrize("text", ["", "TXJCGKTKXLUU", "TXJCGKTKXLUUZQQ", "txjcgktkxluuz", "TXJCGKTKXLUU/"])
    def test_another_length_case_or_character_is_refused(self, text: str) -> None:
        with pytest.raises(DecodeError):
            ShortId.parse(text)


class TestMessageA:
    def test_that_of_rust_payjoin_opens(self) -> None:
        assert open_message_a(rust_message("message_a"), RECEIVER) == (REPLY.public_key, BODY_A)

    def test_it_is_sealed_as_rust_payjoin_seals_it(self) -> None:
        ours = seal_message_a(
            BODY_A, reply_key=REPLY.public_key, receiver_key=RECEIVER.public_key, ephemeral=EPHEMERAL_A
        )
        theirs = rust_message("message_a")
        assert ours[64:] == theirs[64:]
        assert ellswift_decode(ours[:64]) == ellswift_decode(theirs[:64])

    @given(st.binary(max_size=300) | st.integers(0, MESSAGE_A_BODY).map(lambda length: b"x" * length))
    def test_every_body_is_7168_bytes_and_comes_back_without_its_zeros(self, body: bytes) -> None:
        message = seal_message_a(body, reply_key=REPLY.public_key, receiver_key=RECEIVER.public_key)
        assert len(message) == 7168
        assert open_message_a(message, RECEIVER) == (REPLY.public_key, body.rstrip(b"\0"))

    def test_a_body_that_does_not_fit_is_a_fault_of_ours(self) -> None:
        with pytest.raises(ValueError, match="7055"):
            seal_message_a(bytes(7056), reply_key=REPLY.public_key, receiver_key=RECEIVER.public_key)

    @given(damaged(rust_message("message_a")))
    def test_a_damaged_one_does_not_open(self, message: bytes) -> None:
        with pytest.raises((OpenError, DecodeError)):
            open_message_a(message, RECEIVER)

    @given(st.binary(max_size=200))
    def test_other_people_s_garbage_does_not_open(self, message: bytes) -> None:
        with pytest.raises((OpenError, DecodeError)):
            open_message_a(message, RECEIVER)

    def test_it_opens_for_its_receiver_alone(self) -> None:
        with pytest.raises(OpenError):
            open_message_a(rust_message("message_a"), OTHER)

    def test_one_without_padding_opens_as_in_rust_payjoin(self) -> None:
        enc, context = setup_sender(RECEIVER.public_key, b"PjV2MsgA")
        message = ellswift_encode(enc) + context.seal(REPLY.public_key.compressed + BODY_A)
        assert open_message_a(message, RECEIVER) == (REPLY.public_key, BODY_A)

    @pytest.mark.parametrize("plaintext", [b"", REPLY.public_key.compressed[:32], bytes(7088)])
    def test_a_reply_key_that_is_none_is_a_decode_error(self, plaintext: bytes) -> None:
        enc, context = setup_sender(RECEIVER.public_key, b"PjV2MsgA")
        with pytest.raises(DecodeError):
            open_message_a(ellswift_encode(enc) + context.seal(plaintext), RECEIVER)

    def test_two_with_the_same_body_have_nothing_in_common(self) -> None:
        first, second = (
            seal_message_a(BODY_A, reply_key=REPLY.public_key, receiver_key=RECEIVER.public_key) for _ in range(2)
        )
        assert first[:32] != second[:32]
        assert first[64:] != second[64:]


class TestMessageB:
    @pytest.mark.parametrize(("name", "body"), [("message_b", BODY_B), ("message_b_error", BODY_ERROR)])
    def test_that_of_rust_payjoin_opens(self, name: str, body: bytes) -> None:
        opened = open_message_b(rust_message(name), reply_key=REPLY, receiver_key=RECEIVER.public_key)
        assert opened == body.ljust(7088, b"\0")

    @pytest.mark.parametrize(("name", "body"), [("message_b", BODY_B), ("message_b_error", BODY_ERROR)])
    def test_it_is_sealed_as_rust_payjoin_seals_it(self, name: str, body: bytes) -> None:
        ours = seal_message_b(body, receiver_key=RECEIVER, reply_key=REPLY.public_key, ephemeral=EPHEMERAL_B)
        theirs = rust_message(name)
        assert ours[64:] == theirs[64:]
        assert ellswift_decode(ours[:64]) == ellswift_decode(theirs[:64])

    @given(st.binary(max_size=300) | st.integers(0, MESSAGE_B_BODY).map(lambda length: b"x" * length))
    def test_every_body_is_7168_bytes_and_comes_back_with_zeros(self, body: bytes) -> None:
        message = seal_message_b(body, receiver_key=RECEIVER, reply_key=REPLY.public_key)
        assert len(message) == 7168
        opened = open_message_b(message, reply_key=REPLY, receiver_key=RECEIVER.public_key)
        assert opened == body.ljust(7088, b"\0")

    def test_a_body_that_does_not_fit_is_a_fault_of_ours(self) -> None:
        with pytest.raises(ValueError, match="7088"):
            seal_message_b(bytes(7089), receiver_key=RECEIVER, reply_key=REPLY.public_key)

    @given(damaged(rust_message("message_b")))
    def test_a_damaged_one_does_not_open(self, message: bytes) -> None:
        with pytest.raises((OpenError, DecodeError)):
            open_message_b(message, reply_key=REPLY, receiver_key=RECEIVER.public_key)

    @given(st.binary(max_size=200))
    def test_other_people_s_garbage_does_not_open(self, message: bytes) -> None:
        with pytest.raises((OpenError, DecodeError)):
            open_message_b(message, reply_key=REPLY, receiver_key=RECEIVER.public_key)

    def test_one_that_another_sealed_does_not_pass_for_the_receiver_s(self) -> None:
        forged = seal_message_b(BODY_B, receiver_key=OTHER, reply_key=REPLY.public_key)
        with pytest.raises(OpenError):
            open_message_b(forged, reply_key=REPLY, receiver_key=RECEIVER.public_key)

    def test_a_message_a_does_not_pass_for_it(self) -> None:
        message = seal_message_a(BODY_A, reply_key=REPLY.public_key, receiver_key=REPLY.public_key)
        with pytest.raises(OpenError):
            open_message_b(message, reply_key=REPLY, receiver_key=RECEIVER.public_key)


def _get(directory: str, box: ShortId, content: bytes) -> Call:
    return mailbox.get(directory, box, GATEWAY_KEYS, content=content)


def _post(directory: str, box: ShortId, content: bytes) -> Call:
    return mailbox.post(directory, box, GATEWAY_KEYS, content)


def _put(directory: str, box: ShortId, content: bytes) -> Call:
    return mailbox.put(directory, box, GATEWAY_KEYS, content)


class TestCalls:
    @pytest.mark.parametrize(("method", "call"), [("GET", _get), ("POST", _post), ("PUT", _put)])
    @given(directory=directories, box=short_ids, content=st.integers(0, CONTENT_LIMIT).map(bytes))
    def test_every_call_is_8192_bytes_and_asks_what_it_should(
        self,
        method: str,
        call: Callable[[str, ShortId, bytes], Call],
        directory: str,
        box: ShortId,
        content: bytes,
    ) -> None:
        body = call(directory, box, content).body
        assert len(body) == 8192
        scheme, authority = directory.split("://")
        assert decode_request(gateway_opens(body)) == Request(method, scheme, authority, f"/{box}", content)

    def test_a_poll_is_the_one_of_rust_payjoin(self) -> None:
        rust = vectors("ohttp_vectors")["exchanges"][0]
        call = mailbox.get(DIRECTORY, BOX, GATEWAY_KEYS)
        written = bytes.fromhex("0003474554056874747073087061796a6f2e696e0e2f46574b595947304351575032510000 00")
        assert gateway_opens(call.body).startswith(written)
        assert bytes.fromhex(rust["request_bhttp_padded_hex"]).startswith(written)

    def test_the_content_limit_fits_beside_the_longest_host_name(self) -> None:
        host = ".".join(["a" * 63] * 3 + ["a" * 61])
        assert len(host) == 253
        call = mailbox.post(f"https://{host}:65535", BOX, GATEWAY_KEYS, bytes(CONTENT_LIMIT))
        assert decode_request(gateway_opens(call.body)).content == bytes(CONTENT_LIMIT)

    def test_content_that_does_not_fit_is_a_fault_of_ours(self) -> None:
        with pytest.raises(ValueError, match="too long"):
            mailbox.post(DIRECTORY, BOX, GATEWAY_KEYS, bytes(8192))

    def test_a_call_does_not_show_its_inside(self) -> None:
        assert repr(mailbox.get(DIRECTORY, BOX, GATEWAY_KEYS)) == "Call()"


def _answered(response: bytes) -> tuple[Call, bytes]:
    call = mailbox.get(DIRECTORY, BOX, GATEWAY_KEYS)
    return call, gateway_answers(call.body, response)


class TestAnswers:
    @given(st.binary(max_size=7168))
    def test_a_full_mailbox_gives_its_content(self, content: bytes) -> None:
        assert read_poll(*_answered(encode_response(Response(200, content)))) == content

    def test_an_empty_mailbox_gives_nothing(self) -> None:
        assert read_poll(*_answered(encode_response(Response(202)))) is None

    def test_a_post_that_arrived_says_nothing(self) -> None:
        read_post(*_answered(encode_response(Response(200))))

    @pytest.mark.parametrize("status", [201, 204, 400, 404, 413, 500, 503])
    def test_any_other_status_of_a_poll_is_told(self, status: int) -> None:
        with pytest.raises(DirectoryStatus) as caught:
            read_poll(*_answered(encode_response(Response(status, b"no"))))
        assert (caught.value.status, caught.value.inner) == (status, True)

    @pytest.mark.parametrize("status", [202, 400, 404, 500])
    def test_any_other_status_of_a_post_is_told(self, status: int) -> None:
        with pytest.raises(DirectoryStatus) as caught:
            read_post(*_answered(encode_response(Response(status))))
        assert (caught.value.status, caught.value.inner) == (status, True)

    @pytest.mark.parametrize("read", [read_poll, read_post])
    @pytest.mark.parametrize("response", [b"", b"\2", b"\1\x44", b"<html>"])
    def test_an_inner_response_that_is_none_is_garbled(
        self, read: Callable[[Call, bytes], object], response: bytes
    ) -> None:
        with pytest.raises(Garbled):
            read(*_answered(response))

    @given(st.binary(max_size=100) | st.binary(max_size=100).map(lambda start: start.ljust(8192, b"\0")))
    def test_whatever_a_relay_answers_a_poll_is_garbled_or_told(self, body: bytes) -> None:
        with pytest.raises(Garbled):
            read_poll(mailbox.get(DIRECTORY, BOX, GATEWAY_KEYS), body)

    @given(st.binary(max_size=60))
    def test_whatever_a_directory_answers_is_content_or_transient(self, response: bytes) -> None:
        try:
            content = read_poll(*_answered(b"\1" + response))
        except (Garbled, DirectoryStatus):
            return
        assert content is None or isinstance(content, bytes)


class TestRelayUrl:
    @pytest.mark.parametrize(
        ("relay", "directory", "url"),
        [
            ("https://relay.example", "https://payjo.in", "https://relay.example/https://payjo.in/"),
            ("https://relay.example/path?q", "https://payjo.in/", "https://relay.example/https://payjo.in/"),
            ("http://127.0.0.1:19003", "http://127.0.0.1:19001", "http://127.0.0.1:19003/http://127.0.0.1:19001/"),
            ("http://relay.example:9002", "HTTPS://payjo.in", "http://relay.example:9002/https://payjo.in/"),
            ("http://[::1]:1", "http://[::1]:2", "http://[::1]:1/http://[::1]:2/"),
        ],
    )
    def test_it_is_the_relay_s_origin_and_the_directory_s(self, relay: str, directory: str, url: str) -> None:
        assert relay_url(relay, directory) == url

    def test_it_is_the_one_that_rust_payjoin_uses(self) -> None:
        assert relay_url("http://relay.example:9002", "https://payjo.in") == vectors("ohttp_vectors")["request_url"]


def test_the_two_mailboxes_of_a_session_differ() -> None:
    keys: list[PublicKey] = [RECEIVER.public_key, REPLY.public_key]
    assert len({ShortId.of(public) for public in keys}) == 2
