"""A dry run says what it would do and what that costs, by the figures that decide."""

import attrs

from carry.core import economics, risk
from carry.core.num import show
from carry.core.state import State
from carry.shell.would import would
from tests.core.making import D, carry, go, held, play, row


def waiting() -> State:
    """All is read, nothing pays enough, and this look ends by itself."""
    player = play("fresh", config={"strategy.enter_threshold_apr": "180 %"})
    player.row(row(0))
    return attrs.evolve(player.state, stopping=True, once=True)


def with_threshold(state: State, apr: str) -> State:
    strategy = attrs.evolve(state.policy.strategy, enter_threshold_apr=D(apr))
    return attrs.evolve(state, policy=attrs.evolve(state.policy, strategy=strategy))


def test_what_would_be_entered_is_priced() -> None:
    state = with_threshold(waiting(), "0.01")
    (said,) = would(state)
    offer = risk.offer(state, carry(state))
    cost = risk.round_trip(state, carry(state), offer.sz)
    assert cost is not None
    assert offer.expected is not None
    assert f"would be entered: {show(offer.sz)} of spot" in said
    assert f"in and out costs {show(economics.bps(cost.total))} bps" in said
    assert f"{show(economics.bps(offer.expected))} bps" in said


def test_what_would_not_be_entered_says_why_and_still_what_it_would_cost() -> None:
    (said,) = would(waiting())
    assert said.startswith("HYPE would not be entered: expected_apr is ")
    assert "in and out costs" in said


def test_what_is_held_says_what_it_does() -> None:
    player = held()
    (said,) = would(go(player, 1_000).after)
    assert said == "HYPE: held and hedged; funding is collected"


def test_what_pays_funding_for_now_says_so() -> None:
    state = go(held(), 1_000).after
    carry = state.carries["HYPE"]
    assert carry.context is not None
    paying = attrs.evolve(carry, context=attrs.evolve(carry.context, funding_rate=D("-0.00001")))
    (said,) = would(attrs.evolve(state, carries={"HYPE": paying}))
    assert said.endswith("hedged; funding is paid for now, which alone is no reason to leave")
