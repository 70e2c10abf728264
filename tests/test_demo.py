"""`make demo` as a person runs it: it tells what it promised, and it leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stand.parts import peers
from tests.stand.processes import wait_until

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.timeout(240)


DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")


@contextmanager
def running(folder: Path, *options: str, window: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Start the demo; all that it makes, it makes in `folder`. Its window is a real one that nobody sees."""
    command = [sys.executable, "-m", "tests.demo", *options]
    env = {name: value for name, value in os.environ.items() if name not in DISPLAYS} | {"TMPDIR": str(folder)}
    if window:
        env["QT_QPA_PLATFORM"] = "offscreen"
    with (
        (folder / "output").open("w") as output,
        subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT, text=True) as demo,
    ):
        try:
            yield demo
        finally:
            demo.kill()


def told(folder: Path) -> str:
    return (folder / "output").read_text()


def when_told(demo: subprocess.Popen[str], folder: Path, words: str) -> None:
    wait_until(lambda: words in told(folder) or demo.poll() is not None, what=words, seconds=60)
    assert demo.poll() is None, told(folder)


def processes_of(folder: Path) -> dict[int, str]:
    """Whoever works in `folder`: the demo, and what it started."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (process / "environ").read_text(), (process / "cmdline").read_text()
        except (OSError, UnicodeDecodeError):
            continue  # another's, or gone
        if f"TMPDIR={folder}\0" in environment or str(folder) in command:
            found[int(process.name)] = command.replace("\0", " ")
    return found


def nothing_is_left(folder: Path) -> None:
    assert processes_of(folder) == {}
    assert [path.name for path in folder.iterdir()] == ["output"]


def told_to_the_end(folder: Path, *options: str, window: bool = False) -> str:
    """Run the demo to its end, and return what it told."""
    if "--peers" in options and peers.find("payjoin-cli") is None:
        pytest.skip("payjoin-cli is not here")
    with running(folder, *options, window=window) as demo:
        demo.wait()
    text = told(folder)
    assert demo.returncode == 0, text
    assert max(map(len, text.splitlines())) <= 100
    nothing_is_left(folder)
    return text


def says(text: str, *patterns: str) -> None:
    for pattern in patterns:
        assert re.search(pattern, text, re.MULTILINE), f"{pattern} is missing in:\n{text}"


@pytest.mark.parametrize("options", [(), ("--peers",)], ids=["python", "rust"])
def test_it_tells_a_whole_payjoin(tmp_path: Path, options: tuple[str, ...]) -> None:
    text = told_to_the_end(tmp_path, *options)
    says(
        text,
        r"^3  Alice pays$",
        r"^   bitcoin:bcrt1q\w+ +Bob's address$",
        r"^   &pj=HTTP://127\.0\.0\.1:\d+/[0-9A-Z]{13} ",
        r"^   transaction [0-9a-f]{64}$",
        r"^   in +Alice +bcrt1q\w+ +2,000,000 ",
        r"^   in +Bob +bcrt1q\w+ +[53],000,000 ",
        r"^   [0-9:]{8}   CommittedContribution   Adding your coin [0-9a-f]{8}…[0-9a-f]{8}:\d",
        r"^   [0-9:]{8}   Closed +Paid by payjoin$",
        r"^   payjoin.received_sat +\d\d,\d{3} ",
        r"^   coffee +Paid +completed ",
        r"^   tea +Paid +paid_without_payjoin +20,000$",
        r"^   ✓ Bob has exactly the amount more, less his share of the fee$",
        r"^Done: \d+\.\d s in all\. Nothing is left running\.$",
    )
    assert "offer_in_commands" in text
    assert "\x1b" not in text  # a file is no terminal


@pytest.mark.parametrize("options", [(), ("--peers",)], ids=["python", "rust"])
def test_with_a_display_the_window_shows_it(tmp_path: Path, options: tuple[str, ...]) -> None:
    text = told_to_the_end(tmp_path, *options, window=True)
    says(
        text,
        r"^   window +“Waiting for the sender to pay · \d\d.h.\d+.min.left”$",
        r"^   ✓ beside it stands the link, with payjoin, and its QR code$",
        r"^   window +“Paid by payjoin: \d\.\d+ mBTC, your share of the fee \d+ sat\.”$",
        r"^   tea +Paid +paid_without_payjoin +20,000$",
        r"^   ✓ the window's history marks the payjoin, and it alone$",
    )
    assert "offer_in_commands" not in text


def test_the_window_can_be_left_out(tmp_path: Path) -> None:
    with running(tmp_path, "--no-window", window=True) as demo:
        when_told(demo, tmp_path, "the daemon, with payjoin")
        demo.send_signal(signal.SIGINT)
        assert demo.wait() == 128 + signal.SIGINT


def test_whoever_interrupts_it_before_its_window_finds_nothing_left(tmp_path: Path) -> None:
    with running(tmp_path, window=True) as demo:
        when_told(demo, tmp_path, "Waiting for the sender to pay")
        demo.send_signal(signal.SIGINT)
        assert demo.wait() == 128 + signal.SIGINT
    nothing_is_left(tmp_path)


def test_whoever_interrupts_it_finds_nothing_left(tmp_path: Path) -> None:
    with running(tmp_path) as demo:
        when_told(demo, tmp_path, "relay ")
        demo.send_signal(signal.SIGINT)
        assert demo.wait() == 128 + signal.SIGINT
    assert told(tmp_path).endswith("\nInterrupted. Nothing is left running.\n")
    assert "Traceback" not in told(tmp_path)
    nothing_is_left(tmp_path)


def test_when_it_fails_it_says_why_and_where_the_logs_are(tmp_path: Path) -> None:
    with running(tmp_path) as demo:
        when_told(demo, tmp_path, "Bob        is paid")
        [node] = [number for number, command in processes_of(tmp_path).items() if "-regtest=1" in command]
        os.kill(node, signal.SIGKILL)
        assert demo.wait() == 1
    text = told(tmp_path)
    assert "This went wrong: " in text
    found = re.search(r"^Nothing is left running\. The logs: (.*)$", text, re.MULTILINE)
    assert found is not None, text
    assert {"demo.log", "node.log", "server.log", "electrum-bob.log"} <= {log.name for log in Path(found[1]).iterdir()}
    assert processes_of(tmp_path) == {}
