"""Whether an input is validly signed, as a node that relays would see it, for the standard types of script.

The hashes and the curve are Electrum's; what stands here is which stack a type wants, and that nothing else is on it:
no other sighash than ALL (DEFAULT for taproot), strict DER (BIP 66), low S and the empty dummy (BIP 146, BIP 147),
minimal pushes, compressed keys in segwit (BIP 143), no annex. Whatever is not of these forms counts as not signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from electrum.bitcoin import construct_script, hash_160, opcodes
from electrum.crypto import sha256
from electrum.transaction import (
    MalformedBitcoinScript,
    PartialTransaction,
    Sighash,
    SighashCache,
    Transaction,
    TxInput,
    TxOutput,
    get_address_from_output_script,
    get_script_type_from_output_script,
    multisig_script,
    script_GetOp,
)
from electrum_ecc import CURVE_ORDER, ECPubkey, InvalidECPointException, bip340_tagged_hash

MAX_KEYS = 15
"""Keys of a multisig script: what fits into P2SH's 520 bytes, and what Electrum itself makes."""


def verify_inputs(tx: Transaction, spent: Sequence[TxOutput], indices: Iterable[int]) -> bool:
    """Tell whether each of the inputs `indices` of the final `tx` is validly signed. `spent`: what each one spends."""
    inputs = [_Spending(txin, txout) for txin, txout in zip(tx.inputs(), spent, strict=True)]
    spending = PartialTransaction.from_io(
        inputs, tx.outputs(), locktime=tx.locktime, version=tx.version, BIP69_sort=False
    )
    cache = SighashCache()
    return all(_Input(spending, index, cache).is_signed() for index in indices)


class _Spending(TxInput):  # type: ignore[misc]  # Electrum is untyped
    """An input that knows what it spends: Electrum asks the input for it, and would parse the previous transaction."""

    def __init__(self, txin: TxInput, spent: TxOutput) -> None:
        super().__init__(
            prevout=txin.prevout, script_sig=txin.script_sig, nsequence=txin.nsequence, witness=txin.witness
        )
        self._spent = spent

    def value_sats(self) -> int:
        value: int = self._spent.value
        return value

    @property
    def scriptpubkey(self) -> bytes:
        script: bytes = self._spent.scriptpubkey
        return script

    @property
    def address(self) -> str | None:
        address: str | None = get_address_from_output_script(self._spent.scriptpubkey)
        return address


