"""Electrum's first touch: config variables and commands. It runs at every call of Electrum's command line, so it
imports nothing of ours; the commands act through the plugin object that Electrum hands them.
"""

from __future__ import annotations

import asyncio
import sys
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any

from electrum.commands import Commands, known_commands, plugin_command
from electrum.plugin import Plugins
from electrum.simple_config import ConfigVar, SimpleConfig
from electrum.util import UserFacingException, trigger_callback

if TYPE_CHECKING:
    from collections.abc import Callable

    from electrum.wallet import Abstract_Wallet

    from .app.plugin import PayjoinPlugin

# Electrum loads us as electrum_external_plugins.<name> without making that parent package,
# and Python can't import our subpackages until it exists.
sys.modules.setdefault("electrum_external_plugins", ModuleType("electrum_external_plugins"))

plugin_name = "payjoin"

SETTINGS: dict[str, tuple[object, str]] = {
    "directories": (
        (
            "https://payjo.in",
            "https://payjoin.achow101.com",
            "https://pj.bobspacebkk.com",
            "https://payjoin.lab.vinteum.org",
        ),
        "Payjoin directories, in the order of preference (JSON list)",
    ),
    "ohttp_relays": (
        (
            "https://payjoin.achow101.com",
            "https://pj.bobspacebkk.com",
            "https://payjoin.lab.vinteum.org",
            "https://ohttp.cakewallet.com",
        ),
        "OHTTP relays; one is chosen at random for each session (JSON list)",
    ),
    "offer_in_window": (True, "Offer payjoin with new requests of the receive tab"),
    "offer_in_commands": (
        False,
        "Offer payjoin with new requests made by commands. Credit payjoin.received_sat then, never an address's sum",
    ),
    "session_lifetime": (24 * 3600, "Seconds for which a payjoin may be answered, at most (60 to 604800)"),
    "minimum_amount": (10_000, "Requests below this many sat get no payjoin: below it a probe is too cheap"),
    "max_receiver_fee_rate": (
        None,
        "sat/vB that your coin's part of the transaction may cost; null: three times Electrum's estimate",
    ),
    "max_receiver_fee_sat": (5_000, "sat that your share of the fee may be, or 1 % of the payment if that is more"),
    "open_polls": (100, "Requests that wait at the directory at the same time; more of them take turns (10 to 1000)"),
    "accept_v1_senders": (True, "Answer wallets of the old protocol; the directory can read their payment"),
    "ask_before_contributing": (False, "Ask before each answer"),
    "broadcast_original_by_itself": (
        True,
        "Broadcast the sender's own payment when time runs out or the payjoin failed",
    ),
}
"""Name → default and help text. A further one has its bounds and its reading in app/settings.py, its line in
gui/settings.py, and stands in README and user guide."""

ELECTRUMS_OWN = ("enabled", "authorized")
"""What Electrum itself keeps under our prefix."""


def _setter(name: str) -> Callable[[object], object]:
    def convert(value: object) -> object:
        from .app.settings import checked  # noqa: PLC0415
        from .errors import UserError  # noqa: PLC0415  # only when a setting is changed

        try:
            return checked(name, value)
        except UserError as error:
            raise UserFacingException(str(error)) from None

    return convert


class Setting(ConfigVar):
    """One that says on Electrum's bus that it was changed, whether by a window or by `setconfig`."""

    def _set_config_value(self, config: SimpleConfig, value: object, *, save: bool = True) -> None:
        from .app.settings import SETTINGS_CHANGED  # noqa: PLC0415  # only when a setting is changed

        super()._set_config_value(config, value, save=save)
        trigger_callback(SETTINGS_CHANGED)


for _name, (_default, _help) in SETTINGS.items():
    setattr(
        SimpleConfig,
        f"PAYJOIN_{_name.upper()}",
        Setting(
            f"plugins.{plugin_name}.{_name}",
            default=_default,
            convert_setter=_setter(_name),
            short_desc=lambda text=_help: text,
            plugin=plugin_name,
        ),
    )


def _check_what_is_set() -> None:
    """Have `setconfig` and `getconfig` go by the settings above.

    Electrum 4.8.3 takes whatever begins with `plugins.` for the switch of a plugin: it checks nothing, shows no
    default, and drops a fraction without a word.
    """
    by_prefix = Plugins.is_plugin_enabler_config_key
    prefix = f"plugins.{plugin_name}."

    def is_plugin_enabler_config_key(_cls: type[Plugins], key: str) -> bool:
        name = key.removeprefix(prefix)
        if not key.startswith(prefix) or name in ELECTRUMS_OWN:
            return bool(by_prefix(key))
        if name not in SETTINGS:  # else a misspelt one would be stored, and change nothing
            raise UserFacingException(f"{key}: there is no such setting; there are {', '.join(SETTINGS)}")
        return False

    Plugins.is_plugin_enabler_config_key = classmethod(is_plugin_enabler_config_key)


_check_what_is_set()


@plugin_command("w", plugin_name)
async def sessions(
    self: Commands, all: bool = False, wallet: Abstract_Wallet = None, *, plugin: PayjoinPlugin
) -> list[dict[str, Any]]:
    """
    List the payjoin sessions of a wallet that are not closed, newest first.

    arg:bool:all:closed ones too
    """
    return await plugin.commands.sessions(wallet, all)


