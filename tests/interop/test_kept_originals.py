"""The sender's own payment outlives the session, the plugin and a stay in an Electrum without it."""

from __future__ import annotations

import shutil

import pytest

from payjoin_plugin.app.originals import DEEP
from tests.interop.conftest import COINS, new_wallet, setting
from tests.interop.payments import BY_ITSELF, UNTIL_ASKED, hold, is_at_node, session_of, txid_of_original
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT
from tests.sender.payer import Payer
from tests.stand.electrum_daemon import ElectrumDaemon
from tests.stand.processes import wait_until
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

LIFE = 8
"""Seconds until a request expires that is to expire: enough for what comes before."""


@pytest.fixture
def merchant(stand: Stand, counter: Receiver) -> Receiver:
    return new_wallet(stand, counter, *COINS)


def kept(receiver: Receiver) -> dict[str, dict[str, object]]:
    """Return what the wallet file keeps."""
    found: dict[str, dict[str, object]] = receiver.stored().get("payjoin_originals", {})
    return found


def kept_now(receiver: Receiver) -> dict[str, dict[str, object]]:
    """Return the same after a save of Electrum's: what is forgotten waits for one."""
    made = receiver.request(AMOUNT)
    receiver.rpc("delete_request", request_id=made["request_id"])
    return kept(receiver)


def test_an_original_is_kept_with_its_event_until_its_coins_are_deep_in_the_chain(
    stand: Stand, merchant: Receiver, payer: Payer
) -> None:
    with setting(merchant, UNTIL_ASKED, value=True):
        request, payment = hold(payer, merchant, memo="coffee")
    stored = merchant.stored()
    log = stored["plugin_data"]["payjoin"]["sessions"][session_of(request)]
    assert log["events"][-1]["event"] == "accepted_original"
    txid = txid_of_original(payment)
    entry = stored["payjoin_originals"][txid]
    assert (entry["tx"], entry["session_id"], entry["label"]) == (
        payment.original_transaction.hex(),
        session_of(request),
        "coffee",
    )
    merchant.rpc("payjoin_abort", session_id=session_of(request))
    assert kept(merchant)[txid]["aborted"] is True

    payment.broadcast_original()
    merchant.until(session_of(request), confirmations=0)
    assert txid in kept(merchant)
    stand.mine(DEEP - 1)
    merchant.until(session_of(request), confirmations=DEEP - 1)
    assert txid in kept(merchant)
    stand.mine()
    wait_until(lambda: txid not in kept_now(merchant), what="it is kept no longer")


def test_the_address_of_a_held_original_goes_to_nobody_else(stand: Stand, merchant: Receiver, payer: Payer) -> None:
    unpaid = merchant.payjoin_request(AMOUNT, expiry=LIFE)
    with setting(merchant, UNTIL_ASKED, value=True), setting(merchant, BY_ITSELF, value=False):
        request, payment = hold(payer, merchant, expiry=LIFE)
        for expired in (unpaid, request):
            merchant.until(session_of(expired), status="expired")
            merchant.until_request(expired["request_id"], lambda found: found["status"] == 1, "is expired")
        addresses = [merchant.request(AMOUNT)["address"] for _ in range(3)]
        assert not {unpaid["address"], request["address"]} & set(addresses)
        merchant.rpc("delete_request", request_id=unpaid["request_id"])
        assert merchant.request(AMOUNT)["address"] == unpaid["address"], "nobody asks for a payment there any more"

        payment.spend_otherwise()
        stand.mine()
        merchant.until(session_of(request), status="failed")
        stand.mine(DEEP)
        wait_until(lambda: not kept_now(merchant), what="it is kept no longer")
        merchant.rpc("delete_request", request_id=request["request_id"])
        assert merchant.request(AMOUNT)["address"] == request["address"]


@pytest.fixture(scope="module")
def without_plugin(stand: Stand) -> ElectrumDaemon:
    return stand.electrum("without-plugin")


def test_an_electrum_without_the_plugin_keeps_the_originals_and_back_here_they_are_broadcast(
    stand: Stand, merchant: Receiver, payer: Payer, without_plugin: ElectrumDaemon
) -> None:
    with setting(merchant, UNTIL_ASKED, value=True):
        request, payment = hold(payer, merchant)
        aborted, given_up = hold(payer, merchant)
        paid, first_payment = hold(payer, merchant)
        merchant.rpc("payjoin_abort", session_id=session_of(aborted))
        merchant.daemon.close_wallet(merchant.wallet)
        here, there = merchant.daemon.wallet_path(merchant.wallet), without_plugin.wallet_path(merchant.wallet)

        shutil.move(here, there)
        without_plugin.load_wallet(merchant.wallet)
        other = payer.pay_plainly(paid["address"], AMOUNT)
        elsewhere = Receiver(without_plugin, merchant.wallet)
        elsewhere.until_request(paid["request_id"], lambda found: found["tx_hashes"] == [other], "is paid")
        without_plugin.close_wallet(merchant.wallet)
        assert "payjoin" not in elsewhere.stored().get("plugin_data", {})
        assert len(kept(elsewhere)) == 3

        shutil.move(there, here)
        merchant.open()
        rows = merchant.rpc("payjoin_sessions")
        assert {row["session_id"] for row in rows} == {session_of(one) for one in (request, aborted, paid)}
        assert {row["status"] for row in rows} == {"unreadable"}
        wait_until(lambda: is_at_node(stand, txid_of_original(payment)), what="the original is broadcast")
    merchant.until_request(request["request_id"], lambda found: found["status"] == 7, "is being paid")
    assert not is_at_node(stand, txid_of_original(given_up))
    assert not is_at_node(stand, txid_of_original(first_payment))
    lost = session_of(aborted)
    assert merchant.rpc("payjoin_original", session_id=lost) == given_up.original_transaction.hex()
    assert merchant.rpc("payjoin_broadcast_original", session_id=lost) == txid_of_original(given_up)
    assert is_at_node(stand, txid_of_original(given_up))
