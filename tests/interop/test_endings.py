"""How a session ends when somebody does not do their part: our test sender where payjoin-cli cannot play it."""

from __future__ import annotations

import time

import pytest

from payjoin_plugin.errors import ErrorReplyReceived
from tests.interop.conftest import new_wallet, setting
from tests.interop.mailboxes import written
from tests.interop.payments import BY_ITSELF, UNTIL_ASKED, hold, is_at_node, pay, session_of, txid_of_original
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT, is_seen_as_paid, new_sender
from tests.sender.payer import Funds, Payer
from tests.sender.payment import Terms
from tests.stand.electrum_daemon import ElectrumError
from tests.stand.payjoin_cli import txid_of
from tests.stand.processes import wait_until
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

LIFE = 8
"""Seconds until a request expires that is to expire: enough for what comes before."""
PASSWORD = "secret of the till"


@pytest.fixture(scope="module")
def merchant(stand: Stand, counter: Receiver) -> Receiver:
    return new_wallet(stand, counter, *(1_000_000 + number for number in range(8)))


# Double spends


def test_a_double_spend_before_the_answer_is_the_users_to_judge(stand: Stand, merchant: Receiver, payer: Payer) -> None:
    with setting(merchant, UNTIL_ASKED, value=True):
        request, payment = hold(payer, merchant)
        payment.spend_otherwise()
        merchant.until(session_of(request), stage="waiting_for_wallet", reason="double_spend")
        assert merchant.events(session_of(request))[-1] == "AcceptedOriginal"

        merchant.rpc("payjoin_answer", session_id=session_of(request))
        payment.wait()
        merchant.until(session_of(request), stage="waiting_for_broadcast", reason="double_spend")
    stand.mine()
    session = merchant.until(session_of(request), status="failed")
    assert session["events"][-1]["detail"] == "The sender's coins were spent elsewhere"


def test_a_double_spend_without_the_users_word_gets_no_answer(stand: Stand, merchant: Receiver, payer: Payer) -> None:
    with setting(merchant, UNTIL_ASKED, value=True):
        request, payment = hold(payer, merchant)
        before = written(stand)
        payment.spend_otherwise()
        merchant.until(session_of(request), reason="double_spend")
    # Nothing else keeps it back any more, and it stays where it is.
    other = merchant.payjoin_request(AMOUNT)
    pay(payer, other).fetch()
    assert merchant.session(session_of(request))["reason"] == "double_spend"
    merchant.rpc("payjoin_abort", session_id=session_of(request))
    mailboxes_of_the_other = 2
    assert len(written(stand) - before) == mailboxes_of_the_other


def test_a_coin_that_goes_with_its_unconfirmed_parent_is_a_double_spend_too(stand: Stand, merchant: Receiver) -> None:
    turncoat = Payer.create(stand, "turncoat", Funds("p2wpkh", 500_000))
    (coin,) = turncoat.coins()
    turncoat.broadcast(turncoat.spend([coin.outpoint], to=turncoat.address(), value_sat=499_000))
    with setting(merchant, UNTIL_ASKED, value=True):
        request, payment = hold(turncoat, merchant)
        turncoat.broadcast(turncoat.spend([coin.outpoint], to=turncoat.address(), value_sat=450_000))
        merchant.until(session_of(request), stage="waiting_for_wallet", reason="double_spend")
        stand.mine()  # nothing that spends the coin is ever mined
        assert merchant.session(session_of(request))["reason"] == "double_spend"
        merchant.rpc("payjoin_abort", session_id=session_of(request))
    with pytest.raises(ElectrumError, match=r"input|orphan"):
        merchant.rpc("payjoin_broadcast_original", session_id=session_of(request))
    assert not is_at_node(stand, txid_of_original(payment))


