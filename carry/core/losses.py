"""What follows when others shrink a carry: deleveraging, liquidation, settlement, trades by hand.

The loss itself is booked in holdings; here it is answered. Entries of the market are locked, and a
short that is gone leaves its spot naked: it is hedged again once, or sold, as the policy says.
"""

import attrs

from .state import Carry, Repair, State

GONE_FOR_GOOD = ("Liquidat", "Settle", "Delist")  # beginnings of the venue's words for a fill


def sells(state: State, carry: Carry, kind: str) -> bool:
    """Whether the spot of a lost short is sold instead of hedged again.

    A liquidation took the margin that a new short would need; a settled market has no short to
    offer; and what was lost again, some time after the first loss, would be lost a third time.
    """
    latch = state.latches.get(lock_of(carry.coin))
    pause = state.policy.execution.hedge_repair_timeout_ms
    again = latch is not None and state.now_ms - latch.since_ms > pause
    by_policy = state.policy.risk.short_lost == "sell"
    return by_policy or again or kind.startswith(GONE_FOR_GOOD)


def unwound(carry: Carry) -> Carry:
    """The carry with its naked spot to be sold, without waiting for a hedge."""
    repair = carry.repair if carry.repair is not None else Repair()
    return attrs.evolve(carry, repair=attrs.evolve(repair, unwinding=True))


def lock_of(coin: str) -> str:
    """The latch that locks entries of a market after such a loss."""
    return f"external_{coin}"
