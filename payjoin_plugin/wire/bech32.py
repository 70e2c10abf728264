"""bech32 text without prefix and without checksum, as BIP 77 writes Short IDs and fragment parameters.

    bits of the bytes, most significant first, in groups of five, the last one filled up with zeros:

    59 a5 84 59 76 37 f9 c1  =  01011 00110 10010 11000 01000 10110 01011 10110 00110 11111 11001 11000 0010(0)
                                  T     X     J     C     G     K     T     K     X     L     U     U     Z

The text is upper case: so it fits the alphanumeric mode of a QR code (BIP 77, *Receiver fragment parameters*; the
alphabet is BIP 173's).
"""

from __future__ import annotations

from ..errors import DecodeError

ALPHABET = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
_VALUES = {character: value for value, character in enumerate(ALPHABET)}


def encode(data: bytes) -> str:
    """`data` as upper-case text of ceil(8n / 5) characters."""
    characters = -(-len(data) * 8 // 5)
    bits = int.from_bytes(data, "big") << (characters * 5 - len(data) * 8)
    return "".join(ALPHABET[bits >> (5 * place) & 31] for place in reversed(range(characters)))


def decode(text: str) -> bytes:
    """The floor(5n / 8) bytes of n characters. Bits that fill no byte are dropped unseen, as rust-payjoin does.

    Raises `DecodeError` for a character that is not in the upper-case alphabet.
    """
    bits = 0
    for character in text:
        if character not in _VALUES:
            raise DecodeError("a character that is not upper-case bech32")
        bits = bits << 5 | _VALUES[character]
    length = len(text) * 5 // 8
    return (bits >> (len(text) * 5 - length * 8)).to_bytes(length, "big")
