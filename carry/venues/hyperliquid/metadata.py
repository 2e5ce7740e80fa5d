"""The venue's universes: which instruments a coin has, their numbers, lots and price rules. Pure.

Perps are numbered by position in `meta.universe` (delisted rows stay), spot pairs by their own
`index`. Only configured coins are decoded strictly; a malformed row of another is passed over.
Source: hyperliquid-docs, asset-ids, tick-and-lot-size, margin-tiers.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import TypeVar

import attrs
import msgspec

from carry.core.num import ONE
from carry.core.observations import MarketsRead
from carry.core.types import Instrument, Leg, Market, PriceRule

from .constants import (
    PERP_DECIMALS,
    QUOTE_NAME,
    QUOTE_TOKEN,
    SPOT_ASSET_BASE,
    SPOT_DECIMALS,
    WRAPPERS,
    Network,
)

_FIGURES = 5
_MIN_NOTIONAL = Decimal(10)
_LEVERAGE_MAX = 1000
_T = TypeVar("_T")


@attrs.frozen(kw_only=True)
class Listed:
    """A configured coin as the venue lists it.

    shift: one of the coin is 10^shift units of its spot token. Sizes and prices of the market are
    in the coin; those of the venue's spot book are in the token.
    """

    market: Market
    shift: int = 0

    @classmethod
    def of(cls, market: Market) -> "Listed":
        """From a market alone, as a journal keeps it."""
        wrapper = WRAPPERS.get(market.coin)
        return cls(market=market, shift=0 if wrapper is None else wrapper.shift)

    def coin_sz(self, leg: Leg, sz: Decimal) -> Decimal:
        """A size of the venue in the coin; exact, since the factor is a power of ten."""
        return sz.scaleb(-self.shift) if self.shift and leg is Leg.SPOT else sz

    def coin_px(self, leg: Leg, px: Decimal) -> Decimal:
        return px.scaleb(self.shift) if self.shift and leg is Leg.SPOT else px

    def venue_sz(self, leg: Leg, sz: Decimal) -> Decimal:
        return sz.scaleb(self.shift) if self.shift and leg is Leg.SPOT else sz

    def venue_px(self, leg: Leg, px: Decimal) -> Decimal:
        return px.scaleb(-self.shift) if self.shift and leg is Leg.SPOT else px


@attrs.frozen
class Known:
    """All configured coins that could be resolved, by coin. `usd_id`: the quote token's."""

    listed: Mapping[str, Listed]
    usd_id: str = ""
    by_symbol: Mapping[str, tuple[str, Leg]] = attrs.field(init=False, repr=False)
    by_token: Mapping[int, str] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        symbols: dict[str, tuple[str, Leg]] = {}
        for coin, listed in self.listed.items():
            symbols[listed.market.spot.symbol] = (coin, Leg.SPOT)
            symbols[listed.market.perp.symbol] = (coin, Leg.PERP)
        object.__setattr__(self, "by_symbol", symbols)
        tokens = {listed.market.token: coin for coin, listed in self.listed.items()}
        object.__setattr__(self, "by_token", tokens)

    def updated(self, newer: "Known") -> "Known":
        """With the coins of `newer` replaced: numbers are stable once listed, so old ones hold."""
        return Known({**self.listed, **newer.listed}, newer.usd_id or self.usd_id)


NOTHING_KNOWN = Known({})


class _Perp(msgspec.Struct):
    name: str
    szDecimals: int
    maxLeverage: int
    marginTableId: int = -1
    isDelisted: bool = False
    onlyIsolated: bool = False
    marginMode: str | None = None


class _Tier(msgspec.Struct):
    maxLeverage: int


class _Table(msgspec.Struct):
    marginTiers: list[_Tier]


class _Meta(msgspec.Struct):
    universe: list[msgspec.Raw]
    marginTables: list[msgspec.Raw] = []


class _Named(msgspec.Struct):
    name: str


class _Pair(msgspec.Struct):
    name: str
    tokens: tuple[int, int]
    index: int


class _Token(msgspec.Struct):
    name: str
    index: int
    szDecimals: int
    tokenId: str = ""


class _SpotMeta(msgspec.Struct):
    universe: list[msgspec.Raw]
    tokens: list[msgspec.Raw]


def readable(rows: Iterable[msgspec.Raw], kind: type[_T]) -> list[_T]:
    """The rows that decode; what does not is some other coin's, or is missed by its name later."""
    found = []
    for row in rows:
        try:
            found.append(msgspec.json.decode(row, type=kind))
        except (msgspec.MsgspecError, UnicodeError):
            continue
    return found


def name_of(row: msgspec.Raw) -> str | None:
    """The `name` of a universe row; None when it has none that can be read."""
    try:
        return msgspec.json.decode(row, type=_Named).name
    except (msgspec.MsgspecError, UnicodeError):
        return None


def _instrument(
    symbol: str, asset: int, sz_decimals: int, px_decimals: int, shift: int = 0
) -> Instrument:
    """Lot and price rule in units of the coin; a price of many units has fewer decimals left."""
    if not 0 <= sz_decimals <= px_decimals:
        raise ValueError(f"{symbol}: szDecimals {sz_decimals} is not within 0..{px_decimals}")
    decimals = px_decimals - sz_decimals - shift
    if decimals < 0:
        raise ValueError(f"{symbol}: no price step is left for 10^{shift} units")
    return Instrument(
        symbol=symbol,
        asset=asset,
        lot=ONE.scaleb(-sz_decimals - shift),
        # Any whole price is valid per unit of the token; of many units only some are.
        rule=PriceRule(_FIGURES, decimals, not shift),
        min_notional=_MIN_NOTIONAL,
    )


