"""Who runs which server, which relay is next, and how long keys are good. Times are given; nothing waits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.client.directory import KeyCache, Relays, operator_of, same_operator
from payjoin_plugin.errors import Unreachable
from payjoin_plugin.wire.keys import SecretKey
from payjoin_plugin.wire.ohttp import KeyConfig

DIRECTORY = "https://payjo.in"
A, B, C = "https://a.example.org", "https://b.example.net", "https://c.example.com"
NOW = 1_795_000_000.0
KEYS = KeyConfig(1, SecretKey.generate().public_key)
NEWER = KeyConfig(2, SecretKey.generate().public_key)
HOUR = 3600


def first(relays: Sequence[str]) -> str:
    return relays[0]


def relays(*urls: str) -> Relays:
    return Relays(lambda: urls, pick=first)


# Operators


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("https://payjo.in", "https://lets.payjo.in"),
        ("https://payjo.in", "https://payjoin.org"),
        ("https://payjo.in", "https://relay.payjoin.org"),
        ("https://payjo.in", "https://another.payjo.in:8443"),
        ("https://payjo.in", "https://pj.benalleng.com"),
        ("https://payjoin.achow101.com", "https://ohttp.achow101.com"),
        ("https://ohttp.bullbitcoin.com", "https://payjoin.bullbitcoin.com"),
        ("https://PAYJO.IN", "https://payjo.in."),
        ("https://a.unknown.example", "https://b.unknown.example"),
        ("https://unknown.example", "https://b.c.unknown.example"),
        ("https://a.shop.co.uk", "https://b.shop.co.uk"),
        ("https://203.0.113.5:1", "https://203.0.113.5:2"),
        ("https://[2001:db8::5]", "https://[2001:db8:0::5]:2"),
        ("http://abcdef.onion", "http://sub.abcdef.onion"),
    ],
)
def test_one_operator_runs_both(a: str, b: str) -> None:
    assert same_operator(a, b)
    assert same_operator(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("https://payjo.in", "https://payjoin.achow101.com"),
        ("https://payjo.in", "https://pj.bobspacebkk.com"),
        ("https://payjo.in", "https://payjoin.lab.vinteum.org"),
        ("https://payjo.in", "https://ohttp.cakewallet.com"),
        ("https://payjoin.lab.vinteum.org", "https://payjoin.org"),
        ("https://payjo.in.example", "https://payjo.in"),
        ("https://notpayjo.in", "https://payjo.in"),
        ("https://one.co.uk", "https://two.co.uk"),
        ("https://one.com.au", "https://two.com.au"),
        ("https://203.0.113.5", "https://203.0.114.5"),
        ("http://abcdef.onion", "http://abcdeg.onion"),
        ("http://127.0.0.1:1", "http://127.0.0.1:2"),
        ("http://localhost:1", "http://localhost:2"),
        ("http://[::1]:1", "http://[::1]:2"),
        ("http://127.0.0.1:1", "https://payjo.in"),
    ],
)
def test_different_people_run_them(a: str, b: str) -> None:
    assert not same_operator(a, b)
    assert not same_operator(b, a)


def test_a_known_operator_has_a_name() -> None:
    assert operator_of("https://payjoin.lab.vinteum.org") == "Vinteum"


# Relays


def test_a_relay_of_the_directorys_operator_is_never_chosen() -> None:
    assert relays("https://lets.payjo.in", A).choose(DIRECTORY, now=NOW) == A


@pytest.mark.parametrize("urls", [(), ("https://lets.payjo.in", "https://payjo.in")])
def test_without_a_relay_of_somebody_else_there_is_none(urls: tuple[str, ...]) -> None:
    with pytest.raises(Unreachable, match=r"no relay to https://payjo\.in"):
        relays(*urls).choose(DIRECTORY, now=NOW)


def test_each_relay_is_chosen_as_often_as_another() -> None:
    at_random = Relays(lambda: (A, B, C))
    counts = Counter(at_random.choose(DIRECTORY, now=NOW) for _ in range(3000))
    assert all(800 < counts[relay] < 1200 for relay in (A, B, C))


def test_the_relay_to_avoid_is_avoided_where_there_is_another() -> None:
    assert relays(A, B).choose(DIRECTORY, now=NOW, avoid=A) == B


def test_the_relay_to_avoid_is_better_than_none_and_than_one_in_quarantine() -> None:
    assert relays(A).choose(DIRECTORY, now=NOW, avoid=A) == A
    two = relays(A, B)
    two.failed(B, now=NOW)
    assert two.choose(DIRECTORY, now=NOW, avoid=A) == A


def test_a_relay_that_failed_is_left_alone_for_a_minute() -> None:
    two = relays(A, B)
    two.failed(A, now=NOW)
    assert two.choose(DIRECTORY, now=NOW + 59.9) == B
    assert two.choose(DIRECTORY, now=NOW + 60) == A


def test_each_failure_after_a_quarantine_doubles_the_next_up_to_half_an_hour() -> None:
    two = relays(A, B)
    now, spans = NOW, []
    for _ in range(7):
        two.failed(A, now=now)
        end = next(end for end in range(int(now), int(now) + 4000) if two.choose(DIRECTORY, now=end) == A)
        spans.append(end - now)
        now = end
    assert spans == [60, 120, 240, 480, 960, 1800, 1800]


def test_a_relay_that_asks_to_be_left_alone_is_for_so_long_but_not_longer_than_half_an_hour() -> None:
    for asked, span in ((10, 60), (200, 200), (10_000, 1800)):
        two = relays(A, B)
        two.failed(A, now=NOW, asked=asked)
        assert two.choose(DIRECTORY, now=NOW + span - 1) == B
        assert two.choose(DIRECTORY, now=NOW + span) == A


def test_only_where_each_relay_asks_to_be_left_alone_is_there_a_time_to_wait() -> None:
    three = relays(A, B, "https://lets.payjo.in")
    three.failed(A, now=NOW, asked=200)
    assert three.asked_away(DIRECTORY, now=NOW) == 0
    three.failed(B, now=NOW)
    assert three.asked_away(DIRECTORY, now=NOW) == 0
    three.failed(B, now=NOW, asked=300)
    assert three.asked_away(DIRECTORY, now=NOW + 20) == 180
    assert three.asked_away(DIRECTORY, now=NOW + 201) == 0
    assert three.asked_away(DIRECTORY, now=NOW - 1) == 0
    assert relays().asked_away(DIRECTORY, now=NOW) == 0


def test_failures_within_a_quarantine_begin_it_anew_and_double_nothing() -> None:
    two = relays(A, B)
    for seconds in range(50):
        two.failed(A, now=NOW + seconds)
    assert two.choose(DIRECTORY, now=NOW + 49 + 59) == B
    assert two.choose(DIRECTORY, now=NOW + 49 + 60) == A


def test_a_success_forgets_the_failures() -> None:
    two = relays(A, B)
    two.failed(A, now=NOW)
    two.succeeded(A)
    assert two.choose(DIRECTORY, now=NOW) == A
    two.failed(A, now=NOW + 100)
    assert two.choose(DIRECTORY, now=NOW + 160) == A


def test_where_all_are_in_quarantine_each_has_its_turn_and_nobody_waits() -> None:
    three = relays(A, B, C)
    for seconds, relay in enumerate((B, A, C)):
        three.failed(relay, now=NOW + seconds)
    tried = []
    for seconds in range(3, 9):
        tried.append(three.choose(DIRECTORY, now=NOW + seconds))
        three.failed(tried[-1], now=NOW + seconds)
    assert tried == [B, A, C, B, A, C]


def test_a_clock_that_is_set_back_keeps_no_relay_in_quarantine() -> None:
    two = relays(A, B)
    two.failed(A, now=NOW)
    assert two.choose(DIRECTORY, now=NOW - 1_000_000) == A


def test_a_changed_setting_holds_at_once_and_keeps_the_quarantines() -> None:
    setting = [A, B]
    chosen = Relays(lambda: setting, pick=first)
    chosen.failed(A, now=NOW)
    setting[:] = [A, C]
    assert chosen.choose(DIRECTORY, now=NOW) == C


# Keys


def test_keys_are_good_for_six_hours() -> None:
    cache = KeyCache()
    cache.put(DIRECTORY, KEYS, NOW)
    assert cache.get(DIRECTORY, NOW + 6 * HOUR - 1) == KEYS
    assert cache.get(DIRECTORY, NOW + 6 * HOUR) is None


def test_keys_are_to_be_refreshed_after_five_hours() -> None:
    cache = KeyCache()
    cache.put(DIRECTORY, KEYS, NOW)
    assert not cache.stale(DIRECTORY, NOW + 5 * HOUR)
    assert cache.stale(DIRECTORY, NOW + 5 * HOUR + 1)


def test_keys_that_nobody_fetched_are_to_be_fetched() -> None:
    assert KeyCache().get(DIRECTORY, NOW) is None
    assert KeyCache().stale(DIRECTORY, NOW)


def test_each_directory_has_its_own_keys() -> None:
    cache = KeyCache()
    cache.put(DIRECTORY, KEYS, NOW)
    cache.put(A, NEWER, NOW)
    assert (cache.get(DIRECTORY, NOW), cache.get(A, NOW), cache.get(B, NOW)) == (KEYS, NEWER, None)


def test_refused_keys_are_forgotten_but_not_those_that_came_since() -> None:
    cache = KeyCache()
    cache.put(DIRECTORY, KEYS, NOW)
    cache.forget(DIRECTORY, NEWER)
    assert cache.get(DIRECTORY, NOW) == KEYS
    cache.forget(DIRECTORY, KEYS)
    assert cache.get(DIRECTORY, NOW) is None
    cache.forget(DIRECTORY, KEYS)


def test_keys_from_the_future_are_not_trusted() -> None:
    cache = KeyCache()
    cache.put(DIRECTORY, KEYS, NOW)
    assert cache.get(DIRECTORY, NOW - 1) is None
    assert cache.stale(DIRECTORY, NOW - 1)


def test_keys_survive_as_json() -> None:
    cache, again = KeyCache(), KeyCache()
    cache.put(DIRECTORY, KEYS, NOW)
    again.load(json.loads(json.dumps(cache.dump())))
    assert again.get(DIRECTORY, NOW + 6 * HOUR - 1) == KEYS
    assert again.get(DIRECTORY, NOW + 6 * HOUR) is None


@pytest.mark.parametrize("older_first", [True, False])
def test_of_two_wallets_the_newer_keys_win(*, older_first: bool) -> None:
    older, newer, both = KeyCache(), KeyCache(), KeyCache()
    older.put(DIRECTORY, KEYS, NOW - 10)
    newer.put(DIRECTORY, NEWER, NOW)
    for cache in (older, newer) if older_first else (newer, older):
        both.load(cache.dump())
    assert both.get(DIRECTORY, NOW) == NEWER


NONSENSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["keys", "at", "00" * 34]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["keys", "at", DIRECTORY]), inner),
)


@given(NONSENSE)
def test_what_is_stored_and_is_no_key_counts_as_never_fetched(stored: object) -> None:
    cache = KeyCache()
    cache.load(stored)
    assert cache.get(DIRECTORY, NOW) is None


NO_TIMES: dict[str, float] = {
    "far before": -(10**400),
    "far after": 10**400,
    "before 1970": -1,
    "true": True,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
}


@pytest.mark.parametrize("at", NO_TIMES.values(), ids=NO_TIMES)
def test_a_time_that_is_none_counts_as_never_fetched_and_is_not_stored_again(at: float) -> None:
    cache = KeyCache()
    cache.load({DIRECTORY: {"keys": KEYS.to_compact().hex(), "at": at}})
    assert cache.get(DIRECTORY, NOW) is None
    assert cache.stale(DIRECTORY, NOW)
    assert cache.dump() == {}


def test_one_spoilt_entry_does_not_spoil_the_others() -> None:
    good, cache = KeyCache(), KeyCache()
    good.put(DIRECTORY, KEYS, NOW)
    cache.load({A: {"keys": "02", "at": NOW}, B: None, **good.dump(), C: {"keys": "zz", "at": NOW}})
    assert cache.get(DIRECTORY, NOW) == KEYS
    assert cache.get(A, NOW) is None
