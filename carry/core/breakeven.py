"""The break-even clock of a held market, and what a carry earns on the money that it binds."""

from decimal import Decimal

import attrs

from . import economics, ledger, risk, sizing
from .num import ONE, ZERO
from .state import Carry, State
from .types import Leg

PESSIMISTIC = Decimal("0.5")  # of the forecast: its mean error is about half of what was paid


@attrs.frozen(kw_only=True)
class Clock:
    """USD, all carries of the market so far. paid: fees and slippage, and what leaving now would
    cost; earned: funding. hours: until the two are even at the forecast rate, and at half of it; 0
    where they are, None where it never comes.
    """

    paid_usd: Decimal
    earned_usd: Decimal
    hours: Decimal | None
    pessimistic_h: Decimal | None


def clock(state: State, carry: Carry) -> Clock | None:
    """None while nothing is held, or a price, a fee or the funding is missing."""
    spot = state.position(carry, Leg.SPOT)
    px = ledger.price(carry, Leg.SPOT)
    if spot <= 0 or px is None or carry.forecast is None:
        return None
    costs = risk.round_trip(state, carry, spot)
    if costs is None:
        return None
    so_far = ledger.pnl(carry)
    paid = so_far.fees_usd - so_far.slippage_usd + costs.exit * spot * px
    an_hour = carry.forecast.rate / state.capabilities.interval_h * -carry.perp_sz * px
    left = paid - so_far.funding_usd
    return Clock(
        paid_usd=paid,
        earned_usd=so_far.funding_usd,
        hours=_until(left, an_hour),
        pessimistic_h=_until(left, an_hour * PESSIMISTIC),
    )


def _until(left_usd: Decimal, an_hour_usd: Decimal) -> Decimal | None:
    if left_usd <= 0:
        return ZERO
    return left_usd / an_hour_usd if an_hour_usd > 0 else None


def apr_on_capital(state: State, carry: Carry) -> Decimal | None:
    """The forecast, as a simple annual rate on spot and the USDC kept behind the short, by leverage
    and buffer; before costs. None while not known.
    """
    if carry.market is None or carry.forecast is None or state.account.fees is None:
        return None
    fees = economics.fees_in_force(state.policy.fees, state.account.fees)
    terms = sizing.terms_of(state.policy, fees, carry.market.perp.maintenance_rate)
    return economics.apr(carry.forecast.rate, state.capabilities.interval_h) / (
        ONE + terms.recommended
    )
