"""What the exchange remembers of a user: wallets, positions, orders, agents, nonces, history."""

from collections import OrderedDict, deque
from decimal import Decimal
from typing import Any

from .assets import USDC_TOKEN, Asset
from .text import ZERO

SPLIT = "split"
UNIFIED = "unified"
RECORDS_KEPT = 2_000
FILLS_KEPT = 10_000
NONCES_KEPT = 100


class Order:
    """A limit order. `sz` is what still rests, `orig_sz` what was asked, in the asset's units.

    ahead: size of the maker's queue that was at this price first; it trades before this order.
    """

    __slots__ = (
        "address", "ahead", "asset", "cloid", "is_buy", "oid", "orig_sz", "px", "reduce_only",
        "status", "status_ms", "sz", "tif", "time_ms",
    )

    def __init__(
        self,
        *,
        oid: int,
        address: str,
        asset: Asset,
        is_buy: bool,
        px: int,
        sz: int,
        tif: str,
        reduce_only: bool,
        cloid: str | None,
        time_ms: int,
    ) -> None:
        self.oid = oid
        self.address = address
        self.asset = asset
        self.is_buy = is_buy
        self.px = px
        self.sz = sz
        self.orig_sz = sz
        self.tif = tif
        self.reduce_only = reduce_only
        self.cloid = cloid
        self.time_ms = time_ms
        self.status = "open"
        self.status_ms = time_ms
        self.ahead = 0


class Record:
    """What `orderStatus` answers: rewritten only when the status changes, `sz` as of then."""

    __slots__ = ("order", "status", "status_ms", "sz")

    def __init__(self, order: Order, status: str, status_ms: int, sz: int) -> None:
        self.order = order
        self.status = status
        self.status_ms = status_ms
        self.sz = sz


class Position:
    """A perp position. `cost` is signed: what was paid for `szi` (negative for a short), exact."""

    __slots__ = ("cost", "funding_all", "funding_change", "funding_open", "szi")

    def __init__(self) -> None:
        self.szi = ZERO
        self.cost = ZERO
        self.funding_all = ZERO
        self.funding_open = ZERO
        self.funding_change = ZERO


class Balance:
    """A spot token: `entry_ntl` is its cost in USDC, scaled down as it is sold."""

    __slots__ = ("entry_ntl", "total")

    def __init__(self, total: Decimal = ZERO, entry_ntl: Decimal = ZERO) -> None:
        self.total = total
        self.entry_ntl = entry_ntl


class Agent:
    """An API wallet. `valid_until_ms` None: it never expires here."""

    __slots__ = ("address", "master", "name", "valid_until_ms")

    def __init__(
        self, address: str, master: str, name: str, valid_until_ms: int | None = None
    ) -> None:
        self.address = address
        self.master = master
        self.name = name
        self.valid_until_ms = valid_until_ms


class Account:
    """One user. In a unified account the perp wallet stays 0 and USDC spot is the cash of both."""

    def __init__(self, address: str, mode: str) -> None:
        self.address = address
        self.mode = mode
        self.perp_cash = ZERO
        self.spot: dict[int, Balance] = {USDC_TOKEN: Balance()}
        self.positions: dict[int, Position] = {}
        self.leverage: dict[int, int] = {}
        self.orders: dict[int, Order] = {}
        self.records: OrderedDict[int, Record] = OrderedDict()
        self.fills: deque[dict[str, Any]] = deque(maxlen=FILLS_KEPT)
        self.fundings: list[dict[str, Any]] = []
        self.transfers: list[dict[str, Any]] = []
        self.volume = ZERO
        self.requests_used = 0
        self.last_action_ms = 0
        self.daily_volume: dict[str, tuple[Decimal, Decimal]] = {}
        self.explicit_mode = False
        self.liquidated_ms = 0

    @property
    def unified(self) -> bool:
        return self.mode == UNIFIED

    def cash(self) -> Decimal:
        """USDC that margins perps, without unrealised PnL."""
        return self.spot[USDC_TOKEN].total if self.unified else self.perp_cash

    def pay_perp(self, amount: Decimal) -> None:
        """Adds to (or takes from) the cash that margins perps."""
        if self.unified:
            self.spot[USDC_TOKEN].total += amount
        else:
            self.perp_cash += amount

    def balance(self, token: int) -> Balance:
        """The token's balance, made on first use."""
        found = self.spot.get(token)
        if found is None:
            found = self.spot[token] = Balance()
        return found

    def position(self, asset_id: int) -> Position | None:
        """The open position, or None when flat."""
        found = self.positions.get(asset_id)
        return found if found is not None and found.szi else None

    def szi(self, asset_id: int) -> Decimal:
        found = self.positions.get(asset_id)
        return ZERO if found is None else found.szi

    def leverage_of(self, asset: Asset) -> int:
        """The leverage setting; a new account starts at 20x or the asset's maximum."""
        return self.leverage.get(asset.asset_id, min(20, asset.max_leverage))

    def remember(self, order: Order, status: str, time_ms: int) -> Record:
        """Writes the order's record; the oldest ones fall off beyond `RECORDS_KEPT`."""
        order.status = status
        order.status_ms = time_ms
        # While open, the record keeps the size of its placement even after partial fills.
        sz = order.orig_sz if status == "open" else order.sz
        record = Record(order, status, time_ms, sz)
        self.records[order.oid] = record
        self.records.move_to_end(order.oid)
        while len(self.records) > RECORDS_KEPT:
            self.records.popitem(last=False)
        return record


class Nonces:
    """The 100 highest nonces a signer used; a new one must be unused and above the smallest."""

    __slots__ = ("used",)

    def __init__(self, used: list[int] | None = None) -> None:
        self.used = used or []

    def refusal(self, nonce: int) -> str | None:
        """The venue's refusal, or None if the nonce is free."""
        if nonce in self.used:
            return f"Invalid nonce: duplicate nonce {nonce}"
        if len(self.used) >= NONCES_KEPT and nonce < self.used[0]:
            return f"Invalid nonce: nonce too low {nonce} < {self.used[0]}"
        return None

    def use(self, nonce: int) -> None:
        self.used.append(nonce)
        self.used.sort()
        del self.used[:-NONCES_KEPT]
