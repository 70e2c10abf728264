"""The receiver's checks of an original (BIP 78, *Receiver's original PSBT checklist*), without a full node.

    read_original    what the PSBT itself must be: parseable, final, standard, with the spent outputs
    check_payment    a payment to us, signed for the outputs that it claims to spend
    check_original   what it must be in the world: coins that are there, and what it claims, with enough fee
    check_terms      what a payjoin of it must be able to keep; one that cannot is a payment all the same

A full node would be asked for `testmempoolaccept`; an Electrum server has no such thing. So the amounts are proven by
the previous transactions, whose txids are recomputed, and the signatures are verified here. What stays weaker than a
mempool's word is that the coins are unspent: that is the server's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from electrum.transaction import PartialTransaction, Transaction, TxOutput

from ..errors import DecodeError, Fault, NotYetKnown, OriginalRefused
from .parameters import Parameters
from .psbt import Psbt, final_transaction, parse, parse_transaction, spent_output
from .signatures import verify_inputs
from .standard import is_mature, objection, unlocked_at

LATE_BLOCKS = 3
"""Blocks by which our server may be behind the sender's node. Wallets lock to the newest block that they know."""


@dataclass(frozen=True)
class InputFacts:
    """What is known of one input of an original."""

    previous_tx: bytes | None
    """The transaction that made the coin, as the Electrum server gave it; checked here. None: nobody knows it (yet)."""
    unspent: bool
    """The server lists the coin at its script."""
    spender: bytes | None
    """Another transaction that spends it, fetched. Believed only if it really does."""
    ours: bool
    """The coin is the wallet's own."""
    confirmed_at: int = 0
    """Height of the block that holds the coin; 0 if none does, or if it is not known."""


@dataclass(frozen=True)
class ChainFacts:
    """What is known of the world."""

    inputs: Mapping[str, InputFacts]
    """By outpoint, `txid:n`."""
    relay_fee_rate: int
    """sat/kwu below which the server's node relays nothing."""
    height: int
    """Of the local chain."""
    median_time: int = 0
    """Unix time that the next block is measured by (BIP 113). 0 if it is not known: then a lock by time stays shut."""
    own_vouts: tuple[int, ...] = ()
    """The original's outputs that are the wallet's."""


@dataclass(frozen=True)
class Original:
    """A parsed original that is right as far as it can be seen without asking anybody."""

    psbt: Psbt = field(repr=False)
    tx: PartialTransaction = field(repr=False, compare=False)
    """Not to be changed."""
    fallback: bytes = field(repr=False)
    """The payment without payjoin: the final transaction, ready to be broadcast."""
    txid: str
    """Of the fallback."""
    outpoints: tuple[str, ...]
    """What it spends, `txid:n`, in order."""
    spent: tuple[TxOutput, ...] = field(repr=False)
    """The spent outputs as the PSBT claims them, in order."""
    weight: int
    """Of the fallback, in weight units."""

    @property
    def input_scripts(self) -> dict[str, bytes]:
        """The scriptPubKeys that hold the spent coins, by outpoint, as the PSBT claims."""
        return {outpoint: txout.scriptpubkey for outpoint, txout in zip(self.outpoints, self.spent, strict=True)}

    @property
    def fee_sat(self) -> int:
        """The fallback's fee, as the PSBT claims it."""
        return _fee_sat(self.spent, self.tx)


def read_original(psbt: Psbt) -> Original:
    """Parse an original and check what needs no knowledge of the world. Raises OriginalRefused."""
    try:
        tx = parse(psbt)
    except DecodeError as error:
        raise OriginalRefused(Fault.NOT_A_PAYMENT, str(error)) from error
    spent = tuple(txout for txin in tx.inputs() if (txout := spent_output(txin)) is not None)
    if len(spent) != len(tx.inputs()):
        raise OriginalRefused(Fault.NOT_A_PAYMENT, "an input without the output that it spends")
    if not all(txin.script_sig or txin.has_witness() for txin in tx.inputs()):
        raise OriginalRefused(Fault.NOT_SIGNED, "an input is not final")
    final = final_transaction(tx)
    weight = final.estimated_weight()
    if (reason := objection(final, weight=weight)) is not None:
        raise OriginalRefused(Fault.NOT_STANDARD, reason)
    return Original(
        psbt=psbt,
        tx=tx,
        fallback=bytes.fromhex(final.serialize()),
        txid=final.txid(),
        outpoints=tuple(txin.prevout.to_str() for txin in tx.inputs()),
        spent=spent,
        weight=weight,
    )


def check_payment(original: Original, *, script_pubkey: bytes, amount_sat: int) -> tuple[int, ...]:
    """Return the outputs that pay `script_pubkey`, at least `amount_sat` in all. Raises OriginalRefused.

    To be done before a server is asked about what the PSBT claims to spend: whoever signed for it has the keys to it,
    and nobody else can make us ask for scripts of their choice.
    """
    outputs = original.tx.outputs()
    vouts = tuple(vout for vout, txout in enumerate(outputs) if txout.scriptpubkey == script_pubkey)
    if not vouts:
        raise OriginalRefused(Fault.PAYS_SOMETHING_ELSE)
    if sum(outputs[vout].value for vout in vouts) < amount_sat:
        raise OriginalRefused(Fault.PAYS_TOO_LITTLE)
    if not verify_inputs(parse_transaction(original.fallback), original.spent, range(len(original.spent))):
        raise OriginalRefused(Fault.NOT_SIGNED, "a signature is wrong, or of no standard form")
    return vouts


