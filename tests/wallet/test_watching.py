from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from electrum import util
from electrum.invoices import Request
from electrum.transaction import PartialTransaction
from electrum.wallet import Abstract_Wallet

from payjoin_plugin.wallet.watching import (
    ChainWatcher,
    arrived_sat,
    confirmations,
    received_sat,
    request_paid,
    seen_for,
)
from tests.wallet.wallets import (
    HEIGHT,
    foreign_outpoint,
    fund,
    make_wallet,
    outpoint,
    see_confirmed,
    see_in_mempool,
    settle,
    transaction,
)

THEIR_COIN = foreign_outpoint("the sender's")
ELSEWHERE = bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6")


@pytest.fixture
def wallet(tmp_path: Path) -> Abstract_Wallet:
    return make_wallet(tmp_path)


@pytest.fixture
def address(wallet: Abstract_Wallet) -> str:
    first: str = wallet.get_receiving_addresses()[0]
    return first


def request_of(wallet: Abstract_Wallet, address: str, amount_sat: int | None = 20_000) -> Any:
    return wallet.get_request(wallet.create_request(amount_sat, "coffee", 3600, address))


# What is seen


def test_what_pays_the_address_is_seen(wallet: Abstract_Wallet, address: str) -> None:
    tx = transaction([THEIR_COIN], [(address, 20_000)])
    see_in_mempool(wallet, tx)
    (seen,) = seen_for(wallet, address=address, outpoints=[])
    assert (seen.txid, seen.raw.hex(), seen.confirmed, seen.pays_request) == (tx.txid(), tx.serialize(), False, True)


def test_what_spends_a_watched_coin_is_seen_though_it_pays_another_address(
    wallet: Abstract_Wallet, address: str
) -> None:
    tx = transaction([THEIR_COIN], [(wallet.get_receiving_addresses()[1], 20_000)])
    see_in_mempool(wallet, tx)
    (seen,) = seen_for(wallet, address=address, outpoints=[THEIR_COIN])
    assert (seen.txid, seen.pays_request) == (tx.txid(), False)


def test_a_transaction_that_does_both_is_seen_once(wallet: Abstract_Wallet, address: str) -> None:
    see_in_mempool(wallet, transaction([THEIR_COIN], [(address, 20_000)]))
    assert len(seen_for(wallet, address=address, outpoints=[THEIR_COIN])) == 1


def test_one_with_an_unconfirmed_parent_is_seen(wallet: Abstract_Wallet, address: str) -> None:
    see_in_mempool(wallet, transaction([THEIR_COIN], [(address, 20_000)]), height=-1)
    assert len(seen_for(wallet, address=address, outpoints=[])) == 1


def test_a_confirmed_one_says_so(wallet: Abstract_Wallet, address: str) -> None:
    see_confirmed(wallet, transaction([THEIR_COIN], [(address, 20_000)]))
    (seen,) = seen_for(wallet, address=address, outpoints=[])
    assert seen.confirmed


def test_a_block_without_its_proof_confirms_nothing(wallet: Abstract_Wallet, address: str) -> None:
    see_in_mempool(wallet, transaction([THEIR_COIN], [(address, 20_000)]), height=150)  # mined, says the server
    (seen,) = seen_for(wallet, address=address, outpoints=[])
    assert not seen.confirmed


def test_a_local_transaction_is_not_seen(wallet: Abstract_Wallet, address: str) -> None:
    tx = transaction([THEIR_COIN], [(address, 20_000)])
    wallet.adb.add_transaction(tx)
    assert wallet.db.get_spent_outpoint(*THEIR_COIN.split(":")) == tx.txid()
    assert seen_for(wallet, address=address, outpoints=[THEIR_COIN]) == []


def test_a_partial_transaction_is_not_seen(wallet: Abstract_Wallet, address: str) -> None:
    tx = transaction([THEIR_COIN], [(address, 20_000)])
    partial = PartialTransaction.from_tx(tx)
    partial.inputs()[0].script_sig = b""
    partial.inputs()[0].witness_utxo = tx.outputs()[0]
    wallet.adb.receive_tx_callback(partial, tx_height=0)
    assert isinstance(wallet.db.get_transaction(tx.txid()), PartialTransaction)
    assert seen_for(wallet, address=address, outpoints=[THEIR_COIN]) == []


def test_what_is_older_than_the_request_is_left_out(wallet: Abstract_Wallet, address: str) -> None:
    see_confirmed(wallet, transaction([foreign_outpoint("old")], [(address, 20_000)]), height=150)
    new = transaction([THEIR_COIN], [(address, 20_000)])
    see_confirmed(wallet, new, height=151)
    (seen,) = seen_for(wallet, address=address, outpoints=[], since_height=150)
    assert seen.txid == new.txid()


