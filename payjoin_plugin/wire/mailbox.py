"""BIP 77's mailboxes: their names, the two messages that lie in them, and the requests that put and take these.

    message A, sender to receiver                   HPKE base mode to the receiver key, info "PjV2MsgA"
    0             64          97                                            7152      7168
    | ellswift    | reply key | body, zero-padded                           | tag     |
                    33 bytes    7055 bytes: base64 PSBT, 0x0A, query string

    message B, receiver to sender                   HPKE auth mode from the receiver key to the reply key, "PjV2MsgB"
    0             64                                                        7152      7168
    | ellswift    | body, zero-padded                                       | tag     |
                    7088 bytes: raw PSBT, or an error in JSON

    Short ID = SHA-256 of a compressed key, its first 8 bytes; written as 13 characters of bech32
      receiver's mailbox = Short ID of the receiver key         sender's mailbox = Short ID of the reply key

A request is a BHTTP request to the directory inside OHTTP; the outer request is always a POST to `relay_url`. What lies
in a mailbox comes from the other side, or from anybody who knows its name: `DecodeError` and `OpenError` tell of that.
What a relay or directory got wrong is `Garbled` or `DirectoryStatus`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..errors import DecodeError, DirectoryStatus, Garbled
from .bech32 import decode as bech32_decode
from .bech32 import encode as bech32_encode
from .bhttp import Request, Response, decode_response, encode_request
from .ellswift import ENCODED_BYTES
from .ellswift import decode as ellswift_decode
from .ellswift import encode as ellswift_encode
from .hpke import N_TAG, Context, setup_recipient, setup_sender
from .keys import PublicKey, SecretKey
from .ohttp import KeyConfig, Opener, encapsulate

MESSAGE_BYTES = 7168
"""Message A and message B (BIP 77, *Padding*)."""
_KEY_BYTES = 33
MESSAGE_B_BODY = MESSAGE_BYTES - ENCODED_BYTES - N_TAG
"""What a message B can carry, in bytes: 7088."""
MESSAGE_A_BODY = MESSAGE_B_BODY - _KEY_BYTES
"""What a message A can carry, in bytes: 7055."""
CONTENT_LIMIT = 7800
"""What one request can carry, in bytes, beside the longest host name there is (253 characters)."""

_INFO_A = b"PjV2MsgA"
_INFO_B = b"PjV2MsgB"
_SHORT_ID_BYTES = 8


@dataclass(frozen=True)
class ShortId:
    """The name of a mailbox, 8 bytes; `str` of it is 13 upper-case characters (BIP 77, *Short ID*)."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != _SHORT_ID_BYTES:
            raise DecodeError(f"a Short ID is {_SHORT_ID_BYTES} bytes")

    def __str__(self) -> str:
        return bech32_encode(self.raw)

    @classmethod
    def of(cls, key: PublicKey) -> ShortId:
        """The mailbox of the one who holds `key`'s secret."""
        return cls(hashlib.sha256(key.compressed).digest()[:_SHORT_ID_BYTES])

    @classmethod
    def parse(cls, text: str) -> ShortId:
        """Read 13 upper-case characters; a filled-in last bit or a 14th character do no harm, as in rust-payjoin.

        Raises `DecodeError`.
        """
        return cls(bech32_decode(text))


def seal_message_a(
    body: bytes, *, reply_key: PublicKey, receiver_key: PublicKey, ephemeral: SecretKey | None = None
) -> bytes:
    """Message A, 7168 bytes, with the key that its answer is to be sealed to. `ephemeral` is for tests.

    Raises `ValueError` for a `body` longer than `MESSAGE_A_BODY`.
    """
    enc, context = setup_sender(receiver_key, _INFO_A, ephemeral=ephemeral)
    return _seal(enc, context, reply_key.compressed + _padded(body, MESSAGE_A_BODY))


def open_message_a(message: bytes, receiver_key: SecretKey) -> tuple[PublicKey, bytes]:
    """The reply key and the body of message A, the body without the zeros at its end.

    Another length than 7168 is taken, as rust-payjoin takes it: what opens was sealed as it is. Raises `OpenError`, and
    `DecodeError` for bytes that are too few or a reply key that is none.
    """
    enc, ciphertext = _split(message)
    plaintext = setup_recipient(enc, receiver_key, _INFO_A).open(ciphertext)
    reply_key = PublicKey(plaintext[:_KEY_BYTES])
    return reply_key, plaintext[_KEY_BYTES:].rstrip(b"\0")


