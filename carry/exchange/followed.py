"""An exchange for a simulated account on a market that is watched elsewhere.

What was last seen there is what trades here: books, marks, settled funding. Nothing is drawn. A
resting order fills only when the watched market trades through its price, for nobody knows where in
the queue it would have stood.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from carry.core import types as core

from .accounts import Account
from .assets import PATH_DECIMALS, Asset, Coin, Token, all_coins, tiers_of
from .funding import Funding
from .model import Exchange
from .paths import HOUR_MS, HourPath, Print
from .quotes import Ladder, Quotes, Tape
from .text import ZERO

NEVER_MS = 1 << 50
WEI_DECIMALS = 8


def coin_of(market: core.Market) -> Coin:
    """A market as it is listed elsewhere, with its numbers and lots.

    Digits of fees in the base coin and margin tiers are known of some coins only; others have eight
    digits and the tier their largest leverage is of.
    """
    listed = all_coins().get(market.coin)
    if listed is not None and listed.spot.asset_id != market.spot.asset:
        listed = None
    wei = WEI_DECIMALS if listed is None else listed.token.wei_decimals
    tiers = tiers_of((0, market.perp.max_leverage or 1))
    if listed is not None and listed.perp.max_leverage == market.perp.max_leverage:
        tiers = listed.perp.tiers
    perp, spot = (
        Asset(
            asset_id=one.asset, base=market.coin, coin=one.symbol, is_spot=is_spot,
            sz_decimals=-one.lot.adjusted(), half_spread_e9=(0, 1), depth_usd=0, daily_usd=0,
            token=market.token if is_spot else 0, wei_decimals=wei if is_spot else 0,
            tiers=() if is_spot else tiers,
        )
        for one, is_spot in ((market.perp, False), (market.spot, True))
    )  # fmt: skip
    for asset, one in ((perp, market.perp), (spot, market.spot)):
        asset.px_decimals = one.rule.decimals
        asset.unit = 10 ** (asset.px_decimals + asset.sz_decimals)
    token = Token(market.spot_token, market.token, spot.sz_decimals, wei, f"0x{market.token:032x}")
    return Coin(market.coin, token, perp, spot, 0, 0)


class FollowedMarket:
    """The rates that were settled elsewhere; it has no prices of its own."""

    name = "followed"
    prints_funding = True

    def __init__(self, coins: tuple[str, ...], start_ms: int) -> None:
        self.coins = coins
        self.start_ms = start_ms - start_ms % HOUR_MS
        self.first_hour = self.start_ms // HOUR_MS
        self.prints: dict[tuple[str, int], Print] = {}

    def path(self, coin: str, hour: int) -> HourPath:
        raise NotImplementedError("a followed market is read, not drawn")

    def printed(self, coin: str, hour: int) -> Print | None:
        return self.prints.get((coin, hour))


class Followed(Quotes):
    """The last book and prices that were seen, in the units of this exchange."""

    def __init__(self, market: FollowedMarket, coins: dict[str, Coin]) -> None:
        super().__init__(market, coins, 0, NEVER_MS)
        self.sides: dict[int, tuple[Ladder, Ladder]] = {}
        self.marks: dict[str, tuple[int, int]] = {}
        """Mark and oracle of a coin, 1e-8 USD."""
        self.oracles: dict[tuple[str, int], int] = {}
        """Oracle at an hour that is being paid for, 1e-8 USD."""

    def touch(self, asset: Asset, time_ms: int) -> tuple[int, int]:
        bids, asks = self.sides.get(asset.asset_id, ((), ()))
        return (bids[0][0] if bids else 0), (asks[0][0] if asks else NEVER_MS)

    def ladder(self, asset: Asset, *, bids: bool, time_ms: int) -> Ladder:
        sides = self.sides.get(asset.asset_id)
        return [] if sides is None else list(sides[0 if bids else 1])

    def top(self, asset: Asset, *, bids: bool, time_ms: int) -> tuple[int, int]:
        levels = self.ladder(asset, bids=bids, time_ms=time_ms)
        return levels[0] if levels else (0, 0)

    def mid8(self, asset: Asset, time_ms: int) -> int:
        sides = self.sides.get(asset.asset_id)
        if sides is None or not sides[0] or not sides[1]:
            return self.marks.get(asset.base, (0, 0))[0]
        scale: int = 10 ** (PATH_DECIMALS - asset.px_decimals)
        return (sides[0][0][0] + sides[1][0][0]) * scale // 2

    def oracle8(self, coin: str, time_ms: int) -> int:
        hour, rest = divmod(time_ms, HOUR_MS)
        last = self.marks.get(coin, (0, 0))[1]
        return last if rest else self.oracles.get((coin, hour), last)

    def mark(self, asset: Asset, time_ms: int) -> int:
        return self.on_tick(asset, self.marks.get(asset.base, (0, 0))[0])

    def tape(self, asset: Asset, time_ms: int) -> Tape | None:
        return None


class Owed(NamedTuple):
    """A payment whose rate was not told yet: of an hour, for the size held then."""

    hour: int
    coin: str
    address: str
    worth: Decimal
    szi: Decimal


class LateFunding(Funding):
    """Payments by rates that are told after the hour: until then they are owed."""

    def __init__(self, exchange: "FollowedExchange") -> None:
        super().__init__(exchange)
        self.owed: list[Owed] = []

    def _missing(self, hour: int, coin: str, oracle: Decimal, holders: list[Account]) -> None:
        asset_id = self.ex.coins[coin].perp.asset_id
        for account in holders:
            szi = account.positions[asset_id].szi
            if szi:
                self.owed.append(Owed(hour, coin, account.address, szi * oracle, szi))
                self.ex.changed = True

    def settle(self) -> None:
        """Pay what is owed and known by now, booked now.

        An hour that was left out while a later one was told has no rate: nobody pays for it.
        """
        ex, left = self.ex, []
        assert isinstance(ex.market, FollowedMarket)
        newest: dict[str, int] = {}
        for coin, hour in ex.market.prints:
            newest[coin] = max(hour, newest.get(coin, hour))
        for one in self.owed:
            printed = ex.market.printed(one.coin, one.hour)
            if printed is None:
                if one.hour >= newest.get(one.coin, 0):
                    left.append(one)
                continue
            self._pay_one(one.address, ex.coins[one.coin].perp, one.worth, one.szi, printed.rate)
        self.owed = left


class FollowedExchange(Exchange):
    """See the module. Time is told by `advance`, as ever."""

    market: FollowedMarket
    quotes: Followed
    funding: LateFunding

    def __init__(self, markets: Mapping[str, core.Market], now_ms: int) -> None:
        coins = {name: coin_of(market) for name, market in markets.items()}
        market = FollowedMarket(tuple(coins), now_ms)
        super().__init__(
            market, seed=0, limits=False, step_ms=NEVER_MS, known=coins,
            quotes=Followed(market, coins),
        )  # fmt: skip
        self.funding = LateFunding(self)
        self.set_start(now_ms)

    # --- what is seen elsewhere ---------------------------------------------------------

    def see_book(self, coin: str, leg: core.Leg, book: core.Book) -> None:
        """A book, or its best levels alone: then what lies behind them stays as it was."""
        if coin not in self.coins:
            return
        asset = self.asset(coin, leg)
        bids, asks = (_levels(asset, side) for side in (book.bids, book.asks))
        if len(bids) == len(asks) == 1 and asset.asset_id in self.quotes.sides:
            old_bids, old_asks = self.quotes.sides[asset.asset_id]
            bids += [level for level in old_bids if level[0] < bids[0][0]]
            asks += [level for level in old_asks if level[0] > asks[0][0]]
        self.quotes.sides[asset.asset_id] = (bids, asks)
        self._trade_through(asset, bids[0][0] if bids else 0, asks[0][0] if asks else NEVER_MS)

    def see_prices(self, coin: str, mark_px: Decimal, oracle_px: Decimal) -> None:
        """Marks move margin, so what they make unsafe is liquidated at once."""
        if coin not in self.coins:
            return
        self.quotes.marks[coin] = (_px8(mark_px), _px8(oracle_px))
        for account in list(self.accounts.values()):
            if account.positions:
                self.liquidation.check(account)
        self.streams.flush()

    def see_print(self, coin: str, at_ms: int, rate: Decimal) -> None:
        """A settled rate, stamped shortly after its hour."""
        self.market.prints[(coin, at_ms // HOUR_MS)] = Print(rate, None)

    def see_oracle(self, coin: str, hour: int, oracle_px: Decimal) -> None:
        """The oracle at an hour, where it is known better than by what was last seen."""
        self.quotes.oracles[(coin, hour)] = _px8(oracle_px)

    def asset(self, coin: str, leg: core.Leg) -> Asset:
        pair = self.coins[coin]
        return pair.spot if leg is core.Leg.SPOT else pair.perp

    def _trade_through(self, asset: Asset, bid: int, ask: int) -> None:
        """Fill what rests where the watched market went beyond its price; a touch is not enough."""
        book = self.books[asset.asset_id]
        for bids in (True, False):
            for order in list(book.orders[bids]):
                if order.px > ask if bids else order.px < bid:
                    self.matching._give(book, order, order.sz)
        self.streams.flush()


def _levels(asset: Asset, side: tuple[core.Level, ...]) -> Ladder:
    found: Ladder = []
    for level in side:
        px, sz = level.px.scaleb(asset.px_decimals), level.sz.scaleb(asset.sz_decimals)
        if int(sz) > 0:
            found.append((int(px), int(sz)))
    return found


def _px8(px: Decimal) -> int:
    return int(px.scaleb(PATH_DECIMALS)) if px > ZERO else 0
