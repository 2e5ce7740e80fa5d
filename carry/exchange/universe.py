"""`/info`: what is listed, beyond the two metas: dexes, tables, limits, tokens, lending terms."""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .admission import IOC_MAX_USD
from .rights import reserve_state
from .text import wire

if TYPE_CHECKING:
    from .model import Exchange

Query = dict[str, Any]


class Universe:
    """Reads about markets that do not move with the price."""

    def __init__(
        self, exchange: "Exchange", perp_meta: dict[str, Any], spot_meta: dict[str, Any]
    ) -> None:
        self.ex = exchange
        self._perp_meta = perp_meta
        self._spot_meta = spot_meta

    def handlers(self) -> dict[str, Callable[[Query], Any]]:
        return {
            "perpDexs": lambda q: [None],
            "allPerpMetas": lambda q: [self._perp_meta],
            "perpsAtOpenInterestCap": lambda q: list(self.ex.oi_capped),
            "perpDexLimits": lambda q: None,
            "perpDexStatus": lambda q: {"totalNetDeposit": "0.0"},
            "perpDeployAuctionStatus": lambda q: {
                "startTimeSeconds": self.ex.now // 1_000, "durationSeconds": 111_600,
                "startGas": "500.0", "currentGas": "500.0", "endGas": None,
            },
            "maxMarketOrderNtls": lambda q: [
                [leverage or 1, wire(Decimal(usd))] for leverage, usd in IOC_MAX_USD
            ],
            "marginTable": lambda q: self._margin_table(q["id"]),
            "tokenDetails": self._token_details,
            "borrowLendReserveState": lambda q: reserve_state(self.ex, int(q["token"])),
            "allBorrowLendReserveStates": lambda q: [
                [token, reserve_state(self.ex, token)] for token in sorted(self.ex.token_names)
            ],
            "outcomeMeta": lambda q: {"outcomes": [], "questions": []},
            "liquidatable": lambda q: [],
            "leadingVaults": lambda q: [],
            "gossipPriorityAuctionStatus": lambda q: [],
        }

    def _margin_table(self, number: int) -> dict[str, Any]:
        """Tables below 50 are one flat tier and listed nowhere."""
        for known, table in self._perp_meta["marginTables"]:
            if known == number:
                found: dict[str, Any] = table
                return found
        if not 1 <= number <= 50:
            raise ValueError(number)
        return {"description": "", "marginTiers": [{"lowerBound": "0.0", "maxLeverage": number}]}

    def _token_details(self, query: Query) -> dict[str, Any]:
        for token in self._spot_meta["tokens"]:
            if token["tokenId"] == query["tokenId"]:
                px = wire(self.ex.token_px(token["index"]))
                return {
                    "name": token["name"], "maxSupply": "1000000000.0",
                    "totalSupply": "999999999.0", "circulatingSupply": "999999999.0",
                    "szDecimals": token["szDecimals"], "weiDecimals": token["weiDecimals"],
                    "midPx": px, "markPx": px, "prevDayPx": px, "genesis": None, "deployer": None,
                    "deployGas": None, "deployTime": None, "seededUsdc": "0.0",
                    "nonCirculatingUserBalances": [], "futureEmissions": "0.0",
                }
        raise ValueError(query["tokenId"])
