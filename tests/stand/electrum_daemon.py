"""A real Electrum daemon in its own data folder, with or without the plugin."""

import json
import signal
import subprocess
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.stand import http
from tests.stand.parts import electrum as part
from tests.stand.parts import environment
from tests.stand.processes import ProcessError, Service, free_port, wait_until

LAUNCHER = Path(__file__).with_name("electrum_launcher.py")
KEY_VARIABLE = "STAND_PLUGINS_KEY"  # the name that the launcher reads
PLUGIN_PASSWORD = "stand"
USER = "stand"
PASSWORD = "stand"
WALLET = "wallet"
SATS = 100_000_000


class ElectrumError(Exception):
    """Electrum answered a command with an error; the text is Electrum's."""


class ElectrumDaemon:
    """A daemon, its data folder and the wallets in it. It outlives its process: start it again."""

    def __init__(self, name: str, folder: Path, *, server: str | None, log: Path | None = None) -> None:
        """Prepare the data folder; `server` is `host:port:t`, `None` is offline.

        Nothing runs before `start()`, so a plugin or settings can be put in first.
        """
        self.name = name
        self.folder = folder
        self.server = server
        self.log = log or folder / f"{name}.log"
        self.port = free_port()
        self.service: Service | None = None
        self.other_servers: Sequence[str] = ()
        """Servers beside the wallet's own (`host:port:s`, of another host name), from the next start on."""
        self.front: Sequence[str | Path] = ()
        """A script and its words that a test puts in front of the launcher, from the next start on."""
        self.starts: Sequence[str] = ("daemon",)
        """What Electrum is started as: the daemon, or `("gui", "-w", wallet)`, whose JSON-RPC answers too."""
        self._electrum = part.ensure()
        self.data = folder / "regtest"
        (self.data / "wallets").mkdir(parents=True, exist_ok=True)  # `create` wants it to exist
        if not self._config.exists():
            self._config.write_text(
                json.dumps(
                    {
                        "config_version": 3,  # without it the settings are taken for old ones
                        "check_updates": False,
                        "rpcuser": USER,
                        "rpcpassword": PASSWORD,
                    }
                )
            )
        # A socket's path may have 107 bytes, which a test's folder easily exceeds: so TCP.
        self.setconfig("rpcsock", "tcp")
        self.setconfig("rpcport", self.port)

    @property
    def running(self) -> bool:
        """Whether the daemon's process is there."""
        return self.service is not None and self.service.running

    def install(self, plugin: Path) -> None:
        """Put a plugin's zip in and authorize it, as a person does in Electrum's dialog.

        Electrum reads its plugins when it starts, so this is for before the start.
        """
        words = ["--install-plugin", str(plugin), PLUGIN_PASSWORD, str(self.folder)]
        done = subprocess.run(self._command(*words), env=self._env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ElectrumError(f"{plugin} was not installed: {done.stderr.strip()[-2000:]}")

    def start(self, *, seconds: float = 30) -> None:
        """Start the daemon and wait until it answers. It opens no wallet by itself."""
        # After a kill the lock file is still there, and Electrum believes it.
        (self.data / "daemon").unlink(missing_ok=True)
        connection = ["--oneserver", "--server", self.server] if self.server else ["--offline"]
        if self.other_servers:
            connection.remove("--oneserver")
            self.setconfig("auto_connect", value=False)  # the wallet's own stays what it is
            self.setconfig("network_bookmarked_servers", list(self.other_servers))
        self.service = Service(
            f"Electrum {self.name}",
            self._command(
                str(self._electrum.launcher),
                *("--regtest", "-D", str(self.folder), "-v", *self.starts),
                *connection,
            ),
            log=self.log,
            env=self._env,
        )
        wait_until(self._answers, what="its JSON-RPC answers", seconds=seconds, services=[self.service])

    def stop(self) -> None:
        """Stop it as a person does: wallets are saved, tasks cancelled."""
        if self.service is not None:
            # The same way as the command `stop`, which answers before the daemon has ended.
            self.service.stop(by=signal.SIGINT)

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash or a pulled plug would."""
        if self.service is not None:
            self.service.kill()

    def rpc(self, method: str, **params: object) -> Any:
        """Run one of Electrum's commands.

        The wallet's parameter is called `wallet_path`; the commands of the class fill it in.

        Raises:
            ElectrumError: Electrum says no; its own text.
        """
        try:
            answer = http.json_rpc(f"http://127.0.0.1:{self.port}", USER, PASSWORD, method, params)
        except http.BadAnswer as error:
            # This is how Electrum answers a method that it doesn't know.
            raise ElectrumError(f"{error} (is there such a command?)") from error
        except OSError as error:
            if self.service is None:
                raise ProcessError(f"Electrum {self.name} was not started") from error
            raise self.service.error(f"no answer to {method}: {error}") from error
        if failure := answer.get("error"):
            detail = failure.get("data", {}).get("exception")
            raise ElectrumError(": ".join(filter(None, (failure["message"], detail))))
        return answer["result"]

    def wallet_path(self, wallet: str = WALLET) -> str:
        """Say where a wallet's file lies; this is what Electrum calls a wallet by."""
        return str(self.data / "wallets" / wallet)

    def create_wallet(self, wallet: str = WALLET, *, password: str | None = None) -> str:
        """Make a new segwit wallet, open it, and return its seed."""
        path = self.wallet_path(wallet)
        made = self.rpc("create", wallet_path=path, password=password)
        self.load_wallet(wallet, password=password)
        return str(made["seed"])

    def restore_wallet(self, text: str, wallet: str = WALLET, *, password: str | None = None) -> None:
        """Make a wallet from a seed, keys, a public key or addresses, and open it."""
        path = self.wallet_path(wallet)
        self.rpc("restore", text=text, wallet_path=path, password=password)
        self.load_wallet(wallet, password=password)

    def load_wallet(self, wallet: str = WALLET, *, password: str | None = None) -> None:
        """Open a wallet; needed after each start."""
        self.rpc("load_wallet", wallet_path=self.wallet_path(wallet), password=password)

    def wait_synced(self, wallet: str = WALLET, *, seconds: float = 30) -> None:
        """Wait until the wallet has heard from the server all that concerns it."""
        wait_until(
            lambda: bool(self.rpc("is_synchronized", wallet_path=self.wallet_path(wallet))),
            what=f"the wallet {wallet} is synchronized",
            seconds=seconds,
            services=[self.service] if self.service else (),
        )

    def close_wallet(self, wallet: str = WALLET) -> None:
        """Close a wallet; Electrum saves it."""
        self.rpc("close_wallet", wallet_path=self.wallet_path(wallet))

    def address(self, wallet: str = WALLET) -> str:
        """Return an address of the wallet that nobody has used."""
        return str(self.rpc("getunusedaddress", wallet_path=self.wallet_path(wallet)))

    def fresh_addresses(self, count: int, wallet: str = WALLET) -> list[str]:
        """Return several unused addresses at once, from the end, where no request takes its own."""
        found: list[str] = self.rpc("listaddresses", receiving=True, unused=True, wallet_path=self.wallet_path(wallet))
        return found[-count:]

    def balance_sat(self, wallet: str = WALLET, *, confirmed: bool = False) -> int:
        """Return what the wallet has, with what is not in a block yet unless `confirmed`."""
        parts = self.rpc("getbalance", wallet_path=self.wallet_path(wallet))
        if confirmed:
            parts = {"confirmed": parts["confirmed"]}
        return sum(int(Decimal(amount) * SATS) for amount in parts.values())

    def setconfig(self, key: str, value: object) -> None:
        """Set one of Electrum's settings; in the file if the daemon doesn't run."""
        if self.running:
            self.rpc("setconfig", key=key, value=json.dumps(value))
            return
        settings = json.loads(self._config.read_text())
        place = settings
        *parents, last = key.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
        self._config.write_text(json.dumps(settings, indent=4))

    def getconfig(self, key: str) -> Any:
        """Read one of Electrum's settings from the running daemon."""
        return self.rpc("getconfig", key=key)

    @property
    def _config(self) -> Path:
        return self.data / "config"

    @property
    def _env(self) -> dict[str, str]:
        env = environment.variables()
        # Only the zip may bring the plugin, not a checkout that happens to be on the path.
        env.pop("PYTHONPATH", None)
        return {**env, KEY_VARIABLE: str(self.folder / "plugins_key")}

    def _command(self, *words: str) -> list[str | Path]:
        # -P: the launcher's own folder is not to be on the module path.
        return [environment.python(), "-P", *self.front, LAUNCHER, *words]

    def _answers(self) -> bool:
        try:
            self.rpc("ping")
        except (ProcessError, ElectrumError):
            return False
        return True
