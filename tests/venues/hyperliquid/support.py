"""A clock, a transport and replies of the venue for tests: made up, in recorded shapes."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from carry.venues.hyperliquid.constants import Network
from carry.venues.hyperliquid.metadata import Known, read_markets
from carry.venues.hyperliquid.venue import HyperliquidVenue
from carry.venues.keys import AgentKey
from carry.venues.transport import PostFailed, Reply

# A published test key of the venue's own SDK: it holds nothing anywhere.
TEST_KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
TEST_KEY_ADDRESS = "0x14791697260e4c9a71f18484c9f997b308e59325"
ACCOUNT = "0x00000000000000000000000000000000000000aa"
CLOID = "0x0000000000000000000000000000007b"
DATA = Path(__file__).resolve().parents[4] / "shared" / "data"  # beside the checkout, if at all

HYPE_ID = "0x0d01dc56dcaaca66ad901c959b4011ec"
UBTC_ID = "0x8f254b963e8468305d409b33aa137c67"

META: Any = {
    "universe": [
        {"szDecimals": 5, "name": "BTC", "maxLeverage": 40, "marginTableId": 56},
        {
            "szDecimals": 1,
            "name": "MATIC",
            "maxLeverage": 20,
            "marginTableId": 20,
            "isDelisted": True,
        },
        {"name": "BROKEN", "szDecimals": None},
        {"szDecimals": 2, "name": "HYPE", "maxLeverage": 10, "marginTableId": 52},
        {"szDecimals": 0, "name": "kBONK", "maxLeverage": 10, "marginTableId": 10},
        {"szDecimals": 0, "name": "PURR", "maxLeverage": 3, "marginTableId": 3, "isDelisted": True},
    ],
    "marginTables": [
        [
            56,
            {
                "description": "tiered 40x",
                "marginTiers": [
                    {"lowerBound": "0.0", "maxLeverage": 40},
                    {"lowerBound": "150000000.0", "maxLeverage": 20},
                ],
            },
        ],
        ["what", {}],
        [
            52,
            {
                "description": "tiered 10x",
                "marginTiers": [
                    {"lowerBound": "0.0", "maxLeverage": 10},
                    {"lowerBound": "20000000.0", "maxLeverage": 5},
                ],
            },
        ],
    ],
    "collateralToken": 0,
}

SPOT_META: Any = {
    "universe": [
        {"tokens": [1, 0], "name": "PURR/USDC", "index": 0, "isCanonical": True},
        {"tokens": [150, 0], "name": "@107", "index": 107, "isCanonical": False},
        {"tokens": ["?"], "name": "@999", "index": None},
        {"tokens": [197, 360], "name": "@234", "index": 234, "isCanonical": False},
        {"tokens": [197, 0], "name": "@142", "index": 142, "isCanonical": False},
    ],
    "tokens": [
        {
            "name": "USDC",
            "szDecimals": 8,
            "weiDecimals": 8,
            "index": 0,
            "tokenId": "0x6d1e7cde53ba9467b783cb7c530ce054",
            "isCanonical": True,
        },
        {
            "name": "PURR",
            "szDecimals": 0,
            "weiDecimals": 5,
            "index": 1,
            "tokenId": "0xc1fb593aeffbeb02f85e0308e9956a90",
        },
        {"name": 7},
        {"name": "HYPE", "szDecimals": 2, "weiDecimals": 8, "index": 150, "tokenId": HYPE_ID},
        {"name": "UBTC", "szDecimals": 5, "weiDecimals": 10, "index": 197, "tokenId": UBTC_ID},
        {"name": "UBTC", "szDecimals": 2, "weiDecimals": 8, "index": 480, "tokenId": "0x01"},
    ],
}


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def known_markets(coins: Sequence[str] = ("BTC", "HYPE")) -> Known:
    """What `META` and `SPOT_META` list, as mainnet's."""
    read, known = read_markets(encoded(META), encoded(SPOT_META), coins, Network.MAINNET, 1)
    assert not read.broken, read.broken
    return known