def seal_message_b(
    body: bytes, *, receiver_key: SecretKey, reply_key: PublicKey, ephemeral: SecretKey | None = None
) -> bytes:
    """Message B, 7168 bytes, which proves to come from the holder of the receiver key. `ephemeral` is for tests.

    Raises `ValueError` for a `body` longer than `MESSAGE_B_BODY`.
    """
    enc, context = setup_sender(reply_key, _INFO_B, sender=receiver_key, ephemeral=ephemeral)
    return _seal(enc, context, _padded(body, MESSAGE_B_BODY))


def open_message_b(message: bytes, *, reply_key: SecretKey, receiver_key: PublicKey) -> bytes:
    """The body of message B with its zeros: a PSBT ends in zeros of its own, so only its reader knows its end.

    Raises `OpenError`, and `DecodeError` for bytes that are too few.
    """
    enc, ciphertext = _split(message)
    return setup_recipient(enc, reply_key, _INFO_B, sender=receiver_key).open(ciphertext)


@dataclass(frozen=True)
class Call:
    """A request, ready to be posted to `relay_url`, and what opens its answer. Good for one try."""

    body: bytes = field(repr=False)
    opener: Opener = field(repr=False)


def get(directory: str, mailbox: ShortId, keys: KeyConfig, *, content: bytes = b"") -> Call:
    """Ask for what lies in `mailbox`. The directory waits up to 30 seconds for something, and ignores `content`."""
    return _call("GET", directory, mailbox, keys, content)


def post(directory: str, mailbox: ShortId, keys: KeyConfig, content: bytes) -> Call:
    """Put `content` into `mailbox`, where the first post stays."""
    return _call("POST", directory, mailbox, keys, content)


def put(directory: str, mailbox: ShortId, keys: KeyConfig, content: bytes) -> Call:
    """Answer the BIP 78 sender who waits at `mailbox`, with the text that he is to get."""
    return _call("PUT", directory, mailbox, keys, content)


def read_poll(call: Call, body: bytes) -> bytes | None:
    """What lay in the mailbox, by the answer to a `get`; None while it is empty.

    Raises `DirectoryStatus` for an inner status other than 200 and 202, `Garbled` for what is no answer at all.
    """
    response = _response(call, body)
    if response.status == 202:
        return None
    if response.status != 200:
        raise DirectoryStatus(response.status, inner=True)
    return response.content


def read_post(call: Call, body: bytes) -> None:
    """Check the answer to a `post` or a `put`.

    Raises `DirectoryStatus` for an inner status other than 200, `Garbled` for what is no answer at all.
    """
    response = _response(call, body)
    if response.status != 200:
        raise DirectoryStatus(response.status, inner=True)


def relay_url(relay: str, directory: str) -> str:
    """Where a request is posted: `<origin of the relay>/<origin of the directory>/`, as mailroom's relay wants it."""
    return f"{_origin(relay)}/{_origin(directory)}/"


def _call(method: str, directory: str, mailbox: ShortId, keys: KeyConfig, content: bytes) -> Call:
    """Raises `ValueError` for a `content` that does not fit; up to `CONTENT_LIMIT` bytes always do."""
    url = urlsplit(directory)
    request = Request(method, url.scheme, url.netloc, f"/{mailbox}", content)
    return Call(*encapsulate(keys, encode_request(request)))


def _response(call: Call, body: bytes) -> Response:
    try:
        return decode_response(call.opener.open(body))
    except DecodeError as error:
        raise Garbled(f"an inner response that is none: {error}") from None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _padded(body: bytes, length: int) -> bytes:
    if len(body) > length:
        raise ValueError(f"{len(body)} bytes do not fit into a message that carries {length}")
    return body.ljust(length, b"\0")


def _seal(enc: PublicKey, context: Context, plaintext: bytes) -> bytes:
    return ellswift_encode(enc) + context.seal(plaintext)


def _split(message: bytes) -> tuple[PublicKey, bytes]:
    if len(message) < ENCODED_BYTES + N_TAG:
        raise DecodeError("too short for a message")
    return ellswift_decode(message[:ENCODED_BYTES]), message[ENCODED_BYTES:]
