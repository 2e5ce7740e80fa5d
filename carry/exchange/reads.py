"""`/info`: what the exchange answers to unsigned reads about a user.

An unknown address, an agent's included, reads as empty and successful, as on the venue.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from .accounts import PORTFOLIO, Account, Order, Trigger
from .assets import USDC_TOKEN, Asset
from .margin import Summary, liquidation_px, spot_hold
from .text import USD6, ZERO, near, wire, wire_int

if TYPE_CHECKING:
    from .model import Exchange

DAY_MS = 86_400_000
FILLS_PAGE = 2_000
ROWS_PAGE = 500


class Margin(NamedTuple):
    """A perp account as it is shown, USD. Of a unified one only `used` means what it says."""

    value: Decimal
    notional: Decimal
    raw: Decimal
    used: Decimal


class Reads:
    """Account reads; mixed into `Info` because one dispatch table serves both."""

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange

    def account_reads(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        return {
            "clearinghouseState": lambda q: self.clearinghouse_state(self.user(q)),
            "spotClearinghouseState": lambda q: self.spot_state(self.user(q)),
            "activeAssetData": lambda q: self.active_asset_data(
                self.user(q), self.ex.by_coin[q["coin"]]
            ),
            "openOrders": lambda q: self.open_orders(self.user(q)),
            "frontendOpenOrders": lambda q: self.frontend_orders(self.user(q)),
            "orderStatus": lambda q: self._order_status(self.user(q), q["oid"]),
            "historicalOrders": lambda q: self._historical(self.user(q)),
            "userFills": lambda q: self._fills(self.user(q), q),
            "userFillsByTime": lambda q: self._fills_by_time(self.user(q), q),
            "userFunding": lambda q: self._fundings(self.user(q), q),
            "userNonFundingLedgerUpdates": lambda q: self._transfers(self.user(q), q),
        }

    def user(self, query: dict[str, Any]) -> str:
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
        whole = self.margin(account, summary)
        margins = {
            "accountValue": wire(whole.value), "totalNtlPos": wire(whole.notional),
            "totalRawUsd": wire(whole.raw), "totalMarginUsed": wire(whole.used),
        }
        cross, withdrawable = margins, ZERO
        if account is None or not account.unified:
            withdrawable = summary.withdrawable
            if summary.alone_notional:
                cross = {
                    "accountValue": wire(summary.value), "totalNtlPos": wire(summary.notional),
                    "totalRawUsd": wire(summary.raw),
                    "totalMarginUsed": wire(near(summary.positions_im, USD6)),
                }
        return {
            "marginSummary": margins, "crossMarginSummary": dict(cross),
            "crossMaintenanceMarginUsed": wire(near(summary.maintenance, USD6)),
            "withdrawable": wire(withdrawable), "assetPositions": positions,
            "time": self.ex.now,
        }

    def margin(self, account: Account | None, summary: Summary) -> Margin:
        """The whole perp account, isolated positions included."""
        used = near(summary.positions_im + summary.alone_value, USD6)
        notional = summary.notional + summary.alone_notional
        if account is None or not account.unified:
            value, raw = summary.value + summary.alone_value, summary.raw + summary.alone_raw
            return Margin(value, notional, raw, used)
        value = near(summary.positions_im, USD6)
        mark, assets = self.ex.mark, self.ex.assets
        signed = sum((p.szi * mark(assets[i]) for i, p in account.positions.items()), ZERO)
        return Margin(value, notional, value - signed, used)

    def margin_used(self, account: Account, asset_id: int) -> Decimal:
        """Of one open position."""
        asset, position = self.ex.assets[asset_id], account.positions[asset_id]
        mark = self.ex.mark(asset)
        if asset_id in account.isolated:
            return near(position.posted + position.szi * mark - position.cost, USD6)
        return near(abs(position.szi) * mark / account.leverage_of(asset), USD6)

    def _position(self, account: Account, asset_id: int, summary: Summary) -> dict[str, Any]:
        asset = self.ex.assets[asset_id]
        position = account.positions[asset_id]
        mark = self.ex.mark(asset)
        szi = position.szi
        notional = abs(szi) * mark
        pnl = szi * mark - position.cost
        leverage = account.leverage_of(asset)
        entry = near(position.cost / szi, Decimal(1).scaleb(-asset.px_decimals))
        without = ZERO
        if account.unified and self.ex.switches["unified_liquidation_px"] == "perps_only":
            without = max(ZERO, summary.cash - summary.positions_im)
        liquidation = liquidation_px(account, asset, mark, summary, without=without)
        shown: dict[str, Any] = {"type": "cross", "value": leverage}
        if asset_id in account.isolated:
            raw = position.posted - position.cost
            shown = {"type": "isolated", "value": leverage, "rawUsd": wire(raw)}
        sign = 1 if self.ex.switches["funding_sign"] == "paid" else -1
        initial = abs(position.cost) / leverage
        return {
            "coin": asset.coin, "szi": wire(szi),
            "leverage": shown, "entryPx": wire(entry),
            "positionValue": wire(notional), "unrealizedPnl": wire(pnl),
            "returnOnEquity": wire(near(pnl / initial, Decimal("0.0000000001"))),
            "liquidationPx": None if liquidation is None else wire(
                near(liquidation, Decimal("0.00000001"))
            ),
            "marginUsed": wire(self.margin_used(account, asset_id)),
            "maxLeverage": asset.max_leverage,
            "cumFunding": {
                "allTime": wire(sign * position.funding_all),
                "sinceOpen": wire(sign * position.funding_open),
                "sinceChange": wire(sign * position.funding_change),
            },
        }

    def spot_state(self, user: str) -> dict[str, Any]:
        """Balances. Unified: `hold` of USDC includes the margin of perps; `total` is cash without
        unrealised PnL unless the exchange was built to include it."""
        account = self._account(user)
        if account is None:
            return {"balances": []}
        summary = self.ex.summary(account)
        rows = [
            {
                "coin": self.ex.token_names[token], "token": token, "total": wire(total),
                "hold": wire(hold), "entryNtl": wire(account.spot[token].entry_ntl),
            }
            for token, total, hold in self.balances(account, summary)
        ]
        state: dict[str, Any] = {"balances": rows}
        if account.unified:
            after = max(ZERO, summary.value - summary.collateral - summary.maintenance)
            state["tokenToAvailableAfterMaintenance"] = [[USDC_TOKEN, wire(near(after, USD6))]]
        if account.mode == PORTFOLIO:
            self._add_portfolio(state, account, summary)
        return state

    def balances(
        self, account: Account, summary: Summary
    ) -> list[tuple[int, Decimal, Decimal]]:
        """(token, total, hold) of every spot token that is held, and of USDC."""
        rows: list[tuple[int, Decimal, Decimal]] = []
        for token, balance in sorted(account.spot.items()):
            if token != USDC_TOKEN and not balance.total:
                continue
            total, hold = balance.total, spot_hold(account, token)
            if token == USDC_TOKEN and account.unified:
                hold += near(summary.total_im, USD6)
                if self.ex.switches["unified_total"] == "with_pnl":
                    total += summary.pnl
            rows.append((token, total, hold))
        return rows

    def _add_portfolio(
        self, state: dict[str, Any], account: Account, summary: Summary
    ) -> None:
        """What portfolio margin adds to the balances: loans, what they stand on, the ratio."""
        ltv = self.ex.loan_to_value()
        for row in state["balances"]:
            total = account.spot[row["token"]].total
            row["ltv"] = wire(ltv.get(row["coin"], ZERO))
            row["borrowed"] = wire(max(ZERO, -total))
            row["supplied"] = "0.0"
        owed = max(ZERO, -account.spot[USDC_TOKEN].total) + summary.maintenance
        worth = max(summary.collateral, USD6)
        state["portfolioMarginEnabled"] = True
        state["portfolioMarginRatio"] = wire(near(owed / worth, USD6))

    def active_asset_data(self, user: str, asset: Asset) -> dict[str, Any]:
        """The leverage setting, also when flat. Arrays are [long, short]."""
        if asset.is_spot:
            raise ValueError(asset.coin)
        account = self._account(user) or Account(user, "split")
        summary = self.ex.summary(account)
        mark = self.ex.mark(asset)
        if not mark:
            raise ValueError(asset.coin)
        leverage = account.leverage_of(asset)
        setting: dict[str, Any] = {"type": "cross", "value": leverage}
        if asset.asset_id in account.isolated:
            setting["type"] = "isolated"
        free = max(ZERO, summary.value - summary.total_im)
        szi = account.szi(asset.asset_id)
        # Turning a position around frees its margin twice: once to close, once to open again.
        turn = 2 * abs(szi) * mark / leverage
        room = [free + (turn if szi < 0 else ZERO), free + (turn if szi > 0 else ZERO)]
        lot = Decimal(1).scaleb(-asset.sz_decimals)
        return {
            "user": user, "coin": asset.coin, "leverage": setting,
            "maxTradeSzs": [wire((r * leverage / mark) // lot * lot) for r in room],
            "availableToTrade": [wire(near(r, USD6)) for r in room], "markPx": wire(mark),
        }

    # Orders.

    def open_orders(self, user: str) -> list[dict[str, Any]]:
        """Resting and sleeping orders; a sleeping one looks like a plain limit order here."""
        return [_plain(order, order.sz) for order in self._open(user)]

    def frontend_orders(self, user: str) -> list[dict[str, Any]]:
        """As above with what a trigger waits for; exits of an entry are inside it."""
        account = self._account(user)
        rows: list[dict[str, Any]] = []
        for order in self._open(user):
            row = _frontend(order, order.sz)
            if account is not None and order.oid in account.children:
                children = account.children[order.oid]
                row["children"] = [_frontend(child, child.sz) for child in children]
            rows.append(row)
        return rows

    def _open(self, user: str) -> list[Order]:
        account = self._account(user)
        if account is None:
            return []
        orders = list(account.orders.values())
        if account.triggers:
            orders += account.triggers.values()
            orders.sort(key=lambda order: order.oid)
        lag = int(self.ex.switches["replica_lag_ms"])
        if lag:
            orders = [order for order in orders if order.time_ms <= self.ex.now - lag]
        return orders

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
        lag = int(self.ex.switches["replica_lag_ms"])
        if record is None or (lag and record.order.time_ms > self.ex.now - lag):
            return {"status": "unknownOid"}
        return {
            "status": "order",
            "order": {
                "order": _frontend(record.order, record.sz), "status": record.status,
                "statusTimestamp": record.status_ms,
            },
        }

    def _historical(self, user: str) -> list[dict[str, Any]]:
        return self.historical(self._account(user))

    def historical(self, account: Account | None) -> list[dict[str, Any]]:
        """Newest first, as many as the venue keeps."""
        records = account.records.values() if account else ()
        return [
            {
                "order": _frontend(record.order, record.sz), "status": record.status,
                "statusTimestamp": record.status_ms,
            }
            for record in reversed(records)
        ]

    # History.

    def _fills(self, user: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        """Newest first."""
        account = self._account(user)
        rows = list(account.fills)[::-1] if account else []
        if query.get("aggregateByTime") is True:
            rows = aggregated(rows[::-1])[::-1]
        return rows[:FILLS_PAGE]

    def _fills_by_time(self, user: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        account = self._account(user)
        rows = within(account.fills if account else (), query, self.ex.now)
        if query.get("aggregateByTime") is True:
            rows = aggregated(rows)
        if query.get("reversed") is True:
            rows.reverse()
        return rows[:FILLS_PAGE]

    def _fundings(self, user: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        account = self._account(user)
        rows = within(account.fundings if account else (), query, self.ex.now)
        if self.ex.switches["funding_rows"] == "daily":
            rows = _by_day(rows, self.ex.now)
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
        """As on the venue's own page, a missing startTime means from the beginning."""
        account = self._account(user)
        query = {"startTime": 0, **query}
        return within(account.transfers if account else (), query, self.ex.now)[:ROWS_PAGE]


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
    row = {
        **_plain(order, sz), "triggerCondition": "N/A", "isTrigger": False, "triggerPx": "0.0",
        "children": [], "isPositionTpsl": False, "reduceOnly": order.reduce_only,
        "orderType": "Limit", "tif": order.tif, "cloid": order.cloid,
    }
    if order.trigger is not None:
        _add_trigger(row, order, order.trigger)
    elif order.twap_id is not None:
        row["orderType"] = "Twap Slice"
    return row


