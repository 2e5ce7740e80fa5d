"""TWAP orders: a slice every 30 s, each at most 3 % from the mid, late slices up to three times.

Source: Hyperliquid docs "Order types". A TWAP pays no builder and stands still in a post-only
window.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .accounts import Account, Order
from .admission import Refusal
from .answers import Reply, done
from .assets import Asset
from .noise import key_of, mix
from .text import ZERO, read_decimal, wire, wire_int

if TYPE_CHECKING:
    from .model import Exchange

SLICE_MS = 30_000
MINUTES_MIN, MINUTES_MAX = 5, 7 * 24 * 60
SLIPPAGE = Decimal("0.03")
CATCH_UP = 3
MIN_USD = Decimal(100)
MIN_USD_A_MINUTE = Decimal(10)
NO_HASH = "0x" + "0" * 64


class Twap:
    """One running order; sizes in book units, `executed_usd` in USDC."""

    __slots__ = (
        "address", "asset", "executed", "executed_usd", "is_buy", "minutes", "next_ms", "randomize",
        "reduce_only", "started_ms", "sz", "twap_id",
    )

    def __init__(
        self, twap_id: int, address: str, asset: Asset, *, is_buy: bool, sz: int,
        reduce_only: bool, minutes: int, randomize: bool, now: int,
    ) -> None:
        self.twap_id = twap_id
        self.address = address
        self.asset = asset
        self.is_buy = is_buy
        self.sz = sz
        self.reduce_only = reduce_only
        self.minutes = minutes
        self.randomize = randomize
        self.started_ms = now
        self.next_ms = now
        self.executed = 0
        self.executed_usd = ZERO

    @property
    def slices(self) -> int:
        return self.minutes * 60_000 // SLICE_MS

    def state(self) -> dict[str, Any]:
        """As the venue shows it."""
        decimals = self.asset.sz_decimals
        return {
            "coin": self.asset.coin, "user": self.address, "side": "B" if self.is_buy else "A",
            "sz": wire_int(self.sz, decimals), "executedSz": wire_int(self.executed, decimals),
            "executedNtl": wire(self.executed_usd), "minutes": self.minutes,
            "reduceOnly": self.reduce_only, "randomize": self.randomize,
            "timestamp": self.started_ms,
        }


class Twaps:
    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange
        self.running: dict[int, Twap] = {}
        self.last_id = 0

    def of(self, account: Account) -> list[Twap]:
        return [t for t in self.running.values() if t.address == account.address]

    def next_ms(self) -> int:
        """When the next slice is due; ask only while one runs."""
        return min(twap.next_ms for twap in self.running.values())

    def start(self, account: Account, wire_twap: Reply) -> Reply:
        asset = self.ex.assets.get(wire_twap["a"])
        minutes, sz = wire_twap["m"], read_decimal(wire_twap["s"])
        if asset is None or not isinstance(minutes, int) or sz is None:
            raise ValueError(wire_twap)
        units = asset.sz_units(sz)
        try:
            self.ex.admission.check_open(asset)
            if not MINUTES_MIN <= minutes <= MINUTES_MAX:
                raise Refusal(f"Invalid TWAP duration: {minutes} min(s)")
            if not units:
                raise Refusal("Order has invalid size.")
            self._check_minimum(asset, sz, minutes)
            if wire_twap["r"] is True and asset.is_spot:
                raise Refusal("Reduce-only is invalid for spot trading.")
        except Refusal as refusal:
            return done("twapOrder", {"status": {"error": refusal.text}})
        self.last_id += 1
        twap = Twap(
            self.last_id, account.address, asset, is_buy=wire_twap["b"] is True, sz=units,
            reduce_only=wire_twap["r"] is True, minutes=minutes,
            randomize=wire_twap["t"] is True, now=self.ex.now,
        )
        self.running[twap.twap_id] = twap
        self._note(twap, "activated")
        return done("twapOrder", {"status": {"running": {"twapId": twap.twap_id}}})

    def restore(self, asset: Asset, fields: dict[str, Any]) -> None:
        """Puts a TWAP of a state file back."""
        twap = Twap(
            fields["twap_id"], fields["address"], asset, is_buy=fields["is_buy"],
            sz=fields["sz"], reduce_only=fields["reduce_only"], minutes=fields["minutes"],
            randomize=fields["randomize"], now=fields["started_ms"],
        )
        twap.next_ms, twap.executed = fields["next_ms"], fields["executed"]
        twap.executed_usd = Decimal(fields["executed_usd"])
        self.running[twap.twap_id] = twap

    def _check_minimum(self, asset: Asset, sz: Decimal, minutes: int) -> None:
        value = sz * self.ex.reference(asset)
        minimum = MIN_USD
        if self.ex.switches["twap_minimum"] == "10_a_minute":
            minimum = MIN_USD_A_MINUTE * minutes
        if value < minimum:
            raise Refusal(f"TWAP order must have minimum value of ${minimum}.")

    def cancel(self, account: Account, asset_id: int, twap_id: int) -> Reply:
        twap = self.running.get(twap_id)
        if twap is None or twap.address != account.address or twap.asset.asset_id != asset_id:
            text = "TWAP was never placed, already canceled, or filled."
            return done("twapCancel", {"status": {"error": text}})
        self._end(twap, "terminated")
        return done("twapCancel", {"status": "success"})

    def run(self) -> None:
        """Sends the slices that are due."""
        now = self.ex.now
        for twap in list(self.running.values()):
            if twap.next_ms > now:
                continue
            step = SLICE_MS
            if twap.randomize:
                step += mix(key_of(twap.twap_id, now)) % (SLICE_MS // 3)
            twap.next_ms = now + step
            if now >= self.ex.post_only_until_ms:
                self._slice(twap)
            if twap.executed >= twap.sz or now >= twap.started_ms + twap.minutes * 60_000:
                self._end(twap, "finished")

    def _slice(self, twap: Twap) -> None:
        ex, asset = self.ex, twap.asset
        each = -(-twap.sz // twap.slices)
        passed = (ex.now - twap.started_ms) // SLICE_MS + 1
        due = min(each * passed, twap.sz) - twap.executed
        sz = min(due, CATCH_UP * each)
        if sz <= 0:
            return
        room = 1 + (SLIPPAGE if twap.is_buy else -SLIPPAGE)
        px = int((ex.reference(asset) * room).scaleb(asset.px_decimals))
        order = Order(
            oid=ex.new_oid(), address=twap.address, asset=asset, is_buy=twap.is_buy,
            px=max(px - px % asset.tick(px), 1), sz=sz, tif="Ioc", reduce_only=twap.reduce_only,
            cloid=None, time_ms=ex.now,
        )
        order.twap_id = twap.twap_id
        account = ex.accounts[twap.address]
        try:
            ex.matching.enter(account, order)
        except Refusal as refusal:
            if twap.reduce_only and refusal.status == "reduceOnlyRejected":
                self._end(twap, "error", refusal.text)
            return
        twap.executed += sz - order.sz

    def filled(self, account: Account, row: dict[str, Any], twap_id: int, value: Decimal) -> None:
        """A slice traded: its fill carries the TWAP's id and no transaction hash."""
        row["twapId"], row["hash"] = twap_id, NO_HASH
        twap = self.running.get(twap_id)
        if twap is not None:
            twap.executed_usd += value
        slice_fill = {"fill": row, "twapId": twap_id}
        account.slices.append(slice_fill)
        self.ex.streams.twap_slice(account.address, slice_fill)

    def _end(self, twap: Twap, status: str, description: str | None = None) -> None:
        self.running.pop(twap.twap_id, None)
        self._note(twap, status, description)

    def end_of(self, asset: Asset) -> None:
        """The asset no longer trades."""
        for twap in [t for t in self.running.values() if t.asset is asset]:
            self._end(twap, "error", "Trading is halted for this asset.")

    def _note(self, twap: Twap, status: str, description: str | None = None) -> None:
        shown: dict[str, Any] = {"status": status}
        if description is not None:
            shown["description"] = description
        row = {
            "time": self.ex.now // 1_000, "state": twap.state(), "status": shown,
            "twapId": twap.twap_id,
        }
        self.ex.accounts[twap.address].twaps.append(row)
        self.ex.streams.twap(twap.address, row)
        self.ex.changed = True

