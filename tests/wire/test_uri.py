from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.errors import DecodeError
from payjoin_plugin.wire.bech32 import encode
from payjoin_plugin.wire.mailbox import ShortId
from payjoin_plugin.wire.uri import (
    EARLIEST_EXPIRY,
    PayjoinUri,
    PjEndpoint,
    append_pj,
    check_service_url,
    decode_endpoint,
    encode_endpoint,
    parse,
)
from tests.wire.samples import directories, endpoints, vectors

CASES = vectors("uri_vectors")["cases"]
ACCEPTED = [case for case in CASES if case["ok"]]
REFUSED = [case for case in CASES if not case["ok"]]
V2 = [case for case in ACCEPTED if case["version"] == 2]
V1 = [case for case in ACCEPTED if case["version"] == 1]

ADDRESS = "tb1q6q6de88mj8qkg0q5lupmpfexwnqjsr4d2gvx2p"
BIP_77_ENDPOINT = (
    "HTTPS://PAYJO.IN/TXJCGKTKXLUUZ#EX1WKV8CEC-OH1QYPM59NK2LXXS4890SUAXXYT25Z2VAPHP0X7YEYCJXGWAG6UG9ZU6NQ"
    "-RK1Q0DJS3VVDXWQQTLQ8022QGXSX7ML9PHZ6EDSF6AKEWQG758JPS2EV"
)
BIP_77_URI = f"bitcoin:{ADDRESS}?amount=0.00666666&pjos=0&pj={BIP_77_ENDPOINT.replace('#', '%23')}"
BOX, FRAGMENT = BIP_77_ENDPOINT.split("#")
EX, OH, RK = FRAGMENT.split("-")
ENDPOINT = decode_endpoint(BIP_77_ENDPOINT)


def note(case: dict[str, Any]) -> str:
    return str(case["note"])


class TestRustPayjoin:
    """What rust-payjoin 1.2.0 makes of these URIs, we do."""

    @pytest.mark.parametrize("case", V2, ids=note)
    def test_a_mailbox_that_it_accepts(self, case: dict[str, Any]) -> None:
        uri = parse(case["uri"])
        assert uri.amount_sat == case["amount_sat"]
        assert uri.output_substitution == (case["output_substitution"] == "Enabled")
        assert isinstance(uri.endpoint, PjEndpoint)
        assert uri.endpoint.mailbox.raw.hex() == case["short_id_hex"]
        assert uri.endpoint.expires_at == case["expiration"]
        assert uri.endpoint.ohttp_keys.to_bytes().hex() == case["ohttp_key_config_hex"]
        assert uri.endpoint.receiver_key.compressed.hex() == case["receiver_pubkey_compressed_hex"]
        if "[" not in case["endpoint"]:  # it writes out the zeros of IPv6
            assert uri.endpoint.directory == case["endpoint"].rpartition("/")[0].lower()

    @pytest.mark.parametrize("case", V1, ids=note)
    def test_an_endpoint_of_bip_78_that_it_accepts(self, case: dict[str, Any]) -> None:
        uri = parse(case["uri"])
        assert uri.endpoint == case["endpoint"]
        assert uri.amount_sat == case["amount_sat"]

    @pytest.mark.parametrize("case", REFUSED, ids=note)
    def test_what_it_refuses(self, case: dict[str, Any]) -> None:
        with pytest.raises(DecodeError):
            parse(case["uri"])

    @pytest.mark.parametrize("case", [c for c in V2 if "canonical" in c["note"] or "example" in c["note"]], ids=note)
    def test_what_it_writes(self, case: dict[str, Any]) -> None:
        endpoint = parse(case["uri"]).endpoint
        assert isinstance(endpoint, PjEndpoint)
        assert append_pj(case["uri"].partition("&pjos=")[0], endpoint) == case["display"]

    def test_there_are_cases_of_each_kind(self) -> None:
        assert min(len(V1), len(V2), len(REFUSED)) >= 5


def test_the_example_of_bip_77_is_read() -> None:
    assert parse(BIP_77_URI) == PayjoinUri(
        address=ADDRESS,
        amount_sat=666_666,
        endpoint=PjEndpoint(
            directory="https://payjo.in",
            mailbox=ShortId(bytes.fromhex("59a584597637f9c1")),
            expires_at=1_736_218_741,
            ohttp_keys=ENDPOINT.ohttp_keys,
            receiver_key=ENDPOINT.receiver_key,
        ),
        output_substitution=False,
        label="",
        message="",
    )
    assert ENDPOINT.ohttp_keys.key_id == 1
    assert ENDPOINT.ohttp_keys.public_key.compressed.hex().startswith("03ba1676")
    assert ShortId.of(ENDPOINT.receiver_key) == ENDPOINT.mailbox


