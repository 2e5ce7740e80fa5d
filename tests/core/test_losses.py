"""What others took, and markets that trade no more: what no story tells of it."""

import attrs
import pytest

from carry.core import delisted, holdings, planning
from carry.core.actions import Alert, Place
from carry.core.intents import put
from carry.core.phases import view
from carry.core.state import Open, Unknown
from carry.core.types import Fill, Leg, Side
from tests.scenarios.runner import Play

from .making import D, carry, go, held, play, with_carry


def test_many_fills_of_one_loss_are_one_loss() -> None:
    """A cascade takes the short in pieces: the first piece locks, the others are not a second."""
    player = held()
    tick = go(player, 1_000, "adl 1 @ 25; adl 1 @ 25; adl 1 @ 25")
    assert [(a.leg, a.sz) for a in tick.actions if isinstance(a, Place)] == [(Leg.PERP, D(3))]


def test_a_short_that_is_gone_without_a_fill_is_answered_by_policy() -> None:
    player = held(config={"risk.short_lost": "sell"})
    for t_ms in range(1_000, 25_000, 1_000):
        tick = go(player, t_ms, "truth perp -3.98" if t_ms == 1_000 else "")
        sent = [(a.leg, a.sz) for a in tick.actions if isinstance(a, Place)]
        if sent:
            break
    assert sent == [(Leg.SPOT, D(4))]
    text = next(a.text for a in tick.actions if isinstance(a, Alert) and "external" in a.name)
    assert "its spot is sold" in text


def test_a_sweep_of_what_nobody_can_trade_locks_nothing() -> None:
    """Spot below one lot is sold by the venue once a day: an exit leaves such a rest each time."""
    player = held()
    own = player.state
    rest = own.carries["HYPE"].spot_sz % D("0.01") or D("0.005")
    sold = Fill(
        trade_id="dust", coin="HYPE", leg=Leg.SPOT, side=Side.SELL, px=D(25), sz=rest, fee=D(0),
        fee_in_base=False, oid="1", cloid=None, at_ms=(own.venue_ms or 0) + 1,
        kind="Spot Dust Conversion",
    )  # fmt: skip
    state, said = holdings._taken(own, own.carries["HYPE"], sold)
    assert state.carries["HYPE"].spot_sz == own.carries["HYPE"].spot_sz - rest
    assert not state.latches
    assert not [one for one in said if isinstance(one, Alert)]
    lot = attrs.evolve(sold, sz=D("0.01"))
    state, said = holdings._taken(own, own.carries["HYPE"], lot)
    assert list(state.latches) == ["external_HYPE"]


def stuck_hedge() -> Play:
    """A slice was bought, and nobody says what became of its hedge."""
    player = play()
    go(player, 0)
    go(player, 1_000, "fills")
    go(player, 2_000, "unknown perp")
    return player


@pytest.mark.parametrize(
    "undecided_ms, target, unwinding, sold",
    [
        (60_000, "0", False, None),  # not long enough
        (60_001, "0", False, "7.98"),  # leaving: a slice too much of the short at worst
        (60_001, None, False, None),
        (60_001, None, True, None),  # if the hedge landed nothing is naked
        (60_001, "9", False, None),  # nothing to sell
    ],
)
def test_spot_beside_an_undecided_hedge(
    undecided_ms: int, target: str | None, unwinding: bool, sold: str | None
) -> None:
    state = stuck_hedge().state
    (intent,) = state.intents.values()
    assert isinstance(intent.status, Unknown)
    status = attrs.evolve(intent.status, undecided_ms=undecided_ms)
    state = put(state, attrs.evolve(intent, status=status))
    repair = planning.Repair(unwinding=unwinding)
    state = with_carry(state, repair=repair)
    look = view(state, state, carry(state), D(25))
    draft = planning._lead(state, carry(state), look, None if target is None else D(target))
    assert (None if draft is None else str(draft.sz)) == sold


def test_spot_beside_an_undecided_close_is_sold_only_where_it_is_naked_anyway() -> None:
    """The short was being bought back: whatever became of it, this much spot has no hedge."""
    player = held()
    go(player, 1_000, "flatten")
    go(player, 2_000, "fills")
    go(player, 3_000, "unknown perp")
    state = player.state
    (intent,) = state.intents.values()
    assert isinstance(intent.status, Unknown)
    status = attrs.evolve(intent.status, undecided_ms=60_001)
    state = put(state, attrs.evolve(intent, status=status))
    newer = {"spot": state.now_ms + 1}  # than the balances that were read
    state = with_carry(
        state, spot_sz=D(10), touched_ms=newer, repair=planning.Repair(unwinding=True)
    )
    look = view(state, state, carry(state), D(25))
    draft = planning._lead(state, carry(state), look, None)
    assert draft is not None
    assert draft.sz == D("2.02")


def test_an_order_that_rests_beside_it_is_not_undecided() -> None:
    state = stuck_hedge().state
    (intent,) = state.intents.values()
    state = put(state, attrs.evolve(intent, status=Open(since_ms=0)))
    look = view(state, state, carry(state), D(25))
    assert planning._lead(state, carry(state), look, D(0)) is None


def test_spot_that_cannot_be_sold_is_not_handed_over_twice_or_in_the_middle_of_an_order() -> None:
    player = held()
    go(player, 1_000, "flatten")
    state = player.state
    market = carry(state).market
    assert market is not None
    market = attrs.evolve(market, spot=attrs.evolve(market.spot, tradable=False))
    state = with_carry(state, market=market)
    assert delisted.handed_over(state, carry(state)) == (state, ()), "its sale is on its way"
    free = attrs.evolve(state, intents={})
    after, said = delisted.handed_over(free, carry(free))
    assert [type(one).__name__ for one in said] == ["Note", "Posting", "Alert"]
    assert (carry(after).spot_sz, carry(after).foreign_spot) == (0, carry(free).spot_sz)
    assert delisted.handed_over(after, carry(after)) == (after, ())
