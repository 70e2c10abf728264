"""The functions of libsecp256k1 that `electrum_ecc` loads but does not wrap: constant-time ECDH and ElligatorSwift.

Points go in and out as 65 bytes, `04 || x || y`, and scalars as 32; `keys.py` has checked both. The library that a
Linux distribution links may lack one of the modules; ECDH then goes through electrum_ecc's multiplication, which is
right but not constant in time, and ElligatorSwift through `ellswift.py`'s own arithmetic.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import CFUNCTYPE, byref, c_int, c_size_t, c_void_p, create_string_buffer

from electrum_ecc import ECPubkey, ecc_fast

_library = ecc_fast._libsecp256k1  # noqa: SLF001 (electrum_ecc has no public name for it)

# typedef int (*secp256k1_ecdh_hash_function)(unsigned char *output, const unsigned char *x32, const … *y32, void *data)
_HashFunction = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_void_p)


def _copy_x(output: int, x32: int, _y32: int, _data: None) -> int:
    ctypes.memmove(output, x32, 32)
    return 1


_keep_x = _HashFunction(_copy_x)


def has(*names: str) -> bool:
    """Whether the loaded library has all these functions."""
    return all(hasattr(_library, name) for name in names)


def public_point(secret: bytes) -> bytes:
    """The point of a secret key, computed in constant time."""
    structure = create_string_buffer(64)
    if not _library.secp256k1_ec_pubkey_create(_library.ctx, structure, secret):
        raise ValueError("not a secret key")
    return _serialize(structure)


def ecdh_x_plain(point: bytes, secret: bytes) -> bytes:
    """The x coordinate, 32 bytes, of `point` multiplied by `secret`. Its time depends on the secret."""
    product = ECPubkey(point) * int.from_bytes(secret, "big")
    return bytes(product.get_public_key_bytes(compressed=True)[1:])


def ecdh_x_libsecp(point: bytes, secret: bytes) -> bytes:
    """The same in constant time: `secp256k1_ecdh` with a hash function of ours, which keeps x as it is."""
    ecdh = _bind("secp256k1_ecdh", c_void_p, c_void_p, c_void_p, c_void_p, _HashFunction, c_void_p)
    output = create_string_buffer(32)
    if not ecdh(_library.ctx, output, _parse(point), secret, _keep_x, None):
        raise ValueError("not a secret key")
    return output.raw


ecdh_x = ecdh_x_libsecp if has("secp256k1_ecdh") else ecdh_x_plain


def ellswift_encode(point: bytes, randomness: bytes) -> bytes:
    """The 64-byte ElligatorSwift encoding that follows from `randomness`, 32 bytes."""
    encode = _bind("secp256k1_ellswift_encode", c_void_p, c_void_p, c_void_p, c_void_p)
    output = create_string_buffer(64)
    encode(_library.ctx, output, _parse(point), randomness)
    return output.raw


def ellswift_decode(encoding: bytes) -> bytes:
    """The point that 64 bytes of ElligatorSwift stand for. Any 64 bytes stand for one."""
    decode = _bind("secp256k1_ellswift_decode", c_void_p, c_void_p, c_void_p)
    structure = create_string_buffer(64)
    decode(_library.ctx, structure, encoding)
    return _serialize(structure)


def _bind(name: str, *argument_types: type) -> Callable[..., int]:
    """A function of the library under a prototype of our own: those set on `_library` are electrum_ecc's."""
    return CFUNCTYPE(c_int, *argument_types)((name, _library))


def _parse(point: bytes) -> ctypes.Array[ctypes.c_char]:
    """The library's own structure for a point. A wrong point here is a fault of ours."""
    structure = create_string_buffer(64)
    if not _library.secp256k1_ec_pubkey_parse(_library.ctx, structure, point, len(point)):
        raise ValueError("not a point")
    return structure


def _serialize(structure: ctypes.Array[ctypes.c_char]) -> bytes:
    output, length = create_string_buffer(65), c_size_t(65)
    _library.secp256k1_ec_pubkey_serialize(
        _library.ctx, output, byref(length), structure, ecc_fast.SECP256K1_EC_UNCOMPRESSED
    )
    return output.raw
