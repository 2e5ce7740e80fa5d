"""Market data of the local Aster, as both hosts answer it."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..paths import HOUR_MS, MINUTE_MS, at
from ..text import units
from .errors import Fault, missing
from .symbols import Symbol, exchange_info

if TYPE_CHECKING:
    from .model import Aster

Params = Mapping[str, str]

DEPTHS = (5, 10, 20, 50, 100, 500, 1000)
_INTERVALS_MS = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360,
    "8h": 480, "12h": 720, "1d": 1_440, "3d": 4_320, "1w": 10_080,
}


def plain(value: Decimal, decimals: int) -> str:
    """With a fixed number of decimals, as the venue writes prices and sizes."""
    return f"{value:.{decimals}f}"


class Public:
    """Each method answers one endpoint: (parameters, whether of the spot host) -> JSON value."""

    def __init__(self, exchange: "Aster") -> None:
        self.ex = exchange
        self.gets: dict[str, tuple[Callable[[Params, bool], Any], int]] = {
            "ping": (self.ping, 1),
            "time": (self.time, 1),
            "exchangeInfo": (self.exchange_info, 1),
            "depth": (self.depth, 5),
            "ticker/bookTicker": (self.book_ticker, 1),
            "ticker/price": (self.price, 1),
            "ticker/24hr": (self.day, 1),
            "klines": (self.klines, 2),
            "trades": (self.trades, 1),
            "aggTrades": (self.agg_trades, 20),
        }
        self.perp_gets: dict[str, tuple[Callable[[Params, bool], Any], int]] = {
            "premiumIndex": (self.premium, 1),
            "fundingRate": (self.funding_rate, 1),
            "fundingInfo": (self.funding_info, 1),
        }

    def ping(self, params: Params, spot: bool) -> Any:
        return {}

    def time(self, params: Params, spot: bool) -> Any:
        return {"serverTime": self.ex.now}

    def exchange_info(self, params: Params, spot: bool) -> Any:
        return exchange_info(list(self.ex.symbols[spot].values()), spot=spot, now=self.ex.now)

    def _symbol(self, params: Params, spot: bool) -> Symbol:
        name = params.get("symbol", "")
        if not name:
            raise missing("symbol")
        found = self.ex.symbols[spot].get(name)
        if found is None:
            raise Fault(-1121, "Invalid symbol.")
        return found

    def _each(
        self, params: Params, spot: bool, row: Callable[[Symbol], dict[str, Any]]
    ) -> Any:
        """One symbol's row, or all rows where none is named."""
        if params.get("symbol"):
            return row(self._symbol(params, spot))
        return [row(symbol) for symbol in self.ex.symbols[spot].values()]

    def depth(self, params: Params, spot: bool) -> Any:
        symbol = self._symbol(params, spot)
        text = params.get("limit", "100" if spot else "500")
        if not text.isdigit() or int(text) not in DEPTHS:
            raise Fault(-1130, "Data sent for parameter 'limit' is not valid.")
        book, now = self.ex.books[symbol.asset_id], self.ex.now

        def side(bids: bool) -> list[list[str]]:
            return [
                [plain(book.px(level.px), symbol.px_decimals),
                 plain(book.sz(level.sz), symbol.sz_decimals)]
                for level in book.levels(bids=bids, now=now, limit=int(text))
            ]

        return {
            "lastUpdateId": now, "E": now, "T": now, "bids": side(True), "asks": side(False),
        }

    def _touch(self, symbol: Symbol) -> dict[str, str]:
        book, now = self.ex.books[symbol.asset_id], self.ex.now
        row: dict[str, str] = {}
        for name, bids in (("bid", True), ("ask", False)):
            best = book.best(bids=bids, now=now)
            px, sz = (best.px, best.sz) if best is not None else (0, 0)
            row[f"{name}Price"] = plain(book.px(px), symbol.px_decimals)
            row[f"{name}Qty"] = plain(book.sz(sz), symbol.sz_decimals)
        return row

    def book_ticker(self, params: Params, spot: bool) -> Any:
        # Futures rows alone have lastUpdateId: ccxt tells the hosts apart by it.
        more = {} if spot else {"lastUpdateId": self.ex.now}
        return self._each(
            params, spot,
            lambda s: {"symbol": s.symbol, **self._touch(s), "time": self.ex.now, **more},
        )

    def _last(self, symbol: Symbol, at_ms: int) -> Decimal:
        px = self.ex.quotes.on_tick(symbol, self.ex.quotes.mid8(symbol, at_ms))
        return units(px, symbol.px_decimals)

    def price(self, params: Params, spot: bool) -> Any:
        return self._each(params, spot, lambda s: {
            "symbol": s.symbol, "price": plain(self._last(s, self.ex.now), s.px_decimals),
            "time": self.ex.now,
        })

    def day(self, params: Params, spot: bool) -> Any:
        now = self.ex.now

        def row(s: Symbol) -> dict[str, Any]:
            hours = range(now - 24 * HOUR_MS, now + 1, HOUR_MS)
            prices = [self._last(s, at_ms) for at_ms in hours]
            first, last = prices[0], prices[-1]
            found: dict[str, Any] = {
                "symbol": s.symbol, "priceChange": plain(last - first, s.px_decimals),
                "priceChangePercent": plain((last / first - 1) * 100, 3),
                "weightedAvgPrice": plain(sum(prices, Decimal(0)) / len(prices), 8),
                "lastPrice": plain(last, s.px_decimals),
                "lastQty": plain(Decimal(1).scaleb(-s.sz_decimals), s.sz_decimals),
                "openPrice": plain(first, s.px_decimals),
                "highPrice": plain(max(prices), s.px_decimals),
                "lowPrice": plain(min(prices), s.px_decimals),
                "volume": plain(s.daily_usd / last, s.sz_decimals),
                "quoteVolume": plain(Decimal(s.daily_usd), 8),
                "openTime": now - 24 * HOUR_MS, "closeTime": now, "firstId": 1, "lastId": 2,
                "count": 2,
            }
            if s.is_spot:
                found |= {"baseAsset": s.base, "quoteAsset": "USDT", **self._touch(s)}
            return found

        return self._each(params, spot, row)

    def klines(self, params: Params, spot: bool) -> Any:
        symbol = self._symbol(params, spot)
        minutes = _INTERVALS_MS.get(params.get("interval", ""))
        if minutes is None:
            raise Fault(-1120, "Invalid interval.")
        step, limit = minutes * MINUTE_MS, min(_count(params, "limit", 500), 1_500)
        end = min(_count(params, "endTime", self.ex.now), self.ex.now)
        begin = _count(params, "startTime", end - (limit - 1) * step)
        begin += -begin % step if "startTime" in params else -(begin % step)
        return [
            self._kline(symbol, open_ms, step) for open_ms in range(begin, end + 1, step)
        ][:limit]

    def _kline(self, symbol: Symbol, open_ms: int, step: int) -> list[Any]:
        last = min(open_ms + step, self.ex.now)
        stride = max(step // 60, MINUTE_MS)
        prices = [self._knot(symbol, ms) for ms in range(open_ms, last + 1, stride)]
        volume = Decimal(symbol.daily_usd) * step / (24 * HOUR_MS)
        texts = [
            plain(px, symbol.px_decimals)
            for px in (prices[0], max(prices), min(prices), prices[-1])
        ]
        base = plain(volume / prices[-1], symbol.sz_decimals)
        row = [
            open_ms, *texts, base, open_ms + step - 1, plain(volume, 4), 10, base,
            plain(volume / 2, 4),
        ]
        return row if symbol.is_spot else [*row, "0"]

    def _knot(self, symbol: Symbol, at_ms: int) -> Decimal:
        """The mid without the quotes' cache: history jumps between hours."""
        hour, rest = divmod(at_ms, HOUR_MS)
        path = self.ex.market.path(symbol.base, hour)
        px8 = at(path.spot if symbol.is_spot else path.perp, rest)
        return units(self.ex.quotes.on_tick(symbol, px8), symbol.px_decimals)

    def trades(self, params: Params, spot: bool) -> Any:
        symbol = self._symbol(params, spot)
        rows: list[dict[str, Any]] = []
        step = self.ex.quotes.step_ms
        begin = self.ex.now - self.ex.now % step
        for at_ms in range(begin, begin - 300 * step, -step):
            tape = self.ex.quotes.tape(symbol, at_ms)
            if tape is None:
                continue
            px, sz = units(tape.px, symbol.px_decimals), units(tape.sz, symbol.sz_decimals)
            rows.append({
                "id": at_ms // step, "price": plain(px, symbol.px_decimals),
                "qty": plain(sz, symbol.sz_decimals),
                "baseQty" if spot else "quoteQty": plain(sz if spot else px * sz, 8),
                "time": at_ms, "isBuyerMaker": not tape.is_buy,
            })
        limit = min(_count(params, "limit", 500), 1_000)
        return list(reversed(rows[:limit]))

    def agg_trades(self, params: Params, spot: bool) -> Any:
        return [
            {"a": row["id"], "p": row["price"], "q": row["qty"], "f": row["id"], "l": row["id"],
             "T": row["time"], "m": row["isBuyerMaker"]}
            for row in self.trades(params, spot)
        ]

    # --- futures only ---------------------------------------------------------------------------

    def premium(self, params: Params, spot: bool) -> Any:
        def row(s: Symbol) -> dict[str, Any]:
            due = self.ex.next_payment_ms(s)
            rate = self.ex.rate(s, due, self.ex.now)
            index = plain(self.ex.index(s), 8)
            interest = s.interest * s.interval_ms / (8 * HOUR_MS)
            return {
                "symbol": s.symbol, "markPrice": plain(self.ex.mark(s), 8), "indexPrice": index,
                "estimatedSettlePrice": index, "lastFundingRate": plain(rate, 8),
                "nextFundingTime": due, "interestRate": plain(interest, 8), "time": self.ex.now,
            }

        return self._each(params, False, row)

    def funding_info(self, params: Params, spot: bool) -> Any:
        chosen = [self._symbol(params, False)] if params.get("symbol") else list(
            self.ex.symbols[False].values()
        )
        rows: list[dict[str, Any]] = [
            {
                "symbol": s.symbol,
                "interestRate": plain(s.interest * s.interval_ms / (8 * HOUR_MS), 8),
                "time": self.ex.now, "fundingIntervalHours": s.interval_ms // HOUR_MS,
                "fundingFeeCap": float(s.cap), "fundingFeeFloor": -float(s.cap),
            }
            for s in chosen
        ]
        if not params.get("symbol"):
            # The live list also has symbols that trade no more, with holes in their rows.
            rows.append({
                "symbol": "GNSUSD", "interestRate": "0.00010000", "time": 0,
                "fundingIntervalHours": 8, "fundingFeeCap": None, "fundingFeeFloor": None,
            })
        return rows

    def funding_rate(self, params: Params, spot: bool) -> Any:
        limit = min(_count(params, "limit", 100), 1_000)
        end = min(_count(params, "endTime", self.ex.now), self.ex.now)
        names = [params["symbol"]] if params.get("symbol") else list(self.ex.symbols[False])
        rows: list[dict[str, Any]] = []
        for name in names:
            symbol = self._symbol({"symbol": name}, False)
            step = symbol.interval_ms
            begin = _count(params, "startTime", end - end % step - (limit - 1) * step)
            first = begin + -begin % step
            first = max(first, (self.ex.market.first_hour + 8) * HOUR_MS // step * step + step)
            for paid_ms in range(first, end + 1, step):
                rate = plain(self.ex.rate(symbol, paid_ms), 8)
                rows.append({"symbol": name, "fundingTime": paid_ms, "fundingRate": rate})
        rows.sort(key=lambda row: row["fundingTime"])
        return rows[:limit] if "startTime" in params else rows[-limit:]


def _count(params: Params, name: str, default: int) -> int:
    text = params.get(name, "")
    if not text:
        return default
    if not text.isdigit():
        raise Fault(-1130, f"Data sent for parameter '{name}' is not valid.")
    return int(text)
