"""A payer's money: a wallet of the stand's node. It makes the original (BIP 78, *Original PSBT*) and signs the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, Self

from electrum.transaction import PartialTransaction, PartialTxInput, PartialTxOutput

from payjoin_plugin.bip78.psbt import Psbt, final_transaction, parse, serialize, spent_output
from tests.stand.node import SATS, Node
from tests.stand.stand import Stand

Kind = Literal["p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2tr"]
"""How a coin is locked."""

ADDRESS_TYPES: dict[Kind, str] = {
    "p2pkh": "legacy",
    "p2sh-p2wpkh": "p2sh-segwit",
    "p2wpkh": "bech32",
    "p2tr": "bech32m",
}
"""The node's own names."""

DESCRIPTORS: dict[str, Kind] = {"pkh": "p2pkh", "sh": "p2sh-p2wpkh", "wpkh": "p2wpkh", "tr": "p2tr"}
"""How a coin's descriptor begins."""


class NotSigned(Exception):
    """The node's wallet could not sign every input that is not final yet."""


@dataclass(frozen=True)
class Funds:
    """A coin that a payer is to have."""

    kind: Kind
    value_sat: int


@dataclass(frozen=True)
class Coin:
    """A coin that a payer has, confirmed or not."""

    outpoint: str
    """`txid:n`."""
    kind: Kind
    value_sat: int


@dataclass(frozen=True)
class Original:
    """A signed payment, as it may be shown to the receiver."""

    psbt: Psbt
    kind: Kind
    """Of its first coin, and of its change."""
    fee_sat: int
    weight: int
    """Weight units."""
    change_vout: int | None
    """Where the payer's change stands; None where there is none."""


