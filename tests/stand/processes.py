"""Processes that a test or the demo starts: each with its log, ready by a deadline, never left over."""

import atexit
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.stand.missing import MissingPart

POLL = 0.02  # seconds between two looks at something that we wait for
LOG_TAIL = 25  # lines of the log that an error shows

# Below the range from which the system takes ports for outgoing connections, so that none of those
# takes a port between our look and the process's start.
PORTS = range(20000, 32000)

# payjoin-cli, the directory and the relay need one or two descriptors a session.
OPEN_FILES = 8192


class ProcessError(Exception):
    """A process didn't start, died, or didn't do what was waited for; the text ends with its log."""


def free_port() -> int:
    """Find a port on loopback that nobody listens on."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def wait_until(
    ready: Callable[[], bool], *, what: str, seconds: float = 30, services: Sequence["Service"] = ()
) -> None:
    """Look again and again until `ready()`; end early if one of `services` is gone.

    Raises:
        ProcessError: the deadline has passed; it says what was waited for, with the logs' ends.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        for service in services:
            if not service.running:
                raise service.error(f"ended (exit code {service.returncode}) before {what}")
        if time.monotonic() > deadline:
            if services:
                raise services[0].error(f"not within {seconds:g} s: {what}")
            raise ProcessError(f"not within {seconds:g} s: {what}")
        time.sleep(POLL)


class Service:
    """One process of the stand and its log file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Start it; `log` gets both its outputs, appended after those of an earlier start."""
        self.name = name
        self.log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        self._ended_at: float | None = None
        self._ended = threading.Event()
        self.started_at = time.monotonic()
        self._process = _spawner().submit(_spawn, command, log, env, folder).result()
        _all_services.add(self)
        threading.Thread(target=self._watch, name=f"watch {name}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it hasn't ended yet."""
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """Its exit code, if it has ended."""
        return self._process.poll()

    @property
    def duration(self) -> float:
        """Seconds from its start to its end, or until now."""
        return (self._ended_at or time.monotonic()) - self.started_at

    @property
    def output(self) -> str:
        """What it has said since this start."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def wait(self, seconds: float = 60) -> int:
        """Wait for its end and return the exit code."""
        if not self._ended.wait(seconds):
            raise self.error(f"still running after {seconds:g} s")
        return self._process.wait()

    def send(self, what: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(what)

    def stop(self, *, by: signal.Signals = signal.SIGTERM, seconds: float = 15) -> None:
        """Ask it to end, and kill it if it doesn't; nothing if it has ended."""
        if self.running:
            self._process.send_signal(by)
            if not self._ended.wait(seconds):
                self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL)."""
        self._process.kill()
        self._ended.wait()

    def error(self, message: str) -> ProcessError:
        """Make an error that says whose it is and how its log ends."""
        tail = "\n".join(f"    {line}" for line in self.output.splitlines()[-LOG_TAIL:])
        return ProcessError(f"{self.name}: {message}\n  {self.log} ends with:\n{tail}")

    def _watch(self) -> None:
        self._process.wait()
        self._ended_at = time.monotonic()
        self._ended.set()


_all_services: "weakref.WeakSet[Service]" = weakref.WeakSet()
_spawners: list[ThreadPoolExecutor] = []
_spawners_lock = threading.Lock()


def _spawner() -> ThreadPoolExecutor:
    # The system kills a child (PR_SET_PDEATHSIG) when the *thread* that started it ends. So one
    # thread, which lives as long as we do, starts them all: else a service started in a worker
    # thread of asyncio would die with the loop.
    with _spawners_lock:
        if not _spawners:
            _spawners.append(ThreadPoolExecutor(1, thread_name_prefix="stand-spawner"))
        return _spawners[0]


def _spawn(
    command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None, folder: Path | None
) -> "subprocess.Popen[bytes]":
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise MissingPart("setpriv", "Install it as root: apt-get install util-linux")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            # setpriv becomes the command; so the end of the test runner, even by SIGKILL, ends it.
            [setpriv, "--pdeathsig", "KILL", "--", *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=dict(os.environ if env is None else env),
            start_new_session=True,  # Ctrl-C reaches us, and we stop them in order
        )


@atexit.register
def _stop_all() -> None:
    for service in list(_all_services):
        if service.running:
            service.kill()
