"""What a run would do with each market now, and what that would cost: for a dry run.

The figures are the core's own, by the books and fees that were read.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from carry.core import economics, risk
from carry.core.num import show
from carry.core.state import Carry, Gate, Idle, State
from carry.core.step import gates

from . import why

CENT: Final = Decimal("0.01")
# Gates of this look alone: it stops by itself, and sends no setting that an entry would send first.
OF_THE_LOOK: Final = ("process", "once", "leverage")


def would(state: State) -> Iterator[str]:
    """One sentence a market."""
    found = gates(state)
    for carry in state.carries.values():
        if isinstance(carry.phase, Idle):
            yield _entry(state, carry, found)
        else:
            yield f"{carry.coin}: {why.of_market(state, carry, found).text}"


def _entry(state: State, carry: Carry, found: tuple[Gate, ...]) -> str:
    mine = [
        gate
        for gate in found
        if gate.market in (None, carry.coin) and gate.name not in OF_THE_LOOK
    ]
    first, offer = risk.first_blocking(mine), risk.offer(state, carry)
    cost = risk.round_trip(state, carry, offer.sz) if offer.sz else None
    price = "" if cost is None or offer.notional is None else _cost(state, cost, offer)
    if first is not None:
        text = f"{carry.coin} would not be entered: {first.name} is {first.value}, needs "
        return f"{text}{first.threshold}{f'; {price}' if price else ''}"
    slices = show(state.policy.risk.slice_usd)
    return (
        f"{carry.coin} would be entered: {show(offer.sz)} of spot bought for about "
        f"${show(offer.notional or Decimal(0))} and as much of the perp sold, in slices of at most "
        f"${slices}; {price}"
    )


def _cost(state: State, cost: economics.Cost, offer: risk.Offer) -> str:
    """What a round trip costs, and what funding is expected to leave of it."""
    notional = offer.notional or Decimal(0)

    def of(part: Decimal) -> str:
        return f"{show(economics.bps(part))} bps (${show((part * notional).quantize(CENT))})"

    text = (
        f"in and out costs {of(cost.total)}: fees {of(cost.entry_fees + cost.exit_fees)}, spread "
        f"and depth {of(cost.entry_slippage + cost.exit_slippage)}"
    )
    if offer.expected is None:
        return text
    hours = state.policy.strategy.horizon_h
    return f"{text}; after it {of(offer.expected)} are expected over {hours} h"
