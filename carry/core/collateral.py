"""When USDC changes wallets in a split account: before an entry, and near liquidation."""

from decimal import Decimal

from . import deleverage, margin, moves, risk
from .actions import Action
from .num import show
from .risk import Mode, Offer
from .state import State

LEAST_USD = Decimal(5)  # less is not worth an action

Said = tuple[Action, ...]


def before_entry(state: State, found: Offer) -> tuple[State, Said]:
    """Bring the wallets to what the coming size needs; the entry follows once both show it."""
    if not moves.ready(state):
        return state, ()
    return moves.ask(state, found.move, "an entry needs it there")


def rescue(state: State, distance: Decimal | None) -> tuple[State, Said]:
    """Below `liq_distance_warn` what lies idle in the spot wallet goes to the short, as much as it
    lacks to the target distance.
    """
    limits = state.policy.risk
    if distance is None or distance >= limits.liq_distance_warn:
        return state, ()
    if state.stopping or risk.mode(state) is Mode.HALT:
        return state, ()
    if not moves.ready(state) or not deleverage.fresh(state):
        return state, ()
    held = margin.wallets(state)
    assert isinstance(held, margin.Split), "only a split account has anything to move"
    usd = min(held.spot_free, deleverage.lacking(held, limits.liq_distance_target))
    if usd < LEAST_USD:
        return state, ()
    away = show((distance * 100).quantize(Decimal("0.1")))
    return moves.ask(state, usd, f"liquidation is {away} % away")
