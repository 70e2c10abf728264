"""The whole stand: a private chain, an Electrum server, directory and relay, wallets."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tests.stand.electrum_daemon import WALLET, ElectrumDaemon
from tests.stand.mailroom import RealMailroom
from tests.stand.node import Node
from tests.stand.parts.cache import say
from tests.stand.payjoin_cli import PayjoinCli
from tests.stand.processes import wait_until
from tests.stand.server import Server


class Mailroom(Protocol):
    """A directory and a relay, whoever made them."""

    @property
    def directory_url(self) -> str: ...

    @property
    def relay_url(self) -> str: ...

    def keys(self) -> bytes: ...


class Stand:
    """Node and server, and what else is asked for; one folder, one log file each in `logs/`.

    with Stand(mailroom=True) as stand:
        receiver = stand.electrum("receiver", plugin=zip_path)
        stand.fund(receiver, 100_000)
    """

    def __init__(
        self, folder: Path | None = None, *, mailroom: bool = False, v1: bool = False, timeout: int = 30
    ) -> None:
        """Start node and server (and the real mailroom); a temporary folder unless one is given.

        `v1` and `timeout` are the mailroom's. A temporary folder goes with the stand, but stays
        when the block ends with an error.
        """
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="payjoin-stand-"))
        self.logs = self.folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.daemons: dict[str, ElectrumDaemon] = {}
        self._mailroom: RealMailroom | None = None
        self.node = Node(self.folder / "node", log=self.logs / "node.log")
        try:
            self.server = Server(self.node, self.folder / "server", log=self.logs / "server.log")
            if mailroom:
                self._mailroom = RealMailroom(self.folder / "mailroom", logs=self.logs, v1=v1, timeout=timeout)
        except BaseException:
            self.stop()
            raise

    @property
    def mailroom(self) -> RealMailroom:
        """The real directory and relay."""
        if self._mailroom is None:
            raise ValueError("this stand was made without mailroom=True")
        return self._mailroom

    def electrum(
        self,
        name: str,
        *,
        plugin: Path | None = None,
        settings: dict[str, object] | None = None,
        front: Sequence[str | Path] = (),
    ) -> ElectrumDaemon:
        """Start an Electrum daemon with a plugin's zip and a new wallet in it. `front`: see ElectrumDaemon."""
        daemon = ElectrumDaemon(
            name,
            self.folder / name,
            server=self.server.address,
            log=self.logs / f"electrum-{name}.log",
        )
        if plugin is not None:
            daemon.install(plugin)
        for key, value in (settings or {}).items():
            daemon.setconfig(key, value)
        self.daemons[name] = daemon
        daemon.front = front
        daemon.start()
        service = daemon.service
        if plugin is not None and service is not None:
            # Electrum answers before it has loaded its plugins, and goes on without one that doesn't load;
            # a test would then wait in vain.
            wait_until(lambda: " plugin " in service.output, what="it has loaded the plugin", services=[service])
            if "cannot initialize plugin" in service.output:
                raise service.error("it could not load the plugin")
        daemon.create_wallet()
        return daemon

    def payjoin_cli(
        self,
        name: str,
        *amounts_sat: int,
        mailroom: Mailroom | None = None,
        max_fee_rate: float = 10.0,
    ) -> PayjoinCli:
        """Make a person with payjoin-cli and a wallet of the node with such confirmed coins.

        They use the real directory and relay, or the given ones.
        """
        mailroom = mailroom or self.mailroom
        self.node.create_wallet(name, funded_sat=amounts_sat)
        self.server.wait_synced()  # a receiver asks it about these coins at once
        return PayjoinCli(
            name,
            self.folder / name,
            node=self.node,
            relays=[mailroom.relay_url],
            directories=[mailroom.directory_url],
            keys=mailroom.keys(),
            log=self.logs / f"payjoin-cli-{name}.log",
            max_fee_rate=max_fee_rate,
        )

    def fund(self, daemon: ElectrumDaemon, *amounts_sat: int, wallet: str = WALLET) -> None:
        """Give a wallet confirmed coins of such sizes and wait until it knows of them."""
        expected = daemon.balance_sat(wallet, confirmed=True) + sum(amounts_sat)
        addresses = daemon.fresh_addresses(len(amounts_sat), wallet)
        for address, amount in zip(addresses, amounts_sat, strict=True):
            self.node.fund(address, amount)
        self.mine()
        wait_until(
            lambda: daemon.balance_sat(wallet, confirmed=True) >= expected,
            what=f"{daemon.name}'s wallet has {expected} sat confirmed",
            services=[daemon.service] if daemon.service else (),
        )

    def mine(self, blocks: int = 1) -> None:
        """Mine blocks and wait until the server tells wallets of them."""
        self.node.mine(blocks)
        self.server.wait_synced()

    def stop(self) -> None:
        """Stop everything, wallets first."""
        for daemon in self.daemons.values():
            daemon.stop()
        if self._mailroom is not None:
            self._mailroom.stop()
        if hasattr(self, "server"):
            self.server.stop()
        self.node.stop()

    def __enter__(self) -> Self:
        """Hand over the running stand."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything; after an error the logs stay to be read."""
        self.stop()
        if error is not None:
            say(f"the logs of the stand: {self.logs}")
        elif self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
