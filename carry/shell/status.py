"""The state as a report: what `status`, `pnl`, `positions`, the chat and the metrics show.

A pure function of the state; numbers are decimal strings, so that a program reads what is true.
"""

from decimal import Decimal
from typing import Any

from carry.core import breakeven, deleverage, ledger, risk, sizing
from carry.core.num import BPS, ONE, ZERO, show
from carry.core.state import PHASE_NAMES, Carry, Ended, Gate, HedgeOk, Idle, Open, State
from carry.core.step import gates, naked
from carry.core.types import Leg

from . import why

CENT = Decimal("0.01")
MICRO = Decimal("0.000001")
Report = dict[str, Any]


def report(seq: int, state: State) -> Report:
    """Everything of a tick that is worth showing. Times are the venue's clock, ms."""
    found = gates(state)
    reason = why.of_all(state, found)
    value = ledger.account_value(state) if state.account.usd is not None else None
    return {
        "mode": risk.mode(state).value,
        "now_ms": state.venue_ms if state.venue_ms is not None else state.wall_ms,
        "seq": seq,
        "venue_condition": state.condition.value,
        "why": {"kind": reason.kind, "text": reason.text},
        "account_mode": state.account.mode.value if state.account.mode else None,
        "equity_usd": None if value is None else show(value.quantize(MICRO)),
        "markets": [market(state, carry, found) for carry in state.carries.values()],
        "pnl": pnl(state),
        "gates": [gate(one) for one in found],
        "intents_open": [
            {
                "no": intent.no,
                "coin": intent.coin,
                "leg": intent.leg.value,
                "side": intent.side.value,
                "sz": show(intent.sz),
                "px": show(intent.px),
                "filled_sz": show(intent.filled_sz),
                "status": type(intent.status).__name__.lower(),
                "why": intent.why,
            }
            for intent in state.intents.values()
        ],
        "latches": {
            name: {"mode": latch.mode, "why": latch.why, "since_ms": state.now_ms - latch.since_ms}
            for name, latch in state.latches.items()
        },
        "ages_ms": ages(state),
        "budget": {
            "actions_left": state.account.actions_left,
            "orders_last_minute": risk.orders_last_minute(state),
            "orders_per_min_max": state.policy.risk.max_orders_per_min,
        },
        "agent_until_ms": state.account.agent_until_at_ms,
        "to_payment_ms": risk.to_payment_ms(state),
        "vanish": vanish(state),
        "stopping": state.stopping,
        "protected_ms": (
            None if state.protected_ms is None else state.protected_ms - state.started_ms
        ),
        "policy": state.policy.source,
    }


def market(state: State, carry: Carry, found: tuple[Gate, ...]) -> Report:
    """One market. `delta_usd`: spot + perp at the mid; `naked`: beyond the band.

    next_payment_usd: what the next payment would be at the predicted rate, > 0 received.
    liquidation: the rise of the price to it as a fraction, and that price. apr_on_capital: the
    forecast a year on all the money that a carry binds. break_even: see `core.breakeven.Clock`.
    """
    px = ledger.price(carry, Leg.PERP) or ledger.price(carry, Leg.SPOT)
    delta = carry.spot_sz + carry.perp_sz
    expected = risk.offer(state, carry).expected if isinstance(carry.phase, Idle) else None
    context = carry.context
    band = None
    if carry.market is not None and px is not None:
        band = sizing.band_usd(state.policy, carry.market, px).quantize(CENT)
    distance = deleverage.of_market(state, carry)
    at_px = None if distance is None or context is None else context.mark_px * (ONE + distance)
    next_usd = None
    if context is not None:
        next_usd = (-carry.perp_sz * context.oracle_px * context.funding_rate).quantize(MICRO)
    on_capital = breakeven.apr_on_capital(state, carry)
    reason = why.of_market(state, carry, found)
    return {
        "coin": carry.coin,
        "phase": PHASE_NAMES[type(carry.phase)],
        "condition": carry.condition.value,
        "spot_sz": show(carry.spot_sz),
        "perp_sz": show(carry.perp_sz),
        "delta_usd": None if px is None else show((delta * px).quantize(CENT)),
        "band_usd": None if band is None else show(band),
        "px": None if px is None else show(px),
        "funding_rate": None if context is None else show(context.funding_rate),
        "forecast_rate": None if carry.forecast is None else show(carry.forecast.rate),
        "next_payment_usd": None if next_usd is None else show(next_usd),
        "expected_net_bps": None if expected is None else show((expected / BPS).quantize(CENT)),
        "apr_on_capital": None if on_capital is None else show(on_capital.quantize(MICRO)),
        "break_even": _break_even(breakeven.clock(state, carry)),
        "liquidation_distance": None if distance is None else show(distance.quantize(MICRO)),
        "liquidation_px": None if at_px is None else show(at_px.quantize(MICRO)),
        "naked": naked(state, carry),
        "foreign": {"spot_sz": show(carry.foreign_spot), "perp_sz": show(carry.foreign_perp)},
        "reserved_sz": show(state.policy.reserve_of(carry.coin)),
        "pnl": causes(ledger.pnl(carry)),
        "why": reason.text,
        "why_kind": reason.kind,
    }


