"""RFC 9458, oblivious HTTP, at the fixed sizes of BIP 77: a relay sees 8192 bytes go and 8192 bytes come.

    key configuration     0       1           3              68          70        74
      (section 3.1)       | id    | KEM 0016  | key, 65 bytes | 0004     | 0001 0003 |
      as BIP 77's OH      | id    | key, compressed, 33 bytes |

    request               0       7           72                          8176      8192
      (section 4.3)       | hdr   | enc       | BHTTP request, padded     | tag     |
                            hdr = id | KEM 0016 | KDF 0001 | AEAD 0003

    response              0       32                                      8176      8192
      (section 4.4)       | nonce | BHTTP response, padded                | tag     |

A directory serves the configuration bare, without the length that section 3.2 puts before each of a list. The padding
of a request is random, as rust-payjoin's: an empty trailer section must end the request in front of it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from ..errors import DecodeError, Garbled, OpenError
from .hpke import N_KEY, N_NONCE, N_TAG, SUITE_IDS, Context, aead_open, expand, extract, setup_sender
from .keys import PublicKey, SecretKey

MESSAGE_BYTES = 8192
"""An encapsulated request and an encapsulated response (BIP 77, *Directory*)."""
_N_ENC = 65
_HEADER_BYTES = 7
REQUEST_BYTES = MESSAGE_BYTES - _HEADER_BYTES - _N_ENC - N_TAG
"""The BHTTP request inside, padding included: 8104."""
_NONCE_BYTES = 32
"""max(Nn, Nk) of the AEAD (RFC 9458, section 4.4)."""
RESPONSE_BYTES = MESSAGE_BYTES - _NONCE_BYTES - N_TAG
"""The BHTTP response inside, padding included: 8144."""

_REQUEST_INFO = b"message/bhttp request"
_RESPONSE_LABEL = b"message/bhttp response"
_KEM_ID = SUITE_IDS[:2]
_SYMMETRIC_IDS = SUITE_IDS[2:]
_CONFIG_BYTES = 74
_COMPACT_BYTES = 34


@dataclass(frozen=True)
class KeyConfig:
    """A directory's OHTTP key; the rest of the configuration never varies. `key_id` is one byte."""

    key_id: int
    public_key: PublicKey

    def __post_init__(self) -> None:
        if not 0 <= self.key_id <= 255:
            raise DecodeError("an OHTTP key id is one byte")

    def to_bytes(self) -> bytes:
        """The 74 bytes that a directory serves."""
        symmetric = len(_SYMMETRIC_IDS).to_bytes(2, "big") + _SYMMETRIC_IDS
        return bytes([self.key_id]) + _KEM_ID + self.public_key.uncompressed + symmetric

    @classmethod
    def from_bytes(cls, encoded: bytes) -> KeyConfig:
        """Read a directory's 74 bytes. Raises `DecodeError`, also for any suite but ours."""
        if len(encoded) != _CONFIG_BYTES:
            raise DecodeError(f"an OHTTP key configuration is {_CONFIG_BYTES} bytes")
        config = cls(encoded[0], PublicKey.from_bytes(encoded[3:68]))
        if config.to_bytes() != encoded:
            raise DecodeError("an OHTTP key configuration for another cipher suite")
        return config

    def to_compact(self) -> bytes:
        """The 34 bytes of a URI's OH parameter."""
        return bytes([self.key_id]) + self.public_key.compressed

    @classmethod
    def from_compact(cls, encoded: bytes) -> KeyConfig:
        """Read the 34 bytes of an OH parameter. Raises `DecodeError`."""
        if len(encoded) != _COMPACT_BYTES:
            raise DecodeError(f"an OH parameter is {_COMPACT_BYTES} bytes")
        return cls(encoded[0], PublicKey(encoded[1:]))


class Opener:
    """Opens the response to one request, once. It is never stored."""

    def __init__(self, enc: PublicKey, context: Context) -> None:
        self._enc = enc
        self._context: Context | None = context

    def open(self, body: bytes) -> bytes:
        """The BHTTP response, 8144 bytes with its padding, of the encapsulated one (RFC 9458, section 4.4).

        Raises `Garbled` for any other length, most likely an HTTP error that nobody encapsulated, and for what does not
        open. Either way the opener is used up: a second call is a fault of ours and raises `ValueError`.
        """
        context, self._context = self._context, None
        if context is None:
            raise ValueError("an opener opens once")
        if len(body) != MESSAGE_BYTES:
            raise Garbled(f"an encapsulated response of {len(body)} bytes instead of {MESSAGE_BYTES}")
        nonce, ciphertext = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
        prk = extract(self._enc.uncompressed + nonce, context.export(_RESPONSE_LABEL, _NONCE_BYTES))
        try:
            return aead_open(expand(prk, b"key", N_KEY), expand(prk, b"nonce", N_NONCE), ciphertext)
        except OpenError:
            raise Garbled("an encapsulated response that does not open") from None


def encapsulate(config: KeyConfig, bhttp_request: bytes, *, ephemeral: SecretKey | None = None) -> tuple[bytes, Opener]:
    """The 8192 bytes for the relay and the opener of their response (RFC 9458, section 4.3).

    `bhttp_request` comes without padding; more than 8104 bytes raise `ValueError`. Each try of a request must be
    encapsulated anew, so that a relay cannot tell a repetition: `ephemeral` is for tests.
    """
    room = REQUEST_BYTES - len(bhttp_request)
    if room < 0:
        raise ValueError("the request is too long for the fixed size of BIP 77")
    header = bytes([config.key_id]) + SUITE_IDS
    enc, context = setup_sender(config.public_key, _REQUEST_INFO + b"\0" + header, ephemeral=ephemeral)
    return header + enc.uncompressed + context.seal(bhttp_request + secrets.token_bytes(room)), Opener(enc, context)
