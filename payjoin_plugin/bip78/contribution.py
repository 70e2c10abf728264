"""The receiver's part of a payjoin: which coin, where it goes, and who pays for it (BIP 78, *Receiver's proposal*).

    choose_coin  ─►  contribute  ─►  (the wallet signs)  ─►  finish_proposal

Money, in one place. The added weight costs `extra` at the original's own rate. The sender gives what they offered, but
no more than their software's check allows and never so much that their output becomes dust. We give the rest out of the
output that pays us, up to our limits, and never more than the coin brings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from electrum.transaction import (
    PartialTransaction,
    PartialTxInput,
    PartialTxOutput,
    get_script_type_from_output_script,
)

from ..errors import DecodeError, Fault, OriginalRefused, WalletError
from .original import Original
from .parameters import Parameters
from .psbt import Psbt, final_transaction, parse, psbt_bytes, serialize, spent_output
from .signatures import verify_inputs
from .standard import dust_limit, is_data

INPUT_WEIGHTS: Mapping[str, int] = {"p2wpkh": 272, "p2wpkh-p2sh": 364, "p2pkh": 592}
"""Weight units of a signed input, by Electrum's name of its type, with the longest signature that is standard: the
reference's numbers, which its sender allows for. A coin of another type is not contributed."""

ANSWER_LIMIT = 5_850
"""Bytes of a proposal that fit both ways of an answer: binary into message B (7088), base64 into a v1 reply (7800)."""
SIGNED_BYTES = 160
"""What our signature, public key and scripts add to a PSBT, in bytes, at most."""


@dataclass(frozen=True)
class Coin:
    """A coin of the wallet's that may be contributed."""

    outpoint: str
    """`txid:n`."""
    value_sat: int
    script_pubkey: bytes
    weight: int
    """Of the signed input, in weight units; see `INPUT_WEIGHTS`."""
    txin: PartialTxInput = field(compare=False, repr=False)
    """With the output it spends, and the whole previous transaction if it is no segwit coin."""


@dataclass(frozen=True)
class FeeLimits:
    """The user's caps, as they are at the moment of the answer."""

    max_rate: int
    """sat/kwu that we pay at most for the added weight."""
    max_sat: int
    """satoshi that we pay at most."""
    min_rate: int
    """sat/kwu: the relay fee."""


@dataclass(frozen=True)
class Contribution:
    """What was decided, and the proposal before it is signed."""

    outpoints: tuple[str, ...]
    """Our coins, `txid:n`."""
    proposal: Psbt = field(repr=False)
    """Without the sender's signatures, with the outputs that are spent."""
    receiver_fee_sat: int
    sender_fee_sat: int
    """What the sender gives beyond the original's fee."""


def choose_coin(
    original: Original,
    parameters: Parameters,
    coins: Sequence[Coin],
    *,
    payment_vout: int,
    limits: FeeLimits,
    exposed: frozenset[str],
) -> Coin | None:
    """Choose the coin to contribute; None if there is none. `coins`: in the wallet's order of preference.

    One that is not refused for what it costs, if there is such a one: a few satoshis that somebody sent us must not
    come before the others. Of those, a coin of the sender's script type if there is one; among them one that a
    proposal has `exposed` already, since it tells a prober nothing new; then the first that leaves no input
    unnecessary, else the first.
    """
    candidates = [coin for coin in coins if coin.outpoint not in original.outpoints]
    shares = {  # the weight tells the type, and there are few
        coin.weight: _shares(original, parameters, coin, payment_vout=payment_vout, limits=limits)
        for coin in {coin.weight: coin for coin in candidates}.values()
    }
    candidates = [coin for coin in candidates if shares[coin.weight].are_allowed(coin)] or candidates
    sender_types = {get_script_type_from_output_script(txout.scriptpubkey) for txout in original.spent}
    same_type = [coin for coin in candidates if get_script_type_from_output_script(coin.script_pubkey) in sender_types]
    candidates = same_type or candidates
    candidates = [coin for coin in candidates if coin.outpoint in exposed] or candidates
    fitting = (coin for coin in candidates if _needs_every_input(original, coin, payment_vout))
    return next(fitting, candidates[0] if candidates else None)


