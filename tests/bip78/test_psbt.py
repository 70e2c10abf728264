from __future__ import annotations

import base64

import pytest
from electrum.transaction import PartialTransaction, PartialTxInput, PartialTxOutput, Transaction, TxOutpoint
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.bip78.psbt import (
    MAX_LENGTH,
    Psbt,
    cut_psbt,
    fallback_of,
    parse,
    parse_as_is,
    parse_transaction,
    psbt_bytes,
    psbt_of,
    serialize,
    spent_output,
)
from payjoin_plugin.errors import DecodeError
from tests.bip78.payments import KINDS, payment, vectors

EXAMPLES = {
    **{name: text for name, text in vectors("bip78")["bip78"].items() if str(text).startswith("cHNidP")},
    **{
        name: text
        for name, text in vectors("bip78")["rust_payjoin_test_utils"].items()
        if str(text).startswith("cHNidP")
    },
}
ORIGINAL = Psbt(EXAMPLES["original_psbt"])
RAW = psbt_bytes(ORIGINAL)


@pytest.mark.parametrize("text", EXAMPLES.values(), ids=EXAMPLES)
def test_text_and_bytes_are_the_same(text: str) -> None:
    assert psbt_of(psbt_bytes(Psbt(text))) == text


@pytest.mark.parametrize("text", EXAMPLES.values(), ids=EXAMPLES)
def test_what_is_parsed_and_serialized_stays(text: str) -> None:
    once = serialize(parse_as_is(Psbt(text)))
    assert serialize(parse_as_is(once)) == once
    assert parse(once).serialize_to_network(include_sigs=False) == parse(Psbt(text)).serialize_to_network(
        include_sigs=False
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cHNidP",
        ORIGINAL.rstrip("="),
        ORIGINAL + "=",
        ORIGINAL + "\n",
        ORIGINAL + "AAAA",
        " " + ORIGINAL,
        ORIGINAL[:-3] + "B==" if ORIGINAL.endswith("A==") else ORIGINAL[:-2] + "B=",
        ORIGINAL.replace("+", "-").replace("/", "_"),
        RAW.hex(),
        base64.b64encode(ORIGINAL.encode()).decode(),
        base64.b64encode(RAW.hex().encode()).decode(),
        "cHNidP\u00e9",
        vectors("bip78")["rust_payjoin_test_utils"]["invalid_psbt"],
        "A" * (MAX_LENGTH + 4),
    ],
)
def test_anything_but_one_base64_psbt_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        parse(Psbt(text))


def test_foreign_key_paths_are_forgotten() -> None:
    text = Psbt(EXAMPLES["payjoin_proposal_with_sender_info"])
    assert any(txin.bip32_paths for txin in parse_as_is(text).inputs())
    assert not any(part.bip32_paths for part in (*parse(text).inputs(), *parse(text).outputs()))


def test_every_shortened_psbt_is_refused() -> None:
    for length in range(len(RAW)):
        with pytest.raises(DecodeError):
            parse(psbt_of(RAW[:length]))


@given(at=st.integers(5, len(RAW) - 1), put=st.binary(min_size=1, max_size=9))
def test_a_damaged_psbt_is_a_psbt_or_a_decode_error(at: int, put: bytes) -> None:
    damaged = RAW[:at] + put + RAW[at + len(put) :]
    try:
        tx = parse(psbt_of(damaged))
        serialize(tx)
        fallback_of(psbt_of(damaged))
    except DecodeError:
        pass


@given(st.binary(max_size=300))
def test_no_random_bytes_after_the_magic_are_a_psbt(junk: bytes) -> None:
    with pytest.raises(DecodeError):
        parse(psbt_of(b"psbt\xff" + junk))


