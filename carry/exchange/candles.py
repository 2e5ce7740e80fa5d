"""Candles, read off the market's minute knots."""

from collections import OrderedDict
from typing import Any

from .assets import PATH_DECIMALS, Asset
from .noise import mix
from .paths import HOUR_MS, MINUTE_MS, Market, at
from .text import wire_int

DAY_MS = 24 * HOUR_MS
INTERVALS_MS: dict[str, int] = {
    "1m": MINUTE_MS, "3m": 3 * MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS, "1h": HOUR_MS, "2h": 2 * HOUR_MS, "4h": 4 * HOUR_MS,
    "8h": 8 * HOUR_MS, "12h": 12 * HOUR_MS, "1d": DAY_MS, "3d": 3 * DAY_MS, "1w": 7 * DAY_MS,
    "1M": 30 * DAY_MS,
}
_CACHED = 20_000

Ohlc = tuple[int, int, int, int]


class Candles:
    """Open, high, low and close are mids; a closed candle never changes, so it is kept."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._kept: OrderedDict[tuple[int, int, int], Ohlc] = OrderedDict()

    def rows(
        self, asset: Asset, interval: str, start: int, end: int, limit: int
    ) -> list[dict[str, Any]]:
        """The newest `limit` candles that touch [start, end]; `end` is not after now."""
        span = INTERVALS_MS[interval]
        begins = self._begins(span, start, end, limit)
        return [self._row(asset, interval, span, opened, end) for opened in begins]

    def closes(
        self, asset: Asset, interval: str, start: int, end: int, limit: int
    ) -> list[tuple[int, int]]:
        """(begin, close in book units) of what `rows` tells."""
        span = INTERVALS_MS[interval]
        begins = self._begins(span, start, end, limit)
        return [(opened, self._ohlc(asset, span, opened, end)[3]) for opened in begins]

    def _begins(self, span: int, start: int, end: int, limit: int) -> range:
        earliest = self._market.first_hour * HOUR_MS
        first = max(start, earliest, end - (limit - 1) * span) // span * span
        return range(first, end + 1, span)

    def _row(
        self, asset: Asset, interval: str, span: int, opened: int, now: int
    ) -> dict[str, Any]:
        o, h, low, c = self._ohlc(asset, span, opened, now)
        bits = mix(opened + asset.asset_id)
        usd = asset.daily_usd * span // DAY_MS * (50 + bits % 100) // 100
        volume = usd * asset.unit // max(c, 1)
        px = asset.px_decimals
        return {
            "t": opened, "T": opened + span - 1, "s": asset.coin, "i": interval,
            "o": wire_int(o, px), "c": wire_int(c, px), "h": wire_int(h, px),
            "l": wire_int(low, px), "v": wire_int(volume, asset.sz_decimals),
            "n": 1 + volume % 997,
        }

    def _ohlc(self, asset: Asset, span: int, opened: int, now: int) -> Ohlc:
        key = (asset.asset_id, span, opened)
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        points: list[int] = []
        closes = min(opened + span, now)
        time = max(opened, self._market.first_hour * HOUR_MS)
        while True:
            hour, rest = divmod(time, HOUR_MS)
            path = self._market.path(asset.base, hour)
            knots = path.spot if asset.is_spot else path.perp
            first = rest // MINUTE_MS
            until = min(closes - hour * HOUR_MS, HOUR_MS)
            points += knots[first : until // MINUTE_MS + 1]
            if until % MINUTE_MS:
                points.append(at(knots, until))
            time = (hour + 1) * HOUR_MS
            if time >= closes:
                break
        scale = 10 ** (PATH_DECIMALS - asset.px_decimals)
        figures = [_on_tick(asset, p // scale) for p in (
            points[0], max(points), min(points), points[-1]
        )]
        found = (figures[0], figures[1], figures[2], figures[3])
        if opened + span <= now:
            self._kept[key] = found
            if len(self._kept) > _CACHED:
                self._kept.popitem(last=False)
        return found


def _on_tick(asset: Asset, px: int) -> int:
    px = max(px, 1)
    tick = asset.tick(px)
    return max(px - px % tick, 1)
