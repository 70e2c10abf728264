from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payjoin_plugin.wire.mailbox import ShortId
from tests.mailroom.store import TTL, AlreadyRead, Full, Mailboxes, NobodyWaits, Wait

HERE = ShortId(b"mailbox1")
THERE = ShortId(b"mailbox2")
ELSEWHERE = ShortId(b"mailbox3")
NOW = 1_800_000_000


def poll(mailboxes: Mailboxes, mailbox: ShortId = HERE) -> Wait:
    """Someone who has to wait."""
    wait = mailboxes.get(mailbox, now=NOW)
    assert isinstance(wait, Wait)
    return wait


def test_a_message_is_read_again_and_again() -> None:
    mailboxes = Mailboxes()
    assert mailboxes.post(HERE, b"message", now=NOW)
    assert [mailboxes.get(HERE, now=NOW) for _ in range(3)] == [b"message"] * 3


def test_the_first_message_stays() -> None:
    mailboxes = Mailboxes()
    mailboxes.post(HERE, b"first", now=NOW)
    assert not mailboxes.post(HERE, b"second", now=NOW)
    assert mailboxes.get(HERE, now=NOW) == b"first"


def test_the_same_message_again_counts_as_stored() -> None:
    mailboxes = Mailboxes()
    mailboxes.post(HERE, b"message", now=NOW)
    assert mailboxes.post(HERE, b"message", now=NOW)


def test_a_message_is_in_no_other_mailbox() -> None:
    mailboxes = Mailboxes()
    mailboxes.post(HERE, b"message", now=NOW)
    assert mailboxes.peek(THERE) is None
    assert poll(mailboxes, THERE).content is None


def test_a_post_serves_all_who_wait_at_its_mailbox() -> None:
    mailboxes = Mailboxes()
    one, two, other = poll(mailboxes), poll(mailboxes), poll(mailboxes, THERE)
    assert mailboxes.waiting(HERE) == 2
    mailboxes.post(HERE, b"message", now=NOW)
    assert (one.content, two.content, other.content) == (b"message", b"message", None)
    assert mailboxes.waiting(HERE) == 0


def test_who_waits_is_called_back_once_whenever_he_says_so() -> None:
    mailboxes = Mailboxes()
    wait = poll(mailboxes)
    calls: list[str] = []
    wait.then(lambda: calls.append("before"))
    mailboxes.post(HERE, b"message", now=NOW)
    wait.then(lambda: calls.append("after"))
    assert calls == ["before", "after"]


def test_a_poller_who_leaves_is_forgotten() -> None:
    mailboxes = Mailboxes()
    stays, leaves = poll(mailboxes), poll(mailboxes)
    mailboxes.leave(HERE, leaves)
    mailboxes.leave(HERE, leaves)
    mailboxes.post(HERE, b"message", now=NOW)
    assert (stays.content, leaves.content) == (b"message", None)
    mailboxes.leave(HERE, stays)


def test_a_message_is_kept_for_its_time_and_not_longer() -> None:
    mailboxes = Mailboxes()
    mailboxes.post(HERE, b"message", now=NOW)
    assert mailboxes.get(HERE, now=NOW + TTL) == b"message"
    assert isinstance(mailboxes.get(HERE, now=NOW + TTL + 1), Wait)


def test_after_its_time_a_mailbox_takes_another_message() -> None:
    mailboxes = Mailboxes(ttl=10)
    mailboxes.post(HERE, b"first", now=NOW)
    mailboxes.post(THERE, b"later", now=NOW + 5)
    assert mailboxes.post(HERE, b"second", now=NOW + 11)
    assert (mailboxes.peek(HERE), mailboxes.peek(THERE)) == (b"second", b"later")


def test_when_there_is_no_room_only_what_is_there_can_be_read() -> None:
    mailboxes = Mailboxes(capacity=2)
    mailboxes.post(HERE, b"message", now=NOW)
    poll(mailboxes, THERE)
    assert mailboxes.get(HERE, now=NOW) == b"message"
    for attempt in (mailboxes.post, mailboxes.post_plain):
        with pytest.raises(Full):
            attempt(ELSEWHERE, b"message", now=NOW)
    with pytest.raises(Full):
        mailboxes.get(ELSEWHERE, now=NOW)


def test_expired_messages_make_room() -> None:
    mailboxes = Mailboxes(capacity=1, ttl=10)
    mailboxes.post(HERE, b"message", now=NOW)
    assert mailboxes.post(THERE, b"message", now=NOW + 11)


