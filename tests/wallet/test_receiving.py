from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from electrum.keystore import Hardware_KeyStore, from_master_key
from electrum.transaction import Transaction
from electrum.wallet import Abstract_Wallet

from payjoin_plugin.bip78.original import Original
from payjoin_plugin.bip78.parameters import AdditionalFee, Parameters
from payjoin_plugin.bip78.psbt import parse, spent_output
from payjoin_plugin.bip78.sender_checks import check_proposal
from payjoin_plugin.bip78.signatures import verify_inputs
from payjoin_plugin.errors import Unreachable
from payjoin_plugin.wallet.receiving import why_not
from tests.wallet.receivers import AMOUNT, Receiver, make_receiver
from tests.wallet.servers import HEIGHT, Server, block_time
from tests.wallet.wallets import (
    PASSWORD,
    SCRIPT_TYPES,
    foreign_outpoint,
    fund,
    imported_keys,
    make_wallet,
    master_key,
    run,
    transaction,
)

SIGNS_ELSEWHERE = "Wallets with a hardware device, several signers or two factors can't yet."


def vout_of(original: Original, receiver: Receiver) -> int:
    script = receiver.receiver_wallet.script_of(receiver.address)
    return next(vout for vout, txout in enumerate(original.tx.outputs()) if txout.scriptpubkey == script)


# A whole payjoin


@pytest.mark.parametrize("receiver_type", SCRIPT_TYPES)
@pytest.mark.parametrize("sender_type", SCRIPT_TYPES)
@pytest.mark.parametrize("position", [0, 1])
def test_a_payjoin_between_real_wallets_is_complete_and_valid(
    tmp_path: Path, sender_type: str, receiver_type: str, position: int
) -> None:
    receiver = make_receiver(tmp_path, script_type=receiver_type)
    sender = make_wallet(tmp_path, "sender", script_type=sender_type)
    fund(sender, 100_000)
    original = receiver.original(sender)
    change = 1 - vout_of(original, receiver)
    parameters = Parameters(additional_fee=AdditionalFee(max_sat=500, output_index=change))
    unsigned, outpoints = receiver.proposal(original, parameters, position=position)
    proposal = run(receiver.receiver_wallet.sign(unsigned, outpoints, password=None))

    script = receiver.receiver_wallet.script_of(receiver.address)
    to_sign = parse(check_proposal(proposal, original.psbt, parameters=parameters, payee_script=script))
    sender.sign_transaction(to_sign, None, ignore_warnings=True)
    payjoin = Transaction(to_sign.serialize())
    spent = [spent_output(txin) for txin in to_sign.inputs()]
    assert to_sign.is_complete()
    assert verify_inputs(payjoin, spent, range(2))
    assert [txin.prevout.to_str() for txin in payjoin.inputs()][position] == outpoints[0]
    assert receiver.wallet.get_wallet_delta(payjoin).delta <= AMOUNT


@pytest.mark.parametrize("script_type", SCRIPT_TYPES)
def test_an_imported_key_signs_as_well(tmp_path: Path, sender: Abstract_Wallet, script_type: str) -> None:
    wallet = make_wallet(tmp_path, text=imported_keys("imported", script_type))
    fund(wallet, 50_000, address=wallet.get_receiving_addresses()[0])
    receiver = Receiver(wallet)
    unsigned, outpoints = receiver.proposal(receiver.original(sender))
    proposal = parse(run(receiver.receiver_wallet.sign(unsigned, outpoints, password=None)))
    assert proposal.inputs()[0].is_complete()


def test_the_answer_shows_no_more_than_it_must(receiver: Receiver, sender: Abstract_Wallet) -> None:
    unsigned, outpoints = receiver.proposal(receiver.original(sender))
    ours, theirs = parse(run(receiver.receiver_wallet.sign(unsigned, outpoints, password=None))).inputs()
    assert ours.is_complete()
    assert not theirs.is_complete()
    assert ours.bip32_paths == {}
    assert ours.sigs_ecdsa == {}


# Looking up


