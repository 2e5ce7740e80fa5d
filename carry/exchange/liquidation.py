"""Liquidation and auto-deleveraging, cross and isolated.

Equity below maintenance: market orders to the book, 20 % first for positions over $100k, the rest
within 30 s. Equity below two thirds of maintenance: the backstop takes position and margin at mark.
What the backstop cannot carry closes the best-placed positions of the other side (ADL).
Source: Hyperliquid docs "Liquidations", "Auto-deleveraging".
"""

from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING

from .accounts import Account
from .assets import Asset
from .margin import maintenance
from .text import ZERO, wire

if TYPE_CHECKING:
    from .model import Exchange

PARTIAL_ABOVE = Decimal(100_000)
PARTIAL_SHARE = Decimal("0.2")
COOLDOWN_MS = 30_000
BACKSTOP_SHARE = Decimal(2) / Decimal(3)
LIQUIDATOR = "0x" + "b" * 40


class Liquidation:
    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange

    def check(self, account: Account) -> None:
        """Liquidates what the account's equity no longer carries."""
        if account.isolated:
            self._check_isolated(account)
        summary = self.ex.summary(account)
        if not summary.notional or summary.value >= summary.maintenance:
            return
        for order in (*account.orders.values(), *account.sleeping()):
            if not order.asset.is_spot:
                self.ex.matching.cancel(account, order, "liquidatedCanceled")
        held = [
            self.ex.assets[asset_id]
            for asset_id in sorted(account.positions)
            if account.positions[asset_id].szi and asset_id not in account.isolated
        ]
        self._tell(account, held, summary.notional, summary.value, "Cross")
        backstop = summary.value < summary.maintenance * BACKSTOP_SHARE
        for asset in held:
            szi = account.szi(asset.asset_id)
            if backstop:
                self._backstop(account, asset, "Cross")
            else:
                self._to_book(account, asset, "Cross")
            if backstop and summary.value < 0:
                self._deleverage(asset, szi, but=account)
        if backstop:
            self._take_margin(account)

    def _check_isolated(self, account: Account) -> None:
        """Each isolated position stands and falls by itself."""
        for asset_id in list(account.isolated):
            position = account.position(asset_id)
            if position is None:
                continue
            asset = self.ex.assets[asset_id]
            mark = self.ex.mark(asset)
            notional = abs(position.szi) * mark
            worth = position.posted + position.szi * mark - position.cost
            needed = maintenance(asset, notional)
            if worth >= needed:
                continue
            self._tell(account, [asset], notional, worth, "Isolated")
            before = account.cash()
            szi = position.szi
            backstop = worth < needed * BACKSTOP_SHARE
            if backstop:
                self._backstop(account, asset, "Isolated")
            else:
                self._to_book(account, asset, "Isolated")
            # The rest of a backstopped margin is the liquidator's, and so is any deficit.
            gained = account.cash() - before
            if backstop or gained < 0:
                account.pay_perp(-gained)
                self.ex.house.cash += gained
            if backstop and worth < 0:
                self._deleverage(asset, szi, but=account)

    def _tell(
        self, account: Account, held: list[Asset], notional: Decimal, value: Decimal, kind: str
    ) -> None:
        self.ex.streams.liquidated(
            account.address,
            {
                "lid": self.ex.new_oid(), "liquidator": LIQUIDATOR,
                "liquidated_user": account.address, "liquidated_ntl_pos": wire(notional),
                "liquidated_account_value": wire(value),
            },
        )
        row = {
            "time": self.ex.now, "hash": self.ex.block_hash(),
            "delta": {
                "type": "liquidation", "liquidatedNtlPos": wire(notional),
                "accountValue": wire(value), "leverageType": kind,
                "liquidatedPositions": [
                    {"coin": a.coin, "szi": wire(account.szi(a.asset_id))} for a in held
                ],
            },
        }
        account.transfers.append(row)
        self.ex.streams.ledger(account.address, row)

    def _to_book(self, account: Account, asset: Asset, kind: str) -> None:
        mark = self.ex.mark(asset)
        szi = abs(account.szi(asset.asset_id))
        units = int(szi.scaleb(asset.sz_decimals))
        cooling = self.ex.now - account.liquidated_ms < COOLDOWN_MS
        if szi * mark > PARTIAL_ABOVE and not cooling:
            units = int((Decimal(units) * PARTIAL_SHARE).to_integral_value(ROUND_UP))
        account.liquidated_ms = self.ex.now
        self.ex.matching.liquidate_in_book(
            account, asset, sz=units, row=self.row(account, asset, mark, "market", kind)
        )

    def _backstop(self, account: Account, asset: Asset, kind: str) -> None:
        mark = self.ex.mark(asset)
        units = int(abs(account.szi(asset.asset_id)).scaleb(asset.sz_decimals))
        self.ex.matching.force(
            account, asset, sz=units, px=int(mark.scaleb(asset.px_decimals)),
            row=self.row(account, asset, mark, "backstop", kind),
        )

    def _take_margin(self, account: Account) -> None:
        """The liquidator keeps the remaining cross margin, or bears the deficit."""
        rest = account.cash()
        account.pay_perp(-rest)
        self.ex.house.cash += rest

    def row(
        self, account: Account, asset: Asset, mark: Decimal, method: str, kind: str = "Cross"
    ) -> dict[str, object]:
        side = "Long" if account.szi(asset.asset_id) > 0 else "Short"
        return {
            "liquidatedUser": account.address, "markPx": wire(mark), "method": method,
            "dir": f"Liquidated {kind} {side}",
        }

    # Auto-deleveraging.

    def ranked(self, asset: Asset, *, longs: bool) -> list[Account]:
        """Who is deleveraged first: by (mark / entry) x (notional / account value)."""
        mark = self.ex.mark(asset)
        ranks: list[tuple[Decimal, str, Account]] = []
        for account in self.ex.accounts.values():
            position = account.position(asset.asset_id)
            if position is None or (position.szi > 0) != longs:
                continue
            if position.szi * mark - position.cost <= 0:
                continue
            entry = position.cost / position.szi
            gain = mark / entry if longs else entry / mark
            value = self.ex.summary(account).value
            if asset.asset_id in account.isolated:
                value = position.posted + position.szi * mark - position.cost
            lever = abs(position.szi) * mark / value if value > 0 else Decimal("Infinity")
            ranks.append((-gain * lever, account.address, account))
        return [account for _, _, account in sorted(ranks, key=lambda rank: rank[:2])]

    def _deleverage(self, asset: Asset, szi: Decimal, *, but: Account) -> None:
        """Closes the other side of a bankrupt position at mark, best placed first."""
        mark = self.ex.mark(asset)
        px, left = int(mark.scaleb(asset.px_decimals)), int(abs(szi).scaleb(asset.sz_decimals))
        for account in self.ranked(asset, longs=szi < 0):
            if not left:
                return
            if account is but:
                continue
            held = int(abs(account.szi(asset.asset_id)).scaleb(asset.sz_decimals))
            sz = min(held, left)
            self.ex.matching.force(
                account, asset, sz=sz, px=px, row={"dir": "Auto-Deleveraging"}
            )
            left -= sz

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
