"""Orders at the local Aster: filters in the venue's order, matching of the exchange underneath.

Checks run as: parameters, symbol, precision, tick and step, range, notional, price band, balance or
margin (inferred order; each code is the venue's). A placement is acknowledged before it is matched,
so its reply shows NEW and nothing executed unless RESULT was asked for on futures.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from ..accounts import Account, Order
from ..admission import Refusal, check_balance, check_margin
from ..assets import Asset
from ..books import Book
from ..engine import Engine
from ..text import ZERO, read_decimal, units
from .errors import Fault, missing, no_such_order, unknown_order
from .symbols import MIN_NOTIONAL, ORDER_TYPES, ORDERS_MAX, TIFS, Symbol

if TYPE_CHECKING:
    from .model import Aster

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")

Params = Mapping[str, str]


class AsterOrder(Order):
    """An order with what Aster tells of it. `executed` in units of the symbol, `quote` in USDT.

    hidden_until_ms: queries and lists do not know it before (a record that lags).
    """

    __slots__ = (
        "created_ms", "executed", "hidden_until_ms", "is_market", "quote", "tif_word", "updated_ms",
    )

    def __init__(self, *, tif_word: str, is_market: bool, **order: Any) -> None:
        super().__init__(**order)
        self.tif_word = tif_word
        self.is_market = is_market
        self.executed = 0
        self.quote = ZERO
        self.created_ms: int = self.time_ms
        self.updated_ms: int = self.time_ms
        self.hidden_until_ms = 0

    @property
    def word(self) -> str:
        """The venue's status."""
        if self.status == "open":
            return "PARTIALLY_FILLED" if self.executed else "NEW"
        if self.status == "filled":
            return "FILLED"
        return "EXPIRED" if self.status == "expired" else "CANCELED"


class Ask(NamedTuple):
    """An order as asked for, in book units."""

    symbol: Symbol
    is_buy: bool
    px: int
    sz: int
    reduce_only: bool
    tif: str
    client_id: str
    is_market: bool


