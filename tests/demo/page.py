"""What the demo prints: short lines, in columns. Colours only where a person sits in front of it."""

from __future__ import annotations

import os
import re
import sys
import textwrap

WIDTH = 100
INDENT = "   "
LABEL = 11
"""Characters of an entry's label."""

BOLD, DIM, GREEN, RED = "1", "2", "32", "31"
NAMES = {"Alice": "33", "Bob": "36", "Carol": "35"}
"""People, and the colours of their names. All these are terminal codes."""


class ClaimFailed(Exception):
    """The demo was about to say something that is not so."""


class Page:
    """Prints each line at once."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._steps = 0

    def line(self, text: str = "", *, style: str = "") -> None:
        """Print one line, all of it in `style` where one is given."""
        if self._colours and style:
            text = _coloured(text, style)
        elif self._colours:
            text = re.sub("|".join(NAMES), lambda name: _coloured(name[0], NAMES[name[0]]), text)
        print(text, flush=True)

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._steps += 1
        self.line()
        self.line(f"{self._steps}  {title}", style=BOLD)

    def text(self, text: str) -> None:
        """Print a paragraph."""
        for line in _wrapped(text, WIDTH - len(INDENT)):
            self.line(INDENT + line)

    def entry(self, label: str, text: str) -> None:
        """Print a paragraph with a label at its left."""
        for number, line in enumerate(_wrapped(text, WIDTH - len(INDENT) - LABEL)):
            self.line(INDENT + ("" if number else label).ljust(LABEL) + line)

    def command(self, words: str) -> None:
        """Show what a person would type."""
        self.line(f"{INDENT}$ {words}", style=DIM)

    def table(self, *rows: tuple[str, ...]) -> None:
        """Print rows in columns. One with numbers in it stands to the right; a long last text goes on below."""
        columns = [_column(cells) for cells in zip(*rows, strict=True)]
        for *cells, last in zip(*columns, strict=True):
            before = INDENT + "".join(f"{cell}   " for cell in cells)
            for number, line in enumerate(_wrapped(last.rstrip(), WIDTH - len(before))):
                self.line(((" " * len(before) if number else before) + line).rstrip())

    def check(self, claim: object, text: str) -> None:
        """State something that was checked. Raises ClaimFailed where it is not so."""
        if not claim:
            raise ClaimFailed(f"this should be so, and is not: {text}")
        self.line(f"{INDENT}✓ {text}", style=GREEN)


def _coloured(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"


def _column(cells: tuple[str, ...]) -> list[str]:
    width = max(map(len, cells))
    has_numbers = any(re.fullmatch(r"[-+]?[0-9][0-9,]*", cell) for cell in cells)
    return [cell.rjust(width) if has_numbers else cell.ljust(width) for cell in cells]


def _wrapped(text: str, width: int) -> list[str]:
    """Return at least one line. A word that is too long stays whole."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
