"""Choosing the strategy's figures on the past, to be judged on the years after.

Hundreds of candidates over every subset of the markets at once, hour by hour, in numpy: floats are
good enough to choose by. What is chosen is then run by the core's own arithmetic (`holding`), and a
test holds the two against each other.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import attrs

from carry.core.economics import KNOWN_H_MIN
from carry.core.num import BPS
from carry.core.policy import Strategy

from .holding import forecasts
from .yardstick import HOURS_A_YEAR, Costs, Panel, subsets

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HALFLIVES_H: Final = (72, 108, 168)
HORIZONS_H: Final = (336, 504, 672)
EDGES_BPS: Final = (20, 30, 40)
MIN_HOLDS_H: Final = (24, 72, 168)
COSTS_BPS: Final = (17.0, 23.0)
NOTHING: Final = -1e9  # worth of a market that may not be held

Progress = Callable[[int, int], None]


class NoNumpy(Exception):
    """The search needs an extra that is not installed."""


def candidates() -> tuple[Strategy, ...]:
    """The grid: everything else of the strategy is as shipped."""
    grid = product(HALFLIVES_H, HORIZONS_H, EDGES_BPS, MIN_HOLDS_H)
    return tuple(
        attrs.evolve(
            Strategy(),
            forecast_halflife_h=halflife,
            horizon_h=horizon,
            switch_edge_bps=Decimal(edge),
            min_hold_h=hold,
        )
        for halflife, horizon, edge, hold in grid
    )


@attrs.frozen
class Found:
    """Captures by candidate, cost and subset, in the order they were given."""

    captures: Any  # (candidates, costs, subsets)

    def best(self) -> int:
        """The candidate of the highest mean capture over costs and subsets; the first of equals."""
        return int(self.captures.mean(axis=(1, 2)).argmax())


def search(
    panel: Panel,
    strategies: Sequence[Strategy],
    costs_bps: Sequence[float] = COSTS_BPS,
    progress: Progress = lambda done, of: None,
) -> Found:
    """Every strategy at every cost on every subset that has a print in these hours."""
    try:
        import numpy as np
    except ImportError:
        raise NoNumpy("the search needs numpy: pip install 'carry[research]'") from None
    coins = panel.coins
    alive = [c for c in coins if any(h < panel.last for h in panel.series[c].prints)]
    sets = [s for s in subsets(coins) if any(c in alive for c in s)]
    member = np.array([[coin in one for coin in coins] for one in sets])
    half = np.array([[Costs(bps).half(coin) for coin in coins] for bps in costs_bps])
    paid = _paid(panel)
    best = _optima(paid, member, half)
    nets = _nets(paid, _rates(panel, strategies), member, half, strategies, progress)
    return Found(nets / np.maximum(best, 1e-12))


def _paid(panel: Panel) -> "Floats":
    """What each hour's decision is paid: (hours, coins)."""
    import numpy as np

    hours = range(panel.first, panel.last)
    return np.array([[panel.paid(coin, hour) for coin in panel.coins] for hour in hours])


def _rates(panel: Panel, strategies: Sequence[Strategy]) -> "Floats":
    """The forecast that each hour knows, as a fraction an hour: (hours, strategies, coins); nan:
    too few prints.
    """
    import numpy as np

    halflives = sorted({s.forecast_halflife_h for s in strategies})
    made = np.full((panel.last - panel.first, len(halflives), len(panel.coins)), np.nan)
    for n, coin in enumerate(panel.coins):
        interval = panel.series[coin].interval_h
        for k, halflife_h in enumerate(halflives):
            for hour, forecast in forecasts(panel, coin, halflife_h).items():
                if forecast.count * interval >= KNOWN_H_MIN and hour < panel.last:
                    made[max(0, hour - panel.first):, k, n] = float(forecast.rate) / interval
    return made[:, [halflives.index(s.forecast_halflife_h) for s in strategies]]


def _optima(paid: "Floats", member: Any, half: "Floats") -> "Floats":
    """The optimum of each cost and subset: (costs, subsets)."""
    import numpy as np

    shape = (len(half), *member.shape)
    sides = np.broadcast_to(half[:, None, :], shape)
    out = np.zeros(shape[:2])
    held = np.where(member, -1e3, NOTHING) * np.ones(shape)
    for now in paid:
        out = np.maximum(out, (held - sides).max(axis=2))
        held = np.where(member, np.maximum(held, out[..., None] - sides) + now, NOTHING)
    found: Floats = np.maximum(out, (held - sides).max(axis=2))
    return found


def _nets(
    paid: "Floats",
    rates: "Floats",
    member: Any,
    half: "Floats",
    strategies: Sequence[Strategy],
    progress: Progress,
) -> "Floats":
    """What each strategy nets at each cost on each subset: `holding.bot`, for all at once."""
    import numpy as np

    shape = (len(strategies), len(half), *member.shape)
    sides = np.broadcast_to(half[None, :, None, :], shape).reshape(-1, shape[3]).copy()
    allowed = np.broadcast_to(member, shape).reshape(-1, shape[3])

    def each(of: Callable[[Strategy], float]) -> "Floats":
        return np.repeat([of(s) for s in strategies], shape[1] * shape[2])

    horizon = each(lambda s: s.horizon_h)
    hold = each(lambda s: s.min_hold_h)
    edge = each(lambda s: float(s.switch_edge_bps * BPS))
    enough = each(
        lambda s: max(
            float(s.buffer_bps * BPS), float(s.enter_threshold_apr) * s.horizon_h / HOURS_A_YEAR
        )
    )[:, None]
    rows = np.arange(len(sides))
    held, since, net = np.full(len(rows), -1), np.zeros(len(rows)), np.zeros(len(rows))
    left = np.full(len(rows), -1)
    for hour, (now, rate) in enumerate(zip(paid, rates, strict=True)):
        known = np.repeat(np.nan_to_num(rate, nan=NOTHING), shape[1] * shape[2], axis=0)
        income = known * horizon[:, None]
        worth = np.where(allowed, income - 2 * sides, NOTHING)
        worth[worth < enough] = NOTHING
        at = np.maximum(held, 0)
        own, side = income[rows, at], sides[rows, at]
        gain = income - own[:, None] - sides - np.maximum(sides, side[:, None])
        gain[(worth == NOTHING) | (income <= own[:, None])] = NOTHING
        leave = (held >= 0) & (hour - since >= hold)
        leave &= (-own > 2 * side) | (gain.max(axis=1) > edge)
        net -= np.where(leave, side, 0.0)
        left = np.where(leave, held, -1)
        held = np.where(leave, -1, held)
        worth[rows[leave], left[leave]] = NOTHING
        choice = worth.argmax(axis=1)
        enter = (held < 0) & (worth[rows, choice] > NOTHING)
        net -= np.where(enter, sides[rows, choice], 0.0)
        since = np.where(enter, hour, since)
        held = np.where(enter, choice, held)
        net += np.where(held >= 0, now[np.maximum(held, 0)], 0.0)
        if hour % 100 == 0:
            progress(hour, len(paid))
    net -= np.where(held >= 0, sides[rows, np.maximum(held, 0)], 0.0)
    progress(len(paid), len(paid))
    found: Floats = net.reshape(shape[:3])
    return found
