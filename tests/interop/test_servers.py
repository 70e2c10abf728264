"""Several Electrum servers: the sender's coins are asked about elsewhere than where its addresses are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from electrum.bitcoin import address_to_script, script_to_scripthash
from electrum.constants import BitcoinRegtest

from payjoin_plugin.bip78.psbt import parse, spent_output
from tests.interop.conftest import new_wallet, setting, settings_for
from tests.interop.fronts import Front
from tests.interop.payments import UNTIL_ASKED, hold, is_at_node, pay, session_of, txid_of_original
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT
from tests.mailroom.certificates import make_certificates
from tests.sender.payer import Funds, Payer
from tests.sender.payment import Payment, Terms
from tests.stand.processes import wait_until
from tests.stand.server import Server
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

HISTORY = "blockchain.scripthash.get_history"
UNSPENT = "blockchain.scripthash.listunspent"
SUBSCRIBE = "blockchain.scripthash.subscribe"


@pytest.fixture(scope="module")
def own(stand: Stand) -> Iterator[Front]:
    """Before the server that the wallet is subscribed at."""
    front = Front(stand.server.port)
    yield front
    front.stop()


@pytest.fixture(scope="module")
def other(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Before another server on the same node. Electrum itself looks for others by TLS only."""
    server = Server(stand.node, stand.folder / "other-server", log=stand.logs / "other-server.log")
    front = Front(server.port, tls=make_certificates(tmp_path_factory.mktemp("tls")).server)
    yield front
    front.stop()
    server.stop()


@pytest.fixture(scope="module")
def merchant(stand: Stand, plugin_zip: Path, own: Front, other: Front) -> Receiver:
    daemon = stand.electrum("two-servers", plugin=plugin_zip, settings=settings_for(stand))
    daemon.stop()
    daemon.server, daemon.other_servers = f"127.0.0.1:{own.port}:t", [f"localhost:{other.port}:s"]
    daemon.start()
    wait_until(lambda: daemon.rpc("getinfo")["spv_nodes"] == 2, what="it has two servers")
    return new_wallet(stand, Receiver(daemon, ""), 1_000_000, 1_000_001, 1_000_002)


def paid(merchant: Receiver, payer: Payer) -> tuple[dict[str, Any], Payment]:
    """Have a request answered, for a sender with one coin."""
    request = merchant.payjoin_request(AMOUNT)
    coin = next(coin for coin in payer.coins() if coin.value_sat > AMOUNT)
    payment = pay(payer, request, Terms(coins=[coin]))
    payment.fetch()
    return request, payment


def scripts_of(payment: Payment) -> list[bytes]:
    """Return the scripts of the sender's coins."""
    spent = [spent_output(txin) for txin in parse(payment.original.psbt).inputs()]
    return [txout.scriptpubkey for txout in spent if txout is not None]


def scripthash_of(payment: Payment) -> str:
    """Return what a server calls the script of the sender's only coin."""
    (script,) = scripts_of(payment)
    found: str = script_to_scripthash(script)
    return found


def test_the_senders_coin_is_asked_about_and_watched_at_another_server(
    merchant: Receiver, payer: Payer, own: Front, other: Front
) -> None:
    request, payment = paid(merchant, payer)
    coin = scripthash_of(payment)
    wait_until(lambda: SUBSCRIBE in other.asked_about(coin), what="it is watched")
    assert other.asked_about(coin) == {UNSPENT, HISTORY, SUBSCRIBE}
    assert own.asked_about(coin) == set()
    txid = payment.broadcast_payjoin()
    assert merchant.until(session_of(request), status="completed")["payjoin_txid"] == txid


def test_what_the_wallets_own_server_says_late_is_waited_for(
    stand: Stand, merchant: Receiver, payer: Payer, own: Front
) -> None:
    stranger = Payer.create(stand, "stranger", Funds("p2wpkh", 500_000))
    with setting(merchant, UNTIL_ASKED, value=True):
        request, payment = hold(payer, merchant, expiry=10)
        with own.late():
            (coin,) = stranger.coins()
            stranger.broadcast(stranger.spend([coin.outpoint], to=request["address"], value_sat=AMOUNT))
            address: str = script_to_scripthash(address_to_script(request["address"], net=BitcoinRegtest))
            wait_until(lambda: HISTORY in own.asked_about(address), what="it is asked before the original goes out")
        merchant.until(session_of(request), status="paid_without_payjoin")
        assert not is_at_node(stand, txid_of_original(payment))


def test_where_that_server_hides_the_coin_the_wallets_own_is_asked(
    merchant: Receiver, payer: Payer, own: Front, other: Front
) -> None:
    with other.lying(listunspent=[], get_history=[]):
        request, payment = paid(merchant, payer)
    coin = scripthash_of(payment)
    assert {UNSPENT, HISTORY} <= other.asked_about(coin)
    assert {UNSPENT, HISTORY} <= own.asked_about(coin)
    txid = payment.broadcast_payjoin()
    assert merchant.until(session_of(request), status="completed")["payjoin_txid"] == txid


def test_where_that_server_goes_away_a_double_spend_is_heard_of_at_the_wallets_own(
    merchant: Receiver, payer: Payer, own: Front, other: Front
) -> None:
    with setting(merchant, UNTIL_ASKED, value=True):
        request, payment = hold(payer, merchant)
        other.stop()
        payment.spend_otherwise()
        merchant.until(session_of(request), stage="waiting_for_wallet", reason="double_spend")
    coins = [script_to_scripthash(script) for script in scripts_of(payment)]
    assert all(SUBSCRIBE in own.asked_about(coin) for coin in coins)
