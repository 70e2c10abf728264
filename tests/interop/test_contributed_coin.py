"""The coin that we add to a proposal: kept out of other payments, given free, and not shown to one sender twice."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from tests.interop.conftest import COINS, new_wallet
from tests.interop.mailboxes import holds_our_answer
from tests.interop.payments import answered, contributed, is_at_node, pay, session_of, txid_of_original
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT
from tests.sender.payer import Payer
from tests.stand.node import MINER
from tests.stand.processes import wait_until
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def merchant(stand: Stand, counter: Receiver) -> Receiver:
    return new_wallet(stand, counter, *COINS)


def spend_all(stand: Stand, receiver: Receiver) -> str:
    """Have Electrum sign a payment of all that it would spend by itself."""
    return str(receiver.rpc("payto", destination=stand.node.address(MINER), amount="!", feerate=5))


def coins_in(stand: Stand, tx: str) -> set[str]:
    decoded: dict[str, Any] = stand.node.rpc("decoderawtransaction", tx)
    return {f"{txin['txid']}:{txin['vout']}" for txin in decoded["vin"]}


def test_a_coin_in_an_open_proposal_is_left_out_of_electrums_own_payments(
    stand: Stand, merchant: Receiver, payer: Payer
) -> None:
    request, _ = answered(payer, merchant)
    coin = contributed(merchant, request)
    everything = {f"{found['prevout_hash']}:{found['prevout_n']}" for found in merchant.rpc("listunspent")}
    assert coins_in(stand, spend_all(stand, merchant)) == everything - {coin}
    merchant.rpc("payjoin_abort", session_id=session_of(request))
    assert coins_in(stand, spend_all(stand, merchant)) == everything


def test_a_coin_that_the_user_unfreezes_is_spent_and_the_original_pays(
    stand: Stand, merchant: Receiver, payer: Payer
) -> None:
    request, payment = answered(payer, merchant)
    coin = contributed(merchant, request)
    merchant.rpc("unfreeze_utxo", coin=coin)
    tx = spend_all(stand, merchant)
    assert coin in coins_in(stand, tx)
    merchant.daemon.rpc("broadcast", tx=tx)
    merchant.until(session_of(request), status="paid_without_payjoin", confirmations=0)
    assert is_at_node(stand, txid_of_original(payment))


def test_a_coin_of_an_expired_proposal_is_free_again(stand: Stand, merchant: Receiver, payer: Payer) -> None:
    request, _ = answered(payer, merchant, expiry=8)
    coin = contributed(merchant, request)
    merchant.until(session_of(request), status="paid_without_payjoin", confirmations=0)
    assert coin in coins_in(stand, spend_all(stand, merchant))


def test_two_copies_of_a_wallet_give_a_sender_one_answer(
    stand: Stand, counter: Receiver, daemon: Receiver, merchant: Receiver, payer: Payer
) -> None:
    request = merchant.payjoin_request(AMOUNT)
    copy = Receiver(daemon.daemon, f"copy of {merchant.wallet}")
    shutil.copy(merchant.daemon.wallet_path(merchant.wallet), copy.daemon.wallet_path(copy.wallet))
    copy.open()
    copy.until(session_of(request), stage="waiting_for_sender")

    payment = pay(payer, request)
    payment.fetch()
    for one in (merchant, copy):
        one.until(session_of(request), stage="waiting_for_broadcast")
    wait_until(
        lambda: [_reason(one, request) for one in (merchant, copy)].count("answered_elsewhere") == 1,
        what="one of them knows that the other answered",
    )
    first, second = sorted((merchant, copy), key=lambda one: _reason(one, request) or "")
    assert _reason(first, request) is None
    assert holds_our_answer(stand, first, session_of(request))
    assert contributed(first, request) == contributed(second, request)
    for one in (first, second):
        assert contributed(one, request) not in coins_in(stand, spend_all(stand, one))

    txid = payment.broadcast_payjoin()
    assert first.until(session_of(request), status="completed")["payjoin_txid"] == txid
    # The other answer may have been the same transaction, by chance. If not, its log knows the payment of no one.
    assert second.until(session_of(request), confirmations=0)["status"] in ("completed", "paid_without_payjoin")
    assert [one.balance_sat() for one in (first, second)] == [sum(COINS) + AMOUNT] * 2


def _reason(receiver: Receiver, request: dict[str, Any]) -> str | None:
    reason: str | None = receiver.session(session_of(request))["reason"]
    return reason
