from __future__ import annotations

from dataclasses import replace

import pytest
from electrum.transaction import Transaction

from payjoin_plugin.bip78.contribution import FeeLimits, contribute, finish_proposal
from payjoin_plugin.bip78.original import read_original
from payjoin_plugin.bip78.parameters import Parameters
from payjoin_plugin.bip78.psbt import Psbt, fallback_of
from payjoin_plugin.bip78.recognise import (
    expected_txid,
    payjoin_transaction,
    same_payment,
    sender_inputs,
    spends_any,
)
from tests.bip78.payments import KINDS, Money, Payment, bobs_coin, payment, sign_ours, sign_senders


def propose(made: Payment, coin: Money) -> Psbt:
    original = read_original(made.original())
    limits = FeeLimits(max_rate=10_000, max_sat=10_000, min_rate=250)
    unsigned = contribute(original, Parameters(), coin.coin(), payment_vout=0, limits=limits, position=1).proposal
    return finish_proposal(unsigned, sign_ours(unsigned, coin), (coin.outpoint,))


def broadcast(proposal: Psbt, made: Payment) -> Transaction:
    return sign_senders(proposal, made.coins)


def raw(tx: Transaction) -> bytes:
    return bytes.fromhex(tx.serialize())


@pytest.mark.parametrize("kind", KINDS)
def test_a_payjoin_is_rebuilt_from_our_proposal_and_what_its_sender_put_in(kind: str) -> None:
    made, coin = payment(kind), bobs_coin()
    proposal = propose(made, coin)
    payjoin = broadcast(proposal, made)
    theirs = sender_inputs(raw(payjoin), [coin.outpoint])
    assert set(theirs) == {made.coins[0].outpoint}
    assert payjoin_transaction(proposal, theirs).serialize() == payjoin.serialize()


@pytest.mark.parametrize("kind", KINDS)
def test_the_txid_is_foretold_where_no_signature_can_change_it(kind: str) -> None:
    made = payment(kind)
    proposal = propose(made, bobs_coin())
    foretold = broadcast(proposal, made).txid() if kind in ("p2wpkh", "p2tr", "p2wsh") else None
    assert expected_txid(proposal) == foretold


@pytest.mark.parametrize("kind", KINDS)
def test_a_payment_is_the_same_whatever_its_signatures_are(kind: str) -> None:
    made, coin = payment(kind), bobs_coin()
    proposal = propose(made, coin)
    payjoin = broadcast(proposal, made)
    assert same_payment(raw(payjoin), proposal)
    assert same_payment(fallback_of(made.original()), made.original())
    assert not same_payment(raw(payjoin), made.original())


def test_another_amount_is_another_payment() -> None:
    made = payment()
    other = replace(made, outputs=((made.outputs[0][0], 1_000), made.outputs[1]))
    assert not same_payment(fallback_of(other.original()), made.original())


def test_a_transaction_is_known_by_what_it_spends() -> None:
    made = payment("p2wpkh", "p2pkh")
    fallback = fallback_of(made.original())
    assert spends_any(fallback, [made.coins[1].outpoint])
    assert not spends_any(fallback, [bobs_coin().outpoint])