class _Input:
    """One input under test."""

    def __init__(self, tx: PartialTransaction, index: int, cache: SighashCache) -> None:
        self.tx = tx
        self.index = index
        self.cache = cache
        txin = tx.inputs()[index]
        self.script: bytes = txin.scriptpubkey
        self.script_sig: bytes = txin.script_sig
        self.witness: list[bytes] = txin.witness_elements()

    def is_signed(self) -> bool:
        match get_script_type_from_output_script(self.script):
            case "p2pkh":
                return not self.witness and self._is_key_hash(_pushes(self.script_sig), self.script[3:23])
            case "p2sh":
                return self._is_script_hash(_pushes(self.script_sig))
            case "p2tr":
                return not self.script_sig and self._is_taproot_key_path()
            case "p2wpkh" | "p2wsh":
                return not self.script_sig and self._is_witness(self.script)
            case _:
                return False

    def _is_script_hash(self, pushes: list[bytes]) -> bool:
        if not pushes or hash_160(pushes[-1]) != self.script[2:22]:
            return False
        *stack, redeem_script = pushes
        if self.witness:
            return not stack and self._is_witness(redeem_script)
        return self._is_multisig(stack, redeem_script, segwit=False)

    def _is_witness(self, program: bytes) -> bool:
        match get_script_type_from_output_script(program):
            case "p2wpkh":
                return self._is_key_hash(self.witness, program[2:], segwit=True)
            case "p2wsh" if self.witness and sha256(self.witness[-1]) == program[2:]:
                *stack, witness_script = self.witness
                return self._is_multisig(stack, witness_script, segwit=True)
            case _:
                return False

    def _is_key_hash(self, stack: list[bytes], key_hash: bytes, *, segwit: bool = False) -> bool:
        if len(stack) != 2:
            return False
        signature, key = stack
        return bool(hash_160(key) == key_hash) and _is_key(key, segwit=segwit) and self._is_signed_by(key, signature)

    def _is_multisig(self, stack: list[bytes], script: bytes, *, segwit: bool) -> bool:
        threshold, keys = _read_multisig(script)
        if not keys or len(stack) != 1 + threshold or stack[0]:
            return False
        if not all(_is_key(key, segwit=segwit) for key in keys):
            return False
        remaining = iter(keys)  # OP_CHECKMULTISIG wants the signatures in the order of their keys
        return all(any(self._is_signed_by(key, signature) for key in remaining) for signature in stack[1:])

    def _is_signed_by(self, key: bytes, signature: bytes) -> bool:
        if signature[-1:] != bytes([Sighash.ALL]) or not _is_standard_der(signature[:-1]):
            return False
        try:
            return bool(
                self.tx.verify_sig_for_txin(
                    txin_index=self.index, pubkey_bytes=key, sig=signature, sighash_cache=self.cache
                )
            )
        except InvalidECPointException:
            return False

    def _is_taproot_key_path(self) -> bool:
        if len(self.witness) != 1:
            return False
        signature, sighash = self.witness[0][:64], self.witness[0][64:]
        if len(signature) != 64 or sighash not in (b"", bytes([Sighash.ALL])):
            return False
        preimage = self.tx.serialize_preimage(
            self.index, sighash=Sighash.ALL if sighash else Sighash.DEFAULT, sighash_cache=self.cache
        )
        try:
            key = ECPubkey(b"\x02" + self.script[2:])
        except InvalidECPointException:
            return False
        return bool(key.schnorr_verify(signature, bip340_tagged_hash(b"TapSighash", preimage)))


def _pushes(script: bytes) -> list[bytes]:
    """Return what `script` pushes; nothing if it does anything else, or pushes in a roundabout way."""
    try:
        pushes = [data for _, data, _ in script_GetOp(script)]
    except MalformedBitcoinScript:
        return []
    if None in pushes or construct_script(pushes) != script:
        return []
    return pushes


def _read_multisig(script: bytes) -> tuple[int, list[bytes]]:
    """Return threshold and keys of a standard multisig script; no keys if it is none."""
    try:
        operations = list(script_GetOp(script))
    except MalformedBitcoinScript:
        return 0, []
    keys = [data for _, data, _ in operations[1:-2]]
    threshold = operations[0][0] - opcodes.OP_1 + 1 if operations else 0
    if None in keys or not 1 <= threshold <= len(keys) <= MAX_KEYS:
        return 0, []
    if multisig_script([key.hex() for key in keys], threshold) != script:
        return 0, []
    return threshold, keys


def _is_key(key: bytes, *, segwit: bool) -> bool:
    """Tell whether `key` has the form of a public key; whether it is on the curve is found when it is used."""
    compressed = len(key) == 33 and key[0] in (2, 3)
    return compressed or (not segwit and len(key) == 65 and key[0] == 4)


def _is_standard_der(der: bytes) -> bool:
    """Tell whether `der` is a signature in BIP 66's strict encoding, with a low S (BIP 146)."""
    r, rest = _read_integer(der[2:])
    s, rest = _read_integer(rest)
    if der[:2] != bytes([0x30, len(der) - 2 & 0xFF]) or rest:
        return False
    return bool(0 < r < CURVE_ORDER and 0 < s <= CURVE_ORDER // 2)


def _read_integer(der: bytes) -> tuple[int, bytes]:
    """Return one DER integer, 0 if it is none or negative or padded, and what follows."""
    length = der[1] if len(der) > 1 else 0
    body, rest = der[2 : 2 + length], der[2 + length :]
    if der[:1] != b"\x02" or not 0 < length == len(body) or body[0] & 0x80:
        return 0, rest
    if len(body) > 1 and body[0] == 0 and not body[1] & 0x80:
        return 0, rest
    return int.from_bytes(body), rest
