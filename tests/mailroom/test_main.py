"""`python -m tests.mailroom`, as a person and the demo start it."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.mailroom", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def read_url(started: subprocess.Popen[str], role: str) -> str:
    assert started.stdout is not None
    word, _, url = started.stdout.readline().strip().partition(" ")
    assert word == role
    return url.strip()


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_it_says_where_it_is_and_ends_when_asked(by: signal.Signals) -> None:
    with process("--relays", "2", "--no-v1") as started:
        directory, *relays = (read_url(started, role) for role in ("directory", "relay", "relay"))
        for url in (directory, *relays):
            with urllib.request.urlopen(url + "/health") as response:  # noqa: S310 - it is http on loopback
                assert response.read() == b'{"versions":[2]}'
        started.send_signal(by)
        assert started.wait() == 0
        assert started.communicate()[1] == ""


def test_a_port_that_is_taken_is_said() -> None:
    with process() as first:
        port = read_url(first, "directory").rpartition(":")[2]
        with process("--directory-port", port) as second:
            assert second.wait() == 1
            assert port in second.communicate()[1]