def test_the_example_of_bip_77_is_written() -> None:
    assert encode_endpoint(ENDPOINT) == BIP_77_ENDPOINT
    assert append_pj(f"bitcoin:{ADDRESS}?amount=0.00666666", ENDPOINT) == BIP_77_URI


@given(endpoints)
def test_an_endpoint_is_read_as_written(endpoint: PjEndpoint) -> None:
    assert decode_endpoint(encode_endpoint(endpoint)) == endpoint


@given(endpoints, st.sampled_from(["", "?amount=0.01", "?amount=1&label=a%20b&message=x%26y", "?time=1&exp=3600"]))
def test_a_uri_of_electrum_with_pj_behind_it_is_read(endpoint: PjEndpoint, query: str) -> None:
    uri = parse(append_pj(f"bitcoin:{ADDRESS}{query}", endpoint))
    assert (uri.endpoint, uri.output_substitution, uri.address) == (endpoint, False, ADDRESS)


@given(endpoints)
def test_what_is_appended_suits_the_alphanumeric_mode_of_a_qr_code(endpoint: PjEndpoint) -> None:
    value = append_pj("bitcoin:X", endpoint).partition("&pj=")[2]
    assert set(value) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")


def test_brackets_of_an_ipv6_address_are_escaped() -> None:
    endpoint = replace(ENDPOINT, directory="http://[::1]:9001")
    assert "pj=HTTP://%5B::1%5D:9001/TXJC" in append_pj("bitcoin:X", endpoint)


class TestFragment:
    @pytest.mark.parametrize(
        "fragment",
        [
            f"{RK}-{OH}-{EX}",
            f"{EX}+{OH}+{RK}",
            f"{EX}--{OH}-{RK}-",
            f"{EX}-{OH}-{RK}-ZZ1QQ-{EX}QQQ",
            f"AA1-{EX}-{OH}-{RK}",
        ],
        ids=[
            "another order",
            "the old delimiter",
            "empty items",
            "unknown and repeated items",
            "an unknown item first",
        ],
    )
    def test_these_mean_the_same(self, fragment: str) -> None:
        assert decode_endpoint(f"{BOX}#{fragment}") == ENDPOINT

    @pytest.mark.parametrize(
        "fragment",
        [
            f"{EX}+{OH}-{RK}",
            f"{EX.lower()}-{OH}-{RK}",
            f"{EX}-{OH}-{RK}-zz",
            f"{EX}-{OH}-{RK}_",
            f"{EX}-{OH}-{RK}&",
            f"{EX}-{OH}-{RK}QQ",
            f"{EX}-{OH}-{RK[:-1]}",
            f"{EX}-{OH}-RK1{encode(ENDPOINT.receiver_key.uncompressed)}",
            f"{EX}-{OH}-RK1QQQ",
            f"{EX}-{OH[:-2]}-{RK}",
            f"{EX}Q-{OH}-{RK}",
            f"{EX}1-{OH}-{RK}",
            f"{EX}-{OH}1{RK}",
            f"A{EX}-{OH}-{RK}",
        ],
    )
    def test_these_mean_nothing(self, fragment: str) -> None:
        with pytest.raises(DecodeError):
            decode_endpoint(f"{BOX}#{fragment}")

    @pytest.mark.parametrize("missing", [EX, OH, RK])
    def test_an_item_that_is_missing_makes_it_another_kind_of_endpoint(self, missing: str) -> None:
        fragment = "-".join(item for item in (EX, OH, RK) if item != missing)
        assert parse(f"bitcoin:X?pj={BOX}%23{fragment}").endpoint == f"https://PAYJO.IN/TXJCGKTKXLUUZ#{fragment}"
        with pytest.raises(DecodeError):
            decode_endpoint(f"{BOX}#{fragment}")

    def test_an_expiry_is_little_endian(self) -> None:
        endpoint = replace(ENDPOINT, expires_at=0x80FF0102)
        assert f"#EX1{encode(bytes.fromhex('0201ff80'))}-" in encode_endpoint(endpoint)

    @pytest.mark.parametrize("expires_at", [0, EARLIEST_EXPIRY - 1, 2**32])
    def test_an_expiry_that_is_no_time_is_refused(self, expires_at: int) -> None:
        with pytest.raises(DecodeError):
            replace(ENDPOINT, expires_at=expires_at)


