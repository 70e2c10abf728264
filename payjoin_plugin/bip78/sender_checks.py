"""The sender's checks of a proposal (BIP 78, *Sender's payjoin proposal checklist*), as strict as the reference's.

Afterwards the sender can sign without looking: the transaction pays what the original paid, the sender gives no more
than was offered, and what the receiver says about the sender's own coins is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass

from electrum.transaction import (
    PartialTransaction,
    PartialTxInput,
    PartialTxOutput,
    Sighash,
    Transaction,
    get_script_type_from_output_script,
)

from ..errors import ProposalRefused
from .contribution import INPUT_WEIGHTS
from .parameters import Parameters
from .psbt import Psbt, final_transaction, parse_as_is, serialize, spent_output


def check_proposal(proposal: Psbt, original: Psbt, *, parameters: Parameters, payee_script: bytes) -> Psbt:
    """Return the proposal with the sender's own knowledge of the sender's coins, ready to be signed.

    Raises ProposalRefused, which names the rule, and DecodeError.
    """
    check = _Check(parse_as_is(proposal), parse_as_is(original), parameters, payee_script)
    check.transaction()
    check.inputs()
    taken_sat = check.outputs()
    check.fee(taken_sat)
    return check.restored()


def _require(condition: object, rule: str) -> None:
    if not condition:
        raise ProposalRefused(rule)


@dataclass(frozen=True)
class _Check:
    """The two transactions side by side."""

    proposal: PartialTransaction
    original: PartialTransaction
    parameters: Parameters
    payee_script: bytes

    def transaction(self) -> None:
        _require(self.proposal.version == self.original.version, "the version changed")
        _require(self.proposal.locktime == self.original.locktime, "the locktime changed")
        _require(not self.proposal.xpubs, "an xpub was added")

    def inputs(self) -> None:
        inputs = self.proposal.inputs()
        outpoints = [txin.prevout for txin in inputs]
        own = [txin.prevout for txin in self.original.inputs()]
        _require(len(set(outpoints)) == len(outpoints), "an input stands there twice")
        _require([outpoint for outpoint in outpoints if outpoint in own] == own, "an input of ours is missing or moved")
        for txin in inputs:
            _require(not txin.bip32_paths, "an input has a key path")
            _require(not txin.sigs_ecdsa and txin.tap_key_sig is None, "an input has a partial signature")
            if txin.prevout in own:
                self._own_input(txin, self.original.inputs()[own.index(txin.prevout)])
            else:
                self._added_input(txin)

    def _own_input(self, txin: PartialTxInput, was: PartialTxInput) -> None:
        _require(txin.nsequence == was.nsequence, "the sequence of an input of ours changed")
        _require(txin.script_sig is None and txin.witness is None, "an input of ours is final")
        _require(txin.sighash in (None, Sighash.DEFAULT, Sighash.ALL), "another sighash type is asked for")

    def _added_input(self, txin: PartialTxInput) -> None:
        _require(txin.script_sig or txin.has_witness(), "an added input is not final")
        _require(spent_output(txin) is not None, "an added input does not say what it spends")
        _require(txin.nsequence == self.original.inputs()[0].nsequence, "an added input has another sequence")

    def outputs(self) -> int:
        """Match the outputs in order and return by how much our fee output shrank, in satoshi."""
        offer = self.parameters.additional_fee
        waiting = list(enumerate(self.original.outputs()))
        taken_sat = 0
        for txout in self.proposal.outputs():
            _require(not txout.bip32_paths, "an output has a key path")
            if not waiting:
                continue  # added behind all of ours
            index, was = waiting[0]
            same_script = txout.scriptpubkey == was.scriptpubkey
            if offer is not None and index == offer.output_index and same_script:
                taken_sat = max(0, was.value - txout.value)
                _require(taken_sat <= offer.max_sat, "more was taken than offered")
            elif was.scriptpubkey == self.payee_script:
                kept = same_script and txout.value >= was.value
                _require(kept or self.parameters.output_substitution, "the payment changed, which was forbidden")
            elif same_script:
                _require(txout.value >= was.value, "an output of ours shrank")
            else:
                continue  # added between ours
            waiting.pop(0)
        _require(not waiting, "an output of ours is missing or moved")
        return taken_sat

    def fee(self, taken_sat: int) -> None:
        """Check who pays what: the receiver must not keep for himself what was offered for the fee."""
        signed = self._signed()
        original_fee = self._fee_sat(self.original)
        fee = self._fee_sat(self.proposal)
        rate = original_fee * 1000 // final_transaction(self.original).estimated_weight()
        _require(fee >= original_fee, "the fee sank")
        _require(taken_sat <= fee - original_fee, "the receiver kept our contribution to the fee")
        _require(taken_sat <= -(-rate * self._added_weight() // 1000), "more was taken than the added inputs weigh")
        _require(fee * 1000 // signed.estimated_weight() >= self.parameters.min_fee_rate, "the fee rate is too low")

    def restored(self) -> Psbt:
        """Put what we know of our inputs in place of what the receiver says; forget all else but final fields."""
        own = {txin.prevout: txin for txin in self.original.inputs()}
        inputs = []
        for txin in self.proposal.inputs():
            known = own.get(txin.prevout, txin)
            restored = PartialTxInput(prevout=txin.prevout, nsequence=txin.nsequence)
            restored.utxo = known.utxo
            restored.witness_utxo = known.witness_utxo
            restored.script_sig = txin.script_sig
            restored.witness = txin.witness
            inputs.append(restored)
        outputs = [PartialTxOutput.from_txout(txout) for txout in self.proposal.outputs()]
        tx = PartialTransaction.from_io(
            inputs, outputs, locktime=self.proposal.locktime, version=self.proposal.version, BIP69_sort=False
        )
        return serialize(tx)

    def _fee_sat(self, tx: PartialTransaction) -> int:
        own = {txin.prevout: txin for txin in self.original.inputs()}
        spent = [txout for txin in tx.inputs() if (txout := spent_output(own.get(txin.prevout, txin))) is not None]
        _require(len(spent) == len(tx.inputs()), "an input does not say what it spends")
        fee_sat: int = sum(txout.value for txout in spent) - tx.output_value()
        return fee_sat

    def _signed(self) -> Transaction:
        """Return the transaction as it will be: our signatures of the original weigh what the new ones will."""
        own = {txin.prevout: txin for txin in self.original.inputs()}
        inputs = []
        for txin in self.proposal.inputs():
            final = own.get(txin.prevout, txin)
            inputs.append(
                PartialTxInput(
                    prevout=txin.prevout, nsequence=txin.nsequence, script_sig=final.script_sig, witness=final.witness
                )
            )
        return final_transaction(PartialTransaction.from_io(inputs, self.proposal.outputs(), BIP69_sort=False))

    def _added_weight(self) -> int:
        """Return the weight of the inputs whose script is none of ours, as the reference counts it."""
        own_scripts = {txout.scriptpubkey for txin in self.original.inputs() if (txout := spent_output(txin))}
        return sum(
            _input_weight(txin)
            for txin in self.proposal.inputs()
            if (txout := spent_output(txin)) is not None and txout.scriptpubkey not in own_scripts
        )


def _input_weight(txin: PartialTxInput) -> int:
    """Return what a final input may weigh: by its type with the longest standard signature, else as it is."""
    txout = spent_output(txin)
    assert txout is not None
    script_type = get_script_type_from_output_script(txout.scriptpubkey)
    if script_type == "p2sh" and len(txin.witness_elements()) == 2:
        script_type = "p2wpkh-p2sh"
    actual = 4 * len(txin.serialize_to_network(script_sig=txin.script_sig or b"")) + len(txin.witness or b"")
    return max(actual, INPUT_WEIGHTS.get(script_type or "", 0))
