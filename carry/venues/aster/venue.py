"""One Aster account as a `Venue`: composition of rest, parsing, filters and signing.

It has no stream: everything is read. No write carries an expiry and no nonce can be burnt for
certain, so that the core decides an unknown order by its record and fills once it can neither land
nor appear any more (see `constants.CAPABILITIES`). Funding is paid at each symbol's own interval;
one bot trades coins of one interval.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

import attrs

from carry.core.actions import (
    Query,
    Write,
)
from carry.core.observations import (
    AgentRead,
    BalancesRead,
    BookSeen,
    BudgetRead,
    ClosesRead,
    Context,
    ContextsRead,
    Fault,
    FeesRead,
    FillsRead,
    LeverageRead,
    MarketsRead,
    ModeRead,
    OpenOrder,
    OpenOrdersRead,
    OrderRecord,
    Outcome,
    PositionsRead,
    PrintsRead,
    ReceiptsRead,
    TransfersRead,
)
from carry.core.types import AccountMode, Fill, FundingReceipt, Leg, Market, Transfer
from carry.core.venue import Capabilities
from carry.venues.base import Clock, Identity, ReadFailed

from . import account as private
from . import parse
from .constants import CAPABILITIES, LATE_RECORD_MS, NONCE_WINDOW_MS, QUOTE, Network
from .quiet import QuietStream
from .replies import Answer, Taken, refusal_text
from .replies import Refused as SaidNo
from .rest import Rest
from .signing import Params
from .writes import Writer

_T = TypeVar("_T")
_WEEK_MS = 7 * 86_400_000
_PAGE_ROWS = 1_000
_PAGES_MAX = 30
_BOOK_LEVELS = "20"
_HOUR_MS = 3_600_000
_ACTIONS_LEFT = 1_000_000
"""The venue has no budget of an address; its limits by the minute are those of `rest`."""


class AsterVenue:
    """Implements `carry.venues.base.Venue`. agent: address of the V3 agent, None with a V1 key."""

    name = "aster"

    def __init__(
        self,
        rest: Rest,
        clock: Clock,
        *,
        network: Network,
        account: str,
        coins: Sequence[str],
        agent: str | None,
    ) -> None:
        self.network = network.value
        self.account = account.lower()
        self.rest = rest
        self.stream = QuietStream()
        self.capabilities: Capabilities = CAPABILITIES
        self.coins = tuple(coins)
        self._clock, self._agent = clock, agent
        self._markets: dict[str, Market] = {}
        self._names: dict[str, str] = {}  # oid -> client id
        self._rates: dict[tuple[str, int], Decimal] = {}
        self._writer = Writer(rest, clock, self._markets, self._names)
        self._began_ms = clock.mono_ms()

    def close(self) -> None:
        self.stream.stop()
        self.rest.close()

    def faults(self) -> tuple[Fault, ...]:
        faults = tuple(self._writer.faults)
        self._writer.faults.clear()
        return faults

    def weight(self) -> tuple[int, int]:
        return self.rest.weight(Leg.PERP)

    def recall(self, markets: Sequence[Market]) -> None:
        for market in markets:
            self._markets.setdefault(market.coin, market)

    def identify(self) -> Identity:
        """The agent's own word for itself; a signature that the venue refuses is the problem."""
        problem, until, name = None, None, None
        # Also which coins, and with them the interval of funding, which the core asks for first.
        self._listed()
        if self._agent is None:
            answer = self._signed_read(Leg.PERP, "/positionSide/dual")
        else:
            answer = self._signed_read(Leg.PERP, "/agent")
        if isinstance(answer, SaidNo):
            if answer.word not in ("identity", "nonce"):
                raise ReadFailed("identity", "unsupported", refusal_text(answer))
            problem = f"agent_refused: {refusal_text(answer)}"
        elif not isinstance(answer, Taken):
            raise ReadFailed("identity", "transport", answer.why)
        elif self._agent is not None:
            with parse.reading("identity"):
                grant = parse.read_agents(answer.body).get(self._agent)
            if grant is not None:
                until, name = grant.expires_ms, "agent"
                if not (grant.can_spot and grant.can_perp):
                    problem = "agent_rights: the agent may not trade both spot and perps"
        return Identity(
            account=self.account,
            role="user",
            master=None,
            agent=self._agent,
            agent_name=name,
            valid_until_at_ms=until,
            problem=problem,
        )

    # --- market data --------------------------------------------------------------------------

    def markets(self, coins: Sequence[str]) -> MarketsRead:
        """Pairs of `coins` with the same symbol on both hosts and one interval of funding."""
        self.coins = tuple(coins)
        issued_ms = self._clock.mono_ms()
        bodies = {leg: self.rest.public("markets", leg, "/exchangeInfo", 1).body for leg in Leg}
        intervals = self.rest.public("markets", Leg.PERP, "/fundingInfo", 1).body
        with parse.reading("markets"):
            for leg, body in bodies.items():
                limit = parse.read_weight_limit(body)
                if limit is not None:
                    self.rest.weight_max[leg] = limit
        found: dict[str, Market] = {}
        broken: dict[str, str] = {}
        hours: int | None = None
        for coin in coins:
            try:
                market = self._pair(coin, bodies)
                own = parse.read_interval_h(intervals, market.perp.symbol)
                hours = own if hours is None else hours
                if own != hours:
                    raise ValueError(
                        f"{coin} pays funding every {own} h and {next(iter(found))} every {hours} "
                        "h: give it a config of its own"
                    )
            except parse.UNREADABLE as error:
                broken[coin] = str(error)[:200]
                continue
            found[coin] = market
        self._markets.update(found)
        if hours is not None:
            interval_ms = hours * _HOUR_MS
            self.capabilities = attrs.evolve(self.capabilities, funding_interval_ms=interval_ms)
        return MarketsRead(markets=found, broken=broken, issued_ms=issued_ms)

    def _pair(self, coin: str, bodies: Mapping[Leg, bytes]) -> Market:
        symbols: dict[Leg, parse.Symbol] = {}
        for leg, body in bodies.items():
            symbol = parse.read_symbol(body, leg, f"{coin}{QUOTE}")
            if symbol is None:
                raise ValueError(f"{coin}{QUOTE} is not listed on {leg.value}")
            symbols[leg] = symbol
        return private.market_of(coin, symbols[Leg.SPOT], symbols[Leg.PERP])

    def _listed(self) -> Mapping[str, Market]:
        """What is known, read first if nothing is."""
        if not self._markets and self.coins:
            self.markets(self.coins)
        return self._markets

    def _symbol(self, source: str, coin: str, leg: Leg) -> str:
        market = self._listed().get(coin)
        if market is None:
            raise ReadFailed(source, "unsupported", f"{coin} is not among the readable markets")
        return market.instrument(leg).symbol

    def contexts(self, coins: Sequence[str]) -> ContextsRead:
        issued_ms = self._clock.mono_ms()
        contexts: dict[str, Context] = {}
        for coin in coins:
            if coin not in self._listed():
                continue
            symbol = self._symbol("contexts", coin, Leg.PERP)
            answer = self.rest.public(
                "contexts", Leg.PERP, "/premiumIndex", 1, (("symbol", symbol),)
            )
            with parse.reading("contexts"):
                row = parse.read_premium(answer.body, symbol)
            contexts[coin] = Context(
                mark_px=row.mark_px, oracle_px=row.index_px, funding_rate=row.rate
            )
        return ContextsRead(contexts=contexts, issued_ms=issued_ms)

    def book(self, coin: str, leg: Leg) -> BookSeen:
        source = f"book:{coin}:{leg.value}"
        params = (("symbol", self._symbol(source, coin, leg)), ("limit", _BOOK_LEVELS))
        answer = self.rest.public(source, leg, "/depth", 2, params)
        with parse.reading(source):
            book = parse.read_book(answer.body, self._now_ms())
        self._clock.saw_venue(book.at_ms, answer.sent_ms)
        return BookSeen(coin=coin, leg=leg, book=book, seen_ms=self._clock.mono_ms(), full=True)

    def prints(self, coin: str, since_ms: int) -> PrintsRead:
        source = f"prints:{coin}"
        symbol = self._symbol(source, coin, Leg.PERP)
        issued_ms = self._clock.mono_ms()
        params = (("symbol", symbol), ("startTime", str(since_ms)), ("limit", "1000"))
        answer = self.rest.public(source, Leg.PERP, "/fundingRate", 1, params)
        with parse.reading(source):
            prints = private.read_prints(answer.body, symbol)
        self._rates.update({(coin, one.at_ms // _HOUR_MS): one.rate for one in prints})
        return PrintsRead(coin=coin, prints=tuple(prints), issued_ms=issued_ms)

    def closes(self, coin: str, interval: str, window: int) -> ClosesRead:
        source = f"closes:{coin}"
        symbol = self._symbol(source, coin, Leg.PERP)
        params = (("symbol", symbol), ("interval", interval), ("limit", str(window + 1)))
        answer = self.rest.public(source, Leg.PERP, "/klines", 2 if window < 500 else 10, params)
        with parse.reading(source):
            closes = private.read_closes(answer.body, window, self._now_ms())
        return ClosesRead(coin=coin, interval=interval, closes=closes, issued_ms=answer.sent_ms)

    def _now_ms(self) -> int:
        return self.rest.now_us(Leg.PERP) // 1_000

    # --- account reads ------------------------------------------------------------------------

    def _signed_read(self, leg: Leg, name: str, params: Params = ()) -> Answer:
        return self.rest.signed(leg, "GET", name, params)

    def mode(self) -> ModeRead:
        """Two wallets. Hedge mode and multi-assets mode are none that this bot can trade in."""
        issued_ms = self._clock.mono_ms()
        hedge = self.rest.read("mode", Leg.PERP, "/positionSide/dual", 30)
        multi = self.rest.read("mode", Leg.PERP, "/multiAssetsMargin", 30)
        with parse.reading("mode"):
            if parse.read_hedge_mode(hedge.body):
                return ModeRead(mode=AccountMode.UNKNOWN, word="hedge mode", issued_ms=issued_ms)
            if parse.read_multi_assets(multi.body):
                word = "multi-assets mode"
                return ModeRead(mode=AccountMode.UNKNOWN, word=word, issued_ms=issued_ms)
        return ModeRead(mode=AccountMode.SPLIT, word="split", issued_ms=issued_ms)

    def positions(self) -> PositionsRead:
        markets, at_ms = self._listed(), self._now_ms()
        answer = self.rest.read("positions", Leg.PERP, "/accountWithJoinMargin", 5)
        with parse.reading("positions"):
            return private.read_positions(answer.body, markets, at_ms, answer.sent_ms)

    def balances(self) -> BalancesRead:
        markets = self._listed()
        answer = self.rest.read("balances", Leg.SPOT, "/account", 5)
        with parse.reading("balances"):
            return private.read_balances(answer.body, markets, answer.sent_ms)

    def open_orders(self) -> OpenOrdersRead:
        issued_ms = self._clock.mono_ms()
        orders: list[OpenOrder] = []
        for coin, market in self._listed().items():
            for leg in Leg:
                symbol = market.instrument(leg).symbol
                answer = self.rest.read("orders", leg, "/openOrders", 1, (("symbol", symbol),))
                with parse.reading("orders"):
                    found = private.read_open(answer.body, coin, leg, symbol)
                self._names.update({row.oid: row.cloid or "" for row in found})
                orders += found
        return OpenOrdersRead(orders=tuple(orders), issued_ms=issued_ms)

    def fills(self, since_ms: int) -> FillsRead:
        issued_ms, issued_venue_ms = self._clock.mono_ms(), self._now_ms()
        fills: list[Fill] = []
        for coin, market in self._listed().items():
            for leg in Leg:
                symbol = market.instrument(leg).symbol

                def read(
                    body: bytes, coin: str = coin, leg: Leg = leg, s: str = symbol
                ) -> list[private.Trade]:
                    return private.read_trades(body, coin, leg, s)

                trades = self._history(
                    "fills", leg, "/userTrades", (("symbol", symbol),), since_ms, read,
                    lambda trade: (trade.at_ms, trade.fill.trade_id),
                )  # fmt: skip
                fills += [
                    attrs.evolve(trade.fill, cloid=self._name_of(leg, symbol, trade.oid))
                    for trade in trades
                ]
        fills.sort(key=lambda fill: fill.at_ms)
        return FillsRead(
            fills=tuple(fills),
            since_ms=since_ms,
            issued_ms=issued_ms,
            issued_venue_ms=issued_venue_ms,
        )

    def _name_of(self, leg: Leg, symbol: str, oid: str) -> str | None:
        """The client id of an order: fills do not tell it, and by it the core knows its own."""
        if oid not in self._names:
            params = (("symbol", symbol), ("orderId", oid))
            answer = self.rest.read("fills", leg, "/order", 1, params)
            with parse.reading("fills"):
                self._names[oid] = parse.read_order(answer.body).client_id
        return self._names[oid] or None

    def receipts(self, since_ms: int) -> ReceiptsRead:
        issued_ms, markets = self._clock.mono_ms(), self._listed()

        def read(body: bytes) -> list[FundingReceipt]:
            return private.read_receipts(body, markets, self._rates)

        params = (("incomeType", "FUNDING_FEE"),)
        found = self._history(
            "receipts", Leg.PERP, "/income", params, since_ms, read,
            lambda row: (row.at_ms, row.coin),
        )  # fmt: skip
        return ReceiptsRead(receipts=tuple(found), since_ms=since_ms, issued_ms=issued_ms)

    def transfers(self, since_ms: int) -> TransfersRead:
        issued_ms = self._clock.mono_ms()

        def read(body: bytes) -> list[Transfer]:
            return private.read_transfers(body)

        params = (("incomeType", "TRANSFER"),)
        found = self._history(
            "transfers", Leg.PERP, "/income", params, since_ms, read,
            lambda row: (row.at_ms, row.transfer_id),
        )  # fmt: skip
        return TransfersRead(transfers=tuple(found), since_ms=since_ms, issued_ms=issued_ms)

    def _history(
        self,
        source: str,
        leg: Leg,
        name: str,
        params: Params,
        since_ms: int,
        read: Callable[[bytes], list[_T]],
        key: Callable[[_T], tuple[int, str]],
    ) -> list[_T]:
        """All rows from `since_ms` on, each once: windows of a week, and pages within them.

        A page that is full is read on from its newest time, inclusive: rows of the same millisecond
        may be split between two pages.
        """
        weight = 30 if name == "/income" else 5
        found: dict[tuple[int, str], _T] = {}
        # A row may be stamped a little ahead of the clock that is read from here.
        from_ms, end_ms = since_ms, self._now_ms() + 60_000
        for _ in range(_PAGES_MAX):
            until_ms = min(from_ms + _WEEK_MS - 1, end_ms)
            window = (("startTime", str(from_ms)), ("endTime", str(until_ms)), ("limit", "1000"))
            answer = self.rest.read(source, leg, name, weight, (*params, *window))
            with parse.reading(source):
                rows = len(parse.decode(answer.body, list[object]))
                items = read(answer.body)
                found.update((key(item), item) for item in items)
                if rows >= _PAGE_ROWS:
                    newest_ms = max((key(item)[0] for item in items), default=from_ms)
                    if newest_ms <= from_ms:
                        raise ValueError(f"{rows} rows in one millisecond, {from_ms}")
                    from_ms = newest_ms
                    continue
            if until_ms >= end_ms:
                return [found[each] for each in sorted(found)]
            from_ms = until_ms + 1
        raise ReadFailed(source, "unsupported", f"more than {_PAGES_MAX} pages since {since_ms}")

    def fees(self) -> FeesRead:
        """Rates of the first market; they are the account's, and the same for all of a host."""
        coin = next(iter(self._listed()), None)
        if coin is None:
            raise ReadFailed("fees", "unsupported", "no market can be read")
        bodies: dict[Leg, bytes] = {}
        issued_ms = self._clock.mono_ms()
        for leg in Leg:
            params = (("symbol", self._symbol("fees", coin, leg)),)
            bodies[leg] = self.rest.read("fees", leg, "/commissionRate", 20, params).body
        with parse.reading("fees"):
            fees = private.read_fees(bodies[Leg.SPOT], bodies[Leg.PERP])
        return FeesRead(fees=fees, issued_ms=issued_ms)

    def leverage(self, coin: str) -> LeverageRead:
        source = f"leverage:{coin}"
        symbol = self._symbol(source, coin, Leg.PERP)
        answer = self.rest.read(source, Leg.PERP, "/positionRisk", 5, (("symbol", symbol),))
        with parse.reading(source):
            rows = [row for row in parse.read_risk(answer.body) if row.symbol == symbol]
            if len(rows) != 1:
                raise ValueError(f"{len(rows)} rows of {symbol}, not one")
        return LeverageRead(
            coin=coin, leverage=rows[0].leverage, cross=rows[0].cross, issued_ms=answer.sent_ms
        )

    def budget(self) -> BudgetRead:
        return BudgetRead(actions_left=_ACTIONS_LEFT, issued_ms=self._clock.mono_ms())

    def agent_read(self) -> AgentRead:
        issued_ms = self._clock.mono_ms()
        until = None
        if self._agent is not None:
            answer = self.rest.read("agent", Leg.PERP, "/agent", 1)
            with parse.reading("agent"):
                grant = parse.read_agents(answer.body).get(self._agent)
            until = None if grant is None else grant.expires_ms
        return AgentRead(valid_until_at_ms=until, issued_ms=issued_ms)

    def order(self, query: Query) -> OrderRecord:
        source = f"order:{query.cloid}"
        symbol = self._symbol(source, query.coin, query.leg)
        issued_ms = self._clock.mono_ms()
        order = self._writer.record(query.leg, symbol, query.cloid)
        if order is None:
            # An order lands within the nonce's window and is told of after a lag. One of an earlier
            # process left before this one began.
            left_ms = self._writer.sent_ms.get(query.cloid, self._began_ms)
            wait_ms = left_ms + NONCE_WINDOW_MS + LATE_RECORD_MS - issued_ms
            if wait_ms > 0:
                why = f"no such order yet; that proves something in {wait_ms} ms"
                raise ReadFailed(source, "unsupported", why)
            return OrderRecord(
                intent=query.intent,
                status="unknown",
                oid=None,
                word="no such order",
                issued_ms=issued_ms,
            )
        status = "open" if order.open else "filled" if order.word == "FILLED" else "gone"
        return OrderRecord(
            intent=query.intent, status=status, oid=order.oid, word=order.word, issued_ms=issued_ms
        )

    def write(self, action: Write) -> Outcome:
        """Sign, check, send once, classify. Never raises."""
        return self._writer.write(action)
