"""Between Qt's thread and Electrum's event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, Generic, TypeVar

from electrum.i18n import _
from electrum.logging import get_logger
from electrum.util import get_asyncio_loop
from PyQt6.QtCore import QEventLoop, QObject, Qt, pyqtSignal
from PyQt6.QtGui import QGuiApplication

from ..app.trouble import trouble_words
from ..errors import PayjoinError, TransientError, UserError

_logger = get_logger(__name__)

T = TypeVar("T")

AT_WORK, AT_REST = 0.004, 0.001
"""Seconds for which a thread computes in one go, and rests afterwards."""


class Bridge(QObject):
    """Runs coroutines on the loop and brings what they return to Qt's thread."""

    _ended = pyqtSignal(object, object, object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._is_open = True
        # Queued also where the loop was quicker than our call: nobody's click shall return with a question answered.
        self._ended.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def run(
        self,
        coroutine: Coroutine[Any, Any, T],
        done: Callable[[T], None],
        failed: Callable[[str], None] | None = None,
    ) -> None:
        """Run `coroutine`; then `done(result)` or `failed(sentence)`, on Qt's thread, unless we are closed by then."""
        future = asyncio.run_coroutine_threadsafe(coroutine, get_asyncio_loop())
        future.add_done_callback(lambda ended: self._bring(ended, done, failed))

    def close(self) -> None:
        """Bring nothing any more."""
        self._is_open = False

    def _bring(self, *ended: object) -> None:
        try:
            if self._is_open:
                self._ended.emit(*ended)
        except RuntimeError:
            pass  # the window went away meanwhile

    def _deliver(self, ended: Future[Any], done: Callable[[Any], None], failed: Callable[[str], None] | None) -> None:
        if not self._is_open or ended.cancelled():
            return
        if (error := ended.exception()) is None:
            done(ended.result())
            return
        if not isinstance(error, (PayjoinError, OSError)):
            _logger.error("payjoin had a fault", exc_info=error)
        if failed is not None:
            failed(sentence_of(error))


class Look(Generic[T]):
    """A look that takes its time, on another thread: one at a time, and once more where it was wanted meanwhile."""

    def __init__(
        self,
        bridge: Bridge,
        look: Callable[[], T],
        done: Callable[[T], None],
        failed: Callable[[str], None] | None = None,
    ) -> None:
        """`done(result)` or `failed(sentence)` is called on Qt's thread."""
        self._bridge, self._look, self._done, self._failed = bridge, look, done, failed
        self._is_under_way = self._is_wanted = False

    def want(self) -> None:
        """Look soon."""
        self._is_wanted = True
        if not self._is_under_way:
            self._begin()

    def _begin(self) -> None:
        self._is_under_way, self._is_wanted = True, False
        self._bridge.run(
            asyncio.to_thread(self._look), partial(self._end, self._done), partial(self._end, self._failed)
        )

    def _end(self, tell: Callable[[Any], None] | None, found: object) -> None:
        self._is_under_way = False
        if tell is not None:
            tell(found)
        if self._is_wanted and not self._is_under_way:
            self._begin()


def at_leisure(items: Iterable[T]) -> Iterator[T]:
    """Yield `items` on another thread than Qt's, with pauses in which Qt's own has the interpreter.

    Who computes gives it away every 5 ms only, and a table calls into Python a hundred times to be painted once.
    """
    pause_at = time.monotonic() + AT_WORK
    for item in items:
        yield item
        if time.monotonic() >= pause_at:
            time.sleep(AT_REST)
            pause_at = time.monotonic() + AT_WORK


class _Bell(QObject):
    rung = pyqtSignal()


def wait_for(future: Future[Any]) -> None:
    """Return when `future` is done. Meanwhile Qt goes on, painting too, and hears neither mouse nor keys.

    Whoever ends Electrum meanwhile ends all of Qt's loops, ours too. Then its thread is kept after all, since what the
    future stands for must not be left half way.
    """
    loop, bell = QEventLoop(), _Bell()
    bell.rung.connect(loop.quit, Qt.ConnectionType.QueuedConnection)  # it may be done before the loop runs
    future.add_done_callback(lambda _: bell.rung.emit())
    QGuiApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
    try:
        loop.exec(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
        future.result()
    finally:
        QGuiApplication.restoreOverrideCursor()


def sentence_of(error: BaseException) -> str:
    """Return what a person reads of an error. Commands are told first which argument was wrong (`session_id: …`)."""
    text = str(error) or type(error).__name__
    if isinstance(error, TransientError):
        return _("The payjoin service or the Electrum server cannot be reached.") + f" ({trouble_words(text)})"
    if isinstance(error, OSError):
        return _("The wallet file cannot be saved: {}").format(error.strerror or text)
    argument, _colon, said = text.partition(": ")
    if isinstance(error, UserError):
        text = said if said and argument.isidentifier() else text
        return text[:1].upper() + text[1:]
    return text
