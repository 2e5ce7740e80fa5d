"""What is sent first, and that nonces rise in that order."""

import attrs

from carry.core.actions import Alert, Cancel, Fence, Place
from carry.core.guard import check
from carry.core.state import State
from carry.core.turns import in_turn
from carry.core.types import Leg, Side
from tests.core.making import D, go, play


def sent() -> tuple[State, Place]:
    player = play()
    tick = go(player, 0)
    (place,) = (a for a in tick.actions if isinstance(a, Place))
    return player.state, place


def test_what_adds_waits_for_what_withdraws_and_reduces_and_nonces_rise() -> None:
    state, buy = sent()
    said = Alert(level="warn", name="x", coin=None, text="x")
    withdraw = Cancel(
        intent=9, coin="HYPE", leg=Leg.SPOT, cloid="0x", nonce=buy.nonce + 1, expires_ms=1, why=""
    )
    hedge = attrs.evolve(
        buy, intent=2, leg=Leg.PERP, side=Side.SELL, nonce=buy.nonce + 2, sz=D("0.5")
    )
    intents = {**state.intents, "2": attrs.evolve(state.intents["1"], no=2, nonce=hedge.nonce)}
    fence = Fence(intent=7, nonce=5, why="")
    state = attrs.evolve(state, intents=intents)
    after, actions = in_turn(state, [buy, said, withdraw, hedge, fence])

    assert [type(a).__name__ for a in actions] == ["Fence", "Alert", "Cancel", "Place", "Place"]
    assert actions[0] is fence
    nonces = [a.nonce for a in actions if isinstance(a, Cancel | Place)]
    assert nonces == [buy.nonce, buy.nonce + 1, buy.nonce + 2]
    assert (actions[3], actions[4]) == (
        attrs.evolve(hedge, nonce=buy.nonce + 1),
        attrs.evolve(buy, nonce=buy.nonce + 2),
    )
    assert {no: i.nonce for no, i in after.intents.items()} == {
        "1": buy.nonce + 2,
        "2": buy.nonce + 1,
    }


def test_what_is_in_order_is_left_as_it_is() -> None:
    state, buy = sent()
    assert in_turn(state, [buy]) == (state, (buy,))
    check(state, [buy])
