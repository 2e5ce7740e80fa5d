"""The stream of the exchange by values: what a session heard, as core events, nothing to decode."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from carry.core.observations import BookSeen, FillSeen, OrderSeen
from carry.core.types import Fill
from carry.exchange.direct import Direct
from carry.exchange.listener import Changed, Heard, Listener, Quoted
from carry.exchange.model import Exchange
from carry.venues.base import Clock
from carry.venues.hyperliquid.account import status_of
from carry.venues.hyperliquid.feed import FILLS, ORDERS, Feed, book_channel
from carry.venues.hyperliquid.ws import HyperliquidStream, Link


class ValueLink(Link, Protocol):
    """A `Link` to a session that hears values."""

    def ready(self) -> tuple[Sequence[tuple[int, Any]], bool]:
        """What has arrived, each with the time it was seen, and whether anything was lost."""


NEVER_MS: Final = 1 << 60


class LocalLink:
    """A `ValueLink` inside the process: what the exchange says is there at once."""

    def __init__(self, exchange: Exchange, direct: Direct, name: str) -> None:
        self._ex = exchange
        self.session: Listener = direct.listen(name)
        self.session.heard_ms = NEVER_MS

    def start(self, hello: Callable[[], Sequence[str]]) -> None:
        self.send(hello(), acked=True)

    def send(self, texts: Sequence[str], acked: bool) -> None:
        for text in texts:
            self._ex.receive(self.session, text)
        self.session.heard_ms = NEVER_MS

    def ready(self) -> tuple[Sequence[tuple[int, Any]], bool]:
        now = self._ex.now
        return [(now, heard) for heard in self.session.hear()], False

    def take(self) -> tuple[Sequence[tuple[int, bytes]], bool]:
        return (), False

    def stop(self) -> None: ...
    def tend(self, now_ms: int) -> None: ...
    def abort(self) -> None: ...
    def wait(self, timeout_s: float) -> bool:
        return bool(self.session.heard)

    def is_open(self) -> bool:
        return True

    def received(self) -> int:
        return self.session.sent

    def wait_received(self, count: int, timeout_s: float) -> bool:
        return True

    def wait_closed(self, timeout_s: float) -> bool:
        return True


class ValueFeed(Feed):
    """What a `Listener` heard, as core events."""

    def hear(self, heard: Heard, seen_ms: int) -> bool:
        """True when it was about an own order or fill."""
        if heard.channel == "userFills":
            self._newest_ms[FILLS] = seen_ms
        elif heard.channel == "orderUpdates":
            self._newest_ms[ORDERS] = seen_ms
        elif heard.channel == "subscriptionResponse":
            self._subscribed(heard.subscribed)
        woke = False
        for item in heard.items:
            woke = self._item(item, seen_ms) or woke
        return woke

    def _item(self, item: object, seen_ms: int) -> bool:
        listed = self.known.listed
        if isinstance(item, Quoted):
            if item.coin in listed and item.book is not None:
                self._quote(
                    BookSeen(
                        coin=item.coin, leg=item.leg, book=item.book, seen_ms=seen_ms, full=False
                    )
                )
            return False
        if isinstance(item, Fill) and item.coin in listed:
            self._add(FillSeen(fill=item))
            return True
        if isinstance(item, Changed) and item.coin in listed and item.cloid is not None:
            status = status_of(item.word)
            self._add(
                OrderSeen(cloid=item.cloid, oid=str(item.oid), status=status, word=item.word)
            )
            return True
        return False

    def _subscribed(self, request: Mapping[str, Any]) -> None:
        found = self.known.by_symbol.get(request.get("coin", ""))
        if request["type"] in ("userFills", "orderUpdates"):
            self._gaps[FILLS if request["type"] == "userFills" else ORDERS] = None
        elif found is not None:
            self._gaps[book_channel(*found)] = None


class OwnFeed(ValueFeed):
    """Own orders and fills only: books are heard of elsewhere, or read when they are wanted."""

    def subscriptions(self) -> Sequence[Mapping[str, Any]]:
        return [s for s in super().subscriptions() if s["type"] != "bbo"]


class ValueStream(HyperliquidStream):
    """The stream with the same reconnecting and heartbeats, and nothing to decode."""

    def __init__(self, link: ValueLink, feed: ValueFeed, clock: Clock) -> None:
        super().__init__(link, feed, clock)
        self._values, self._hears = link, feed

    def _take(self) -> bool:
        heard, lost = self._values.ready()
        woke = False
        for seen_ms, message in heard:
            self._heard_ms = max(self._heard_ms, seen_ms)
            woke = self._hears.hear(message, seen_ms) or woke
        if lost:
            self._hears.lost()
        return woke
