"""The market maker's quotes: touch, ladder, mark, trades; each a pure function of time.

Quotes move on a grid of `step_ms`. The ladder is what rests in the book before any user takes from
it; the book subtracts what users took and lets it refill.
"""

from typing import NamedTuple

from .assets import PATH_DECIMALS, Asset, Coin
from .noise import key_of, mix
from .paths import HOUR_MS, HourPath, Market, at

E9 = 1_000_000_000
LEVELS = 28
_GAPS_E9 = tuple(70_000 + 6_000 * i if i < 20 else 250_000 * (i - 18) for i in range(LEVELS))
"""Distance from one level to the next: 20 levels in about 25 bp, then thinner, to some 140 bp."""

_MARK_LOOKBACK_S = (0, 50, 100, 150)
_TRADES_OF_16 = 5
"""Steps of 16 in which somebody trades at the touch."""

Ladder = list[tuple[int, int]]


class Tape(NamedTuple):
    """A trade between strangers at the touch: `is_buy` is the aggressor's side."""

    is_buy: bool
    px: int
    sz: int


class Quotes:
    """Reads a market on a grid. Nothing here remembers anything but caches."""

    def __init__(self, market: Market, coins: dict[str, Coin], seed: int, step_ms: int) -> None:
        self.market = market
        self.coins = coins
        self.step_ms = step_ms
        self._keys = {
            asset.asset_id: key_of(seed, "book", asset.coin)
            for coin in coins.values()
            for asset in (coin.perp, coin.spot)
        }
        self._hours: dict[str, tuple[int, HourPath]] = {}
        self._ladders: dict[tuple[int, bool], tuple[int, Ladder]] = {}
        self._touches: dict[int, tuple[int, int, int]] = {}

    def hour(self, coin: str, hour: int) -> HourPath:
        """The hour's path, remembered while time stays in it."""
        kept = self._hours.get(coin)
        if kept is not None and kept[0] == hour:
            return kept[1]
        path = self.market.path(coin, hour)
        self._hours[coin] = (hour, path)
        return path

    def mid8(self, asset: Asset, time_ms: int) -> int:
        """Mid in 1e-8 USD at the last grid instant."""
        time_ms -= time_ms % self.step_ms
        hour, rest = divmod(time_ms, HOUR_MS)
        path = self.hour(asset.base, hour)
        return at(path.spot if asset.is_spot else path.perp, rest)

    def oracle8(self, coin: str, time_ms: int) -> int:
        """Oracle price in 1e-8 USD at the last grid instant."""
        time_ms -= time_ms % self.step_ms
        hour, rest = divmod(time_ms, HOUR_MS)
        return at(self.hour(coin, hour).oracle, rest)

    def touch(self, asset: Asset, time_ms: int) -> tuple[int, int]:
        """Best bid and ask of the maker's untouched ladder, in book units."""
        step = time_ms // self.step_ms
        kept = self._touches.get(asset.asset_id)
        if kept is not None and kept[0] == step:
            return kept[1], kept[2]
        mid = self.mid8(asset, time_ms)
        low, high = asset.half_spread_e9
        noise = mix(self._keys[asset.asset_id] + step)
        half = mid * (low + noise % (high - low)) // E9
        scale: int = 10 ** (PATH_DECIMALS - asset.px_decimals)
        bid = max((mid - half) // scale, 1)
        bid -= bid % asset.tick(bid)
        ask = -(-(mid + half) // scale)
        tick = asset.tick(ask)
        ask += -ask % tick
        if ask <= bid:
            ask = bid + tick
        self._touches[asset.asset_id] = (step, bid, ask)
        return bid, ask

    def ladder(self, asset: Asset, *, bids: bool, time_ms: int) -> Ladder:
        """(price, size) of the maker, best first, before users took anything."""
        step = time_ms // self.step_ms
        slot = (asset.asset_id, bids)
        kept = self._ladders.get(slot)
        if kept is not None and kept[0] == step:
            return kept[1]
        levels = self._draw_ladder(asset, bids, time_ms, step)
        self._ladders[slot] = (step, levels)
        return levels

    def top(self, asset: Asset, *, bids: bool, time_ms: int) -> tuple[int, int]:
        """The first level of `ladder`, at a fraction of its price."""
        step = time_ms // self.step_ms
        kept = self._ladders.get((asset.asset_id, bids))
        if kept is not None and kept[0] == step:
            return kept[1][0]
        bid, ask = self.touch(asset, time_ms)
        best = bid if bids else ask
        return best, self._top_size(asset, best, self._ladder_key(asset, bids, step))

    def _ladder_key(self, asset: Asset, bids: bool, step: int) -> int:
        # Sizes hold for a few steps: a book does not redraw itself twenty times a minute.
        return mix(mix(self._keys[asset.asset_id] * 3 + 2 * (step // 4) + bids))

    def _top_size(self, asset: Asset, best: int, key: int) -> int:
        # The impact notional rests at the touch, so impact prices are the touch.
        usd = asset.depth_usd * (60 + (key & 127)) * 8 // 17_000
        usd = max(usd, asset.impact_usd + asset.impact_usd // 4)
        return max(usd * asset.unit // best, 1)

    def _draw_ladder(self, asset: Asset, bids: bool, time_ms: int, step: int) -> Ladder:
        touch = self.touch(asset, time_ms)
        best = touch[0] if bids else touch[1]
        key = self._ladder_key(asset, bids, step)
        levels: Ladder = [(best, self._top_size(asset, best, key))]
        sign = -1 if bids else 1
        tick = asset.tick(best)
        # Prices with as many digits as the best one share its tick.
        low, high = 10 ** (len(str(best)) - 1), 10 ** len(str(best))
        px, last, bits = best, best, key >> 8
        depth, unit = asset.depth_usd, asset.unit
        for index in range(1, LEVELS):
            if index % 8 == 0:
                bits = key = mix(key)
            share = 60 + (bits & 127)
            bits >>= 8
            px += sign * max(best * _GAPS_E9[index] // E9, 1)
            if px <= tick:
                break
            if not low <= px < high:
                tick = asset.tick(px)
            px -= px % tick if bids else -(-px % tick)
            if px == last:
                px += sign * tick
            last = px
            levels.append((px, max(depth * share * (8 + index) // 17_000 * unit // px, 1)))
        return levels

    def mark(self, asset: Asset, time_ms: int) -> int:
        """Mark price of a perp in book units.

        The mean of the mid and of (oracle + average of mid - oracle over 150 s): the venue takes a
        median with outside exchanges, which do not exist here.
        """
        mid = self.mid8(asset, time_ms)
        gap = 0
        for back_s in _MARK_LOOKBACK_S:
            then = time_ms - 1000 * back_s
            path = self.market.path(asset.base, then // HOUR_MS)
            rest = then % HOUR_MS
            gap += at(path.perp, rest) - at(path.oracle, rest)
        smooth = self.oracle8(asset.base, time_ms) + gap // len(_MARK_LOOKBACK_S)
        return self.on_tick(asset, (mid + smooth) // 2)

    def oracle(self, asset: Asset, time_ms: int) -> int:
        """Oracle price of a perp in book units, on a tick."""
        return self.on_tick(asset, self.oracle8(asset.base, time_ms))

    def on_tick(self, asset: Asset, px8: int) -> int:
        """1e-8 USD to the nearest valid price in book units, at least one tick."""
        scale: int = 10 ** (PATH_DECIMALS - asset.px_decimals)
        px = (px8 + scale // 2) // scale
        tick = asset.tick(max(px, 1))
        px += tick // 2
        return max(px - px % tick, 1)

    def tape(self, asset: Asset, time_ms: int) -> Tape | None:
        """The strangers' trade of this grid step, if there is one."""
        step = time_ms // self.step_ms
        bits = mix(self._keys[asset.asset_id] * 5 + step)
        if bits % 16 >= _TRADES_OF_16:
            return None
        is_buy = bool(bits >> 8 & 1)
        bid, ask = self.touch(asset, time_ms)
        px = ask if is_buy else bid
        usd = asset.depth_usd * (1 + (bits >> 16) % 256) // 6_000
        sz = usd * asset.unit // px
        return Tape(is_buy, px, max(sz, 1))
