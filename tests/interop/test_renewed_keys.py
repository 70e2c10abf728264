"""The directory changes its OHTTP keys while a request waits for its sender, and Electrum is killed at that moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.grip import Grip
from tests.interop.receiver import Receiver
from tests.interop.scenes import RECEIVERS_COIN, new_held_wallet
from tests.interop.sender import AMOUNT, WHOLE_LOG
from tests.sender.payer import Payer
from tests.sender.payment import prepare
from tests.stand.mailroom import RealMailroom
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

RENEWED = "RenewedKeys"


@pytest.fixture(scope="module")
def mailroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealMailroom]:
    """One of its own: no other test can bear that its keys change."""
    mailroom = RealMailroom(tmp_path_factory.mktemp("mailroom"))
    yield mailroom
    mailroom.stop()


@pytest.fixture(scope="module")
def grip(stand: Stand, mailroom: RealMailroom, plugin_zip: Path) -> Grip:
    directories, ohttp_relays = [mailroom.directory_url], [mailroom.relay_url]
    return Grip(stand, "renewing", plugin_zip, directories=directories, ohttp_relays=ohttp_relays)


@pytest.fixture
def shop(stand: Stand, grip: Grip) -> Receiver:
    """A wallet in a daemon that is held, or dies, when it is told to."""
    grip.daemon.stop()
    grip.reach_in()
    receiver = new_held_wallet(grip)
    stand.fund(receiver.daemon, RECEIVERS_COIN, wallet=receiver.wallet)
    return receiver


@pytest.mark.parametrize("saved", [False, True], ids=["before it is recorded on disk", "after it"])
def test_killed_while_keys_are_renewed_it_is_paid_by_payjoin_all_the_same(
    mailroom: RealMailroom, grip: Grip, shop: Receiver, payer: Payer, *, saved: bool
) -> None:
    request = shop.payjoin_request(AMOUNT)
    session_id = request["payjoin"]["session_id"]
    (grip.hold if saved else grip.die)(session_id, RENEWED)
    mailroom.change_keys()
    if saved:
        grip.wait_for(session_id, RENEWED)
        grip.daemon.kill()
    else:
        grip.wait_for_death()
    grip.daemon.front = ()  # Electrum as it is
    shop.restart()

    renewed = shop.until_request(
        request["request_id"], lambda again: again["URI"] not in (request["URI"], ""), "its URI has the new keys"
    )
    assert "pj=" in renewed["URI"]
    payment = prepare(payer, renewed["URI"], relay=mailroom.relay_url)
    payment.fetch()
    txid = payment.broadcast_payjoin()
    session = shop.until(session_id, status="completed")
    assert session["payjoin_txid"] == txid
    assert shop.events(session_id) == [WHOLE_LOG[0], RENEWED, *WHOLE_LOG[1:]]
