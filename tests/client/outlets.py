"""How the tests of the shell get out: through Electrum's own HTTP sessions, as the plugin does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
from electrum.network import ProxySettings
from electrum.util import make_aiohttp_session

from payjoin_plugin.client.transport import CALL_TIMEOUT, KEYS_TIMEOUT, Connections, HttpTransport, SessionFactory


def electrum_sessions(proxy: ProxySettings | None = None) -> SessionFactory:
    """Electrum's sessions. They trust the CAs in `electrum.util.ca_path`, where a test puts its own."""

    def new_session(timeout: aiohttp.ClientTimeout) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
        session: AbstractAsyncContextManager[aiohttp.ClientSession] = make_aiohttp_session(
            proxy, headers={}, timeout=timeout
        )
        return session

    return new_session


def socks(port: int, *, mode: str = "socks5", user: str | None = None) -> ProxySettings:
    """The proxy setting of one who runs Tor on this machine."""
    proxy = ProxySettings()
    proxy.enabled, proxy.mode, proxy.host, proxy.port = True, mode, "127.0.0.1", str(port)
    proxy.user = proxy.password = user
    return proxy


@asynccontextmanager
async def transport(
    *, call_timeout: aiohttp.ClientTimeout = CALL_TIMEOUT, keys_timeout: aiohttp.ClientTimeout = KEYS_TIMEOUT
) -> AsyncIterator[HttpTransport]:
    """A transport without a proxy."""
    connections = Connections(electrum_sessions())
    try:
        yield HttpTransport(connections, call_timeout=call_timeout, keys_timeout=keys_timeout)
    finally:
        await connections.close()
