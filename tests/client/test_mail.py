"""Which relay carries a call, and whose fault a failure is."""

from __future__ import annotations

import asyncio

import pytest

from payjoin_plugin.client.directory import FIRST_QUARANTINE, Relays
from payjoin_plugin.client.mail import Mail
from payjoin_plugin.errors import (
    DirectoryStatus,
    Dropped,
    Garbled,
    KeysRejected,
    SenderGone,
    TransientError,
    Unreachable,
)
from payjoin_plugin.wire.bhttp import Response, encode_response
from payjoin_plugin.wire.keys import SecretKey
from payjoin_plugin.wire.mailbox import Call, ShortId, get, post, put
from payjoin_plugin.wire.ohttp import KeyConfig
from tests.mailroom.gateway import Gateway

DIRECTORY = "https://directory.example"
ONE, TWO, THREE = "https://one.test", "https://two.invalid", "https://three.org"
MAILBOX = ShortId(b"mailbox!")
OLD = KeyConfig(9, SecretKey.generate().public_key)
"""Keys that the directory has no more."""
EMPTY, STORED, BROKEN, NO_SUCH = Response(202, b""), Response(200, b""), Response(500, b""), Response(404, b"")

Answer = Response | TransientError | bytes


class Road:
    """Implements client.mail.Transport: says what it is told to say, and notes through whom it was asked."""

    def __init__(self) -> None:
        self.gateway = Gateway()
        self.now = 1_795_000_000.0
        self.answers: list[Answer] = []
        """In their order; then the mailbox is empty."""
        self.asked: list[str] = []
        self.key_trouble: TransientError | None = None

    async def post(self, relay: str, directory: str, body: bytes) -> bytes:
        assert directory == DIRECTORY
        self.asked.append(relay)
        answer = self.answers.pop(0) if self.answers else EMPTY
        if isinstance(answer, TransientError):
            raise answer
        if isinstance(answer, bytes):
            return answer
        _, sealer = self.gateway.open(body)
        return sealer.seal(encode_response(answer))

    async def fetch_keys(self, relay: str | None, directory: str) -> KeyConfig:
        assert relay is not None
        self.asked.append(relay)
        if self.key_trouble is not None:
            raise self.key_trouble
        return self.gateway.config

    def mail(self, relays: Relays) -> Mail:
        return Mail(self, relays, lambda: self.now)

    def poll(self) -> Call:
        return get(DIRECTORY, MAILBOX, self.gateway.config)

    def post_call(self) -> Call:
        return post(DIRECTORY, MAILBOX, self.gateway.config, b"answer")

    def put_call(self) -> Call:
        return put(DIRECTORY, MAILBOX, self.gateway.config, b"answer")


@pytest.fixture
def road() -> Road:
    return Road()


def relays(*urls: str) -> Relays:
    return Relays(lambda: urls or (ONE, TWO, THREE), pick=lambda some: some[0])


def restless(road: Road) -> Relays:
    """Relays of which another one is taken at each choice."""
    return Relays(lambda: (ONE, TWO, THREE), pick=lambda some: some[len(road.asked) % len(some)])


async def fails(mail: Mail, road: Road, answer: Answer) -> TransientError:
    """Poll and get a bad answer."""
    road.answers = [answer]
    with pytest.raises(TransientError) as caught:
        await mail.poll(DIRECTORY, road.poll())
    return caught.value


# Which relay


async def test_polls_stay_on_one_relay(road: Road) -> None:
    mail = road.mail(restless(road))
    for _ in range(5):
        assert await mail.poll(DIRECTORY, road.poll()) is None
    assert set(road.asked) == {ONE}


async def test_a_relay_that_is_no_longer_set_is_asked_no_more(road: Road) -> None:
    urls = [ONE, TWO]
    mail = road.mail(Relays(lambda: urls, pick=lambda found: found[0]))
    await mail.poll(DIRECTORY, road.poll())
    urls.remove(ONE)
    await mail.poll(DIRECTORY, road.poll())
    assert road.asked == [ONE, TWO]


