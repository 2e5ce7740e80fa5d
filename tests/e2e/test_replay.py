"""One run is a function of its seed, and the journal decides it again, tick by tick."""

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carry.core.num import use_exact_context
from carry.research.replay import replay

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

# A look every 30 s: entry, hedge, and a payment an hour. CARRY_TEST_HOURS=24 makes it a whole day.
HOURS = int(os.environ.get("CARRY_TEST_HOURS", "3"))
RUN = """
from pathlib import Path
from carry.core.num import use_exact_context
from carry.shell import bot, places
from carry.shell.loop import Manner
use_exact_context()
found = places.find(None, None, config_needed=True)
bot.run(found, Manner(interval_ms=30_000, ticks_max={ticks}), console=False)
"""


def _begin(folder: Any, ticks: int, **environment: str) -> Any:
    return folder.start("-c", RUN.format(ticks=ticks), **environment)


def _end(process: Any) -> None:
    said, _ = process.communicate(timeout=220)
    assert process.returncode == 0, said


def test_two_processes_two_hash_seeds_one_journal(folders: Callable[[str], Any]) -> None:
    """The same hours in two processes with different hash seeds: journals equal byte for byte."""
    made = [(folders(f"hash{seed}"), seed) for seed in ("0", "4242")]
    # At the same time, so that the machine is busy in different ways for each.
    for process in [_begin(folder, HOURS * 120, PYTHONHASHSEED=seed) for folder, seed in made]:
        _end(process)
    files = [folder.journal for folder, _ in made]
    assert made[0][0].query("SELECT count(*) FROM funding")[0][0] >= HOURS - 1
    assert _dump(files[0]) == _dump(files[1])
    assert files[0].read_bytes() == files[1].read_bytes()


def _dump(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


def test_replay_and_one_changed_digit(folder: Any) -> None:
    """0 differences; one digit changed in an observation, an action or a state is found there."""
    use_exact_context()
    _end(_begin(folder, 300))
    done = folder.carry("replay")
    assert done.stdout.strip() == "300 ticks, 0 differences"
    assert done.returncode == 0
    assert folder.carry("replay", "--from", "100", "--to", "199").stdout.startswith(
        "100 ticks, 0 d"
    )
    kinds = _kinds(folder)
    assert len(kinds) >= 12, sorted(kinds)
    for kind, (seq, before, after) in sorted(kinds.items()):
        _replace(folder.journal, seq, after)
        found = replay(str(folder.journal), None, seq + 1)
        assert not found.same, kind
        assert found.text.startswith(f"tick {seq}:"), (kind, found.text)
        assert found.ticks == seq - 1
        done = folder.carry("replay", "--to", str(seq + 1)) if kind == "BookSeen" else None
        assert done is None or (done.returncode, done.stdout.strip()) == (1, found.text)
        _replace(folder.journal, seq, before)
    assert folder.carry("replay").returncode == 0


def _kinds(folder: Any) -> dict[str, tuple[int, str, str]]:
    """For each kind of observation a tick that has one, and its text with one digit changed."""
    found: dict[str, tuple[int, str, str]] = {}
    for seq, text in folder.query("SELECT seq, observations FROM ticks ORDER BY seq"):
        for part in text.split('{"$":"')[1:]:
            kind = part.split('"', 1)[0]
            digits = [n for n, c in enumerate(part) if c.isdigit()]
            if kind in found or not digits:
                continue
            at = text.index(part) + digits[-1]
            other = "1" if text[at] != "1" else "2"
            found[kind] = (seq, text, text[:at] + other + text[at + 1 :])
    return found


def _replace(journal: Path, seq: int, text: str) -> None:
    with contextlib.closing(sqlite3.connect(journal)) as db, db:
        db.execute("UPDATE ticks SET observations = ? WHERE seq = ?", (text, seq))
