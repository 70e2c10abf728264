from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from electrum.invoices import Request
from electrum.wallet import Abstract_Wallet

from payjoin_plugin.wallet.seams import Seams
from tests.wallet.owners import WRAPPED, Owner, request
from tests.wallet.wallets import created_record, fund, make_wallet, pay, plugin_storage, reopen, run


@pytest.fixture
def _installed(seams: Seams) -> None:
    """For tests that only need the wraps to be there."""


installed = pytest.mark.usefixtures("_installed")


def sessions_on_disk(wallet: Abstract_Wallet) -> dict[str, Any]:
    sessions: dict[str, Any] = plugin_storage(reopen(wallet)).get("sessions", {})
    return sessions


# A new request


@installed
def test_request_and_session_are_stored_by_electrums_own_save(wallet: Abstract_Wallet, owner: Owner) -> None:
    request_id = request(wallet)
    assert owner.added == [request_id]
    assert reopen(wallet).get_request(request_id) is not None
    assert list(sessions_on_disk(wallet)) == [f"session of {request_id}"]
    assert owner.store.saves == 0


@installed
def test_the_owner_hears_of_a_request_before_electrum_has_it(wallet: Abstract_Wallet, owner: Owner) -> None:
    known: list[object] = []

    def request_added(request: Request, *, imported: bool) -> None:
        assert not imported
        known.append(wallet.get_request(request.get_id()))

    owner.request_added = request_added  # type: ignore[method-assign]
    request(wallet)
    assert known == [None]


@installed
def test_the_same_request_again_gets_no_second_session(wallet: Abstract_Wallet, owner: Owner) -> None:
    request_id = request(wallet)
    wallet.add_payment_request(wallet.get_request(request_id))
    assert owner.added == [request_id]


@installed
def test_imported_requests_get_no_session(wallet: Abstract_Wallet, owner: Owner, tmp_path: Path) -> None:
    other = make_wallet(tmp_path, "other")
    imported = other.get_request(request(other))
    wallet.add_payment_request(imported, write_to_disk=False)
    assert (owner.added, owner.imported) == ([], [imported.get_id()])
    assert wallet.get_request(imported.get_id()) is imported


@installed
def test_a_lightning_request_gets_no_session(wallet: Abstract_Wallet, owner: Owner) -> None:
    lightning = Request(outputs=[], message="", time=1, amount_msat=1000, exp=3600, height=0, payment_hash=b"\x01" * 32)
    wallet.add_payment_request(lightning)
    assert owner.added == []
    assert wallet.get_request_URI(lightning) is None


# The URI


@installed
def test_every_place_that_asks_the_wallet_sees_the_uri(wallet: Abstract_Wallet) -> None:
    req = wallet.get_request(request(wallet))
    uri = wallet.get_request_URI(req)
    assert uri.endswith(f"&pj=HTTPS://PAYJO.IN/{req.get_id()}")
    assert wallet.export_request(req)["URI"] == uri
    assert wallet.get_formatted_request(req.get_id())["URI"] == uri


@installed
def test_a_request_without_a_uri_still_has_none(wallet: Abstract_Wallet) -> None:
    req = wallet.get_request(wallet.create_request(None, "", 3600, wallet.get_unused_address()))
    assert wallet.get_request_URI(req) is None


# A deleted request


@installed
def test_request_and_session_end_in_the_same_write(wallet: Abstract_Wallet, owner: Owner) -> None:
    request_id = request(wallet)
    wallet.delete_request(request_id)
    assert owner.deleted == [request_id]
    assert reopen(wallet).get_request(request_id) is None
    events = sessions_on_disk(wallet)[f"session of {request_id}"]["events"]
    assert events[-1]["outcome"] == "abort"
    assert owner.store.saves == 0


@installed
def test_requests_deleted_in_bulk_end_their_sessions_in_one_write(wallet: Abstract_Wallet, owner: Owner) -> None:
    request_ids = [request(wallet, 20_000 + number) for number in range(3)]
    wallet.delete_requests(request_ids)
    assert owner.deleted == request_ids
    assert all(log["events"][-1]["event"] == "closed" for log in sessions_on_disk(wallet).values())


@installed
def test_expired_requests_that_are_swept_end_their_sessions(wallet: Abstract_Wallet, owner: Owner) -> None:
    request_id = request(wallet)
    wallet.get_request(request_id).time -= 7200
    assert wallet.delete_expired_requests() == [request_id]
    assert owner.deleted == [request_id]


@installed
def test_requests_that_are_cleared_all_at_once_end_their_sessions(wallet: Abstract_Wallet, owner: Owner) -> None:
    request_ids = [request(wallet, 20_000 + number) for number in range(3)]
    wallet.clear_requests()
    assert sorted(owner.deleted) == sorted(request_ids)
    assert all(log["events"][-1]["event"] == "closed" for log in sessions_on_disk(wallet).values())
    assert owner.store.saves == 0


@installed
def test_deleting_an_unknown_request_says_nothing(wallet: Abstract_Wallet, owner: Owner) -> None:
    wallet.delete_request("0000000000")
    assert owner.deleted == []


# The end of a wallet


