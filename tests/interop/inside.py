"""Run Electrum with the plugin as it is, and do inside its process what no test can do from outside.

    python -P inside.py FOLDER LAUNCHER electrum's words …

- A session whose ID stands in FOLDER/hold (JSON: ID → moment) is held at that moment for as long as it stands there:
  its task goes no further, and FOLDER/reached/ID names the moment. So one `kill -9` catches many sessions, each between
  two lines of the plugin. A payment that is about to be broadcast is held by its txid.
- FOLDER/passed/ID has every moment that a session has passed, a line each.
- A session whose ID stands in FOLDER/die (the same) ends the process in the midst of a call, before anything is saved.
- SIGUSR1 has the plugin disabled, enabled or uninstalled, whatever stands in FOLDER/do, as Electrum's dialog does it:
  on the main thread, with the wallets open.

A moment is the session's last event, or that and what was awaited after it, such as `SignedProposal flush`: the save is
done, the post that comes next has not begun. Nothing in the plugin knows of all this.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import runpy
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from electrum.interface import Interface
from electrum.plugin import Plugins

PACKAGE = "electrum_external_plugins.payjoin"
NEW = "the next request"
"""Stands for the ID of a session that is about to be made."""

LOOK = 0.05
"""Seconds between two looks at FOLDER while something is held."""


class Inside:
    """What is done inside the process, as FOLDER says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for part in ("reached", "passed"):
            (folder / part).mkdir(exist_ok=True)
        self._plugins: Plugins | None = None

    def install(self) -> None:
        """Reach into the plugin as soon as it is loaded, before it is made."""
        original = Plugins.exec_module_from_spec

        def exec_module_from_spec(plugins: Plugins, spec: Any, path: str) -> Any:
            module = original(spec, path)
            if path == f"{PACKAGE}.cmdline" and self._plugins is None:
                self._plugins = plugins
                self._reach_in()
            return module

        Plugins.exec_module_from_spec = exec_module_from_spec
        signal.signal(signal.SIGUSR1, lambda *_: self._do())

    def _do(self) -> None:
        assert self._plugins is not None
        what = self._folder / "do"
        getattr(self._plugins, what.read_text())("payjoin")
        what.unlink()

    def _reach_in(self) -> None:
        runner = importlib.import_module(f"{PACKAGE}.client.runner").Runner
        settling = importlib.import_module(f"{PACKAGE}.app.settling").Settling
        ledger = importlib.import_module(f"{PACKAGE}.app.ledger").Ledger
        made, stepped, without_payjoin = runner.__init__, runner._in_time, settling.without_payjoin
        recorded, created = ledger.record, ledger.create
        broadcast = Interface.broadcast_transaction

        def make(this: Any, *args: Any, **parts: Any) -> None:
            made(this, *args, **parts)
            for part, name in (("_mail", "poll"), ("_mail", "answer"), ("_wallet", "look_up"), ("_wallet", "sign")):
                setattr(this, part, Watched(getattr(this, part), name, self._after(this, name)))
            this._checks._wallet = this._wallet
            this._store = Watched(this._store, "flush", self._after(this, "flush"))

        async def step(this: Any, state: Any) -> Any:
            await self._hold(this.session.id, last_event(this.session))
            return await stepped(this, state)

        async def after_the_end(this: Any, session: Any, *more: Any, **named: Any) -> None:
            await self._hold(session.id, last_event(session))
            await without_payjoin(this, session, *more, **named)

        def record(this: Any, session: Any, event: Any, **more: Any) -> bool:
            done: bool = recorded(this, session, event, **more)
            self._die(session.id, type(event).__name__)
            return done

        def create(this: Any, session_id: str, event: Any) -> Any:
            session = created(this, session_id, event)
            self._die(NEW, type(event).__name__)
            return session

        async def broadcast_transaction(this: Any, tx: Any, **more: Any) -> None:
            await self._hold(tx.txid(), "before")
            await broadcast(this, tx, **more)
            await self._hold(tx.txid(), "after")

        runner.__init__, runner._in_time, settling.without_payjoin = make, step, after_the_end
        ledger.record, ledger.create = record, create
        Interface.broadcast_transaction = broadcast_transaction

    def _after(self, runner: Any, name: str) -> Callable[[object], Awaitable[None]]:
        async def after(result: object) -> None:
            if name == "poll" and result is None:
                return  # nothing lay in the mailbox: the session stands where it stood
            await self._hold(runner.session.id, f"{last_event(runner.session)} {name}")

        return after

    async def _hold(self, key: str, moment: str) -> None:
        with (self._folder / "passed" / key).open("a") as passed:
            passed.write(f"{moment}\n")
        while self._read("hold").get(key) == moment:
            (self._folder / "reached" / key).write_text(moment)
            await asyncio.sleep(LOOK)

    def _die(self, key: str, moment: str) -> None:
        if self._read("die").get(key) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def _read(self, name: str) -> dict[str, str]:
        file = self._folder / name
        found: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        return found


class Watched:
    """Something whose one method is followed by a call of ours; the rest is as it was."""

    def __init__(self, thing: Any, name: str, after: Callable[[object], Awaitable[None]]) -> None:
        self._thing, self._name, self._after = thing, name, after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._thing, name)
        return self._then(method) if name == self._name else method

    def _then(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **more: Any) -> Any:
            result = await method(*args, **more)
            await self._after(result)
            return result

        return call


def last_event(session: Any) -> str:
    return type(session.records[-1].event).__name__


def main() -> None:
    inside = Inside(Path(sys.argv[1]))
    inside.install()
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
