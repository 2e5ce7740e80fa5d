"""A market whose entries fail must not eat the account: the pause doubles, and it is said."""

from decimal import Decimal as D

import attrs
import pytest

from carry.core.actions import Alert
from carry.core.asked import Flatten
from carry.core.state import Enter, Exit, HedgeOk, Idle, Repair, State
from carry.core.step import step
from tests.bench.held import held

COOLDOWN_MS = 600_000


def entering(failures: int, **change: object) -> tuple[State, object]:
    state, quotes, _ = held()
    carry = attrs.evolve(
        state.carries["HYPE"],
        phase=Enter(since_ms=0, target_sz=state.carries["HYPE"].spot_sz, stalled_ms=0),
        failures=failures,
        **change,
    )
    return attrs.evolve(state, carries={"HYPE": carry}), quotes


def test_a_hedge_that_fails_counts() -> None:
    state, quotes = entering(0, repair=Repair(spent_ms=9_000, unwinding=True), perp_sz=D(0))

    after, actions = step(state, quotes)

    assert isinstance(after.carries["HYPE"].phase, Exit)
    assert after.carries["HYPE"].failures == 1
    assert not [a for a in actions if isinstance(a, Alert) and "entry_fails" in a.name]


def test_the_third_is_said() -> None:
    state, quotes = entering(2, repair=Repair(spent_ms=9_000, unwinding=True), perp_sz=D(0))

    _, actions = step(state, quotes)

    assert [a.name for a in actions if isinstance(a, Alert) and "entry_fails" in a.name] == [
        "entry_fails_HYPE_3"
    ]


def test_an_entry_that_holds_starts_anew() -> None:
    state, quotes = entering(5)

    after, _ = step(state, quotes)

    assert isinstance(after.carries["HYPE"].phase, HedgeOk)
    assert after.carries["HYPE"].failures == 0


def test_a_flatten_is_no_failure() -> None:
    state, quotes = entering(1)

    after, _ = step(state, attrs.evolve(quotes, commands=(Flatten(command_id=1, by="test"),)))

    assert isinstance(after.carries["HYPE"].phase, Exit)
    assert after.carries["HYPE"].failures == 1


@pytest.mark.parametrize(
    ("failures", "pause_ms"),
    [
        (0, COOLDOWN_MS),  # an ordinary exit
        (1, COOLDOWN_MS),  # the first failed entry
        (2, 2 * COOLDOWN_MS),
        (4, 8 * COOLDOWN_MS),
        (20, 8 * COOLDOWN_MS),  # the longest: 80 minutes
    ],
)
def test_the_pause_doubles(failures: int, pause_ms: int) -> None:
    state, quotes = entering(failures)
    carry = attrs.evolve(
        state.carries["HYPE"],
        phase=Exit(since_ms=0, why="hedge failed", forced=True),
        spot_sz=D("0.01"),
        perp_sz=D(0),
        touched_ms={},
    )

    after, _ = step(attrs.evolve(state, carries={"HYPE": carry}), quotes)

    phase = after.carries["HYPE"].phase
    assert isinstance(phase, Idle)
    assert pause_ms == phase.until_ms - after.now_ms
