"""One handler a phase. Each decides the next phase and the target of the spot leg, never an order.

The short has no target of its own: it follows the filled spot in every phase (planning).
"""

from decimal import Decimal

import attrs

from . import economics, ledger, risk, sizing
from .num import BPS, ONE, ZERO, floor_to
from .risk import Mode, Prospect
from .state import Carry, Condition, Enter, Exit, HedgeOk, Idle, Phase, State
from .types import Leg

URGENT = Decimal("0.1")  # of the price: nearer than this, no pause and no cost holds a slice back
FLATTEN = "flatten"  # why an exit goes on, when an operator asked for it
DOUBLED_MAX = 3  # a pause of ten minutes grows to no more than eighty


@attrs.frozen(kw_only=True)
class Decision:
    """spot_target: base units the spot leg should move to now; None to leave it as it is.

    may_rest: an entry order that rests already may stay, though no other is sent now.
    """

    phase: Phase
    spot_target: Decimal | None = None
    may_rest: bool = False


@attrs.frozen(kw_only=True)
class View:
    """What the handlers ask of a market: believed legs, and what they mean.

    delta: `hedge_ratio` x spot + perp, base units, > 0 is spot without a hedge. dust: the spot rest
    is too small to be a carry. sellable: the spot rest that an order can sell, else 0. progressed:
    the spot leg moved since the tick before. stuck: an intent of the market is or was unknown since
    the tick before, so clocks stand. distance: how far all shorts may rise before liquidation.
    """

    spot: Decimal
    perp: Decimal
    delta: Decimal
    px: Decimal
    band_usd: Decimal
    dust: bool
    sellable: Decimal
    progressed: bool
    stuck: bool
    busy: bool
    distance: Decimal | None = None

    @property
    def urgent(self) -> bool:
        """Liquidation is so near that nothing is waited for."""
        return self.distance is not None and self.distance < URGENT

    @property
    def hedged(self) -> bool:
        return abs(self.delta) * self.px <= self.band_usd


def view(
    before: State, state: State, carry: Carry, px: Decimal, distance: Decimal | None = None
) -> View:
    """The market as believed now, beside what was believed the tick before."""
    assert carry.market is not None
    spot, perp = state.position(carry, Leg.SPOT), state.position(carry, Leg.PERP)
    was = before.carries.get(carry.coin)
    sellable = floor_to(max(ZERO, spot), carry.market.spot.lot)
    # The minimum counts at the limit price, so at the widest one that an exit may come to.
    widest = ONE - state.policy.execution.hedge_repair_bps_max * BPS
    worth = sellable * (ledger.price(carry, Leg.SPOT) or px) * widest
    if worth < carry.market.spot.min_notional * Decimal("1.01"):
        sellable = ZERO
    return View(
        spot=spot,
        perp=perp,
        delta=spot * state.policy.strategy.hedge_ratio + perp,
        px=px,
        band_usd=sizing.band_usd(state.policy, carry.market, px),
        dust=spot * px < state.policy.strategy.min_exposure_usd,
        sellable=sellable,
        progressed=was is None or before.position(was, Leg.SPOT) != spot,
        stuck=any(i.unknown for s in (before, state) for i in s.of(carry.coin)),
        busy=any(True for _ in state.of(carry.coin)),
        distance=distance,
    )


def _stalled(state: State, look: View, stalled_ms: int) -> int:
    """Time without progress; it stands still while an outcome is unknown."""
    if look.progressed:
        return 0
    return stalled_ms if look.stuck else stalled_ms + state.dt_ms


def _pause_ms(state: State, failures: int) -> int:
    """How long a market rests: the cooldown, doubled for each entry before that failed too.

    The next entry begins with the venue's smallest order (planning), so that a fault that goes on
    costs some cents a try, and one that is over costs no more than this pause of funding.
    """
    return state.policy.execution.entry_cooldown_ms << min(failures, DOUBLED_MAX)


def _agreed(state: State, carry: Carry, look: View) -> bool:
    """Venue reads issued after our last own action in the market show what is believed."""
    touched = max(carry.touched_ms.values(), default=-1)
    asked = min(state.account.positions_ms, state.account.balances_ms)
    return not look.busy and not carry.doubts and asked > touched


def _keeps(state: State, carry: Carry, look: View, phase: Enter) -> bool:
    """Whether an entry that ends early leaves a carry: what was held before it, or what of it is
    hedged and worth keeping. Only the slice without a hedge is sold then.
    """
    assert carry.market is not None
    hedged_usd = min(look.spot, -look.perp) * look.px
    least = max(state.policy.strategy.min_exposure_usd, 2 * carry.market.min_notional)
    return bool(phase.from_sz) or hedged_usd >= least


