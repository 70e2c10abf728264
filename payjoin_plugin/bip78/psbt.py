"""PSBTs as this project keeps and sends them: base64 text of BIP 174, version 0, read by Electrum's own parser.

Electrum's `PartialTransaction` is mutable and has no equality, so a PSBT is stored as text and turned into one at use.
This is the one file where hostile bytes meet Electrum's parsers, and where all that they raise becomes DecodeError.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NewType

from electrum.bitcoin import construct_witness
from electrum.transaction import (
    BCDataStream,
    PartialTransaction,
    PartialTxInput,
    PSBTGlobalType,
    SerializationError,
    Transaction,
    TxOutput,
)

from ..errors import DecodeError

Psbt = NewType("Psbt", str)
"""A version 0 PSBT in base64, standard alphabet, padded, on one line."""

MAX_LENGTH = 1_000_000
"""Characters of a PSBT that is parsed at all. Enough for a full-size previous transaction of each of a few inputs; a
peer's PSBT is far smaller, since a mailbox holds 7168 bytes (BIP 77)."""

MAGIC = b"psbt\xff"


def psbt_of(raw: bytes) -> Psbt:
    """Return the text form of a binary PSBT. Does not look at what is in it."""
    return Psbt(base64.b64encode(raw).decode())


def psbt_bytes(psbt: Psbt) -> bytes:
    """Return the binary form. Raises DecodeError for anything but one canonical base64 text of a PSBT."""
    if len(psbt) > MAX_LENGTH:
        raise DecodeError("PSBT too long")
    try:
        raw = base64.b64decode(psbt, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError("PSBT is not base64") from error
    if psbt_of(raw) != psbt:
        raise DecodeError("base64 with stray padding or bits")
    if not raw.startswith(MAGIC):
        raise DecodeError("not a PSBT")  # Electrum would also take hex, or base64 once more
    return raw


def parse(psbt: Psbt) -> PartialTransaction:
    """Read a PSBT and forget its key paths: Electrum might learn addresses from a stranger's. Raises DecodeError."""
    tx = parse_as_is(psbt)
    tx.remove_xpubs_and_bip32_paths()
    return tx


def parse_as_is(psbt: Psbt) -> PartialTransaction:
    """Read a PSBT with all that it says. Raises DecodeError."""
    raw = psbt_bytes(psbt)
    with _decoding("PSBT"):
        tx = PartialTransaction.from_raw_psbt(raw)
        for txin in tx.inputs():
            _check_fields(txin)
    return tx


def parse_transaction(raw: bytes) -> Transaction:
    """Read a network transaction. Raises DecodeError."""
    with _decoding("transaction"):
        tx = Transaction(raw)
        tx.deserialize()
    return tx


def cut_psbt(padded: bytes) -> bytes:
    """Return the PSBT at the start of a zero-padded buffer (BIP 77, message B).

    A PSBT ends in a zero byte itself, so its maps are walked: one global, one for each input and output.
    Raises DecodeError.
    """
    with _decoding("padded PSBT"):
        stream = BCDataStream()
        stream.write(padded)
        if stream.read_bytes(len(MAGIC)) != MAGIC:
            raise SerializationError("no PSBT")
        unsigned = dict(_read_map(stream))[bytes([PSBTGlobalType.UNSIGNED_TX])]
        tx = Transaction(unsigned)
        for _ in (*tx.inputs(), *tx.outputs()):
            for _pair in _read_map(stream):
                pass
        end: int = stream.read_cursor
    if any(padded[end:]):
        raise DecodeError("bytes behind the PSBT")
    return padded[:end]


def serialize(tx: PartialTransaction) -> Psbt:
    """Return the PSBT of `tx` as it is. Electrum's own way would finalize the inputs first.

    Electrum says "none" with an empty script or an empty stack; BIP 174 says it by leaving the field out. So does this.
    """
    for txin in tx.inputs():
        if not txin.script_sig:
            txin.script_sig = None
        if not txin.has_witness():
            txin.witness = None
    tx.invalidate_ser_cache()
    stream = BCDataStream()
    tx._serialize_psbt(stream)  # noqa: SLF001 (the public ones finalize, which puts the empty fields back)
    return psbt_of(bytes(stream.input))


def final_transaction(tx: PartialTransaction) -> Transaction:
    """Return the network transaction that the final fields of `tx` make, whatever else the PSBT claims."""
    final = Transaction(tx.serialize_to_network(include_sigs=False))
    for txin, signed in zip(final.inputs(), tx.inputs(), strict=True):
        txin.script_sig = signed.script_sig or b""
        txin.witness = signed.witness or construct_witness([])
    final.invalidate_ser_cache()
    return Transaction(final.serialize_to_network())


def fallback_of(psbt: Psbt) -> bytes:
    """Return the payment without payjoin: the original as a network transaction. Raises DecodeError."""
    return bytes.fromhex(final_transaction(parse(psbt)).serialize())


def spent_output(txin: PartialTxInput) -> TxOutput | None:
    """Return the output that `txin` spends, as the PSBT claims it; None where it claims nothing."""
    if txin.utxo is not None:
        return txin.utxo.outputs()[txin.prevout.out_idx]
    return txin.witness_utxo


def _check_fields(txin: PartialTxInput) -> None:
    if txin.witness is not None and construct_witness(txin.witness_elements()) != txin.witness:
        # Electrum copies the field into the transaction as it is: what stands behind it would be read as another.
        raise SerializationError("the witness is no stack")
    if isinstance(txin.utxo, PartialTransaction):
        raise SerializationError("a PSBT as previous transaction")


def _read_map(stream: BCDataStream) -> Iterator[tuple[bytes, bytes]]:
    while length := stream.read_compact_size():
        key = stream.read_bytes(length)
        yield key, stream.read_bytes(stream.read_compact_size())


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    """Turn everything that Electrum's parsers raise into DecodeError.

    The catch is broad because they are: SerializationError, ValueError, AssertionError, IndexError, KeyError,
    OverflowError, struct.error, RecursionError and bare Exception have all been seen on hostile bytes, and the next
    Electrum may raise another. Nothing of ours but a few comparisons runs inside, so no bug of ours hides behind it.
    """
    try:
        yield
    except Exception as error:
        raise DecodeError(f"no {what}: {error!r:.200}") from error
