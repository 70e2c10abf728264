"""What the receiver makes of a payment, step by step, for tests of single steps."""

from __future__ import annotations

from typing import Any

from electrum.transaction import PartialTxInput, TxOutpoint

from payjoin_plugin.bip78.contribution import (
    Contribution,
    FeeLimits,
    contribute,
    finish_proposal,
)
from payjoin_plugin.bip78.original import Original, read_original
from payjoin_plugin.bip78.parameters import Parameters
from payjoin_plugin.bip78.psbt import Psbt, parse_as_is
from tests.bip78.payments import (
    Money,
    Payment,
    bobs_coin,
    sign_ours,
)

PLENTY = FeeLimits(max_rate=25_000, max_sat=100_000, min_rate=250)


def read(made: Payment) -> Original:
    return read_original(made.original())


def added(
    made: Payment, coin: Money | None = None, *, limits: FeeLimits = PLENTY, position: int = 0, **asked: Any
) -> Contribution:
    return contribute(
        read(made),
        Parameters(version=2, **asked),
        (coin or bobs_coin()).coin(),
        payment_vout=0,
        limits=limits,
        position=position,
    )


def finished(made: Payment, coin: Money) -> Psbt:
    unsigned = added(made, coin).proposal
    return finish_proposal(unsigned, sign_ours(unsigned, coin), (coin.outpoint,))


def input_fields(psbt: Psbt) -> list[tuple[str, set[str]]]:
    """The fields that each input has, by outpoint."""
    empty = PartialTxInput(prevout=TxOutpoint(bytes(32), 0))
    names = [*vars(empty), "utxo"]
    skip = {"prevout", "nsequence", "_TxInput__address", "_TxInput__scriptpubkey", "_TxInput__value_sats", "_utxo"}
    tx = parse_as_is(psbt)
    assert not tx.xpubs
    assert not tx._unknown
    for txout in tx.outputs():
        assert {None} == {txout.redeem_script, txout.witness_script}
        assert {} == txout.bip32_paths == txout._unknown
    return [
        (
            txin.prevout.to_str(),
            {
                name.removeprefix("_")
                for name in names
                if name not in skip and getattr(txin, name) != getattr(empty, name) and not name.startswith("_is_")
            },
        )
        for txin in tx.inputs()
    ]