def test_what_is_known_of_an_original(receiver: Receiver, sender: Abstract_Wallet) -> None:
    original = receiver.original(sender)
    receiver.network.relay_fee = 1_234
    facts = run(receiver.receiver_wallet.look_up(original))
    ((outpoint, about),) = facts.inputs.items()
    assert outpoint == original.outpoints[0]
    assert (about.unspent, about.spender, about.ours, about.confirmed_at) == (True, None, False, 150)
    assert about.previous_tx == bytes.fromhex(sender.db.get_transaction(outpoint.split(":")[0]).serialize())
    assert (facts.relay_fee_rate, facts.height) == (309, HEIGHT)  # sat/kwu, rounded up from 308.5
    assert facts.median_time == block_time(HEIGHT - 5)
    assert [original.tx.outputs()[vout].address for vout in facts.own_vouts] == [receiver.address]


def test_a_previous_transaction_in_the_psbt_is_not_fetched(receiver: Receiver, sender: Abstract_Wallet) -> None:
    run(receiver.receiver_wallet.look_up(receiver.original(sender)))
    assert receiver.server.session is not None
    assert "blockchain.transaction.get" not in [method for method, _ in receiver.server.session.batches[0]]


def test_a_coin_that_another_session_has_answered_is_seen_before(receiver: Receiver, sender: Abstract_Wallet) -> None:
    original = receiver.original(sender)
    receiver.store.mark_seen(original.outpoints, "s0")
    assert receiver.receiver_wallet.seen_before(original, "s1")
    assert not receiver.receiver_wallet.seen_before(original, "s0")


def test_a_coin_of_our_own_is_known_by_the_wallets_history(receiver: Receiver) -> None:
    original = receiver.original(receiver.wallet)
    receiver.chain.txs.clear()
    facts = run(receiver.receiver_wallet.look_up(original))
    assert [about.ours for about in facts.inputs.values()] == [True]


def test_a_coin_of_our_own_is_known_though_the_psbt_lies_about_its_script(
    receiver: Receiver, sender: Abstract_Wallet
) -> None:
    (ours,) = receiver.wallet.get_utxos()
    original = receiver.original(sender)
    txid = ours.prevout.txid.hex()
    receiver.chain.add(receiver.wallet.db.get_transaction(txid), height=150)
    lying = SimpleNamespace(
        input_scripts={ours.prevout.to_str(): original.spent[0].scriptpubkey},
        tx=SimpleNamespace(inputs=list, outputs=list),
    )
    facts = run(receiver.receiver_wallet.look_up(lying))  # type: ignore[arg-type]
    assert [about.ours for about in facts.inputs.values()] == [True]


def test_a_coin_of_our_own_that_only_the_server_knows_of_is_known_too(
    receiver: Receiver, sender: Abstract_Wallet
) -> None:
    unheard = transaction([foreign_outpoint("new")], [(receiver.wallet.get_receiving_addresses()[1], 7_000)])
    txid = receiver.chain.add(unheard)
    lying = SimpleNamespace(
        input_scripts=dict.fromkeys((f"{txid}:0", f"{txid}:7"), receiver.original(sender).spent[0].scriptpubkey),
        tx=SimpleNamespace(inputs=list, outputs=list),
    )
    facts = run(receiver.receiver_wallet.look_up(lying))  # type: ignore[arg-type]
    assert [about.ours for about in facts.inputs.values()] == [True, False]


def test_offline_nothing_is_known(receiver: Receiver, sender: Abstract_Wallet) -> None:
    original = receiver.original(sender)
    receiver.wallet.network = None
    with pytest.raises(Unreachable):
        run(receiver.receiver_wallet.look_up(original))


def test_without_a_chain_at_hand_the_median_time_is_not_known(receiver: Receiver) -> None:
    receiver.wallet.network = None
    nothing = SimpleNamespace(input_scripts={}, tx=SimpleNamespace(inputs=list, outputs=list))
    assert run(receiver.receiver_wallet.look_up(nothing)).median_time == 0  # type: ignore[arg-type]


