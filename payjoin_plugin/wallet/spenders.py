"""What became of the coins of an original: asked of an Electrum server, proved by the chain where it says confirmed.

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
    depth: int
    """In how many blocks it is buried; 0 where it is in none, or where that is not proved."""

    @property
    def confirmed(self) -> bool:
        """Whether it is in a block."""
        return self.depth > 0


@dataclass(frozen=True)
class Fate:
    """What became of the coins of an original."""

    spenders: tuple[Spender, ...]
    vanished: bool
    """The server knows nothing of what made one of them: the unconfirmed parent was replaced or dropped. Nobody can
    spend that coin, unless the parent comes back."""


async def fate_of(wallet: Abstract_Wallet, chain: ChainLookUp, scripts: Mapping[str, bytes]) -> Fate:
    """Return what became of the outpoints, given with the scriptPubKey of each. Raises Unreachable."""
    coins = (await chain.look_up(scripts)).values()
    found = {coin.spender: coin.spent_at for coin in coins if coin.spender is not None}
    spenders = []
    for raw, height in found.items():
        txid = Transaction(raw.hex()).txid()
        spenders.append(Spender(txid, raw, await _depth(wallet, txid, height) if height > 0 else 0))
    return Fate(tuple(spenders), vanished=any(coin.is_unknown for coin in coins))


async def _depth(wallet: Abstract_Wallet, txid: str, height: int) -> int:
    """Return how deep a block of Electrum's own chain that proves a transaction is; 0 for none. Raises Unreachable."""
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
        return 0
    # The block of the proof, not the server's word before it.
    return int(max(1, wallet.adb.get_local_height() - proof["block_height"] + 1))
