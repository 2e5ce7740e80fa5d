"""Orders that sleep until the mark price wakes them: take profit, stop, alone or around an entry.

A trigger fires on the mark. As a market order it may slip 10 % from its trigger price; it does not
fill in a post-only window. Source: Hyperliquid docs "Take profit and stop loss orders".
"""

from decimal import Decimal
from typing import TYPE_CHECKING

from .accounts import Account, Order, Trigger
from .admission import MIN_NOTIONAL, OPEN_ORDERS_FREE, TRIGGER_SLIPPAGE, Ask, Refusal
from .assets import Asset

if TYPE_CHECKING:
    from .model import Exchange

INVALID = Refusal("Invalid TP/SL price.", "badTriggerPxRejected")


class Triggers:
    """`waiting` has the sleeping orders of each asset, in the order they were placed."""

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange
        self.waiting: dict[int, list[Order]] = {}

    def find(self, account: Account, oid: int) -> Order | None:
        return next((order for order in account.sleeping() if order.oid == oid), None)

    def px_now(self, asset: Asset) -> int:
        """What triggers are held against, in book units: the mark; of spot, the mid."""
        if asset.is_spot:
            return self.ex.quotes.on_tick(asset, self.ex.quotes.mid8(asset, self.ex.now))
        return self.ex.quotes.mark(asset, self.ex.now)

    # Placing.

    def place(self, account: Account, order: Order, trigger: Trigger) -> str:
        """One trigger by itself. Raises Refusal."""
        matching = self.ex.matching
        try:
            self._admit(account, order, trigger)
        except Refusal as refusal:
            if refusal.status is not None:
                matching.note(account, order, refusal.status)
            raise
        self._sleep(account, order)
        matching.note(account, order, "open")
        return "waitingForTrigger"

    def _admit(self, account: Account, order: Order, trigger: Trigger) -> None:
        asset = order.asset
        self.ex.admission.check_open(asset)
        self._check_count(account)
        if self.ex.switches["lone_trigger"] == "reduce_only" and not order.reduce_only:
            raise Refusal("TP/SL orders must be reduce-only.")
        if _reached(self.px_now(asset), trigger):
            raise INVALID
        szi = account.szi(asset.asset_id)
        if order.reduce_only and (not szi or (szi < 0) != order.is_buy):
            raise Refusal("Reduce only order would increase position.", "reduceOnlyRejected")
        book = self.ex.books[asset.asset_id]
        held = int(abs(szi).scaleb(asset.sz_decimals))
        small = book.px(trigger.px) * book.sz(order.sz) < MIN_NOTIONAL
        if small and not trigger.whole and not (order.reduce_only and order.sz >= held):
            text = "10 USDC" if asset.is_spot else "$10"
            raise Refusal(f"Order must have minimum value of {text}.", "minTradeNtlRejected")

    def _check_count(self, account: Account) -> None:
        if len(account.orders) + len(account.triggers) >= OPEN_ORDERS_FREE:
            raise Refusal("Too many open orders.", "tooManyOpenOrdersRejected")

    def place_group(
        self, account: Account, grouping: str, asks: list[Ask], builder: tuple[str, int] | None
    ) -> list[object]:
        """An entry and its exits (normalTpsl), or the exits of a position. Raises Refusal."""
        matching = self.ex.matching
        if grouping == "positionTpsl":
            pair = [matching.make(account, ask, builder) for ask in asks]
            statuses: list[object] = []
            for order, ask in zip(pair, asks, strict=True):
                assert ask.trigger is not None, ask
                statuses.append(self.place(account, order, ask.trigger))
            _pair(pair)
            return statuses
        self._check_count(account)
        entry = asks[0]
        for ask in asks[1:]:
            trigger = ask.trigger
            wrong = trigger is None or ask.is_buy == entry.is_buy or _reached(entry.px, trigger)
            if wrong:
                raise INVALID
        parent = matching.make(account, entry, builder)
        children = [matching.make(account, ask, builder) for ask in asks[1:]]
        account.children[parent.oid] = children
        try:
            reply = matching.enter(account, parent)
        except Refusal:
            account.children.pop(parent.oid, None)
            raise
        for child in children:
            if child.status == "open" and child.oid not in account.records:
                matching.note(account, child, "open")
        waits = parent.oid in account.children
        if waits and parent.oid not in account.orders:
            # An IOC that filled in part: its exits guard what it filled.
            filled = parent.orig_sz - parent.sz
            for child in children:
                child.sz = child.orig_sz = min(child.sz, filled)
            self.parent_filled(account, parent)
            waits = False
        return [reply] + ["waitingForFill" if waits else "waitingForTrigger"] * len(children)

    # Life.

    def _sleep(self, account: Account, order: Order) -> None:
        account.triggers[order.oid] = order
        self.waiting.setdefault(order.asset.asset_id, []).append(order)

    def restore(self, account: Account) -> None:
        """Puts the sleeping orders of a restored account back into `waiting`."""
        for order in account.triggers.values():
            self.waiting.setdefault(order.asset.asset_id, []).append(order)

    def forget(self, account: Account, order: Order) -> bool:
        """Takes a sleeping order out of every list; False if it does not sleep."""
        if account.triggers.pop(order.oid, None) is not None:
            waiting = self.waiting[order.asset.asset_id]
            waiting.remove(order)
            if not waiting:
                del self.waiting[order.asset.asset_id]
            return True
        for parent, children in list(account.children.items()):
            if order in children:
                children.remove(order)
                if not children:
                    del account.children[parent]
                return True
        return False

    def parent_filled(self, account: Account, parent: Order) -> None:
        """An entry is filled: its exits begin to watch the mark."""
        children = account.children.pop(parent.oid, None)
        for child in children or ():
            self._sleep(account, child)
        _pair(children or [])

    def parent_gone(self, account: Account, parent: Order) -> None:
        for child in account.children.pop(parent.oid, ()):
            self.ex.matching.note(account, child, "canceled")

    def fit(self, account: Account, asset: Asset) -> None:
        """After a fill: exits of a position that is gone or turned are cancelled."""
        szi = account.szi(asset.asset_id)
        for order in list(account.triggers.values()):
            if order.asset is asset and order.reduce_only and (
                not szi or (szi < 0) != order.is_buy
            ):
                self.ex.matching.cancel(account, order, "reduceOnlyCanceled")

    def check(self, asset: Asset) -> None:
        """The mark moved: wakes what it reached."""
        px = self.px_now(asset)
        for order in list(self.waiting.get(asset.asset_id, ())):
            trigger, account = order.trigger, self.ex.accounts[order.address]
            assert trigger is not None, order.oid
            if not _reached(px, trigger) or order.oid not in account.triggers:
                continue
            if trigger.is_market and self.ex.now < self.ex.post_only_until_ms:
                continue
            self._fire(account, order, trigger)

    def _fire(self, account: Account, order: Order, trigger: Trigger) -> None:
        self.forget(account, order)
        matching, asset = self.ex.matching, order.asset
        if trigger.whole:
            order.sz = order.orig_sz = int(
                abs(account.szi(asset.asset_id)).scaleb(asset.sz_decimals)
            )
        matching.note(account, order, "triggered")
        if trigger.is_market:
            order.tif = "Ioc"
            room = Decimal(1) + (TRIGGER_SLIPPAGE if order.is_buy else -TRIGGER_SLIPPAGE)
            px = max(int(trigger.px * room), 1)
            order.px = max(px - px % asset.tick(px), 1)
        before = order.sz
        try:
            matching.enter(account, order)
        except Refusal as refusal:
            if refusal.status is None:
                matching.note(account, order, "rejected")
            return
        if order.sz < before:
            for oid in trigger.siblings:
                sibling = account.triggers.get(oid)
                if sibling is not None:
                    matching.cancel(account, sibling, "siblingFilledCanceled")


def _pair(orders: list[Order]) -> None:
    for order in orders:
        if order.trigger is not None:
            order.trigger.siblings = [o.oid for o in orders if o is not order]


def _reached(px: int, trigger: Trigger) -> bool:
    return px >= trigger.px if trigger.above else px <= trigger.px