async def test_sessions_choose_their_relays_for_themselves(road: Road) -> None:
    shared = Relays(lambda: [ONE, TWO, THREE])
    for _ in range(100):
        await road.mail(shared).poll(DIRECTORY, road.poll())
    assert set(road.asked) == {ONE, TWO, THREE}


async def test_an_answer_goes_through_another_relay_than_the_polls(road: Road) -> None:
    mail = road.mail(relays())
    await mail.poll(DIRECTORY, road.poll())
    road.answers = [STORED]
    await mail.answer(DIRECTORY, road.post_call())
    await mail.poll(DIRECTORY, road.poll())
    assert road.asked == [ONE, TWO, ONE]


async def test_an_answer_goes_through_the_same_relay_where_there_is_no_other(road: Road) -> None:
    mail = road.mail(relays(ONE))
    await mail.poll(DIRECTORY, road.poll())
    road.answers = [STORED]
    await mail.answer(DIRECTORY, road.post_call())
    assert road.asked == [ONE, ONE]


async def test_an_answer_does_not_try_a_relay_that_is_known_to_fail(road: Road) -> None:
    shared = relays(ONE, TWO)
    mail = road.mail(shared)
    await mail.poll(DIRECTORY, road.poll())
    shared.failed(TWO, now=road.now)
    road.answers = [STORED]
    await mail.answer(DIRECTORY, road.post_call())
    assert road.asked == [ONE, ONE]


async def test_a_relay_of_the_directorys_operator_is_never_used(road: Road) -> None:
    mail = road.mail(relays("https://relay.directory.example"))
    with pytest.raises(Unreachable, match="somebody else"):
        await mail.poll(DIRECTORY, road.poll())
    with pytest.raises(Unreachable, match="somebody else"):
        await mail.answer(DIRECTORY, road.post_call())
    with pytest.raises(Unreachable, match="somebody else"):
        await mail.renew_keys(DIRECTORY, OLD)
    assert road.asked == []


# Whose fault


@pytest.mark.parametrize(
    "failure",
    [Unreachable("away"), DirectoryStatus(502, inner=False), Garbled("short"), bytes(8192)],
    ids=["away", "an outer status", "a wrong length", "8192 bytes that do not open"],
)
async def test_a_relay_that_fails_is_left_alone_for_a_while(road: Road, failure: Answer) -> None:
    shared = relays()
    mail = road.mail(shared)
    await fails(mail, road, failure)
    await mail.poll(DIRECTORY, road.poll())
    assert road.asked == [ONE, TWO]
    assert shared.choose(DIRECTORY, now=road.now) == TWO
    road.now += FIRST_QUARANTINE
    assert shared.choose(DIRECTORY, now=road.now) == ONE


async def test_a_kept_connection_that_is_closed_just_as_we_ask_is_no_relays_fault(road: Road) -> None:
    shared = relays()
    mail = road.mail(shared)
    assert isinstance(await fails(mail, road, Dropped("closed")), Dropped)
    await mail.poll(DIRECTORY, road.poll())
    assert road.asked == [ONE, ONE]
    assert shared.choose(DIRECTORY, now=road.now) == ONE


async def test_after_a_failure_polls_stay_on_the_next_relay(road: Road) -> None:
    mail = road.mail(relays())
    await fails(mail, road, Unreachable("away"))
    await mail.poll(DIRECTORY, road.poll())
    road.now += 10 * FIRST_QUARANTINE
    await mail.poll(DIRECTORY, road.poll())
    assert road.asked == [ONE, TWO, TWO]


async def test_an_answer_that_fails_goes_through_another_relay_next(road: Road) -> None:
    mail = road.mail(relays())
    await mail.poll(DIRECTORY, road.poll())
    road.answers = [Unreachable("away"), STORED]
    with pytest.raises(Unreachable):
        await mail.answer(DIRECTORY, road.post_call())
    await mail.answer(DIRECTORY, road.post_call())
    assert road.asked == [ONE, TWO, THREE]


async def test_keys_that_the_directory_changed_are_no_relays_fault(road: Road) -> None:
    shared = relays()
    mail = road.mail(shared)
    assert isinstance(await fails(mail, road, KeysRejected()), KeysRejected)
    assert await mail.renew_keys(DIRECTORY, OLD) == road.gateway.config
    await mail.poll(DIRECTORY, road.poll())
    assert road.asked == [ONE, TWO, ONE]
    assert shared.choose(DIRECTORY, now=road.now) == ONE


