"""What to hold, hour by hour, by the core's own arithmetic; and the known rules beside it.

The bot decides every second of books, wallets and gates. Of that, this keeps what the yardstick
judges: forecast, cost, horizon, edge, minimum hold. Each is the core's own function, in Decimal.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Final

import attrs

from carry.core import economics
from carry.core.economics import Cost
from carry.core.num import ZERO
from carry.core.policy import Strategy
from carry.core.state import Forecast
from carry.core.types import FundingPrint

from .yardstick import HOURS_A_YEAR, Costs, Panel, Positions

HOUR_MS: Final = 3_600_000
RATE_MAX: Final = Decimal("0.04")


@attrs.frozen
class Seen:
    """One market as an hour's decision knows it."""

    forecast: Forecast
    interval_h: int
    cost: Cost

    def known(self) -> bool:
        return economics.known_h(self.forecast, self.interval_h) >= economics.KNOWN_H_MIN

    def net(self, strategy: Strategy) -> Decimal:
        """What entering is expected to leave over the horizon, as a fraction of the unit."""
        return economics.expected_net(
            self.forecast.rate, strategy.horizon_h, self.interval_h, self.cost
        )

    def worth(self, strategy: Strategy) -> bool:
        return self.known() and economics.worth(self.net(strategy), strategy).enough(strategy)


def stays_in(
    strategy: Strategy, held: str, held_h: int, seen: Mapping[str, Seen]
) -> bool:
    """Whether the market held is kept this hour: HEDGE_OK's reasons to leave, and the switch."""
    if held_h < strategy.min_hold_h:
        return True
    one = seen[held]
    rate, hours = one.forecast.rate, one.interval_h
    if economics.wants_out(strategy, one.forecast, hours) and economics.staying_loses(
        rate, strategy.horizon_h, hours, one.cost
    ):
        return False
    for coin, other in seen.items():
        if coin == held or other.forecast.rate * hours <= rate * other.interval_h:
            continue
        if other.worth(strategy):
            same = other.forecast.rate * hours / other.interval_h
            gain = economics.switch_gain(strategy, hours, (rate, one.cost), (same, other.cost))
            if economics.switches(strategy, gain):
                return False
    return True


def enters(strategy: Strategy, seen: Mapping[str, Seen], left: str | None) -> str | None:
    """The market to enter: the best expected net of those that pay; none that was just left."""
    worth = [c for c, one in seen.items() if c != left and one.worth(strategy)]
    return min(worth, key=lambda c: (-seen[c].net(strategy), c), default=None)


def forecasts(
    panel: Panel, coin: str, halflife_h: int, rate_max: Decimal = RATE_MAX
) -> dict[int, Forecast]:
    """The core's forecast after each print of a market, from its first one on."""
    series, forecast, found = panel.series[coin], None, {}
    for hour, rate in sorted(series.prints.items()):
        new = FundingPrint(at_ms=hour * HOUR_MS, rate=Decimal(repr(rate)))
        forecast = economics.fold(
            forecast,
            (new,),
            halflife_h=halflife_h,
            interval_ms=series.interval_h * HOUR_MS,
            rate_max=rate_max,
        )
        if forecast is not None:
            found[hour] = forecast
    return found


Forecasts = Mapping[str, Mapping[int, Forecast]]


