"""A real Electrum wallet is paid by payjoin: from its own receive request to the transaction that it sees."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from electrum.bitcoin import address_to_script
from electrum.invoices import Request
from electrum.transaction import PartialTxOutput

from payjoin_plugin.app.ledger import Ledger
from payjoin_plugin.app.offering import request_made_in_window
from payjoin_plugin.app.settings import DAY
from payjoin_plugin.app.view import foreseen_share, view_of
from payjoin_plugin.bip78.original import ChainFacts, Original
from payjoin_plugin.bip78.parameters import AdditionalFee, Parameters
from payjoin_plugin.bip78.psbt import serialize
from payjoin_plugin.errors import ErrorCode, NotYetKnown, UserError
from payjoin_plugin.session.status import details_of
from payjoin_plugin.wire.uri import parse
from tests.app.test_settling import elsewhere, hear
from tests.bip78.payments import ALICE
from tests.mailroom.faults import Hold
from tests.merchant import AMOUNT, COINS, Merchant, endpoint_of, on_electrums_loop, shop
from tests.session.test_pair import HAPPY
from tests.wallet.wallets import (
    HEIGHT,
    PASSWORD,
    foreign_outpoint,
    see_confirmed,
    transaction,
)


async def pay(merchant: Merchant, uri: str, amount_sat: int = AMOUNT) -> str:
    """Pay a request and let the merchant's wallet see it; return the payjoin's txid."""
    sender = merchant.shop.sender(uri, amount_sat)
    await sender.run()
    return merchant.sees(sender.payjoin())


# One payjoin


@on_electrums_loop
async def test_a_request_is_paid_by_payjoin(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        before = sum(merchant.wallet.get_balance())
        session_id, uri = merchant.offer()
        txid = await pay(merchant, uri)
        row = await merchant.until_row(session_id, status="completed")
        assert merchant.events(session_id) == [*HAPPY, "Closed"]
        assert row["payjoin_txid"] == txid
        assert row["contributed_sat"] in COINS
        assert row["confirmations"] == 0
        assert sum(merchant.wallet.get_balance()) == before + AMOUNT - row["receiver_fee_sat"]
        assert row["received_sat"] == AMOUNT - row["receiver_fee_sat"]


@on_electrums_loop
async def test_a_payjoin_is_called_what_its_request_is_called(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        request = merchant.request()
        txid = await pay(merchant, merchant.uri(request))
        await merchant.until_row(merchant.session_of(request), status="completed")
        assert request.get_message() != ""
        assert merchant.wallet.get_label_for_txid(txid) == request.get_message()


@on_electrums_loop
async def test_a_payjoin_costs_one_save_and_one_question(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, uri = merchant.offer()
        assert merchant.sessions.store.saves == 0
        await pay(merchant, uri)
        await merchant.until_row(session_id, status="completed")
        assert merchant.sessions.store.saves == 1
        assert merchant.batches == 1


@on_electrums_loop
async def test_nobody_is_asked_about_coins_for_which_the_sender_has_not_signed(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, uri = merchant.offer()
        made = merchant.shop.payment(parse(uri).address)
        tx = made.unsigned()
        replace(made.coins[0].owner, secrets=ALICE.secrets).sign(tx, 0)
        sender = merchant.shop.sender(uri, made=made, psbt=serialize(tx))
        await sender.run()
        assert sender.error == ErrorCode.ORIGINAL_PSBT_REJECTED.value
        await merchant.until_row(session_id, status="failed")
        assert merchant.batches == 0


@on_electrums_loop
async def test_a_request_and_its_session_are_on_disk_before_the_uri_is_shown(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _ = merchant.offer()
        assert merchant.events_on_disk(session_id) == ["created"]


@on_electrums_loop
async def test_the_answer_is_on_disk_before_it_is_posted(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        hold = Hold()
        session_id, uri = merchant.offer()
        sender = merchant.shop.sender(uri)
        mailbox = endpoint_of(uri).mailbox
        merchant.shop.mailroom.directory.inject(
            hold.before, when=lambda seen: seen.is_post() and not seen.is_at(mailbox)
        )
        paying = asyncio.ensure_future(sender.run())
        await hold.reached.wait()
        assert merchant.events_on_disk(session_id)[-1] == "signed_proposal"
        assert len(merchant.on_disk()["payjoin_originals"]) == 1
        hold.released.set()
        await paying


@on_electrums_loop
async def test_a_sender_who_offers_a_fee_pays_for_our_coin(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, uri = merchant.offer()
        sender = merchant.shop.sender(uri, parameters=Parameters(version=2, additional_fee=AdditionalFee(1_000, 1)))
        await sender.run()
        merchant.sees(sender.payjoin())
        row = await merchant.until_row(session_id, status="completed")
        assert row["receiver_fee_sat"] == 0


@on_electrums_loop
async def test_an_old_sender_is_answered(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, uri = merchant.offer()
        original = merchant.shop.payment(parse(uri).address).original()
        url = f"{merchant.shop.mailroom.directory_url}/{endpoint_of(uri).mailbox}?v=1"
        async with aiohttp.ClientSession() as http, http.post(url, data=original) as response:
            assert (await response.text()).startswith("cHNidP8")
        await merchant.until_row(session_id, stage="waiting_for_broadcast")


@on_electrums_loop
async def test_the_uri_is_plain_from_the_senders_answer_on(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        request = merchant.request()
        uri = merchant.uri(request)
        txid = await pay(merchant, uri)
        assert merchant.uri(request) == uri.partition("&pjos=")[0]
        row = await merchant.until_row(merchant.session_of(request), status="completed")
        assert row["payjoin_txid"] == txid
        assert merchant.uri(request) == uri.partition("&pjos=")[0]


@on_electrums_loop
async def test_keys_that_the_directory_changed_are_in_the_uri_and_in_the_next_requests(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        merchant.shop.mailroom.directory.rotate_keys()
        request = merchant.request()
        session_id = merchant.session_of(request)
        await merchant.until(lambda: merchant.events(session_id) == ["Created", "RenewedKeys"])
        assert endpoint_of(merchant.uri(request)).ohttp_keys == merchant.shop.mailroom.keys
        _, uri = merchant.offer()
        assert endpoint_of(uri).ohttp_keys == merchant.shop.mailroom.keys
        await pay(merchant, merchant.uri(request))
        await merchant.until_row(session_id, status="completed")


@on_electrums_loop
async def test_our_coin_goes_into_no_other_payment_until_the_end(tmp_path: Path) -> None:
    async with shop(tmp_path, 300_000) as merchant:
        session_id, uri = merchant.offer()
        assert len(merchant.wallet.get_spendable_coins(confirmed_only=True)) == 1
        sender = merchant.shop.sender(uri)
        await sender.run()
        assert merchant.wallet.get_spendable_coins(confirmed_only=True) == []
        merchant.sees(sender.payjoin())
        await merchant.until_row(session_id, status="completed")
        assert merchant.sessions.reserved_outpoints() == set()


@on_electrums_loop
async def test_a_request_whose_address_another_one_has_offers_no_payjoin(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        first = merchant.request(AMOUNT)
        first.time -= 7200
        assert merchant.wallet.get_unused_address() != first.get_address(), "it is the last to be handed out"
        with request_made_in_window(wanted=True):
            request_id = merchant.wallet.create_request(2 * AMOUNT, "tea", 3600, first.get_address())
        second = merchant.wallet.get_request(request_id)
        assert merchant.sessions.report.of_request(second, None) == {
            "unavailable": "Another request has the same address."
        }


@on_electrums_loop
async def test_a_request_at_an_address_that_had_a_payjoin_before_offers_none(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        first = merchant.request()
        session_id = merchant.session_of(first)
        await pay(merchant, merchant.uri(first))
        await merchant.until_row(session_id, status="completed")
        merchant.wallet.delete_request(first.get_id())
        with request_made_in_window(wanted=True):
            request_id = merchant.wallet.create_request(1_000 * AMOUNT, "tea", 3600, first.get_address())
        second = merchant.wallet.get_request(request_id)
        assert merchant.sessions.report.of_request(second, None) == {"unavailable": "The address was used before."}


def ask_again(merchant: Merchant, address: str, *, imported: bool = False) -> None:
    """Make a second request at an address, or import one."""
    output = PartialTxOutput.from_address_and_value(address, 200_000)
    now = int(time.time())
    other = Request(
        amount_msat=200_000_000, message="tea", time=now, exp=3600, outputs=[output], height=0, payment_hash=None
    )
    merchant.wallet.add_payment_request(other, write_to_disk=not imported)


@on_electrums_loop
async def test_it_ends_too_where_the_session_moves_meanwhile(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        first = merchant.request()
        session_id, record, moved = merchant.session_of(first), merchant.sessions.ledger.record, 0

        def once_too_late(session: Any, event: Any, **details: Any) -> bool:
            nonlocal moved
            moved += 1
            return moved > 1 and record(session, event, **details)

        merchant.sessions.ledger.record = once_too_late  # type: ignore[method-assign]
        ask_again(merchant, first.get_address())
        assert merchant.row(session_id)["status"] == "aborted"


@on_electrums_loop
async def test_it_ends_too_while_the_clock_is_ahead(tmp_path: Path, set_ahead: Callable[[int], None]) -> None:
    async with shop(tmp_path) as merchant:
        first = merchant.request()
        set_ahead(7200)
        ask_again(merchant, first.get_address())
        set_ahead(0)
        assert merchant.row(merchant.session_of(first))["status"] == "aborted"


@on_electrums_loop
async def test_it_ends_too_where_it_is_made_late_and_another_thread_is_quicker(tmp_path: Path) -> None:
    async with shop(tmp_path, with_keys=False) as merchant:
        first = merchant.request()
        offering, seconds = merchant.sessions.offering, []
        new_session = offering.new_session

        def meanwhile(*args: Any) -> Any:
            seconds.append(merchant.wallet.create_request(3_000_000, "another", 3600, first.get_address()))
            return new_session(*args)

        offering.new_session = meanwhile  # type: ignore[method-assign,assignment]
        merchant.services.start()
        await merchant.until(lambda: bool(seconds))
        await merchant.until_row(merchant.session_of(first), status="aborted")
        assert "pj=" not in merchant.uri(first)


@on_electrums_loop
async def test_no_coin_is_shown_where_another_request_has_got_the_address_and_nobody_told(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _sender, paying = await merchant.asked()
        del merchant.wallet.add_payment_request
        ask_again(merchant, merchant.row(session_id)["address"])
        merchant.sessions.answer(session_id, password=None)
        await merchant.until_row(session_id, status="aborted")
        assert "CommittedContribution" not in merchant.events(session_id)
        paying.cancel()


@pytest.mark.parametrize("imported", [False, True], ids=["made", "imported"])
@on_electrums_loop
async def test_a_second_request_at_an_address_ends_the_offer_of_the_first(tmp_path: Path, *, imported: bool) -> None:
    async with shop(tmp_path) as merchant:
        first = merchant.request()
        session_id = merchant.session_of(first)
        paying = asyncio.ensure_future(merchant.shop.sender(merchant.uri(first)).run())
        ask_again(merchant, first.get_address(), imported=imported)
        assert "pj=" not in merchant.uri(first)
        assert merchant.row(session_id)["status"] == "aborted"
        assert session_id not in merchant.sessions.live.runners
        paying.cancel()


@on_electrums_loop
async def test_a_sender_who_waits_for_us_gets_no_answer_once_a_second_request_has_the_address(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await merchant.asked()
        ask_again(merchant, merchant.row(session_id)["address"])
        assert merchant.row(session_id)["status"] == "aborted"
        assert await merchant.sessions.broadcast_original(session_id) == sender.made.transaction().txid()
        paying.cancel()


@on_electrums_loop
async def test_an_answer_that_is_out_is_not_ended_by_a_second_request_at_the_address(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        ask_again(merchant, merchant.row(session_id)["address"])
        assert merchant.row(session_id)["stage"] == "waiting_for_broadcast"
        merchant.sees(sender.payjoin())
        await merchant.until_row(session_id, status="completed")


@on_electrums_loop
async def test_a_plain_request_that_was_paid_is_none_at_an_address_that_was_used_before(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        request = merchant.request(wanted=False)
        before = merchant.sessions.offering.why_plain(request)
        merchant.sees(transaction([foreign_outpoint("plain")], [(request.get_address(), AMOUNT)]))
        assert merchant.sessions.offering.why_plain(request) == before


@pytest.mark.parametrize("wait", ["for the Electrum server", "for what it does not know yet"])
@on_electrums_loop
async def test_an_original_is_on_disk_while_its_check_waits(
    tmp_path: Path, wait: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop(tmp_path) as merchant:
        if wait == "for the Electrum server":
            monkeypatch.setattr(merchant.sessions.receiver_wallet, "is_current", lambda: False)
        else:

            async def nothing(_original: object) -> ChainFacts:
                raise NotYetKnown("not yet")

            monkeypatch.setattr(merchant.sessions.receiver_wallet, "look_up", nothing)
        session_id, uri = merchant.offer()
        await merchant.sessions.store.flush()
        paying = asyncio.ensure_future(merchant.shop.sender(uri).run())
        await merchant.until_row(session_id, stage="checking_original")
        await merchant.until(lambda: merchant.events_on_disk(session_id)[-1] == "retrieved_original")
        paying.cancel()


@on_electrums_loop
async def test_what_an_address_got_in_blocks_before_its_request_is_not_received_for_it(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        address = merchant.wallet.create_new_address()
        with request_made_in_window(wanted=True):
            request = merchant.wallet.get_request(merchant.wallet.create_request(AMOUNT, "coffee", 3600, address))
        heard_late = transaction([foreign_outpoint("before")], [(address, 70_000)])
        see_confirmed(merchant.wallet, heard_late, height=HEIGHT)
        later = transaction([foreign_outpoint("after")], [(address, 1_000)])
        for received in (0, 1_000):
            said = merchant.sessions.report.of_request(request, None)
            assert said is not None
            assert said["received_sat"] == received
            assert merchant.row(said["session_id"])["received_sat"] == received
            merchant.sees(later)


@pytest.mark.parametrize("shown_before", [False, True])
@on_electrums_loop
async def test_what_a_copy_of_the_wallet_contributed_is_not_received(tmp_path: Path, *, shown_before: bool) -> None:
    async with shop(tmp_path) as merchant:
        if shown_before:
            earlier, _ = await merchant.answered()
            await merchant.sessions.abort(earlier)
        session_id, uri = merchant.offer()
        await merchant.sessions.store.flush()
        file = merchant.wallet.storage.get_path()
        shutil.copy(file, tmp_path / "backup")
        sender = merchant.shop.sender(uri, made=merchant.shop.payment(parse(uri).address, purse="new"))
        await sender.run()
        merchant.sees(sender.payjoin())
        row = await merchant.until_row(session_id, status="completed")
        shutil.copy(tmp_path / "backup", file)
        again = await merchant.crash_and_restart()
        again.sees(sender.payjoin())
        restored = await again.until_row(session_id, status="paid_without_payjoin")
        request = again.wallet.get_request(restored["request_id"])
        said = again.sessions.report.of_request(request, None)
        assert said is not None
        assert said["received_sat"] == restored["received_sat"] == row["received_sat"]
        await again.close()


@on_electrums_loop
async def test_of_two_requests_with_one_coin_that_one_payjoin_pays_the_last_has_it_back(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path, 300_000) as merchant:
        first, _ = await merchant.answered()
        await merchant.sessions.abort(first)
        second, uri = merchant.offer()
        made = merchant.shop.payment(parse(uri).address, purse="new")
        (paid, (change, left)), script = made.outputs, address_to_script(merchant.row(first)["address"])
        sender = merchant.shop.sender(
            uri, made=replace(made, outputs=(paid, (script, AMOUNT), (change, left - AMOUNT)))
        )
        await sender.run()
        merchant.sees(sender.payjoin())
        row = await merchant.until_row(second, status="completed")
        assert merchant.row(first)["contributed_sat"] == row["contributed_sat"]
        received = [merchant.row(session_id)["received_sat"] for session_id in (first, second)]
        assert received == [AMOUNT, AMOUNT - row["receiver_fee_sat"]]


# Several


@on_electrums_loop
async def test_our_coin_is_taken_off_one_of_two_requests_that_one_payjoin_pays(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        first, second = merchant.request(), merchant.request()
        made = merchant.shop.payment(first.get_address())
        (paid, (change, left)), script = made.outputs, address_to_script(second.get_address())
        made = replace(made, outputs=(paid, (script, AMOUNT), (change, left - AMOUNT)))
        sender = merchant.shop.sender(merchant.uri(first), made=made)
        await sender.run()
        merchant.sees(sender.payjoin())
        row = await merchant.until_row(merchant.session_of(first), status="completed")
        received = [merchant.sessions.report.of_request(request, None) for request in (first, second)]
        assert [said and said["received_sat"] for said in received] == [AMOUNT - row["receiver_fee_sat"], AMOUNT]


@on_electrums_loop
async def test_five_senders_at_once_get_five_different_coins(tmp_path: Path) -> None:
    async with shop(tmp_path, *(200_000 + number for number in range(10))) as merchant:
        offers = [merchant.offer(AMOUNT + number) for number in range(5)]
        await asyncio.gather(*(pay(merchant, uri, AMOUNT + number) for number, (_, uri) in enumerate(offers)))
        rows = [await merchant.until_row(session_id, status="completed") for session_id, _ in offers]
        assert len({row["contributed_sat"] for row in rows}) == 5
        assert merchant.sessions.store.saves <= 5


@on_electrums_loop
async def test_two_that_wait_for_a_save_at_each_step_get_two_coins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop(tmp_path, *COINS[:2], 500_000, 600_000) as merchant:
        monkeypatch.setattr(merchant.sessions.store, "quiet", lambda: asyncio.sleep(0.02))
        offers = [merchant.offer(AMOUNT + number) for number in range(2)]
        await asyncio.gather(*(pay(merchant, uri, AMOUNT + number) for number, (_, uri) in enumerate(offers)))
        rows = [await merchant.until_row(session_id, status="completed") for session_id, _ in offers]
        assert len({row["contributed_sat"] for row in rows}) == 2


@on_electrums_loop
async def test_a_senders_coin_that_got_a_proposal_gets_no_second_one(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        (first, first_uri), (second, second_uri) = merchant.offer(), merchant.offer()
        one = merchant.shop.sender(first_uri)
        await one.run()
        other = merchant.shop.sender(second_uri, made=merchant.shop.same_coin(one, second_uri))
        await other.run()
        assert other.error == "original-psbt-rejected"
        assert merchant.row(second)["reason"] == "seen_before"
        assert merchant.row(first)["stage"] == "waiting_for_broadcast"


@on_electrums_loop
async def test_senders_who_never_pay_learn_and_tie_up_half_of_the_coins_and_the_next_one_waits(tmp_path: Path) -> None:
    async with shop(tmp_path, *(200_000 + number for number in range(4))) as merchant:
        first, second, third = (merchant.offer(AMOUNT + number) for number in range(3))
        for number, (session_id, uri) in enumerate((first, second)):
            await merchant.shop.sender(uri, AMOUNT + number).run()
            await merchant.until_row(session_id, stage="waiting_for_broadcast")
        waiting = asyncio.ensure_future(merchant.shop.sender(third[1], AMOUNT + 2).run())
        await merchant.until_row(third[0], reason="no_coin")
        assert len(merchant.wallet.get_spendable_coins(confirmed_only=True)) == 2
        await merchant.sessions.abort(first[0])
        await merchant.until_row(third[0], stage="waiting_for_broadcast")
        await waiting
        assert len(merchant.sessions.store.exposed()) == 2


@on_electrums_loop
async def test_a_coin_of_ours_is_free_again_when_a_block_has_the_senders_coins_elsewhere(tmp_path: Path) -> None:
    async with shop(tmp_path, 300_000) as merchant:
        session_id, sender = await merchant.answered()
        hear(merchant, elsewhere(sender))
        await merchant.until_row(session_id, reason="double_spend")
        assert merchant.wallet.get_spendable_coins(confirmed_only=True) == []
        hear(merchant, elsewhere(sender), confirmed=True)
        await merchant.until_row(session_id, status="failed")
        assert len(merchant.wallet.get_spendable_coins(confirmed_only=True)) == 1


@on_electrums_loop
async def test_a_coin_that_an_expired_session_had_before_stays_reserved_for_the_one_that_has_it_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop(tmp_path, 300_000) as merchant:
        first, _ = await merchant.answered()
        (coin,) = merchant.sessions.reserved_outpoints()
        monkeypatch.setattr("payjoin_plugin.app.ledger.now", lambda: int(time.time()) + 7200)
        assert merchant.sessions.reserved_outpoints() == set()
        second, uri = merchant.offer(exp=2 * DAY)
        await merchant.shop.sender(uri, made=merchant.shop.payment(parse(uri).address, purse="another")).run()
        await merchant.until_row(second, stage="waiting_for_broadcast")
        again = Ledger(merchant.wallet, merchant.sessions.store)
        for session_id in (second, first):  # as they may lie in the file
            again._adopt(merchant.sessions.ledger.session(session_id))
        await merchant.sessions.abort(first)
        for ledger in (merchant.sessions.ledger, again):
            assert ledger.reserved_outpoints() == {coin}
            assert ledger.reserved_for(coin) is not None
        assert merchant.wallet.get_spendable_coins(confirmed_only=True) == []
        await merchant.sessions.abort(second)
        assert len(merchant.wallet.get_spendable_coins(confirmed_only=True)) == 1


@on_electrums_loop
async def test_a_second_prober_is_shown_the_coin_that_the_first_one_saw(tmp_path: Path) -> None:
    async with shop(tmp_path, *(200_000 + number for number in range(5))) as merchant:
        first, first_uri = merchant.offer()
        *others, last = [coin.outpoint for coin in merchant.sessions.receiver_wallet.coins()]
        merchant.wallet.set_frozen_state_of_coins(others, freeze=True)
        await merchant.shop.sender(first_uri).run()
        await merchant.sessions.abort(first)
        merchant.wallet.set_frozen_state_of_coins(others, freeze=False)
        second, second_uri = merchant.offer(AMOUNT + 1)
        await merchant.shop.sender(second_uri, AMOUNT + 1).run()
        shown = [details_of(merchant.sessions.ledger.session(one).state).contributed for one in (first, second)]
        assert shown == [(last,), (last,)]


@on_electrums_loop
async def test_a_fault_of_ours_in_one_session_leaves_the_others_alone(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        (broken, broken_uri), (sound, sound_uri) = merchant.offer(), merchant.offer(AMOUNT + 1)

        async def fails_once(original: Original) -> ChainFacts:
            del merchant.sessions.receiver_wallet.look_up
            raise ZeroDivisionError

        merchant.sessions.receiver_wallet.look_up = fails_once  # type: ignore[method-assign]
        waiting = asyncio.ensure_future(merchant.shop.sender(broken_uri).run())
        row = await merchant.until_row(broken, stage="waiting_for_wallet")
        assert row["reason"] == "fault"
        await pay(merchant, sound_uri, AMOUNT + 1)
        await merchant.until_row(sound, status="completed")
        waiting.cancel()
        assert merchant.row(broken)["status"] == "active"
        with pytest.raises(UserError, match="not waiting"):
            merchant.sessions.answer(broken, password=None)


# Waiting for the wallet


@on_electrums_loop
async def test_a_locked_wallet_answers_with_the_users_password(tmp_path: Path) -> None:
    async with shop(tmp_path, password=PASSWORD) as merchant:
        session_id, uri = merchant.offer()
        paying = asyncio.ensure_future(pay(merchant, uri))
        row = await merchant.until_row(session_id, stage="waiting_for_wallet")
        assert row["reason"] == "locked"
        await merchant.until(lambda: merchant.events_on_disk(session_id)[-1] == "accepted_original")
        merchant.sessions.answer(session_id, password="wrong")
        await merchant.until_row(session_id, reason="The password is wrong.")
        await merchant.until_row(session_id, reason="locked")
        stands = view_of(merchant.sessions, session_id).share
        assert stands is not None
        assert foreseen_share(merchant.sessions, session_id) == stands
        merchant.sessions.answer(session_id, password=PASSWORD)
        await paying
        await merchant.until_row(session_id, status="completed")


@on_electrums_loop
async def test_an_unlocked_wallet_answers_by_itself(tmp_path: Path) -> None:
    async with shop(tmp_path, password=PASSWORD) as merchant:
        merchant.wallet.unlock(PASSWORD)
        session_id, uri = merchant.offer()
        await pay(merchant, uri)
        await merchant.until_row(session_id, status="completed")


@on_electrums_loop
async def test_the_user_may_be_asked_each_time(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        merchant.wallet.config.PAYJOIN_ASK_BEFORE_CONTRIBUTING = True
        session_id, uri = merchant.offer()
        paying = asyncio.ensure_future(pay(merchant, uri))
        await merchant.until_row(session_id, reason="needs_approval")
        shown = foreseen_share(merchant.sessions, session_id)
        assert shown is not None
        merchant.sessions.answer(session_id, password=None, agreed=shown)
        await paying
        await merchant.until_row(session_id, status="completed")
        assert view_of(merchant.sessions, session_id).share == shown
