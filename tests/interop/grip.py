"""A daemon in which sessions stand still where a test wants them, until the plug is pulled for all at once."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Literal

from tests.interop.conftest import settings_for
from tests.interop.inside import NEW
from tests.stand.electrum_daemon import ElectrumDaemon
from tests.stand.processes import Service, wait_until
from tests.stand.stand import Stand

INSIDE = Path(__file__).with_name("inside.py")

__all__ = ["NEW", "Grip"]


class Grip:
    """Our hand in a daemon's process (inside.py). It lets go when the daemon is started again without it."""

    def __init__(self, stand: Stand, name: str, plugin_zip: Path, **settings: object) -> None:
        """`settings`: of the plugin, where they are others than the stand's."""
        self._folder = stand.folder / f"inside-{name}"
        self._folder.mkdir()
        self._front = (INSIDE, self._folder)
        self.daemon: ElectrumDaemon = stand.electrum(
            name, plugin=plugin_zip, settings=settings_for(stand, **settings), front=self._front
        )

    def reach_in(self) -> None:
        """Start the daemon again so that we reach into it."""
        self.daemon.front = self._front
        self.daemon.start()
        # It answers before it has loaded the plugin, and what is done before that, we would not see.
        wait_until(lambda: " loaded plugin " in self._service.output, what="the plugin is there")

    def hold(self, key: str, moment: str) -> None:
        """Hold a session (or, by its txid, a payment that is being broadcast) at a moment; let it go from another."""
        self._write("hold", key, moment)

    def wait_for(self, key: str, moment: str) -> None:
        """Wait until it stands there."""
        file = self._folder / "reached" / key
        wait_until(
            lambda: file.exists() and file.read_text() == moment,
            what=f"{key} stands still at {moment}",
            seconds=60,
            services=[self._service],
        )

    def passed(self, key: str) -> list[str]:
        """Return the moments that it has passed. One that came several times in a row is one."""
        file = self._folder / "passed" / key
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for number, line in enumerate(lines) if number == 0 or line != lines[number - 1]]

    def die(self, key: str, moment: str) -> None:
        """Have the process kill itself the moment that a session records an event, before any save."""
        self._write("die", key, moment)

    def wait_for_death(self) -> None:
        """Wait until it has done so."""
        assert self._service.wait() == -signal.SIGKILL
        (self._folder / "die").unlink()  # or it would do so again

    def have_plugin(self, done: Literal["disable", "enable", "uninstall"]) -> None:
        """Do with the plugin as Electrum's dialog does, with the wallets open."""
        order = self._folder / "do"
        order.write_text(done)
        self._service.send(signal.SIGUSR1)
        wait_until(lambda: not order.exists(), what=f"{done} is done", services=[self._service])

    @property
    def _service(self) -> Service:
        assert self.daemon.service is not None
        return self.daemon.service

    def _write(self, name: str, key: str, moment: str) -> None:
        file = self._folder / name
        chosen = json.loads(file.read_text()) if file.exists() else {}
        new = file.with_suffix(".new")
        new.write_text(json.dumps({**chosen, key: moment}))
        new.replace(file)  # at once: it is read at any time
