"""Liquidation and auto-deleveraging of cross positions.

Equity below maintenance: market orders to the book, 20 % first for positions over $100k, the rest
within 30 s. Equity below two thirds of maintenance: the backstop takes position and margin at mark.
Source: Hyperliquid docs "Liquidations", "Auto-deleveraging".
"""

from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING

from .accounts import Account
from .assets import Asset
from .text import ZERO, wire

if TYPE_CHECKING:
    from .model import Exchange

PARTIAL_ABOVE = Decimal(100_000)
PARTIAL_SHARE = Decimal("0.2")
COOLDOWN_MS = 30_000
BACKSTOP_SHARE = Decimal(2) / Decimal(3)


class Liquidation:
    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange

    def check(self, account: Account) -> None:
        """Liquidates what the account's equity no longer carries."""
        summary = self.ex.summary(account)
        if not summary.notional or summary.value >= summary.maintenance:
            return
        for order in list(account.orders.values()):
            if not order.asset.is_spot:
                self.ex.matching.cancel(account, order, "liquidatedCanceled")
        backstop = summary.value < summary.maintenance * BACKSTOP_SHARE
        for asset_id in sorted(account.positions):
            position = account.positions[asset_id]
            if not position.szi:
                continue
            asset = self.ex.assets[asset_id]
            if backstop:
                self._backstop(account, asset)
            else:
                self._to_book(account, asset)
        if backstop:
            self._take_margin(account)

    def _to_book(self, account: Account, asset: Asset) -> None:
        mark = self.ex.mark(asset)
        szi = abs(account.szi(asset.asset_id))
        units = int(szi.scaleb(asset.sz_decimals))
        cooling = self.ex.now - account.liquidated_ms < COOLDOWN_MS
        if szi * mark > PARTIAL_ABOVE and not cooling:
            units = int((Decimal(units) * PARTIAL_SHARE).to_integral_value(ROUND_UP))
        account.liquidated_ms = self.ex.now
        self.ex.matching.liquidate_in_book(
            account, asset, sz=units, row=self._row(account, asset, mark, "market")
        )

    def _backstop(self, account: Account, asset: Asset) -> None:
        mark = self.ex.mark(asset)
        units = int(abs(account.szi(asset.asset_id)).scaleb(asset.sz_decimals))
        self.ex.matching.force(
            account, asset, sz=units, px=int(mark.scaleb(asset.px_decimals)),
            row=self._row(account, asset, mark, "backstop"),
        )

    def _take_margin(self, account: Account) -> None:
        """The liquidator keeps the remaining cross margin, or bears the deficit."""
        rest = account.cash()
        account.pay_perp(-rest)
        self.ex.house.cash += rest

    def _row(
        self, account: Account, asset: Asset, mark: Decimal, method: str
    ) -> dict[str, object]:
        side = "Long" if account.szi(asset.asset_id) > 0 else "Short"
        return {
            "liquidatedUser": account.address, "markPx": wire(mark), "method": method,
            "dir": f"Liquidated Cross {side}",
        }

    def adl(self, account: Account, asset: Asset, fraction: Decimal, px: Decimal) -> Decimal:
        """Closes `fraction` (0 to 1) of a position at `px` without asking; returns the size."""
        held = abs(account.szi(asset.asset_id))
        units = int((held * fraction).scaleb(asset.sz_decimals))
        px_units = asset.px_units(px)
        if not units or px_units is None:
            return ZERO
        self.ex.matching.force(
            account, asset, sz=units, px=px_units, row={"dir": "Auto-Deleveraging"}
        )
        return Decimal(units).scaleb(-asset.sz_decimals)
