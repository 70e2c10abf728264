"""The stand itself: first what it reads and says, then one real payment through all of it."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.stand.electrum_daemon import ElectrumDaemon, ElectrumError
from tests.stand.missing import MissingPart
from tests.stand.parts import cache, electrum, environment, node, peers, system
from tests.stand.parts.debian import Source, debian_mirror, parse_deb822, parse_list
from tests.stand.payjoin_cli import strip_ansi, txid_of, uri_of
from tests.stand.processes import ProcessError, Service, free_port, wait_until
from tests.stand.stand import Stand

REAL = pytest.mark.timeout(180)

PLUGIN = {
    "hello/manifest.json": json.dumps(
        {
            "name": "hello",
            "fullname": "Hello",
            "description": "",
            "author": "",
            "license": "MIT",
            "version": "1.0",
            "available_for": ["cmdline"],
        }
    ),
    "hello/__init__.py": (
        "from electrum.commands import plugin_command\n"
        "@plugin_command('', 'hello')\n"
        "async def world(self, plugin=None):\n"
        "    '''Say hello.'''\n"
        "    return plugin.name\n"
    ),
    "hello/cmdline.py": "from electrum.plugin import BasePlugin\nclass Plugin(BasePlugin): pass\n",
}


def test_sources_of_both_forms_are_read() -> None:
    deb822 = (
        "Types: deb deb-src\n# a note: Types: none\nURIs: http://mirror.example/debian\n"
        "Suites: bookworm\n bookworm-updates\nComponents: main contrib\n"
        "\n\nTypes: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: sid\nComponents: main\n"
    )
    line = (
        "# deb http://no.example/debian sid main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian/ trixie main\n"
    )
    components = ("main", "contrib")
    assert parse_deb822(deb822) == [
        Source("http://mirror.example/debian", "bookworm", components),
        Source("http://mirror.example/debian", "bookworm-updates", components),
    ]
    assert parse_list(line) == [Source("http://m.example/debian/", "trixie", ("main",))]


@pytest.mark.parametrize(
    ("sources", "mirror"),
    [
        ([], None),
        ([Source("http://x.example/apt", "stable", ("main",))], None),
        ([Source("http://d.example/debian-security", "bookworm-security", ("main",))], None),
        (
            [
                Source("http://s.example/debian", "bookworm-security", ("main",)),
                Source("http://d.example/debian/", "bookworm", ("main",)),
            ],
            "http://d.example/debian/",
        ),
        (
            [
                Source("mirror+file:/etc/apt/mirrors/x.list", "trixie", ("main",)),
                Source("mirror+file:/etc/apt/mirrors/x.list", "trixie-updates", ("main",)),
            ],
            "mirror+file:/etc/apt/mirrors/x.list",
        ),
    ],
    ids=["nothing", "another's", "only security", "debian's", "a mirror list"],
)
def test_the_mirror_is_that_of_debians_main_archive(sources: list[Source], mirror: str | None) -> None:
    assert debian_mirror(sources) == mirror


def test_versions_are_read_where_each_part_tells_them() -> None:
    assert electrum.version_in("# no\nELECTRUM_VERSION = '4.8.3'  # the version\n") == "4.8.3"
    assert electrum.version_in("nothing") is None
    assert node.version_in("Bitcoin Knots daemon version v29.4.knots20260508\nCopyright") == "29.4.knots20260508"
    assert node.version_in("Bitcoin Core daemon version v31.0.0 bitcoind") == "31.0.0"
    assert node.version_in("") is None


def test_an_electrum_of_the_system_counts_in_the_right_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "electrum"
    package.mkdir()
    (package / "__init__.py").touch()
    launcher = tmp_path / "bin/electrum"
    launcher.parent.mkdir()
    launcher.write_text("#!/bin/sh\n")
    launcher.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(launcher.parent))
    monkeypatch.syspath_prepend(tmp_path)
    for version, found in (("4.8.1", None), ("4.8.3", electrum.Electrum(tmp_path, launcher))):
        (package / "version.py").write_text(f"ELECTRUM_VERSION = '{version}'\n")
        assert electrum.find() == found


def test_an_older_node_on_path_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bitcoind"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for version, counts in (("28.1.0", False), ("29.0.0", True), ("31.0.0", True)):
        program.write_text(f"#!/bin/sh\necho Bitcoin Core daemon version v{version}\n")
        program.chmod(0o755)
        assert (node.find() is not None) is counts


def test_only_the_pinned_peers_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = cache.cache_folder() / "rust"
    (root / "bin").mkdir(parents=True)
    (root / "bin/payjoin-cli").touch()
    for version, counts in (("0.9.0", False), ("1.0.01", False), ("1.0.0", True)):
        (root / ".crates.toml").write_text(f'[v1]\n"payjoin-cli {version} (registry+x)" = ["payjoin-cli"]\n')
        assert (peers.find("payjoin-cli") is not None) is counts


def test_every_requirement_is_pinned() -> None:
    rows = [row for row in environment.REQUIREMENTS.read_text().splitlines() if row and not row.startswith("#")]
    assert all("==" in row for row in rows)
    assert len(rows) > 40


def test_a_missing_part_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingPart, match=r"libfoo1.*is missing") as caught:
        system.install("Qt's libraries", ["libfoo1"])
    assert "as root: apt-get install" in caught.value.remedy
    assert caught.value.name == "Qt's libraries (libfoo1)"


def test_a_folder_is_in_the_cache_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def half(folder: Path) -> None:
        (folder / "half").touch()
        raise MissingPart("part", "remedy")

    with pytest.raises(MissingPart):
        cache.bring_folder("part", half)
    assert not (cache.cache_folder() / "part").exists()
    found = cache.bring_folder("part", lambda folder: (folder / "whole").touch())
    assert [path.name for path in found.iterdir()] == ["whole"]
    assert cache.bring_folder("part", half) == found  # not filled again


def test_terminal_colours_are_taken_out() -> None:
    assert strip_ansi("\x1b[2m2026\x1b[0m \x1b[33m WARN\x1b[0m x") == "2026  WARN x"


def test_a_process_that_dies_early_is_said_with_the_end_of_its_log(tmp_path: Path) -> None:
    service = Service("oops", ["sh", "-c", "echo I have no config; exit 3"], log=tmp_path / "oops.log")
    with pytest.raises(ProcessError, match=r"(?s)oops: ended \(exit code 3\) before it is up.*I have no config"):
        wait_until(lambda: False, what="it is up", services=[service])
    assert service.wait() == 3


def test_nothing_is_left_when_the_runner_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tests.stand.processes import Service\n"
        "print(Service('s', ['sleep', '600'], log=Path(sys.argv[1])).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", script, str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        pid = int(runner.stdout.readline())
        # Until `setpriv` has asked for it, nobody is told of the runner's end.
        wait_until(lambda: Path(f"/proc/{pid}/comm").read_text().strip() == "sleep", what="the service runs")
        runner.send_signal(signal.SIGKILL)
    wait_until(lambda: not _alive(pid), what="the service of a killed runner is gone", seconds=30)


def test_free_ports_are_not_those_of_outgoing_connections() -> None:
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(free_port() < low for _ in range(20))


@REAL
def test_a_payment_reaches_a_daemon_and_survives_its_death() -> None:
    with Stand() as stand:
        daemon = stand.electrum("receiver")
        assert daemon.rpc("version") == electrum.VERSION
        stand.fund(daemon, 70_000, 50_000)
        assert daemon.balance_sat(confirmed=True) == 120_000

        daemon.kill()
        daemon.start()
        daemon.load_wallet()
        daemon.wait_synced()
        assert daemon.balance_sat() == 120_000

        with pytest.raises(ElectrumError, match="wallet not loaded"):
            daemon.rpc("getbalance", wallet_path="/nowhere")
        with pytest.raises(ElectrumError, match="is there such a command"):
            daemon.rpc("nonsense")
        processes = [stand.node.service, stand.server.service, daemon.service]
    assert all(process is not None and not process.running for process in processes)
    assert not stand.folder.exists()


@REAL
def test_a_plugin_is_installed_and_believed_and_a_changed_one_is_not(tmp_path: Path) -> None:
    with Stand() as stand:
        plugin = _zip(tmp_path / "hello.zip")
        daemon = stand.electrum("receiver", plugin=plugin)
        assert daemon.rpc("hello_world") == "hello"

        daemon.stop()
        _zip(daemon.data / "plugins" / "hello.zip", note="changed behind the person's back")
        daemon.start()
        with pytest.raises(ElectrumError, match="hello_world"):
            daemon.rpc("hello_world")

        daemon.stop()
        daemon.install(_zip(tmp_path / "hello-2.zip", note="a new version"))
        daemon.start()
        wait_until(lambda: _greeting(daemon) == "hello", what="the plugin answers")  # Electrum answers before it does


def _greeting(daemon: ElectrumDaemon) -> str | None:
    try:
        return str(daemon.rpc("hello_world"))
    except ElectrumError:
        return None


@REAL
def test_a_plugin_that_does_not_load_is_said(tmp_path: Path) -> None:
    broken = _zip(tmp_path / "hello.zip", code="import nothing_of_this_name\n")
    with pytest.raises(ProcessError, match="could not load the plugin"), Stand(tmp_path / "stand") as stand:
        stand.electrum("receiver", plugin=broken)


@REAL
def test_the_reference_peers_pay_each_other_by_payjoin() -> None:
    if not all(peers.find(name) for name in peers.VERSIONS):
        pytest.skip(peers.REMEDY)
    with Stand(mailroom=True) as stand:
        alice, bob = stand.payjoin_cli("alice", 100_000), stand.payjoin_cli("bob", 300_000)
        receiving = bob.receive(20_000)
        sending = alice.send(uri_of(receiving))
        transaction = stand.node.transaction(txid_of(sending))
        assert sending.wait() == 0
        assert sorted(spent["prevout"]["value"] for spent in transaction["vin"]) == [0.001, 0.003]
        receiving.wait_for("Response successful")
        stand.node.mine()
        assert any("Sender" in line and "success" in line.lower() for line in alice.history())


def _zip(path: Path, note: str = "", code: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in PLUGIN.items():
            archive.writestr(name, code + text if name.endswith("__init__.py") else text)
        archive.comment = note.encode()
    return path


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
