"""A crash at every boundary of twelve stories: each ends flat, with every cent explained.

By default at some boundaries of each; CARRY_STORM_CRASHES=all takes every one.
"""

import os

import pytest

from carry.core.num import use_exact_context
from carry.storm.crashpoints import STORIES, boundaries, crash_at

EVERY = os.environ.get("CARRY_STORM_CRASHES") == "all"
SAMPLE = 4
# Boundaries the stories pass: fewer would mean that something is no longer covered.
BOUNDARIES_MIN = 1_000


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
    points = boundaries(story)
    stride = 1 if EVERY else max(1, len(points) // SAMPLE)
    broken = {at: what for at in points[::stride] if (what := crash_at(story, at)) is not None}
    assert not broken