def synchronize(receiver: Receiver) -> None:
    """Have Electrum's two tasks work with the connection that is there."""
    receiver.wallet.adb.synchronizer = receiver.wallet.adb.verifier = SimpleNamespace(
        interface=receiver.network.interface, is_up_to_date=lambda: True
    )


def test_a_wallet_is_ready_once_it_is_up_to_date(receiver: Receiver) -> None:
    synchronize(receiver)

    async def becomes_up_to_date() -> None:
        waiting = asyncio.ensure_future(receiver.receiver_wallet.ready())
        await asyncio.sleep(0)
        assert not waiting.done()
        receiver.wallet._up_to_date = True
        receiver.wallet.up_to_date_changed_event.set()
        receiver.wallet.up_to_date_changed_event.clear()
        await waiting

    run(becomes_up_to_date())


def test_a_wallet_that_is_busy_with_news_is_still_ready_but_not_after_a_new_connection(receiver: Receiver) -> None:
    synchronize(receiver)
    receiver.wallet._up_to_date = True
    run(receiver.receiver_wallet.ready())
    receiver.wallet._up_to_date = False
    run(receiver.receiver_wallet.ready())
    receiver.network.interface = Server("another", receiver.chain)

    async def not_ready() -> bool:
        waiting = asyncio.ensure_future(receiver.receiver_wallet.ready())
        await asyncio.sleep(0)
        done = waiting.done()
        waiting.cancel()
        return not done

    assert run(not_ready())


def test_electrum_s_word_of_another_connection_does_not_count(receiver: Receiver) -> None:
    synchronize(receiver)
    receiver.wallet._up_to_date = True
    assert receiver.receiver_wallet.is_current()
    before, receiver.network.interface = receiver.network.interface, None
    assert not receiver.receiver_wallet.is_current(), "offline, it still says that it is up to date"
    receiver.network.interface = Server("another", receiver.chain)
    assert not receiver.receiver_wallet.is_current(), "nobody has asked the new server yet"
    synchronize(receiver)
    assert receiver.receiver_wallet.is_current()
    assert before is not receiver.network.interface


# Why there is no payjoin


def test_a_wallet_with_a_confirmed_coin_can(receiver: Receiver) -> None:
    assert why_not(receiver.wallet) is None


def test_a_wallet_without_a_confirmed_coin_cannot(tmp_path: Path) -> None:
    wallet = make_wallet(tmp_path)
    assert why_not(wallet) == "This wallet has no free confirmed coin to add."
    fund(wallet, 50_000, height=None)
    assert why_not(wallet) == "This wallet has no free confirmed coin to add."


def test_a_locked_wallet_can(tmp_path: Path) -> None:
    assert why_not(make_receiver(tmp_path, password=PASSWORD).wallet) is None


def test_a_watch_only_wallet_cannot(tmp_path: Path) -> None:
    xpub = from_master_key(master_key("receiver", "p2wpkh")).get_master_public_key()
    by_xpub = make_wallet(tmp_path, text=xpub)
    by_address = make_wallet(tmp_path, text=by_xpub.get_receiving_addresses()[0])
    for wallet in (by_xpub, by_address):
        fund(wallet, 50_000, address=by_xpub.get_receiving_addresses()[0])
        assert why_not(wallet) == "This wallet cannot sign by itself (watch-only)."


@pytest.mark.parametrize("wallet_type", ["2of3", "2fa"])
def test_a_wallet_that_signs_with_others_cannot(receiver: Receiver, wallet_type: str) -> None:
    receiver.wallet.wallet_type = wallet_type
    assert why_not(receiver.wallet) == SIGNS_ELSEWHERE


def test_a_wallet_on_a_hardware_device_cannot(receiver: Receiver) -> None:
    class Device(Hardware_KeyStore):
        def __init__(self) -> None:
            self.plugin = SimpleNamespace()

        def decrypt_message(self, *_: object) -> None: ...
        def sign_message(self, *_: object) -> None: ...
        def sign_transaction(self, *_: object) -> None: ...

    receiver.wallet.keystore = Device()
    assert not receiver.wallet.is_watching_only()
    assert why_not(receiver.wallet) == SIGNS_ELSEWHERE