def test_a_replaced_transaction_is_not_seen_any_more(wallet: Abstract_Wallet, address: str) -> None:
    see_in_mempool(wallet, transaction([THEIR_COIN], [(address, 20_000)]))
    payjoin = transaction([THEIR_COIN], [(address, 70_000)])
    see_in_mempool(wallet, payjoin)
    (seen,) = seen_for(wallet, address=address, outpoints=[THEIR_COIN])
    assert seen.txid == payjoin.txid()


def test_nothing_is_seen_of_a_coin_that_nobody_spent(wallet: Abstract_Wallet, address: str) -> None:
    assert seen_for(wallet, address=address, outpoints=[THEIR_COIN]) == []


# Whether the request is paid


@pytest.mark.parametrize(
    ("values", "paid"), [([], False), ([19_999], False), ([20_000], True), ([12_000, 8_000], True)]
)
def test_a_request_is_paid_by_the_sum_of_what_is_seen(
    wallet: Abstract_Wallet,
    address: str,
    values: list[int],
    *,
    paid: bool,
) -> None:
    request = request_of(wallet, address)
    for number, value in enumerate(values):
        see_in_mempool(wallet, transaction([foreign_outpoint(f"payment {number}")], [(address, value)]))
    assert request_paid(wallet, request) is paid
    assert wallet.get_invoice_status(request) == (7 if paid else 0)  # as Electrum says: unconfirmed, unpaid


def test_a_local_transaction_pays_nothing_whatever_electrum_says(wallet: Abstract_Wallet, address: str) -> None:
    request = request_of(wallet, address)
    wallet.adb.add_transaction(transaction([THEIR_COIN], [(address, 20_000)]))
    assert wallet.get_invoice_status(request) == 7
    assert not request_paid(wallet, request)


def test_an_older_payment_to_the_same_address_does_not_pay_the_request(wallet: Abstract_Wallet, address: str) -> None:
    see_confirmed(wallet, transaction([THEIR_COIN], [(address, 20_000)]), height=HEIGHT)
    request = request_of(wallet, address)
    assert request.height == HEIGHT
    assert not request_paid(wallet, request)


def test_a_request_without_an_amount_is_paid_by_anything_and_only_then(wallet: Abstract_Wallet, address: str) -> None:
    request = request_of(wallet, address, None)
    assert not request_paid(wallet, request)
    see_in_mempool(wallet, transaction([THEIR_COIN], [(address, 1_000)]))
    assert request_paid(wallet, request)


def test_a_lightning_request_is_not_paid_on_chain(wallet: Abstract_Wallet) -> None:
    request = Request(outputs=[], message="", time=1, amount_msat=1_000, exp=60, height=0, payment_hash=b"\x01" * 32)
    assert not request_paid(wallet, request)


def nobody_asks(_tx: object, _coins: object) -> str | None:
    """For what pays one address of ours."""
    raise AssertionError("it was asked where a coin came back to")


def test_a_payjoin_counts_as_what_it_brings_less_our_coin(wallet: Abstract_Wallet, address: str) -> None:
    (ours,) = fund(wallet, 50_000, address=wallet.get_receiving_addresses()[1])
    payjoin = transaction([THEIR_COIN, ours], [(address, 69_900), (ELSEWHERE, 4_000)])
    wallet.adb.verify_txins = None  # made-up signatures
    see_in_mempool(wallet, payjoin)
    assert received_sat(wallet, address, came_back_to=nobody_asks) == 19_900
    assert arrived_sat(wallet, address) == 69_900


def test_of_several_addresses_the_one_that_gave_the_coin_has_it_back(wallet: Abstract_Wallet, address: str) -> None:
    (ours,) = fund(wallet, 50_000, address=wallet.get_receiving_addresses()[1])
    other = wallet.get_receiving_addresses()[2]
    wallet.adb.verify_txins = None  # made-up signatures
    see_in_mempool(wallet, transaction([THEIR_COIN, ours], [(address, 69_900), (other, 4_000)]))
    assert received_sat(wallet, address, came_back_to=lambda _tx, _coins: other) == 69_900
    assert received_sat(wallet, address, came_back_to=lambda _tx, _coins: address) == 19_900
    assert received_sat(wallet, address, came_back_to=lambda _tx, _coins: None) == 19_900
    assert received_sat(wallet, other, came_back_to=lambda _tx, _coins: None) == 4_000


def test_what_the_wallet_pays_itself_is_not_received(wallet: Abstract_Wallet, address: str) -> None:
    (ours,) = fund(wallet, 50_000, address=wallet.get_receiving_addresses()[1])
    wallet.adb.verify_txins = None  # made-up signatures
    see_in_mempool(wallet, transaction([ours], [(address, 49_000)]))
    assert received_sat(wallet, address, came_back_to=nobody_asks) == arrived_sat(wallet, address) == 0


def test_nothing_seen_nothing_received(wallet: Abstract_Wallet, address: str) -> None:
    wallet.adb.add_transaction(transaction([THEIR_COIN], [(address, 20_000)]))
    assert received_sat(wallet, address, came_back_to=nobody_asks) == 0


