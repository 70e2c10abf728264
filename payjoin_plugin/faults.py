"""How a bug of ours stays ours, wherever Electrum calls us: by the wallet's seams and by the window's wraps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from electrum.logging import get_logger

_logger = get_logger(__name__)


@contextmanager
def own_fault(where: str) -> Iterator[None]:
    """Log what goes wrong in us, and go on: it must not reach Electrum."""
    try:
        yield
    except Exception:
        _logger.exception(f"payjoin had a fault at {where}")
