"""`/info`: what the exchange answers to unsigned reads about markets."""

from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from .assets import (
    FILLER_PAIRS,
    GHOST_CTX_COINS,
    PATH_DECIMALS,
    Asset,
    all_coins,
    perp_meta,
    spot_meta,
)
from .candles import INTERVALS_MS, Candles
from .engine import HOUSE
from .noise import mix
from .paths import HOUR_MS
from .reads import Reads
from .rights import Rights
from .text import units, wire, wire_int
from .universe import Universe

if TYPE_CHECKING:
    from .model import Exchange

BAD_BODY = b"Failed to deserialize the JSON body into the target type"
ROWS_MAX = 500
CANDLES_MAX = 5_000
TRADES_KEPT = 10
TRADES_LOOKBACK = 40
DAY_MS = 24 * HOUR_MS

WEIGHT_2 = (
    "l2Book", "allMids", "clearinghouseState", "orderStatus", "spotClearinghouseState",
    "exchangeStatus",
)
WEIGHT_60 = ("userRole",)
ROWS_A_WEIGHT = {
    "recentTrades": 20, "historicalOrders": 20, "userFills": 20, "userFillsByTime": 20,
    "fundingHistory": 20, "userFunding": 20, "userNonFundingLedgerUpdates": 20,
    "twapHistory": 20, "userTwapSliceFills": 20, "userTwapSliceFillsByTime": 20,
    "delegatorHistory": 20, "delegatorRewards": 20, "candleSnapshot": 60,
}


class BadRequest(Exception):
    """A body the venue cannot deserialize: 422, or whatever it answers instead."""

    def __init__(self, status: int = 422) -> None:
        super().__init__(status)
        self.status = status


class NoSuchCoin(Exception):
    """A read for a coin or dex that does not exist."""


