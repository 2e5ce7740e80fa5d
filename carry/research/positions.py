"""Positions as a file: CSV `time,coin,weight`, rows at changes only.

time: UTC of a decision, ISO 8601 or ms since 1970; it is of the hour it stands in. weight: fraction
of the unit held in the coin from then on; 0 ends it. A coin that is not named keeps its weight.
"""

import csv
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from .yardstick import Positions

COLUMNS = ["time", "coin", "weight"]


class BadPositions(Exception):
    """A file, its line and what is wrong with it."""


def write_positions(path: Path, positions: Positions) -> int:
    """Rows written."""
    held: Mapping[str, float] = {}
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(COLUMNS)
        for hour, weights in positions:
            time = datetime.fromtimestamp(hour * 3600, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            for coin in sorted({**held, **weights}):
                weight = weights.get(coin, 0.0)
                if weight != held.get(coin, 0.0):
                    out.writerow([time, coin, f"{weight:.10g}"])
                    count += 1
            held = weights
    return count


def read_positions(path: Path) -> Positions:
    """Raises BadPositions, naming the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise BadPositions(f"{path}: cannot be read: {error}") from None
    rows = csv.reader(text.splitlines())
    head = next(rows, [])
    if head != COLUMNS:
        raise BadPositions(f"{path}:1: columns {head}, expected {COLUMNS}")
    found: dict[int, dict[str, float]] = {}
    held: dict[str, float] = {}
    last = 0.0
    for number, row in enumerate(rows, start=2):
        if len(row) != len(COLUMNS):
            raise BadPositions(f"{path}:{number}: {len(row)} fields, expected {len(COLUMNS)}")
        time = _seconds(path, number, row[0])
        if time < last:
            raise BadPositions(f"{path}:{number}: time {row[0]} is before the row above")
        last = time
        held = {**held, row[1]: _weight(path, number, row[2])}
        found[int(time // 3600)] = held
    return sorted(found.items())


def _seconds(path: Path, number: int, text: str) -> float:
    if text.isascii() and text.isdigit():
        return int(text) / 1000
    try:
        time = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        raise BadPositions(
            f"{path}:{number}: time {text!r} is neither ISO 8601 nor ms since 1970"
        ) from None
    return time.replace(tzinfo=time.tzinfo or timezone.utc).timestamp()


def _weight(path: Path, number: int, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 <= weight <= 10:
        raise BadPositions(f"{path}:{number}: weight {text!r} is not between 0 and 10")
    return weight
