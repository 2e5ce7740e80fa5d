"""States and situations that the core's unit tests start from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from carry.core.state import Carry, State
from tests.scenarios.language import D, Row, Scenario
from tests.scenarios.runner import Play, Tick

QUOTES = {"spot": "24.999/25.001", "perp": "24.999/25.001", "funding": "1bp"}


def scenario(start: str = "fresh", **head: Any) -> Scenario:
    made: dict[str, Any] = {
        "path": Path("made"),
        "name": "made",
        "why": "",
        "config": {},
        "account": {},
        "markets": {"HYPE": {}},
        "start": start,
        "residual": True,
        "rows": (row(0),),
        **head,
    }
    return Scenario(**made)


def row(t_ms: int, events: str = "", quotes: Mapping[str, str | None] = QUOTES) -> Row:
    return Row(
        line=1,
        t_ms=t_ms,
        cells={("HYPE", what): cell for what, cell in quotes.items()},
        events=tuple(tuple(w.split()) for w in events.split(";") if w.strip()),
        phases={},
        actions=(),
    )


def play(start: str = "fresh", **head: Any) -> Play:
    return Play(scenario(start, **head))


def held(**head: Any) -> Play:
    """A carry of 7.99 bought and 7.98 hedged around 25, at 0 s."""
    player = play("held", **head)
    player.row(row(0))
    return player


def go(player: Play, t_ms: int, events: str = "", **quotes: str | None) -> Tick:
    return player.row(row(t_ms, events, {**QUOTES, **quotes}))


def carry(state: State) -> Carry:
    return state.carries["HYPE"]


def with_carry(state: State, **changes: Any) -> State:
    changed = attrs.evolve(carry(state), **changes)
    return attrs.evolve(state, carries={**state.carries, "HYPE": changed})


__all__ = ["QUOTES", "D", "carry", "go", "held", "play", "row", "scenario", "with_carry"]
