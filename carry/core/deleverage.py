"""How far liquidation is, and by how much both legs shrink when it comes near.

Distance: how far all shorts may rise together, by `margin`. Below `liq_distance_min` every market
gives its share until `liq_distance_target` is reached; in a split account what lies idle and what
is earned by selling counts as far as it may still be moved to the short (`collateral` moves it).
"""

from decimal import Decimal

from . import ledger, margin, moves, sizing
from .num import ONE, ZERO
from .state import Carry, State, Unknown
from .types import Leg

COST = Decimal("0.01")  # of what is closed: fees and slippage of both legs, at most


def distance(state: State) -> Decimal | None:
    """Rise of all shorts at which they are liquidated, as a fraction; None without one."""
    if not state.account.positions:
        return None
    held = margin.wallets(state)
    return None if held is None else held.distance


def of_market(state: State, carry: Carry) -> Decimal | None:
    """The distance as it concerns one market; None where nothing of it is short."""
    return distance(state) if carry.perp_sz < 0 else None


def fresh(state: State) -> bool:
    """Whether both wallets were read by this process, and after the last of our own actions."""
    account = state.account
    asked = min(account.positions_ms, account.balances_ms)
    touched = (ms for c in state.carries.values() for ms in c.touched_ms.values())
    return asked >= state.started_ms and asked > max(touched, default=-1)


def on_its_way(state: State) -> Decimal:
    """USD that may be counted on to reach the short today; nothing while a move's end is unknown or
    the last one came to nothing.
    """
    if state.now_ms < state.move_retry_ms:
        return ZERO
    if any(isinstance(i.status, Unknown) for i in moves.open_moves(state)):
        return ZERO
    return sizing.movable_usd(state) + sum((i.sz for i in moves.open_moves(state)), ZERO)


def lacking(held: margin.Wallets, target: Decimal) -> Decimal:
    """USD that the shorts would need to keep `target`; below 0 when they have more."""
    return target * held.exposure - held.margin_left


def too_near(state: State) -> bool:
    """Whether liquidation is nearer than the least distance even when what lies idle, or is on its
    way, has reached the short. Asked only where there is a distance.
    """
    held = margin.wallets(state)
    assert held is not None
    room = held.margin_left
    if isinstance(held, margin.Split):
        room += min(held.spot_free, on_its_way(state))
    return room / held.exposure < state.policy.risk.liq_distance_min


def excess_usd(state: State) -> Decimal:
    """Notional of one leg, over all markets, that must go for the target distance; 0 for none.

    Closing x USD of both legs frees rate x x of maintenance and takes x (1 + rate) of exposure off;
    selling the spot brings x, less its cost, where it reaches the short.
    """
    held = margin.wallets(state)
    assert held is not None
    target = state.policy.risk.liq_distance_target
    lacks = lacking(held, target)
    rate = _rate(state)
    frees = rate + target * (ONE + rate)
    if isinstance(held, margin.Unified):
        return max(ZERO, lacks / (frees + ONE - COST))
    movable = on_its_way(state)
    idle = min(held.spot_free, movable)
    # Either the proceeds may all be moved, or only what is left of the day.
    earning = (lacks - idle) / (frees + ONE - COST)
    limited = (lacks - movable) / frees
    return max(ZERO, earning, limited)


def _rate(state: State) -> Decimal:
    """Maintenance margin of what we hold short, the lowest rate: it promises least."""
    rates = [
        c.market.perp.maintenance_rate
        for c in state.carries.values()
        if c.market is not None and c.perp_sz
    ]
    return min(rates, default=ZERO)


def share_sz(state: State, carry: Carry, spot: Decimal) -> Decimal:
    """Base units of spot that a market keeps after giving its share of the excess; it may be 0."""
    everything = sum((_worth(state, c) for c in state.carries.values()), ZERO)
    worth = _worth(state, carry)
    if not worth:
        return ZERO
    gives = excess_usd(state) * worth / everything
    assert carry.market is not None
    # Less than an order cannot be closed.
    gives = max(gives, carry.market.min_notional * Decimal("1.2"))
    return max(ZERO, spot * (ONE - gives / worth))


def _worth(state: State, carry: Carry) -> Decimal:
    px = ledger.price(carry, Leg.PERP)
    return ZERO if px is None else max(ZERO, state.position(carry, Leg.SPOT)) * px
