"""What the codec lets through and is damage all the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from electrum import constants

from payjoin_plugin.app.ledger import _check_contents
from payjoin_plugin.bip78.psbt import Psbt
from payjoin_plugin.errors import UnreadableLog
from payjoin_plugin.session.events import ReceiverEvent
from tests.session.samples import ACCEPTED, COMMITTED, CREATED, HAPPY, RETRIEVED, SIGNED, fold

MAINNET = replace(CREATED, address="3CZZi7aWFugaCdUCS15dgrUUViupmB8bVM")
GARBLED = Psbt("AAAA")


@pytest.fixture(autouse=True)
def _mainnet() -> Iterator[None]:
    before = constants.net
    constants.BitcoinMainnet.set_as_network()
    yield
    before.set_as_network()


def test_every_prefix_of_a_sound_log_is_sound() -> None:
    for length in range(1, len(HAPPY) + 1):
        _check_contents(fold(MAINNET, *HAPPY[1:length]))


def test_an_original_that_was_not_checked_yet_may_be_anything() -> None:
    _check_contents(fold(MAINNET, replace(RETRIEVED, original=GARBLED)))


@pytest.mark.parametrize(
    "events",
    [
        (replace(MAINNET, address="nonsense"),),
        (replace(MAINNET, expires_at=10**400),),
        (replace(MAINNET, expires_at=-1),),
        (replace(MAINNET, amount_sat=-(10**30)),),
        (MAINNET, RETRIEVED, ACCEPTED, replace(COMMITTED, receiver_fee_sat=10**30)),
        (MAINNET, RETRIEVED, ACCEPTED, replace(COMMITTED, sender_fee_sat=-1)),
        (MAINNET, replace(RETRIEVED, original=GARBLED), ACCEPTED),
        (MAINNET, RETRIEVED, replace(ACCEPTED, payment_vouts=(999,))),
        (MAINNET, RETRIEVED, replace(ACCEPTED, payment_vouts=(-1,))),
        (MAINNET, RETRIEVED, ACCEPTED, replace(COMMITTED, proposal=GARBLED)),
        (MAINNET, RETRIEVED, ACCEPTED, replace(COMMITTED, outpoints=("nonsense",))),
        (MAINNET, RETRIEVED, ACCEPTED, COMMITTED, replace(SIGNED, proposal=GARBLED)),
    ],
    ids=[
        "an address that is none",
        "a time that never comes",
        "a time before all times",
        "an amount that is none",
        "a fee that nobody has",
        "a fee that is none",
        "an accepted original that is none",
        "an output that is not there",
        "an output counted from behind",
        "a contribution that is none",
        "a coin that is not in it",
        "a proposal that is none",
    ],
)
def test_a_value_that_cannot_be_read_makes_its_own_log_unreadable(events: tuple[ReceiverEvent, ...]) -> None:
    with pytest.raises(UnreadableLog):
        _check_contents(fold(*events))
