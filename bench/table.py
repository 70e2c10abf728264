"""Figures and how they are shown: minimum, median, maximum."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """One row of the result."""

    name: str
    unit: str
    minimum: float
    median: float
    maximum: float
    runs: int

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def figure(name: str, values: Sequence[float], *, unit: str = "s") -> Figure:
    """Sum up some runs."""
    return Figure(name, unit, min(values), statistics.median(values), max(values), len(values))


def table(figures: Sequence[Figure]) -> str:
    """Return the rows as aligned text."""
    width = max(len(row.name) for row in figures)
    head = f"{'':{width}}  {'min':>8} {'median':>8} {'max':>8}  runs"
    rows = [
        f"{row.name:{width}}  {row.minimum:8.3f} {row.median:8.3f} {row.maximum:8.3f}  {row.runs} ({row.unit})"
        for row in figures
    ]
    return "\n".join([head, *rows])
