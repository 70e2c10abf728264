"""The archive: the same bytes from every build, nothing in it but code and icon, and Electrum's own loader takes it.

Loading happens in a process of its own (`python -m tests.test_zip`), since Electrum registers a plugin's commands once
in a process.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest
from electrum.plugin import Plugins
from electrum.simple_config import SimpleConfig
from electrum.version import ELECTRUM_VERSION

CHECKOUT = Path(__file__).parent.parent
NAME = "payjoin"
LOADED_AS = f"electrum_external_plugins.{NAME}"
COMMAND_LINE = "command line"
"""Any call of `electrum`: then only `__init__` is run."""


def build(root: Path) -> Path:
    """Run `python setup.py zip` in the checkout `root`, and return the archive that it names."""
    output = subprocess.run(
        [sys.executable, "setup.py", "zip"], cwd=root, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    archive = root / output[0]
    assert output[1] == f"SHA-256 {hash_of(archive)}"
    return archive


def hash_of(archive: Path) -> str:
    return sha256(archive.read_bytes()).hexdigest()


def copy_of_the_checkout(target: Path) -> Path:
    """Copy what the archive is built from."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "payjoin_plugin", target / "payjoin_plugin", ignore=skip)
    for name in ("setup.py", "manifest.json", "LICENSE"):
        shutil.copyfile(CHECKOUT / name, target / name)
    return target


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return build(copy_of_the_checkout(tmp_path / "checkout"))


def test_two_builds_of_the_same_files_are_the_same_bytes(tmp_path: Path) -> None:
    first = copy_of_the_checkout(tmp_path / "first")
    second = copy_of_the_checkout(tmp_path / "second")
    for path in second.rglob("*"):
        os.utime(path, (time.time() - 1e6, time.time() - 1e6))
        path.chmod(0o700)
    assert hash_of(build(first)) == hash_of(build(second))


def test_the_manifest_is_the_first_entry_and_the_only_one_of_its_name(archive: Path) -> None:
    names = ZipFile(archive).namelist()
    assert names[0] == "payjoin_plugin/manifest.json"
    assert [name for name in names if name.endswith("manifest.json")] == names[:1]


def test_nothing_but_code_license_and_icon_gets_into_the_archive(tmp_path: Path) -> None:
    root = copy_of_the_checkout(tmp_path / "checkout")
    clean = ZipFile(build(root)).namelist()
    package = root / "payjoin_plugin"
    (package / "__pycache__").mkdir()
    for stray in ("__pycache__/errors.cpython-311.pyc", "wire/manifest.json", "wire/keys.py~", "notes.txt", ".env"):
        (package / stray).write_text("{}")
    assert ZipFile(build(root)).namelist() == clean
    assert {Path(name).suffix for name in clean[2:]} == {".py", ".png"}
    assert clean[1] == "payjoin_plugin/LICENSE"


@pytest.mark.parametrize("gui", ["cmdline", "qt"])
def test_electrum_loads_the_authorized_archive_and_each_module_of_it(archive: Path, tmp_path: Path, gui: str) -> None:
    found = load(archive, tmp_path / "electrum", gui)
    assert found["electrum"] == "4.8.3"
    assert found["plugin"] == f"{LOADED_AS}.{gui}"
    assert found["icon"] == (CHECKOUT / "payjoin_plugin" / "payjoin.png").stat().st_size
    assert found["modules"] == modules_in(archive, gui)


def test_a_call_of_the_command_line_runs_nothing_of_ours_but_init(archive: Path, tmp_path: Path) -> None:
    assert load(archive, tmp_path / "electrum", COMMAND_LINE)["modules"] == [LOADED_AS]


def test_before_there_is_a_wallet_next_to_nothing_of_ours_is_compiled(archive: Path, tmp_path: Path) -> None:
    names = ("", ".app", ".app.commands", ".app.plugin", ".cmdline", ".errors")
    assert load(archive, tmp_path / "electrum", "cmdline")["at_first"] == [f"{LOADED_AS}{name}" for name in names]


