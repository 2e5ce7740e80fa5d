"""Sizes in USD: what is held, what caps leave, what a carry may be, and what may change wallets."""

from decimal import Decimal

from . import economics, ledger, margin
from .num import ONE, ZERO, floor_to
from .policy import Policy
from .state import Carry, Enter, HedgeOk, Idle, State
from .types import AccountMode, Fees, Leg, Market, Side

DAY_MS = 86_400_000


def band_usd(policy: Policy, market: Market, px: Decimal) -> Decimal:
    """Unhedged notional left alone: the policy's, raised to what orders can enforce at all."""
    named = policy.strategy.delta_band_usd
    wanted = named if named is not None else policy.strategy.target_usd_notional / 50
    floor = market.min_notional + (market.spot.lot + market.perp.lot) * px
    return max(wanted, floor)


def exposure_usd(state: State, carry: Carry) -> Decimal:
    """The larger leg of a market in USD, with all that an entry may still add."""
    px = ledger.price(carry, Leg.SPOT)
    if px is None:
        return ZERO
    sz = max(state.position(carry, Leg.SPOT), -state.position(carry, Leg.PERP))
    if isinstance(carry.phase, Enter):
        sz = max(sz, carry.phase.target_sz)
    return sz * px


def portfolio_usd(state: State) -> Decimal:
    """Exposure of all markets, USD."""
    return sum((exposure_usd(state, c) for c in state.carries.values()), ZERO)


def committed_usd(state: State, carry: Carry) -> Decimal:
    """What a market holds at most once every open order filled, USD at today's price."""
    px = ledger.price(carry, Leg.SPOT)
    if px is None:
        return ZERO
    spot = state.position(carry, Leg.SPOT)
    for intent in state.of(carry.coin, Leg.SPOT):
        spot += intent.left_sz if intent.side is Side.BUY else ZERO
    return max(spot, -state.position(carry, Leg.PERP)) * px


def room_usd(state: State, carry: Carry) -> Decimal:
    """What a market may still add under its cap and the portfolio's, USD; may be below 0."""
    caps = state.policy.risk
    everything = sum((committed_usd(state, c) for c in state.carries.values()), ZERO)
    return min(
        caps.per_symbol_notional_cap - committed_usd(state, carry),
        caps.portfolio_notional_cap - everything,
    )


def pledged_usd(state: State, carry: Carry) -> Decimal:
    """What entries of other markets will still take from the wallets, USD of one leg.

    All of their target, until reads newer than their last fill show what they took already.
    """
    account, total = state.account, ZERO
    for other in state.carries.values():
        if other.coin == carry.coin or not isinstance(other.phase, Enter):
            continue
        asked = min(account.positions_ms, account.balances_ms)
        shown = asked > max(other.touched_ms.values(), default=-1)
        taken = min(other.spot_sz, -other.perp_sz) if shown else ZERO
        px = ledger.price(other, Leg.SPOT) or ZERO
        total += max(ZERO, other.phase.target_sz - taken) * px
    return total


def movable_usd(state: State) -> Decimal:
    """USD that may still be moved between the wallets today, both ways added; 0 if there is one."""
    if state.account.mode is not AccountMode.SPLIT:
        return ZERO
    recent = sum((m.usd for m in state.moves if state.now_ms - m.ms < DAY_MS), ZERO)
    return max(ZERO, state.policy.risk.transfer_usd_per_day - recent)


def terms_of(policy: Policy, fees: Fees, rate: Decimal) -> margin.Terms:
    """What a size is judged by. rate: maintenance margin of its market, a fraction of notional."""
    return margin.Terms(
        leverage=policy.execution.perp_leverage,
        buffer=policy.risk.collateral_buffer,
        fee=fees.taker(Leg.SPOT) + fees.taker(Leg.PERP),
        rate=rate,
        distance=policy.risk.liq_distance_target,
    )


def entry_size(
    state: State, carry: Carry, market: Market, ask_px: Decimal, freed_usd: Decimal = ZERO
) -> tuple[Decimal, Decimal]:
    """Base units of spot a carry would add, and USD to move into the perp wallet first (< 0: out).

    The target less what is held, cut to caps, to what both legs' margin allows, and so that
    liquidation is `liq_distance_target` away once it is held; on the coarser lot. freed_usd: as if
    a carry of so much a leg were closed.
    """
    policy = state.policy
    held = margin.wallets(state)
    fees = state.account.fees
    if held is None or fees is None:
        return ZERO, ZERO
    rates = economics.fees_in_force(policy.fees, fees)
    terms = terms_of(policy, rates, market.perp.maintenance_rate)
    has = exposure_usd(state, carry) if isinstance(carry.phase, HedgeOk) else ZERO
    wanted = min(
        policy.strategy.target_usd_notional - has,
        policy.risk.per_symbol_notional_cap - has,
        policy.risk.portfolio_notional_cap - portfolio_usd(state) + freed_usd,
    )
    pledged = pledged_usd(state, carry)
    gained = freed_usd * (ONE - policy.risk.collateral_buffer) - pledged
    # While another market enters, what is in the wallets is promised to it: nothing is moved. What
    # a carry would free is not there yet.
    asks = (isinstance(carry.phase, Idle) or carry.grows) and not pledged and not freed_usd
    found = held.sized(terms, max(ZERO, wanted - gained), movable_usd(state) if asks else ZERO)
    sz = floor_to(min(wanted, found.usd + gained) / ask_px, market.lot)
    return max(ZERO, sz), found.move if sz > 0 else ZERO
