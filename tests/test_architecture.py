"""Layers and purity, read from the syntax tree of every file.

    core <- base <- venues, exchange <- shell <- ops, research, storm <- cli

An arrow means "is imported by".
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = tuple(sorted((ROOT / "carry").rglob("*.py")))
CORE = tuple(f for f in FILES if f.relative_to(ROOT).parts[1] == "core")

# Each package with the packages of ours that it may import, besides itself.
MAY_IMPORT = {
    "core": (),
    "base": ("core",),
    "venues": ("core", "base"),
    "exchange": ("core", "base"),
    "shell": ("core", "base", "venues", "exchange"),
    "ops": ("core", "base", "venues", "exchange", "shell"),
    "research": ("core", "base", "venues", "exchange", "shell"),
    "storm": ("core", "base", "venues", "exchange", "shell"),
    "cli": ("core", "base", "venues", "exchange", "shell", "ops", "research", "storm"),
}
# The exchange judges the bot, so it shares with it only how numbers and nouns are written.
EXCHANGE_OF_CORE = ("carry.core.types", "carry.core.num")
CORE_LIBRARIES = ("attrs", "decimal", "enum", "typing", "collections", "__future__")
CORE_CALLS = ("float", "print", "open", "hash", "id", "round", "set", "eval", "exec", "input")
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Every module a file imports, with its line; relative ones made absolute."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *(node.module.split(".") if node.module else ())))
            found = tuple(f"{module}.{alias.name}" for alias in node.names)
            for whole in found:
                # `from . import x` names a module, `from .x import y` a thing in one.
                inner = ROOT / Path(*whole.split("."))
                is_module = inner.with_suffix(".py").exists() or inner.is_dir()
                yield node.lineno, whole if is_module else module


def layer_faults(path: Path) -> Iterator[str]:
    parts = path.relative_to(ROOT).parts
    if len(parts) < 3:
        return  # carry/__main__.py and carry/__init__.py
    own = parts[1]
    for line, module in imported(path):
        words = module.split(".")
        if words[0] != "carry" or len(words) < 2 or words[1] == own:
            continue
        if words[1] not in MAY_IMPORT[own]:
            yield f"{name_of(path)}:{line}: {own} may not import {module}"
        if own == "exchange" and words[1] == "core" and module not in EXCHANGE_OF_CORE:
            yield f"{name_of(path)}:{line}: exchange may not import {module}"


def core_faults(path: Path) -> Iterator[str]:
    """What would make a decision depend on more than its arguments."""
    for line, module in imported(path):
        if module.split(".")[0] not in (*CORE_LIBRARIES, "carry"):
            yield f"{name_of(path)}:{line}: core may not import {module}"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        where = f"{name_of(path)}:{getattr(node, 'lineno', 0)}"
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in CORE_CALLS:
                yield f"{where}: {name}() is not pure, not exact, or not ordered"
            case ast.Constant(value=float()):
                yield f"{where}: a float literal"
            case ast.Set() | ast.SetComp():
                yield f"{where}: a set, whose order depends on the hash seed"
            case ast.Global() | ast.Nonlocal():
                yield f"{where}: a statement that shares state"
            case ast.Attribute(attr="from_float"):
                yield f"{where}: a Decimal made of a float"


def shape_faults(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    count = len(text.splitlines())
    if count > FILE_LINES_MAX:
        yield f"{name_of(path)}: {count} lines; a file has one noun and at most {FILE_LINES_MAX}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{name_of(path)}:{node.lineno}: {node.name} has {lines} lines"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_follow_the_arrows(path: Path) -> None:
    assert list(layer_faults(path)) == []


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_is_pure(path: Path) -> None:
    assert list(core_faults(path)) == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_functions_fit_a_screen_and_files_one_noun(path: Path) -> None:
    assert list(shape_faults(path)) == []


def test_every_package_has_a_rule() -> None:
    packages = [p.name for p in (ROOT / "carry").iterdir() if (p / "__init__.py").exists()]
    assert [p for p in packages if p not in MAY_IMPORT] == []


@pytest.mark.parametrize(
    "text, faults",
    [
        ("import time", 1),
        ("from random import random", 1),
        ("import attrs\nfrom collections.abc import Mapping", 0),
        ("x = float('1')", 1),
        ("x = 0.5", 1),
        ("x = {1, 2}", 1),
        ("x = {n for n in (1, 2)}", 1),
        ("x = {n: n for n in (1, 2)}", 0),
        ("def f():\n    global x", 1),
        ("from carry.core.num import ZERO", 0),
    ],
)
def test_the_judge_sees_what_it_should(
    text: str, faults: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that finds nothing because it looks at nothing would pass for ever."""
    monkeypatch.setattr(__name__ + ".ROOT", tmp_path)
    path = tmp_path / "carry" / "core" / "made_up.py"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    assert len(list(core_faults(path))) == faults


@pytest.mark.parametrize(
    "package, text, faults",
    [
        ("core", "from carry.base import codec", 1),
        ("core", "from ..shell import say", 1),
        ("venues", "from carry.exchange import model", 1),
        ("exchange", "from carry.venues import base", 1),
        ("exchange", "from carry.core.step import step", 1),
        ("exchange", "from carry.core.types import Leg", 0),
        ("shell", "from carry.cli import main", 1),
        ("shell", "from carry.core.step import step", 0),
    ],
)
def test_the_judge_sees_arrows(
    package: str, text: str, faults: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(__name__ + ".ROOT", tmp_path)
    path = tmp_path / "carry" / package / "made_up.py"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    assert len(list(layer_faults(path))) == faults
