"""A recording played by the hour, so that nobody is shown a price before it was there.

An hour's quotes move at five-minute steps: the close of the hour before until minute 5, the bar's
open until minute 20, its two extremes for five minutes each (a rising bar visits its low first),
then its close. So who decides before minute 5 has seen the past only, and is filled from the open.
Extremes avoid the quarters, so that closes of 15 minutes carry the hour's own variance and no more.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import attrs

from .paths import HOUR_MS, KNOTS, MINUTE_MS, HourPath, Print
from .recorded import (
    INTERVAL_MINUTES,
    BadRecording,
    Bar,
    Series,
    read_bars,
    read_funding,
    sort_files,
)

STEP_MS = 5 * MINUTE_MS
OPEN_MINUTE = 5
_LOW_MINUTE, _HIGH_MINUTE, _CLOSE_MINUTE = 20, 25, 30
MOVES = (OPEN_MINUTE, _LOW_MINUTE, _HIGH_MINUTE, _CLOSE_MINUTE)
"""Minutes of an hour at which its price moves."""
_KEPT_HOURS = 48
_E10 = 10**10
_SPOT_NAMES = ("U{}", "{}", "{}USDT", "{}USDC", "{}USD")
_PERP_NAMES = ("{}", "{}USDT", "{}USDC", "{}USD")


@attrs.frozen
class Hours:
    """The bars of every hour from `first` (hours since the epoch) on; a gap stands at the close
    before it. missing: hours without a bar of their own.
    """

    first: int
    bars: Sequence[Bar]
    missing: int = 0

    @property
    def end(self) -> int:
        """The hour after the last bar."""
        return self.first + len(self.bars)

    def at(self, hour: int) -> Bar:
        """The bar of an hour; outside the data the price stands still."""
        index = hour - self.first
        if 0 <= index < len(self.bars):
            return self.bars[index]
        px = self.bars[0].open if index < 0 else self.bars[-1].close
        return Bar(px, px, px, px)


def hours_of(series: Iterable[Series]) -> Hours:
    """Hourly bars from bars of any length, the finest from an hour on where there are several.

    A longer bar is its open until its last hour, which has its extremes and its close: what the bar
    did is known at its end only.
    """
    by_hour: dict[int, Bar] = {}
    for one in sorted(series, key=lambda s: (s.minutes > 60, s.minutes != 60, s.minutes)):
        for hour, bar in _by_hour(one):
            by_hour.setdefault(hour, bar)
    if not by_hour:
        return Hours(0, ())
    first, last = min(by_hour), max(by_hour)
    bars: list[Bar] = []
    for hour in range(first, last + 1):
        found = by_hour.get(hour)
        if found is None:
            px = bars[-1].close
            found = Bar(px, px, px, px)
        bars.append(found)
    return Hours(first, bars, last + 1 - first - len(by_hour))


def _by_hour(series: Series) -> Iterable[tuple[int, Bar]]:
    if series.minutes >= 60:
        span = series.minutes // 60
        for minute, bar in series.bars.items():
            hour = minute // 60
            for n in range(span - 1):
                yield hour + n, Bar(bar.open, bar.open, bar.open, bar.open)
            yield hour + span - 1, bar
        return
    parts: dict[int, list[Bar]] = {}
    for minute in sorted(series.bars):
        parts.setdefault(minute // 60, []).append(series.bars[minute])
    for hour, some in parts.items():
        high, low = max(bar.high for bar in some), min(bar.low for bar in some)
        yield hour, Bar(some[0].open, high, low, some[-1].close)


@attrs.frozen(kw_only=True)
class Track:
    """One coin's recording. spot None: no spot book is recorded for it, so it trades at the perp.

    prints: by hour since the epoch, as charged. interval_h: hours between two of them.
    files: what was read.
    """

    coin: str
    perp: Hours
    spot: Hours | None
    prints: Mapping[int, Print]
    interval_h: int
    files: tuple[str, ...]


class Bars:
    """A `carry.exchange.paths.Market` of hourly bars; `start_hour` is where play begins.

    later: prices are those of so many hours later than the funding says, so that whoever decides by
    funding is filled that much later.
    """

    prints_funding = True

    def __init__(
        self, name: str, tracks: Mapping[str, Track], start_hour: int, *, later: int = 0
    ) -> None:
        self.name = name
        self.coins = tuple(tracks)
        self.tracks = tracks
        self.start_ms = start_hour * HOUR_MS
        self.first_hour = min(
            min(track.perp.first, min(track.prints)) for track in tracks.values()
        )
        self._later = later
        self._paths: dict[tuple[str, int], HourPath] = {}

    def printed(self, coin: str, hour: int) -> Print | None:
        return self.tracks[coin].prints.get(hour)

    def path(self, coin: str, hour: int) -> HourPath:
        kept = self._paths.get((coin, hour))
        if kept is None:
            kept = self._paths[(coin, hour)] = self._path(coin, hour)
            if len(self._paths) > _KEPT_HOURS * len(self.coins):
                del self._paths[next(iter(self._paths))]
        return kept

    def _path(self, coin: str, hour: int) -> HourPath:
        track = self.tracks[coin]
        perp = knots(track.perp, hour + self._later)
        spot = perp if track.spot is None else knots(track.spot, hour + self._later)
        oracle = perp
        printed = track.prints.get(hour)
        if printed is not None and printed.premium is not None:
            # oracle = perp / (1 + premium), in integers of 1e-10.
            below = _E10 + int(printed.premium.scaleb(10))
            oracle = [px * _E10 // below for px in perp]
        return HourPath(oracle, perp, spot)


def knots(hours: Hours, hour: int) -> list[int]:
    """Prices (integers of 1e-8) at the minutes of an hour."""
    before, bar = hours.at(hour - 1).close, hours.at(hour)
    first, second = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
    return [
        *[before] * OPEN_MINUTE,
        *[bar.open] * (_LOW_MINUTE - OPEN_MINUTE),
        *[first] * (_HIGH_MINUTE - _LOW_MINUTE),
        *[second] * (_CLOSE_MINUTE - _HIGH_MINUTE),
        *[bar.close] * (KNOTS - _CLOSE_MINUTE),
    ]


# --- reading ------------------------------------------------------------------------------------


def read_track(
    folder: Path, coin: str, *, until_ms: int | None, digest: "hashlib._Hash"
) -> Track:
    """What a folder has of a coin. Raises BadRecording."""
    if not folder.is_dir():
        raise BadRecording(f"{folder}: is not a folder")
    files = sort_files(folder)
    found = {
        kind: next((files[kind, n.format(coin)] for n in names if (kind, n.format(coin)) in files),
                   None)
        for kind, names in (
            ("funding", _PERP_NAMES), ("perp", _PERP_NAMES), ("spot", _SPOT_NAMES)
        )
    }  # fmt: skip
    for kind in ("funding", "perp"):
        if found[kind] is None:
            there = sorted({name for k, name in files if k == kind})
            raise BadRecording(
                f"{folder}: no {kind} file for {coin}; it has {', '.join(there) or 'none'}. "
                f"A file is named {kind}_{coin}{'' if kind == 'funding' else '_1h'}.csv.gz"
            )
    prints: dict[int, Print] = {}
    for path in found["funding"] or []:
        prints.update(read_funding(path, until_ms, digest))
    perps = [_series(path, until_ms, digest) for path in _useful(found["perp"] or [])]
    spots = [_series(path, until_ms, digest) for path in _useful(found["spot"] or [])]
    perp, spot = hours_of(perps), hours_of(spots)
    if not prints or not perp.bars:
        raise BadRecording(f"{folder}: {coin} has no rows in the time asked for")
    interval_h = interval_of(sorted(prints))
    return Track(
        coin=coin, perp=perp, spot=spot if spot.bars else None,
        prints=_settled(prints, interval_h), interval_h=interval_h,
        files=tuple(p.name for paths in found.values() for p in paths or ()),
    )


def _useful(paths: list[Path]) -> list[Path]:
    """Bars of an hour and longer, which reach back furthest; finer ones only where there is none.
    """
    coarse = [path for path in paths if _minutes(path) >= 60]
    return coarse if any(_minutes(path) == 60 for path in coarse) else paths


def _minutes(path: Path) -> int:
    return INTERVAL_MINUTES[path.name.split(".")[0].rsplit("_", 1)[1]]


def _series(path: Path, until_ms: int | None, digest: "hashlib._Hash") -> Series:
    return read_bars(path, _minutes(path), until_ms, digest)


def interval_of(hours: Sequence[int]) -> int:
    """Hours between two prints, as most of them are apart."""
    gaps: dict[int, int] = {}
    for before, after in pairwise(hours):
        gaps[after - before] = gaps.get(after - before, 0) + 1
    return max(gaps, key=lambda gap: (gaps[gap], -gap), default=1)


def _settled(prints: Mapping[int, Print], interval_h: int) -> dict[int, Print]:
    """The prints from where they came every `interval_h`: a rate for eight hours that is read as an
    hour's would be eight times too much.
    """
    hours = sorted(prints)
    gaps = [after - before for before, after in pairwise(hours)]
    steady = [interval_h] * 3
    begin = next((i for i in range(len(gaps)) if gaps[i : i + 3] == steady), 0)
    return {hour: prints[hour] for hour in hours[begin:]}
