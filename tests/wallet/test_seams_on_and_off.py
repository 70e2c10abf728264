"""The seams are put on and taken off as a set, and a fault of ours never reaches Electrum."""

from __future__ import annotations

from typing import Any

import pytest
from electrum.invoices import Request
from electrum.wallet import Abstract_Wallet

from payjoin_plugin.wallet.seams import Seams
from tests.wallet.owners import WRAPPED, FaultyOwner, Owner, request
from tests.wallet.wallets import fund, reopen, run


def test_taken_off_the_wallet_is_as_it_was(wallet: Abstract_Wallet, owner: Owner) -> None:
    before = dict(vars(wallet))
    seams = Seams(wallet, owner)
    seams.install()
    assert set(vars(wallet)) - set(before) == set(WRAPPED)
    seams.remove()
    assert vars(wallet).keys() == before.keys()
    request_id = request(wallet)
    assert owner.added == []
    assert "pj=" not in wallet.get_request_URI(wallet.get_request(request_id))


def test_put_on_twice_they_are_on_once(wallet: Abstract_Wallet, owner: Owner, seams: Seams) -> None:
    seams.install()
    request(wallet)
    assert len(owner.added) == 1
    seams.remove()
    assert not any(name in vars(wallet) for name in WRAPPED)


def test_they_can_be_put_on_again(wallet: Abstract_Wallet, owner: Owner, seams: Seams) -> None:
    seams.remove()
    seams.install()
    request(wallet)
    assert len(owner.added) == 1


def test_another_plugins_wrap_below_ours_comes_back(wallet: Abstract_Wallet, owner: Owner) -> None:
    def theirs(_req: Request) -> str:
        return "bitcoin:theirs?x=1"

    wallet.get_request_URI = theirs
    seams = Seams(wallet, owner)
    seams.install()
    req = wallet.get_request(request(wallet))
    assert wallet.get_request_URI(req).startswith("bitcoin:theirs?x=1&pj=")
    seams.remove()
    assert wallet.get_request_URI is theirs


def test_another_plugins_wraps_above_ours_stay_and_ours_only_hand_on(
    wallet: Abstract_Wallet, owner: Owner, seams: Seams
) -> None:
    theirs: dict[str, Any] = {}
    for name in WRAPPED:
        ours = getattr(wallet, name)
        theirs[name] = lambda *args, ours=ours, **options: ours(*args, **options)
        setattr(wallet, name, theirs[name])
    (coin,) = fund(wallet, 100_000)
    owner.held, owner.reserved = set(wallet.get_receiving_addresses()), {coin}
    assert wallet.get_spendable_coins() == []
    seams.remove()
    assert {name: vars(wallet)[name] for name in WRAPPED} == theirs
    request_id = request(wallet)
    assert "pj=" not in wallet.get_request_URI(wallet.get_request(request_id))
    assert len(wallet.get_spendable_coins()) == 1
    wallet.delete_request(request_id)
    run(wallet.stop())
    assert (owner.added, owner.deleted, owner.stops) == ([], [], 0)


def test_a_fault_of_ours_never_reaches_electrum(wallet: Abstract_Wallet) -> None:
    (coin,) = fund(wallet, 100_000)
    plain = Seams(wallet, FaultyOwner())
    plain.install()
    request_id = request(wallet)
    req = wallet.get_request(request_id)
    assert reopen(wallet).get_request(request_id) is not None
    assert wallet.get_request_URI(req) == req.get_bip21_URI()
    assert wallet.get_unused_address() is not None
    assert [one.prevout.to_str() for one in wallet.get_spendable_coins()] == [coin]
    wallet.delete_request(request_id)
    assert wallet.get_request(request_id) is None
    wallet.set_label("x", "last words")
    run(wallet.stop())
    assert reopen(wallet).get_all_labels()["x"] == "last words"


def test_a_fault_of_ours_is_logged(wallet: Abstract_Wallet, caplog: pytest.LogCaptureFixture) -> None:
    Seams(wallet, FaultyOwner()).install()
    request(wallet)
    assert "payjoin had a fault at a new request" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_fault_of_electrums_is_electrums(wallet: Abstract_Wallet, owner: Owner) -> None:
    def broken(_req: Request) -> str:
        raise KeyError("Electrum's own")

    wallet.get_request_URI = broken
    Seams(wallet, owner).install()
    req = wallet.get_request(request(wallet))
    with pytest.raises(KeyError, match="own"):
        wallet.get_request_URI(req)