@dataclass(frozen=True)
class Payer:
    """Somebody with a wallet of the node."""

    stand: Stand
    name: str

    @classmethod
    def create(cls, stand: Stand, name: str, *funds: Funds) -> Self:
        """Make the wallet `name` and give it confirmed coins."""
        payer = cls(stand, name)
        payer.node.create_wallet(name)
        payer.fund(*funds)
        return payer

    @property
    def node(self) -> Node:
        """The node of the stand."""
        return self.stand.node

    def fund(self, *funds: Funds) -> None:
        """Give them confirmed coins, which the Electrum server knows of too: the receiver asks it at once."""
        wanted = len(self._rpc("listunspent", 1)) + len(funds)
        for coin in funds:
            self.node.fund(self.address(coin.kind), coin.value_sat)
        if funds:
            self.stand.mine()
        if len(self._rpc("listunspent", 1)) < wanted:
            self.stand.mine()  # the node's first block had been begun without these payments

    def address(self, kind: Kind = "p2wpkh") -> str:
        """Return a new address of theirs."""
        address: str = self._rpc("getnewaddress", "", ADDRESS_TYPES[kind])
        return address

    def coins(self) -> list[Coin]:
        """Return what they can spend, in no order that says anything."""
        return [
            Coin(
                f"{coin['txid']}:{coin['vout']}",
                DESCRIPTORS[coin["desc"].partition("(")[0]],
                round(coin["amount"] * SATS),
            )
            for coin in self._rpc("listunspent", 0)
        ]

    def balance_sat(self) -> int:
        """Return the whole balance, unconfirmed coins included, by the outputs that are theirs."""
        balances = self._rpc("getbalances")["mine"]
        return sum(round(balances[part] * SATS) for part in ("trusted", "untrusted_pending", "immature"))

    def script_of(self, address: str) -> bytes:
        """Return the output script of anybody's address. Raises ValueError for a wrong one."""
        found = self.node.rpc("validateaddress", address)
        if not found["isvalid"]:
            raise ValueError(f"no address of this network: {address}")
        return bytes.fromhex(found["scriptPubKey"])

    def original(self, address: str, amount_sat: int, *, fee_rate: float, coins: Sequence[Coin] = ()) -> Original:
        """Make and sign a payment; with just `coins` or, where none are given, with what the node chooses.

        `fee_rate` in sat/vB. The coins stay locked in the node, so that the next payment takes others.
        """
        kind: Kind = next((coin.kind for coin in coins or self.coins()), "p2wpkh")
        made = self._rpc(
            "walletcreatefundedpsbt",
            [_outpoint(coin.outpoint) for coin in coins],
            [{address: _btc(amount_sat)}],
            0,
            {
                "add_inputs": not coins,
                "change_type": ADDRESS_TYPES[kind],
                "fee_rate": fee_rate,
                "lockUnspents": True,
            },
        )
        psbt = strip(self.process(Psbt(made["psbt"])))
        return Original(
            psbt=psbt,
            kind=kind,
            fee_sat=round(made["fee"] * SATS),
            weight=final_transaction(parse(psbt)).estimated_weight(),
            change_vout=made["changepos"] if made["changepos"] >= 0 else None,
        )

    def process(self, psbt: Psbt) -> Psbt:
        """Sign what is theirs. Raises NotSigned where something is still missing."""
        signed = self._rpc("walletprocesspsbt", psbt)
        if not signed["complete"]:
            raise NotSigned(f"{self.name}'s wallet cannot sign {psbt}")
        return Psbt(signed["psbt"])

    def sign(self, psbt: Psbt) -> bytes:
        """Sign what is theirs and return the network transaction. Raises NotSigned."""
        final = self.node.rpc("finalizepsbt", self.process(psbt))
        return bytes.fromhex(final["hex"])

    def spend(self, outpoints: Iterable[str], *, to: str, value_sat: int) -> bytes:
        """Return a signed transaction from just these coins of theirs to one output. Raises NotSigned."""
        raw = self.node.rpc(
            "createrawtransaction", [_outpoint(outpoint) for outpoint in outpoints], [{to: _btc(value_sat)}]
        )
        signed = self._rpc("signrawtransactionwithwallet", raw)
        if not signed["complete"]:
            raise NotSigned(f"{self.name}'s wallet cannot sign {raw}: {signed['errors']}")
        return bytes.fromhex(signed["hex"])

    def broadcast(self, raw: bytes) -> str:
        """Hand a transaction to the node and return its txid. Raises NodeError where the node refuses it."""
        txid: str = self.node.rpc("sendrawtransaction", raw.hex())
        return txid

    def pay_plainly(self, address: str, amount_sat: int, *, fee_rate: float = 2.0) -> str:
        """Pay as a wallet does that knows nothing of payjoin, and return the txid. `fee_rate` in sat/vB."""
        sent: dict[str, Any] = self._rpc("send", [{address: _btc(amount_sat)}], None, "unset", fee_rate)
        return str(sent["txid"])

    def _rpc(self, method: str, *params: object) -> Any:
        return self.node.rpc(method, *params, wallet=self.name)


def strip(psbt: Psbt) -> Psbt:
    """Leave of a final PSBT what the receiver needs: which outputs it spends, and the final fields.

    Of a segwit coin its output alone: with whole previous transactions the PSBT would soon not fit into a mailbox.
    """
    tx = parse(psbt)
    inputs = []
    for txin in tx.inputs():
        stripped = PartialTxInput(prevout=txin.prevout, nsequence=txin.nsequence)
        if txin.has_witness():
            stripped.witness_utxo = spent_output(txin)
        else:
            stripped.utxo = txin.utxo
        stripped.script_sig, stripped.witness = txin.script_sig, txin.witness
        inputs.append(stripped)
    outputs = [PartialTxOutput.from_txout(txout) for txout in tx.outputs()]
    return serialize(
        PartialTransaction.from_io(inputs, outputs, locktime=tx.locktime, version=tx.version, BIP69_sort=False)
    )


def _outpoint(outpoint: str) -> dict[str, object]:
    txid, _, vout = outpoint.partition(":")
    return {"txid": txid, "vout": int(vout)}


def _btc(amount_sat: int) -> str:
    return f"{Decimal(amount_sat) / SATS:.8f}"
