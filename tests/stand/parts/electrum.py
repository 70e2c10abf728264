"""Electrum 4.8.3 as Debian ships it: the modules and the launcher, unpacked into the cache.

It isn't on PyPI, and the Debian releases have other versions. An importable Electrum of the right
version is used as it is.
"""

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from tests.stand.missing import MissingPart
from tests.stand.parts.cache import bring_folder, cache_folder, say
from tests.stand.parts.debian import PrivateApt, unpack

VERSION = "4.8.3"
DEBIAN_VERSION = "4.8.3+dfsg-1"
# apt checks Debian's signature; these say that it is the very build that we tested.
SHA256 = {
    "electrum": "9aa8d18a213e6b93ca5f895a11429e72d5ff9ed429f592e4f8ec402ea2e20a2e",
    "python3-electrum": "0532c2482ee589e60e0730574a66fdfe7d200c895167a6b11cba72d5a1b9eb55",
}
REMEDY = f"Make Electrum {VERSION} importable for the Python that runs this, with its launcher `electrum` on PATH."


@dataclass(frozen=True)
class Electrum:
    """Where an Electrum lies."""

    modules: Path  # the folder that goes onto the module path
    launcher: Path  # the script that is run as `electrum`


def find() -> Electrum | None:
    """Find the Electrum in the cache, or one of the system in the right version."""
    return _cached() or _importable()


def ensure() -> Electrum:
    """Find Electrum or fetch it.

    Raises:
        MissingPart: the mirror has no such version, or there is no mirror.
    """
    found = find()
    if found is None:
        bring_folder(f"electrum-{VERSION}", _fetch)
        found = _cached()
    if found is None:
        raise MissingPart(f"Electrum {VERSION}", REMEDY)
    return found


def version_in(text: str) -> str | None:
    """Read the version out of Electrum's `version.py`."""
    found = re.search(r"^ELECTRUM_VERSION\s*=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    return found and found[1]


def _cached() -> Electrum | None:
    root = cache_folder() / f"electrum-{VERSION}"
    found = Electrum(root / "usr/lib/python3/dist-packages", root / "usr/bin/electrum")
    return found if found.launcher.exists() else None


def _importable() -> Electrum | None:
    spec = PathFinder.find_spec("electrum")  # finds it without running it
    launcher = shutil.which("electrum")
    if spec is None or spec.origin is None or launcher is None:
        return None
    package = Path(spec.origin).parent
    version = package / "version.py"
    if not version.exists() or version_in(version.read_text()) != VERSION:
        return None
    return Electrum(package.parent, Path(launcher))


def _fetch(target: Path) -> None:
    name = f"Electrum {VERSION}"
    say(f"{name}: fetching Debian's packages (5 MB, and 20 MB of package lists)")
    with tempfile.TemporaryDirectory() as folder:
        apt = PrivateApt(Path(folder), name)
        for package, expected in SHA256.items():
            if DEBIAN_VERSION not in (there := apt.versions(package)):
                raise MissingPart(
                    f"{name} (Debian's {package} {DEBIAN_VERSION})",
                    f"The mirror now has {', '.join(there) or 'none'}. {REMEDY}",
                )
            (deb,) = apt.download(package, DEBIAN_VERSION, closure=False)
            found = hashlib.sha256(deb.read_bytes()).hexdigest()
            if found != expected:
                raise MissingPart(
                    f"{name} (Debian's {package} {DEBIAN_VERSION})",
                    f"The mirror's file is not the one that we pinned: SHA-256 {found}, expected"
                    f" {expected}. Don't use it; tell us.",
                )
            unpack([deb], target)
