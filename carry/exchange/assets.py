"""What trades: assets, their units, and the universes in the venue's own shape.

Indices, decimals, token ids and margin tables are mainnet's, on every network this exchange plays
(testnet's own differ): a client resolves them at run time, so one realistic set is enough.
Rows between the real ones are delisted fillers: a client that filters before it counts fails.
"""

from decimal import Decimal
from typing import Any

USDC_TOKEN = 0
USDC_TOKEN_ID = "0x6d1e7cde53ba9467b783cb7c530ce054"
SPOT_ASSET_BASE = 10_000
PATH_DECIMALS = 8
"""Market paths are integers in units of 1e-8 USD."""


class Tier:
    """One row of a margin table: above `lower_bound` USD of notional, at most `max_leverage`."""

    __slots__ = ("deduction", "lower_bound", "max_leverage", "rate")

    def __init__(self, lower_bound: Decimal, max_leverage: int, below: "Tier | None") -> None:
        self.lower_bound = lower_bound
        self.max_leverage = max_leverage
        self.rate = 1 / Decimal(2 * max_leverage)
        self.deduction = Decimal(0)
        if below is not None:
            self.deduction = below.deduction + lower_bound * (self.rate - below.rate)


def tiers_of(*rows: tuple[int, int]) -> tuple[Tier, ...]:
    """Tiers from (lower bound in USD, maximum leverage), lowest first."""
    tiers: list[Tier] = []
    for bound, leverage in rows:
        tiers.append(Tier(Decimal(bound), leverage, tiers[-1] if tiers else None))
    return tuple(tiers)


class Asset:
    """One order book. Prices and sizes in it are integers in units of `px_decimals`, `sz_decimals`.

    unit: book price times book size that is one USD.
    half_spread_e9: half of the quoted spread as (lowest, highest), in 1e-9 of the price.
    depth_usd: USD resting within 10 bp of the mid on one side.
    fee_decimals: digits of a fee in the base token.
    daily_usd: USD traded in a day, for the volume fields.
    """

    __slots__ = (
        "asset_id", "base", "coin", "daily_usd", "depth_usd", "fee_decimals", "half_spread_e9",
        "impact_usd", "is_spot", "margin_table", "max_leverage", "px_decimals", "sz_decimals",
        "tiers", "token", "unit", "wei_decimals",
    )

    def __init__(
        self,
        *,
        asset_id: int,
        base: str,
        coin: str,
        is_spot: bool,
        sz_decimals: int,
        half_spread_e9: tuple[int, int],
        depth_usd: int,
        daily_usd: int,
        token: int = 0,
        wei_decimals: int = 0,
        tiers: tuple[Tier, ...] = (),
        margin_table: int = 0,
        impact_usd: int = 0,
    ) -> None:
        self.asset_id = asset_id
        self.base = base
        self.coin = coin
        self.is_spot = is_spot
        self.sz_decimals = sz_decimals
        self.px_decimals = (8 if is_spot else 6) - sz_decimals
        self.unit: int = 10 ** (self.px_decimals + sz_decimals)
        self.half_spread_e9 = half_spread_e9
        self.depth_usd = depth_usd
        self.daily_usd = daily_usd
        self.token = token
        self.wei_decimals = wei_decimals
        self.fee_decimals = wei_decimals
        self.tiers = tiers
        self.max_leverage = tiers[0].max_leverage if tiers else 0
        self.margin_table = margin_table
        self.impact_usd = impact_usd

    def tick(self, px: int) -> int:
        """The price step around `px`: five significant figures, but integers are always valid."""
        spare = len(str(px)) - 5
        if spare <= 0:
            return 1
        step: int = 10 ** min(spare, self.px_decimals)
        return step

    def px_units(self, px: Decimal) -> int | None:
        """A price in book units; None if it breaks the price rule (a tick is never rounded to)."""
        scaled = px.scaleb(self.px_decimals)
        value = int(scaled)
        if value != scaled or value <= 0 or value % self.tick(value):
            return None
        return value

    def sz_units(self, sz: Decimal) -> int | None:
        """A size in book units; None if it has more decimals than the asset."""
        scaled = sz.scaleb(self.sz_decimals)
        value = int(scaled)
        return value if value == scaled else None


class Coin:
    """A perp and the spot pair that hedges it, with the constants of its market.

    start_px8: price near the start, 1e-8 USD; vol_e9: hourly standard deviation, 1e-9.
    """

    __slots__ = ("name", "perp", "spot", "spot_file", "start_px8", "token", "vol_e9")

    def __init__(
        self, name: str, token: "Token", perp: Asset, spot: Asset, start_px8: int, vol_e9: int
    ) -> None:
        self.name = name
        self.token = token
        self.perp = perp
        self.spot = spot
        self.start_px8 = start_px8
        self.vol_e9 = vol_e9
        self.spot_file = token.name


