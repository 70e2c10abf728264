"""Customers with payjoin-cli, and what is true after one of them has paid."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.interop.receiver import Receiver
from tests.stand.node import SATS
from tests.stand.payjoin_cli import PayjoinCli, Run, txid_of
from tests.stand.processes import Service
from tests.stand.stand import Stand

NUMBER = itertools.count(1)

AMOUNT = 100_000
"""Satoshis."""

PAID, UNCONFIRMED = 3, 7
"""Electrum's PR_PAID and PR_UNCONFIRMED."""

WHOLE_LOG = [
    "Created",
    "RetrievedOriginal",
    "AcceptedOriginal",
    "CommittedContribution",
    "SignedProposal",
    "PostedProposal",
    "Closed",
]
"""The events of a session that ended as a payjoin."""


def new_sender(stand: Stand) -> PayjoinCli:
    """Make a person with one coin."""
    return stand.payjoin_cli(f"customer-{next(NUMBER)}", 2_000_000)


@contextmanager
def frozen(service: Service) -> Iterator[None]:
    """Stop a process where it stands (SIGSTOP), for as long as the block lasts."""
    os.kill(service.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(service.pid, signal.SIGCONT)


def assert_paid_by_payjoin(
    stand: Stand, receiver: Receiver, request: dict[str, Any], sender: PayjoinCli, run: Run
) -> None:
    """Wait until `request` is paid by a payjoin of one coin of each side, after one answer of ours."""
    txid = txid_of(run)
    session = receiver.until(request["payjoin"]["session_id"], status="completed")
    assert session["payjoin_txid"] == txid
    assert [event["event"] for event in session["events"]] == WHOLE_LOG
    committed = session["events"][WHOLE_LOG.index("CommittedContribution")]["detail"]
    inputs = stand.node.transaction(txid)["vin"]
    ours = [txin for txin in inputs if f"{txin['txid']}:{txin['vout']}" in committed]
    theirs = [txin for txin in inputs if _is_of(stand, sender, txin["prevout"])]
    assert (len(inputs), len(ours), len(theirs)) == (2, 1, 1)
    request = receiver.get_request(request["request_id"])
    assert request["tx_hashes"] == [txid]
    assert request["payjoin"]["received_sat"] == AMOUNT - session["receiver_fee_sat"]


def pay_plainly(stand: Stand, uri: str) -> str:
    """Pay a URI as a wallet does that knows nothing of payjoin, and return the txid."""
    address, query = urlsplit(uri).path, parse_qs(urlsplit(uri).query)
    return stand.node.fund(address, int(Decimal(query["amount"][0]) * SATS))


def is_seen_as_paid(request: dict[str, Any]) -> bool:
    """Tell whether Electrum counts a request as paid, in the mempool or in a block."""
    return request["status"] in (UNCONFIRMED, PAID)


def _is_of(stand: Stand, sender: PayjoinCli, prevout: dict[str, Any]) -> bool:
    address = prevout["scriptPubKey"]["address"]
    return bool(stand.node.rpc("getaddressinfo", address, wallet=sender.name)["ismine"])
