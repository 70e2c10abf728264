"""The folder where the parts are kept, and how a part gets into it whole or not at all."""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """Say where the parts are kept: in the user's cache, outside the checkout, one for all clones."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "payjoin-electrum"


def say(line: str) -> None:
    """Show a line of progress; on stderr, so that a command's own output stays clean."""
    print(f"[stand] {line}", file=sys.stderr, flush=True)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process at a time bring the part `name`; the system frees the lock if it dies."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{name}: another process is bringing it, waiting for that one")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def bring_folder(name: str, fill: Callable[[Path], None]) -> Path:
    """Return the cache's folder `name`, filled by `fill` if it isn't there yet.

    It is filled under another name and renamed when complete, so a folder that has the name is whole.
    """
    target = cache_folder() / name
    if target.exists():
        return target
    with locked(name):
        if target.exists():  # the process that we waited for has brought it
            return target
        draft = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target.parent))
        try:
            fill(draft)
            draft.chmod(0o755)
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return target
