"""Formula in, number out, with the arithmetic beside it."""

from decimal import Decimal as D

import attrs
import pytest

from carry.core import economics as ec
from carry.core.policy import FeePolicy
from carry.core.state import Forecast
from carry.core.types import Book, Fees, FundingPrint, Level, Side
from tests.scenarios.world import FEES

HOUR = 3_600_000


@pytest.mark.parametrize(
    "rate, hours, apr",
    [
        ("0.0001", 8, "0.1095"),  # 0.01 % x 3 a day x 365
        ("0.0001", 1, "0.876"),  # 0.01 % x 24 x 365
        ("-0.0001", 8, "-0.1095"),  # shorts pay
        ("0.0000125", 1, "0.1095"),  # the baseline rate of the venue
    ],
)
def test_apr(rate: str, hours: int, apr: str) -> None:
    assert ec.apr(D(rate), hours) == D(apr)


def book(bids: str, asks: str) -> Book:
    def side(text: str) -> tuple[Level, ...]:
        pairs = (word.split("x") for word in text.split())
        return tuple(Level(D(px), D(sz)) for sz, px in pairs)

    return Book(side(bids), side(asks), 1)


@pytest.mark.parametrize(
    "side, sz, paid",
    [
        (Side.BUY, "1", "0.01"),  # 101 against a mid of 100
        (Side.BUY, "2", "0.015"),  # (101 + 102) / 2
        (Side.SELL, "1", "0.01"),  # 99
        (Side.SELL, "4", "0.025"),  # (99 + 3 x 97) / 4 = 97.5
    ],
)
def test_slippage_walks_the_book(side: Side, sz: str, paid: str) -> None:
    assert ec.slippage(book("1x99 9x97", "1x101 1x102"), side, D(sz)) == D(paid)


def test_a_book_too_thin_for_a_size_has_no_price() -> None:
    thin, deep = book("9x99", "1x101"), book("9x99", "9x101")
    assert ec.slippage(thin, Side.BUY, D(2)) is None
    assert ec.cost(FEES, thin, deep, D(2)) is None
    assert ec.cost(FEES, deep, thin, D(2)) is None, "an exit that cannot be priced has no cost"


def test_cost_of_a_round_trip() -> None:
    whole = ec.cost(FEES, book("9x99", "9x101"), book("9x99.5", "9x100.5"), D(2))
    assert whole is not None
    assert whole.entry == D("0.0115") / 10 + D("0.015")  # 7 + 4.5 bps, 1 % spot + 0.5 % perp
    assert whole.exit == whole.entry
    assert whole.total == 2 * whole.entry


def test_fees_in_force_are_the_accounts_own_where_the_policy_names_none() -> None:
    assert ec.fees_in_force(FeePolicy(), FEES) == FEES
    named = FeePolicy(spot_taker=D("0.001"), perp_maker=D("-0.0001"))
    assert ec.fees_in_force(named, FEES) == attrs.evolve(
        FEES, spot_taker=D("0.001"), perp_maker=D("-0.0001")
    )


def folded(forecast: Forecast | None, *rows: tuple[int, str]) -> Forecast | None:
    prints = [FundingPrint(at_ms=h * HOUR, rate=D(r)) for h, r in rows]
    return ec.fold(forecast, prints, halflife_h=1, interval_ms=HOUR, rate_max=D("0.04"))


@pytest.mark.parametrize(
    "rows, rate, count, negative_h",
    [
        (((1, "0.00001"),), "0.00001", 1, 0),  # below the baseline of 0.0000125: believed at once
        (((1, "0.0001"),), "0.00005625", 1, 0),  # above: half of it and of the baseline
        (((1, "0.0001"), (2, "0.0003")), "0.000178125", 2, 0),  # half-life one hour: the mean
        (((1, "0.0004"), (3, "0")), "0.0000515625", 2, 1),  # two hours: a quarter is left
        (((1, "0.0004"), (1, "0.09")), "0.00020625", 1, 0),  # the same hour again
        (((1, "0.0004"), (2, "0.041")), "0.00020625", 1, 0),  # absurd: not believed
        (((1, "0.0004"), (2, "-0.041")), "0.00020625", 1, 0),
        (((1, "-0.0001"), (2, "0"), (3, "-0.0001")), "-0.000075", 3, 3),
        (((1, "-0.0001"), (2, "0.0001")), "0", 2, 0),
    ],
)
def test_fold(rows: tuple[tuple[int, str], ...], rate: str, count: int, negative_h: int) -> None:
    made = folded(None, *rows)
    assert made is not None
    assert (made.rate, made.count, made.negative_h) == (D(rate), count, negative_h)
    assert made.last_at_ms == max(h for h, r in rows if abs(D(r)) < D("0.04")) * HOUR


def test_fold_in_pieces_is_fold_at_once() -> None:
    rows = ((1, "0.0001"), (2, "0.0003"), (3, "-0.0002"))
    assert folded(folded(None, *rows[:1]), *rows) == folded(None, *rows)


def test_nothing_folded_is_nothing() -> None:
    assert folded(None) is None


def cost(leave: str, enter: str = "0") -> ec.Cost:
    return ec.Cost(
        entry_fees=D(enter), entry_slippage=D(0), exit_fees=D(leave), exit_slippage=D(0)
    )


@pytest.mark.parametrize(
    "rate, leave, loses",
    [
        ("-0.0001", "0.0335", True),  # 336 h x 1 bp = 336 bps lost against 335 to leave
        ("-0.0001", "0.0336", False),  # as much either way: it stays
        ("-0.0001", "0.0337", False),
        ("0.0001", "0", False),
    ],
)
def test_staying_loses(rate: str, leave: str, loses: bool) -> None:
    assert ec.staying_loses(D(rate), 336, 1, cost(leave)) is loses


def test_coming_back_costs_an_entry_too() -> None:
    assert ec.staying_loses(D("-0.0001"), 336, 1, cost("0.0168", "0.0167"))
    assert not ec.staying_loses(D("-0.0001"), 336, 1, cost("0.0168", "0.0168"))


def test_expected_net() -> None:
    assert ec.expected_net(D("0.0001"), 336, 1, cost("0.0115")) == D("0.0221")
    assert ec.income(D("0.0008"), 336, 8) == D("0.0336")


@pytest.mark.parametrize("closes", [(), ("1", "2"), ("1", "0", "1"), ("1", "-2", "3")])
def test_no_volatility_of_too_few_or_absurd_closes(closes: tuple[str, ...]) -> None:
    assert ec.volatility(tuple(D(c) for c in closes), HOUR) is None


def test_bps() -> None:
    assert ec.bps(D("0.0123456")) == D("123.46")


def test_fees_are_a_value() -> None:
    assert Fees(spot_maker=D(0), spot_taker=D(0), perp_maker=D(0), perp_taker=D(0)) != FEES
