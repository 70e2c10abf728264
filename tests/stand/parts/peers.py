"""The reference peers, built from their published sources: payjoin-cli and payjoin-mailroom."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from tests.stand.missing import MissingPart
from tests.stand.parts.cache import cache_folder, locked, say

VERSIONS = {"payjoin-cli": "1.0.0", "payjoin-mailroom": "0.1.3"}
FEATURES = {
    # `_manual-tls` lets a test's own certificate count.
    "payjoin-cli": ("--no-default-features", "--features", "v1,v2,_manual-tls"),
    "payjoin-mailroom": (),
}
REMEDY = "Build it once: python3 -m tests.stand setup --peers"


def find(name: str) -> Path | None:
    """Find a peer in the cache, in the pinned version."""
    program = _root() / "bin" / name
    listed = _root() / ".crates.toml"  # cargo's own note of what it installed
    if not program.exists() or not listed.exists():
        return None
    return program if f'"{name} {VERSIONS[name]} ' in listed.read_text() else None


def ensure() -> None:
    """Build the peers that are not there.

    Raises:
        MissingPart: there is no cargo, or the build failed.
    """
    left_over = _root() / "target"
    if all(find(name) for name in VERSIONS) and not left_over.exists():
        return
    if not shutil.which("cargo"):
        raise MissingPart(", ".join(VERSIONS), "They are built with Rust 1.85 or newer: put `cargo` on PATH.")
    with locked("rust"):
        for name in VERSIONS:
            if find(name) is None:
                _build(name)
        shutil.rmtree(left_over, ignore_errors=True)  # 0.9 GB of no more use


def _root() -> Path:
    return cache_folder() / "rust"


def _build(name: str) -> None:
    _root().mkdir(parents=True, exist_ok=True)
    # The two share most of their dependencies, and so the folder that those are built in.
    command = ["cargo", "install", "--locked", f"{name}@{VERSIONS[name]}", *FEATURES[name]]
    command += ["--root", ".", "--target-dir", "target"]
    log = _root() / "build.log"
    say(f"{name} {VERSIONS[name]}: building (some minutes); log: {log}")
    started = time.monotonic()
    compiled = 0
    with log.open("a", encoding="utf-8") as kept:
        build = subprocess.Popen(
            command,
            cwd=_root(),
            # cargo's lines are read here: without a terminal's colours.
            env={**os.environ, "CARGO_TERM_COLOR": "never", "CARGO_TERM_PROGRESS_WHEN": "never"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert build.stderr is not None
        for line in build.stderr:
            kept.write(line)
            kept.flush()
            compiled += bool(re.match(r"\s*Compiling ", line))
            if compiled and compiled % 50 == 0 and "Compiling" in line:
                say(f"{name}: {compiled} crates after {time.monotonic() - started:.0f} s")
    if build.wait() != 0 or find(name) is None:
        end = "\n".join(log.read_text(encoding="utf-8").splitlines()[-15:])
        raise MissingPart(
            f"{name} {VERSIONS[name]}",
            f"`{' '.join(command)}` failed; its output is in {log} and ends with:\n{end}",
        )
    say(f"{name}: ready after {time.monotonic() - started:.0f} s")