def contribute(
    original: Original, parameters: Parameters, coin: Coin, *, payment_vout: int, limits: FeeLimits, position: int
) -> Contribution:
    """Add `coin` as input number `position`, and what it brings less our fee to output `payment_vout`.

    Script, number and order of the outputs stay, so it does not matter whether the sender allows substitution.
    Raises OriginalRefused where our share of the fee is beyond the limits, or where no mailbox could take the answer.
    """
    shares = _shares(original, parameters, coin, payment_vout=payment_vout, limits=limits)
    if not shares.are_allowed(coin):
        raise OriginalRefused(Fault.COSTS_TOO_MUCH, f"{shares.receiver_sat} sat of {shares.limit_sat}")

    inputs = [_spend(txin, sequence=txin.nsequence) for txin in original.tx.inputs()]
    inputs.insert(position, _spend(coin.txin, sequence=inputs[0].nsequence))
    values = [txout.value for txout in original.tx.outputs()]
    values[payment_vout] += coin.value_sat - shares.receiver_sat
    values[shares.fee_vout] -= shares.sender_sat
    outputs = [
        PartialTxOutput(scriptpubkey=txout.scriptpubkey, value=value)
        for txout, value in zip(original.tx.outputs(), values, strict=True)
    ]
    tx = PartialTransaction.from_io(
        inputs, outputs, locktime=original.tx.locktime, version=original.tx.version, BIP69_sort=False
    )
    proposal = serialize(tx)
    if not _is_answerable(proposal):
        raise OriginalRefused(Fault.NOT_STANDARD, "too large to be answered")
    return Contribution(
        (coin.outpoint,), proposal, receiver_fee_sat=shares.receiver_sat, sender_fee_sat=shares.sender_sat
    )


def finish_proposal(unsigned: Psbt, signed: Psbt, ours: tuple[str, ...]) -> Psbt:
    """Take our signatures out of `signed`, and nothing else, and return what the sender may see.

    That is the transaction, each input's spent output, and our final fields: no key path, no script, no signature of
    the sender's. Raises WalletError if the wallet signed something else, or not all of `ours` and validly.
    """
    tx = parse(unsigned)
    try:
        by_wallet = parse(signed)
    except DecodeError as error:
        raise WalletError("The wallet returned no readable transaction.") from error
    if by_wallet.serialize_to_network(include_sigs=False) != tx.serialize_to_network(include_sigs=False):
        raise WalletError("The wallet signed another transaction than it was given.")
    inputs = [_spend(txin, sequence=txin.nsequence) for txin in tx.inputs()]
    our_indices = [index for index, txin in enumerate(inputs) if txin.prevout.to_str() in ours]
    for index in our_indices:
        inputs[index].script_sig = by_wallet.inputs()[index].script_sig
        inputs[index].witness = by_wallet.inputs()[index].witness
    proposal = PartialTransaction.from_io(
        inputs,
        [PartialTxOutput.from_txout(txout) for txout in tx.outputs()],
        locktime=tx.locktime,
        version=tx.version,
        BIP69_sort=False,
    )
    spent = [spent_output(txin) for txin in inputs]
    if not ours or len(our_indices) != len(ours) or not verify_inputs(final_transaction(proposal), spent, our_indices):
        raise WalletError("The wallet did not sign the coin that was to be added.")
    return _shortened(proposal)


def _needs_every_input(original: Original, coin: Coin, payment_vout: int) -> bool:
    """Tell whether the smallest input is larger than the smallest output, as in a payment that needs all its inputs.

    Seen after the contribution, and before fees, which are small beside it. A sweep has no change, so nothing tells it.
    """
    values = [
        txout.value + (coin.value_sat if vout == payment_vout else 0)
        for vout, txout in enumerate(original.tx.outputs())
        if not is_data(txout.scriptpubkey)
    ]
    smallest_input = min(coin.value_sat, *(txout.value for txout in original.spent))
    return len(values) < 2 or smallest_input > min(values)


