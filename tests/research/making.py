"""Journals of whole lives: the real loop against the exchange, without bytes, kept in a file."""

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
