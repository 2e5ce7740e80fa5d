"""Orders against books: admission, matching by price and time, and what follows a fill.

Error texts are the venue's; ` asset=N` is appended to per-order errors, as live replies do.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from .accounts import Account, Order
from .assets import USDC_TOKEN, Asset
from .books import Book, Resting
from .margin import spot_available
from .noise import mix
from .settle import Booked, book_perp, book_spot
from .text import ZERO, cut, read_decimal, units, wire

if TYPE_CHECKING:
    from .model import Exchange

MIN_NOTIONAL = Decimal(10)
REFERENCE_BAND = Decimal("0.8")
OPEN_ORDERS_MAX = 1_000
TIFS = ("Alo", "Ioc", "Gtc", "FrontendMarket")
HOUSE = "0x" + "f" * 40
"""The address the public tape shows for the market maker and for strangers."""

_TID_BITS = (1 << 50) - 1


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


class Matching:
    """Places, matches and cancels for every account of one exchange."""

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange

    def read(self, wire_order: dict[str, Any]) -> Ask:
        """Checks an order's form. Raises Refusal, or Collapse for what the venue pre-validates."""
        asset = self.ex.assets.get(wire_order["a"])
        if asset is None:
            raise Collapse(f"Invalid asset asset={wire_order['a']}")
        px, sz = read_decimal(wire_order["p"]), read_decimal(wire_order["s"])
        if px is None or px <= 0:
            raise Refusal("Order has invalid price.")
        if sz is None or sz < 0:
            raise Refusal("Order has invalid size.")
        if not sz:
            raise Refusal("Order has zero size.")
        limit = wire_order["t"].get("limit")
        if limit is None:
            raise Refusal("Invalid TP/SL price.", "badTriggerPxRejected")
        if limit["tif"] not in TIFS:
            raise Refusal("Order has invalid time in force.")
        reference = self.ex.reference(asset)
        if abs(px - reference) > reference * REFERENCE_BAND:
            raise Collapse(
                "Order price cannot be more than 80% away from the reference price "
                f"asset={asset.asset_id}"
            )
        px_units = asset.px_units(px)
        if px_units is None:
            raise Refusal("Price must be divisible by tick size.", "tickRejected")
        sz_units = asset.sz_units(sz)
        if sz_units is None:
            raise Refusal("Order has invalid size.")
        reduce_only = wire_order["r"] is True
        if reduce_only and asset.is_spot:
            raise Refusal("Reduce-only is invalid for spot trading.")
        tif = "Ioc" if limit["tif"] == "FrontendMarket" else limit["tif"]
        is_buy = wire_order["b"] is True
        return Ask(asset, is_buy, px_units, sz_units, reduce_only, tif, wire_order.get("c"))

    def place(self, account: Account, ask: Ask) -> dict[str, Any]:
        """Admits, matches and rests one order; the status item of the reply."""
        ex = self.ex
        order = Order(
            oid=ex.new_oid(), address=account.address, asset=ask.asset, is_buy=ask.is_buy,
            px=ask.px, sz=ask.sz, tif=ask.tif, reduce_only=ask.reduce_only, cloid=ask.cloid,
            time_ms=ex.now,
        )
        try:
            self._admit(account, order)
        except Refusal as refusal:
            if refusal.status is not None:
                self._note(account, order, refusal.status)
            raise
        filled, value = self._match(account, order)
        reply: dict[str, Any] = {}
        if order.sz and order.tif == "Ioc":
            if not filled:
                self._note(account, order, "iocCancelRejected")
                raise Refusal(
                    "Order could not immediately match against any resting orders."
                )
            self._note(account, order, "canceled")
        elif order.sz and order.status == "open":
            account.orders[order.oid] = order
            ex.books[ask.asset.asset_id].rest(order, ex.now)
            self._note(account, order, "open")
            self._fit_reduce_only(account, ask.asset)
            reply["resting"] = {"oid": order.oid}
        if not order.sz:
            self._note(account, order, "filled")
        if "resting" not in reply:
            total = units(filled, ask.asset.sz_decimals)
            step = Decimal(1).scaleb(-ask.asset.px_decimals)
            reply["filled"] = {
                "totalSz": wire(total), "avgPx": wire(cut(value / total, step)), "oid": order.oid
            }
        if order.cloid is not None:
            next(iter(reply.values()))["cloid"] = order.cloid
        return reply

    def cancel(self, account: Account, order: Order, status: str) -> None:
        """Takes a resting order out and says why."""
        account.orders.pop(order.oid, None)
        self.ex.books[order.asset.asset_id].drop(order)
        self._note(account, order, status)

    def _admit(self, account: Account, order: Order) -> None:
        """Every rule that is checked before an order may touch the book."""
        ex, asset = self.ex, order.asset
        if asset.base not in ex.coins:
            raise Refusal("Trading is halted for this asset.")
        if order.tif != "Alo" and ex.now < ex.post_only_until_ms:
            raise Refusal("Only post-only orders allowed immediately after a network upgrade")
        szi = account.szi(asset.asset_id)
        closes = not asset.is_spot and bool(szi) and (szi < 0) == order.is_buy
        held = int(abs(szi).scaleb(asset.sz_decimals))
        sz = order.sz
        if order.reduce_only:
            if not closes:
                raise Refusal(
                    "Reduce only order would increase position.", "reduceOnlyRejected"
                )
            if len(account.orders) >= OPEN_ORDERS_MAX:
                raise Refusal("Too many open orders.", "tooManyOpenOrdersRejected")
            order.sz = min(order.sz, held)
        whole_close = closes and (sz == held or (order.reduce_only and sz > held))
        book = ex.books[asset.asset_id]
        if book.px(order.px) * book.sz(order.sz) < MIN_NOTIONAL and not whole_close:
            text = "10 USDC" if asset.is_spot else "$10"
            raise Refusal(
                f"Order must have minimum value of {text}.", "minTradeNtlRejected"
            )
        if order.tif == "Alo":
            self._admit_post_only(book, order)
        if asset.is_spot:
            self._admit_spot(account, order, book)
        elif not order.reduce_only:
            self._admit_perp(account, order)

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

    def _admit_spot(self, account: Account, order: Order, book: Book) -> None:
        sz, px = book.sz(order.sz), book.px(order.px)
        summary = self.ex.summary(account)
        if order.is_buy:
            enough = spot_available(account, USDC_TOKEN, summary) >= sz * px
        else:
            enough = spot_available(account, order.asset.token, summary) >= sz
        if not enough:
            raise Refusal("Insufficient spot balance", "insufficientSpotBalanceRejected")

    def _admit_perp(self, account: Account, order: Order) -> None:
        before = self.ex.summary(account)
        account.orders[order.oid] = order
        after = self.ex.summary(account)
        del account.orders[order.oid]
        if after.total_im > before.total_im and after.total_im > after.value:
            raise Refusal("Insufficient margin to place order.", "perpMarginRejected")

    def _match(self, account: Account, order: Order) -> tuple[int, Decimal]:
        """Takes what crosses the limit; (filled size in units, value in USDC)."""
        ex = self.ex
        book = ex.books[order.asset.asset_id]
        filled, value = 0, ZERO
        for resting in book.queue(bids=not order.is_buy, now=ex.now):
            if not order.sz:
                break
            if resting.px > order.px if order.is_buy else resting.px < order.px:
                break
            if resting.order is not None and resting.order.status != "open":
                continue
            sz = min(resting.sz if resting.order is None else resting.order.sz, order.sz)
            if resting.order is None:
                row = self._fill(
                    account, order, resting.px, sz, crossed=True, maker_oid=ex.new_oid()
                )
                self._print(row, account.address, HOUSE)
                book.take(bids=not order.is_buy, sz=sz, now=ex.now)
                ex.house.trade(
                    order.asset, user_buys=order.is_buy, px=book.px(resting.px), sz=book.sz(sz)
                )
            elif not self._meet(account, order, resting, sz):
                continue
            filled += sz
            value += book.px(resting.px) * book.sz(sz)
        return filled, value

    def _meet(self, account: Account, order: Order, resting: Resting, sz: int) -> bool:
        """A taker meets another user's order; False if that order had to go instead."""
        maker_order = resting.order
        assert maker_order is not None
        maker = self.ex.accounts[maker_order.address]
        if maker is account:
            self.cancel(account, maker_order, "selfTradeCanceled")
            return False
        if not self._maker_can(maker, maker_order):
            self.cancel(maker, maker_order, "marginCanceled")
            return False
        row = self._fill(
            account, order, resting.px, sz, crossed=True, maker_oid=maker_order.oid
        )
        self._print(row, account.address, maker.address)
        self._fill(maker, maker_order, resting.px, sz, crossed=False, maker_oid=order.oid)
        self._after_maker_fill(maker, maker_order)
        return True

    def _maker_can(self, maker: Account, order: Order) -> bool:
        """Margin is checked again when a resting order is matched."""
        if order.asset.is_spot or order.reduce_only:
            return True
        szi = maker.szi(order.asset.asset_id)
        if szi and (szi < 0) == order.is_buy and order.sz <= int(
            abs(szi).scaleb(order.asset.sz_decimals)
        ):
            return True
        summary = self.ex.summary(maker)
        return summary.total_im <= summary.value

    def _after_maker_fill(self, maker: Account, order: Order) -> None:
        if order.sz:
            self.ex.streams.order_update(order, "open")
            return
        maker.orders.pop(order.oid, None)
        self.ex.books[order.asset.asset_id].drop(order)
        self._note(maker, order, "filled")

    def _fill(
        self, account: Account, order: Order, px: int, sz: int, *, crossed: bool, maker_oid: int,
        liquidation: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Books one fill of one side, with its consequences; the row the user reads."""
        ex, asset = self.ex, order.asset
        order.sz -= sz
        px_d, sz_d = units(px, asset.px_decimals), units(sz, asset.sz_decimals)
        rate = ex.fee_tier.rate(is_spot=asset.is_spot, crossed=crossed)
        if liquidation is not None:
            rate = ZERO
        book = book_spot if asset.is_spot else book_perp
        booked = book(account, asset, is_buy=order.is_buy, px=px_d, sz=sz_d, rate=rate)
        ex.house.collect(booked.fee_token, booked.fee)
        value = px_d * sz_d
        account.volume += value
        ex.add_daily(account, value, crossed=crossed)
        buyer, seller = (order.oid, maker_oid) if order.is_buy else (maker_oid, order.oid)
        row = self._row(order, px_d, sz_d, booked, crossed, mix(mix(buyer) ^ seller) & _TID_BITS)
        if liquidation is not None:
            row["liquidation"] = liquidation
            row["dir"] = liquidation.pop("dir", row["dir"])
        account.fills.append(row)
        ex.streams.fill(account.address, row)
        ex.changed = True
        if not asset.is_spot:
            self._fit_reduce_only(account, asset, taking=order)
        return row

    def _row(
        self, order: Order, px: Decimal, sz: Decimal, booked: Booked, crossed: bool, tid: int
    ) -> dict[str, Any]:
        row: dict[str, Any] = {
            "coin": order.asset.coin, "px": wire(px), "sz": wire(sz),
            "side": "B" if order.is_buy else "A", "time": self.ex.now,
            "startPosition": wire(booked.start), "dir": booked.direction,
            "closedPnl": wire(booked.closed_pnl), "hash": self.ex.block_hash(),
            "oid": order.oid, "crossed": crossed, "fee": wire(booked.fee), "tid": tid,
        }
        if order.cloid is not None:
            row["cloid"] = order.cloid
        row["feeToken"] = self.ex.token_names[booked.fee_token]
        row["twapId"] = None
        return row

    def _fit_reduce_only(
        self, account: Account, asset: Asset, taking: Order | None = None
    ) -> None:
        """Resting reduce-only orders never exceed the position: newest keep, oldest go first."""
        if not account.orders:
            return
        szi = account.szi(asset.asset_id)
        left = int(abs(szi).scaleb(asset.sz_decimals))
        mine = [o for o in account.orders.values() if o.reduce_only and o.asset is asset]
        for order in sorted(mine, key=lambda o: -o.oid):
            if order is taking or not order.sz:
                continue
            if not szi or (szi < 0) != order.is_buy or left <= 0:
                self.cancel(account, order, "reduceOnlyCanceled")
                continue
            if order.sz > left:
                order.sz = left
                self.ex.streams.order_update(order, "open")
            left -= order.sz

    def _note(self, account: Account, order: Order, status: str) -> None:
        """The order's status, in its record and on the stream."""
        account.remember(order, status, self.ex.now)
        self.ex.streams.order_update(order, status)
        self.ex.changed = True

    def _print(self, fill: dict[str, Any], taker: str, maker: str) -> None:
        """The public tape of a user's fill: `side` is the aggressor's, both sides see one tid."""
        side = fill["side"]
        if not fill["crossed"]:
            side = "A" if side == "B" else "B"
        users = [taker, maker] if side == "B" else [maker, taker]
        row = {
            "coin": fill["coin"], "side": side, "px": fill["px"], "sz": fill["sz"],
            "time": fill["time"], "hash": fill["hash"], "tid": fill["tid"], "users": users,
        }
        self.ex.streams.trade(self.ex.by_coin[fill["coin"]], row)

    # What the market does to resting orders.

    def on_step(self, book: Book) -> None:
        """The maker's quotes moved: fill users' orders they now cross, then this step's tape."""
        now = self.ex.now
        bid, ask = self.ex.quotes.touch(book.asset, now)
        for bids in (True, False):
            for order in list(book.orders[bids]):
                if order.px >= ask if bids else order.px <= bid:
                    self._crossed_by_maker(book, order)
        tape = self.ex.quotes.tape(book.asset, now)
        if tape is not None:
            self._hit_by_tape(book, tape.is_buy, tape.px, tape.sz)

    def _crossed_by_maker(self, book: Book, order: Order) -> None:
        """The maker came through this order's price: it fills, at its own price, up to his size."""
        now = self.ex.now
        for px, size in book.maker(bids=not order.is_buy, now=now):
            if not order.sz or (px > order.px if order.is_buy else px < order.px):
                return
            sz = min(size, order.sz)
            if not self._give(book, order, sz):
                return
            book.take(bids=not order.is_buy, sz=sz, now=now)

    def _hit_by_tape(self, book: Book, tape_is_buy: bool, px: int, sz: int) -> None:
        """A stranger trades `sz` at the touch: users better than it fill first, then its queue."""
        for order in list(book.orders[not tape_is_buy]):
            if not sz:
                return
            better = order.px < px if tape_is_buy else order.px > px
            if not better and order.px != px:
                return
            if order.ahead:
                eaten = min(order.ahead, sz)
                order.ahead -= eaten
                sz -= eaten
            give = min(sz, order.sz)
            if give and self._give(book, order, give):
                sz -= give

    def _give(self, book: Book, order: Order, sz: int) -> bool:
        """The house takes `sz` of a user's resting order; False if the order had to go instead."""
        account = self.ex.accounts[order.address]
        if not self._maker_can(account, order):
            self.cancel(account, order, "marginCanceled")
            return False
        row = self._fill(
            account, order, order.px, sz, crossed=False, maker_oid=self.ex.new_oid()
        )
        self.ex.house.trade(
            order.asset, user_buys=order.is_buy, px=book.px(order.px), sz=book.sz(sz)
        )
        self._print(row, HOUSE, account.address)
        self._after_maker_fill(account, order)
        return True

    # What the venue does to positions.

    def force(
        self, account: Account, asset: Asset, *, sz: int, px: int, row: dict[str, Any]
    ) -> None:
        """Closes `sz` of a position against the house at `px`: liquidation, backstop, ADL."""
        is_buy = account.szi(asset.asset_id) < 0
        order = Order(
            oid=self.ex.new_oid(), address=account.address, asset=asset, is_buy=is_buy, px=px,
            sz=sz, tif="Ioc", reduce_only=True, cloid=None, time_ms=self.ex.now,
        )
        self._fill(
            account, order, px, sz, crossed=True, maker_oid=self.ex.new_oid(), liquidation=row
        )
        self.ex.house.trade(
            asset, user_buys=is_buy, px=units(px, asset.px_decimals),
            sz=units(sz, asset.sz_decimals),
        )

    def liquidate_in_book(
        self, account: Account, asset: Asset, *, sz: int, row: dict[str, Any]
    ) -> int:
        """A market order of the venue in the user's name; returns what was filled."""
        book = self.ex.books[asset.asset_id]
        is_buy = account.szi(asset.asset_id) < 0
        left = sz
        for px, size in book.maker(bids=not is_buy, now=self.ex.now):
            if not left:
                break
            part = min(size, left)
            self.force(account, asset, sz=part, px=px, row=dict(row))
            book.take(bids=not is_buy, sz=part, now=self.ex.now)
            left -= part
        return sz - left

