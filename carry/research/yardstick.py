"""The yardstick: how much of the funding that could be had a rule of holding gets.

Hour by hour, one unit of notional, at most one market held. A decision at hour t knows the prints
stamped t or earlier, is paid the print of t + 1, and pays half a round trip (cost plus the market's
spread) on each side. The optimum is the exact best of hindsight; capture = net / optimum. Figures
are fractions of the unit; floats, for nothing here flows back into a decision.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Final

import attrs

from carry.exchange.recorded import BadRecording, read_prints

SPREAD_BPS: Final = {"BTC": 1.5, "ETH": 2.0, "SOL": 3.0, "HYPE": 2.0, "PURR": 14.0}
SPREAD_BPS_ELSE: Final = 5.0  # a market that nobody measured
REGULAR: Final = 24  # prints in a row at one interval, from which a recording is used
SUBSETS_MAX: Final = 6  # markets of which every subset is scored
HOURS_A_YEAR: Final = 8760


@attrs.frozen
class Series:
    """One market's prints: hour since the epoch -> fraction a settlement, > 0 is received."""

    interval_h: int
    prints: Mapping[int, float]


@attrs.frozen
class Panel:
    """What a rule is judged on: the decisions of the hours `first` to `last` (exclusive).

    Prints before `first` are known to a rule and pay nothing.
    """

    series: Mapping[str, Series]
    first: int
    last: int

    @property
    def coins(self) -> tuple[str, ...]:
        return tuple(self.series)

    def of(self, coins: Iterable[str]) -> "Panel":
        """The same hours, fewer markets."""
        return attrs.evolve(self, series={coin: self.series[coin] for coin in coins})

    def paid(self, coin: str, hour: int) -> float:
        """What a unit held by the decision of `hour` is paid; a print that is missing paid 0."""
        return self.series[coin].prints.get(hour + 1, 0.0)


def read_panel(
    folder: Path,
    coins: Sequence[str] = (),
    first: int | None = None,
    last: int | None = None,
) -> Panel:
    """The funding files of a folder as a panel; all coins by name unless some are given.

    first, last: hours since the epoch; left out, from where the first market's prints are regular
    to the last print. Raises BadRecording.
    """
    found = {coin: {h: float(p.rate) for h, p in prints.items()}
             for coin, prints in read_prints(folder).items()}
    names = tuple(coins) or tuple(sorted(found))
    for name in names:
        if name not in found:
            known = ", ".join(sorted(found))
            raise BadRecording(f"{folder}: no funding_{name}.csv; there is {known}")
    series = {name: regular(found[name]) for name in names}
    short = [name for name, one in series.items() if not one.prints]
    if short:
        raise BadRecording(f"{folder}: {', '.join(short)} has no {REGULAR} prints in a row")
    begins = min(min(one.prints) for one in series.values())
    ends = max(max(one.prints) for one in series.values())
    panel = Panel(
        series,
        begins if first is None else max(begins, first),
        ends if last is None else min(ends, last),
    )
    if panel.last - panel.first < REGULAR:
        raise BadRecording(f"{folder}: no {REGULAR} hours of funding in the time asked for")
    return panel


def regular(prints: Mapping[int, float]) -> Series:
    """The prints from where they come at the interval that most of them have.

    A venue that once paid every eight hours and now pays every hour is used from the change on: the
    two rates are not of one unit.
    """
    hours = sorted(prints)
    gaps = [b - a for a, b in pairwise(hours)]
    interval = _most(gaps) if gaps else 1
    run = 0
    for n, gap in enumerate(gaps):
        run = run + 1 if gap == interval else 0
        if run == REGULAR:
            return Series(interval, {h: prints[h] for h in hours[n + 1 - REGULAR:]})
    return Series(interval, {})


def _most(gaps: Sequence[int]) -> int:
    counts: dict[int, int] = {}
    for gap in gaps:
        counts[gap] = counts.get(gap, 0) + 1
    return max(counts, key=lambda gap: counts[gap])


def spread_bps(coin: str, given: Mapping[str, float]) -> float:
    """The market's spread a round trip; a pair like BTCUSDT has that of its base."""
    base = coin
    for quote in ("USDT", "USDC", "USD"):
        if coin.endswith(quote) and coin != quote:
            base = coin.removesuffix(quote)
            break
    return given.get(coin, given.get(base, SPREAD_BPS.get(base, SPREAD_BPS_ELSE)))


