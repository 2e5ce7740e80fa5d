"""The recorded market: a folder of funding prints and candles, replayed as they are.

Files: `funding_<coin>[_8h].csv[.gz]` (time_ms, funding_rate[, premium]), `perp_<coin>_<interval>`
and `spot_<coin>_<interval>` (time_ms, open, high, low, close, volume); the spot of BTC, ETH and SOL
is named UBTC, UETH and USOL. Where bars of several intervals cover an hour, the finest are used.
Joke prices and gaps are market data: they pass through. What cannot be read is refused.
"""

import csv
import gzip
import hashlib
import io
import re
from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from .assets import PATH_DECIMALS, all_coins
from .paths import HOUR_MS, KNOTS, MINUTE_MS, HourPath, Print

INTERVAL_MINUTES = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}
_FILE = re.compile(
    r"(funding)_([A-Za-z0-9]+)(?:_8h)?\.csv(?:\.gz)?"
    r"|(perp|spot)_([A-Za-z0-9]+)_(1m|5m|15m|30m|1h|4h|1d)\.csv(?:\.gz)?"
)
_BAR_COLUMNS = ["time_ms", "open", "high", "low", "close"]
_LATE_MS = 30 * MINUTE_MS
"""A print this long after the hour still belongs to it (one of 2024 came 14.8 minutes late)."""

_CACHED_HOURS = 400
_PX_MAX = Decimal(10) ** 12


class BadRecording(Exception):
    """A file, its line and what is wrong with it."""


class Bar(NamedTuple):
    """Prices in 1e-8 USD."""

    open: int
    high: int
    low: int
    close: int


