"""Real Electrum wallets without a network: made from keys, funded with transactions that they believe confirmed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from electrum import constants, keystore, util
from electrum.bip32 import BIP32Node
from electrum.bitcoin import address_to_script
from electrum.fee_policy import FixedFeePolicy
from electrum.simple_config import SimpleConfig
from electrum.storage import WalletStorage
from electrum.transaction import PartialTransaction, PartialTxOutput, Transaction, TxInput, TxOutpoint, TxOutput
from electrum.util import TxMinedInfo
from electrum.wallet import Abstract_Wallet, Wallet, restore_wallet_from_text
from electrum.wallet_db import WalletDB

from payjoin_plugin.bip78.psbt import Psbt, psbt_of
from payjoin_plugin.wallet.storage import WalletStore

T = TypeVar("T")

NAME = "payjoin"
"""Of the plugin, hence of its place in the wallet file."""
HEIGHT = 200
"""Blocks that the wallets believe in."""
SCRIPT_TYPES = ("p2wpkh", "p2wpkh-p2sh", "p2pkh")
PASSWORD = "correct horse"
POSTED = {"at": 1_795_000_009, "event": "posted_proposal"}
"""A record that carries nothing."""


@contextmanager
def electrum_running() -> Iterator[None]:
    """Be on regtest with Electrum's event loop running in a thread of its own; end what was not there before."""
    before = constants.net
    constants.BitcoinRegtest.set_as_network()
    try:
        if util._asyncio_event_loop is not None:
            yield
            return
        loop, stop, thread = util.create_and_start_event_loop()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set_result, 1)
            thread.join()
    finally:
        before.set_as_network()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on Electrum's loop, from another thread, and return what it returns."""
    return asyncio.run_coroutine_threadsafe(coroutine, util.get_asyncio_loop()).result(timeout=30)


async def _nothing() -> None:
    pass


def settle() -> None:
    """Return when the loop has run what was scheduled on it so far, and what that scheduled."""
    for _ in range(3):
        run(_nothing())


def make_config(folder: Path, **settings: Any) -> SimpleConfig:
    return SimpleConfig({"electrum_path": str(folder), "regtest": True, "offline": True, **settings})


def master_key(name: str, script_type: str) -> str:
    """A private master key of an Electrum wallet, the same for the same name."""
    xtype = {"p2pkh": "standard", "p2wpkh": "p2wpkh", "p2wpkh-p2sh": "p2wpkh-p2sh"}[script_type]
    xprv: str = BIP32Node.from_rootseed(hashlib.sha256(name.encode()).digest(), xtype=xtype).to_xprv()
    return xprv


def make_wallet(
    folder: Path,
    name: str = "receiver",
    *,
    script_type: str = "p2wpkh",
    text: str | None = None,
    password: str | None = None,
    encrypt_file: bool = False,
    on_disk: bool = False,
    **settings: Any,
) -> Abstract_Wallet:
    wallet = restore_wallet_from_text(
        text or master_key(name, script_type),
        path=str(folder / name) if on_disk else None,
        config=make_config(folder, **settings),
        password=password,
        encrypt_file=encrypt_file,
        gap_limit=5,
    )["wallet"]
    wallet.db.put("stored_height", HEIGHT)
    return wallet


def reopen(wallet: Abstract_Wallet, *, password: str | None = None) -> Abstract_Wallet:
    """Open the file of `wallet` again, as it is on disk now."""
    storage = WalletStorage(wallet.storage.get_path(), allow_partial_writes=wallet.config.WALLET_PARTIAL_WRITES)
    if password is not None:
        storage.decrypt(password)
    return Wallet(WalletDB(storage.read(), storage=storage, upgrade=True), config=wallet.config)


def dumped_and_reloaded(wallet: Abstract_Wallet) -> Abstract_Wallet:
    """The wallet that comes out of what `wallet` would write now."""
    return Wallet(WalletDB(wallet.db.dump(), storage=None, upgrade=True), config=wallet.config)


def plugin_storage(wallet: Abstract_Wallet) -> Any:
    """What Electrum's `BasePlugin.get_storage` gives."""
    return wallet.db.get_plugin_storage().setdefault(NAME, {})


def keep(
    store: WalletStore,
    txid: str = "aa" * 32,
    *,
    session_id: str = "s1",
    request_id: str = "r1",
    label: str = "",
    at: int = 7,
) -> None:
    """Keep a sender's payment."""
    store.kept.keep(
        txid,
        "0200",
        session_id=session_id,
        request_id=request_id,
        address="a",
        amount_sat=20_000,
        since_height=9,
        label=label,
        at=at,
    )


