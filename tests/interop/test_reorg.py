"""After the end the chain goes on. Our log stays closed, and what we say follows what Electrum sees."""

from __future__ import annotations

import pytest

from tests.interop.conftest import COINS, new_wallet
from tests.interop.payments import answered, session_of
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT
from tests.sender.payer import Payer
from tests.stand.node import MINER
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def merchant(stand: Stand, daemon: Receiver) -> Receiver:
    return new_wallet(stand, daemon, *COINS)


def test_a_reorg_that_drops_the_payjoin(stand: Stand, merchant: Receiver, payer: Payer) -> None:
    request, payment = answered(payer, merchant)
    payjoin = payment.broadcast_payjoin()
    stand.mine()
    log = merchant.until(session_of(request), status="completed", confirmations=1)["events"]

    # The block goes, and the payjoin is in the mempool again.
    stand.node.rpc("invalidateblock", stand.node.rpc("getbestblockhash"))
    double_spend = payer.spend(payment.outpoints, to=payer.address(), value_sat=100_000)
    for _ in range(2):  # the server looks for another chain when that is longer
        stand.node.rpc("generateblock", stand.node.address(MINER), [])
    merchant.until(session_of(request), status="completed", confirmations=0)
    # The next block spends the sender's coins otherwise: the payjoin can never come back.
    stand.node.rpc("generateblock", stand.node.address(MINER), [double_spend.hex()])
    session = merchant.until(session_of(request), status="completed", confirmations=None)
    assert session["events"] == log
    assert session["payjoin_txid"] == payjoin
    assert merchant.get_request(request["request_id"])["payjoin"]["received_sat"] == 0


def test_a_payjoin_that_the_sender_replaces(stand: Stand, merchant: Receiver, payer: Payer) -> None:
    request, payment = answered(payer, merchant)
    payjoin = payment.broadcast_payjoin()
    log = merchant.until(session_of(request), status="completed", confirmations=0)["events"]
    replacement = payment.spend_otherwise(to=request["address"])
    session = merchant.until(session_of(request), status="completed", confirmations=None)
    assert (session["events"], session["payjoin_txid"]) == (log, payjoin)
    merchant.until_request(
        request["request_id"], lambda found: found["tx_hashes"] == [replacement], "is paid otherwise"
    )


def test_bumping_its_fee_in_electrum_needs_the_sender_and_moves_what_it_pays_us(
    stand: Stand, merchant: Receiver, payer: Payer
) -> None:
    before = merchant.balance_sat()
    request, payment = answered(payer, merchant)
    payjoin = payment.broadcast_payjoin()
    log = merchant.until(session_of(request), status="completed", confirmations=0)["events"]
    bumped = merchant.rpc("bumpfee", tx=payjoin, new_fee_rate=10)
    assert not stand.node.rpc("finalizepsbt", bumped)["complete"]
    assert merchant.session(session_of(request))["confirmations"] == 0

    # Should the sender sign it all the same: Electrum took our output for change, and gave it an address of its own.
    payer.broadcast(payer.sign(bumped))
    stand.mine()
    session = merchant.until(session_of(request), status="completed", confirmations=None)
    assert (session["events"], session["payjoin_txid"]) == (log, payjoin)
    merchant.until_request(request["request_id"], lambda found: found["tx_hashes"] == [], "is not paid at its address")
    assert before < merchant.balance_sat() <= before + AMOUNT
