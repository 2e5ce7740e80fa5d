"""`carry report`: the books as one page with charts that opens anywhere, without a network.

Charts need floats and only draw: every number in the page's text and tables is the exact one, cut
for people. What is drawn at a time is as `accounts` has it before that time.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

from carry.core.actions import Posting
from carry.core.num import ZERO, show
from carry.core.state import PHASE_NAMES
from carry.core.types import Leg
from carry.shell import screen

from . import accounts, statement
from .accounts import DAY_MS, HOUR_MS, Books, Round, mark_at
from .past import NotThere, written
from .report_page import Chart, ReportRefused, page, plotly

POINTS_MAX: Final = 3_000
BARS_MAX: Final = 400
ROUNDS_DRAWN: Final = 12
HOURS_A_YEAR: Final = 8_760
CAUSE_COLOURS: Final = {
    "net": "#111111", "funding": "#1b9e5a", "fees": "#c0392b", "basis": "#2f6fb5",
    "slippage": "#e08e0b", "external": "#8e6bbf",
}  # fmt: skip
COIN_COLOURS: Final = ("#2f6fb5", "#e08e0b", "#1b9e5a", "#8e6bbf", "#c0392b", "#5b6770")
STEP: Final = {"shape": "hv", "width": 1.5}
NET: Final = {"shape": "hv", "width": 3}
Trace = dict[str, Any]


def make(books: Books, done: Callable[[int, int], None] = lambda done, of: None) -> str:
    """The whole page. done: told (made, of) as the charts are. Raises ReportRefused, NotThere."""
    offline = plotly("offline")
    if not books.lines:
        raise NotThere(f"{books.path}: nothing was booked yet, so there is nothing to report")
    times = moments(books)
    rounds = accounts.rounds(books)
    drawn = (
        partial(by_cause, books, times),
        partial(funding, books),
        partial(position, books, times),
        *(partial(fills, books, coin) for coin in _traded(books)),
        partial(liquidation, books),
        partial(break_even, books, rounds),
    )
    charts = []
    for n, draw in enumerate(drawn):
        charts.append(draw())
        done(n + 1, len(drawn))
    return page(
        title=f"carry, {screen.date(books.first_ms)[:16]} to {screen.date(books.end_ms)[:16]} UTC",
        tiles=tiles(books),
        charts=charts,
        table=carries(books, rounds),
        library=offline.get_plotlyjs(),
    )


def write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportRefused(f"{path}: {error.strerror}; name another file with -o") from None


# --- what is drawn --------------------------------------------------------------------------------


def moments(books: Books) -> list[int | None]:
    """Each hour and each booking, thinned to what a screen can show, and now."""
    hours = range(books.first_ms - books.first_ms % HOUR_MS + HOUR_MS, books.end_ms, HOUR_MS)
    booked = {mark.at_ms + 1 for marks in books.marks.values() for mark in marks}
    later = (at_ms for at_ms in booked if at_ms > books.first_ms)
    found = sorted({books.first_ms, *hours, *later})
    return [*found[:: len(found) // POINTS_MAX + 1], None]


def _x(books: Books, times: Iterable[int | None]) -> list[str]:
    return [written(books.end_ms if at_ms is None else at_ms) for at_ms in times]


def line(name: str, x: list[str], y: list[float | None], colour: str, **more: Any) -> Trace:
    style = {"color": colour, "width": 2, **more.pop("line", {})}
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "line": style, **more,
    }  # fmt: skip


def _coin_colour(books: Books, coin: str) -> str:
    return COIN_COLOURS[books.coins.index(coin) % len(COIN_COLOURS)]


def _traded(books: Books) -> list[str]:
    return [coin for coin in books.coins if any(one.coin == coin for one in books.lines)]


def by_cause(books: Books, times: list[int | None]) -> Chart:
    """Running totals of each cause, and of net, which is their sum."""
    sums = {name: [ZERO] * len(times) for name in CAUSE_COLOURS}
    for coin in books.coins:
        for n, earned in enumerate(accounts.running(books, coin, times)):
            pnl = earned.pnl
            for name, usd in (
                ("net", pnl.net_usd), ("funding", pnl.funding_usd), ("fees", -pnl.fees_usd),
                ("basis", pnl.basis_usd), ("slippage", pnl.slippage_usd),
                ("external", pnl.external_usd),
            ):  # fmt: skip
                sums[name][n] += usd
    x = _x(books, times)
    traces = [
        line(name, x, _floats(sums[name]), colour, line=NET if name == "net" else STEP)
        for name, colour in CAUSE_COLOURS.items()
        if name != "external" or any(sums[name])
    ]
    return Chart(
        "equity", "Equity by cause", "What was earned since the books began; fees as they are "
        "paid. Net is the sum of the others.", traces, "USD", whole=True,
    )  # fmt: skip


def _floats(values: Iterable[Decimal | None], times: int = 1) -> list[float | None]:
    return [None if value is None else float(value * times) for value in values]


def funding(books: Books) -> Chart:
    """Each payment's rate as a bar, or the mean of each day where there are too many, and what the
    forecast said, both a year."""
    capabilities = books.state.capabilities
    a_year = HOURS_A_YEAR // capabilities.interval_h * 100
    many = books.end_ms - books.first_ms > BARS_MAX * capabilities.funding_interval_ms
    step_ms = DAY_MS if many else capabilities.funding_interval_ms
    traces: list[Trace] = []
    for coin in _traded(books):
        paid: dict[int, list[Decimal]] = {}
        for receipt in books.receipts:
            if receipt.coin == coin:
                paid.setdefault(receipt.at_ms - receipt.at_ms % step_ms, []).append(receipt.rate)
        colour = _coin_colour(books, coin)
        traces.append(
            {
                "type": "bar", "name": f"{coin} paid", "opacity": 0.55,
                "x": [written(at_ms + step_ms // 2 if many else at_ms) for at_ms in paid],
                "y": _floats([sum(rates, ZERO) / len(rates) for rates in paid.values()], a_year),
                "marker": {"color": colour}, "width": step_ms * 0.8,
            }
        )  # fmt: skip
        marks = [mark for mark in books.marks.get(coin, ()) if mark.forecast_rate is not None]
        marks = marks[:: len(marks) // POINTS_MAX + 1]
        x = [written(mark.at_ms) for mark in marks]
        rates = _floats([mark.forecast_rate for mark in marks], a_year)
        traces.append(line(f"{coin} forecast", x, rates, colour))
    shown = "Mean rate of each day's payments" if many else "Rate of each payment"
    return Chart(
        "funding", "Funding against forecast", f"{shown}, and the forecast over the horizon at "
        "the time; above zero the short is paid.", traces, "% a year",
    )  # fmt: skip


def position(books: Books, times: list[int | None]) -> Chart:
    """Both legs at their prices, and what is left between them."""
    x = _x(books, times)
    spot, perp = [ZERO] * len(times), [ZERO] * len(times)
    for coin in books.coins:
        for n, (spot_usd, perp_usd) in enumerate(held_usd(books, coin, times)):
            spot[n] += spot_usd
            perp[n] += perp_usd
    delta = [one + other for one, other in zip(spot, perp, strict=True)]
    return Chart(
        "position", "Position and delta", "All markets at their prices: spot held, the short, and "
        "delta, the sum of both.",
        [
            line("spot", x, _floats(spot), "#2f6fb5", line=STEP),
            line("perp", x, _floats(perp), "#c0392b", line=STEP),
            line("delta", x, _floats(delta), "#111111", line=NET),
        ],
        "USD",
    )  # fmt: skip


def held_usd(books: Books, coin: str, times: list[int | None]) -> list[tuple[Decimal, Decimal]]:
    """Value of each leg before each of rising moments, USD; nothing where no price was known."""
    found = []
    for at_ms in times:
        mark = mark_at(books, coin, books.end_ms if at_ms is None else at_ms)
        spot, perp = (books.held(coin, leg, at_ms or books.end_ms + 1) for leg in Leg)
        found.append(
            (ZERO, ZERO) if mark is None else (spot * mark.spot_px, perp * mark.perp_px)
        )
    return found


def fills(books: Books, coin: str) -> Chart:
    """One market's price with what was traded on it."""
    marks = books.marks.get(coin, ())
    marks = marks[:: len(marks) // POINTS_MAX + 1]
    x = [written(mark.at_ms) for mark in marks]
    traces = [line("perp mid", x, _floats([m.perp_px for m in marks]), "#5b6770")]
    for leg, side, symbol, colour in (
        (Leg.SPOT, 1, "triangle-up", "#1b9e5a"), (Leg.SPOT, -1, "triangle-down", "#e08e0b"),
        (Leg.PERP, 1, "triangle-up-open", "#2f6fb5"),
        (Leg.PERP, -1, "triangle-down-open", "#c0392b"),
    ):  # fmt: skip
        for kind in ("fill", "external"):
            name = f"{leg.value} {'buy' if side > 0 else 'sell'}"
            name = name if kind == "fill" else f"{name}, by others"
            chosen = [
                one for one in books.lines
                if (one.coin, one.leg, one.kind) == (coin, leg, kind) and one.sz * side > 0
            ]  # fmt: skip
            if chosen:
                traces.append(_markers(name, chosen, symbol, colour if kind == "fill" else "#000"))
    return Chart(
        f"fills-{coin}", f"Fills on price: {coin}", "Each execution at its price; hover for its "
        "size.", traces, f"USD per {coin}",
    )  # fmt: skip


def _markers(name: str, chosen: list[Posting], symbol: str, colour: str) -> Trace:
    return {
        "type": "scatter", "mode": "markers", "name": name,
        "x": [written(one.at_ms) for one in chosen],
        "y": _floats([one.px or one.ref_px for one in chosen]),
        "text": [f"{show(abs(one.sz))} {one.coin}" for one in chosen],
        "marker": {"symbol": symbol, "size": 10, "color": colour},
    }  # fmt: skip


def liquidation(books: Books) -> Chart:
    """How far the price may rise, against the limits of the policy in force."""
    limits = books.state.policy.risk
    traces = []
    span: list[int] = []
    for coin in _traded(books):
        known = [mark for mark in books.marks.get(coin, ()) if mark.liq_distance is not None]
        x = [written(mark.at_ms) for mark in known]
        distances = _floats([mark.liq_distance for mark in known], 100)
        traces.append(line(coin, x, distances, _coin_colour(books, coin)))
        span += [mark.at_ms for mark in known]
    if span:
        x = [written(min(span)), written(max(span))]
        for name, limit, colour in (
            ("warns below", limits.liq_distance_warn, "#e08e0b"),
            ("shrinks below", limits.liq_distance_min, "#c0392b"),
        ):
            dashed = {"line": {"dash": "dash", "width": 1.5}}
            traces.append(line(name, x, _floats([limit, limit], 100), colour, **dashed))
    return Chart(
        "liquidation", "Liquidation distance", "How far the price of a market may rise before its "
        "short is liquidated; the scale is logarithmic.", traces, "% rise", log=True,
    )  # fmt: skip


# --- carries --------------------------------------------------------------------------------------


def clock(books: Books, one: Round) -> list[tuple[Decimal, Decimal]]:
    """Of a carry: hours since it began, and what it had earned by then less what it had paid, USD:
    funding less fees, spread and slippage. The basis is no part of it: it comes back.
    """
    assert one.began_ms is not None
    until_ms = one.until_ms if one.until_ms is not None else books.end_ms + 1
    total, found = ZERO, [(ZERO, ZERO)]
    for each in books.within(one.began_ms, until_ms):
        if each.coin != one.coin:
            continue
        gained = each.funding_usd - each.fees_usd + each.slippage_usd
        if gained:
            total += gained
            found.append((Decimal(each.at_ms - one.began_ms) / HOUR_MS, total))
    return found


def even_h(points: list[tuple[Decimal, Decimal]]) -> Decimal | None:
    """When a carry had earned back what it had paid and never fell behind again, hours; None while
    it has not."""
    behind = [n for n, (_, usd) in enumerate(points) if usd < 0]
    if not behind or behind[-1] + 1 == len(points):
        return None
    return points[behind[-1] + 1][0]


def break_even(books: Books, rounds: list[Round]) -> Chart:
    """The clock of the newest carries."""
    traces = []
    begun = [one for one in rounds if one.began_ms is not None][-ROUNDS_DRAWN:]
    for n, one in enumerate(begun):
        points = clock(books, one)
        assert one.began_ms is not None
        traces.append(
            {
                **line(
                    f"{one.coin} {screen.date(one.began_ms)[5:16]}", [], [],
                    COIN_COLOURS[n % len(COIN_COLOURS)], line={"shape": "hv"},
                ),
                "x": _floats([hours for hours, _ in points]),
                "y": _floats([usd for _, usd in points]),
            }
        )  # fmt: skip
    return Chart(
        "even", "Break-even", "Each carry's funding less its fees, spread and slippage, from its "
        "entry on: it has paid for itself where it rises above zero.", traces, "USD",
        x_title="hours since entry", zero=True,
    )  # fmt: skip


HEAD: Final = (
    "coin", "began (UTC)", "ended (UTC)", "hours", "net $", "funding $", "fees $", "basis $",
    "slippage $", "external $", "even after h",
)  # fmt: skip


def carries(books: Books, rounds: list[Round]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of the table of carries, the newest first, and the sum of them all."""
    rows = []
    for one in reversed(rounds):
        began, flat = one.began_ms, one.flat_ms
        hours = even = "-"
        if began is not None:
            hours = _cut(Decimal((flat or books.end_ms) - began) / HOUR_MS, 1)
            reached = even_h(clock(books, one))
            even = "not yet" if reached is None else _cut(reached, 1)
        carry = books.state.carries[one.coin]
        rows.append(
            (
                one.coin,
                "-" if began is None else screen.date(began)[:16],
                PHASE_NAMES[type(carry.phase)] if flat is None else screen.date(flat)[:16],
                hours,
                *_money(statement.causes(one.earned)),
                even,
            )
        )
    rows.append(("all", "", "", "", *_money(statement.whole(books, 0, None)), ""))
    return HEAD, rows


def _money(causes: dict[str, Any]) -> tuple[str, ...]:
    return tuple(_cut(Decimal(causes[name]), 4) for name in statement.CAUSES)


def _cut(value: Decimal, places: int) -> str:
    return show(value.quantize(Decimal(1).scaleb(-places)))


def tiles(books: Books) -> list[tuple[str, str, str]]:
    """The figures at the top: name, value, unit."""
    whole = statement.whole(books, 0, None)
    made = [
        (name.removesuffix("_usd"), _cut(Decimal(whole[name]), 4), "USD")
        for name in statement.CAUSES
    ]
    residual = whole["residual_usd"]
    paid = accounts.payments(books, 0, books.end_ms + 1)
    made.append(("residual", "unknown" if residual is None else _cut(Decimal(residual), 4), "USD"))
    made.append(("payments", f"{paid.paid}", f"{len(paid.missing)} missing"))
    made.append(("turnover", _cut(Decimal(whole["turnover_usd"]), 2), "USD"))
    return made