def _fee(rate: int, weight: int) -> int:
    """Return the fee in satoshi, rounded up, for `weight` at `rate` sat/kwu."""
    return -(-rate * weight // 1000)


def _original_rate(original: Original) -> int:
    return original.fee_sat * 1000 // original.weight


def _added_weight(original: Original, coin: Coin) -> int:
    """Return by how much the transaction grows: the input, and what serialization adds beside it (BIP 144)."""
    count = len(original.outpoints)
    was_segwit = any(txin.has_witness() for txin in original.tx.inputs())
    is_legacy = get_script_type_from_output_script(coin.script_pubkey) == "p2pkh"
    weight = coin.weight + 4 * (_count_size(count + 1) - _count_size(count))
    if is_legacy:
        return weight + (1 if was_segwit else 0)  # the empty stack of an input that has no witness
    return weight + (0 if was_segwit else 2 + count)  # marker and flag, and an empty stack for each input there was


def _count_size(count: int) -> int:
    return 1 if count < 0xFD else 3


def _extra_fee(original: Original, parameters: Parameters, limits: FeeLimits, *, added_weight: int) -> int:
    """Return what has to be added to the fee: the original's rate for what is new, and the least rate for the whole."""
    least = max(parameters.min_fee_rate, limits.min_rate)
    rate = max(_original_rate(original), least)
    missing = _fee(least, original.weight + added_weight) - original.fee_sat
    return max(_fee(rate, added_weight), missing)


@dataclass(frozen=True)
class _Shares:
    """Who pays what is added to the fee, for any coin of one weight."""

    fee_vout: int
    """The output that the sender's share comes out of."""
    sender_sat: int
    receiver_sat: int
    limit_sat: int
    """What we pay at most."""

    def are_allowed(self, coin: Coin) -> bool:
        """Tell whether our share is within the limits, and less than `coin` brings."""
        return self.receiver_sat <= min(self.limit_sat, coin.value_sat - 1)


def _shares(original: Original, parameters: Parameters, coin: Coin, *, payment_vout: int, limits: FeeLimits) -> _Shares:
    added_weight = _added_weight(original, coin)
    extra_sat = _extra_fee(original, parameters, limits, added_weight=added_weight)
    fee_vout, sender_sat = _sender_share(original, parameters, coin, payment_vout=payment_vout, extra_sat=extra_sat)
    limit_sat = min(limits.max_sat, _fee(limits.max_rate, added_weight))
    return _Shares(fee_vout, sender_sat, extra_sat - sender_sat, limit_sat)


def _sender_share(
    original: Original, parameters: Parameters, coin: Coin, *, payment_vout: int, extra_sat: int
) -> tuple[int, int]:
    """Return the sender's fee output and what it gives.

    An offer counts as none if its output does not exist, is ours, or does not hold what is offered (as in the
    reference). The sender's check allows the original's rate, rounded down, for our input alone, which may be less than
    what is to be added.
    """
    offer = parameters.additional_fee
    outputs = original.tx.outputs()
    if offer is None or offer.output_index >= len(outputs):
        return payment_vout, 0
    txout = outputs[offer.output_index]
    if txout.scriptpubkey == outputs[payment_vout].scriptpubkey or offer.max_sat > txout.value:
        return payment_vout, 0
    allowed = _fee(_original_rate(original), coin.weight)
    above_dust = txout.value - dust_limit(txout.scriptpubkey)
    return offer.output_index, max(0, min(offer.max_sat, allowed, above_dust, extra_sat))


def _spend(txin: PartialTxInput, *, sequence: int) -> PartialTxInput:
    """Return a bare copy: outpoint, sequence and spent output; so nothing else can travel along."""
    bare = PartialTxInput(prevout=txin.prevout, nsequence=sequence)
    bare.utxo = txin.utxo
    bare.witness_utxo = txin.witness_utxo
    return bare


def _is_answerable(proposal: Psbt) -> bool:
    """Tell whether the proposal fits a mailbox once it is signed. Asked before a coin is shown."""
    room = ANSWER_LIMIT - SIGNED_BYTES
    return len(psbt_bytes(proposal)) <= room or len(psbt_bytes(_shortened(parse(proposal)))) <= room


def _shortened(proposal: PartialTransaction) -> Psbt:
    """Return the proposal with no more of the previous transactions than a sender needs, and less if it would not fit.

    A segwit input needs only its output. A legacy one should carry its whole previous transaction (BIP 174); that may
    be larger than a mailbox, and a final input, or the sender's own, is understood without it.
    """
    for txin in proposal.inputs():
        if txin.witness_utxo is not None or txin.is_native_segwit() or txin.has_witness():
            txin.convert_utxo_to_witness_utxo()
    psbt = serialize(proposal)
    if len(psbt_bytes(psbt)) <= ANSWER_LIMIT:
        return psbt
    proposal.convert_all_utxos_to_witness_utxos()
    return serialize(proposal)
