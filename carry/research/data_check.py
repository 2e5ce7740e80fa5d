"""What is wrong with a folder of recordings: one line each, with file and line.

A *fault* is what a backtest refuses (unreadable, out of order, twice). A *doubt* is what it takes
as market data: gaps, jumps, rates beyond the venue's cap.
"""

import csv
import gzip
import io
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import Final

import attrs

from carry.core.num import ZERO
from carry.exchange.bars import interval_of
from carry.exchange.paths import HOUR_MS, MINUTE_MS
from carry.exchange.recorded import INTERVAL_MINUTES, BadRecording, sort_files

JUMP: Final = Decimal("0.5")  # of a price from one bar to the next
RATE_MAX: Final = Decimal("0.04")  # the venue's cap, an hour
LATE_MS: Final = 5 * MINUTE_MS
BAR: Final = ("time_ms", "open", "high", "low", "close")
PRINT: Final = ("time_ms", "funding_rate")


@attrs.frozen
class Finding:
    """One line. kind: "fault", "doubt" or "covers"; line 0: of the file as a whole."""

    file: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.kind}: {self.text}"


def check(folder: Path) -> Iterator[Finding]:
    """Everything there is to say of a folder. Raises BadRecording when it is none."""
    if not folder.is_dir():
        raise BadRecording(f"{folder}: is not a folder")
    files = sort_files(folder)
    if not files:
        raise BadRecording(f"{folder}: no file is named as docs/BACKTEST.md says")
    for (kind, _), paths in sorted(files.items()):
        for path in paths:
            try:
                rows = list(_rows(path))
            except (OSError, EOFError, UnicodeError) as error:
                yield Finding(path.name, 0, "fault", f"cannot be read: {error}")
                continue
            yield from _prints(path, rows) if kind == "funding" else _bars(path, rows)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    yield from enumerate(csv.reader(io.StringIO(text)), start=1)


Row = tuple[int, int, list[Decimal]]


def _read(
    path: Path, rows: list[tuple[int, list[str]]], columns: tuple[str, ...]
) -> tuple[list[Row], list[Finding]]:
    """(line, time, numbers) of what can be read, and what cannot."""
    good: list[Row] = []
    found: list[Finding] = []

    def fault(line: int, text: str) -> None:
        found.append(Finding(path.name, line, "fault", text))

    head = rows[0][1] if rows else []
    if tuple(head[: len(columns)]) != columns:
        fault(1, f"columns {','.join(head) or 'none'}, expected {','.join(columns)}")
        return [], found
    last = -1
    for line, row in rows[1:]:
        try:
            time = int(row[0])
            numbers = [Decimal(text) for text in row[1 : len(columns)]]
        except (ValueError, InvalidOperation, IndexError):
            fault(line, f"{','.join(row)[:60]!r} is not {','.join(columns)}")
            continue
        if len(numbers) < len(columns) - 1 or not all(n.is_finite() for n in numbers):
            fault(line, f"{','.join(row)[:60]!r} is not {','.join(columns)}")
        elif time == last:
            fault(line, f"{_iso(time)} a second time")
        elif time < last:
            fault(line, f"{_iso(time)} comes after {_iso(last)}")
        else:
            good.append((line, time, numbers))
            last = time
    return good, found


def _bars(path: Path, rows: list[tuple[int, list[str]]]) -> Iterator[Finding]:
    minutes = INTERVAL_MINUTES[path.name.split(".")[0].rsplit("_", 1)[1]]
    span = minutes * MINUTE_MS
    good, found = _read(path, rows, BAR)
    yield from found
    before: Row | None = None
    for line, time, numbers in good:
        o, high, low, close = numbers
        if time % span:
            yield Finding(path.name, line, "fault", f"{_iso(time)} is no bar's open")
        if not ZERO < low <= min(o, close) or high < max(o, close):
            text = f"open {o}, high {high}, low {low}, close {close} cannot be"
            yield Finding(path.name, line, "fault", text)
        elif before is not None:
            yield from _after(path, before, (line, time, numbers), span)
        before = (line, time, numbers)
    yield from _covers(path, good, span)


def _after(path: Path, before: Row, now: Row, span: int) -> Iterator[Finding]:
    line, time, numbers = now
    missing = (time - before[1]) // span - 1
    if missing:
        text = f"{missing} bars are missing before {_iso(time)}; the last close stands"
        yield Finding(path.name, line, "doubt", text)
    last, worst = before[2][3], max(numbers, key=lambda px: abs(px / before[2][3] - 1))
    if last and abs(worst / last - 1) > JUMP:
        yield Finding(path.name, line, "doubt", f"{worst} after a close of {last}, {_iso(time)}")


def _prints(path: Path, rows: list[tuple[int, list[str]]]) -> Iterator[Finding]:
    good, found = _read(path, rows, PRINT)
    yield from found
    hours = [(time + HOUR_MS // 2) // HOUR_MS for _, time, _ in good]
    interval = interval_of(hours)
    for n, (line, time, (rate,)) in enumerate(good):
        late = time - hours[n] * HOUR_MS
        if abs(late) > LATE_MS:
            text = f"{_iso(time)} is {abs(late) / MINUTE_MS:.1f} minutes from the hour"
            yield Finding(path.name, line, "doubt", text)
        if abs(rate) > RATE_MAX * interval:
            yield Finding(path.name, line, "doubt", f"{rate} is beyond the venue's cap")
        if n and hours[n] == hours[n - 1]:
            yield Finding(path.name, line, "fault", f"a second print of the hour, {_iso(time)}")
    yield from _odd_gaps(path, good, hours, interval)
    yield from _covers(path, good, interval * HOUR_MS)


def _odd_gaps(path: Path, good: list[Row], hours: list[int], interval: int) -> Iterator[Finding]:
    """Each stretch of payments that come at another interval than most."""
    gaps = [now - before for before, now in pairwise(hours)]
    n = 0
    while n < len(gaps):
        gap, first = gaps[n], n
        while n < len(gaps) and gaps[n] == gap:
            n += 1
        if gap not in (0, interval):
            times = "" if n - first == 1 else f", {n - first} times"
            text = f"{gap} hours between payments before {_iso(good[first + 1][1])}{times}"
            yield Finding(path.name, good[first + 1][0], "doubt", f"{text}; usually {interval}")


def _covers(path: Path, good: Iterable[Row], span: int) -> Iterator[Finding]:
    times = [time for _, time, _ in good]
    if not times:
        yield Finding(path.name, 0, "fault", "no row")
        return
    due = round((times[-1] - times[0]) / span) + 1
    text = (
        f"{_iso(times[0])} to {_iso(times[-1])}, {len(times)} of {due} rows, every "
        f"{span // MINUTE_MS} minutes"
    )
    yield Finding(path.name, 0, "covers", text)


def _iso(time_ms: int) -> str:
    try:
        at = datetime.fromtimestamp(time_ms / 1000, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return str(time_ms)
    return at.strftime("%Y-%m-%dT%H:%MZ")