def test_a_double_spend_that_was_mined_while_electrum_was_closed_ends_the_session(
    stand: Stand, merchant: Receiver, payer: Payer
) -> None:
    request = merchant.payjoin_request(AMOUNT)
    payment = pay(payer, request)
    payment.fetch()
    merchant.daemon.stop()
    txid = payment.spend_otherwise()
    stand.mine()
    merchant.restart()
    session = merchant.until(session_of(request), status="failed")
    assert session["confirmations"] is None
    assert txid not in merchant.get_request(request["request_id"])["tx_hashes"]


def test_an_original_that_was_seen_and_then_double_spent_is_said_to_be_gone(
    stand: Stand, merchant: Receiver, payer: Payer
) -> None:
    with setting(merchant, UNTIL_ASKED, value=True):
        request, payment = hold(payer, merchant)
        payment.broadcast_original()
        log = merchant.until(session_of(request), status="paid_without_payjoin", confirmations=0)["events"]
    payment.spend_otherwise()
    # The log is closed; what can be seen says the rest, and Electrum's own status takes a local one for a payment.
    assert merchant.until(session_of(request), confirmations=None)["events"] == log
    assert merchant.get_request(request["request_id"])["payjoin"]["received_sat"] == 0
    with pytest.raises(ElectrumError, match="trying to replace another one"):
        merchant.rpc("payjoin_broadcast_original", session_id=session_of(request))
    stand.mine()
    height = stand.node.height()
    wait_until(lambda: merchant.daemon.rpc("getinfo")["blockchain_height"] == height, what="Electrum has the block")
    with pytest.raises(ElectrumError, match="spent otherwise"):
        merchant.rpc("payjoin_broadcast_original", session_id=session_of(request))


# Expiry


def test_a_payjoin_that_comes_after_expiry_counts(stand: Stand, merchant: Receiver, payer: Payer) -> None:
    with setting(merchant, BY_ITSELF, value=False):
        request = merchant.payjoin_request(AMOUNT, expiry=LIFE)
        payment = pay(payer, request)
        payment.fetch()
        merchant.until(session_of(request), status="expired")
        assert not is_at_node(stand, txid_of_original(payment))
        txid = payment.broadcast_payjoin()
        assert merchant.until(session_of(request), status="completed")["payjoin_txid"] == txid


def test_an_expired_original_is_broadcast_by_hand_where_the_setting_is_off(
    stand: Stand, merchant: Receiver, payer: Payer
) -> None:
    with setting(merchant, BY_ITSELF, value=False), setting(merchant, UNTIL_ASKED, value=True):
        request, payment = hold(payer, merchant, expiry=LIFE)
        session = merchant.until(session_of(request), status="expired")
        assert (session["stage"], session["reason"]) == (None, None)
        txid = txid_of_original(payment)
        assert not is_at_node(stand, txid)
        for _ in range(2):  # the second time it is out already
            assert merchant.rpc("payjoin_broadcast_original", session_id=session_of(request)) == txid
        merchant.until(session_of(request), status="paid_without_payjoin", confirmations=0)
        assert merchant.rpc("payjoin_broadcast_original", session_id=session_of(request)) == txid


def test_an_expired_session_is_settled_when_electrum_opens_and_an_aborted_one_is_not_broadcast(
    stand: Stand, merchant: Receiver, payer: Payer
) -> None:
    with setting(merchant, UNTIL_ASKED, value=True):
        aborted, given_up = hold(payer, merchant, expiry=LIFE)
        expired, lost = hold(payer, merchant, expiry=LIFE)
        merchant.rpc("payjoin_abort", session_id=session_of(aborted))
        expires_at = merchant.session(session_of(expired))["expires_at"]
        merchant.daemon.stop()
        wait_until(lambda: time.time() > expires_at, what="both have expired")
        merchant.restart()
        merchant.until(session_of(expired), status="paid_without_payjoin")
        assert is_at_node(stand, txid_of_original(lost))
        assert not is_at_node(stand, txid_of_original(given_up))
        assert merchant.session(session_of(aborted))["status"] == "aborted"


