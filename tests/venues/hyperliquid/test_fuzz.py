"""Mutated replies: a decoder returns a value, or raises what `reading` makes `ReadFailed`."""

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from carry.core.actions import Write
from carry.core.observations import Accepted, Refused
from carry.venues.base import ReadFailed
from carry.venues.hyperliquid import account, metadata, parse, transfers
from carry.venues.hyperliquid.constants import Network
from carry.venues.hyperliquid.feed import Feed
from carry.venues.hyperliquid.replies import outcome_of
from carry.venues.hyperliquid.rest import Posted
from tests.venues.hyperliquid.support import ACCOUNT, CLOID, META, SPOT_META, encoded, known_markets
from tests.venues.hyperliquid.test_reads import (
    CTX,
    balance,
    fill_row,
    l2,
    level,
    perp_row,
    perps,
    record,
)
from tests.venues.hyperliquid.test_stream import bbo, fills, frame, update
from tests.venues.hyperliquid.test_writes import (
    CANCEL,
    DEFAULT,
    FENCE,
    FOREIGN,
    LEVERAGE,
    PLACE,
    RESTING,
    err,
    filled,
    ok,
)

KNOWN = known_markets()
COINS = ("BTC", "HYPE")
SPOT_BODY, META_BODY = encoded(SPOT_META), encoded(META)

SEND = {"type": "send", "token": "USDC", "amount": "3.0", "user": ACCOUNT, "destination": CLOID,
        "fee": "1.0", "feeToken": "USDC"}  # fmt: skip
FUNDING = {"type": "funding", "coin": "HYPE", "usdc": "-0.044263", "szi": "30.0",
           "fundingRate": "0.0000369155", "nSamples": None}  # fmt: skip
FEES = {"userCrossRate": "0.00045", "userAddRate": "0.0", "userSpotCrossRate": "0.0007",
        "userSpotAddRate": "0.0004", "activeReferralDiscount": "0.04"}  # fmt: skip

READS: list[tuple[Any, Callable[[bytes], Any]]] = [
    (META, lambda b: metadata.read_markets(b, SPOT_BODY, COINS, Network.MAINNET, 1)),
    (SPOT_META, lambda b: metadata.read_markets(META_BODY, b, COINS, Network.MAINNET, 1)),
    ([META, [CTX] * 6], lambda b: parse.read_contexts(b, COINS, KNOWN, 1)),
    (l2([level("27.5"), level("27.4")], [level("27.6")]), lambda b: parse.read_book(b, KNOWN, 1)),
    ([{"coin": "BTC", "fundingRate": "0.1", "time": 5}], lambda b: parse.read_prints(b, "BTC")),
    ([{"t": 0, "T": 9, "c": "1.5"}], lambda b: parse.read_closes(b, 5, 100)),
    ("default", account.read_mode),
    (perps(perp_row("BTC"), perp_row("DOGE")), lambda b: account.read_positions(b, KNOWN, 1)),
    ({"balances": [balance("USDC", 0), balance("HYPE", 150), balance("+1", None)]},
     lambda b: account.read_balances(b, KNOWN, 1)),
    ([fill_row(), fill_row(coin="HYPE", feeToken="USDC")], lambda b: account.read_fills(b, KNOWN)),
    ([{"time": 1, "hash": "0x", "delta": FUNDING}], lambda b: account.read_receipts(b, KNOWN)),
    ([{"time": 1, "hash": "0x", "delta": SEND}], lambda b: transfers.read_transfers(b, ACCOUNT)),
    (FEES, account.read_fees),
    ({"coin": "BTC", "leverage": {"type": "cross", "value": 1}},
     lambda b: account.read_leverage(b, "BTC")),
    ({"nRequestsUsed": 1, "nRequestsCap": 2}, account.read_budget),
    (record("open"), lambda b: account.read_record(b, 1, CLOID, 1)),
    ([record("open")["order"]["order"]], lambda b: account.read_orders(b, KNOWN)),
]  # fmt: skip

JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=6),
    st.sampled_from(["NaN", "Infinity", "-0.0", "1e400", "１", "", "0x", "9" * 60, "BTC", "@107"]),
    st.builds(list), st.builds(dict), st.builds(lambda: [[[]]]),
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """`value` with one to three of its parts replaced, removed or doubled."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        spots = list(_spots(value))
        if not spots:
            return draw(JUNK)
        parent, key = draw(st.sampled_from(spots))
        how = draw(st.sampled_from(["replace", "remove", "double"]))
        if how == "replace":
            parent[key] = draw(JUNK)
        elif how == "remove":
            del parent[key]
        elif isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
    return value


def _spots(value: Any) -> Any:
    """Every place in a JSON value, as (container, key)."""
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _spots(value[key])


@st.composite
def bodies(draw: st.DrawFn, value: Any) -> bytes:
    """Mutated JSON, sometimes cut short or with a byte changed."""
    text = bytearray(encoded(draw(mutated(value))))
    how = draw(st.sampled_from(["whole", "whole", "whole", "cut", "byte"]))
    if how == "cut":
        return bytes(text[: draw(st.integers(0, len(text)))])
    if how == "byte" and text:
        text[draw(st.integers(0, len(text) - 1))] = draw(st.integers(0, 255))
    return bytes(text)


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(READS).flatmap(lambda row: st.tuples(st.just(row[1]), bodies(row[0]))))
def test_reads_return_or_fail_as_reads_do(case: tuple[Callable[[bytes], Any], bytes]) -> None:
    read, body = case
    try:
        with parse.reading("x"):
            read(body)
    except ReadFailed as failed:
        assert failed.kind == "unreadable"


REPLIES = [RESTING, filled("1.5"), filled("0.4", cloid=CLOID), ok("order", {"error": "Price x"}),
           ok("cancel", "success"), DEFAULT, err("Action already expired"),
           err("Invalid nonce: duplicate nonce 5")]  # fmt: skip
WRITES: list[Write] = [PLACE, CANCEL, FOREIGN, LEVERAGE, FENCE]


@settings(max_examples=800, deadline=None)
@given(st.sampled_from(WRITES), st.sampled_from(REPLIES).flatmap(bodies))
def test_every_reply_has_an_outcome(write: Write, body: bytes) -> None:
    outcome = outcome_of(write, Posted(True, 200, body, ""))
    if isinstance(outcome, Accepted):
        assert 0 <= outcome.filled_sz <= PLACE.sz
    assert not isinstance(outcome, Refused) or outcome.code


FRAMES = [json.loads(text) for text in (
    bbo("27.5", "27.6"), fills(fill_row()), frame("orderUpdates", [update("open")]),
    frame("l2Book", l2([level("27.5")], [level("27.6")])), frame("error", "x"),
    frame("subscriptionResponse", {"subscription": {"type": "bbo", "coin": "BTC"}}),
)]  # fmt: skip


@settings(max_examples=800, deadline=None)
@given(st.sampled_from(FRAMES).flatmap(bodies))
def test_no_frame_stops_the_stream(text: bytes) -> None:
    feed = Feed(ACCOUNT)
    feed.known = KNOWN
    feed.take(text, 1)
    assert feed.take(fills(fill_row()), 2)
