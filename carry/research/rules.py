"""Simple rules on the same data, with the same costs: what the bot is held against.

One unit of notional a market, kept at that size as prices move. A rule decides at an hour by the
prints up to it, trades at the open of that hour's bar, and is paid from the next print on. Costs
are core's one cost function on the exchange's books, cut into the policy's slices. Floats: nothing
is booked from them.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

import attrs

from carry.core import economics
from carry.core.num import floor_to
from carry.core.types import Leg
from carry.exchange.bars import Track
from carry.exchange.direct import Direct

from .hourly import Run, Setup

HOURS_A_YEAR = 8_760
IN_APR, OUT_APR = 0.20, 0.05
Rule = Callable[[float | None, bool, int], bool]
"""Whether to hold, by the last print (a fraction), whether it holds, and the interval in hours."""


@attrs.frozen(kw_only=True)
class Ruled:
    """What a rule came to over all markets, USD; one notional each as the bot's target."""

    net_usd: Decimal
    funding_usd: Decimal
    costs_usd: Decimal
    basis_usd: Decimal
    on_notional: Decimal
    rounds: int
    held_h: int


def _always(rate: float | None, holds: bool, interval_h: int) -> bool:
    return rate is not None


def _sign(rate: float | None, holds: bool, interval_h: int) -> bool:
    return rate is not None and rate > 0


def _two(rate: float | None, holds: bool, interval_h: int) -> bool:
    apr = -1.0 if rate is None else rate * HOURS_A_YEAR / interval_h
    return apr > (OUT_APR if holds else IN_APR)


RULES: Mapping[str, Rule] = {
    "always in": _always,
    "sign of the last print": _sign,
    "in above 20 %, out below 5 %": _two,
}


def ruled(setup: Setup) -> dict[str, Ruled]:
    """Every rule over the setup's markets."""
    run = Run(attrs.evolve(setup, awake=True))
    costs = {coin: round_trip(run, coin) for coin in setup.tracks}
    return {name: _over(setup, costs, rule) for name, rule in RULES.items()}


def round_trip(run: Run, coin: str) -> economics.Cost:
    """Cost of a slice of a coin, by the books that the exchange quotes as a run begins."""
    direct = Direct(run.exchange, run.address, free=True)
    spot, perp = direct.book(coin, Leg.SPOT), direct.book(coin, Leg.PERP)
    assert spot is not None
    assert perp is not None
    policy = run.setup.policy
    fees = economics.fees_in_force(policy.fees, direct.fees())
    lot = Decimal(1).scaleb(-run.exchange.coins[coin].spot.sz_decimals)
    usd = min(policy.risk.slice_usd, policy.strategy.target_usd_notional)
    sz = max(floor_to(usd / spot.mid_px, lot), lot)
    cost = economics.cost(fees, spot, perp, sz)
    if cost is None:  # thinner than a slice: what the whole side costs is the least it can be
        sz = max(floor_to(min(spot.bids[0].sz, spot.asks[0].sz), lot), lot)
        cost = economics.cost(fees, spot, perp, sz)
    assert cost is not None
    return cost


def _over(setup: Setup, costs: Mapping[str, economics.Cost], rule: Rule) -> Ruled:
    policy = setup.policy
    unit = float(min(policy.strategy.target_usd_notional, policy.risk.per_symbol_notional_cap))
    funding = paid = basis = 0.0
    rounds = held_h = 0
    for coin, track in setup.tracks.items():
        cost = costs[coin]
        for spell in _spells(setup, track, rule):
            funding += unit * spell.funding
            basis += unit * spell.basis
            paid += unit * (float(cost.entry) + float(cost.exit) * spell.ended)
            rounds += spell.ended
            held_h += spell.hours
    hours = setup.end_hour - setup.start_hour
    net = funding - paid + basis
    whole = unit * len(setup.tracks)
    return Ruled(
        net_usd=_usd(net),
        funding_usd=_usd(funding),
        costs_usd=_usd(paid),
        basis_usd=_usd(basis),
        on_notional=Decimal(str(round(net / whole * HOURS_A_YEAR / hours, 6))),
        rounds=rounds,
        held_h=held_h,
    )


@attrs.frozen
class Spell:
    """One holding of a unit: fractions of its notional."""

    funding: float
    basis: float
    hours: int
    ended: bool


def _spells(setup: Setup, track: Track, rule: Rule) -> Iterator[Spell]:
    last: float | None = None
    marked: tuple[float, float] | None = None  # perp and spot at the last hour's open, while held
    funding = basis = 0.0
    since = 0
    for hour in range(setup.start_hour, setup.end_hour):
        printed = track.prints.get(hour)
        now = _opens(track, hour + setup.later)
        if printed is not None:
            last = float(printed.rate)
            funding += last if marked is not None else 0.0
        if marked is not None:
            basis += now[1] / marked[1] - now[0] / marked[0]
            marked = now
        holds = rule(last, marked is not None, track.interval_h)
        if holds and marked is None:
            marked, since, funding, basis = now, hour, 0.0, 0.0
        elif not holds and marked is not None:
            yield Spell(funding, basis, hour - since, True)
            marked = None
    if marked is not None:
        yield Spell(funding, basis, setup.end_hour - since, False)


def _opens(track: Track, hour: int) -> tuple[float, float]:
    """Perp and spot at an hour's open."""
    perp = track.perp.at(hour).open / 1e8
    return perp, perp if track.spot is None else track.spot.at(hour).open / 1e8


def _usd(value: float) -> Decimal:
    return Decimal(str(round(value, 2)))
