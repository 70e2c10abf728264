"""Where payjoin is not possible a request has a plain URI that works, and a reason; `pj` when the cause has gone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.interop.conftest import new_lightning_wallet, new_wallet, settings_for, start_relay
from tests.interop.receiver import Receiver
from tests.interop.sender import (
    AMOUNT,
    PAID,
    assert_paid_by_payjoin,
    is_seen_as_paid,
    new_sender,
    pay_plainly,
)
from tests.stand.mailroom import RealMailroom
from tests.stand.processes import free_port
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

NO_COIN = "This wallet has no free confirmed coin to add."
WATCH_ONLY = "This wallet cannot sign by itself (watch-only)."
OFFLINE = "Electrum is offline."


@pytest.fixture(scope="module")
def shop(stand: Stand, daemon: Receiver) -> Receiver:
    """A wallet with a coin, for the tests that leave it as it was."""
    return new_lightning_wallet(stand, daemon, 1_000_000)


def why_plain(request: dict[str, Any]) -> str:
    """Check that a request has a plain URI and nothing but a reason under `payjoin`; return the reason."""
    assert request["URI"].startswith(f"bitcoin:{request['address']}?")
    assert not re.search("[?&](pj|pjos)=", request["URI"])
    assert list(request["payjoin"]) == ["unavailable"]
    return str(request["payjoin"]["unavailable"])


def assert_can_be_paid(stand: Stand, receiver: Receiver, request: dict[str, Any]) -> None:
    """Pay a plain URI by the node, and see that Electrum counts it."""
    txid = pay_plainly(stand, request["URI"])
    paid = receiver.until_request(request["request_id"], is_seen_as_paid, "is seen as paid")
    assert paid["tx_hashes"] == [txid]


# The wallet


def test_a_wallet_without_a_coin_offers_payjoin_as_soon_as_one_is_confirmed(stand: Stand, daemon: Receiver) -> None:
    poor = new_wallet(stand, daemon)
    sender = new_sender(stand)
    first, second = poor.request(AMOUNT), poor.request(AMOUNT)
    assert why_plain(first) == why_plain(second) == NO_COIN
    assert_can_be_paid(stand, poor, first)
    assert why_plain(poor.get_request(second["request_id"])) == NO_COIN

    stand.mine()
    second = poor.with_payjoin(second["request_id"])
    assert_paid_by_payjoin(stand, poor, second, sender, sender.send(second["URI"]))
    first = poor.get_request(first["request_id"])
    assert first["status"] == PAID
    assert "pj=" not in first["URI"]
    assert [row["request_id"] for row in poor.rpc("payjoin_sessions", all=True)] == [second["request_id"]]


@pytest.mark.parametrize("known_by", ["a master public key", "an address"])
def test_a_wallet_that_only_watches_is_paid_plainly(
    stand: Stand, daemon: Receiver, shop: Receiver, known_by: str
) -> None:
    text = shop.rpc("getmpk") if known_by == "a master public key" else stand.node.address("miner")
    watching = Receiver(daemon.daemon, f"watching-{known_by.rsplit(maxsplit=1)[-1]}")
    daemon.daemon.restore_wallet(text, watching.wallet)
    daemon.daemon.wait_synced(watching.wallet)
    request = watching.request(AMOUNT)
    assert why_plain(request) == WATCH_ONLY
    assert_can_be_paid(stand, watching, request)


# The request


def test_a_declined_request_is_plain_for_good(stand: Stand, shop: Receiver) -> None:
    request = shop.payjoin_request(AMOUNT)
    session_id, request_id = request["payjoin"]["session_id"], request["request_id"]
    declined = shop.rpc("payjoin_decline", request_id=request_id)
    assert declined["URI"] == request["payjoin"]["plain_uri"]
    assert declined["payjoin"]["status"] == "aborted"
    assert shop.session(session_id)["status"] == "aborted"
    assert shop.rpc("payjoin_decline", request_id=request_id) == declined
    shop.daemon.close_wallet(shop.wallet)
    shop.open()
    assert shop.get_request(request_id) == declined
    assert_can_be_paid(stand, shop, declined)


def test_a_request_that_waits_for_payjoin_can_be_declined(stand: Stand, daemon: Receiver) -> None:
    poor = new_wallet(stand, daemon)
    declined, other = poor.request(AMOUNT), poor.request(AMOUNT)
    assert why_plain(poor.rpc("payjoin_decline", request_id=declined["request_id"])) == "Without payjoin, as you chose."
    stand.fund(poor.daemon, 1_000_000, wallet=poor.wallet)
    poor.with_payjoin(other["request_id"])
    assert why_plain(poor.get_request(declined["request_id"])) == "Without payjoin, as you chose."


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        ("0.00009999", "The amount is below your minimum of 0.1 mBTC."),
        (0, "No amount was asked for."),
        (None, "No amount was asked for."),
    ],
)
def test_the_amount_may_be_too_small_or_none(shop: Receiver, amount: object, reason: str) -> None:
    assert why_plain(shop.rpc("add_request", amount=amount, memo="a gift")) == reason


def test_the_smallest_amount_is_enough(shop: Receiver) -> None:
    assert shop.payjoin_request(10_000)["payjoin"]["status"] == "active"


def test_a_program_gets_payjoin_only_where_it_was_asked_for(stand: Stand, shop: Receiver) -> None:
    before = shop.payjoin_request(AMOUNT)
    shop.daemon.setconfig("plugins.payjoin.offer_in_commands", value=False)
    try:
        request = shop.request(AMOUNT)
        assert "offer_in_commands" in why_plain(request)
        assert "credit your own coin too" in why_plain(request)
        assert shop.get_request(before["request_id"])["URI"] == before["URI"]
        assert_can_be_paid(stand, shop, request)
    finally:
        shop.daemon.setconfig("plugins.payjoin.offer_in_commands", value=True)
    assert request["request_id"] not in [row["request_id"] for row in shop.rpc("payjoin_sessions", all=True)]


def test_lightning_requests_are_left_alone(shop: Receiver) -> None:
    lightning = shop.request(AMOUNT, lightning=True)
    assert lightning["is_lightning"]
    assert lightning["lightning_invoice"].startswith("lnbcrt")
    assert lightning.keys().isdisjoint({"payjoin", "URI", "address"})
    on_chain = shop.payjoin_request(AMOUNT)
    assert not on_chain["is_lightning"]
    listed = {request["request_id"]: request for request in shop.rpc("list_requests")}
    assert listed[lightning["request_id"]] == shop.get_request(lightning["request_id"])
    assert listed[on_chain["request_id"]]["URI"] == on_chain["URI"]
    offers = [request["URI"] for request in listed.values() if "pj=" in request.get("URI", "")]
    assert offers
    assert not [uri for uri in offers if "lightning" in uri.lower()]


# The way to the directory


@pytest.fixture
def change(stand: Stand, mortal: Receiver, second_mailroom: RealMailroom) -> Iterator[Callable[..., None]]:
    """Start the daemon anew, offline or with other directories: `change(online=True, directories=[…])`."""
    server = mortal.daemon.server
    right = settings_for(stand, ohttp_relays=[second_mailroom.relay_url])

    def start(*, online: bool = True, directories: list[str]) -> None:
        mortal.daemon.stop()
        mortal.daemon.server = server if online else None
        mortal.daemon.setconfig("plugins.payjoin.directories", directories)
        mortal.restart()

    yield start
    if mortal.daemon.server is None:
        start(directories=[stand.mailroom.directory_url])
    for key, value in right.items():
        mortal.daemon.setconfig(key, value)


def test_no_way_to_the_directory(stand: Stand, merchant: Receiver, change: Callable[..., None]) -> None:
    sender = new_sender(stand)
    change(online=False, directories=[stand.mailroom.directory_url])
    merchant.open()
    early = merchant.request(AMOUNT)
    assert why_plain(early) == OFFLINE

    wrong = f"http://127.0.0.1:{free_port()}"
    change(directories=[wrong])
    merchant.open()
    merchant.daemon.wait_synced(merchant.wallet)
    trouble = merchant.until_request(
        early["request_id"], lambda found: "trying again" in why_plain(found), "it says that it tries"
    )
    assert "The directory's keys could not be fetched" in why_plain(trouble)
    late = merchant.request(AMOUNT)
    assert "The directory's keys could not be fetched" in why_plain(late)
    checked = merchant.daemon.rpc("payjoin_check")
    assert not checked["directories"][wrong]["works"]
    assert "127.0.0.1 cannot be reached" in checked["directories"][wrong]["reason"]
    assert_can_be_paid(stand, merchant, late)

    merchant.daemon.setconfig("plugins.payjoin.directories", [stand.mailroom.directory_url])
    early = merchant.with_payjoin(early["request_id"])
    assert "pj=" not in merchant.get_request(late["request_id"])["URI"]
    assert_paid_by_payjoin(stand, merchant, early, sender, sender.send(early["URI"]))


def test_no_relay_when_the_request_is_made(
    stand: Stand, merchant: Receiver, second_mailroom: RealMailroom, change: Callable[..., None]
) -> None:
    sender = new_sender(stand)
    second_mailroom.relay.kill()
    try:
        # The keys of a directory with TLS come through a relay (CONNECT). This name is nobody's: only a relay hears it.
        change(directories=["https://directory.test"])
        merchant.open()
        merchant.daemon.wait_synced(merchant.wallet)
        request = merchant.request(AMOUNT)
        assert "pj=" not in request["URI"]
        merchant.until_request(
            request["request_id"], lambda found: "127.0.0.1 cannot be reached" in why_plain(found), "it says why"
        )
        assert_can_be_paid(stand, merchant, merchant.request(AMOUNT))
    finally:
        start_relay(second_mailroom, stand)
    merchant.daemon.setconfig("plugins.payjoin.directories", [stand.mailroom.directory_url])
    request = merchant.with_payjoin(request["request_id"])
    assert_paid_by_payjoin(stand, merchant, request, sender, sender.send(request["URI"]))


def test_a_relay_that_is_away_for_a_while(stand: Stand, merchant: Receiver, second_mailroom: RealMailroom) -> None:
    sender = new_sender(stand)
    assert merchant.daemon.rpc("payjoin_check")["ohttp_relays"][second_mailroom.relay_url]["works"]
    second_mailroom.relay.kill()
    try:
        # The keys are at hand, so the request need not wait for the relay.
        request = merchant.request(AMOUNT)
        assert "pj=" in request["URI"]
        session_id = request["payjoin"]["session_id"]
        merchant.until_session(session_id, lambda row: "cannot be reached" in str(row["reason"]), "it says so")
        checked = merchant.daemon.rpc("payjoin_check")["ohttp_relays"][second_mailroom.relay_url]
        assert not checked["works"]
        assert "cannot be reached" in checked["reason"]
        run = sender.send(request["URI"])
    finally:
        start_relay(second_mailroom, stand)
    assert_paid_by_payjoin(stand, merchant, request, sender, run)