class Orders(Engine):
    """Places, matches, finds and cancels, with the books of the exchange underneath.

    gtx_error: a post-only order that would match is refused (-5022); else it is taken and expires.
    """

    # Aster is no `Exchange`, but has all that the engine and the checks of money ask of one.
    ex: "Aster"  # type: ignore[assignment]

    def __init__(self, exchange: "Aster") -> None:
        # As said of `ex`.
        super().__init__(exchange)  # type: ignore[arg-type]
        self.gtx_error = True

    # --- what was asked -------------------------------------------------------------------------

    def asked(self, account: Account, params: Params, *, spot: bool) -> Ask:
        """An order's parameters, checked up to the price band. Raises `Fault`."""
        symbol = self.symbol_of(params, spot=spot)
        side = params.get("side", "")
        if side not in ("BUY", "SELL"):
            raise Fault(-1117, "Invalid side.") if side else missing("side")
        kind = params.get("type", "")
        if kind not in ORDER_TYPES:
            raise Fault(-1116, "Invalid orderType.") if kind else missing("type")
        is_market = kind == "MARKET"
        tif = params.get("timeInForce", "GTC" if is_market else "")
        if tif not in TIFS:
            raise Fault(-1115, "Invalid timeInForce.") if tif else missing("timeInForce")
        client_id = params.get("newClientOrderId") or self.ex.new_client_id()
        if not _CLIENT_ID.fullmatch(client_id):
            raise Fault(-4015, "Client order id is not valid.")
        if not spot:
            self._check_position_side(account, params)
        reduce_only = not spot and params.get("reduceOnly", "false") == "true"
        is_buy = side == "BUY"
        px = self._market_px(symbol, is_buy) if is_market else self._limit_px(symbol, params)
        sz = self._size(symbol, params, px)
        self._check_notional(symbol, px, sz, reduce_only=reduce_only, is_market=is_market)
        if not is_market:
            self._check_band(symbol, px, is_buy=is_buy)
        return Ask(
            symbol, is_buy, int(px.scaleb(symbol.px_decimals)), int(sz.scaleb(symbol.sz_decimals)),
            reduce_only, "IOC" if is_market else tif, client_id, is_market,
        )

    def symbol_of(self, params: Params, *, spot: bool) -> Symbol:
        name = params.get("symbol", "")
        if not name:
            raise missing("symbol")
        found = self.ex.symbols[spot].get(name)
        if found is None:
            raise Fault(-1121, "Invalid symbol.")
        return found

    def _check_position_side(self, account: Account, params: Params) -> None:
        side = params.get("positionSide", "BOTH")
        if (account.address in self.ex.hedging) != (side in ("LONG", "SHORT")):
            raise Fault(-4061, "Order's position side does not match user's setting.")
        if side != "BOTH":
            raise Fault(-4088, "User can not place order currently.")  # hedge mode is not simulated

    def _limit_px(self, symbol: Symbol, params: Params) -> Decimal:
        px = _number(params, "price")
        if -int(px.normalize().as_tuple().exponent) > symbol.grid.px_precision:
            raise Fault(-1111, "Precision is over the maximum defined for this asset.")
        low, high = Decimal(symbol.grid.min_px), Decimal(symbol.grid.max_px)
        if px < low:
            raise Fault(-4013, f"Price less than min price {low}.")
        if px > high:
            raise Fault(-4001, f"Price greater than max price {high}.")
        if (px - low) % Decimal(symbol.grid.tick):
            raise Fault(-4014, "Price not increased by tick size.")
        return px

    def _market_px(self, symbol: Symbol, is_buy: bool) -> Decimal:
        """The worst price that a market order may meet."""
        reference = self.ex.reference_px(symbol)
        one = Decimal(1)
        worst = reference * (one + symbol.take_bound if is_buy else one - symbol.take_bound)
        tick = Decimal(symbol.grid.tick)
        return max(worst // tick * tick, tick)

    def _size(self, symbol: Symbol, params: Params, px: Decimal) -> Decimal:
        step = Decimal(symbol.grid.step)
        if symbol.is_spot and "quoteOrderQty" in params and "quantity" not in params:
            sz = _number(params, "quoteOrderQty") / px // step * step
        else:
            sz = _number(params, "quantity")
        if -int(sz.normalize().as_tuple().exponent) > symbol.sz_decimals:
            raise Fault(-1111, "Precision is over the maximum defined for this asset.")
        if sz % step:
            raise Fault(-4023, "Quantity not increased by step size.")
        if sz < step:
            raise Fault(-4003, "Quantity less than or equal to zero.")
        if sz > Decimal(symbol.grid.max_qty):
            raise Fault(-4005, "Quantity greater than max quantity.")
        return sz

    def _check_notional(
        self, symbol: Symbol, px: Decimal, sz: Decimal, *, reduce_only: bool, is_market: bool
    ) -> None:
        value = sz * (self.ex.reference_px(symbol) if is_market else px)
        if value >= Decimal(MIN_NOTIONAL) or reduce_only:
            return
        if symbol.is_spot:
            raise Fault(-5076, "Total order value should be more than 5 USDT")
        raise Fault(
            -4164, "Order's notional must be no smaller than 5.0 (unless you choose reduce only)"
        )

    def _check_band(self, symbol: Symbol, px: Decimal, *, is_buy: bool) -> None:
        reference = self.ex.reference_px(symbol)
        high, low = reference * Decimal(symbol.grid.up), reference * Decimal(symbol.grid.down)
        if symbol.is_spot:
            if not low <= px <= high:
                raise Fault(
                    -5060, "The limit order price does not meet the PERCENT_PRICE filter limit."
                )
        elif is_buy and px > high:
            raise Fault(-4016, f"Limit price can't be higher than {high}.")
        elif not is_buy and px < low:
            raise Fault(-4024, f"Limit price can't be lower than {low}.")

    # --- placing --------------------------------------------------------------------------------

    def enter(self, account: Account, ask: Ask) -> AsterOrder:
        """Admits, matches and rests one order. Raises `Fault` when it is refused."""
        ex = self.ex
        if len(account.orders) >= ORDERS_MAX:
            raise Fault(-2025, "Reach max open order limit.")
        same = [o for o in account.orders.values() if o.cloid == ask.client_id]
        if same:
            raise Fault(-4116, "ClientOrderId is duplicated.")
        order = AsterOrder(
            oid=ex.new_oid(), address=account.address, asset=ask.symbol, is_buy=ask.is_buy,
            px=ask.px, sz=ask.sz, tif=ask.tif, reduce_only=ask.reduce_only, cloid=ask.client_id,
            time_ms=ex.now, tif_word="GTC" if ask.is_market else ask.tif, is_market=ask.is_market,
        )
        self._allow(account, order)
        crosses = self._crosses(ex.books[ask.symbol.asset_id], order)
        if ask.tif == "GTX" and crosses:
            if self.gtx_error:
                raise Fault(
                    -5022, "Due to the order could not be executed as maker, the Post Only order "
                    "will be rejected."
                )
            self.note(account, order, "expired")
            return order
        if ask.tif == "FOK" and not self._fills_whole(order):
            self.note(account, order, "expired")
            return order
        self._match(account, order)
        if not order.sz:
            self.note(account, order, "filled")
        elif ask.tif in ("IOC", "FOK"):
            self.note(account, order, "expired")
        elif order.status == "open":
            account.orders[order.oid] = order
            ex.books[ask.symbol.asset_id].rest(order, ex.now)
            self.note(account, order, "open")
            self._fit_reduce_only(account, ask.symbol)
        return order

    def _allow(self, account: Account, order: AsterOrder) -> None:
        """Balance of the spot wallet, or margin of the futures one."""
        book = self.ex.books[order.asset.asset_id]
        if order.reduce_only:
            szi = account.szi(order.asset.asset_id)
            if not szi or (szi < 0) != order.is_buy:
                raise Fault(-2022, "ReduceOnly Order is rejected.")
            order.sz = order.orig_sz = min(
                order.sz, int(abs(szi).scaleb(order.asset.sz_decimals))
            )
            return
        try:
            if order.asset.is_spot:
                # As said of `ex`.
                check_balance(self.ex, account, order, book)  # type: ignore[arg-type]
            else:
                # As said of `ex`.
                check_margin(self.ex, account, order)  # type: ignore[arg-type]
        except Refusal:
            spot = order.asset.is_spot
            raise Fault(
                -2018 if spot else -2019,
                "Balance is insufficient." if spot else "Margin is insufficient.",
            ) from None

    def _crosses(self, book: Book, order: Order) -> bool:
        best = book.best(bids=not order.is_buy, now=self.ex.now)
        if best is None:
            return False
        return best.px <= order.px if order.is_buy else best.px >= order.px

    def _fills_whole(self, order: Order) -> bool:
        book = self.ex.books[order.asset.asset_id]
        left = order.sz
        for resting in book.queue(bids=not order.is_buy, now=self.ex.now):
            if resting.px > order.px if order.is_buy else resting.px < order.px:
                break
            left -= resting.sz
        return left <= 0

    def _fill(self, account: Account, order: Order, px: int, sz: int, **more: Any) -> Any:
        row = super()._fill(account, order, px, sz, **more)
        if isinstance(order, AsterOrder):
            order.executed += sz
            asset = order.asset
            order.quote += units(px, asset.px_decimals) * units(sz, asset.sz_decimals)
            order.updated_ms = self.ex.now
            row["hidden_until_ms"] = order.hidden_until_ms
        self.ex.booked(account, row)
        return row

    def note(self, account: Account, order: Order, status: str) -> None:
        if isinstance(order, AsterOrder):
            order.updated_ms = self.ex.now
        super().note(account, order, status)

    def fee_rate(self, account: Account, asset: Asset, *, crossed: bool) -> Decimal:
        return self.ex.fee_tier.rate(is_spot=asset.is_spot, crossed=crossed)

    # --- finding and cancelling -----------------------------------------------------------------

    def find(self, account: Account, params: Params, symbol: Symbol) -> AsterOrder | None:
        """By orderId or origClientOrderId: the newest that is not hidden by a lagging record."""
        oid, client_id = params.get("orderId", ""), params.get("origClientOrderId", "")
        if not oid and not client_id:
            raise missing("orderId")
        for record in reversed(account.records.values()):
            order = record.order
            if not isinstance(order, AsterOrder) or order.asset is not symbol:
                continue
            if oid and str(order.oid) != oid:
                continue
            if (oid or order.cloid == client_id) and self.visible(order):
                return order
        return None

    def visible(self, order: AsterOrder) -> bool:
        return self.ex.now >= order.hidden_until_ms

    def query(self, account: Account, params: Params, *, spot: bool) -> AsterOrder:
        order = self.find(account, params, self.symbol_of(params, spot=spot))
        if order is None:
            raise no_such_order()
        return order

    def withdraw(self, account: Account, params: Params, *, spot: bool) -> AsterOrder:
        """Cancels one resting order. Raises `Fault` when there is none such."""
        order = self.find(account, params, self.symbol_of(params, spot=spot))
        if order is None or order.status != "open":
            raise unknown_order()
        self.cancel(account, order, "canceled")
        return order

    def resting(self, account: Account, symbol: Symbol | None, *, spot: bool) -> list[AsterOrder]:
        """Open orders of one host, oldest first."""
        return [
            order for order in account.orders.values()
            if isinstance(order, AsterOrder) and order.asset.is_spot is spot
            and (symbol is None or order.asset is symbol) and self.visible(order)
        ]


def _number(params: Params, name: str) -> Decimal:
    text = params.get(name, "")
    value = read_decimal(text)
    if value is None or value <= 0:
        raise missing(name)
    return value