def _break_even(clock: breakeven.Clock | None) -> Report | None:
    if clock is None:
        return None

    def hours(value: Decimal | None) -> str | None:
        return None if value is None else show(value.quantize(Decimal("0.1")))

    return {
        "paid_usd": show(clock.paid_usd.quantize(MICRO)),
        "earned_usd": show(clock.earned_usd.quantize(MICRO)),
        "hours": hours(clock.hours),
        "pessimistic_h": hours(clock.pessimistic_h),
    }


def causes(terms: ledger.Pnl) -> Report:
    return {
        "net_usd": show(terms.net_usd.quantize(MICRO)),
        "funding_usd": show(terms.funding_usd.quantize(MICRO)),
        "fees_usd": show(terms.fees_usd.quantize(MICRO)),
        "basis_usd": show(terms.basis_usd.quantize(MICRO)),
        "slippage_usd": show(terms.slippage_usd.quantize(MICRO)),
        "external_usd": show(terms.external_usd.quantize(MICRO)),
    }


def pnl(state: State) -> Report:
    """PnL by cause of the whole account. `residual_usd`: what nothing explains; None if unknown."""
    residual = state.account.residual_usd
    return {
        **causes(ledger.total(state)),
        "residual_usd": None if residual is None else show(residual.quantize(MICRO)),
        "transfers_usd": show(state.account.transfers_usd),
    }


def gate(one: Gate) -> Report:
    return {
        "name": one.name,
        "market": one.market,
        "value": one.value,
        "threshold": one.threshold,
        "passes": one.passes,
        "fault": one.fault,
        "kind": why.kind_of(one),
    }


def ages(state: State) -> dict[str, int]:
    """How old each source was at the last tick, ms; a source that was never read is absent."""
    account = state.account
    asked = {
        "positions": account.positions_ms,
        "balances": account.balances_ms,
        "orders": account.orders_ms,
        "fills": account.fills_ms,
        "receipts": account.receipts_ms,
        "transfers": account.transfers_ms,
    }
    for carry in state.carries.values():
        asked[f"context:{carry.coin}"] = carry.context_ms
        for leg, seen in carry.quotes.items():
            asked[f"quote:{carry.coin}:{leg}"] = seen.seen_ms
    return {name: state.now_ms - ms for name, ms in asked.items() if ms}


def vanish(state: State) -> str:
    """What happens to what is held when nobody trades any more."""
    held = [c for c in state.carries.values() if c.spot_sz or c.perp_sz]
    resting = [i for i in state.intents.values() if not isinstance(i.status, Ended)]
    rests = [i for i in resting if isinstance(i.status, Open) or i.unknown]
    tail = "no order rests at the venue"
    if rests:
        names = ", ".join(f"#{i.no} {i.side.value} {i.coin} {i.leg.value}" for i in rests)
        tail = f"{names} may still fill"
    if not held:
        return f"nothing is held; {tail}"
    return "; ".join([*(_stays(state, carry) for carry in held), tail])


def _stays(state: State, carry: Carry) -> str:
    px = ledger.price(carry, Leg.PERP) or ledger.price(carry, Leg.SPOT)
    delta = carry.spot_sz + carry.perp_sz
    if naked(state, carry):
        usd = "?" if px is None else show((abs(delta) * px).quantize(CENT))
        how = f"{carry.coin} stays unhedged by ${usd}"
    elif isinstance(carry.phase, HedgeOk):
        how = f"{carry.coin} stays hedged and funding goes on"
    else:
        how = f"{carry.coin} stays as it is, hedged"
    distance = deleverage.of_market(state, carry)
    if distance is None or carry.context is None or carry.market is None:
        return how if carry.perp_sz == ZERO else f"{how}; how far liquidation is, is not known"
    at_px = carry.market.perp.rule.down(carry.context.mark_px * (ONE + distance))
    percent = (distance * 100).quantize(Decimal("0.1"))
    return f"{how} until the price rises {show(percent)} % to {show(at_px)}: the short goes there"
