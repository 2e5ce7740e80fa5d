"""Market regimes of a storm: what a seed's prices do, laid over the exchange's seeded market.

Shapes are pure functions of the minute, in integers, so a run stays a function of its seed.
"""

import random

import attrs

from carry.exchange.market import SeededMarket
from carry.exchange.model import Exchange
from carry.exchange.paths import HOUR_MS, KNOTS, MINUTE_MS, HourPath, Print

E4 = 10_000
HISTORY_HOURS = 30  # drawn like the run itself: more than the volatility's window
LONG_AGO_PREMIUM_E6 = 700
START_MINUTE = 35
"""Runs begin so many minutes past an hour: the first payment comes early."""

STILL = "still"  # never drawn: prices stand, so that what is traded costs the same at any time
STILL_PREMIUM_E6 = 800
REGIMES = ("calm", "trend", "crash", "thin", "blowout", "flipflop")
RALLY = "rally"  # drawn apart, so that the other regimes stay with their seeds


@attrs.frozen(kw_only=True)
class Shape:
    """A regime with its figures. begin_min: minutes after the start. bp: 1e-4 of the price."""

    regime: str
    begin_min: int
    bp: int
    minutes: int

    @classmethod
    def draw(cls, rng: random.Random, regime: str, minutes: int) -> "Shape":
        """A shape that begins within the first half of a run of so many minutes."""
        begin = START_MINUTE + 2 + rng.randrange(minutes // 8, max(minutes // 8 + 1, minutes // 2))
        bp = {
            "trend": rng.choice((-1, 1)) * rng.randrange(4, 15),
            "crash": -5_000,
            "blowout": rng.choice((-1, 1)) * rng.randrange(100, 500),
            "flipflop": rng.randrange(12, 60),
        }.get(regime, 0)
        length = 10 if regime == "crash" else rng.randrange(20, 60)
        return cls(regime=regime, begin_min=begin, bp=bp, minutes=length)

    @classmethod
    def rally(cls, rng: random.Random, begin_min: int) -> "Shape":
        """A rise of 20 to 100 % within minutes or an hour, that stays."""
        bp = rng.choice((2_000, 5_000, 10_000))
        return cls(regime=RALLY, begin_min=begin_min, bp=bp, minutes=rng.choice((6, 20, 60)))

    def factors(self, minute: int) -> tuple[int, int, int]:
        """Of oracle, perp and spot, in 1e-4, `minute` minutes after the start."""
        gone = minute - self.begin_min
        if gone <= 0:
            return E4, E4, E4
        match self.regime:
            case "trend":
                # An even drift for four hours, then it stands.
                factor = E4 + self.bp * min(gone, 240)
                return factor, factor, factor
            case "crash" | "rally":
                factor = E4 + self.bp * min(gone, self.minutes) // self.minutes
                return factor, factor, factor
            case "blowout":
                apart = self.bp if gone < self.minutes else 0
                return E4, E4, E4 + apart
            case "flipflop":
                sign = 1 if gone // 30 % 2 else -1
                return E4, E4 + sign * self.bp, E4
            case _:
                return E4, E4, E4


class Shaped:
    """The seeded market under a shape; a `carry.exchange.paths.Market`."""

    prints_funding = False

    def __init__(self, under: SeededMarket, shape: Shape) -> None:
        self._under, self.shape = under, shape
        self.name, self.coins = under.name, under.coins
        self.start_ms, self.first_hour = under.start_ms, under.first_hour
        self._made: dict[tuple[str, int], HourPath] = {}
        self._start_hour = self.start_ms // HOUR_MS

    def path(self, coin: str, hour: int) -> HourPath:
        if hour < self._start_hour - HISTORY_HOURS:
            return self._long_ago(coin)
        plain = self._under.path(coin, hour)
        if self.shape.regime == STILL:
            return self._standing(coin)
        first = (hour * HOUR_MS - self.start_ms) // MINUTE_MS
        if first + KNOTS <= self.shape.begin_min or self.shape.regime in ("calm", "thin"):
            return plain
        made = self._made.get((coin, hour))
        if made is None:
            at = [self.shape.factors(first + n) for n in range(KNOTS)]
            made = HourPath(
                [px * f[0] // E4 for px, f in zip(plain.oracle, at, strict=True)],
                [px * f[1] // E4 for px, f in zip(plain.perp, at, strict=True)],
                [px * f[2] // E4 for px, f in zip(plain.spot, at, strict=True)],
            )
            self._made[(coin, hour)] = made
        return made

    def _standing(self, coin: str) -> HourPath:
        """Every hour alike, at one price, the perp a little above the oracle."""
        made = self._made.get((coin, 1))
        if made is None:
            px = self._under.path(coin, self._start_hour).oracle[0]
            perp = px + px * STILL_PREMIUM_E6 // 1_000_000
            made = HourPath([px] * KNOTS, [perp] * KNOTS, [px] * KNOTS)
            self._made[(coin, 1)] = made
        return made

    def _long_ago(self, coin: str) -> HourPath:
        """One hour that stands for all that nobody will look at twice: drawing it costs most."""
        made = self._made.get((coin, 0))
        if made is None:
            px = self._under.path(coin, self._start_hour - HISTORY_HOURS).oracle[0]
            perp = px + px * LONG_AGO_PREMIUM_E6 // 1_000_000
            made = HourPath([px] * KNOTS, [perp] * KNOTS, [px] * KNOTS)
            self._made[(coin, 0)] = made
        return made

    def printed(self, coin: str, hour: int) -> Print | None:
        return None


def thin_out(exchange: Exchange, part: int) -> None:
    """Leave one `part` of every book's depth."""
    for asset in exchange.assets.values():
        asset.depth_usd = max(asset.depth_usd // part, 1)
        asset.impact_usd = max(asset.impact_usd // part, 1)


def stand_still(exchange: Exchange) -> None:
    """Quotes without noise: the same touch at every instant."""
    for asset in exchange.assets.values():
        low, _ = asset.half_spread_e9
        asset.half_spread_e9 = (low, low + 1)
