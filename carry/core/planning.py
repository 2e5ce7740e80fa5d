"""Targets to intents: slices, rounding, minimums, time in force, reduce-only, the ladder.

One law for the short: its target is minus `hedge_ratio` x the filled spot, rounded towards zero.
What is too small to trade is dust and counts as hedged. At most one order a leg, the hedge before
the lead.
"""

from decimal import Decimal

import attrs

from . import alignment, conditions, ledger, resting, risk, sizing
from .actions import Action, Alert, Note
from .intents import UNDECIDED_MS, set_carry
from .num import BPS, ONE, ZERO, ceil_to, floor_to, show
from .phases import Decision, View
from .risk import Mode
from .state import Carry, Enter, Exit, HedgeOk, Idle, Repair, State, Unknown
from .types import Leg, Side, Tif
from .writes import Draft, issue

PROBE = 2  # minimums of the first order after an entry that failed
RUNG_WIDE, RUNG_GTC = 1, 3  # misses in a row from which an order widens, then rests crossing

Said = tuple[Action, ...]


# --- prices ---------------------------------------------------------------------------------------


def _terms(
    state: State, carry: Carry, leg: Leg, side: Side, rung: int, tif: Tif
) -> tuple[Decimal, Tif] | None:
    """Limit price and time in force of an order at a rung of the ladder; None without a price.

    Rung 0 takes the touch and a few ticks, a lead with the policy's `tif`; from RUNG_WIDE on it may
    pay hedge_repair_bps_max; from RUNG_GTC on it also rests. In a post-only window it joins the
    touch instead. The limit is rounded to our side: a buy never above it, a sell never below.
    """
    assert carry.market is not None
    rule = carry.market.instrument(leg).rule
    execution = state.policy.execution
    quote = risk.fresh_quote(state, carry, leg)
    if quote is not None:
        touch, join = quote.touch(side), quote.touch(side.opposite)
    elif (
        carry.context is not None
        and state.now_ms - carry.context_ms <= state.policy.risk.context_age_ms_max
    ):
        # The book is not seen but the venue still quotes a mark: a way out is worth the width.
        touch = join = carry.context.mark_px if leg is Leg.PERP else carry.context.oracle_px
        rung = max(rung, RUNG_WIDE)
    else:
        return None
    if state.now_ms < state.post_only_until_ms:
        return (rule.down(join) if side is Side.BUY else rule.up(join)), Tif.ALO
    if rung < RUNG_WIDE:
        limit = touch + side.sign * execution.price_offset_ticks * rule.tick_at(touch)
        tif = Tif(execution.tif) if leg is Leg.SPOT else Tif.IOC
    else:
        limit = touch * (ONE + side.sign * execution.hedge_repair_bps_max * BPS)
        tif = Tif.GTC if rung >= RUNG_GTC else tif
    if limit <= 0:
        return None  # a price so small that a few ticks below it are nothing
    return (rule.down(limit) if side is Side.BUY else rule.up(limit)), tif


def _rung(carry: Carry, leg: Leg, look: View) -> int:
    rung = carry.misses.get(leg.value, 0)
    return max(rung, RUNG_WIDE) if look.urgent else rung


def _free(state: State, carry: Carry, leg: Leg, look: View) -> bool:
    """No intent holds the leg and its pause after a miss is over, or liquidation is near."""
    busy = any(True for _ in state.of(carry.coin, leg))
    return not busy and (look.urgent or state.now_ms >= carry.retry_ms.get(leg.value, 0))


# --- the hedge ------------------------------------------------------------------------------------


def hedge_target(state: State, carry: Carry, look: View) -> Decimal:
    """Signed size the short should have: it follows the filled spot, and ends with the spot.

    While leaving, spot that no order can sell needs no hedge: the last of the short is closed
    whole.
    """
    assert carry.market is not None
    if isinstance(carry.phase, Exit) and not look.sellable:
        return ZERO
    wanted = max(ZERO, look.spot) * state.policy.strategy.hedge_ratio
    return -floor_to(wanted, carry.market.perp.lot)


def _hedge(state: State, carry: Carry, look: View) -> Draft | None:
    assert carry.market is not None
    perp = carry.market.perp
    diff = hedge_target(state, carry, look) - look.perp
    side = Side.BUY if diff > 0 else Side.SELL
    if isinstance(carry.phase, HedgeOk) and look.hedged:
        return None
    hopeless = isinstance(carry.phase, Exit) or _unwinding(carry) or not perp.tradable
    if side is Side.SELL and (hopeless or isinstance(carry.phase, Idle)):
        return None  # what has no hedge is sold instead of hedged; dust is left to the next carry
    if not _free(state, carry, Leg.PERP, look):
        return None
    sz = abs(diff) if side is Side.SELL else min(diff, -look.perp)
    stage = state.policy.execution.hedge_repair_stage_ms
    rung = _rung(carry, Leg.PERP, look)
    if carry.repair is not None and carry.repair.spent_ms >= stage:
        rung = max(rung, RUNG_WIDE)
    terms = _terms(state, carry, Leg.PERP, side, rung, Tif(state.policy.execution.hedge_repair_tif))
    if terms is None or sz < perp.lot:
        return None
    px, tif = terms
    whole = side is Side.BUY and sz == -look.perp and state.capabilities.min_exempt_full_close
    if sz * px < perp.min_notional and not whole:
        return None
    return Draft(leg=Leg.PERP, side=side, sz=sz, px=px, tif=tif, why="hedge")


