"""Somebody edited the wallet files and the settings by hand while Electrum was off, or they are of a newer version.

What cannot be read is said to be so and left as it is; everything else works: other sessions, and Electrum itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import new_wallet, settings_for
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT, assert_paid_by_payjoin, new_sender
from tests.stand.electrum_daemon import ElectrumError
from tests.stand.mailroom import RealMailroom
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

Log = dict[str, Any]

NEWER = "Made by a newer version of Payjoin. Left as it is."
DAMAGED = "Its record is damaged. Left as it is."


def of_a_newer_format(log: Log) -> object:
    return log | {"format": 2, "extras": ["whatever comes"]}


def with_an_unknown_event(log: Log) -> object:
    return log | {"events": [*log["events"], {"at": 1_795_000_000, "event": "travelled_in_time"}]}


def with_events_in_no_order(log: Log) -> object:
    return log | {"events": [*log["events"], {"at": 1_795_000_000, "event": "posted_proposal"}]}


def without_a_field(log: Log) -> object:
    (created,) = log["events"]
    return log | {"events": [{key: value for key, value in created.items() if key != "address"}]}


def with_a_wrong_type(log: Log) -> object:
    (created,) = log["events"]
    return log | {"events": [created | {"amount_sat": "much"}]}


def with_a_key_that_is_none(log: Log) -> object:
    (created,) = log["events"]
    return log | {"events": [created | {"receiver_key": "00" * 32}]}


def without_events(log: Log) -> object:
    return log | {"events": []}


def of_another_role(log: Log) -> object:
    return log | {"role": "accountant"}


def that_is_a_text(log: Log) -> object:
    return "nonsense"


def with_an_address_that_is_none(log: Log) -> object:
    created, *_ = log["events"]
    return log | {"events": [created | {"address": "nonsense"}]}


def with_a_time_that_never_comes(log: Log) -> object:
    created, *_ = log["events"]
    return log | {"events": [created | {"expires_at": 10**400}]}


DAMAGES: list[tuple[Callable[[Log], object], str]] = [
    (of_a_newer_format, NEWER),
    (with_an_unknown_event, DAMAGED),
    (with_events_in_no_order, DAMAGED),
    (without_a_field, DAMAGED),
    (with_a_wrong_type, DAMAGED),
    (with_a_key_that_is_none, DAMAGED),
    (without_events, DAMAGED),
    (of_another_role, DAMAGED),
    (that_is_a_text, DAMAGED),
    (with_an_address_that_is_none, DAMAGED),
    (with_a_time_that_never_comes, DAMAGED),
]

BY_HAND: dict[str, object] = {
    "session_lifetime": -5,
    "minimum_amount": None,
    "open_polls": 9,
    "max_receiver_fee_sat": 10**12,
    "max_receiver_fee_rate": "fast",
    "offer_in_window": 7,
    "accept_v1_senders": "maybe",
    "ask_before_contributing": "yes",
    "broadcast_original_by_itself": [],
}
ADDRESSES_BY_HAND: dict[str, object] = {
    "directories": "everywhere",
    "ohttp_relays": ["http://payjo.in"],
    "offer_in_commands": "sure",
}
"""Nonsense that somebody wrote into Electrum's file of settings."""


@dataclass
class Aftermath:
    """What is there on the morning after."""

    shop: Receiver
    """Its logs are damaged, all but one."""
    newer: Receiver
    """A newer Payjoin has used this wallet."""
    broken: Receiver
    """The storage itself is damaged."""
    sound: dict[str, Any]
    imported: dict[str, Any]
    """A request that came into the file without a session."""
    requests: list[dict[str, Any]]
    """In the order of DAMAGES."""
    logs: dict[str, Any]
    """As they were before, by session ID."""


