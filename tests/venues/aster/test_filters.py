"""Filters in both spellings, against exact arithmetic; recorded rows where they are at hand."""

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from carry.core.types import Leg, Side
from carry.exchange.aster.symbols import coins, exchange_info
from carry.venues.aster.filters import Filters, read_filters
from carry.venues.aster.parse import read_symbol, read_weight_limit

SHARED = Path(__file__).parents[3].parent / "shared/data/aster"
D = Decimal


def raws(rows: list[dict[str, Any]]) -> list[msgspec.Raw]:
    return [msgspec.Raw(json.dumps(row).encode()) for row in rows]


PRICE = {
    "filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000", "tickSize": "0.01",
}
LOT = {"filterType": "LOT_SIZE", "minQty": "0.1", "maxQty": "50", "stepSize": "0.1"}
FUTURES_MIN = {"filterType": "MIN_NOTIONAL", "notional": "5"}
SPOT_MIN = {"filterType": "MIN_NOTIONAL", "minNotional": "5"}
BAND = {"filterType": "PERCENT_PRICE", "multiplierUp": "1.02", "multiplierDown": "0.98"}


def futures(**more: Any) -> Filters:
    return read_filters(raws([PRICE, LOT, FUTURES_MIN, BAND]), Leg.PERP, **more)


def test_both_spellings_say_the_same() -> None:
    spot = read_filters(raws([PRICE, LOT, SPOT_MIN, BAND]), Leg.SPOT)
    assert spot.min_notional == futures().min_notional == 5
    other = {"filterType": "NOTIONAL", "minNotional": "7", "maxNotional": "900"}
    assert read_filters(raws([PRICE, LOT, other]), Leg.SPOT).min_notional == 7
    assert read_filters(raws([PRICE, LOT, other]), Leg.SPOT).max_notional == 900


@pytest.mark.parametrize("missing", ["PRICE_FILTER", "LOT_SIZE", "MIN_NOTIONAL"])
def test_a_grid_is_never_guessed(missing: str) -> None:
    rows = [row for row in (PRICE, LOT, FUTURES_MIN, BAND) if row["filterType"] != missing]
    with pytest.raises(ValueError, match=missing):
        read_filters(raws(rows), Leg.PERP)


@pytest.mark.parametrize(
    "side, px, sz, reference, words",
    [
        (Side.BUY, "10.005", "1", "10", "not on the tick 0.01"),
        (Side.BUY, "1000.01", "1", "999", "outside 0.01 to 1000"),
        (Side.BUY, "10", "0.55", "10", "not on the step 0.1"),
        (Side.BUY, "10", "50.1", "10", "outside 0.1 to 50"),
        (Side.BUY, "10", "0.4", "10", "below the minimum 5"),
        (Side.BUY, "10.3", "1", "10", "above 10 x 1.02"),
        (Side.SELL, "9.7", "1", "10", "below 10 x 0.98"),
        # The order of the checks: everything is wrong, the tick is named.
        (Side.BUY, "0.005", "0.05", "1", "not on the tick"),
        (Side.BUY, "5", "1", "10", None),  # a buy far below is bound by no band on futures
        (Side.SELL, "20", "1", "10", None),
    ],
)
def test_the_first_broken_rule_is_named(
    side: Side, px: str, sz: str, reference: str, words: str | None
) -> None:
    fault = futures().fault(side, D(px), D(sz), D(reference))
    assert fault is None if words is None else words in str(fault)


def test_the_spot_band_binds_both_sides() -> None:
    spot = read_filters(raws([PRICE, LOT, SPOT_MIN, BAND]), Leg.SPOT)
    assert "below" in str(spot.fault(Side.BUY, D(5), D(1), D(10)))
    assert "above" in str(spot.fault(Side.SELL, D(20), D(1), D(10)))


def test_reduce_only_has_no_minimum() -> None:
    assert futures().fault(Side.BUY, D(10), D("0.4"), D(10), reduce_only=True) is None


def test_what_filters_make_passes_them() -> None:
    draw = random.Random(3)
    for _ in range(2_000):
        filters = futures()
        px = filters.px_down(D(str(draw.uniform(1, 900))).quantize(D("0.000001")))
        assert filters.px_down(px) == filters.px_up(px) == px
        sz = filters.size_for(D(str(draw.randrange(5, 40))), px)
        assert filters.fault(Side.SELL, px, sz, None) is None
        assert (sz - filters.step) * px < 40 or sz == filters.min_sz


def test_a_lowest_price_off_the_grid_shifts_it() -> None:
    odd = {**PRICE, "minPrice": "0.005"}
    filters = read_filters(raws([odd, LOT, FUTURES_MIN]), Leg.PERP)
    assert filters.px_down(D("1.009")) == D("1.005")
    assert filters.fault(Side.BUY, D("1.005"), D(10), None) is None


def test_overrides_replace_the_venues_grid() -> None:
    # Counted from the lowest price, 0.01, and from the smallest size, 0.1.
    assert futures(tick=D("0.5")).px_down(D("10.7")) == D("10.51")
    assert futures(step=D(1)).size_for(D(5), D(4)) == D("2.1")


def info(spot: bool) -> bytes:
    symbols = [c.spot if spot else c.perp for c in coins().values()]
    return json.dumps(exchange_info(symbols, spot=spot, now=0)).encode()


def recorded(spot: bool) -> bytes:
    name = "sapi_exchangeInfo_sample.json" if spot else "fapi_v3_exchangeInfo_2026-01-12.json"
    path = SHARED / name
    return path.read_bytes() if path.exists() else info(spot)


@pytest.mark.parametrize("make", [info, recorded])
@pytest.mark.parametrize(
    "leg, symbol, tick, step, weight",
    [
        (Leg.PERP, "BTCUSDT", "0.1", "0.001", 2_400),
        (Leg.PERP, "SOLUSDT", "0.01", "0.01", 2_400),  # pricePrecision 4
        (Leg.PERP, "BNBUSDT", "0.1", "0.01", 2_400),  # pricePrecision 3
        (Leg.PERP, "ASTERUSDT", "0.0001", "0.01", 2_400),  # pricePrecision 5
        (Leg.SPOT, "BTCUSDT", "0.01", "0.00001", 6_000),
        (Leg.SPOT, "ASTERUSDT", "0.00001", "0.01", 6_000),
    ],
)
def test_rows_of_both_hosts(
    make: Any, leg: Leg, symbol: str, tick: str, step: str, weight: int
) -> None:
    body = make(leg is Leg.SPOT)
    found = read_symbol(body, leg, symbol)
    assert found is not None
    assert (found.filters.tick, found.filters.step) == (D(tick), D(step))
    assert (found.quote, found.trading, found.filters.min_notional) == ("USDT", True, 5)
    assert read_weight_limit(body) == weight


def test_test_symbols_and_strangers_are_no_markets() -> None:
    assert read_symbol(info(True), Leg.SPOT, "NOSUCHUSDT") is None
    with pytest.raises(ValueError, match="must not be traded"):
        read_symbol(info(True), Leg.SPOT, "TESTUSDT")


def test_a_malformed_foreign_row_is_passed_over() -> None:
    whole = json.loads(info(False))
    whole["symbols"] = [{"symbol": 7}, {"symbol": "X", "filters": "?"}, *whole["symbols"]]
    assert read_symbol(json.dumps(whole).encode(), Leg.PERP, "BTCUSDT") is not None
