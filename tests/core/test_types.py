"""Nouns: the price rule against integer arithmetic, books, fills."""

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carry.core.types import Book, Fees, Fill, Leg, Level, PriceRule, Side
from carry.core.venue import Capabilities, FenceKind

PERP, SPOT = PriceRule(5, 4, True), PriceRule(5, 6, True)
rules = st.builds(PriceRule, st.just(5), st.integers(min_value=0, max_value=8), st.booleans())
# Prices as integers of 1e-10, so that the oracle below needs no Decimal at all.
units = st.integers(min_value=1, max_value=10**17)
UNIT = 10**10


def valid_by_integers(n: int, rule: PriceRule) -> bool:
    """The venue's text: 5 significant figures, at most so many decimals, integers always."""
    if rule.integers and n % UNIT == 0:
        return True
    if n % 10 ** (10 - rule.decimals):
        return False
    return len(str(n).rstrip("0")) <= rule.figures


def down_by_integers(n: int, rule: PriceRule) -> int:
    """The highest valid price not above n units, by trying each grid whole."""
    grids = [10 ** max(10 - rule.decimals, len(str(n)) - rule.figures)]
    if rule.integers:
        grids.append(UNIT)
    return max(n // grid * grid for grid in grids)


@given(units, rules)
def test_down_is_the_highest_valid_price_not_above(n: int, rule: PriceRule) -> None:
    px = D(n).scaleb(-10)
    expected = down_by_integers(n, rule)
    assert rule.down(px) == D(expected).scaleb(-10)
    assert rule.valid(px) == valid_by_integers(n, rule)


@given(units, rules)
def test_up_is_the_lowest_valid_price_not_below(n: int, rule: PriceRule) -> None:
    px = D(n).scaleb(-10)
    up = rule.up(px)
    assert up >= px
    assert valid_by_integers(int(up.scaleb(10)), rule)
    low = down_by_integers(n, rule)
    assert up == px if low == n else low < n < int(up.scaleb(10))
    # Nothing valid lies between: one tick below `up` is not above the price.
    assert up == px or up - rule.tick_at(px) < px


@pytest.mark.parametrize(
    "rule, px, down, up",
    [
        (PERP, "25.0005", "25", "25.001"),
        (PERP, "0.123456", "0.1234", "0.1235"),  # four decimals bind before five figures
        (SPOT, "0.123456", "0.12345", "0.12346"),  # five figures bind
        (PERP, "123456.7", "123456", "123457"),  # a whole price may have six figures
        (PriceRule(5, 4, False), "123456.7", "123450", "123460"),
        (PERP, "99999.5", "99999", "100000"),
    ],
)
def test_prices_by_hand(rule: PriceRule, px: str, down: str, up: str) -> None:
    assert (rule.down(D(px)), rule.up(D(px))) == (D(down), D(up))


def test_no_price_is_valid_at_nothing() -> None:
    assert not PERP.valid(D(0))


def book() -> Book:
    return Book((Level(D(99), D(1)), Level(D(98), D(5))), (Level(D(101), D(2)),), 7)


def test_a_book_by_side() -> None:
    made = book()
    assert (made.bid_px, made.ask_px, made.mid_px) == (D(99), D(101), D(100))
    assert made.spread_bps == 200
    assert made.touch(Side.BUY) == 101
    assert made.touch(Side.SELL) == 99
    assert made.levels(Side.SELL) == made.bids
    assert made.levels(Side.BUY) == made.asks


def fill(leg: Leg, side: Side, fee: str, in_base: bool) -> Fill:
    return Fill(
        trade_id="1",
        coin="HYPE",
        leg=leg,
        side=side,
        px=D(25),
        sz=D(10),
        fee=D(fee),
        fee_in_base=in_base,
        oid="1",
        cloid=None,
        at_ms=1,
    )


@pytest.mark.parametrize(
    "made, base, cash, fee_usd",
    [
        (fill(Leg.SPOT, Side.BUY, "0.007", True), "9.993", "-250", "0.175"),  # 0.007 x 25
        (fill(Leg.SPOT, Side.SELL, "0.175", False), "-10", "249.825", "0.175"),
        (fill(Leg.PERP, Side.SELL, "0.1125", False), "-10", "249.8875", "0.1125"),
        (fill(Leg.PERP, Side.BUY, "-0.01", False), "10", "-249.99", "-0.01"),  # a rebate
    ],
)
def test_what_a_fill_changes(made: Fill, base: str, cash: str, fee_usd: str) -> None:
    assert (made.base_change, made.cash_change, made.fee_usd) == (D(base), D(cash), D(fee_usd))


def test_sides_and_fees_by_leg() -> None:
    assert (Side.BUY.sign, Side.SELL.sign) == (1, -1)
    assert (Side.BUY.opposite, Side.SELL.opposite) == (Side.SELL, Side.BUY)
    fees = Fees(spot_maker=D(1), spot_taker=D(2), perp_maker=D(3), perp_taker=D(4))
    assert (fees.taker(Leg.SPOT), fees.taker(Leg.PERP)) == (2, 4)


def test_a_funding_interval_in_hours() -> None:
    venue = Capabilities(
        fence=FenceKind.EXPIRY,
        expiry_ms=1,
        nonce_ahead_ms_max=1,
        funding_interval_ms=8 * 3_600_000,
        min_exempt_full_close=False,
    )
    assert venue.interval_h == 8
