"""Replies of `/info` about the market as core reads. Pure: bytes and what is known in, values out.

Rows of coins that are not configured are passed over, however they look. What is raised here
(`msgspec.MsgspecError`, `ValueError`, ...) is turned into `ReadFailed` by `reading`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from typing import Generic, TypeVar

import msgspec

from carry.core.observations import BookSeen, Context, ContextsRead
from carry.core.types import Book, FundingPrint, Leg, Level
from carry.venues.base import ReadFailed
from carry.venues.numbers import number, positive, stamp_ms

from .metadata import Known, Listed, name_of

_T = TypeVar("_T")

UNREADABLE = (msgspec.MsgspecError, UnicodeError, ValueError, ArithmeticError, RecursionError)
"""What decoding hostile bytes can raise."""


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Turns whatever an unreadable reply raises into `ReadFailed`."""
    try:
        yield
    except UNREADABLE as error:
        raise ReadFailed(source, "unreadable", str(error)[:200]) from None


class Page(msgspec.Struct, Generic[_T]):
    """A page of a history: what is ours in it; rows in all; the newest time among all, epoch ms."""

    items: list[_T]
    rows: int
    newest_ms: int


def decode(body: bytes | msgspec.Raw, kind: type[_T]) -> _T:
    """JSON as `kind`; keys that are not asked for are skipped unread."""
    return msgspec.json.decode(body, type=kind)


class CoinRow(msgspec.Struct):
    coin: str


def ours(rows: Iterable[msgspec.Raw], known: Known) -> Iterator[tuple[msgspec.Raw, str, Leg]]:
    """The rows of configured instruments with their coin and leg."""
    for row in rows:
        found = known.by_symbol.get(decode(row, CoinRow).coin)
        if found is not None:
            yield row, found[0], found[1]


class _Context(msgspec.Struct):
    markPx: str
    oraclePx: str
    funding: str


class _Universe(msgspec.Struct):
    universe: list[msgspec.Raw]


def read_contexts(body: bytes, coins: Sequence[str], known: Known, issued_ms: int) -> ContextsRead:
    """`metaAndAssetCtxs`: context i belongs to row i. A coin with unreadable numbers is absent."""
    meta, rows = decode(body, tuple[_Universe, list[msgspec.Raw]])
    if len(rows) != len(meta.universe):
        raise ValueError(f"{len(rows)} contexts for {len(meta.universe)} perps")
    contexts: dict[str, Context] = {}
    for coin in coins:
        index = _position(coin, meta.universe, known)
        if index is None:
            continue
        try:
            row = decode(rows[index], _Context)
            contexts[coin] = Context(
                mark_px=positive(row.markPx),
                oracle_px=positive(row.oraclePx),
                funding_rate=number(row.funding),
            )
        except UNREADABLE:
            continue
    if coins and not contexts:
        raise ValueError(f"no context of {', '.join(coins)} can be read")
    return ContextsRead(contexts=contexts, issued_ms=issued_ms)


def _position(coin: str, universe: Sequence[msgspec.Raw], known: Known) -> int | None:
    """Where a perp stands: where it was listed, if that row still names it, else by its name."""
    listed = known.listed.get(coin)
    index = len(universe) if listed is None else listed.market.perp.asset
    if index < len(universe) and name_of(universe[index]) == coin:
        return index
    found = [index for index, row in enumerate(universe) if name_of(row) == coin]
    return found[0] if len(found) == 1 else None


class BookLevel(msgspec.Struct):
    px: str
    sz: str


class _L2(msgspec.Struct):
    coin: str
    time: int
    levels: tuple[list[BookLevel], list[BookLevel]]


def book_of(
    bids: Sequence[BookLevel], asks: Sequence[BookLevel], at_ms: int, listed: Listed, leg: Leg
) -> Book:
    """A book that prices can be taken from: two sides, sorted, not crossed; else `ValueError`."""

    def level(row: BookLevel) -> Level:
        return Level(
            listed.coin_px(leg, positive(row.px)), listed.coin_sz(leg, positive(row.sz))
        )

    book = Book(tuple(map(level, bids)), tuple(map(level, asks)), stamp_ms(at_ms))
    if not book.bids or not book.asks:
        raise ValueError("a side of the book is empty")
    if book.bid_px >= book.ask_px:
        raise ValueError(f"the book is crossed: bid {book.bid_px}, ask {book.ask_px}")
    for better, worse in pairwise(book.bids):
        if better.px <= worse.px:
            raise ValueError(f"bids are not sorted at {worse.px}")
    for better, worse in pairwise(book.asks):
        if better.px >= worse.px:
            raise ValueError(f"asks are not sorted at {worse.px}")
    return book


def read_book(body: bytes | msgspec.Raw, known: Known, seen_ms: int) -> BookSeen | None:
    """`l2Book`; None when it is of an instrument that is not configured."""
    row = decode(body, _L2)
    found = known.by_symbol.get(row.coin)
    if found is None:
        return None
    coin, leg = found
    book = book_of(row.levels[0], row.levels[1], row.time, known.listed[coin], leg)
    return BookSeen(coin=coin, leg=leg, book=book, seen_ms=seen_ms, full=True)


class _Print(msgspec.Struct):
    coin: str
    fundingRate: str
    time: int


def read_prints(body: bytes, coin: str) -> Page[FundingPrint]:
    """`fundingHistory`, ascending."""
    rows = decode(body, list[_Print])
    if any(row.coin != coin for row in rows):
        raise ValueError(f"the funding history is not of {coin} alone")
    prints = [FundingPrint(at_ms=stamp_ms(row.time), rate=number(row.fundingRate)) for row in rows]
    prints.sort(key=lambda row: row.at_ms)
    return Page(prints, len(rows), prints[-1].at_ms if prints else 0)


class _Candle(msgspec.Struct):
    t: int
    T: int
    c: str


def read_closes(body: bytes, window: int, now_ms: int) -> tuple[Decimal, ...]:
    """The last `window` closes of candles that ended before `now_ms`; `T` is a candle's last ms."""
    rows = {stamp_ms(row.t): row for row in decode(body, list[_Candle]) if now_ms > row.T}
    return tuple(positive(rows[t].c) for t in sorted(rows)[-window:])
