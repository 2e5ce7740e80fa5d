"""The exchange by values: what a user reads, does and hears, without text, bytes or signature.

The same books, matching, nonces, expiry and margin as behind `/info` and `/exchange`; only what
wraps them is left out. The signer of an action is taken at its word.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from carry.core.num import ONE
from carry.core.types import (
    Book,
    Fees,
    Fill,
    FundingPrint,
    FundingReceipt,
    Instrument,
    Leg,
    Level,
    PriceRule,
    Side,
    Tif,
)

from .accounts import Account
from .admission import MIN_NOTIONAL
from .assets import Asset
from .listener import Listener, fill_of, leg_of, level_of
from .text import USD6, ZERO, near, units

if TYPE_CHECKING:
    from .model import Exchange

_LEVELS = 20
_FIGURES = 5
_TIFS = {Tif.ALO: "Alo", Tif.IOC: "Ioc", Tif.GTC: "Gtc"}


class Throttled(Exception):
    """The minute's weight of this address is used up: nothing was read or done."""


class Rates(NamedTuple):
    mark_px: Decimal
    oracle_px: Decimal
    funding_rate: Decimal


class Held(NamedTuple):
    """A perp position: signed size, its signed cost and worth in USD, the margin it uses."""

    szi: Decimal
    cost: Decimal
    margin_used: Decimal
    value: Decimal
    max_leverage: int


class Perps(NamedTuple):
    """The perp account. Figures as `Margin` has them."""

    positions: Mapping[str, Held]
    value: Decimal
    raw: Decimal
    used: Decimal
    maintenance: Decimal
    at_ms: int


class Open(NamedTuple):
    """A resting order: `sz` is what remains."""

    coin: str
    leg: Leg
    oid: int
    cloid: str | None
    side: Side
    px: Decimal
    sz: Decimal


class Answered(NamedTuple):
    """What became of an action. error: the venue's sentence, None when it was carried out.

    oid, filled, rests: of an order. `filled` is 0 when it rests: the venue's reply leaves it out.
    """

    error: str | None = None
    oid: int | None = None
    filled: Decimal = ZERO
    rests: bool = False


