"""The receiver's side of an Electrum wallet: what is ours, which coin may be added, what it may cost, the signature."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from aiorpcx import run_in_thread
from electrum.bitcoin import script_to_address
from electrum.fee_policy import FeePolicy
from electrum.i18n import _
from electrum.keystore import BIP32_KeyStore, Hardware_KeyStore
from electrum.transaction import (
    PartialTransaction,
    Transaction,
    TxInput,
    TxOutput,
)
from electrum.util import InvalidPassword, UserFacingException
from electrum.wallet import TransactionDangerousException

from ..bip78.contribution import INPUT_WEIGHTS, Coin, FeeLimits, finish_proposal
from ..bip78.original import ChainFacts, InputFacts, Original
from ..bip78.psbt import Psbt, parse, psbt_of
from ..errors import WalletError
from .chain import ChainLookUp
from .storage import WalletStore
from .watching import script_of

if TYPE_CHECKING:
    from electrum.interface import Interface
    from electrum.transaction import PartialTxInput
    from electrum.wallet import Abstract_Wallet

UNCOMPRESSED_WEIGHT = 4 * 32
"""Weight units that an input grows by when its key is written in full."""
LOOK_AGAIN = 5
"""Seconds between looks at a wallet that is not up to date, where it says nothing."""
MEDIAN_OF = 11
"""Blocks whose median time the next one is measured by (BIP 113)."""

AUTOMATIC_RATE_FACTOR = 3
AUTOMATIC_RATE_SAT_PER_VB = (10, 100)
"""The automatic cap: three times Electrum's own estimate, held between these. A fee spike must not switch payjoin off,
nor may a griefer drain us."""
DEFAULT_MAX_FEE_SAT = 5_000
"""From this limit on, one per cent of the payment counts where it is more. Who sets a lower one means it."""


class FeeSettings(Protocol):
    """The user's limits, read at the moment of use."""

    @property
    def max_receiver_fee_rate(self) -> float | None:
        """sat/vB; None: automatic."""

    @property
    def max_receiver_fee_sat(self) -> int:
        """Satoshis."""


class CoinBook(Protocol):
    """What the wallet's sessions have done with its coins."""

    def reserved_outpoints(self) -> set[str]:
        """Return the coins that running sessions have contributed."""

    def exposed_outpoints(self) -> frozenset[str]:
        """Return the coins that proposals have shown to somebody."""


class Locked(WalletError):
    """Signing needs the wallet's password, and nobody has given it."""


def why_not(wallet: Abstract_Wallet) -> str | None:
    """Return why this wallet cannot take part in a payjoin now, as a sentence; None where it can."""
    if (reason := why_unfit(wallet)) is not None:
        return reason
    return None if spendable_coins(wallet) else _("This wallet has no free confirmed coin to add.")


def why_unfit(wallet: Abstract_Wallet) -> str | None:
    """Return why a wallet of this kind cannot take part in a payjoin, as a sentence; None where it can."""
    if wallet.is_watching_only():
        return _("This wallet cannot sign by itself (watch-only).")
    by_itself = wallet.wallet_type in ("standard", "imported")
    if by_itself and not any(isinstance(keystore, Hardware_KeyStore) for keystore in wallet.get_keystores()):
        return None
    return _("Wallets with a hardware device, several signers or two factors can't yet.")


def spendable_coins(wallet: Abstract_Wallet) -> list[PartialTxInput]:
    """Return the confirmed coins that neither the user nor a session (by the seam) keeps back."""
    coins = [
        coin
        for coin in wallet.get_spendable_coins(nonlocal_only=True, confirmed_only=True)
        if wallet.get_txin_type(coin.address) in INPUT_WEIGHTS
    ]
    if (reserve := wallet.anchor_reserve()) == 0:
        return coins
    # Lightning's anchor channels need money at hand: the other confirmed coins must cover that.
    total_sat = sum(coin.value_sats() for coin in coins)
    return [coin for coin in coins if total_sat - coin.value_sats() >= reserve]


def most_reserved(coins: int) -> int:
    """Return how many of so many confirmed coins open proposals may have: half of them, rounded up."""
    return (coins + 1) // 2


