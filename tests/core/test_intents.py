"""Outcomes that come late, twice, or for nothing; and fills in any order (I14)."""

import itertools
from decimal import Decimal as D

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carry.core import intents
from carry.core import observations as seen
from carry.core.actions import Fence, Place, Query
from carry.core.holdings import book_fill
from carry.core.intents import cloid_of, number_of
from carry.core.state import Ended, Open, Sent, State, Unknown
from carry.core.step import step
from carry.core.types import Fill, Leg, Side
from carry.core.venue import FenceKind
from tests.scenarios.runner import STATE, Play
from tests.scenarios.world import CAPABILITIES, JOURNAL

from .making import carry, go, held, play


def test_cloids_are_the_journal_and_the_number() -> None:
    state = attrs.evolve(play().state, journal_id=JOURNAL)
    name = cloid_of(JOURNAL, 300)
    assert name == "0x0000000000c0ffee000000000000012c"
    assert number_of(state, name) == 300
    for other in (None, "0x12", name[:-1], cloid_of(JOURNAL + 1, 300)):
        assert number_of(state, other) is None


def entering() -> Play:
    """An entry's first order is on its way."""
    player = play()
    tick = go(player, 0)
    assert any(isinstance(a, Place) for a in tick.actions)
    return player


def folded(state: State, *facts: seen.Outcome) -> State:
    for fact in facts:
        state, _ = intents.outcome(state, fact)
    return state


OUTCOMES = (
    seen.Accepted(intent=1, oid="o1", filled_sz=D(4), resting=True),
    seen.Accepted(intent=1, oid="o1", filled_sz=D(4), resting=False),
    seen.OutcomeUnknown(intent=1, why="timeout"),
    seen.Cancelled(intent=1, gone=True),
    seen.CancelUnanswered(intent=1, why="timeout"),
    seen.NonceClosed(intent=1),
    seen.FenceUnanswered(intent=1, why="budget"),
    seen.FenceHeld(intent=1),
    seen.Refused(intent=1, code="nonce", text=""),
    seen.Refused(intent=1, code="no_match", text=""),
    seen.NotSent(intent=1, why=""),
    seen.OrderRecord(intent=1, status="open", oid="o1", word="", issued_ms=0),
    seen.OrderRecord(intent=1, status="gone", oid="o1", word="", issued_ms=0),
    seen.OrderRecord(intent=1, status="filled", oid="o1", word="", issued_ms=0),
    seen.OrderRecord(intent=1, status="unknown", oid=None, word="", issued_ms=0),
)


@pytest.mark.parametrize("fact", OUTCOMES, ids=lambda fact: type(fact).__name__)
def test_an_outcome_of_an_order_that_is_over_is_ignored(fact: seen.Outcome) -> None:
    player = held()
    assert intents.outcome(player.state, attrs.evolve(fact, intent=1)) == (player.state, ())


@given(st.lists(st.sampled_from(OUTCOMES), max_size=5))
@settings(max_examples=200, deadline=None)
def test_any_sequence_of_answers_leaves_a_state_that_can_be_told(facts: list[seen.Outcome]) -> None:
    """No answer in any order raises, shrinks what filled, or frees a leg that is owed fills."""
    state = entering().state
    for fact in facts:
        was = state.intents.get("1")
        state, _ = intents.outcome(state, fact)
        now = state.intents.get("1")
        if was is None:
            assert now is None
        elif now is not None:
            assert now.filled_sz >= was.filled_sz
        else:
            never = isinstance(fact, seen.Refused | seen.NotSent)
            assert not was.filled_sz or never, (was, fact)
    assert STATE.decode(STATE.encode(state)) == state


def test_an_order_that_was_taken_and_met_nothing_never_was() -> None:
    nothing = seen.Accepted(intent=1, oid="o1", filled_sz=D(0), resting=False)
    assert not folded(entering().state, nothing).intents


def test_a_record_says_nothing_of_an_order_that_is_not_doubted() -> None:
    state = folded(entering().state, OUTCOMES[0])
    assert folded(state, OUTCOMES[-1], OUTCOMES[-3]) == state