class Series:
    """The bars of one file, by the minute since the epoch at which they open."""

    def __init__(self, minutes: int, bars: dict[int, Bar]) -> None:
        self.minutes = minutes
        self.bars = bars

    def at(self, minute: int) -> int | None:
        """Price at a minute: open, then high and low, then close, on straight lines.

        A rising bar visits its low first, a falling one its high, at a third and two thirds.
        """
        opened = minute - minute % self.minutes
        bar = self.bars.get(opened)
        if bar is None:
            return None
        into = minute - opened
        third = max(1, self.minutes // 3)
        if self.minutes < 3:
            return bar.open + (bar.close - bar.open) * into // self.minutes
        turns = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
        knots = (
            (0, bar.open), (third, turns[0]), (self.minutes - third, turns[1]),
            (self.minutes, bar.close),
        )
        for (t0, p0), (t1, p1) in pairwise(knots):
            if t0 <= into < t1:
                return p0 + (p1 - p0) * (into - t0) // (t1 - t0)
        return bar.close


class Line:
    """One price through time from several files: the finest that covers a minute, else held."""

    def __init__(self, series: list[Series]) -> None:
        self._series = sorted(series, key=lambda s: s.minutes)
        opens: dict[int, None] = {}
        for one in self._series:
            opens.update(dict.fromkeys(one.bars))
        self.opens = sorted(opens)

    def price(self, minute: int) -> int:
        """The price at a minute; in a gap the last close, before the first bar its open."""
        for series in self._series:
            value = series.at(minute)
            if value is not None:
                return value
        index = bisect_right(self.opens, minute) - 1
        opened = self.opens[max(index, 0)]
        for series in self._series:
            bar = series.bars.get(opened)
            if bar is not None:
                return bar.open if index < 0 else bar.close
        raise AssertionError(opened)


class RecordedMarket:
    """See the module. `shift_to` moves the whole recording in time, to play it on a wall clock."""

    prints_funding = True

    def __init__(
        self,
        name: str,
        perps: dict[str, Line],
        spots: dict[str, Line],
        prints: dict[str, dict[int, Print]],
        start_hour: int,
    ) -> None:
        self.name = name
        self.coins = tuple(perps)
        self._perps = perps
        self._spots = spots
        self._prints = prints
        self._start_hour = start_hour
        self._first = min(
            min(min(p, default=start_hour) for p in prints.values()),
            *(line.opens[0] // 60 for line in perps.values()),
        )
        self._shift = 0
        self._paths: dict[tuple[str, int], HourPath] = {}

    @property
    def start_ms(self) -> int:
        return (self._start_hour + self._shift) * HOUR_MS

    @property
    def first_hour(self) -> int:
        return self._first + self._shift

    def shift_to(self, start_ms: int) -> None:
        """Lets the recording start at `start_ms` (a whole hour)."""
        self._shift = start_ms // HOUR_MS - self._start_hour

    def printed(self, coin: str, hour: int) -> Print | None:
        return self._prints[coin].get(hour - self._shift)

    def path(self, coin: str, hour: int) -> HourPath:
        hour -= self._shift
        kept = self._paths.get((coin, hour))
        if kept is None:
            kept = self._paths[(coin, hour)] = self._read_path(coin, hour)
            if len(self._paths) > _CACHED_HOURS:
                del self._paths[next(iter(self._paths))]
        return kept

    def _read_path(self, coin: str, hour: int) -> HourPath:
        minutes = range(hour * 60, hour * 60 + KNOTS)
        perp = [self._perps[coin].price(minute) for minute in minutes]
        spot = [self._spots[coin].price(minute) for minute in minutes]
        printed = self._prints[coin].get(hour)
        oracle = perp
        if printed is not None and printed.premium is not None:
            # oracle = perp / (1 + premium), in integers of 1e-10.
            scale = 10**10
            below = scale + int(printed.premium.scaleb(10))
            oracle = [px * scale // below for px in perp]
        return HourPath(oracle, perp, spot)

    @classmethod
    def read(
        cls,
        folder: Path,
        *,
        coins: tuple[str, ...] | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> "RecordedMarket":
        """Reads every file of the folder that has a coin's name. Raises BadRecording."""
        if not folder.is_dir():
            raise BadRecording(f"{folder}: is not a folder")
        files = sort_files(folder)
        known = all_coins()
        wanted = coins or tuple(
            name for name, coin in known.items()
            if ("perp", name) in files and ("spot", coin.spot_file) in files
        )
        if not wanted:
            raise BadRecording(f"{folder}: no coin has both perp_<coin>_<interval> and spot files")
        perps: dict[str, Line] = {}
        spots: dict[str, Line] = {}
        prints: dict[str, dict[int, Print]] = {}
        start = 0
        digest = hashlib.sha256()
        for name in wanted:
            for kind, file_name in (
                ("funding", name), ("perp", name), ("spot", known[name].spot_file)
            ):
                if (kind, file_name) not in files:
                    raise BadRecording(f"{folder}: no {kind}_{file_name} file for {name}")
            used = files["funding", name]
            prints[name] = {}
            for path in used:
                prints[name].update(read_funding(path, until_ms, digest))
            perps[name] = _read_line(files["perp", name], until_ms, digest)
            spots[name] = _read_line(files["spot", known[name].spot_file], until_ms, digest)
            if not prints[name] or not perps[name].opens or not spots[name].opens:
                raise BadRecording(f"{folder}: {name} has no rows in the time asked for")
            minute = max(perps[name].opens[0], spots[name].opens[0])
            start = max(start, -(-minute // 60), min(prints[name]))
        if since_ms is not None:
            start = max(start, -(-since_ms // HOUR_MS))
        return cls(f"recorded {digest.hexdigest()[:16]}", perps, spots, prints, start)


def read_prints(folder: Path, *, until_ms: int | None = None) -> dict[str, dict[int, Print]]:
    """The funding of every funding file of the folder: coin, hour of the payment since the epoch,
    print (fraction a settlement). Raises BadRecording, also where there is none.
    """
    if not folder.is_dir():
        raise BadRecording(f"{folder}: is not a folder")
    found: dict[str, dict[int, Print]] = {}
    for (kind, name), paths in sort_files(folder).items():
        for path in paths if kind == "funding" else ():
            found.setdefault(name, {}).update(read_funding(path, until_ms, hashlib.sha256()))
    if not found:
        raise BadRecording(f"{folder}: no funding_<coin>.csv")
    return found


def parse_date(text: str | None) -> int | None:
    """ISO date or time, UTC unless it says otherwise, to ms. Raises BadRecording."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRecording(f"{text}: not an ISO date") from error
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=timezone.utc)
    return round(parsed.timestamp()) * 1000


def sort_files(folder: Path) -> dict[tuple[str, str], list[Path]]:
    files: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(folder.iterdir()):
        found = _FILE.fullmatch(path.name)
        if found is not None:
            kind, name = found[1] or found[3], found[2] or found[4]
            files.setdefault((kind, name), []).append(path)
    return files


def _read_line(paths: list[Path], until_ms: int | None, digest: "hashlib._Hash") -> Line:
    series: list[Series] = []
    for path in paths:
        found = _FILE.fullmatch(path.name)
        assert found is not None, path
        series.append(read_bars(path, INTERVAL_MINUTES[found[5]], until_ms, digest))
    return Line([one for one in series if one.bars])


def read_bars(
    path: Path, minutes: int, until_ms: int | None, digest: "hashlib._Hash"
) -> Series:
    bars: dict[int, Bar] = {}
    span = minutes * MINUTE_MS
    for number, row in rows_of(path, _BAR_COLUMNS, digest):
        time = time_of(path, number, row[0])
        if time % span:
            raise BadRecording(f"{path}:{number}: time_ms {time} is not a bar's open ({span} ms)")
        o, h, low, c = (price_of(path, number, text) for text in row[1:5])
        if not low <= min(o, c) or not h >= max(o, c):
            raise BadRecording(
                f"{path}:{number}: high {row[2]} and low {row[3]} do not hold open and close"
            )
        minute = time // MINUTE_MS
        if minute in bars:
            raise BadRecording(f"{path}:{number}: time_ms {time} a second time")
        if until_ms is None or time < until_ms:
            bars[minute] = Bar(o, h, low, c)
    return Series(minutes, bars)


def read_funding(
    path: Path, until_ms: int | None, digest: "hashlib._Hash"
) -> dict[int, Print]:
    prints: dict[int, Print] = {}
    for number, row in rows_of(path, ["time_ms", "funding_rate"], digest):
        time = time_of(path, number, row[0])
        hour, late = divmod(time, HOUR_MS)
        if late > _LATE_MS:
            hour += 1
        rate = fraction_of(path, number, "funding_rate", row[1])
        premium = None
        if len(row) > 2 and row[2]:
            premium = fraction_of(path, number, "premium", row[2])
        if hour in prints:
            raise BadRecording(f"{path}:{number}: a second print of the same hour, {time}")
        if until_ms is None or time < until_ms:
            prints[hour] = Print(rate, premium)
    return prints


def rows_of(
    path: Path, columns: list[str], digest: "hashlib._Hash"
) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) below a header that begins with `columns`; times must rise."""
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    except (OSError, EOFError, UnicodeError) as error:
        raise BadRecording(f"{path}: cannot be read: {error}") from error
    digest.update(text.encode())
    reader = csv.reader(io.StringIO(text))
    header = next(reader, [])
    if header[: len(columns)] != columns:
        raise BadRecording(f"{path}:1: columns {header}, expected {columns}")
    last = -1
    for number, row in enumerate(reader, start=2):
        if len(row) < len(columns):
            raise BadRecording(f"{path}:{number}: {len(row)} fields, expected {len(header)}")
        time = time_of(path, number, row[0])
        if time <= last:
            raise BadRecording(f"{path}:{number}: time_ms {time} is not after {last}")
        last = time
        yield number, row


def time_of(path: Path, number: int, text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 12 <= len(text) <= 14:
        raise BadRecording(f"{path}:{number}: time_ms {text!r} is not milliseconds since 1970")
    return int(text)


def _decimal(path: Path, number: int, what: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise BadRecording(f"{path}:{number}: {what} {text!r} is not a number") from error
    if not value.is_finite():
        raise BadRecording(f"{path}:{number}: {what} {text!r} is not a number")
    return value


def price_of(path: Path, number: int, text: str) -> int:
    value = _decimal(path, number, "price", text)
    if not 0 < value < _PX_MAX:
        raise BadRecording(f"{path}:{number}: price {text!r} is not between 0 and {_PX_MAX:f}")
    return max(int(value.scaleb(PATH_DECIMALS)), 1)


def fraction_of(path: Path, number: int, what: str, text: str) -> Decimal:
    value = _decimal(path, number, what, text)
    if abs(value) >= 1:
        raise BadRecording(f"{path}:{number}: {what} {text!r} is not a fraction between -1 and 1")
    return value
