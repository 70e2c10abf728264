"""What owners pay to themselves is no payment of a sender's: deposits, change, an address that was given away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from electrum.fee_policy import FixedFeePolicy
from electrum.invoices import PR_UNPAID, Request
from electrum.transaction import PartialTransaction, PartialTxInput, PartialTxOutput, Transaction
from electrum.util import trigger_callback

from payjoin_plugin.app import settling
from payjoin_plugin.app.offering import request_made_in_window
from payjoin_plugin.app.view import view_of
from payjoin_plugin.errors import UserError
from tests.app.test_charged_once import HOUR, a_while
from tests.app.test_kept_originals import other_payment, seen_to, vanish
from tests.merchant import AMOUNT, Merchant, on_electrums_loop, shop
from tests.pair import Sender
from tests.wallet.wallets import (
    HEIGHT,
    foreign_outpoint,
    fund,
    imported_keys,
    reopen,
    see_confirmed,
    see_in_mempool,
    transaction,
)


def two_keys() -> str:
    """Of an imported wallet: its coins are at the last of its addresses."""
    return "\n".join(imported_keys(name, "p2wpkh") for name in ("first", "second"))


async def hold_at(merchant: Merchant, address: str) -> tuple[str, Request, Sender, asyncio.Future[Any]]:
    """Hold the original of a request at an address that may be in use."""
    merchant.wallet.config.PAYJOIN_ASK_BEFORE_CONTRIBUTING = True
    with request_made_in_window(wanted=True):
        request_id = merchant.wallet.create_request(AMOUNT, "coffee", HOUR, address)
    request = merchant.wallet.get_request(request_id)
    session_id, uri = merchant.session_of(request), merchant.uri(request)
    sender = merchant.shop.sender(uri, made=merchant.shop.payment(address, purse=session_id))
    paying = asyncio.ensure_future(sender.run())
    await merchant.until_row(session_id, reason="needs_approval")
    return session_id, request, sender, paying


def bill_paid(
    merchant: Merchant, amount_sat: int, coins: list[PartialTxInput], *outputs: PartialTxOutput
) -> Transaction:
    """The owner pays somebody else by Electrum; the change comes back to one of their addresses."""
    bill = PartialTxOutput(scriptpubkey=b"\x00\x14" + b"\x07" * 20, value=amount_sat)
    fee = FixedFeePolicy(500)
    tx = merchant.wallet.make_unsigned_transaction(coins=coins, outputs=[bill, *outputs], fee_policy=fee)
    merchant.wallet.sign_transaction(tx, None)
    return Transaction(tx.serialize())


@pytest.mark.parametrize(
    "deposit", ["in a block", "in the newest block", "its proof is not here yet", "not in a block"]
)
@on_electrums_loop
async def test_an_address_that_was_used_offers_none(tmp_path: Path, deposit: str) -> None:
    async with shop(tmp_path, text=two_keys()) as merchant:
        address = merchant.wallet.get_receiving_addresses()[0]
        tx = transaction([foreign_outpoint("deposit")], [(address, AMOUNT // 2)])
        match deposit:
            case "in a block" | "in the newest block":
                see_confirmed(merchant.wallet, tx, height=HEIGHT if "newest" in deposit else 150)
            case "its proof is not here yet":
                see_in_mempool(merchant.wallet, tx, height=HEIGHT)
            case _:
                see_in_mempool(merchant.wallet, tx)
        with request_made_in_window(wanted=True):
            request = merchant.wallet.get_request(merchant.wallet.create_request(AMOUNT, "", HOUR, address))
        assert "pj=" not in merchant.uri(request)
        assert merchant.sessions.offering.why_plain(request) == "The address was used before."


@on_electrums_loop
async def test_a_change_that_comes_back_to_the_requests_address_pays_nothing(
    tmp_path: Path, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path, text=two_keys()) as merchant:
        address = merchant.wallet.get_receiving_addresses()[0]
        session_id, _request, sender, paying = await hold_at(merchant, address)
        to_self = PartialTxOutput.from_address_and_value(address, 2 * AMOUNT)
        merchant.sees(bill_paid(merchant, 100_000, merchant.wallet.get_spendable_coins(), to_self))
        await a_while(merchant)
        row = merchant.row(session_id)
        assert (row["status"], row["received_sat"]) == ("active", 0)
        set_ahead(2 * HOUR)
        await merchant.until(lambda: merchant.network.broadcast == [sender.made.transaction().txid()])
        paying.cancel()


@on_electrums_loop
async def test_a_change_adds_nothing_to_what_a_payjoin_brought(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        merchant.sees(sender.payjoin())
        before = await merchant.until_row(session_id, status="completed")
        merchant.wallet.use_change = False
        came = [coin for coin in merchant.wallet.get_spendable_coins() if coin.address == before["address"]]
        bill = bill_paid(merchant, 10_000, came)
        assert before["address"] in [txout.address for txout in bill.outputs()]
        merchant.sees(bill)
        await a_while(merchant)
        request = merchant.wallet.get_request(before["request_id"])
        said = merchant.sessions.report.of_request(request, None)
        assert said is not None
        assert merchant.row(session_id)["received_sat"] == said["received_sat"] == before["received_sat"]


@on_electrums_loop
async def test_a_wallet_of_one_address_offers_none(tmp_path: Path) -> None:
    async with shop(tmp_path, text=imported_keys("only", "p2wpkh")) as merchant:
        with request_made_in_window(wanted=True):
            address = merchant.wallet.get_receiving_address()
            request = merchant.wallet.get_request(merchant.wallet.create_request(AMOUNT, "", HOUR, address))
        assert "pj=" not in merchant.uri(request)
        said = "This wallet has no other address for its next request."
        assert merchant.sessions.offering.why_plain(request) == said


@on_electrums_loop
async def test_the_last_address_of_a_wallet_of_two_offers_none(tmp_path: Path) -> None:
    async with shop(tmp_path, text=two_keys()) as merchant:
        made = []
        for amount_sat in (AMOUNT, 60_000, 3_000_000):
            with request_made_in_window(wanted=True):
                address = merchant.wallet.get_receiving_address()
                request_id = merchant.wallet.create_request(amount_sat, "", HOUR, address)
            made.append(merchant.wallet.get_request(request_id))
            if len(made) == 1:
                await merchant.shop.sender(merchant.uri(made[0])).run()
        assert ["pj=" in merchant.uri(request) for request in made[1:]] == [False, False]
        first, *later = (request.get_address() for request in made)
        assert first not in later


@on_electrums_loop
async def test_who_pays_at_an_address_that_another_request_got_without_us_has_no_answer(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        with request_made_in_window(wanted=True):
            address = merchant.wallet.get_unused_address()
            request = merchant.wallet.get_request(merchant.wallet.create_request(AMOUNT, "", HOUR, address))
        session_id = merchant.session_of(request)
        await merchant.sessions.store.flush()
        alone = reopen(merchant.wallet)
        merchant.sessions.store.close()
        await merchant.close()
        alone.create_request(3_000_000, "another customer", HOUR, address)
        alone.save_db()
        again = Merchant(merchant.shop, reopen(alone))
        await again.open()
        assert again.row(session_id)["status"] == "aborted"
        assert "pj=" not in again.uri(again.wallet.get_request(request.get_id()))
        await again.close()


@pytest.mark.parametrize("to", ["the request's address", "another one of ours"])
@on_electrums_loop
async def test_a_bump_that_adds_a_coin_of_ours_brings_no_more_than_the_payjoin(tmp_path: Path, to: str) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        payjoin = sender.payjoin()
        merchant.sees(payjoin)
        before = await merchant.until_row(session_id, status="completed")
        at_request = to == "the request's address"
        target = before["address"] if at_request else merchant.wallet.get_receiving_addresses()[2]
        vanish(merchant, session_id, payjoin)
        merchant.wallet.adb.remove_transaction(payjoin.txid())
        spent = {txin.prevout.to_str() for txin in payjoin.inputs()}
        coins = merchant.wallet.get_utxos()
        ours = next(coin for coin in coins if coin.prevout.to_str() in spent)
        extra = next(coin for coin in coins if coin.prevout.to_str() not in spent)
        outputs = [
            PartialTxOutput.from_address_and_value(target if txout.address == before["address"] else txout.address, sat)
            for txout in payjoin.outputs()
            for sat in [txout.value]
        ]
        change = merchant.wallet.get_change_addresses()[0]
        outputs.append(PartialTxOutput.from_address_and_value(change, extra.value_sats() - 2_000))
        bumped = PartialTransaction.from_io([sender.made.coins[0].txin(), ours, extra], outputs, BIP69_sort=False)
        bumped.add_info_from_wallet(merchant.wallet)
        merchant.wallet.sign_transaction(bumped, None, ignore_warnings=True)
        sender.made.coins[0].owner.sign(bumped, 0)
        merchant.sees(Transaction(bumped.serialize_to_network()))
        await a_while(merchant)
        net_sat = before["received_sat"] - 2_000
        if at_request:
            assert merchant.row(session_id)["received_sat"] == net_sat
        else:
            assert view_of(merchant.sessions, session_id).replaced_by == (bumped.txid(), net_sat)


async def given_out_again(
    merchant: Merchant, amount_sat: int, set_ahead: Callable[[int], None], *, is_log_there: bool = True
) -> tuple[Merchant, Sender, str, str]:
    """Hold an original and go away; Electrum gives its address to another customer, who is to pay `amount_sat`.

    Return the new run, who pays, their session, and the other one's request.
    """
    session_id, request, sender, paying = await hold_at(merchant, merchant.wallet.get_unused_address())
    paying.cancel()
    await merchant.sessions.store.flush()
    alone = reopen(merchant.wallet)
    merchant.sessions.store.close()
    await merchant.close()
    set_ahead(2 * HOUR)
    second: str = alone.create_request(amount_sat, "another customer", HOUR, alone.get_unused_address())
    assert alone.get_request(second).get_address() == request.get_address()
    if not is_log_there:
        alone.db.prune_uninstalled_plugin_data(set())
    alone.save_db()
    again = Merchant(merchant.shop, reopen(alone))
    await again.open()
    await a_while(again)
    return again, sender, session_id, second


@pytest.mark.parametrize("log", ["is there", "is gone"])
@on_electrums_loop
async def test_nothing_goes_out_to_an_address_at_which_another_customer_pays_by_now(
    tmp_path: Path, log: str, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path) as merchant:
        again, sender, session_id, second = await given_out_again(
            merchant, AMOUNT, set_ahead, is_log_there=log == "is there"
        )
        assert again.network.broadcast == []
        assert "Another request waits at the same address" in (view_of(again.sessions, session_id).trouble or "")
        set_ahead(4 * HOUR)  # the other one has expired, and would count as paid all the same
        await a_while(again)
        assert again.network.broadcast == []
        again.wallet.delete_request(second)
        await again.until(lambda: again.network.broadcast == [sender.made.transaction().txid()])
        await again.close()


@on_electrums_loop
async def test_another_customer_at_the_same_address_who_has_paid_is_in_nobodys_way(
    tmp_path: Path, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path) as merchant:
        again, sender, session_id, second = await given_out_again(merchant, AMOUNT // 2, set_ahead)
        assert again.network.broadcast == []
        address = again.wallet.get_request(second).get_address()
        again.sees(transaction([foreign_outpoint("another customer")], [(address, AMOUNT // 2)]))
        trigger_callback("wallet_updated", again.wallet)
        await again.until(lambda: again.network.broadcast == [sender.made.transaction().txid()])
        assert view_of(again.sessions, session_id).trouble is None
        await again.close()


@on_electrums_loop
async def test_what_would_pay_another_customers_request_is_handed_over_to_nobody(
    tmp_path: Path, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path) as merchant:
        again, _sender, _session_id, second = await given_out_again(merchant, AMOUNT, set_ahead)
        await again.close()
        assert len(again.sessions.objections.at_stake()) == 1, "which the removal tells"
        assert again.sessions.handover.to_go() == set()
        assert again.sessions.handover.hand_over() == 0
        assert again.wallet.get_invoice_status(again.wallet.get_request(second)) == PR_UNPAID
        assert len(again.sessions.store.kept.all()) == 1, "the file has it all the same"


@on_electrums_loop
async def test_what_was_at_the_address_of_a_deleted_request_before_is_no_payment_of_it(tmp_path: Path) -> None:
    async with shop(tmp_path, text=two_keys()) as merchant:
        address = merchant.wallet.get_receiving_addresses()[0]
        session_id, request, sender, paying = await hold_at(merchant, address)
        fund(merchant.wallet, 500_000, address=address, label="a deposit that the wallet hears of late")
        merchant.wallet.delete_request(request.get_id())
        await merchant.until_row(session_id, status="aborted")
        assert await merchant.sessions.broadcast_original(session_id) == sender.made.transaction().txid()
        paying.cancel()


@pytest.mark.parametrize("when", ["before its expiry", "after it"])
@on_electrums_loop
async def test_nothing_goes_out_to_an_address_that_was_given_away(
    tmp_path: Path, when: str, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path, text=two_keys()) as merchant:
        address = merchant.wallet.get_receiving_addresses()[0]
        session_id, _request, _sender, paying = await hold_at(merchant, address)
        other = other_payment(merchant, session_id)
        merchant.sees(other)
        await merchant.until_row(session_id, status="paid_without_payjoin")
        see_confirmed(merchant.wallet, other, height=HEIGHT + 1)
        merchant.wallet.db.set_addr_history(address, [(other.txid(), HEIGHT + 1)])
        if when == "after it":
            set_ahead(2 * HOUR)
            await a_while(merchant)
        await asyncio.to_thread(merchant.wallet.delete_address, address)
        await asyncio.sleep(0.2)
        set_ahead(3 * HOUR)
        await a_while(merchant)
        assert merchant.network.broadcast == []
        with pytest.raises(UserError, match="no address of this wallet"):
            await merchant.sessions.broadcast_original(session_id)
        paying.cancel()


@on_electrums_loop
async def test_an_address_is_being_given_away_while_its_payment_is_due(
    tmp_path: Path, set_ahead: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "BREATH", 0.5)
    async with shop(tmp_path, text=two_keys()) as merchant:
        address = merchant.wallet.get_receiving_addresses()[0]
        session_id, _request, _sender, paying = await hold_at(merchant, address)
        other = other_payment(merchant, session_id)
        merchant.sees(other)
        await merchant.until_row(session_id, status="paid_without_payjoin")
        set_ahead(2 * HOUR)
        merchant.wallet.adb.remove_transaction(other.txid())  # Electrum forgets the payments first
        trigger_callback("wallet_updated", merchant.wallet)
        await merchant.until(lambda: session_id in merchant.sessions.settling.tasks)
        await asyncio.sleep(0.1)
        merchant.wallet.delete_address(address)
        await seen_to(merchant)
        assert merchant.network.broadcast == []
        paying.cancel()


@on_electrums_loop
async def test_nothing_is_at_stake_where_the_address_was_given_away(tmp_path: Path) -> None:
    async with shop(tmp_path, text=two_keys()) as merchant:
        address = merchant.wallet.get_receiving_addresses()[0]
        _session_id, _request, sender, paying = await hold_at(merchant, address)
        assert merchant.sessions.objections.at_stake() == {sender.made.transaction().txid(): AMOUNT}
        await asyncio.to_thread(merchant.wallet.delete_address, address)
        assert merchant.sessions.objections.at_stake() == {}
        paying.cancel()
