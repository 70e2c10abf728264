"""The stack that opens an input: taken apart, and put together otherwise."""

from __future__ import annotations

from collections.abc import Callable

from electrum.bitcoin import construct_script, construct_witness
from electrum.transaction import Transaction, TxOutput, script_GetOp

from payjoin_plugin.bip78.signatures import verify_inputs
from tests.bip78.payments import KINDS, Payment, payment

ECDSA_KINDS = tuple(kind for kind in KINDS if kind != "p2tr")
NESTED = ("p2wpkh-p2sh", "p2wsh-p2sh")


def spent_by(made: Payment) -> list[TxOutput]:
    return [TxOutput(scriptpubkey=coin.owner.script, value=coin.value) for coin in made.coins]


def is_valid(tx: Transaction, made: Payment) -> bool:
    return verify_inputs(tx, spent_by(made), range(len(made.coins)))


def stack_of(tx: Transaction) -> list[bytes]:
    """The elements that open input 0, a nested script's own push left out."""
    txin = tx.inputs()[0]
    if txin.has_witness():
        return list(txin.witness_elements())
    return [data for _, data, _ in script_GetOp(txin.script_sig)]


def put(tx: Transaction, stack: list[bytes]) -> Transaction:
    txin = tx.inputs()[0]
    if txin.has_witness():
        txin.witness = construct_witness(stack)
    else:
        txin.script_sig = construct_script(stack)
    return tx


def with_signature(kind: str, change: Callable[[bytes], bytes]) -> bool:
    """Whether a payment of `kind` is valid whose first signature was changed."""
    made = payment(kind)
    tx = made.transaction()
    stack = stack_of(tx)
    place = 1 if stack[0] == b"" else 0
    stack[place] = change(stack[place])
    return is_valid(put(tx, stack), made)
