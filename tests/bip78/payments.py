"""People with keys, coins of every standard kind, and signed payments, made and signed by Electrum's own code.

Keys and previous transactions are derived from names, so that a failure can be repeated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from electrum.bitcoin import construct_witness, taproot_output_script
from electrum.descriptor import Descriptor, parse_descriptor
from electrum.transaction import (
    PartialTransaction,
    PartialTxInput,
    PartialTxOutput,
    Transaction,
    TxOutpoint,
    TxOutput,
)
from electrum_ecc import ECPrivkey

from payjoin_plugin.bip78.contribution import INPUT_WEIGHTS, Coin
from payjoin_plugin.bip78.original import ChainFacts, InputFacts
from payjoin_plugin.bip78.psbt import Psbt, final_transaction, parse, psbt_of

VECTORS = Path(__file__).parent.parent / "vectors"

DESCRIPTORS = {
    "p2pkh": "pkh({0})",
    "p2wpkh": "wpkh({0})",
    "p2wpkh-p2sh": "sh(wpkh({0}))",
    "p2sh": "sh(multi(2,{0},{1},{2}))",
    "p2wsh": "wsh(multi(2,{0},{1},{2}))",
    "p2wsh-p2sh": "sh(wsh(multi(2,{0},{1},{2})))",
}
KINDS = (*DESCRIPTORS, "p2tr")
OUR_KINDS = tuple(INPUT_WEIGHTS)

HEIGHT = 900_000
SEQUENCE = 0xFFFFFFFD


def vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text())


@dataclass(frozen=True)
class Account:
    """Keys of one owner, and one kind of script that they open."""

    kind: str
    secrets: tuple[bytes, ...]

    @classmethod
    @cache
    def of(cls, owner: str, kind: str = "p2wpkh") -> Account:
        return cls(kind, tuple(sha256(f"{owner} {number}".encode()).digest() for number in range(3)))

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        return tuple(ECPrivkey(secret).get_public_key_bytes() for secret in self.secrets)

    @cached_property
    def descriptor(self) -> Descriptor:
        return parse_descriptor(DESCRIPTORS[self.kind].format(*(key.hex() for key in self.keys)))

    @cached_property
    def script(self) -> bytes:
        if self.kind == "p2tr":
            return taproot_output_script(self.keys[0][1:], script_tree=None)
        return self.descriptor.expand().output_script

    def sign(self, tx: PartialTransaction, index: int) -> None:
        txin = tx.inputs()[index]
        if self.kind == "p2tr":  # Electrum has the sighash and the signature, but no wallet that puts them together
            txin.witness = construct_witness([tx.sign_txin(index, self.secrets[0])])
            txin.script_sig = b""
        else:
            txin.script_descriptor = self.descriptor
            wanted = 1 if "wpkh" in self.kind or self.kind == "p2pkh" else 2
            for key, secret in list(zip(self.keys, self.secrets, strict=True))[:wanted]:
                tx.add_signature_to_txin(txin_idx=index, signing_pubkey=key, sig=tx.sign_txin(index, secret))
        txin.finalize()
        txin.witness_script = None  # Electrum leaves it there, and then refuses to read its own P2SH-P2WSH again


@dataclass(frozen=True)
class Money:
    """A coin: somebody's, with the transaction that made it."""

    owner: Account
    previous: bytes
    vout: int
    value: int

    @classmethod
    def of(cls, owner: Account, value: int, *, name: str = "", vout: int = 1) -> Money:
        """Make a coin. Others of the same owner differ by `name`."""
        origin = TxOutpoint(sha256(f"{name} {owner.secrets[0].hex()} {value}".encode()).digest(), 0)
        others = [TxOutput(scriptpubkey=Account.of("somebody").script, value=5_000) for _ in range(vout)]
        outputs = [*others, TxOutput(scriptpubkey=owner.script, value=value)]
        made = PartialTransaction.from_io(
            [PartialTxInput(prevout=origin, script_sig=b"\x51", witness=b"\x00")],
            [PartialTxOutput.from_txout(txout) for txout in outputs],
            BIP69_sort=False,
        )
        return cls(owner, bytes.fromhex(made.serialize_to_network()), vout, value)

    @cached_property
    def prevout(self) -> TxOutpoint:
        return TxOutpoint(bytes.fromhex(Transaction(self.previous).txid()), self.vout)

    @property
    def outpoint(self) -> str:
        return self.prevout.to_str()

    def txin(self, sequence: int = SEQUENCE) -> PartialTxInput:
        txin = PartialTxInput(prevout=self.prevout, nsequence=sequence)
        if self.owner.kind in ("p2pkh", "p2sh"):
            txin.utxo = Transaction(self.previous)
        else:
            txin.witness_utxo = TxOutput(scriptpubkey=self.owner.script, value=self.value)
        return txin

    def coin(self) -> Coin:
        """Return it as the receiver's wallet hands it over: with the whole previous transaction."""
        txin = PartialTxInput(prevout=self.prevout)
        txin.utxo = Transaction(self.previous)
        txin.script_descriptor = self.owner.descriptor
        return Coin(self.outpoint, self.value, self.owner.script, INPUT_WEIGHTS[self.owner.kind], txin)

    def facts(self) -> InputFacts:
        return InputFacts(self.previous, unspent=True, spender=None, ours=False, confirmed_at=1)


