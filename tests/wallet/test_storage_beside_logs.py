"""What the wallet file holds for payjoin beside the session logs."""

from __future__ import annotations

from pathlib import Path

import pytest
from electrum.wallet import Abstract_Wallet

from payjoin_plugin.wallet.kept import ORIGINALS_KEY
from payjoin_plugin.wallet.storage import SEEN_KEPT, WalletStore
from tests.wallet.wallets import (
    dumped_and_reloaded,
    keep,
    make_wallet,
    plugin_storage,
    reopen,
    run,
    store_of,
)

# Requests without a session


def test_waiting_requests_survive_a_reload_until_they_are_dropped(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.set_waiting("r1", 100)
    store.set_waiting("r2", 200)
    store.drop_waiting("r1")
    assert store_of(dumped_and_reloaded(wallet)).waiting_requests() == {"r2": 200}


def test_a_declined_request_stays_declined(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.decline("r1")
    again = store_of(dumped_and_reloaded(wallet))
    assert again.is_declined("r1")
    assert not again.is_declined("r2")


def test_a_deleted_request_leaves_no_mark(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.set_waiting("r1", 100)
    store.decline("r1")
    store.forget_request("r1")
    again = store_of(dumped_and_reloaded(wallet))
    assert again.waiting_requests() == {}
    assert not again.is_declined("r1")


# Against probing


def test_an_input_counts_as_seen_before_in_other_sessions_only(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.mark_seen(["a:0", "b:1"], "s1")
    for some in (store, store_of(dumped_and_reloaded(wallet))):
        assert some.seen_before("a:0", "s2")
        assert not some.seen_before("a:0", "s1")
        assert not some.seen_before("c:0", "s2")


def test_marking_again_changes_nothing(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.mark_seen(["a:0"], "s1")
    before = wallet.db.dump()
    store.mark_seen(["a:0"], "s1")
    store.mark_seen(["a:0"], "s2")
    assert wallet.db.dump() == before


def test_the_newest_four_thousand_inputs_are_remembered(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.mark_seen([f"{number:064x}:0" for number in range(SEEN_KEPT)], "s1")
    store.mark_seen(["new:0", "new:1"], "s2")
    for some in (store, store_of(dumped_and_reloaded(wallet))):
        forgotten = [number for number in range(SEEN_KEPT) if not some.seen_before(f"{number:064x}:0", "s3")]
        assert forgotten == [0, 1]
        assert some.seen_before("new:1", "s3")


def test_the_oldest_are_forgotten_first_after_a_reload_too(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.mark_seen([f"{SEEN_KEPT - number:064x}:0" for number in range(SEEN_KEPT)], "s1")  # not in alphabetical order
    again = store_of(dumped_and_reloaded(wallet))
    again.mark_seen(["new:0"], "s2")
    assert not again.seen_before(f"{SEEN_KEPT:064x}:0", "s3")
    assert again.seen_before(f"{1:064x}:0", "s3")


def test_exposed_coins_are_remembered_and_bounded(wallet: Abstract_Wallet, store: WalletStore) -> None:
    store.mark_exposed(["a:0", "a:0", "b:0"])
    assert store_of(dumped_and_reloaded(wallet)).exposed() == {"a:0", "b:0"}
    store.mark_exposed([f"{number}:0" for number in range(SEEN_KEPT)])
    assert len(store.exposed()) == SEEN_KEPT
    assert "a:0" not in store.exposed()


def test_the_coin_secret_is_made_once(wallet: Abstract_Wallet, store: WalletStore) -> None:
    secret = store.coin_secret()
    assert len(secret) == 32
    assert store.coin_secret() == secret
    assert store_of(dumped_and_reloaded(wallet)).coin_secret() == secret


def test_each_wallet_has_its_own_coin_secret(tmp_path: Path, store: WalletStore) -> None:
    assert store_of(make_wallet(tmp_path, "other")).coin_secret() != store.coin_secret()


# OHTTP keys


def test_directory_keys_ride_on_electrums_next_save(wallet: Abstract_Wallet, store: WalletStore) -> None:
    keys = {"https://payjo.in": {"keys": "01ab", "fetched_at": 5}}
    store.set_directory_keys(keys)
    run(store.flush())
    assert store.saves == 0
    wallet.save_db()
    assert store_of(reopen(wallet)).directory_keys() == keys


# Originals


def txids(store: WalletStore) -> list[str]:
    return [original.txid for original in store.kept.all()]


def test_an_original_stands_at_the_top_of_the_file_and_outlives_the_plugins_data(
    wallet: Abstract_Wallet, store: WalletStore
) -> None:
    keep(store, label="Two coffees")
    wallet.db.prune_uninstalled_plugin_data(set())
    wallet.save_db()
    again = reopen(wallet)
    assert again.db.get_plugin_storage() == {}
    assert again.db.get(ORIGINALS_KEY)["aa" * 32] == {
        "tx": "0200",
        "session_id": "s1",
        "request_id": "r1",
        "address": "a",
        "amount_sat": 20_000,
        "since_height": 9,
        "label": "Two coffees",
        "at": 7,
    }
    (original,) = store_of(again).kept.all()
    assert (original.tx, original.session_id, original.label, original.at) == ("0200", "s1", "Two coffees", 7)


def test_an_original_that_several_sessions_hold_has_a_mark_of_each_ones_abort(
    wallet: Abstract_Wallet, store: WalletStore
) -> None:
    def holds(store: WalletStore) -> list[tuple[str, str, bool]]:
        return [(one.session_id, one.request_id, one.aborted) for one in store.kept.all()]

    keep(store, label="tea")
    store.kept.mark_aborted("aa" * 32, "s1")
    keep(store, session_id="s2", request_id="r2", label="coffee", at=8)
    assert holds(store_of(dumped_and_reloaded(wallet))) == [("s1", "r1", True), ("s2", "r2", False)]
    store.kept.mark_aborted("aa" * 32, "s2")
    store.kept.mark_aborted("aa" * 32, "s3")
    store.kept.mark_handed_over("aa" * 32, is_so=True, named="drinks")
    again = store_of(dumped_and_reloaded(wallet))
    assert holds(again) == [("s1", "r1", True), ("s2", "r2", True)]
    assert {(one.tx, one.handed_over, one.named) for one in again.kept.all()} == {("0200", True, "drinks")}
    store.kept.drop("aa" * 32)
    assert store.kept.all() == []


def test_an_original_is_kept_where_what_it_is_kept_for_besides_is_damaged(
    wallet: Abstract_Wallet, store: WalletStore
) -> None:
    keep(store)
    entry = wallet.db.get_dict(ORIGINALS_KEY)["aa" * 32]
    entry["also"], entry["tx"] = ["nonsense"], "00"
    keep(store, session_id="s2", request_id="r2")
    assert [(one.session_id, one.request_id, one.tx) for one in store_of(dumped_and_reloaded(wallet)).kept.all()] == [
        ("s1", "r1", "0200"),
        ("s2", "r2", "0200"),
    ]


@pytest.mark.parametrize("coin", [5, "nonsense", "a:b:c"])
def test_a_coin_that_is_none_is_left_out(wallet: Abstract_Wallet, store: WalletStore, coin: object) -> None:
    keep(store)
    store.kept.mark_contributed("aa" * 32, "s1", ["bb:0"])
    wallet.db.get_dict(ORIGINALS_KEY)["aa" * 32]["contributed"].append(coin)
    assert [one.contributed for one in store.kept.all()] == [("bb:0",)]


def test_an_original_that_is_kept_again_by_its_own_session_stands_once(store: WalletStore) -> None:
    for label in ("tea", "coffee"):
        keep(store, label=label)
    assert [one.label for one in store.kept.all()] == ["coffee"]


def test_what_an_original_is_kept_for_besides_is_left_out_where_it_is_damaged(
    wallet: Abstract_Wallet, store: WalletStore
) -> None:
    keep(store)
    for damage in ("nonsense", {"s2": "nonsense"}, {"s2": {"session_id": 5}}):
        wallet.db.get_dict(ORIGINALS_KEY)["aa" * 32]["also"] = damage
        assert [one.session_id for one in store.kept.all()] == ["s1"]


def test_a_dropped_original_is_gone(wallet: Abstract_Wallet, store: WalletStore) -> None:
    for txid in ("aa" * 32, "bb" * 32):
        keep(store, txid)
    store.kept.drop("aa" * 32)
    assert txids(store_of(dumped_and_reloaded(wallet))) == ["bb" * 32]


def test_an_original_that_cannot_be_read_is_left_in_the_file(wallet: Abstract_Wallet, store: WalletStore) -> None:
    wallet.db.get_dict(ORIGINALS_KEY)["cc" * 32] = {"tx": 5}
    keep(store)
    assert txids(store) == ["aa" * 32]
    assert dumped_and_reloaded(wallet).db.get(ORIGINALS_KEY)["cc" * 32] == {"tx": 5}


def test_originals_can_be_read_where_the_sessions_cannot(wallet: Abstract_Wallet, store: WalletStore) -> None:
    keep(store)
    plugin_storage(wallet)["version"] = 9
    assert txids(store_of(wallet)) == ["aa" * 32]
