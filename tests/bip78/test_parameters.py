from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.bip78.parameters import (
    ERROR_TEXTS,
    MAX_FEE_RATE,
    AdditionalFee,
    Parameters,
    error_json,
    from_query,
    parse_error,
    to_query,
)
from payjoin_plugin.errors import FAULT_CODES, ErrorCode, Fault, OriginalRefused
from tests.bip78.payments import vectors

REFERENCE = vectors("sender_params_vectors")["cases"]
ids = lambda case: case["query"] or "nothing"  # noqa: E731


@pytest.mark.parametrize("case", [case for case in REFERENCE if case["ok"]], ids=ids)
def test_the_reference_reads_the_same(case: dict[str, Any]) -> None:
    read = from_query(case["query"])
    theirs = case["params"]
    assert read.version == theirs["v"]
    assert read.output_substitution == (theirs["output_substitution"] == "Enabled")
    fee = theirs["additional_fee_contribution"]
    assert read.additional_fee == (fee and AdditionalFee(max_sat=fee[0], output_index=fee[1]))


@pytest.mark.parametrize("case", [case for case in REFERENCE if case["ok"] and "minfeerate" in case["query"]], ids=ids)
def test_the_reference_reads_the_same_minimum(case: dict[str, Any]) -> None:
    assert from_query(case["query"]).min_fee_rate == case["params"]["min_fee_rate"]


@pytest.mark.parametrize("case", [case for case in REFERENCE if not case["ok"]], ids=ids)
def test_the_reference_refuses_the_same_with_the_same_code(case: dict[str, Any]) -> None:
    with pytest.raises(OriginalRefused) as refusal:
        from_query(case["query"])
    assert FAULT_CODES[refusal.value.fault].value in case["error"]


def test_nobody_who_does_not_ask_for_a_minimum_gets_one() -> None:
    assert from_query("v=2").min_fee_rate == 0


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1", 250), ("1.1", 275), ("0.001", 1), (".5", 125), ("2.", 500), ("1e2", 25_000), ("0.1e-1", 3), ("00001", 250)],
)
def test_a_minimum_in_sat_per_vbyte_is_rounded_up_to_sat_per_kwu(text: str, rate: int) -> None:
    assert from_query(f"minfeerate={text}").min_fee_rate == rate


@pytest.mark.parametrize("text", ["", "-1", "-0", "+1", " 1", "1,5", "0x1", "1e", "nan", "infinity", "1" * 30, "1e99"])
def test_a_senseless_minimum_is_refused(text: str) -> None:
    with pytest.raises(OriginalRefused) as refusal:
        from_query(f"minfeerate={text}")
    assert refusal.value.fault is Fault.FEE_TOO_SMALL


@pytest.mark.parametrize("value", ["", "-1", "+1", "1.0", "1e3", " 1", "x", "1" * 21, "\u0661"])
@pytest.mark.parametrize("broken", ["maxadditionalfeecontribution", "additionalfeeoutputindex"])
def test_a_broken_offer_is_no_offer(broken: str, value: str) -> None:
    whole = {"maxadditionalfeecontribution": "1", "additionalfeeoutputindex": "1", broken: value}
    assert from_query("&".join(f"{key}={value}" for key, value in whole.items())).additional_fee is None


def test_the_last_of_two_wins() -> None:
    assert from_query("minfeerate=1&minfeerate=2").min_fee_rate == 500


def test_zeros_behind_the_query_are_padding() -> None:
    assert from_query("v=2\x00\x00") == Parameters(version=2)


parameters = st.builds(
    Parameters,
    version=st.just(2),
    output_substitution=st.booleans(),
    additional_fee=st.none()
    | st.builds(AdditionalFee, max_sat=st.integers(0, 2**64 - 1), output_index=st.integers(0, 2**32 - 1)),
    min_fee_rate=st.integers(0, MAX_FEE_RATE),
)


@given(parameters)
def test_what_is_written_is_read(asked: Parameters) -> None:
    assert from_query(to_query(asked)) == asked


def test_the_query_stands_in_the_references_order() -> None:
    asked = Parameters(version=2, output_substitution=False, additional_fee=AdditionalFee(182, 0), min_fee_rate=275)
    assert to_query(asked) == (
        "v=2&disableoutputsubstitution=true&additionalfeeoutputindex=0&maxadditionalfeecontribution=182&minfeerate=1.1"
    )


@given(st.text() | st.text("v=&12minfeerate.%+-\x00"))
def test_any_query_is_parameters_or_a_refusal(query: str) -> None:
    with suppress(OriginalRefused):
        assert from_query(query).version in (1, 2)


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_an_answer_from_the_table(fault: Fault) -> None:
    reply = json.loads(error_json(fault))
    code = FAULT_CODES[fault]
    assert (reply["errorCode"], reply["message"]) == (code.value, ERROR_TEXTS[code])
    assert ("supported" in reply) == (fault is Fault.VERSION)


def test_the_versions_that_we_speak_are_an_array() -> None:
    assert json.loads(error_json(Fault.VERSION, supported=(2,)))["supported"] == [2]


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("padding", [b"", b"\x00" * 100])
def test_a_sender_reads_our_errors(fault: Fault, padding: bytes) -> None:
    read = parse_error(error_json(fault) + padding)
    assert read is not None
    assert read.code == FAULT_CODES[fault].value


ON_THE_WIRE = [
    case["result"]["json_on_wire"] for case in vectors("error_json_v1")["cases"] if isinstance(case["result"], dict)
] + [case["inner_request"]["plaintext"] for case in vectors("receiver_replyable_errors")["cases"]]


@pytest.mark.parametrize("text", ON_THE_WIRE)
def test_a_sender_reads_the_references_errors(text: str) -> None:
    read = parse_error(text.encode())
    assert read is not None
    assert read.code in {code.value for code in ErrorCode}


@pytest.mark.parametrize("sample", vectors("bip78")["json_error_samples"], ids=lambda sample: sample["json"][:30])
def test_the_references_samples_are_errors_if_they_have_a_code(sample: dict[str, str]) -> None:
    read = parse_error(sample["json"].encode())
    assert (read and read.code) == json.loads(sample["json"]).get("errorCode")


def test_a_directorys_doubled_braces_are_taken() -> None:
    read = parse_error(b'{{"errorCode": "original-psbt-rejected ", "message": ""}}')
    assert read is not None
    assert read.code == "original-psbt-rejected"


@pytest.mark.parametrize(
    "body", [b"", b"psbt\xff", b"[]", b"1", b'"errorCode"', b'{"errorCode": 1}', b"{}", b"{{}}", b"[" * 7088, b"\xff{}"]
)
def test_what_is_no_error_is_none(body: bytes) -> None:
    assert parse_error(body) is None


@given(st.binary())
def test_any_bytes_are_an_error_with_its_code_or_none(body: bytes) -> None:
    error = parse_error(body)
    assert error is None or isinstance(error.code, str)
