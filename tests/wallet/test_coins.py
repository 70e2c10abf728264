"""Which of our coins may be added, and what that may cost."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from electrum.bitcoin import serialize_privkey
from electrum.transaction import PartialTxInput
from electrum.wallet import Abstract_Wallet

from payjoin_plugin.bip78.contribution import INPUT_WEIGHTS, Coin
from payjoin_plugin.bip78.psbt import parse, spent_output
from payjoin_plugin.wallet.receiving import spendable_coins, why_not
from tests.wallet.receivers import AMOUNT, Receiver, make_receiver
from tests.wallet.servers import HEIGHT
from tests.wallet.wallets import (
    SCRIPT_TYPES,
    foreign_outpoint,
    fund,
    make_wallet,
    pay,
    plugin_storage,
    run,
    see_confirmed,
    see_in_mempool,
    transaction,
)

# Our coins


def outpoints_of(coins: Any) -> list[str]:
    return [coin.outpoint for coin in coins]


def test_only_confirmed_free_coins_are_offered(receiver: Receiver) -> None:
    wallet = receiver.wallet
    (good,) = outpoints_of(receiver.receiver_wallet.coins())
    fund(wallet, 60_000, height=None, label="unconfirmed")
    local = transaction([foreign_outpoint("local")], [(wallet.get_receiving_addresses()[1], 60_000)])
    wallet.adb.add_transaction(local)
    frozen, reserved = fund(wallet, 60_000, 60_000, label="more")
    wallet.set_frozen_state_of_coins([frozen], freeze=True)
    receiver.book.reserved = {reserved}
    (frozen_address,) = fund(wallet, 60_000, address=wallet.get_receiving_addresses()[3], label="address")
    wallet.set_frozen_state_of_addresses([wallet.get_receiving_addresses()[3]], freeze=True)
    (other,) = fund(wallet, 60_000, label="two free ones, since one is reserved")
    assert set(outpoints_of(receiver.receiver_wallet.coins())) == {good, other}
    assert frozen_address not in outpoints_of(receiver.receiver_wallet.coins())


@pytest.mark.parametrize(("coins", "most"), [(1, 1), (2, 1), (3, 2), (6, 3), (7, 4)])
def test_open_proposals_have_at_most_half_of_the_coins(tmp_path: Path, coins: int, most: int) -> None:
    receiver = Receiver(make_wallet(tmp_path, "few"))
    fund(receiver.wallet, *(50_000 + number for number in range(coins)))
    for _ in range(most):
        receiver.book.reserved.add(outpoints_of(receiver.receiver_wallet.coins())[0])
    assert receiver.receiver_wallet.coins() == []


def test_a_reserved_coin_that_went_elsewhere_takes_no_others_place(receiver: Receiver, sender: Abstract_Wallet) -> None:
    wallet, (gone,) = receiver.wallet, outpoints_of(receiver.receiver_wallet.coins())
    (free,) = fund(wallet, 60_000, label="free")
    receiver.book.reserved = {gone}
    assert receiver.receiver_wallet.coins() == []
    see_confirmed(wallet, pay(wallet, sender.get_receiving_addresses()[0], 5_000, coins=[gone]), height=180)
    assert free in outpoints_of(receiver.receiver_wallet.coins())


def test_a_reserved_coin_is_not_offered_even_when_the_user_unfroze_it(receiver: Receiver) -> None:
    (coin,) = outpoints_of(receiver.receiver_wallet.coins())
    receiver.book.reserved = {coin}
    receiver.wallet.set_frozen_state_of_coins([coin], freeze=False)
    assert receiver.receiver_wallet.coins() == []


def test_a_young_coinbase_is_not_offered(tmp_path: Path) -> None:
    receiver = make_receiver(tmp_path)
    coinbase = transaction([f"{'00' * 32}:{0xFFFFFFFF}"], [(receiver.wallet.get_receiving_addresses()[1], 60_000)])
    see_confirmed(receiver.wallet, coinbase, height=HEIGHT - 50)
    assert f"{coinbase.txid()}:0" not in outpoints_of(receiver.receiver_wallet.coins())


def test_the_order_is_the_same_each_time_and_after_a_restart(tmp_path: Path) -> None:
    receiver = make_receiver(tmp_path, *range(50_000, 50_020))
    first = outpoints_of(receiver.receiver_wallet.coins())
    assert outpoints_of(receiver.receiver_wallet.coins()) == first
    assert outpoints_of(Receiver(receiver.wallet).receiver_wallet.coins()) == first
    assert len(first) == 20


def test_the_order_tells_an_outsider_nothing(tmp_path: Path) -> None:
    receiver = make_receiver(tmp_path, *range(50_000, 50_020))
    coins = receiver.receiver_wallet.coins()
    by_value = sorted(coins, key=lambda coin: coin.value_sat)
    assert coins not in (by_value, by_value[::-1])
    del receiver.store._storage["coin_secret"]
    assert receiver.receiver_wallet.coins() != coins


def test_a_wallet_without_coins_gets_no_secret(tmp_path: Path) -> None:
    receiver = Receiver(make_wallet(tmp_path))
    assert receiver.receiver_wallet.coins() == []
    assert "coin_secret" not in plugin_storage(receiver.wallet)


@pytest.mark.parametrize("script_type", SCRIPT_TYPES)
def test_a_coin_says_all_that_a_contribution_needs(tmp_path: Path, script_type: str) -> None:
    receiver = make_receiver(tmp_path, script_type=script_type)
    (coin,) = receiver.receiver_wallet.coins()
    assert coin.value_sat == 50_000
    assert coin.weight == INPUT_WEIGHTS[script_type]
    assert coin.script_pubkey == receiver.receiver_wallet.script_of(receiver.wallet.get_receiving_addresses()[-1])
    spent = spent_output(coin.txin)
    assert spent is not None
    assert spent.value == 50_000
    assert (coin.txin.utxo is not None) is (script_type == "p2pkh")  # BIP 174 wants the whole transaction there


def test_the_weight_holds_for_the_signed_input(tmp_path: Path, sender: Abstract_Wallet) -> None:
    for script_type in SCRIPT_TYPES:
        receiver = make_receiver(tmp_path, script_type=script_type)
        original = receiver.original(sender)
        (coin,) = receiver.receiver_wallet.coins()
        unsigned, outpoints = receiver.proposal(original)
        ours = parse(run(receiver.receiver_wallet.sign(unsigned, outpoints, password=None))).inputs()[0]
        assert 0 <= coin.weight - signed_weight(ours) <= 12  # a signature is at most three bytes shorter


def signed_weight(txin: PartialTxInput) -> int:
    size = len(txin.serialize_to_network(script_sig=txin.script_sig or b""))
    return 4 * size + len(txin.witness or b"")


def test_a_key_of_the_old_uncompressed_form_weighs_more(tmp_path: Path, sender: Abstract_Wallet) -> None:
    secret = hashlib.sha256(b"old").digest()
    wallet = make_wallet(tmp_path, text=serialize_privkey(secret, False, "p2pkh"))  # noqa: FBT003  Electrum's own
    fund(wallet, 50_000, address=wallet.get_receiving_addresses()[0])
    receiver = Receiver(wallet)
    original = receiver.original(sender)
    (coin,) = receiver.receiver_wallet.coins()
    assert coin.weight > INPUT_WEIGHTS["p2pkh"] + 100
    unsigned, outpoints = receiver.proposal(original)
    ours = parse(run(receiver.receiver_wallet.sign(unsigned, outpoints, password=None))).inputs()[0]
    assert 0 <= coin.weight - signed_weight(ours) <= 12


def test_lightnings_reserve_stays_in_other_coins(tmp_path: Path) -> None:
    receiver = make_receiver(tmp_path, 9_000, 50_000, 60_000)
    receiver.wallet.anchor_reserve = lambda: 60_000
    assert sorted(coin.value_sat for coin in receiver.receiver_wallet.coins()) == [9_000, 50_000]
    receiver.wallet.anchor_reserve = lambda: 200_000
    assert receiver.receiver_wallet.coins() == []
    assert why_not(receiver.wallet) == "This wallet has no free confirmed coin to add."


def test_exposed_coins_are_those_of_the_sessions(receiver: Receiver) -> None:
    receiver.book.exposed = frozenset({"a:0"})
    assert receiver.receiver_wallet.exposed() == {"a:0"}


def test_a_coin_in_the_mempool_alone_is_not_spendable_for_us(tmp_path: Path) -> None:
    wallet = make_wallet(tmp_path)
    see_in_mempool(wallet, transaction([foreign_outpoint("m")], [(wallet.get_receiving_addresses()[0], 60_000)]))
    assert spendable_coins(wallet) == []


def test_coins_are_equal_by_what_they_are(receiver: Receiver) -> None:
    first, second = receiver.receiver_wallet.coins(), receiver.receiver_wallet.coins()
    assert first == second
    assert all(isinstance(coin, Coin) for coin in first)


# What it may cost


@pytest.mark.parametrize(
    ("limit", "payment", "most"),
    [
        (5_000, 20_000, 5_000),
        (5_000, 500_000, 5_000),
        (5_000, 600_000, 6_000),
        (8_000, 600_000, 8_000),
        (8_000, 1_000_000, 10_000),
        (4_999, 100_000_000, 4_999),
        (0, 100_000_000, 0),
    ],
)
def test_the_limit_in_satoshis_is_the_users_or_one_per_cent_unless_it_was_lowered(
    receiver: Receiver, limit: int, payment: int, most: int
) -> None:
    receiver.limits.max_receiver_fee_sat = limit
    assert receiver.receiver_wallet.fee_limits(payment).max_sat == most


@pytest.mark.parametrize(("rate", "per_kwu"), [(1, 250), (1.5, 375), (1000, 250_000)])
def test_a_rate_that_the_user_set_is_the_limit(receiver: Receiver, rate: float, per_kwu: int) -> None:
    receiver.limits.max_receiver_fee_rate = rate
    assert receiver.receiver_wallet.fee_limits(AMOUNT).max_rate == per_kwu


@pytest.mark.parametrize(
    ("estimate", "most"), [(1_000, 10), (3_000, 10), (4_000, 12), (20_000, 60), (33_400, 100), (500_000, 100)]
)
def test_the_automatic_rate_is_three_times_the_estimate_between_10_and_100(
    receiver: Receiver, estimate: int, most: int
) -> None:
    receiver.network.fee_estimates.set_data(2, estimate)
    assert receiver.receiver_wallet.fee_limits(AMOUNT).max_rate == most * 250


def test_a_rate_set_by_hand_for_the_users_own_payments_is_no_estimate(receiver: Receiver) -> None:
    receiver.network.fee_estimates.set_data(2, 20_000)
    receiver.wallet.config.FEE_POLICY = "feerate:1000"
    assert receiver.receiver_wallet.fee_limits(AMOUNT).max_rate == 60 * 250


def test_an_estimate_by_the_mempool_counts_where_there_is_one(receiver: Receiver) -> None:
    receiver.network.fee_estimates.set_data(2, 20_000)
    receiver.wallet.config.FEE_POLICY = "mempool:1000000"
    assert receiver.receiver_wallet.fee_limits(AMOUNT).max_rate == 60 * 250
    receiver.network.mempool_fees.set_data([(9, 2_000_000)])
    assert receiver.receiver_wallet.fee_limits(AMOUNT).max_rate == 30 * 250


def test_offline_the_automatic_rate_is_the_lowest(receiver: Receiver) -> None:
    receiver.wallet.network = None
    assert receiver.receiver_wallet.fee_limits(AMOUNT).max_rate == 10 * 250


def test_the_least_rate_is_the_servers_relay_fee(receiver: Receiver) -> None:
    receiver.network.relay_fee = 3_001
    assert receiver.receiver_wallet.fee_limits(AMOUNT).min_rate == 751
