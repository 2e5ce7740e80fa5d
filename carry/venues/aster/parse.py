"""Replies of Aster as values. Pure: bytes in, values out; what is unreadable raises.

Numbers are JSON strings and pass `carry.venues.numbers`; ids come as integers, and as text from
some recorders. Rows of symbols nobody asked for are passed over, however they look.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from typing import TypeVar

import attrs
import msgspec

from carry.core.num import ZERO
from carry.core.types import Book, Leg, Level, Side
from carry.venues.base import ReadFailed
from carry.venues.numbers import not_negative, number, positive, stamp_ms

from .filters import Filters, read_filters

_T = TypeVar("_T")

UNREADABLE = (msgspec.MsgspecError, UnicodeError, ValueError, ArithmeticError, RecursionError)
"""What decoding hostile bytes can raise."""

TEST_PREFIX = "TEST"
"""Symbols of the venue's own trials, in the live list: "never trade" them (spot docs)."""


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Turns whatever an unreadable reply raises into `ReadFailed`."""
    try:
        yield
    except UNREADABLE as error:
        raise ReadFailed(source, "unreadable", str(error)[:200]) from None


def decode(body: bytes | msgspec.Raw, kind: type[_T]) -> _T:
    """JSON as `kind`; keys that are not asked for are skipped unread."""
    return msgspec.json.decode(body, type=kind)


# --- exchangeInfo -----------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Symbol:
    """A row of exchangeInfo. `margin_percent`: maintenance of the first bracket, 0 on spot."""

    name: str
    base: str
    quote: str
    trading: bool
    filters: Filters
    maintenance_percent: Decimal = ZERO
    initial_percent: Decimal = ZERO


class _Name(msgspec.Struct):
    symbol: str


class _SymbolRow(msgspec.Struct):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[msgspec.Raw]
    marginAsset: str | None = None
    contractType: str | None = None
    maintMarginPercent: str = "0"
    requiredMarginPercent: str = "0"


class _Limit(msgspec.Struct):
    rateLimitType: str
    interval: str
    intervalNum: int
    limit: int


class _Info(msgspec.Struct):
    symbols: list[msgspec.Raw]
    rateLimits: list[_Limit] = []


def read_symbol(
    body: bytes,
    leg: Leg,
    name: str,
    *,
    tick: Decimal | None = None,
    step: Decimal | None = None,
) -> Symbol | None:
    """The row of `name`, or None when the venue has no such symbol; another's row is not read."""
    if name.startswith(TEST_PREFIX):
        raise ValueError(f"{name} is one of the venue's test symbols, which must not be traded")
    for raw in decode(body, _Info).symbols:
        try:
            if decode(raw, _Name).symbol != name:
                continue
        except UNREADABLE:
            continue
        row = decode(raw, _SymbolRow)
        if leg is Leg.PERP and row.contractType != "PERPETUAL":
            raise ValueError(f"{name} is a {str(row.contractType)[:20]}, not a perpetual")
        if leg is Leg.PERP and row.marginAsset != row.quoteAsset:
            raise ValueError(f"{name} is margined in {str(row.marginAsset)[:20]}, not in its quote")
        return Symbol(
            name=row.symbol,
            base=row.baseAsset,
            quote=row.quoteAsset,
            trading=row.status == "TRADING",
            filters=read_filters(row.filters, leg, tick=tick, step=step),
            maintenance_percent=not_negative(row.maintMarginPercent),
            initial_percent=not_negative(row.requiredMarginPercent),
        )
    return None


def read_weight_limit(body: bytes) -> int | None:
    """Request weight a minute of `rateLimits`; None when it is not told."""
    for row in decode(body, _Info).rateLimits:
        if (row.rateLimitType, row.interval, row.intervalNum) == ("REQUEST_WEIGHT", "MINUTE", 1):
            return row.limit if row.limit > 0 else None
    return None


# --- market data ------------------------------------------------------------------------------


class _Depth(msgspec.Struct):
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    T: int = 0
    E: int = 0


def read_book(body: bytes, at_ms: int) -> Book:
    """`depth`: two sides, sorted, not crossed. at_ms: for a reply without a stamp of its own."""
    row = decode(body, _Depth)
    book = Book(_levels(row.bids), _levels(row.asks), stamp_ms(row.T or row.E or at_ms))
    if not book.bids or not book.asks:
        raise ValueError("a side of the book is empty")
    if any(a.px <= b.px for a, b in pairwise(book.bids)):
        raise ValueError("bids do not fall")
    if any(a.px >= b.px for a, b in pairwise(book.asks)):
        raise ValueError("asks do not rise")
    if book.bid_px >= book.ask_px:
        raise ValueError(f"crossed: bid {book.bid_px}, ask {book.ask_px}")
    return book


