"""What the exchange remembers of a user: wallets, positions, orders, agents, nonces, history."""

from collections import OrderedDict, deque
from decimal import Decimal
from typing import Any

from .assets import USDC_TOKEN, Asset
from .text import ZERO

SPLIT = "split"
UNIFIED = "unified"
PORTFOLIO = "portfolio"
RECORDS_KEPT = 2_000
FILLS_KEPT = 10_000
NONCES_KEPT = 100


class Trigger:
    """When an order wakes: the mark at or beyond `px` (book units), from below if `above`.

    tpsl: "tp" or "sl". whole: it closes the whole position, whatever that is by then.
    siblings: oids that are cancelled when this one fires (take profit and stop of one entry).
    """

    __slots__ = ("above", "is_market", "px", "siblings", "tpsl", "whole")

    def __init__(
        self, px: int, tpsl: str, *, is_market: bool, above: bool, whole: bool = False
    ) -> None:
        self.px = px
        self.tpsl = tpsl
        self.is_market = is_market
        self.above = above
        self.whole = whole
        self.siblings: list[int] = []


class Order:
    """An order. `sz` is what still rests, `orig_sz` what was asked, in the asset's units.

    ahead: size of the maker's queue that was at this price first; it trades before this order.
    trigger: it sleeps until the mark gets there, then it is a limit or market order.
    builder: (address, fee in tenths of a basis point). twap_id: the TWAP it is a slice of.
    """

    __slots__ = (
        "address", "ahead", "asset", "builder", "cloid", "is_buy", "oid", "orig_sz", "px",
        "reduce_only", "status", "status_ms", "sz", "tif", "time_ms", "trigger", "twap_id",
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
        self.trigger: Trigger | None = None
        self.builder: tuple[str, int] | None = None
        self.twap_id: int | None = None


class Record:
    """What `orderStatus` answers: rewritten only when the status changes, `sz` as of then."""

    __slots__ = ("order", "status", "status_ms", "sz")

    def __init__(self, order: Order, status: str, status_ms: int, sz: int) -> None:
        self.order = order
        self.status = status
        self.status_ms = status_ms
        self.sz = sz


class Position:
    """A perp position. `cost` is signed: what was paid for `szi` (negative for a short), exact.

    posted: USDC set aside for an isolated position; 0 for a cross one.
    """

    __slots__ = ("cost", "funding_all", "funding_change", "funding_open", "posted", "szi")

    def __init__(self) -> None:
        self.szi = ZERO
        self.cost = ZERO
        self.posted = ZERO
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


class Rates:
    """What an account pays in force on one UTC day, as fractions; discounts included."""

    __slots__ = ("day", "perp_add", "perp_cross", "spot_add", "spot_cross")

    def __init__(
        self, day: int, perp_cross: Decimal, perp_add: Decimal, spot_cross: Decimal,
        spot_add: Decimal,
    ) -> None:
        self.day = day
        self.perp_cross = perp_cross
        self.perp_add = perp_add
        self.spot_cross = spot_cross
        self.spot_add = spot_add


class Account:
    """One user. Unified and portfolio: the perp wallet stays 0, USDC spot is the cash of both.

    triggers: sleeping orders by oid; children: orders that wait for a parent order to fill.
    isolated: perps whose margin setting is isolated. master: of a sub-account, its owner.
    weighted: 14-day volume by UTC day, spot twice. staked: HYPE, for the fee discount.
    """

    def __init__(self, address: str, mode: str) -> None:
        self.address = address
        self.mode = mode
        self.perp_cash = ZERO
        self.spot: dict[int, Balance] = {USDC_TOKEN: Balance()}
        self.positions: dict[int, Position] = {}
        self.leverage: dict[int, int] = {}
        self.isolated: dict[int, None] = {}
        self.orders: dict[int, Order] = {}
        self.triggers: dict[int, Order] = {}
        self.children: dict[int, list[Order]] = {}
        self.records: OrderedDict[int, Record] = OrderedDict()
        self.records_kept = RECORDS_KEPT
        self.fills: deque[dict[str, Any]] = deque(maxlen=FILLS_KEPT)
        self.slices: deque[dict[str, Any]] = deque(maxlen=RECORDS_KEPT)
        self.twaps: list[dict[str, Any]] = []
        self.fundings: list[dict[str, Any]] = []
        self.transfers: list[dict[str, Any]] = []
        self.volume = ZERO
        self.requests_used = 0
        self.requests_reserved = 0
        self.last_action_ms = 0
        self.day_actions: list[int] = []
        self.daily_volume: dict[str, tuple[Decimal, Decimal]] = {}
        self.weighted: dict[int, Decimal] = {}
        self.rates: Rates | None = None
        self.explicit_mode = False
        self.liquidated_ms = 0
        self.cancels_fired: list[int] = [0, 0]
        self.master = ""
        self.name = ""
        self.builders: dict[str, int] = {}
        self.referrer = ""
        self.staked = ZERO
        self.vault_usd = ZERO
        self.vault_ms = 0

    @property
    def unified(self) -> bool:
        """Whether USDC is one balance: unified accounts and portfolio margin."""
        return self.mode != SPLIT

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

    def sleeping(self) -> list[Order]:
        """Orders that wait for the mark or for their parent."""
        found = list(self.triggers.values())
        for children in self.children.values():
            found += children
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
        sz = order.orig_sz if status in ("open", "triggered") else order.sz
        record = Record(order, status, time_ms, sz)
        self.records[order.oid] = record
        self.records.move_to_end(order.oid)
        while len(self.records) > self.records_kept:
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
