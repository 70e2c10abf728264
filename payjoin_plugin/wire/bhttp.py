"""RFC 9292, binary HTTP messages of known length, without header fields.

    request    00 | method | scheme | authority | path | 00 | content | 00 | padding
    response   01 | status                             | 00 | content | 00 | padding
                    varint   (each text and the content: varint length, then the bytes; 00: an empty field section)

What is written ends before the padding, which is the business of `ohttp.py`. What is read may have header fields,
informational responses in front (section 3.5) and trailers: they are skipped. It may be cut off where only empty parts
are missing, as RFC 9458's examples are. Whatever follows the trailers is padding, which section 3.8 lets us ignore:
rust-payjoin fills it with random bytes. The indeterminate-length form, which nobody here writes, is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DecodeError

_REQUEST = 0
_RESPONSE = 1
_NO_FIELDS = b"\0"


@dataclass(frozen=True)
class Request:
    """An HTTP request. `authority` is `host` or `host:port`; the texts are ASCII."""

    method: str
    scheme: str
    authority: str
    path: str
    content: bytes = b""


@dataclass(frozen=True)
class Response:
    """A final HTTP response, status 200 to 599."""

    status: int
    content: bytes = b""


def encode_request(request: Request) -> bytes:
    """`request` without padding. Raises `ValueError` for a text that is not ASCII."""
    control = (request.method, request.scheme, request.authority, request.path)
    return b"".join(
        (
            encode_varint(_REQUEST),
            *(_prefixed(text.encode("ascii")) for text in control),
            _NO_FIELDS,
            _prefixed(request.content),
            _NO_FIELDS,
        )
    )


def decode_request(message: bytes) -> Request:
    """Read a request, padded or not. Raises `DecodeError`."""
    reader = _Reader(message)
    reader.expect(_REQUEST)
    method, scheme, authority, path = (reader.text() for _ in range(4))
    return Request(method, scheme, authority, path, reader.content())


def encode_response(response: Response) -> bytes:
    """`response` without padding."""
    return b"".join(
        (encode_varint(_RESPONSE), encode_varint(response.status), _NO_FIELDS, _prefixed(response.content), _NO_FIELDS)
    )


def decode_response(message: bytes) -> Response:
    """Read a response, padded or not. Raises `DecodeError`."""
    reader = _Reader(message)
    reader.expect(_RESPONSE)
    status = reader.varint()
    while 100 <= status <= 199:
        reader.prefixed()
        status = reader.varint()
    if not 200 <= status <= 599:
        raise DecodeError("a status that HTTP does not know")
    return Response(status, reader.content())


def encode_varint(value: int) -> bytes:
    """`value`, below 2**62, in the fewest bytes (RFC 9000, section 16)."""
    for exponent in range(4):
        length = 1 << exponent
        if value < 1 << (8 * length - 2):
            return (value | exponent << (8 * length - 2)).to_bytes(length, "big")
    raise ValueError("too large for a variable-length integer")


def _prefixed(data: bytes) -> bytes:
    return encode_varint(len(data)) + data


class _Reader:
    """Reads a message from its front. Everything raises `DecodeError` where the bytes end too early."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._position = 0

    def expect(self, framing: int) -> None:
        if self.varint() != framing:
            raise DecodeError("not a binary HTTP message of the form that was expected")

    def varint(self) -> int:
        """An integer in any of its four lengths (RFC 9000, section 16)."""
        first = self._take(1)[0]
        rest = self._take((1 << (first >> 6)) - 1)
        return int.from_bytes(bytes([first & 0x3F]) + rest, "big")

    def prefixed(self) -> bytes:
        return self._take(self.varint())

    def text(self) -> str:
        try:
            return self.prefixed().decode("ascii")
        except UnicodeDecodeError:
            raise DecodeError("a text that is not ASCII") from None

    def content(self) -> bytes:
        """The content, out of header section, content and trailers; the last of them may be missing."""
        _headers, content, _trailers = (self.prefixed() if self._more() else b"" for _ in range(3))
        return content

    def _more(self) -> bool:
        return self._position < len(self._message)

    def _take(self, length: int) -> bytes:
        end = self._position + length
        if end > len(self._message):
            raise DecodeError("a binary HTTP message that ends too early")
        taken = self._message[self._position : end]
        self._position = end
        return taken
