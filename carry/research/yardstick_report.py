"""The yardstick's tables: what the bot's rule captures by market, subset, year; beside others."""

import calendar
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from carry.core.policy import Strategy
from carry.core.state import Forecast
from carry.shell.screen import table

from . import choosing, holding
from .yardstick import (
    HOURS_A_YEAR,
    Costs,
    Panel,
    Positions,
    Score,
    always_in,
    optimum,
    score,
    subsets,
)

Report = dict[str, Any]
Progress = Callable[[int, int], None]
Rule = Callable[[Panel, Costs], Positions]

# Rules to compare with. The last two know a day of prints before they act.
KNOWN: tuple[tuple[str, Rule], ...] = (
    ("sign of the last print", lambda p, c: holding.threshold(p, 0.0, 0.0)),
    ("last print, in at 20 %, out at 5 %", lambda p, c: holding.threshold(p, 0.2, 0.05)),
    (
        "mean of 7 days, edge over 8 days, held 7 days",
        lambda p, c: holding.ranked(p, c, lambda k: holding.mean_rates(p, k, 168, 24), 192, 168),
    ),
    (
        "mean of half-life 120 h, edge over 8 days",
        lambda p, c: holding.ranked(p, c, lambda k: holding.ewma_rates(p, k, 120, 24), 192, 0),
    ),
)


@attrs.frozen(kw_only=True)
class Asked:
    """costs_bps: round trips to judge at. subsets: every choice of markets, not each and all."""

    costs_bps: Sequence[float]
    spreads: dict[str, float]
    strategy: Strategy
    subsets: bool = False


def report(panel: Panel, asked: Asked, progress: Progress = lambda done, of: None) -> Report:
    """All figures of the yardstick on a panel, as plain values for JSON."""
    sets = subsets(panel.coins)
    if not asked.subsets:
        sets = tuple(s for s in sets if len(s) in (1, len(panel.coins)))
    known = {
        c: holding.forecasts(panel, c, asked.strategy.forecast_halflife_h) for c in panel.coins
    }
    steps = len(asked.costs_bps) * (len(sets) + 1)
    done = 0
    made: list[Report] = []
    for bps in asked.costs_bps:
        costs = Costs(bps, asked.spreads)
        rows = []
        for coins in sets:
            rows.append(_of_set(panel.of(coins), costs, asked.strategy, known))
            done += 1
            progress(done, steps)
        whole = rows[-1]
        best = whole["optimum"]
        made.append(
            {
                "cost_bps": bps,
                "whole": whole,
                "sets": rows,
                "worst": min(rows, key=lambda r: float(r["capture"])),
                "worst_against_always_in": min(rows, key=lambda r: float(r["against_always_in"])),
                "known": {
                    name: score(panel, costs, rule(panel, costs), best).capture
                    for name, rule in KNOWN
                },
                "years": list(_years(panel, costs, asked.strategy, known)),
            }
        )
        done += 1
        progress(done, steps)
    return {
        "from": date(panel.first),
        "to": date(panel.last),
        "hours": panel.last - panel.first,
        "coins": list(panel.coins),
        "costs": made,
        "forecast": [_error(panel, coin, asked.strategy, known[coin]) for coin in panel.coins],
    }


def date(hour: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(hour * 3600))


def _of_set(
    panel: Panel, costs: Costs, strategy: Strategy, known: holding.Forecasts
) -> Report:
    best = optimum(panel, costs)
    found = score(panel, costs, holding.bot(panel, costs, strategy, known), best)
    always = {
        coin: score(panel, costs, always_in(panel, coin), best).capture
        for coin in panel.coins
        if any(panel.first < hour <= panel.last for hour in panel.series[coin].prints)
    }
    top = max(always.values())
    return {
        "coins": list(panel.coins),
        **as_json(found),
        "always_in": top,
        "against_always_in": found.capture - top,
    }


