"""`/exchange`: orders, cancels, modifies, TWAPs and the dead-man's switch."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .accounts import Account, Order
from .admission import Ask, Collapse, Refusal
from .answers import Denied, Reply, done, statuses_of
from .text import near

if TYPE_CHECKING:
    from .model import Exchange

DAY_MS = 86_400_000
SCHEDULE_VOLUME = Decimal(1_000_000)
SCHEDULE_MIN_MS = 5_000
SCHEDULES_A_DAY = 10
GONE = "Order was never placed, already canceled, or filled."
GROUPINGS = ("na", "normalTpsl", "positionTpsl")
_CLOID = re.compile(r"0x[0-9a-f]{32}")


class Trading:
    """Handlers of what trades. Statuses are positional; a failed pre-validation is one for all."""

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange

    def handlers(self) -> dict[str, Callable[[Account, Reply, str], Reply]]:
        return {
            "order": self._order,
            "cancel": self._cancel,
            "cancelByCloid": self._cancel_by_cloid,
            "modify": self._modify_one,
            "batchModify": self._batch_modify,
            "scheduleCancel": self._schedule_cancel,
            "twapOrder": lambda a, action, _: self.ex.twaps.start(a, action["twap"]),
            "twapCancel": lambda a, action, _: self.ex.twaps.cancel(a, action["a"], action["t"]),
            "noop": lambda a, action, _: done(),
        }

    # Orders.

    def _order(self, account: Account, action: Reply, signer: str) -> Reply:
        orders, grouping = action["orders"], action.get("grouping", "na")
        if not orders:
            return statuses_of("order", [{"error": "Orders are empty."}])
        builder = self._builder(account, action.get("builder"))
        try:
            asks = [self._read(account, order, grouping) for order in orders]
            if isinstance(grouping, dict):
                self._check_priority(account, asks)
            elif grouping != "na":
                placed = self._groups(account, grouping, asks, builder)
                return statuses_of("order", placed)
        except Collapse as collapse:
            return statuses_of("order", [{"error": collapse.text}])
        statuses: list[object] = []
        for order, ask in zip(orders, asks, strict=True):
            try:
                if isinstance(ask, Refusal):
                    raise ask
                statuses.append(self.ex.matching.place(account, ask, builder))
            except Refusal as refusal:
                statuses.append({"error": f"{refusal.text} asset={order['a']}"})
        return statuses_of("order", statuses)

    def _read(self, account: Account, order: Reply, grouping: object) -> Ask | Refusal:
        cloid = order.get("c")
        if cloid is not None and not _CLOID.fullmatch(cloid):
            raise ValueError(cloid)
        for key, kinds in (("a", int), ("b", bool), ("r", bool), ("p", str), ("s", str)):
            if not isinstance(order[key], kinds):
                raise ValueError(key)
        if not isinstance(grouping, dict) and grouping not in GROUPINGS:
            raise ValueError(grouping)
        try:
            if cloid is not None:
                self._check_cloid(account, cloid, order["a"])
            return self.ex.admission.read(order, grouping)
        except Refusal as refusal:
            return refusal

    def _check_cloid(self, account: Account, cloid: str, asset_id: int) -> None:
        if self.ex.switches["duplicate_cloid"] == "accepted":
            return
        if any(o.cloid == cloid for o in (*account.orders.values(), *account.triggers.values())):
            raise Refusal("Invalid order: cloid already used")

    def _builder(self, account: Account, builder: Any) -> tuple[str, int] | None:
        """The builder an order pays, if its owner allowed him that much."""
        if builder is None:
            return None
        address, fee = builder["b"].lower(), builder["f"]
        if not self.ex.is_address(address) or not isinstance(fee, int) or fee < 0:
            raise ValueError(builder)
        if fee > account.builders.get(address, 0):
            raise Denied("Builder fee has not been approved.")
        known = self.ex.accounts.get(address)
        if known is not None and known.unified:
            raise Denied("Builder must be a standard account.")
        return (address, fee) if fee else None

    def _check_priority(self, account: Account, asks: list[Ask | Refusal]) -> None:
        """Paid priority: all IOC, or all post-only and none reduce-only; paid from staked HYPE."""
        tifs = {ask.tif for ask in asks if isinstance(ask, Ask)}
        reducing = any(ask.reduce_only for ask in asks if isinstance(ask, Ask))
        if len(tifs) > 1 or tifs & {"Gtc"} or (tifs == {"Alo"} and reducing):
            raise Collapse("Priority orders must be all IOC or all non-reduce-only ALO.")
        if not account.staked:
            raise Collapse("Insufficient staking balance for order priority.")

    def _groups(
        self, account: Account, grouping: str, asks: list[Ask | Refusal],
        builder: tuple[str, int] | None,
    ) -> list[object]:
        """An entry with its take profit and stop, or the two of a position."""
        for ask in asks:
            if isinstance(ask, Refusal):
                raise Collapse(ask.text)
        read = [ask for ask in asks if isinstance(ask, Ask)]
        exits = read[1:] if grouping == "normalTpsl" else read
        entry_sleeps = grouping == "normalTpsl" and read[0].trigger is not None
        if entry_sleeps or not 1 <= len(exits) <= 2 or any(a.trigger is None for a in exits):
            raise Collapse("Unexpected number of trigger orders")
        if any(not ask.reduce_only for ask in exits):
            raise Collapse("TP/SL orders must be reduce-only.")
        if len({ask.asset.asset_id for ask in read}) > 1:
            raise Collapse("TP/SL orders must be for one asset.")
        try:
            return self.ex.triggers.place_group(account, grouping, read, builder)
        except Refusal as refusal:
            raise Collapse(f"{refusal.text} asset={read[0].asset.asset_id}") from refusal

    # Cancels.

    def _cancel(self, account: Account, action: Reply, signer: str) -> Reply:
        fast = action.get("f") is True
        statuses: list[object] = []
        for item in action["cancels"]:
            order = account.orders.get(item["o"])
            if order is None and not fast:
                order = self.ex.triggers.find(account, item["o"])
            if order is not None and order.asset.asset_id != item["a"]:
                order = None
            statuses.append(self._cancel_one(account, item["a"], order))
        return statuses_of("cancel", statuses)

    def _cancel_by_cloid(self, account: Account, action: Reply, signer: str) -> Reply:
        fast = action.get("f") is True
        statuses: list[object] = []
        for item in action["cancels"]:
            found = None
            mine = (*account.orders.values(), *(() if fast else account.sleeping()))
            for order in mine:
                if order.asset.asset_id == item["asset"] and order.cloid == item["cloid"]:
                    found = order
                    break
            statuses.append(self._cancel_one(account, item["asset"], found))
        return statuses_of("cancel", statuses)

    def _cancel_one(self, account: Account, asset_id: int, order: Order | None) -> object:
        if order is None:
            return {"error": f"{GONE} asset={asset_id}"}
        self.ex.matching.cancel(account, order, "canceled")
        return "success"

    # Modifies.

    def _modify_one(self, account: Account, action: Reply, signer: str) -> Reply:
        status = self._modify(account, action["oid"], action["order"], action.get("a") is True)
        if isinstance(status, dict) and "error" in status:
            raise Denied(f"Error placing new order during modify: {status['error']}")
        return done()

    def _batch_modify(self, account: Account, action: Reply, signer: str) -> Reply:
        always = action.get("a") is True
        statuses: list[object] = []
        for item in action["modifies"]:
            statuses.append(self._modify(account, item["oid"], item["order"], always))
        return statuses_of("order", statuses)

    def _modify(
        self, account: Account, oid: int | str, wire_order: Reply, always: bool
    ) -> object:
        """Cancel and place: if the new order fails, the old one is already gone."""
        mine = (*account.orders.values(), *account.sleeping())
        found = [o for o in mine if o.oid == oid or (o.cloid is not None and o.cloid == oid)]
        if not found:
            raise Denied("Cannot modify canceled or filled order")
        limit = wire_order["t"].get("limit")
        if not always and (limit is None or limit["tif"] not in ("Alo", "Gtc")):
            return {"error": f"Cannot modify to this order type. asset={wire_order['a']}"}
        self.ex.matching.cancel(account, found[-1], "canceled")
        if not always:
            # Without `a`, a GTC that does not cross is taken as post-only.
            wire_order = {**wire_order, "t": {"limit": {"tif": "Alo"}}}
        try:
            ask = self._read(account, wire_order, "na")
            if isinstance(ask, Refusal):
                raise ask
            return self.ex.matching.place(account, ask, found[-1].builder)
        except (Refusal, Collapse) as refusal:
            return {"error": f"{refusal.text} asset={wire_order['a']}"}

    # The dead-man's switch.

    def _schedule_cancel(self, account: Account, action: Reply, signer: str) -> Reply:
        if account.volume < SCHEDULE_VOLUME:
            raise Denied(
                "Cannot set scheduled cancel time until enough volume traded. "
                f"Required: $1000000. Traded: ${near(account.volume, Decimal('0.01'))}."
            )
        time = action.get("time")
        if time is None:
            self.ex.scheduled.pop(account.address, None)
        elif not isinstance(time, int):
            raise ValueError(time)
        elif time < self.ex.now + SCHEDULE_MIN_MS:
            raise Denied("Scheduled cancel time too early, must be at least 5 seconds from now.")
        elif self._fired_today(account) >= SCHEDULES_A_DAY:
            raise Denied(f"Scheduled cancel limit reached: {SCHEDULES_A_DAY} a day.")
        else:
            self.ex.scheduled[account.address] = time
        return done()

    def _fired_today(self, account: Account) -> int:
        day, count = account.cancels_fired
        return count if day == self.ex.now // DAY_MS else 0

    def fire(self, account: Account) -> None:
        """The switch went off: every order goes, resting or asleep."""
        account.cancels_fired = [self.ex.now // DAY_MS, self._fired_today(account) + 1]
        for order in (*account.orders.values(), *account.triggers.values()):
            self.ex.matching.cancel(account, order, "scheduledCancel")