def test_an_original_whose_coins_are_being_spent_otherwise_is_not_broadcast_at_expiry(
    stand: Stand, merchant: Receiver, payer: Payer
) -> None:
    with setting(merchant, UNTIL_ASKED, value=True):
        request, payment = hold(payer, merchant, expiry=LIFE)
        payment.spend_otherwise(fee_sat=200)  # the original would replace it
        merchant.until(session_of(request), status="expired", reason="double_spend")
        stand.mine()
        merchant.until(session_of(request), status="failed")
        assert not is_at_node(stand, txid_of_original(payment))


# Failure


def test_after_a_failure_the_senders_payment_is_broadcast(stand: Stand, merchant: Receiver, payer: Payer) -> None:
    with setting(merchant, "max_receiver_fee_sat", value=0):
        request = merchant.payjoin_request(AMOUNT)
        payment = pay(payer, request, Terms(offer_sat=0))
        with pytest.raises(ErrorReplyReceived) as refused:
            payment.fetch()
    assert refused.value.code == "not-enough-money"
    session = merchant.until(session_of(request), status="failed", confirmations=0)
    assert session["reason"] == "costs_too_much"
    assert is_at_node(stand, txid_of_original(payment))
    merchant.until_request(request["request_id"], is_seen_as_paid, "Electrum says so too")


# The wallet is not ready


def test_a_locked_wallet_answers_with_the_password_for_this_once(stand: Stand, counter: Receiver) -> None:
    locked = new_wallet(stand, counter, 1_000_000, 1_100_000, password=PASSWORD)
    request = locked.payjoin_request(AMOUNT)
    run = new_sender(stand).send(request["URI"])
    locked.until(session_of(request), stage="waiting_for_wallet", reason="locked")
    with pytest.raises(ElectrumError, match="Incorrect password"):
        locked.rpc("payjoin_answer", session_id=session_of(request), password="guessed")
    locked.rpc("payjoin_answer", session_id=session_of(request), password=PASSWORD)
    txid = txid_of(run)
    assert locked.until(session_of(request), status="completed")["payjoin_txid"] == txid

    again = locked.payjoin_request(AMOUNT)
    new_sender(stand).send(again["URI"])
    locked.until(session_of(again), stage="waiting_for_wallet", reason="locked")


def test_a_coin_that_is_confirmed_while_the_sender_waits_is_added(stand: Stand, counter: Receiver) -> None:
    merchant = new_wallet(stand, counter, 1_000_000)
    request = merchant.payjoin_request(AMOUNT)
    (coin,) = merchant.rpc("listunspent")
    merchant.rpc("freeze_utxo", coin=f"{coin['prevout_hash']}:{coin['prevout_n']}")
    run = new_sender(stand).send(request["URI"])
    merchant.until(session_of(request), stage="waiting_for_wallet", reason="no_coin")
    stand.fund(merchant.daemon, 2_000_000, wallet=merchant.wallet)
    txid = txid_of(run)
    session = merchant.until(session_of(request), status="completed")
    assert (session["payjoin_txid"], session["contributed_sat"]) == (txid, 2_000_000)


def test_a_wallet_that_gets_no_coin_lets_the_original_through_in_time(
    stand: Stand, counter: Receiver, payer: Payer
) -> None:
    merchant = new_wallet(stand, counter, 1_000_000)
    request = merchant.payjoin_request(AMOUNT, expiry=LIFE)
    (coin,) = merchant.rpc("listunspent")
    merchant.rpc("freeze_utxo", coin=f"{coin['prevout_hash']}:{coin['prevout_n']}")
    payment = pay(payer, request)
    payment.post()
    merchant.until(session_of(request), reason="no_coin")
    merchant.until(session_of(request), status="paid_without_payjoin", confirmations=0)
    assert is_at_node(stand, txid_of_original(payment))
