"""What the real mailroom can be made to say only with great effort; the rest is in test_observations.py."""

from __future__ import annotations

from payjoin_plugin.wire.bhttp import Request, Response
from payjoin_plugin.wire.mailbox import ShortId, get, post, read_poll, read_post
from tests.mailroom.directory import KEY_REJECTED, Answer, Directory, Held, Refused
from tests.mailroom.store import Mailboxes

MAILBOX = ShortId(b"mailbox1")
URL = "https://directory.example"
NOW = 1_800_000_000


def inner(method: str, content: bytes = b"", mailbox: ShortId = MAILBOX) -> Request:
    return Request(method, "https", "directory.example", f"/{mailbox}", content)


def serve(directory: Directory, request: Request) -> Response | Answer | None:
    """None: the answer is held."""
    try:
        response = directory.serve(request, now=NOW)
    except Refused as refused:
        return refused.answer
    return None if isinstance(response, Held) else response


def test_a_sender_and_a_receiver_meet_in_memory() -> None:
    directory = Directory()
    keys = directory.gateway.config
    call = get(URL, MAILBOX, keys)
    assert read_poll(call, directory.exchange(call.body, now=NOW).body) is None
    call = post(URL, MAILBOX, keys, b"message")
    read_post(call, directory.exchange(call.body, now=NOW).body)
    call = get(URL, MAILBOX, keys)
    assert read_poll(call, directory.exchange(call.body, now=NOW).body) == b"message"


def test_an_exchange_in_memory_leaves_nobody_waiting() -> None:
    directory = Directory()
    directory.exchange(get(URL, MAILBOX, directory.gateway.config).body, now=NOW)
    assert directory.mailboxes.waiting(MAILBOX) == 0


def test_an_exchange_in_memory_tells_of_a_key_that_is_none() -> None:
    directory = Directory()
    assert directory.exchange(get(URL, MAILBOX, Directory().gateway.config).body, now=NOW) == KEY_REJECTED


def test_a_full_directory_refuses_without_encapsulation() -> None:
    directory = Directory(mailboxes=Mailboxes(capacity=0))
    assert serve(directory, inner("GET")) == Answer(503)
    assert serve(directory, inner("POST", b"message")) == Answer(500)
    assert directory.serve_plain("POST", f"/{MAILBOX}", "", b"original", now=NOW) == Answer(503)


def test_a_poll_that_is_held_ends_by_a_message_or_by_time() -> None:
    directory = Directory()
    first, second = (directory.serve(inner("GET"), now=NOW) for _ in range(2))
    assert isinstance(first, Held)
    assert isinstance(second, Held)
    assert second.timed_out() == Response(202)
    serve(directory, inner("POST", b"message"))
    assert first.wait.content is not None
    assert second.wait.content is None
    assert first.served(first.wait.content) == Response(200, b"message")
