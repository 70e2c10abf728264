"""What is asked of a directory inside OHTTP, and of what stands around its gateway. See play.py."""

from __future__ import annotations

import asyncio

from payjoin_plugin.wire.bhttp import Request, encode_request
from payjoin_plugin.wire.ohttp import REQUEST_BYTES, KeyConfig

from .client import encapsulate_exactly, request
from .directory import LARGEST_BODY, SELF_LOOP_HEADER
from .play import Room, case

MESSAGE = bytes(range(256)) * 28
"""7168 bytes, as a message A or B has."""


@case("GET empty mailbox")
async def empty(room: Room) -> None:
    room.row(await room.get())


@case("POST 7168 bytes to empty mailbox")
async def message(room: Room) -> None:
    room.row(await room.post(MESSAGE))


@case("POST identical bytes again")
async def identical(room: Room) -> None:
    await room.post(MESSAGE)
    room.row(await room.post(MESSAGE))
    await room.get()


@case("POST different bytes to filled mailbox")
async def different(room: Room) -> None:
    await room.post(MESSAGE)
    room.row(await room.post(MESSAGE[::-1]))
    await room.get()


@case("GET filled mailbox (repeatable)")
async def repeatable(room: Room) -> None:
    await room.post(MESSAGE)
    room.row(await room.get(), await room.get(), await room.get(content=MESSAGE))


@case("POST 5 bytes / 0 bytes")
async def short(room: Room) -> None:
    room.row(await room.post(b"short"), await room.post(b"", room.mailbox(1)))
    await room.get()
    await room.get(room.mailbox(1))


@case("GET/POST id of 12 chars, lower-case id, char outside charset, empty id")
async def bad_ids(room: Room) -> None:
    good = str(room.mailbox())
    for bad in (
        good[:12],
        good.lower(),
        "B" + good[1:],
        "",
        good + "QQ",
        good + "QQQQ",
        f"%{ord(good[0]):x}{good[1:]}",
    ):
        room.row(await room.get(bad), await room.post(MESSAGE, bad))


@case("GET id with a 14th character")
async def long_id(room: Room) -> None:
    good = str(room.mailbox())
    await room.post(MESSAGE)
    room.row(await room.get(good + "Q"), await room.get(good + "P"))


@case("ids whose last character has a bit too many")
async def padded_id(room: Room) -> None:
    await room.post(MESSAGE, "QQQQQQQQQQQQP")  # the same mailbox as QQQQQQQQQQQQQ
    await room.get("Q" * 13)


@case("GET /a/b, DELETE /id")
async def no_such_thing(room: Room) -> None:
    mailbox = room.mailbox()
    room.row(await room.get("a/b"), await room.inside(request("DELETE", mailbox)))
    for path in (f"{mailbox}/", f"/{mailbox}", "/"):
        room.row(await room.get(path))
    room.row(await room.inside(request("get", mailbox)), await room.inside(request("PATCH", "BAD")))


@case("PUT with no waiting v1 sender; PUT with non-UTF-8 body")
async def nobody_to_answer(room: Room) -> None:
    room.row(await room.put(b"proposal"), await room.put(b"\xff\xfe"), await room.put(b"proposal", "BAD"))


@case("undecodable BHTTP")
async def no_bhttp(room: Room) -> None:
    whole = encode_request(request("GET", room.mailbox()))
    for message in (b"", b"\xff" * 100, b"\x04" + whole[1:], whole[:10]):
        room.row(await room.exactly(message))
    await room.exactly(b"\x01\x40\xc8\x00\x00\x00")  # a response


@case("unknown key id, truncated or undecryptable OHTTP")
async def other_key(room: Room) -> None:
    inner = encode_request(request("GET", room.mailbox()))
    message, opener = encapsulate_exactly(room.keys, inner)
    other = KeyConfig(room.keys.key_id ^ 0xFF, room.keys.public_key)
    room.row(
        await room.encapsulated(*encapsulate_exactly(other, inner)),
        await room.encapsulated(message[:-1] + bytes([message[-1] ^ 1]), opener),
        await room.encapsulated(message[:7] + b"\x05" + message[8:], opener),  # not a point
        await room.encapsulated(message[:2] + b"\x20" + message[3:], opener),  # another KEM
        await room.encapsulated(message[:6] + b"\x01" + message[7:], opener),  # another AEAD
        *[await room.encapsulated(message[:length], opener) for length in (0, 6, 7, 71, 72, 87, 88)],
    )


def _without_trailer(room: Room) -> bytes:
    return encode_request(request("POST", room.mailbox(), MESSAGE))[:-1]


@case("BHTTP without trailer section, zero padded")
async def no_trailer(room: Room) -> None:
    room.row(await room.exactly(_without_trailer(room).ljust(REQUEST_BYTES, b"\0")))
    await room.exactly(encode_request(request("GET", room.mailbox()))[:-2])  # without content either


@case("BHTTP without trailer section, random padded")
async def no_trailer_but_padding(room: Room) -> None:
    # Of random bytes nearly all are read as an absurd length; these always.
    room.row(await room.exactly(_without_trailer(room).ljust(REQUEST_BYTES, b"\xfe")))


