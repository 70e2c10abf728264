"""BIP 324's ElligatorSwift: a public key as 64 bytes that look random.

    0                     32                    64
    | u, big-endian mod p | t, big-endian mod p |     x = XSwiftEC(u, t), and y has the parity of t

Messages A and B start with such a key, so that nothing in a mailbox shows what it is. libsecp256k1 does both directions
where the loaded library can; else plain Python does. Only public keys pass here, so its timing tells nothing.
"""

from __future__ import annotations

import secrets

from ..errors import DecodeError
from .keys import PublicKey
from .secp256k1 import ellswift_decode, ellswift_encode, has

ENCODED_BYTES = 64
P = 2**256 - 2**32 - 977
MINUS_3_SQRT = pow(-3, (P + 1) // 4, P)


def encode(key: PublicKey) -> bytes:
    """One of the many 64-byte encodings of `key`, drawn at random."""
    return (encode_libsecp if _HAS_LIBSECP else encode_plain)(key)


def decode(encoding: bytes) -> PublicKey:
    """The key that 64 bytes stand for: any 64 bytes stand for one. Raises `DecodeError` for another length."""
    if len(encoding) != ENCODED_BYTES:
        raise DecodeError(f"an ElligatorSwift encoding is {ENCODED_BYTES} bytes")
    return (decode_libsecp if _HAS_LIBSECP else decode_plain)(encoding)


def encode_libsecp(key: PublicKey) -> bytes:
    """`encode` by libsecp256k1."""
    return ellswift_encode(key.uncompressed, secrets.token_bytes(32))


def decode_libsecp(encoding: bytes) -> PublicKey:
    """`decode` by libsecp256k1."""
    return PublicKey.from_bytes(ellswift_decode(encoding))


def encode_plain(key: PublicKey) -> bytes:
    """`encode` in Python: random u and case until the inverse exists (BIP 324, XElligatorSwift)."""
    x = int.from_bytes(key.compressed[1:], "big")
    y_parity = key.compressed[0] & 1
    while True:
        u = 1 + secrets.randbelow(P - 1)
        t = xswiftec_inverse(x, u, secrets.randbelow(4))
        if t:
            # -t leads to the same x. The inverse's four other cases are just that.
            return u.to_bytes(32, "big") + (t if t & 1 == y_parity else P - t).to_bytes(32, "big")


def decode_plain(encoding: bytes) -> PublicKey:
    """`decode` in Python."""
    u, t = int.from_bytes(encoding[:32], "big") % P, int.from_bytes(encoding[32:], "big") % P
    return PublicKey(bytes([2 + (t & 1)]) + xswiftec(u, t).to_bytes(32, "big"))


def xswiftec(u: int, t: int) -> int:
    """The x coordinate that u and t, both below p, stand for (BIP 324, XSwiftEC)."""
    u = u or 1
    t = t or 1
    if (u**3 + t**2 + 7) % P == 0:
        t = 2 * t % P
    x = (u**3 + 7 - t**2) * pow(2 * t, -1, P) % P
    y = (x + t) * pow(MINUS_3_SQRT * u, -1, P) % P
    quotient = x * pow(y, -1, P) % P
    first, second, third = u + 4 * y * y, (-quotient - u) * _HALF, (quotient - u) * _HALF
    # One of the three is always on the curve, so the last need not be tested.
    return next((candidate for candidate in (first % P, second % P) if _is_x(candidate)), third % P)


def xswiftec_inverse(x: int, u: int, case: int) -> int | None:
    """The t with xswiftec(u, t) == x that belongs to `case`, 0 to 7, if there is one (BIP 324, XSwiftECInv)."""
    g = (u**3 + 7) % P
    if case & 2 == 0:
        if _is_x((-x - u) % P):
            return None
        v = x
        s = -g * pow(u * u + u * v + v * v, -1, P) % P
    else:
        s = (x - u) % P
        if s == 0:
            return None
        r = _square_root(-s * (4 * g + 3 * s * u * u))
        if r is None or (case & 1 and r == 0):
            return None
        v = (r * pow(s, -1, P) - u) * _HALF % P
    w = _square_root(s)
    if w is None:
        return None
    t = w * (u * (1 + MINUS_3_SQRT) * _HALF + v) if case & 1 else -w * (u * (1 - MINUS_3_SQRT) * _HALF + v)
    return (-t if case & 4 else t) % P


_HALF = pow(2, -1, P)
_HAS_LIBSECP = has("secp256k1_ellswift_encode", "secp256k1_ellswift_decode")


def _square_root(a: int) -> int | None:
    """The root of `a` that is itself a square, if there is a root (p is 3 modulo 4)."""
    root = pow(a, (P + 1) // 4, P)
    return root if (root * root - a) % P == 0 else None


def _is_x(x: int) -> bool:
    return _square_root(x**3 + 7) is not None
