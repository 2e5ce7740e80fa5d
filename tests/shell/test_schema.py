"""A journal outlives the program that wrote it: its shape and its number change together."""

import hashlib
import typing
from typing import Any

import attrs

from carry.core.actions import Action
from carry.core.observations import Observations
from carry.core.state import SCHEMA, State

# The shape that each schema number stands for. When the test fails, a class of the core changed:
# raise SCHEMA in carry/core/state.py, write the migration from the number before, and add a line.
SHAPES = {1: "1c7a6bfb47779760"}


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
