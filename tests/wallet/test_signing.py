from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from electrum.transaction import PartialTxInput, TxOutput
from electrum.util import UserFacingException
from electrum.wallet import Abstract_Wallet

from payjoin_plugin.bip78.psbt import Psbt, parse, psbt_of
from payjoin_plugin.errors import WalletError
from payjoin_plugin.wallet.chain import ChainLookUp
from payjoin_plugin.wallet.receiving import ElectrumReceiverWallet, Locked
from payjoin_plugin.wallet.storage import WalletStore
from tests.wallet.receivers import Book, Limits, Receiver, make_receiver
from tests.wallet.wallets import PASSWORD, imported_keys, make_wallet, plugin_storage, run


def proposal_of(folder: Path, sender: Abstract_Wallet, **details: Any) -> tuple[Receiver, Psbt, tuple[str, ...]]:
    receiver = make_receiver(folder, **details)
    unsigned, outpoints = receiver.proposal(receiver.original(sender))
    return receiver, unsigned, outpoints


def test_a_locked_wallet_does_not_sign(tmp_path: Path, sender: Abstract_Wallet) -> None:
    receiver, unsigned, outpoints = proposal_of(tmp_path, sender, password=PASSWORD)
    assert receiver.receiver_wallet.locked()
    with pytest.raises(Locked, match="is locked"):
        run(receiver.receiver_wallet.sign(unsigned, outpoints, password=None))


def test_a_password_signs_once(tmp_path: Path, sender: Abstract_Wallet) -> None:
    receiver, unsigned, outpoints = proposal_of(tmp_path, sender, password=PASSWORD)
    assert parse(run(receiver.receiver_wallet.sign(unsigned, outpoints, password=PASSWORD))).inputs()[0].is_complete()
    assert receiver.receiver_wallet.locked()
    with pytest.raises(Locked, match="is locked"):
        run(receiver.receiver_wallet.sign(unsigned, outpoints, password=None))


def test_a_wrong_password_does_not_sign(tmp_path: Path, sender: Abstract_Wallet) -> None:
    receiver, unsigned, outpoints = proposal_of(tmp_path, sender, password=PASSWORD)
    with pytest.raises(Locked, match="wrong"):
        run(receiver.receiver_wallet.sign(unsigned, outpoints, password="battery staple"))


def test_an_unlocked_wallet_signs_by_itself(tmp_path: Path, sender: Abstract_Wallet) -> None:
    receiver, unsigned, outpoints = proposal_of(tmp_path, sender, password=PASSWORD)
    receiver.wallet.unlock(PASSWORD)
    assert not receiver.receiver_wallet.locked()
    assert parse(run(receiver.receiver_wallet.sign(unsigned, outpoints, password=None))).inputs()[0].is_complete()


def test_a_wallet_whose_file_alone_is_encrypted_is_not_locked(tmp_path: Path) -> None:
    wallet = make_wallet(
        tmp_path, text=imported_keys("x", "p2wpkh"), password=PASSWORD, encrypt_file=True, on_disk=True
    )
    assert ElectrumReceiverWallet(
        wallet,
        store=WalletStore(wallet, plugin_storage(wallet)),
        chain=ChainLookUp(wallet),
        settings=Limits(),
        coin_book=Book(),
    ).locked() is bool(wallet.has_keystore_encryption())


def test_an_open_wallet_is_never_locked(receiver: Receiver) -> None:
    assert not receiver.receiver_wallet.locked()


def test_a_coin_of_ours_that_the_sender_slipped_in_is_not_signed_for(tmp_path: Path, sender: Abstract_Wallet) -> None:
    receiver = make_receiver(tmp_path, 50_000, 60_000)
    unsigned, outpoints = receiver.proposal(receiver.original(sender))
    (other,) = [coin for coin in receiver.wallet.get_utxos() if coin.prevout.to_str() not in outpoints]
    tx = parse(unsigned)
    bare = PartialTxInput(prevout=other.prevout)
    bare.witness_utxo = tx.inputs()[1].witness_utxo or tx.inputs()[1].utxo.outputs()[0]
    tx._inputs.append(bare)
    tx.invalidate_ser_cache()
    with pytest.raises(WalletError, match="other coins"):
        run(receiver.receiver_wallet.sign(psbt_of(tx.serialize_as_bytes(force_psbt=True)), outpoints, password=None))


def test_a_strangers_coin_that_claims_to_be_ours_is_not_signed_for(receiver: Receiver, sender: Abstract_Wallet) -> None:
    unsigned, outpoints = receiver.proposal(receiver.original(sender))
    tx = parse(unsigned)
    stranger = PartialTxInput(prevout=tx.inputs()[1].prevout)
    stranger.witness_utxo = TxOutput.from_address_and_value(receiver.wallet.get_receiving_addresses()[2], 1_000)
    tx._inputs[1] = stranger
    tx.invalidate_ser_cache()
    with pytest.raises(WalletError, match="other coins"):
        run(receiver.receiver_wallet.sign(psbt_of(tx.serialize_as_bytes(force_psbt=True)), outpoints, password=None))


def test_a_coin_that_is_not_ours_cannot_be_asked_for(receiver: Receiver, sender: Abstract_Wallet) -> None:
    unsigned, outpoints = receiver.proposal(receiver.original(sender))
    theirs = tuple(txin.prevout.to_str() for txin in parse(unsigned).inputs() if txin.prevout.to_str() not in outpoints)
    with pytest.raises(WalletError):
        run(receiver.receiver_wallet.sign(unsigned, theirs, password=None))


def test_what_electrum_refuses_to_sign_is_said_in_its_words(receiver: Receiver, sender: Abstract_Wallet) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise UserFacingException("no, thanks")

    unsigned, outpoints = receiver.proposal(receiver.original(sender))
    receiver.wallet.sign_transaction = refuse
    with pytest.raises(WalletError, match="no, thanks"):
        run(receiver.receiver_wallet.sign(unsigned, outpoints, password=None))


def test_a_wallet_that_became_watch_only_does_not_sign(receiver: Receiver, sender: Abstract_Wallet) -> None:
    unsigned, outpoints = receiver.proposal(receiver.original(sender))
    receiver.wallet.is_watching_only = lambda: True
    with pytest.raises(WalletError, match="watch-only"):
        run(receiver.receiver_wallet.sign(unsigned, outpoints, password=None))


def test_our_coin_may_be_reserved_while_it_is_signed_for(receiver: Receiver, sender: Abstract_Wallet) -> None:
    unsigned, outpoints = receiver.proposal(receiver.original(sender))
    receiver.wallet.set_frozen_state_of_coins(outpoints, freeze=True)
    assert parse(run(receiver.receiver_wallet.sign(unsigned, outpoints, password=None))).inputs()[0].is_complete()
