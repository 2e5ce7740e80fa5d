"""Replies recorded from the venue: each that the adapter asks for parses, and none that is changed
in some part does worse than be called unreadable. Where the recordings are not, this is skipped;
replies in the same shapes are made by hand in test_reads and test_mutations.
"""

import gzip
import json
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from carry.venues.hyperliquid import account, parse, transfers
from carry.venues.hyperliquid.feed import Feed
from tests.venues.hyperliquid.support import encoded, known_markets, recorded
from tests.venues.hyperliquid.test_mutations import UNREADABLE, changed, others, outcome, spots

KNOWN = known_markets()
Read = Callable[[bytes], Any]
READERS: Mapping[str, Callable[[Mapping[str, Any]], Read]] = {
    "clearinghouseState": lambda asked: lambda b: account.read_positions(b, KNOWN, 1),
    "spotClearinghouseState": lambda asked: lambda b: account.read_balances(b, KNOWN, 1),
    "userFills": lambda asked: lambda b: account.read_fills(b, KNOWN),
    "userFunding": lambda asked: lambda b: account.read_receipts(b, KNOWN),
    "userNonFundingLedgerUpdates": lambda asked: (
        lambda b: transfers.read_transfers(b, asked["user"])
    ),
    "userRateLimit": lambda asked: account.read_budget,
    "frontendOpenOrders": lambda asked: lambda b: account.read_orders(b, KNOWN),
    "l2Book": lambda asked: lambda b: parse.read_book(b, KNOWN, 1),
    "fundingHistory": lambda asked: lambda b: parse.read_prints(b, asked["coin"]),
    "candleSnapshot": lambda asked: lambda b: parse.read_closes(b, 10**14, 1_000),
    "metaAndAssetCtxs": lambda asked: lambda b: parse.read_contexts(b, ("BTC", "HYPE"), KNOWN, 1),
}
SAMPLES = {
    "Endpoints__Futures__Account__GetAccountInfo": "clearinghouseState",
    "Endpoints__Futures__Account__GetFundingHistory": "userFunding",
    "Endpoints__Futures__ExchangeData__GetExchangeInfoAndTickers": "metaAndAssetCtxs",
    "Endpoints__Futures__ExchangeData__GetFundingRateHistory": "fundingHistory",
    "Endpoints__Spot__Account__GetAccountLedger": "userNonFundingLedgerUpdates",
    "Endpoints__Spot__Account__GetBalances": "spotClearinghouseState",
    "Endpoints__Spot__Account__GetRateLimits": "userRateLimit",
    "Endpoints__Spot__ExchangeData__GetKlines": "candleSnapshot",
    "Endpoints__Spot__ExchangeData__GetOrderBook": "l2Book",
    "Endpoints__Spot__Trading__GetOpenOrdersExtended": "frontendOpenOrders",
    "Endpoints__Spot__Trading__GetUserTrades": "userFills",
}
FRAMES = ("BookTicker", "Order", "OrderBook", "UserEventTrade", "Trades", "Prices", "Klines")
# What was recorded before a field was there, with the field.
SINCE = {"crossMaintenanceMarginUsed": "0.0", "time": 1}
COUNT = 2_000


def replies() -> Iterator[tuple[str, Any, Read]]:
    """(request type, reply, reader) of every recorded reply that the adapter asks for."""
    for folder in ("hl-python-sdk-cassettes", "hl-go-sonirico-cassettes"):
        for path in sorted(recorded(folder).glob("*.json*")):
            packed = path.read_bytes()
            for row in json.loads(gzip.decompress(packed) if path.suffix == ".gz" else packed):
                asked = row["request"] if isinstance(row["request"], dict) else {}
                kind = asked.get("type", "")
                if kind not in READERS or row["status"] != 200:
                    continue
                value = row["response"]
                if kind == "clearinghouseState":
                    value = {**SINCE, **value}
                if kind == "userFills":
                    value = [{"tid": n, **fill} for n, fill in enumerate(value)]
                yield kind, value, READERS[kind](asked.get("req", asked))
    for name, kind in SAMPLES.items():
        value = json.loads(sample(name).split("\n", 3)[3])
        yield kind, value, READERS[kind]({"user": "0x", "coin": "ETH"})


def sample(name: str) -> str:
    """A text whose first lines say how it was asked for."""
    return recorded(f"hl-dotnet-jkorf/{name}.txt").read_text()


def test_every_reply_that_the_adapter_asks_for_parses() -> None:
    found = list(replies())
    assert {kind for kind, _, _ in found} == set(READERS)
    for kind, value, read in found:
        assert outcome(read, encoded(value)) != UNREADABLE, kind


@pytest.mark.slow
def test_a_changed_part_is_another_value_or_unreadable_and_never_worse() -> None:
    rng = random.Random(1)
    found = [(kind, value, read) for kind, value, read in replies() if value]
    noticed = 0
    for kind, value, read in found:
        # A long history is the same row again and again.
        short = value[:3] if isinstance(value, list) and kind != "metaAndAssetCtxs" else value
        whole, places = outcome(read, encoded(short)), list(spots(short))
        for _ in range(COUNT // len(found)):
            path = rng.choice(places)
            at: Any = short
            for key in path:
                at = at[key]
            noticed += outcome(read, changed(short, path, others(at, rng))) != whole
    assert noticed > COUNT // 10


@pytest.mark.parametrize("name", FRAMES)
def test_every_frame_of_the_stream_is_taken(name: str) -> None:
    """Frames of channels that are not used are passed over, not called bad."""
    feed = Feed("0x")
    feed.known = KNOWN
    told = sample(f"Subscriptions__{name}").split("\n= ", 1)
    for line in told[0].splitlines():
        if line.startswith("< "):
            feed.take(line[2:].encode(), 1)
    feed.take(json.dumps(json.loads(told[1])).encode(), 1)
    assert (feed.quarantined, feed.last_bad) == (0, "")
