"""What the Electrum server and the wallet know of an original's inputs, and what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from electrum.transaction import PartialTransaction, PartialTxInput, PartialTxOutput, Transaction, TxOutpoint, TxOutput

from payjoin_plugin.bip78 import original
from payjoin_plugin.bip78.original import LATE_BLOCKS, ChainFacts
from payjoin_plugin.bip78.psbt import parse_transaction, serialize
from payjoin_plugin.errors import Fault, NotYetKnown
from tests.bip78.originals import AMOUNT, check, fault_of
from tests.bip78.payments import ALICE, HEIGHT, Account, Money, payment


def test_an_input_that_is_ours_is_refused() -> None:
    made = payment()
    assert fault_of(lambda: check(made, made.facts(ours=True))) is Fault.SEEN_BEFORE


def test_a_spent_input_is_refused() -> None:
    made = payment()
    spender = replace(made, outputs=((ALICE.script, AMOUNT),)).transaction()
    facts = made.facts(unspent=False, spender=bytes.fromhex(spender.serialize()))
    assert fault_of(lambda: check(made, facts)) is Fault.COINS_GONE


def test_a_double_spend_counts_even_if_the_server_still_lists_the_coin() -> None:
    made = payment()
    spender = replace(made, outputs=((ALICE.script, AMOUNT),)).transaction()
    assert fault_of(lambda: check(made, made.facts(spender=bytes.fromhex(spender.serialize())))) is Fault.COINS_GONE


def test_a_spender_of_another_coin_is_not_believed() -> None:
    made = payment()
    other = replace(made, coins=(Money.of(ALICE, 200_000, name="another"),)).transaction()
    assert check(made, made.facts(spender=bytes.fromhex(other.serialize()))) == (0,)


def test_a_spender_that_is_no_transaction_is_not_believed() -> None:
    made = payment()
    assert check(made, made.facts(spender=b"junk")) == (0,)


def test_the_original_itself_is_no_double_spend() -> None:
    made = payment()
    facts = made.facts(unspent=False, spender=bytes.fromhex(made.transaction().serialize()))
    with pytest.raises(NotYetKnown):
        check(made, facts)


def test_an_input_that_is_merely_not_listed_is_asked_for_again() -> None:
    made = payment()
    with pytest.raises(NotYetKnown):
        check(made, made.facts(unspent=False))


def test_one_previous_transaction_may_have_made_several_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    coin = Money.of(ALICE, 200_000)
    made = replace(payment(), coins=(coin, Money(Account.of("somebody"), coin.previous, 0, 5_000)))
    read: list[bytes] = []

    def noted(raw: bytes) -> Transaction:
        read.append(raw)
        return parse_transaction(raw)

    monkeypatch.setattr(original, "parse_transaction", noted)
    assert check(made, made.facts()) == (0,)
    assert read.count(coin.previous) == 1


def test_an_unknown_previous_transaction_is_asked_for_again() -> None:
    made = payment()
    with pytest.raises(NotYetKnown):
        check(made, made.facts(previous_tx=None))


@pytest.mark.parametrize(
    "previous", [b"", b"junk", payment().coins[0].previous[:-1], payment("p2tr").coins[0].previous]
)
def test_a_wrong_previous_transaction_is_asked_for_again(previous: bytes) -> None:
    made = payment()
    with pytest.raises(NotYetKnown):
        check(made, made.facts(previous_tx=previous))


def test_an_input_that_nobody_looked_up_is_asked_for_again() -> None:
    made = payment("p2wpkh", "p2pkh")
    facts = made.facts()
    with pytest.raises(NotYetKnown):
        check(made, replace(facts, inputs={made.coins[0].outpoint: facts.inputs[made.coins[0].outpoint]}))


def test_a_fault_of_the_senders_is_answered_before_the_server_knows_anything() -> None:
    made = payment(amount=AMOUNT - 1)
    nothing = ChainFacts({}, relay_fee_rate=250, height=HEIGHT)
    assert fault_of(lambda: check(made, nothing)) is Fault.PAYS_TOO_LITTLE


def test_an_output_that_never_was_is_refused() -> None:
    made = payment()
    coin = made.coins[0]
    absent = TxOutpoint(coin.prevout.txid, 7)
    spend = PartialTxInput(prevout=absent, nsequence=0xFFFFFFFD)
    spend.witness_utxo = TxOutput(scriptpubkey=coin.owner.script, value=coin.value)
    tx = PartialTransaction.from_io(
        [spend], [PartialTxOutput(scriptpubkey=script, value=value) for script, value in made.outputs], BIP69_sort=False
    )
    coin.owner.sign(tx, 0)
    facts = replace(made.facts(), inputs={absent.to_str(): coin.facts()})
    assert fault_of(lambda: check(made, facts, psbt=serialize(tx))) is Fault.COINS_GONE


def test_a_lock_to_the_newest_block_is_no_lock() -> None:
    assert check(replace(payment(), locktime=HEIGHT)) == (0,)


def test_a_lock_to_a_block_that_we_have_not_heard_of_is_asked_for_again() -> None:
    made = replace(payment(), locktime=HEIGHT + LATE_BLOCKS)
    with pytest.raises(NotYetKnown):
        check(made)


def test_a_lock_in_the_future_is_refused() -> None:
    assert fault_of(lambda: check(replace(payment(), locktime=HEIGHT + LATE_BLOCKS + 1))) is Fault.NOT_STANDARD


def test_a_lock_to_a_time_to_come_is_refused() -> None:
    assert fault_of(lambda: check(replace(payment(), locktime=1_800_000_000))) is Fault.NOT_STANDARD


def test_a_relative_lock_of_one_block_is_open_to_any_confirmed_coin() -> None:
    made = replace(payment(), sequence=1)
    assert check(made, made.facts(confirmed_at=HEIGHT)) == (0,)
    with pytest.raises(NotYetKnown):
        check(made, made.facts(confirmed_at=0))


def test_a_relative_lock_that_our_coin_would_inherit_is_refused() -> None:
    made = replace(payment(), sequence=2)
    assert fault_of(lambda: check(made, made.facts(confirmed_at=1))) is Fault.NOT_STANDARD
    assert check(replace(made, version=1)) == (0,)


def test_a_coin_that_is_still_locked_to_its_block_is_refused() -> None:
    made = payment("p2wpkh", "p2wpkh")
    tx = made.unsigned()
    tx.inputs()[1].nsequence = 10
    for index, coin in enumerate(made.coins):
        coin.owner.sign(tx, index)
    psbt = serialize(tx)
    assert check(made, made.facts(confirmed_at=HEIGHT - 9), psbt=psbt) == (0,)
    assert fault_of(lambda: check(made, made.facts(confirmed_at=HEIGHT), psbt=psbt)) is Fault.NOT_STANDARD


def test_an_immature_coinbase_is_refused() -> None:
    made = payment()
    owner = made.coins[0].owner
    mined = PartialTransaction.from_io(
        [PartialTxInput(prevout=TxOutpoint(bytes(32), 0xFFFFFFFF), script_sig=b"\x51\x51", witness=b"\x00")],
        [PartialTxOutput(scriptpubkey=owner.script, value=200_000)],
    )
    coin = Money(owner, bytes.fromhex(mined.serialize_to_network()), 0, 200_000)
    spending = replace(made, coins=(coin,))
    assert check(spending, spending.facts(confirmed_at=HEIGHT - 99)) == (0,)
    assert fault_of(lambda: check(spending, spending.facts(confirmed_at=HEIGHT - 98))) is Fault.NOT_STANDARD
