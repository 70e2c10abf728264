"""Vectors, keys, hypothesis strategies and a gateway's two moves, shared by the tests of wire/."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from payjoin_plugin.wire.hpke import SUITE_IDS, aead_seal, expand, extract, setup_recipient
from payjoin_plugin.wire.keys import PublicKey, SecretKey
from payjoin_plugin.wire.mailbox import ShortId
from payjoin_plugin.wire.ohttp import RESPONSE_BYTES, KeyConfig
from payjoin_plugin.wire.uri import EARLIEST_EXPIRY, LATEST_EXPIRY, PjEndpoint

VECTORS = Path(__file__).parent.parent / "vectors"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text())


def key(name: str) -> SecretKey:
    """A secret key that is the same at each run."""
    return SecretKey(sha256(name.encode()).digest())


def damaged(message: bytes) -> st.SearchStrategy[bytes]:
    """Everything that is nearly `message`: cut at either end, lengthened at either end, one bit wrong."""
    bits = len(message) * 8
    places = st.integers(1, len(message))
    return st.one_of(
        places.map(lambda n: message[:-n]),
        places.map(lambda n: message[n:]),
        st.binary(min_size=1, max_size=20).map(lambda more: message + more),
        st.binary(min_size=1, max_size=20).map(lambda more: more + message),
        st.integers(0, bits - 1).map(lambda bit: (int.from_bytes(message) ^ 1 << bit).to_bytes(len(message))),
    )


secret_keys = st.binary(min_size=32, max_size=32).map(lambda seed: SecretKey(sha256(seed).digest()))
public_keys = secret_keys.map(lambda secret: secret.public_key)
key_configs = st.builds(KeyConfig, st.integers(0, 255), public_keys)
short_ids = st.builds(ShortId, st.binary(min_size=8, max_size=8))
directories = st.sampled_from(
    [
        "https://payjo.in",
        "https://directory.example:8443",
        "http://127.0.0.1:19001",
        "http://localhost",
        "http://[::1]:9001",
        "https://[2001:db8::7]",
        f"http://{'a' * 56}.onion",
    ]
)
endpoints = st.builds(
    PjEndpoint,
    directory=directories,
    mailbox=short_ids,
    expires_at=st.integers(EARLIEST_EXPIRY, LATEST_EXPIRY),
    ohttp_keys=key_configs,
    receiver_key=public_keys,
)

GATEWAY = key("gateway")
GATEWAY_KEYS = KeyConfig(1, GATEWAY.public_key)


def gateway_opens(body: bytes, gateway: SecretKey = GATEWAY) -> bytes:
    """What a directory's gateway reads, padding included (RFC 9458, section 4.3)."""
    header, enc, ciphertext = body[:7], PublicKey.from_bytes(body[7:72]), body[72:]
    return setup_recipient(enc, gateway, b"message/bhttp request\0" + header).open(ciphertext)


def gateway_answers(body: bytes, response: bytes, gateway: SecretKey = GATEWAY) -> bytes:
    """A directory's encapsulated answer to the request `body` (RFC 9458, section 4.4)."""
    enc = PublicKey.from_bytes(body[7:72])
    info = b"message/bhttp request\0" + body[:1] + SUITE_IDS
    secret = setup_recipient(enc, gateway, info).export(b"message/bhttp response", 32)
    nonce = sha256(body).digest()
    prk = extract(enc.uncompressed + nonce, secret)
    padded = response.ljust(RESPONSE_BYTES, b"\0")
    return nonce + aead_seal(expand(prk, b"key", 32), expand(prk, b"nonce", 12), padded)