def _unwinding(carry: Carry) -> bool:
    return carry.repair is not None and carry.repair.unwinding


# --- the lead -------------------------------------------------------------------------------------


def _buy(state: State, carry: Carry, look: View, target: Decimal) -> Draft | None:
    """A slice of spot, cut so that what may be unhedged stays within `slice_usd`."""
    assert carry.market is not None
    rests = resting.wanted(state, carry)
    if rests:
        terms = resting.terms(state, carry, Side.BUY)
    else:
        terms = _terms(state, carry, Leg.SPOT, Side.BUY, 0, Tif.IOC)
    if terms is None or (terms[1] is Tif.ALO and not rests):
        return None
    (px, tif), lot = terms, carry.market.lot
    # Caps are held against the price of now: one that rose since the entry leaves less room.
    worth = max(px, ledger.price(carry, Leg.SPOT) or px)
    naked = max(ZERO, look.delta) * look.px
    room = min(state.policy.risk.slice_usd - naked, sizing.room_usd(state, carry))
    sz = floor_to(min(target - look.spot, max(ZERO, room) / worth), lot)
    began = carry.phase.from_sz if isinstance(carry.phase, Enter) else ZERO
    probe = ceil_to(PROBE * carry.market.min_notional / worth, lot)
    if carry.failures and look.spot - began < probe / 2:
        sz = min(sz, probe)  # is a hedge found again by now?
    if sz * px < carry.market.min_notional * Decimal("1.1"):
        return None
    return Draft(
        leg=Leg.SPOT, side=Side.BUY, sz=sz, px=px, tif=tif, why="enter", adds=True, maker=rests
    )


def _sell(state: State, carry: Carry, look: View, wanted: Decimal, why: str) -> Draft | None:
    """A slice of spot out: the rest after it is nothing or at least twice the minimum.

    A rest that would be less is made up from this slice, so that no more than a slice is naked;
    only what cannot be cut in two orders goes out whole.
    """
    assert carry.market is not None
    spot = carry.market.spot
    rests = why == "exit" and resting.wanted(state, carry)
    if rests:
        terms = resting.terms(state, carry, Side.SELL)
    else:
        terms = _terms(state, carry, Leg.SPOT, Side.SELL, _rung(carry, Leg.SPOT, look), Tif.IOC)
    if terms is None:
        return None
    px, tif = terms
    held = floor_to(min(look.spot, _sellable_balance(state, carry)), spot.lot)
    piece = max(spot.lot, floor_to(state.policy.risk.slice_usd / px, spot.lot))
    sz = min(held, floor_to(wanted, spot.lot), piece)
    if why == "exit" and ZERO < (held - sz) * px < 2 * spot.min_notional:
        less = held - ceil_to(2 * spot.min_notional / px, spot.lot)
        sz = less if less * px >= 2 * spot.min_notional else held
    if not sz or sz * px < spot.min_notional:
        return None
    return Draft(leg=Leg.SPOT, side=Side.SELL, sz=sz, px=px, tif=tif, why=why, maker=rests)


def _sellable_balance(state: State, carry: Carry) -> Decimal:
    """Base units the venue would let us sell and that are not somebody else's."""
    balance = state.account.coins.get(carry.coin)
    if balance is None or state.account.balances_ms <= carry.touched_ms.get("spot", -1):
        return carry.spot_sz  # the last read is older than our own last fill
    return balance.total - balance.hold - max(ZERO, carry.foreign_spot)


def _lead(state: State, carry: Carry, look: View, target: Decimal | None) -> Draft | None:
    if not _free(state, carry, Leg.SPOT, look):
        return None
    if any(True for _ in state.of(carry.coin, Leg.PERP)):
        return _beside(state, carry, look, target)
    if _unwinding(carry) and look.delta > 0:
        return _sell(state, carry, look, look.delta, "unwind")
    if target is None:
        return None
    if target > look.spot:
        return _buy(state, carry, look, target) if look.hedged else None
    if look.hedged and conditions.waits(state, carry):
        return _perp_first(state, carry, look)
    if look.hedged or look.delta > 0:
        why = "shrink" if isinstance(carry.phase, HedgeOk) else "exit"
        return _sell(state, carry, look, look.spot - target, why)
    return None


