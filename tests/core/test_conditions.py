"""How the venue and its markets stand: each state by what shows it, how it ends, what it says."""

import attrs
import pytest

from carry.core import conditions, planning
from carry.core import observations as seen
from carry.core.actions import Alert, Place
from carry.core.phases import view
from carry.core.state import Condition, State
from carry.core.types import Leg
from carry.shell.status import report
from carry.shell.why import of_market
from tests.core.making import D, carry, go, held, play, with_carry

UNKNOWN = seen.OutcomeUnknown(intent=1, why="timeout")
FENCE = seen.FenceUnanswered(intent=1, why="timeout")


def after(facts: list[seen.Outcome], gone_ms: int = 0) -> State:
    """A state in which these came of writes, a second apart, while reads were answered."""
    state = held().state
    for fact in facts:
        state = conditions.heard(attrs.evolve(state, now_ms=state.now_ms + 1_000), fact)
    return attrs.evolve(state, now_ms=state.now_ms + gone_ms, answered_ms=state.now_ms)


@pytest.mark.parametrize(
    "facts, gone_ms, stands",
    [
        ([UNKNOWN, *[FENCE] * 3], 0, Condition.OPEN),
        ([UNKNOWN, *[FENCE] * 4], 0, Condition.READ_ONLY),
        ([UNKNOWN, *[FENCE] * 4], conditions.PROBE_MS, Condition.READ_ONLY),
        ([UNKNOWN, *[FENCE] * 4], conditions.PROBE_MS + 1, Condition.OPEN),
        ([UNKNOWN, *[FENCE] * 4, seen.NotSent(intent=1, why="")], 0, Condition.READ_ONLY),
        ([UNKNOWN, *[FENCE] * 4, seen.NonceClosed(intent=1)], 0, Condition.OPEN),
        ([seen.NonceClosed(intent=1), *[FENCE] * 5], 0, Condition.READ_ONLY),
        ([*[FENCE] * 4, seen.FenceHeld(intent=1), FENCE], 0, Condition.OPEN),
    ],
)
def test_read_only_is_writes_without_an_answer(
    facts: list[seen.Outcome], gone_ms: int, stands: Condition
) -> None:
    assert conditions.of_venue(after(facts, gone_ms)) is stands


def test_an_outage_of_everything_is_not_read_only() -> None:
    state = after([FENCE] * 5)
    assert conditions.of_venue(attrs.evolve(state, answered_ms=0)) is Condition.OPEN


def test_silence_is_no_read_answered_since_the_start() -> None:
    player = held()
    go(player, 1_000)
    go(player, 31_000, "mute all")
    assert player.state.condition is Condition.OPEN
    tick = go(player, 31_001, "mute all; flatten")
    assert player.state.condition is Condition.SILENT
    assert not any(isinstance(a, Place) for a in tick.actions)
    said = of_market(player.state, carry(player.state), ()).text
    assert said.endswith("; the venue has answered nothing for 30 s: orders wait for a price")
    assert report(1, player.state)["venue_condition"] == "silent"
    go(player, 32_000)
    assert player.state.condition is Condition.OPEN


def test_a_new_process_is_not_told_of_silence_before_it_asked() -> None:
    player = held()
    go(player, 100_000, "restart; mute all")
    assert player.state.condition is Condition.OPEN


def halted(leg: Leg, ago_ms: int = 0) -> State:
    state = held().state
    return with_carry(state, halted_ms={leg.value: state.now_ms - ago_ms})


@pytest.mark.parametrize("leg", list(Leg))
def test_a_refusal_of_a_leg_is_believed_for_a_minute(leg: Leg) -> None:
    for ago_ms, stands in ((conditions.HALT_MS, Condition.HALTED), (60_001, Condition.OPEN)):
        state = halted(leg, ago_ms)
        assert conditions.of_market(state, carry(state)) is stands
    state = halted(leg)
    assert conditions.perp_first(state, carry(state)) is (leg is Leg.PERP)
    settled, _ = conditions.settle(state)
    said = conditions.says(settled, carry(settled))
    assert said == f"the venue refuses orders of its {leg.value} as halted: tried again every 10 s"


def test_an_accepted_order_of_the_other_leg_does_not_end_a_halt() -> None:
    player = play()
    go(player, 0)
    (intent,) = player.state.intents.values()
    accepted = seen.Accepted(intent=intent.no, oid="1", filled_sz=D(0), resting=True)
    for leg, left in ((Leg.SPOT, False), (Leg.PERP, True)):
        state = with_carry(player.state, halted_ms={leg.value: 5})
        kept = carry(conditions.heard(state, accepted)).halted_ms
        assert bool(kept) is left


@pytest.mark.parametrize(
    "stands, word",
    [
        (Condition.POST_ONLY, "join the touch"),
        (Condition.READ_ONLY, "a further slice waits"),
    ],
)
def test_a_condition_of_the_venue_is_said(stands: Condition, word: str) -> None:
    state = attrs.evolve(held().state, condition=stands)
    assert word in str(conditions.says(state, carry(state)))
    assert word in of_market(state, carry(state), ()).text


def test_a_market_that_cannot_be_read_any_more_says_so_and_goes_on() -> None:
    player = held()
    go(player, 1_000, "broken")
    assert carry(player.state).condition is Condition.UNLISTED
    assert "szDecimals is missing" in of_market(player.state, carry(player.state), ()).text


def test_a_stuck_exit_names_what_the_venue_does() -> None:
    player = held(config={"execution.exit_timeout_ms": "2000"})
    go(player, 1_000, "delist; flatten")
    go(player, 2_000, "refuse perp halted")
    tick = go(player, 5_000)
    (text,) = (a.text for a in tick.actions if isinstance(a, Alert))
    assert "The venue delisted it" in text


def first(state: State) -> planning.Draft | None:
    settled, _ = conditions.settle(state)
    look = view(settled, settled, carry(settled), D(25))
    return planning._perp_first(settled, carry(settled), look)


def test_a_short_first_is_sent_only_as_the_venue_takes_it() -> None:
    whole = halted(Leg.PERP)
    small = with_carry(whole, perp_sz=D("-0.1"), spot_sz=D("0.1"))
    strict = attrs.evolve(whole.capabilities, min_exempt_full_close=False)
    unseen = with_carry(whole, quotes={}, context=None)
    paused = with_carry(whole, retry_ms={"perp": whole.now_ms + 1})
    made = first(whole)
    assert made is not None
    assert made.sz == D("7.98")
    assert first(small) is not None, "a whole close is exempt from the minimum"
    for state in (
        attrs.evolve(small, capabilities=strict),
        with_carry(whole, perp_sz=D(0)),
        unseen,
        paused,
        held().state,
        attrs.evolve(whole, answered_ms=0, started_ms=0),
    ):
        assert first(state) is None