@plugin_command("w", plugin_name)
async def session(
    self: Commands, session_id: str, wallet: Abstract_Wallet = None, *, plugin: PayjoinPlugin
) -> dict[str, Any]:
    """
    Show one payjoin session with its events. Secrets are left out.

    arg:str:session_id:The session's ID, as payjoin_sessions shows it
    """
    return await plugin.commands.session(wallet, session_id)


@plugin_command("w", plugin_name)
async def abort(
    self: Commands,
    session_id: str,
    broadcast_original: bool = False,
    wallet: Abstract_Wallet = None,
    *,
    plugin: PayjoinPlugin,
) -> dict[str, Any]:
    """
    End a payjoin session at once. The sender gets no answer; the address can still be paid without payjoin. Aborting
    an aborted session changes nothing.

    arg:str:session_id:The session's ID, as payjoin_sessions shows it
    arg:bool:broadcast_original:Broadcast the sender's own payment, where there is one
    """
    return await plugin.commands.abort(wallet, session_id, broadcast_original)


@plugin_command("wp", plugin_name)
async def answer(
    self: Commands,
    session_id: str,
    password: str | None = None,
    wallet: Abstract_Wallet = None,
    *,
    plugin: PayjoinPlugin,
) -> dict[str, Any]:
    """
    Answer a waiting sender now: where approval is asked, where their coins were seen spent elsewhere, or with the
    password for this one answer where the wallet is locked. It is not recorded: after a restart it is asked again.

    arg:str:session_id:The session's ID, as payjoin_sessions shows it
    """
    return await plugin.commands.answer(wallet, session_id, password)


@plugin_command("w", plugin_name)
async def broadcast_original(
    self: Commands, session_id: str, wallet: Abstract_Wallet = None, *, plugin: PayjoinPlugin
) -> str:
    """
    Broadcast the sender's original payment, without payjoin. Answers its txid.

    arg:str:session_id:The session's ID, as payjoin_sessions shows it
    """
    return await plugin.commands.broadcast_original(wallet, session_id)


@plugin_command("w", plugin_name)
async def original(self: Commands, session_id: str, wallet: Abstract_Wallet = None, *, plugin: PayjoinPlugin) -> str:
    """
    Show the sender's original payment as a hex transaction.

    arg:str:session_id:The session's ID, as payjoin_sessions shows it
    """
    return await plugin.commands.original(wallet, session_id)


@plugin_command("w", plugin_name)
async def decline(
    self: Commands, request_id: str, wallet: Abstract_Wallet = None, *, plugin: PayjoinPlugin
) -> dict[str, Any]:
    """
    Make a request's URI plain: no payjoin for this one. Answers the request. Where the sender's payment is held
    already, payjoin_abort is the command.

    arg:str:request_id:The request's ID, as list_requests shows it
    """
    return await plugin.commands.decline(wallet, request_id)


@plugin_command("", plugin_name)
async def check(self: Commands, *, plugin: PayjoinPlugin) -> dict[str, Any]:
    """
    Reach each relay and directory of the settings, fetch the keys, and say what works and how long it took.
    """
    return await plugin.commands.check()


def _say_what_is_wrong_with_arguments(name: str) -> None:
    """Answer a wrong JSON-RPC argument with a sentence; Electrum alone says "internal error"."""
    command, run = known_commands[name], getattr(Commands, name)
    in_order = [name for name in (*command.params, *command.options) if name != "wallet"]
    known = {*in_order, "wallet", "wallet_path"}

    async def guarded(self: Commands, *args: Any, **kwargs: Any) -> Any:
        if len(args) > len(in_order):
            raise UserFacingException(f"too many arguments: {len(args)}, and there are {len(in_order)}")
        given = dict(zip(in_order, args, strict=False)) | kwargs
        if unknown := given.keys() - known:
            raise UserFacingException(f"unknown argument: {', '.join(sorted(unknown))}")
        if missing := [param for param in command.params if param not in given]:
            raise UserFacingException(f"missing argument: {', '.join(missing)}")
        if not isinstance(path := given.get("wallet_path"), str | None):
            raise UserFacingException(f"wallet_path: must be a path, not {path!r}")
        if isinstance(given.get("wallet"), str | int | float | list | dict):  # Electrum itself puts an object there
            raise UserFacingException("wallet: is called wallet_path here")
        if not isinstance(given.get("password"), str | None):
            raise UserFacingException("password: must be a text")
        return await run(self, **given)

    setattr(Commands, name, guarded)


def _wait_for_plugins(name: str) -> None:
    """Have a command wait until the daemon has loaded its plugins: it answers before, and tells nobody."""
    run = getattr(Commands, name)

    @wraps(run)  # Electrum looks at the arguments' names
    async def waiting(self: Commands, *args: Any, **kwargs: Any) -> Any:
        while self.daemon is not None and self.daemon._plugins is None:  # noqa: ASYNC110, SLF001
            await asyncio.sleep(0.02)
        return await run(self, *args, **kwargs)

    setattr(Commands, name, waiting)


_wait_for_plugins("add_request")  # a request that is made without us has no session, and gets none later
for _command in [name for name in known_commands if name.startswith(f"{plugin_name}_")]:
    _wait_for_plugins(_command)
    _say_what_is_wrong_with_arguments(_command)
