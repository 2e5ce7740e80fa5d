"""`python -m tests.scenarios.audit`: deletes each gate, each legal move and each rung in turn.

A deletion that no row of the scenarios or of the gate table misses is a rule that is redundant or
untested: the audit names it and exits 1. For each one missed it names the first row that fails.

Deleted in memory, one at a time, in worker processes:
  gate   the gate always passes
  move   the pair of phases is no longer legal
  rung   a branch of `planning._terms`, or the widening after a stage of repair, is never (or
         always) taken
"""

import ast
import inspect
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import attrs

from carry.core import planning, risk, state
from carry.core import step as stepping
from tests.core import test_gates as table

from . import language
from .runner import run

LADDER = ("_terms", "_rung", "_hedge")
MISSES = (AssertionError, AttributeError, KeyError, language.Malformed, ArithmeticError)


# --- what may be deleted --------------------------------------------------------------------------


def gates() -> Iterator[str]:
    yield from (f"gate {name}" for name in table.gate_names())


def moves() -> Iterator[str]:
    for old, after in state.MAY_FOLLOW.items():
        yield from (f"move {old.__name__} {new.__name__}" for new in after if new is not old)


def rungs() -> Iterator[str]:
    """Each condition of the ladder's functions, by line, as it stands in the source."""
    for name in LADDER:
        for number, (_, text) in enumerate(_conditions(_tree(name))):
            yield from (f"rung {name} {number} {word} {text}" for word in ("never", "always"))


def _tree(name: str) -> ast.FunctionDef:
    source = textwrap.dedent(inspect.getsource(getattr(planning, name)))
    made = ast.parse(source).body[0]
    assert isinstance(made, ast.FunctionDef)
    return made


def _conditions(tree: ast.FunctionDef) -> list[tuple[Any, str]]:
    """Conditions that choose a price, a width or a time in force; not what merely forbids."""
    found: list[tuple[Any, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.IfExp):
            text = ast.unparse(node.test)
            if any(word in text for word in ("rung", "post_only", "stage", "quote", "context")):
                found.append((node, text))
    return found


# --- how it is deleted ----------------------------------------------------------------------------


@contextmanager
def _changed(thing: Any, name: str, value: Any) -> Iterator[None]:
    old = getattr(thing, name)
    setattr(thing, name, value)
    try:
        yield
    finally:
        setattr(thing, name, old)


@contextmanager
def without(what: str) -> Iterator[None]:
    kind, _, rest = what.partition(" ")
    if kind == "gate":
        with (
            _changed(risk, "_at_most", _open(risk._at_most, rest)),
            _changed(risk, "_at_least", _open(risk._at_least, rest)),
            _changed(risk, "_holds", _open(risk._holds, rest)),
        ):
            yield
    elif kind == "move":
        old, new = (getattr(state, word) for word in rest.split())
        left = {
            key: tuple(phase for phase in after if (key, phase) != (old, new))
            for key, after in state.MAY_FOLLOW.items()
        }
        with _changed(stepping, "MAY_FOLLOW", left):
            yield
    else:
        name, number, word, _ = rest.split(" ", 3)
        tree = _tree(name)
        node, _ = _conditions(tree)[int(number)]
        node.test = ast.Constant(value=word == "always")
        module = ast.fix_missing_locations(ast.Module(body=[tree], type_ignores=[]))
        scope = dict(vars(planning))
        exec(compile(module, f"<{what}>", "exec"), scope)
        with _changed(planning, name, scope[name]):
            yield


def _open(make: Callable[..., Any], deleted: str) -> Callable[..., Any]:
    def made(name: str, *args: Any, **more: Any) -> Any:
        gate = make(name, *args, **more)
        return attrs.evolve(gate, passes=True) if name == deleted else gate

    return made


# --- who misses it --------------------------------------------------------------------------------


def missed_by(what: str) -> str | None:
    """The first row that fails without it; None when all hold."""
    with without(what):
        for case in table.CASES if what.startswith("gate") else ():
            try:
                table.check(case, careful=False)
            except MISSES:
                return f"test_gates.py {case.name}"
        for path in language.files():
            try:
                run(language.load(path), careful=False)
            except MISSES as error:
                return f"{path.name}: {str(error).splitlines()[0][:70]}"
    return None


def main() -> int:
    began = time.monotonic()
    whats = [*gates(), *moves(), *rungs()]
    survivors = []
    with ProcessPoolExecutor() as workers:
        for what, row in zip(whats, workers.map(missed_by, whats), strict=True):
            print(f"{what[:60]:60}  {row or 'NO ROW MISSES IT'}", flush=True)
            survivors += [] if row else [what]
    took = time.monotonic() - began
    print(f"{len(whats)} deleted, {len(survivors)} survive, {took:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