def _levels(rows: Sequence[tuple[str, str]]) -> tuple[Level, ...]:
    return tuple(Level(positive(px), positive(sz)) for px, sz in rows)


@attrs.frozen(kw_only=True)
class Premium:
    """Prices and the running funding rate of a perp; `rate` is of its own interval."""

    mark_px: Decimal
    index_px: Decimal
    rate: Decimal
    next_ms: int
    at_ms: int


class _DayRow(msgspec.Struct):
    symbol: str
    quoteVolume: str


def read_volumes(body: bytes) -> dict[str, Decimal]:
    """`ticker/24hr` of all symbols: quote coin traded, by symbol; a row that is odd is left out."""
    found = {}
    for raw in decode(body, list[msgspec.Raw]):
        try:
            row = decode(raw, _DayRow)
            found[row.symbol] = not_negative(row.quoteVolume)
        except UNREADABLE:
            continue
    return found


class _PremiumRow(msgspec.Struct):
    symbol: str
    markPrice: str
    indexPrice: str
    lastFundingRate: str
    nextFundingTime: int
    time: int


def read_premium(body: bytes, symbol: str) -> Premium:
    """`premiumIndex` of one symbol. Its `lastFundingRate` is the one to be charged next."""
    row = decode(body, _PremiumRow)
    if row.symbol != symbol:
        raise ValueError(f"the reply is about {row.symbol[:20]}, not {symbol}")
    return Premium(
        mark_px=positive(row.markPrice),
        index_px=positive(row.indexPrice),
        rate=number(row.lastFundingRate),
        next_ms=stamp_ms(row.nextFundingTime),
        at_ms=stamp_ms(row.time),
    )


class _FundingInfo(msgspec.Struct):
    symbol: str
    fundingIntervalHours: int


def read_interval_h(body: bytes, symbol: str) -> int:
    """`fundingInfo`: hours between two payments of a symbol, as they are today."""
    for raw in decode(body, list[msgspec.Raw]):
        if decode(raw, _Name).symbol == symbol:
            hours = decode(raw, _FundingInfo).fundingIntervalHours
            if hours < 1 or 24 % hours:
                raise ValueError(f"{symbol}: {hours} h is no interval of funding")
            return hours
    raise ValueError(f"{symbol} is not among the perps with funding")


# --- the account ------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Held:
    """A coin in a wallet: `total` includes `hold`, which open orders have reserved."""

    coin: str
    total: Decimal
    hold: Decimal


class _SpotBalance(msgspec.Struct):
    asset: str
    free: str
    locked: str


class _SpotAccount(msgspec.Struct):
    balances: list[_SpotBalance]
    canTrade: bool = True


def read_spot_balances(body: bytes) -> dict[str, Held]:
    """`account` of the spot host: every coin that is held, by name."""
    held: dict[str, Held] = {}
    for row in decode(body, _SpotAccount).balances:
        if row.asset in held:
            raise ValueError(f"two balances of {row.asset[:20]}")
        free, locked = not_negative(row.free), not_negative(row.locked)
        held[row.asset] = Held(coin=row.asset, total=free + locked, hold=locked)
    return {coin: row for coin, row in held.items() if row.total}


class _PerpBalance(msgspec.Struct):
    asset: str
    balance: str
    availableBalance: str
    crossUnPnl: str = "0"


def read_perp_balances(body: bytes) -> dict[str, Held]:
    """`balance` of the futures host. Only `balance` is what is there: with multi-assets mode
    `availableBalance` of a coin that is not held is the room that the others give.
    """
    held: dict[str, Held] = {}
    for row in decode(body, list[_PerpBalance]):
        if row.asset in held:
            raise ValueError(f"two balances of {row.asset[:20]}")
        total, free = number(row.balance), number(row.availableBalance)
        held[row.asset] = Held(coin=row.asset, total=total, hold=max(ZERO, total - free))
    return {coin: row for coin, row in held.items() if row.total}