def test_dialogs_are_compiled_when_they_are_opened(archive: Path, tmp_path: Path) -> None:
    at_first = load(archive, tmp_path / "electrum", "qt")["at_first"]
    assert isinstance(at_first, list)
    assert f"{LOADED_AS}.gui.window" in at_first
    later = ("sessions", "session_model", "detail", "settings", "services")
    assert not {f"{LOADED_AS}.gui.{name}" for name in later} & set(at_first)


def test_the_daemon_needs_no_qt(archive: Path, tmp_path: Path) -> None:
    assert not load(archive, tmp_path / "electrum", "cmdline")["qt"]


def test_an_archive_that_was_changed_after_its_authorization_is_not_loaded(archive: Path, tmp_path: Path) -> None:
    authorized = hash_of(archive)
    with ZipFile(archive, "a") as changed:
        changed.writestr("payjoin_plugin/more.py", "")
    assert load(archive, tmp_path / "electrum", "cmdline", authorized=authorized)["modules"] == []


def modules_in(archive: Path, gui: str) -> list[str]:
    """The modules of the archive that an Electrum with this user interface may import, under the names they get."""
    files = [Path(name).relative_to("payjoin_plugin") for name in ZipFile(archive).namelist() if name.endswith(".py")]
    names = [".".join((LOADED_AS, *file.with_suffix("").parts)).removesuffix(".__init__") for file in files]
    only_qt = (f"{LOADED_AS}.qt", f"{LOADED_AS}.gui")
    return sorted(name for name in names if gui == "qt" or not name.startswith(only_qt))


def load(archive: Path, folder: Path, gui: str, *, authorized: str | None = None) -> dict[str, object]:
    """Install the archive as a user would have, in the new data folder `folder`, and start Electrum's plugins on it.

    `authorized`: the hash that the user authorized; the archive's own unless given.
    """
    plugins = folder / "regtest" / "plugins"
    plugins.mkdir(parents=True)
    shutil.copy(archive, plugins)
    wanted = {"gui": gui, "authorized": authorized or hash_of(archive), "modules": modules_in(archive, gui)}
    output = subprocess.run(
        [sys.executable, "-m", "tests.test_zip", folder, json.dumps(wanted)],
        cwd=CHECKOUT,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    found: dict[str, object] = json.loads(output)
    return found


def main(folder: str, gui: str, authorized: str, modules: list[str]) -> dict[str, object]:
    """Load the plugin by Electrum's own loader, import its modules, and say what was loaded."""
    salt = bytes(32)
    private_key = Plugins.derive_privkey("plugin password", salt)
    key_file = Path(folder, "plugins_key")
    key_file.write_text((b"\x01" + salt + private_key.get_public_key_bytes()).hex())
    Plugins.keyfile_posix = str(key_file)  # a user's lies in /etc/electrum
    Plugins._has_root_permissions = lambda _self, _path: (
        True
    )  # and is root's; a test that runs as root has no such file

    config = SimpleConfig({"electrum_path": folder, "regtest": True})
    config.set_key(f"plugins.{NAME}.enabled", value=True)
    config.set_key(f"plugins.{NAME}.authorized", private_key.ecdsa_sign(bytes.fromhex(authorized)).hex())
    if gui == COMMAND_LINE:
        Plugins(config, cmd_only=True)
        plugin, icon, at_first = None, 0, _modules()
    else:
        plugins = Plugins(config, gui_name=gui)
        plugin = plugins.get(NAME)
        at_first = _modules()
        icon = len(plugin.read_file(plugins.get_metadata(NAME).icon)) if plugin else 0
        for module in modules if plugin else ():
            importlib.import_module(module)
    return {
        "electrum": ELECTRUM_VERSION,
        "plugin": type(plugin).__module__,
        "icon": icon,
        "at_first": at_first,
        "modules": _modules(),
        "qt": "PyQt6" in sys.modules,
    }


def _modules() -> list[str]:
    """Return what of ours is imported."""
    return sorted(name for name in sys.modules if name.startswith(LOADED_AS))


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], **json.loads(sys.argv[2]))), flush=True)
    os._exit(0)  # Electrum's plugins are a thread that nothing ends


def test_an_older_python_is_told_so() -> None:
    code = "import sys, electrum.network; sys.version_info = (3, 10, 13); import payjoin_plugin.cmdline"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith("ImportError: Payjoin needs Python 3.11 or newer\n")