def _add_trigger(row: dict[str, Any], order: Order, trigger: Trigger) -> None:
    px = wire_int(trigger.px, order.asset.px_decimals)
    kind = "Take Profit" if trigger.tpsl == "tp" else "Stop"
    row["triggerCondition"] = f"Price {'above' if trigger.above else 'below'} {px}"
    row["isTrigger"], row["triggerPx"] = True, px
    row["isPositionTpsl"] = trigger.whole
    row["orderType"] = f"{kind} {'Market' if trigger.is_market else 'Limit'}"
    row["tif"] = None


def aggregated(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fills of one order in one block as one: sizes, fees and PnL added, the price their mean."""
    merged: dict[tuple[int, int, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["time"], row["oid"], row["dir"])
        have = merged.get(key)
        if have is None:
            merged[key] = dict(row)
            continue
        sz, more = Decimal(have["sz"]), Decimal(row["sz"])
        value = Decimal(have["px"]) * sz + Decimal(row["px"]) * more
        have["px"] = wire(near(value / (sz + more), Decimal("0.00000001")))
        have["sz"] = wire(sz + more)
        for name in ("fee", "closedPnl", "builderFee"):
            if name in row:
                have[name] = wire(Decimal(have[name]) + Decimal(row[name]))
    return list(merged.values())


def _by_day(rows: list[dict[str, Any]], now: int) -> list[dict[str, Any]]:
    """Days that are over as one row a coin, with the number of payments in it."""
    today = now // DAY_MS
    days: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in rows:
        days.setdefault((row["time"] // DAY_MS, row["coin"]), []).append(row)
    merged: list[dict[str, Any]] = []
    for (day, _), members in days.items():
        if day >= today:
            merged += members
            continue
        usdc = sum((Decimal(row["usdc"]) for row in members), ZERO)
        merged.append({**members[-1], "usdc": wire(usdc), "nSamples": len(members)})
    return sorted(merged, key=lambda row: row["time"])


def within(rows: Any, query: dict[str, Any], now: int) -> list[dict[str, Any]]:
    """Rows of [startTime, endTime], ascending; startTime is required and inclusive."""
    start, end = int(query["startTime"]), int(query.get("endTime") or now)
    return [row for row in rows if start <= row["time"] <= end]


