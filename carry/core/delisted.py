"""Spot that the venue trades no more: it cannot be sold, so who wants out takes it over."""

from . import ledger, risk
from .actions import Action, Alert, Note
from .holdings import post, shift
from .intents import set_carry
from .num import ZERO, show
from .state import Carry, State
from .types import Leg


def handed_over(state: State, carry: Carry) -> tuple[State, tuple[Action, ...]]:
    """An operator wants out of spot that nobody can sell: from now on the coins are theirs.

    The short that hedged them is then one too many, and is closed like any other.
    """
    px = ledger.price(carry, Leg.SPOT)
    market, sz = carry.market, carry.spot_sz
    if market is None or market.spot.tradable or px is None or not risk.flattening(state):
        return state, ()
    if sz <= ZERO or any(True for _ in state.of(carry.coin, Leg.SPOT)):
        return state, ()
    state = set_carry(state, shift(carry, Leg.SPOT, -sz, sz))
    at_ms = state.venue_ms or state.wall_ms
    line = ledger.moved("handed_over", carry.coin, Leg.SPOT, -sz, px, at_ms, known=True)
    state, posted = post(state, line)
    fields = {"spot_sz": show(sz), "px": show(px)}
    text = (
        f"Spot {show(sz)} {carry.coin} cannot be sold and is yours now: it counts as foreign, and "
        "its short is being closed. Withdraw it, or sell it where it trades."
    )
    return state, (
        Note(event="handed_over", coin=carry.coin, fields=fields),
        *posted,
        Alert(level="page", name=f"handed_over_{carry.coin}", coin=carry.coin, text=text),
    )
