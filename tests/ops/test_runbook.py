"""Every alert has a runbook entry: the names are read from the code, so none can be forgotten."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from carry.core.num import use_exact_context
from carry.core.policy import MarketPolicy, Policy
from carry.core.state import State
from carry.core.step import gates
from carry.ops.catalogue import CAUSES, family_of
from carry.venues.hyperliquid.constants import CAPABILITIES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/OPERATIONS.md").read_text()
SOURCES = [
    path
    for part in ("core", "shell", "ops")
    for path in sorted((ROOT / "carry" / part).glob("*.py"))
]
# Names that are made elsewhere than where the alert is: `Fault.name` becomes the alert's.
FAULTS = re.compile(r'Fault\(\s*name="(\w+)"')
HOLE = "9"


def text_of(node: ast.AST, names: dict[str, list[ast.AST]]) -> Iterator[str]:
    """The texts that an expression may become, with a filler where a value is put in."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=values):
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else HOLE for part in values
            )
            if "condition.value" in ast.unparse(node):
                # Of the venue's conditions these two are alerts, of a market that is held.
                yield from (text.replace(HOLE, word, 1) for word in ("halted", "delisted"))
            else:
                yield text
        case ast.IfExp(body=one, orelse=other):
            yield from text_of(one, names)
            yield from text_of(other, names)
        case ast.Name(id=name):
            for value in names.get(name, ()):
                yield from text_of(value, {})


def alert_names(source: str) -> Iterator[str]:
    """The name of each Alert that a module makes, and of each that ops raises."""
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        names: dict[str, list[ast.AST]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                names.setdefault(node.targets[0].id, []).append(node.value)
        for node in ast.walk(function):
            match node:
                case ast.Call(func=ast.Name(id="Alert"), keywords=keywords):
                    for keyword in keywords:
                        if keyword.arg == "name":
                            yield from text_of(keyword.value, names)
                case ast.Call(func=ast.Attribute(attr="raised"), args=[first, *_]):
                    yield from text_of(first, names)
                case ast.Call(func=ast.Attribute(attr="raised"), keywords=keywords):
                    for keyword in keywords:
                        if keyword.arg == "name":
                            yield from text_of(keyword.value, names)


def every_name() -> list[str]:
    found = [name for path in SOURCES for name in alert_names(path.read_text())]
    everywhere = (path for path in (ROOT / "carry").rglob("*.py"))
    found += [name for path in everywhere for name in FAULTS.findall(path.read_text())]
    return sorted(set(found))


def listed() -> set[str]:
    """Alerts that have an entry: `name` at the start of a row of the runbook's tables."""
    runbook = PAGE.split("## Runbook")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", runbook, re.M))


def test_every_alert_of_the_code_has_an_entry_and_every_entry_an_alert() -> None:
    families = {name: family_of(name) for name in every_name()}
    without = [name for name, family in families.items() if family is None]
    assert without == [], (
        f"{without}: new alerts. Give each a cause in carry/ops/catalogue.py and a row in the "
        "runbook of docs/OPERATIONS.md: what it means, and what to do"
    )
    rules = {rule["alert"] for rule in the_rules()}
    gates_listed = {name for name in listed() if name in fault_gates()}
    assert set(CAUSES) | rules <= listed(), sorted((set(CAUSES) | rules) - listed())
    assert listed() - gates_listed - rules - set(CAUSES) == set()


def test_the_scan_sees_names_however_they_are_made() -> None:
    assert len(every_name()) >= 25
    for name in ("drawdown", f"naked_{HOLE}", f"undecided_{HOLE}", "silence", "crash", "signature"):
        assert name in every_name(), name
    source = 'def f(x):\n    n = f"new_{x}" if x else "other"\n    return Alert(level="", name=n)\n'
    assert sorted(alert_names(source)) == [f"new_{HOLE}", "other"]


def fault_gates() -> set[str]:
    """Gates that alert as faults: all that may be absent or are ours, by an empty state."""
    use_exact_context()
    state = State.initial(Policy(markets=(MarketPolicy(base="HYPE"),)), CAPABILITIES)
    found = {gate.name for gate in gates(state) if gate.fault}
    return found | {"agent_left_ms", "residual_usd", "unknown_intents", "clock_skew_ms"}


def test_every_gate_that_may_be_a_fault_has_an_entry() -> None:
    assert fault_gates() - listed() == set()


def the_rules() -> list[dict[str, str]]:
    text = (ROOT / "prometheus/carry.rules.yml").read_text()
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def test_latches_of_the_runbook_say_how_to_clear_them() -> None:
    runbook = PAGE.split("## Runbook")[1]
    for name in ("crash", "drawdown", "identity", "journal_old", "other_writer", "policy_check"):
        assert f"carry resume --ack {name}" in runbook, name


@pytest.mark.parametrize("word", ["PLACEHOLDER", "TODO", "FIXME"])
def test_nothing_is_left_open(word: str) -> None:
    assert word not in PAGE
