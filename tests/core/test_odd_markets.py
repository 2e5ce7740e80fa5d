"""What a venue may show and a bot must survive: no market condition raises (P1)."""

from decimal import Decimal as D

import attrs
import pytest

from carry.core import asked
from carry.core import observations as o
from carry.core.actions import Fence, Place
from carry.core.state import Enter, State
from carry.core.step import step
from carry.core.types import Book, Leg, Level, Side
from tests.bench.held import MARKET, held


@pytest.mark.parametrize("bid", ["0", "-1", "25.02", "25.01"])
def test_a_free_or_crossed_book_prices_nothing(bid: str) -> None:
    """Ask 25.01: a bid at or above it, or at nothing, leaves the quote that was there."""
    state, quotes, _ = held()
    before = state.carries["HYPE"].quotes["spot"]
    book = Book((Level(D(bid), D(1)),), (Level(D("25.01"), D(1)),), 2 * before.book.at_ms)
    odd = o.BookSeen(coin="HYPE", leg=Leg.SPOT, book=book, seen_ms=quotes.mono_ms, full=True)

    after, _ = step(state, attrs.evolve(quotes, events=(odd,)))

    assert before == after.carries["HYPE"].quotes["spot"]


@pytest.mark.parametrize(("mark", "oracle"), [("0", "25"), ("25", "0"), ("-1", "25")])
def test_a_mark_or_oracle_of_nothing_is_not_seen(mark: str, oracle: str) -> None:
    state, quotes, _ = held()
    before = state.carries["HYPE"].context
    context = o.Context(mark_px=D(mark), oracle_px=D(oracle), funding_rate=D(0))
    read = o.ContextsRead(contexts={"HYPE": context}, issued_ms=quotes.mono_ms)

    after, _ = step(state, attrs.evolve(quotes, reads=(read,)))

    assert before == after.carries["HYPE"].context


@pytest.mark.parametrize("px", ["0.000002", "0.0000011", "100002060", "1e-20"])
def test_joke_prices_stop_nothing(px: str) -> None:
    """Whatever the price, an exit and an entry are decided without an exception."""
    state, quotes, _ = held()
    book = Book((Level(D(px), D(9)),), (Level(D(px) * 2, D(9)),), 2 * state.now_ms)
    seen = tuple(
        o.BookSeen(coin="HYPE", leg=leg, book=book, seen_ms=quotes.mono_ms, full=True)
        for leg in Leg
    )
    for commands in ((), (asked.Flatten(command_id=1, by="test"),)):
        after = state
        outcomes: tuple[o.Outcome, ...] = ()
        for _ in range(3):
            obs = attrs.evolve(quotes, events=seen, commands=commands, outcomes=outcomes)
            after, actions = step(after, obs)
            outcomes = unsent(actions)


def unsent(actions: tuple[object, ...]) -> tuple[o.Outcome, ...]:
    return tuple(o.NotSent(intent=a.intent, why="test") for a in actions if isinstance(a, Place))


def test_an_order_without_an_outcome_is_unknown() -> None:
    """A shell that forgets one must not stop the bot: it is fenced like any other unknown."""
    state, quotes, _ = held()
    state, actions = step(entering(state), attrs.evolve(quotes, events=(), reads=(), outcomes=()))
    assert [a for a in actions if isinstance(a, Place)]

    state, actions = step(state, attrs.evolve(quotes, mono_ms=quotes.mono_ms + 10))

    assert state.any_unknown
    assert [a.intent for a in actions if isinstance(a, Fence)] == [state.intent_no]


def entering(state: State) -> State:
    carry = state.carries["HYPE"]
    phase = Enter(since_ms=state.now_ms, target_sz=carry.spot_sz * 2)
    return attrs.evolve(state, carries={"HYPE": attrs.evolve(carry, phase=phase)})


def test_a_delisted_perp_is_not_sold() -> None:
    """Spot that lost its hedge market is unwound; the hedge is not asked for."""
    state, quotes, _ = held()
    state = entering(state)
    carry = attrs.evolve(
        state.carries["HYPE"],
        perp_sz=D(0),
        market=attrs.evolve(MARKET, perp=attrs.evolve(MARKET.perp, tradable=False)),
    )
    state = attrs.evolve(state, carries={"HYPE": carry})
    sold: list[tuple[Leg, Side]] = []
    outcomes: tuple[o.Outcome, ...] = ()
    for tick in range(12):
        ms = quotes.mono_ms + 1_000 * tick
        obs = attrs.evolve(quotes, mono_ms=ms, wall_ms=ms, venue_ms=ms, outcomes=outcomes)
        state, actions = step(state, obs)
        outcomes = unsent(actions)
        sold += [(a.leg, a.side) for a in actions if isinstance(a, Place)]

    assert (Leg.PERP, Side.SELL) not in sold
    assert (Leg.SPOT, Side.SELL) in sold