async def test_a_relay_that_made_up_that_our_keys_are_refused_has_failed(road: Road) -> None:
    shared = relays(ONE, TWO)
    mail = road.mail(shared)
    await fails(mail, road, KeysRejected())
    with pytest.raises(KeysRejected):
        await mail.renew_keys(DIRECTORY, road.gateway.config)
    await mail.poll(DIRECTORY, road.poll())
    assert road.asked == [ONE, TWO, TWO]
    assert shared.choose(DIRECTORY, now=road.now) == TWO
    road.now += FIRST_QUARANTINE
    await mail.poll(DIRECTORY, road.poll())
    assert road.asked[-1] == TWO


async def test_an_answer_goes_around_a_relay_that_made_up_that_our_keys_are_refused(road: Road) -> None:
    mail = road.mail(relays(ONE, TWO))
    await mail.poll(DIRECTORY, road.poll())
    road.answers = [KeysRejected(), STORED]
    with pytest.raises(KeysRejected):
        await mail.answer(DIRECTORY, road.post_call())
    with pytest.raises(KeysRejected):
        await mail.renew_keys(DIRECTORY, road.gateway.config)
    await mail.answer(DIRECTORY, road.post_call())
    assert road.asked == [ONE, TWO, ONE, ONE]


async def test_where_nobody_can_be_asked_for_keys_another_relay_polls(road: Road) -> None:
    mail = road.mail(relays())
    await fails(mail, road, KeysRejected())
    road.key_trouble = Unreachable("away")
    with pytest.raises(Unreachable):
        await mail.renew_keys(DIRECTORY, road.gateway.config)
    await mail.poll(DIRECTORY, road.poll())
    assert road.asked == [ONE, TWO, THREE]


async def test_the_word_that_keys_are_refused_forgives_a_relay_nothing(road: Road) -> None:
    shared = relays(ONE)
    for _ in range(2):
        shared.failed(ONE, now=road.now)
        road.now += FIRST_QUARANTINE
    await fails(road.mail(shared), road, KeysRejected())
    shared.failed(ONE, now=road.now)
    both = relays(ONE, TWO)
    both._quarantines = shared._quarantines
    assert both.choose(DIRECTORY, now=road.now + FIRST_QUARANTINE) == TWO


@pytest.mark.parametrize("response", [BROKEN, NO_SUCH])
async def test_what_the_directory_says_inside_is_no_relays_fault(road: Road, response: Response) -> None:
    mail = road.mail(restless(road))
    failure = await fails(mail, road, response)
    assert isinstance(failure, DirectoryStatus)
    assert failure.inner
    await mail.poll(DIRECTORY, road.poll())
    assert road.asked == [ONE, ONE]


async def test_a_relay_that_works_again_is_forgiven(road: Road) -> None:
    shared = relays(ONE, TWO)
    for _ in range(3):
        shared.failed(ONE, now=road.now)
        shared.failed(TWO, now=road.now)
    await road.mail(shared).poll(DIRECTORY, road.poll())
    assert shared.choose(DIRECTORY, now=road.now) == road.asked[-1]
    shared.failed(road.asked[-1], now=road.now)
    road.now += FIRST_QUARANTINE
    assert shared.choose(DIRECTORY, now=road.now) == ONE


# Old senders


GONE = [DirectoryStatus(400, inner=False), DirectoryStatus(410, inner=False)]


async def refused(mail: Mail, road: Road, answer: Answer) -> None:
    """Answer a v1 sender, in vain for the moment."""
    road.answers = [answer]
    with pytest.raises(TransientError):
        await mail.answer(DIRECTORY, road.put_call(), waits=True)


async def gone(mail: Mail, road: Road, answer: Answer) -> None:
    """Answer a v1 sender who is gone."""
    road.answers = [answer]
    with pytest.raises(SenderGone):
        await mail.answer(DIRECTORY, road.put_call(), waits=True)


