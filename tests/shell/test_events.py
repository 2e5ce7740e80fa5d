"""docs/EVENTS.md lists what is emitted, no less and no more."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for part in ("core", "shell", "ops")
    for path in sorted((ROOT / "carry" / part).glob("*.py"))
]
# Named by the issue that asked for the log: never to be lost.
ASKED_FOR = [
    "entry",
    "fee",
    "hedge_repair_started",
    "spot_repair_attempt",
    "hedge_repair_completed",
    "hedge_unwound",
    "cancel_all_begin",
    "cancel_all_end",
    "cancel_order",
    "pnl_update",
    "shutdown_summary",
]


def listed() -> dict[str, tuple[str, ...]]:
    """Event -> its fields, from the tables of the page."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", (ROOT / "docs/EVENTS.md").read_text(), re.M)
    return {event: tuple(re.findall(r"`(\w+)`", fields)) for event, fields in rows}


def constants(node: ast.AST | None) -> Iterator[str]:
    """The texts an expression may become."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from constants(one)
            yield from constants(other)


def emitted(source: str) -> Iterator[str]:
    """Events that a module names: in a Note, in a variable `event`, or in an emit."""
    tree = ast.parse(source)
    takers = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and [a.arg for a in node.args.args][:1] == ["event"]
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="emit"), args=[first, *_]):
                yield from constants(first)
            case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in takers:
                yield from constants(first)
            case ast.Call(keywords=keywords):
                for keyword in keywords:
                    if keyword.arg == "event":
                        yield from constants(keyword.value)
            case ast.Assign(targets=[ast.Name(id="event")], value=value):
                yield from constants(value)
            case ast.Assign(
                targets=[ast.Tuple(elts=[ast.Name(id="event"), *_])],
                value=ast.Tuple(elts=[value, *_]),
            ):
                yield from constants(value)


def test_every_event_is_listed_and_every_listed_one_emitted() -> None:
    found = {event for path in SOURCES for event in emitted(path.read_text())}
    assert found == set(listed())
    assert set(ASKED_FOR) <= found


@pytest.mark.parametrize(
    "form",
    [
        'Note(event="lost", coin=None, fields={})',
        'log.emit("lost", 1, None, {})',
        'event = "lost"',
        'event = "other" if x else "lost"',
        'event, fields = "lost", {}',
        'def say(event, n): ...\nsay("lost", 1)',
    ],
)
def test_the_scan_sees_every_form(form: str) -> None:
    assert "lost" in list(emitted(form))
