"""Every journal of a release is read and stepped through by the program of today."""

import re
from pathlib import Path

import pytest

from carry.core.num import use_exact_context
from carry.core.state import RULES
from carry.research import past, replay
from carry.shell.reader import Reader

from .releases import FOLDER, ROOT, unpacked, version

KEPT = sorted(FOLDER.glob("*.db.xz"))


def released(name: str) -> bool:
    """Whether a version has a heading of its own in the changelog."""
    text = (ROOT / "CHANGELOG.md").read_text()
    return re.search(rf"^## {re.escape(name)}\b", text, re.M) is not None


def test_this_version_has_its_journal() -> None:
    """A new version number needs one: `make release-journal`."""
    assert f"{version()}.db.xz" in [path.name for path in KEPT]


@pytest.mark.parametrize("packed", KEPT, ids=lambda path: path.name.removesuffix(".db.xz"))
def test_a_release_s_journal_is_decided_again(packed: Path, tmp_path: Path) -> None:
    """Under its own rules without a difference; under others every tick is decided all the same.

    What is not released yet may still decide otherwise under the same number; once its version
    has a heading in the changelog it may not: raise RULES, or make the journal anew before.
    """
    use_exact_context()
    path = str(unpacked(packed, tmp_path))
    reader = Reader(path)
    kept = past.span(reader)
    said = reader.rows("SELECT sum(observations LIKE '%outcomes\":[{%') FROM ticks")[0][0]
    restarts = reader.rows("SELECT sum(observations LIKE '%restarted\":true%') FROM ticks")[0][0]
    reader.close()
    assert kept is not None
    assert kept[1] > 200
    assert said > 20
    assert restarts >= 1

    name = packed.name.removesuffix(".db.xz")
    found = replay.replay(path, lenient=not released(name))
    assert found.fault is None, found.fault
    assert found.ticks + found.left_out == kept[1]
    if released(name) and found.rules == (RULES,):
        assert found.changed == 0
