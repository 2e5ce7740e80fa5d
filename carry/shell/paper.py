"""Paper: a live market's books and funding, and an account that exists here only.

The market is the venue's, read without a key; orders go to a simulated exchange that follows what
was read (`carry.exchange.followed`). It lives here and not in `venues`, since a venue may not know
the exchange (docs/decisions/0005-paper-is-composed-in-the-shell.md).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from carry.core.actions import Place, Write
from carry.core.observations import (
    BookSeen,
    ClosesRead,
    ContextsRead,
    Event,
    Fault,
    MarketsRead,
    Outcome,
    PrintsRead,
)
from carry.core.types import Leg, Market
from carry.exchange.direct import Direct
from carry.exchange.followed import FollowedExchange, Owed
from carry.exchange.gateway import Gateway
from carry.exchange.paths import HOUR_MS
from carry.exchange.state import BadState, Kept, snapshot
from carry.venues.base import Clock, ReadFailed, Venue
from carry.venues.hyperliquid.metadata import Known
from carry.venues.hyperliquid.replies import unsent

from .by_value import DirectVenue, Unmetered
from .database import JournalRefused
from .value_calls import Call
from .value_stream import LocalLink, OwnFeed, ValueStream

AGENT: Final = "0x" + "b" * 40
NETWORK: Final = "paper"
ASK_AGAIN_MS: Final = 20_000  # between two tries for a rate that was not told yet
CANDLES_MAX: Final = 480


def kept_coins(file: Path) -> tuple[str, ...]:
    """The markets an account was made with: it needs them again, whatever the config says."""
    try:
        return tuple(msgspec.json.decode(file.read_bytes())["coins"])
    except FileNotFoundError:
        return ()
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise _damaged(file, error) from None


def _damaged(file: Path, error: BaseException) -> JournalRefused:
    return JournalRefused(
        f"{file}: the paper account cannot be continued ({error}). If the venue does not list one "
        "of its markets, wait for it; to begin anew, move this file and paper's journal away"
    )


class PaperAccount:
    """The simulated account, its exchange and its file.

    file: None keeps it in memory. markets: as the venue lists them at the start.
    """

    def __init__(
        self,
        address: str,
        markets: Mapping[str, Market],
        now_ms: int,
        *,
        funds_usd: Decimal,
        mode: str,
        file: Path | None = None,
    ) -> None:
        self.address = address.lower()
        self.exchange = FollowedExchange(markets, now_ms)
        self._gateway = Gateway(self.exchange, lockstep=True)
        self._file = file
        if file is not None and file.exists():
            self._load(file)
        else:
            self.exchange.open_account(self.address, mode=mode, usdc=funds_usd)
            self.exchange.approve(AGENT, self.address)
            self.save()

    def holds(self) -> tuple[str, ...]:
        """Coins with a short: whose funding matters."""
        account = self.exchange.accounts[self.address]
        return tuple(
            name
            for name, coin in self.exchange.coins.items()
            if account.szi(coin.perp.asset_id)
        )

    def save(self) -> None:
        """The whole account in one step, before anybody hears of the change."""
        if self._file is None or not self.exchange.changed:
            return
        ex = self.exchange
        data = {
            "coins": list(ex.coins),
            "exchange": snapshot(self._gateway),
            "owed": ex.funding.owed,
            "marks": ex.quotes.marks,
        }
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._file.with_name(self._file.name + ".new")
        with new.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(msgspec.json.encode(data))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)
        ex.changed = False

    def _load(self, file: Path) -> None:
        ex = self.exchange
        try:
            data = msgspec.json.decode(file.read_bytes())
            Kept(data["exchange"]).restore(self._gateway)
            ex.funding.owed = [
                Owed(hour, coin, address, Decimal(worth), Decimal(szi))
                for hour, coin, address, worth, szi in data["owed"]
            ]
            ex.quotes.marks = {coin: (px[0], px[1]) for coin, px in data["marks"].items()}
        except (OSError, LookupError, TypeError, ValueError, BadState) as error:
            raise _damaged(file, error) from None


class PaperVenue(DirectVenue):
    """Implements `Venue`: market data of `live`, everything else of `account`.

    Every write is preceded by a look at the live book it would meet.
    """

    network = NETWORK

    def __init__(
        self, live: Venue, account: PaperAccount, coins: Sequence[str], clock: Clock
    ) -> None:
        self._paper, self._live = account, live
        ex = account.exchange
        direct = Direct(ex, account.address, free=True)
        link = LocalLink(ex, direct, NETWORK)
        super().__init__(
            account=account.address, signer=AGENT, coins=coins, clock=clock,
            direct=lambda address: direct, passage=self._carry, link=link,
        )  # fmt: skip
        self.capabilities = live.capabilities
        self.budget_used = Unmetered()
        own = ValueStream(link, OwnFeed(self.account), clock)
        self.stream: Any = PaperStream(live, own, self._seen)
        self._asked_ms: int | None = None

    def close(self) -> None:
        self._paper.save()
        close: Callable[[], None] = getattr(self._live, "close", self._live.stream.stop)
        close()

    # --- the live market ----------------------------------------------------------------

    def markets(self, coins: Sequence[str]) -> MarketsRead:
        read = self._live.markets(coins)
        there = self._paper.exchange.coins
        late = [coin for coin in read.markets if coin not in there]
        self.recall([market for coin, market in read.markets.items() if coin in there])
        return MarketsRead(
            markets={coin: m for coin, m in read.markets.items() if coin in there},
            broken={
                **read.broken,
                **{coin: f"{coin}: paper began without it; start again" for coin in late},
            },
            issued_ms=read.issued_ms,
        )

    def recall(self, markets: Sequence[Market]) -> None:
        super().recall(markets)
        self._live.recall(markets)

    def contexts(self, coins: Sequence[str]) -> ContextsRead:
        read = self._live.contexts(coins)
        for coin, context in read.contexts.items():
            self._paper.exchange.see_prices(coin, context.mark_px, context.oracle_px)
        return read

    def book(self, coin: str, leg: Leg) -> BookSeen:
        seen = self._live.book(coin, leg)
        self._seen(seen)
        return seen

    def prints(self, coin: str, since_ms: int) -> PrintsRead:
        read = self._live.prints(coin, since_ms)
        for one in read.prints:
            self._paper.exchange.see_print(coin, one.at_ms, one.rate)
        return read

    def closes(self, coin: str, interval: str, window: int) -> ClosesRead:
        return self._live.closes(coin, interval, window)

    def faults(self) -> tuple[Fault, ...]:
        return self._live.faults()

    def _seen(self, seen: BookSeen) -> None:
        self._paper.exchange.see_book(seen.coin, seen.leg, seen.book)

    # --- time and funding ---------------------------------------------------------------

    def pass_time(self) -> None:
        """Let the account's exchange reach the venue's present, paying funding on the way."""
        ex = self._paper.exchange
        now_ms = self._now_ms()
        if now_ms > ex.now:
            hour = now_ms // HOUR_MS
            if hour > ex.paid_hour and self._paper.holds():
                self._catch_up(ex.paid_hour + 1, hour)
            ex.advance(now_ms)
        if ex.funding.owed and self._may_ask(now_ms):
            for coin in dict.fromkeys(owed.coin for owed in ex.funding.owed):
                self._learn(coin, min(o.hour for o in ex.funding.owed if o.coin == coin))
            ex.funding.settle()
        self._paper.save()

    def _may_ask(self, now_ms: int) -> bool:
        if self._asked_ms is not None and now_ms - self._asked_ms < ASK_AGAIN_MS:
            return False
        self._asked_ms = now_ms
        return True

    def _catch_up(self, first: int, last: int) -> None:
        """What the hours `first` to `last` were settled at, as far as the venue tells by now.

        Of hours nobody looked at, the oracle is not kept anywhere: the perp's close stands for it.
        """
        ex = self._paper.exchange
        for coin in self._paper.holds():
            self._learn(coin, first)
            if last == first:
                continue
            try:
                closes = self._live.closes(coin, "1h", min(last - first + 1, CANDLES_MAX)).closes
            except ReadFailed:
                continue
            for back, px in enumerate(reversed(closes)):
                ex.see_oracle(coin, last - back, px)

    def _learn(self, coin: str, hour: int) -> None:
        """Rates of an hour and those after it; a venue that does not answer is asked again."""
        try:
            self.prints(coin, hour * HOUR_MS)
        except ReadFailed:
            return

    # --- the account --------------------------------------------------------------------

    def _carry(self, call: Call) -> tuple[int, Any]:
        assert call.do is not None
        self.pass_time()
        answer = call.do(self.account)
        self._paper.save()
        return 200, answer

    def write(self, action: Write) -> Outcome:
        """Send once, classify; an order meets the book as it is now."""
        if isinstance(action, Place):
            try:
                self.book(action.coin, action.leg)
            except ReadFailed as failed:
                return unsent(action, f"the live book could not be read: {failed.text}")
        return super().write(action)


class PaperStream:
    """Both streams as one: quotes of the live market, own orders and fills of the account."""

    def __init__(
        self, live: Venue, own: ValueStream, seen: Callable[[BookSeen], None]
    ) -> None:
        self._live, self._own, self._seen = live.stream, own, seen
        self._events: list[Event] = []
        self._gaps: dict[str, None] = {}

    def __getattr__(self, name: str) -> Any:
        # What a lockstep clock asks of a connection: there is one, the live market's.
        return getattr(self._live, name)

    def know(self, known: Known) -> None:
        self._own.know(known)

    def start(self) -> None:
        self._own.start()
        self._live.start()

    def stop(self) -> None:
        self._live.stop()

    def _take(self) -> None:
        events, gaps = self._live.drain()
        for event in events:
            if isinstance(event, BookSeen):  # not what nobody's account does there
                self._seen(event)
                self._events.append(event)
        self._gaps.update(dict.fromkeys(name for name in gaps if name.startswith("book:")))

    def drain(self) -> tuple[tuple[Event, ...], tuple[str, ...]]:
        self._take()
        own, gaps = self._own.drain()
        mine = tuple(event for event in own if not isinstance(event, BookSeen))
        found = (*self._events, *mine)
        lost = (*self._gaps, *(name for name in gaps if not name.startswith("book:")))
        self._events, self._gaps = [], {}
        return found, lost

    def poll(self, timeout_s: float) -> bool:
        if self._own.poll(0):
            return True
        self._live.poll(timeout_s)
        self._take()
        return self._own.poll(0)

    def received(self) -> int:
        return self._live.received()

    def ages_ms(self, mono_ms: int) -> Mapping[str, int]:
        return {**self._live.ages_ms(mono_ms), **self._own.ages_ms(mono_ms)}
