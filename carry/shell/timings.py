"""How long the parts of a tick take: counted in the bot, shown by ops.

Measurements are no part of what decides, so they are not in the journal: a small file beside it,
replaced at most every few seconds, and lost with nothing lost.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

# Upper bounds, ms; what took longer is counted in the sum only.
BOUNDS_MS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)
STAGES: Final = ("gather", "step", "commit", "execute", "tick", "order")
WRITE_S: Final = 5.0


class Timings:
    """Histograms by stage. path: where they are written, None to keep them."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._written = float("-inf")
        self.counts = {stage: [0] * (len(BOUNDS_MS) + 1) for stage in STAGES}
        self.sums_us = dict.fromkeys(STAGES, 0)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Time what is inside."""
        began = time.perf_counter_ns()
        try:
            yield
        finally:
            self.took(stage, time.perf_counter_ns() - began)

    def took(self, stage: str, ns: int) -> None:
        self.sums_us[stage] += ns // 1_000
        for n, bound in enumerate(BOUNDS_MS):
            if ns <= bound * 1_000_000:
                self.counts[stage][n] += 1
                return
        self.counts[stage][-1] += 1

    def facts(self) -> dict[str, Any]:
        return {
            "bounds_ms": list(BOUNDS_MS),
            "stages": {
                stage: {"counts": self.counts[stage], "sum_us": self.sums_us[stage]}
                for stage in STAGES
            },
        }

    def write(self) -> None:
        """Replace the file, if the last one is some seconds old. A full disk is not our affair."""
        now = time.monotonic()
        if self._path is None or now - self._written < WRITE_S:
            return
        self._written = now
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.write_text(json.dumps(self.facts()) + "\n")
            new.chmod(0o600)
            new.replace(self._path)
        except OSError:
            return
