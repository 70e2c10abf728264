"""payjoin-cli pays Electrum with our plugin, through the reference's directory and relay, on a real node."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.interop.receiver import Receiver
from tests.stand.payjoin_cli import Run, txid_of
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

AMOUNT = 100_000
PAID, UNCONFIRMED = 3, 7
"""Electrum's PR_PAID and PR_UNCONFIRMED."""


def pay(stand: Stand, name: str, uri: str) -> Run:
    """Start a payer with two coins of their own."""
    return stand.payjoin_cli(name, 2_000_000, 2_000_000).send(uri)


def test_a_payjoin_reaches_the_chain_and_everybody_is_told_the_truth(stand: Stand, receiver: Receiver) -> None:
    before = receiver.balance_sat()
    request = receiver.payjoin_request(AMOUNT, memo="coffee")
    session_id = request["payjoin"]["session_id"]
    txid = txid_of(pay(stand, "alice", request["URI"]))
    session = receiver.until(session_id, status="completed")

    tx = stand.node.transaction(txid)
    ours = {event["detail"] for event in session["events"] if event["event"] == "CommittedContribution"}
    spent = {f"{txin['txid']}:{txin['vout']}" for txin in tx["vin"]}
    assert len(spent) == 2
    assert any(outpoint in detail for outpoint in spent for detail in ours)
    assert session["payjoin_txid"] == txid
    assert session["contributed_sat"] in (5_000_000, 3_000_000)

    received = AMOUNT - session["receiver_fee_sat"]
    assert receiver.balance_sat() == before + received
    request = receiver.get_request(request["request_id"])
    assert request["status"] == UNCONFIRMED
    assert request["tx_hashes"] == [txid]
    assert request["payjoin"]["received_sat"] == received
    assert session["confirmations"] == 0

    stand.mine()
    request = receiver.until_request(request["request_id"], lambda found: found["status"] == PAID, "is paid")
    assert receiver.until(session_id, confirmations=1)["status"] == "completed"
    assert receiver.events(session_id) == [
        "Created",
        "RetrievedOriginal",
        "AcceptedOriginal",
        "CommittedContribution",
        "SignedProposal",
        "PostedProposal",
        "Closed",
    ]


def test_a_wallet_that_sums_up_an_address_would_credit_our_own_coin(stand: Stand, receiver: Receiver) -> None:
    request = receiver.payjoin_request(AMOUNT)
    txid = txid_of(pay(stand, "summed", request["URI"]))
    session = receiver.until(request["payjoin"]["session_id"], status="completed")
    arrived = sum(
        round(txout["value"] * 100_000_000)
        for txout in stand.node.transaction(txid)["vout"]
        if txout["scriptPubKey"]["address"] == request["address"]
    )
    net = receiver.get_request(request["request_id"])["payjoin"]["received_sat"]
    assert net == AMOUNT - session["receiver_fee_sat"]
    assert arrived == net + session["contributed_sat"]


def test_a_payjoin_costs_one_save_of_the_wallet_file_and_one_batch_to_the_server(
    stand: Stand, own_receiver: Callable[..., Receiver]
) -> None:
    sender = stand.payjoin_cli("counted", 2_000_000)
    receiver = own_receiver(4_000_000)  # a block later: a coin that the server does not list yet is asked for again
    request = receiver.payjoin_request(AMOUNT)
    receiver.daemon.wait_synced(receiver.wallet)
    log = receiver.daemon.log
    before = log.stat().st_size
    txid_of(sender.send(request["URI"]))
    receiver.until(request["payjoin"]["session_id"], status="completed")
    told = log.read_text()[before:]
    answering = told[told.index(": RetrievedOriginal") : told.index(": PostedProposal")]
    # Electrum saves too, by itself, each time it has caught up with its server, and says so.
    assert answering.count("WalletStorage | saved ") - answering.count("set_up_to_date: True") == 1
    assert answering.count("asking about coins in a batch") == 1
    # Of the whole: what the sender broadcasts moves their coins, and it is asked once more what spends them.
    assert told.count("asking about coins in a batch") <= 3


def test_two_requests_at_once_are_both_paid(stand: Stand, receiver: Receiver) -> None:
    requests = [receiver.payjoin_request(amount) for amount in (60_000, 70_000)]
    txids = [txid_of(pay(stand, f"pair-{n}", request["URI"])) for n, request in enumerate(requests)]
    for request, txid in zip(requests, txids, strict=True):
        assert receiver.until(request["payjoin"]["session_id"], status="completed")["payjoin_txid"] == txid


def test_three_senders_one_after_another_are_all_served(stand: Stand, receiver: Receiver) -> None:
    for number in range(3):
        request = receiver.payjoin_request(50_000 + number)
        txid = txid_of(pay(stand, f"row-{number}", request["URI"]))
        assert receiver.until(request["payjoin"]["session_id"], status="completed")["payjoin_txid"] == txid
        stand.mine()


def test_five_senders_at_the_same_moment_are_all_served(stand: Stand, own_receiver: Callable[..., Receiver]) -> None:
    receiver = own_receiver(*(1_000_000 + number for number in range(10)))
    people = [stand.payjoin_cli(f"crowd-{number}", 2_000_000) for number in range(5)]
    requests = [receiver.payjoin_request(40_000 + number) for number in range(5)]
    runs = [person.send(request["URI"]) for person, request in zip(people, requests, strict=True)]
    txids = [txid_of(run) for run in runs]
    contributed = set()
    for request, txid in zip(requests, txids, strict=True):
        session = receiver.until(request["payjoin"]["session_id"], status="completed")
        assert session["payjoin_txid"] == txid
        contributed.add(session["contributed_sat"])
    assert len(contributed) == 5
    # Naming a payjoin while the wallet file was locked once blocked the daemon for good.
    assert receiver.daemon.rpc("ping") is True


def test_a_sender_may_post_while_the_receiver_is_off(stand: Stand, own_receiver: Callable[..., Receiver]) -> None:
    receiver = own_receiver(4_000_000)
    request = receiver.payjoin_request(AMOUNT)
    receiver.daemon.stop()
    run = pay(stand, "early", request["URI"])
    run.wait_for("Posted Original PSBT")
    receiver.restart()
    txid = txid_of(run)
    assert receiver.until(request["payjoin"]["session_id"], status="completed")["payjoin_txid"] == txid


def test_the_uri_is_plain_again_once_the_sender_has_answered(stand: Stand, receiver: Receiver) -> None:
    request = receiver.payjoin_request(AMOUNT)
    assert request["payjoin"]["plain_uri"] == request["URI"].partition("&pjos=0&pj=")[0]
    txid_of(pay(stand, "once", request["URI"]))
    receiver.until(request["payjoin"]["session_id"], status="completed")
    assert receiver.get_request(request["request_id"])["URI"] == request["payjoin"]["plain_uri"]