@given(st.binary(max_size=300))
def test_no_random_bytes_are_a_transaction(junk: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_transaction(junk)


def field(key: bytes, value: bytes) -> bytes:
    return (
        bytes([len(key)])
        + key
        + (b"\xfd" + len(value).to_bytes(2, "little") if len(value) > 252 else bytes([len(value)]))
        + value
    )


def with_input_field(key: bytes, value: bytes, *, psbt: bytes) -> Psbt:
    """Put a field in front of the first input's."""
    end_of_globals = 5 + 2 + 1 + psbt[7] + 1
    return psbt_of(psbt[:end_of_globals] + field(key, value) + psbt[end_of_globals:])


UNSIGNED = psbt_bytes(psbt_of(payment().unsigned().serialize_as_bytes(force_psbt=True)))


@pytest.mark.parametrize("witness", [b"", b"\x01", b"\x01\x01", b"\x00\x00", b"\x01\x01x\x00", b"\xfd\x01\x00\x01x"])
def test_a_witness_that_is_no_stack_is_refused(witness: bytes) -> None:
    with pytest.raises(DecodeError, match=r"stack|buffer"):
        parse(with_input_field(b"\x08", witness, psbt=UNSIGNED))


def test_a_psbt_as_previous_transaction_is_refused() -> None:
    """Electrum takes one, if it is the right one."""
    nested = payment("p2pkh")
    spend = PartialTxInput(prevout=TxOutpoint.from_str(f"{nested.transaction().txid()}:0"))
    tx = PartialTransaction.from_io([spend], [PartialTxOutput(scriptpubkey=b"\x51", value=1)])
    psbt = with_input_field(b"\x00", psbt_bytes(nested.original()), psbt=psbt_bytes(serialize(tx)))
    assert PartialTransaction.from_raw_psbt(psbt_bytes(psbt))
    with pytest.raises(DecodeError, match="as previous transaction"):
        parse(psbt)


def test_psbts_nested_without_end_are_refused() -> None:
    nested = UNSIGNED
    for _ in range(300):
        nested = psbt_bytes(with_input_field(b"\x00", nested, psbt=UNSIGNED))
    with pytest.raises(DecodeError):
        parse(psbt_of(nested))


@pytest.mark.parametrize("text", EXAMPLES.values(), ids=EXAMPLES)
@pytest.mark.parametrize("padding", [0, 1, 7088])
def test_a_psbt_is_cut_out_of_its_padding(text: str, padding: int) -> None:
    raw = psbt_bytes(Psbt(text))
    assert cut_psbt(raw + bytes(padding)) == raw


def test_what_stands_in_the_padding_is_refused() -> None:
    with pytest.raises(DecodeError):
        cut_psbt(RAW + b"\x00\x01")


@pytest.mark.parametrize(
    "buffer", [b"", b"psbt\xff", bytes(100), b"psbt\xff" + bytes(100), RAW[:-1], RAW[:100], b"x" + RAW]
)
def test_a_buffer_without_a_whole_psbt_is_refused(buffer: bytes) -> None:
    with pytest.raises(DecodeError):
        cut_psbt(buffer)


@given(st.binary(max_size=300))
def test_any_buffer_is_cut_or_a_decode_error(junk: bytes) -> None:
    with pytest.raises(DecodeError):
        cut_psbt(b"psbt\xff" + junk)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fallback_is_the_signed_transaction(kind: str) -> None:
    made = payment(kind)
    assert fallback_of(made.original()).hex() == Transaction(made.signed().serialize()).serialize()


def test_a_fallback_of_legacy_inputs_has_no_witnesses() -> None:
    made = payment("p2pkh", "p2sh")
    assert (
        parse_transaction(fallback_of(made.original())).serialize_to_network(force_legacy=True)
        == fallback_of(made.original()).hex()
    )


@pytest.mark.parametrize("kind", ["p2wpkh", "p2pkh"])
def test_no_field_is_written_to_say_that_there_is_nothing(kind: str) -> None:
    tx = payment(kind).signed()
    assert tx.inputs()[0].script_sig is not None
    assert tx.inputs()[0].witness is not None
    [txin] = parse(serialize(tx)).inputs()
    assert (txin.script_sig is None, txin.witness is None) == ((True, False) if kind == "p2wpkh" else (False, True))
    assert txin.is_complete()


def test_serializing_finalizes_nothing() -> None:
    tx = payment().unsigned()
    made = payment()
    tx.inputs()[0].script_descriptor = made.coins[0].owner.descriptor
    tx.sign(dict(zip(made.coins[0].owner.keys, made.coins[0].owner.secrets, strict=True)))
    [txin] = parse(serialize(tx)).inputs()
    assert txin.sigs_ecdsa
    assert txin.witness is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_input_spends_is_read_from_either_field(kind: str) -> None:
    made = payment(kind)
    [txin] = parse(made.original()).inputs()
    txout = spent_output(txin)
    assert txout is not None
    assert (txout.scriptpubkey, txout.value) == (made.coins[0].owner.script, made.coins[0].value)


def test_an_input_may_say_nothing_about_what_it_spends() -> None:
    tx = PartialTransaction.from_tx(payment().transaction())
    assert spent_output(parse(serialize(tx)).inputs()[0]) is None
