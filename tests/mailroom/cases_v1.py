"""What a v1 sender asks of a directory in the open, and what the receiver then finds. See play.py.

Each case that needs a sender to be waiting first reads his original: then he is there.
"""

from __future__ import annotations

import asyncio

from .play import Room, case

WIDEST = 8137
"""Bytes of body and query that still leave a whole BHTTP message in 8144."""


@case("direct v1 POST, no poller within timeout")
async def no_receiver(room: Room) -> None:
    room.row(await room.send_v1())
    await room.get()  # the original went with its sender


@case("second concurrent v1 POST to same id")
async def second_sender(room: Room) -> None:
    first = room.send_v1()
    await room.get()
    room.row(await room.send_v1(b"another"))
    await room.put(b"proposal")
    await first


@case("GET while v1 request pending")
async def original(room: Room) -> None:
    for number, (body, query) in enumerate(((b"original", "v=1&x=%41"), (b"original", ""), (b"", "v=1"), (b"\n", "?"))):
        sender = room.send_v1(body, query)
        room.row(await room.get())
        await room.put(b"proposal %d" % number)
        await sender


@case("second GET while v1 request pending")
async def second_get(room: Room) -> None:
    sender = room.send_v1()
    await room.get()
    room.row(await room.get(), await room.get())
    await room.put(b"proposal")
    await sender


@case("PUT while v1 request pending")
async def answer(room: Room) -> None:
    sender = room.send_v1()
    await room.get()
    await room.put(b"\xff")  # not text: nothing happens
    room.row(await room.put("proposal €".encode()))
    await sender


@case("PUT after v1 sender was answered or timed out")
async def late_answer(room: Room) -> None:
    sender = room.send_v1()
    await room.get()
    await room.put(b"proposal")
    room.row(await room.put(b"proposal"))
    await sender
    await room.send_v1()
    room.row(await room.put(b"proposal"))


@case("a sender whose original nobody read is answered")
async def blind_answer(room: Room) -> None:
    # Of two senders the second is refused at once, whichever it is; so one is there.
    done, waiting = await asyncio.wait((room.send_v1(), room.send_v1()), return_when=asyncio.FIRST_COMPLETED)
    await room.put(b'{"errorCode": "unavailable"}')
    room.observed[:2] = [*(await asyncio.gather(*done)), *(await asyncio.gather(*waiting))]
    await room.post(b"a v2 message")
    await room.get()


@case("a v1 sender who hangs up")
async def hangs_up(room: Room) -> None:
    sender = room.send_v1()
    await room.get()
    sender.cancel()
    for _ in range(5):  # time for the server to see it
        await room.plain("GET", "/health")
    await room.send_v1(b"another")  # the place is still taken
    await room.put(b"proposal")  # nobody is there
    await room.send_v1(b"another")  # now it is free


@case("OHTTP POST to a mailbox with a pending v1 request")
async def v2_message(room: Room) -> None:
    sender = room.send_v1()
    await room.get()
    room.row(await room.post(b"a v2 message"), await room.get())
    await sender
    await room.get()


@case("v1 sender at a mailbox with a v2 message")
async def filled(room: Room) -> None:
    await room.post(b"a v2 message")
    first = await room.send_v1()  # nobody looks for him
    assert first.status == 503
    await room.get()


@case("direct v1 POST non-UTF-8")
async def no_text(room: Room) -> None:
    room.row(await room.send_v1(b"\xff\xfe"))


@case("direct v1 POST bad id")
async def bad_id(room: Room) -> None:
    for name in ("BAD", str(room.mailbox()).lower(), "health"):
        room.row(await room.plain("POST", f"/{name}", b"original"))
    await room.plain("POST", "/BAD", b"\xff")  # what the body is comes first


@case("v1 POST to a longer path")
async def long_path(room: Room) -> None:
    await room.plain("POST", f"/{room.mailbox()}/x", b"original")
    await room.plain("POST", f"/{room.mailbox()}/", b"original")


@case("v1 body+query of 8137 bytes read by OHTTP GET")
async def widest(room: Room) -> None:
    await _of_width(room, WIDEST)


@case("v1 body+query of 8138 bytes")
async def wider(room: Room) -> None:
    await _of_width(room, WIDEST + 1)


@case("v1 body+query of 8139 bytes and more")
async def too_wide(room: Room) -> None:
    await _of_width(room, WIDEST + 2)
    await _of_width(room, 20_000)


async def _of_width(room: Room, width: int) -> None:
    query = "v=1"
    sender = room.send_v1(b"x" * (width - len(query) - 1), query)
    room.row(await room.get())
    await room.put(b"proposal")
    await sender


@case("direct v1 POST when [v1] absent", v1=False)
async def not_here(room: Room) -> None:
    room.row(await room.send_v1(), await room.plain("POST", "/BAD", b"\xff"))


@case("PUT when [v1] absent", v1=False)
async def no_put(room: Room) -> None:
    await room.put(b"proposal")


@case("health when [v1] absent", v1=False)
async def health(room: Room) -> None:
    await room.plain("GET", "/health")
