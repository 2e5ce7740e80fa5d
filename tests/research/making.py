"""Journals of whole lives: the real loop against the exchange, without bytes, kept in a file."""

import sqlite3
from pathlib import Path

from carry.core.num import use_exact_context
from carry.storm.campaign import case_of
from carry.storm.phases import Life
from carry.storm.world import START_S, World


def lived(
    path: Path, seed: int, ticks: int, preset: str | None = "none", start_s: int = START_S
) -> World:
    """The journal at `path` of a seed's whole life: entry, funding, the operator's kill.

    start_s: seconds past an hour at which it begins.
    """
    use_exact_context()
    case = case_of(seed, ticks, preset)
    world = World(case, values=True, checkpoints=True, start_s=start_s)
    Life(world).run()
    world.save(path)
    return world


def first(journal: str, sql: str) -> int:
    """The first number a query of a journal gives."""
    db = sqlite3.connect(journal)
    try:
        return int(db.execute(sql).fetchone()[0])
    finally:
        db.close()


def entry_of(journal: str) -> int:
    """The tick at which the first carry was entered."""
    return first(journal, "SELECT min(seq) FROM decisions WHERE event = 'entry'")


def first_write_of(journal: str) -> int:
    """The tick at which something was sent to the venue for the first time."""
    return first(journal, "SELECT min(seq) FROM ticks WHERE actions LIKE '%\"nonce\"%'")