def _perp_first(state: State, carry: Carry, look: View) -> Draft | None:
    """A slice of the short, where the short is the leg in doubt: the spot follows what fills."""
    assert carry.market is not None
    doubted = conditions.perp_first(state, carry) and not conditions.dumb(state)
    if not doubted or not _free(state, carry, Leg.PERP, look):
        return None
    perp = carry.market.perp
    terms = _terms(state, carry, Leg.PERP, Side.BUY, _rung(carry, Leg.PERP, look), Tif.IOC)
    if terms is None:
        return None
    px, tif = terms
    sz = min(-look.perp, floor_to(state.policy.risk.slice_usd / px, perp.lot))
    whole = sz == -look.perp and state.capabilities.min_exempt_full_close
    if sz < perp.lot or (sz * px < perp.min_notional and not whole):
        return None
    return Draft(leg=Leg.PERP, side=Side.BUY, sz=sz, px=px, tif=tif, why="exit, the short first")


def _beside(state: State, carry: Carry, look: View, target: Decimal | None) -> Draft | None:
    """Spot may still be sold while the perp's order stays undecided for over a minute.

    No more than leaves a slice too much of the short if that order did land. What it would hedge is
    sold only when the market is left anyway.
    """
    short_if_landed = ZERO
    for intent in state.of(carry.coin, Leg.PERP):
        status = intent.status
        if not isinstance(status, Unknown) or status.undecided_ms <= UNDECIDED_MS:
            return None
        short_if_landed += intent.left_sz if intent.side is Side.SELL else ZERO
    surely = look.delta - short_if_landed
    if target is not None and target < look.spot:
        wanted = min(look.spot - target, surely + state.policy.risk.slice_usd / look.px)
    elif _unwinding(carry):
        wanted = surely
    else:
        return None
    return _sell(state, carry, look, wanted, "unwind") if wanted > 0 else None


# --- repair ---------------------------------------------------------------------------------------


def repaired(state: State, carry: Carry, look: View) -> tuple[Carry, Said]:
    """Run, or end, the clock of a hedge that is out of its band."""
    old = carry.repair
    if alignment.left_alone(state, carry):
        alone: Said = () if look.hedged else (alignment.naked(carry, look),)
        return attrs.evolve(carry, repair=None), alone
    if look.hedged:
        if old is None:
            return carry, ()
        said: Said = ()
        if old.spent_ms:
            event = "hedge_unwound" if old.unwinding else "hedge_repair_completed"
            said = (_repair_note(event, carry, look, old.spent_ms),)
        return attrs.evolve(carry, repair=None), said
    if old is None:
        return attrs.evolve(carry, repair=Repair()), ()
    spent = old.spent_ms if look.stuck else old.spent_ms + state.dt_ms
    late = spent > state.policy.execution.hedge_repair_timeout_ms
    new = Repair(spent_ms=spent, unwinding=old.unwinding or late)
    said = ()
    if spent and not old.spent_ms:
        said = (_repair_note("hedge_repair_started", carry, look, spent),)
    if late:  # said again while it lasts, as often as any alert
        what = "spot is sold" if look.delta > 0 else "the short is bought back"
        if risk.mode(state) is Mode.HALT:
            what = "in HALT nothing is traded, so close it by hand or clear the latch; wait"
        said += (
            Alert(
                level="page",
                name=f"naked_{carry.coin}",
                coin=carry.coin,
                text=f"{carry.coin} has been unhedged by ${show(_usd(look))} for "
                f"{spent // 1000} s: {what} until the legs agree.",
            ),
        )
    return attrs.evolve(carry, repair=new), said


def _usd(look: View) -> Decimal:
    return (abs(look.delta) * look.px).quantize(Decimal("0.01"))


def _repair_note(event: str, carry: Carry, look: View, spent_ms: int) -> Note:
    delta = (look.delta * look.px).quantize(Decimal("0.01"))
    return Note(
        event=event,
        coin=carry.coin,
        fields={"delta_usd": show(delta), "spent_ms": str(spent_ms)},
    )


# --- all of it ------------------------------------------------------------------------------------


def _looked(state: State) -> bool:
    """Whether this process read what it trades on: a journal knows nothing of its absence."""
    account = state.account
    return min(account.positions_ms, account.balances_ms, account.fills_ms) >= state.started_ms


def plan(state: State, carry: Carry, look: View, decision: Decision) -> tuple[State, Said]:
    """Cancels and orders of one market for this tick. The carry already has its new phase."""
    state, said = resting.withdraw(state, carry, look, decision)
    if alignment.left_alone(state, carry):
        return state, said
    if risk.mode(state) is Mode.HALT or not _looked(state):
        return state, said
    draft = _hedge(state, carry, look)
    if draft is None:
        draft = _lead(state, carry, look, decision.spot_target)
    if draft is None:
        return state, said
    state, more = issue(state, carry, draft)
    return set_carry(state, state.carries[carry.coin]), said + more
