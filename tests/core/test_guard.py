"""Each check of the last look fires on the action that breaks it, and lets the honest one pass."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import attrs
import pytest

from carry.core.actions import (
    Action,
    Alert,
    Cancel,
    CancelForeign,
    Fence,
    Note,
    Place,
    Query,
    SetLeverage,
)
from carry.core.guard import GuardFailed, check
from carry.core.state import Latch, State
from carry.core.types import Leg, Side

from .making import carry, go, held, play, with_carry

Change = Callable[[State], State]


def entry() -> tuple[State, Place]:
    """A first order as the core makes it: 7.99 of spot at 25.003."""
    player = play()
    return _placed(go(player, 0).actions, player.state)


def hedge() -> tuple[State, Place]:
    player = play()
    go(player, 0)
    return _placed(go(player, 1_000, "fills").actions, player.state)


def sale() -> tuple[State, Place]:
    player = held()
    return _placed(go(player, 1_000, "flatten").actions, player.state)


def buyback() -> tuple[State, Place]:
    player = held()
    go(player, 1_000, "flatten")
    return _placed(go(player, 3_000, "fills").actions, player.state)


def _placed(actions: tuple[Action, ...], state: State) -> tuple[State, Place]:
    (place,) = (a for a in actions if isinstance(a, Place))
    return state, place


MADE = {"entry": entry, "hedge": hedge, "sale": sale, "buyback": buyback}


def same(state: State) -> State:
    return state


def latched(mode: str) -> Change:
    latch = Latch(mode=mode, why="", since_ms=0)
    return lambda state: attrs.evolve(state, latches={"test": latch})


def risk(**caps: str) -> Change:
    def change(state: State) -> State:
        numbers = {name: D(value) for name, value in caps.items()}
        limits = attrs.evolve(state.policy.risk, **numbers)
        return attrs.evolve(state, policy=attrs.evolve(state.policy, risk=limits))

    return change


def unknown(state: State) -> State:
    from tests.core.test_gates import unknown_intent

    made = unknown_intent(state)
    return attrs.evolve(made, intents={**state.intents, **made.intents}, intent_no=state.intent_no)


def unlisted(state: State) -> State:
    market = carry(state).market
    assert market is not None
    halted = attrs.evolve(market.perp, tradable=False)
    return with_carry(state, market=attrs.evolve(market, perp=halted))


def at(ms: int) -> Change:
    return lambda state: attrs.evolve(state, venue_ms=(state.venue_ms or 0) + ms)


@pytest.mark.parametrize("kind", MADE)
def test_what_the_core_decides_passes(kind: str) -> None:
    state, place = MADE[kind]()
    check(state, [place, Note(event="x", coin=None, fields={})])


@pytest.mark.parametrize(
    "rule, kind, place, change",
    [
        ("the venue's clock is known", "entry", {}, lambda s: attrs.evolve(s, venue_ms=None)),
        ("nonce near the venue's clock", "entry", {}, at(-60_001)),
        ("nonce near the venue's clock", "entry", {}, at(60_001)),
        ("a short expiry", "entry", {}, at(10_000)),
        ("a short expiry", "entry", {}, at(-5_001)),
        ("nonce allocated by the core", "entry", {}, lambda s: attrs.evolve(s, nonce=s.nonce - 1)),
        ("metadata is known", "entry", {}, lambda s: with_carry(s, market=None)),
        ("journaled as an intent", "entry", {"intent": 99}, same),
        ("size on the lot", "entry", {"sz": D("7.985")}, same),
        ("size on the lot", "entry", {"sz": D(0)}, same),
        ("price on the tick", "entry", {"px": D("25.00301")}, same),
        ("price on the tick", "entry", {"px": D(-25)}, same),
        ("reduce-only for every perp buy, and only there", "entry", {"reduce_only": True}, same),
        ("reduce-only for every perp buy, and only there", "buyback", {"reduce_only": False}, same),
        ("reduce-only for every perp buy, and only there", "hedge", {"reduce_only": True}, same),
        ("the venue's minimum", "entry", {"sz": D("0.39")}, same),  # 9.75
        ("the venue's minimum", "buyback", {"sz": D("0.39")}, same),
        ("nothing in HALT", "buyback", {}, latched("halt")),
        ("not above the believed short", "buyback", {"sz": D("7.99")}, same),
        ("a short no larger than the filled spot", "hedge", {"sz": D("7.99")}, same),
        ("a tradable market", "hedge", {}, unlisted),
        ("not above the owned spot", "sale", {"sz": D("7.99")}, same),
        ("risk is added in NORMAL only", "entry", {}, latched("reduce")),
        ("no risk while an outcome is unknown", "entry", {}, unknown),
        ("within a slice", "entry", {}, risk(slice_usd="199.7")),  # 7.99 x 25.003 = 199.77
        ("within the caps", "entry", {}, risk(per_symbol_notional_cap="199.7")),
        ("within the caps", "entry", {}, risk(portfolio_notional_cap="199.7")),
    ],
)
def test_a_broken_rule(rule: str, kind: str, place: dict[str, Any], change: Change) -> None:
    state, made = MADE[kind]()
    with pytest.raises(GuardFailed) as failed:
        check(change(state), [attrs.evolve(made, **place)])
    assert failed.value.rule == rule
    assert isinstance(failed.value.action, Place)


def test_the_whole_of_a_short_is_exempt_from_the_minimum() -> None:
    state, made = buyback()
    state = with_carry(state, perp_sz=D("-0.1"))
    check(state, [attrs.evolve(made, sz=D("0.1"))])


def test_two_orders_of_a_leg() -> None:
    state, made = entry()
    with pytest.raises(GuardFailed, match="one order a leg"):
        check(state, [made, attrs.evolve(made, nonce=made.nonce - 1)])


def test_a_nonce_used_twice() -> None:
    state, made = entry()
    other = Cancel(
        intent=1,
        coin="HYPE",
        leg=Leg.PERP,
        cloid="0x",
        nonce=made.nonce,
        expires_ms=made.expires_ms,
        why="",
    )
    with pytest.raises(GuardFailed, match="a nonce is used once"):
        check(state, [made, other])
    with pytest.raises(GuardFailed, match="a nonce is used once"):
        check(state, [other, made])


@pytest.mark.parametrize("kind", [Cancel, CancelForeign, SetLeverage])
def test_every_write_is_timed(kind: type) -> None:
    state, made = entry()
    facts = {
        "intent": 1,
        "coin": "HYPE",
        "leg": Leg.SPOT,
        "cloid": "0x",
        "oid": "1",
        "leverage": 1,
        "cross": True,
        "nonce": made.nonce,
        "expires_ms": made.expires_ms,
        "why": "",
    }
    taken = {f.name: facts[f.name] for f in attrs.fields(kind)}
    check(state, [kind(**taken)])
    late = kind(**{**taken, "expires_ms": made.expires_ms + 5_001})
    with pytest.raises(GuardFailed, match="a short expiry"):
        check(state, [late])


@pytest.mark.parametrize("intent, nonce", [(99, 0), (1, 1)])
def test_a_fence_burns_its_own_nonce_only(intent: int, nonce: int) -> None:
    state, made = entry()
    check(state, [Fence(intent=1, nonce=made.nonce, why="")])
    with pytest.raises(GuardFailed, match="own nonce"):
        check(state, [Fence(intent=intent, nonce=made.nonce + nonce, why="")])


def test_what_only_asks_or_tells_is_free() -> None:
    state, _ = entry()
    check(
        state,
        [
            Query(intent=9, coin="HYPE", leg=Leg.SPOT, cloid="0x", why=""),
            Alert(level="info", name="x", coin=None, text=""),
        ],
    )


def test_sides_of_the_orders_made_here() -> None:
    sides = {kind: (made()[1].leg, made()[1].side) for kind, made in MADE.items()}
    assert sides == {
        "entry": (Leg.SPOT, Side.BUY),
        "hedge": (Leg.PERP, Side.SELL),
        "sale": (Leg.SPOT, Side.SELL),
        "buyback": (Leg.PERP, Side.BUY),
    }
