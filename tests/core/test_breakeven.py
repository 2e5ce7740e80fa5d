"""The clock by hand: what was paid, what came in, and how long the rest takes."""

import attrs
import pytest

from carry.core import breakeven
from carry.core.state import Forecast, State
from tests.core.making import D, carry, held, with_carry
from tests.scenarios.world import FEES


def forecast(rate: str) -> Forecast:
    return Forecast(rate=D(rate), last_at_ms=0, count=99, negative_h=0)


def at(rate: str) -> State:
    return with_carry(held().state, forecast=forecast(rate))


def test_the_clock_counts_the_way_out_and_ends_when_funding_paid_for_all() -> None:
    """Leaving costs 11.5 bps and half of both spreads of what is held; 7.98 are short."""
    state = at("0.0001")
    found = breakeven.clock(state, carry(state))
    assert found is not None
    so_far = breakeven.ledger.pnl(carry(state))
    side = FEES.spot_taker + FEES.perp_taker + 2 * D("0.001") / 25
    leaving = carry(state).spot_sz * 25 * side
    assert found.paid_usd == pytest.approx(so_far.fees_usd - so_far.slippage_usd + leaving)
    assert found.earned_usd == 0
    an_hour = D("0.0001") * D("7.98") * 25
    assert found.hours == pytest.approx(found.paid_usd / an_hour)
    assert found.pessimistic_h == pytest.approx(2 * found.paid_usd / an_hour)


@pytest.mark.parametrize("rate", ["0", "-0.0001"])
def test_it_never_ends_where_nothing_is_paid(rate: str) -> None:
    state = at(rate)
    found = breakeven.clock(state, carry(state))
    assert found is not None
    assert (found.hours, found.pessimistic_h) == (None, None)


def test_dearer_fees_make_it_later_and_more_funding_sooner() -> None:
    state = at("0.0001")
    dear = attrs.evolve(FEES, spot_taker=FEES.spot_taker + D("0.0001"))
    later = attrs.evolve(state, account=attrs.evolve(state.account, fees=dear))
    clocks = [breakeven.clock(s, carry(s)) for s in (at("0.0002"), state, later)]
    hours = [c.hours for c in clocks if c is not None and c.hours is not None]
    assert len(hours) == 3
    assert hours == sorted(hours)
    assert hours[2] - hours[1] == pytest.approx(carry(state).spot_sz / D("7.98"))


def test_what_came_in_ends_it() -> None:
    state = at("0.0001")
    ledger = attrs.evolve(carry(state).ledger, funding_usd=D(5))
    found = breakeven.clock(paid := with_carry(state, ledger=ledger), carry(paid))
    assert found is not None
    assert (found.hours, found.earned_usd) == (0, 5)


def test_nothing_held_or_known_has_no_clock() -> None:
    state = at("0.0001")
    without: tuple[State, ...] = (
        with_carry(state, forecast=None),
        with_carry(state, books={}),
        with_carry(state, spot_sz=D(0)),
        with_carry(state, quotes={}, context=None, books={}),
    )
    assert [breakeven.clock(s, carry(s)) for s in without] == [None] * 4


def test_the_rate_on_capital_counts_what_stands_behind_the_short() -> None:
    """At 1x with a tenth kept idle, 0.45 of the money is spot: 10.95 % becomes 4.93 %."""
    state = at("0.0000125")
    assert breakeven.apr_on_capital(state, carry(state)) == pytest.approx(D("0.1095") * D("0.45"))
    free = attrs.evolve(state, account=attrs.evolve(state.account, fees=None))
    assert breakeven.apr_on_capital(free, carry(free)) is None
