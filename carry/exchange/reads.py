"""`/info`: what the exchange answers to unsigned reads about a user.

An unknown address, an agent's included, reads as empty and successful, as on the venue.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .accounts import Account, Order
from .assets import USDC_TOKEN, Asset
from .margin import Summary, liquidation_px, spot_hold
from .settle import TIERS
from .text import USD6, ZERO, near, wire, wire_int

if TYPE_CHECKING:
    from .model import Exchange

FILLS_PAGE = 2_000
ROWS_PAGE = 500
REQUESTS_FREE = 10_000


class Reads:
    """Account reads; mixed into `Info` because one dispatch table serves both."""

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange

    def account_reads(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        return {
            "clearinghouseState": lambda q: self.clearinghouse_state(self._user(q)),
            "spotClearinghouseState": lambda q: self.spot_state(self._user(q)),
            "activeAssetData": lambda q: self.active_asset_data(
                self._user(q), self.ex.by_coin[q["coin"]]
            ),
            "openOrders": lambda q: self.open_orders(self._user(q)),
            "frontendOpenOrders": lambda q: self.frontend_orders(self._user(q)),
            "orderStatus": lambda q: self._order_status(self._user(q), q["oid"]),
            "historicalOrders": lambda q: self._historical(self._user(q)),
            "userFills": lambda q: self._fills(self._user(q)),
            "userFillsByTime": lambda q: self._fills_by_time(self._user(q), q),
            "userFunding": lambda q: self._fundings(self._user(q), q),
            "userNonFundingLedgerUpdates": lambda q: self._transfers(self._user(q), q),
            "userFees": lambda q: self._fees(self._user(q)),
            "userRateLimit": lambda q: self._rate_limit(self._user(q)),
            "userRole": lambda q: self._role(self._user(q)),
            "extraAgents": lambda q: self._agents(self._user(q)),
            "userAbstraction": lambda q: self._abstraction(self._user(q)),
            "portfolio": lambda q: self._portfolio(self._user(q)),
            "subAccounts": lambda q: None,
            "referral": lambda q: self._referral(),
            "maxBuilderFee": lambda q: 0,
            "userTwapSliceFills": lambda q: [],
            "userDexAbstraction": lambda q: False,
        }

    def _user(self, query: dict[str, Any]) -> str:
        user: str = query["user"].lower()
        if not self.ex.is_address(user):
            raise ValueError(user)
        return user

    def _account(self, user: str) -> Account | None:
        return self.ex.accounts.get(user)

    # Balances and positions.

    def clearinghouse_state(self, user: str) -> dict[str, Any]:
        """Perp state. In a unified account the margin summaries are not meaningful: only the
        margin in use shows as account value, as on the venue."""
        account = self._account(user)
        if account is None:
            summary = Summary(Account(user, "split"), self.ex.assets, self.ex.mark)
            positions: list[dict[str, Any]] = []
        else:
            summary = self.ex.summary(account)
            positions = [
                {"type": "oneWay", "position": self._position(account, asset_id, summary)}
                for asset_id, position in sorted(account.positions.items())
                if position.szi
            ]
        margins = {
            "accountValue": wire(summary.value), "totalNtlPos": wire(summary.notional),
            "totalRawUsd": wire(summary.raw),
            "totalMarginUsed": wire(near(summary.positions_im, USD6)),
        }
        withdrawable = summary.withdrawable
        if account is not None and account.unified:
            used = near(summary.positions_im, USD6)
            signed = sum(
                (p.szi * self.ex.mark(self.ex.assets[i]) for i, p in account.positions.items()),
                ZERO,
            )
            margins |= {"accountValue": wire(used), "totalRawUsd": wire(used - signed)}
            withdrawable = ZERO
        return {
            "marginSummary": margins, "crossMarginSummary": dict(margins),
            "crossMaintenanceMarginUsed": wire(near(summary.maintenance, USD6)),
            "withdrawable": wire(withdrawable), "assetPositions": positions,
            "time": self.ex.now,
        }

    def _position(self, account: Account, asset_id: int, summary: Summary) -> dict[str, Any]:
        asset = self.ex.assets[asset_id]
        position = account.positions[asset_id]
        mark = self.ex.mark(asset)
        szi = position.szi
        notional = abs(szi) * mark
        pnl = szi * mark - position.cost
        leverage = account.leverage_of(asset)
        entry = near(position.cost / szi, Decimal(1).scaleb(-asset.px_decimals))
        liquidation = liquidation_px(account, asset, mark, summary)
        used = notional / leverage
        initial = abs(position.cost) / leverage
        return {
            "coin": asset.coin, "szi": wire(szi),
            "leverage": {"type": "cross", "value": leverage}, "entryPx": wire(entry),
            "positionValue": wire(notional), "unrealizedPnl": wire(pnl),
            "returnOnEquity": wire(near(pnl / initial, Decimal("0.0000000001"))),
            "liquidationPx": None if liquidation is None else wire(
                near(liquidation, Decimal("0.00000001"))
            ),
            "marginUsed": wire(near(used, USD6)), "maxLeverage": asset.max_leverage,
            "cumFunding": {
                "allTime": wire(position.funding_all), "sinceOpen": wire(position.funding_open),
                "sinceChange": wire(position.funding_change),
            },
        }

    def spot_state(self, user: str) -> dict[str, Any]:
        """Balances. Unified: `hold` of USDC includes the margin of perps; `total` is cash without
        unrealised PnL unless the exchange was built to include it."""
        account = self._account(user)
        if account is None:
            return {"balances": []}
        summary = self.ex.summary(account)
        rows: list[dict[str, Any]] = []
        for token, balance in sorted(account.spot.items()):
            if token != USDC_TOKEN and not balance.total:
                continue
            total, hold = balance.total, spot_hold(account, token)
            if token == USDC_TOKEN and account.unified:
                hold += near(summary.total_im, USD6)
                if self.ex.unified_total_has_pnl:
                    total += summary.pnl
            rows.append(
                {
                    "coin": self.ex.token_names[token], "token": token, "total": wire(total),
                    "hold": wire(hold), "entryNtl": wire(balance.entry_ntl),
                }
            )
        return {"balances": rows}

    def active_asset_data(self, user: str, asset: Asset) -> dict[str, Any]:
        """The leverage setting, also when flat. Arrays are [long, short]."""
        if asset.is_spot:
            raise ValueError(asset.coin)
        account = self._account(user) or Account(user, "split")
        summary = self.ex.summary(account)
        mark = self.ex.mark(asset)
        leverage = account.leverage_of(asset)
        free = max(ZERO, summary.value - summary.total_im)
        szi = account.szi(asset.asset_id)
        # Turning a position around frees its margin twice: once to close, once to open again.
        turn = 2 * abs(szi) * mark / leverage
        room = [free + (turn if szi < 0 else ZERO), free + (turn if szi > 0 else ZERO)]
        lot = Decimal(1).scaleb(-asset.sz_decimals)
        return {
            "user": user, "coin": asset.coin, "leverage": {"type": "cross", "value": leverage},
            "maxTradeSzs": [wire((r * leverage / mark) // lot * lot) for r in room],
            "availableToTrade": [wire(near(r, USD6)) for r in room], "markPx": wire(mark),
        }

    # Orders.

    def open_orders(self, user: str) -> list[dict[str, Any]]:
        account = self._account(user)
        orders = account.orders.values() if account else ()
        return [_plain(order, order.sz) for order in orders]

    def frontend_orders(self, user: str) -> list[dict[str, Any]]:
        account = self._account(user)
        orders = account.orders.values() if account else ()
        return [_frontend(order, order.sz) for order in orders]

    def _order_status(self, user: str, oid: object) -> dict[str, Any]:
        account = self._account(user)
        if account is None:
            return {"status": "unknownOid"}
        record = None
        if isinstance(oid, int):
            record = account.records.get(oid)
        elif isinstance(oid, str):
            # A cloid is not unique: the newest order that carries it answers.
            for candidate in reversed(account.records.values()):
                if candidate.order.cloid == oid.lower():
                    record = candidate
                    break
        if record is None:
            return {"status": "unknownOid"}
        return {
            "status": "order",
            "order": {
                "order": _frontend(record.order, record.sz), "status": record.status,
                "statusTimestamp": record.status_ms,
            },
        }

    def _historical(self, user: str) -> list[dict[str, Any]]:
        account = self._account(user)
        records = account.records.values() if account else ()
        return [
            {
                "order": _frontend(record.order, record.sz), "status": record.status,
                "statusTimestamp": record.status_ms,
            }
            for record in reversed(records)
        ]

    # History.

    def _fills(self, user: str) -> list[dict[str, Any]]:
        account = self._account(user)
        return list(account.fills)[::-1][:FILLS_PAGE] if account else []

    def _fills_by_time(self, user: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        account = self._account(user)
        rows = _within(account.fills if account else (), query, self.ex.now)
        if query.get("reversed") is True:
            rows.reverse()
        return rows[:FILLS_PAGE]

    def _fundings(self, user: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        account = self._account(user)
        rows = _within(account.fundings if account else (), query, self.ex.now)
        return [
            {
                "time": row["time"], "hash": row["hash"],
                "delta": {
                    "type": "funding", "coin": row["coin"], "usdc": row["usdc"],
                    "szi": row["szi"], "fundingRate": row["fundingRate"],
                    "nSamples": row["nSamples"],
                },
            }
            for row in rows[:ROWS_PAGE]
        ]

    def _transfers(self, user: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        account = self._account(user)
        return _within(account.transfers if account else (), query, self.ex.now)[:ROWS_PAGE]

    # Rights and limits.

    def _fees(self, user: str) -> dict[str, Any]:
        tier = self.ex.fee_tier
        account = self._account(user)
        days = account.daily_volume if account else {}
        base = TIERS[0]
        return {
            "dailyUserVlm": [
                {
                    "date": date, "userCross": wire(cross), "userAdd": wire(add),
                    "exchange": "5000000000.0",
                }
                for date, (cross, add) in sorted(days.items())[-15:]
            ],
            "feeSchedule": {
                "cross": wire(base.perp_cross), "add": wire(base.perp_add),
                "spotCross": wire(base.spot_cross), "spotAdd": wire(base.spot_add),
                "tiers": {
                    "vip": [
                        {
                            "ntlCutoff": wire(t.cutoff), "cross": wire(t.perp_cross),
                            "add": wire(t.perp_add), "spotCross": wire(t.spot_cross),
                            "spotAdd": wire(t.spot_add),
                        }
                        for t in TIERS[1:]
                    ],
                    "mm": [
                        {"makerFractionCutoff": "0.005", "add": "-0.00001"},
                        {"makerFractionCutoff": "0.015", "add": "-0.00002"},
                        {"makerFractionCutoff": "0.03", "add": "-0.00003"},
                    ],
                },
                "referralDiscount": "0.04",
                "stakingDiscountTiers": [{"bpsOfMaxSupply": "0.0", "discount": "0.0"}],
            },
            "userCrossRate": wire(tier.perp_cross), "userAddRate": wire(tier.perp_add),
            "userSpotCrossRate": wire(tier.spot_cross), "userSpotAddRate": wire(tier.spot_add),
            "activeReferralDiscount": "0.0", "trial": None, "feeTrialEscrow": "0.0",
            "nextTrialAvailableTimestamp": None, "stakingLink": None,
            "activeStakingDiscount": {"bpsOfMaxSupply": "0.0", "discount": "0.0"},
        }

    def _rate_limit(self, user: str) -> dict[str, Any]:
        account = self._account(user)
        volume = account.volume if account else ZERO
        return {
            "cumVlm": wire(volume), "nRequestsUsed": account.requests_used if account else 0,
            "nRequestsCap": REQUESTS_FREE + int(volume), "nRequestsSurplus": 0,
        }

    def _role(self, user: str) -> dict[str, Any]:
        if user in self.ex.accounts:
            return {"role": "user"}
        agent = self.ex.agents.get(user)
        if agent is not None:
            return {"role": "agent", "data": {"user": agent.master}}
        return {"role": "missing"}

    def _agents(self, user: str) -> list[dict[str, Any]]:
        return [
            {"name": agent.name, "address": agent.address, "validUntil": agent.valid_until_ms}
            for agent in self.ex.agents.values()
            if agent.master == user and agent.name
        ]

    def _abstraction(self, user: str) -> str:
        account = self._account(user)
        if account is None:
            return "default"
        if account.unified:
            return "unifiedAccount"
        return "disabled" if account.explicit_mode else "default"

    def _portfolio(self, user: str) -> list[Any]:
        account = self._account(user)
        value = self.ex.equity(account) if account else ZERO
        spans = ("day", "week", "month", "allTime", "perpDay", "perpWeek", "perpMonth")
        return [
            [
                span,
                {
                    "accountValueHistory": [[self.ex.now, wire(near(value, USD6))]],
                    "pnlHistory": [[self.ex.now, "0.0"]], "vlm": "0.0",
                },
            ]
            for span in (*spans, "perpAllTime")
        ]

    def _referral(self) -> dict[str, Any]:
        return {
            "referredBy": None, "cumVlm": "0.0", "unclaimedRewards": "0.0",
            "claimedRewards": "0.0", "builderRewards": "0.0",
            "referrerState": {"stage": "needToTrade", "data": {"required": "10000.0"}},
            "rewardHistory": [],
        }


def _plain(order: Order, sz: int) -> dict[str, Any]:
    asset = order.asset
    row: dict[str, Any] = {
        "coin": asset.coin, "side": "B" if order.is_buy else "A",
        "limitPx": wire_int(order.px, asset.px_decimals), "sz": wire_int(sz, asset.sz_decimals),
        "oid": order.oid, "timestamp": order.time_ms,
        "origSz": wire_int(order.orig_sz, asset.sz_decimals),
    }
    if order.cloid is not None:
        row["cloid"] = order.cloid
    if order.reduce_only:
        row["reduceOnly"] = True
    return row


def _frontend(order: Order, sz: int) -> dict[str, Any]:
    return {
        **_plain(order, sz), "triggerCondition": "N/A", "isTrigger": False, "triggerPx": "0.0",
        "children": [], "isPositionTpsl": False, "reduceOnly": order.reduce_only,
        "orderType": "Limit", "tif": order.tif, "cloid": order.cloid,
    }


def _within(rows: Any, query: dict[str, Any], now: int) -> list[dict[str, Any]]:
    """Rows of [startTime, endTime], ascending; startTime is required and inclusive."""
    start, end = int(query["startTime"]), int(query.get("endTime") or now)
    return [row for row in rows if start <= row["time"] <= end]


