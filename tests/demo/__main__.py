"""The command: `python3 -m tests.stand run -- python -m tests.demo`, which `make demo` runs.

--peers       the payer is payjoin-cli, and directory and relay are payjoin-mailroom
              (then it is `python3 -m tests.stand run --peers -- …`)
--no-window   Bob has Electrum's daemon; without this he has its window, where there is a display
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.demo.page import BOLD, RED, ClaimFailed, Page
from tests.demo.window import has_display
from tests.stand.missing import MissingPart

INTERRUPTED = 130
"""What a shell says of a program that Ctrl-C ended."""


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.demo", description="One whole payjoin on a private network, told step by step."
    )
    parser.add_argument("--peers", action="store_true", help="with payjoin-cli and payjoin-mailroom, made in Rust")
    parser.add_argument("--no-window", action="store_true", help="open no window, though there is a display")
    wanted = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)

    page, started = Page(), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="payjoin-demo-"))
    try:
        page.line("Payjoin for Electrum: Alice pays Bob", style=BOLD)
        page.line("A private network on this computer. All the programs are real; the money is not.")
        if not has_display() and not wanted.no_window:
            page.line("There is no display here, so there is no window: all is told in these lines.")
        from tests.demo.story import tell  # noqa: PLC0415 - imports Electrum, for a second in which Ctrl-C counts too

        tell(page, folder, rust=wanted.peers, window=has_display() and not wanted.no_window)
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        page.line("\nInterrupted. Nothing is left running.")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, the one who watches is told what it was
        explain(page, error, folder)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    page.line(f"Done: {time.monotonic() - started:.1f} s in all. Nothing is left running.", style=BOLD)
    return 0


def explain(page: Page, error: Exception, folder: Path) -> None:
    """Say what went wrong and where the logs are."""
    logs = folder / "logs"
    page.line()
    if isinstance(error, (MissingPart, ClaimFailed)):
        page.line(str(error), style=RED)
    else:
        page.line(f"This went wrong: {type(error).__name__}: {error}", style=RED)
        logs.mkdir(exist_ok=True)
        (logs / "demo.log").write_text("".join(traceback.format_exception(error)))
    page.line(f"Nothing is left running. The logs: {logs}")


if __name__ == "__main__":
    sys.exit(main())
