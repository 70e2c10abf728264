"""Our test sender pays Electrum with our plugin, with coins of every type, by BIP 77 and BIP 78; and pays payjoin-cli.

The first half is what payjoin-cli cannot play. The second proves the test sender by a receiver that we did not write.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from payjoin_plugin.bip78.psbt import psbt_bytes
from payjoin_plugin.errors import ErrorReplyReceived, Unreachable
from payjoin_plugin.session.events import CreatedSender
from payjoin_plugin.wire.keys import SecretKey
from payjoin_plugin.wire.mailbox import ShortId, post, read_post, seal_message_b
from payjoin_plugin.wire.ohttp import KeyConfig
from payjoin_plugin.wire.uri import PjEndpoint, append_pj
from tests.interop.conftest import new_wallet
from tests.interop.receiver import Receiver
from tests.sender.payer import Funds, Kind, Payer
from tests.sender.payment import NoProposal, Payment, ProposalBroken, Terms, pay, prepare, prepare_v1
from tests.stand.node import SATS, NodeError
from tests.stand.payjoin_cli import PayjoinCli, Run, txid_of, uri_of
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

AMOUNT = 100_000
PURSES: tuple[tuple[Kind, ...], ...] = (
    ("p2wpkh",),
    ("p2tr",),
    ("p2sh-p2wpkh",),
    ("p2pkh",),
    ("p2wpkh", "p2wpkh", "p2wpkh"),
    ("p2tr", "p2tr"),
    ("p2sh-p2wpkh", "p2pkh", "p2tr", "p2wpkh"),
)
"""What a payer has, all of which is spent."""
OF_PAYJOIN_CLI: tuple[tuple[Kind, ...], ...] = (("p2wpkh",), ("p2pkh",), ("p2wpkh",) * 3, ("p2pkh", "p2wpkh"))
"""What payjoin-cli can have: before it sends anything it looks at all its coins, and stumbles over one of another type.
None of these can be left out of the payment."""
NUMBER = itertools.count(1)

COINS = (1_000_000,) * 16
"""What the receiver has: more coins than there are payments here."""

every_purse = pytest.mark.parametrize("purse", PURSES, ids="+".join)


@pytest.fixture(scope="module")
def receiver(stand: Stand, daemon: Receiver) -> Receiver:
    """One wallet for all that is paid here."""
    return new_wallet(stand, daemon, *COINS)


def new_payer(stand: Stand, *purse: Kind) -> Payer:
    name = f"payer-{next(NUMBER)}"
    return Payer.create(stand, name, *(Funds(kind, 160_000 // len(purse)) for kind in purse))


def relay(stand: Stand) -> str:
    return stand.mailroom.relay_url


def everything_of(payer: Payer) -> Terms:
    return Terms(coins=payer.coins())


def is_payjoin(stand: Stand, payment: Payment, txid: str) -> None:
    """Check on the chain that it spends the payer's coins and one more, and pays the receiver more than was asked."""
    tx = stand.node.transaction(txid)
    spent = {f"{txin['txid']}:{txin['vout']}" for txin in tx["vin"]}
    assert spent > set(payment.outpoints)
    assert len(spent) == len(payment.outpoints) + 1
    paid = [txout for txout in tx["vout"] if txout["scriptPubKey"]["address"] == payment.uri.address]
    assert sum(round(txout["value"] * SATS) for txout in paid) > AMOUNT


def completed(receiver: Receiver, request: dict[str, Any], txid: str) -> None:
    """Wait until the receiver has seen it, and check that it is told the truth."""
    session = receiver.until(request["payjoin"]["session_id"], status="completed")
    assert session["payjoin_txid"] == txid
    received = receiver.get_request(request["request_id"])["payjoin"]["received_sat"]
    assert received == AMOUNT - session["receiver_fee_sat"]


