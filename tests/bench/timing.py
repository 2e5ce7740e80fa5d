"""Medians of interleaved samples: ours, theirs, ours, theirs, so that drift hits both."""

import statistics
import time
from collections.abc import Callable


def _once(call: Callable[[], object], loops: int) -> float:
    began = time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - began) / loops * 1e6


def beside(
    ours: Callable[[], object],
    theirs: Callable[[], object] | None,
    *,
    rounds: int = 25,
    loops: int = 20,
    their_loops: int | None = None,
) -> dict[str, object]:
    """Microseconds a call, and the ratio of the medians; `theirs` None where there is no peer."""
    for call in (ours, theirs):
        if call is not None:
            call()
    mine: list[float] = []
    other: list[float] = []
    for _ in range(rounds):
        mine.append(_once(ours, loops))
        if theirs is not None:
            other.append(_once(theirs, their_loops or loops))
    return row(statistics.median(mine), statistics.median(other) if other else None, "us", rounds)


def row(ours: float, theirs: float | None, unit: str, n: int) -> dict[str, object]:
    """One row of bench.json."""
    ratio = None if theirs is None else ours / theirs
    return {"ours": ours, "theirs": theirs, "ratio": ratio, "unit": unit, "n": n}
