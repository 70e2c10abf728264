"""How a directory's keys are fetched: by a tunnel through the relay, TLS inside, the way that the field takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from payjoin_plugin.errors import DirectoryStatus, Garbled, NotSent, Unreachable
from payjoin_plugin.wire.keys import SecretKey
from payjoin_plugin.wire.ohttp import KeyConfig
from tests.client.outlets import transport
from tests.client.servers import HttpServer, TestAuthority, reply, says, silence

HOST = "directory.test"
DIRECTORY = f"https://{HOST}"
KEYS = KeyConfig(7, SecretKey.generate().public_key)
GIVES_KEYS = says(reply(body=KEYS.to_bytes()))


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestAuthority:
    """The one CA that Electrum's sessions trust in this test."""
    made = TestAuthority(tmp_path)
    monkeypatch.setattr("electrum.util.ca_path", str(made.file))
    return made


@pytest.mark.parametrize("relay_has_tls", [False, True])
async def test_keys_come_through_a_tunnel_of_the_relay(authority: TestAuthority, *, relay_has_tls: bool) -> None:
    tls = authority.server("localhost") if relay_has_tls else None
    async with (
        HttpServer(GIVES_KEYS, tls=authority.server(HOST)) as directory,
        HttpServer(silence, tls=tls, tunnels={f"{HOST}:443": directory.port}) as relay,
        transport() as out,
    ):
        assert await out.fetch_keys(relay.url("localhost"), DIRECTORY) == KEYS
    assert [seen.method for seen in relay.seen] == ["CONNECT"]
    assert [(seen.method, seen.target) for seen in directory.seen] == [("GET", "/.well-known/ohttp-gateway")]


async def test_neither_tunnel_nor_request_names_electrum_or_python(authority: TestAuthority) -> None:
    async with (
        HttpServer(GIVES_KEYS, tls=authority.server(HOST)) as directory,
        HttpServer(silence, tunnels={f"{HOST}:443": directory.port}) as relay,
        transport() as out,
    ):
        await out.fetch_keys(relay.url(), DIRECTORY)
    assert relay.seen[0].headers == {
        "Host": HOST,
        "User-Agent": "Mozilla/5.0",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
    }
    assert directory.seen[0].headers == {"Host": HOST, "Accept": "application/ohttp-keys"}


async def test_a_relay_cannot_put_itself_in_the_directorys_place(authority: TestAuthority, tmp_path: Path) -> None:
    false_keys = says(reply(body=KeyConfig(1, SecretKey.generate().public_key).to_bytes()))
    somebody_else = TestAuthority(tmp_path, "somebody else")
    for tls in (authority.server("relay.test"), somebody_else.server(HOST)):
        async with (
            HttpServer(false_keys, tls=tls) as impostor,
            HttpServer(silence, tunnels={f"{HOST}:443": impostor.port}) as relay,
            transport() as out,
        ):
            with pytest.raises(Unreachable, match="certificate verify failed"):
                await out.fetch_keys(relay.url(), DIRECTORY)
        assert impostor.seen == []


async def test_a_relay_with_a_false_certificate_is_told_nothing(authority: TestAuthority) -> None:
    async with HttpServer(silence, tls=authority.server("relay.test")) as relay, transport() as out:
        with pytest.raises(Unreachable, match="certificate"):
            await out.fetch_keys(relay.url("localhost"), DIRECTORY)
        with pytest.raises(Unreachable, match="certificate"):
            await out.post(relay.url("localhost"), DIRECTORY, bytes(8192))
    assert relay.seen == []


async def test_calls_go_to_a_relay_with_tls(authority: TestAuthority) -> None:
    answer = bytes(8192)
    async with HttpServer(says(reply(body=answer)), tls=authority.server("localhost")) as relay, transport() as out:
        assert await out.post(relay.url("localhost"), DIRECTORY, bytes(8192)) == answer


async def test_a_directory_with_tls_is_never_asked_itself(authority: TestAuthority) -> None:
    async with HttpServer(GIVES_KEYS, tls=authority.server("localhost")) as directory, transport() as out:
        with pytest.raises(NotSent, match="through a relay, and there is none"):
            await out.fetch_keys(None, directory.url("localhost"))
    assert directory.seen == []


async def test_a_directory_of_plain_http_is_asked_itself_since_a_relay_would_give_its_own_keys() -> None:
    own_keys = says(reply(body=KeyConfig(1, SecretKey.generate().public_key).to_bytes()))
    async with HttpServer(GIVES_KEYS) as directory, HttpServer(own_keys) as relay, transport() as out:
        assert await out.fetch_keys(relay.url(), directory.url()) == KEYS
        assert await out.fetch_keys(None, directory.url()) == KEYS
    assert relay.seen == []


async def test_a_relay_that_opens_no_tunnel_is_unreachable_with_its_status() -> None:
    async with HttpServer(says(reply(403))) as relay, transport() as out:
        with pytest.raises(Unreachable, match=r"directory\.test through 127\.0\.0\.1 .* refused with status 403"):
            await out.fetch_keys(relay.url(), DIRECTORY)


async def test_a_directory_that_says_no_is_told_by_its_status() -> None:
    async with HttpServer(says(reply(503, Retry_After="9"))) as directory, transport() as out:
        with pytest.raises(DirectoryStatus) as caught:
            await out.fetch_keys(None, directory.url())
    assert (caught.value.status, caught.value.retry_after) == (503, 9)


@pytest.mark.parametrize(
    "body",
    [b"", KEYS.to_bytes()[:-1], KEYS.to_bytes() + b"\0", bytes(74), b"\0\x4a" + KEYS.to_bytes(), bytes(70000)],
    ids=["nothing", "too short", "too long", "zeros", "with a length in front", "far too long"],
)
async def test_what_is_no_key_is_garbled(body: bytes) -> None:
    async with HttpServer(says(reply(body=body))) as directory, transport() as out:
        with pytest.raises(Garbled):
            await out.fetch_keys(None, directory.url())


async def test_keys_are_not_fetched_from_where_a_directory_sends_us() -> None:
    async with HttpServer(says(reply(302, Location="/ohttp-keys"))) as directory, transport() as out:
        with pytest.raises(DirectoryStatus):
            await out.fetch_keys(None, directory.url())
    assert len(directory.seen) == 1
