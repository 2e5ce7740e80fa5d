"""A backtest for people and for programs: the table, the JSON, the weights."""

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from carry.core.num import show
from carry.core.policy import Policy

from .backtest import Backtest, iso
from .figures import Figures, Row

CENT = Decimal("0.01")
MODEL = "spread and depth by a model (docs/BACKTEST.md)"


def weights_csv(found: Backtest) -> str:
    """time,coin,weight: the UTC hour of a decision, of all that may be held, at changes only."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("time", "coin", "weight"))
    for hour, coin, weight in found.bot.weights:
        writer.writerow((iso(hour).replace("Z", ":00Z"), coin, show(weight)))
    return text.getvalue()


def as_json(found: Backtest) -> dict[str, Any]:
    """Everything, numbers as decimal strings and counts as integers."""
    setup = found.setup
    return {
        "data": {
            "folder": found.folder,
            "digest": found.digest,
            "from": iso(setup.start_hour),
            "to": iso(setup.end_hour),
            "hours": setup.end_hour - setup.start_hour,
            "markets": {
                one.coin: {
                    "spot": one.spot,
                    "why": one.why,
                    "prints": one.prints,
                    "prints_missing": one.prints_missing,
                    "hours_missing": one.hours_missing,
                }
                for one in found.coverage
            },
        },
        "capital_usd": show(setup.capital_usd),
        "latency_ms": setup.latency_ms,
        "books": MODEL,
        "policy": setup.policy.source,
        "residual_usd": show(found.residual_usd),
        "bot": _figures(found.bot),
        "slippage": {show(k): _figures(one) for k, one in found.slippage.items()},
        "filled_an_hour_later": _figures(found.later),
        "rules": {
            name: {
                "net_usd": show(one.net_usd),
                "funding_usd": show(one.funding_usd),
                "costs_usd": show(one.costs_usd),
                "basis_usd": show(one.basis_usd),
                "net_on_notional_apr": show(one.on_notional),
                "round_trips": one.rounds,
                "hours_in_position": one.held_h,
            }
            for name, one in found.rules.items()
        },
    }


def _figures(one: Figures) -> dict[str, Any]:
    return {
        "total": _row(one.total),
        "markets": {coin: _row(row) for coin, row in one.markets.items()},
        "years": {str(year): _row(row, rounds=False) for year, row in one.years.items()},
        "longest_loss_h": one.longest_loss_h,
        "deepest_loss_usd": show(one.deepest_usd),
        "nearest_liquidation": None if one.nearest is None else show(one.nearest),
        "forced_fills": one.liquidations,
        "residual_usd": show(one.residual_usd),
        "ticks": one.ticks,
        "failed_checks": list(one.crashes),
    }


def _row(row: Row, rounds: bool = True) -> dict[str, Any]:
    pnl = row.pnl
    shown: dict[str, Any] = {
        "net_usd": show(pnl.net_usd),
        "funding_usd": show(pnl.funding_usd),
        "fees_usd": show(pnl.fees_usd),
        "slippage_usd": show(pnl.slippage_usd),
        "basis_usd": show(pnl.basis_usd),
        "external_usd": show(pnl.external_usd),
        "net_on_notional_apr": show(row.on_notional),
        "net_on_capital_apr": show(row.on_capital),
        "notional_usd": show(row.notional_usd),
        "hours": row.hours,
    }
    if rounds:
        shown["round_trips"] = row.rounds
        shown["hours_in_position"] = show(row.held_h)
    return shown


# --- the table -----------------------------------------------------------------------------------

HEAD = (
    "", "net $", "on notional", "on capital", "funding $", "fees $", "slippage $", "basis $",
    "external $", "round trips", "in position",
)  # fmt: skip


def table(found: Backtest) -> str:
    """What people read."""
    setup, bot = found.setup, found.bot
    hours = setup.end_hour - setup.start_hour
    lines = [
        f"{found.folder}, {iso(setup.start_hour)} to {iso(setup.end_hour)} ({hours} hours), "
        f"recording {found.digest}",
        _policy(setup.policy, setup.capital_usd),
        f"fills from the next bar's open, {setup.latency_ms} ms there and back; {MODEL}",
    ]
    for one in found.coverage:
        if one.spot == "perp":
            lines.append(f"{one.coin}: FUNDING ONLY, spot is priced at the perp ({one.why})")
        if one.prints_missing or one.hours_missing:
            lines.append(
                f"{one.coin}: {one.prints_missing} payments and {one.hours_missing} hours of "
                "prices are missing in the recording"
            )
    lines.append("")
    lines += _aligned([HEAD, *rows_of(found)])
    away = nearest(found)
    lines += [
        "",
        f"longest loss {bot.longest_loss_h / 24:.1f} days below an earlier high, at most "
        f"${bot.deepest_usd}; nearest liquidation: {away} above an hour's high",
        f"{bot.ticks} decisions; residual ${show(found.residual_usd)}",
    ]
    if bot.liquidations:
        lines.append(f"{bot.liquidations} fills were forced by the exchange (liquidation)")
    lines += [f"A check of the bot's own failed: {text}" for text in bot.crashes]
    lines += ["", "the same data and costs, each market by itself and always of the target size:"]
    ruled = [("", "net $", "on notional", "funding $", "costs $", "basis $", "round trips",
              "in position")]  # fmt: skip
    whole = hours * len(setup.tracks)
    for name, rule in found.rules.items():
        ruled.append(
            (name, _usd(rule.net_usd), _percent(rule.on_notional), _usd(rule.funding_usd),
             _usd(rule.costs_usd), _usd(rule.basis_usd), str(rule.rounds),
             f"{100 * rule.held_h / whole:.0f} %")
        )  # fmt: skip
    lines += _aligned(ruled)
    return "\n".join(lines)


def rows_of(found: Backtest) -> list[tuple[str, ...]]:
    """The table's rows under `HEAD`: markets, all of them, years, and the runs it is held against.
    """
    rows = [_cells(coin, row) for coin, row in found.bot.markets.items()]
    rows += [_cells("all", found.bot.total)]
    rows += [_cells(str(year), row, rounds=False) for year, row in found.bot.years.items()]
    rows += [
        _cells(f"slippage x {show(k)}", one.total) for k, one in found.slippage.items() if k != 1
    ]
    return [*rows, _cells("filled an hour later", found.later.total)]


def nearest(found: Backtest) -> str:
    """How near liquidation came."""
    away = found.bot.nearest
    return "nothing was held" if away is None else f"{away * 100:.1f} %"


def _policy(policy: Policy, capital_usd: Decimal) -> str:
    return (
        f"policy {policy.source}: ${show(policy.strategy.target_usd_notional)} a leg, leverage "
        f"{policy.execution.perp_leverage}, {policy.execution.style}; capital "
        f"${show(capital_usd)} in a unified account"
    )


def _cells(name: str, row: Row, rounds: bool = True) -> tuple[str, ...]:
    pnl = row.pnl
    cells = (
        name, _usd(pnl.net_usd), _percent(row.on_notional), _percent(row.on_capital),
        _usd(pnl.funding_usd), _usd(pnl.fees_usd), _usd(pnl.slippage_usd), _usd(pnl.basis_usd),
        _usd(pnl.external_usd),
    )  # fmt: skip
    if not rounds:
        return (*cells, "", "")
    return (*cells, str(row.rounds), f"{100 * row.held:.0f} %")


def _usd(value: Decimal) -> str:
    return f"{value.quantize(CENT):f}"


def _percent(rate: Decimal) -> str:
    return f"{rate * 100:.2f} %"


def _aligned(rows: Sequence[Iterable[str]]) -> list[str]:
    """Columns: the first to the left, numbers to the right."""
    cells = [tuple(row) for row in rows]
    widths = [max(len(row[n]) for row in cells) for n in range(len(cells[0]))]
    return [
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
