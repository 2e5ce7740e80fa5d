"""Whether an order may trade: its form, then every rule that is checked before it meets a book.

Error texts are the venue's; ` asset=N` is appended to per-order errors, as live replies do.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from .accounts import Account, Order, Trigger
from .assets import USDC_TOKEN, Asset
from .books import Book
from .margin import spot_available
from .text import read_decimal, wire

if TYPE_CHECKING:
    from .model import Exchange

MIN_NOTIONAL = Decimal(10)
OPEN_ORDERS_FREE = 1_000
OPEN_ORDERS_MAX = 5_000
VOLUME_AN_ORDER = 5_000_000
"""USDC traded that allow one more open order above the free ones."""

TRIGGER_SLIPPAGE = Decimal("0.1")
IOC_MAX_USD = ((25, 30_000_000), (20, 5_000_000), (10, 2_000_000), (0, 500_000))
"""(maximum leverage of the asset at least, largest IOC in USD); other orders: ten times that."""

TIFS = ("Alo", "Ioc", "Gtc", "FrontendMarket")


class Refusal(Exception):
    """One order is refused: the venue's text, and the status its record gets (None: no record)."""

    def __init__(self, text: str, status: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


class Collapse(Exception):
    """Pre-validation failed: the whole batch answers with this one error."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Ask(NamedTuple):
    """An order as asked for, in book units."""

    asset: Asset
    is_buy: bool
    px: int
    sz: int
    reduce_only: bool
    tif: str
    cloid: str | None
    trigger: Trigger | None = None


def largest_ioc(asset: Asset) -> int:
    """The largest market order of a perp, in USD, by its maximum leverage."""
    return next(usd for leverage, usd in IOC_MAX_USD if asset.max_leverage >= leverage)


class Admission:
    """Reads orders and refuses what may not trade. `Matching` does what is left."""

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange
        self._band = Decimal(exchange.switches["price_band"]) / 100
        self._best_minimum = exchange.switches["ioc_minimum"] == "best"

    def read(self, wire_order: dict[str, Any], grouping: object = "na") -> Ask:
        """Checks an order's form. Raises Refusal, or Collapse for what the venue pre-validates."""
        asset = self.ex.assets.get(wire_order["a"])
        if asset is None:
            raise Collapse(f"Invalid asset asset={wire_order['a']}")
        px, sz = read_decimal(wire_order["p"]), read_decimal(wire_order["s"])
        if px is None or px <= 0:
            raise Refusal("Order has invalid price.")
        if sz is None or sz < 0:
            raise Refusal("Order has invalid size.")
        kind = wire_order["t"]
        limit, wire_trigger = kind.get("limit"), kind.get("trigger")
        if not sz and (wire_trigger is None or grouping != "positionTpsl"):
            raise Refusal("Order has zero size.")
        is_buy, reduce_only = wire_order["b"] is True, wire_order["r"] is True
        tif, trigger = "Gtc", None
        if wire_trigger is not None:
            trigger = self._read_trigger(asset, wire_trigger, is_buy, whole=not sz)
        elif limit["tif"] in TIFS:
            tif = "Ioc" if limit["tif"] == "FrontendMarket" else limit["tif"]
            self._check_band(asset, px)
        else:
            raise Refusal("Order has invalid time in force.")
        px_units = asset.px_units(px)
        if px_units is None:
            raise Refusal("Price must be divisible by tick size.", "tickRejected")
        sz_units = asset.sz_units(sz)
        if sz_units is None:
            raise Refusal("Order has invalid size.")
        if reduce_only and asset.is_spot:
            raise Refusal("Reduce-only is invalid for spot trading.")
        return Ask(
            asset, is_buy, px_units, sz_units, reduce_only, tif, wire_order.get("c"), trigger
        )

    def _read_trigger(
        self, asset: Asset, wire_trigger: dict[str, Any], is_buy: bool, *, whole: bool
    ) -> Trigger:
        px, tpsl = read_decimal(wire_trigger["triggerPx"]), wire_trigger["tpsl"]
        if tpsl not in ("tp", "sl"):
            raise ValueError(tpsl)
        units_ = None if px is None or px <= 0 else asset.px_units(px)
        if units_ is None:
            raise Refusal("Invalid TP/SL price.", "badTriggerPxRejected")
        above = (tpsl == "tp") != is_buy
        return Trigger(
            units_, tpsl, is_market=wire_trigger["isMarket"] is True, above=above, whole=whole
        )

    def _check_band(self, asset: Asset, px: Decimal) -> None:
        reference = self.ex.reference(asset)
        if abs(px - reference) <= reference * self._band:
            return
        if self.ex.switches["price_band_text"] == "oracle":
            raise Collapse(f"Price too far from oracle asset={asset.asset_id}")
        raise Collapse(
            f"Order price cannot be more than {self.ex.switches['price_band']}% away from the "
            f"reference price asset={asset.asset_id}"
        )

    def check_open(self, asset: Asset) -> None:
        """Raises Refusal for what nobody trades here (any more)."""
        if asset.base not in self.ex.coins or asset.asset_id in self.ex.delisted:
            raise Refusal("Trading is halted for this asset.")

    def _check_count(self, account: Account, *, reducing: bool) -> None:
        have = len(account.orders) + len(account.triggers)
        if have < OPEN_ORDERS_FREE:
            return
        allowed = min(OPEN_ORDERS_FREE + int(account.volume) // VOLUME_AN_ORDER, OPEN_ORDERS_MAX)
        if reducing or have >= allowed:
            raise Refusal("Too many open orders.", "tooManyOpenOrdersRejected")

    def admit(self, account: Account, order: Order) -> None:
        """Every rule that is checked before an order may touch the book."""
        ex, asset = self.ex, order.asset
        self.check_open(asset)
        if order.tif != "Alo" and ex.now < ex.post_only_until_ms:
            raise Refusal("Only post-only orders allowed immediately after a network upgrade")
        szi = account.szi(asset.asset_id)
        closes = not asset.is_spot and bool(szi) and (szi < 0) == order.is_buy
        held = int(abs(szi).scaleb(asset.sz_decimals))
        sz = order.sz
        if order.reduce_only and not closes:
            raise Refusal("Reduce only order would increase position.", "reduceOnlyRejected")
        self._check_count(account, reducing=order.reduce_only)
        if order.reduce_only:
            order.sz = min(order.sz, held)
        whole_close = closes and (sz == held or (order.reduce_only and sz > held))
        book = ex.books[asset.asset_id]
        if not whole_close and self._value(book, order) < MIN_NOTIONAL:
            text = "10 USDC" if asset.is_spot else "$10"
            raise Refusal(
                f"Order must have minimum value of {text}.", "minTradeNtlRejected"
            )
        if order.tif == "Alo":
            self._admit_post_only(book, order)
        if asset.is_spot:
            check_balance(self.ex, account, order, book)
        elif not order.reduce_only:
            self._admit_perp(account, order, book, closing=closes and sz <= held)

    def _value(self, book: Book, order: Order) -> Decimal:
        """What the $10 are counted on."""
        px = order.px
        if self._best_minimum and order.tif == "Ioc":
            best = book.best(bids=not order.is_buy, now=self.ex.now)
            px = px if best is None else best.px
        return book.px(px) * book.sz(order.sz)

    def _admit_post_only(self, book: Book, order: Order) -> None:
        now = self.ex.now
        best = book.best(bids=not order.is_buy, now=now)
        if best is None or (best.px > order.px if order.is_buy else best.px < order.px):
            return
        bid, ask = book.best(bids=True, now=now), book.best(bids=False, now=now)
        shown = "@".join(wire(book.px(level.px)) if level else "none" for level in (bid, ask))
        raise Refusal(
            f"Post only order would have immediately matched, bbo was {shown}.",
            "badAloPxRejected",
        )

    def _admit_perp(
        self, account: Account, order: Order, book: Book, *, closing: bool
    ) -> None:
        check_margin(self.ex, account, order)
        if closing:
            return
        asset = order.asset
        largest = largest_ioc(asset) * (1 if order.tif == "Ioc" else 10)
        if book.px(order.px) * book.sz(order.sz) > largest:
            raise Refusal(f"Order value above the maximum of ${largest}.")
        if asset.coin in self.ex.oi_capped:
            self._admit_at_cap(account, order)
        end = abs(account.szi(asset.asset_id) + book.sz(order.sz if order.is_buy else -order.sz))
        notional = end * self.ex.mark(asset)
        if len(asset.tiers) > 1 and notional >= asset.tiers[1].lower_bound:
            tier = [t for t in asset.tiers if notional >= t.lower_bound][-1]
            if account.leverage_of(asset) > tier.max_leverage:
                raise Refusal(
                    "Order would cause position to exceed margin tier limit at current leverage",
                    "perpMaxPositionRejected",
                )

    def _admit_at_cap(self, account: Account, order: Order) -> None:
        """Open interest stands at its cap: nothing may add to it."""
        asset = order.asset
        flips = bool(account.szi(asset.asset_id)) and (
            account.szi(asset.asset_id) < 0
        ) == order.is_buy
        oracle = self.ex.quotes.oracle(asset, self.ex.now)
        aggressive = order.px > oracle if order.is_buy else order.px < oracle
        if aggressive and order.tif != "Ioc":
            raise Refusal(
                "Order price more aggressive than oracle while at open interest cap",
                "tooAggressiveAtOpenInterestCapRejected",
            )
        raise Refusal(
            "Order would increase open interest while open interest is capped",
            "positionFlipAtOpenInterestCapRejected" if flips
            else "positionIncreaseAtOpenInterestCapRejected",
        )


def check_balance(ex: "Exchange", account: Account, order: Order, book: Book) -> None:
    """Whether the spot wallet has what an order gives. Raises Refusal."""
    sz, px = book.sz(order.sz), book.px(order.px)
    summary = ex.summary(account)
    if order.is_buy:
        enough = spot_available(account, USDC_TOKEN, summary) >= sz * px
    else:
        enough = spot_available(account, order.asset.token, summary) >= sz
    if not enough:
        raise Refusal("Insufficient spot balance", "insufficientSpotBalanceRejected")


def check_margin(ex: "Exchange", account: Account, order: Order) -> None:
    """Whether the account carries an order that adds to its exposure. Raises Refusal."""
    before = ex.summary(account)
    account.orders[order.oid] = order
    after = ex.summary(account)
    del account.orders[order.oid]
    if after.total_im > before.total_im and after.total_im > after.value:
        raise Refusal("Insufficient margin to place order.", "perpMarginRejected")
