"""What a backtest takes for the books: the coins of a recording with spread and depth of each leg.

No recording holds years of books, so the exchange quotes them by a model (docs/BACKTEST.md states
its n and its error): a touch of half a spread each side, and a ladder whose depth within 10 bp is
`depth_usd`. A slippage factor k takes k times the spread and 1/k of the depth.
"""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from carry.exchange.assets import SPOT_ASSET_BASE, Asset, Coin, Token, all_coins, tiers_of
from carry.exchange.bars import Track

_FIRST_INDEX = 20_000  # of coins the exchange does not know by name
_WEI_DECIMALS = 8
_LEVERAGE_MAX = 10


@attrs.frozen(kw_only=True)
class Depth:
    """Books of a coin: half spreads in 1e-9 of the price (lowest, highest), depth in USD within
    10 bp on one side, and the notional that rests at the perp's touch.
    """

    perp_half: tuple[int, int]
    spot_half: tuple[int, int]
    perp_usd: int
    spot_usd: int
    impact_usd: int


UNKNOWN = Depth(
    perp_half=(100_000, 200_000), spot_half=(300_000, 600_000),
    perp_usd=400_000, spot_usd=40_000, impact_usd=6_000,
)  # fmt: skip
"""A coin nobody calibrated: wider and thinner than any of the majors."""


MEASURED: Mapping[str, tuple[tuple[int, int], int, int]] = {
    "BTC": ((7_000, 22_000), 375_000, 12_000),
    "ETH": ((10_000, 30_000), 560_000, 12_000),
    "SOL": ((22_000, 40_000), 230_000, 8_000),
}
"""Perps whose books are recorded: half spread in 1e-9 (lowest, highest), USD within 10 bp on a
side, USD at the touch. docs/BACKTEST.md says of how many books, and how far off this is."""


def coins_of(tracks: Mapping[str, Track], slippage: Decimal) -> dict[str, Coin]:
    """The coins of a recording, quoted `slippage` times as dear as the model says."""
    known, found = all_coins(), {}
    for number, (name, track) in enumerate(tracks.items()):
        coin = known.get(name) or _made(name, number, track.perp.bars[-1].close)
        if name in MEASURED:
            half, depth, touch = MEASURED[name]
            coin.perp.half_spread_e9, coin.perp.depth_usd, coin.perp.impact_usd = half, depth, touch
        for asset in (coin.perp, coin.spot):
            low, high = (int(half * slippage) for half in asset.half_spread_e9)
            asset.half_spread_e9 = (low, max(high, low + 1))
            asset.depth_usd = max(int(asset.depth_usd / slippage), 1)
            asset.impact_usd = int(asset.impact_usd / slippage)
        found[name] = coin
    return found


def _made(name: str, number: int, px8: int) -> Coin:
    """A coin by its price alone: lots worth around a dollar, margin as of a small market."""
    whole = len(str(px8 // 10**8)) if px8 >= 10**8 else 0
    decimals = min(whole, 5)
    index = _FIRST_INDEX + number
    token = Token(name, index, decimals, _WEI_DECIMALS, f"0x{index:032x}")
    daily = 20_000_000
    perp = Asset(
        asset_id=index - SPOT_ASSET_BASE, base=name, coin=name, is_spot=False,
        sz_decimals=decimals, tiers=tiers_of((0, _LEVERAGE_MAX)), half_spread_e9=UNKNOWN.perp_half,
        depth_usd=UNKNOWN.perp_usd, daily_usd=daily, impact_usd=UNKNOWN.impact_usd,
    )  # fmt: skip
    spot = Asset(
        asset_id=SPOT_ASSET_BASE + index, base=name, coin=f"@{index}", is_spot=True,
        sz_decimals=decimals, token=index, wei_decimals=_WEI_DECIMALS,
        half_spread_e9=UNKNOWN.spot_half, depth_usd=UNKNOWN.spot_usd, daily_usd=daily,
    )  # fmt: skip
    return Coin(name, token, perp, spot, px8, 10_000_000)
