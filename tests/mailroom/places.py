"""Our mailroom as a place to play the cases of play.py at, and the strangers that some of them speak of."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from payjoin_plugin.wire.keys import SecretKey

from .gateway import Gateway
from .mailroom import Mailroom
from .play import Place


@asynccontextmanager
async def strangers() -> AsyncIterator[tuple[str, str]]:
    """The URLs of an HTTP server that is no directory, and of nobody at all."""

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    application = web.Application()
    application.router.add_route("*", "/{anything:.*}", hello)
    runner = web.AppRunner(application)
    await runner.setup()
    # A port that is bound and not listened at: nobody else can come to it while we look.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}", f"http://127.0.0.1:{deaf.getsockname()[1]}"
        finally:
            await runner.cleanup()


@asynccontextmanager
async def ours(*, v1: bool, seconds: float, secret: SecretKey | None = None) -> AsyncIterator[Place]:
    """Our mailroom, in this process. `seconds`: how long it holds a poll; `secret`: its directory's OHTTP key."""
    mailroom = Mailroom(v1=v1, timeout=seconds)
    mailroom.directory.directory.gateway = Gateway(secret)
    async with strangers() as (stranger, nobody), mailroom:
        yield Place(
            directory=mailroom.directory_url,
            relay=mailroom.relay_url,
            keys=mailroom.keys,
            seconds=seconds,
            stranger=stranger,
            nobody=nobody,
        )
