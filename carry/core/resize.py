"""The size of what is held: down at once by slices, up only through the gates of an entry.

Down: liquidation is near, the hard cap is passed by price, the operator lowered target, caps or
leverage. A leg above its cap by price alone is shown and left alone. Up: the target was raised;
what deleveraging took is not bought again by itself.
"""

from decimal import Decimal

import attrs

from . import deleverage, ledger, margin, risk, sizing
from .actions import Action, Alert, Note
from .intents import LEVERAGE, set_carry
from .limits import Limits, Shrink
from .num import ONE, ZERO, floor_to, show
from .phases import View
from .state import Carry, Enter, HedgeOk, State
from .types import Leg

Said = tuple[Action, ...]


def limits_of(state: State) -> Limits:
    return Limits(
        target=state.policy.strategy.target_usd_notional,
        market=state.policy.risk.per_symbol_notional_cap,
        portfolio=state.policy.risk.portfolio_notional_cap,
    )


def obeyed(state: State) -> State:
    """Fold a changed target or cap into what is held: once, when it changes."""
    new, old = limits_of(state), state.limits
    if new == old:
        return state
    state = attrs.evolve(state, limits=new)
    if old is None:
        return state
    raised = min(new.target, new.market) > min(old.target, old.market)
    everything = sizing.portfolio_usd(state)
    for carry in tuple(state.carries.values()):
        px = ledger.price(carry, Leg.PERP)
        if px is None or not isinstance(carry.phase, Enter | HedgeOk):
            continue
        lowered = [new.target] if new.target < old.target else []
        lowered += [new.market] if new.market < old.market else []
        if everything > new.portfolio and new.portfolio < old.portfolio:
            lowered.append(new.portfolio * sizing.exposure_usd(state, carry) / everything)
        if lowered:
            carry = _cut(state, carry, min(lowered) / px)
        carry = attrs.evolve(carry, grows=raised and isinstance(carry.phase, HedgeOk))
        state = set_carry(state, carry)
    return state


def _cut(state: State, carry: Carry, to_sz: Decimal) -> Carry:
    phase = carry.phase
    above = state.position(carry, Leg.SPOT) > to_sz
    if isinstance(phase, Enter) and not above:
        return attrs.evolve(carry, phase=attrs.evolve(phase, target_sz=min(phase.target_sz, to_sz)))
    if isinstance(phase, Enter):
        phase = HedgeOk(since_ms=state.now_ms)  # the entry is over: less is wanted than is held
    assert isinstance(phase, HedgeOk)
    if not above:
        return carry
    return attrs.evolve(carry, phase=_lower(phase, to_sz, "target"))


def _lower(phase: HedgeOk, to_sz: Decimal, why: str) -> HedgeOk:
    """The lowest of what was asked for counts, under the reason that asked for it."""
    if phase.shrink is not None and phase.shrink.to_sz <= to_sz:
        return phase
    return attrs.evolve(phase, shrink=Shrink(to_sz=to_sz, why=why))


def shrunk(state: State, carry: Carry, look: View, phase: HedgeOk) -> HedgeOk:
    """The phase with what must go out now, and without what has gone."""
    assert carry.market is not None
    old = phase.shrink
    if old is not None:
        rest_usd = (floor_to(look.spot, carry.market.spot.lot) - old.to_sz) * look.px
        if rest_usd < carry.market.spot.min_notional * Decimal("1.1"):
            phase = attrs.evolve(phase, shrink=None)
    limit = state.policy.risk
    near = look.distance is not None and look.distance < limit.liq_distance_min
    if near and deleverage.fresh(state) and deleverage.too_near(state):
        to_sz = deleverage.share_sz(state, carry, look.spot)
        phase = _lower(phase, _keepable(state, carry, look, to_sz), "liquidation")
    if limit.hard_cap is not None and look.spot * look.px > limit.hard_cap:
        phase = _lower(phase, limit.per_symbol_notional_cap / look.px, "hard_cap")
    most = _leverable_sz(state, carry, look)
    if most is not None and look.spot > most:
        phase = _lower(phase, most, "leverage")
    return phase


def _keepable(state: State, carry: Carry, look: View, to_sz: Decimal) -> Decimal:
    """A rest that is worth keeping, or nothing."""
    assert carry.market is not None
    least = max(state.policy.strategy.min_exposure_usd, 2 * carry.market.min_notional)
    return to_sz if to_sz * look.px > least else ZERO


def _leverable_sz(state: State, carry: Carry, look: View) -> Decimal | None:
    """Base units that can be held at the policy's leverage where the venue's setting is higher and
    the margin in use does not allow it to be lowered; None when nothing stands in the way.
    """
    setting, lever = carry.leverage, state.policy.execution.perp_leverage
    if setting is None or setting.value <= lever or look.busy or not deleverage.fresh(state):
        return None
    held = margin.wallets(state)
    if held is None:
        return None
    equity = held.perp_equity if isinstance(held, margin.Split) else held.equity
    notional = -look.perp * look.px
    needs = held.margin_used - notional / setting.value + notional / lever
    if needs <= equity:
        return None
    # Selling x brings x of cash and takes x / L of margin off; where wallets are split the cash
    # must be moved first, so there only the margin counts.
    frees = ONE / lever + (ONE - deleverage.COST if isinstance(held, margin.Unified) else ZERO)
    return max(ZERO, look.spot - (needs - equity) / frees / look.px * (ONE + margin.DRIFT))


def relevers(state: State, carry: Carry, look: View) -> bool:
    """Whether the venue's leverage of a live carry is to be made the policy's now."""
    setting, phase = carry.leverage, carry.phase
    return (
        isinstance(phase, HedgeOk)
        and phase.shrink is None
        and setting is not None
        and setting.cross
        and setting.value != state.policy.execution.perp_leverage
        and look.hedged
        and not look.busy
        and risk.mode(state) is not risk.Mode.HALT
        and state.now_ms >= carry.retry_ms.get(LEVERAGE, 0)
        and deleverage.fresh(state)
    )


def shows(state: State, carry: Carry, look: View) -> Said:
    """A leg that price alone carried above its cap, said once an hour."""
    assert carry.market is not None
    cap, worth = state.policy.risk.per_symbol_notional_cap, look.spot * look.px
    shrinks = isinstance(carry.phase, HedgeOk) and carry.phase.shrink is not None
    if shrinks or worth - cap < 2 * carry.market.min_notional:
        return ()
    hard = state.policy.risk.hard_cap
    does = "risk.hard_cap is not set" if hard is None else f"it is shrunk from ${show(hard)} on"
    text = (
        f"{carry.coin} is worth ${show(worth.quantize(Decimal('0.01')))} a leg, above "
        f"per_symbol_notional_cap {show(cap)}, by its price: nothing is added, and it is left as "
        f"it is ({does})."
    )
    return (Alert(level="warn", name=f"above_cap_{carry.coin}", coin=carry.coin, text=text),)


def told(old: HedgeOk, new: HedgeOk, carry: Carry, look: View) -> Said:
    """Name a shrink that begins, changes its aim, or is over."""
    if old.shrink == new.shrink:
        return ()
    to_sz = new.shrink.to_sz if new.shrink is not None else look.spot
    why = new.shrink.why if new.shrink is not None else "done"
    away = "none" if look.distance is None else show(look.distance.quantize(Decimal("0.0001")))
    fields = {"why": why, "spot_sz": show(look.spot), "to_sz": show(to_sz), "distance": away}
    return (Note(event="resize", coin=carry.coin, fields=fields),)
