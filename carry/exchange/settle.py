"""Fills become money: positions, balances and fees of one fill, and the books of the house.

The rows a user reads are exactly what moved: cash changes by closedPnl - fee (perp), by the px * sz
and fee of the row (spot), never by an unrounded number behind it.
"""

from decimal import ROUND_DOWN, Decimal

from .accounts import Account, Position
from .assets import USDC_TOKEN, Asset
from .text import USD6, USD8, ZERO, cut, near

PERP_CROSS, PERP_ADD = Decimal("0.00045"), Decimal("0.00015")
SPOT_CROSS, SPOT_ADD = Decimal("0.0007"), Decimal("0.0004")


class FeeTier:
    """Rates as fractions of notional; `cross` for takers, `add` for makers."""

    __slots__ = ("cross", "cutoff", "perp_add", "perp_cross", "spot_add", "spot_cross")

    def __init__(self, cutoff: str, perp: tuple[str, str], spot: tuple[str, str]) -> None:
        self.cutoff = Decimal(cutoff)
        self.perp_cross, self.perp_add = Decimal(perp[0]), Decimal(perp[1])
        self.spot_cross, self.spot_add = Decimal(spot[0]), Decimal(spot[1])

    def rate(self, *, is_spot: bool, crossed: bool) -> Decimal:
        if is_spot:
            return self.spot_cross if crossed else self.spot_add
        return self.perp_cross if crossed else self.perp_add


TIERS = (
    FeeTier("0.0", ("0.00045", "0.00015"), ("0.0007", "0.0004")),
    FeeTier("5000000.0", ("0.0004", "0.00012"), ("0.0006", "0.0003")),
    FeeTier("25000000.0", ("0.00035", "0.00008"), ("0.0005", "0.0002")),
    FeeTier("100000000.0", ("0.0003", "0.00004"), ("0.0004", "0.0001")),
    FeeTier("500000000.0", ("0.00028", "0.0"), ("0.00035", "0.0")),
    FeeTier("2000000000.0", ("0.00026", "0.0"), ("0.0003", "0.0")),
    FeeTier("7000000000.0", ("0.00024", "0.0"), ("0.00025", "0.0")),
)


class House:
    """Everyone who is not a user: the market maker, the fee account, the funding pool.

    `paid_in` is what entered from outside, by token; `audit` compares it with all there is.
    """

    def __init__(self) -> None:
        self.cash = ZERO
        self.tokens: dict[int, Decimal] = {}
        self.szi: dict[int, Decimal] = {}
        self.fees: dict[int, Decimal] = {}
        self.funding = ZERO
        self.paid_in: dict[int, Decimal] = {}

    def trade(self, asset: Asset, *, user_buys: bool, px: Decimal, sz: Decimal) -> None:
        """The maker's side of a fill of a user."""
        sign = -1 if user_buys else 1
        if asset.is_spot:
            self.tokens[asset.token] = self.tokens.get(asset.token, ZERO) + sign * sz
        else:
            self.szi[asset.asset_id] = self.szi.get(asset.asset_id, ZERO) + sign * sz
        self.cash -= sign * px * sz

    def collect(self, token: int, fee: Decimal) -> None:
        self.fees[token] = self.fees.get(token, ZERO) + fee

    def pay_in(self, token: int, amount: Decimal) -> None:
        self.paid_in[token] = self.paid_in.get(token, ZERO) + amount


class Booked:
    """What a fill did: the figures of its row."""

    __slots__ = ("closed_pnl", "direction", "fee", "fee_token", "start")

    def __init__(
        self, start: Decimal, direction: str, closed_pnl: Decimal, fee: Decimal, fee_token: int
    ) -> None:
        self.start = start
        self.direction = direction
        self.closed_pnl = closed_pnl
        self.fee = fee
        self.fee_token = fee_token


def book_perp(
    account: Account, asset: Asset, *, is_buy: bool, px: Decimal, sz: Decimal, rate: Decimal
) -> Booked:
    """One perp fill. closedPnl is gross of the fee; the fee is USDC, truncated at 6 decimals."""
    position = account.positions.get(asset.asset_id)
    if position is None:
        position = account.positions[asset.asset_id] = Position()
    start = position.szi
    signed = sz if is_buy else -sz
    closed_pnl = ZERO
    opening = sz
    if start and (start > 0) != is_buy:
        closing = min(abs(start), sz)
        opening = sz - closing
        side = 1 if start > 0 else -1
        released = position.cost
        if closing != abs(start):
            released = near(position.cost * closing / abs(start), USD6)
        if position.posted:
            freed = position.posted
            if closing != abs(start):
                freed = near(position.posted * closing / abs(start), USD6)
            account.pay_perp(freed)
            position.posted -= freed
        closed_pnl = side * closing * px - released
        position.cost -= released
    if account.isolated and asset.asset_id in account.isolated:
        _post_margin(account, asset, position, opening, px)
    position.cost += (opening if is_buy else -opening) * px
    position.szi = start + signed
    position.funding_change = ZERO
    if not position.szi or (start and (start > 0) != (position.szi > 0)) or not start:
        position.funding_open = ZERO
    fee = cut(px * sz * rate, USD6)
    account.pay_perp(closed_pnl - fee)
    return Booked(start, _direction(start, position.szi, is_buy), closed_pnl, fee, USDC_TOKEN)


def _post_margin(
    account: Account, asset: Asset, position: Position, opening: Decimal, px: Decimal
) -> None:
    """An isolated position keeps its own margin; what opens it moves that much there."""
    needed = near(opening * px / account.leverage_of(asset), USD6)
    account.pay_perp(-needed)
    position.posted += needed


def _direction(start: Decimal, end: Decimal, is_buy: bool) -> str:
    if start > 0 > end:
        return "Long > Short"
    if start < 0 < end:
        return "Short > Long"
    if is_buy:
        return "Close Short" if start < 0 else "Open Long"
    return "Close Long" if start > 0 else "Open Short"


def book_spot(
    account: Account, asset: Asset, *, is_buy: bool, px: Decimal, sz: Decimal, rate: Decimal
) -> Booked:
    """One spot fill. A buy pays its fee in the base token, a sell in USDC.

    quote fee = trunc(px * sz * rate, 8); the buyer's fee = trunc(quote fee / px, weiDecimals).
    """
    base = account.balance(asset.token)
    usdc = account.balance(USDC_TOKEN)
    start = base.total
    value = px * sz
    quote_fee = cut(value * rate, USD8)
    if is_buy:
        fee = (quote_fee / px).quantize(Decimal(1).scaleb(-asset.fee_decimals), ROUND_DOWN)
        usdc.total -= value
        base.total += sz - fee
        base.entry_ntl += value
        return Booked(start, "Buy", ZERO, fee, asset.token)
    cost = near(base.entry_ntl * sz / start, USD8) if start else ZERO
    usdc.total += value - quote_fee
    base.total -= sz
    base.entry_ntl -= cost
    return Booked(start, "Sell", value - cost, quote_fee, USDC_TOKEN)
