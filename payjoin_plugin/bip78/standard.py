"""What a node relays: the part of Bitcoin Core's policy that a transaction alone can break.

`src/policy/policy.h` and `policy.cpp`. Lenient where a current node's defaults are: an original that nodes take is a
payment.
"""

from __future__ import annotations

from collections.abc import Sequence

from electrum.bitcoin import opcodes
from electrum.transaction import (
    SCRIPTPUBKEY_TEMPLATE_ANYSEGWIT,
    SCRIPTPUBKEY_TEMPLATE_WITNESS_V0,
    MalformedBitcoinScript,
    Transaction,
    get_script_type_from_output_script,
    match_script_against_template,
    script_GetOp,
)

MAX_WEIGHT = 400_000
"""MAX_STANDARD_TX_WEIGHT, in weight units."""
VERSIONS = (1, 2)
"""Without version 3, whose rules (BIP 431) depend on unconfirmed parents that an Electrum server does not tell of."""
MAX_MONEY = 21_000_000 * 100_000_000
"""satoshi."""

DUST_RELAY_FEE = 3
"""sat/vB: DUST_RELAY_TX_FEE."""
COINBASE_MATURITY = 100
"""Blocks."""
LOCKTIME_THRESHOLD = 500_000_000
"""From here on a locktime is a time (BIP 113)."""
FINAL_SEQUENCE = 0xFFFFFFFF


def is_standard_output(script: bytes) -> bool:
    """Tell whether a node relays a payment to `script`. Bare multisig, which weighs more than it shows, is left out."""
    return (
        get_script_type_from_output_script(script) is not None
        or match_script_against_template(script, SCRIPTPUBKEY_TEMPLATE_ANYSEGWIT)
        or is_data(script)
    )


def is_data(script: bytes) -> bool:
    """Tell whether `script` is an OP_RETURN with nothing but pushes behind it (of any size since Bitcoin Core 30)."""
    try:
        operations = [opcode for opcode, _, _ in script_GetOp(script)]
    except MalformedBitcoinScript:
        return False
    return operations[:1] == [opcodes.OP_RETURN] and all(opcode <= opcodes.OP_16 for opcode in operations[1:])


def dust_limit(script: bytes) -> int:
    """Return the least value in satoshi that an output to `script` may have (Core's GetDustThreshold).

    Electrum has the numbers for some types; this is the rule behind them, and the tests hold the two together.
    """
    if is_data(script):
        return 0
    is_segwit = match_script_against_template(script, SCRIPTPUBKEY_TEMPLATE_ANYSEGWIT) or match_script_against_template(
        script, SCRIPTPUBKEY_TEMPLATE_WITNESS_V0
    )
    cost_of_spending = 32 + 4 + 1 + (107 // 4 if is_segwit else 107) + 4
    output_size: int = Transaction.estimated_output_size_for_script(script)
    return DUST_RELAY_FEE * (output_size + cost_of_spending)


def objection(tx: Transaction, *, weight: int) -> str | None:
    """Return why no node would relay `tx`, whatever the chain looks like; None if one would."""
    if tx.version not in VERSIONS:
        return "version"
    if weight > MAX_WEIGHT:
        return "size"
    if len({txin.prevout for txin in tx.inputs()}) != len(tx.inputs()):
        return "an outpoint twice"
    if any(txin.is_coinbase_input() for txin in tx.inputs()):
        return "a coinbase"
    if sum(txout.value for txout in tx.outputs()) > MAX_MONEY:
        return "more than all money"
    for txout in tx.outputs():
        if not is_standard_output(txout.scriptpubkey):
            return "an output of no standard type"
        if txout.value < dust_limit(txout.scriptpubkey):
            return "dust"
    return None


def unlocked_at(tx: Transaction, *, confirmed_at: Sequence[int], height: int, median_time: int) -> int | None:
    """Return the height that the chain must have before `tx` may enter the next block; None for never, or far off.

    `confirmed_at`: height of the block of each spent coin, 0 if unconfirmed. `median_time`: unix time that blocks are
    measured by (BIP 113). Relative locks (BIP 68) by time would need the times of old blocks: they count as far off.
    """
    needed = 0
    if tx.locktime and any(txin.nsequence != FINAL_SEQUENCE for txin in tx.inputs()):
        if tx.locktime < LOCKTIME_THRESHOLD:
            needed = tx.locktime
        elif tx.locktime >= median_time:
            return None
    if tx.get_time_based_relative_locktime():
        return None
    if tx.version >= 2:
        for txin, coin_height in zip(tx.inputs(), confirmed_at, strict=True):
            if blocks := txin.get_block_based_relative_locktime():
                needed = max(needed, (coin_height or height + 1) + blocks - 1)
    return needed


def is_mature(previous: Transaction, *, confirmed_at: int, height: int) -> bool:
    """Tell whether an output of `previous` may be spent in the next block as far as its age goes."""
    return not previous.is_coinbase_tx() or 0 < confirmed_at <= height + 1 - COINBASE_MATURITY