def bot(
    panel: Panel, costs: Costs, strategy: Strategy, known: Forecasts | None = None
) -> Positions:
    """What the bot would hold with all of a unit, by a strategy. known: forecasts made before."""
    if known is None:
        known = {c: forecasts(panel, c, strategy.forecast_halflife_h) for c in panel.coins}
    price: dict[str, Cost] = {}
    for coin in panel.coins:
        half = Decimal(repr(costs.half(coin)))
        price[coin] = Cost(
            entry_fees=half, entry_slippage=ZERO, exit_fees=half, exit_slippage=ZERO
        )
    last: dict[str, Forecast] = {}
    for coin in panel.coins:
        before = [hour for hour in known[coin] if hour < panel.first]
        if before:
            last[coin] = known[coin][max(before)]
    held: str | None = None
    since, changes = 0, []
    for hour in range(panel.first, panel.last):
        new = {c: known[c][hour] for c in panel.coins if hour in known[c]}
        last |= new
        if not new and hour != panel.first and held is not None:
            if hour - since != strategy.min_hold_h:
                continue  # nothing is known that was not known an hour ago
        seen = {c: Seen(f, panel.series[c].interval_h, price[c]) for c, f in last.items()}
        left = None
        was = held
        if held is not None and not stays_in(strategy, held, hour - since, seen):
            left, held = held, None
        if held is None:
            held = enters(strategy, seen, left)
            since = hour
        if held != was:
            changes.append((hour, {held: 1.0} if held is not None else {}))
    return changes


# --- known rules ----------------------------------------------------------------------------------


def threshold(panel: Panel, enter_apr: float, exit_apr: float) -> Positions:
    """In the market of the highest last print above one annual rate, out at or below another.

    (0, 0) follows the sign of the last print.
    """
    held: str | None = None
    changes = []
    last: dict[str, float] = {}
    for hour in range(panel.first, panel.last):
        for coin, series in panel.series.items():
            if hour in series.prints:
                last[coin] = series.prints[hour] * HOURS_A_YEAR / series.interval_h
        was = held
        if held is not None and last[held] <= exit_apr:
            held = None
        if held is None and last:
            best = max(last, key=lambda c: last[c])
            held = best if last[best] > enter_apr else None
        if held != was:
            changes.append((hour, {held: 1.0} if held is not None else {}))
    return changes


def ranked(
    panel: Panel,
    costs: Costs,
    rates: Callable[[str], Iterator[tuple[int, float]]],
    horizon_h: int,
    min_hold_h: int,
) -> Positions:
    """In the market of the best expected rate, left only for one whose gain over the horizon is
    above the cost of the switch. rates: of a market, (hour, fraction an hour) as they are known.
    """
    known = {coin: dict(rates(coin)) for coin in panel.coins}
    last: dict[str, float] = {}
    held: str | None = None
    since, changes = 0, []
    for hour in range(panel.first, panel.last):
        last |= {c: known[c][hour] for c in panel.coins if hour in known[c]}
        if not last:
            continue
        was = held
        if held is None:
            best = max(last, key=lambda c: last[c] * horizon_h - 2 * costs.half(c))
            held = best if last[best] > 0 else None
        elif hour - since >= min_hold_h:
            gains = {
                c: (last[c] - last[held]) * horizon_h - costs.half(c) - costs.half(held)
                for c in last
            }
            best = max(gains, key=lambda c: gains[c])
            held = best if gains[best] > 0 and best != held else held
        if held != was:
            since = hour
            changes.append((hour, {held: 1.0} if held is not None else {}))
    return changes


def mean_rates(panel: Panel, coin: str, window_h: int, after: int) -> Iterator[tuple[int, float]]:
    """The mean of the prints of a window, from the print of number `after` on."""
    series = panel.series[coin]
    kept: list[tuple[int, float]] = []
    for n, (hour, rate) in enumerate(sorted(series.prints.items()), start=1):
        kept.append((hour, rate))
        while kept[0][0] <= hour - window_h:
            kept.pop(0)
        if n >= after:
            yield hour, sum(r for _, r in kept) / len(kept) / series.interval_h


def ewma_rates(panel: Panel, coin: str, halflife_h: int, after: int) -> Iterator[tuple[int, float]]:
    """The exponentially weighted mean of all prints so far, weights corrected for the beginning."""
    series = panel.series[coin]
    keep = 0.5 ** (series.interval_h / halflife_h)
    total = weight = 0.0
    for n, (hour, rate) in enumerate(sorted(series.prints.items()), start=1):
        total = total * keep + rate * (1 - keep)
        weight = weight * keep + 1 - keep
        if n >= after:
            yield hour, total / weight / series.interval_h
