"""Faults of the host and its identity: F02, F04, F06, F100, F104, F106, F111."""

import random
import sqlite3
from typing import TYPE_CHECKING

from carry.core.observations import Observations, Refused

from .faults import Shows, on_time

if TYPE_CHECKING:
    from .world import World


def other_date(world: "World") -> Shows:
    """A tick reads another date than the world's."""
    return lambda observations: observations.wall_ms != world.exchange.now


def born_again(observations: Observations) -> bool:
    return observations.restarted


@on_time("F02")
def clock_stands(world: "World", rng: random.Random) -> Shows:
    """Every action of the next while falls into one millisecond of the machine's date."""
    clock = world.clock
    clock.wall_stands_ms = clock.wall_ms()

    def go_on() -> None:
        clock.wall_stands_ms = None

    world.after(rng.randrange(1_000, 60_000), go_on)
    return other_date(world)


@on_time("F04")
def clock_steps(world: "World", rng: random.Random) -> Shows:
    """The machine's date jumps back by 1 ms to two days, and is set right later."""
    clock = world.clock
    clock.wall_offset_ms = -rng.choice((1, 500, 3_000, 10_000, 60_000, 3_600_000, 172_800_000))

    def right() -> None:
        clock.wall_offset_ms = 0

    world.after(rng.randrange(5_000, 120_000), right)
    return other_date(world)


@on_time("F06")
def agent_expires(world: "World", rng: random.Random) -> Shows | bool:
    """The venue forgets the agent; its owner approves it again later."""
    agents = world.exchange.agents
    if agents.pop(world.key.address, None) is None:
        return False

    def approve() -> None:
        if world.key.address not in agents:
            world.exchange.approve(world.key.address, world.account)

    world.after(rng.randrange(5_000, 120_000), approve)
    return lambda observations: any(isinstance(o, Refused) for o in observations.outcomes)


@on_time("F100")
def killed(world: "World", rng: random.Random) -> Shows:
    """The process dies at one of its next boundaries."""
    world.crash_at = world.boundaries + rng.randrange(1, 80)
    return born_again


@on_time("F104")
def old_backup(world: "World", rng: random.Random) -> None:
    """Some time from now the process dies, and its journal is replaced by a copy made now."""
    copy = sqlite3.connect(":memory:")
    world.db.backup(copy)

    def replace() -> None:
        copy.backup(world.db)
        world.truth.rolled_back()

    def die() -> None:
        if not world.storm.over:
            world.storm.restore = replace
            world.crash_at = world.boundaries + 1
            world.storm.hit("F104", born_again)

    world.after(rng.randrange(5_000, 600_000), die)


@on_time("F106")
def paused(world: "World", rng: random.Random) -> Shows:
    """The machine stands still between the commit of a tick and its sends."""
    before_ms = world.clock.mono_ms()
    ms = rng.choice((1_000, 5_000, 12_000, 40_000, rng.randrange(60_000, 3_600_000)))
    world.pass_ms(ms)
    return lambda observations: observations.mono_ms - before_ms >= ms


@on_time("F111")
def terminated(world: "World", rng: random.Random) -> Shows:
    world.stopping = True
    return lambda observations: observations.stopping
