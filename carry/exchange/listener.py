"""What a stream says by values: own fills, changes of own orders and best quotes, without text."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from carry.core.types import Book, Fill, Leg, Level, Side

from .assets import USDC_TOKEN, Asset
from .sessions import Session
from .text import units

if TYPE_CHECKING:
    from .info import Info
    from .model import Exchange


class Changed(NamedTuple):
    """A new state of an own order, in the venue's word."""

    coin: str
    oid: int
    cloid: str | None
    word: str


class Quoted(NamedTuple):
    """A best bid and offer; `book` is None while a side is empty."""

    coin: str
    leg: Leg
    book: Book | None


class Heard(NamedTuple):
    """One message of a stream: its channel, and what it says as `Fill`, `Changed` or `Quoted`.

    subscribed: what an acknowledgement is about.
    """

    channel: str
    items: Sequence[object] = ()
    subscribed: Mapping[str, Any] = {}


class Listener(Session):
    """A session that hears values."""

    def __init__(self, name: str, exchange: "Exchange") -> None:
        super().__init__(name, exchange.now)
        self._ex = exchange
        self.heard: list[Heard] = []

    def send(self, text: str) -> None:
        self._hear(Heard(""))

    def quote(self, info: "Info", asset: Asset) -> object:
        book, now = self._ex.books[asset.asset_id], self._ex.now
        best = (book.best(bids=bids, now=now) for bids in (True, False))
        return tuple(level and (level.px, level.sz, level.n) for level in best)

    def say(self, message: dict[str, Any]) -> None:
        channel: str = message["channel"]
        data: Any = message.get("data")
        if channel == "bbo":
            asset = self._ex.by_coin[data["coin"]]
            bid, ask = data["bbo"]
            self._hear(Heard(channel, (_quoted(asset, bid, ask, data["time"]),)))
        elif channel == "userFills":
            self._hear(Heard(channel, [fill_of(self._ex, row) for row in data["fills"]]))
        elif channel == "orderUpdates":
            self._hear(Heard(channel, [_changed(self._ex, row) for row in data]))
        elif channel == "subscriptionResponse":
            self._hear(Heard(channel, (), data["subscription"]))
        else:
            self._hear(Heard(channel))

    def _hear(self, heard: Heard) -> None:
        self.heard.append(heard)
        self.sent += 1

    def hear(self) -> list[Heard]:
        """What was not handed over yet."""
        heard, self.heard = self.heard, []
        return heard


def leg_of(asset: Asset) -> Leg:
    return Leg.SPOT if asset.is_spot else Leg.PERP


def level_of(asset: Asset, px: int, sz: int) -> Level:
    return Level(units(px, asset.px_decimals), units(sz, asset.sz_decimals))


def _quoted(asset: Asset, bid: Any, ask: Any, at_ms: int) -> Quoted:
    book = None
    if bid is not None and ask is not None:
        sides = (level_of(asset, *side[:2]) for side in (bid, ask))
        book = Book((next(sides),), (next(sides),), at_ms)
    return Quoted(asset.base, leg_of(asset), book)


def _changed(ex: "Exchange", row: Mapping[str, Any]) -> Changed:
    order = row["order"]
    return Changed(
        ex.by_coin[order["coin"]].base, order["oid"], order.get("cloid"), row["status"]
    )


def fill_of(ex: "Exchange", row: Mapping[str, Any]) -> Fill:
    """A fill as its user's history keeps it."""
    asset = ex.by_coin[row["coin"]]
    return Fill(
        trade_id=f"{row['time']}:{row['coin']}:{row['tid']}:{row['oid']}",
        coin=asset.base,
        leg=leg_of(asset),
        side=Side.BUY if row["side"] == "B" else Side.SELL,
        px=Decimal(row["px"]),
        sz=Decimal(row["sz"]),
        fee=Decimal(row["fee"]),
        fee_in_base=asset.is_spot and row["feeToken"] != ex.token_names[USDC_TOKEN],
        oid=str(row["oid"]),
        cloid=row.get("cloid"),
        at_ms=row["time"],
        kind=row["dir"],
    )
