"""A crash at every boundary of twelve stories: position and ledger come out as without it.

By default at some boundaries of each; CARRY_STORM_CRASHES=all takes every one.
"""

import os
import zlib

import pytest

from carry.core.num import use_exact_context
from carry.storm.crashpoints import STORIES, boundaries, crash_at, tell

EVERY = os.environ.get("CARRY_STORM_CRASHES") == "all"
SAMPLE = 4
# Boundaries the stories pass: fewer would mean that something is no longer covered.
BOUNDARIES_MIN = 1_587


def test_no_boundary_got_lost(capsys: pytest.CaptureFixture[str]) -> None:
    use_exact_context()
    counts = {name: len(boundaries(story)) for name, story in STORIES.items()}
    with capsys.disabled():
        print(f"\ncrash points: {sum(counts.values())} {counts}")
    assert len(counts) == 12
    assert sum(counts.values()) >= BOUNDARIES_MIN


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("name", STORIES)
def test_a_crash_there_changes_nothing_in_the_end(name: str) -> None:
    use_exact_context()
    story = STORIES[name]
    whole = tell(story)
    assert whole.held[1] < 0 == whole.flat[1]
    assert whole.funding_usd > 0
    assert whole.costs_usd > 0
    points = boundaries(story)
    stride = 1 if EVERY else max(1, len(points) // SAMPLE)
    first = zlib.crc32(name.encode()) % stride
    crashes = {at: crash_at(story, at, whole) for at in points[first::stride]}
    broken = {at: what for at, what in crashes.items() if what is not None}
    assert not broken
