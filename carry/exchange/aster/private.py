"""The account and its orders at the local Aster: what needs a signature."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from ..accounts import Account
from ..margin import liquidation_px, spot_hold
from ..text import ZERO, read_decimal, units
from .errors import Fault, missing, no_such_order
from .orders import AsterOrder, Params
from .public import plain
from .symbols import USDT, USDT_TOKEN, Symbol

if TYPE_CHECKING:
    from .model import Aster

Handler = Callable[[Account, Params, bool], Any]

_DONE = "The operation of cancel all open order is done."
_LEVERAGE_MAX = 125
_BATCH_MAX = 5
_WEEK_MS = 7 * 86_400_000


class Private:
    """Handlers by (method, name): (account, parameters, whether of the spot host) -> JSON value."""

    def __init__(self, exchange: "Aster") -> None:
        self.ex = exchange
        self.both: dict[tuple[str, str], tuple[Handler, int]] = {
            ("POST", "order"): (self.place, 1),
            ("GET", "order"): (self.query, 1),
            ("DELETE", "order"): (self.cancel, 1),
            ("GET", "openOrder"): (self.open_order, 1),
            ("GET", "openOrders"): (self.open_orders, 1),
            ("GET", "allOrders"): (self.all_orders, 5),
            ("DELETE", "allOpenOrders"): (self.cancel_all, 1),
            ("GET", "userTrades"): (self.user_trades, 5),
            ("GET", "commissionRate"): (self.commission, 20),
            ("GET", "account"): (self.account, 5),
            ("POST", "asset/wallet/transfer"): (self.transfer, 5),
            ("POST", "noop"): (self.noop, 1),
        }
        self.perp: dict[tuple[str, str], tuple[Handler, int]] = {
            ("POST", "order/test"): (self.test_order, 1),
            ("POST", "batchOrders"): (self.place_many, 5),
            ("DELETE", "batchOrders"): (self.cancel_many, 1),
            ("GET", "balance"): (self.balance, 5),
            ("GET", "accountWithJoinMargin"): (self.account, 5),
            ("GET", "positionRisk"): (self.risk, 5),
            ("POST", "leverage"): (self.set_leverage, 1),
            ("POST", "marginType"): (self.set_margin_type, 1),
            ("GET", "positionSide/dual"): (self.dual, 30),
            ("POST", "positionSide/dual"): (self.set_dual, 1),
            ("GET", "multiAssetsMargin"): (self.multi_assets, 30),
            ("GET", "leverageBracket"): (self.brackets, 1),
            ("GET", "income"): (self.income, 30),
            ("GET", "agent"): (self.agents, 1),
            ("GET", "builder"): (self.builders, 1),
        }

    # --- orders ---------------------------------------------------------------------------------

    def place(self, account: Account, params: Params, spot: bool) -> Any:
        ask = self.ex.orders.asked(account, params, spot=spot)
        order = self.ex.orders.enter(account, ask)
        result = not spot and params.get("newOrderRespType") == "RESULT"
        return self._row(order) if result else self._acknowledged(order)

    def test_order(self, account: Account, params: Params, spot: bool) -> Any:
        self.ex.orders.asked(account, params, spot=spot)
        return {}

    def query(self, account: Account, params: Params, spot: bool) -> Any:
        return self._row(self.ex.orders.query(account, params, spot=spot), timed=True)

    def open_order(self, account: Account, params: Params, spot: bool) -> Any:
        order = self.ex.orders.query(account, params, spot=spot)
        if order.status != "open":
            raise no_such_order()
        return self._row(order, timed=True)

    def cancel(self, account: Account, params: Params, spot: bool) -> Any:
        return self._row(self.ex.orders.withdraw(account, params, spot=spot))

    def open_orders(self, account: Account, params: Params, spot: bool) -> Any:
        symbol = self.ex.orders.symbol_of(params, spot=spot) if params.get("symbol") else None
        orders = self.ex.orders.resting(account, symbol, spot=spot)
        return [self._row(order, timed=True) for order in orders]

    def all_orders(self, account: Account, params: Params, spot: bool) -> Any:
        symbol = self.ex.orders.symbol_of(params, spot=spot)
        found = [
            record.order for record in account.records.values()
            if isinstance(record.order, AsterOrder) and record.order.asset is symbol
            and self.ex.orders.visible(record.order)
        ]
        limit = _limit(params, 500)
        return [self._row(order, timed=True) for order in found[-limit:]]

    def cancel_all(self, account: Account, params: Params, spot: bool) -> Any:
        symbol = self.ex.orders.symbol_of(params, spot=spot)
        for order in self.ex.orders.resting(account, symbol, spot=spot):
            self.ex.orders.cancel(account, order, "canceled")
        return {"code": 200 if spot else "200", "msg": _DONE}

    def place_many(self, account: Account, params: Params, spot: bool) -> Any:
        rows = _listing(params, "batchOrders")
        if not 0 < len(rows) <= _BATCH_MAX:
            raise missing("batchOrders")
        return [self._one(self.place, account, row, spot) for row in rows]

    def cancel_many(self, account: Account, params: Params, spot: bool) -> Any:
        name = "orderIdList" if params.get("orderIdList") else "origClientOrderIdList"
        key = "orderId" if name == "orderIdList" else "origClientOrderId"
        symbol = params.get("symbol", "")
        rows = [{"symbol": symbol, key: str(each)} for each in _listing(params, name)]
        return [self._one(self.cancel, account, row, spot) for row in rows]

    def _one(self, handler: Handler, account: Account, row: Any, spot: bool) -> Any:
        """One order of a batch: its error is its own."""
        try:
            return handler(account, {k: _text(v) for k, v in dict(row).items()}, spot)
        except Fault as fault:
            return fault.body()

    def noop(self, account: Account, params: Params, spot: bool) -> Any:
        """Its nonce is used by having been admitted."""
        return {"code": 200, "msg": "success"}

    def _acknowledged(self, order: AsterOrder) -> dict[str, Any]:
        """Before it was matched: NEW, nothing executed, whatever came of it since."""
        row = self._row(order)
        zero = plain(ZERO, order.asset.sz_decimals)
        return {
            **row, "status": "NEW", "executedQty": zero, "cumQty": zero, "cumQuote": "0",
            "avgPrice": "0.00000",
        }

    def _row(self, order: AsterOrder, *, timed: bool = False) -> dict[str, Any]:
        symbol = order.asset
        assert isinstance(symbol, Symbol)
        executed = units(order.executed, symbol.sz_decimals)
        average = order.quote / executed if executed else ZERO
        kind = "MARKET" if order.is_market else "LIMIT"
        px = ZERO if order.is_market else units(order.px, symbol.px_decimals)
        row: dict[str, Any] = {
            "orderId": order.oid, "symbol": symbol.symbol, "status": order.word,
            "clientOrderId": order.cloid, "price": plain(px, symbol.px_decimals),
            "avgPrice": plain(average, 6),
            "origQty": plain(units(order.orig_sz, symbol.sz_decimals), symbol.sz_decimals),
            "executedQty": plain(executed, symbol.sz_decimals),
            "cumQty": plain(executed, symbol.sz_decimals), "cumQuote": plain(order.quote, 8),
            "timeInForce": order.tif_word, "type": kind, "side": "BUY" if order.is_buy else "SELL",
            "stopPrice": "0", "origType": kind, "updateTime": order.updated_ms,
        }
        if symbol.is_spot:
            row["orderListId"] = -1
        else:
            row |= {
                "reduceOnly": order.reduce_only, "closePosition": False, "positionSide": "BOTH",
                "workingType": "CONTRACT_PRICE", "priceProtect": False,
            }
        if timed:
            row["time"] = order.created_ms
        return row

    # --- money ----------------------------------------------------------------------------------

    def account(self, account: Account, params: Params, spot: bool) -> Any:
        if spot:
            return self._spot_account(account)
        summary = self.ex.summary(account)
        usdt = self._perp_wallet(account)
        positions = [
            {
                "symbol": s.symbol, "positionSide": "BOTH", "leverage": str(account.leverage_of(s)),
                "positionAmt": plain(account.szi(s.asset_id), s.sz_decimals),
                "entryPrice": plain(self._entry(account, s), 8),
                "unrealizedProfit": plain(self._pnl(account, s), 8), "isolated": False,
                "initialMargin": plain(
                    abs(account.szi(s.asset_id)) * self.ex.mark(s) / account.leverage_of(s), 8
                ),
                "maintMargin": "0", "updateTime": self.ex.now,
            }
            for s in self.ex.symbols[False].values()
        ]
        return {
            "feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True,
            "updateTime": 0, "totalInitialMargin": plain(summary.total_im, 8),
            "totalMaintMargin": plain(summary.maintenance, 8),
            "totalWalletBalance": plain(account.perp_cash, 8),
            "totalUnrealizedProfit": plain(summary.pnl, 8),
            "totalMarginBalance": plain(summary.value, 8),
            "totalPositionInitialMargin": plain(summary.positions_im, 8),
            "totalOpenOrderInitialMargin": plain(summary.total_im - summary.positions_im, 8),
            "totalCrossWalletBalance": plain(account.perp_cash, 8),
            "totalCrossUnPnl": plain(summary.pnl, 8),
            "availableBalance": usdt["availableBalance"],
            "maxWithdrawAmount": usdt["maxWithdrawAmount"],
            "assets": [{**usdt, "walletBalance": usdt["balance"]}], "positions": positions,
        }

    def _spot_account(self, account: Account) -> dict[str, Any]:
        rows: list[dict[str, str]] = []
        for token, balance in sorted(account.spot.items()):
            hold = spot_hold(account, token)
            if balance.total or token == USDT_TOKEN:
                rows.append({
                    "asset": self.ex.token_names[token],
                    "free": plain(balance.total - hold, 8), "locked": plain(hold, 8),
                })
        return {
            "feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True,
            "canBurnAsset": False, "updateTime": self.ex.now * 1_000_000, "balances": rows,
        }

    def _perp_wallet(self, account: Account) -> dict[str, Any]:
        summary = self.ex.summary(account)
        available = max(ZERO, summary.value - summary.total_im)
        return {
            "accountAlias": "FzXqXsRq", "asset": USDT, "balance": plain(account.perp_cash, 8),
            "crossWalletBalance": plain(account.perp_cash, 8),
            "crossUnPnl": plain(summary.pnl, 8), "availableBalance": plain(available, 8),
            "maxWithdrawAmount": plain(summary.withdrawable, 8), "marginAvailable": True,
            "updateTime": self.ex.now,
        }

    def balance(self, account: Account, params: Params, spot: bool) -> Any:
        empty = {
            **self._perp_wallet(account), "balance": "0.00000000", "crossWalletBalance":
            "0.00000000", "crossUnPnl": "0.00000000", "availableBalance": "0.00000000",
            "maxWithdrawAmount": "0.00000000", "updateTime": 0,
        }
        # Every asset is listed, held or not.
        others = [{**empty, "asset": name} for name in ("BNB", "USDF", "ASTER")]
        return [self._perp_wallet(account), *others]

    def transfer(self, account: Account, params: Params, spot: bool) -> Any:
        amount = read_decimal(params.get("amount", ""))
        if params.get("asset") != USDT or amount is None or amount <= 0:
            raise missing("asset" if params.get("asset") != USDT else "amount")
        kind = params.get("kindType", "")
        if kind not in ("SPOT_FUTURE", "FUTURE_SPOT"):
            raise missing("kindType")
        name = params.get("clientTranId", "")
        if not 0 < len(name) < 64:
            raise Fault(-4114, "clientTranId is not valid.")
        if (account.address, name) in self.ex.transfers:
            raise Fault(-4115, "clientTranId is duplicated.")
        to_spot = kind == "FUTURE_SPOT"
        if not self.ex.move(account, amount, to_spot=to_spot):
            raise Fault(-2019 if to_spot else -2018, "Balance is insufficient.")
        number = self.ex.transfers[(account.address, name)] = 20_000 + len(self.ex.transfers)
        return {"tranId": number, "status": "SUCCESS"}

    def commission(self, account: Account, params: Params, spot: bool) -> Any:
        symbol = self.ex.orders.symbol_of(params, spot=spot)
        fees = self.ex.fee_tier
        return {
            "symbol": symbol.symbol,
            "makerCommissionRate": plain(fees.rate(is_spot=spot, crossed=False), 6),
            "takerCommissionRate": plain(fees.rate(is_spot=spot, crossed=True), 6),
        }

    def user_trades(self, account: Account, params: Params, spot: bool) -> Any:
        """Fills of one symbol, ascending. `commission` > 0 is what was paid."""
        symbol = self.ex.orders.symbol_of(params, spot=spot)
        begin, end = _window(params, self.ex.now)
        rows: list[dict[str, Any]] = []
        for fill in account.fills:
            if fill["coin"] != symbol.coin or not begin <= fill["time"] <= end:
                continue
            if params.get("orderId") not in (None, "", str(fill["oid"])):
                continue
            if self.ex.now < fill.get("hidden_until_ms", 0):
                continue
            px, sz = Decimal(fill["px"]), Decimal(fill["sz"])
            buyer = fill["side"] == "B"
            row: dict[str, Any] = {
                "symbol": symbol.symbol, "id": fill["tid"], "orderId": fill["oid"],
                "side": "BUY" if buyer else "SELL", "price": plain(px, symbol.px_decimals),
                "qty": plain(sz, symbol.sz_decimals), "quoteQty": plain(px * sz, 8),
                "commission": plain(Decimal(fill["fee"]), 8), "commissionAsset": fill["feeToken"],
                "time": fill["time"], "maker": not fill["crossed"], "buyer": buyer,
            }
            if not spot:
                row |= {"realizedPnl": plain(Decimal(fill["closedPnl"]), 8), "positionSide": "BOTH"}
            rows.append(row)
        limit = _limit(params, 500)
        return rows[:limit] if "startTime" in params else rows[-limit:]

    def income(self, account: Account, params: Params, spot: bool) -> Any:
        begin, end = _window(params, self.ex.now)
        rows = [
            row for row in self.ex.income.get(account.address, [])
            if begin <= row["time"] <= end
            and params.get("incomeType") in (None, "", row["incomeType"])
            and params.get("symbol") in (None, "", row["symbol"])
        ]
        return rows[: _limit(params, 100)]

    # --- positions and settings -----------------------------------------------------------------

    def _entry(self, account: Account, symbol: Symbol) -> Decimal:
        position = account.position(symbol.asset_id)
        return position.cost / position.szi if position is not None else ZERO

    def _pnl(self, account: Account, symbol: Symbol) -> Decimal:
        position = account.position(symbol.asset_id)
        return position.szi * self.ex.mark(symbol) - position.cost if position else ZERO

    def risk(self, account: Account, params: Params, spot: bool) -> Any:
        """Flat symbols are listed too, with a mark price of 0 as the venue gives them."""
        names = [params["symbol"]] if params.get("symbol") else list(self.ex.symbols[False])
        rows: list[dict[str, Any]] = []
        for name in names:
            s = self.ex.orders.symbol_of({"symbol": name}, spot=False)
            szi, mark = account.szi(s.asset_id), self.ex.mark(s)
            liquidation = None
            if szi:
                liquidation = liquidation_px(account, s, mark, self.ex.summary(account))
            isolated = (account.address, name) in self.ex.isolated
            rows.append({
                "symbol": name, "positionAmt": plain(szi, s.sz_decimals),
                "entryPrice": plain(self._entry(account, s), 8), "markPrice": plain(mark, 8),
                "unRealizedProfit": plain(self._pnl(account, s), 8),
                "liquidationPrice": plain(liquidation, 8) if liquidation else "0",
                "leverage": str(account.leverage_of(s)), "maxNotionalValue": "2000000",
                "marginType": "isolated" if isolated else "cross",
                "isolatedMargin": "0.00000000", "isAutoAddMargin": "false", "positionSide": "BOTH",
                "notional": plain(szi * mark, 8), "isolatedWallet": "0",
                "updateTime": self.ex.now if szi else 0,
            })
        return rows

    def set_leverage(self, account: Account, params: Params, spot: bool) -> Any:
        symbol = self.ex.orders.symbol_of(params, spot=False)
        text = params.get("leverage", "")
        if not text.isdigit():
            raise missing("leverage")
        leverage = int(text)
        if not 1 <= leverage <= min(symbol.max_leverage, _LEVERAGE_MAX):
            raise Fault(-4028, f"Leverage {leverage} is not valid")
        account.leverage[symbol.asset_id] = leverage
        return {"leverage": leverage, "maxNotionalValue": "2000000", "symbol": symbol.symbol}

    def set_margin_type(self, account: Account, params: Params, spot: bool) -> Any:
        """It is kept and shown; margin itself is always reckoned as cross here."""
        symbol = self.ex.orders.symbol_of(params, spot=False)
        kind, key = params.get("marginType", ""), (account.address, symbol.symbol)
        if kind not in ("ISOLATED", "CROSSED"):
            raise missing("marginType")
        if (kind == "ISOLATED") == (key in self.ex.isolated):
            raise Fault(-4046, "No need to change margin type.")
        if kind == "ISOLATED":
            self.ex.isolated[key] = None
        else:
            del self.ex.isolated[key]
        return {"code": 200, "msg": "success"}

    def dual(self, account: Account, params: Params, spot: bool) -> Any:
        return {"dualSidePosition": account.address in self.ex.hedging}

    def set_dual(self, account: Account, params: Params, spot: bool) -> Any:
        wanted = params.get("dualSidePosition", "") == "true"
        if wanted == (account.address in self.ex.hedging):
            raise Fault(-4059, "No need to change position side.")
        if account.orders:
            raise Fault(-4067, "Position side cannot be changed if there exists open orders.")
        if any(position.szi for position in account.positions.values()):
            raise Fault(-4068, "Position side cannot be changed if there exists position.")
        if wanted:
            self.ex.hedging[account.address] = None
        else:
            del self.ex.hedging[account.address]
        return {"code": 200, "msg": "success"}

    def multi_assets(self, account: Account, params: Params, spot: bool) -> Any:
        return {"multiAssetsMargin": False}

    def brackets(self, account: Account, params: Params, spot: bool) -> Any:
        def row(s: Symbol) -> dict[str, Any]:
            caps = [int(tier.lower_bound) for tier in s.tiers[1:]] + [10**9]
            return {"symbol": s.symbol, "brackets": [
                {
                    "bracket": number, "initialLeverage": tier.max_leverage, "notionalCap": cap,
                    "notionalFloor": int(tier.lower_bound), "maintMarginRatio": float(tier.rate),
                    "cum": float(tier.deduction),
                }
                for number, (tier, cap) in enumerate(zip(s.tiers, caps, strict=True), start=1)
            ]}

        if params.get("symbol"):
            return row(self.ex.orders.symbol_of(params, spot=False))
        return [row(s) for s in self.ex.symbols[False].values()]

    def agents(self, account: Account, params: Params, spot: bool) -> Any:
        return [
            {
                "agentAddress": address, "agentName": grant.name, "ipWhitelist": "",
                "expired": grant.expires_ms, "source": "web", "canRead": True,
                "canSpotTrade": grant.can_spot, "canPerpTrade": grant.can_perp,
                "canWithdraw": False,
            }
            for address, grant in self.ex.doorman.agents.items() if grant.user == account.address
        ]

    def builders(self, account: Account, params: Params, spot: bool) -> Any:
        return []


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listing(params: Mapping[str, str], name: str) -> list[Any]:
    text = params.get(name, "")
    try:
        found = msgspec.json.decode(text.replace("'", '"'))
    except (msgspec.DecodeError, UnicodeError):
        raise missing(name) from None
    if not isinstance(found, list):
        raise missing(name)
    return found


def _limit(params: Params, default: int) -> int:
    text = params.get("limit", "")
    return min(int(text), 1_000) if text.isdigit() and int(text) > 0 else default


def _window(params: Params, now: int) -> tuple[int, int]:
    """startTime and endTime, at most a week apart; a week back when they are left out."""
    end = int(params["endTime"]) if params.get("endTime", "").isdigit() else now
    begin = int(params["startTime"]) if params.get("startTime", "").isdigit() else end - _WEEK_MS
    if "startTime" in params and "endTime" not in params:
        end = min(begin + _WEEK_MS, now)
    if end - begin > _WEEK_MS:
        raise Fault(-4165, "Invalid time interval, maximum time interval is 7 days")
    return begin, end
