"""What the parts of a run share: the plugin's zip, one stand with its receiver, and how progress is shown."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.interop.conftest import build_zip, settings_for
from tests.interop.receiver import Receiver
from tests.stand.stand import Stand


class Ground:
    """Each thing is made when the first part asks for it, and goes with the run."""

    def __init__(self, *, rounds: int, sizes: Sequence[int]) -> None:
        """`rounds`: how often a part repeats what it times, where it has the choice.

        `sizes`: how many sessions `many` opens, in rising order.
        """
        self.rounds, self.sizes = rounds, sizes
        self._stack = ExitStack()

    @cached_property
    def folder(self) -> Path:
        """A folder for this run's files."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="payjoin-bench-")))

    @cached_property
    def plugin(self) -> Path:
        """The plugin's zip, built now."""
        return build_zip(self.folder)

    @cached_property
    def stand(self) -> Stand:
        """The real parts; the directory holds a poll for 30 s, as those in the field do."""
        return self._stack.enter_context(Stand(mailroom=True, timeout=30))

    @cached_property
    def receiver(self) -> Receiver:
        """An Electrum daemon with our plugin; fund it with what a part needs."""
        return Receiver(self.stand.electrum("bench", plugin=self.plugin, settings=settings_for(self.stand)), "wallet")

    def fund(self, receiver: Receiver, coins: int) -> None:
        """Give a wallet so many confirmed coins, no more at once than Electrum has unused addresses for."""
        for first in range(0, coins, 10):
            self.stand.fund(receiver.daemon, *range(3_000_000 + first, 3_000_000 + min(first + 10, coins)))
            self.stand.mine(3)  # so many confirmations an address must have before Electrum makes new ones
            receiver.daemon.wait_synced()

    def say(self, text: str) -> None:
        """Show progress."""
        print(text, file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
