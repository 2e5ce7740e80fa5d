"""Orders against books: matching by price and time, and what follows a fill. No venue's rules."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .accounts import Account, Order
from .assets import Asset
from .books import Book, Resting
from .noise import mix
from .settle import Booked, book_perp, book_spot
from .text import ZERO, units, wire

if TYPE_CHECKING:
    from .model import Exchange

NOT_BY_USER = (
    "marginCanceled", "reduceOnlyCanceled", "selfTradeCanceled", "liquidatedCanceled",
    "scheduledCancel", "delistedCanceled", "siblingFilledCanceled", "openInterestCapCanceled",
)
HOUSE = "0x" + "f" * 40
"""The address the public tape shows for the market maker and for strangers."""

_TID_BITS = (1 << 50) - 1


class Engine:
    """Matches and settles for every account of one exchange; a venue's own rules come on top."""

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange

    # What a venue decides.

    def fee_rate(self, account: Account, asset: Asset, *, crossed: bool) -> Decimal:
        """The fraction of a fill's value that is charged."""
        raise NotImplementedError

    def _surcharge(self, account: Account, order: Order, booked: Booked, value: Decimal) -> Decimal:
        """What a fill costs besides its fee, already taken and in `booked.fee`."""
        return ZERO

    def _of_twap(
        self, account: Account, row: dict[str, Any], twap_id: int, value: Decimal
    ) -> None:
        """A slice of a TWAP traded."""

    def _done(self, account: Account, order: Order) -> None:
        """Nothing is left to fill."""
        self.note(account, order, "filled")

    def cancel(self, account: Account, order: Order, status: str) -> None:
        """Takes a resting order out and says why."""
        account.orders.pop(order.oid, None)
        self.ex.books[order.asset.asset_id].drop(order)
        self.note(account, order, status)
        if status in NOT_BY_USER:
            self.ex.streams.non_user_cancel(order)

    # A taker.

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
        self._done(maker, order)

    def _fill(
        self, account: Account, order: Order, px: int, sz: int, *, crossed: bool, maker_oid: int,
        liquidation: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Books one fill of one side, with its consequences; the row the user reads."""
        ex, asset = self.ex, order.asset
        order.sz -= sz
        px_d, sz_d = units(px, asset.px_decimals), units(sz, asset.sz_decimals)
        rate = ZERO
        if liquidation is None:
            rate = self.fee_rate(account, asset, crossed=crossed)
        book = book_spot if asset.is_spot else book_perp
        booked = book(account, asset, is_buy=order.is_buy, px=px_d, sz=sz_d, rate=rate)
        ex.house.collect(booked.fee_token, booked.fee)
        value = px_d * sz_d
        builder_fee = self._surcharge(account, order, booked, value)
        account.volume += value
        ex.add_daily(account, value, crossed=crossed, is_spot=asset.is_spot)
        buyer, seller = (order.oid, maker_oid) if order.is_buy else (maker_oid, order.oid)
        row = self._row(order, px_d, sz_d, booked, crossed, mix(mix(buyer) ^ seller) & _TID_BITS)
        if builder_fee:
            row["builderFee"] = wire(builder_fee)
        if order.twap_id is not None:
            self._of_twap(account, row, order.twap_id, value)
        if liquidation is not None:
            row["dir"] = liquidation.pop("dir", row["dir"])
            if liquidation:
                row["liquidation"] = liquidation
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

    def note(self, account: Account, order: Order, status: str) -> None:
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

