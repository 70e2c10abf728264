"""The server's side of Oblivious HTTP (RFC 9458 §4), with the one suite of BIP 77.

    request   key id(1) 0016 0001 0003 │ enc(65) │ ciphertext + tag(16)     info = "message/bhttp request" 00 header(7)
    response  nonce(32) │ ciphertext(8144) + tag(16)                        always 8192 bytes

The client's side is payjoin_plugin/wire/ohttp.py. The response's key schedule is written out here once more, from the
RFC, so that at least this much of an exchange is not one function agreeing with itself.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from payjoin_plugin.errors import DecodeError, OpenError
from payjoin_plugin.wire.hpke import Context, setup_recipient
from payjoin_plugin.wire.keys import PublicKey, SecretKey
from payjoin_plugin.wire.ohttp import KeyConfig

MESSAGE_LENGTH = 8192
NONCE_LENGTH = 32
"""max(Nn, Nk) of ChaCha20-Poly1305, RFC 9458 §4.4."""
RESPONSE_LENGTH = MESSAGE_LENGTH - NONCE_LENGTH - 16
"""Bytes of BHTTP in a response, zero padded: 8144."""
SUITE = bytes.fromhex("0016 0001 0003")
HEADER_LENGTH = 7
ENC_LENGTH = 65


class KeyRejected(Exception):
    """The request names another key or suite, or does not open. All the same to the client (RFC 9458 §5.2)."""


@dataclass(frozen=True)
class Sealer:
    """Seals the response to one request (RFC 9458 §4.4)."""

    enc: bytes
    context: Context

    def seal(self, response: bytes, *, nonce: bytes | None = None) -> bytes:
        """Encapsulate BHTTP. What is longer than 8144 bytes is cut off, as payjoin-mailroom does."""
        padded = response[:RESPONSE_LENGTH].ljust(RESPONSE_LENGTH, b"\0")
        nonce = nonce or secrets.token_bytes(NONCE_LENGTH)
        secret = self.context.export(b"message/bhttp response", NONCE_LENGTH)
        prk = _hmac(self.enc + nonce, secret)  # HKDF-Extract, RFC 5869
        key = _hmac(prk, b"key\x01")  # HKDF-Expand: one block is enough for both
        aead_nonce = _hmac(prk, b"nonce\x01")[:12]
        return nonce + ChaCha20Poly1305(key).encrypt(aead_nonce, padded, b"")


class Gateway:
    """A directory's OHTTP gateway: its key, and what opens with it."""

    def __init__(self, secret: SecretKey | None = None, *, key_id: int = 1) -> None:
        self._secret = secret or SecretKey.generate()
        self.config = KeyConfig(key_id, self._secret.public_key)

    def rotated(self) -> Gateway:
        """The gateway after a change of its key: requests for the old one are rejected from now on."""
        return Gateway(key_id=self.config.key_id % 255 + 1)

    def open(self, message: bytes) -> tuple[bytes, Sealer]:
        """Decapsulate a request of any length; return its BHTTP and what seals the answer. Raises KeyRejected."""
        header, enc = message[:HEADER_LENGTH], message[HEADER_LENGTH : HEADER_LENGTH + ENC_LENGTH]
        if header != bytes([self.config.key_id]) + SUITE or len(enc) != ENC_LENGTH:
            raise KeyRejected
        info = b"message/bhttp request\0" + header
        try:
            context = setup_recipient(PublicKey.from_bytes(enc), self._secret, info)
            return context.open(message[HEADER_LENGTH + ENC_LENGTH :]), Sealer(enc, context)
        except (DecodeError, OpenError):
            raise KeyRejected from None


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)