@pytest.mark.parametrize(
    "text",
    [
        f"https://payjo.in/dir/TXJCGKTKXLUUZ#{FRAGMENT}",
        f"https://payjo.in//TXJCGKTKXLUUZ#{FRAGMENT}",
        f"https://payjo.in#{FRAGMENT}",
        f"http://payjo.in/TXJCGKTKXLUUZ#{FRAGMENT}",
        f"https://user:secret@payjo.in/TXJCGKTKXLUUZ#{FRAGMENT}",
        f"https:///TXJCGKTKXLUUZ#{FRAGMENT}",
        f"ftp://payjo.in/TXJCGKTKXLUUZ#{FRAGMENT}",
        f"payjo.in/TXJCGKTKXLUUZ#{FRAGMENT}",
        "",
    ],
)
def test_what_is_no_mailbox_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_endpoint(text)


def test_a_query_behind_the_short_id_is_ignored() -> None:
    assert decode_endpoint(f"{BOX}?v=1#{FRAGMENT}") == ENDPOINT


class TestBip21:
    @pytest.mark.parametrize(
        ("text", "sat"),
        [
            ("0", 0),
            ("1", 100_000_000),
            ("0.00000001", 1),
            ("0.1", 10_000_000),
            ("20.30000000", 2_030_000_000),
            ("21000000", 2_100_000_000_000_000),
            ("5.", 500_000_000),
        ],
    )
    def test_an_amount_is_read_as_bitcoins(self, text: str, sat: int) -> None:
        assert parse(f"bitcoin:X?amount={text}&pj=https://a.example/").amount_sat == sat

    @pytest.mark.parametrize(
        "text",
        [
            "",
            ".",
            ".5",
            "-1",
            "+1",
            "1e3",
            "0.000000001",
            "0.0000000100",
            "21000000.00000001",
            "1,5",
            "0x10",
            "1 ",
            "\u0661",
        ],
    )
    def test_what_is_no_amount_is_refused(self, text: str) -> None:
        with pytest.raises(DecodeError):
            parse(f"bitcoin:X?amount={text}&pj=https://a.example/")

    def test_texts_are_unescaped_and_a_plus_stays_one(self) -> None:
        uri = parse("bitcoin:X?label=a+b%20c%C3%A9&message=%26%3D%23&pj=https://a.example/")
        assert (uri.label, uri.message) == ("a+b cé", "&=#")

    def test_a_uri_with_only_an_endpoint_has_nothing_else(self) -> None:
        assert parse("BitCoin:X?pj=https://a.example/") == PayjoinUri(
            address="X",
            amount_sat=None,
            endpoint="https://a.example/",
            output_substitution=True,
            label="",
            message="",
        )

    @pytest.mark.parametrize(
        "uri",
        [
            "",
            "bitcoin",
            "X?pj=https://a.example/",
            "litecoin:X?pj=https://a.example/",
            "bitcoin:?pj=https://a.example/",
            "bitcoin:X Y?pj=https://a.example/",
            "bitcoin:X",
            "bitcoin:X?",
            "bitcoin:X?amount=1",
            "bitcoin:X?PJ=https://a.example/",
            "bitcoin:X?pj",
            "bitcoin:X?pj=",
            "bitcoin:X?pj=https://a.example/&",
            "bitcoin:X?pjos=2&pj=https://a.example/",
            "bitcoin:X?pjos=&pj=https://a.example/",
            "bitcoin:X?pjos=1&pjos=1&pj=https://a.example/",
            "bitcoin:X?amount=1&amount=1&pj=https://a.example/",
            "bitcoin:X?req-pj=https://a.example/",
            "bitcoin:X?label=%&pj=https://a.example/",
            "bitcoin:X?label=%4&pj=https://a.example/",
            "bitcoin:X?label=%GG&pj=https://a.example/",
            "bitcoin:X?label=%FF&pj=https://a.example/",
            "bitcoin:X?pj=https://a.example/%0A",
            "bitcoin:X?pj=https://a.example/%C3%A9",
            "bitcoin:X?pj=http://127.0.0.1/",
        ],
    )
    def test_what_is_no_payjoin_uri_is_refused(self, uri: str) -> None:
        with pytest.raises(DecodeError):
            parse(uri)

    @pytest.mark.parametrize("uri", ["bitcoin:X?pj=http://abc.onion/p", "bitcoin:X?pj=HTTP://abc.onion/p#cut"])
    def test_an_endpoint_of_bip_78_may_be_an_onion(self, uri: str) -> None:
        assert parse(uri).endpoint == "http://abc.onion/p"

    @given(
        st.text(max_size=60), st.sampled_from(["", "bitcoin:X?", "bitcoin:X?pj=", "bitcoin:X?pj=https://", BIP_77_URI])
    )
    def test_any_text_is_a_uri_or_a_decode_error(self, text: str, start: str) -> None:
        with suppress(DecodeError):
            assert isinstance(parse(start + text), PayjoinUri)

    @given(st.integers(0, len(BIP_77_URI) - 1), st.characters(max_codepoint=300), st.integers(0, 2))
    def test_a_mistyped_uri_is_a_uri_or_a_decode_error(self, place: int, character: str, replaced: int) -> None:
        with suppress(DecodeError):
            uri = parse(BIP_77_URI[:place] + character + BIP_77_URI[place + replaced :])
            assert isinstance(uri, PayjoinUri)

    @pytest.mark.parametrize("length", range(len(BIP_77_URI) - len(FRAGMENT), len(BIP_77_URI)))
    def test_a_uri_that_is_cut_off_never_names_a_mailbox(self, length: int) -> None:
        try:
            endpoint = parse(BIP_77_URI[:length]).endpoint
        except DecodeError:
            return
        assert isinstance(endpoint, str)


