"""The seeded market is what it says: moments over seeds and months, and beside recordings."""

import csv
import gzip
import itertools
import statistics
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from carry.exchange.funding import hourly_rate
from carry.exchange.market import SeededMarket
from carry.exchange.noise import NORMAL_SD, normals
from carry.exchange.paths import HOUR_MS

from .conftest import COINS, HYPE, START_MS, make_exchange

START_HOUR = START_MS // HOUR_MS
MONTH = 720
RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "hl-candles-funding-hippocritical"

HALF_SPREAD_E9 = {"HYPE": 90_000, "BTC": 60_000, "ETH": 67_000, "SOL": 80_000}


class Month(NamedTuple):
    """Hourly rates, closes, and |perp - spot| in bp of one coin's month."""

    rates: list[float]
    closes: list[float]
    basis_bp: list[float]


def _rate(perp: list[int], oracle: list[int], half: int) -> float:
    """The formula on minute samples, with the touch half a spread from the mid."""
    total = 0
    for mid, reference in zip(perp[:60], oracle, strict=False):
        gap = (mid - reference) * 10**9 // reference
        total += max(gap - half, 0) - max(-gap - half, 0)
    return float(hourly_rate(Decimal(total // 60).scaleb(-9)))


def months(
    seed: int, count: int, coins: tuple[str, ...] = COINS
) -> Iterator[tuple[str, Month]]:
    market = SeededMarket(seed, START_MS, COINS)
    for coin in coins:
        rates: list[float] = []
        closes: list[float] = []
        basis: list[float] = []
        for hour in range(START_HOUR, START_HOUR + count * MONTH):
            path = market.path(coin, hour)
            rates.append(_rate(path.perp, path.oracle, HALF_SPREAD_E9[coin]))
            closes.append(path.oracle[60] / 1e8)
            basis.append(abs(path.perp[60] - path.spot[60]) / path.spot[60] * 1e4)
        yield coin, Month(rates, closes, basis)


def big_moves(closes: list[float]) -> int:
    """Moves over 15 % within a day that do not overlap."""
    count, index = 0, 24
    while index < len(closes):
        if abs(closes[index] / closes[index - 24] - 1) > 0.15:
            count += 1
            index += 24
        else:
            index += 1
    return count


def sign_persistence(rates: list[float]) -> float:
    same = sum((a < 0) == (b < 0) for a, b in itertools.pairwise(rates))
    return same / (len(rates) - 1)


def hourly_vol(closes: list[float]) -> float:
    return statistics.pstdev([b / a - 1 for a, b in itertools.pairwise(closes)])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_moments_of_a_month(seed: int) -> None:
    moves = 0
    for coin, month in months(seed, 1):
        negative = sum(rate < 0 for rate in month.rates) / MONTH
        assert 0.08 <= negative <= 0.35, (coin, negative)
        assert sign_persistence(month.rates) >= 0.85, coin
        assert -0.000005 < statistics.mean(month.rates) < 0.00008, coin
        assert 3 <= statistics.median(month.basis_bp) <= 9, coin
        low, high = (0.008, 0.025) if coin == "HYPE" else (0.003, 0.014)
        assert low <= hourly_vol(month.closes) <= high, coin
        moves += big_moves(month.closes)
    assert moves >= 2


@pytest.mark.parametrize("seed", range(20))
def test_a_newcomer_sees_a_carry_on_every_seed(seed: int) -> None:
    """72 h of HYPE funding before the start, and the first day, pay well above the baseline."""
    market = SeededMarket(seed, START_MS, ("HYPE",))
    paths = [market.path("HYPE", hour) for hour in range(START_HOUR - 72, START_HOUR + 24)]
    rates = [_rate(p.perp, p.oracle, HALF_SPREAD_E9["HYPE"]) for p in paths]
    assert statistics.mean(rates[:72]) >= 0.00002
    assert statistics.mean(rates[72:]) >= 0.00002
    assert min(rates) >= 0


def test_the_path_is_continuous_and_independent_of_who_asks_when() -> None:
    one, two = (SeededMarket(5, START_MS, COINS) for _ in range(2))
    late = two.path("BTC", START_HOUR + 30)
    for hour in range(START_HOUR - 20, START_HOUR + 30):
        here, after = one.path("BTC", hour), one.path("BTC", hour + 1)
        for a, b in ((here.oracle, after.oracle), (here.perp, after.perp), (here.spot, after.spot)):
            assert abs(a[60] - b[0]) <= 1
    again = one.path("BTC", START_HOUR + 30)
    assert (again.oracle, again.perp, again.spot) == (late.oracle, late.perp, late.spot)
    alone = SeededMarket(5, START_MS, ("BTC", "HYPE"))
    assert alone.path("BTC", START_HOUR).perp == one.path("BTC", START_HOUR).perp


def test_its_first_figures_never_change() -> None:
    """A pinned path: the same integers on every Python, machine and hash seed."""
    path = SeededMarket(1, START_MS, COINS).path("HYPE", START_HOUR)
    assert path.oracle[:3] == PINNED_ORACLE
    assert path.perp[60] == PINNED_PERP_END


PINNED_ORACLE = [2050084873, 2048967226, 2044306407]
PINNED_PERP_END = 2070886835


def test_normals_are_normal_enough() -> None:
    z = normals(3, 20_000)
    assert abs(statistics.mean(z)) < NORMAL_SD / 30
    assert abs(statistics.pstdev(z) / NORMAL_SD - 1) < 0.02


def test_spreads_and_depth() -> None:
    """1 to 3 bp on perps, 2 to 6 on spot; the impact notional rests at the touch."""
    exchange = make_exchange()
    for _ in range(50):
        exchange.advance(exchange.now + 3_000)
        for coin in exchange.coins.values():
            for asset, low, high in ((coin.perp, 0.5, 3.5), (coin.spot, 1.5, 6.5)):
                (bid, size), (ask, _) = (
                    exchange.quotes.top(asset, bids=bids, time_ms=exchange.now)
                    for bids in (True, False)
                )
                assert low <= (ask - bid) / bid * 1e4 <= high, asset.coin
                assert size * bid // asset.unit >= asset.impact_usd
                levels = exchange.quotes.ladder(asset, bids=True, time_ms=exchange.now)
                near = sum(sz * px for px, sz in levels if px > bid * 0.999) / asset.unit
                assert 0.4 < near / asset.depth_usd < 2.5, asset.coin
                assert levels[0] == (bid, size)
                assert all(a[0] > b[0] for a, b in itertools.pairwise(levels))
                assert all(px % asset.tick(px) == 0 for px, _ in levels)


def test_thirty_days_of_funding_history_exist_before_the_start() -> None:
    exchange = make_exchange(limits=False)
    first = exchange.market.start_ms - 30 * 24 * HOUR_MS
    stamps = [row["time"] for row in exchange.info._funding_history(
        {"coin": "HYPE", "startTime": first}
    )]
    assert len(stamps) == 500
    assert stamps[0] // HOUR_MS == first // HOUR_MS
    assert {b // HOUR_MS - a // HOUR_MS for a, b in itertools.pairwise(stamps)} == {1}
    assert exchange.assets[HYPE].coin == "HYPE"


def _column(name: str, column: int, since_ms: int = 0) -> list[float]:
    with gzip.open(RECORDINGS / name, "rt") as file:
        rows = list(csv.reader(file))[1:]
    return [float(row[column]) for row in rows if int(row[0]) >= since_ms]


# The recordings are not part of the project; generated ones of the same shape are tested above.
@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}")
@pytest.mark.parametrize("coin", COINS)
def test_moments_beside_the_recordings(coin: str) -> None:
    """Mean, spread and persistence of funding and volatility, each within a factor of 2.5."""
    recorded = _column(f"funding_{coin}.csv.gz", 1, 1_725_408_000_000)
    closes = _column(f"perp_{coin}_1h.csv.gz", 4)
    made = [month for seed in (1, 2, 3) for _, month in months(seed, 1, (coin,))]
    rates = [rate for month in made for rate in month.rates]
    assert 0.4 < statistics.pstdev(rates) / statistics.pstdev(recorded) < 2.5
    assert abs(sign_persistence(rates) - sign_persistence(recorded)) < 0.1
    vol = statistics.mean(hourly_vol(month.closes) for month in made)
    assert 0.4 < vol / hourly_vol(closes) < 2.5
    assert abs(statistics.mean(rates) - statistics.mean(recorded)) < 0.00004
