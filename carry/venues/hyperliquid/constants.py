"""Where the networks are, and which spot token stands for which perp.

Source: hyperliquid.gitbook.io/hyperliquid-docs (api, asset-ids, tick-and-lot-size), read 2026-08.
"""

import enum
from collections.abc import Mapping

import attrs

from carry.core.venue import Capabilities, FenceKind


class Network(enum.Enum):
    """Which chain an action is signed for. Configured, never derived from an address on the net."""

    MAINNET = "mainnet"
    TESTNET = "testnet"


REST_URLS: Mapping[Network, str] = {
    Network.MAINNET: "https://api.hyperliquid.xyz",
    Network.TESTNET: "https://api.hyperliquid-testnet.xyz",
}
WS_URLS: Mapping[Network, str] = {
    Network.MAINNET: "wss://api.hyperliquid.xyz/ws",
    Network.TESTNET: "wss://api.hyperliquid-testnet.xyz/ws",
}

CAPABILITIES = Capabilities(
    fence=FenceKind.NONCE,
    expiry_ms=10_000,
    nonce_ahead_ms_max=60_000,
    funding_interval_ms=3_600_000,
    min_exempt_full_close=True,
)

SPOT_ASSET_BASE = 10_000
PERP_DECIMALS = 6
SPOT_DECIMALS = 8
QUOTE_TOKEN = 0
QUOTE_NAME = "USDC"


@attrs.frozen
class Wrapper:
    """The spot token that hedges a perp. `token_id`: mainnet's, None where it is not known.

    shift: one of the perp's coin is 10^shift units of the token (kBONK: 1000 UBONK, so 3).
    """

    name: str
    token_id: str | None = None
    shift: int = 0


# Names are not unique on this venue and look-alikes exist (spot MON is not Monad), so a coin
# that is not in this table is not traded, and on mainnet a token is known by its id alone: one
# without an id here needs `token_id` in the market's config.
WRAPPERS: Mapping[str, Wrapper] = {
    "HYPE": Wrapper("HYPE", "0x0d01dc56dcaaca66ad901c959b4011ec"),
    "BTC": Wrapper("UBTC", "0x8f254b963e8468305d409b33aa137c67"),
    "ETH": Wrapper("UETH", "0xe1edd30daaf5caac3fe63569e24748da"),
    "SOL": Wrapper("USOL", "0x49b67c39f5566535de22b29b0e51e685"),
    "PUMP": Wrapper("UPUMP", "0x544e60f98a36d7b22c0fb5824b84f795"),
    "FARTCOIN": Wrapper("UFART", "0x7650808198966e4285687d3deb556ccc"),
    "PURR": Wrapper("PURR", "0xc1fb593aeffbeb02f85e0308e9956a90"),
    "SPX": Wrapper("UUUSPX", "0x2ff71b802a6788a052c7f1a58ec863af"),
    "ENA": Wrapper("UENA", "0x593494b6af79172fa983a0cf1c88e0e0"),
    "PENGU": Wrapper("HPENGU", "0x1765b5a9ec8fc3cdbc209c63cac68e86"),
    "kBONK": Wrapper("UBONK", "0xb113d34e351cf195733c98442530c099", shift=3),
    "ZEC": Wrapper("UZEC"),
    "XPL": Wrapper("UXPL"),
    "MON": Wrapper("UMON"),
    "2Z": Wrapper("UDZ"),
    "VIRTUAL": Wrapper("UVIRT"),
    "WLD": Wrapper("UWLD"),
    "MEGA": Wrapper("UMEGA"),
    "AVAX": Wrapper("AVAX"),
}
