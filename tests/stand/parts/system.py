"""Tools and libraries of the system that other parts need: installed if we are root, else named."""

import os
import shutil
import subprocess
from collections.abc import Mapping

from tests.stand.missing import MissingPart
from tests.stand.parts.cache import locked, say

# What PyQt6's wheels expect of the system; the list is Qt's, for its xcb and offscreen platforms.
QT_LIBRARIES = (
    "libegl1",
    "libgl1",
    "libxkbcommon0",
    "libxkbcommon-x11-0",
    "libdbus-1-3",
    "libxcb-cursor0",
    "libxcb-icccm4",
    "libxcb-keysyms1",
    "libxcb-shape0",
    "libxcb-image0",
    "libxcb-render-util0",
    "libxcb-xinerama0",
    "libfontconfig1",
    "fonts-dejavu-core",
)

# electrum-ecc has no wheel: pip builds libsecp256k1 from its sources. Program -> Debian package.
BUILD_TOOLS = {
    "autoconf": "autoconf",
    "automake": "automake",
    "libtoolize": "libtool",
    "pkg-config": "pkg-config",
    "cc": "gcc",
    "make": "make",
}


def missing_libraries(packages: tuple[str, ...] = QT_LIBRARIES) -> list[str]:
    """List the Debian packages that are not installed; none where Debian's tool isn't (unknown)."""
    if not shutil.which("dpkg-query"):
        return []
    query = ["dpkg-query", "--show", "--showformat=${binary:Package} ${db:Status-Status}\n"]
    answer = subprocess.run([*query, *packages], capture_output=True, text=True, check=False)
    rows = (line.split() for line in answer.stdout.splitlines())
    installed = {row[0].split(":")[0] for row in rows if row[-1] == "installed"}
    return [package for package in packages if package not in installed]


def missing_tools(tools: Mapping[str, str] = BUILD_TOOLS) -> list[str]:
    """List the Debian packages of the programs that are not on PATH."""
    return [package for program, package in tools.items() if not shutil.which(program)]


def install(part: str, packages: list[str]) -> None:
    """Install Debian packages for `part`.

    Raises:
        MissingPart: we may not (not root, not a Debian) or apt couldn't; it names the command.
    """
    if not packages:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    remedy = f"Install it as root: {' '.join(command)}"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MissingPart(f"{part} ({', '.join(packages)})", remedy)
    with locked("apt"):
        say(f"{part}: apt-get install {' '.join(packages)}")
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        # A source that isn't ours may fail to update; whether ours did, the install will tell.
        subprocess.run(["apt-get", "update"], env=env, capture_output=True, check=False)
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingPart(
            f"{part} ({', '.join(packages)})",
            f"{remedy}\napt-get said:\n{done.stderr.strip()[-2000:]}",
        )
