"""Lengths of time in words, and when the words change."""

from __future__ import annotations

from electrum.i18n import _


def time_left(seconds: int) -> str:
    """Return a length of time in two units, such as `23 h 59 min`."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days >= 2:
        return _("{} d {} h").format(days, hours % 24)
    if hours:
        return _("{} h {} min").format(hours, minutes % 60)
    if minutes >= 2:
        return _("{} min").format(minutes)
    return _("{} s").format(max(seconds, 0))


def next_change(seconds: int) -> int:
    """Return after how many seconds `time_left` says something else."""
    if seconds >= 2 * 86400:
        return seconds % 3600 + 1
    if seconds >= 121:
        return seconds % 60 + 1
    return 1