@installed
def test_sessions_stop_before_the_wallet_is_saved_for_the_last_time(wallet: Abstract_Wallet, owner: Owner) -> None:
    async def stopped() -> None:
        owner.store.create("last", role="receiver", record=created_record())

    owner.stopped = stopped  # type: ignore[method-assign]
    wallet.config.set_key("plugins.payjoin.enabled", value=True)  # else Electrum deletes our data at this moment
    run(wallet.stop())
    assert list(sessions_on_disk(wallet)) == ["last"]


@installed
def test_a_wallet_closes_though_our_sessions_do_not_stop(
    wallet: Abstract_Wallet, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("payjoin_plugin.wallet.seams.STOP_PATIENCE", 0.01)

    async def stopped() -> None:
        await asyncio.Event().wait()

    owner.stopped = stopped  # type: ignore[method-assign]
    wallet.set_label("x", "last words")
    run(wallet.stop())
    assert reopen(wallet).get_all_labels()["x"] == "last words"


def test_the_owner_may_take_the_seams_off_while_the_wallet_stops(wallet: Abstract_Wallet, owner: Owner) -> None:
    seams = Seams(wallet, owner)
    seams.install()

    async def stopped() -> None:
        seams.remove()

    owner.stopped = stopped  # type: ignore[method-assign]
    run(wallet.stop())
    assert not any(name in vars(wallet) for name in WRAPPED)


@installed
def test_a_cancelled_close_still_saves_the_wallet(wallet: Abstract_Wallet, owner: Owner) -> None:
    async def cancelled() -> None:
        reached = asyncio.Event()

        async def stopped() -> None:
            reached.set()
            await asyncio.Event().wait()

        owner.stopped = stopped  # type: ignore[method-assign]
        wallet.set_label("x", "last words")
        closing = asyncio.ensure_future(wallet.stop())
        await reached.wait()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

    run(cancelled())
    assert reopen(wallet).get_all_labels()["x"] == "last words"


# Addresses and coins


@installed
def test_the_address_of_a_held_original_is_not_handed_out_again(wallet: Abstract_Wallet, owner: Owner) -> None:
    request_id = request(wallet)
    address = wallet.get_request(request_id).get_address()
    wallet.get_request(request_id).time -= 7200  # it expires unpaid: Electrum gives its address to another
    assert address in wallet.get_unused_addresses()
    owner.held = {address}
    assert address not in wallet.get_unused_addresses()


@installed
def test_it_is_not_handed_out_either_where_electrum_gives_an_address_a_second_time(
    wallet: Abstract_Wallet, owner: Owner
) -> None:
    for _ in wallet.get_receiving_addresses():
        request(wallet)
    assert wallet.get_unused_address() is None
    address = wallet.get_receiving_address()
    owner.held = {address}
    other = wallet.get_receiving_address()
    assert other != address
    assert other in wallet.get_receiving_addresses()
    owner.held = set(wallet.get_receiving_addresses())
    assert wallet.get_receiving_address() == address, "there is no other"


@installed
def test_the_address_of_an_expired_request_is_handed_out_last_of_all(wallet: Abstract_Wallet) -> None:
    request_id = request(wallet)
    address = wallet.get_request(request_id).get_address()
    wallet.get_request(request_id).time -= 7200
    assert wallet.get_unused_address() != address
    assert wallet.get_unused_addresses()[-1] == address


@installed
def test_a_reserved_coin_goes_into_no_other_payment(wallet: Abstract_Wallet, owner: Owner) -> None:
    small, large = fund(wallet, 100_000, 300_000)
    owner.reserved = {large}
    assert [coin.prevout.to_str() for coin in wallet.get_spendable_coins()] == [small]
    owner.reserved = set()
    assert len(wallet.get_spendable_coins()) == 2


@installed
def test_a_reservation_leaves_no_mark_in_the_wallet_file(wallet: Abstract_Wallet, owner: Owner) -> None:
    owner.reserved = set(fund(wallet, 100_000))
    wallet.get_spendable_coins()
    assert dict(wallet.db.get("frozen_coins", {})) == {}


@installed
def test_the_users_unfreeze_wins_over_a_reservation(wallet: Abstract_Wallet, owner: Owner) -> None:
    (coin,) = fund(wallet, 100_000)
    owner.reserved = {coin}
    wallet.set_frozen_state_of_coins([coin], freeze=False)
    assert len(wallet.get_spendable_coins()) == 1
    wallet.set_frozen_state_of_coins([coin], freeze=None)
    assert wallet.get_spendable_coins() == []


@installed
def test_the_users_freeze_holds_without_a_reservation(wallet: Abstract_Wallet) -> None:
    (coin,) = fund(wallet, 100_000)
    wallet.set_frozen_state_of_coins([coin], freeze=True)
    assert wallet.get_spendable_coins() == []


@installed
def test_a_reserved_coin_can_still_be_signed_for(wallet: Abstract_Wallet, owner: Owner) -> None:
    (coin,) = fund(wallet, 100_000)
    coins = wallet.get_spendable_coins()
    owner.reserved = {coin}
    tx = pay_with(wallet, coins)
    assert tx.is_complete()


def pay_with(wallet: Abstract_Wallet, coins: Any) -> Any:
    wallet.get_spendable_coins = lambda **_: coins
    try:
        return pay(wallet, wallet.get_receiving_addresses()[1], 50_000)
    finally:
        del wallet.get_spendable_coins