def as_json(found: Score) -> Report:
    return {
        "net": found.net,
        "optimum": found.optimum,
        "capture": found.capture,
        "apr": found.apr,
        "funding": found.funding,
        "costs": found.paid,
        "round_trips": found.trips,
        "time_in": found.hours_in / found.hours,
        "weight_max": found.weight_max,
    }


def _years(
    panel: Panel, costs: Costs, strategy: Strategy, known: holding.Forecasts
) -> Iterator[Report]:
    """Each calendar year by itself: begun out, with what was known of the years before."""
    for year in range(time.gmtime(panel.first * 3600).tm_year, 2100):
        begins, ends = year_hour(year), year_hour(year + 1)
        if begins >= panel.last:
            return
        part = attrs.evolve(panel, first=max(begins, panel.first), last=min(ends, panel.last))
        yield {"year": year, **_of_set(part, costs, strategy, known)}


def year_hour(year: int) -> int:
    """The first hour of a year (UTC), since the epoch."""
    return calendar.timegm((year, 1, 1, 0, 0, 0)) // 3600


def _error(
    panel: Panel, coin: str, strategy: Strategy, known: Mapping[int, Forecast]
) -> Report:
    """How far the forecast is from the mean of the horizon after it, once a day, beside others.

    Annual rates; absolute errors. r: correlation with what came.
    """
    series, horizon = panel.series[coin], strategy.horizon_h
    hours = sorted(series.prints)
    sums = [0.0]
    for hour in hours:
        sums.append(sums[-1] + series.prints[hour])
    scale = HOURS_A_YEAR / series.interval_h
    after, before = max(1, horizon // series.interval_h), max(1, 168 // series.interval_h)
    rows: list[tuple[float, float, float, float]] = []
    for n in range(before, len(hours) - after, max(1, 24 // series.interval_h)):
        if hours[n] < panel.first:
            continue
        came = (sums[n + 1 + after] - sums[n + 1]) / after * scale
        week = (sums[n + 1] - sums[n + 1 - before]) / before * scale
        rows.append(
            (came, float(known[hours[n]].rate) * scale, week, series.prints[hours[n]] * scale)
        )
    if len(rows) < 10:
        return {"coin": coin, "days": len(rows)}
    came_all = [row[0] for row in rows]
    names = ("forecast", "mean_7d", "last_print")
    return {
        "coin": coin,
        "days": len(rows),
        "mean_apr": sum(came_all) / len(rows),
        **{
            name: {
                "mean_error": sum(abs(row[n] - row[0]) for row in rows) / len(rows),
                "r": _correlation(came_all, [row[n] for row in rows]),
            }
            for n, name in enumerate(names, start=1)
        },
    }


def _correlation(one: Sequence[float], other: Sequence[float]) -> float:
    mean_a, mean_b = sum(one) / len(one), sum(other) / len(other)
    top = sum((a - mean_a) * (b - mean_b) for a, b in zip(one, other, strict=True))
    below = sum((a - mean_a) ** 2 for a in one) * sum((b - mean_b) ** 2 for b in other)
    return float(top / below**0.5) if below else 0.0


def walk_forward(
    panel: Panel,
    costs_bps: Sequence[float],
    progress: Progress = lambda done, of: None,
) -> list[Report]:
    """At each year's start the grid's best of all hours before, judged on the year; and the shipped
    strategy beside it. Means over every subset of the markets. Raises `choosing.NoNumpy`.
    """
    grid = (*choosing.candidates(), Strategy())
    years = [y for y in range(time.gmtime(panel.first * 3600).tm_year + 1, 2100)
             if year_hour(y) < panel.last]
    found = []
    for n, year in enumerate(years):
        def part(done: int, of: int, shift: int = 2 * n) -> None:
            progress(shift * of + done, 2 * len(years) * of)

        def rest(done: int, of: int, shift: int = 2 * n + 1) -> None:
            progress(shift * of + done, 2 * len(years) * of)

        past = attrs.evolve(panel, last=year_hour(year))
        then = attrs.evolve(
            panel, first=year_hour(year), last=min(panel.last, year_hour(year + 1))
        )
        before = choosing.search(past, grid[:-1], costs_bps, part)
        chosen = before.best()
        after = choosing.search(then, grid, costs_bps, rest).captures.mean(axis=2)
        strategy = grid[chosen]
        found.append(
            {
                "year": year,
                "forecast_halflife_h": strategy.forecast_halflife_h,
                "horizon_h": strategy.horizon_h,
                "switch_edge_bps": int(strategy.switch_edge_bps),
                "min_hold_h": strategy.min_hold_h,
                "before": [float(c) for c in before.captures[chosen].mean(axis=1)],
                "after": [float(c) for c in after[chosen]],
                "shipped": [float(c) for c in after[-1]],
            }
        )
    return found


# --- for people -----------------------------------------------------------------------------------


def percent(value: float, places: int = 1) -> str:
    return f"{100 * value:.{places}f}"


def text(made: Report) -> str:
    """The report as tables."""
    parts = [
        f"{made['from']} to {made['to']}, {made['hours']} hours, {', '.join(made['coins'])}. "
        "One unit, one market at most; % of the unit, capture in % of the best of hindsight."
    ]
    head = ("bps", "optimum", "net", "a year", "capture", "always-in", "trips", "worst subset",
            "least against always-in")
    parts.append(table(head, [
        (
            f"{c['cost_bps']:g}",
            percent(c["whole"]["optimum"]),
            percent(c["whole"]["net"]),
            percent(c["whole"]["apr"]),
            percent(c["whole"]["capture"]),
            percent(c["whole"]["always_in"]),
            f"{c['whole']['round_trips']:g}",
            f"{percent(c['worst']['capture'])} {'+'.join(c['worst']['coins'])}",
            f"{percent(c['worst_against_always_in']['against_always_in'])} "
            f"{'+'.join(c['worst_against_always_in']['coins'])}",
        )
        for c in made["costs"]
    ]))
    costs = [f"{c['cost_bps']:g}" for c in made["costs"]]
    parts.append(table(
        ("capture at bps", *costs),
        [("the bot", *[percent(c["whole"]["capture"]) for c in made["costs"]])]
        + [(name, *[percent(c["known"][name]) for c in made["costs"]]) for name, _ in KNOWN],
    ))
    parts.append(table(
        ("markets: capture (always-in)", *costs),
        [
            ("+".join(row["coins"]),
             *[f"{percent(c['sets'][n]['capture'])} ({percent(c['sets'][n]['always_in'])})"
               for c in made["costs"]])
            for n, row in enumerate(made["costs"][0]["sets"])
        ],
    ))
    parts.append(table(
        ("year: capture (always-in)", *costs),
        [
            (row["year"],
             *[f"{percent(c['years'][n]['capture'])} ({percent(c['years'][n]['always_in'])})"
               for c in made["costs"]])
            for n, row in enumerate(made["costs"][0]["years"])
        ],
    ))
    parts.append(table(
        ("error of the horizon's rate, % a year (r)", "paid", "forecast", "7-day mean", "last"),
        [
            (row["coin"], percent(row["mean_apr"]),
             *[f"{percent(row[k]['mean_error'])} ({row[k]['r']:.2f})"
               for k in ("forecast", "mean_7d", "last_print")])
            for row in made["forecast"] if "mean_apr" in row
        ],
    ))
    return "\n\n".join(parts)


def walk_text(rows: Sequence[Report], costs_bps: Sequence[float]) -> str:
    head = ("year", "half-life", "horizon", "edge", "hold", "capture before", "in the year",
            "shipped in the year")
    at = " / ".join(f"{bps:g}" for bps in costs_bps)
    return f"Means over all subsets at {at} bps.\n" + table(head, [
        (
            row["year"], row["forecast_halflife_h"], row["horizon_h"], row["switch_edge_bps"],
            row["min_hold_h"],
            *[" / ".join(percent(c) for c in row[k]) for k in ("before", "after", "shipped")],
        )
        for row in rows
    ])
