"""The Python environment: every package that Electrum, the tests and the checks need, pinned."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.stand.missing import MissingPart
from tests.stand.parts import electrum, system
from tests.stand.parts.cache import cache_folder, locked, say

REQUIREMENTS = Path(__file__).parents[1] / "requirements.txt"


def folder() -> Path:
    """Name the environment's folder: other pins or another Python make another one."""
    key = hashlib.sha256(REQUIREMENTS.read_bytes())
    # Inside the environment, sys.base_prefix is still the Python that it was made with.
    key.update(f"{sys.version} {sys.base_prefix}".encode())
    return cache_folder() / f"python-{key.hexdigest()[:12]}"


def find() -> Path | None:
    """Return the environment's folder if it is complete."""
    return folder() if _mark(folder()).exists() else None


def ensure() -> Path:
    """Find the environment or build it, with Electrum's modules on its path."""
    found = find() or _build()
    source = electrum.ensure().modules
    # A .pth file's folders come after the environment's own, so its pins win over what else lies
    # in a system's folder of packages.
    path_file = next(found.glob("lib/python3*/site-packages")) / "electrum-of-the-stand.pth"
    if not path_file.exists() or path_file.read_text().strip() != str(source):
        path_file.write_text(f"{source}\n")
    return found


def python() -> Path:
    """Return the environment's Python."""
    return folder() / "bin/python"


def variables(base: dict[str, str] | None = None) -> dict[str, str]:
    """Return process variables with which a command finds the environment's programs first."""
    env = dict(os.environ if base is None else base)
    env.pop("PYTHONHOME", None)
    env["VIRTUAL_ENV"] = str(folder())
    env["PATH"] = f"{folder() / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"
    return env


def _mark(environment: Path) -> Path:
    # An environment can't be built elsewhere and renamed: its scripts hold its path. So it is
    # complete when this file, written last, is there.
    return environment / "complete"


def _build() -> Path:
    target = folder()
    if importlib.util.find_spec("ensurepip") is None:
        system.install("Python's venv module", ["python3-venv"])
    system.install("the tools to build electrum-ecc", system.missing_tools())
    with locked("python"):
        if _mark(target).exists():
            return target
        shutil.rmtree(target, ignore_errors=True)
        say("Python environment: installing the pinned packages (about a minute)")
        started = time.monotonic()
        log = cache_folder() / "python.log"
        with log.open("wb") as output:
            for command in (
                [sys.executable, "-m", "venv", str(target)],
                [str(target / "bin/python"), *("-m pip install --no-input --no-deps -r".split()), str(REQUIREMENTS)],
            ):
                done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
                if done.returncode != 0:
                    end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                    raise MissingPart(
                        "the Python environment",
                        f"`{' '.join(command)}` failed; its output is in {log} and ends with:\n{end}",
                    )
        _mark(target).touch()
        say(f"Python environment: ready after {time.monotonic() - started:.0f} s")
    return target
