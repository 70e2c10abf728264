"""The Bitcoin node: a recent `bitcoind` of the system, or Bitcoin Knots as Debian sid ships it."""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.stand.missing import MissingPart
from tests.stand.parts.cache import bring_folder, cache_folder, say
from tests.stand.parts.debian import PrivateApt, unpack

NAME = "Bitcoin node"
OLDEST = 29  # what the stand was tried with, and what current wallets speak
KNOTS = "29."
CACHED = "bitcoin-knots-29"
REMEDY = f"Put a `bitcoind` of version {OLDEST} or newer on PATH."


@dataclass(frozen=True)
class BitcoinNode:
    """A node that can be started: its program, and the words that start it."""

    program: Path
    version: str
    start: tuple[str, ...]


def find() -> BitcoinNode | None:
    """Find a recent enough node on PATH, or the one in the cache."""
    return _on_path() or _cached()


def ensure() -> BitcoinNode:
    """Find a node or fetch one.

    Raises:
        MissingPart: the mirror has no such version, or there is no mirror.
    """
    found = find()
    if found is None:
        bring_folder(CACHED, _fetch)
        found = _cached()
    if found is None:
        raise MissingPart(NAME, REMEDY)
    return found


def version_in(text: str) -> str | None:
    """Read the version out of what `bitcoind --version` prints."""
    found = re.search(r"daemon version v?(\d[\w.]*)", text)
    return found and found[1]


def _on_path() -> BitcoinNode | None:
    program = shutil.which("bitcoind")
    if program is None:
        return None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = version_in(said.stdout)
    if version is None or int(version.split(".")[0]) < OLDEST:
        return None
    return BitcoinNode(Path(program), version, (program,))


def _cached() -> BitcoinNode | None:
    root = cache_folder() / CACHED
    program = root / "usr/bin/bitcoind"
    if not program.exists():
        return None
    # Built for newer libraries than a stable Debian has: started by the loader that came along
    # with them. It lies where the architecture's packages put it.
    libraries = next(root.glob("usr/lib/*-linux-gnu"))
    loader = next(libraries.glob("ld-linux-*.so.*"))
    return BitcoinNode(
        program,
        (root / "version").read_text().strip(),
        (str(loader), "--library-path", str(libraries), str(program)),
    )


def _fetch(target: Path) -> None:
    say("Bitcoin node: fetching Debian's Bitcoin Knots and its libraries (26 MB)")
    with tempfile.TemporaryDirectory() as folder:
        apt = PrivateApt(Path(folder), NAME)
        there = apt.versions("bitcoin-knots")
        version = next((version for version in there if version.startswith(KNOTS)), None)
        if version is None:
            raise MissingPart(
                f"{NAME} (Debian's bitcoin-knots {KNOTS}x)",
                f"The mirror now has {', '.join(there) or 'none'}. {REMEDY}",
            )
        unpack(apt.download("bitcoin-knots", version, closure=True), target)
        (target / "version").write_text(f"Knots {version}\n")
