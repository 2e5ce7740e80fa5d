"""A day on which nothing goes wrong: the operator hears the daily note, and nothing else."""

import attrs
import pytest

from carry.ops import watch as module
from carry.ops.main import memory_of
from carry.ops.memory import Episode
from carry.ops.routes import LogRoute
from carry.ops.watch import Watch
from carry.shell import places
from carry.shell.reader import Reader
from carry.storm.campaign import case_of
from carry.storm.world import World

from .conftest import ops_log

INTERVAL_MS = 60_000
TICKS = 24 * 3_600_000 // INTERVAL_MS
EVERY = 10  # ticks between two looks of ops


class Heard:
    """A route to a person: takes all."""

    name, level = "webhook", "note"

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def tell(self, episodes: list[Episode]) -> None:
        self.told += [(e.name, e.text) for e in episodes]


@pytest.mark.slow
def test_only_the_daily_note(where: places.Places, monkeypatch: pytest.MonkeyPatch) -> None:
    case = attrs.evolve(case_of(0, TICKS, "none"), interval_ms=INTERVAL_MS)
    world = World(case, disk=True, values=True)
    at = attrs.evolve(where, journal=world._path)
    monkeypatch.setattr(module.time, "monotonic", lambda: world.exchange.now / 1_000)
    monkeypatch.setattr(module, "wall_ms", lambda: world.exchange.now)
    heard = Heard()
    memory = memory_of(where)
    watch = Watch(at, ops_log(where), memory, [LogRoute(ops_log(where)), heard])

    def look() -> None:
        if world.tick % EVERY == 0:
            watch.look()
            for delivery in watch._deliveries:
                delivery.once(world.exchange.now)

    world.on_tick = look
    try:
        world.run(TICKS)
        reader = Reader(world._path)
        kinds = dict(reader.rows("SELECT event, count(*) FROM decisions GROUP BY event"))
        reader.close()
    finally:
        memory.close()
        world.close()
    assert kinds["entry"] >= 1
    assert kinds["funding"] >= 20
    assert {name for name, _ in heard.told} == {"daily_note"}, heard.told
    # A start past the hour of the note says it at once, for the time since then.
    texts = [text for _, text in heard.told]
    assert [text.split(" earned")[0] for text in texts] == ["In 1 h", "In 20 h"]
