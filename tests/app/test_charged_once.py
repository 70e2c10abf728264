"""What a sender has paid once goes out no second time, whatever the user, the connection and the clock do meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiorpcx import RPCError
from electrum.address_synchronizer import AddressSynchronizer
from electrum.interface import RequestTimedOut, TxBroadcastServerReturnedError
from electrum.transaction import Transaction
from electrum.util import trigger_callback

from payjoin_plugin.app import objections
from payjoin_plugin.app.view import view_of
from payjoin_plugin.app.visible import PaidBy
from payjoin_plugin.bip78.parameters import Parameters
from payjoin_plugin.client.pace import Backoff
from payjoin_plugin.errors import Unreachable, UserError
from payjoin_plugin.wallet import news
from payjoin_plugin.wire.uri import parse
from tests.app.test_kept_originals import hold_paid_otherwise, one_for_two, other_payment, seen_to, vanish
from tests.app.test_settling import SOON, hold, kept, unchecked
from tests.merchant import AMOUNT, Merchant, Synchronizer, on_electrums_loop, shop
from tests.pair import Sender
from tests.wallet.servers import Server
from tests.wallet.wallets import HEIGHT, foreign_outpoint, reopen, see_confirmed, see_in_mempool, transaction

HOUR = 3600


async def hold_more(merchant: Merchant, more_sat: int) -> tuple[str, Sender, asyncio.Future[Any]]:
    """Hold the original of a sender who pays more than was asked."""
    merchant.wallet.config.PAYJOIN_ASK_BEFORE_CONTRIBUTING = True
    session_id, uri = merchant.offer()
    made = merchant.shop.payment(parse(uri).address, AMOUNT + more_sat)
    sender = merchant.shop.sender(uri, made=made)
    paying = asyncio.ensure_future(sender.run())
    await merchant.until_row(session_id, reason="needs_approval")
    return session_id, sender, paying


async def hold_paid_and_deleted(merchant: Merchant) -> tuple[str, asyncio.Future[Any]]:
    """Hold an original of one satoshi more than was asked; another payment is exact, and its request deleted."""
    session_id, _sender, paying = await hold_more(merchant, 1)
    merchant.sees(other_payment(merchant, session_id))
    await merchant.until_row(session_id, status="paid_without_payjoin")
    merchant.wallet.delete_request(merchant.row(session_id)["request_id"])
    return session_id, paying


async def a_while(merchant: Merchant) -> None:
    """Let whatever is due be done."""
    trigger_callback("wallet_updated", merchant.wallet)
    await asyncio.sleep(0.2)
    await seen_to(merchant)


async def nothing_new(_scripthash: str) -> list[dict[str, object]]:
    """What a server answers that has not heard of a payment yet."""
    return []


async def a_while_before_expiry() -> None:
    """The same, where the tasks wait for the expiry."""
    await asyncio.sleep(0.2)


# The request is deleted


@on_electrums_loop
async def test_the_request_was_paid_and_is_deleted(tmp_path: Path, set_ahead: Callable[[int], None]) -> None:
    async with shop(tmp_path) as merchant:
        session_id, paying = await hold_paid_and_deleted(merchant)
        set_ahead(2 * HOUR)
        await a_while(merchant)
        assert merchant.network.broadcast == []
        with pytest.raises(UserError, match="paid already"):
            await merchant.sessions.broadcast_original(session_id)
        assert merchant.sessions.objections.at_stake() == {}
        await merchant.close()
        assert merchant.sessions.handover.hand_over() == 0
        paying.cancel()


@on_electrums_loop
async def test_what_paid_a_deleted_request_vanishes_and_is_due_all_the_same(
    tmp_path: Path, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, other, paying = await hold_paid_otherwise(merchant)
        merchant.wallet.delete_request(merchant.row(session_id)["request_id"])
        vanish(merchant, session_id, other)
        set_ahead(2 * HOUR)
        await merchant.until(lambda: merchant.network.broadcast == [sender.made.transaction().txid()])
        paying.cancel()


@on_electrums_loop
async def test_the_network_takes_the_payment_of_a_failed_session_after_its_request_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "next", lambda _: 0.01)
    async with shop(tmp_path) as merchant:
        take, refused = merchant.network.broadcast_transaction, 0

        async def refuse(_tx: Transaction) -> None:
            nonlocal refused
            refused += 1
            raise TxBroadcastServerReturnedError("mempool min fee not met")

        merchant.network.broadcast_transaction = refuse  # type: ignore[method-assign,assignment]
        session_id, uri = merchant.offer()
        await merchant.shop.sender(uri, parameters=Parameters(version=3)).run()
        await merchant.until_row(session_id, status="failed")
        await merchant.until(lambda: refused > 1)
        merchant.wallet.delete_request(merchant.row(session_id)["request_id"])
        merchant.network.broadcast_transaction = take  # type: ignore[method-assign]
        await merchant.until(lambda: not merchant.sessions.live.is_at_work(session_id))
        await a_while(merchant)
        assert merchant.network.broadcast == []


@on_electrums_loop
async def test_a_request_that_is_deleted_after_its_payjoin_came_ends_by_it(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        merchant.sessions.receiver_wallet.is_current = lambda: False  # type: ignore[method-assign]  # nobody closes it
        merchant.sees(sender.payjoin())
        merchant.wallet.delete_request(merchant.row(session_id)["request_id"])
        assert merchant.row(session_id)["status"] == "completed"
        (kept_one,) = merchant.sessions.store.kept.all()
        assert (kept_one.aborted, kept_one.deleted_paid) == (False, True)


@on_electrums_loop
async def test_a_session_that_lapsed_by_a_wrong_clock_does_not_wake_at_anothers_address(
    tmp_path: Path, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _uri = merchant.offer()
        set_ahead(2 * HOUR)
        trigger_callback("wallet_updated", merchant.wallet)
        await merchant.until(lambda: session_id in merchant.sessions.ledger.lapsed)
        merchant.wallet.create_request(3_000_000, "another", HOUR, merchant.row(session_id)["address"])
        set_ahead(0)
        trigger_callback("wallet_updated", merchant.wallet)
        await merchant.until_row(session_id, status="aborted")


@on_electrums_loop
async def test_a_paid_request_that_was_deleted_while_the_plugin_was_not_there_is_paid(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        await merchant.sessions.store.flush()
        alone = reopen(merchant.wallet)
        merchant.sessions.store.close()
        await merchant.close()
        see_confirmed(alone, sender.payjoin(), height=HEIGHT)
        alone.delete_request(merchant.row(session_id)["request_id"])
        alone.save_db()
        again = Merchant(merchant.shop, reopen(alone))
        await again.open()
        assert again.row(session_id)["status"] == "completed"
        (kept_one,) = again.sessions.store.kept.all()
        assert (kept_one.aborted, kept_one.deleted_paid) == (False, True)
        await again.close()


@on_electrums_loop
async def test_what_the_next_customer_paid_at_its_address_is_none_of_a_request_that_was_deleted_without_us(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _sender, paying = await hold(merchant)
        row = merchant.row(session_id)
        await merchant.sessions.store.flush()
        alone = reopen(merchant.wallet)
        merchant.sessions.store.close()
        await merchant.close()
        alone.delete_request(row["request_id"])
        alone.create_request(AMOUNT + 1, "the next customer", HOUR, row["address"])
        other = transaction([foreign_outpoint("the next customer")], [(row["address"], AMOUNT + 1)])
        see_in_mempool(alone, other)
        alone.db.set_addr_history(row["address"], [(other.txid(), 0)])
        alone.save_db()
        again = Merchant(merchant.shop, reopen(alone))
        await again.open()
        assert again.row(session_id)["status"] == "aborted"
        assert [(one.aborted, one.deleted_paid) for one in again.sessions.store.kept.all()] == [(True, False)]
        await again.close()
        paying.cancel()


@pytest.mark.parametrize("log", ["is there", "is gone"])
@on_electrums_loop
async def test_the_request_was_deleted_while_the_plugin_was_not_there(
    tmp_path: Path, log: str, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _sender, paying = await hold(merchant)
        await merchant.sessions.store.flush()
        alone = reopen(merchant.wallet)
        alone.delete_request(merchant.row(session_id)["request_id"])
        if log == "is gone":
            alone.db.prune_uninstalled_plugin_data(set())
        alone.save_db()
        merchant.sessions.store.close()
        await merchant.close()
        again = Merchant(merchant.shop, reopen(alone))
        await again.open()
        assert len(kept(again)) == 1
        if log == "is there":
            assert again.row(session_id)["status"] == "aborted"
        await a_while(again)
        set_ahead(2 * HOUR)
        await a_while(again)
        assert again.network.broadcast == []
        assert await again.sessions.broadcast_original(session_id), "by hand it can be had"
        await again.close()
        paying.cancel()


# The connection


async def broadcast(merchant: Merchant, session_id: str, by: str) -> list[str]:
    """Have an original due, or try it by hand, where that must wait for news; return what went out."""
    if by == "hand":
        with pytest.raises(Unreachable, match="not up to date"):
            await merchant.sessions.broadcast_original(session_id)
    else:
        await merchant.until_row(session_id, status="expired")
        await asyncio.sleep(0.5)
    return merchant.network.broadcast


@pytest.mark.parametrize("by", ["itself", "hand"])
@on_electrums_loop
async def test_another_connection_takes_the_place_of_the_one_on_which_all_was_known(tmp_path: Path, by: str) -> None:
    async with shop(tmp_path) as merchant:
        network, second = merchant.network, Server("second", merchant.shop.chain)
        second.on_broadcast = network.broadcast_transaction
        assert network.interface is not None

        async def dead(_tx: Transaction) -> None:
            network.interface = second
            raise RequestTimedOut

        network.interface.on_broadcast = dead
        network.interface.get_history_for_scripthash = nothing_new  # type: ignore[method-assign,assignment]
        session_id, _sender, paying = await hold(merchant, exp=SOON if by == "itself" else HOUR)
        other = other_payment(merchant, session_id)
        merchant.shop.chain.add(other)  # of which the wallet does not know yet
        if by == "hand":
            with pytest.raises(Unreachable):
                await merchant.sessions.broadcast_original(session_id)
        await merchant.until(lambda: network.interface is second)
        await asyncio.sleep(0.2)
        assert network.broadcast == []
        assert not merchant.sessions.receiver_wallet.is_current()
        merchant.sees(other)
        merchant.wallet.adb.synchronizer = merchant.wallet.adb.verifier = Synchronizer(second)
        await merchant.until_row(session_id, status="paid_without_payjoin")
        await a_while(merchant)
        assert network.broadcast == []
        paying.cancel()


@pytest.mark.parametrize("by", ["itself", "hand"])
@on_electrums_loop
async def test_the_news_that_the_request_is_paid_is_being_fetched(
    tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "PATIENCE", 0.1)
    async with shop(tmp_path) as merchant:
        session_id, _sender, paying = await hold(merchant, exp=SOON if by == "itself" else HOUR)
        assert merchant.sessions.receiver_wallet.is_current()
        merchant.wallet.is_up_to_date = lambda: False
        assert merchant.sessions.receiver_wallet.is_current(), "a sender need not wait for the news"
        assert await broadcast(merchant, session_id, by) == []
        merchant.sees(other_payment(merchant, session_id))
        del merchant.wallet.is_up_to_date
        await merchant.until_row(session_id, status="paid_without_payjoin")
        await a_while(merchant)
        assert merchant.network.broadcast == []
        paying.cancel()


@pytest.mark.parametrize("by", ["itself", "hand"])
@on_electrums_loop
async def test_the_news_that_the_request_is_paid_is_on_its_way(
    tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "PATIENCE", 0.1)
    monkeypatch.setattr(Backoff, "next", lambda _: 0.05)
    async with shop(tmp_path) as merchant:
        session_id, _sender, paying = await hold(merchant, exp=SOON if by == "itself" else HOUR)
        other = other_payment(merchant, session_id)
        merchant.shop.chain.add(other)  # nobody has told the wallet
        assert await broadcast(merchant, session_id, by) == []
        merchant.sees(other)
        await merchant.until_row(session_id, status="paid_without_payjoin")
        await a_while(merchant)
        assert merchant.network.broadcast == []
        paying.cancel()


@on_electrums_loop
async def test_the_connection_changes_while_the_server_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "PATIENCE", 0.1)
    async with shop(tmp_path) as merchant:
        session_id, _sender, paying = await hold(merchant)
        second = Server("second", merchant.shop.chain)
        second.on_broadcast = merchant.network.broadcast_transaction

        async def meanwhile(_scripthash: str) -> list[dict[str, object]]:
            merchant.network.interface = second
            return []

        assert merchant.network.interface is not None
        merchant.network.interface.get_history_for_scripthash = meanwhile  # type: ignore[method-assign,assignment]
        with pytest.raises(Unreachable, match="not up to date"):
            await merchant.sessions.broadcast_original(session_id)
        assert merchant.network.broadcast == []
        paying.cancel()


@pytest.mark.parametrize("heard", ["by the server", "by the wallet too"])
@on_electrums_loop
async def test_the_payment_itself_came_while_the_server_is_asked(tmp_path: Path, heard: str) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        original = sender.made.transaction()

        async def meanwhile(_scripthash: str) -> list[dict[str, object]]:
            if heard == "by the wallet too":
                merchant.sees(original)
            return [{"tx_hash": original.txid(), "height": 0}]

        assert merchant.network.interface is not None
        merchant.network.interface.get_history_for_scripthash = meanwhile  # type: ignore[method-assign,assignment]
        assert await merchant.sessions.broadcast_original(session_id) == original.txid()
        assert merchant.network.broadcast == ([original.txid()] if heard == "by the server" else [])
        paying.cancel()


@on_electrums_loop
async def test_what_the_wallet_takes_for_dropped_and_pays_the_address_nothing_is_no_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AddressSynchronizer, "_are_new_inputs_valid", lambda *_, **__: True)  # nobody signed it
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        address = merchant.row(session_id)["address"]
        little = transaction([foreign_outpoint("a little")], [(address, 1_000)])
        merchant.sees(little)
        spent = transaction([f"{little.txid()}:0"], [(merchant.wallet.get_change_addresses()[0], 500)])
        merchant.wallet.adb.add_transaction(spent)
        for tx in (little, spent):
            merchant.shop.chain.add(tx)
        assert await merchant.sessions.broadcast_original(session_id) == sender.made.transaction().txid()
        paying.cancel()


@pytest.mark.parametrize(
    "fault", [asyncio.CancelledError(), RPCError(1, "history too large")], ids=["gone", "no answer"]
)
@on_electrums_loop
async def test_the_server_does_not_say_whether_there_is_news(
    tmp_path: Path, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "next", lambda _: 0.05)
    async with shop(tmp_path) as merchant:
        assert merchant.network.interface is not None
        ask, faults = merchant.network.interface.get_history_for_scripthash, [fault]

        async def once_faulty(scripthash: str) -> list[dict[str, object]]:
            if faults:
                raise faults.pop()
            return await ask(scripthash)

        merchant.network.interface.get_history_for_scripthash = once_faulty  # type: ignore[method-assign]
        session_id, sender, paying = await hold(merchant)
        with pytest.raises(Unreachable, match="did not answer"):
            await merchant.sessions.broadcast_original(session_id)
        assert merchant.network.broadcast == []
        assert await merchant.sessions.broadcast_original(session_id) == sender.made.transaction().txid()
        paying.cancel()


@on_electrums_loop
async def test_the_connection_changes_while_the_file_is_saved(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _sender, paying = await hold(merchant, exp=SOON)
        second, save = Server("second", merchant.shop.chain), merchant.sessions.originals.save
        second.on_broadcast = merchant.network.broadcast_transaction

        async def meanwhile() -> None:
            merchant.network.interface = second
            await save()

        merchant.sessions.originals.save = meanwhile  # type: ignore[method-assign]
        merchant.shop.chain.add(other_payment(merchant, session_id))
        await merchant.until(lambda: merchant.network.interface is second)
        await asyncio.sleep(0.5)
        assert merchant.network.broadcast == []
        paying.cancel()


@on_electrums_loop
async def test_the_payment_comes_while_the_file_is_saved(tmp_path: Path, set_ahead: Callable[[int], None]) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _sender, other, paying = await hold_paid_otherwise(merchant)
        flush, is_saving, may_end = merchant.sessions.store.flush, asyncio.Event(), asyncio.Event()

        async def slowly() -> None:
            is_saving.set()
            await may_end.wait()
            await flush()

        merchant.sessions.store.flush = slowly  # type: ignore[method-assign]
        vanish(merchant, session_id, other)
        await merchant.until(lambda: session_id in merchant.sessions.settling.tasks)
        set_ahead(2 * HOUR)
        await is_saving.wait()
        merchant.sees(other)
        may_end.set()
        await seen_to(merchant)
        assert merchant.network.broadcast == []
        paying.cancel()


@on_electrums_loop
async def test_a_dropped_payjoin_is_not_broadcast_again_where_its_deleted_request_was_paid_otherwise(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        payjoin = sender.payjoin()
        merchant.sees(payjoin)
        await merchant.until_row(session_id, status="completed")
        merchant.wallet.delete_request(merchant.row(session_id)["request_id"])
        vanish(merchant, session_id, payjoin)
        merchant.sees(other_payment(merchant, session_id))
        with pytest.raises(UserError, match="paid already"):
            await merchant.sessions.settling.broadcast_payjoin(session_id, payjoin.serialize())
        assert merchant.network.broadcast == []


@on_electrums_loop
async def test_what_had_paid_is_unseen_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_ahead: Callable[[int], None]
) -> None:
    monkeypatch.setattr(objections, "DOUBT", 600.0)
    async with shop(tmp_path) as merchant:
        session_id, sender, other, paying = await hold_paid_otherwise(merchant)
        set_ahead(2 * HOUR)
        vanish(merchant, session_id, other)
        await merchant.until(lambda: session_id in merchant.sessions.settling.tasks)
        await asyncio.sleep(1)
        assert merchant.network.broadcast == []
        assert merchant.sessions.handover.hand_over() == 0
        assert list(merchant.sessions.objections.at_stake()) == [sender.made.transaction().txid()]
        assert "may be seen again" in (view_of(merchant.sessions, session_id).trouble or "")
        monkeypatch.setattr(objections, "DOUBT", 0.0)  # time has passed
        await merchant.until(lambda: merchant.network.broadcast == [sender.made.transaction().txid()])
        paying.cancel()


@on_electrums_loop
async def test_the_doubt_begins_when_a_payment_is_dropped_whoever_looks(
    tmp_path: Path, run_for: Callable[[float], None]
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _sender, other, paying = await hold_paid_otherwise(merchant)
        vanish(merchant, session_id, other)
        await a_while_before_expiry()
        run_for(3000)
        await merchant.close()
        assert merchant.sessions.handover.hand_over() == 1
        paying.cancel()


@on_electrums_loop
async def test_the_doubt_begins_anew_each_time(
    tmp_path: Path, run_for: Callable[[float], None], set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _sender, other, paying = await hold_paid_otherwise(merchant)
        vanish(merchant, session_id, other)
        await a_while_before_expiry()
        assert "may be seen again" in (view_of(merchant.sessions, session_id).trouble or ""), "whoever looks at it"
        merchant.sees(other)
        await a_while_before_expiry()
        run_for(3000)
        vanish(merchant, session_id, other)
        set_ahead(2 * HOUR)
        trigger_callback("wallet_updated", merchant.wallet)
        await merchant.until(lambda: session_id in merchant.sessions.settling.tasks)
        await asyncio.sleep(1)
        assert merchant.network.broadcast == []
        paying.cancel()


@on_electrums_loop
async def test_what_paid_one_of_two_requests_of_a_payment_is_unseen_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_ahead: Callable[[int], None]
) -> None:
    monkeypatch.setattr(objections, "DOUBT", 600.0)
    async with one_for_two(tmp_path) as (merchant, _first, second, original):
        other = other_payment(merchant, second)
        merchant.sees(other)
        await merchant.until_row(second, status="paid_without_payjoin")
        set_ahead(2 * HOUR)
        await a_while(merchant)
        vanish(merchant, second, other)
        await asyncio.sleep(1)
        assert merchant.network.broadcast == []
        monkeypatch.setattr(objections, "DOUBT", 0.0)
        await merchant.until(lambda: merchant.network.broadcast == [original.txid()])


@on_electrums_loop
async def test_a_part_of_a_deleted_request_that_came_is_not_the_whole_of_a_payment_in_two_outputs(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path) as merchant:
        merchant.wallet.config.PAYJOIN_ASK_BEFORE_CONTRIBUTING = True
        session_id, uri = merchant.offer()
        made = merchant.shop.payment(parse(uri).address)
        (script, _), *others = made.outputs
        made = replace(made, outputs=((script, AMOUNT // 2), (script, AMOUNT // 2), *others))
        paying = asyncio.ensure_future(merchant.shop.sender(uri, made=made).run())
        await merchant.until_row(session_id, reason="needs_approval")
        address = merchant.row(session_id)["address"]
        merchant.sees(transaction([foreign_outpoint("a part")], [(address, AMOUNT // 2)]))
        merchant.wallet.delete_request(merchant.row(session_id)["request_id"])
        await merchant.until_row(session_id, status="aborted")
        assert merchant.sessions.objections.at_stake() == {made.transaction().txid(): AMOUNT}
        assert await merchant.sessions.broadcast_original(session_id) == made.transaction().txid()
        paying.cancel()


# The clock


@on_electrums_loop
async def test_the_clock_was_ahead_while_an_original_was_held(tmp_path: Path, set_ahead: Callable[[int], None]) -> None:
    async with shop(tmp_path) as merchant:
        merchant.wallet.config.PAYJOIN_BROADCAST_ORIGINAL_BY_ITSELF = False
        session_id, _sender, paying = await hold(merchant)
        set_ahead(2 * HOUR)
        await merchant.until(lambda: not merchant.sessions.live.is_at_work(session_id))
        set_ahead(0)
        trigger_callback("wallet_updated", merchant.wallet)
        await merchant.until_row(session_id, status="active", reason="needs_approval")
        merchant.sessions.answer(session_id, password=None)
        await paying
        await merchant.until_row(session_id, stage="waiting_for_broadcast")


@on_electrums_loop
async def test_the_clock_was_ahead_while_the_connection_was_away(
    tmp_path: Path, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _sender, paying = await hold(merchant)
        main, merchant.network.interface = merchant.network.interface, None
        set_ahead(2 * HOUR)
        await merchant.until_row(session_id, status="expired")
        set_ahead(0)
        merchant.network.interface = main
        merchant.wallet.up_to_date_changed_event.set()
        trigger_callback("wallet_updated", merchant.wallet)
        await merchant.until_row(session_id, status="active", reason="needs_approval")
        assert merchant.network.broadcast == []
        paying.cancel()


# The chain


@on_electrums_loop
async def test_a_reorg_puts_the_payjoin_into_a_block_that_is_no_younger_than_the_request(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        merchant.sees(sender.payjoin())
        await merchant.until_row(session_id, status="completed")
        request = merchant.wallet.get_request(merchant.row(session_id)["request_id"])
        see_confirmed(merchant.wallet, sender.payjoin(), height=request.height)
        assert view_of(merchant.sessions, session_id).paid_by is PaidBy.PAYJOIN


@on_electrums_loop
async def test_a_reorg_puts_another_payment_into_the_block_of_the_requests_own_height(
    tmp_path: Path, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _sender, paying = await hold(merchant)
        request = merchant.wallet.get_request(merchant.row(session_id)["request_id"])
        see_confirmed(merchant.wallet, other_payment(merchant, session_id), height=request.height)
        set_ahead(2 * HOUR)
        await a_while(merchant)
        assert merchant.row(session_id)["status"] != "active"
        assert merchant.network.broadcast == []
        with pytest.raises(UserError, match="paid already"):
            await merchant.sessions.broadcast_original(session_id)
        paying.cancel()


# The address


@on_electrums_loop
async def test_the_address_of_an_original_that_is_not_checked_yet_goes_to_nobody_else(tmp_path: Path) -> None:
    async with unchecked(tmp_path, exp=SOON) as (merchant, session_id, _sender):
        await merchant.until_row(session_id, status="expired")
        assert merchant.row(session_id)["address"] not in merchant.wallet.get_unused_addresses()


# Many


@on_electrums_loop
async def test_a_look_at_many_kept_payments_reads_them_once(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _sender, paying = await hold(merchant)
        request_id, address = (merchant.row(session_id)[name] for name in ("request_id", "address"))
        merchant.sees(other_payment(merchant, session_id))
        await merchant.until_row(session_id, status="paid_without_payjoin")
        store = merchant.sessions.store.kept
        for number in range(20):
            tx = transaction([f"{number:064x}:0"], [(address, AMOUNT)])
            store.keep(
                tx.txid(),
                tx.serialize(),
                session_id=f"{number:016x}",
                request_id=request_id,
                address=address,
                amount_sat=AMOUNT,
                since_height=0,
                label="",
                at=0,
            )
        reads, read = 0, store.all

        def counted() -> Any:
            nonlocal reads
            reads += 1
            return read()

        store.all = counted  # type: ignore[method-assign]
        merchant.sessions.settling.look_after(lambda _: False)
        assert len(kept(merchant)) == 21
        assert reads == 2, "one of them by this test"
        paying.cancel()
