"""How long the parts of a tick took, minute by minute, from the counts the bot keeps beside itself.

These are measurements, no part of the journal: what was counted while no ops ran falls into the
minute in which one looks again.
"""

import json
from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from .rows import MINUTE_MS, Row, moment
from .tables import LATENCY

ROWS_MAX: Final = 6 * 1440  # a day while the database is away; then the oldest go
THOUSANDTH: Final = Decimal("0.001")


class Latencies:
    """Rows that wait to be written, and what was counted when they were made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._minute: int | None = None
        self._before: dict[str, tuple[list[int], int]] = {}
        self.waiting: deque[tuple[Any, ...]] = deque(maxlen=ROWS_MAX)

    def look(self, venue_ms: int | None) -> None:
        """Make the rows of a minute that is over. venue_ms: of the newest tick."""
        if venue_ms is None:
            return
        minute = venue_ms // MINUTE_MS * MINUTE_MS
        if minute == self._minute:
            return
        first, self._minute = self._minute is None, minute
        try:
            facts = json.loads(self._path.read_text())
            bounds = [int(bound) for bound in facts["bounds_ms"]]
            now = {s: (list(f["counts"]), int(f["sum_us"])) for s, f in facts["stages"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            return
        before, self._before = self._before, now
        if first:
            return
        for stage, (counts, sum_us) in now.items():
            old, old_us = before.get(stage, ([0] * len(counts), 0))
            if len(old) != len(counts) or sum_us < old_us:
                old, old_us = [0] * len(counts), 0  # the bot was started again
            grown = [new - was for new, was in zip(counts, old, strict=True)]
            if sum(grown) > 0:
                found = figures(bounds, grown, sum_us - old_us)
                self.waiting.append((stage, moment(minute), *found))

    def rows(self, account: int) -> list[Row]:
        assert tuple(LATENCY.columns)[:3] == ("account", "stage", "time")
        return [(account, *row) for row in self.waiting]


def figures(
    bounds: Sequence[int], counts: Sequence[int], sum_us: int
) -> tuple[int, Decimal, int | None, int | None]:
    """How many, mean (ms), and the bounds (ms) that half and 99 of 100 did not exceed.

    >>> figures([1, 5], [50, 49, 1], 250_000)
    (100, Decimal('2.500'), 1, 5)
    >>> figures([1, 5], [0, 0, 2], 20_000_000)
    (2, Decimal('10000.000'), None, None)
    """
    n = sum(counts)
    mean = (Decimal(sum_us) / 1000 / n).quantize(THOUSANDTH)
    return n, mean, _bound(bounds, counts, n, 50), _bound(bounds, counts, n, 99)


def _bound(bounds: Sequence[int], counts: Sequence[int], n: int, percent: int) -> int | None:
    total = 0
    for bound, count in zip(bounds, counts, strict=False):
        total += count
        if total * 100 >= n * percent:
            return bound
    return None