@case("BHTTP with header fields and trailers")
async def fields(room: Room) -> None:
    whole = encode_request(request("POST", room.mailbox(), b"content"))
    field = b"\x01a\x01b"
    section = bytes([len(field)]) + field
    start = whole.index(b"\0\x07content")
    await room.exactly(whole[:start] + section + b"\x07content" + section + b"padding")
    await room.get()


@case("BHTTP of indeterminate length")
async def indeterminate(room: Room) -> None:
    control = encode_request(request("POST", room.mailbox()))[1:-3]
    await room.exactly(b"\x02" + control + b"\0" + b"\x07content\0" + b"\0")


@case("BHTTP whose trailers are none")
async def bad_fields(room: Room) -> None:
    await room.exactly(encode_request(request("POST", room.mailbox(), b"content"))[:-1] + b"\x01\0")


@case("authority of another host / upper-case host / scheme HTTPS / empty scheme")
async def other_names(room: Room) -> None:
    await room.post(MESSAGE)
    path = f"/{room.mailbox()}"
    for scheme, authority in (
        ("https", "elsewhere.example"),
        ("https", "DIRECTORY.EXAMPLE:443"),
        ("HTTPS", "directory.example"),
        ("", "directory.example"),
        ("ftp", "someone@directory.example"),
        ("https", "[::1]:8080"),
    ):
        room.row(await room.inside(Request("GET", scheme, authority, path)))


@case("empty authority; path without leading slash")
async def no_url(room: Room) -> None:
    name = str(room.mailbox())
    for method, scheme, authority, path in (
        ("GET", "https", "", f"/{name}"),
        ("GET", "https", "directory.example", name),
        ("GET", "https", "directory example", f"/{name}"),
        ("GET", "ht tp", "directory.example", f"/{name}"),
        ("GET", "https", "directory.example", f"/{name} "),
        ("", "https", "directory.example", f"/{name}"),
        ("G T", "https", "directory.example", f"/{name}"),
    ):
        room.row(await room.inside(Request(method, scheme, authority, path)))


@case("an empty path")
async def no_path(room: Room) -> None:
    await room.inside(Request("GET", "https", "directory.example", ""))


@case("path with query")
async def query(room: Room) -> None:
    await room.post(MESSAGE)
    room.row(await room.get(f"{room.mailbox()}?a=b/c"), await room.get(f"{room.mailbox()}#a"))


@case("OHTTP request shorter than 8192 (unpadded)")
async def unpadded(room: Room) -> None:
    room.row(
        await room.exactly(encode_request(request("POST", room.mailbox(), MESSAGE))),
        await room.exactly(encode_request(request("GET", room.mailbox()))),
    )


@case("two concurrent GETs then one POST")
async def two_pollers(room: Room) -> None:
    # If the POST comes first after all, the answers are the same.
    pollers = [asyncio.create_task(room.get()) for _ in range(2)]
    await asyncio.sleep(0)
    await room.post(MESSAGE)
    room.row(*await asyncio.gather(*pollers))


@case("the largest body, and one byte more")
async def large(room: Room) -> None:
    for number, length in enumerate((LARGEST_BODY, LARGEST_BODY + 1)):
        await room.exactly(encode_request(request("POST", room.mailbox(number), bytes(length))))
    await room.get()  # cut off, as far as the room goes
    await room.get(room.mailbox(1))
    await room.exactly(encode_request(request("PUT", room.mailbox(), bytes(LARGEST_BODY + 1))))
    await room.exactly(encode_request(request("GET", room.mailbox(), bytes(LARGEST_BODY + 1))))
    await room.exactly(encode_request(request("POST", "BAD", bytes(LARGEST_BODY + 1))))


@case("the gateway's keys and purposes")
async def about_the_gateway(room: Room) -> None:
    for query in ("", "?", "?allowed_purposes", "?allowed_purposes=", "?other"):
        await room.plain("GET", "/.well-known/ohttp-gateway" + query)
    await room.plain("GET", "/ohttp-keys")


@case("what else a directory is asked in the open")
async def in_the_open(room: Room) -> None:
    for method, path in (
        ("GET", "/health"),
        ("GET", "/nothing"),
        ("GET", "/.well-known/"),
        ("HEAD", "/health"),
        ("PUT", "/.well-known/ohttp-gateway"),
        ("DELETE", f"/{room.mailbox()}"),
        ("PUT", f"/{room.mailbox()}"),
        ("OPTIONS", f"/{room.mailbox()}"),
        ("OPTIONS", "/.well-known/ohttp-gateway"),
        ("POST", "/"),
    ):
        await room.plain(method, path)


@case("a page for people")
async def page(room: Room) -> None:
    await room.plain("GET", "/")


@case("a self-loop tag that is another's")
async def other_tag(room: Room) -> None:
    await room.plain("GET", "/health", headers={SELF_LOOP_HEADER: "00" * 32})


@case("direct GET /id")
async def direct_get(room: Room) -> None:
    await room.post(MESSAGE)
    room.row(await room.plain("GET", f"/{room.mailbox()}"))