class Token:
    """A spot token: `wei_decimals` is the precision of balances, `sz_decimals` of orders."""

    __slots__ = ("full_name", "index", "name", "sz_decimals", "token_id", "wei_decimals")

    def __init__(
        self, name: str, index: int, sz: int, wei: int, token_id: str, full_name: str | None = None
    ) -> None:
        self.name = name
        self.index = index
        self.sz_decimals = sz
        self.wei_decimals = wei
        self.token_id = token_id
        self.full_name = full_name


def _coin(
    name: str,
    token: Token,
    *,
    pair: int,
    pair_name: str,
    perp_index: int,
    perp_sz: int,
    table: int,
    tiers: tuple[Tier, ...],
    px_usd: str,
    vol_e9: int,
    perp_half: tuple[int, int],
    spot_half: tuple[int, int],
    perp_depth: int,
    spot_depth: int,
    perp_daily: int,
    spot_daily: int,
    impact_usd: int = 6_000,
) -> Coin:
    perp = Asset(
        asset_id=perp_index, base=name, coin=name, is_spot=False, sz_decimals=perp_sz, tiers=tiers,
        margin_table=table, half_spread_e9=perp_half, depth_usd=perp_depth, daily_usd=perp_daily,
        impact_usd=impact_usd,
    )
    spot = Asset(
        asset_id=SPOT_ASSET_BASE + pair, base=name, coin=pair_name, is_spot=True,
        sz_decimals=token.sz_decimals, token=token.index, wei_decimals=token.wei_decimals,
        half_spread_e9=spot_half, depth_usd=spot_depth, daily_usd=spot_daily,
    )
    return Coin(name, token, perp, spot, int(Decimal(px_usd).scaleb(PATH_DECIMALS)), vol_e9)


USDC = Token("USDC", USDC_TOKEN, 8, 8, USDC_TOKEN_ID)


def all_coins() -> dict[str, Coin]:
    """Every coin this exchange can trade, by perp name. Spot depth: one Saturday of 2026-09."""
    hype = Token("HYPE", 150, 2, 8, "0x0d01dc56dcaaca66ad901c959b4011ec", "Hyperliquid")
    ubtc = Token("UBTC", 197, 5, 10, "0x8f254b963e8468305d409b33aa137c67", "Unit Bitcoin")
    ueth = Token("UETH", 221, 4, 9, "0xe1edd30daaf5caac3fe63569e24748da", "Unit Ethereum")
    usol = Token("USOL", 254, 3, 8, "0x49b67c39f5566535de22b29b0e51e685", "Unit Solana")
    purr = Token("PURR", 1, 0, 5, "0xc1fb593aeffbeb02f85e0308e9956a90", "Purr")
    coins = (
        _coin(
            "HYPE", hype, pair=107, pair_name="@107", perp_index=159, perp_sz=2, table=52,
            tiers=tiers_of((0, 10), (20_000_000, 5)), px_usd="38.4", vol_e9=12_500_000,
            perp_half=(60_000, 120_000), spot_half=(100_000, 240_000),
            perp_depth=1_200_000, spot_depth=120_000,
            perp_daily=420_000_000, spot_daily=65_000_000,
        ),
        _coin(
            "BTC", ubtc, pair=142, pair_name="@142", perp_index=0, perp_sz=5, table=56,
            tiers=tiers_of((0, 40), (150_000_000, 20)), px_usd="93000", vol_e9=5_200_000,
            perp_half=(40_000, 80_000), spot_half=(100_000, 220_000),
            perp_depth=9_000_000, spot_depth=610_000,
            perp_daily=2_600_000_000, spot_daily=35_000_000, impact_usd=20_000,
        ),
        _coin(
            "ETH", ueth, pair=151, pair_name="@151", perp_index=1, perp_sz=4, table=55,
            tiers=tiers_of((0, 25), (100_000_000, 15)), px_usd="3150", vol_e9=7_200_000,
            perp_half=(45_000, 90_000), spot_half=(110_000, 240_000),
            perp_depth=6_000_000, spot_depth=330_000,
            perp_daily=1_400_000_000, spot_daily=19_000_000, impact_usd=20_000,
        ),
        _coin(
            "SOL", usol, pair=156, pair_name="@156", perp_index=5, perp_sz=2, table=54,
            tiers=tiers_of((0, 20), (70_000_000, 10)), px_usd="136", vol_e9=9_000_000,
            perp_half=(50_000, 110_000), spot_half=(110_000, 240_000),
            perp_depth=2_500_000, spot_depth=136_000,
            perp_daily=500_000_000, spot_daily=5_100_000,
        ),
        _coin(
            "PURR", purr, pair=0, pair_name="PURR/USDC", perp_index=152, perp_sz=0, table=3,
            tiers=tiers_of((0, 3)), px_usd="0.16", vol_e9=20_000_000,
            perp_half=(300_000, 600_000), spot_half=(1_000_000, 1_600_000),
            perp_depth=60_000, spot_depth=20_000,
            perp_daily=1_500_000, spot_daily=1_800_000,
        ),
    )
    return {coin.name: coin for coin in coins}


