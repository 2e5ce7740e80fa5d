"""What trades at the local Aster: symbols of both hosts with the filters of their rows.

Ticks, steps, precisions and multipliers are the venue's as recorded in January 2026; prices are of
no date. Spot and perp of a pair share their name and differ in both grids.
"""

from decimal import Decimal
from typing import Any

from ..assets import PATH_DECIMALS, Asset, Coin, Token, tiers_of
from ..paths import HOUR_MS

USDT = "USDT"
USDT_TOKEN = 0
"""Token 0 is the quote coin, as settlement has it."""

MIN_NOTIONAL = "5"
ORDERS_MAX = 200
TIFS = ("GTC", "IOC", "FOK", "GTX")
ORDER_TYPES = ("LIMIT", "MARKET")
TRIAL_SYMBOL = "TESTUSDT"
"""The venue lists symbols of its own trials beside real ones; nobody is to trade them."""


class Grid:
    """Filters of one symbol, as the texts that exchangeInfo shows."""

    __slots__ = ("down", "max_px", "max_qty", "min_px", "px_precision", "step", "tick", "up")

    def __init__(
        self, tick: str, step: str, *, px_precision: int, min_px: str, max_px: str, max_qty: str,
        down: str, up: str,
    ) -> None:
        self.tick = tick
        self.step = step
        self.px_precision = px_precision
        self.min_px = min_px
        self.max_px = max_px
        self.max_qty = max_qty
        self.down = down
        self.up = up


def _decimals(step: str) -> int:
    """Decimals of a step that is a power of ten: "0.100" -> 1."""
    value = Decimal(step).normalize()
    assert value.as_tuple().digits == (1,), step
    return max(0, -int(value.as_tuple().exponent))


class Symbol(Asset):
    """An order book of one host. Its tick is fixed, unlike those of the exchange's other assets."""

    def __init__(
        self,
        *,
        asset_id: int,
        base: str,
        is_spot: bool,
        grid: Grid,
        half_spread_e9: tuple[int, int],
        depth_usd: int,
        daily_usd: int,
        token: int,
        max_leverage: int = 0,
        interval_h: int = 8,
        interest: str = "0.0001",
        cap: str = "0.003",
        take_bound: str = "0.02",
    ) -> None:
        symbol = base + USDT
        super().__init__(
            asset_id=asset_id, base=base, coin=f"spot:{symbol}" if is_spot else symbol,
            is_spot=is_spot, sz_decimals=_decimals(grid.step), half_spread_e9=half_spread_e9,
            depth_usd=depth_usd, daily_usd=daily_usd, token=token, wei_decimals=8,
            tiers=() if is_spot else tiers_of(
                (0, max_leverage), (2_000_000, max(max_leverage // 2, 1))
            ),
        )
        self.symbol = symbol
        self.grid = grid
        self.px_decimals = _decimals(grid.tick)
        self.unit = 10 ** (self.px_decimals + self.sz_decimals)
        self.interval_ms = interval_h * HOUR_MS
        self.interest = Decimal(interest)
        self.cap = Decimal(cap)
        self.take_bound = Decimal(take_bound)

    def tick(self, px: int) -> int:
        return 1


def coins() -> dict[str, Coin]:
    """The carry set: BTC, ETH, SOL, BNB every 8 h, ASTER every 4 h."""
    rows: tuple[dict[str, Any], ...] = (
        {
            "base": "BTC", "px": "93000", "vol": 5_200_000, "lev": 100, "cap": "0.003",
            "perp": Grid("0.1", "0.001", px_precision=1, min_px="1", max_px="1000000",
                         max_qty="1000", down="0.9800", up="1.0200"),
            "spot": Grid("0.01", "0.00001", px_precision=2, min_px="0.01", max_px="10000000",
                         max_qty="5000", down="0.2", up="5"),
            "depth": (4_000_000, 120_000), "daily": (284_000_000, 3_100_000),
        },
        {
            "base": "ETH", "px": "3150", "vol": 7_200_000, "lev": 100, "cap": "0.003",
            "perp": Grid("0.10", "0.001", px_precision=2, min_px="0.10", max_px="100000",
                         max_qty="5000", down="0.9800", up="1.0200"),
            "spot": Grid("0.01", "0.0001", px_precision=2, min_px="0.01", max_px="1000000",
                         max_qty="9000", down="0.2", up="5"),
            "depth": (3_000_000, 90_000), "daily": (160_000_000, 2_000_000),
        },
        {
            "base": "SOL", "px": "136", "vol": 9_000_000, "lev": 75, "cap": "0.00375",
            "perp": Grid("0.0100", "0.01", px_precision=4, min_px="0.0100", max_px="10000",
                         max_qty="20000", down="0.9700", up="1.0300"),
            "spot": Grid("0.01", "0.001", px_precision=2, min_px="0.01", max_px="100000",
                         max_qty="90000", down="0.2", up="5"),
            "depth": (900_000, 50_000), "daily": (60_000_000, 900_000),
        },
        {
            "base": "BNB", "px": "870", "vol": 6_000_000, "lev": 75, "cap": "0.00375",
            "interest": "0",
            "perp": Grid("0.100", "0.01", px_precision=3, min_px="0.100", max_px="100000",
                         max_qty="2000", down="0.9800", up="1.0200"),
            "spot": Grid("0.01", "0.001", px_precision=2, min_px="0.01", max_px="100000",
                         max_qty="9000", down="0.2", up="5"),
            "depth": (700_000, 60_000), "daily": (40_000_000, 900_000),
        },
        {
            "base": "ASTER", "px": "0.71", "vol": 12_000_000, "lev": 25, "cap": "0.02", "hours": 4,
            "perp": Grid("0.00010", "0.01", px_precision=5, min_px="0.00010", max_px="200",
                         max_qty="2000000", down="0.9500", up="1.0500"),
            "spot": Grid("0.00001", "0.01", px_precision=5, min_px="0.00001", max_px="1000",
                         max_qty="10000000", down="0.2", up="15"),
            "depth": (400_000, 70_000), "daily": (90_000_000, 4_000_000),
        },
    )
    return {row["base"]: _coin(number, row) for number, row in enumerate(rows, start=1)}


def _coin(number: int, row: dict[str, Any]) -> Coin:
    base: str = row["base"]
    token = Token(base, number, 5, 8, f"0x{number:032x}")
    perp = Symbol(
        asset_id=number, base=base, is_spot=False, grid=row["perp"], token=number,
        half_spread_e9=(20_000, 60_000), depth_usd=row["depth"][0], daily_usd=row["daily"][0],
        max_leverage=row["lev"], interval_h=row.get("hours", 8),
        interest=row.get("interest", "0.0001"), cap=row["cap"],
        take_bound=str(Decimal(row["perp"].up) - 1),
    )
    spot = Symbol(
        asset_id=10_000 + number, base=base, is_spot=True, grid=row["spot"], token=number,
        half_spread_e9=(90_000, 260_000), depth_usd=row["depth"][1], daily_usd=row["daily"][1],
    )
    start = int(Decimal(row["px"]).scaleb(PATH_DECIMALS))
    return Coin(base, token, perp, spot, start, row["vol"])


def exchange_info(symbols: list[Symbol], *, spot: bool, now: int) -> dict[str, Any]:
    """`exchangeInfo` of one host, in that host's own spelling of the filters."""
    limits: list[dict[str, Any]] = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
         "limit": 6_000 if spot else 2_400},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1,
         "limit": 6_000 if spot else 1_200},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
    ]
    assets: list[dict[str, Any]] = [{"asset": USDT}, *({"asset": s.base} for s in symbols)]
    if not spot:
        assets = [{**a, "marginAvailable": True, "autoAssetExchange": "-10000"} for a in assets]
    rows = [_spot_row(s) if spot else _perp_row(s) for s in symbols]
    if spot:
        rows.append({**rows[0], "symbol": TRIAL_SYMBOL, "baseAsset": "TEST"})
    info: dict[str, Any] = {
        "timezone": "UTC", "serverTime": now, "rateLimits": limits, "exchangeFilters": [],
        "assets": assets, "symbols": rows,
    }
    return info if spot else {**info, "futuresType": "U_MARGINED"}


