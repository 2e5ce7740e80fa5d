"""Margin in the venue's formulas: account value, initial and maintenance margin, withdrawable.

Sources: Hyperliquid docs "Margining", "Margin tiers", "Liquidations"; checked by others against
live accounts. All values in USDC.
"""

from collections.abc import Callable
from decimal import Decimal

from .accounts import Account
from .assets import USDC_TOKEN, Asset
from .text import USD6, ZERO, near, units

Marks = Callable[[Asset], Decimal]
TRANSFER_SHARE = Decimal("0.1")
"""Cash below this share of the total position notional cannot leave the perp wallet."""


def maintenance(asset: Asset, notional: Decimal) -> Decimal:
    """Maintenance margin of a position of `notional` USD.

    >>> from .assets import all_coins
    >>> maintenance(all_coins()["BTC"].perp, Decimal("377667"))
    Decimal('4720.8375')
    """
    tier = asset.tiers[0]
    for candidate in asset.tiers:
        if notional >= candidate.lower_bound:
            tier = candidate
    return notional * tier.rate - tier.deduction


def maintenance_rate(asset: Asset, notional: Decimal) -> Decimal:
    """The tier's maintenance rate, 1 / (2 * maximum leverage)."""
    rate = asset.tiers[0].rate
    for tier in asset.tiers:
        if notional >= tier.lower_bound:
            rate = tier.rate
    return rate


class Summary:
    """One look at an account's perps at the given marks: the cross ones, isolated ones apart.

    value: cash + unrealised PnL. positions_im: initial margin of open positions. total_im: with
    exposure-increasing resting orders. raw: cash minus signed cost, so value = raw + sum(szi*mark).
    alone_value: what isolated positions are worth, margin and PnL; alone_notional, alone_raw too.
    collateral: what spot tokens add to `value` under portfolio margin.
    """

    __slots__ = (
        "alone_notional", "alone_raw", "alone_value", "cash", "collateral", "maintenance",
        "notional", "pnl", "positions_im", "raw", "total_im", "value",
    )

    def __init__(self, account: Account, assets: dict[int, Asset], marks: Marks) -> None:
        self.cash = account.cash()
        self.pnl = ZERO
        self.notional = ZERO
        self.positions_im = ZERO
        self.total_im = ZERO
        self.maintenance = ZERO
        self.raw = self.cash
        self.alone_value = self.alone_notional = self.alone_raw = self.collateral = ZERO
        isolated = account.isolated
        if account.unified:
            # What rests to buy spot is promised elsewhere and margins nothing.
            self.cash -= spot_hold(account, USDC_TOKEN)
        resting = resting_perp_sizes(account)
        for asset_id in sorted({*account.positions, *resting}):
            asset = assets[asset_id]
            position = account.positions.get(asset_id)
            szi = position.szi if position else ZERO
            buys, sells = resting.get(asset_id, (ZERO, ZERO))
            if not szi and not buys and not sells:
                continue
            mark = marks(asset)
            leverage = account.leverage_of(asset)
            worst = max(abs(szi), abs(szi + buys), abs(szi - sells))
            if isolated and asset_id in isolated:
                # Its margin is posted already: only what rests beyond it asks for more.
                self.total_im += (worst - abs(szi)) * mark / leverage
                if position is not None and szi:
                    self.alone_notional += abs(szi) * mark
                    self.alone_raw += position.posted - position.cost
                    self.alone_value += position.posted + szi * mark - position.cost
                continue
            self.total_im += worst * mark / leverage
            if position is None or not szi:
                continue
            notional = abs(szi) * mark
            self.notional += notional
            self.pnl += szi * mark - position.cost
            self.raw -= position.cost
            self.positions_im += notional / leverage
            self.maintenance += maintenance(asset, notional)
        self.value = self.cash + self.pnl

    @property
    def withdrawable(self) -> Decimal:
        """What may leave the perp wallet."""
        kept = max(self.total_im, self.notional * TRANSFER_SHARE)
        return max(ZERO, near(self.value - kept, USD6))


def resting_perp_sizes(account: Account) -> dict[int, tuple[Decimal, Decimal]]:
    """(buys, sells) resting per perp, without reduce-only orders: those never add exposure."""
    sizes: dict[int, tuple[Decimal, Decimal]] = {}
    for order in account.orders.values():
        if order.asset.is_spot or order.reduce_only:
            continue
        buys, sells = sizes.get(order.asset.asset_id, (ZERO, ZERO))
        sz = units(order.sz, order.asset.sz_decimals)
        if order.is_buy:
            buys += sz
        else:
            sells += sz
        sizes[order.asset.asset_id] = (buys, sells)
    return sizes


def spot_hold(account: Account, token: int) -> Decimal:
    """What resting spot orders reserve of `token`: the size of sells, px * sz of buys."""
    hold = ZERO
    for order in account.orders.values():
        asset = order.asset
        if not asset.is_spot:
            continue
        sz = units(order.sz, asset.sz_decimals)
        if order.is_buy and token == USDC_TOKEN:
            hold += sz * units(order.px, asset.px_decimals)
        elif not order.is_buy and token == asset.token:
            hold += sz
    return hold


def spot_available(account: Account, token: int, summary: Summary) -> Decimal:
    """What a new spot order may use. Unified: USDC also backs the perps, losses included.

    Portfolio margin lends USDC against tokens: a buy may take the balance below zero.
    """
    free = account.balance(token).total - spot_hold(account, token)
    if token == USDC_TOKEN and account.unified:
        free += min(ZERO, summary.pnl) - summary.total_im + summary.collateral
    return free


def liquidation_px(
    account: Account, asset: Asset, mark: Decimal, summary: Summary, *, without: Decimal = ZERO
) -> Decimal | None:
    """Where this position is liquidated if nothing else moves; None when that is not above 0.

    liq = mark - side * margin_available / |szi| / (1 - l * side). without: USDC not to count on.
    """
    szi = account.szi(asset.asset_id)
    if not szi:
        return None
    side = 1 if szi > 0 else -1
    rate = maintenance_rate(asset, abs(szi) * mark)
    room = summary.value - without - summary.maintenance
    if asset.asset_id in account.isolated:
        held = account.positions[asset.asset_id]
        worth = held.posted + szi * mark - held.cost
        room = worth - maintenance(asset, abs(szi) * mark)
    px = mark - side * room / abs(szi) / (1 - rate * side)
    return px if px > 0 else None
