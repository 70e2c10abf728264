"""What all wallets of this Electrum share: settings, HTTP through Electrum's proxy, relays, directory keys."""

from __future__ import annotations

import asyncio
import copy
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from electrum.i18n import _
from electrum.network import Network
from electrum.util import EventListener, event_listener, make_aiohttp_session

from ..client.directory import KeyCache, Relays, same_operator
from ..client.keeper import KeyKeeper
from ..client.transport import Connections, HttpTransport, Route
from ..client.turns import Turns
from ..errors import NotSent, PayjoinError, Unreachable
from .settings import Settings
from .trouble import trouble_words

if TYPE_CHECKING:
    from electrum.simple_config import SimpleConfig


class Services(EventListener):
    """Made once for the plugin. Everything but `settings` and `keeper.current` belongs to the event loop."""

    def __init__(self, config: SimpleConfig, changed: Callable[[], None]) -> None:
        """`changed()` is called when keys came or could not be had."""
        self.settings = Settings(config)
        self.cache = KeyCache()
        self.relays = Relays(lambda: self.settings.ohttp_relays)
        self.turns = Turns(lambda: self.settings.open_polls, time.time)
        self._connections = Connections(_new_http_session, _route)
        self.keeper = KeyKeeper(
            HttpTransport(self._connections),
            self.relays,
            self.cache,
            directories=lambda: self.settings.directories,
            clock=time.time,
            changed=changed,
        )
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to keep keys, unless that is done already. On the event loop."""
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.get_running_loop().create_task(self.keeper.run())
            self.register_callbacks()

    async def stop(self) -> None:
        """End everything that is under way."""
        self.unregister_callbacks()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
        await self._connections.close()

    @event_listener
    def on_event_payjoin_settings_changed(self) -> None:
        """Other directories or relays may have been set."""
        self.keeper.poke()

    def new_transport(self) -> HttpTransport:
        """Return a session's own transport; close it when the session's task ends."""
        return HttpTransport(self._connections)

    @asynccontextmanager
    async def turn(
        self, transport: HttpTransport, session_id: str, *, made_at: float, expires_at: float
    ) -> AsyncIterator[None]:
        """Have a turn at the directory. Who will wait for the next one keeps no connection of its own meanwhile."""
        async with self.turns.take(session_id, made_at=made_at, expires_at=expires_at) as comes_again:
            yield
            if not comes_again:
                await transport.close()

    async def check(self, *, directories: list[str] | None = None, relays: list[str] | None = None) -> dict[str, Any]:
        """Reach every directory through every relay that may serve it; say what works and how long it took.

        None: those of the settings.
        """
        directories = self.settings.directories if directories is None else directories
        relays = self.settings.ohttp_relays if relays is None else relays
        pairs = [(relay, directory) for directory in directories for relay in relays]
        found = await asyncio.gather(*(self._try(relay, directory) for relay, directory in pairs))
        by_pair = dict(zip(pairs, found, strict=True))
        return {
            "directories": {d: _best(by_pair[relay, d] for relay in relays) for d in directories},
            "ohttp_relays": {relay: _best(by_pair[relay, d] for d in directories) for relay in relays},
        }

    async def _try(self, relay: str, directory: str) -> dict[str, Any]:
        if same_operator(relay, directory):
            return {"works": False, "reason": _("refused: same operator as the directory")}
        transport = self.new_transport()
        try:
            reached = await transport.probe(relay, directory)
        except PayjoinError as error:
            return {"works": False, "reason": f"{_what_failed(error)} ({trouble_words(str(error))})"}
        finally:
            await transport.close()
        return {"works": True, "seconds": round(reached.keys_seconds + reached.answer_seconds, 3)}


def _what_failed(error: PayjoinError) -> str:
    """Say in short what the transport says at length, for who looks into it."""
    match error:
        case NotSent():
            return _("cannot be reached")
        case Unreachable():
            return _("does not answer")
        case _:
            return _("answers wrongly")


def is_useless(relay: str, directories: list[str]) -> bool:
    """Tell whether a relay may serve none of the directories: their operators would see who asks for what."""
    return all(same_operator(relay, directory) for directory in directories)


def _network() -> Network:
    network = Network.get_instance()
    if network is None:
        # Electrum's own HTTP function would go out without its proxy here.
        raise NotSent(_("Electrum is offline"))
    return network


def _route() -> Route:
    network = _network()
    proxy = network.proxy
    if proxy is None or not proxy.enabled:
        return Route()
    setting = (proxy.mode, proxy.host, proxy.port, proxy.user, proxy.password, network.is_proxy_tor)
    return Route(setting, proxied=True, isolated=_is_isolating(network))


def _is_isolating(network: Network) -> bool:
    """Tell whether the proxy is Tor and the user name is ours to choose: each one gets a circuit of its own."""
    return bool(network.is_proxy_tor) and not network.proxy.user


def _new_http_session(timeout: aiohttp.ClientTimeout) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
    network = _network()
    proxy = copy.copy(network.proxy)
    if proxy is not None and proxy.enabled and _is_isolating(network):
        proxy.user = proxy.password = secrets.token_hex(8)
    return make_aiohttp_session(proxy, headers={}, timeout=timeout)


def _best(results: Any) -> dict[str, Any]:
    return min(results, key=lambda result: (not result["works"], result.get("seconds", 0.0)))
