"""See: the plan's weights, what is due, what a failure and a gap lead to."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs
import pytest

from carry.core.observations import BookSeen, ModeRead
from carry.core.state import Carry, Enter, HedgeOk, Repair, State
from carry.core.types import AccountMode, Book, Leg, Level
from carry.shell import gather
from carry.shell.gather import PLAN, Gatherer, Wishes, newest_quotes, since_ms, stretch, tempo
from carry.venues.base import ReadFailed

BOOK = Book((Level(Decimal(1), Decimal(1)),), (Level(Decimal(2), Decimal(1)),), 1)


class Clock:
    """Time as the test sets it."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.synced = 0

    def mono_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms

    def venue_ms(self) -> int | None:
        return self.now_ms

    def sync(self, venue: Any) -> None:
        self.synced += 1


class Stream:
    def __init__(self) -> None:
        self.gaps: tuple[str, ...] = ()
        self.own = False  # something of ours happens with the next read

    def poll(self, timeout_s: float) -> bool:
        own, self.own = self.own, False
        return own

    def drain(self) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        gaps, self.gaps = self.gaps, ()
        return (), gaps


class Venue:
    """Answers every read the same, takes `read_ms` for each, fails what it is told to."""

    def __init__(self, clock: Clock) -> None:
        self.stream, self.asked, self.read_ms = Stream(), [], 10
        self.failing: dict[str, str] = {}
        self._clock = clock

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def read(*args: Any) -> Any:
            self.asked.append((name, *args))
            self._clock.now_ms += self.read_ms
            if name in self.failing:
                raise ReadFailed(name, self.failing[name], "as told")
            if name == "book":
                return BookSeen(coin=args[0], leg=args[1], book=BOOK, seen_ms=1, full=True)
            return ModeRead(mode=AccountMode.UNIFIED, word=name, issued_ms=self._clock.now_ms)

        return read

    def names(self) -> list[str]:
        names, self.asked = [name for name, *_ in self.asked], []
        return names


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def venue(clock: Clock) -> Venue:
    return Venue(clock)


@pytest.fixture
def gatherer(venue: Venue, clock: Clock) -> Gatherer:
    return Gatherer(venue, clock)


@pytest.mark.parametrize("at", ["idle", "hedged"])
@pytest.mark.parametrize("coins", [1, 2, 3, 5, 10, 30])
def test_the_plan_stays_under_300_a_minute(at: str, coins: int) -> None:
    """Idle or hedged, with however many markets: many of them are looked at less often each."""
    assert gather.weight_per_min(coins, at) / stretch(coins, at) < 300


def test_up_to_five_markets_need_no_stretching() -> None:
    assert stretch(5, "idle") == stretch(5, "hedged") == 1
    assert stretch(10, "idle") > 1
    assert stretch(10, "working") == 1
    # One market at work leaves room for what acts: the venue allows 1200 a minute.
    assert gather.weight_per_min(1, "working") < 700


def test_every_row_has_a_call(gatherer: Gatherer, venue: Venue, state: State) -> None:
    gatherer.gather(state, (), Wishes(restarted=True))
    assert venue.names() == []  # the first tick only fences
    seen = gatherer.gather(state, (), Wishes())
    assert seen.gaps == ()
    asked = venue.names()
    assert len(asked) == len(PLAN) + 1  # a book for each leg
    # What protects is read before what decides an entry, and history last.
    assert asked[1:5] == ["mode", "positions", "balances", "open_orders"]
    assert asked[-2:] == ["prints", "closes"]
    assert len(seen.events) == 2


def test_nothing_is_read_before_it_is_due(
    gatherer: Gatherer, venue: Venue, clock: Clock, state: State
) -> None:
    gatherer.gather(state, (), Wishes())
    venue.names()
    gatherer.gather(state, (), Wishes())
    assert venue.names() == []
    clock.now_ms += 10_000
    gatherer.gather(state, (), Wishes())
    assert venue.names() == ["book", "book"]


