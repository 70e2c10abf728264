from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.errors import OpenError
from payjoin_plugin.wire.hpke import Context, expand, extract, setup_recipient, setup_sender
from payjoin_plugin.wire.keys import PublicKey, SecretKey
from tests.wire.samples import damaged, key, secret_keys, vectors

KNOWN_ANSWERS = [vector for vector in vectors("hpke_k256_chacha20poly1305_kat")["vectors"] if vector["mode"] in (0, 2)]
known_answers = pytest.mark.parametrize("vector", KNOWN_ANSWERS, ids=["base", "auth"])
RECIPIENT, SENDER, EPHEMERAL = key("recipient"), key("sender"), key("ephemeral")


def secret(vector: dict[str, Any], name: str) -> SecretKey | None:
    return SecretKey(bytes.fromhex(vector[name])) if name in vector else None


def sender_context(vector: dict[str, Any]) -> tuple[PublicKey, Context]:
    recipient = PublicKey.from_bytes(bytes.fromhex(vector["pkRm"]))
    info = bytes.fromhex(vector["info"])
    return setup_sender(recipient, info, sender=secret(vector, "skSm"), ephemeral=secret(vector, "skEm"))


def recipient_context(vector: dict[str, Any]) -> Context:
    enc = PublicKey.from_bytes(bytes.fromhex(vector["enc"]))
    recipient = SecretKey(bytes.fromhex(vector["skRm"]))
    sender = PublicKey.from_bytes(bytes.fromhex(vector["pkSm"])) if "pkSm" in vector else None
    return setup_recipient(enc, recipient, bytes.fromhex(vector["info"]), sender=sender)


def test_the_known_answers_have_both_modes() -> None:
    assert [vector["mode"] for vector in KNOWN_ANSWERS] == [0, 2]
    assert "skSm" in KNOWN_ANSWERS[1]


@known_answers
def test_the_encapsulated_key_is_the_known_one(vector: dict[str, Any]) -> None:
    enc, _ = sender_context(vector)
    assert enc.uncompressed.hex() == vector["enc"]


@known_answers
def test_messages_are_sealed_to_the_known_ciphertexts(vector: dict[str, Any]) -> None:
    _, context = sender_context(vector)
    known = {message["seq"]: message for message in vector["encryptions"]}
    for sequence in range(max(known) + 1):
        message = known.get(sequence, vector["encryptions"][0])
        sealed = context.seal(bytes.fromhex(message["pt"]), bytes.fromhex(message["aad"]))
        assert sequence not in known or sealed.hex() == message["ct"]


@known_answers
def test_the_known_ciphertexts_open(vector: dict[str, Any]) -> None:
    context = recipient_context(vector)
    for message in vector["encryptions"][:3]:
        assert context.open(bytes.fromhex(message["ct"]), bytes.fromhex(message["aad"])).hex() == message["pt"]


@known_answers
def test_both_sides_export_the_known_secrets(vector: dict[str, Any]) -> None:
    for context in (sender_context(vector)[1], recipient_context(vector)):
        for export in vector["exports"]:
            exported = context.export(bytes.fromhex(export["exporter_context"]), export["L"])
            assert exported.hex() == export["exported_value"]


@given(secret_keys, st.none() | secret_keys, st.binary(max_size=30), st.binary(max_size=300), st.binary(max_size=30))
def test_what_is_sealed_opens(
    recipient: SecretKey, sender: SecretKey | None, info: bytes, plaintext: bytes, aad: bytes
) -> None:
    enc, context = setup_sender(recipient.public_key, info, sender=sender)
    sealed = context.seal(plaintext, aad)
    assert len(sealed) == len(plaintext) + 16
    sender_public = sender.public_key if sender else None
    assert setup_recipient(enc, recipient, info, sender=sender_public).open(sealed, aad) == plaintext


def sealed_sample() -> tuple[PublicKey, bytes]:
    enc, context = setup_sender(RECIPIENT.public_key, b"info", sender=SENDER, ephemeral=EPHEMERAL)
    return enc, context.seal(b"attack at dawn", b"aad")


@given(damaged(sealed_sample()[1]))
def test_a_damaged_message_does_not_open(message: bytes) -> None:
    enc, _ = sealed_sample()
    context = setup_recipient(enc, RECIPIENT, b"info", sender=SENDER.public_key)
    with pytest.raises(OpenError):
        context.open(message, b"aad")


def test_a_message_opens_only_for_all_that_it_was_sealed_with() -> None:
    enc, sealed = sealed_sample()
    right = setup_recipient(enc, RECIPIENT, b"info", sender=SENDER.public_key)
    other = key("other")
    wrong = [
        setup_recipient(other.public_key, RECIPIENT, b"info", sender=SENDER.public_key),
        setup_recipient(enc, other, b"info", sender=SENDER.public_key),
        setup_recipient(enc, RECIPIENT, b"other", sender=SENDER.public_key),
        setup_recipient(enc, RECIPIENT, b"info", sender=other.public_key),
        setup_recipient(enc, RECIPIENT, b"info"),
    ]
    for context in wrong:
        with pytest.raises(OpenError):
            context.open(sealed, b"aad")
    with pytest.raises(OpenError):
        right.open(sealed, b"other")
    assert right.open(sealed, b"aad") == b"attack at dawn"


def test_messages_open_in_their_order_only() -> None:
    enc, context = setup_sender(RECIPIENT.public_key, b"")
    first, second = context.seal(b"first"), context.seal(b"second")
    recipient = setup_recipient(enc, RECIPIENT, b"")
    with pytest.raises(OpenError):
        recipient.open(second)
    assert recipient.open(first) == b"first"
    with pytest.raises(OpenError):
        recipient.open(first)
    assert recipient.open(second) == b"second"


def test_two_messages_never_share_an_ephemeral_key() -> None:
    assert len({setup_sender(RECIPIENT.public_key, b"")[0] for _ in range(20)}) == 20


HKDF = [  # RFC 5869, appendices A.1 and A.3
    {
        "salt": bytes(range(13)),
        "info": bytes(range(0xF0, 0xFA)),
        "prk": "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
        "okm": "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    },
    {
        "salt": b"",
        "info": b"",
        "prk": "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
        "okm": "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    },
]


@pytest.mark.parametrize("case", HKDF, ids=["A.1", "A.3"])
def test_hkdf_gives_the_answers_of_rfc_5869(case: dict[str, Any]) -> None:
    prk = extract(case["salt"], b"\x0b" * 22)
    assert prk.hex() == case["prk"]
    assert expand(prk, case["info"], 42).hex() == case["okm"]
