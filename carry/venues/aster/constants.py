"""Where Aster is, and what its V3 signatures name. Source: Aster API docs V3, read 2026-06."""

import enum
from collections.abc import Mapping

from carry.core.types import Leg
from carry.core.venue import Capabilities, FenceKind

QUOTE = "USDT"
"""The coin both legs are quoted in, and the short is margined with."""

PAIRED = ("BTC", "ETH", "SOL", "BNB", "ASTER")
"""Coins whose spot and perp are the same thing."""

NONCE_WINDOW_MS = 10_000
"""A V3 request whose nonce is further than this from the server's clock is refused."""


class Network(enum.Enum):
    MAINNET = "mainnet"
    TESTNET = "testnet"


CHAIN_IDS: Mapping[Network, int] = {Network.MAINNET: 1666, Network.TESTNET: 714}
"""Signing domains only; neither is a chain that can be connected to."""

BASE_URLS: Mapping[Network, Mapping[Leg, str]] = {
    Network.MAINNET: {
        Leg.PERP: "https://fapi.asterdex.com",
        Leg.SPOT: "https://sapi.asterdex.com",
    },
    Network.TESTNET: {
        Leg.PERP: "https://fapi.asterdex-testnet.com",
        Leg.SPOT: "https://sapi.asterdex-testnet.com",
    },
}

AGENT_PAGES: Mapping[Network, str] = {
    Network.MAINNET: "https://www.asterdex.com/en/api-wallet",
    Network.TESTNET: "https://www.asterdex-testnet.com/en/api-wallet",
}

PATHS_OF_V1: Mapping[str, str] = {
    "/balance": "/fapi/v2/balance",
    "/positionRisk": "/fapi/v2/positionRisk",
    "/accountWithJoinMargin": "/fapi/v4/account",
}
"""Where V1 has another number than V3's path would suggest; futures only."""

WEIGHT_A_MINUTE: Mapping[Leg, int] = {Leg.PERP: 2_400, Leg.SPOT: 6_000}
"""Until `exchangeInfo` says otherwise; ours is a share of it (see rest)."""

LATE_RECORD_MS = 35_000
"""How long after it was accepted an order may still be unknown to a query by client id (30 s were
seen)."""

CAPABILITIES = Capabilities(
    # No write carries an expiry, and a `noop` voids nothing for certain. But a request is refused
    # once its nonce is older than the window: so that is the expiry of every write. The lag of the
    # records comes on top, and the adapter answers no query with "unknown" before it is over.
    fence=FenceKind.EXPIRY,
    expiry_ms=NONCE_WINDOW_MS,
    nonce_ahead_ms_max=NONCE_WINDOW_MS // 2,
    # Until `fundingInfo` was read: the interval of BTC, ETH, SOL and BNB.
    funding_interval_ms=8 * 3_600_000,
    # Reduce-only orders are exempt from the minimum on perps.
    min_exempt_full_close=True,
)


def path_of(leg: Leg, version: int, name: str) -> str:
    """The path of an endpoint: `name` as V3 calls it ("/order"), `version` 3 or 1."""
    if leg is Leg.SPOT:
        return f"/api/v{version}{name}"
    if version == 1 and name in PATHS_OF_V1:
        return PATHS_OF_V1[name]
    return f"/fapi/v{version}{name}"
