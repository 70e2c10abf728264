from __future__ import annotations

import pytest

from tests.mailroom.directory import ALLOWED_PURPOSES, PURPOSES_TYPE
from tests.mailroom.relay import LONG, LONGEST_RETRY_AFTER, SHORT, OptIns, Origin, Probe, is_for_relay, origin_in_path

NOW = 1_800_000_000
DIRECTORY = Origin("https", "directory.example:443")
YES = Probe(200, PURPOSES_TYPE, ALLOWED_PURPOSES)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/https://directory.example/", "https://directory.example:443"),
        ("/http://directory.example", "http://directory.example:80"),
        ("/http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("/https://[::1]:8080/", "https://[::1]:8080"),
        ("/https://directory.example/x", None),
        ("/HTTPS://directory.example/", None),
        ("/https://", None),
        ("/https://:80/", None),
        ("/ftp://directory.example/", None),
        ("/", None),
    ],
)
def test_a_directory_is_named_by_the_path(path: str, expected: str | None) -> None:
    found = origin_in_path(path)
    assert (None if found is None else str(found)) == expected


def test_a_relay_is_meant_by_a_url_in_the_path_by_connect_and_by_a_post_to_the_root() -> None:
    asked = [("POST", "/https://d/"), ("GET", "/http://d/"), ("CONNECT", "d:443"), ("OPTIONS", "/x"), ("POST", "/")]
    assert all(is_for_relay(method, path) for method, path in asked)
    others = [("GET", "/"), ("POST", "/ID"), ("PUT", "/https://d/"), ("POST", "/HTTP://d/"), ("GET", "/health")]
    assert not any(is_for_relay(method, path) for method, path in others)


def test_a_directory_that_was_never_asked_is_not_known() -> None:
    assert OptIns().known(DIRECTORY, now=NOW) is None


def test_a_directorys_yes_and_no_hold_for_a_week() -> None:
    opt_ins = OptIns()
    for probe, expected in ((YES, True), (Probe(404), False), (Probe(200), False)):
        assert opt_ins.learn(DIRECTORY, probe, now=NOW) is expected
        assert opt_ins.known(DIRECTORY, now=NOW + LONG - 1) is expected
        assert opt_ins.known(DIRECTORY, now=NOW + LONG) is None


def test_only_the_very_answer_is_a_yes() -> None:
    assert YES.opted_in
    assert not Probe(200, "text/plain", ALLOWED_PURPOSES).opted_in
    assert not Probe(201, PURPOSES_TYPE, ALLOWED_PURPOSES).opted_in
    assert not Probe(200, PURPOSES_TYPE, ALLOWED_PURPOSES[:-1]).opted_in


@pytest.mark.parametrize(
    ("probe", "seconds"),
    [
        (Probe(None), SHORT),
        (Probe(302), SHORT),
        (Probe(500), SHORT),
        (Probe(503), SHORT),
        (Probe(504), 0),
        (Probe(429), LONG),
        (Probe(503, retry_after=77), 77),
        (Probe(429, retry_after=77), 77),
        (Probe(503, retry_after=10**9), LONGEST_RETRY_AFTER),
    ],
    ids=repr,
)
def test_trouble_is_remembered_for_a_moment_or_as_long_as_the_directory_asks(probe: Probe, seconds: float) -> None:
    assert probe.remembered_for == seconds
