"""A pair of legs as somebody who thinks of entering sees it: ids, depth, cost, expectation.

All economics are the core's own functions on a state that reads were folded into, so what is shown
here is what the bot would decide with.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import attrs

from carry.core import economics, risk
from carry.core.num import BPS, ONE, ZERO, floor_to, show
from carry.core.state import Carry, State
from carry.core.types import Book, Fees, Leg, Side

DEPTH_BPS: Final = 10
WEEK_H: Final = 168
HOURS_A_DAY: Final = 24
CENT: Final = Decimal("0.01")
DAY: Final = Decimal("0.1")


@attrs.frozen(kw_only=True)
class Pair:
    """One coin's row. Rates are fractions, money USD, spreads and costs bps; None: not known.

    costs: round trip by style at `sz`. net: expected over the horizon after the style in force.
    break_even_days: until the forecast funding has paid the round trip; None when it never does.
    excluded: why it would not be entered, "" when nothing speaks against it.
    """

    coin: str
    perp_no: int | None = None
    spot_no: int | None = None
    token: str = ""
    lots: tuple[Decimal, Decimal] | None = None  # spot, perp
    sz_decimals: tuple[Decimal, Decimal] | None = None  # as the venue lists them
    px: Decimal | None = None
    funding_rate: Decimal | None = None
    mean_apr: Decimal | None = None
    forecast_apr: Decimal | None = None
    volume_usd: tuple[Decimal, Decimal] | None = None  # spot, perp
    spread_bps: tuple[Decimal, Decimal] | None = None
    depth_usd: tuple[Decimal, Decimal] | None = None
    sz: Decimal = ZERO
    costs_bps: tuple[tuple[str, Decimal], ...] = ()
    net: Decimal | None = None
    break_even_days: Decimal | None = None
    excluded: str = ""


def depth_usd(book: Book, bps: int = DEPTH_BPS) -> Decimal:
    """USD resting within `bps` of the mid, on the thinner side."""
    reach = book.mid_px * bps * BPS
    sides = (
        sum(
            (level.px * level.sz for level in book.levels(side)
             if abs(level.px - book.mid_px) <= reach),
            ZERO,
        )
        for side in Side
    )  # fmt: skip
    return min(sides).quantize(CENT)


def mean_rate(rates: Iterable[Decimal], interval_h: int) -> Decimal | None:
    """The plain mean of the last week's settled rates, one for each `interval_h` hours."""
    week = list(rates)[-WEEK_H // interval_h :]
    return sum(week, ZERO) / len(week) if week else None


def pair(
    state: State,
    carry: Carry,
    fees: Fees | None,
    *,
    mean: Decimal | None = None,
    volume_usd: tuple[Decimal, Decimal] | None = None,
    shift: int = 0,
) -> Pair:
    """The row of a market that was read into `state`. `fees`: the rates to reckon with. shift: one
    of the coin is 10^shift units of the spot token."""
    market = carry.market
    if market is None:
        return Pair(coin=carry.coin, excluded=carry.broken or "its metadata was not read")
    strategy, hours = state.policy.strategy, state.capabilities.interval_h
    spot, perp = (risk.fresh_book(state, carry, leg) for leg in (Leg.SPOT, Leg.PERP))
    rate = None if carry.forecast is None else carry.forecast.rate
    row = Pair(
        coin=carry.coin,
        perp_no=market.perp.asset,
        spot_no=market.spot.asset,
        token=market.spot_token,
        lots=(market.spot.lot, market.perp.lot),
        sz_decimals=(
            Decimal(-market.spot.lot.adjusted() - shift), Decimal(-market.perp.lot.adjusted())
        ),
        funding_rate=None if carry.context is None else carry.context.funding_rate,
        mean_apr=None if mean is None else economics.apr(mean, hours),
        forecast_apr=None if rate is None else economics.apr(rate, hours),
        volume_usd=volume_usd,
        excluded=_excluded(state, carry),
    )
    if spot is None or perp is None:
        return row
    sz = floor_to(strategy.target_usd_notional / spot.ask_px, market.lot)
    row = attrs.evolve(
        row,
        px=perp.mid_px,
        spread_bps=(spot.spread_bps.quantize(CENT), perp.spread_bps.quantize(CENT)),
        depth_usd=(depth_usd(spot), depth_usd(perp)),
        sz=sz,
    )
    if fees is None or not sz:
        return row
    styles = round_trips(fees, spot, perp, sz)
    taken = economics.cost(fees, spot, perp, sz, economics.resting_share(state.policy.execution))
    if taken is None:
        why = f"the books cannot take {show(sz)} {carry.coin} (target_usd_notional)"
        return attrs.evolve(row, excluded="; ".join(w for w in (row.excluded, why) if w))
    row = attrs.evolve(
        row, costs_bps=tuple((name, economics.bps(cost.total)) for name, cost in styles.items())
    )
    if rate is None:
        return row
    net = economics.expected_net(rate, strategy.horizon_h, hours, taken)
    days = taken.total * hours / (rate * HOURS_A_DAY) if rate > 0 else None
    return attrs.evolve(
        row,
        net=net,
        break_even_days=None if days is None else days.quantize(DAY),
        excluded="; ".join(w for w in (row.excluded, *_too_little(state, net, row)) if w),
    )


def round_trips(fees: Fees, spot: Book, perp: Book, sz: Decimal) -> dict[str, economics.Cost]:
    """The cost of a whole round trip by style; a style the books cannot take is left out.

    maker: as if all of the spot leg filled while it rests.
    """
    found = {
        "taker": economics.cost(fees, spot, perp, sz),
        "maker": economics.cost(fees, spot, perp, sz, ONE),
    }
    return {name: cost for name, cost in found.items() if cost is not None}


def _excluded(state: State, carry: Carry) -> str:
    """What is wrong with the market itself, by the gates that every entry must pass."""
    failing = [gate for gate in risk.data_gates(state, carry) if not gate.passes]
    if failing and failing[0].name == "market":
        failing = failing[:1]
    return "; ".join(
        carry.broken or gate.value
        if gate.name == "market"
        else f"{gate.name} {gate.value}, needs {gate.threshold}"
        for gate in failing
    )


def _too_little(state: State, net: Decimal, row: Pair) -> Iterable[str]:
    """Whether the expectation is below what an entry asks for."""
    strategy = state.policy.strategy
    if net < strategy.buffer_bps * BPS:
        yield f"expected net {show(economics.bps(net))} bp, needs {show(strategy.buffer_bps)}"
    apr = net * economics.HOURS_A_YEAR / strategy.horizon_h
    if apr < strategy.enter_threshold_apr:
        yield f"{percent(apr)} a year, needs {percent(strategy.enter_threshold_apr)}"


def ranked(rows: Iterable[Pair]) -> list[Pair]:
    """The best expected net first; what is not known comes last, by name."""

    def order(row: Pair) -> tuple[bool, Decimal, str]:
        return (row.net is None, -(row.net or ZERO), row.coin)

    return sorted(rows, key=order)


def percent(fraction: Decimal, step: Decimal = CENT) -> str:
    return f"{show((fraction * 100).quantize(step))} %"


def as_json(row: Pair) -> dict[str, Any]:
    """Numbers as decimal strings, pairs as {"spot", "perp"}."""

    def plain(value: Any) -> Any:
        if isinstance(value, Decimal):
            return show(value)
        if isinstance(value, tuple) and value and isinstance(value[0], tuple):
            return {name: show(cost) for name, cost in value}
        if isinstance(value, tuple):
            return {"spot": show(value[0]), "perp": show(value[1])} if value else {}
        return value

    return {name: plain(value) for name, value in attrs.asdict(row, recurse=False).items()}


def cells(row: Pair) -> tuple[str, ...]:
    """The row for a table; see `HEAD`."""

    def two(values: tuple[Decimal, Decimal] | None, step: Decimal) -> str:
        return "-" if values is None else "/".join(f"{v.quantize(step):,f}" for v in values)

    def rate(value: Decimal | None) -> str:
        return "-" if value is None else percent(value)

    costs = " ".join(f"{name} {show(cost)}" for name, cost in row.costs_bps)
    hourly = None if row.funding_rate is None else row.funding_rate
    return (
        row.coin,
        "-" if row.perp_no is None else f"{row.perp_no}/{row.spot_no}",
        "-" if row.sz_decimals is None else "/".join(show(n) for n in row.sz_decimals),
        "-" if hourly is None else f"{show((hourly * 100).quantize(Decimal('0.00001')))} %/h",
        rate(row.mean_apr),
        rate(row.forecast_apr),
        two(row.volume_usd, ONE),
        two(row.spread_bps, DAY),
        two(row.depth_usd, ONE),
        costs or "-",
        "-" if row.net is None else show(economics.bps(row.net)),
        "-" if row.break_even_days is None else show(row.break_even_days),
        row.excluded or "may be entered",
    )


HEAD: Final = (
    "coin", "perp/spot no", "szDecimals spot/perp", "funding", "7-day APR", "forecast APR",
    "volume $ spot/perp",
    "spread bp", "depth $ 10 bp", "round trip bp", "net bp", "even days", "why not",
)  # fmt: skip
