"""The order in which a tick's writes are sent: where a budget ends, what adds risk is what waits.

Nonces rise in that order: markets are decided one after the other, each with the next nonce, and a
nonce below one that was sent is what a venue calls used up.
"""

from collections.abc import Sequence

import attrs

from .actions import (
    Action,
    Cancel,
    CancelForeign,
    Fence,
    MoveUsd,
    Place,
    Query,
    SetLeverage,
)
from .intents import put
from .state import State
from .types import Leg, Side

Sent = Place | Cancel | CancelForeign | SetLeverage | MoveUsd | Fence | Query
Numbered = Place | Cancel | CancelForeign | SetLeverage | MoveUsd


def turn(action: Sent) -> int:
    """Fences first, then what withdraws, then what reduces or hedges, at last what adds."""
    match action:
        case Fence():
            return 0
        case Cancel() | CancelForeign():
            return 1
        case SetLeverage() | Place(leg=Leg.SPOT, side=Side.BUY):
            return 3
        case _:
            return 2


def in_turn(state: State, actions: Sequence[Action]) -> tuple[State, tuple[Action, ...]]:
    """The actions with what is sent in its order, in the places of what was; equals stay as they
    are. What is said keeps its place."""
    sent: list[Sent] = [a for a in actions if isinstance(a, Sent)]
    ordered = sorted(sent, key=turn)
    if ordered == sent:
        return state, tuple(actions)
    nonces = iter(sorted(a.nonce for a in sent if isinstance(a, Numbered)))
    for n, action in enumerate(ordered):
        if not isinstance(action, Numbered):
            continue
        ordered[n] = action = attrs.evolve(action, nonce=next(nonces))
        if isinstance(action, Place | SetLeverage | MoveUsd):
            intent = state.intents[str(action.intent)]
            state = put(state, attrs.evolve(intent, nonce=action.nonce))
    left = iter(ordered)
    return state, tuple(next(left) if isinstance(a, Sent) else a for a in actions)