def _ended_early(state: State, failures: int = 0) -> Decision:
    """Hold what there is; the rest of the target is bought after a pause."""
    until = state.now_ms + _pause_ms(state, failures)
    return Decision(phase=HedgeOk(since_ms=state.now_ms, until_ms=until))


def idle(state: State, carry: Carry, look: View, phase: Idle, found: Prospect | None) -> Decision:
    """Wait for a carry that pays; something held nevertheless is taken over."""
    if carry.perp_sz or not look.dust:
        return Decision(phase=HedgeOk(since_ms=state.now_ms))
    if found is not None and found.open:
        return Decision(
            phase=Enter(since_ms=state.now_ms, target_sz=found.offer.sz), spot_target=found.offer.sz
        )
    return Decision(phase=phase)


def _out(state: State, carry: Carry, look: View, why: str, forced: bool) -> Decision:
    """Begin to leave, and sell in the same tick: an order to close does not wait for the next."""
    began = Exit(since_ms=state.now_ms, why=why, forced=forced)
    first = _leaving(state, carry, look, began)
    if not isinstance(first.phase, Exit):
        return Decision(phase=began)  # nothing to sell: flat is said a tick later
    return first


# Gates about sending another order: they do not concern one that was sent.
PATIENT = ("unknown_intents", "orders_last_minute", "budget_actions")


def _may_rest(state: State, failing: tuple[str, ...]) -> bool:
    """Whether an entry order that rests may stay while these gates fail.

    An order elsewhere whose outcome is unknown sends it away; one that is closed, and only being
    counted, does not. In a post-only window nothing that fills could be hedged by taking.
    """
    if state.now_ms < state.post_only_until_ms:
        return False
    if any(i.unknown and not i.closed for i in state.intents.values()):
        return False
    return all(name in PATIENT for name in failing)


def enter(state: State, carry: Carry, look: View, phase: Enter) -> Decision:
    """Buy up to the target slice by slice; keep what is hedged, or go back to flat."""
    execution = state.policy.execution
    if risk.flattening(state):
        return _out(state, carry, look, FLATTEN, forced=True)
    if carry.unaligned:
        return Decision(phase=HedgeOk(since_ms=state.now_ms))
    if carry.repair is not None and carry.repair.unwinding:
        if _keeps(state, carry, look, phase):
            return _ended_early(state, carry.failures)
        return _out(state, carry, look, "hedge failed", forced=True)
    if look.distance is not None and look.distance < state.policy.risk.liq_distance_min:
        phase = attrs.evolve(phase, target_sz=min(phase.target_sz, look.spot))
    phase = attrs.evolve(phase, stalled_ms=_stalled(state, look, phase.stalled_ms))
    assert carry.market is not None
    rest_usd = (phase.target_sz - look.spot) * look.px
    late = phase.stalled_ms > execution.entry_timeout_ms
    if rest_usd < carry.market.spot.min_notional * 2 or (late and not look.dust):
        if look.hedged and _agreed(state, carry, look):
            return _ended_early(state) if late else Decision(phase=HedgeOk(since_ms=state.now_ms))
        if not late:
            return Decision(phase=phase)
    if late and not look.busy:
        if look.dust and not carry.perp_sz:
            if not _agreed(state, carry, look):
                return Decision(phase=phase)
            # Nothing was bought, so nothing was lost: no longer pause than any.
            return Decision(phase=Idle(until_ms=state.now_ms + _pause_ms(state, 0)))
        if not look.hedged or look.dust:
            if _keeps(state, carry, look, phase):
                return _ended_early(state)
            return _out(state, carry, look, "entry timeout", forced=True)
    if late or risk.mode(state) is not Mode.NORMAL or carry.coin not in state.policy.coins:
        return Decision(phase=phase)
    failing = tuple(g.name for g in risk.adding_gates(state, carry) if not g.passes)
    return Decision(
        phase=phase,
        spot_target=None if failing else phase.target_sz,
        may_rest=_may_rest(state, failing),
    )


def _loses(state: State, carry: Carry, look: View) -> bool:
    """The forecast is below the exit threshold or funding was negative for hours, and staying for
    the horizon is expected to cost more than leaving now. Never on the sign alone.
    """
    strategy, hours = state.policy.strategy, state.capabilities.interval_h
    if carry.forecast is None or not economics.wants_out(strategy, carry.forecast, hours):
        return False
    costs = risk.round_trip(state, carry, look.spot)
    return costs is not None and economics.staying_loses(
        carry.forecast.rate, strategy.horizon_h, hours, costs
    )


