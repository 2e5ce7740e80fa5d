"""Orders that rest: the maker style's at the touch, how they are priced, and when any has to go.

A resting order earns the maker's fee and waits. It is worked in slices like any lead: what of it
fills is hedged at once by taking, so no more than a slice is ever naked. After `maker_timeout_ms`
without a whole order filled, the slice is taken instead, and the next one rests again.
"""

from decimal import Decimal

import attrs

from . import risk
from .actions import Action, Cancel, Note
from .intents import put
from .phases import Decision, View
from .risk import Mode
from .state import Carry, Enter, Exit, Intent, Open, State
from .types import Leg, Side, Tif
from .writes import next_action

CANCEL_REPEAT_MS = 1_000


def wanted(state: State, carry: Carry) -> bool:
    """Whether the next lead order rests: by style, unless leaving is forced or its time is over.

    In a post-only window nothing is bought: what filled could not be hedged by taking.
    """
    if isinstance(carry.phase, Exit):
        fits = not carry.phase.forced
    else:
        fits = state.now_ms >= state.post_only_until_ms
    execution = state.policy.execution
    return execution.rests and fits and carry.resting_ms < execution.maker_timeout_ms


def terms(state: State, carry: Carry, side: Side) -> tuple[Decimal, Tif] | None:
    """Limit price and time in force of a resting spot order; None without a fresh quote.

    It joins the touch of its own side, and betters it by one tick where the spread is at least
    `min_spread_ticks`, which is never so narrow that it would meet the other side.
    """
    assert carry.market is not None
    quote = risk.fresh_quote(state, carry, Leg.SPOT)
    if quote is None:
        return None
    rule = carry.market.spot.rule
    px = quote.touch(side.opposite)
    tick = rule.tick_at(px)
    if quote.ask_px - quote.bid_px >= state.policy.risk.min_spread_ticks * tick:
        px += side.sign * tick
    tif = Tif.ALO if state.policy.execution.post_only else Tif.GTC
    return (rule.down(px) if side is Side.BUY else rule.up(px)), tif


def timed(before: State, state: State, carry: Carry, look: View, decision: Decision) -> Carry:
    """Run the clock of a slice that rests. It stands still while an outcome is unknown, and while
    nothing is to be bought or sold; a whole order filled has set it back."""
    waits = state.policy.execution.rests and isinstance(decision.phase, Enter | Exit)
    if type(decision.phase) is not type(carry.phase) or not waits:
        return attrs.evolve(carry, resting_ms=0) if carry.resting_ms else carry
    was = before.carries[carry.coin].resting_ms
    if look.stuck or decision.spot_target is None or carry.resting_ms < was:
        return carry
    return attrs.evolve(carry, resting_ms=carry.resting_ms + state.dt_ms)


def unwanted(
    state: State, carry: Carry, look: View, decision: Decision, intent: Intent
) -> str | None:
    """Why a resting lead order has to go at once; None when it may stay."""
    buys = intent.side is Side.BUY
    if not buys and not intent.maker:
        return None  # a way out that rests is repriced in time, no more
    target = decision.spot_target
    if target is None and not (buys and decision.may_rest):
        return "its reason is gone"
    if target is not None and (target > look.spot) is not buys:
        return "its reason is gone"
    late = carry.repair is not None and carry.repair.spent_ms
    if buys and late and late >= state.policy.execution.hedge_repair_stage_ms:
        return "the hedge of what filled is late"
    if intent.maker and not wanted(state, carry):
        return "its time to rest is over"
    return None


def behind(state: State, carry: Carry, intent: Intent) -> bool:
    """Whether others stand before a resting order, so that its price is worth a change."""
    quote = risk.fresh_quote(state, carry, intent.leg)
    if quote is None:
        return False
    return (quote.touch(intent.side.opposite) - intent.px) * intent.side.sign > 0


def replaceable(state: State) -> bool:
    """Whether the minute and the account's actions still allow one more change of price."""
    left, floor = state.account.actions_left, state.policy.risk.budget_actions_floor
    if left is not None and left < floor:
        return False
    recent = sum(1 for ms in state.replaced_ms if state.now_ms - ms < risk.MINUTE_MS)
    return recent < state.policy.execution.max_replaces_per_min


def replaced(state: State) -> State:
    """Count a change of price."""
    recent = tuple(ms for ms in state.replaced_ms if state.now_ms - ms < risk.MINUTE_MS)
    return attrs.evolve(state, replaced_ms=(*recent, state.now_ms))


def _must_go(
    state: State, carry: Carry, look: View, decision: Decision, intent: Intent, rested_ms: int
) -> str | None:
    """Why an order that rests is withdrawn now; None while it may stay."""
    kill = state.latches.get("kill")
    adds = intent.leg is Leg.SPOT and intent.side is Side.BUY
    # Nobody hedges spot that fills after the end of the process; a hedge may go on
    lead = intent.leg is Leg.SPOT and state.stopping
    # A kill withdraws what rested before it; what its own exit rests is priced anew in time.
    killed = kill is not None and intent.sent_ms < kill.since_ms
    mode = risk.mode(state)
    if mode is Mode.HALT or lead or killed or (adds and mode is not Mode.NORMAL):
        return "withdrawn at once"
    if intent.leg is Leg.SPOT:
        why = unwanted(state, carry, look, decision, intent)
        if why is not None:
            return why
    if rested_ms < state.policy.execution.reprice_interval_ms:
        return None
    if not intent.maker:
        return "rested long enough"
    moved = behind(state, carry, intent) and replaceable(state)
    return "the touch moved" if moved else None


def withdraw(
    state: State, carry: Carry, look: View, decision: Decision
) -> tuple[State, tuple[Action, ...]]:
    """Cancel orders that rested long enough, or at once when their reason is gone."""
    actions: list[Action] = []
    for intent in tuple(state.of(carry.coin)):
        status = intent.status
        if not isinstance(status, Open):
            continue
        rested = state.now_ms - status.since_ms
        why = _must_go(state, carry, look, decision, intent, rested)
        asked = status.cancelled_ms
        if why is None or (asked is not None and state.now_ms - asked < CANCEL_REPEAT_MS):
            continue
        allocated = next_action(state)
        if allocated is None:
            continue
        state, nonce, expires_ms = allocated
        if intent.maker and asked is None:
            state = replaced(state)
        status = attrs.evolve(status, cancelled_ms=state.now_ms)
        state = put(state, attrs.evolve(intent, status=status))
        actions.append(
            Cancel(
                intent=intent.no,
                coin=intent.coin,
                leg=intent.leg,
                cloid=intent.cloid,
                nonce=nonce,
                expires_ms=expires_ms,
                why=why,
            )
        )
        fields = {"intent": str(intent.no), "rested_ms": str(rested), "why": why}
        actions.append(Note(event="cancel_order", coin=intent.coin, fields=fields))
    return state, tuple(actions)
