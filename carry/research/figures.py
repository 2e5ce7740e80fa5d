"""Figures of a run: money by cause from the ledger, exact; times and distances from the bars.

Floats only where nothing is booked from them: the hourly curve, and how near liquidation came.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from decimal import Decimal

import attrs

from carry.core.ledger import Pnl
from carry.core.num import ONE, ZERO
from carry.core.policy import Policy
from carry.core.types import Fill, Leg
from carry.exchange.bars import MOVES, knots
from carry.exchange.paths import HOUR_MS, MINUTE_MS
from carry.exchange.recorded import Bar

from .hourly import Lived, Setup, Shot
from .quoting import coins_of

HOURS_A_YEAR = Decimal(8_760)
MINUTES_AN_HOUR = 60


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table. notional_usd: a leg's size that rates refer to. held_h: hours in
    position, of span_h (an hour a market); rounds: round trips completed.
    """

    pnl: Pnl
    hours: int
    notional_usd: Decimal
    capital_usd: Decimal
    rounds: int = 0
    held_h: Decimal = ZERO
    span_h: int = 0

    @property
    def held(self) -> Decimal:
        """Share of the time in position; of several markets, on average."""
        return (self.held_h / self.span_h).quantize(Decimal("0.0001")) if self.span_h else ZERO

    @property
    def on_notional(self) -> Decimal:
        """Net as a simple annual rate on the notional, flat hours included."""
        return self._a_year(self.notional_usd)

    @property
    def on_capital(self) -> Decimal:
        """Net as a simple annual rate on the account's capital."""
        return self._a_year(self.capital_usd)

    def _a_year(self, usd: Decimal) -> Decimal:
        if not usd or not self.hours:
            return ZERO
        return (self.pnl.net_usd / usd * HOURS_A_YEAR / self.hours).quantize(Decimal("1e-6"))


@attrs.frozen(kw_only=True)
class Figures:
    """A run in figures. years: by UTC year. longest_loss_h: hours that the net stayed below an
    earlier high; deepest_usd: how far below. nearest: smallest rise to liquidation at any hour's
    high, as a fraction; None when nothing was held. weights: (hour, coin, fraction of all that may
    be held) of every decision that changed one. curve: net by hour, USD.
    """

    total: Row
    markets: Mapping[str, Row]
    years: Mapping[int, Row]
    longest_loss_h: int
    deepest_usd: Decimal
    nearest: Decimal | None
    liquidations: int
    residual_usd: Decimal
    ticks: int
    crashes: Sequence[str]
    weights: Sequence[tuple[int, str, Decimal]]
    curve: Sequence[float]
    curve_hours: Sequence[int]


def figures(setup: Setup, lived: Lived) -> Figures:
    """What a run came to."""
    coins = tuple(setup.tracks)
    target = min(
        setup.policy.strategy.target_usd_notional, setup.policy.risk.per_symbol_notional_cap
    )
    spells = {coin: list(_spells(lived, coin)) for coin in coins}
    last = lived.shots[-1]
    markets = {
        coin: Row(
            pnl=last.markets[coin],
            hours=lived.hours,
            notional_usd=target,
            capital_usd=setup.capital_usd,
            rounds=sum(done for _, _, done in spells[coin]),
            held_h=_hours(spells[coin]),
            span_h=lived.hours,
        )
        for coin in coins
    }
    total = Row(
        pnl=last.total,
        hours=lived.hours,
        notional_usd=notional_of(setup.policy),
        capital_usd=setup.capital_usd,
        rounds=sum(row.rounds for row in markets.values()),
        held_h=_hours([spell for some in spells.values() for spell in some]),
        span_h=lived.hours * len(coins),
    )
    path = Path(setup, lived)
    longest, deepest = path.under_water()
    forced = [fill for fill in lived.fills if fill.cloid is None and fill.leg is Leg.PERP]
    return Figures(
        total=total,
        markets=markets,
        years=dict(_years(lived.shots, total)),
        longest_loss_h=longest,
        deepest_usd=Decimal(str(round(deepest, 2))),
        nearest=None if path.nearest is None else Decimal(str(round(path.nearest, 4))),
        liquidations=len(forced),
        residual_usd=lived.residual_usd,
        ticks=lived.ticks,
        crashes=lived.crashes,
        weights=tuple(_weights(setup, lived)),
        curve=path.net,
        curve_hours=path.hours,
    )


