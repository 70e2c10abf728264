"""The plugin is taken out, and comes back: where the senders' own payments are meanwhile, in a real wallet."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from electrum.fee_policy import FixedFeePolicy
from electrum.interface import TxBroadcastServerReturnedError
from electrum.transaction import PartialTxOutput, Transaction
from electrum.util import trigger_callback

from payjoin_plugin.client.pace import Backoff
from payjoin_plugin.wallet.kept import ORIGINALS_KEY
from tests.app.test_kept_originals import vanish
from tests.app.test_settling import hold
from tests.app.test_unreadable import damage
from tests.merchant import Merchant, on_electrums_loop, shop
from tests.wallet.wallets import foreign_outpoint, reopen, transaction


@asynccontextmanager
async def taken_out(folder: Path) -> AsyncIterator[tuple[Merchant, str]]:
    """A wallet without us, and the txid of a payment that we held."""
    async with shop(folder) as merchant:
        _, sender, paying = await hold(merchant)
        await merchant.close()
        assert merchant.sessions.handover.hand_over() == 1
        yield merchant, sender.made.transaction().txid()
        paying.cancel()


@on_electrums_loop
async def test_what_is_held_becomes_local_transactions(tmp_path: Path) -> None:
    async with taken_out(tmp_path) as (merchant, txid):
        assert merchant.wallet.adb.get_tx_height(txid).is_local_like()
        assert "broadcast it to be paid" in merchant.wallet.get_label_for_txid(txid)
        assert txid in merchant.wallet.db.get_dict(ORIGINALS_KEY)


@on_electrums_loop
async def test_what_the_wallet_sees_already_is_not_called_local(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        _, sender, paying = await hold(merchant)
        txid = merchant.sees(sender.made.transaction())
        await merchant.close()
        assert merchant.sessions.handover.hand_over() == 0
        assert "Payjoin" not in merchant.wallet.get_label_for_txid(txid)
        paying.cancel()


@on_electrums_loop
async def test_what_has_its_session_still_is_taken_back(tmp_path: Path) -> None:
    async with taken_out(tmp_path) as (merchant, txid):
        merchant.sessions.handover.take_back(merchant.sessions.ledger.is_readable)
        assert merchant.wallet.db.get_transaction(txid) is None
        assert "Payjoin" not in merchant.wallet.get_label_for_txid(txid)
        assert merchant.sessions.handover.hand_over() == 1


@on_electrums_loop
async def test_what_the_user_removed_meanwhile_goes_out_no_more(tmp_path: Path) -> None:
    async with taken_out(tmp_path) as (merchant, txid):
        merchant.wallet.db.prune_uninstalled_plugin_data(set())
        merchant.wallet.adb.remove_transaction(txid)
        merchant.wallet.save_db()
        again = Merchant(merchant.shop, reopen(merchant.wallet))
        await again.open()
        await again.until(lambda: not again.sessions.settling.tasks)
        assert again.network.broadcast == []
        (kept,) = again.sessions.store.kept.all()
        assert kept.aborted
        assert await again.sessions.broadcast_original(kept.session_id) == txid
        await again.close()


@on_electrums_loop
async def test_what_the_user_removed_meanwhile_ends_its_session_and_is_handed_over_to_nobody_again(
    tmp_path: Path,
) -> None:
    async with taken_out(tmp_path) as (merchant, txid):
        merchant.wallet.adb.remove_transaction(txid)
        merchant.wallet.save_db()
        again = Merchant(merchant.shop, reopen(merchant.wallet))
        await again.open()
        (session_id,) = again.sessions.store.session_ids()
        assert again.row(session_id)["status"] == "aborted"
        assert list(again.sessions.objections.at_stake()) == [txid], "it may have been Electrum's doing"
        assert again.sessions.handover.to_go() == set()
        await again.close()
        assert again.sessions.handover.hand_over() == 0
        assert again.wallet.db.get_transaction(txid) is None


@on_electrums_loop
async def test_what_the_user_removes_while_it_is_refused_goes_out_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "next", lambda _: 0.05)
    async with taken_out(tmp_path) as (merchant, txid):
        merchant.wallet.db.prune_uninstalled_plugin_data(set())
        merchant.wallet.save_db()
        again, refused = Merchant(merchant.shop, reopen(merchant.wallet)), 0
        take = again.network.broadcast_transaction

        async def refuse(_tx: Transaction) -> None:
            nonlocal refused
            refused += 1
            raise TxBroadcastServerReturnedError("mempool min fee not met")

        again.network.broadcast_transaction = refuse  # type: ignore[method-assign,assignment]
        await again.open()
        await again.until(lambda: refused > 1)
        again.wallet.adb.remove_transaction(txid)
        again.network.broadcast_transaction = take  # type: ignore[method-assign]
        await again.until(lambda: not again.sessions.settling.tasks)
        assert again.network.broadcast == []
        await again.close()


@on_electrums_loop
async def test_what_the_user_removed_goes_out_no_more_where_a_conflict_was_seen_and_dropped_later(
    tmp_path: Path,
) -> None:
    async with taken_out(tmp_path) as (merchant, txid):
        merchant.wallet.db.prune_uninstalled_plugin_data(set())
        original = merchant.wallet.db.get_transaction(txid)
        merchant.wallet.save_db()
        again = Merchant(merchant.shop, reopen(merchant.wallet))
        again.wallet.config.PAYJOIN_BROADCAST_ORIGINAL_BY_ITSELF = False
        await again.open()
        again.wallet.adb.remove_transaction(txid)
        trigger_callback("wallet_updated", again.wallet)
        await again.until(lambda: again.sessions.store.kept.all()[0].aborted)
        conflict = transaction([original.inputs()[0].prevout.to_str()], [(again.wallet.get_receiving_address(), 1_000)])
        again.sees(conflict)
        await again.until(lambda: not again.sessions.store.kept.all()[0].handed_over)
        again.wallet.adb.remove_transaction(conflict.txid())
        again.wallet.config.PAYJOIN_BROADCAST_ORIGINAL_BY_ITSELF = True
        trigger_callback("wallet_updated", again.wallet)
        await again.until(lambda: not again.sessions.settling.tasks)
        assert again.network.broadcast == []
        await again.close()


@on_electrums_loop
async def test_what_electrum_removes_for_what_it_adds_in_its_place_was_not_removed_by_the_user(tmp_path: Path) -> None:
    async with taken_out(tmp_path) as (merchant, txid):
        coin = merchant.wallet.db.get_transaction(txid).inputs()[0].prevout.to_str()
        conflict = transaction([coin], [(merchant.wallet.get_receiving_address(), 1_000)])
        is_removed = threading.Event()

        def replace() -> None:
            with merchant.wallet.adb.lock:
                merchant.wallet.adb.remove_transaction(txid)
                is_removed.set()
                time.sleep(0.2)
                merchant.wallet.adb.add_transaction(conflict)

        replacing = asyncio.get_running_loop().run_in_executor(None, replace)
        assert is_removed.wait(5)
        merchant.sessions.handover.look(merchant.sessions.originals.kept().values())
        await replacing
        (kept,) = merchant.sessions.store.kept.all()
        assert (kept.aborted, kept.handed_over) == (False, False)


@on_electrums_loop
async def test_a_payjoin_that_was_dropped_is_not_removed_for_the_original(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender = await merchant.answered()
        payjoin = sender.payjoin()
        merchant.sees(payjoin)
        await merchant.until_row(session_id, status="completed")
        vanish(merchant, session_id, payjoin)
        await merchant.close()
        assert list(merchant.sessions.objections.at_stake()) == [sender.made.transaction().txid()], (
            "of which it is told"
        )
        assert merchant.sessions.handover.hand_over() == 0
        assert merchant.wallet.db.get_transaction(payjoin.txid()) is not None


@on_electrums_loop
async def test_what_was_broadcast_and_dropped_is_a_local_transaction_already(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, sender, paying = await hold(merchant)
        merchant.wallet.config.PAYJOIN_BROADCAST_ORIGINAL_BY_ITSELF = False
        merchant.sees(sender.made.transaction())
        await merchant.until_row(session_id, status="paid_without_payjoin")
        vanish(merchant, session_id, sender.made.transaction())
        assert merchant.sessions.objections.at_stake() == {}
        paying.cancel()


@on_electrums_loop
async def test_an_entry_that_is_damaged_keeps_no_other_back(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        _session_id, sender, paying = await hold(merchant)
        await merchant.sessions.store.flush()
        kept = merchant.wallet.db.get_dict(ORIGINALS_KEY)
        txid = sender.made.transaction().txid()
        kept["bb" * 32] = {**kept[txid], "request_id": ["r"]}
        other = transaction([foreign_outpoint("damaged")], [(merchant.wallet.get_receiving_addresses()[3], 9_000)])
        kept[other.txid()] = {**kept[txid], "tx": other.serialize(), "session_id": "x", "address": "nonsense"}
        kept["dd" * 32] = {**kept[txid], "session_id": "y", "contributed": 7}
        merchant.wallet.save_db()
        again = await merchant.crash_and_restart()
        assert list(again.sessions.objections.at_stake()) == [txid]
        again.wallet.clear_requests()
        assert [one.aborted for one in again.sessions.originals.holds(txid)] == [True]
        await again.close()
        paying.cancel()


@pytest.mark.parametrize("log", ["is there", "is gone"])
@on_electrums_loop
async def test_what_electrum_itself_removed_for_a_conflict_is_wanted_still(
    tmp_path: Path, log: str, set_ahead: Callable[[int], None]
) -> None:
    async with taken_out(tmp_path) as (merchant, txid):
        wallet, (kept,) = merchant.wallet, merchant.sessions.store.kept.all()
        spent = Transaction(kept.tx).inputs()[0].prevout.to_str()
        conflict = transaction([spent], [(wallet.get_receiving_addresses()[3], 10_000)])
        merchant.sees(conflict)
        assert wallet.db.get_transaction(txid) is None
        if log == "is gone":
            wallet.db.prune_uninstalled_plugin_data(set())
        wallet.save_db()
        again = Merchant(merchant.shop, reopen(wallet))
        await again.open()
        assert [one.aborted for one in again.sessions.store.kept.all()] == [False]
        set_ahead(7200)
        again.wallet.adb.remove_transaction(conflict.txid())
        again.shop.chain.txs.pop(conflict.txid())
        trigger_callback("wallet_updated", again.wallet)
        await again.until(lambda: again.network.broadcast == [txid])
        await again.close()


@on_electrums_loop
async def test_what_lost_its_session_stays_where_it_can_be_broadcast(tmp_path: Path) -> None:
    async with taken_out(tmp_path) as (merchant, txid):
        merchant.sessions.handover.take_back(lambda _session_id: False)
        assert merchant.wallet.db.get_transaction(txid) is not None
        assert "Payjoin" in merchant.wallet.get_label_for_txid(txid)


@on_electrums_loop
async def test_what_has_a_log_that_cannot_be_read_stays_too_when_we_are_here_again(tmp_path: Path) -> None:
    async with taken_out(tmp_path) as (merchant, txid):
        merchant.wallet.save_db()
        (session_id,) = merchant.sessions.store.session_ids()
        damage(merchant, lambda ours: ours["sessions"][session_id].update(format=99))
        again = Merchant(merchant.shop, reopen(merchant.wallet))
        await again.open()
        assert again.row(session_id)["status"] == "unreadable"
        assert again.wallet.db.get_transaction(txid) is not None
        assert "Payjoin" in again.wallet.get_label_for_txid(txid)
        await again.close()


@on_electrums_loop
async def test_a_name_that_the_user_gave_is_kept_both_ways(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        _, sender, paying = await hold(merchant)
        wallet, handover, txid = merchant.wallet, merchant.sessions.handover, sender.made.transaction().txid()
        wallet.set_label(txid, "Mrs Smith")
        await merchant.close()
        handover.hand_over()
        assert wallet.get_label_for_txid(txid) == "Mrs Smith"
        handover.take_back(merchant.sessions.ledger.is_readable)
        assert wallet.get_label_for_txid(txid) == "Mrs Smith"
        paying.cancel()


@on_electrums_loop
async def test_the_name_that_we_gave_goes_whatever_language_electrum_speaks_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with taken_out(tmp_path) as (merchant, txid):
        monkeypatch.setattr("payjoin_plugin.app.handover._", str.upper)
        merchant.sessions.handover.take_back(merchant.sessions.ledger.is_readable)
        assert txid not in merchant.wallet.get_all_labels()


@on_electrums_loop
async def test_what_electrum_broadcast_meanwhile_stays_and_loses_its_label(tmp_path: Path) -> None:
    async with taken_out(tmp_path) as (merchant, txid):
        merchant.sees(merchant.wallet.db.get_transaction(txid))
        merchant.sessions.handover.take_back(merchant.sessions.ledger.is_readable)
        assert merchant.wallet.db.get_transaction(txid) is not None
        assert "Payjoin" not in merchant.wallet.get_label_for_txid(txid)


@on_electrums_loop
async def test_what_was_spent_meanwhile_is_not_torn_out_with_what_spends_it(tmp_path: Path) -> None:
    async with taken_out(tmp_path) as (merchant, txid):
        wallet = merchant.wallet
        child = wallet.make_unsigned_transaction(
            coins=[coin for coin in wallet.get_spendable_coins() if coin.prevout.txid.hex() == txid],
            outputs=[PartialTxOutput.from_address_and_value(wallet.get_receiving_addresses()[5], "!")],
            fee_policy=FixedFeePolicy(300),
        )
        wallet.sign_transaction(child, None)
        assert wallet.adb.add_transaction(child)
        merchant.sessions.handover.take_back(merchant.sessions.ledger.is_readable)
        assert wallet.db.get_transaction(txid) is not None
        assert wallet.db.get_transaction(child.txid()) is not None
