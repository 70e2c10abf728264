"""What spends the coins of an original: found on an Electrum server, and proved by the chain where it says confirmed.

A server may tell of a transaction that was never mined. An original that is forgotten for it would be money lost, so a
block's own proof is asked for, as Electrum does for the wallet's own transactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from electrum.network import BestEffortRequestFailed, UntrustedServerReturnedError
from electrum.transaction import Transaction
from electrum.verifier import MerkleVerificationFailure, MissingBlockHeader, verify_tx_is_in_block

from ..errors import Unreachable

if TYPE_CHECKING:
    from electrum.wallet import Abstract_Wallet

    from .chain import ChainLookUp


@dataclass(frozen=True)
class Spender:
    """A transaction that spends a coin of an original's, be it the original itself."""

    txid: str
    raw: bytes = field(repr=False)
    confirmed: bool


async def spenders_of(wallet: Abstract_Wallet, chain: ChainLookUp, scripts: Mapping[str, bytes]) -> list[Spender]:
    """Return what spends the outpoints, given with the scriptPubKey of each. Raises Unreachable."""
    found = {
        coin.spender: coin.spent_at for coin in (await chain.look_up(scripts)).values() if coin.spender is not None
    }
    spenders = []
    for raw, height in found.items():
        txid = Transaction(raw.hex()).txid()
        confirmed = height > 0 and await _is_in_block(wallet, txid, height)
        spenders.append(Spender(txid, raw, confirmed))
    return spenders


async def _is_in_block(wallet: Abstract_Wallet, txid: str, height: int) -> bool:
    """Tell whether a block of Electrum's own chain proves a transaction. Raises Unreachable."""
    network = wallet.network
    if network is None:
        raise Unreachable("Electrum is offline")
    try:
        proof = await network.get_merkle_for_transaction(txid, height)
        header = network.blockchain().read_header(proof["block_height"])
        verify_tx_is_in_block(txid, proof["merkle"], proof["pos"], header, proof["block_height"])
    except (BestEffortRequestFailed, MissingBlockHeader) as error:
        raise Unreachable("what became of the sender's coins is not proved yet") from error
    except (UntrustedServerReturnedError, MerkleVerificationFailure):
        return False
    return True
