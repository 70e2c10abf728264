"""What is asked of a relay. See play.py."""

from __future__ import annotations

from payjoin_plugin.wire.ohttp import KeyConfig

from .client import OHTTP, encapsulate_exactly, request
from .play import Room, case


@case("relay POST /http://dir:port/ or without trailing slash")
async def forwarded(room: Room) -> None:
    room.row(await room.forwarded(request("POST", room.mailbox(), b"message")))
    message, opener = encapsulate_exactly(room.keys, b"\0" * 20)
    for path in ("", "/", "?query", "/?query"):
        await room.ask(room.client.encapsulated(f"{room.place.relay}/{room.place.directory}{path}", message, opener))
    room.row(await room.forwarded(request("GET", room.mailbox())))


@case("a poll through the relay waits at the directory")
async def waits(room: Room) -> None:
    await room.forwarded(request("GET", room.mailbox()))


@case("a directory's failures through the relay")
async def failures(room: Room) -> None:
    await room.forwarded(request("GET", "BAD"))
    url = f"{room.place.relay}/{room.place.directory}/"
    other = KeyConfig(room.keys.key_id ^ 1, room.keys.public_key)
    await room.ask(room.client.encapsulated(url, *encapsulate_exactly(other, b"")))
    await room.to_relay("POST", f"/{room.place.directory}/", b"", headers=OHTTP)


@case("relay POST wrong content type")
async def wrong_type(room: Room) -> None:
    path = f"/{room.place.directory}/"
    for content_type in ("text/plain", "message/ohttp-req; charset=utf-8", "MESSAGE/OHTTP-REQ", "message/ohttp-res"):
        room.row(await room.to_relay("POST", path, b"x", headers={"content-type": content_type}))
    room.row(await room.to_relay("POST", path, b"x", headers={}))
    await room.to_relay("POST", "/", b"x", headers={})  # the default directory, which is never reached


@case("relay POST path with upper-case scheme HTTP://")
async def upper_case(room: Room) -> None:
    directory = room.place.directory.replace("http", "HTTP", 1)
    room.row(await room.to_relay("POST", f"/{directory}/", b"x", headers=OHTTP))


@case("relay POST path with extra path")
async def extra_path(room: Room) -> None:
    for path in ("/x", "//", "/.well-known/ohttp-gateway"):
        room.row(await room.to_relay("POST", f"/{room.place.directory}{path}", b"x", headers=OHTTP))
    room.row(await room.to_relay("POST", "/http://", b"x", headers=OHTTP))


@case("relay POST to itself")
async def itself(room: Room) -> None:
    room.row(await room.forwarded(request("GET", room.mailbox()), directory=room.place.relay))


@case("relay POST to unreachable/not opted-in gateway")
async def strangers(room: Room) -> None:
    for stranger in (room.place.nobody, room.place.stranger, room.place.directory.replace("http", "https")):
        room.row(await room.to_relay("POST", f"/{stranger}/", b"x", headers=OHTTP))
    # Whether one may be forwarded to comes before what is forwarded.
    room.row(await room.to_relay("POST", f"/{room.place.stranger}/", b"x", headers={}))


@case("relay GET absolute-form http://dir/.well-known/ohttp-gateway")
async def absolute_form(room: Room) -> None:
    path = "/.well-known/ohttp-gateway"
    asked = await room.ask(room.client.send("GET", room.place.directory + path, proxy=room.place.relay))
    own = await room.to_relay("GET", path, headers={})
    assert asked.body == own.body != room.keys.to_bytes()
    room.row(asked)


@case("relay GET without an upgrade")
async def no_upgrade(room: Room) -> None:
    for directory in (room.place.directory, room.place.stranger, "http://"):
        await room.to_relay("GET", f"/{directory}/", headers={})


@case("what else a relay is asked")
async def other(room: Room) -> None:
    for method in ("OPTIONS", "PUT", "DELETE"):
        await room.to_relay(method, f"/{room.place.directory}/", headers={})
    await room.to_relay("GET", "/health", headers={})


@case("relay CONNECT host:port of a plain-http directory")
async def tunnel(room: Room) -> None:
    room.row(await room.connect(room.place.directory.removeprefix("http://")))
    await room.connect(room.place.nobody.removeprefix("http://"))
