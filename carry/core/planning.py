"""Targets to intents: slices, rounding, minimums, time in force, reduce-only, the ladder.

One law for the short: its target is minus `hedge_ratio` x the filled spot, rounded towards zero.
What is too small to trade is dust and counts as hedged. At most one order a leg, the hedge before
the lead.
"""

from decimal import Decimal

import attrs

from . import conditions, ledger, resting, risk
from .actions import Action, Alert, Cancel, CancelForeign, Note, Place, SetLeverage
from .intents import cloid_of, put, set_carry
from .num import BPS, ONE, ZERO, ceil_to, floor_to, show
from .phases import Decision, View
from .risk import Mode
from .state import Carry, Exit, HedgeOk, Intent, Kind, Open, Repair, Sent, State
from .types import Leg, Side, Tif

CANCEL_REPEAT_MS = 1_000
CLOCK_TRUST_MS = 30_000  # a machine clock further than this from the venue's makes no nonces
RUNG_WIDE, RUNG_GTC = 1, 3  # misses in a row from which an order widens, then rests crossing

Said = tuple[Action, ...]


@attrs.frozen(kw_only=True)
class Draft:
    """An order before it has a nonce and a name."""

    leg: Leg
    side: Side
    sz: Decimal
    px: Decimal
    tif: Tif
    why: str
    adds: bool = False
    maker: bool = False


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


def _rung(carry: Carry, leg: Leg) -> int:
    return carry.misses.get(leg.value, 0)


def _free(state: State, carry: Carry, leg: Leg) -> bool:
    """No intent holds the leg and its pause after a miss is over."""
    busy = any(True for _ in state.of(carry.coin, leg))
    return not busy and state.now_ms >= carry.retry_ms.get(leg.value, 0)


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
    if side is Side.SELL and hopeless:
        return None  # what has no hedge is sold instead of hedged
    if not _free(state, carry, Leg.PERP):
        return None
    sz = abs(diff) if side is Side.SELL else min(diff, -look.perp)
    stage = state.policy.execution.hedge_repair_stage_ms
    rung = _rung(carry, Leg.PERP)
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
    room = min(state.policy.risk.slice_usd - naked, risk.room_usd(state, carry))
    sz = floor_to(min(target - look.spot, max(ZERO, room) / worth), lot)
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
        terms = _terms(state, carry, Leg.SPOT, Side.SELL, _rung(carry, Leg.SPOT), Tif.IOC)
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
    clear = _free(state, carry, Leg.SPOT) and not any(True for _ in state.of(carry.coin, Leg.PERP))
    if not clear:
        return None
    if _unwinding(carry) and look.delta > 0:
        return _sell(state, carry, look, look.delta, "unwind")
    if target is None:
        return None
    if target > look.spot:
        return _buy(state, carry, look, target) if look.hedged else None
    if look.hedged and conditions.waits(state, carry):
        return _perp_first(state, carry, look)
    if look.hedged or look.delta > 0:
        return _sell(state, carry, look, look.spot - target, "exit")
    return None


def _perp_first(state: State, carry: Carry, look: View) -> Draft | None:
    """A slice of the short, where the short is the leg in doubt: the spot follows what fills."""
    assert carry.market is not None
    doubted = conditions.perp_first(state, carry) and not conditions.dumb(state)
    if not doubted or not _free(state, carry, Leg.PERP):
        return None
    perp = carry.market.perp
    terms = _terms(state, carry, Leg.PERP, Side.BUY, _rung(carry, Leg.PERP), Tif.IOC)
    if terms is None:
        return None
    px, tif = terms
    sz = min(-look.perp, floor_to(state.policy.risk.slice_usd / px, perp.lot))
    whole = sz == -look.perp and state.capabilities.min_exempt_full_close
    if sz < perp.lot or (sz * px < perp.min_notional and not whole):
        return None
    return Draft(leg=Leg.PERP, side=Side.BUY, sz=sz, px=px, tif=tif, why="exit, the short first")


# --- repair ---------------------------------------------------------------------------------------


def repaired(state: State, carry: Carry, look: View) -> tuple[Carry, Said]:
    """Run, or end, the clock of a hedge that is out of its band."""
    old = carry.repair
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


# --- from drafts to actions -----------------------------------------------------------------------


def next_nonce(state: State) -> int | None:
    """The next nonce of this signer: above the last, by the clock the venue can agree with.

    None when it would be further past the venue's clock than the venue's rules allow.
    """
    assert state.venue_ms is not None
    trusted = abs(state.wall_ms - state.venue_ms) <= CLOCK_TRUST_MS
    nonce = max(state.nonce + 1, state.wall_ms if trusted else state.venue_ms)
    return nonce if nonce <= state.venue_ms + state.capabilities.nonce_ahead_ms_max else None


def _next_action(state: State) -> tuple[State, int, int] | None:
    """Allocate (nonce, expiry) of one write."""
    if state.venue_ms is None:
        return None
    nonce = next_nonce(state)
    if nonce is None:
        return None
    expires = state.venue_ms + state.capabilities.expiry_ms
    return attrs.evolve(state, nonce=nonce), nonce, expires


