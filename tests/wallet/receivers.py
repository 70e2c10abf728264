"""A receiving wallet with all that `ElectrumReceiverWallet` needs around it, and a payjoin's steps to the signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from electrum.wallet import Abstract_Wallet

from payjoin_plugin.bip78.contribution import choose_coin, contribute
from payjoin_plugin.bip78.original import Original, check_original, check_payment, read_original
from payjoin_plugin.bip78.parameters import Parameters
from payjoin_plugin.bip78.psbt import Psbt
from payjoin_plugin.wallet.chain import ChainLookUp
from payjoin_plugin.wallet.receiving import ElectrumReceiverWallet
from payjoin_plugin.wallet.storage import WalletStore
from tests.wallet.servers import Chain, Network, Server
from tests.wallet.wallets import fund, make_wallet, original_psbt, pay, plugin_storage, run

AMOUNT = 20_000


class Book:
    """What the sessions have done with the coins."""

    def __init__(self) -> None:
        self.reserved: set[str] = set()
        self.exposed: frozenset[str] = frozenset()

    def reserved_outpoints(self) -> set[str]:
        return self.reserved

    def exposed_outpoints(self) -> frozenset[str]:
        return self.exposed


class Limits:
    """The user's settings."""

    def __init__(self) -> None:
        self.max_receiver_fee_rate: float | None = None
        self.max_receiver_fee_sat = 5_000


class Receiver:
    """A receiving wallet on a server of its own, with what `ElectrumReceiverWallet` needs around it."""

    def __init__(self, wallet: Abstract_Wallet) -> None:
        self.wallet = wallet
        self.chain = Chain()
        self.server = Server("main", self.chain)
        self.network = wallet.network = Network(self.server)
        self.store = WalletStore(wallet, plugin_storage(wallet))
        self.book, self.limits = Book(), Limits()
        self.receiver_wallet = ElectrumReceiverWallet(
            wallet, store=self.store, chain=ChainLookUp(wallet), settings=self.limits, coin_book=self.book
        )
        self.address = wallet.get_receiving_addresses()[0]

    def original(self, sender: Abstract_Wallet, amount_sat: int = AMOUNT, **details: Any) -> Original:
        """Read a payment that the sender signed; the server knows the sender's coins."""
        psbt = original_psbt(pay(sender, self.address, amount_sat, **details), whole_previous=True)
        for coin in sender.get_utxos():
            self.chain.add(sender.db.get_transaction(coin.prevout.txid.hex()), height=150)
        return read_original(psbt)

    def accept(self, original: Original) -> tuple[int, ...]:
        vouts = check_payment(original, script_pubkey=self.receiver_wallet.script_of(self.address), amount_sat=AMOUNT)
        check_original(original, run(self.receiver_wallet.look_up(original)))
        return vouts

    def proposal(
        self, original: Original, parameters: Parameters | None = None, *, position: int = 0
    ) -> tuple[Psbt, tuple[str, ...]]:
        """The unsigned proposal for an accepted original, and our coins in it."""
        (vout,) = self.accept(original)
        asked, limits = parameters or Parameters(), self.receiver_wallet.fee_limits(AMOUNT)
        coins, exposed = self.receiver_wallet.coins(), self.receiver_wallet.exposed()
        coin = choose_coin(original, asked, coins, payment_vout=vout, limits=limits, exposed=exposed)
        assert coin is not None
        made = contribute(original, asked, coin, payment_vout=vout, limits=limits, position=position)
        return made.proposal, made.outpoints


def make_receiver(folder: Path, *values: int, script_type: str = "p2wpkh", **details: Any) -> Receiver:
    wallet = make_wallet(folder, "receiver", script_type=script_type, **details)
    fund(wallet, *(values or (50_000,)), address=wallet.get_receiving_addresses()[-1])
    return Receiver(wallet)
