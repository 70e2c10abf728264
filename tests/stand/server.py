"""An Electrum server (ElectrumX) on top of the node."""

import json
import socket
from pathlib import Path
from typing import Any

from tests.stand.node import PASSWORD, USER, Node
from tests.stand.parts import environment
from tests.stand.processes import Service, free_port, wait_until

POLL_NODE_MS = 200  # 5000 by default; a test waits for each of them


class Server:
    """ElectrumX in its own folder; needs a node that has at least one block."""

    def __init__(self, node: Node, folder: Path, *, log: Path | None = None) -> None:
        """Start it and wait until it has caught up with the node."""
        self.node = node
        self.folder = folder
        self.log = log or folder / "server.log"
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.service = self._start()

    @property
    def address(self) -> str:
        """The server as Electrum's option `--server` wants it; `t` is plain TCP."""
        return f"127.0.0.1:{self.port}:t"

    def request(self, method: str, *params: object) -> Any:
        """Ask one thing by Electrum's protocol, over a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            answers = connection.makefile("rb")
            greeting = ("server.version", ("stand", "1.4"))  # it must come first
            for number, (name, arguments) in enumerate((greeting, (method, params))):
                call = {"jsonrpc": "2.0", "id": number, "method": name, "params": arguments}
                connection.sendall(json.dumps(call).encode() + b"\n")
                answer = json.loads(answers.readline())
        if "error" in answer:
            raise ConnectionError(f"{method}: {answer['error']}")
        return answer["result"]

    def height(self) -> int:
        """Return the height of the best block that it tells wallets of."""
        return int(self.request("blockchain.headers.subscribe")["height"])

    def wait_synced(self, seconds: float = 30) -> None:
        """Wait until it tells wallets of the node's best block."""
        wait_until(self._synced, what="it has the node's blocks", seconds=seconds, services=[self.service])

    def stop(self) -> None:
        """Stop it."""
        self.service.stop()

    def start(self) -> None:
        """Start it again on the same port, after a stop."""
        self.service = self._start()

    def _start(self) -> Service:
        settings = {
            "COIN": "Bitcoin",
            "NET": "regtest",
            "DAEMON_URL": f"http://{USER}:{PASSWORD}@127.0.0.1:{self.node.port}",
            "DB_DIRECTORY": str(self.folder),
            "SERVICES": f"tcp://127.0.0.1:{self.port}",
            "ALLOW_ROOT": "1",
            "PEER_DISCOVERY": "off",
            # No limits for a wallet that asks much in a short time: it's the only one.
            "COST_SOFT_LIMIT": "0",
            "COST_HARD_LIMIT": "0",
            "DAEMON_POLL_INTERVAL_BLOCKS": str(POLL_NODE_MS),
            "DAEMON_POLL_INTERVAL_MEMPOOL": str(POLL_NODE_MS),
            "PYTHONUNBUFFERED": "1",
        }
        service = Service(
            "server",
            [environment.python(), environment.folder() / "bin/electrumx_server"],
            log=self.log,
            env={**environment.variables(), **settings},
        )
        wait_until(self._synced, what="it has the node's blocks", services=[service])
        return service

    def _synced(self) -> bool:
        try:
            return self.height() == self.node.height()
        except (OSError, ValueError):  # not listening yet, or closing the connection
            return False