def edit(receiver: Receiver, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a wallet file while no Electrum has it open."""
    content = receiver.stored()
    change(content)
    Path(receiver.daemon.wallet_path(receiver.wallet)).write_text(json.dumps(content))


def ours(content: dict[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = content["plugin_data"]["payjoin"]
    return part


@pytest.fixture(scope="module")
def morning(stand: Stand, mortal: Receiver, second_mailroom: RealMailroom) -> Iterator[Aftermath]:
    """Make wallets with sessions, stop the daemon, do the damage, start it again."""
    shop, newer, broken = new_wallet(stand, mortal), new_wallet(stand, mortal), new_wallet(stand, mortal)
    for wallet in (shop, newer, broken):
        stand.node.fund(wallet.daemon.fresh_addresses(1, wallet.wallet)[0], 1_000_000)
    stand.mine()
    requests = [shop.payjoin_request(AMOUNT) for _ in DAMAGES]
    sound, imported = shop.payjoin_request(AMOUNT), shop.payjoin_request(AMOUNT)
    newer.payjoin_request(AMOUNT)
    broken.payjoin_request(AMOUNT)
    entry = shop.stored()["payment_requests"][imported["request_id"]]
    shop.rpc("delete_request", request_id=imported["request_id"])

    mortal.daemon.stop()
    logs = dict(ours(shop.stored())["sessions"])
    session_ids = [request["payjoin"]["session_id"] for request in requests]

    def damage(content: dict[str, Any]) -> None:
        for session_id, (kind, _) in zip(session_ids, DAMAGES, strict=True):
            ours(content)["sessions"][session_id] = kind(logs[session_id])
        content["payment_requests"][imported["request_id"]] = entry
        del ours(content)["sessions"][imported["payjoin"]["session_id"]]

    edit(shop, damage)
    edit(newer, lambda content: ours(content).update(version=99, novelty={"a": [1, 2]}))
    edit(broken, lambda content: ours(content).update(sessions=["nonsense"], seen="nonsense"))
    for name, value in BY_HAND.items():
        mortal.daemon.setconfig(f"plugins.payjoin.{name}", value)
    shop.restart()
    for wallet in (newer, broken):
        wallet.daemon.load_wallet(wallet.wallet)
    yield Aftermath(shop, newer, broken, sound, imported, requests, logs)
    mortal.daemon.stop()
    for key in (*BY_HAND, *ADDRESSES_BY_HAND):
        mortal.daemon.setconfig(f"plugins.payjoin.{key}", None)
    for key, value in settings_for(stand, ohttp_relays=[second_mailroom.relay_url]).items():
        mortal.daemon.setconfig(key, value)
    mortal.restart()


def test_a_log_that_cannot_be_read_is_shown_as_such(morning: Aftermath) -> None:
    rows = {row["session_id"]: row for row in morning.shop.rpc("payjoin_sessions")}
    for request, (kind, reason) in zip(morning.requests, DAMAGES, strict=True):
        row = rows.pop(request["payjoin"]["session_id"])
        assert row["status"] == "unreadable", kind
        assert row["reason"].startswith(reason), kind
        assert {key for key, value in row.items() if value is not None} == {"session_id", "status", "reason"}
        assert morning.shop.session(row["session_id"]) == row | {"events": []}
    assert list(rows) == [morning.sound["payjoin"]["session_id"]]


@pytest.mark.parametrize("command", ["abort", "answer", "original", "broadcast_original"])
def test_nothing_can_be_done_with_it(morning: Aftermath, command: str) -> None:
    for request, (kind, _) in zip(morning.requests, DAMAGES, strict=True):
        session_id = request["payjoin"]["session_id"]
        with pytest.raises(ElectrumError) as refused:
            morning.shop.rpc(f"payjoin_{command}", session_id=session_id)
        assert "internal error" not in str(refused.value), kind
        assert str(refused.value), kind


def test_its_request_has_a_plain_uri(morning: Aftermath) -> None:
    listed = {request["request_id"]: request for request in morning.shop.rpc("list_requests")}
    for request, (kind, _) in zip(morning.requests, DAMAGES, strict=True):
        found = listed[request["request_id"]]
        assert found["URI"] == request["payjoin"]["plain_uri"], kind
        assert found["payjoin"].get("status", "unreadable") == "unreadable", kind
        assert found == morning.shop.get_request(request["request_id"])
    last = morning.requests[-1]["request_id"]
    assert morning.shop.rpc("payjoin_decline", request_id=last)["URI"] == listed[last]["URI"]


def test_an_imported_request_has_no_offer(morning: Aftermath) -> None:
    found = morning.shop.get_request(morning.imported["request_id"])
    assert found["URI"] == morning.imported["payjoin"]["plain_uri"]
    assert found["payjoin"] == {"unavailable": "This request has no payjoin."}


@pytest.mark.parametrize("which", ["shop", "newer", "broken"])
def test_electrum_does_its_own_work(stand: Stand, morning: Aftermath, which: str) -> None:
    wallet: Receiver = getattr(morning, which)
    wallet.daemon.wait_synced(wallet.wallet)
    assert wallet.balance_sat() == 1_000_000
    assert wallet.rpc("payto", destination=stand.node.address("miner"), amount="0.001", feerate="2", unsigned=True)
    request = wallet.request(AMOUNT)
    assert request["URI"].startswith(f"bitcoin:{request['address']}?")
    assert request["request_id"] in {found["request_id"] for found in wallet.rpc("list_requests")}
    wallet.rpc("delete_request", request_id=request["request_id"])
    assert request["request_id"] not in {found["request_id"] for found in wallet.rpc("list_requests")}


def test_settings_that_are_nonsense_count_as_the_defaults(morning: Aftermath) -> None:
    request = morning.shop.request(10_000)
    assert "pj=" in request["URI"]
    session = morning.shop.session(request["payjoin"]["session_id"])
    assert session["expires_at"] - session["created_at"] == request["expiry"]
    assert "below your minimum of 0.1 mBTC" in morning.shop.request(9_999)["payjoin"]["unavailable"]


def test_a_session_beside_it_ends_as_a_payjoin(stand: Stand, morning: Aftermath) -> None:
    sender = new_sender(stand)
    assert_paid_by_payjoin(stand, morning.shop, morning.sound, sender, sender.send(morning.sound["URI"]))


def test_what_a_newer_payjoin_stored_is_left_alone(morning: Aftermath) -> None:
    (row,) = morning.newer.rpc("payjoin_sessions")
    assert (row["status"], row["reason"]) == ("unreadable", NEWER)
    request = morning.newer.request(AMOUNT)
    assert "pj=" not in request["URI"]
    assert "newer version" in request["payjoin"]["unavailable"]


def test_storage_that_is_damaged_is_said_to_be_so(morning: Aftermath) -> None:
    with pytest.raises(ElectrumError, match="Payjoin's data in this wallet is damaged"):
        morning.broken.rpc("payjoin_sessions")
    request = morning.broken.request(AMOUNT)
    assert "pj=" not in request["URI"]
    assert "damaged" in request["payjoin"]["unavailable"]


def test_nothing_was_lost(stand: Stand, morning: Aftermath) -> None:
    shop, newer, broken = morning.shop, morning.newer, morning.broken
    shop.daemon.stop()
    stored = ours(shop.stored())["sessions"]
    session_ids = [request["payjoin"]["session_id"] for request in morning.requests]
    for session_id, (kind, _) in zip(session_ids, DAMAGES, strict=True):
        assert stored[session_id] == kind(morning.logs[session_id])
    assert (ours(newer.stored())["version"], ours(newer.stored())["novelty"]) == (99, {"a": [1, 2]})
    assert (ours(broken.stored())["sessions"], ours(broken.stored())["seen"]) == (["nonsense"], "nonsense")

    # Somebody repairs the logs, but now nothing in the settings can be read.
    edit(shop, lambda content: ours(content)["sessions"].update({name: morning.logs[name] for name in session_ids}))
    for name, value in ADDRESSES_BY_HAND.items():
        shop.daemon.setconfig(f"plugins.payjoin.{name}", value)
    server, shop.daemon.server = shop.daemon.server, None  # nobody shall be asked by the default addresses
    try:
        shop.restart()
        for request in morning.requests[:-1]:
            assert shop.session(request["payjoin"]["session_id"])["stage"] == "waiting_for_sender"
            assert shop.get_request(request["request_id"])["URI"] == request["URI"]
        checked = shop.daemon.rpc("payjoin_check")
        assert "https://payjo.in" in checked["directories"]
        assert "https://ohttp.cakewallet.com" in checked["ohttp_relays"]
        assert not any(found["works"] for part in checked.values() for found in part.values())
        assert "offer_in_commands" in shop.request(AMOUNT)["payjoin"]["unavailable"]
    finally:
        shop.daemon.server = server
