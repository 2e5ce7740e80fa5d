"""An order book: the maker's ladder less what users took, merged with users' resting orders."""

from decimal import Decimal
from typing import NamedTuple

from .accounts import Order
from .assets import Asset
from .quotes import Quotes
from .text import units

REFILL_MS = 6_000
"""Liquidity that users took is back after this long, in proportion to the time passed."""


class Resting(NamedTuple):
    """What a taker meets, in the order he meets it: the maker's level, or a user's `order`."""

    px: int
    sz: int
    order: Order | None


class Level(NamedTuple):
    px: int
    sz: int
    n: int


class Book:
    """Price-time priority. A user who was first at a price trades before the maker joins him."""

    def __init__(self, asset: Asset, quotes: Quotes) -> None:
        self.asset = asset
        self.quotes = quotes
        self.orders: dict[bool, list[Order]] = {True: [], False: []}
        self.taken: dict[bool, tuple[int, int]] = {True: (0, 0), False: (0, 0)}
        """By side (True: bids): size missing from the ladder, and since when (ms)."""

    def px(self, value: int) -> Decimal:
        return units(value, self.asset.px_decimals)

    def sz(self, value: int) -> Decimal:
        return units(value, self.asset.sz_decimals)

    def missing(self, *, bids: bool, now: int) -> int:
        """Size users took from this side that has not refilled yet."""
        amount, since = self.taken[bids]
        left_ms = REFILL_MS - (now - since)
        return amount * left_ms // REFILL_MS if amount and left_ms > 0 else 0

    def take(self, *, bids: bool, sz: int, now: int) -> None:
        """A user took `sz` of the maker's liquidity on this side."""
        self.taken[bids] = (self.missing(bids=bids, now=now) + sz, now)

    def maker(self, *, bids: bool, now: int) -> list[tuple[int, int]]:
        """The maker's levels left, best first."""
        levels = self.quotes.ladder(self.asset, bids=bids, time_ms=now)
        gone = self.missing(bids=bids, now=now)
        if not gone:
            return levels
        left: list[tuple[int, int]] = []
        for px, sz in levels:
            if gone >= sz:
                gone -= sz
                continue
            left.append((px, sz - gone))
            gone = 0
        return left

    def maker_size_at(self, px: int, *, bids: bool, now: int) -> int:
        """The maker's size resting at exactly `px`."""
        return sum(sz for level, sz in self.maker(bids=bids, now=now) if level == px)

    def queue(self, *, bids: bool, now: int) -> list[Resting]:
        """Everything a taker of this side meets, best first."""
        maker = [Resting(px, sz, None) for px, sz in self.maker(bids=bids, now=now)]
        users = [Resting(order.px, order.sz, order) for order in self.orders[bids]]
        if not users:
            return maker
        sign = -1 if bids else 1
        return sorted(maker + users, key=lambda r: (sign * r.px, _rank(r)))

    def best(self, *, bids: bool, now: int) -> Level | None:
        """The touch with everyone's size at it."""
        if self.missing(bids=bids, now=now):
            levels = self.levels(bids=bids, now=now, limit=1)
            return levels[0] if levels else None
        px, sz = self.quotes.top(self.asset, bids=bids, time_ms=now)
        n = 1 + sz % 7
        if self.orders[bids]:
            first = self.orders[bids][0].px
            if (first > px) if bids else (first < px):
                px, sz, n = first, 0, 0
            for order in self.orders[bids]:
                if order.px == px:
                    sz += order.sz
                    n += 1
        return Level(px, sz, n)

    def levels(self, *, bids: bool, now: int, limit: int) -> list[Level]:
        """Aggregated levels, best first; `n` counts orders (the maker counts as a few)."""
        if not self.orders[bids]:
            maker = self.maker(bids=bids, now=now)[:limit]
            return [Level(px, sz, 1 + sz % 7) for px, sz in maker]
        merged: dict[int, tuple[int, int]] = {}
        for resting in self.queue(bids=bids, now=now):
            if resting.px not in merged and len(merged) == limit:
                break
            sz, n = merged.get(resting.px, (0, 0))
            count = 1 if resting.order is not None else 1 + resting.sz % 7
            merged[resting.px] = (sz + resting.sz, n + count)
        return [Level(px, sz, n) for px, (sz, n) in merged.items()]

    def touch_mid(self, now: int) -> Decimal | None:
        """The mid of the merged book, None when a side is empty."""
        bid, ask = self.best(bids=True, now=now), self.best(bids=False, now=now)
        if bid is None or ask is None:
            return None
        return units(bid.px + ask.px, self.asset.px_decimals) / 2

    def rest(self, order: Order, now: int) -> None:
        """Adds an order behind everyone at its price."""
        order.ahead = self.maker_size_at(order.px, bids=order.is_buy, now=now)
        side = self.orders[order.is_buy]
        side.append(order)
        sign = -1 if order.is_buy else 1
        side.sort(key=lambda o: (sign * o.px, o.oid))

    def drop(self, order: Order) -> None:
        """Takes an order out of the book, if it is in it."""
        side = self.orders[order.is_buy]
        if order in side:
            side.remove(order)


def _rank(resting: Resting) -> tuple[int, int]:
    if resting.order is None:
        return 1, 0
    return (2 if resting.order.ahead > 0 else 0), resting.order.oid