def _journaled(state: State, carry: Carry, draft: Draft, kind: Kind) -> tuple[State, Intent] | None:
    """The state with a draft as its newest intent; None when no nonce can be had."""
    allocated = _next_action(state)
    if allocated is None:
        return None
    state, nonce, expires_ms = allocated
    assert state.venue_ms is not None
    number = state.intent_no + 1
    intent = Intent(
        no=number,
        kind=kind,
        coin=carry.coin,
        leg=draft.leg,
        side=draft.side,
        px=draft.px,
        sz=draft.sz,
        tif=draft.tif,
        reduce_only=draft.leg is Leg.PERP and draft.side is Side.BUY,
        why=draft.why,
        ref_px=ledger.price(carry, draft.leg) or draft.px,
        nonce=nonce,
        cloid=cloid_of(state.journal_id, number),
        expires_ms=expires_ms,
        sent_ms=state.now_ms,
        at_ms=state.venue_ms,
        status=Sent(),
        maker=draft.maker,
    )
    return attrs.evolve(put(state, intent), intent_no=number), intent


def issue(state: State, carry: Carry, draft: Draft) -> tuple[State, Said]:
    """Journal a draft as an intent and ask for it; nothing when no nonce can be had."""
    journaled = _journaled(state, carry, draft, Kind.ORDER)
    if journaled is None:
        return state, ()
    state, intent = journaled
    recent = tuple(ms for ms in state.sent_ms if state.now_ms - ms < risk.MINUTE_MS)
    state = attrs.evolve(state, sent_ms=(*recent, state.now_ms) if draft.adds else recent)
    place = Place(
        intent=intent.no,
        coin=intent.coin,
        leg=intent.leg,
        side=intent.side,
        px=intent.px,
        sz=intent.sz,
        tif=intent.tif,
        reduce_only=intent.reduce_only,
        cloid=intent.cloid,
        nonce=intent.nonce,
        expires_ms=intent.expires_ms,
        why=intent.why,
    )
    if draft.why != "unwind":
        return state, (place,)
    fields = {"sz": show(draft.sz), "px": show(draft.px)}
    return state, (place, Note(event="spot_repair_attempt", coin=carry.coin, fields=fields))


def lever(state: State, carry: Carry) -> tuple[State, Said]:
    """Ask for the policy's leverage and margin type; it is read again before it is believed."""
    nothing = Draft(
        leg=Leg.PERP, side=Side.SELL, sz=ZERO, px=ZERO, tif=Tif.IOC, why="before the first order"
    )
    journaled = _journaled(state, carry, nothing, Kind.LEVERAGE)
    if journaled is None:
        return state, ()
    state, intent = journaled
    action = SetLeverage(
        intent=intent.no,
        coin=intent.coin,
        leverage=state.policy.execution.perp_leverage,
        cross=state.policy.execution.perp_cross,
        nonce=intent.nonce,
        expires_ms=intent.expires_ms,
        why=intent.why,
    )
    return state, (action,)


def _must_go(
    state: State, carry: Carry, look: View, decision: Decision, intent: Intent, rested_ms: int
) -> str | None:
    """Why an order that rests is withdrawn now; None while it may stay."""
    kill = state.latches.get("kill")
    adds = intent.leg is Leg.SPOT and intent.side is Side.BUY
    # Nobody hedges spot that fills after the end of the process; a hedge may go on resting.
    lead = intent.leg is Leg.SPOT and state.stopping
    # A kill withdraws what rested before it; what its own exit rests is priced anew in time.
    killed = kill is not None and intent.sent_ms < kill.since_ms
    mode = risk.mode(state)
    if mode is Mode.HALT or lead or killed or (adds and mode is not Mode.NORMAL):
        return "withdrawn at once"
    if intent.leg is Leg.SPOT:
        why = resting.unwanted(state, carry, look, decision, intent)
        if why is not None:
            return why
    if rested_ms < state.policy.execution.reprice_interval_ms:
        return None
    if not intent.maker:
        return "rested long enough"
    moved = resting.behind(state, carry, intent) and resting.replaceable(state)
    return "the touch moved" if moved else None


def withdraw(state: State, carry: Carry, look: View, decision: Decision) -> tuple[State, Said]:
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
        allocated = _next_action(state)
        if allocated is None:
            continue
        state, nonce, expires_ms = allocated
        if intent.maker and asked is None:
            state = resting.replaced(state)
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


def withdraw_strays(state: State) -> tuple[State, Said]:
    """Cancel what rests under one of our names without an intent: nobody would hedge its fill."""
    actions: list[Action] = []
    if not state.account.strays:
        return state, ()
    for order in state.account.strays:
        allocated = _next_action(state)
        if allocated is None:
            break
        state, nonce, expires_ms = allocated
        actions.append(
            CancelForeign(
                coin=order.coin,
                leg=order.leg,
                oid=order.oid,
                nonce=nonce,
                expires_ms=expires_ms,
                why="ours, but no intent holds it",
            )
        )
    return attrs.evolve(state, account=attrs.evolve(state.account, strays=())), tuple(actions)


def _looked(state: State) -> bool:
    """Whether this process read what it trades on: a journal knows nothing of its absence."""
    account = state.account
    return min(account.positions_ms, account.balances_ms, account.fills_ms) >= state.started_ms


def plan(state: State, carry: Carry, look: View, decision: Decision) -> tuple[State, Said]:
    """Cancels and orders of one market for this tick. The carry already has its new phase."""
    state, said = withdraw(state, carry, look, decision)
    if risk.mode(state) is Mode.HALT or not _looked(state):
        return state, said
    draft = _hedge(state, carry, look)
    if draft is None:
        draft = _lead(state, carry, look, decision.spot_target)
    if draft is None:
        return state, said
    state, more = issue(state, carry, draft)
    return set_carry(state, state.carries[carry.coin]), said + more