class FakeClock:
    """A clock that stands until told; the venue's is 1 s ahead of wall once a stamp was seen."""

    def __init__(self, mono_ms: int = 1_000_000, wall_ms: int = 1_700_000_000_000) -> None:
        self.now_ms, self._wall_ms = mono_ms, wall_ms
        self.stamps: list[tuple[int, int]] = []

    def mono_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self._wall_ms

    def venue_ms(self) -> int | None:
        return self.stamps[-1][0] if self.stamps else None

    def saw_venue(self, at_ms: int, sent_mono_ms: int) -> None:
        self.stamps.append((at_ms, sent_mono_ms))

    def journal_id(self, account: str) -> int:
        return 1

    def sync(self, venue: Any) -> None: ...

    def wait(self, venue: Any, ms: int) -> bool:
        self.now_ms += ms
        return False


Answer = bytes | Any


class FakeTransport:
    """Answers `/info` by type and `/exchange` from a script; remembers what was asked."""

    def __init__(self, info: Mapping[str, Any], exchange: Sequence[Any] = ()) -> None:
        self.info = {"meta": META, "spotMeta": SPOT_META, **info}
        self.exchange = list(exchange)
        self.asked: list[Any] = []
        self.posted: list[bytes] = []

    def post(self, path: str, body: bytes, deadline_s: float) -> Reply:
        assert deadline_s > 0
        if path == "/exchange":
            self.posted.append(body)
            answer = self.exchange.pop(0)
        else:
            request = json.loads(body)
            self.asked.append(request)
            answer = self.info[request["type"]]
        if isinstance(answer, Callable):
            answer = answer(json.loads(body))
        if isinstance(answer, PostFailed):
            raise answer
        if isinstance(answer, tuple):
            return answer
        return 200, {}, answer if isinstance(answer, bytes) else encoded(answer)

    def close(self) -> None: ...


class FakeLink:
    """A connection of which the test holds the other end."""

    def __init__(self) -> None:
        self.open = True
        self.sent: list[str] = []
        self.frames: list[tuple[int, bytes]] = []
        self.lost = False
        self.aborted = 0

    def start(self, hello: Callable[[], Sequence[str]]) -> None:
        self.sent += hello()

    def stop(self) -> None:
        self.open = False

    def send(self, texts: Sequence[str], acked: bool) -> None:
        self.sent += texts

    def take(self) -> tuple[Sequence[tuple[int, bytes]], bool]:
        frames, lost = tuple(self.frames), self.lost
        self.frames, self.lost = [], False
        return frames, lost

    def wait(self, timeout_s: float) -> bool:
        return bool(self.frames)

    def tend(self, now_ms: int) -> None: ...

    def abort(self) -> None:
        self.aborted += 1

    def is_open(self) -> bool:
        return self.open

    def received(self) -> int:
        return 0

    def wait_received(self, count: int, timeout_s: float) -> bool:
        return False

    def wait_closed(self, timeout_s: float) -> bool:
        return not self.open


def venue_of(
    transport: FakeTransport,
    *,
    clock: FakeClock | None = None,
    coins: Sequence[str] = ("BTC", "HYPE"),
    key: AgentKey | None = None,
    link: FakeLink | None = None,
) -> HyperliquidVenue:
    """A venue on mainnet rules over a fake transport, with the markets already read."""
    venue = HyperliquidVenue(
        network=Network.MAINNET,
        account=ACCOUNT,
        coins=coins,
        key=key or AgentKey(TEST_KEY),
        clock=clock or FakeClock(),
        transport=transport,
        link=link or FakeLink(),
    )
    venue.markets(coins)
    transport.asked.clear()
    return venue


def recorded(name: str) -> Path:
    """A file of the recordings; skips the test where they are not."""
    path = DATA / name
    if not path.exists():
        # The recordings are not part of the project; replies made by hand are tested beside them.
        pytest.skip(f"no recordings: {path}")
    return path
