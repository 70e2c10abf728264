"""The reference directory and relay: payjoin-mailroom, two processes on loopback."""

from pathlib import Path

from tests.stand import http
from tests.stand.missing import MissingPart
from tests.stand.parts import peers
from tests.stand.parts.peers import REMEDY
from tests.stand.processes import Service, free_port, wait_until

NAME = "payjoin-mailroom"
KEYS_PATH = "/.well-known/ohttp-gateway"  # RFC 9540
KEYS_LENGTH = 74  # one key configuration, secp256k1's uncompressed public key and one suite


class RealMailroom:
    """A directory and a relay; two processes, since a relay doesn't forward to itself."""

    def __init__(self, folder: Path, *, logs: Path | None = None, v1: bool = False, timeout: int = 30) -> None:
        """Start both.

        `v1` lets senders of version 1 through, `timeout` is how long a poll is held, in seconds.
        """
        program = peers.find(NAME)
        if program is None:
            raise MissingPart(f"{NAME} {peers.VERSIONS[NAME]}", REMEDY)
        self._program = program
        self.folder = folder
        self._logs = logs or folder
        self._settings = f"timeout = {timeout}\n"
        self._v1 = "[v1]\n" if v1 else ""
        self._ports = {"directory": free_port(), "relay": free_port()}
        self.directory = self.start("directory")
        self.relay = self.start("relay")

    @property
    def directory_url(self) -> str:
        """The directory, without a slash at the end."""
        return f"http://127.0.0.1:{self._ports['directory']}"

    @property
    def relay_url(self) -> str:
        """The relay, without a slash at the end."""
        return f"http://127.0.0.1:{self._ports['relay']}"

    def keys(self) -> bytes:
        """Fetch the directory's OHTTP keys, from itself."""
        status, body = http.request("GET", self.directory_url + KEYS_PATH)
        if status != 200 or len(body) != KEYS_LENGTH:
            raise self.directory.error(f"its keys: HTTP {status}, {len(body)} bytes")
        return body

    def change_keys(self) -> None:
        """Have the directory make new OHTTP keys, and know the old ones no more, as one does after some months."""
        self.directory.stop()
        for keys in (self.folder / "directory" / "ohttp-keys").iterdir():
            keys.unlink()
        self.start("directory")

    def start(self, role: str) -> Service:
        """Start `directory` or `relay`, again too: on the same port, with the same keys."""
        folder = self.folder / role
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.toml"
        config.write_text(
            f'listener = "127.0.0.1:{self._ports[role]}"\nstorage_dir = "{folder}"\n' + self._settings + self._v1
        )
        service = Service(
            role,
            [self._program, "--config", config],
            log=self._logs / f"{role}.log",
            # Each request in the log, and no colours.
            env={"RUST_LOG": "info,tower_http=debug", "NO_COLOR": "1"},
            folder=folder,
        )
        setattr(self, role, service)
        url = self.directory_url if role == "directory" else self.relay_url
        wait_until(lambda: _answers(url), what="it answers", services=[service])
        if role == "relay":
            # The first request makes the relay ask the directory whether it wants to be relayed to.
            # A client that hangs up meanwhile breaks mailroom 0.1.3 for good («probe task should
            # never be dropped»), so the first is ours, and junk: the directory says 400.
            http.request("POST", f"{url}/{self.directory_url}", b"junk")
        return service

    def stop(self) -> None:
        """Stop both."""
        self.relay.stop()
        self.directory.stop()


def _answers(url: str) -> bool:
    try:
        http.request("GET", f"{url}/health", seconds=5)
    except OSError:
        return False
    return True
