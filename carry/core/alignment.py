"""What follows when the venue holds less than the journal explains (`alignment.mode`).

Booking it is the ledger's business (holdings) and the same in both modes; this is about trading. In
`force` the ordinary repair restores the hedge. In `log` the market is left alone until an operator
has looked: entries are locked, nothing is sent, and a leg that is naked is said so.
"""

from decimal import Decimal

from . import risk
from .actions import Alert
from .num import show
from .phases import View
from .state import Carry, Exit, State


def left_alone(state: State, carry: Carry) -> bool:
    """Whether nothing is traded in a market; closing goes on, and what an operator asked for."""
    closing = isinstance(carry.phase, Exit) or risk.flattening(state)
    return carry.unaligned and not closing


def naked(carry: Carry, look: View) -> Alert:
    """A leg that nobody repairs."""
    usd = show((abs(look.delta) * look.px).quantize(Decimal("0.01")))
    return Alert(
        level="page",
        name=f"left_naked_{carry.coin}",
        coin=carry.coin,
        text=f"{carry.coin} is unhedged by ${usd} and alignment.mode is log: nothing is traded "
        f"there until `carry resume --ack external_{carry.coin}` or a flatten.",
    )
