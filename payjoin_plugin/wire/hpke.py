"""RFC 9180, hybrid public key encryption, in the one suite of BIP 77, base and auth mode.

    KEM 0x0016  DHKEM(secp256k1, HKDF-SHA256)     enc, pkR, pkS: 65 bytes, uncompressed; DH: 32 bytes, x alone
    KDF 0x0001  HKDF-SHA256
    AEAD 0x0003 ChaCha20-Poly1305                 key 32, nonce 12, tag 16 bytes

    kem_context = enc || pkR               base         shared_secret = ExtractAndExpand(dh, kem_context)
                  enc || pkR || pkS        auth         (section 4.1)
    key, base_nonce, exporter_secret = KeySchedule(mode, shared_secret, info, psk "", psk_id "")     (section 5.1)
    nonce of message number seq = base_nonce xor seq                                                 (section 5.2)

The KEM is that of draft-wahby-cfrg-hpke-kem-secp256k1. Names are the RFC's. Python keeps copies of secrets in memory
that cannot be wiped; keys live in the wallet file anyway.
"""

from __future__ import annotations

import hmac

from electrum.crypto import chacha20_poly1305_decrypt, chacha20_poly1305_encrypt

from ..errors import OpenError
from .keys import PublicKey, SecretKey, shared_x

HASH = "sha256"
N_KEY = 32
N_NONCE = 12
N_TAG = 16
N_SECRET = 32
N_HASH = 32

SUITE_IDS = bytes.fromhex("0016 0001 0003")
"""KEM, KDF and AEAD (RFC 9180, section 7)."""
_KEM_SUITE = b"KEM" + SUITE_IDS[:2]
_HPKE_SUITE = b"HPKE" + SUITE_IDS
_MODE_BASE = b"\0"
_MODE_AUTH = b"\2"


class Context:
    """One direction of an encryption context (RFC 9180, section 5.2), with its message counter.

    The sender's context seals, the recipient's opens; nothing stops the wrong one, but its messages would not open.
    """

    def __init__(self, *, key: bytes, base_nonce: bytes, exporter_secret: bytes) -> None:
        self._key = key
        self._base_nonce = int.from_bytes(base_nonce, "big")
        self._exporter_secret = exporter_secret
        self._sequence = 0

    def seal(self, plaintext: bytes, aad: bytes = b"") -> bytes:
        """The next message: ciphertext || tag, 16 bytes longer than `plaintext`."""
        sealed = aead_seal(self._key, self._nonce(), plaintext, aad)
        self._sequence += 1
        return sealed

    def open(self, ciphertext: bytes, aad: bytes = b"") -> bytes:
        """Open the next message. Raises `OpenError`, and then expects the same message again."""
        plaintext = aead_open(self._key, self._nonce(), ciphertext, aad)
        self._sequence += 1
        return plaintext

    def export(self, context: bytes, length: int) -> bytes:
        """A secret of `length` bytes that both sides share for `context` (RFC 9180, section 5.3)."""
        return _labeled_expand(_HPKE_SUITE, self._exporter_secret, b"sec", context, length)

    def _nonce(self) -> bytes:
        # 96 bits of counter cannot run out (section 5.2 wants the check where they could).
        return (self._base_nonce ^ self._sequence).to_bytes(N_NONCE, "big")


def setup_sender(
    recipient: PublicKey,
    info: bytes,
    *,
    sender: SecretKey | None = None,
    ephemeral: SecretKey | None = None,
) -> tuple[PublicKey, Context]:
    """The encapsulated key, to be sent along, and the sender's context: SetupBaseS, or SetupAuthS if `sender` is given.

    `ephemeral` is drawn if it is not given, and must never be used twice (RFC 9180, sections 5.1.1 and 5.1.3).
    """
    ephemeral = ephemeral or SecretKey.generate()
    enc = ephemeral.public_key
    dh = shared_x(ephemeral, recipient)
    kem_context = enc.uncompressed + recipient.uncompressed
    if sender is None:
        return enc, _key_schedule(_MODE_BASE, _shared_secret(dh, kem_context), info)
    dh += shared_x(sender, recipient)
    kem_context += sender.public_key.uncompressed
    return enc, _key_schedule(_MODE_AUTH, _shared_secret(dh, kem_context), info)


def setup_recipient(enc: PublicKey, recipient: SecretKey, info: bytes, *, sender: PublicKey | None = None) -> Context:
    """The recipient's context for the encapsulated key `enc`: SetupBaseR, or SetupAuthR if `sender` is given.

    With `sender`, only what the holder of that key has sealed opens (RFC 9180, sections 5.1.1 and 5.1.3).
    """
    dh = shared_x(recipient, enc)
    kem_context = enc.uncompressed + recipient.public_key.uncompressed
    if sender is None:
        return _key_schedule(_MODE_BASE, _shared_secret(dh, kem_context), info)
    dh += shared_x(recipient, sender)
    kem_context += sender.uncompressed
    return _key_schedule(_MODE_AUTH, _shared_secret(dh, kem_context), info)


def extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract with SHA-256 (RFC 5869, section 2.2)."""
    return hmac.digest(salt, ikm, HASH)


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-256 to `length` bytes, at most 255 * 32 (RFC 5869, section 2.3)."""
    output = block = b""
    for counter in range(1, -(-length // N_HASH) + 1):
        block = hmac.digest(prk, block + info + bytes([counter]), HASH)
        output += block
    return output[:length]


def aead_seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    """ChaCha20-Poly1305: ciphertext || tag (RFC 8439, section 2.8)."""
    return bytes(chacha20_poly1305_encrypt(key=key, nonce=nonce, associated_data=aad, data=plaintext))


def aead_open(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes = b"") -> bytes:
    """The plaintext of ciphertext || tag. Raises `OpenError`."""
    if len(ciphertext) < N_TAG:
        raise OpenError
    try:
        return bytes(chacha20_poly1305_decrypt(key=key, nonce=nonce, associated_data=aad, data=ciphertext))
    except ValueError:
        raise OpenError from None


def _shared_secret(dh: bytes, kem_context: bytes) -> bytes:
    """ExtractAndExpand (RFC 9180, section 4.1)."""
    eae_prk = _labeled_extract(_KEM_SUITE, b"", b"eae_prk", dh)
    return _labeled_expand(_KEM_SUITE, eae_prk, b"shared_secret", kem_context, N_SECRET)


def _key_schedule(mode: bytes, shared_secret: bytes, info: bytes) -> Context:
    """KeySchedule without a pre-shared key (RFC 9180, section 5.1)."""
    psk_id_hash = _labeled_extract(_HPKE_SUITE, b"", b"psk_id_hash", b"")
    info_hash = _labeled_extract(_HPKE_SUITE, b"", b"info_hash", info)
    context = mode + psk_id_hash + info_hash
    secret = _labeled_extract(_HPKE_SUITE, shared_secret, b"secret", b"")
    return Context(
        key=_labeled_expand(_HPKE_SUITE, secret, b"key", context, N_KEY),
        base_nonce=_labeled_expand(_HPKE_SUITE, secret, b"base_nonce", context, N_NONCE),
        exporter_secret=_labeled_expand(_HPKE_SUITE, secret, b"exp", context, N_HASH),
    )


def _labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def _labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)
