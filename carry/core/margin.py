"""Account modes as variants: what is free, what a carry of a size needs, how far liquidation is.

Split: spot and perp wallets are apart, spot coins are no collateral. Unified: one USD balance pays
for spot and margins the perps; spot coins are still no collateral. Sources: the venue's margining
and liquidation pages (liq = mark - side x margin / size / (1 - l x side), side -1 for a short).
"""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from .num import ONE, ZERO
from .observations import Position
from .state import State
from .types import AccountMode


@attrs.frozen(kw_only=True)
class Split:
    """USD by wallet. `perp_equity`: cash leg plus positions at mark. `margin_used`: at our
    leverage.
    """

    spot_free: Decimal
    spot_total: Decimal
    perp_equity: Decimal
    margin_used: Decimal
    maintenance: Decimal

    @property
    def equity(self) -> Decimal:
        return self.spot_total + self.perp_equity

    @property
    def margin_left(self) -> Decimal:
        """What a rise of the shorts may cost before liquidation."""
        return self.perp_equity - self.maintenance

    def affordable(self, leverage: int, buffer: Decimal, fee: Decimal) -> Decimal:
        """Largest leg, USD notional, that both wallets can carry with `buffer` of the equity
        idle.
        """
        balanced = self.equity * leverage / (1 + leverage) * (ONE - buffer)
        spot = self.spot_free / (ONE + fee)
        perp = (self.perp_equity - self.margin_used) * leverage / (ONE + fee)
        return max(ZERO, min(balanced, spot, perp))


@attrs.frozen(kw_only=True)
class Unified:
    """USD in one balance: `cash` realised, `pnl` of positions at mark, `hold` of open orders."""

    cash: Decimal
    pnl: Decimal
    hold: Decimal
    margin_used: Decimal
    maintenance: Decimal

    @property
    def equity(self) -> Decimal:
        return self.cash + self.pnl

    @property
    def margin_left(self) -> Decimal:
        return self.equity - self.maintenance

    def affordable(self, leverage: int, buffer: Decimal, fee: Decimal) -> Decimal:
        """Largest leg, USD notional: spot is paid and the short margined from the same balance."""
        free = (self.equity - max(self.margin_used, self.hold)) * (ONE - buffer)
        return max(ZERO, free * leverage / (1 + leverage) / (ONE + fee))


Wallets = Split | Unified


def _marks(state: State) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Positions at mark: signed value, entry cost, initial and maintenance margin, USD."""
    value = entry = initial = maintenance = ZERO
    for coin, position in state.account.positions.items():
        carry = state.carries.get(coin)
        if carry is None or carry.context is None or carry.market is None:
            # Not one of our markets: the venue's own margin figure is all that is known of it.
            value += position.entry_ntl
            entry += position.entry_ntl
            initial += position.margin_used
            continue
        notional = position.sz * carry.context.mark_px
        lever = carry.leverage.value if carry.leverage is not None else 1
        value += notional
        entry += position.entry_ntl
        initial += abs(notional) / lever
        maintenance += abs(notional) * carry.market.perp.maintenance_rate
    return value, entry, initial, maintenance


def wallets(state: State) -> Wallets | None:
    """The account by its mode; None before it was read, or in a mode whose entries are refused."""
    account = state.account
    if account.usd is None or not account.positions_ms:
        return None
    value, entry, initial, maintenance = _marks(state)
    if account.mode is AccountMode.SPLIT:
        return Split(
            spot_free=account.usd.total - account.usd.hold,
            spot_total=account.usd.total,
            perp_equity=account.raw_usd + value,
            margin_used=initial,
            maintenance=maintenance,
        )
    if account.mode is AccountMode.UNIFIED:
        return Unified(
            cash=account.usd.total,
            pnl=value - entry,
            hold=account.usd.hold,
            margin_used=initial,
            maintenance=maintenance,
        )
    return None


def short_distance(
    margin_left: Decimal, positions: Mapping[str, Position], coin: str, mark: Decimal, rate: Decimal
) -> Decimal | None:
    """How far `coin` may rise before its short is liquidated, as a fraction of the mark.

    None when there is no short. rate: maintenance margin as a fraction of notional.
    """
    position = positions.get(coin)
    if position is None or position.sz >= 0:
        return None
    return margin_left / (-position.sz) / (ONE + rate) / mark
