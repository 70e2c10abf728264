"""What we rely on in Electrum 4.8.3, one test each, named by the assumption.

Where one fails with a newer Electrum, the code that its section names has to be looked at. Electrum's wallet file is in
tests/wallet/test_wallet_file.py, its connections to servers are in tests/wallet/test_connection.py.
"""

from __future__ import annotations

import importlib
import inspect
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from electrum import plugin, util
from electrum.commands import Commands
from electrum.daemon import Daemon
from electrum.transaction import PartialTransaction
from electrum.util import InvalidPassword, UserFacingException
from electrum.version import ELECTRUM_VERSION
from electrum.wallet import Abstract_Wallet

from tests.wallet.wallets import (
    PASSWORD,
    dumped_and_reloaded,
    electrum_running,
    foreign_outpoint,
    fund,
    make_config,
    make_wallet,
    original_psbt,
    pay,
    reopen,
    run,
    see_in_mempool,
    transaction,
)

UNPAID, UNCONFIRMED = 0, 7
"""electrum.invoices.PR_…"""


@pytest.fixture(autouse=True, scope="module")
def _electrum_loop() -> Iterator[None]:
    with electrum_running():
        yield


@pytest.fixture
def wallet(tmp_path: Path) -> Abstract_Wallet:
    return make_wallet(tmp_path, on_disk=True)


def new_request(wallet: Abstract_Wallet, amount_sat: int = 20_000, *, exp: int = 3600) -> Any:
    address = wallet.get_unused_address()
    return wallet.get_request(wallet.create_request(amount_sat, "coffee", exp, address))


def test_this_is_the_electrum_that_the_rest_is_about() -> None:
    assert ELECTRUM_VERSION == "4.8.3"


# Requests: what wallet/seams.py stands on


def test_a_request_is_stored_and_saved_by_add_payment_request_alone(wallet: Abstract_Wallet) -> None:
    calls: list[Any] = []
    original = wallet.add_payment_request

    def noted(req: Any, **options: Any) -> Any:
        calls.append(options)
        return original(req, **options)

    wallet.add_payment_request = noted
    request = new_request(wallet)
    assert calls == [{}]
    assert reopen(wallet).get_request(request.get_id()) is not None


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        ("add_payment_request", "(self, req: electrum.invoices.Request, *, write_to_disk: bool = True)"),
        ("clear_requests", "(self)"),
        ("delete_request", "(self, request_id, *, write_to_disk: bool = True)"),
        ("get_receiving_address", "(self, *args, **kwargs)"),  # by Electrum's decorator
        ("get_request_URI", "(self, req: electrum.invoices.Request) -> Optional[str]"),
        ("get_unused_addresses", "(self) -> Sequence[str]"),
        ("is_frozen_coin", "(self, utxo: electrum.transaction.PartialTxInput) -> bool"),
        ("stop", "(self)"),
    ],
)
def test_what_is_wrapped_is_called_as_ever(method: str, signature: str) -> None:
    assert str(inspect.signature(getattr(Abstract_Wallet, method))) == signature


def test_importing_requests_writes_none_of_them_by_itself(wallet: Abstract_Wallet, tmp_path: Path) -> None:
    new_request(wallet)
    wallet.export_requests(str(tmp_path / "requests"))
    other, calls = make_wallet(tmp_path, "other"), []
    other.add_payment_request = lambda _req, **options: calls.append(options)
    other.import_requests(str(tmp_path / "requests"))
    assert calls == [{"write_to_disk": False}]


def test_the_same_address_and_amount_within_a_second_is_the_same_request(wallet: Abstract_Wallet) -> None:
    one, two = new_request(wallet), new_request(wallet)
    other = type(one)(**{**one.to_json(), "outputs": one.outputs})
    assert other.get_id() == one.get_id() != two.get_id()


def test_the_uri_in_electrums_json_is_what_the_wallet_says(wallet: Abstract_Wallet) -> None:
    request = new_request(wallet)
    wallet.get_request_URI = lambda _req: "bitcoin:ours"
    assert wallet.export_request(request)["URI"] == "bitcoin:ours"


def test_a_request_without_amount_and_message_has_no_uri(wallet: Abstract_Wallet) -> None:
    request = wallet.get_request(wallet.create_request(None, "", 3600, wallet.get_unused_address()))
    assert wallet.get_request_URI(request) is None


