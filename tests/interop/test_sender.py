"""Our test sender pays Electrum with our plugin, with coins of every type, by BIP 77 and BIP 78; and it pays payjoin-cli.

The first half is what payjoin-cli cannot play. The second proves the sender by a receiver that we did not write.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from payjoin_plugin.bip78.parameters import from_query
from payjoin_plugin.bip78.psbt import Psbt
from payjoin_plugin.errors import ErrorReplyReceived
from payjoin_plugin.session.sender import apply, fallback_psbt
from tests.interop.receiver import Receiver
from tests.sender.payer import Funds, Kind, Payer
from tests.sender.payment import NoProposal, Payment, Terms, pay, prepare, prepare_v1
from tests.stand.node import SATS
from tests.stand.payjoin_cli import Run, uri_of
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

AMOUNT = 100_000
KINDS: tuple[Kind, ...] = ("p2wpkh", "p2tr", "p2sh-p2wpkh", "p2pkh")
NUMBER = itertools.count(1)


def new_payer(stand: Stand, *kinds: Kind) -> Payer:
    """Somebody with coins none of which pays alone."""
    value_sat = 150_000 if len(kinds) == 1 else 70_000
    return Payer.create(stand.node, f"payer-{next(NUMBER)}", *(Funds(kind, value_sat) for kind in kinds))


def is_completed(receiver: Receiver, request: dict[str, Any], txid: str) -> dict[str, Any]:
    """Wait until the session is completed, check what both sides have of it, and return it."""
    session = receiver.until(request["payjoin"]["session_id"], status="completed")
    assert session["payjoin_txid"] == txid
    net = receiver.get_request(request["request_id"])["payjoin"]["received_sat"]
    assert net == AMOUNT - session["receiver_fee_sat"]
    return session
