"""Senders of the old protocol (BIP 78) reach us through the directory, which sees everything (BIP 77)."""

from __future__ import annotations

import pytest

from payjoin_plugin.errors import Unreachable
from tests.interop.conftest import new_wallet, setting
from tests.interop.payments import UNTIL_ASKED, is_at_node, session_of, txid_of_original
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT, assert_paid_by_payjoin, new_sender
from tests.sender.payer import Payer
from tests.sender.payment import prepare_v1
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def merchant(stand: Stand, counter: Receiver) -> Receiver:
    return new_wallet(stand, counter, *(1_000_000 + number for number in range(8)))


def test_payjoin_cli_pays_by_the_old_protocol(stand: Stand, merchant: Receiver) -> None:
    request = merchant.payjoin_request(AMOUNT)
    sender = new_sender(stand)
    run = sender.send(request["URI"], v1=True)
    assert_paid_by_payjoin(stand, merchant, request, sender, run)
    details = [event["detail"] for event in merchant.session(session_of(request))["events"]]
    assert "A payment came, from a wallet of the old protocol" in details


def test_payjoin_cli_is_told_where_the_old_protocol_is_not_served_and_their_payment_is_kept(
    stand: Stand, merchant: Receiver
) -> None:
    with setting(merchant, "accept_v1_senders", value=False):
        request = merchant.payjoin_request(AMOUNT)
        run = new_sender(stand).send(request["URI"], v1=True)
        session = merchant.until(session_of(request), status="failed", reason="version")
        run.wait_for("This version of payjoin is not supported. Use version \\[2\\]")
        merchant.until(session_of(request), confirmations=0)
    assert is_at_node(stand, session["original_txid"])
    assert [event["event"] for event in session["events"]] == [
        "Created",
        "RetrievedOriginal",
        "AcceptedOriginal",
        "RefusedOriginal",
        "Closed",
    ]


def test_a_sender_of_the_old_protocol_who_did_not_wait_pays_without_payjoin(
    stand: Stand, merchant: Receiver, payer: Payer
) -> None:
    with setting(merchant, UNTIL_ASKED, value=True):
        request = merchant.payjoin_request(AMOUNT)
        payment = prepare_v1(payer, request["URI"])
        with pytest.raises(Unreachable):
            payment.ask(seconds=2)
        merchant.until(session_of(request), reason="needs_approval")
        merchant.rpc("payjoin_answer", session_id=session_of(request))
        session = merchant.until(session_of(request), status="paid_without_payjoin", confirmations=0)
    assert "PostedProposal" not in [event["event"] for event in session["events"]]
    assert is_at_node(stand, txid_of_original(payment))