@pytest.mark.parametrize("status", GONE, ids=str)
async def test_an_old_sender_is_gone_when_two_relays_say_so_and_it_is_neithers_fault(
    road: Road, status: Answer
) -> None:
    shared = relays()
    mail = road.mail(shared)
    await mail.poll(DIRECTORY, road.poll())
    await refused(mail, road, status)
    await gone(mail, road, status)
    assert road.asked == [ONE, TWO, ONE]
    assert shared.choose(DIRECTORY, now=road.now) == ONE
    assert shared.choose(DIRECTORY, avoid=ONE, now=road.now) == TWO


async def test_what_the_directory_says_inside_of_an_old_sender_is_believed_at_once(road: Road) -> None:
    shared = relays()
    await gone(road.mail(shared), road, NO_SUCH)
    assert shared.choose(DIRECTORY, now=road.now) == ONE


@pytest.mark.parametrize("status", GONE, ids=str)
async def test_an_only_relay_is_believed_that_an_old_sender_is_gone(road: Road, status: Answer) -> None:
    await gone(road.mail(relays(ONE, "https://relay.directory.example")), road, status)
    assert road.asked == [ONE]


async def test_a_relay_that_made_up_that_an_old_sender_is_gone_has_failed(road: Road) -> None:
    shared = relays(ONE, TWO)
    mail = road.mail(shared)
    await refused(mail, road, GONE[0])
    road.answers = [STORED]
    await mail.answer(DIRECTORY, road.put_call(), waits=True)
    assert road.asked == [ONE, TWO]
    assert shared.choose(DIRECTORY, now=road.now) == TWO


async def test_a_second_relay_that_fails_has_not_said_that_an_old_sender_is_gone(road: Road) -> None:
    mail = road.mail(relays())
    await refused(mail, road, GONE[0])
    await refused(mail, road, Unreachable("away"))
    await gone(mail, road, GONE[0])
    assert road.asked == [ONE, TWO, THREE]


@pytest.mark.parametrize(
    "failure",
    [KeysRejected(), DirectoryStatus(500, inner=False), DirectoryStatus(404, inner=False), BROKEN, Unreachable("away")],
    ids=str,
)
async def test_any_other_failure_leaves_the_old_sender_waiting(road: Road, failure: Answer) -> None:
    road.answers = [failure]
    with pytest.raises(TransientError):
        await road.mail(relays()).answer(DIRECTORY, road.put_call(), waits=True)


async def test_a_mailbox_that_is_gone_is_no_sender_who_is_gone(road: Road) -> None:
    road.answers = [DirectoryStatus(400, inner=False)]
    with pytest.raises(DirectoryStatus):
        await road.mail(relays()).answer(DIRECTORY, road.post_call())


# Keys


async def test_keys_come_through_a_relay(road: Road) -> None:
    assert await road.mail(relays()).renew_keys(DIRECTORY, OLD) == road.gateway.config
    assert road.asked == [ONE]


async def test_keys_that_cannot_be_had_through_one_relay_are_fetched_through_another(road: Road) -> None:
    mail = road.mail(relays())
    road.key_trouble = Unreachable("away")
    with pytest.raises(Unreachable):
        await mail.renew_keys(DIRECTORY, OLD)
    road.key_trouble = None
    await mail.renew_keys(DIRECTORY, OLD)
    assert road.asked == [ONE, TWO]


# Cancelled


async def test_a_relay_whose_call_was_cancelled_has_not_failed(road: Road) -> None:
    shared = relays()
    mail = road.mail(shared)

    async def never(relay: str, directory: str, body: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    road.post = never  # type: ignore[method-assign]
    poll = asyncio.ensure_future(mail.poll(DIRECTORY, road.poll()))
    await asyncio.sleep(0)
    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)
    assert shared.choose(DIRECTORY, now=road.now) == ONE


def test_no_key_of_ours_is_in_what_a_relay_sees() -> None:
    road, secret = Road(), SecretKey.generate()
    call = get(DIRECTORY, ShortId.of(secret.public_key), road.gateway.config)
    assert secret.public_key.compressed not in call.body
    assert str(ShortId.of(secret.public_key)).encode() not in call.body
