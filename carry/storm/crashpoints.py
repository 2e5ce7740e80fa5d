"""A crash at every boundary of a story: each SQL statement, each send, each receive, each wait.

The boundaries are those the run itself passes (`World.boundary`), so a new statement or a new
request is covered by being there. Prices stand still in a story, so that what is traded costs the
same whenever it is traded: whatever the boundary, position and ledger come out the same.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import attrs

from carry.core.policy import Execution, MarketPolicy, Policy, Risk, Strategy
from carry.core.state import HedgeOk

from .draw import Case, Order, Strike
from .invariants import Violation
from .market import STILL, Shape
from .phases import Life
from .world import World

TICKS: Final = 90
HEALED: Final = 54  # the tick from which no fault strikes
TICKS_MAX: Final = 400  # with the wait for the first payment
START_S: Final = 3_600 - 115  # of an hour: the payment comes when every story has been told
SEED: Final = 5
COIN: Final = "HYPE"


@attrs.frozen
class Story:
    """What happens between two ticks. faults: (tick, id) of strikes; orders: (tick, what).

    dearer_usd: by how much its costs may differ by when it trades: a book that refills, a window in
    which nobody may take. Elsewhere it is the venue's rounding of each fill's fee.
    """

    first: int
    last: int
    faults: tuple[tuple[int, str], ...] = ()
    orders: tuple[tuple[int, str], ...] = ()
    dearer_usd: Decimal = Decimal("0.00001")


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
    "partial fill": Story(4, 12, ((4, "F37"),), (), Decimal("0.05")),
    "stop": Story(8, 14, (), ((8, "stop"),)),
    "upgrade": Story(40, 52, ((38, "F51"),), ((44, "flatten"),), Decimal("0.05")),
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
            markets=(MarketPolicy(base=COIN),),
            source="storm",
        ),
        shape=Shape(regime=STILL, begin_min=0, bp=0, minutes=0),
        strikes=tuple(
            Strike(no=no, fault=fault, tick=tick, key=no)
            for no, (tick, fault) in enumerate(story.faults)
        ),
        orders=tuple(Order(tick=tick, what=what) for tick, what in story.orders),
    )  # fmt: skip


def boundaries(story: Story) -> range:
    """The numbers of the boundaries between the story's first and last tick."""
    world = World(case_of(story), start_s=START_S)
    Life(world)
    try:
        world.run(max(story.first, 1))
        before = 0 if story.first == 0 else world.boundaries
        world.run(story.last)
        return range(before + 1, world.boundaries + 1)
    finally:
        world.close()


@attrs.frozen(kw_only=True)
class Ending:
    """What came of a story: the carry held after it, and what is left once the operator closed it.

    held, flat: true (spot, perp). Ledger, USD: costs_usd is fees and slippage.
    """

    held: tuple[Decimal, Decimal]
    flat: tuple[Decimal, Decimal]
    funding_usd: Decimal
    external_usd: Decimal
    costs_usd: Decimal

    def equals(self, other: "Ending", dearer_usd: Decimal) -> bool:
        apart = abs(self.costs_usd - other.costs_usd)
        return attrs.evolve(self, costs_usd=other.costs_usd) == other and apart <= dearer_usd


def tell(story: Story, crash: int | None = None) -> Ending:
    """Live a story to its end, with a crash at a boundary or without.

    Raises Violation when a promise was broken on the way.
    """
    case = case_of(story)
    world = World(case, start_s=START_S)
    life = Life(world)
    world.crash_at = crash
    try:
        world.run(HEALED)
        life._heal()
        world.run(TICKS_MAX, lambda: paid(world))
        held = standing(world)
        life._kill()
        assert world.truth.state is not None
        ledger = world.truth.state.carries[COIN].ledger
    finally:
        world.close()
    if crash is not None and not world.restarts:
        raise Violation("CRASHPOINT", f"boundary {crash} was never reached")
    return Ending(
        held=held,
        flat=standing(world),
        funding_usd=ledger.funding_usd,
        external_usd=ledger.external_usd,
        costs_usd=ledger.fees_usd + ledger.slippage_usd,
    )


def paid(world: World) -> bool:
    """Whether a carry is held, its hour's payment is booked, and nothing is on its way."""
    state = world.bot.state
    holds = isinstance(state.carries[COIN].phase, HedgeOk)
    return holds and not state.intents and state.carries[COIN].ledger.funding_usd > 0


def standing(world: World) -> tuple[Decimal, Decimal]:
    return world.truth.spot(COIN), world.truth.perp(COIN)


def crash_at(story: Story, boundary: int, whole: Ending) -> str | None:
    """None when a crash there changes nothing in the end, else what it changed.

    whole: how the story ends without a crash.
    """
    try:
        ending = tell(story, boundary)
    except Violation as violation:
        return str(violation)
    return None if ending.equals(whole, story.dearer_usd) else f"{ending} instead of {whole}"


def every(stride: int = 1) -> Iterator[tuple[str, int]]:
    """(story, boundary) of every crash, or of every so many."""
    for name, story in STORIES.items():
        for boundary in boundaries(story)[::stride]:
            yield name, boundary
