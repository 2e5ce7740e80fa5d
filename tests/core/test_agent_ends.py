"""The agent key ends: said at 14, 7 and 2 days, each once; entries wait below two."""

import attrs
import pytest

from carry.core.actions import Alert
from carry.core.state import Blocked

from .making import carry, go, held, play

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("left_ms", "name", "level"),
    [
        (14 * DAY_MS + 1_000, None, None),
        (14 * DAY_MS - 1_000, "agent_expires_14d", "warn"),
        (7 * DAY_MS - 1_000, "agent_expires_7d", "warn"),
        (2 * DAY_MS - 1_000, "agent_expires_2d", "page"),
        (-1_000, "agent_expires_2d", "page"),
    ],
)
def test_said_in_time(left_ms: int, name: str | None, level: str | None) -> None:
    player = held()
    state = player.state
    assert state.venue_ms is not None
    until = state.venue_ms + 1_000 + left_ms
    account = attrs.evolve(state.account, agent_until_at_ms=until)
    player.state = attrs.evolve(state, account=account)
    tick = go(player, 1_000)
    said = [a for a in tick.actions if isinstance(a, Alert) and a.name.startswith("agent")]
    assert [(a.name, a.level) for a in said] == ([(name, level)] if name else [])
    again = go(player, 2_000)
    assert not [a for a in again.actions if isinstance(a, Alert)]


def test_since_when_a_gate_blocks_is_remembered() -> None:
    player = play(config={"strategy.enter_threshold_apr": "1.5"})
    for n in range(1, 6):
        go(player, n * 1_000)
    first = carry(player.state).blocked
    assert first is not None
    for n in range(6, 9):
        go(player, n * 1_000)
    again = carry(player.state).blocked
    assert again == Blocked(gate="expected_apr", since_ms=first.since_ms)
    assert player.state.now_ms - first.since_ms >= 3_000
