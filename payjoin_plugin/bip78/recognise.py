"""Recognising the original and the payjoin among the transactions that the wallet sees.

By outpoints and outputs, never by txid alone: a legacy or wrapped input's scriptSig is part of the txid, and only the
sender knows it before the transaction is out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from electrum.bitcoin import construct_witness
from electrum.transaction import Transaction

from .psbt import Psbt, parse


def same_payment(raw: bytes, psbt: Psbt) -> bool:
    """Tell whether the transaction `raw` is `psbt` whatever signatures it carries: same inputs, same outputs."""
    return _skeleton(Transaction(raw)) == _skeleton(parse(psbt))


def spends_any(raw: bytes, outpoints: Iterable[str]) -> bool:
    """Tell whether the transaction `raw` spends one of `outpoints` (`txid:n`)."""
    return not {txin.prevout.to_str() for txin in Transaction(raw).inputs()}.isdisjoint(outpoints)


def sender_inputs(raw: bytes, ours: Iterable[str]) -> dict[str, tuple[bytes, tuple[bytes, ...]]]:
    """Return scriptSig and witness of every input of the transaction `raw` that is not `ours`, by outpoint."""
    ours = frozenset(ours)
    tx = Transaction(raw)
    return {
        txin.prevout.to_str(): (txin.script_sig or b"", tuple(txin.witness_elements()))
        for txin in tx.inputs()
        if txin.prevout.to_str() not in ours
    }


def payjoin_transaction(proposal: Psbt, sender: Mapping[str, tuple[bytes, tuple[bytes, ...]]]) -> Transaction:
    """Make the whole payjoin transaction out of the signed proposal and what the sender put into their inputs."""
    tx = parse(proposal)
    for txin in tx.inputs():
        if (signed := sender.get(txin.prevout.to_str())) is not None:
            script_sig, witness = signed
            txin.script_sig = script_sig
            txin.witness = _serialize_witness(witness)
    return Transaction(tx.serialize_to_network())


def expected_txid(proposal: Psbt) -> str | None:
    """Return the payjoin's txid where the sender's signatures cannot change it (native segwit inputs only)."""
    tx = parse(proposal)
    if all(txin.is_complete() or txin.is_native_segwit() for txin in tx.inputs()):
        txid: str | None = tx.txid()
        return txid
    return None


def _skeleton(tx: Transaction) -> tuple[object, ...]:
    return (
        tx.version,
        tx.locktime,
        tuple((txin.prevout.to_str(), txin.nsequence) for txin in tx.inputs()),
        tuple((txout.scriptpubkey, txout.value) for txout in tx.outputs()),
    )


def _serialize_witness(elements: tuple[bytes, ...]) -> bytes:
    return construct_witness(list(elements)) if elements else b"\x00"
