"""Lots against tables worked by hand."""

from decimal import Decimal as D

import pytest

from carry.core.actions import Posting
from carry.core.types import Leg
from carry.research.lots import Lots, lots, unrealised_usd

Rows = tuple[tuple[int, str, str, str], ...]
# time, kind, signed size (net of a fee in the coin), price
SPOT = (
    (1, "fill", "9.993", "20"),  # 10 bought, 0.007 of them the fee
    (2, "fill", "5", "26"),
    (3, "fill", "-4", "25"),  # a partial close
    (4, "external", "-8", "10"),  # sold by somebody else, at a bad price
    (5, "external", "-1", "0"),  # withdrawn: gone for nothing
    (6, "adopted", "2", "30"),  # the operator's own, at that day's price
    (7, "handed_over", "-3.993", "28"),  # delisted, taken over by the operator
)
SHORT = (
    (1, "fill", "-10", "20"),
    (2, "fill", "-5", "26"),
    (3, "external", "4", "90"),  # deleveraged at a bad price
    (4, "fill", "13", "18"),  # bought back, and 2 too many: a long
    (5, "fill", "-2", "17"),
)


def held(rows: Rows, leg: Leg, method: str, upto: int = 99) -> Lots:
    lines = [
        Posting(kind=kind, ref="", at_ms=at_ms, coin="HYPE", leg=leg, sz=D(sz), px=D(px))
        for at_ms, kind, sz, px in rows
        if at_ms <= upto
    ]
    other = Posting(kind="fill", ref="", at_ms=2, coin="HYPE", leg=None, sz=D(9), px=D(9))
    return lots([*lines, other], "HYPE", leg, method)


def table(found: Lots) -> list[tuple[int, int, D, D, D]]:
    return [(c.opened_ms, c.closed_ms, c.sz, c.cost_usd, c.gain_usd) for c in found.closed]


def test_spot_first_in_first_out() -> None:
    found = held(SPOT, Leg.SPOT, "fifo")
    assert table(found) == [
        (1, 3, D(4), D(80), D(20)),  # 4 x (25 - 20)
        (1, 4, D("5.993"), D("119.86"), D("-59.93")),  # the rest of the first, x (10 - 20)
        (2, 4, D("2.007"), D("52.182"), D("-32.112")),  # x (10 - 26)
        (2, 5, D(1), D(26), D(-26)),
        (2, 7, D("1.993"), D("51.818"), D("3.986")),  # x (28 - 26)
        (6, 7, D(2), D(60), D(-4)),
    ]
    assert found.open == ()


def test_spot_at_average_cost() -> None:
    """9.993 at 20 and 5 at 26: 14.993 for 329.86, each 22.0009337..."""
    found = held(SPOT, Leg.SPOT, "average", 3)
    (sold,) = found.closed
    assert sold.cost_usd == D("88.003735076369")  # 329.86 x 4 / 14.993, cut at 1e-12
    assert sold.gain_usd == D("11.996264923631")
    (left,) = found.open
    assert (left.sz, left.cost_usd) == (D("10.993"), D("329.86") - sold.cost_usd)
    whole = held(SPOT, Leg.SPOT, "average")
    assert whole.open == ()
    assert sum(c.cost_usd for c in whole.closed) == D("329.86") + 60
    proceeds = D(100) + 80 + 0 + D("3.993") * 28
    assert sum(c.gain_usd for c in whole.closed) == proceeds - D("389.86")


def test_a_short_gains_when_it_falls() -> None:
    found = held(SHORT, Leg.PERP, "fifo")
    assert table(found) == [
        (1, 3, D(-4), D(-80), D(-280)),  # -4 x (90 - 20)
        (1, 4, D(-6), D(-120), D(12)),  # -6 x (18 - 20)
        (2, 4, D(-5), D(-130), D(40)),  # -5 x (18 - 26)
        (4, 5, D(2), D(36), D(-2)),  # the two too many, x (17 - 18)
    ]
    pooled = held(SHORT, Leg.PERP, "average", 3)
    assert table(pooled) == [(1, 3, D(-4), D(-88), D(-272))]  # 330 / 15 = 22 each
    assert unrealised_usd(pooled.open, D(21)) == D(11)  # 11 short at 22
    assert held(SHORT, Leg.PERP, "average").open == ()


@pytest.mark.parametrize("method", ["fifo", "average"])
def test_gains_and_what_is_open_are_the_value_whatever_the_method(method: str) -> None:
    for rows, leg in ((SPOT, Leg.SPOT), (SHORT, Leg.PERP)):
        for upto in range(8):
            found = held(rows, leg, method, upto)
            done = [(D(sz), D(px)) for at_ms, _, sz, px in rows if at_ms <= upto]
            value = sum((sz * (D(31) - px) for sz, px in done), D(0))
            gained = sum((c.gain_usd for c in found.closed), D(0))
            assert gained + unrealised_usd(found.open, D(31)) == value