def check_original(original: Original, facts: ChainFacts) -> None:
    """Check a payment (`check_payment`) against what is known of the world.

    Raises OriginalRefused for a fault of the sender's, and NotYetKnown where the server may know better in a while.
    Faults that no server can mend are looked for first, so that they are answered at once.
    """
    _check_fee(original, relay_fee_rate=facts.relay_fee_rate)
    tx = parse_transaction(original.fallback)
    known = [facts.inputs[outpoint] for outpoint in original.outpoints if outpoint in facts.inputs]
    _check_coins(tx, known, txid=original.txid)
    previous = _previous_txs(tx, known)
    made = tuple(coins.outputs()[txin.prevout.out_idx] for txin, coins in zip(tx.inputs(), previous, strict=True))
    if made != original.spent:
        raise OriginalRefused(Fault.NOT_SIGNED, "the PSBT lies about what it spends")
    _check_locks(tx, previous, known, facts)


def check_terms(original: Original, parameters: Parameters) -> None:
    """Check that a payjoin can keep what the sender asks for, and what the original is. Raises OriginalRefused."""
    if original.fee_sat < parameters.min_fee_rate * original.weight // 1000:  # a rounded satoshi is forgiven
        raise OriginalRefused(Fault.FEE_TOO_SMALL, "below the sender's own minimum")
    tx = original.tx
    if tx.version >= 2 and (tx.inputs()[0].get_block_based_relative_locktime() or 0) > 1:
        # Our input copies this sequence (BIP 78), and our coin is sure of one confirmation only.
        raise OriginalRefused(Fault.NOT_STANDARD, "a relative lock that our coin may not open")


def _check_coins(tx: Transaction, known: list[InputFacts], *, txid: str) -> None:
    """Check that the coins are there, and strangers' to us.

    One is spent if its spender is here, and does spend it; one that is merely not listed may be too new, or spent by
    the original itself.
    """
    if any(about.ours for about in known):
        raise OriginalRefused(Fault.SEEN_BEFORE)
    for about in known:
        if about.spender is not None and _conflicts(about.spender, tx, txid=txid):
            raise OriginalRefused(Fault.COINS_GONE, "an input is spent")
    if len(known) != len(tx.inputs()) or not all(about.unspent for about in known):
        raise NotYetKnown("an input is not listed as unspent")


def _conflicts(raw: bytes, tx: Transaction, *, txid: str) -> bool:
    try:
        other = parse_transaction(raw)
    except DecodeError:
        return False
    spends = {txin.prevout for txin in other.inputs()}
    return other.txid() != txid and not spends.isdisjoint(txin.prevout for txin in tx.inputs())


def _previous_txs(tx: Transaction, known: list[InputFacts]) -> list[Transaction]:
    """Return the transactions that made the coins, by input.

    A server that gives another one knows no more than a silent one.
    """
    parsed: dict[bytes, Transaction] = {}  # one may be large, and have made the coins of many inputs
    previous = []
    for txin, about in zip(tx.inputs(), known, strict=True):
        if (raw := about.previous_tx) is None:
            raise NotYetKnown("a previous transaction is not known")
        if raw not in parsed:
            parsed[raw] = _parsed(raw)
        if parsed[raw].txid() != txin.prevout.txid.hex():
            raise NotYetKnown("a previous transaction is not the one asked for")
        if txin.prevout.out_idx >= len(parsed[raw].outputs()):
            raise OriginalRefused(Fault.COINS_GONE, "an input that never was")
        previous.append(parsed[raw])
    return previous


def _parsed(raw: bytes) -> Transaction:
    try:
        return parse_transaction(raw)
    except DecodeError as error:
        raise NotYetKnown("a previous transaction is garbled") from error


def _fee_sat(spent: tuple[TxOutput, ...], tx: Transaction) -> int:
    fee_sat: int = sum(txout.value for txout in spent) - tx.output_value()
    return fee_sat


def _check_fee(original: Original, *, relay_fee_rate: int) -> None:
    """Check the fee as a node does, on virtual bytes."""
    vsize = Transaction.virtual_size_from_weight(original.weight)
    if original.fee_sat < 0 or original.fee_sat * 1000 < relay_fee_rate * 4 * vsize:
        raise OriginalRefused(Fault.FEE_TOO_SMALL, "below the relay fee")


def _check_locks(tx: Transaction, previous: list[Transaction], known: list[InputFacts], facts: ChainFacts) -> None:
    """Check that the original can enter the next block: one that cannot is no payment, and a probe for free."""
    for made, about in zip(previous, known, strict=True):
        if not is_mature(made, confirmed_at=about.confirmed_at, height=facts.height):
            raise OriginalRefused(Fault.NOT_STANDARD, "an immature coinbase")
    needed = unlocked_at(
        tx,
        confirmed_at=[about.confirmed_at for about in known],
        height=facts.height,
        median_time=facts.median_time,
    )
    if needed is None or needed > facts.height + LATE_BLOCKS:
        raise OriginalRefused(Fault.NOT_STANDARD, "locked")
    if needed > facts.height:
        raise NotYetKnown("locked to a block that is not here yet")
