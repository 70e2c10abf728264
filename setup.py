"""Build the archive that Electrum installs, or set the checkout up for development.

    python setup.py zip        dist/payjoin-<version>.zip: prints its path and its SHA-256
    pip install -e .[test]     the package and the tools of its tests, without Electrum (`make` brings both)

Electrum's user authorizes the hash of the archive, so the archive must have the same bytes wherever and whenever it is
built: sorted names, one fixed date, fixed permissions, stored and not compressed. Name, version and texts stand in
`manifest.json` and nowhere else. `zip` needs nothing but Python.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from zipfile import ZipFile, ZipInfo

PACKAGE = "payjoin_plugin"
ICON = "payjoin.png"
UNIX = 3
"""ZipInfo.create_system; Python would otherwise write down which system built the archive."""
READABLE = 0o644 << 16


def read_manifest(root: Path) -> dict[str, str]:
    """The manifest of the checkout at `root`; of its fields only texts are used here."""
    manifest: dict[str, str] = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def archive_members(root: Path) -> list[tuple[str, Path]]:
    """Name and source of each member: the manifest and the license, then code and icon. Nothing else ever gets in.

    Electrum takes the first entry that ends in `manifest.json` for the manifest, and its folder for the package.
    """
    package = root / PACKAGE
    sources = sorted(path.relative_to(root).as_posix() for path in [*package.rglob("*.py"), package / ICON])
    beside = [(f"{PACKAGE}/{name}", root / name) for name in ("manifest.json", "LICENSE")]
    return [*beside, *((name, root / name) for name in sources)]


def build_zip(root: Path) -> Path:
    """Write the archive into `dist/` and return its path."""
    manifest = read_manifest(root)
    target = root / "dist" / f"{manifest['name']}-{manifest['version']}.zip"
    target.parent.mkdir(exist_ok=True)
    with ZipFile(target, "w") as archive:
        for name, source in archive_members(root):
            member = ZipInfo(name)  # its default date is 1980-01-01, its default method is stored
            member.create_system = UNIX
            member.external_attr = READABLE
            archive.writestr(member, source.read_bytes())
    return target


def main(root: Path) -> None:
    """`zip` is ours; every other command is setuptools'."""
    if sys.argv[1:] == ["zip"]:
        target = build_zip(root)
        print(target.relative_to(root).as_posix())
        print(f"SHA-256 {hashlib.sha256(target.read_bytes()).hexdigest()}")
        return

    from setuptools import find_packages, setup  # noqa: PLC0415  `zip` must work where setuptools is missing

    manifest = read_manifest(root)
    setup(
        name="electrum-payjoin",
        version=manifest["version"],
        description=manifest["description"],
        author=manifest["author"],
        license=manifest["license"],
        python_requires=">=3.11",
        packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
        package_data={PACKAGE: [ICON]},
        extras_require={"test": ["coverage", "hypothesis", "mypy", "pytest", "pytest-timeout", "pytest-xdist", "ruff"]},
    )


if __name__ == "__main__":
    main(Path(__file__).resolve().parent)
