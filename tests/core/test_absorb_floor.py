"""How far back the fills' floor may move: never past an order that is not decided yet."""

import attrs

from carry.core.absorb import absorb
from carry.core.observations import FillsRead, Observations

from .making import go, play

LATE_MS = 30 * 60_000


def test_the_floor_waits_for_an_order_that_is_not_decided() -> None:
    """Found by storm seed 321: after a pause of twenty minutes its verdict never came."""
    player = play()
    go(player, 0)
    go(player, 1_000, "unknown spot")
    state = player.state
    (intent,) = state.intents.values()
    assert state.venue_ms is not None
    read = FillsRead(
        fills=(),
        since_ms=state.fills_floor_at_ms,
        issued_ms=state.now_ms + LATE_MS,
        issued_venue_ms=state.venue_ms + LATE_MS,
    )
    later = Observations(
        mono_ms=state.now_ms + LATE_MS,
        wall_ms=state.wall_ms + LATE_MS,
        venue_ms=state.venue_ms + LATE_MS,
        reads=(read,),
    )
    assert absorb(state, later)[0].fills_floor_at_ms <= intent.at_ms
    free = attrs.evolve(state, intents={})
    assert absorb(free, later)[0].fills_floor_at_ms > intent.at_ms