class ElectrumReceiverWallet:
    """Implements `session.ports.ReceiverWallet` for one wallet and all its sessions."""

    def __init__(
        self,
        wallet: Abstract_Wallet,
        *,
        store: WalletStore,
        chain: ChainLookUp,
        settings: FeeSettings,
        coin_book: CoinBook,
    ) -> None:
        self._wallet, self._store, self._chain = wallet, store, chain
        self._settings, self._coin_book = settings, coin_book
        self._current_with: Interface | None = None
        """The connection with which the wallet was up to date when we last asked."""

    # The original

    def script_of(self, address: str) -> bytes:
        """Return the scriptPubKey of `address`."""
        return script_of(address)[0]

    async def ready(self) -> None:
        """Return when the wallet is up to date with its server, or only busy with news from it.

        Each new transaction makes Electrum say for a second or more that it is not up to date; a sender need not wait
        for that. After a new connection everything may be old, and then nothing is answered before it is not.
        """
        while not self.is_current():
            with suppress(TimeoutError):  # the event is of the wallet, and a new connection is none of its
                async with asyncio.timeout(LOOK_AGAIN):
                    await self._wallet.up_to_date_changed_event.wait()

    def is_current(self) -> bool:
        """Tell whether what the wallet knows is of the connection that Electrum has now."""
        return self.connection() is not None

    def connection(self) -> Interface | None:
        """Return the connection that Electrum has now, if what the wallet knows is of this one; else None.

        Offline, and for a moment after a new connection, Electrum still says "up to date" of the one before.
        """
        network, synchronizer = self._wallet.network, self._wallet.adb.synchronizer
        connection = network.interface if network is not None else None
        if connection is None or synchronizer is None or synchronizer.interface is not connection:
            return None
        if self._wallet.is_up_to_date() and self._wallet.adb.is_up_to_date():
            self._current_with = connection
        return connection if connection is self._current_with else None

    def settled_connection(self) -> Interface | None:
        """Return the connection, if the wallet has all the news of it; None while some are being fetched.

        One of them may be that a request is paid. A sender need not wait for that, and what charges a sender has to.
        """
        is_settled = self._wallet.is_up_to_date() and self._wallet.adb.is_up_to_date()
        return self.connection() if is_settled else None

    async def look_up(self, original: Original) -> ChainFacts:
        """Ask the Electrum server, in one batch, and the wallet about the inputs. Raises Unreachable."""
        scripts = original.input_scripts
        found = await self._chain.look_up(scripts, known=_previous_in(original))
        previous = {raw: Transaction(raw.hex()) for raw in {one.previous_tx for one in found.values()} if raw}
        inputs = {
            outpoint: InputFacts(
                previous_tx=on_chain.previous_tx,
                unspent=on_chain.unspent,
                spender=on_chain.spender,
                ours=self._is_ours(outpoint, scripts[outpoint], previous.get(on_chain.previous_tx or b"")),
                confirmed_at=on_chain.confirmed_at,
            )
            for outpoint, on_chain in found.items()
        }
        return ChainFacts(
            inputs=inputs,
            relay_fee_rate=self._relay_fee_rate(),
            height=self._wallet.adb.get_local_height(),
            median_time=self._median_time(),
            own_vouts=tuple(
                vout for vout, txout in enumerate(original.tx.outputs()) if self._wallet.is_mine(txout.address)
            ),
        )

    def seen_before(self, original: Original, session_id: str) -> bool:
        """Tell whether another session has shown a coin to an original with one of these inputs."""
        return any(self._store.seen_before(outpoint, session_id) for outpoint in original.outpoints)

    # Our coin

    def coins(self) -> Sequence[Coin]:
        """Return the coins that may be contributed now, in the order of preference.

        The order is random to outsiders, and the same for every sender: probing again shows the same coin again. None
        where open proposals have half of the coins already: that many senders who never pay must not learn them all,
        nor tie the owner's hands.
        """
        reserved = self._coin_book.reserved_outpoints()
        coins = [coin for coin in spendable_coins(self._wallet) if coin.prevout.to_str() not in reserved]
        still_there = sum(not self._is_spent(outpoint) for outpoint in reserved)
        if still_there >= most_reserved(still_there + len(coins)):
            return []
        secret = self._store.coin_secret() if coins else b""
        coins.sort(key=lambda coin: hmac.digest(secret, coin.prevout.to_str().encode(), "sha256"))
        return [self._coin(coin) for coin in coins]

    def exposed(self) -> frozenset[str]:
        """Return the outpoints that proposals have shown already."""
        return self._coin_book.exposed_outpoints()

    def fee_limits(self, payment_sat: int) -> FeeLimits:
        """Return the caps as they are set now, in sat/kwu and sat."""
        max_sat = self._settings.max_receiver_fee_sat
        if max_sat >= DEFAULT_MAX_FEE_SAT:
            max_sat = max(max_sat, payment_sat // 100)
        rate = self._settings.max_receiver_fee_rate
        max_rate = self._automatic_rate() if rate is None else rate
        return FeeLimits(max_rate=int(max_rate * 250), max_sat=max_sat, min_rate=self._relay_fee_rate())

    # The signature

    def locked(self) -> bool:
        """Tell whether signing needs a password that nobody has given."""
        return self._wallet.has_keystore_encryption() and not self._wallet.is_unlocked()

    async def sign(self, proposal: Psbt, outpoints: Sequence[str], *, password: str | None) -> Psbt:
        """Sign our inputs and return what the sender may see. `password`: for this one signature, where locked.

        Raises Locked, and WalletError where the wallet cannot.
        """
        if password is None and self.locked():
            raise Locked(_("The wallet is locked."))
        tx = parse(proposal)
        if self._signable(tx) != set(outpoints):
            # Electrum signs whatever it can: a coin of ours that the sender slipped in must not be among it.
            raise WalletError(_("The proposal spends other coins of this wallet than were chosen."))
        signed = await run_in_thread(self._sign, tx, password)
        return finish_proposal(proposal, signed, tuple(outpoints))

    def _sign(self, tx: PartialTransaction, password: str | None) -> Psbt:
        """Sign, on a thread of its own."""
        if password is None and self._wallet.has_keystore_encryption():
            password = self._wallet.get_unlocked_password()
        try:
            # The warning that is ignored is about the fee of inputs that we don't know: the checklist has seen to that.
            signed = self._wallet.sign_transaction(tx, password, ignore_warnings=True)
        except InvalidPassword as error:
            raise Locked(_("The password is wrong.")) from error
        except (TransactionDangerousException, UserFacingException) as error:
            raise WalletError(str(error)) from error
        if signed is None:
            raise WalletError(why_unfit(self._wallet) or _("The wallet did not sign."))
        return psbt_of(signed.serialize_as_bytes(force_psbt=True))

    # What they stand on

    def _is_ours(self, outpoint: str, claimed_script: bytes, previous: Transaction | None) -> bool:
        """Tell whether the wallet owns a coin, whatever the PSBT says. `previous`: what made it, as the server says."""
        txid, _, vout = outpoint.partition(":")
        makers = [tx for tx in (previous, self._wallet.db.get_transaction(txid)) if tx is not None]
        made = [tx.outputs()[int(vout)].scriptpubkey for tx in makers if int(vout) < len(tx.outputs())]
        return any(self._wallet.is_mine(script_to_address(script)) for script in [claimed_script, *made])

    def _signable(self, tx: PartialTransaction) -> set[str]:
        """Return the inputs that Electrum may take for the wallet's own, by its history or by what the PSBT claims."""
        return {
            txin.prevout.to_str()
            for txin in tx.inputs()
            if self._wallet.is_mine(txin.address)
            or self._wallet.is_mine(self._wallet.adb.get_txin_address(TxInput(prevout=txin.prevout)))
        }

    def _is_spent(self, outpoint: str) -> bool:
        """Tell whether the wallet knows of a transaction that spends a coin."""
        txid, _, vout = outpoint.partition(":")
        return self._wallet.db.get_spent_outpoint(txid, vout) is not None

    def _coin(self, txin: PartialTxInput) -> Coin:
        """Describe a coin, at little cost: a wallet may have thousands. What signing needs more, Electrum adds then."""
        script_type, script = self._wallet.get_txin_type(txin.address), script_of(txin.address)[0]
        if script_type == "p2pkh":
            txin.utxo = self._wallet.db.get_transaction(txin.prevout.txid.hex())
        else:
            txin.witness_utxo = TxOutput(scriptpubkey=script, value=txin.value_sats())
        return Coin(
            outpoint=txin.prevout.to_str(),
            value_sat=txin.value_sats(),
            script_pubkey=script,
            weight=INPUT_WEIGHTS[script_type] + (UNCOMPRESSED_WEIGHT if self._is_uncompressed(txin.address) else 0),
            txin=txin,
        )

    def _is_uncompressed(self, address: str) -> bool:
        """Tell whether an address has a key of the old form, of 65 bytes: imported ones and the first seeds may."""
        if isinstance(self._wallet.keystore, BIP32_KeyStore):
            return False
        return len(bytes.fromhex(self._wallet.get_public_key(address))) == 65

    def _relay_fee_rate(self) -> int:
        """Return the server's relay fee in sat/kwu, rounded up from Electrum's sat/kvB."""
        return -(-int(self._wallet.relayfee()) // 4)

    def _median_time(self) -> int:
        """Return the median time of the newest blocks (unix time in seconds); 0 where Electrum has no chain at hand."""
        if self._wallet.network is None:
            return 0
        chain = self._wallet.network.blockchain()
        headers = [
            chain.read_header(height) for height in range(max(0, chain.height() - MEDIAN_OF + 1), chain.height() + 1)
        ]
        times = sorted(header["timestamp"] for header in headers if header is not None)
        return times[len(times) // 2] if times else 0

    def _automatic_rate(self) -> float:
        """Return the automatic cap in sat/vB; the lower end where Electrum has no estimate."""
        users, usual = FeePolicy(self._wallet.config.FEE_POLICY), FeePolicy("eta:2")
        policies = (users, usual) if users.use_dynamic_estimates else (usual,)  # a rate set by hand is no estimate
        per_kvb = next((rate for policy in policies if (rate := policy.fee_per_kb(self._wallet.network))), 0)
        lowest, highest = AUTOMATIC_RATE_SAT_PER_VB
        return min(max(AUTOMATIC_RATE_FACTOR * per_kvb / 1000, lowest), highest)


def _previous_in(original: Original) -> dict[str, bytes]:
    """Return the previous transactions that the PSBT itself carries, by txid."""
    return {
        txin.prevout.txid.hex(): bytes.fromhex(txin.utxo.serialize())
        for txin in original.tx.inputs()
        if txin.utxo is not None
    }
