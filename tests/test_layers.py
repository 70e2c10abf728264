"""Who may import whom, and what the core must not touch. Read with `ast` alone: nothing of the package is run.

    entry   __init__  cmdline  qt          imported by Electrum
    gui     gui/
    app     app/
    shell   client/        wallet/         asyncio, aiohttp | electrum           (they don't know each other)
    core    session/
            wire/          bip78/          electrum.crypto | and electrum.transaction, .bitcoin     (nor do these)
            errors

A folder that is not named here belongs to no layer.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "payjoin_plugin"
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
ARCHITECTURE = PACKAGE.parent / "docs" / "architecture.md"
MAX_LINES = 350


@dataclass(frozen=True)
class Layer:
    """What one layer may import: modules of ours, and modules of others. A name covers what is below it."""

    ours: tuple[str, ...]
    others: tuple[str, ...] = ()


CORE_LAYERS = {
    "errors": Layer(ours=()),
    "wire": Layer(ours=("errors", "wire"), others=("electrum.crypto", "electrum_ecc")),
    "bip78": Layer(
        ours=("errors", "bip78"),
        others=("electrum.bitcoin", "electrum.crypto", "electrum.transaction", "electrum_ecc"),
    ),
    "session": Layer(ours=("errors", "wire", "bip78", "session")),
}
CORE = tuple(CORE_LAYERS)
LAYERS = {
    **CORE_LAYERS,
    "faults": Layer(ours=(), others=("electrum.logging",)),
    "client": Layer(ours=(*CORE, "client"), others=("aiohttp", "aiohttp_socks", "yarl")),
    "wallet": Layer(ours=(*CORE, "faults", "wallet"), others=("aiorpcx", "electrum", "electrum_ecc")),
    "app": Layer(ours=(*CORE, "faults", "client", "wallet", "app"), others=("aiohttp", "aiorpcx", "electrum")),
    "gui": Layer(ours=("errors", "faults", "session.status", "app", "gui"), others=("electrum", "PyQt6")),
    "qt": Layer(ours=("errors", "faults", "session.status", "app", "gui"), others=("electrum", "PyQt6")),
    "cmdline": Layer(ours=("app",), others=("electrum",)),
    "__init__": Layer(ours=("errors", "app"), others=("electrum",)),  # and none of ours while it is imported
}

NOT_IN_THE_CORE = {
    *("asyncio", "concurrent", "multiprocessing", "queue", "selectors", "signal", "subprocess", "threading"),
    *("http", "socket", "sqlite3", "ssl", "urllib.request", "webbrowser"),
    *("io", "os", "pathlib", "shutil", "sys", "tempfile"),
    *("locale", "random", "time"),
}
"""Threads, network, disk, process, clock. `secrets` is allowed: a key that nobody gave must come from somewhere."""
CLOCKS = {"now", "today", "utcnow"}

SAFE_STDLIB = set(
    """
    __future__ abc argparse array ast asyncio base64 binascii bisect bz2 calendar codecs collections concurrent
    contextlib contextvars copy csv ctypes dataclasses datetime decimal difflib email enum fnmatch fractions functools
    gettext hashlib heapq hmac html http.client http.cookies importlib.abc importlib.machinery importlib.metadata
    importlib.resources importlib.util inspect io ipaddress itertools json locale logging lzma math mimetypes
    multiprocessing netrc numbers operator os pathlib pickle pkgutil platform pprint queue random re reprlib secrets
    select selectors shlex shutil signal socket sqlite3 ssl stat statistics string struct subprocess sys tempfile
    textwrap threading time traceback types typing unicodedata urllib.error urllib.parse urllib.request
    urllib.response uuid warnings weakref webbrowser zipfile zlib
    """.split()
)
"""Electrum's Windows and macOS programs carry only the modules that Electrum itself imports: these."""
NAMESPACES = {"concurrent", "electrum", "http", "importlib", "urllib"}
"""`from urllib import parse` means the module `urllib.parse`."""


def covers(names: Iterable[str], module: str) -> bool:
    """Whether `module` is one of `names` or below one."""
    return any(module == name or module.startswith(f"{name}.") for name in names)


def breaches(source: str, file: str) -> Iterator[str]:
    """What would be wrong with `source` at `file`, a path inside the package such as `wire/hpke.py`."""
    name = Path(file).parts[0].removesuffix(".py")
    if name not in LAYERS:
        yield f"{file} belongs to no layer"
        return
    if len(source.splitlines()) > MAX_LINES:
        yield f"{file} is longer than {MAX_LINES} lines"
    tree = ast.parse(source)
    package, deferred = Path(file).parent.parts, deferred_nodes(tree)
    for node in ast.walk(tree):
        for what in wrong_with(node, name, package=package, deferred=deferred):
            yield f"{file}:{getattr(node, 'lineno', 0)} {what}"


def wrong_with(node: ast.AST, name: str, *, package: tuple[str, ...], deferred: set[ast.AST]) -> Iterator[str]:
    """What the layer `name` forbids in this one node; `package`: the folders above the file.

    `deferred`: the nodes that are not run when the file is imported.
    """
    match node:
        case ast.Import(names=aliases):
            for alias in aliases:
                yield from wrong_with_theirs(alias.name, name)
        case ast.ImportFrom(level=0, module=str(module)):
            for alias in node.names:
                yield from wrong_with_theirs(f"{module}.{alias.name}" if module in NAMESPACES else module, name)
        case ast.ImportFrom(level=level, module=module):
            above = package[: len(package) - level + 1]
            for below in [module] if module else [alias.name for alias in node.names]:
                yield from wrong_with_ours(".".join((*above, below)), name, deferred=node in deferred)
        case ast.Call(func=ast.Attribute(attr=attr)) if attr in CLOCKS and name in CORE:
            yield f".{attr}() reads the clock: the core is given `now`"
        case ast.Call(func=ast.Name("__import__") | ast.Attribute(attr="import_module")):
            yield "an import that this test cannot follow"


