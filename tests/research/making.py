"""Journals of whole lives: the real loop against the exchange, without bytes, kept in a file."""

from pathlib import Path

from carry.core.num import use_exact_context
from carry.storm.campaign import case_of
from carry.storm.phases import Life
from carry.storm.world import World


def lived(path: Path, seed: int, ticks: int, preset: str | None = "none") -> World:
    """The journal at `path` of a seed's whole life: entry, funding, the operator's kill."""
    use_exact_context()
    world = World(case_of(seed, ticks, preset), values=True, checkpoints=True)
    Life(world).run()
    world.save(path)
    return world
