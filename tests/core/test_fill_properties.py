"""Whatever fills, in whatever pieces and order, ends in the same place, and ends."""

from decimal import ROUND_FLOOR

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carry.core import phases
from carry.core.absorb import absorb
from carry.core.actions import Cancel, Place, Query
from carry.core.observations import FillSeen, FillsRead, Observations
from carry.core.state import Carry, Exit, HedgeOk, Idle, State
from carry.core.types import Fill, Leg, Tif
from tests.scenarios.runner import Play

from .making import D, carry, go, play, scenario

SLICE = D(50)
TARGET = D(200)
CONFIG = {
    "strategy.target_usd_notional": str(TARGET),
    "risk.slice_usd": str(SLICE),
    "execution.hedge_cooldown_ms": "0",
    "execution.entry_timeout_ms": "3600000",
    "execution.exit_timeout_ms": "3600000",
    "risk.max_orders_per_min": "1000",
    "execution.maker_timeout_ms": "3000",
    "execution.hedge_repair_timeout_ms": "600000",  # else a hedge that is missed often is unwound
}
TICKS_MAX = 200

# Once every order fills whole, so many more end an entry or an exit: a lead and a hedge a slice,
# one pair for the rest that partial fills left, one hedge of what was naked when they stopped.
K = 2 * (int(TARGET / SLICE) + 1) + 1

parts = st.lists(st.integers(0, 100), max_size=8)


class Crowd:
    """Answers every order by the next share of a list, whole once the list is over."""

    def __init__(self, shares: list[int], player: Play) -> None:
        self.shares, self.player = list(shares), player
        self.partial = self.orders = 0

    def _share(self, sz: "D") -> "D":
        lot = D("0.01")
        if not self.shares:
            return sz
        self.partial += 1
        return (sz * self.shares.pop(0) / 100 / lot).to_integral_value(ROUND_FLOOR) * lot

    def words(self) -> str:
        said: list[str] = []
        for action in self.player.pending:
            match action:
                case Place() if action.tif is Tif.ALO:
                    self.orders += 1
                    said.append(f"rest {action.leg.value}")
                case Place():
                    self.orders += 1
                    sz = self._share(action.sz)
                    leg = action.leg.value
                    said.append(f"part {leg} {sz}" if sz else f"refuse {leg} no_match")
                case Cancel():
                    said.append(f"cancelled {action.leg.value}")
                case Query():
                    said.append("record gone")
        for working in self.player.world.orders.values():
            if working.resting and working.left and not said:
                sz = self._share(working.left)
                said += [f"fill spot {sz}"] if sz else []
        return ";".join(said)


def settle(player: Play, crowd: Crowd, from_ms: int, until: type) -> int:
    """Play until the market is in a phase with nothing on its way; the time of the last tick."""
    for n in range(1, TICKS_MAX):
        t_ms = from_ms + n * 1_000
        tick = go(player, t_ms, crowd.words())
        naked(player, tick.after)
        if isinstance(carry(tick.after).phase, until) and not tick.after.intents:
            return t_ms
    raise AssertionError(f"no end after {crowd.orders} orders: {carry(player.state).phase}")


def naked(player: Play, state: State) -> None:
    """At every tick, by the truth: never more than a slice and the band apart."""
    pair = player.world.pairs["HYPE"]
    market = carry(state).market
    assert market is not None
    look = phases.view(state, state, carry(state), D(25))
    assert abs(pair.held + pair.short) * 25 <= SLICE + look.band_usd
    assert pair.short <= 0
    assert pair.held >= 0


