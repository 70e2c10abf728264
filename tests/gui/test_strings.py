"""Whatever a person reads in the window goes through Electrum's `_()`, and none of it is read as HTML."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from payjoin_plugin.app import settings, trouble

PACKAGE = Path(__file__).parents[2] / "payjoin_plugin"
FILES = sorted(
    [
        *(PACKAGE / "gui").glob("*.py"),
        *(
            PACKAGE / "app" / f"{name}.py"
            for name in "offering settling originals view settings services trouble".split()
        ),
    ]
)
"""Those that a window shows."""
WORDS = re.compile(r"[A-Za-z]{2,}[ …].*[A-Za-z]|[A-Z][a-z]+")
"""A sentence, or a word with a capital."""
NOT_READ = {"getLogger", "get_logger", "own_fault", "exception", "error", "warning", "info", "debug", "AssertionError"}
"""Functions whose text goes to the log file."""


def is_of(value: ast.expr, key: ast.expr) -> bool:
    """Whether `value` is `key` through `_()`."""
    return ast.unparse(value) == f"_({ast.unparse(key)})"


def untranslated(source: str) -> Iterator[str]:
    """The texts in a file that look like words for a person and do not go through `_()`."""
    tree = ast.parse(source)
    fine: set[ast.AST] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name == "_" or name in NOT_READ:
                fine |= set(ast.walk(node))
            case ast.Dict():  # the untranslated sentence, beside its translation
                fine |= {key for key, value in zip(node.keys, node.values, strict=True) if key and is_of(value, key)}
            case ast.Expr(value=ast.Constant()):
                fine.add(node.value)  # a docstring
            case ast.Assert(msg=ast.expr() as message):
                fine |= set(ast.walk(message))
            case ast.AnnAssign(annotation=annotation) | ast.arg(annotation=ast.expr() as annotation):
                fine |= set(ast.walk(annotation))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in fine:
            yield from [node.value] if WORDS.search(node.value) else ()


ALLOWED = {"payjoin-session.json"}


def read_as_html(source: str) -> Iterator[str]:
    """The calls in a file by which Qt or Electrum would read a text as HTML."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr="RichText" | "AutoText" | "MarkdownText" | "setHtml" | "insertHtml" as name):
                yield name
            case ast.keyword(arg="rich_text", value=ast.Constant(value=True)):
                yield "rich_text"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_is_read_as_html(file: Path) -> None:
    assert list(read_as_html(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_sentence_can_be_translated(file: Path) -> None:
    assert [text for text in untranslated(file.read_text(encoding="utf-8")) if text not in ALLOWED] == []


def test_a_sentence_that_cannot_be_translated_is_seen() -> None:
    assert list(untranslated('label.setText("Not paid yet")')) == ["Not paid yet"]
    assert list(untranslated('button = QPushButton("Abort")')) == ["Abort"]
    assert list(untranslated('label.setText(_("Not paid yet"))')) == []


def test_html_is_seen() -> None:
    assert list(read_as_html("label.setTextFormat(Qt.TextFormat.RichText)")) == ["RichText"]
    assert list(read_as_html("window.show_error(text, rich_text=True)")) == ["rich_text"]


def test_each_fault_of_an_address_can_be_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_", lambda text: f"translated: {text}")
    checking = {"check_service_url", "_split_url", "_host_and_port", "_origin"}
    tree = ast.parse((PACKAGE / "wire" / "uri.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in checking]
    assert {function.name for function in functions} == checking
    faults = {
        str(call.args[0].value)
        for function in functions
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "DecodeError"
        and isinstance(call.args[0], ast.Constant)
    }
    assert len(faults) == 8
    assert [fault for fault in faults if not settings.url_fault(fault).startswith("translated")] == []


def forms_in(tree: ast.AST) -> set[str]:
    """The sentences that a file's errors are made with, `{}` for each value in them."""
    return {
        "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in call.args[0].values)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.JoinedStr)
    }


def test_whatever_the_transport_says_of_a_failure_can_be_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trouble, "_", lambda text: f"translated: {text}")
    tree = ast.parse((PACKAGE / "client" / "transport.py").read_text(encoding="utf-8"))
    forms = forms_in(tree) | {"outer status {}", "inner status {}"}
    assert len(forms) == 14
    for form in forms:
        values = [f"value{number}.example" for number in range(form.count("{}"))]
        assert trouble.trouble_words(form.format(*values)) == "translated: " + form.format(*values)


def test_what_the_transport_does_not_say_stays_as_it_is() -> None:
    assert trouble.trouble_words("Electrum is offline") == "Electrum is offline"
