"""Orders that rest by style: prices on the tick, and what sends them away."""

from decimal import Decimal as D

import attrs
import pytest

from carry.core import resting
from carry.core.actions import Cancel, Place
from carry.core.state import Enter, Exit, HedgeOk, Open
from carry.core.types import Book, Leg, Level, Side, Tif
from tests.scenarios.runner import Play, Tick

from .making import carry, go, play, with_carry

WIDE = "25.00/25.01"


def maker(**config: str) -> Play:
    player = play(config={"execution.style": "maker", **config})
    go(player, 0, spot=WIDE)
    return player


def rests(**config: str) -> Play:
    player = maker(**config)
    go(player, 1_000, "rest spot", spot=WIDE)
    assert isinstance(player.state.intents["1"].status, Open)
    return player


def cancels(tick: Tick) -> list[str]:
    return [a.why for a in tick.actions if isinstance(a, Cancel)]


@pytest.mark.parametrize(
    "bid, ask, ticks, side, px",
    [
        ("25", "25.01", "2", Side.BUY, "25.001"),
        ("25", "25.01", "2", Side.SELL, "25.009"),
        ("25", "25.001", "2", Side.BUY, "25"),  # a tick better would meet the other side
        ("25", "25.001", "2", Side.SELL, "25.001"),
        ("25", "25.002", "2", Side.BUY, "25.001"),  # just wide enough
        ("25", "25.002", "3", Side.BUY, "25"),
        ("9.9999", "10.002", "2", Side.BUY, "10"),  # across a change of the tick
        ("99999", "100010", "2", Side.BUY, "100000"),  # whole prices have any number of digits
        ("9.9999", "10.001", "2", Side.SELL, "10.001"),
        ("0.000012", "0.00002", "2", Side.BUY, "0.000013"),
    ],
)
def test_a_resting_price_is_on_the_tick_and_never_meets_the_other_side(
    bid: str, ask: str, ticks: str, side: Side, px: str
) -> None:
    player = maker(**{"risk.min_spread_ticks": ticks})
    state = player.state
    book = Book((Level(D(bid), D(9)),), (Level(D(ask), D(9)),), 1)
    seen = attrs.evolve(carry(state).quotes["spot"], book=book)
    state = with_carry(state, quotes={"spot": seen})
    terms = resting.terms(state, carry(state), side)
    assert terms == (D(px), Tif.ALO)
    market = carry(state).market
    assert market is not None
    assert market.spot.rule.valid(D(px))
    assert D(px) < D(ask) if side is Side.BUY else D(px) > D(bid)


def test_without_a_fresh_quote_nothing_rests_and_nothing_is_behind() -> None:
    state = with_carry(rests().state, quotes={})
    assert resting.terms(state, carry(state), Side.BUY) is None
    assert not resting.behind(state, carry(state), state.intents["1"])


def test_a_buy_that_could_not_be_withdrawn_is_asked_again_while_leaving() -> None:
    """Flattened while it rests, and the cancel is not answered: it is wanted less than ever."""
    player = rests()
    assert cancels(go(player, 2_000, "flatten", spot=WIDE)) == ["withdrawn at once"]
    assert cancels(go(player, 3_500, "cancel? spot", spot=WIDE)) == ["withdrawn at once"]


def test_an_entry_that_rests_goes_when_its_hedge_failed() -> None:
    """The phase is EXIT by then, and the mode is still NORMAL."""
    player = rests(**{"execution.hedge_repair_stage_ms": "5000"})
    go(player, 2_000, "fill spot 4", spot=WIDE)
    first = go(player, 2_500, "refuse perp margin", spot=WIDE)
    assert isinstance(carry(player.state).phase, Exit)
    assert cancels(first) == ["its reason is gone"]
    again = go(player, 4_000, "cancel? spot", spot=WIDE)
    assert cancels(again) == ["its reason is gone"]


def test_an_entry_that_rests_goes_when_the_rest_is_adopted() -> None:
    player = rests()
    player.state = with_carry(player.state, phase=HedgeOk(since_ms=player.state.now_ms))
    assert cancels(go(player, 2_000, spot=WIDE)) == ["its reason is gone"]


def test_its_clock_runs_only_while_it_may_buy() -> None:
    player = rests()
    before = carry(player.state).resting_ms
    assert isinstance(carry(player.state).phase, Enter)
    go(player, 2_000, "pause; cancel? spot" if player.pending else "pause", spot=WIDE)
    assert carry(player.state).resting_ms == before
    go(player, 3_000, "cancelled spot; resume", spot=WIDE)
    assert carry(player.state).resting_ms == before, "an outcome is unknown"


def test_a_whole_order_filled_starts_the_clock_of_the_next_slice() -> None:
    player = rests(**{"strategy.target_usd_notional": "400"})
    go(player, 5_000, "fill spot 9.99", spot=WIDE)
    assert carry(player.state).resting_ms == 0
    tick = go(player, 6_000, "fills", spot=WIDE)
    assert [a.tif for a in tick.actions if isinstance(a, Place)] == [Tif.ALO]
    assert carry(player.state).misses.get(Leg.SPOT.value, 0) == 0


def test_a_leaving_market_sells_by_taking_in_time() -> None:
    """Its price is not seen while it should rest: after maker_timeout_ms the mark will do."""
    player = play(
        "held",
        config={
            "execution.style": "maker",
            "strategy.min_hold_h": "0",
            "strategy.forecast_halflife_h": "1",
        },
    )
    phase = Exit(since_ms=player.state.now_ms, why="staying loses", forced=False)
    player.state = with_carry(player.state, phase=phase)
    assert isinstance(carry(player.state).phase, Exit)
    state = with_carry(player.state, quotes={})
    assert resting.wanted(state, carry(state))
    late = with_carry(state, resting_ms=state.policy.execution.maker_timeout_ms)
    assert not resting.wanted(late, carry(late))