class Info(Reads):
    """Market reads here, account reads in `Reads`."""

    intervals = INTERVALS_MS

    def __init__(self, exchange: "Exchange") -> None:
        super().__init__(exchange)
        self._candles = Candles(exchange.market)
        self._perp_meta = perp_meta(exchange.coins)
        self._spot_meta = spot_meta(dense=exchange.switches["token_rows"] == "dense")
        self._trades: dict[int, deque[dict[str, Any]]] = {}
        self._kept_levels: dict[object, tuple[int, list[list[dict[str, Any]]]]] = {}
        self._known = all_coins()
        self.rights = Rights(exchange)
        self._static = {
            "meta": msgspec.json.encode(self._perp_meta),
            "spotMeta": msgspec.json.encode(self._spot_meta),
        }
        self._by_type: dict[str, Callable[[dict[str, Any]], Any]] = {
            "metaAndAssetCtxs": lambda q: self.perps(),
            "spotMetaAndAssetCtxs": lambda q: [
                msgspec.Raw(self._static["spotMeta"]), self.spots()
            ],
            "allMids": lambda q: self.mids(),
            "l2Book": lambda q: self.book(self._asset(q["coin"]), q),
            "recentTrades": lambda q: self.recent_trades(self._asset(q["coin"])),
            "candleSnapshot": self._candle_snapshot,
            "fundingHistory": self._funding_history,
            "predictedFundings": lambda q: self._predicted(),
            "exchangeStatus": lambda q: {"time": self.ex.now, "specialStatuses": None},
            **self.account_reads(),
            **self.rights.handlers(),
            **Universe(exchange, self._perp_meta, self._spot_meta).handlers(),
        }

    def answer(self, query: Any) -> tuple[bytes, int]:
        """(JSON, IP weight) of a query. Raises BadRequest where the venue answers 422."""
        kind = query.get("type") if isinstance(query, dict) else None
        if isinstance(kind, str) and kind in self._static and not query.get("dex"):
            return self._static[kind], 20
        data, weight = self.look(query, kind)
        return msgspec.json.encode(data), weight

    def look(self, query: Any, kind: object) -> tuple[Any, int]:
        """As `answer`, before it is text."""
        handler = self._by_type.get(kind) if isinstance(kind, str) else None
        if handler is None:
            raise BadRequest
        try:
            if query.get("dex"):
                raise NoSuchCoin(query["dex"])
            data = handler(query)
        except NoSuchCoin as error:
            raise BadRequest(int(self.ex.switches["bad_coin"])) from error
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise BadRequest from error
        assert isinstance(kind, str), kind
        weight = 2 if kind in WEIGHT_2 else 60 if kind in WEIGHT_60 else 20
        rows_a_weight = ROWS_A_WEIGHT.get(kind)
        if rows_a_weight is not None:
            weight += len(data) // rows_a_weight
        return data, weight

    def _asset(self, coin: object) -> Asset:
        asset = self.ex.by_coin.get(str(coin))
        if asset is None:
            raise NoSuchCoin(coin)
        return asset

    def set_margin_mode(self, asset: Asset, mode: str) -> None:
        row = self._perp_meta["universe"][asset.asset_id]
        row["marginMode"], row["onlyIsolated"] = mode, True
        self._static["meta"] = msgspec.json.encode(self._perp_meta)

    def delist(self, asset: Asset) -> None:
        """The row stays where it is: the position of a row is its asset id."""
        self._perp_meta["universe"][asset.asset_id]["isDelisted"] = True
        self._static["meta"] = msgspec.json.encode(self._perp_meta)

    # Prices.

    def mids(self) -> dict[str, str]:
        """Mid of every book; a coin that nobody quotes keeps its last price, however old."""
        mids: dict[str, str] = {}
        for coin in self._known.values():
            for asset in (coin.perp, coin.spot):
                mids[asset.coin] = self.mid_text(asset) or wire(
                    units(coin.start_px8, PATH_DECIMALS).quantize(Decimal("0.0001"))
                )
        return mids

    def mark_text(self, asset: Asset) -> str:
        """The mark of a perp, the mid of spot."""
        return wire_int(self.ex.triggers.px_now(asset), asset.px_decimals)

    def mid_text(self, asset: Asset) -> str | None:
        if asset.base not in self.ex.coins:
            return None
        mid = self.ex.books[asset.asset_id].touch_mid(self.ex.now)
        return None if mid is None else wire(mid)

    def bbo(self, asset: Asset) -> list[dict[str, Any] | None]:
        book = self.ex.books[asset.asset_id]
        sides: list[dict[str, Any] | None] = []
        for bids in (True, False):
            level = book.best(bids=bids, now=self.ex.now)
            sides.append(
                None
                if level is None
                else {
                    "px": wire_int(level.px, asset.px_decimals),
                    "sz": wire_int(level.sz, asset.sz_decimals), "n": level.n,
                }
            )
        return sides

    def book(self, asset: Asset, query: dict[str, Any]) -> dict[str, Any]:
        """Up to 20 levels a side; `fast` has 5. nSigFigs rounds bids down and asks up."""
        figures, mantissa = query.get("nSigFigs"), query.get("mantissa") or 1
        limit = 5 if query.get("fast") is True else 20
        levels: list[list[dict[str, Any]]] = [[], []]
        if asset.base in self.ex.coins and asset.asset_id not in self.ex.delisted:
            levels = self._levels(asset, limit, figures, mantissa)
        data: dict[str, Any] = {"coin": asset.coin, "time": self.ex.now, "levels": levels}
        if query.get("fast") is True:
            data["fast"] = True
        if figures is not None and all(levels):
            data["spread"] = wire(Decimal(levels[1][0]["px"]) - Decimal(levels[0][0]["px"]))
        return data

    def _levels(
        self, asset: Asset, limit: int, figures: int | None, mantissa: int
    ) -> list[list[dict[str, Any]]]:
        """Both sides as the wire has them; kept while the maker is alone and does not move."""
        book, now = self.ex.books[asset.asset_id], self.ex.now
        alone = not (book.orders[True] or book.orders[False]) and not any(
            book.missing(bids=bids, now=now) for bids in (True, False)
        )
        slot, step = (asset.asset_id, limit, figures, mantissa), now // self.ex.quotes.step_ms
        kept = self._kept_levels.get(slot)
        if alone and kept is not None and kept[0] == step:
            return kept[1]
        levels: list[list[dict[str, Any]]] = []
        for bids in (True, False):
            found = book.levels(bids=bids, now=now, limit=limit if figures is None else 1_000)
            rows = [(level.px, level.sz, level.n) for level in found]
            if figures is not None:
                rows = _aggregate(rows, int(figures), int(mantissa), bids=bids)[:limit]
            levels.append(
                [
                    {
                        "px": wire_int(px, asset.px_decimals),
                        "sz": wire_int(sz, asset.sz_decimals), "n": n,
                    }
                    for px, sz, n in rows
                ]
            )
        if alone:
            self._kept_levels[slot] = (step, levels)
        return levels

    def perp_ctx(self, asset: Asset) -> dict[str, Any]:
        ex, now = self.ex, self.ex.now
        if asset.base not in ex.coins or asset.asset_id in ex.delisted:
            return _dead_perp_ctx()
        book = ex.books[asset.asset_id]
        bid, ask = ex.quotes.touch(asset, now)
        sample = ex.funding.sample(asset, now)
        before = ex.quotes.on_tick(asset, ex.quotes.mid8(asset, now - DAY_MS))
        mid = book.touch_mid(now)
        volume, base = self._day_volume(asset)
        return {
            "funding": wire(ex.funding.predicted(asset.coin, now)),
            "openInterest": wire_int(asset.daily_usd * 10 ** asset.px_decimals // (2 * bid), 0),
            "prevDayPx": wire_int(before, asset.px_decimals), "dayNtlVlm": volume,
            "premium": wire_int(sample, 10),
            "oraclePx": wire_int(ex.quotes.oracle(asset, now), asset.px_decimals),
            "markPx": wire_int(ex.quotes.mark(asset, now), asset.px_decimals),
            "midPx": None if mid is None else wire(mid),
            "impactPxs": [wire_int(px, asset.px_decimals) for px in (bid, ask)],
            "dayBaseVlm": base,
        }

    def perps(self) -> tuple[msgspec.Raw, list[dict[str, Any]]]:
        """(meta as encoded, a context for each of its rows)."""
        return msgspec.Raw(self._static["meta"]), self._perp_ctxs()

    def _perp_ctxs(self) -> list[dict[str, Any]]:
        live = {coin.perp.asset_id: coin.perp for coin in self.ex.coins.values()}
        return [
            self.perp_ctx(live[index]) if index in live else _dead_perp_ctx()
            for index in range(len(self._perp_meta["universe"]))
        ]

    def spot_ctx(self, asset: Asset) -> dict[str, Any]:
        ex, now = self.ex, self.ex.now
        if asset.base not in ex.coins:
            return _dead_spot_ctx(asset.coin)
        mid_px = ex.quotes.on_tick(asset, ex.quotes.mid8(asset, now))
        before = ex.quotes.on_tick(asset, ex.quotes.mid8(asset, now - DAY_MS))
        volume, base = self._day_volume(asset)
        return {
            "prevDayPx": wire_int(before, asset.px_decimals), "dayNtlVlm": volume,
            "markPx": wire_int(mid_px, asset.px_decimals), "midPx": self.mid_text(asset),
            "circulatingSupply": "20999999.9990066476", "coin": asset.coin,
            "totalSupply": "20999999.9990158156", "dayBaseVlm": base,
        }

    def spots(self) -> list[dict[str, Any]]:
        """Not aligned with the universe: rows of pairs it does not list come in between."""
        rows: list[dict[str, Any]] = []
        ghosts = list(GHOST_CTX_COINS)
        for coin in self._known.values():
            rows.append(_dead_spot_ctx(ghosts.pop()))
            rows.append(self.spot_ctx(coin.spot))
        rows += [_dead_spot_ctx(f"@{pair}") for pair, _, _ in FILLER_PAIRS]
        rows += [_dead_spot_ctx(ghost) for ghost in ghosts]
        return rows

    def _day_volume(self, asset: Asset) -> tuple[str, str]:
        day = mix(self.ex.seed * 1_000_003 + asset.asset_id * 997 + self.ex.now // DAY_MS)
        usd = asset.daily_usd * (60 + day % 80) // 100
        px = self.ex.quotes.on_tick(asset, self.ex.quotes.mid8(asset, self.ex.now))
        base = usd * asset.unit // px
        return wire_int(usd, 0), wire_int(base, asset.sz_decimals)

    # Trades and history.

    def strangers_trade(self, asset: Asset, time_ms: int) -> dict[str, Any] | None:
        """The tape of one grid step, if somebody traded: the same row whoever asks, whenever."""
        quotes = self.ex.quotes
        time_ms -= time_ms % quotes.step_ms
        tape = quotes.tape(asset, time_ms)
        if tape is None:
            return None
        bits = mix(time_ms * 131 + asset.asset_id)
        return {
            "coin": asset.coin, "side": "B" if tape.is_buy else "A",
            "px": wire_int(tape.px, asset.px_decimals),
            "sz": wire_int(tape.sz, asset.sz_decimals), "time": time_ms,
            "hash": f"0x{bits:064x}", "tid": bits >> 14, "users": [HOUSE, HOUSE],
        }

    def remember_trade(self, asset: Asset, row: dict[str, Any]) -> None:
        """Keeps a trade of a user; strangers' can be asked for again."""
        self._trades.setdefault(asset.asset_id, deque(maxlen=TRADES_KEPT)).append(row)

    def recent_trades(self, asset: Asset) -> list[dict[str, Any]]:
        """Newest first."""
        if asset.base not in self.ex.coins:
            return []
        rows = list(self._trades.get(asset.asset_id, ()))
        step = self.ex.quotes.step_ms
        for back in range(TRADES_LOOKBACK):
            row = self.strangers_trade(asset, self.ex.now - back * step)
            if row is not None:
                rows.append(row)
        rows.sort(key=lambda row: -row["time"])
        return rows[:TRADES_KEPT]

    def candles(self, asset: Asset, interval: str, start: int, end: int) -> list[dict[str, Any]]:
        """Candles whose span touches [start, end], the forming one included."""
        return self._candles.rows(asset, interval, start, min(end, self.ex.now), CANDLES_MAX)

    def closes(
        self, asset: Asset, interval: str, start: int, end: int
    ) -> list[tuple[int, int]]:
        """(begin, close in book units) of the same candles."""
        return self._candles.closes(asset, interval, start, min(end, self.ex.now), CANDLES_MAX)

    def _candle_snapshot(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        req = query["req"]
        asset = self._asset(req["coin"])
        if asset.base not in self.ex.coins:
            return []
        start, end = int(req["startTime"]), int(req.get("endTime") or self.ex.now)
        return self.candles(asset, req["interval"], start, end)

    def _funding_history(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        ex = self.ex
        name = str(query["coin"])
        start, end = int(query["startTime"]), int(query.get("endTime") or ex.now)
        if name not in ex.coins:
            self._asset(name)
            return []
        return [
            {"coin": name, "fundingRate": wire(rate), "premium": wire(premium), "time": stamp}
            for stamp, rate, premium in islice(self.charges(name, start, end), ROWS_MAX)
        ]

    def charges(
        self, name: str, start: int, end: int
    ) -> Iterator[tuple[int, Decimal, Decimal]]:
        """(time, rate, mean premium) of the hours charged within [start, end], up to now."""
        ex = self.ex
        # A computed hour needs the samples of the hour before it.
        computed = 0 if ex.market.prints_funding else 1
        hour = max(start // HOUR_MS, ex.market.first_hour + computed)
        while (stamp := ex.funding.stamp(hour)) <= min(end, ex.now):
            charged = ex.funding.charged(name, hour) if stamp >= start else None
            if charged is not None:
                yield stamp, *charged
            hour += 1

    def _predicted(self) -> list[Any]:
        """HlPerp's nextFundingTime lies in the past, as measured on the venue."""
        now = self.ex.now
        last_hour = now - now % HOUR_MS
        rows: list[Any] = []
        for coin in self.ex.coins.values():
            rate = self.ex.funding.predicted(coin.name, now)
            mine = {
                "fundingRate": wire(rate), "nextFundingTime": last_hour,
                "fundingIntervalHours": 1,
            }
            binance = {
                "fundingRate": "0.0001", "nextFundingTime": last_hour - last_hour % (8 * HOUR_MS)
                + 8 * HOUR_MS, "fundingIntervalHours": 8,
            }
            rows.append(
                [coin.name, [["BinPerp", binance], ["HlPerp", mine], ["BybitPerp", None]]]
            )
        return rows


def _aggregate(
    rows: list[tuple[int, int, int]], figures: int, mantissa: int, *, bids: bool
) -> list[tuple[int, int, int]]:
    if not 2 <= figures <= 5 or mantissa not in (1, 2, 5):
        raise ValueError(f"nSigFigs {figures}, mantissa {mantissa}")
    merged: dict[int, tuple[int, int]] = {}
    for px, sz, n in rows:
        step = mantissa * 10 ** max(len(str(px)) - figures, 0)
        rounded = px - px % step if bids else px + -px % step
        have, count = merged.get(rounded, (0, 0))
        merged[rounded] = (have + sz, count + n)
    return [(px, sz, n) for px, (sz, n) in merged.items()]


def _dead_perp_ctx() -> dict[str, Any]:
    return {
        "funding": "0.0", "openInterest": "0.0", "prevDayPx": "0.5", "dayNtlVlm": "0.0",
        "premium": None, "oraclePx": "0.5", "markPx": "0.5", "midPx": None, "impactPxs": None,
        "dayBaseVlm": "0.0",
    }


def _dead_spot_ctx(coin: str) -> dict[str, Any]:
    return {
        "prevDayPx": "0.5", "dayNtlVlm": "0.0", "markPx": "0.5", "midPx": None,
        "circulatingSupply": "1000000.0", "coin": coin, "totalSupply": "1000000.0",
        "dayBaseVlm": "0.0",
    }
