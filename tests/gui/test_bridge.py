"""What takes its time is done on another thread, and no wish for it is lost."""

from __future__ import annotations

import threading

from PyQt6.QtCore import QObject

from payjoin_plugin.gui.bridge import Bridge, Look
from tests.gui.house import House


def test_what_is_wanted_during_a_look_is_looked_at_once_more(house: House) -> None:
    parent, may_go_on = QObject(), threading.Event()
    begun, found = list[int](), list[int]()

    def look() -> int:
        begun.append(len(begun))
        may_go_on.wait(10)
        return begun[-1]

    once = Look(Bridge(parent), look, found.append)
    once.want()
    house.until(lambda: begun)
    once.want()
    once.want()
    assert begun == [0], "one at a time"
    may_go_on.set()
    house.until(lambda: found == [0, 1])
    house.settle(0.1)
    assert begun == [0, 1]


def test_a_look_that_fails_is_no_reason_for_none_later(house: House) -> None:
    parent, found, failed = QObject(), list[int](), list[bool]()

    def look() -> int:
        if not failed:
            raise ZeroDivisionError
        return 1

    again = Look(Bridge(parent), look, found.append, lambda _: failed.append(True))
    again.want()
    house.until(lambda: failed)
    again.want()
    house.until(lambda: found == [1])