def test_what_the_core_wants_is_read_at_once(
    gatherer: Gatherer, venue: Venue, state: State
) -> None:
    gatherer.gather(state, (), Wishes())
    venue.names()
    wanting = attrs.evolve(state, wants=("fills", "leverage:HYPE", "book:HYPE:perp"))
    gatherer.gather(wanting, (), Wishes())
    assert venue.asked[1:] == [("leverage", "HYPE"), ("book", "HYPE", Leg.PERP)]
    assert venue.names()[0] == "fills"


def test_the_explaining_sources_are_read_together(
    gatherer: Gatherer, venue: Venue, state: State
) -> None:
    """Equity is explained by sources of one moment, the positions before what explains them."""
    gatherer.gather(state, (), Wishes())
    venue.names()
    gatherer.gather(attrs.evolve(state, wants=("transfers",)), (), Wishes())
    assert venue.names() == ["positions", "balances", "fills", "receipts", "transfers"]


def test_a_gap_of_the_stream_is_swept_at_once(
    gatherer: Gatherer, venue: Venue, state: State
) -> None:
    gatherer.gather(state, (), Wishes())
    venue.names()
    venue.stream.gaps = ("fills",)
    seen = gatherer.gather(state, (), Wishes())
    assert seen.gaps == ("stream:fills",)
    assert venue.names() == ["positions", "balances", "open_orders", "fills"]
    venue.stream.gaps = ("book:HYPE:spot",)
    gatherer.gather(state, (), Wishes())
    assert venue.names() == ["book"]  # a lost quote says nothing of positions


@pytest.mark.parametrize(
    ("kind", "tries"), [("transport", 2), ("unreadable", 1), ("budget", 1), ("unsupported", 1)]
)
def test_only_the_transport_is_tried_again_within_a_tick(
    gatherer: Gatherer, venue: Venue, state: State, kind: str, tries: int
) -> None:
    venue.failing = {"positions": kind}
    seen = gatherer.gather(state, (), Wishes())
    assert venue.names().count("positions") == tries
    assert seen.gaps == ("positions",)


def test_a_read_that_keeps_failing_is_asked_for_less_often(
    gatherer: Gatherer, venue: Venue, clock: Clock, state: State
) -> None:
    venue.failing = {"mode": "unreadable"}
    for _ in range(60):
        gatherer.gather(attrs.evolve(state, wants=("mode",), protected_ms=1), (), Wishes())
        clock.now_ms += 1_000
    assert 5 <= venue.names().count("mode") <= 8
    venue.failing = {}
    clock.now_ms += 30_000
    gatherer.gather(state, (), Wishes())
    assert "mode" in venue.names()


def test_what_decides_an_unknown_order_is_soon_asked_again_after_an_outage(
    gatherer: Gatherer, venue: Venue, clock: Clock, state: State
) -> None:
    venue.failing = {"fills": "transport", "mode": "transport"}
    wanted = attrs.evolve(state, wants=("fills", "mode"))
    for _ in range(120):
        gatherer.gather(wanted, (), Wishes())
        clock.now_ms += 1_000
    venue.names()
    for _ in range(8):
        clock.now_ms += 1_000
        gatherer.gather(wanted, (), Wishes())
    assert "fills" in venue.names()


def test_a_slow_venue_ends_the_reading_and_leaves_gaps(
    gatherer: Gatherer, venue: Venue, clock: Clock, state: State
) -> None:
    """All reads of a tick together have one deadline; what was not asked is a gap, not a value."""
    venue.read_ms = 3_000
    before = clock.now_ms
    seen = gatherer.gather(state, (), Wishes())
    assert clock.now_ms - before <= gather.READ_MS_MAX + venue.read_ms
    assert "prints:HYPE" in seen.gaps
    assert "positions" not in seen.gaps


def test_the_tempo_follows_the_work(state: State) -> None:
    def with_(**more: Any) -> State:
        return attrs.evolve(state, carries={"HYPE": Carry(coin="HYPE", **more)})

    assert tempo(state) == "idle"
    assert tempo(with_(phase=HedgeOk(since_ms=1))) == "hedged"
    assert tempo(with_(phase=HedgeOk(since_ms=1), repair=Repair())) == "working"
    assert tempo(with_(phase=Enter(since_ms=1, target_sz=Decimal(1)))) == "working"