@attrs.frozen(kw_only=True)
class PerpPosition:
    """One row of positionRisk that is not flat; `sz` signed, `side` the venue's BOTH/LONG/SHORT."""

    symbol: str
    sz: Decimal
    entry_px: Decimal
    mark_px: Decimal
    pnl: Decimal
    leverage: int
    cross: bool
    side: str


class _Risk(msgspec.Struct):
    symbol: str
    positionAmt: str
    entryPrice: str
    markPrice: str
    unRealizedProfit: str
    leverage: str
    marginType: str
    positionSide: str = "BOTH"


def read_risk(body: bytes) -> tuple[PerpPosition, ...]:
    """`positionRisk`: every row, flat ones too (they carry the leverage in force)."""
    return tuple(
        PerpPosition(
            symbol=row.symbol,
            sz=number(row.positionAmt),
            entry_px=not_negative(row.entryPrice),
            mark_px=not_negative(row.markPrice),
            pnl=number(row.unRealizedProfit),
            leverage=int(positive(row.leverage)),
            cross=row.marginType == "cross",
            side=row.positionSide,
        )
        for row in decode(body, list[_Risk])
    )


@attrs.frozen(kw_only=True)
class AgentGrant:
    """An agent of the user, as the venue lists it. `expires_ms`: epoch ms."""

    address: str
    can_spot: bool
    can_perp: bool
    can_withdraw: bool
    expires_ms: int


class _AgentRow(msgspec.Struct):
    agentAddress: str
    expired: int
    canSpotTrade: bool
    canPerpTrade: bool
    canWithdraw: bool


def read_agents(body: bytes) -> dict[str, AgentGrant]:
    """`agent`: by address in lower case."""
    return {
        row.agentAddress.lower(): AgentGrant(
            address=row.agentAddress.lower(),
            can_spot=row.canSpotTrade,
            can_perp=row.canPerpTrade,
            can_withdraw=row.canWithdraw,
            expires_ms=stamp_ms(row.expired),
        )
        for row in decode(body, list[_AgentRow])
    }


class _Dual(msgspec.Struct):
    dualSidePosition: bool


def read_hedge_mode(body: bytes) -> bool:
    """`positionSide/dual`: True in hedge mode, where every order must name LONG or SHORT."""
    return decode(body, _Dual).dualSidePosition


class _Multi(msgspec.Struct):
    multiAssetsMargin: bool


def read_multi_assets(body: bytes) -> bool:
    """`multiAssetsMargin`: True where other coins than the quote margin positions too."""
    return decode(body, _Multi).multiAssetsMargin


# --- orders -----------------------------------------------------------------------------------

_SIDES: Mapping[str, Side] = {"BUY": Side.BUY, "SELL": Side.SELL}
OPEN = ("NEW", "PARTIALLY_FILLED")
GONE = ("CANCELED", "REJECTED", "EXPIRED")


@attrs.frozen(kw_only=True)
class Order:
    """An order as the venue tells it. `filled`: executed size; `word`: its status."""

    symbol: str
    oid: str
    client_id: str
    side: Side
    px: Decimal
    sz: Decimal
    filled: Decimal
    word: str
    tif: str
    reduce_only: bool

    @property
    def open(self) -> bool:
        return self.word in OPEN


class _OrderRow(msgspec.Struct):
    symbol: str
    orderId: int | str
    clientOrderId: str
    side: str
    price: str
    origQty: str
    executedQty: str
    status: str
    timeInForce: str = ""
    reduceOnly: bool = False


def _order(row: _OrderRow) -> Order:
    side = _SIDES.get(row.side)
    if side is None:
        raise ValueError(f"side {row.side[:20]!r} is neither BUY nor SELL")
    if row.status not in (*OPEN, *GONE, "FILLED"):
        raise ValueError(f"order status {row.status[:40]!r} is unknown")
    return Order(
        symbol=row.symbol,
        oid=str(row.orderId),
        client_id=row.clientOrderId,
        side=side,
        px=not_negative(row.price),
        sz=not_negative(row.origQty),
        filled=not_negative(row.executedQty),
        word=row.status,
        tif=row.timeInForce,
        reduce_only=row.reduceOnly,
    )


def read_order(body: bytes) -> Order:
    """The reply to a placement, a query or a cancel; each is the whole order."""
    return _order(decode(body, _OrderRow))


def read_orders(body: bytes) -> tuple[Order, ...]:
    """`openOrders`."""
    return tuple(_order(row) for row in decode(body, list[_OrderRow]))
