"""How the receiver's answer reaches the sender: sealed in their mailbox, or plain in ours for one of BIP 78."""

from __future__ import annotations

import hmac

from ..bip78.parameters import error_json
from ..errors import OriginalRefused
from ..wire.ellswift import ENCODED_BYTES
from ..wire.keys import PublicKey, SecretKey
from ..wire.mailbox import Call, ShortId, post, put, seal_message_b
from .events import Created, RefusedOriginal


def own_mailbox(created: Created) -> ShortId:
    """Return the mailbox that the URI names (BIP 77, *Short ID*)."""
    return ShortId.of(created.receiver_key.public_key)


def seal(created: Created, reply_key: PublicKey, body: bytes, *, ephemeral: SecretKey | None = None) -> bytes:
    """Seal an answer as BIP 77's message B."""
    return seal_message_b(body, receiver_key=created.receiver_key, reply_key=reply_key, ephemeral=ephemeral)


def post_sealed(created: Created, reply_key: PublicKey, sealed: bytes) -> Call:
    """Put a sealed answer into the sender's mailbox."""
    return post(created.directory, ShortId.of(reply_key), created.ohttp_keys, sealed)


def put_plain(created: Created, body: bytes) -> Call:
    """Answer a v1 sender, who waits at our own mailbox (BIP 77, *Backwards compatibility*)."""
    return put(created.directory, own_mailbox(created), created.ohttp_keys, body)


def same_inside(mine: bytes, theirs: bytes) -> bool:
    """Tell whether two sealed messages are the same, given the same ephemeral key.

    Its ElligatorSwift encoding in front is random each time; all the rest follows from the key.
    """
    return hmac.compare_digest(mine[ENCODED_BYTES:], theirs[ENCODED_BYTES:])


def refused(refusal: OriginalRefused, *, accept_v1: bool = True) -> RefusedOriginal:
    """Turn a fault into the event that carries the answer to it."""
    reply = error_json(refusal.fault, supported=(1, 2) if accept_v1 else (2,))
    return RefusedOriginal(refusal.fault, reply.decode())