def test_histories_are_read_with_an_overlap() -> None:
    assert since_ms(10_000_000, 99) == 10_000_000 - gather.OVERLAP_MS
    assert since_ms(0, 10_000_000) == 10_000_000 - gather.FIRST_BACK_MS
    assert since_ms(0, 5) == since_ms(5, 5) == 0


def test_only_the_newest_quote_of_an_instrument_is_kept() -> None:
    def quote(leg: Leg, at: int, full: bool = False) -> BookSeen:
        return BookSeen(coin="HYPE", leg=leg, book=BOOK, seen_ms=at, full=full)

    events = [quote(Leg.SPOT, 1), quote(Leg.PERP, 2), quote(Leg.SPOT, 3), quote(Leg.SPOT, 4, True)]
    assert newest_quotes(events) == (events[1], events[2], events[3])


def test_what_happens_to_our_orders_ends_the_reading(
    gatherer: Gatherer, venue: Venue, clock: Clock, state: State
) -> None:
    """A fill of an order that rests is hedged before the rest is read; what was left out is due."""
    venue.stream.own = True
    gatherer.gather(state, (), Wishes())
    assert venue.names() == ["markets"]
    clock.now_ms += gather.URGENT_MS
    gatherer.gather(state, (), Wishes(cause="urgent"))
    assert venue.names()[:3] == ["mode", "positions", "balances"]


def test_a_stream_that_lost_something_is_swept_whatever_happens(
    gatherer: Gatherer, venue: Venue, state: State
) -> None:
    venue.stream.own, venue.stream.gaps = True, ("fills",)
    gatherer.gather(state, (), Wishes())
    assert {"positions", "balances", "fills"} <= set(venue.names())


def test_a_venue_that_is_down_is_not_asked_for_everything(
    gatherer: Gatherer, venue: Venue, clock: Clock, state: State
) -> None:
    """Weight is kept for its return (storm seed 109)."""
    venue.failing = dict.fromkeys(("markets", "mode", "positions", "balances"), "transport")
    first = gatherer.gather(state, (), Wishes())
    assert set(venue.names()) == {"markets", "mode", "positions"}
    assert {"markets", "mode", "positions", "balances", "fills"} <= set(first.gaps)

    venue.failing = {}
    clock.now_ms += 10_000
    seen = gatherer.gather(state, (), Wishes())
    assert not seen.gaps
    assert {"markets", "mode", "positions", "balances", "fills"} <= set(venue.names())


def test_our_own_budget_is_no_outage(
    gatherer: Gatherer, venue: Venue, clock: Clock, state: State
) -> None:
    """What costs much finds no weight; what costs little still does, a second later again."""
    heavy = ("markets", "mode", "open_orders", "receipts", "transfers", "contexts")
    venue.failing = dict.fromkeys(heavy, "budget")
    venue.read_ms = 0
    seen = gatherer.gather(state, (), Wishes())
    assert len(seen.events) == 2, "both books"
    asked = venue.names()
    assert asked.count("mode") == 1
    clock.now_ms += 999
    gatherer.gather(attrs.evolve(state, wants=("mode",)), (), Wishes())
    assert "mode" not in venue.names()
    clock.now_ms += 1
    gatherer.gather(attrs.evolve(state, wants=("mode",)), (), Wishes())
    assert "mode" in venue.names()


def test_a_history_that_fails_does_not_have_the_others_read_each_tick(
    gatherer: Gatherer, venue: Venue, clock: Clock, state: State
) -> None:
    venue.failing = {"transfers": "unreadable"}
    due = attrs.evolve(state, protected_ms=1)
    for _ in range(60):
        gatherer.gather(due, (), Wishes())
        clock.now_ms += 1_000
    asked = venue.names()
    assert 3 <= asked.count("transfers") <= 4
    assert asked.count("receipts") == asked.count("transfers"), "one alone explains nothing"