@attrs.frozen
class Costs:
    """A round trip of each market in bps: `cost_bps` everywhere, plus the market's spread."""

    cost_bps: float
    spreads: Mapping[str, float] = attrs.field(factory=dict)

    def half(self, coin: str) -> float:
        """One side of a round trip, as a fraction of the unit."""
        return (self.cost_bps + spread_bps(coin, self.spreads)) / 2e4


# Weights in force from an hour on: (hour since the epoch, coin -> fraction of the unit).
Positions = Sequence[tuple[int, Mapping[str, float]]]


def optimum(panel: Panel, costs: Costs) -> float:
    """The net of the best positions of hindsight: exact, over {out, each market}."""
    coins = panel.coins
    half = [costs.half(coin) for coin in coins]
    out, held = 0.0, [-math.inf] * len(coins)
    prints = [panel.series[coin].prints for coin in coins]
    for hour in range(panel.first, panel.last):
        best = out
        for n, worth in enumerate(held):
            best = max(best, worth - half[n])
        out = best
        for n, series in enumerate(prints):
            held[n] = max(held[n], best - half[n]) + series.get(hour + 1, 0.0)
    return max(out, *(worth - half[n] for n, worth in enumerate(held)))


@attrs.frozen(kw_only=True)
class Score:
    """What positions made of a panel, as fractions of the unit. trips: sum of weights entered."""

    net: float
    optimum: float
    funding: float
    paid: float
    trips: float
    hours_in: float
    hours: int
    weight_max: float = 0.0

    @property
    def capture(self) -> float:
        """Share of the optimum; nan where there was nothing to be had."""
        return self.net / self.optimum if self.optimum > 0 else math.nan

    @property
    def apr(self) -> float:
        """Net a year, simple."""
        return self.net * HOURS_A_YEAR / self.hours


def score(panel: Panel, costs: Costs, positions: Positions, best: float | None = None) -> Score:
    """What `positions` made; the last ones are left at the end. best: the optimum, if known.

    Weights of before the panel's first hour are in force at it, and were entered then. Raises
    ValueError for hours that fall, and for markets that the panel does not have.
    """
    held: Mapping[str, float] = {}
    funding = cost = trips = inside = top = 0.0
    rows = list(positions)
    for (before, _), (after, _) in pairwise(rows):
        if after <= before:
            raise ValueError(f"positions: hour {after} is not after {before}")
    for coin in (name for _, weights in rows for name in weights):
        if coin not in panel.series:
            raise ValueError(f"positions: {coin} is not in the panel")
    begun = [weights for hour, weights in rows if hour <= panel.first]
    changes = {hour: weights for hour, weights in rows if panel.first < hour < panel.last}
    if begun:
        changes[panel.first] = begun[-1]
    for hour in range(panel.first, panel.last):
        if hour in changes:
            now = {coin: weight for coin, weight in changes[hour].items() if weight}
            for coin in {**held, **now}:
                moved = now.get(coin, 0.0) - held.get(coin, 0.0)
                cost += abs(moved) * costs.half(coin)
                trips += max(0.0, moved)
            held = now
            top = max(top, sum(held.values()))
        for coin, weight in held.items():
            funding += weight * panel.paid(coin, hour)
            inside += weight
    cost += sum(weight * costs.half(coin) for coin, weight in held.items())
    return Score(
        net=funding - cost,
        optimum=optimum(panel, costs) if best is None else best,
        funding=funding,
        paid=cost,
        trips=trips,
        hours_in=inside,
        hours=panel.last - panel.first,
        weight_max=top,
    )


def always_in(panel: Panel, coin: str) -> Positions:
    """Held from the first print that is known to the last hour."""
    return [(max(panel.first, min(panel.series[coin].prints)), {coin: 1.0})]


def subsets(coins: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Every choice of markets, smallest first; of many markets each alone, and all."""
    if len(coins) <= SUBSETS_MAX:
        sizes = range(1, len(coins) + 1)
        return tuple(found for size in sizes for found in combinations(coins, size))
    return (*((coin,) for coin in coins), tuple(coins))
