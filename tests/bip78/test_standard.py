from __future__ import annotations

from dataclasses import replace

import pytest
from electrum import bitcoin
from electrum.bitcoin import construct_script, opcodes
from electrum.transaction import PartialTransaction, PartialTxInput, PartialTxOutput, Transaction, TxOutpoint

from payjoin_plugin.bip78.standard import dust_limit, is_data, is_mature, is_standard_output, objection, unlocked_at
from tests.bip78.payments import HEIGHT, KINDS, Account, payment

KEY = Account.of("Alice").keys[0]

STANDARD = {
    **{kind: Account.of("Alice", kind).script for kind in KINDS},
    "p2pk": construct_script([KEY, opcodes.OP_CHECKSIG]),
    "anchor": bytes.fromhex("51024e73"),
    "future segwit": construct_script([16, bytes(40)]),
    "data": bitcoin.make_op_return(b"hello"),
    "empty data": b"\x6a",
    "much data": bitcoin.make_op_return(bytes(1000)),
}
OTHER = {
    "nothing": b"",
    "true": b"\x51",
    "broken": b"\x4c",
    "bare multisig": construct_script([1, KEY, 1, opcodes.OP_CHECKMULTISIG]),
    "data with an operation": b"\x6a\xac",
    "broken data": b"\x6a\x05x",
    "too long for segwit": construct_script([16, bytes(41)]),
}


@pytest.mark.parametrize("script", STANDARD.values(), ids=STANDARD)
def test_standard_outputs_are_relayed(script: bytes) -> None:
    assert is_standard_output(script)


@pytest.mark.parametrize("script", OTHER.values(), ids=OTHER)
def test_outputs_of_other_forms_are_not_standard(script: bytes) -> None:
    assert not is_standard_output(script)


def test_data_is_not_dust() -> None:
    assert is_data(STANDARD["data"])
    assert dust_limit(STANDARD["data"]) == 0


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("p2pkh", bitcoin.DUST_LIMIT_P2PKH),
        ("p2sh", bitcoin.DUST_LIMIT_P2SH),
        ("p2wsh", bitcoin.DUST_LIMIT_P2WSH),
        ("p2wpkh", bitcoin.DUST_LIMIT_P2WPKH),
        ("p2tr", 330),
        ("anchor", 240),
        ("future segwit", bitcoin.DUST_LIMIT_UNKNOWN_SEGWIT),
    ],
)
def test_the_rule_gives_the_limits_that_are_known(kind: str, limit: int) -> None:
    assert dust_limit(STANDARD[kind]) == limit


def no_objection(tx: Transaction) -> bool:
    return objection(tx, weight=tx.estimated_weight()) is None


@pytest.mark.parametrize("version", [1, 2])
def test_versions_1_and_2_are_relayed(version: int) -> None:
    assert no_objection(replace(payment(), version=version).transaction())


@pytest.mark.parametrize("version", [-1, 0, 3, 4, 2**31 - 1])
def test_other_versions_are_not(version: int) -> None:
    assert not no_objection(replace(payment(), version=version).transaction())


def test_a_transaction_as_heavy_as_allowed_is_relayed() -> None:
    tx = payment().transaction()
    assert objection(tx, weight=400_000) is None
    assert objection(tx, weight=400_001) == "size"


def test_dust_is_what_lies_below_the_limit() -> None:
    made = payment()
    script = made.outputs[1][0]
    assert no_objection(replace(made, outputs=(made.outputs[0], (script, 294))).transaction())
    assert not no_objection(replace(made, outputs=(made.outputs[0], (script, 293))).transaction())


def test_an_outpoint_twice_is_not_relayed() -> None:
    made = payment()
    assert not no_objection(replace(made, coins=made.coins * 2).transaction())


def test_a_coinbase_is_not_relayed() -> None:
    tx = payment().transaction()
    tx.inputs()[0].prevout = TxOutpoint(bytes(32), 0xFFFFFFFF)
    assert objection(tx, weight=600) == "a coinbase"


def test_more_than_all_money_is_not_relayed() -> None:
    tx = payment().transaction()
    for txout in tx.outputs():
        txout.value = 11_000_000 * 100_000_000
    assert objection(tx, weight=600) == "more than all money"


def locked(
    *, locktime: int = 0, sequence: int = 0xFFFFFFFD, version: int = 2, confirmed_at: int = HEIGHT, median_time: int = 0
) -> int | None:
    tx = replace(payment(), locktime=locktime, sequence=sequence, version=version).transaction()
    return unlocked_at(tx, confirmed_at=[confirmed_at], height=HEIGHT, median_time=median_time)


def test_no_lock_is_open() -> None:
    assert locked() == 0


def test_a_lock_to_a_block_opens_with_it() -> None:
    assert locked(locktime=HEIGHT + 7) == HEIGHT + 7


def test_final_sequences_switch_a_lock_off() -> None:
    assert locked(locktime=HEIGHT + 7, sequence=0xFFFFFFFF) == 0
    assert locked(locktime=2**32 - 1, sequence=0xFFFFFFFF) == 0


def test_a_lock_to_a_time_opens_after_it() -> None:
    assert locked(locktime=1_700_000_000, median_time=1_700_000_001) == 0
    assert locked(locktime=1_700_000_000, median_time=1_700_000_000) is None


def test_a_relative_lock_counts_from_the_coins_block() -> None:
    assert locked(sequence=10, confirmed_at=HEIGHT - 9) == HEIGHT
    assert locked(sequence=10, confirmed_at=HEIGHT - 8) == HEIGHT + 1


def test_a_relative_lock_of_an_unconfirmed_coin_counts_from_the_next_block() -> None:
    assert locked(sequence=1, confirmed_at=0) == HEIGHT + 1


def test_a_relative_lock_of_nothing_is_open() -> None:
    assert locked(sequence=0, confirmed_at=0) == 0


def test_a_relative_lock_by_time_counts_as_shut() -> None:
    assert locked(sequence=1 << 22 | 1, confirmed_at=1) is None
    assert locked(sequence=1 << 22, confirmed_at=1) == 0


def test_version_1_has_no_relative_locks() -> None:
    assert locked(sequence=10, version=1) == 0
    assert locked(sequence=1 << 22 | 1, version=1) == 0


def coinbase() -> Transaction:
    made = PartialTransaction.from_io(
        [PartialTxInput(prevout=TxOutpoint(bytes(32), 0xFFFFFFFF), script_sig=b"\x51", witness=b"\x00")],
        [PartialTxOutput(scriptpubkey=b"\x51", value=1)],
    )
    return Transaction(made.serialize_to_network())


@pytest.mark.parametrize(("confirmed_at", "mature"), [(HEIGHT - 99, True), (HEIGHT - 98, False), (0, False), (1, True)])
def test_a_coinbase_ripens_for_100_blocks(confirmed_at: int, *, mature: bool) -> None:
    assert is_mature(coinbase(), confirmed_at=confirmed_at, height=HEIGHT) == mature


def test_any_other_coin_may_be_unconfirmed() -> None:
    assert is_mature(payment().transaction(), confirmed_at=0, height=HEIGHT)
