"""Orders as Hyperliquid takes them: what a reply says, triggers, TWAPs, builders, dust."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .accounts import Account, Balance, Order
from .admission import Ask, Refusal
from .assets import USDC_TOKEN, Asset
from .engine import Engine
from .settle import Booked
from .text import USD6, USD8, ZERO, cut, units, wire

if TYPE_CHECKING:
    from .model import Exchange


class Matching(Engine):
    """Places and cancels for every account of one exchange."""

    def __init__(self, exchange: "Exchange") -> None:
        super().__init__(exchange)
        self._filled_original = exchange.switches["filled_record_sz"] == "original"
        self._spot_pnl_net = exchange.switches["spot_closed_pnl"] == "net"

    def make(self, account: Account, ask: Ask, builder: tuple[str, int] | None) -> Order:
        """The order that was asked for, with its oid, not yet anywhere."""
        order = Order(
            oid=self.ex.new_oid(), address=account.address, asset=ask.asset, is_buy=ask.is_buy,
            px=ask.px, sz=ask.sz, tif=ask.tif, reduce_only=ask.reduce_only, cloid=ask.cloid,
            time_ms=self.ex.now,
        )
        order.trigger, order.builder = ask.trigger, builder
        return order

    def place(
        self, account: Account, ask: Ask, builder: tuple[str, int] | None = None
    ) -> dict[str, Any] | str:
        """Puts one order where it belongs; the status item of the reply. Raises Refusal."""
        order = self.make(account, ask, builder)
        if ask.trigger is not None:
            return self.ex.triggers.place(account, order, ask.trigger)
        return self.enter(account, order)

    def enter(self, account: Account, order: Order) -> dict[str, Any]:
        """Admits, matches and rests one order. Raises Refusal."""
        ex, asset = self.ex, order.asset
        try:
            self.ex.admission.admit(account, order)
        except Refusal as refusal:
            if refusal.status is not None:
                self.note(account, order, refusal.status)
            raise
        filled, value = self._match(account, order)
        reply: dict[str, Any] = {}
        if order.sz and order.tif == "Ioc":
            if not filled:
                self._refuse_unmatched(account, order)
            self.note(account, order, "canceled")
        elif order.sz and order.status in ("open", "triggered"):
            order.status = "open"
            account.orders[order.oid] = order
            ex.books[asset.asset_id].rest(order, ex.now)
            self.note(account, order, "open")
            self._fit_reduce_only(account, asset)
            if not filled or ex.switches["gtc_partial_reply"] == "resting":
                reply["resting"] = {"oid": order.oid}
        if not order.sz:
            self._done(account, order)
        if "resting" not in reply:
            total = units(filled, asset.sz_decimals)
            step = Decimal(1).scaleb(-asset.px_decimals)
            reply["filled"] = {
                "totalSz": wire(total), "avgPx": wire(cut(value / total, step)), "oid": order.oid
            }
        if order.cloid is not None:
            next(iter(reply.values()))["cloid"] = order.cloid
        return reply

    def _refuse_unmatched(self, account: Account, order: Order) -> None:
        if order.trigger is not None:
            text, status = "No liquidity available for market order.", (
                "marketOrderNoLiquidityRejected"
            )
        else:
            text = "Order could not immediately match against any resting orders."
            status = "iocCancelRejected"
        self.note(account, order, status)
        raise Refusal(text, status)

    def cancel(self, account: Account, order: Order, status: str) -> None:
        """Takes a resting or sleeping order out and says why."""
        if order.trigger is not None:
            self.ex.triggers.forget(account, order)
        if account.children:
            self.ex.triggers.parent_gone(account, order)
        super().cancel(account, order, status)

    def _done(self, account: Account, order: Order) -> None:
        super()._done(account, order)
        if self._filled_original:
            account.records[order.oid].sz = order.orig_sz
        if account.children:
            self.ex.triggers.parent_filled(account, order)

    # What a fill costs and changes here.

    def fee_rate(self, account: Account, asset: Asset, *, crossed: bool) -> Decimal:
        return self.ex.fees.rate(account, is_spot=asset.is_spot, crossed=crossed)

    def _surcharge(self, account: Account, order: Order, booked: Booked, value: Decimal) -> Decimal:
        """The builder's part; not charged on spot buys."""
        spot, fee = order.asset.is_spot, ZERO
        if order.builder is not None and not (spot and order.is_buy):
            fee = self._pay_builder(account, order, value)
            booked.fee += fee
        if self._spot_pnl_net and spot and not order.is_buy:
            booked.closed_pnl -= booked.fee
        return fee

    def _of_twap(
        self, account: Account, row: dict[str, Any], twap_id: int, value: Decimal
    ) -> None:
        self.ex.twaps.filled(account, row, twap_id, value)

    def _fit_reduce_only(
        self, account: Account, asset: Asset, taking: Order | None = None
    ) -> None:
        if account.triggers:
            self.ex.triggers.fit(account, asset)
        super()._fit_reduce_only(account, asset, taking)

    def _pay_builder(self, account: Account, order: Order, value: Decimal) -> Decimal:
        """The builder's fee, truncated by itself; he is paid in the quote token."""
        assert order.builder is not None, order.oid
        address, tenths = order.builder
        is_spot = order.asset.is_spot
        fee = cut(value * tenths / 100_000, USD8 if is_spot else USD6)
        if is_spot:
            account.spot[USDC_TOKEN].total -= fee
        else:
            account.pay_perp(-fee)
        builder = self.ex.accounts.get(address)
        if builder is None:
            self.ex.house.collect(USDC_TOKEN, fee)
        else:
            builder.spot[USDC_TOKEN].total += fee
        return fee

    def convert_dust(
        self, account: Account, asset: Asset, held: Balance, px: Decimal
    ) -> None:
        """The venue sells a remainder below a lot; no order record, no hash.

        The fee is only what USDC's eight decimals cannot hold: rows say exactly what moved.
        """
        sz = held.total
        usdc = cut(sz * px, USD8)
        row = {
            "coin": asset.coin, "px": wire(px), "sz": wire(sz), "side": "A",
            "time": self.ex.now, "startPosition": wire(sz), "dir": "Spot Dust Conversion",
            "closedPnl": wire(cut(usdc - held.entry_ntl, USD8)), "hash": "0x" + "0" * 64,
            "oid": self.ex.new_oid(), "crossed": True, "fee": wire(sz * px - usdc), "tid": 0,
            "feeToken": "USDC", "twapId": None,
        }
        held.total = held.entry_ntl = ZERO
        account.spot[USDC_TOKEN].total += usdc
        house = self.ex.house
        house.tokens[asset.token] = house.tokens.get(asset.token, ZERO) + sz
        house.cash -= usdc
        account.fills.append(row)
        self.ex.streams.fill(account.address, row)
        self.ex.changed = True