def _spells(lived: Lived, coin: str) -> Iterator[tuple[int, int, bool]]:
    """(from ms, to ms, whether it ended) of every time that something was held of a coin."""
    began: int | None = None
    for said in lived.said:
        event = getattr(said.what, "event", "")
        if said.what.coin != coin:
            continue
        if event == "entry" and began is None:
            began = said.at_ms
        elif event == "flat" and began is not None:
            yield began, said.at_ms, True
            began = None
    if began is not None:
        yield began, lived.shots[-1].at_ms, False


def _hours(spells: Sequence[tuple[int, int, bool]]) -> Decimal:
    ms = sum(to - since for since, to, _ in spells)
    return (Decimal(ms) / HOUR_MS).quantize(Decimal("0.1"))


def _years(shots: Sequence[Shot], whole: Row) -> Iterator[tuple[int, Row]]:
    """Each UTC year's part: from the last books of the year before to its own."""
    begin = shots[0]
    for n, shot in enumerate(shots):
        year = _year(begin.at_ms)
        last = n == len(shots) - 1
        if _year(shot.at_ms) == year and not last:
            continue
        hours = (shot.at_ms - begin.at_ms) // HOUR_MS
        if hours:
            yield year, attrs.evolve(
                whole, pnl=minus(shot.total, begin.total), hours=hours, rounds=0, held_h=ZERO
            )
        begin = shot


def _year(at_ms: int) -> int:
    return datetime.fromtimestamp(at_ms / 1000, timezone.utc).year


def minus(one: Pnl, other: Pnl) -> Pnl:
    """What was earned between two books."""
    names = ("funding_usd", "fees_usd", "basis_usd", "slippage_usd", "external_usd")
    return Pnl(**{name: getattr(one, name) - getattr(other, name) for name in names})


def notional_of(policy: Policy) -> Decimal:
    """What all markets hold together when all are held, USD a leg."""
    target = min(policy.strategy.target_usd_notional, policy.risk.per_symbol_notional_cap)
    return min(target * len(policy.markets), policy.risk.portfolio_notional_cap)


def _weights(setup: Setup, lived: Lived) -> Iterator[tuple[int, str, Decimal]]:
    """Decided weights as fractions of all that may be held at once, one row an hour and coin.

    A leg that is shrunk is told at the price of that hour. What price takes from a held leg is room
    for another; the sum is never told as more than one.
    """
    unit = notional_of(setup.policy)
    held: dict[str, Decimal] = {}
    decided: dict[int, dict[str, Decimal]] = {}
    for said in lived.said:
        event = getattr(said.what, "event", "")
        coin, hour = said.what.coin, said.at_ms // HOUR_MS
        if coin is None or event not in ("entry", "exit", "flat", "resize"):
            continue
        fields = getattr(said.what, "fields", {})
        weight = ZERO
        if event == "entry":
            weight = Decimal(fields["target_sz"]) * Decimal(fields["px"]) / unit
        elif event == "resize":
            if fields["why"] == "done":
                continue
            weight = Decimal(fields["to_sz"]) * setup.tracks[coin].perp.at(hour).open / unit
        others = sum((w for name, w in held.items() if name != coin), ZERO)
        held[coin] = min(weight, ONE - others).quantize(Decimal("0.0001"))
        decided.setdefault(hour, {})[coin] = held[coin]
    told: dict[str, Decimal] = {}
    for hour, weights in decided.items():
        for coin, weight in weights.items():
            if told.get(coin, ZERO) != weight:
                told[coin] = weight
                yield hour, coin, weight


