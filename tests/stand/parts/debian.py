"""Packages of a newer Debian, fetched with a private apt: nothing of the system is touched.

apt itself checks the archive's signature (Debian's keyring) and every package's hash. The mirror is
the one that this machine's own apt uses.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.stand.missing import MissingPart

SUITES = "forky sid"
SOURCES = Path("/etc/apt")
KEYRINGS = tuple(Path("/usr/share/keyrings") / f"debian-archive-keyring.{end}" for end in ("gpg", "pgp"))


@dataclass(frozen=True)
class Source:
    """One archive that the machine's apt uses."""

    uri: str
    suite: str
    components: tuple[str, ...]


class PrivateApt:
    """An apt with its own lists, status and cache, all inside `folder`."""

    def __init__(self, folder: Path, part: str) -> None:
        """Prepare the folder; `part` is who it is for, in error messages."""
        self._part = part
        if not shutil.which("apt-get") or not shutil.which("dpkg"):
            raise MissingPart(part, "Its packages are Debian's and this machine has no apt-get.")
        mirror = debian_mirror(machine_sources())
        keyring = next((path for path in KEYRINGS if path.exists()), None)
        if mirror is None or keyring is None:
            raise MissingPart(
                part,
                "Its packages are Debian's, and this machine's apt sources name no Debian mirror"
                " (or the package debian-archive-keyring is not installed).",
            )
        for name in ("state/lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()  # an empty one: a download then brings the whole closure
        (folder / "debian.sources").write_text(
            f"Types: deb\nURIs: {mirror}\nSuites: {SUITES}\nComponents: main\nSigned-By: {keyring}\n"
        )
        self._archives = folder / "cache/archives"
        self._options = _options(folder)
        self._run("update")

    def versions(self, package: str) -> list[str]:
        """List the versions of `package` on the mirror, newest first."""
        rows = self._run("madison", package, program="apt-cache").splitlines()
        return [row.split("|")[1].strip() for row in rows]

    def download(self, package: str, version: str, *, closure: bool) -> list[Path]:
        """Download a package (with `closure` all that it depends on) and return the files."""
        if closure:
            self._run(
                *("install", "--download-only", "--yes", "--no-install-recommends"),
                f"{package}={version}",
            )
        else:
            self._run("download", f"{package}={version}", folder=self._archives)
        return sorted(self._archives.glob("*.deb" if closure else f"{package}_*.deb"))

    def _run(self, *words: str, program: str = "apt-get", folder: Path | None = None) -> str:
        done = subprocess.run(
            [program, *self._options, *words],
            cwd=folder,
            # The machine's own apt settings (proxy, certificates) stay in force.
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise MissingPart(
                self._part,
                f"`{program} {' '.join(words)}` failed: {done.stderr.strip()[-1000:]}",
            )
        return done.stdout


def unpack(packages: Iterable[Path], folder: Path) -> None:
    """Unpack Debian packages side by side, running none of their scripts."""
    for package in packages:
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)


def machine_sources() -> list[Source]:
    """Read what archives this machine's apt uses, in both forms of its source files."""
    found: list[Source] = []
    for path in (SOURCES / "sources.list", *sorted((SOURCES / "sources.list.d").glob("*"))):
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".sources":
            found += parse_deb822(text)
        elif path.suffix == ".list":
            found += parse_list(text)
    return found


def parse_deb822(text: str) -> list[Source]:
    """Read the stanzas of a `.sources` file."""
    found = []
    for stanza in text.split("\n\n"):
        fields: dict[str, list[str]] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():  # goes on with the field above
                fields.setdefault(key, []).extend(line.split())
            elif ":" in line:
                name, value = line.split(":", 1)
                key = name.strip().lower()
                fields[key] = value.split()
        if "deb" in fields.get("types", []) and fields.get("enabled") != ["no"]:
            components = tuple(fields.get("components", []))
            found += [
                Source(uri, suite, components) for uri in fields.get("uris", []) for suite in fields.get("suites", [])
            ]
    return found


def parse_list(text: str) -> list[Source]:
    """Read the lines of a `.list` file: `deb [options] uri suite component …`."""
    found = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        if not words or words[0] != "deb":
            continue
        if len(words) > 1 and words[1].startswith("["):
            end = next((i for i, word in enumerate(words) if word.endswith("]")), len(words))
            words = ["deb", *words[end + 1 :]]
        if len(words) > 2:
            found.append(Source(words[1], words[2], tuple(words[3:])))
    return found


def debian_mirror(sources: Iterable[Source]) -> str | None:
    """Pick the mirror of Debian's main archive: its path ends in `debian`, security's doesn't."""
    for source in sources:
        path = source.uri.rstrip("/")
        plain = "-security" not in source.suite and "-backports" not in source.suite
        if "main" in source.components and plain and path.rsplit("/", 1)[-1] == "debian":
            return source.uri
    # A mirror list (`mirror+file:…`) or an odd path: what serves a suite with its updates.
    updated = {s.uri for s in sources if s.suite.endswith("-updates") and "main" in s.components}
    return min(updated, default=None)


def _options(folder: Path) -> list[str]:
    settings = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::SourceList": folder / "debian.sources",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Acquire::Languages": "none",
        # Files for desktop catalogues, as large as the package lists themselves.
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        # The user _apt may not read the private folder; without this apt warns and does it anyway.
        "APT::Sandbox::User": "root",
        # Installed hooks of the machine (desktop catalogues again) are none of our business.
        "APT::Update::Post-Invoke-Success::": "",
        "Debug::NoLocking": "true",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