def wrong_with_ours(module: str, name: str, *, deferred: bool) -> Iterator[str]:
    """What the layer `name` forbids about a module of ours."""
    if not covers(LAYERS[name].ours, module):
        yield f"{name} may not import our {module}"
    elif name == "__init__" and not deferred:
        yield "Electrum runs __init__ at every call of its command line: nothing of ours while it is imported"


def wrong_with_theirs(module: str, name: str) -> Iterator[str]:
    """What the layer `name` forbids about a module that is not ours."""
    if module.partition(".")[0] not in sys.stdlib_module_names:
        if not covers(LAYERS[name].others, module):
            yield f"{name} may not import {module}"
    elif not covers(SAFE_STDLIB, module):
        yield f"{module} is missing from Electrum's own programs"
    elif name in CORE and covers(NOT_IN_THE_CORE, module):
        yield f"the core may not import {module}"


def deferred_nodes(tree: ast.Module) -> set[ast.AST]:
    """The nodes that an import of the file does not run: under `if TYPE_CHECKING:`, and in functions."""
    blocks: list[ast.stmt] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            blocks += node.body
    return {inner for statement in blocks for inner in ast.walk(statement)}


@pytest.mark.parametrize("file", FILES)
def test_each_file_keeps_to_its_layer(file: str) -> None:
    assert list(breaches((PACKAGE / file).read_text(encoding="utf-8"), file)) == []


def test_each_file_of_app_uses_what_the_documentation_puts_below_it() -> None:
    block = ARCHITECTURE.read_text(encoding="utf-8").split("<!-- app-order -->")[1]
    rows = [row.split() for row in block.splitlines() if row.startswith("  ")]
    depth = {name: number for number, row in enumerate(rows) for name in row}
    assert sorted(depth) == sorted(path.stem for path in (PACKAGE / "app").glob("*.py") if path.stem != "__init__")
    upward = [
        f"{name} uses {node.module}"
        for name in depth
        for tree in [ast.parse((PACKAGE / "app" / f"{name}.py").read_text(encoding="utf-8"))]
        for node in set(ast.walk(tree)) - deferred_nodes(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1 and depth[str(node.module)] <= depth[name]
    ]
    assert upward == []


@pytest.mark.parametrize("folder", sorted({Path(file).parent.as_posix() for file in FILES}))
def test_each_folder_is_a_package_since_electrum_loads_no_other(folder: str) -> None:
    assert (PACKAGE / folder / "__init__.py").exists()


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("wire/ohttp.py", "import time"),
        ("wire/ohttp.py", "from asyncio import sleep"),
        ("wire/ohttp.py", "def f():\n    import aiohttp"),
        ("wire/ohttp.py", "from electrum import bitcoin, crypto"),
        ("wire/ohttp.py", "from ..bip78.psbt import Psbt"),
        ("wire/ohttp.py", "from .. import session"),
        ("bip78/psbt.py", "from electrum.wallet import Abstract_Wallet"),
        ("bip78/psbt.py", "from electrum import bitcoin, wallet"),
        ("session/log.py", "from electrum import transaction"),
        ("session/log.py", "from datetime import datetime\nstart = datetime.now()"),
        ("session/log.py", "from ..client.runner import run_receiver"),
        ("client/runner.py", "from ..wallet.storage import Storage"),
        ("wallet/storage.py", "from ..client.transport import HttpTransport"),
        ("gui/receive.py", "from ..session.receiver import WaitingForOriginal"),
        ("app/plugin.py", "from PyQt6.QtCore import QObject"),
        ("app/plugin.py", "from ..gui.receive import Toggle"),
        ("app/plugin.py", "import tomllib"),
        ("app/plugin.py", "from http import server"),
        ("app/plugin.py", "from payjoin_plugin.errors import PayjoinError"),
        ("app/plugin.py", "import importlib.util\nimportlib.import_module('x')"),
        ("__init__.py", "from .app.plugin import PayjoinPlugin"),
        ("errors.py", "from .wire.keys import PublicKey"),
        ("helpers/text.py", ""),
        ("wire/hpke.py", "\n" * (MAX_LINES + 1)),
    ],
)
def test_a_breach_is_seen(file: str, source: str) -> None:
    assert len(list(breaches(source, file))) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "__init__.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .app.plugin import X",
        ),
        ("session/log.py", "from . import events, receiver"),
        ("bip78/psbt.py", "from electrum import bitcoin\nfrom electrum.transaction import PartialTransaction"),
        ("gui/receive.py", "from ..session.status import Status\nfrom PyQt6.QtWidgets import QLabel"),
        (
            "client/runner.py",
            "import asyncio\nimport time\nfrom ..session.receiver import apply\nfrom .transport import X",
        ),
    ],
)
def test_what_a_layer_is_for_is_no_breach(file: str, source: str) -> None:
    assert list(breaches(source, file)) == []
