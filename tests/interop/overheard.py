"""Stands in front of a daemon, and writes down where its process connects to and which names it looks up.

    python overheard.py FILE LAUNCHER …

CPython's audit events are raised in front of the system calls themselves, whoever makes them.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

CONNECTIONS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
LOOK_UPS = {"socket.getaddrinfo", "socket.gethostbyname"}


def main() -> None:
    file = Path(sys.argv[1]).open("a", buffering=1)  # noqa: SIM115  as long as the process lives

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CONNECTIONS and isinstance(arguments[1], tuple):
            file.write(f"{arguments[1][0]}:{arguments[1][1]}\n")
        elif event in LOOK_UPS:
            file.write(f"{arguments[0]}:\n")

    sys.addaudithook(hear)
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
