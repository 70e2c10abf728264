"""Wraps on the objects of one window, put on and taken off as a set; the wallet's are in wallet/seams.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..faults import own_fault


class Wraps:
    """Instance attributes that stand before Electrum's own methods."""

    def __init__(self) -> None:
        self._put: list[tuple[Any, str, Callable[..., Any], Callable[..., Any] | None]] = []
        self._is_on = True

    def before(self, target: Any, name: str, ours: Callable[..., bool]) -> None:
        """Call `ours` with the arguments first; where it returns False, Electrum's method is not called at all."""
        original = getattr(target, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if self._is_on:
                with own_fault(name):
                    if not ours(*args, **kwargs):
                        return None
            return original(*args, **kwargs)

        self._set(target, name, wrapped)

    def after(self, target: Any, name: str, ours: Callable[..., None]) -> None:
        """Call `ours` with the arguments afterwards."""
        original = getattr(target, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if self._is_on:
                with own_fault(name):
                    ours(*args, **kwargs)
            return result

        self._set(target, name, wrapped)

    def around(self, target: Any, name: str, ours: Callable[..., Any]) -> None:
        """Call `ours` with Electrum's method as first argument instead of it."""
        original = getattr(target, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return ours(original, *args, **kwargs) if self._is_on else original(*args, **kwargs)

        self._set(target, name, wrapped)

    def remove(self) -> None:
        """Take them all off. One that another plugin has wrapped in turn stays, and only hands on."""
        self._is_on = False
        for target, name, ours, earlier in reversed(self._put):
            if target.__dict__.get(name) is not ours:
                continue
            if earlier is None:
                delattr(target, name)
            else:
                setattr(target, name, earlier)
        self._put.clear()

    def _set(self, target: Any, name: str, ours: Callable[..., Any]) -> None:
        self._put.append((target, name, ours, target.__dict__.get(name)))
        setattr(target, name, ours)