class TestServiceUrl:
    @pytest.mark.parametrize(
        ("text", "origin"),
        [
            ("https://payjo.in", "https://payjo.in"),
            ("https://payjo.in/", "https://payjo.in"),
            ("HTTPS://PayJo.IN", "https://payjo.in"),
            ("https://payjo.in:443/", "https://payjo.in"),
            ("https://payjo.in:8443", "https://payjo.in:8443"),
            ("https://10.0.0.7", "https://10.0.0.7"),
            ("https://[2001:DB8:0:0::7]:8443", "https://[2001:db8::7]:8443"),
            ("http://abcdef.onion", "http://abcdef.onion"),
            ("https://abcdef.onion", "https://abcdef.onion"),
            ("http://localhost:19001", "http://localhost:19001"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("http://127.9.9.9:1", "http://127.9.9.9:1"),
            ("http://[0:0:0:0:0:0:0:1]:9001", "http://[::1]:9001"),
        ],
    )
    def test_a_server_is_named_by_its_origin(self, text: str, origin: str) -> None:
        assert check_service_url(text) == origin

    @given(directories)
    def test_an_origin_stays_as_it_is(self, origin: str) -> None:
        assert check_service_url(origin) == origin

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("", "start with https://"),
            ("payjo.in", "start with https://"),
            ("ftp://payjo.in", "start with https://"),
            ("https:/payjo.in", "start with https://"),
            ("http://payjo.in", "use https"),
            ("http://10.0.0.7", "use https"),
            ("http://localhost.example", "use https"),
            ("http://onion", "use https"),
            ("http://127.1", "use https"),
            ("http://[2001:db8::7]", "use https"),
            ("https://user@payjo.in", "user name"),
            ("https://a:b@payjo.in", "user name"),
            ("https://payjo.in/path", "only the scheme, the host and the port"),
            ("https://payjo.in?query", "only the scheme, the host and the port"),
            ("https://payjo.in#", "only the scheme, the host and the port"),
            ("https://", "host name"),
            ("https://.", "host name"),
            ("https://payjo..in", "host name"),
            ("https://payjo.in.", "host name"),
            ("https://-payjo.in", "host name"),
            ("https://payjo-.in", "host name"),
            ("https://pay_jo.in", "host name"),
            ("https://payjo.in:", "host name"),
            ("https://payjo.in:https", "host name"),
            (f"https://{'a' * 64}.in", "host name"),
            (f"https://{'.'.join(['a' * 63] * 4)}", "host name"),
            ("https://[::1", "host name"),
            ("https://[1.2.3.4]", "IPv6"),
            ("https://payjo.in:0", "out of range"),
            ("https://payjo.in:65536", "out of range"),
            (" https://payjo.in", "printable"),
            ("https://payjo.in\n", "printable"),
            ("https://päyjo.in", "printable"),
        ],
    )
    def test_what_is_wrong_is_said(self, text: str, sentence: str) -> None:
        with pytest.raises(DecodeError, match=sentence):
            check_service_url(text)

    @given(st.text(max_size=40), st.sampled_from(["", "https://", "http://", "https://["]))
    def test_any_text_is_an_origin_or_a_decode_error(self, text: str, start: str) -> None:
        try:
            origin = check_service_url(start + text)
        except DecodeError:
            return
        assert check_service_url(origin) == origin