def test_pollers_of_one_mailbox_take_the_room_of_one() -> None:
    mailboxes = Mailboxes(capacity=2)
    assert poll(mailboxes) is not poll(mailboxes)
    assert mailboxes.post(THERE, b"message", now=NOW)


def test_a_v1_original_is_read_once_and_then_nobody_waits_for_more() -> None:
    mailboxes = Mailboxes()
    answer = mailboxes.post_plain(HERE, b"original\nv=1", now=NOW)
    assert mailboxes.get(HERE, now=NOW) == b"original\nv=1"
    for _ in range(2):
        with pytest.raises(AlreadyRead):
            mailboxes.get(HERE, now=NOW)
    assert answer.content is None


def test_a_v1_original_goes_to_who_waits_already_and_counts_as_read() -> None:
    mailboxes = Mailboxes()
    wait = poll(mailboxes)
    mailboxes.post_plain(HERE, b"original", now=NOW)
    assert wait.content == b"original"
    with pytest.raises(AlreadyRead):
        mailboxes.get(HERE, now=NOW)


def test_a_put_answers_the_v1_sender_and_frees_the_mailbox() -> None:
    mailboxes = Mailboxes()
    answer = mailboxes.post_plain(HERE, b"original", now=NOW)
    mailboxes.put(HERE, b"proposal")
    assert answer.content == b"proposal"
    assert not mailboxes.holds_sender(HERE)
    with pytest.raises(NobodyWaits):
        mailboxes.put(HERE, b"proposal")


def test_a_put_without_a_v1_sender_answers_nobody() -> None:
    mailboxes = Mailboxes()
    mailboxes.post(HERE, b"message", now=NOW)
    with pytest.raises(NobodyWaits):
        mailboxes.put(HERE, b"proposal")
    assert mailboxes.peek(HERE) == b"message"


def test_a_second_v1_sender_is_refused_while_the_first_waits() -> None:
    mailboxes = Mailboxes()
    mailboxes.post_plain(HERE, b"first", now=NOW)
    with pytest.raises(Full):
        mailboxes.post_plain(HERE, b"second", now=NOW)
    mailboxes.post_plain(THERE, b"second", now=NOW)
    assert mailboxes.get(HERE, now=NOW) == b"first"


def test_a_v1_sender_whose_time_is_over_takes_his_original_along() -> None:
    mailboxes = Mailboxes()
    answer = mailboxes.post_plain(HERE, b"original", now=NOW)
    mailboxes.withdraw(HERE, answer)
    assert poll(mailboxes).content is None
    with pytest.raises(NobodyWaits):
        mailboxes.put(HERE, b"proposal")


def test_an_answered_v1_sender_does_not_take_the_next_one_along() -> None:
    mailboxes = Mailboxes()
    first = mailboxes.post_plain(HERE, b"first", now=NOW)
    mailboxes.put(HERE, b"proposal")
    second = mailboxes.post_plain(HERE, b"second", now=NOW)
    mailboxes.withdraw(HERE, first)
    mailboxes.put(HERE, b"proposal")
    assert second.content == b"proposal"


def test_a_v1_sender_who_hung_up_occupies_his_mailbox_until_a_put_misses_him() -> None:
    mailboxes = Mailboxes()
    mailboxes.hang_up(mailboxes.post_plain(HERE, b"original", now=NOW))
    with pytest.raises(Full):
        mailboxes.post_plain(HERE, b"another", now=NOW)
    assert mailboxes.get(HERE, now=NOW) == b"original"
    with pytest.raises(NobodyWaits):
        mailboxes.put(HERE, b"proposal")
    assert not mailboxes.holds_sender(HERE)


def test_a_v2_message_beside_a_v1_sender_does_not_answer_him() -> None:
    mailboxes = Mailboxes()
    answer = mailboxes.post_plain(HERE, b"original", now=NOW)
    mailboxes.post(HERE, b"message", now=NOW)
    assert [mailboxes.get(HERE, now=NOW) for _ in range(3)] == [b"original", b"message", b"message"]
    assert answer.content is None


@given(posts=st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=2), st.integers(0, 20)), max_size=30))
def test_whatever_is_posted_the_oldest_that_still_lives_is_read(posts: list[tuple[int, bytes, int]]) -> None:
    mailboxes = Mailboxes(ttl=10)
    expected: dict[ShortId, tuple[bytes, int]] = {}
    now = NOW
    for number, content, later in posts:
        now += later
        mailbox = ShortId(bytes([number]) * 8)
        mailboxes.post(mailbox, content, now=now)
        if mailbox not in expected or now - expected[mailbox][1] > 10:
            expected[mailbox] = (content, now)
        assert mailboxes.get(mailbox, now=now) == expected[mailbox][0]