@dataclass(frozen=True)
class Payment:
    """A payment and who can sign it."""

    coins: tuple[Money, ...]
    outputs: tuple[tuple[bytes, int], ...]
    """Script and value in satoshi."""
    sequence: int = SEQUENCE
    locktime: int = HEIGHT
    version: int = 2
    sighash: int | None = None

    @property
    def fee(self) -> int:
        return sum(coin.value for coin in self.coins) - sum(value for _, value in self.outputs)

    def unsigned(self) -> PartialTransaction:
        tx = PartialTransaction.from_io(
            [coin.txin(self.sequence) for coin in self.coins],
            [PartialTxOutput(scriptpubkey=script, value=value) for script, value in self.outputs],
            locktime=self.locktime,
            version=self.version,
            BIP69_sort=False,
        )
        for txin in tx.inputs():
            txin.sighash = self.sighash
        return tx

    def signed(self) -> PartialTransaction:
        tx = self.unsigned()
        for index, coin in enumerate(self.coins):
            coin.owner.sign(tx, index)
        return tx

    def original(self) -> Psbt:
        return psbt_of(self.signed().serialize_as_bytes(force_psbt=True))

    def transaction(self) -> Transaction:
        return final_transaction(self.signed())

    def facts(self, **changes: Any) -> ChainFacts:
        """Return what an honest server knows; `changes` go to each input."""
        inputs = {coin.outpoint: replace(coin.facts(), **changes) for coin in self.coins}
        return ChainFacts(inputs, relay_fee_rate=250, height=HEIGHT, median_time=1_700_000_000)

    def with_rate(self, rate: int) -> Payment:
        """Change the first coin's value so that the fee comes to `rate` sat/kwu, rounded up."""
        missing = -(-rate * self.transaction().estimated_weight() // 1000) - self.fee
        first = self.coins[0]
        return replace(self, coins=(Money.of(first.owner, first.value + missing), *self.coins[1:]))


ALICE = Account.of("Alice")
BOB = Account.of("Bob")
"""Bob is the receiver."""


def payment(*kinds: str, amount: int = 50_000, change: int = 100_000, rate: int = 1_000) -> Payment:
    """Make Alice's payment of `amount` to Bob out of one coin of each kind; output 0 is the payment, 1 the change."""
    kinds = kinds or ("p2wpkh",)
    owners = [Account.of(f"Alice {number}", kind) for number, kind in enumerate(kinds)]
    share = (amount + change) // len(owners)
    coins = tuple(Money.of(owner, share) for owner in owners)
    outputs = ((BOB.script, amount), (Account.of("Alice's change", kinds[0]).script, change))
    return Payment(coins, outputs).with_rate(rate)


def bobs_coin(value: int = 80_000, *, kind: str = "p2wpkh", name: str = "") -> Money:
    return Money.of(Account.of("Bob's coin", kind), value, name=name)


def sign_ours(unsigned: Psbt, coin: Money) -> Psbt:
    """Sign as Electrum's wallet does: it adds what it knows of its own input, and finalizes."""
    tx = parse(unsigned)
    index = [txin.prevout.to_str() for txin in tx.inputs()].index(coin.outpoint)
    coin.owner.sign(tx, index)
    return psbt_of(tx.serialize_as_bytes(force_psbt=True))


def sign_senders(restored: Psbt, coins: Sequence[Money]) -> Transaction:
    """Sign a checked proposal as its sender and return the payjoin transaction."""
    tx = parse(restored)
    by_outpoint: Mapping[str, Money] = {coin.outpoint: coin for coin in coins}
    for index, txin in enumerate(tx.inputs()):
        if (coin := by_outpoint.get(txin.prevout.to_str())) is not None:
            coin.owner.sign(tx, index)
    return final_transaction(tx)