def test_no_record_proves_nothing_while_the_order_can_still_land() -> None:
    state = folded(entering().state, OUTCOMES[2])
    assert folded(state, OUTCOMES[-1]) == state


def test_an_end_that_is_known_twice_is_one() -> None:
    state = folded(entering().state, OUTCOMES[1])
    assert isinstance(state.intents["1"].status, Ended)
    for status in ("gone", "filled", "open"):
        again = seen.OrderSeen(cloid=cloid_of(JOURNAL, 1), oid="o1", status=status, word="")
        assert intents.order_seen(state, again) == (state, ())


@pytest.mark.parametrize("cloid", ["0x1", cloid_of(JOURNAL, 99)])
def test_the_end_of_an_order_that_is_not_ours_is_ignored(cloid: str) -> None:
    state = entering().state
    told = seen.OrderSeen(cloid=cloid, oid="x", status="filled", word="")
    assert intents.order_seen(state, told) == (state, ())


@pytest.mark.parametrize(
    "since_ms, issued_ms, witnessed",
    [
        (-5_000, 0, True),
        (-4_999, 0, False),  # a look that does not reach back to the decision is no witness
        (-5_000, -1, False),  # nor is one of before the close
        (-5_000, 1, True),
    ],
)
def test_what_a_look_must_cover(since_ms: int, issued_ms: int, witnessed: bool) -> None:
    state = folded(entering().state, OUTCOMES[2], OUTCOMES[5], OUTCOMES[-1])
    at_ms = state.venue_ms
    assert at_ms is not None
    look = seen.FillsRead(
        fills=(), since_ms=at_ms + since_ms, issued_ms=0, issued_venue_ms=at_ms + issued_ms
    )
    state, _ = intents.swept(state, look)
    status = state.intents["1"].status
    assert isinstance(status, Unknown)
    assert (status.witness is not None) is witnessed


@pytest.mark.parametrize("apart_ms, over", [(1_999, False), (2_000, True), (2_001, True)])
def test_two_looks_must_be_two_seconds_apart(apart_ms: int, over: bool) -> None:
    state = folded(entering().state, OUTCOMES[2], OUTCOMES[5], OUTCOMES[-1])
    at_ms = state.venue_ms or 0
    for issued in (at_ms, at_ms + apart_ms):
        look = seen.FillsRead(fills=(), since_ms=at_ms - 9_000, issued_ms=0, issued_venue_ms=issued)
        state, _ = intents.swept(state, look)
    assert ("1" not in state.intents) is over


def test_an_intent_that_was_sent_and_not_answered_is_unknown() -> None:
    """The shell tells an outcome for each; when it does not, nobody knows."""
    state = entering().state
    assert isinstance(state.intents["1"].status, Sent)
    state, actions = intents.pursue(state, answered=True)
    assert state.intents["1"].unknown
    assert [type(a) for a in actions] == [Fence]


@pytest.mark.parametrize("late_ms, closed", [(15_000, False), (15_001, True)])
def test_only_expiry_closes_where_a_venue_has_no_fence(late_ms: int, closed: bool) -> None:
    state = folded(entering().state, OUTCOMES[2])
    intent = state.intents["1"]
    none = attrs.evolve(CAPABILITIES, fence=FenceKind.EXPIRY)
    state = attrs.evolve(state, capabilities=none, venue_ms=intent.expires_ms + late_ms)
    state, actions = intents.pursue(state, answered=True)
    assert [type(a) for a in actions] == ([Query] if closed else [])


def test_without_the_venues_clock_nothing_expires() -> None:
    state = attrs.evolve(folded(entering().state, OUTCOMES[2]), venue_ms=None)
    state, actions = intents.pursue(state, answered=True)
    assert [type(a) for a in actions] == [Fence]


