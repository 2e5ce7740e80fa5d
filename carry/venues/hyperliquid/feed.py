"""Websocket frames as events. Runs in the thread that decides; one bad message costs itself only.

Channels, also the names of gaps: "fills", "orders", "book:COIN:spot", "book:COIN:perp". A gap means
that something may have been missed and asks for a read: when data was lost, and when a subscription
is acknowledged (a read issued after that and the stream together miss nothing).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from carry.core.observations import BookSeen, Event, FillSeen, OrderSeen
from carry.core.types import Leg

from .account import FillRow, fill_of, status_of
from .metadata import NOTHING_KNOWN, Known
from .parse import UNREADABLE, BookLevel, CoinRow, book_of, decode, read_book

FILLS, ORDERS = "fills", "orders"


class _Frame(msgspec.Struct):
    channel: str
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Bbo(msgspec.Struct):
    coin: str
    time: int
    bbo: tuple[BookLevel | None, BookLevel | None]


class _Fills(msgspec.Struct):
    user: str
    fills: list[msgspec.Raw]


class _UpdatedOrder(msgspec.Struct):
    coin: str
    oid: int
    cloid: str | None = None


class _Update(msgspec.Struct):
    order: _UpdatedOrder
    status: str


class _Subscribed(msgspec.Struct):
    type: str
    coin: str | None = None


class _Ack(msgspec.Struct):
    subscription: _Subscribed
    method: str = "subscribe"


def book_channel(coin: str, leg: Leg) -> str:
    return f"book:{coin}:{leg.value}"


class Feed:
    """What the stream told since the last `drain`. `account`: lowercase address.

    quarantined: messages that could not be decoded; `last_bad`: the newest of them with its reason.
    errors: what the venue said on its error channel, newest last, at most ten.
    """

    def __init__(self, account: str) -> None:
        self.known: Known = NOTHING_KNOWN
        self.quarantined = 0
        self.last_bad = ""
        self.errors: list[str] = []
        self._account = account
        self._events: dict[object, Event] = {}
        self._gaps: dict[str, None] = {}
        self._newest_ms: dict[str, int] = {}
        self._count = 0
        self._readers: Mapping[str, Callable[[msgspec.Raw, int], bool]] = {
            "bbo": self._bbo,
            "l2Book": self._l2,
            "userFills": self._fills,
            "orderUpdates": self._orders,
            "subscriptionResponse": self._ack,
            "error": self._error,
        }

    # --- what is asked for --------------------------------------------------------------

    def subscriptions(self) -> Sequence[Mapping[str, Any]]:
        """Everything to subscribe to on a new connection, own channels first."""
        own: list[Mapping[str, Any]] = [
            {"type": "orderUpdates", "user": self._account},
            {"type": "userFills", "user": self._account},
        ]
        return own + [{"type": "bbo", "coin": symbol} for symbol in self.known.by_symbol]

    def channels(self) -> Iterator[str]:
        yield FILLS
        yield ORDERS
        for coin, leg in self.known.by_symbol.values():
            yield book_channel(coin, leg)

    def lost(self) -> None:
        """The connection broke or messages were dropped: every channel may have missed some."""
        self._gaps.update(dict.fromkeys(self.channels()))

    # --- what arrives -------------------------------------------------------------------

    def take(self, text: bytes, seen_ms: int) -> bool:
        """Decode one frame; True when it was about an own order or fill."""
        if not text.startswith(b"{"):
            return False  # the first frame of a connection is a plain sentence
        try:
            frame = decode(text, _Frame)
            reader = self._readers.get(frame.channel)
            return reader is not None and reader(frame.data, seen_ms)
        except UNREADABLE as error:
            self._bad(text, error)
            self._gap_of(text)
            return False

    def drain(self) -> tuple[tuple[Event, ...], tuple[str, ...]]:
        events, gaps = tuple(self._events.values()), tuple(self._gaps)
        self._events, self._gaps = {}, {}
        return events, gaps

    def ages_ms(self, mono_ms: int) -> Mapping[str, int]:
        return {channel: mono_ms - at_ms for channel, at_ms in self._newest_ms.items()}

    def _bad(self, text: bytes, error: BaseException) -> None:
        self.quarantined += 1
        self.last_bad = f"{error}: {text[:160].decode('utf-8', 'replace')}"

    def _gap_of(self, text: bytes) -> None:
        """Ask for the reads that replace an undecodable message; for all if it is not even JSON."""
        try:
            channel = decode(text, _Frame).channel
        except UNREADABLE:
            self.lost()
            return
        if channel == "userFills":
            self._gaps[FILLS] = None
        elif channel == "orderUpdates":
            self._gaps[ORDERS] = None

    def _add(self, event: Event) -> None:
        self._count += 1
        self._events[self._count] = event

    def _quote(self, seen: BookSeen) -> None:
        """Keep the newest quote only: an older one of the same tick decides nothing."""
        key = (seen.coin, seen.leg, seen.full)
        self._events.pop(key, None)
        self._events[key] = seen
        self._newest_ms[book_channel(seen.coin, seen.leg)] = seen.seen_ms

    def _bbo(self, data: msgspec.Raw, seen_ms: int) -> bool:
        row = decode(data, _Bbo)
        found = self.known.by_symbol.get(row.coin)
        bid, ask = row.bbo
        if found is None or bid is None or ask is None:
            return False  # a one-sided book prices nothing; its channel grows old
        coin, leg = found
        book = book_of((bid,), (ask,), row.time, self.known.listed[coin], leg)
        self._quote(BookSeen(coin=coin, leg=leg, book=book, seen_ms=seen_ms, full=False))
        return False

    def _l2(self, data: msgspec.Raw, seen_ms: int) -> bool:
        seen = read_book(data, self.known, seen_ms)
        if seen is not None:
            self._quote(seen)
        return False

    def _fills(self, data: msgspec.Raw, seen_ms: int) -> bool:
        """A snapshot replays old fills: events like any other, since a fill counts by its id."""
        message = decode(data, _Fills)
        if message.user.lower() != self._account:
            raise ValueError("fills of another account")
        self._newest_ms[FILLS] = seen_ms
        added = False
        for raw in message.fills:
            try:
                found = self.known.by_symbol.get(decode(raw, CoinRow).coin)
                if found is not None:
                    fill = fill_of(decode(raw, FillRow), found[0], found[1], self.known)
                    self._add(FillSeen(fill=fill))
                    added = True
            except UNREADABLE as error:
                self._bad(bytes(raw), error)
                self._gaps[FILLS] = None
        return added

    def _orders(self, data: msgspec.Raw, seen_ms: int) -> bool:
        rows = decode(data, list[msgspec.Raw])
        self._newest_ms[ORDERS] = seen_ms
        added = False
        for raw in rows:
            try:
                row = decode(raw, _Update)
                if row.order.cloid is None or row.order.coin not in self.known.by_symbol:
                    continue
                self._add(
                    OrderSeen(
                        cloid=row.order.cloid,
                        oid=str(row.order.oid),
                        status=status_of(row.status),
                        word=row.status[:40],
                    )
                )
                added = True
            except UNREADABLE as error:
                self._bad(bytes(raw), error)
                self._gaps[ORDERS] = None
        return added

    def _ack(self, data: msgspec.Raw, seen_ms: int) -> bool:
        ack = decode(data, _Ack)
        subscribed = ack.subscription
        if ack.method != "subscribe":
            return False
        if subscribed.type == "userFills":
            self._gaps[FILLS] = None
        elif subscribed.type == "orderUpdates":
            self._gaps[ORDERS] = None
        elif subscribed.coin is not None and subscribed.coin in self.known.by_symbol:
            self._gaps[book_channel(*self.known.by_symbol[subscribed.coin])] = None
        return False

    def _error(self, data: msgspec.Raw, seen_ms: int) -> bool:
        self.errors = [*self.errors, decode(data, str)[:200]][-10:]
        return False
