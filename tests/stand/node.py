"""A Bitcoin node on a private regtest."""

from pathlib import Path
from typing import Any

from tests.stand import http
from tests.stand.parts import node as part
from tests.stand.processes import Service, free_port, wait_until

USER = "stand"
PASSWORD = "stand"
MINER = "miner"
MATURE = 101  # blocks until the first one's reward can be spent
SATS = 100_000_000


class NodeError(Exception):
    """The node answered with an error; the text is the node's."""


class Node:
    """A node in its own folder, with a wallet `miner` that has coins to give away."""

    def __init__(self, folder: Path, *, log: Path | None = None) -> None:
        """Start it and mine the first coins."""
        self.program = part.ensure()
        self.folder = folder
        self.log = log or folder / "node.log"
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.service = self._start()
        self.create_wallet(MINER)
        self.mine(MATURE)

    @property
    def url(self) -> str:
        """Where its RPC answers."""
        return f"http://127.0.0.1:{self.port}"

    def rpc(self, method: str, *params: object, wallet: str | None = None) -> Any:
        """Call an RPC method, of a wallet if one is named.

        Raises:
            NodeError: the node says no.
        """
        url = f"{self.url}/wallet/{wallet}" if wallet else self.url
        answer = http.json_rpc(url, USER, PASSWORD, method, params)
        if answer.get("error"):
            raise NodeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def create_wallet(self, name: str, *, funded_sat: tuple[int, ...] = ()) -> None:
        """Make a wallet, with confirmed coins of the given sizes."""
        self.rpc("createwallet", name)
        for amount in funded_sat:
            self.fund(self.address(name), amount)
        if funded_sat:
            self.mine()

    def address(self, wallet: str) -> str:
        """Return a new address of a wallet."""
        return str(self.rpc("getnewaddress", wallet=wallet))

    def mine(self, blocks: int = 1) -> list[str]:
        """Mine blocks and return their hashes."""
        hashes: list[str] = self.rpc("generatetoaddress", blocks, self.address(MINER))
        return hashes

    def fund(self, address: str, amount_sat: int) -> str:
        """Pay the address from the miner's wallet and return the txid; mine to confirm it."""
        amount = f"{amount_sat // SATS}.{amount_sat % SATS:08d}"
        return str(self.rpc("sendtoaddress", address, amount, wallet=MINER))

    def height(self) -> int:
        """Return the height of its best block."""
        return int(self.rpc("getblockcount"))

    def transaction(self, txid: str) -> dict[str, Any]:
        """Return a transaction of the mempool or the chain; each input has its `prevout`.

        The node's own prevouts are only there once it is in a block, so they are looked up.
        """
        found: dict[str, Any] = self.rpc("getrawtransaction", txid, 1)
        for spent in found["vin"]:
            if "txid" in spent:
                source = self.rpc("getrawtransaction", spent["txid"], 1)
                spent["prevout"] = source["vout"][spent["vout"]]
        return found

    def stop(self) -> None:
        """Stop it; its SIGTERM is an orderly end."""
        self.service.stop()

    def _start(self) -> Service:
        settings = {
            "regtest": "1",
            "datadir": str(self.folder),
            "server": "1",
            "rpcuser": USER,
            "rpcpassword": PASSWORD,
            "rpcport": str(self.port),
            "rpcworkqueue": "256",
            "listen": "0",
            "dnsseed": "0",
            "txindex": "1",
            # Without these Knots gives out legacy addresses, and payjoin-cli takes its wallet's.
            "addresstype": "bech32",
            "changetype": "bech32",
            # There is no market of fees on a regtest to estimate one from.
            "fallbackfee": "0.00002",
            "printtoconsole": "1",
            "debuglogfile": "0",
        }
        words = [f"-{key}={value}" for key, value in settings.items()]
        service = Service("node", [*self.program.start, *words], log=self.log)
        wait_until(self._answers, what="its RPC answers", services=[service])
        return service

    def _answers(self) -> bool:
        try:
            self.rpc("getblockchaininfo")
        except (OSError, NodeError):  # not listening yet, or still loading
            return False
        return True