def hedge_ok(
    state: State,
    carry: Carry,
    look: View,
    phase: HedgeOk,
    found: Prospect | None,
    better: str | None,
) -> Decision:
    """Hold; shrink what must go; leave when told to, when nothing is left, when staying is expected
    to lose, or for a `better` market. Which reason it was is said of the last look; the clock is of
    any. `found`: what may be added, where the target was raised.
    """
    strategy = state.policy.strategy
    now = state.now_ms
    assert carry.market is not None
    if risk.flattening(state):
        return _out(state, carry, look, FLATTEN, forced=True)
    if carry.unaligned:
        return Decision(phase=attrs.evolve(phase, leaving_ms=None))  # left to an operator
    if look.dust:
        return _out(state, carry, look, "nothing left", forced=True)
    if carry.condition is Condition.DELISTED:
        return _out(state, carry, look, "delisted", forced=True)
    if phase.shrink is not None:
        if not phase.shrink.to_sz:
            return _out(state, carry, look, phase.shrink.why, forced=True)
        # Liquidation may come before a better price does; a wish for less waits for one.
        wild = not look.urgent and not risk.near_oracle(state, carry)
        return Decision(phase=phase, spot_target=None if wild else phase.shrink.to_sz)
    if found is not None and found.open:
        more = look.spot + found.offer.sz
        phase_now = Enter(since_ms=now, target_sz=more, from_sz=look.spot)
        return Decision(phase=phase_now, spot_target=more)
    if now < phase.until_ms:
        return Decision(phase=phase)
    if carry.coin not in state.policy.coins:
        return _out(state, carry, look, "market removed", forced=False)
    why = "staying loses" if _loses(state, carry, look) else better
    if now - phase.since_ms < strategy.min_hold_h * 3_600_000 or why is None:
        return Decision(phase=attrs.evolve(phase, leaving_ms=None))
    since = phase.leaving_ms if phase.leaving_ms is not None else now
    phase = attrs.evolve(phase, leaving_ms=since)
    left = risk.to_payment_ms(state)
    received = carry.context is not None and carry.context.funding_rate > 0
    wait = left is not None and left < strategy.funding_guard_ms and received
    if now - since < strategy.exit_confirm_ms or wait or look.busy:
        return Decision(phase=phase)
    return _out(state, carry, look, why, forced=False)


def leave(state: State, carry: Carry, look: View, phase: Exit) -> Decision:
    """Shrink both legs; flat is believed of a venue read only. One that is not forced may be put
    off.
    """
    if risk.flattening(state):
        phase = attrs.evolve(phase, forced=True)
    elif phase.why == FLATTEN and look.hedged and not look.dust and not look.busy:
        return Decision(phase=HedgeOk(since_ms=state.now_ms))  # whoever asked for it took it back
    phase = attrs.evolve(phase, stalled_ms=_stalled(state, look, phase.stalled_ms))
    return _leaving(state, carry, look, phase)


def _leaving(state: State, carry: Carry, look: View, phase: Exit) -> Decision:
    execution = state.policy.execution
    if not look.sellable and not look.perp:
        if _agreed(state, carry, look):
            pause = _pause_ms(state, max(0, carry.failures - 1))
            return Decision(phase=Idle(until_ms=state.now_ms + pause))
        return Decision(phase=phase)
    late = phase.stalled_ms > execution.exit_timeout_ms
    if late and not phase.forced and look.hedged and not look.busy:
        until = state.now_ms + execution.entry_cooldown_ms
        return Decision(phase=HedgeOk(since_ms=state.now_ms, until_ms=until))
    if not phase.forced and not look.urgent and not risk.near_oracle(state, carry):
        return Decision(phase=phase)  # leaving is a wish: it does not pay a joke's price
    return Decision(phase=phase, spot_target=ZERO)


def decide(
    state: State,
    carry: Carry,
    look: View,
    found: Prospect | None,
    better: str | None = None,
) -> Decision:
    """The next phase and spot target of a market. better: why to leave it for another, if so."""
    match carry.phase:
        case Idle() as phase:
            return idle(state, carry, look, phase, found)
        case Enter() as phase:
            return enter(state, carry, look, phase)
        case HedgeOk() as phase:
            return hedge_ok(state, carry, look, phase, found, better)
        case Exit() as phase:
            return leave(state, carry, look, phase)
        case _:
            raise AssertionError(f"phase without a handler: {carry.phase}")