@every_purse
def test_a_payer_with_any_coins_pays_electrum(stand: Stand, receiver: Receiver, purse: tuple[Kind, ...]) -> None:
    payer = new_payer(stand, *purse)
    request = receiver.payjoin_request(AMOUNT)
    payment = prepare(payer, request["URI"], relay=relay(stand), terms=everything_of(payer))
    payment.fetch()
    txid = payment.broadcast_payjoin()
    is_payjoin(stand, payment, txid)
    completed(receiver, request, txid)


@pytest.mark.parametrize("purse", OF_PAYJOIN_CLI, ids="+".join)
def test_payjoin_cli_pays_electrum_with_the_coins_that_it_knows(
    stand: Stand, receiver: Receiver, purse: tuple[Kind, ...]
) -> None:
    sender = stand.payjoin_cli(f"cli-{next(NUMBER)}")
    payer = Payer(stand, sender.name)
    payer.fund(*(Funds(kind, 160_000 // len(purse)) for kind in purse))
    coins = {coin.outpoint for coin in payer.coins()}
    request = receiver.payjoin_request(AMOUNT)
    txid = txid_of(sender.send(request["URI"]))
    completed(receiver, request, txid)
    spent = {f"{txin['txid']}:{txin['vout']}" for txin in stand.node.transaction(txid)["vin"]}
    assert spent > coins
    assert len(spent) == len(coins) + 1


@pytest.mark.parametrize("purse", [PURSES[0], PURSES[-1]], ids="+".join)
def test_a_payer_of_the_old_protocol_pays_electrum(stand: Stand, receiver: Receiver, purse: tuple[Kind, ...]) -> None:
    payer = new_payer(stand, *purse)
    request = receiver.payjoin_request(AMOUNT)
    payment = prepare_v1(payer, request["URI"], terms=everything_of(payer))
    payment.fetch()
    txid = payment.broadcast_payjoin()
    is_payjoin(stand, payment, txid)
    completed(receiver, request, txid)


@pytest.mark.parametrize("version", [1, 2])
def test_a_payer_who_pays_too_little_is_told_no(stand: Stand, receiver: Receiver, version: int) -> None:
    payer = new_payer(stand, "p2wpkh")
    uri, terms = receiver.payjoin_request(AMOUNT)["URI"], Terms(amount_sat=AMOUNT - 1)
    payment = (
        prepare(payer, uri, relay=relay(stand), terms=terms) if version == 2 else prepare_v1(payer, uri, terms=terms)
    )
    with pytest.raises(ErrorReplyReceived) as reply:
        payment.fetch()
    assert reply.value.code == "original-psbt-rejected"


def test_a_payer_may_do_each_thing_alone(stand: Stand, receiver: Receiver) -> None:
    payer = new_payer(stand, "p2wpkh")
    request = receiver.payjoin_request(AMOUNT)
    payment = prepare(payer, request["URI"], relay=relay(stand))
    session_id = request["payjoin"]["session_id"]
    assert receiver.events(session_id) == ["Created"]
    payment.post()
    payment.wait()
    assert payment.moments.wait > 0
    receiver.until(session_id, stage="waiting_for_broadcast")

    payjoin = payment.sign_payjoin()
    [verdict] = stand.node.rpc("testmempoolaccept", [payjoin.hex()])
    assert verdict["allowed"], verdict
    original = payment.broadcast_original()
    assert original in stand.node.rpc("getrawmempool")
    otherwise = payment.spend_otherwise()
    assert original not in stand.node.rpc("getrawmempool")
    with pytest.raises(NodeError):  # it pays less than what replaced the original
        payment.broadcast_payjoin()
    stand.mine()
    assert stand.node.transaction(otherwise)["confirmations"] == 1


def mailbox_of(stand: Stand, secret: SecretKey) -> PjEndpoint:
    """A mailbox where no wallet listens."""
    return PjEndpoint(
        directory=stand.mailroom.directory_url,
        mailbox=ShortId.of(secret.public_key),
        expires_at=int(time.time()) + 3600,
        ohttp_keys=KeyConfig.from_bytes(stand.mailroom.keys()),
        receiver_key=secret.public_key,
    )


def test_a_payer_without_an_answer_waits_no_longer_than_they_want(stand: Stand) -> None:
    payer, another = new_payer(stand, "p2wpkh"), new_payer(stand, "p2wpkh")
    uri = append_pj(f"bitcoin:{payer.address()}?amount=0.001", mailbox_of(stand, SecretKey.generate()))
    with pytest.raises(Unreachable):
        prepare_v1(another, uri).fetch(seconds=1)
    with pytest.raises(NoProposal):
        prepare(payer, uri, relay=relay(stand)).fetch(seconds=1)


def test_a_payer_says_by_which_rule_an_answer_is_refused(stand: Stand) -> None:
    secret, payer = SecretKey.generate(), new_payer(stand, "p2wpkh")
    endpoint = mailbox_of(stand, secret)
    uri = append_pj(f"bitcoin:{payer.address()}?amount=0.001", endpoint)
    payment = prepare(payer, uri, relay=relay(stand))
    payment.post()
    created = payment.events[0]
    assert isinstance(created, CreatedSender)
    reply_key = created.reply_key.public_key
    answer = seal_message_b(psbt_bytes(payment.original.psbt), receiver_key=secret, reply_key=reply_key)
    call = post(endpoint.directory, ShortId.of(reply_key), endpoint.ohttp_keys, answer)
    read_post(call, payment.carry(call))
    with pytest.raises(ProposalBroken) as broken:
        payment.wait()
    assert broken.value.rule == "an input of ours is final"


@pytest.fixture
def peer(stand: Stand) -> PayjoinCli:
    """Somebody who receives with payjoin-cli."""
    return stand.payjoin_cli(f"peer-{next(NUMBER)}", 3_000_000)


def has_seen_it(run: Run) -> None:
    run.wait_for("Payjoin transaction detected in the mempool!")
    assert run.wait() == 0


@every_purse
def test_a_payer_with_any_coins_pays_payjoin_cli(stand: Stand, peer: PayjoinCli, purse: tuple[Kind, ...]) -> None:
    payer = new_payer(stand, *purse)
    receiving = peer.receive(AMOUNT)
    payment = prepare(payer, uri_of(receiving), relay=relay(stand), terms=everything_of(payer))
    payment.fetch()
    is_payjoin(stand, payment, payment.broadcast_payjoin())
    has_seen_it(receiving)


def test_a_payer_of_the_old_protocol_pays_payjoin_cli(stand: Stand, peer: PayjoinCli) -> None:
    receiving = peer.receive(AMOUNT)
    payment = prepare_v1(new_payer(stand, "p2wpkh"), uri_of(receiving))
    payment.fetch()
    is_payjoin(stand, payment, payment.broadcast_payjoin())
    has_seen_it(receiving)


def test_a_payer_understands_an_error_of_payjoin_cli(stand: Stand, peer: PayjoinCli) -> None:
    payer = new_payer(stand, "p2wpkh")
    same = everything_of(payer)
    first = peer.receive(AMOUNT)
    prepare(payer, uri_of(first), relay=relay(stand), terms=same).fetch()
    first.stop()
    second = peer.receive(AMOUNT)
    payment = prepare(payer, uri_of(second), relay=relay(stand), terms=same)
    payment.post()
    assert second.wait() != 0  # it has seen that coin before, and tells so only when it is resumed
    peer.resume()
    with pytest.raises(ErrorReplyReceived) as reply:
        payment.wait()
    assert reply.value.code == "original-psbt-rejected"


def test_the_whole_of_it_in_one_call(stand: Stand, receiver: Receiver) -> None:
    request = receiver.payjoin_request(AMOUNT)
    completed(receiver, request, pay(new_payer(stand, "p2wpkh"), request["URI"], relay=relay(stand)))