def test_a_fence_is_not_repeated_within_a_second() -> None:
    state = folded(entering().state, OUTCOMES[2])
    state, first = intents.pursue(state, answered=True)
    later = attrs.evolve(state, now_ms=state.now_ms + 999)
    due = attrs.evolve(state, now_ms=state.now_ms + 1_000)
    assert len(first) == len(intents.pursue(due, answered=False)[1]) == 1
    assert intents.pursue(later, answered=False)[1] == ()


# --- fills ----------------------------------------------------------------------------------------


def fill(n: int, leg: Leg, side: Side, sz: str, number: int) -> Fill:
    return Fill(
        trade_id=f"f{n}",
        coin="HYPE",
        leg=leg,
        side=side,
        px=D(25) + D(n) / 1000,
        sz=D(sz),
        fee=D(n) / 1000,
        fee_in_base=leg is Leg.SPOT,
        oid=f"o{number}",
        cloid=cloid_of(JOURNAL, number),
        at_ms=1_767_608_400_000 + n,
    )


FILLS = (
    fill(1, Leg.SPOT, Side.BUY, "2", 1),
    fill(2, Leg.SPOT, Side.BUY, "1.5", 1),
    fill(3, Leg.SPOT, Side.BUY, "4.5", 1),
    fill(4, Leg.PERP, Side.SELL, "3", 77),  # ours by its name, though the intent is forgotten
)


@given(st.permutations(FILLS), st.lists(st.sampled_from(FILLS), max_size=4), st.booleans())
@settings(max_examples=100, deadline=None)
def test_fills_in_any_order_and_number_give_one_state(
    order: list[Fill], again: list[Fill], complete: bool
) -> None:
    start = attrs.evolve(entering().state, intent_no=77)
    expected = start
    for one in FILLS:
        expected, _ = book_fill(expected, one, complete=True)
    found = start
    for one in (*order, *again):
        found, _ = book_fill(found, one, complete=complete)
    assert STATE.encode(found) == STATE.encode(expected)
    assert carry(found).spot_sz == D("7.994")  # 8 less fees of 0.001 + 0.002 + 0.003
    assert carry(found).perp_sz == -3


def test_a_fill_is_ours_by_its_order_when_it_has_no_name() -> None:
    state = folded(entering().state, OUTCOMES[0])
    nameless = attrs.evolve(FILLS[0], cloid=None)
    state, _ = book_fill(state, nameless, complete=False)
    assert state.intents["1"].booked_sz == 2
    assert isinstance(state.intents["1"].status, Open)


def test_a_fill_of_a_number_never_given_halts() -> None:
    player = held()
    late = attrs.evolve(FILLS[0], cloid=cloid_of(JOURNAL, 99), at_ms=player.world.venue_ms)
    state, said = book_fill(player.state, late, complete=True)
    assert "journal_old" in state.latches
    assert carry(state).spot_sz == carry(player.state).spot_sz + D("1.999")
    assert said


def test_others_fills_are_booked_from_a_complete_read_after_the_baseline_only() -> None:
    player = held()
    others = attrs.evolve(FILLS[0], cloid=None, oid="x", at_ms=player.world.venue_ms)
    assert book_fill(player.state, others, complete=False) == (player.state, ())
    early = attrs.evolve(
        player.state, account=attrs.evolve(player.state.account, baseline_usd=None)
    )
    assert book_fill(early, others, complete=True) == (early, ())


def test_a_fill_older_than_the_floor_was_booked_before() -> None:
    player = held()
    old = attrs.evolve(FILLS[0], at_ms=player.state.fills_floor_at_ms - 1)
    assert book_fill(player.state, old, complete=True) == (player.state, ())


def test_streams_and_reads_together_book_once() -> None:
    """The same fill told by the stream and the sweep of one tick, in either order of events."""
    results = []
    for swap in (False, True):
        player = entering()
        row = "part spot 3; again spot"
        tick = go(player, 1_000, row)
        obs = tick.observations
        events = tuple(reversed(obs.events)) if swap else obs.events
        after, _ = step(tick.before, attrs.evolve(obs, events=events))
        results.append(STATE.encode(after))
    assert len(dict.fromkeys(results)) == 1
    assert list(itertools.islice(results, 1))
