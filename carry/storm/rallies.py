"""How far liquidation stays away through rallies and recorded crashes, by the whole bot.

`python -m carry.storm.rallies [FOLDER]`: a carry is entered at a standing price, then the price
goes along a path while the bot does what it does (by values, against the exchange's own margin,
which is the judge). Paths that are drawn: +20, +50 and +100 % in a day, and a gap of 30 % within
which no tick falls. Recorded: FOLDER holds `mark_BTCUSDT_1h.csv.gz` and the like (a short is
liquidated by the mark, not by a wick of the last trade); the days around the lows of the named
crashes, the rebounds from them, and the largest rises of a day and of a week.

A bar of four hours lasts two minutes here, its low before its high: faster than it was, and in the
order that hurts a short most. So funding plays no part, and what could be done in time, was.
"""

import csv
import gzip
import sys
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import attrs

from carry.core.num import use_exact_context
from carry.core.policy import Execution, MarketPolicy, Policy, Risk, Strategy
from carry.exchange.accounts import Account
from carry.exchange.market import SeededMarket
from carry.exchange.paths import HOUR_MS, KNOTS, MINUTE_MS, HourPath, Market, Print

from .draw import Case, Strike
from .invariants import Violation
from .market import START_MINUTE, STILL, STILL_PREMIUM_E6, Shape
from .world import World

D = Decimal
E6: Final = 1_000_000
TARGET_USD: Final = D(900)
INTERVAL_MS: Final = 10_000
WARM_MIN: Final = 8  # minutes at the first price: the entry
REST_MIN: Final = 4  # minutes at the last
LEVERAGES: Final = (1, 2, 3, 4, 5)
MODES: Final = ("split", "unified")
H_MS: Final = 3_600_000
WINDOW_H: Final = 7 * 24
BAR_H: Final = 4
CRASHES: Final = (
    ("2020-03", 1_583_020_800_000),
    ("2021-05", 1_619_827_200_000),
    ("2022-06", 1_654_041_600_000),
)
"""Months in which coins fell most on record; the UTC start of each, ms."""


@attrs.frozen(kw_only=True)
class Track:
    """A price path: `points` are prices by the minute, of the first; gap: nobody ticks within it,
    where it goes up most.
    """

    name: str
    coin: str
    points: tuple[Decimal, ...]
    gap: bool = False

    @property
    def rise(self) -> Decimal:
        """The highest price, as a rise from the first."""
        return max(self.points) / self.points[0] - 1

    def e6(self, minute: int) -> int:
        at = min(max(0, minute), len(self.points) - 1)
        return int(self.points[at] / self.points[0] * E6)


@attrs.frozen(kw_only=True)
class Ride:
    """What became of one account. entered_usd: a leg, at first. distance: to liquidation once it
    was held, as a fraction; nearest: the least there was. sold_usd: spot that was sold; moved_usd:
    between the wallets. kept: share of the coins still held and hedged.
    """

    track: str
    rise: Decimal
    mode: str
    leverage: int
    entered_usd: Decimal
    distance: Decimal
    nearest: Decimal
    sold_usd: Decimal
    moved_usd: Decimal
    kept: Decimal
    liquidated: bool

    @property
    def without(self) -> bool:
        """Whether it had been liquidated with the same size and nothing done."""
        return self.rise >= self.distance


