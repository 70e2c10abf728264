"""The plugin is taken out while it holds senders' own payments: Electrum alone can broadcast them, none is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import COINS, new_wallet, setting
from tests.interop.grip import Grip
from tests.interop.payments import UNTIL_ASKED, hold, is_at_node, session_of, txid_of_original
from tests.interop.receiver import Receiver
from tests.interop.sender import PAID, is_seen_as_paid
from tests.sender.payer import Payer
from tests.sender.payment import V2Payment
from tests.stand.electrum_daemon import ElectrumError
from tests.stand.processes import wait_until
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def grip(stand: Stand, plugin_zip: Path) -> Grip:
    return Grip(stand, "removal", plugin_zip)


@pytest.fixture(scope="module")
def merchant(stand: Stand, grip: Grip) -> Receiver:
    return new_wallet(stand, Receiver(grip.daemon, ""), *COINS)


def row_of(receiver: Receiver, payment: V2Payment) -> dict[str, Any] | None:
    """Return the row that Electrum's history has of an original."""
    txid = txid_of_original(payment)
    rows: list[dict[str, Any]] = receiver.rpc("onchain_history")
    return next((row for row in rows if row["txid"] == txid), None)


def test_disabled_it_leaves_local_transactions_and_enabled_again_it_takes_them_back(
    grip: Grip, merchant: Receiver, payer: Payer
) -> None:
    before = merchant.balance_sat()
    with setting(merchant, UNTIL_ASKED, value=True):
        request, payment = hold(payer, merchant, memo="coffee")
        grip.have_plugin("disable")
        local = row_of(merchant, payment)
        assert local is not None
        assert local["height"] < 0
        assert local["label"].endswith("broadcast it to be paid. coffee")
        with pytest.raises(ElectrumError, match="disabled"):
            merchant.rpc("payjoin_sessions")
        plain = merchant.get_request(request["request_id"])
        assert "payjoin" not in plain
        assert "pj=" not in plain["URI"]

        grip.have_plugin("enable")
        session = merchant.until(session_of(request), stage="waiting_for_wallet", reason="needs_approval")
        assert session["original_txid"] == txid_of_original(payment)
        assert row_of(merchant, payment) is None
        assert merchant.balance_sat() == before
        merchant.rpc("payjoin_answer", session_id=session_of(request))
    payment.wait()
    txid = payment.broadcast_payjoin()
    assert merchant.until(session_of(request), status="completed")["payjoin_txid"] == txid


def test_removed_it_leaves_what_electrum_alone_can_broadcast_and_installed_again_it_does_so_itself(
    stand: Stand, grip: Grip, merchant: Receiver, payer: Payer, plugin_zip: Path
) -> None:
    with setting(merchant, UNTIL_ASKED, value=True):
        by_hand, first = hold(payer, merchant)
        aborted, second = hold(payer, merchant)
        forgotten, third = hold(payer, merchant)
    merchant.rpc("payjoin_abort", session_id=session_of(aborted))
    payments = (first, second, third)
    grip.have_plugin("uninstall")
    merchant.daemon.stop()
    grip.daemon.front = ()
    merchant.daemon.start()
    merchant.daemon.load_wallet(merchant.wallet)
    assert "payjoin" not in merchant.stored().get("plugin_data", {})
    with pytest.raises(ElectrumError):
        merchant.rpc("payjoin_sessions")
    merchant.daemon.wait_synced(merchant.wallet)
    for payment in payments:
        local = row_of(merchant, payment)
        assert local is not None
        assert local["height"] < 0
        assert not is_at_node(stand, txid_of_original(payment))

    tx = merchant.rpc("gettransaction", txid=txid_of_original(first))
    assert tx == first.original_transaction.hex()
    merchant.daemon.rpc("broadcast", tx=tx)
    stand.mine()
    merchant.until_request(by_hand["request_id"], lambda found: found["status"] == PAID, "is paid")

    assert set(merchant.stored()["payjoin_originals"]) >= {txid_of_original(payment) for payment in payments}
    merchant.daemon.stop()
    merchant.daemon.install(plugin_zip)
    merchant.restart()
    wait_until(lambda: is_at_node(stand, txid_of_original(third)), what="the forgotten one is broadcast")
    merchant.until_request(forgotten["request_id"], is_seen_as_paid, "is paid")
    # The aborted one can be broadcast by hand, where its session is gone: from the history.
    assert not is_at_node(stand, txid_of_original(second))
    assert row_of(merchant, second) is not None
    assert merchant.get_request(forgotten["request_id"])["tx_hashes"] == [txid_of_original(third)]