def _first_tier(meta: _Meta, table_id: int) -> int | None:
    """Leverage of the first tier of a margin table; None when it is flat or cannot be read."""
    for row in meta.marginTables:
        try:
            number, table = msgspec.json.decode(row, type=tuple[int, _Table])
        except (msgspec.MsgspecError, UnicodeError):
            continue
        if number == table_id and table.marginTiers:
            return table.marginTiers[0].maxLeverage
    return None


def _perp(coin: str, index: int, meta: _Meta) -> Instrument:
    row = msgspec.json.decode(meta.universe[index], type=_Perp)
    # The universe's own figure is the first tier's; the lower of the two is the careful one.
    tier = _first_tier(meta, row.marginTableId)
    leverage = row.maxLeverage if tier is None else min(tier, row.maxLeverage)
    if not 1 <= leverage <= _LEVERAGE_MAX:
        raise ValueError(f"{coin}: maxLeverage {leverage} is not within 1..{_LEVERAGE_MAX}")
    if row.onlyIsolated or row.marginMode in ("strictIsolated", "noCross"):
        raise ValueError(f"{coin}: its perp takes isolated margin only; the bot trades cross")
    base = _instrument(coin, index, row.szDecimals, PERP_DECIMALS)
    return attrs.evolve(
        base,
        max_leverage=leverage,
        maintenance_rate=ONE / (2 * leverage),
        tradable=not row.isDelisted,
    )


def _token(
    coin: str, tokens: Sequence[_Token], network: Network, pinned: str | None
) -> tuple[_Token, int]:
    """The spot token that hedges `coin`, and its shift. By id; by a name only on a test network,
    whose ids are its own, and only where the name is there once.
    """
    wrapper = WRAPPERS.get(coin)
    wanted = pinned or (None if wrapper is None else wrapper.token_id)
    shift = 0 if wrapper is None else wrapper.shift
    found = [token for token in tokens if wanted is not None and token.tokenId == wanted]
    if len(found) == 1:
        return found[0], shift
    if pinned is not None:
        raise ValueError(f"{coin}: {len(found)} spot tokens have the id {pinned} of the config")
    if wrapper is None:
        raise ValueError(
            f"{coin}: no spot token is known that hedges it; if there is one, name its `token_id` "
            "in the market's config"
        )
    if network is Network.MAINNET:
        if wanted is None:
            raise ValueError(
                f"{coin}: the id of {wrapper.name} is not known here, and a name can be a "
                "look-alike's; look it up at the venue and name it as `token_id` in the market's "
                "config"
            )
        raise ValueError(f"{coin}: {len(found)} spot tokens have the id {wanted}, not one")
    found = [token for token in tokens if token.name == wrapper.name]
    if len(found) != 1:
        raise ValueError(f"{coin}: {len(found)} spot tokens are {wrapper.name}, not one")
    return found[0], shift


def _pair(token: _Token, pairs: Sequence[_Pair]) -> _Pair:
    found = [pair for pair in pairs if pair.tokens == (token.index, QUOTE_TOKEN)]
    if not found:
        raise ValueError(f"{token.name}: no pair against {QUOTE_NAME} can be read")
    return min(found, key=lambda pair: pair.index)


def read_markets(
    meta_body: bytes,
    spot_body: bytes,
    coins: Sequence[str],
    network: Network,
    issued_ms: int,
    pinned: Mapping[str, str] = MappingProxyType({}),
) -> tuple[MarketsRead, Known]:
    """The configured coins out of `meta` and `spotMeta`; raises when a whole body is unreadable.

    pinned: ids of spot tokens by coin, where the config names them.
    """
    meta = msgspec.json.decode(meta_body, type=_Meta)
    spot = msgspec.json.decode(spot_body, type=_SpotMeta)
    tokens = readable(spot.tokens, _Token)
    pairs = readable(spot.universe, _Pair)
    names = [name_of(row) for row in meta.universe]
    usd = [t for t in tokens if t.index == QUOTE_TOKEN and t.name == QUOTE_NAME]
    if not usd:
        raise ValueError(f"token {QUOTE_TOKEN} of spotMeta is not {QUOTE_NAME}")
    listed: dict[str, Listed] = {}
    broken: dict[str, str] = {}
    for coin in coins:
        try:
            if names.count(coin) != 1:
                raise ValueError(f"{coin}: {names.count(coin)} perps have that name, not one")
            token, shift = _token(coin, tokens, network, pinned.get(coin))
            pair = _pair(token, pairs)
            if not 0 <= pair.index < SPOT_ASSET_BASE * 9:
                raise ValueError(f"{coin}: pair number {pair.index} is none of a spot pair")
            market = Market(
                coin=coin,
                spot=_instrument(
                    pair.name,
                    SPOT_ASSET_BASE + pair.index,
                    token.szDecimals,
                    SPOT_DECIMALS,
                    shift,
                ),
                perp=_perp(coin, names.index(coin), meta),
                spot_token=token.name,
                token=token.index,
            )
        except (msgspec.MsgspecError, UnicodeError, ValueError) as error:
            broken[coin] = str(error)[:200]
            continue
        listed[coin] = Listed(market=market, shift=shift)
    markets = {coin: one.market for coin, one in listed.items()}
    known = Known(listed, usd[0].tokenId)
    return MarketsRead(markets=markets, broken=broken, issued_ms=issued_ms), known
