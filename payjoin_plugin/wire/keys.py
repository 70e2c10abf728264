"""secp256k1 keys as values, checked when they are made.

    compressed     02 or 03 || x        33 bytes     in URIs and in message A; what a Short ID is the hash of
    uncompressed   04 || x || y         65 bytes     in HPKE and OHTTP (SEC 1, section 2.3.3)
    secret         big-endian scalar    32 bytes     1 to n - 1

A value of these types is always good, so what takes one need not look again.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cached_property

from electrum_ecc import CURVE_ORDER, ECPubkey, InvalidECPointException, is_secret_within_curve_range

from ..errors import DecodeError
from .secp256k1 import ecdh_x, public_point


@dataclass(frozen=True)
class PublicKey:
    """A point of the curve, never infinity. Made from other bytes it raises `DecodeError`."""

    compressed: bytes

    def __post_init__(self) -> None:
        if len(self.compressed) != 33:
            raise DecodeError("a compressed public key is 33 bytes")
        _ = self.uncompressed  # raises for what is no point, and is kept

    @cached_property
    def uncompressed(self) -> bytes:
        """The same point as 65 bytes, `04 || x || y`."""
        try:
            return bytes(ECPubkey(self.compressed).get_public_key_bytes(compressed=False))
        except InvalidECPointException:
            raise DecodeError("not a point of secp256k1") from None

    @classmethod
    def from_bytes(cls, encoded: bytes) -> PublicKey:
        """Read 33 compressed or 65 uncompressed bytes (SEC 1, section 2.3.4; its hybrid form is not taken).

        Raises `DecodeError` for anything else and for what is no point of the curve.
        """
        if len(encoded) != 65:
            return cls(encoded)
        if encoded[0] != 4:
            raise DecodeError("an uncompressed public key starts with 04")
        key = cls(bytes([2 + (encoded[64] & 1)]) + encoded[1:33])
        if key.uncompressed != encoded:
            raise DecodeError("not a point of secp256k1")
        return key


@dataclass(frozen=True, repr=False)
class SecretKey:
    """A secret scalar. Made from anything but 32 bytes from 1 to n - 1 it raises `DecodeError`."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != 32 or not is_secret_within_curve_range(self.raw):
            raise DecodeError("not a secret key of secp256k1")

    def __repr__(self) -> str:
        return "SecretKey(…)"

    @cached_property
    def public_key(self) -> PublicKey:
        return PublicKey.from_bytes(public_point(self.raw))

    @classmethod
    def generate(cls) -> SecretKey:
        """A new key from the system's randomness."""
        return cls((1 + secrets.randbelow(CURVE_ORDER - 1)).to_bytes(32, "big"))


def shared_x(secret: SecretKey, public: PublicKey) -> bytes:
    """Diffie-Hellman as DHKEM(secp256k1) wants it: the shared point's x coordinate, 32 bytes."""
    return ecdh_x(public.uncompressed, secret.raw)
