"""payjoin-cli, the reference sender and receiver, with a wallet of the node."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from tests.stand.missing import MissingPart
from tests.stand.node import PASSWORD, USER, Node
from tests.stand.parts import peers
from tests.stand.parts.peers import REMEDY
from tests.stand.processes import Service, wait_until

NAME = "payjoin-cli"
PROXIES = {f"{scheme}_proxy" for scheme in ("http", "https", "all", "no", "ftp")}


class Run(Service):
    """One run of payjoin-cli."""

    @property
    def lines(self) -> list[str]:
        """What it has said so far, without terminal colours."""
        return strip_ansi(self.output).splitlines()

    def wait_for(self, pattern: str, seconds: float = 30) -> "re.Match[str]":
        """Wait for a line in which `pattern` is found, and return the match."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            matches = (re.search(pattern, line) for line in self.lines)
            found.extend(match for match in matches if match)
            return bool(found)

        # It may have said it and ended: looked for once more before the end counts.
        wait_until(
            lambda: look() or (not self.running and (look() or self._gone(pattern))),
            what=f"a line with {pattern!r}",
            seconds=seconds,
        )
        return found[0]

    def _gone(self, pattern: str) -> bool:
        raise self.error(f"ended (exit code {self.returncode}) without a line with {pattern!r}")


class PayjoinCli:
    """A person with payjoin-cli: a folder, a database, and a wallet of the node."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        node: Node,
        relays: Sequence[str],
        directories: Sequence[str],
        keys: bytes | None = None,
        log: Path | None = None,
        max_fee_rate: float = 10.0,
        root_certificate: Path | None = None,
    ) -> None:
        """Prepare the folder. The node's wallet `name` is the caller's to make and fund.

        `keys` are the directory's OHTTP keys: over plain http payjoin-cli can't fetch them through
        the relay, since the relay answers with its own.
        """
        program = peers.find(NAME)
        if program is None:
            raise MissingPart(f"{NAME} {peers.VERSIONS[NAME]}", REMEDY)
        self._program = program
        self.name = name
        self.folder = folder
        self.node = node
        self.log = log or folder / f"{name}.log"
        folder.mkdir(parents=True, exist_ok=True)
        settings = [
            'db_path = "payjoin.sqlite"',
            f"max_fee_rate = {max_fee_rate}",
        ]
        if root_certificate:
            settings.append(f'root_certificate = "{root_certificate}"')
        settings += [
            "[bitcoind]",
            f'rpchost = "{node.url}/wallet/{name}"',
            f'rpcuser = "{USER}"',
            f'rpcpassword = "{PASSWORD}"',
            "[v2]",
            f"pj_directories = {_toml_list(directories)}",
            f"ohttp_relays = {_toml_list(relays)}",
        ]
        if keys is not None:
            (folder / "ohttp-keys").write_bytes(keys)
            settings.append('ohttp_keys = "ohttp-keys"')
        (folder / "config.toml").write_text("\n".join(settings) + "\n")

    def send(self, uri: str, *, fee_rate: float = 2.0, v1: bool = False) -> Run:
        """Start paying a URI; `fee_rate` in sat/vB."""
        version = ["--bip78"] if v1 else []
        return self._run(*version, "send", "--fee-rate", f"{fee_rate:g}", uri)

    def receive(self, amount_sat: int, *, expire_in: int | None = None) -> Run:
        """Start receiving; `uri_of(run)` tells what to pay."""
        expiry = ["--expire-in", str(expire_in)] if expire_in is not None else []
        return self._run("receive", str(amount_sat), *expiry)

    def resume(self, session: str | None = None) -> Run:
        """Start going on with all open sessions, or one."""
        return self._run("resume", *(["--session-id", session] if session else []))

    def history(self) -> list[str]:
        """List all sessions, in payjoin-cli's words, a line each."""
        run = self._run("history")
        run.wait()
        return run.lines

    def cancel(self, session: str, *, broadcast: bool = True) -> Run:
        """Cancel a session; by default payjoin-cli then broadcasts the original."""
        return self._run("cancel", session, *([] if broadcast else ["--no-broadcast"]))

    def _run(self, *words: str) -> Run:
        return Run(
            f"payjoin-cli {self.name} {words[0]}",
            [self._program, *words],
            log=self._next_log(),
            env={
                **{k: v for k, v in os.environ.items() if k.lower() not in PROXIES},
                "NO_COLOR": "1",
                "XDG_CONFIG_HOME": str(self.folder),  # no settings of the person who runs the tests
            },
            folder=self.folder,
        )

    def _next_log(self) -> Path:
        # A run's lines are its own: with several at once in one file they'd be mixed.
        number = 1
        while True:
            log = self.log.with_name(f"{self.log.stem}-{number}{self.log.suffix}")
            try:
                log.parent.mkdir(parents=True, exist_ok=True)
                log.touch(exist_ok=False)
            except FileExistsError:
                number += 1
            else:
                return log


def uri_of(run: Run) -> str:
    """Wait for the URI that a receiver's run shows."""
    return run.wait_for(r"^\s*(bitcoin:\S+)")[1]


def txid_of(run: Run) -> str:
    """Wait for the transaction of a payjoin that a sender's run has sent."""
    return run.wait_for(r"Payjoin sent\. TXID: ([0-9a-f]{64})")[1]


def strip_ansi(text: str) -> str:
    """Take out what colours a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def _toml_list(urls: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{url}"' for url in urls) + "]"
