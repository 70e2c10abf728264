"""Payments of our test sender to a receiver with our plugin, step by step, for what payjoin-cli cannot play."""

from __future__ import annotations

import re
from typing import Any

from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT
from tests.sender.payer import Payer
from tests.sender.payment import AS_USUAL, Payment, Terms, V2Payment, prepare
from tests.stand.node import NodeError
from tests.stand.stand import Stand

UNTIL_ASKED = "ask_before_contributing"
BY_ITSELF = "broadcast_original_by_itself"
"""Settings of the plugin."""


def pay(payer: Payer, request: dict[str, Any], terms: Terms = AS_USUAL) -> V2Payment:
    """Sign a payment of a request; nothing leaves yet."""
    return prepare(payer, request["URI"], relay=payer.stand.mailroom.relay_url, terms=terms)


def session_of(request: dict[str, Any]) -> str:
    return str(request["payjoin"]["session_id"])


def hold(payer: Payer, receiver: Receiver, **params: object) -> tuple[dict[str, Any], V2Payment]:
    """Bring a session to where it holds an original and waits for the user."""
    request = receiver.payjoin_request(AMOUNT, **params)
    payment = pay(payer, request)
    payment.post()
    receiver.until(session_of(request), stage="waiting_for_wallet", reason="needs_approval")
    return request, payment


def txid_of_original(payment: Payment) -> str:
    return str(payment.payer.node.rpc("decoderawtransaction", payment.original_transaction.hex())["txid"])


def is_at_node(stand: Stand, txid: str) -> bool:
    """Tell whether the node has a transaction, in the mempool or in a block."""
    try:
        stand.node.rpc("getrawtransaction", txid)
    except NodeError:
        return False
    return True


def answered(payer: Payer, receiver: Receiver, **params: object) -> tuple[dict[str, Any], V2Payment]:
    """Bring a session to where the sender has our proposal and has done nothing with it."""
    request = receiver.payjoin_request(AMOUNT, **params)
    payment = pay(payer, request)
    payment.fetch()
    receiver.until(session_of(request), stage="waiting_for_broadcast")
    return request, payment


def contributed(receiver: Receiver, request: dict[str, Any]) -> str:
    """Return the receiver's own coin in a session's proposal, `txid:n`."""
    (coin,) = (
        outpoint
        for event in receiver.session(session_of(request))["events"]
        if event["event"] == "CommittedContribution"
        for outpoint in re.findall(r"[0-9a-f]{64}:[0-9]+", event["detail"])
    )
    return str(coin)