@pytest.mark.parametrize("style", ["taker", "maker"])
@settings(max_examples=10, deadline=None)
@given(entering=parts, leaving=parts)
def test_any_partial_fills_converge(style: str, entering: list[int], leaving: list[int]) -> None:
    """Base fees come out of every buy; what stays unhedged is below the band, and K orders do."""
    config = {**CONFIG, "execution.style": style}
    player = Play(scenario(config=config), careful=False)
    go(player, 0, spot="24.99/25.01")
    crowd = Crowd(entering, player)
    t_ms = settle(player, crowd, 0, HedgeOk)
    look = phases.view(player.state, player.state, carry(player.state), D(25))
    assert look.hedged
    assert carry(player.state).spot_sz * 25 >= TARGET - 3 * 10
    assert crowd.orders <= crowd.partial + K

    go(player, t_ms + 1_000, "flatten")
    crowd = Crowd(leaving, player)
    settle(player, crowd, t_ms + 1_000, Idle)
    assert carry(player.state).perp_sz == 0
    assert carry(player.state).spot_sz * 25 < D("10.3"), "what no order can sell"
    assert crowd.orders <= crowd.partial + K
    assert player.state.account.residual_usd in (None, 0)


# --- fills told in any order ----------------------------------------------------------------------


def story() -> tuple[State, tuple[Fill, ...]]:
    """An entry in the middle: a spot order that rests, a hedge on its way, seven fills to come."""
    player = play(config={"execution.style": "maker", "execution.post_only": "false"})
    go(player, 0)
    go(player, 1_000, "rest spot 1")
    go(player, 2_000, "ack perp 0.99")
    for n in range(5):
        go(player, 3_000 + n, f"happens spot {D('0.3') + n}" if n < 3 else "mute fills")
    state = player.state
    fills = (*player.world.fills, *player.world.hidden)
    return state, tuple(f for f in fills if f.trade_id not in state.seen)


STORY: list[tuple[State, tuple[Fill, ...]]] = []


def told() -> tuple[State, tuple[Fill, ...]]:
    if not STORY:
        STORY.append(story())
    return STORY[0]


def books(state: State) -> tuple[object, ...]:
    """What must not depend on the order of telling."""
    found: Carry = carry(state)
    return (
        found.spot_sz,
        found.perp_sz,
        found.foreign_spot,
        found.foreign_perp,
        found.ledger,
        {no: intent.booked_sz for no, intent in state.intents.items()},
        dict(sorted(state.seen.items())),
    )


def after(state: State, streamed: list[Fill], swept: tuple[Fill, ...]) -> State:
    """The state after fills came one by one, and then all of them by a sweep."""
    for fill in streamed:
        state, _ = absorb(state, seen(state, events=(FillSeen(fill=fill),)))
    assert state.venue_ms is not None
    sweep = FillsRead(
        fills=swept, since_ms=0, issued_ms=state.now_ms + 1, issued_venue_ms=state.venue_ms + 1
    )
    return absorb(state, seen(state, reads=(sweep,)))[0]


def seen(state: State, **what: object) -> Observations:
    assert state.venue_ms is not None
    return attrs.evolve(
        Observations(
            mono_ms=state.now_ms + 1, wall_ms=state.wall_ms + 1, venue_ms=state.venue_ms + 1
        ),
        **what,
    )


def test_the_story_has_fills_of_both_legs() -> None:
    _, fills = told()
    assert len(fills) >= 4
    assert {fill.leg for fill in fills} == set(Leg)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_fills_in_any_order_twice_or_lost_book_the_same(data: st.DataObject) -> None:
    """A permutation with repeats and gaps on the stream, then a sweep in any order."""
    state, fills = told()
    streamed = data.draw(st.lists(st.sampled_from(fills), max_size=2 * len(fills)))
    swept = tuple(data.draw(st.permutations(fills)))
    plain = after(state, [], fills)
    assert books(after(state, streamed, swept)) == books(plain)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_second_sweep_adds_nothing(data: st.DataObject) -> None:
    state, fills = told()
    once = after(state, list(data.draw(st.permutations(fills))), fills)
    again = after(once, list(data.draw(st.permutations(fills))), fills)
    assert books(again) == books(once)
    assert not isinstance(carry(again).phase, Exit)