class Path:
    """A run hour by hour: net in USD at the closes, and the rise to liquidation at the highs; in an
    hour of fills, at each of its prices with what was held then.
    """

    def __init__(self, setup: Setup, lived: Lived) -> None:
        self.hours = range(setup.start_hour, setup.end_hour + 1)
        self.net: list[float] = []
        self.nearest: float | None = None
        self._setup = setup
        self._cash = float(setup.capital_usd)
        self._spot: dict[str, float] = {}
        self._perp: dict[str, float] = {}
        self._cost: dict[str, float] = {}
        coins = coins_of(setup.tracks, setup.slippage)
        self._rates = {name: float(coin.perp.tiers[0].rate) for name, coin in coins.items()}
        self._walk(lived)

    def _walk(self, lived: Lived) -> None:
        begin = self._cash
        fills = sorted(lived.fills, key=lambda fill: fill.at_ms)
        paid = sorted(lived.receipts, key=lambda receipt: receipt.at_ms)
        f = p = 0
        for hour in self.hours:
            until = (hour + 1) * HOUR_MS
            traded = f < len(fills) and fills[f].at_ms < until
            if traded:
                f = self._traded(hour, fills, f)
            while p < len(paid) and paid[p].at_ms < until:
                self._cash += float(paid[p].usd)
                p += 1
            if not traded:
                self._judge({coin: bar.high / 1e8 for coin, bar in self._bars(hour)})
            self.net.append(self._value(hour) - begin)

    def _bars(self, hour: int) -> Iterator[tuple[str, Bar]]:
        for coin, track in self._setup.tracks.items():
            yield coin, track.perp.at(hour + self._setup.later)

    def _traded(self, hour: int, fills: Sequence[Fill], f: int) -> int:
        """Book an hour's fills, from number `f` on, between its prices; the next fill's number."""
        prices = {
            coin: knots(track.perp, hour + self._setup.later)
            for coin, track in self._setup.tracks.items()
        }
        for minute in (*MOVES, MINUTES_AN_HOUR):
            until = hour * HOUR_MS + minute * MINUTE_MS
            while f < len(fills) and fills[f].at_ms < until:
                self._book(fills[f])
                f += 1
            self._judge({coin: paid[minute] / 1e8 for coin, paid in prices.items()})
        return f

    def _judge(self, prices: Mapping[str, float]) -> None:
        """How far all shorts together are from liquidation at these prices of the perps."""
        pnl = exposure = maintenance = 0.0
        for coin, px in prices.items():
            perp, rate = self._perp.get(coin, 0.0), self._rates[coin]
            pnl += perp * px - self._cost.get(coin, 0.0)
            exposure -= perp * px * (1 + rate)
            maintenance -= perp * px * rate
        if exposure > 1e-6:
            away = (self._cash + pnl - maintenance) / exposure
            self.nearest = away if self.nearest is None else min(self.nearest, away)

    def _book(self, fill: Fill) -> None:
        held = self._spot if fill.leg is Leg.SPOT else self._perp
        change, sz = float(fill.base_change), float(fill.sz) * fill.side.sign
        held[fill.coin] = held.get(fill.coin, 0.0) + change
        if fill.leg is Leg.SPOT:
            self._cash -= sz * float(fill.px)
        else:
            self._cost[fill.coin] = self._cost.get(fill.coin, 0.0) + sz * float(fill.px)
        if not fill.fee_in_base:
            self._cash -= float(fill.fee)

    def _value(self, hour: int) -> float:
        value = self._cash
        later = self._setup.later
        for coin, track in self._setup.tracks.items():
            perp, spot = self._perp.get(coin, 0.0), self._spot.get(coin, 0.0)
            cost = self._cost.get(coin, 0.0)
            if not perp and not spot and not cost:
                continue
            bar = track.perp.at(hour + later)
            coins_px = bar if track.spot is None else track.spot.at(hour + later)
            value += spot * coins_px.close / 1e8 + perp * bar.close / 1e8 - cost
        return value

    def under_water(self) -> tuple[int, float]:
        """(longest hours below an earlier high, deepest fall from one in USD)."""
        high, since, longest, deepest = 0.0, 0, 0, 0.0
        for n, net in enumerate(self.net):
            if net >= high:
                high, since = net, n
            longest, deepest = max(longest, n - since), max(deepest, high - net)
        return longest, deepest