class Told:
    """A market that goes along a track; the perp stands a little above the oracle."""

    prints_funding = False

    def __init__(self, under: SeededMarket, track: Track) -> None:
        self._track = track
        self.name, self.coins = under.name, under.coins
        self.start_ms, self.first_hour = under.start_ms, under.first_hour
        self._px = under.path(track.coin, self.start_ms // HOUR_MS).oracle[0]
        self._made: dict[int, HourPath] = {}

    def path(self, coin: str, hour: int) -> HourPath:
        first = (hour * HOUR_MS - self.start_ms) // MINUTE_MS - START_MINUTE - WARM_MIN
        known = min(max(first, -KNOTS), len(self._track.points))
        made = self._made.get(known)
        if made is None:
            spot = [self._px * self._track.e6(known + n) // E6 for n in range(KNOTS)]
            perp = [px + px * STILL_PREMIUM_E6 // E6 for px in spot]
            made = self._made[known] = HourPath(spot, perp, spot)
        return made

    def printed(self, coin: str, hour: int) -> Print | None:
        return None


class Riding(World):
    """One account on one track. `nearest`: the least distance to liquidation, by the exchange."""

    network = "rally"

    def __init__(self, track: Track, mode: str, leverage: int) -> None:
        self.track = track
        self.first: Decimal | None = None
        self.nearest = D(1000)
        self.entered = self.first_px = D(0)
        super().__init__(_case(track, mode, leverage), values=True)
        self.began_ms = self.exchange.now
        self.on_tick = self._look

    def _market(self, start_ms: int) -> Market:
        return Told(SeededMarket(self.case.seed, start_ms, self.case.policy.coins), self.track)

    def distance(self) -> Decimal | None:
        """How far the short may rise by the exchange's margin; None without one."""
        summary = self.exchange.summary(self.truth.account)
        if not summary.notional:
            return None
        rate = summary.maintenance / summary.notional
        return (summary.value - summary.maintenance) / (summary.notional * (1 + rate))

    def _look(self) -> None:
        away = self.distance()
        if away is None or not self._begun():
            return
        if self.first is None:
            self.first = away
            self.entered = self.truth.spot(self.track.coin)
            self.first_px = self.truth.mark(self.track.coin)
        self.nearest = min(self.nearest, away)

    def _begun(self) -> bool:
        return self.exchange.now - self.began_ms >= (WARM_MIN - 1) * MINUTE_MS


def _case(track: Track, mode: str, leverage: int) -> Case:
    policy = Policy(
        strategy=Strategy(
            target_usd_notional=TARGET_USD, enter_threshold_apr=D("0.005"), horizon_h=1_000
        ),
        execution=Execution(perp_leverage=leverage),
        risk=Risk(
            slice_usd=D(250),
            per_symbol_notional_cap=TARGET_USD,
            portfolio_notional_cap=TARGET_USD,
            max_drawdown_usd=D(1000),
            transfer_usd_per_day=TARGET_USD * 2,
        ),
        markets=(MarketPolicy(base=track.coin),),
        source="rally",
    )
    return Case(
        seed=7,
        ticks=10**6,
        interval_ms=INTERVAL_MS,
        mode=mode,
        funds_usd=(TARGET_USD * (1 + D(1) / leverage) * D("1.15")).quantize(D("0.01")),
        policy=policy,
        shape=Shape(regime=STILL, begin_min=0, bp=0, minutes=0),
        # One that never comes: without any, the storm's judge would forbid every alert.
        strikes=(Strike(no=0, fault="F81", tick=10**9, key=0),),
        orders=(),
    )


def ride(track: Track, mode: str, leverage: int) -> Ride:
    """Live one account through one track. Raises `Violation` where a promise breaks."""
    use_exact_context()
    world = Riding(track, mode, leverage)
    leap_ms = world.began_ms + WARM_MIN * MINUTE_MS
    account, coin = world.truth.account, track.coin
    try:
        if track.gap:
            world.run(10**6, lambda: world.exchange.now >= leap_ms - 2 * INTERVAL_MS)
            world.pass_ms(_leap_minutes(track) * MINUTE_MS)
        end_ms = leap_ms + (len(track.points) + REST_MIN) * MINUTE_MS
        world.run(10**6, lambda: world.exchange.now >= end_ms)
    except Violation:
        if not _liquidated(account):
            raise  # what follows a liquidation breaks more promises, and is told by its name
    sold = sum(
        (
            D(fill["px"]) * D(fill["sz"])
            for fill in account.fills
            if fill["time"] >= leap_ms - MINUTE_MS and fill["coin"] != coin and fill["side"] == "A"
        ),
        D(0),
    )
    moves = world.truth.state.moves if world.truth.state is not None else ()
    held = min(world.truth.spot(coin), -world.truth.perp(coin))
    found = Ride(
        track=track.name,
        rise=track.rise,
        mode=mode,
        leverage=leverage,
        entered_usd=world.entered * world.first_px,
        distance=world.first or D(0),
        nearest=world.nearest,
        sold_usd=sold,
        moved_usd=sum((m.usd for m in moves if m.ms), D(0)),
        kept=held / world.entered if world.entered else D(0),
        liquidated=_liquidated(account),
    )
    world.close()
    return found


def _liquidated(account: Account) -> bool:
    return any(row["delta"]["type"] == "liquidation" for row in account.transfers)


def _leap_minutes(track: Track) -> int:
    """Minutes until the point after the largest rise between two of them."""
    rises = [b / a for a, b in zip(track.points, track.points[1:], strict=False)]
    return rises.index(max(rises)) + 2


# --- tracks ---------------------------------------------------------------------------------------


def drawn(coin: str = "HYPE") -> tuple[Track, ...]:
    """+20, +50, +100 % in a day, straight, and a gap of 30 %."""
    steps = 24 // BAR_H * 4
    made = [
        Track(
            name=f"+{percent} % in a day",
            coin=coin,
            points=tuple(1 + D(percent * n) / 100 / steps for n in range(steps + 1)),
        )
        for percent in (20, 50, 100)
    ]
    gap = Track(name="a gap of 30 %", coin=coin, points=(D(1), D("1.3"), D("1.3")), gap=True)
    return (*made, gap)


@attrs.frozen
class Bar:
    """at_ms, UTC; marks."""

    at_ms: int
    low: Decimal
    high: Decimal
    close: Decimal


def read_bars(path: Path) -> tuple[Bar, ...]:
    """Hourly bars of a CSV (`time_ms,open,high,low,close,...`, gzip), by time."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        bars = [Bar(int(r["time_ms"]), D(r["low"]), D(r["high"]), D(r["close"])) for r in rows]
    return tuple(sorted(bars, key=lambda bar: bar.at_ms))


def recorded(bars: Sequence[Bar], coin: str) -> Iterator[Track]:
    """Around and from the low of each named crash that the bars hold; the largest rises of a day
    and of a week.
    """
    for name, month_ms in CRASHES:
        month = [n for n, b in enumerate(bars) if 0 <= b.at_ms - month_ms < 31 * 24 * H_MS]
        if month:
            low = min(month, key=lambda n: bars[n].low)
            yield _track(f"{coin} {name}", coin, bars[max(0, low - 48) :])
            yield _track(f"{coin} {name}, from the low", coin, bars[low:], bars[low].low)
    for name, hours in (("a day", 24), ("a week", WINDOW_H)):
        if len(bars) > hours:
            yield _track(f"{coin} best of {name}", coin, bars[_steepest(bars, hours) :])


def _steepest(bars: Sequence[Bar], hours: int) -> int:
    """Where the highest high within so many hours is furthest above the close before."""
    best, at = D(0), 0
    for n in range(len(bars) - hours):
        if (rise := max(b.high for b in bars[n + 1 : n + 1 + hours]) / bars[n].close) > best:
            best, at = rise, n
    return at


def _track(name: str, coin: str, bars: Sequence[Bar], first: Decimal | None = None) -> Track:
    """A week from the first bar on, by bars of `BAR_H` hours, the low of each before its high."""
    points = [bars[0].close if first is None else first]
    for n in range(1, min(WINDOW_H, len(bars)), BAR_H):
        part = bars[n : n + BAR_H]
        points += [min(bar.low for bar in part), max(bar.high for bar in part)]
    return Track(name=name, coin=coin, points=tuple(points))


# --- the table ------------------------------------------------------------------------------------

COLUMNS: Final = (
    "path", "rise", "mode", "L", "leg", "distance", "nearest", "sold", "moved", "kept",
    "liquidated", "without the rule",
)  # fmt: skip


def row(it: Ride) -> tuple[str, ...]:
    return (
        it.track, f"{it.rise * 100:.0f} %", it.mode, str(it.leverage), f"${it.entered_usd:.0f}",
        f"{it.distance * 100:.0f} %", f"{it.nearest * 100:.1f} %", f"${it.sold_usd:.0f}",
        f"${it.moved_usd:.0f}", f"{it.kept * 100:.0f} %", "YES" if it.liquidated else "no",
        "yes" if it.without else "no",
    )  # fmt: skip


def table(rides: Iterable[Ride]) -> str:
    """Markdown, as in docs/RELIABILITY.md."""
    lines = [COLUMNS, tuple("---" for _ in COLUMNS), *(row(it) for it in rides)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main(words: Sequence[str]) -> int:
    tracks = [*drawn()]
    for folder in map(Path, words):
        for path in sorted(folder.glob("mark_*USDT_1h.csv.gz")):
            coin = path.name.removeprefix("mark_").partition("USDT")[0]
            tracks += recorded(read_bars(path), coin)
    rides = []
    for track in tracks:
        for mode in MODES:
            for leverage in LEVERAGES:
                rides.append(ride(track, mode, leverage))
                print(" | ".join(row(rides[-1])), file=sys.stderr, flush=True)
    print(table(rides))
    return 1 if any(it.liquidated for it in rides) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
