"""Journals of a whole bot against the embedded exchange, by values, in lockstep."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import attrs

from carry.core.num import use_exact_context
from carry.storm.draw import draw
from carry.storm.world import World

# Four hours hold all that is copied; CARRY_TEST_HOURS=168 makes it a week.
HOURS = int(os.environ.get("CARRY_TEST_HOURS", "4"))
INTERVAL_MS = 120_000
TICKS = HOURS * 30
CHECKPOINT_TICKS = 20
SEED = 5


class Life:
    """A bot's life: `run` lives on, `copy` puts its journal where it is asked for."""

    def __init__(self, seed: int = SEED, interval_ms: int = INTERVAL_MS) -> None:
        use_exact_context()
        case = attrs.evolve(draw(seed, 3_000, (), "none"), interval_ms=interval_ms)
        self.world = World(case, disk=True, values=True)
        self.world.bot.journal._checkpoint_ticks = CHECKPOINT_TICKS
        # This life is not judged: a refused command is an alert that is wanted here.
        self.world.truth._quiet = lambda *args: None

    def run(self, ticks: int, on_tick: Callable[[], None] = lambda: None) -> None:
        self.world.on_tick = on_tick
        self.world.run(self.world.tick + ticks)

    def copy(self, path: Path) -> Path:
        """The journal as it is now. A copy by SQLite itself, since the bot holds the file open."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".copy")
        with sqlite3.connect(new) as db:
            self.world.db.backup(db)
        db.close()
        for tail in ("-wal", "-shm"):
            Path(f"{path}{tail}").unlink(missing_ok=True)
        shutil.move(new, path)
        return path


def eventful(path: Path) -> Path:
    """Entry, funding by the hour, a refused command, a pause and a flatten."""
    life = Life()
    ticks = TICKS
    asked = {
        ticks // 3: lambda: life.world.command("set", key="no_such_key", value="1"),
        ticks // 2: lambda: life.world.command("pause"),
        ticks * 4 // 5: lambda: life.world.command("flatten"),
    }
    life.run(ticks, lambda: asked.pop(life.world.tick, lambda: None)())
    made = life.copy(path)
    life.world.close()
    return made