def store_of(wallet: Abstract_Wallet) -> WalletStore:
    """Ours, in this wallet's file."""
    return WalletStore(wallet, plugin_storage(wallet))


# Transactions


def outpoint(text: str) -> TxOutpoint:
    return TxOutpoint.from_str(text)


def foreign_outpoint(label: str, vout: int = 0) -> str:
    """A coin that nobody here owns."""
    return f"{hashlib.sha256(label.encode()).hexdigest()}:{vout}"


def transaction(spends: list[str], pays: list[tuple[str | bytes, int]], *, locktime: int = 0) -> Transaction:
    """A transaction with made-up signatures: fine where nobody looks at them."""
    inputs = []
    for text in spends:
        txin = TxInput(prevout=outpoint(text), script_sig=b"", nsequence=0xFFFFFFFD)
        txin.witness = b"\x01\x01\x01"
        inputs.append(txin)
    tx = Transaction(None)
    tx._inputs = inputs
    tx._outputs = [
        TxOutput(scriptpubkey=to if isinstance(to, bytes) else address_to_script(to), value=value) for to, value in pays
    ]
    tx._version, tx._locktime = 2, locktime
    return Transaction(tx.serialize())


def see_confirmed(wallet: Abstract_Wallet, tx: Transaction, *, height: int = 150) -> str:
    """Let the wallet see `tx` in a block, proof and all."""
    txid = see_in_mempool(wallet, tx, height=height)
    wallet.adb.add_verified_tx(txid, TxMinedInfo(_height=height, timestamp=1, txpos=1, header_hash="00" * 32))
    return txid


def see_in_mempool(wallet: Abstract_Wallet, tx: Transaction, *, height: int = 0) -> str:
    """Let the wallet see `tx` in the mempool; `height` -1: on top of an unconfirmed one."""
    wallet.adb.receive_tx_callback(tx, tx_height=height)
    txid: str = tx.txid()
    return txid


def fund(
    wallet: Abstract_Wallet, *values: int, address: str | None = None, height: int | None = 150, label: str = "funding"
) -> list[str]:
    """Give the wallet a coin of each value, from one transaction each. `height` None: unconfirmed."""
    coins = []
    for number, value in enumerate(values):
        to = address or wallet.get_receiving_addresses()[number % 5]
        tx = transaction([foreign_outpoint(f"{label} {wallet.get_receiving_addresses()[0]} {number}")], [(to, value)])
        txid = see_in_mempool(wallet, tx) if height is None else see_confirmed(wallet, tx, height=height)
        coins.append(f"{txid}:0")
    return coins


def pay(
    sender: Abstract_Wallet, address: str, amount_sat: int, *, fee_sat: int = 300, coins: list[str] | None = None
) -> PartialTransaction:
    """A payment of the sender's, signed and final."""
    spendable = [
        coin for coin in sender.get_spendable_coins(confirmed_only=True) if not coins or coin.prevout.to_str() in coins
    ]
    tx = sender.make_unsigned_transaction(
        outputs=[PartialTxOutput.from_address_and_value(address, amount_sat)],
        coins=spendable,
        fee_policy=FixedFeePolicy(fee_sat),
    )
    sender.sign_transaction(tx, PASSWORD if sender.has_keystore_encryption() else None)
    tx.finalize_psbt()
    assert tx.is_complete()
    return tx


def original_psbt(tx: PartialTransaction, *, whole_previous: bool = False) -> Psbt:
    """The sender's payment as an Original PSBT."""
    tx = PartialTransaction.from_raw_psbt(tx.serialize_as_bytes(force_psbt=True))
    tx.prepare_for_export_for_coinjoin()
    if not whole_previous:
        tx.convert_all_utxos_to_witness_utxos()
    return psbt_of(tx.serialize_as_bytes(force_psbt=True))


def created_record(request_id: str = "aabbccddee", at: int = 1_795_000_000) -> dict[str, Any]:
    """The first record of a log, as far as the storage looks at it."""
    return {"at": at, "event": "created", "request_id": request_id, "address": "bcrt1q", "amount_sat": 20_000}


def imported_keys(name: str, *script_types: str) -> str:
    """Private keys to restore an imported wallet from, one of each script type."""
    keys = []
    for script_type in script_types:
        master = keystore.from_master_key(master_key(name, script_type))
        secret, compressed = master.get_private_key((0, 0), None)
        keys.append(keystore.bitcoin.serialize_privkey(secret, compressed, script_type))
    return "\n".join(keys)
