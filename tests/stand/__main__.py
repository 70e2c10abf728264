"""Set the stand up, or run a command in it; see `python3 -m tests.stand --help`.

This file and `parts/` are all that runs before anything is installed.
"""

import argparse
import os
import signal
import sys

from tests.stand.missing import MissingPart
from tests.stand.parts import electrum, environment, node, peers, system
from tests.stand.parts.cache import cache_folder


def main() -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.stand", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    for name, text in (
        ("setup", "bring what is missing"),
        ("run", "bring what is missing, then run a command with the prepared Python first on PATH"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--peers", action="store_true", help="the Rust peers too (built, some minutes)")
        if name == "run":
            command.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND …")
    wanted = parser.parse_args()

    if wanted.command is None:
        show()
        return 0
    try:
        setup(with_peers=wanted.peers)
    except MissingPart as missing:
        print(f"[stand] {missing}", file=sys.stderr)
        return 1
    if wanted.command == "run":
        words = wanted.words[1:] if wanted.words[:1] == ["--"] else wanted.words
        if not words:
            parser.error("run: no command after --")
        # A shell makes what it runs in the background deaf to Ctrl-C, and all that we start would be deaf too;
        # an Electrum daemon is stopped by just that signal.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execvpe(words[0], words, environment.variables())  # noqa: S606 - the command takes our place
    return 0


def setup(*, with_peers: bool) -> None:
    """Bring all parts that are not here yet; quick when they are."""
    system.install("Qt's libraries", system.missing_libraries())
    environment.ensure()
    node.ensure()
    if with_peers:
        peers.ensure()


def show() -> None:
    """Print what is there, in which version, and where."""
    found_electrum = electrum.find()
    found_node = node.find()
    rows = [
        ("cache", "", cache_folder()),
        (f"Electrum {electrum.VERSION}", "", found_electrum and found_electrum.modules),
        ("Python environment", sys.version.split()[0], environment.find()),
        ("Bitcoin node", found_node.version if found_node else "", found_node and found_node.program),
        *((f"{name} {version}", "", peers.find(name)) for name, version in peers.VERSIONS.items()),
    ]
    for name, version, place in rows:
        print(f"{f'{name} {version}'.strip():32} {place or 'not here'}")
    absent = system.missing_libraries()
    print(f"{'Qt libraries of the system':32} {'missing: ' + ' '.join(absent) if absent else 'there'}")


if __name__ == "__main__":
    sys.exit(main())