class Direct:
    """One user at an exchange. `address`: whose account is read; it is opened by the exchange.

    free: reads spend no weight (a judge's, who must not change what he looks at).
    """

    def __init__(self, exchange: "Exchange", address: str, *, free: bool = False) -> None:
        self.ex = exchange
        self.address = address.lower()
        self._free = free
        self._depths: dict[int, tuple[int, tuple[Level, ...], tuple[Level, ...]]] = {}

    def listen(self, name: str) -> Listener:
        """A new stream; subscribe with `Exchange.receive`."""
        listener = Listener(name, self.ex)
        self.ex.streams.join(listener)
        return listener

    def _allowed(self) -> None:
        if not self._free and self.ex.limits and not self.ex.meters.allows(self.ex.now):
            raise Throttled

    def _spend(self, weight: int, kind: str) -> None:
        self._allowed()
        if not self._free:
            self.ex.meters.ip.spend(self.ex.now, weight, kind)

    def _look(self, kind: str, **more: object) -> Any:
        """A read that is seldom made: its rows as `/info` has them, before they are text."""
        self._allowed()
        data, weight = self.ex.info.look({"type": kind, "user": self.address, **more}, kind)
        if not self._free:
            self.ex.meters.ip.spend(self.ex.now, weight, kind)
        return data

    def _account(self) -> Account:
        return self.ex.accounts.get(self.address) or Account(self.address, "split")

    def _asset(self, coin: str, leg: Leg) -> Asset:
        """Raises KeyError for a coin that is not quoted."""
        pair = self.ex.coins[coin]
        return pair.spot if leg is Leg.SPOT else pair.perp

    # --- the market ---------------------------------------------------------------------

    def perp_listings(self, coins: Sequence[str]) -> dict[str, Instrument]:
        """The perps of those of `coins` that are quoted."""
        self._spend(20, "meta")
        perps = {coin: self.ex.coins[coin].perp for coin in coins if coin in self.ex.coins}
        return {
            coin: _instrument(perp, perp.max_leverage, ONE / (2 * perp.max_leverage))
            for coin, perp in perps.items()
        }

    def spot_listings(self, coins: Sequence[str]) -> dict[str, tuple[Instrument, str, int]]:
        """The pairs of those of `coins` that are quoted, with name and number of the token."""
        self._spend(20, "spotMeta")
        pairs = {coin: self.ex.coins[coin] for coin in coins if coin in self.ex.coins}
        return {
            name: (_instrument(coin.spot), coin.token.name, coin.token.index)
            for name, coin in pairs.items()
        }

    def contexts(self, coins: Sequence[str]) -> dict[str, Rates]:
        self._spend(20, "metaAndAssetCtxs")
        ex = self.ex
        found = {}
        for coin in coins:
            if coin in ex.coins:
                perp = ex.coins[coin].perp
                oracle = units(ex.quotes.oracle(perp, ex.now), perp.px_decimals)
                found[coin] = Rates(ex.mark(perp), oracle, ex.funding.predicted(coin, ex.now))
        return found

    def book(self, coin: str, leg: Leg) -> Book | None:
        """Twenty levels a side; None while a side is empty. Raises KeyError."""
        self._spend(2, "l2Book")
        asset = self._asset(coin, leg)
        bids, asks = self._depth(asset)
        return Book(bids, asks, self.ex.now) if bids and asks else None

    def _depth(self, asset: Asset) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Both sides; kept while the maker is alone and does not move."""
        book, now = self.ex.books[asset.asset_id], self.ex.now
        alone = not (book.orders[True] or book.orders[False]) and not any(
            book.missing(bids=bids, now=now) for bids in (True, False)
        )
        step = now // self.ex.quotes.step_ms
        kept = self._depths.get(asset.asset_id)
        if alone and kept is not None and kept[0] == step:
            return kept[1], kept[2]
        bids, asks = (
            tuple(
                level_of(asset, px, sz)
                for px, sz, _ in book.levels(bids=is_bid, now=now, limit=_LEVELS)
            )
            for is_bid in (True, False)
        )
        if alone:
            self._depths[asset.asset_id] = (step, bids, asks)
        return bids, asks

    def prints(self, coin: str, since_ms: int) -> list[FundingPrint]:
        """Rates charged from `since_ms` on. Raises KeyError."""
        self._spend(20, "fundingHistory")
        charges = self.ex.info.charges(self.ex.coins[coin].name, since_ms, self.ex.now)
        found = [FundingPrint(at_ms=at_ms, rate=rate) for at_ms, rate, _ in charges]
        self._paid(len(found) // 20, "fundingHistory")
        return found

    def closes(self, coin: str, interval: str, window: int, now_ms: int) -> list[Decimal]:
        """The last `window` closes of the perp that ended before `now_ms`. Raises KeyError."""
        self._spend(20, "candleSnapshot")
        asset, span = self._asset(coin, Leg.PERP), self.ex.info.intervals[interval]
        rows = self.ex.info.closes(asset, interval, now_ms - (window + 1) * span, now_ms)
        self._paid(len(rows) // 60, "candleSnapshot")
        done = [close for begin, close in rows if begin + span <= now_ms]
        return [units(close, asset.px_decimals) for close in done[-window:]]

    def _paid(self, weight: int, kind: str) -> None:
        """What a history costs besides, by its length."""
        if not self._free:
            self.ex.meters.ip.spend(self.ex.now, weight, kind)

    # --- the account --------------------------------------------------------------------

    def mode(self) -> str:
        """The venue's word for how the account's wallets belong together."""
        word: str = self._look("userAbstraction")
        return word

    def perps(self) -> Perps:
        self._spend(2, "clearinghouseState")
        account, ex = self._account(), self.ex
        summary = ex.summary(account)
        positions = {}
        for asset_id, position in sorted(account.positions.items()):
            if position.szi:
                asset, used = ex.assets[asset_id], ex.info.margin_used(account, asset_id)
                worth = position.szi * ex.mark(asset)
                held = Held(position.szi, position.cost, used, worth, asset.max_leverage)
                positions[asset.base] = held
        whole = ex.info.margin(account, summary)
        maintenance = near(summary.maintenance, USD6)
        return Perps(positions, whole.value, whole.raw, whole.used, maintenance, ex.now)

    def balances(self) -> dict[int, tuple[Decimal, Decimal]]:
        """(total, hold) by token; of what is held, and of USDC."""
        self._spend(2, "spotClearinghouseState")
        account = self._account()
        rows = self.ex.info.balances(account, self.ex.summary(account))
        return {token: (total, hold) for token, total, hold in rows}

    def open_orders(self) -> list[Open]:
        found = []
        for row in self._look("frontendOpenOrders"):
            asset = self.ex.by_coin[row["coin"]]
            side = Side.BUY if row["side"] == "B" else Side.SELL
            px, sz = Decimal(row["limitPx"]), Decimal(row["sz"])
            name = row.get("cloid")
            found.append(Open(asset.base, leg_of(asset), row["oid"], name, side, px, sz))
        return found

    def fills(self, since_ms: int) -> list[Fill]:
        rows = self._look("userFillsByTime", startTime=since_ms, aggregateByTime=False)
        return [fill_of(self.ex, row) for row in rows]

    def ledger(self, kind: str, since_ms: int) -> list[Mapping[str, Any]]:
        """A history of money in the rows of `/info`: "userFunding" or the other one."""
        rows: list[Mapping[str, Any]] = self._look(kind, startTime=since_ms)
        return rows

    def payments(self, rows: Sequence[Mapping[str, Any]]) -> list[FundingReceipt]:
        """The funding among rows of either history."""
        return [
            FundingReceipt(
                coin=self.ex.by_coin[row["delta"]["coin"]].base,
                at_ms=row["time"],
                usd=Decimal(row["delta"]["usdc"]),
                sz=Decimal(row["delta"]["szi"]),
                rate=Decimal(row["delta"]["fundingRate"]),
            )
            for row in rows
            if row["delta"]["type"] == "funding"
        ]

    def fees(self) -> Fees:
        row = self._look("userFees")
        return Fees(
            spot_maker=Decimal(row["userSpotAddRate"]),
            spot_taker=Decimal(row["userSpotCrossRate"]),
            perp_maker=Decimal(row["userAddRate"]),
            perp_taker=Decimal(row["userCrossRate"]),
        )

    def leverage(self, coin: str) -> tuple[int, bool]:
        """The setting in force, and whether it is cross."""
        setting = self._look("activeAssetData", coin=coin)["leverage"]
        return setting["value"], setting["type"] == "cross"

    def actions_left(self) -> int:
        row = self._look("userRateLimit")
        left: int = row["nRequestsCap"] - row["nRequestsUsed"]
        return max(0, left)

    def valid_until_ms(self, agent: str) -> int | None:
        """When an agent's approval ends; None where it is not told: of one without a name."""
        rows = self._look("extraAgents")
        mine = [row["validUntil"] for row in rows if row["address"] == agent]
        return mine[0] if mine else None

    def order(self, cloid: str) -> tuple[int, str] | None:
        """(oid, the venue's word for its state); None for a name it does not know."""
        found = self._look("orderStatus", oid=cloid)
        if found["status"] != "order":
            return None
        return found["order"]["order"]["oid"], found["order"]["status"]

    # --- actions ------------------------------------------------------------------------

    def act(
        self, signer: str, action: dict[str, Any], nonce: int, expires_ms: int | None
    ) -> Answered:
        """One action of one item, as the venue names its parts. Raises Throttled."""
        ex = self.ex
        self._allowed()
        ex.blocks += 1
        try:
            reply = ex.actions.act(signer, action, nonce, expires_ms)
        finally:
            ex.streams.flush()
        ex.meters.ip.spend(ex.now, 1, action["type"])
        return _answered(reply)


def _answered(reply: Mapping[str, Any]) -> Answered:
    if reply["status"] == "err":
        return Answered(reply["response"])
    data = reply["response"].get("data")
    if data is None:
        return Answered()
    item = data["statuses"][0]
    if item == "success":
        return Answered()
    if "error" in item:
        return Answered(item["error"])
    filled = item.get("filled")
    if filled is None:
        return Answered(None, item["resting"]["oid"], ZERO, True)
    return Answered(None, filled["oid"], Decimal(filled["totalSz"]))


def _instrument(asset: Asset, leverage: int = 0, maintenance: Decimal = ZERO) -> Instrument:
    return Instrument(
        symbol=asset.coin,
        asset=asset.asset_id,
        lot=ONE.scaleb(-asset.sz_decimals),
        rule=PriceRule(_FIGURES, asset.px_decimals, True),
        min_notional=MIN_NOTIONAL,
        max_leverage=leverage,
        maintenance_rate=maintenance,
    )