def _filters(s: Symbol) -> list[dict[str, Any]]:
    g = s.grid
    return [
        {"minPrice": g.min_px, "maxPrice": g.max_px, "filterType": "PRICE_FILTER",
         "tickSize": g.tick},
        {"stepSize": g.step, "filterType": "LOT_SIZE", "maxQty": g.max_qty, "minQty": g.step},
        {"stepSize": g.step, "filterType": "MARKET_LOT_SIZE", "maxQty": g.max_qty,
         "minQty": g.step},
        {"limit": ORDERS_MAX, "filterType": "MAX_NUM_ORDERS"},
    ]


def _common(s: Symbol) -> dict[str, Any]:
    return {
        "symbol": s.symbol, "status": "TRADING", "baseAsset": s.base, "quoteAsset": USDT,
        "pricePrecision": s.grid.px_precision, "quantityPrecision": s.sz_decimals,
        "baseAssetPrecision": 8, "quotePrecision": 8, "orderTypes": list(ORDER_TYPES),
        "timeInForce": [*TIFS, "HIDDEN"],
    }


def _perp_row(s: Symbol) -> dict[str, Any]:
    g = s.grid
    percent = Decimal(100) / s.max_leverage
    return {
        **_common(s), "pair": s.symbol, "contractType": "PERPETUAL",
        "deliveryDate": 4_133_404_800_000, "onboardDate": 1_627_628_400_000,
        "maintMarginPercent": f"{percent / 2:.4f}", "requiredMarginPercent": f"{percent:.4f}",
        "marginAsset": USDT, "underlyingType": "COIN", "underlyingSubType": [],
        "settlePlan": 0, "triggerProtect": "0.0200", "liquidationFee": "0.025000",
        "marketTakeBound": str(s.take_bound),
        "filters": [
            *_filters(s),
            {"limit": 10, "filterType": "MAX_NUM_ALGO_ORDERS"},
            {"notional": MIN_NOTIONAL, "filterType": "MIN_NOTIONAL"},
            {"multiplierDown": g.down, "multiplierUp": g.up, "multiplierDecimal": "4",
             "filterType": "PERCENT_PRICE"},
        ],
    }


def _spot_row(s: Symbol) -> dict[str, Any]:
    g = s.grid
    return {
        **_common(s), "ocoAllowed": False,
        "filters": [
            *_filters(s),
            {"minNotional": MIN_NOTIONAL, "filterType": "MIN_NOTIONAL"},
            {"maxNotional": "9000000", "filterType": "MAX_NOTIONAL"},
            {"maxNotional": "9000000", "minNotional": MIN_NOTIONAL, "avgPriceMins": 5,
             "applyMinToMarket": True, "filterType": "NOTIONAL", "applyMaxToMarket": True},
            {"multiplierDown": g.down, "multiplierUp": g.up, "multiplierDecimal": "1",
             "filterType": "PERCENT_PRICE"},
            {"bidMultiplierUp": g.up, "askMultiplierUp": g.up, "bidMultiplierDown": g.down,
             "avgPriceMins": 5, "multiplierDecimal": "1", "filterType": "PERCENT_PRICE_BY_SIDE",
             "askMultiplierDown": g.down},
        ],
    }
