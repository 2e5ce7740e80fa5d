"""Several markets, one account: when an idle market is worth more than a held one.

What both can be held of is no question here, that one is entered by itself. This is about money
that is bound: the held carry is left for a better one, which waits until all of it is free.
"""

from decimal import Decimal

import attrs

from . import economics, risk, sizing
from .num import ONE, ZERO
from .state import Carry, HedgeOk, Idle, State
from .types import Leg


@attrs.frozen
class Switch:
    """Leave `held` for `idle`. gain: fraction of the held notional over the horizon, net of costs.
    """

    held: str
    idle: str
    gain: Decimal


def switch(state: State) -> Switch | None:
    """The switch that gains most, if one beats its costs by `switch_edge_bps`; None while anything
    is being bought, sold or decided, so that no two are begun at once."""
    held = [c for c in state.carries.values() if isinstance(c.phase, HedgeOk)]
    idle = [c for c in state.carries.values() if isinstance(c.phase, Idle)]
    if not held or not idle or len(held) + len(idle) < len(state.carries) or state.intents:
        return None
    found = [
        each
        for one in held
        for other in idle
        if economics.pays_more(other.forecast, one.forecast)
        and (each := _gain(state, one, other)) is not None
    ]
    # Ties go by name, so that the same portfolio is the same choice everywhere.
    return min(found, key=lambda each: (-each.gain, each.held, each.idle), default=None)


def _gain(state: State, held: Carry, idle: Carry) -> Switch | None:
    """The switch from one to the other; None unless every gate of the entry would pass with the
    money of the held one, and the gain is above the edge.
    """
    assert held.forecast is not None
    assert idle.forecast is not None
    bound = sizing.exposure_usd(state, held)
    if not bound or risk.money_free(state, idle, risk.offer(state, idle)).passes:
        return None  # it needs nobody's money
    offer = risk.offer(state, idle, freed_usd=bound)
    failing = [g.name for g in risk.entry_gates(state, idle, offer) if not g.passes]
    if failing not in ([], ["leverage"]):
        return None
    left = risk.round_trip(state, held, state.position(held, Leg.SPOT))
    costs = risk.round_trip(state, idle, offer.sz)
    if left is None or costs is None:
        return None
    gain = economics.switch_gain(
        state.policy.strategy,
        state.capabilities.interval_h,
        (held.forecast.rate, left),
        (idle.forecast.rate, costs),
        min(ONE, (offer.notional or ZERO) / bound),
    )
    if not economics.switches(state.policy.strategy, gain):
        return None
    return Switch(held.coin, idle.coin, gain)
