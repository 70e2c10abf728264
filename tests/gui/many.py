"""Many sessions that hold a sender's payment, as after a busy day: recorded, without a sender for each."""

from __future__ import annotations

from electrum.wallet import Abstract_Wallet

from payjoin_plugin.app.offering import request_made_in_window
from payjoin_plugin.session.events import Abort, AcceptedOriginal, Closed, RetrievedOriginal
from payjoin_plugin.wire.keys import SecretKey
from tests.gui.house import House
from tests.wallet.wallets import original_psbt, pay

ASK = "plugins.payjoin.ask_before_contributing"


def with_held_payments(house: House, count: int, *, aborted: bool) -> Abstract_Wallet:
    """Return a wallet whose window is closed again; its requests wait for the user, or were aborted."""
    house.config.set_key(ASK, value=True, save=False)
    shop, sender = house.open("busy shop", 5_000_000).with_keys(), house.sender(50_000_000)
    for number in range(count):
        with request_made_in_window(wanted=True):
            address = shop.wallet.create_new_address()
            request_id = shop.wallet.create_request(20_000 + number, f"Coffee {number}", 86400, address)
        tx = pay(sender.wallet, address, 20_000 + number)
        session = shop.sessions.ledger.open[shop.session_of(request_id)]
        original = original_psbt(tx)
        (vout,) = (vout for vout, txout in enumerate(tx.outputs()) if txout.address == address)
        shop.sessions.ledger.record(session, RetrievedOriginal(original, "v=2", SecretKey.generate().public_key))
        shop.sessions.ledger.record(session, AcceptedOriginal((vout,), (vout,)))
        if aborted:
            shop.sessions.ledger.record(session, Closed(Abort()))
    house.settle(1)
    house.close_window(shop.window)
    return shop.wallet
