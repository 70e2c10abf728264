"""All that is played to a mailroom, by name. See play.py."""

from __future__ import annotations

from . import cases_directory, cases_relay, cases_v1  # noqa: F401 - importing them registers what they hold
from .play import CASES, WITHOUT_V1

__all__ = ["CASES", "WITHOUT_V1"]
