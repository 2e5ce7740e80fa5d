"""A crash at every boundary of a story: each SQL statement, each send, each receive, each wait.

The boundaries are those the run itself passes (`World.boundary`), so a new statement or a new
request is covered by being there. Whatever the boundary, the story ends as it would have.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import attrs

from carry.core.policy import Execution, MarketPolicy, Policy, Risk, Strategy

from .draw import Case, Order, Strike
from .invariants import Violation
from .market import Shape
from .phases import Life
from .world import World

TICKS: Final = 90
SEED: Final = 5


@attrs.frozen
class Story:
    """What happens between two ticks. faults: (tick, id) of strikes; orders: (tick, what)."""

    first: int
    last: int
    faults: tuple[tuple[int, str], ...] = ()
    orders: tuple[tuple[int, str], ...] = ()


STORIES: Final[dict[str, Story]] = {
    "start": Story(0, 4),
    "first slice": Story(4, 9),
    "later slices": Story(9, 16),
    "held": Story(34, 38),
    "exit": Story(40, 50, (), ((40, "flatten"),)),
    "pause while entering": Story(4, 12, (), ((5, "pause"), (20, "resume pause"))),
    "deleveraged": Story(40, 48, ((40, "F80"),)),
    "answer lost": Story(4, 12, ((4, "F20"),)),
    "lands later": Story(4, 12, ((4, "F21"),)),
    "partial fill": Story(4, 12, ((4, "F37"),)),
    "stop": Story(8, 14, (), ((8, "stop"),)),
    "upgrade": Story(40, 52, ((38, "F51"),), ((44, "flatten"),)),
}


def case_of(story: Story) -> Case:
    """The same account, market and policy for every story."""
    return Case(
        seed=SEED,
        ticks=TICKS,
        interval_ms=1_000,
        mode="unified",
        funds_usd=Decimal(5_000),
        policy=Policy(
            strategy=Strategy(
                target_usd_notional=Decimal(150), min_hold_h=0, horizon_h=1_000,
                enter_threshold_apr=Decimal("0.005"),
            ),
            execution=Execution(entry_cooldown_ms=20_000),
            risk=Risk(slice_usd=Decimal(50)),
            markets=(MarketPolicy(base="HYPE"),),
            source="storm",
        ),
        shape=Shape(regime="calm", begin_min=0, bp=0, minutes=0),
        strikes=tuple(
            Strike(no=no, fault=fault, tick=tick, key=no)
            for no, (tick, fault) in enumerate(story.faults)
        ),
        orders=tuple(Order(tick=tick, what=what) for tick, what in story.orders),
    )  # fmt: skip


def boundaries(story: Story) -> range:
    """The numbers of the boundaries between the story's first and last tick."""
    world = World(case_of(story))
    Life(world)
    try:
        world.run(max(story.first, 1))
        before = 0 if story.first == 0 else world.boundaries
        world.run(story.last)
        return range(before + 1, world.boundaries + 1)
    finally:
        world.close()


def crash_at(story: Story, boundary: int) -> str | None:
    """Tell the story with a crash at `boundary`, to its end: flat, every cent explained.

    None when all promises held, else what broke.
    """
    world = World(case_of(story))
    life = Life(world)
    world.crash_at = boundary
    try:
        world.run(TICKS * 6 // 10)
        life._heal()
        world.run(TICKS)
        life._kill()
    except Violation as violation:
        return str(violation)
    finally:
        world.close()
    return None if world.restarts else "the boundary was never reached"


def every(stride: int = 1) -> Iterator[tuple[str, int]]:
    """(story, boundary) of every crash, or of every so many."""
    for name, story in STORIES.items():
        for boundary in boundaries(story)[::stride]:
            yield name, boundary