PERP_ROWS = 172
_REAL_NAMES = {6: "AVAX", 31: "WLD", 85: "kBONK", 122: "ENA", 162: "VIRTUAL", 163: "PENGU"}
_TABLES: tuple[tuple[int, str, tuple[tuple[str, int], ...]], ...] = (
    (51, "tiered 10x", (("0.0", 10), ("3000000.0", 5))),
    (52, "tiered 10x (2)", (("0.0", 10), ("20000000.0", 5))),
    (53, "tiered 20x", (("0.0", 20), ("40000000.0", 10))),
    (54, "tiered 20x (2)", (("0.0", 20), ("70000000.0", 10))),
    (55, "tiered 25x", (("0.0", 25), ("100000000.0", 15))),
    (56, "tiered 40x", (("0.0", 40), ("150000000.0", 20))),
)


def perp_meta(live: dict[str, Coin]) -> dict[str, Any]:
    """`meta`: the position of a row is its asset id, so every row is kept, delisted or not."""
    by_index = {coin.perp.asset_id: coin for coin in all_coins().values()}
    universe: list[dict[str, Any]] = []
    for index in range(PERP_ROWS):
        coin = by_index.get(index)
        if coin is None:
            name = _REAL_NAMES.get(index, f"OLD{index}")
            row: dict[str, Any] = {
                "szDecimals": index % 4, "name": name, "maxLeverage": 5, "marginTableId": 5,
                "isDelisted": True,
            }
        else:
            row = {
                "szDecimals": coin.perp.sz_decimals, "name": coin.name,
                "maxLeverage": coin.perp.max_leverage, "marginTableId": coin.perp.margin_table,
            }
            if coin.name not in live:
                row["isDelisted"] = True
        universe.append(row)
    tables = [
        [
            number,
            {
                "description": text,
                "marginTiers": [{"lowerBound": b, "maxLeverage": lev} for b, lev in rows],
            },
        ]
        for number, text, rows in _TABLES
    ]
    return {"universe": universe, "marginTables": tables, "collateralToken": USDC_TOKEN}


FILLER_PAIRS: tuple[tuple[int, int, str], ...] = (
    (3, 4, "JEFF"), (17, 20, "CATBAL"), (166, 268, "USDT0"), (230, 360, "USDH"),
)
"""(pair index, token index, token name) of listed pairs nobody quotes here."""

GHOST_CTX_COINS = ("@2", "@9", "@31", "@77", "@120", "@149", "@155", "@201")
"""Contexts without a pair in the universe: the venue sends hundreds, so position proves nothing."""


def spot_meta(*, dense: bool = True) -> dict[str, Any]:
    """`spotMeta`: pairs have sparse indices; `tokens` of a pair are token indices.

    dense: every token is listed, so that a token's position is its index, as recorded in 2025.
    """
    coins = all_coins()
    tokens = [USDC] + [coin.token for coin in coins.values()]
    tokens += [Token(name, token, 2, 8, f"0x{token:032x}") for _, token, name in FILLER_PAIRS]
    if dense:
        listed = {token.index for token in tokens}
        tokens += [
            Token(f"T{index}", index, 2, 8, f"0x{index:032x}")
            for index in range(max(listed)) if index not in listed
        ]
    pairs = [
        (coin.spot.asset_id - SPOT_ASSET_BASE, coin.token.index, coin.spot.coin)
        for coin in coins.values()
    ]
    pairs += [(pair, token, f"@{pair}") for pair, token, _ in FILLER_PAIRS]
    return {
        "universe": [
            {"tokens": [token, 0], "name": name, "index": pair, "isCanonical": pair == 0}
            for pair, token, name in sorted(pairs)
        ],
        "tokens": [
            {
                "name": t.name, "szDecimals": t.sz_decimals, "weiDecimals": t.wei_decimals,
                "index": t.index, "tokenId": t.token_id, "isCanonical": t.index < 2,
                "evmContract": None, "fullName": t.full_name, "deployerTradingFeeShare": "0.0",
            }
            for t in sorted(tokens, key=lambda t: t.index)
        ],
    }
