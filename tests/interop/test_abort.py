"""A payjoin is aborted: no answer is ever sent, the request's URI is plain, the sender's own payment is still money."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.conftest import new_wallet
from tests.interop.mailboxes import own_mailbox, written
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT, assert_paid_by_payjoin, is_seen_as_paid, new_sender, pay_plainly
from tests.stand.electrum_daemon import ElectrumError
from tests.stand.payjoin_cli import Run, txid_of
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

PASSWORD = "secret of the till"


@pytest.fixture(scope="module")
def locked(stand: Stand, daemon: Receiver) -> Receiver:
    """A wallet that holds every original for as long as it is locked."""
    return new_wallet(stand, daemon, 1_000_000, password=PASSWORD)


@pytest.fixture(scope="module")
def open_wallet(stand: Stand, daemon: Receiver) -> Receiver:
    """A wallet that answers."""
    return new_wallet(stand, daemon, 1_000_000, 1_000_001)


def hold(stand: Stand, receiver: Receiver) -> tuple[dict[str, Any], Run]:
    """Make a request and have it paid; the sender waits for an answer."""
    request = receiver.payjoin_request(AMOUNT)
    run = new_sender(stand).send(request["URI"])
    receiver.until(request["payjoin"]["session_id"], stage="waiting_for_wallet", reason="locked")
    return request, run


def in_mempool(stand: Stand, txid: str) -> bool:
    return txid in stand.node.rpc("getrawmempool")


def test_after_an_abort_no_answer_is_sent_not_even_when_the_daemon_is_killed(stand: Stand, merchant: Receiver) -> None:
    aborted, other = merchant.payjoin_request(AMOUNT), merchant.payjoin_request(AMOUNT)
    early, served = new_sender(stand), new_sender(stand)
    before = written(stand)
    session_id = aborted["payjoin"]["session_id"]

    row = merchant.rpc("payjoin_abort", session_id=session_id)
    merchant.daemon.kill()
    assert (row["status"], row["stage"], row["original_txid"]) == ("aborted", None, None)
    waiting = early.send(aborted["URI"])
    waiting.wait_for("Posted Original PSBT")

    merchant.restart()
    request = merchant.get_request(aborted["request_id"])
    assert request["URI"] == request["payjoin"]["plain_uri"] == aborted["payjoin"]["plain_uri"]
    assert request["payjoin"]["status"] == "aborted"
    assert merchant.events(session_id) == ["Created", "Closed"]
    assert merchant.rpc("payjoin_abort", session_id=session_id) == row

    # It polls and answers again, for others.
    run = served.send(other["URI"])
    assert_paid_by_payjoin(stand, merchant, other, served, run)
    originals = {own_mailbox(aborted["URI"]), own_mailbox(other["URI"])}
    assert originals < written(stand) - before
    assert len(written(stand) - before) == len(originals) + 1
    assert merchant.events(session_id) == ["Created", "Closed"]
    assert waiting.running
    assert not any("Payjoin sent" in line for line in waiting.lines)

    # The address can be paid all the same.
    txid = pay_plainly(stand, request["URI"])
    assert merchant.until_request(request["request_id"], is_seen_as_paid, "is paid")["tx_hashes"] == [txid]
    waiting.stop()


def test_a_held_original_is_no_answer_and_no_payment_until_it_is_broadcast(stand: Stand, locked: Receiver) -> None:
    before = written(stand)
    request, waiting = hold(stand, locked)
    session_id, request_id = request["payjoin"]["session_id"], request["request_id"]
    mailbox = own_mailbox(request["URI"])
    assert locked.get_request(request_id)["URI"] == request["payjoin"]["plain_uri"]
    with pytest.raises(ElectrumError, match=f"payjoin_abort {session_id}"):
        locked.rpc("payjoin_decline", request_id=request_id)

    row = locked.rpc("payjoin_abort", session_id=session_id)
    original = stand.node.rpc("decoderawtransaction", locked.rpc("payjoin_original", session_id=session_id))
    assert (row["status"], row["original_txid"], row["confirmations"]) == ("aborted", original["txid"], None)
    assert row["contributed_sat"] is None
    assert not in_mempool(stand, original["txid"])
    locked.rpc("unlock", password=PASSWORD)
    locked.daemon.close_wallet(locked.wallet)
    locked.open()
    assert locked.rpc("payjoin_abort", session_id=session_id) == row
    assert not in_mempool(stand, original["txid"])

    assert locked.rpc("payjoin_broadcast_original", session_id=session_id) == original["txid"]
    request = locked.until_request(request_id, is_seen_as_paid, "is paid")
    assert request["tx_hashes"] == [original["txid"]]
    assert locked.session(session_id)["status"] == "aborted"
    assert locked.session(session_id)["confirmations"] == 0
    assert locked.rpc("payjoin_broadcast_original", session_id=session_id) == original["txid"]
    assert written(stand) - before == {mailbox}
    waiting.stop()


def test_an_abort_can_broadcast_the_original_at_once(stand: Stand, locked: Receiver) -> None:
    request, waiting = hold(stand, locked)
    session_id = request["payjoin"]["session_id"]
    row = locked.rpc("payjoin_abort", session_id=session_id, broadcast_original=True)
    assert (row["status"], row["payjoin_txid"]) == ("aborted", None)
    assert in_mempool(stand, row["original_txid"])
    request = locked.until_request(request["request_id"], is_seen_as_paid, "is paid")
    assert request["tx_hashes"] == [row["original_txid"]]
    assert request["payjoin"]["received_sat"] == AMOUNT
    waiting.stop()


def test_a_deleted_request_is_never_answered(stand: Stand, open_wallet: Receiver) -> None:
    deleted, other = open_wallet.payjoin_request(AMOUNT), open_wallet.payjoin_request(AMOUNT)
    session_id = deleted["payjoin"]["session_id"]
    late, served = new_sender(stand), new_sender(stand)
    before = written(stand)
    open_wallet.rpc("delete_request", request_id=deleted["request_id"])
    assert open_wallet.session(session_id)["status"] == "aborted"
    open_sessions = {row["session_id"] for row in open_wallet.rpc("payjoin_sessions")}
    assert open_sessions == {other["payjoin"]["session_id"]}
    assert session_id in {row["session_id"] for row in open_wallet.rpc("payjoin_sessions", all=True)}
    waiting = late.send(deleted["URI"])
    waiting.wait_for("Posted Original PSBT")
    assert_paid_by_payjoin(stand, open_wallet, other, served, served.send(other["URI"]))
    assert len(written(stand) - before) == 3
    waiting.stop()


def test_a_completed_payjoin_cannot_be_aborted(stand: Stand, open_wallet: Receiver) -> None:
    request = open_wallet.payjoin_request(AMOUNT)
    session_id = request["payjoin"]["session_id"]
    txid_of(new_sender(stand).send(request["URI"]))
    before = open_wallet.until(session_id, status="completed")
    with pytest.raises(ElectrumError, match="has ended already: completed"):
        open_wallet.rpc("payjoin_abort", session_id=session_id, broadcast_original=True)
    assert open_wallet.session(session_id) == before
