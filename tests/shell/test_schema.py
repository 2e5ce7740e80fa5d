"""A journal outlives the program that wrote it: its shape and its number change together."""

import hashlib
import json
import typing
from pathlib import Path
from typing import Any

import attrs
import pytest

from carry.base.codec import Undecodable, codec
from carry.core.actions import Action, Alert, Fence
from carry.core.observations import Observations
from carry.core.state import SCHEMA, State
from carry.core.step import step

# The shape that each schema number stands for. When the test fails, a class of the core changed.
# Was its number released? Then raise SCHEMA in carry/core/state.py and add a line here. A new field
# says `since` which schema it is there (`metadata={"since": n}`, or `knob(..., since=n)`) and is
# given its default in older journals; whatever else changed needs a function in codec.MIGRATIONS.
SHAPES = {1: "1c7a6bfb47779760", 2: "656ac8ae582b6dba"}
OLD = sorted(Path(__file__).parent.glob("state_schema_*.json"))


def shape(*roots: Any) -> str:
    """Every attrs class that can be reached from `roots`: its fields and their types, as text."""
    found: dict[str, str] = {}

    def walk(kind: Any) -> None:
        if isinstance(kind, type) and attrs.has(kind):
            if kind.__name__ in found:
                return
            fields = [(field.name, field.type) for field in attrs.fields(kind)]
            found[kind.__name__] = "; ".join(f"{name}: {of}" for name, of in fields)
            for _, of in fields:
                walk(of)
        for inner in typing.get_args(kind):
            walk(inner)

    for root in roots:
        walk(root)
    return "\n".join(f"{name}({found[name]})" for name in sorted(found))


def test_the_schema_number_stands_for_this_shape() -> None:
    text = shape(State, Observations, Action)

    assert "Intent(" in text
    assert "FillsRead(" in text
    assert SHAPES[SCHEMA] == hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_a_journal_of_every_schema_is_carried_on(path: Path) -> None:
    """A state in the middle of a carry, with an outcome unknown, as an older program wrote it."""
    state: State = codec(State).decode(path.read_bytes(), int(path.stem.rsplit("_", 1)[1]))

    assert state.carries["HYPE"].spot_sz > 0
    assert state.any_unknown
    obs = Observations(mono_ms=state.now_ms + 1000, wall_ms=state.wall_ms + 1000, venue_ms=None)
    after, actions = step(state, obs)
    assert after.carries["HYPE"].spot_sz == state.carries["HYPE"].spot_sz
    assert next(type(action).__name__ for action in actions) == "Fence"


def test_only_a_field_that_says_so_takes_its_default() -> None:
    @attrs.frozen(kw_only=True)
    class Grown:
        one: Alert | Fence
        new: int = attrs.field(default=7, metadata={"since": SCHEMA})
        more: int = 9

    fence = {"$": "Fence", "intent": 1, "nonce": 2, "why": ""}
    read = codec(Grown).decode
    assert read(json.dumps({"one": fence, "more": 2})).new == 7
    for broken in ({"one": fence, "new": 2}, {"one": fence, "more": 3, "newer": 3}):
        with pytest.raises(Undecodable, match="with the keys"):
            read(json.dumps(broken))
