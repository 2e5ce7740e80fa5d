"""Simple rules on the same data, with the same costs: what the bot is held against.

One unit of notional a market. A rule decides at an hour by the prints up to it, trades at the open
of that hour's bar, and is paid from the next print on. Costs are core's one cost function on the
exchange's books, cut into the policy's slices. Floats: nothing is booked from them.
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
    """One holding of a unit: fractions of the notional at its entry."""

    funding: float
    basis: float
    hours: int
    ended: bool


def _spells(setup: Setup, track: Track, rule: Rule) -> Iterator[Spell]:
    later, last, since = setup.later, None, 0
    began: tuple[float, float] | None = None
    funding = 0.0
    for hour in range(setup.start_hour, setup.end_hour):
        printed = track.prints.get(hour)
        bar = track.perp.at(hour + later)
        if printed is not None:
            last = float(printed.rate)
            if began is not None:
                before = track.perp.at(hour + later - 1).close / 1e8
                funding += last * before / began[0]
        holds = rule(last, began is not None, track.interval_h)
        perp_px = bar.open / 1e8
        spot_px = perp_px if track.spot is None else track.spot.at(hour + later).open / 1e8
        if holds and began is None:
            began, since, funding = (perp_px, spot_px), hour, 0.0
        elif not holds and began is not None:
            yield Spell(funding, _basis(began, perp_px, spot_px), hour - since, True)
            began = None
    if began is not None:
        end = setup.end_hour - 1 + later
        perp_px = track.perp.at(end).close / 1e8
        spot_px = perp_px if track.spot is None else track.spot.at(end).close / 1e8
        yield Spell(funding, _basis(began, perp_px, spot_px), setup.end_hour - since, False)


def _basis(began: tuple[float, float], perp_px: float, spot_px: float) -> float:
    """Gain of one long spot and one short perp of the same size, by the perp's price at entry."""
    return ((spot_px - began[1]) - (perp_px - began[0])) / began[0]


def _usd(value: float) -> Decimal:
    return Decimal(str(round(value, 2)))