def test_the_json_of_a_request_passes_the_hook_of_plugins(
    wallet: Abstract_Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = new_request(wallet)
    enabled = SimpleNamespace(is_enabled=lambda: True)
    add = (enabled, lambda values, key: values.update(payjoin=key))
    monkeypatch.setitem(plugin.hooks, "wallet_export_request", [add])
    exported = wallet.export_request(request)
    assert exported["payjoin"] == request.get_id()
    assert exported["URI"].startswith("bitcoin:")


def test_two_plugins_that_answer_one_hook_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = (SimpleNamespace(is_enabled=lambda: True), lambda: True)
    monkeypatch.setitem(plugin.hooks, "anything", [answer, answer])
    with pytest.raises(AssertionError):
        plugin.run_hook("anything")


def test_deleting_in_bulk_deletes_one_by_one_and_saves_once(wallet: Abstract_Wallet) -> None:
    requests = [new_request(wallet, 20_000 + number).get_id() for number in range(2)]
    calls: list[Any] = []
    wallet.delete_request = lambda request_id, **options: calls.append((request_id, options))
    wallet.delete_requests(requests)
    assert calls == [(request_id, {"write_to_disk": False}) for request_id in requests]


def test_an_expired_requests_address_is_handed_out_again(wallet: Abstract_Wallet) -> None:
    request = new_request(wallet)
    assert wallet.get_unused_address() != request.get_address()
    request.time -= 7200
    assert wallet.get_unused_address() == request.get_address()


def test_reserving_an_address_does_not_keep_it_from_being_handed_out(wallet: Abstract_Wallet) -> None:
    address = wallet.get_unused_address()
    wallet.set_reserved_state_of_address(address, reserved=True)
    assert wallet.get_unused_address() == address


def test_get_unused_address_asks_get_unused_addresses(wallet: Abstract_Wallet) -> None:
    second = wallet.get_receiving_addresses()[1]
    wallet.get_unused_addresses = lambda: [second]
    assert wallet.get_unused_address() == second


# Coins and signatures: what wallet/receiving.py stands on


def test_spendable_coins_are_those_that_are_not_frozen_by_the_wallets_word(wallet: Abstract_Wallet) -> None:
    one, two = fund(wallet, 10_000, 20_000)
    wallet.is_frozen_coin = lambda utxo: utxo.prevout.to_str() == one
    assert [coin.prevout.to_str() for coin in wallet.get_spendable_coins()] == [two]


def test_the_users_mark_on_a_coin_is_true_false_or_none(wallet: Abstract_Wallet) -> None:
    (coin,) = fund(wallet, 10_000)
    for mark in (True, False, None):
        wallet.set_frozen_state_of_coins([coin], freeze=mark)
        assert wallet._frozen_coins.get(coin) is mark


def test_without_lightning_channels_there_is_no_reserve(wallet: Abstract_Wallet) -> None:
    assert wallet.anchor_reserve() == 0


def test_electrum_signs_every_input_that_it_can(tmp_path: Path) -> None:
    wallet = make_wallet(tmp_path)
    fund(wallet, 10_000, 20_000)
    tx = pay(wallet, wallet.get_receiving_addresses()[0], 25_000)
    for txin in tx.inputs():
        txin.witness, txin.script_sig = None, None
    wallet.sign_transaction(tx, None, ignore_warnings=True)
    assert all(txin.is_complete() for txin in tx.inputs())


def test_a_wrong_password_raises_and_a_watch_only_wallet_returns_none(tmp_path: Path) -> None:
    locked = make_wallet(tmp_path, password=PASSWORD)
    fund(locked, 10_000)
    tx = PartialTransaction.from_raw_psbt(original_psbt(pay(locked, locked.get_receiving_addresses()[1], 5_000)))
    tx.inputs()[0].witness = None
    with pytest.raises(InvalidPassword):
        locked.sign_transaction(tx, "wrong", ignore_warnings=True)
    watching = make_wallet(tmp_path, text=locked.get_receiving_addresses()[0])
    assert watching.sign_transaction(tx, None, ignore_warnings=True) is None


def test_an_unlocked_wallet_tells_its_password_until_it_is_locked(tmp_path: Path) -> None:
    wallet = make_wallet(tmp_path, password=PASSWORD)
    assert (wallet.is_unlocked(), wallet.get_unlocked_password()) == (False, None)
    wallet.unlock(PASSWORD)
    assert (wallet.is_unlocked(), wallet.get_unlocked_password()) == (True, PASSWORD)
    wallet.lock_wallet()
    assert not wallet.is_unlocked()
    assert make_wallet(tmp_path, "open").is_unlocked()


def test_the_relay_fee_is_in_satoshis_per_thousand_virtual_bytes(wallet: Abstract_Wallet) -> None:
    assert wallet.relayfee() == 1000


# The chain: what wallet/watching.py stands on


def test_a_local_transaction_counts_as_payment_for_electrum(wallet: Abstract_Wallet) -> None:
    request = new_request(wallet)
    wallet.adb.add_transaction(transaction([foreign_outpoint("x")], [(request.get_address(), 20_000)]))
    assert wallet.get_invoice_status(request) == UNCONFIRMED
    assert wallet.get_balance()[1] == 20_000


def test_a_local_transaction_of_a_strangers_coins_is_kept_in_the_file(wallet: Abstract_Wallet) -> None:
    tx = transaction([foreign_outpoint("x")], [(wallet.get_receiving_addresses()[0], 20_000)])
    wallet.adb.add_transaction(tx)
    assert dumped_and_reloaded(wallet).db.get_transaction(tx.txid()).serialize() == tx.serialize()


def test_the_spender_of_a_strangers_coin_is_known_and_forgotten_with_it(wallet: Abstract_Wallet) -> None:
    coin = foreign_outpoint("x")
    tx = transaction([coin], [(wallet.get_receiving_addresses()[0], 20_000)])
    see_in_mempool(wallet, tx)
    assert wallet.db.get_spent_outpoint(*coin.split(":")) == tx.txid()
    wallet.adb.remove_transaction(tx.txid())
    assert wallet.db.get_spent_outpoint(*coin.split(":")) is None


def test_a_replacement_throws_the_replaced_transaction_out(wallet: Abstract_Wallet) -> None:
    request = new_request(wallet)
    original = transaction([foreign_outpoint("x")], [(request.get_address(), 20_000)])
    payjoin = transaction([foreign_outpoint("x")], [(request.get_address(), 69_000)])
    see_in_mempool(wallet, original)
    see_in_mempool(wallet, payjoin)
    assert wallet.db.get_transaction(original.txid()) is None
    assert wallet.get_invoice_status(request) == UNCONFIRMED


def test_events_carry_the_address_database_or_the_wallet_first() -> None:
    assert {
        "adb_added_tx": "'adb_added_tx', self, tx_hash, tx",
        "adb_removed_tx": "'adb_removed_tx', self, tx_hash, tx",
        "adb_tx_height_changed": "'adb_tx_height_changed', self, tx_hash, old_height, tx_height",
        "adb_added_verified_tx": "'adb_added_verified_tx', self, tx_hash",
        "adb_removed_verified_tx": "'adb_removed_verified_tx', self, tx_hash",
    }.items() <= _triggers("electrum.address_synchronizer").items()
    assert {
        "request_status": "'request_status', self, request.get_id(), status",
        "wallet_updated": "'wallet_updated', self",
    }.items() <= _triggers("electrum.wallet").items()


def _triggers(module: str) -> dict[str, str]:
    """Every event that a module of Electrum's triggers, with the arguments as they stand there."""
    source = inspect.getsource(importlib.import_module(module))
    calls = re.findall(r"trigger_callback\((.*)\)", source)
    return {call.split("'")[1]: call for call in calls if call.startswith("'")}


# A wallet's life in the daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Any]:
    daemon = Daemon(make_config(tmp_path), listen_jsonrpc=False)
    yield daemon
    run(daemon.stop())


def test_loading_a_wallet_calls_one_hook_and_closing_it_only_stop(
    tmp_path: Path, daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wallet(tmp_path, "opened", on_disk=True)
    called: list[str] = []
    enabled = SimpleNamespace(is_enabled=lambda: True)
    for name in ("daemon_wallet_loaded", "load_wallet", "close_wallet"):
        monkeypatch.setitem(plugin.hooks, name, [(enabled, lambda *_, name=name: called.append(name))])
    wallet = daemon.load_wallet(str(tmp_path / "opened"), None, upgrade=True)
    assert called == ["daemon_wallet_loaded"]
    stop = wallet.stop

    async def noted() -> None:
        called.append("stop")
        await stop()

    wallet.stop = noted
    daemon.stop_wallet(str(tmp_path / "opened"))
    assert called == ["daemon_wallet_loaded", "stop"]


def test_a_wallet_that_is_open_is_loaded_again_as_the_same_object(tmp_path: Path, daemon: Any) -> None:
    make_wallet(tmp_path, "opened", on_disk=True)
    first = daemon.load_wallet(str(tmp_path / "opened"), None, upgrade=True)
    assert daemon.load_wallet(str(tmp_path / "opened"), None, upgrade=True) is first


def test_commands_find_their_wallet_by_wallet_path(tmp_path: Path, daemon: Any) -> None:
    make_wallet(tmp_path, "opened", on_disk=True)
    daemon.load_wallet(str(tmp_path / "opened"), None, upgrade=True)
    commands = Commands(config=daemon.config, daemon=daemon)
    assert len(run(commands.listaddresses(wallet_path=str(tmp_path / "opened")))) > 0
    with pytest.raises(UserFacingException, match="not loaded"):
        run(commands.listaddresses(wallet_path=str(tmp_path / "closed")))


def test_callbacks_run_on_the_event_loop() -> None:
    thread: list[int] = []
    done = threading.Event()

    def callback(*_: object) -> None:
        thread.append(threading.get_ident())
        done.set()

    util.register_callback(callback, ["payjoin_test"])
    util.trigger_callback("payjoin_test")
    assert done.wait(10)
    util.unregister_callback(callback)

    async def loops_thread() -> int:
        return threading.get_ident()

    assert thread == [run(loops_thread())]