# How deep


def test_confirmations_are_those_of_blocks_with_a_proof(wallet: Abstract_Wallet, address: str) -> None:
    txids = [
        see_confirmed(wallet, transaction([foreign_outpoint("a")], [(address, 1_000)]), height=150),
        see_in_mempool(wallet, transaction([foreign_outpoint("b")], [(address, 1_000)])),
        see_in_mempool(wallet, transaction([foreign_outpoint("c")], [(address, 1_000)]), height=-1),
        see_in_mempool(wallet, transaction([foreign_outpoint("d")], [(address, 1_000)]), height=150),
    ]
    local = transaction([foreign_outpoint("e")], [(address, 1_000)])
    wallet.adb.add_transaction(local)
    assert [confirmations(wallet, txid) for txid in [*txids, local.txid(), "00" * 32]] == [51, 0, 0, 0, None, None]


def test_an_address_is_read_once_for_all_looks(
    wallet: Abstract_Wallet, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_for(wallet, address=address, outpoints=())

    def read_again(_address: str) -> bytes:
        raise AssertionError("a thousand sessions are looked at whenever a transaction comes")

    monkeypatch.setattr("payjoin_plugin.wallet.watching.address_to_script", read_again)
    seen_for(wallet, address=address, outpoints=())


# Hearing of it


class Listener:
    def __init__(self, wallet: Abstract_Wallet) -> None:
        settle()
        self.calls = 0
        self.watcher = ChainWatcher(wallet, self.called)
        self.watcher.start()

    def called(self) -> None:
        self.calls += 1

    def heard(self) -> bool:
        """Whether anything was heard since the last look."""
        settle()
        calls, self.calls = self.calls, 0
        return calls > 0


@pytest.fixture
def listener(wallet: Abstract_Wallet) -> Any:
    listener = Listener(wallet)
    yield listener
    listener.watcher.stop()


def test_each_change_of_a_transaction_is_heard(wallet: Abstract_Wallet, address: str, listener: Listener) -> None:
    tx = transaction([THEIR_COIN], [(address, 20_000)])
    assert not listener.heard()
    wallet.adb.add_transaction(tx)
    assert listener.heard()
    wallet.adb.receive_history_callback(address, [(tx.txid(), 0)], {})
    assert listener.heard()  # local → mempool
    see_confirmed(wallet, tx)
    assert listener.heard()
    wallet.adb.remove_transaction(tx.txid())
    assert listener.heard()


@pytest.mark.parametrize(
    "event",
    ["adb_tx_height_changed", "adb_removed_verified_tx", "request_status", "wallet_updated", "blockchain_updated"],
)
def test_what_electrum_says_of_this_wallet_is_heard(wallet: Abstract_Wallet, listener: Listener, event: str) -> None:
    arguments = {
        "adb_tx_height_changed": (wallet.adb, "00" * 32, -2, 0),
        "adb_removed_verified_tx": (wallet.adb, "00" * 32),
        "request_status": (wallet, "aabbccddee", 3),
        "wallet_updated": (wallet,),
        "blockchain_updated": (),
    }
    util.trigger_callback(event, *arguments[event])
    assert listener.heard()


def test_other_wallets_are_not_heard(tmp_path: Path, listener: Listener) -> None:
    other = make_wallet(tmp_path, "other")
    fund(other, 50_000)
    util.trigger_callback("request_status", other, "aabbccddee", 3)
    assert not listener.heard()


def test_many_changes_of_one_turn_make_one_call(wallet: Abstract_Wallet, listener: Listener) -> None:
    loop = util.get_asyncio_loop()
    loop.call_soon_threadsafe(lambda: [util.trigger_callback("wallet_updated", wallet) for _ in range(5)])
    settle()
    assert listener.calls == 1


def test_nothing_is_heard_after_the_stop(wallet: Abstract_Wallet, listener: Listener) -> None:
    listener.watcher.stop()
    fund(wallet, 50_000)
    assert not listener.heard()


def test_a_change_that_is_due_when_it_is_stopped_is_dropped(wallet: Abstract_Wallet, listener: Listener) -> None:
    def change_and_stop() -> None:
        util.trigger_callback("wallet_updated", wallet)
        listener.watcher.stop()

    util.get_asyncio_loop().call_soon_threadsafe(change_and_stop)
    assert not listener.heard()


def test_a_spender_is_known_by_the_outpoint_even_of_a_strangers_coin(wallet: Abstract_Wallet, address: str) -> None:
    tx = transaction([THEIR_COIN], [(address, 20_000)])
    see_in_mempool(wallet, tx)
    prevout = outpoint(THEIR_COIN)
    assert wallet.db.get_spent_outpoint(prevout.txid.hex(), prevout.out_idx) == tx.txid()
