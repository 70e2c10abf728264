"""A directory and a relay on loopback, until they are interrupted: `python -m tests.mailroom --help`.

The first lines of output are their URLs, for whoever started this as a process:

    directory http://127.0.0.1:41235
    relay     http://127.0.0.1:41236
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from .http import TIMEOUT
from .mailroom import Mailroom


async def run(mailroom: Mailroom) -> None:
    """Serve until SIGINT or SIGTERM."""
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
    async with mailroom:
        print(f"directory {mailroom.directory_url}", flush=True)
        for url in mailroom.relay_urls:
            print(f"relay     {url}", flush=True)
        await interrupted.wait()


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mailroom", description="A payjoin directory and a relay on loopback, for tests."
    )
    parser.add_argument("--directory-port", type=int, default=0, metavar="N", help="default: a free one")
    parser.add_argument(
        "--relay-port", type=int, default=0, metavar="N", help="of the first relay; default: a free one"
    )
    parser.add_argument("--relays", type=int, default=1, metavar="N", help="how many relays; default: 1")
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT, metavar="S", help="seconds that a poll waits; default: %(default)g"
    )
    parser.add_argument("--no-v1", action="store_true", help="refuse BIP 78 senders")
    wanted = parser.parse_args()
    mailroom = Mailroom(
        v1=not wanted.no_v1,
        relays=wanted.relays,
        timeout=wanted.timeout,
        directory_port=wanted.directory_port,
        relay_port=wanted.relay_port,
        journal_length=1000,
    )
    try:
        asyncio.run(run(mailroom))
    except OSError as error:
        print(f"cannot listen: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
