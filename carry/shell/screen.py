"""The report for people, 80 columns wide: what `carry status` and the chat show."""

import textwrap
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from carry.core.num import show

from .why import lasting as lasting

WIDTH = 80
Report = dict[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns as wide as they need to be; plain text, so that it pastes anywhere."""
    cells = [tuple(head), *[tuple("-" if c is None else str(c) for c in row) for row in rows]]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
    return "\n".join(lines)


def date(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at_ms // 1000))


def cut(text: str | None, places: int) -> str | None:
    """A decimal string with no more places than a person wants; None stays None."""
    if text is None:
        return None
    return show(Decimal(text).quantize(Decimal(1).scaleb(-places)))


def percent(text: str | None, places: int = 4, times: int = 1) -> str | None:
    """A fraction as percent; None stays None."""
    return None if text is None else cut(show(Decimal(text) * 100 * times), places)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False) or [""]


def money(pnl: Report) -> str:
    """Net PnL by cause as one sum; what nothing explains is beside it."""
    return (
        f"net ${cut(pnl['net_usd'], 2)} = funding {cut(pnl['funding_usd'], 2)} - fees "
        f"{cut(pnl['fees_usd'], 2)} + basis {cut(pnl['basis_usd'], 2)} + slippage "
        f"{cut(pnl['slippage_usd'], 2)} + external {cut(pnl['external_usd'], 2)}"
    )


def market_lines(m: Report) -> tuple[str, str]:
    """What is held, and what it pays and waits for."""
    naked = " NAKED" if m["naked"] else ""
    distance = m["liquidation_distance"]
    liquidation = (
        f"{percent(distance, 1)} % away at {cut(m['liquidation_px'], 4)}" if distance else "-"
    )
    rate, forecast = m["funding_rate"], m["forecast_rate"]
    apr = None if rate is None else percent(rate, 2, 8760)
    net = f", expects {m['expected_net_bps']} bps net" if m["expected_net_bps"] else ""
    return (
        f"{m['coin']} {m['phase']}{naked}: spot {m['spot_sz']}, perp {m['perp_sz']}, delta "
        f"${m['delta_usd'] or '?'} (band {m['band_usd'] or '?'}), liquidation {liquidation}",
        f"  funding {percent(rate, 5) or '?'} %/h ({apr or '?'} % a year), forecast "
        f"{percent(forecast, 5) or '?'} %/h, next ${cut(m['next_payment_usd'], 4) or '?'}"
        f"{net}{_even(m['break_even'])}",
    )


def _even(clock: Report | None) -> str:
    """How long until funding has paid for everything, the way out too."""
    if clock is None:
        return ""
    if clock["hours"] == "0":
        return ", past break-even"
    if clock["hours"] is None:
        return ", no break-even at this rate"
    return f", break-even in {clock['hours']} h ({clock['pessimistic_h']} h at half the rate)"


def _markets(found: Report) -> list[str]:
    """Two lines a market, and a third where something is foreign."""
    lines = []
    for m in found["markets"]:
        for line in market_lines(m):
            lines += _wrapped(line)
        foreign = m["foreign"]
        if foreign["spot_sz"] != "0" or foreign["perp_sz"] != "0":
            lines += _wrapped(
                f"  foreign, never touched: spot {foreign['spot_sz']} (reserved "
                f"{m['reserved_sz']}), perp {foreign['perp_sz']}"
            )
    return lines


def _health(found: Report) -> list[str]:
    ages, budget = found["ages_ms"], found["budget"]
    quotes = [ms for name, ms in ages.items() if name.startswith("quote:")]
    parts = [f"prices {lasting(max(quotes))}" if quotes else "prices never read"]
    parts += [f"{n} {lasting(ages[n])}" for n in ("positions", "balances", "fills") if n in ages]
    left = budget["actions_left"]
    agent = found["agent_until_ms"]
    ends = "never, or is not listed"
    if agent is not None:
        ends = f"in {lasting(agent - found['now_ms'])}" if agent > found["now_ms"] else "ENDED"
    protected = found["protected_ms"]
    took = "not yet" if protected is None else f"{Decimal(protected) / 1000:f} s after start"
    paid = found["to_payment_ms"]
    when = "?" if paid is None else lasting(paid)
    return [
        *_wrapped(f"ages: {', '.join(parts)}; next payment in {when}"),
        *_wrapped(
            f"budget: {'?' if left is None else left} actions left, "
            f"{budget['orders_last_minute']} of {budget['orders_per_min_max']} orders a minute; "
            f"agent key ends {ends}; protected {took}"
        ),
    ]


def _history(found: Report) -> str:
    behind = f"{found['lag_ticks']} ticks behind ({lasting(found['lag_ms'])})"
    text = behind if found["lag_ticks"] else f"copied to tick {found['seq']}"
    if found["problem"]:
        text = f"{behind}: {found['problem']}"
    return f"history: {text}; said {lasting(found['age_s'] * 1000)} ago"


def status(found: Report) -> str:
    """The whole report. found: `status.report`, with `age_s` and `alerts` where they are known."""
    age = found.get("age_s")
    picture = "" if age is None else f"  written {lasting(age * 1000)} ago"
    lines = [f"{found['mode']}  tick {found['seq']}  {date(found['now_ms'])}{picture}"]
    lines += _wrapped(found["why"]["text"])
    lines += _markets(found)
    pnl = found["pnl"]
    lines += _wrapped(money(pnl))
    residual = pnl["residual_usd"]
    unexplained = "unknown" if residual is None else f"${cut(residual, 4)}"
    equity = cut(found["equity_usd"], 2)
    mode = found["account_mode"] or "unknown"
    lines += _wrapped(f"residual {unexplained}; equity ${equity or '?'}; account mode {mode}")
    lines += _health(found)
    if history := found.get("history"):
        lines += _wrapped(_history(history))
    for i in found["intents_open"]:
        lines += _wrapped(
            f"order #{i['no']} {i['coin']} {i['side']} {i['leg']} {i['sz']} @ {i['px']}: "
            f"{i['status']}, {i['filled_sz']} filled"
        )
    for name, latch in found["latches"].items():
        lines += _wrapped(
            f"latch {name} ({latch['mode']}), for {lasting(latch['since_ms'])}: {latch['why']}"
        )
    for alert in found.get("alerts") or ():
        when = "-" if alert["at_ms"] is None else date(alert["at_ms"])[5:16]
        lines += _wrapped(f"alert {when} {alert['level']} {alert['name']}: {alert['text']}")[:2]
    lines += _wrapped(f"If this machine vanishes now: {found['vanish']}.")
    return "\n".join(lines)


def sentence(text: str, coin: str) -> str:
    """A market's reason with its coin, unless it names it already."""
    return text if coin in text else f"{coin}: {text}"
