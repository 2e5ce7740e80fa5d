"""The state as a report: what `status`, `why`, `pnl`, `positions` and the ops process show.

A pure function of the state; numbers are decimal strings, so that a program reads what is true.
"""

from decimal import Decimal
from typing import Any

from carry.core import conditions, ledger, risk
from carry.core.num import BPS, ZERO, show
from carry.core.state import PHASE_NAMES, Carry, Enter, Exit, Gate, HedgeOk, Idle, State
from carry.core.step import gates, naked
from carry.core.types import Leg

CENT = Decimal("0.01")
MICRO = Decimal("0.000001")
Report = dict[str, Any]


def report(seq: int, state: State) -> Report:
    """Everything of a tick that is worth showing. Times are the venue's clock, ms."""
    found = gates(state)
    return {
        "mode": risk.mode(state).value,
        "now_ms": state.venue_ms if state.venue_ms is not None else state.wall_ms,
        "seq": seq,
        "venue_condition": state.condition.value,
        "account_mode": state.account.mode.value if state.account.mode else None,
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
            name: {"mode": latch.mode, "why": latch.why} for name, latch in state.latches.items()
        },
        "stopping": state.stopping,
        "protected_ms": (
            None if state.protected_ms is None else state.protected_ms - state.started_ms
        ),
    }


def market(state: State, carry: Carry, found: tuple[Gate, ...]) -> Report:
    """One market. `delta_usd`: spot + perp at the mid; `naked`: beyond the band."""
    px = ledger.price(carry, Leg.PERP) or ledger.price(carry, Leg.SPOT)
    delta = carry.spot_sz + carry.perp_sz
    expected = risk.offer(state, carry).expected if isinstance(carry.phase, Idle) else None
    return {
        "coin": carry.coin,
        "phase": PHASE_NAMES[type(carry.phase)],
        "condition": carry.condition.value,
        "spot_sz": show(carry.spot_sz),
        "perp_sz": show(carry.perp_sz),
        "delta_usd": None if px is None else show((delta * px).quantize(CENT)),
        "px": None if px is None else show(px),
        "funding_rate": None if carry.context is None else show(carry.context.funding_rate),
        "forecast_rate": None if carry.forecast is None else show(carry.forecast.rate),
        "expected_net_bps": None if expected is None else show((expected / BPS).quantize(CENT)),
        "naked": naked(state, carry),
        "foreign": {"spot_sz": show(carry.foreign_spot), "perp_sz": show(carry.foreign_perp)},
        "reserved_sz": show(state.policy.reserve_of(carry.coin)),
        "pnl": causes(ledger.pnl(carry)),
        "why": why(state, carry, found),
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
    }


def why(state: State, carry: Carry, found: tuple[Gate, ...]) -> str:
    """What the market waits for, in one line (P13)."""
    if carry.market is None:
        return carry.broken or "metadata was not read yet"
    foreign = refused_because_foreign(state, carry)
    if foreign is not None:
        return foreign
    stuck = [intent for intent in state.of(carry.coin) if intent.unknown]
    if stuck:
        return f"order #{stuck[0].no}: nobody knows yet whether it landed; the fence decides"
    halted = [name for name, latch in state.latches.items() if latch.mode == "halt"]
    if halted and (carry.repair is not None or isinstance(carry.phase, Enter | Exit)):
        naked_now = "a leg is naked and " if carry.repair is not None else ""
        return f"HALT: {naked_now}nothing is traded until `carry resume --ack {halted[0]}`"
    stands = conditions.says(state, carry)
    also = "" if stands is None or isinstance(carry.phase, Idle) else f"; {stands}"
    return _doing(state, carry, found) + also


def _doing(state: State, carry: Carry, found: tuple[Gate, ...]) -> str:
    if carry.repair is not None:
        doing = "unwinding the excess leg" if carry.repair.unwinding else "hedging what filled"
        return f"{doing}, for {carry.repair.spent_ms} ms"
    match carry.phase:
        case Idle():
            failing = [g for g in found if not g.passes and g.market in (None, carry.coin)]
            if not failing:
                return "every gate passes: it enters next"
            # A fault is ours or the venue's and hides what the market would say.
            first = min(failing, key=lambda g: not g.fault)
            more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
            return f"{first.name} is {first.value}, needs {first.threshold}{more}"
        case Enter(target_sz=target):
            return f"buying up to {show(target)} in slices, hedging each"
        case HedgeOk(leaving_ms=since):
            if since is not None:
                return f"the reasons to leave hold for {state.now_ms - since} ms"
            return "held and hedged; funding is collected"
        case Exit(why=reason):
            return f"closing both legs: {reason}"


def refused_because_foreign(state: State, carry: Carry) -> str | None:
    """Why a market is not traded: it holds what the journal does not explain. None when it does."""
    usd = risk.foreign_usd(state, carry)
    if not usd:
        return None
    spot = carry.foreign_spot - state.policy.reserve_of(carry.coin)
    held = [f"{show(spot)} {carry.coin} spot"] if spot > ZERO else []
    if carry.foreign_perp:
        held.append(f"{show(carry.foreign_perp)} {carry.coin} perp")
    size = show(max(spot, abs(carry.foreign_perp)))
    return (
        f"{' and '.join(held)} (about ${show(usd.quantize(CENT))}) are foreign: this journal does "
        f"not explain them, so {carry.coin} is not traded. `carry adopt {carry.coin} {size}` takes "
        f"them over; `reserve_sz` of {carry.coin} in the config leaves spot to you"
    )
