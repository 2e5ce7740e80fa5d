"""The wider channels and reads: whole accounts, order history, user events, contexts of all."""

import base64
import json
import zlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from carry.exchange.model import Exchange

from .conftest import HYPE, User, beside, limit, post, touch

MakeUser = Callable[..., User]
D = Decimal


class Ears:
    """A session and what it heard, by channel."""

    def __init__(self, ex: Exchange, *subscriptions: dict[str, Any]) -> None:
        self.ex = ex
        self.session = ex.connect()
        for subscription in subscriptions:
            message = {"method": "subscribe", "subscription": subscription}
            ex.receive(self.session, json.dumps(message))

    def take(self) -> dict[str, list[Any]]:
        heard: dict[str, list[Any]] = {}
        for text in self.session.take():
            if text.startswith("{"):
                message = json.loads(text)
                heard.setdefault(message["channel"], []).append(message.get("data"))
        return heard


@pytest.mark.parametrize("kind", [
    "webData2", "webData3", "allDexsClearinghouseState", "clearinghouseState", "spotState",
    "openOrders", "twapStates", "userHistoricalOrders",
])
def test_whole_account_channels_say_what_the_reads_say(user: User, kind: str) -> None:
    user.order(HYPE, "sell", beside(user.ex, HYPE, "sell", 1), "5")
    user.order(HYPE, "buy", beside(user.ex, HYPE, "buy", -5), "5", "Alo")
    (data,) = Ears(user.ex, {"type": kind, "user": user.address}).take()[kind]
    state = user.info("clearinghouseState")
    if kind == "webData2":
        assert (data["clearinghouseState"], data["user"]) == (state, user.address)
        assert [data["meta"], data["assetCtxs"]] == user.info("metaAndAssetCtxs")
        assert data["openOrders"] == user.info("frontendOpenOrders")
        assert user.info("webData2") == data
    elif kind == "webData3":
        assert data["userState"]["abstraction"] == user.info("userAbstraction") == "default"
        assert data["perpDexStates"][0]["perpsAtOpenInterestCap"] == []
    elif kind == "allDexsClearinghouseState":
        assert data["clearinghouseStates"] == [["", state]]
    elif kind == "clearinghouseState":
        assert data[kind] == state
    elif kind == "spotState":
        assert data[kind] == user.info("spotClearinghouseState")
    elif kind == "openOrders":
        assert data["orders"] == user.info("frontendOpenOrders")
    elif kind == "userHistoricalOrders":
        assert data["isSnapshot"] is True
        assert data["orderHistory"] == user.info("historicalOrders")
    else:
        assert data["states"] == []


def test_web_data_names_the_unnamed_agent(user: User) -> None:
    key = user.agent(91)
    (data,) = Ears(user.ex, {"type": "webData3", "user": user.address}).take()["webData3"]
    assert data["userState"]["agentAddress"] == key.address.lower()
    assert user.info("extraAgents") == []


def test_an_order_history_grows(user: User) -> None:
    ears = Ears(user.ex, {"type": "userHistoricalOrders", "user": user.address})
    ears.take()
    user.ex.advance(user.ex.now + 10)
    oid = user.order(HYPE, "buy", beside(user.ex, HYPE, "buy", -5), "5", "Alo")["resting"]["oid"]
    (data,) = ears.take()["userHistoricalOrders"]
    assert [(row["order"]["oid"], row["status"]) for row in data["orderHistory"]] == [(oid, "open")]
    assert "isSnapshot" not in data


def test_the_venue_tells_what_it_cancelled(user: User) -> None:
    """A self-trade, and a reduce-only order that lost its position; not what the user cancels."""
    ears = Ears(user.ex, {"type": "userEvents", "user": user.address})
    bid, _ = touch(user.ex, HYPE)
    px = str(bid + D("0.001"))
    own = user.order(HYPE, "buy", px, "3", "Alo")["resting"]["oid"]
    user.order(HYPE, "sell", str(bid), "3")
    low = beside(user.ex, HYPE, "buy", -5)
    flat = user.order(HYPE, "buy", low, "3", "Alo", reduce_only=True)["resting"]["oid"]
    user.order(HYPE, "buy", beside(user.ex, HYPE, "buy", 1), "3")
    mine = user.order(HYPE, "buy", low, "3", "Alo")["resting"]["oid"]
    user.send({"type": "cancel", "cancels": [{"a": HYPE, "o": mine}]})
    events = [event["nonUserCancel"] for event in ears.take()["user"] if "nonUserCancel" in event]
    assert events == [[{"coin": "HYPE", "oid": oid}] for oid in (own, flat)]


def test_contexts_of_everything(exchange: Exchange) -> None:
    kinds = ("allDexsAssetCtxs", "assetCtxs", "spotAssetCtxs", "fastAssetCtxs")
    heard = Ears(exchange, *({"type": kind} for kind in kinds)).take()
    _, ctxs = post(exchange, "/info", {"type": "metaAndAssetCtxs"})
    _, spots = post(exchange, "/info", {"type": "spotMetaAndAssetCtxs"})
    assert heard["allDexsAssetCtxs"] == [{"ctxs": [["", ctxs]]}]
    assert heard["assetCtxs"][0]["ctxs"] == ctxs
    assert heard["spotAssetCtxs"] == [spots]


def test_fast_contexts_are_packed_and_then_only_news(exchange: Exchange) -> None:
    def unpack(text: str) -> Any:
        return json.loads(zlib.decompress(base64.b64decode(text), wbits=-15))

    ears = Ears(exchange, {"type": "fastAssetCtxs"})
    (first,) = ears.take()["fastAssetCtxs"]
    whole = unpack(first)
    assert whole["HYPE"]["markPx"] == post(
        exchange, "/info", {"type": "metaAndAssetCtxs"}
    )[1][HYPE]["markPx"]
    exchange.advance(exchange.now + 30_000)
    later = [unpack(text) for text in ears.take()["fastAssetCtxs"]]
    for news in later:
        assert all(whole.get(coin) != px for coin, px in news.items())
        whole |= news
    now = post(exchange, "/info", {"type": "allMids"})
    assert {coin: px["midPx"] for coin, px in whole.items()}.items() <= now.items()


@pytest.mark.parametrize("request_", [
    {"type": "clearinghouseState", "user": "0x" + "1" * 40, "dex": "xyz"},
    {"type": "spotState", "user": "0x" + "1" * 40, "ignorePortfolioMargin": True},
    {"type": "activeAssetData", "user": "0x" + "1" * 40, "coin": "@107"},
])
def test_what_there_is_not(exchange: Exchange, request_: dict[str, Any]) -> None:
    (error,) = Ears(exchange, request_).take()["error"]
    assert error.startswith("Invalid subscription")


def test_one_order_through_many_makers_is_one_fill_aggregated(
    exchange: Exchange, new_user: MakeUser
) -> None:
    taker, bid = new_user(95), touch(exchange, HYPE)[0]
    for number in range(3):
        px = str(bid + D("0.001") * (number + 1))
        new_user(96 + number).order(HYPE, "buy", px, "3", "Alo")
    ears = Ears(exchange, {"type": "userFills", "user": taker.address, "aggregateByTime": True})
    ears.take()
    taker.order(HYPE, "sell", str(bid), "9")
    rows = taker.info("userFills")
    (merged,) = taker.info("userFills", aggregateByTime=True)
    assert (len(rows), merged["sz"]) == (3, "9.0")
    assert D(merged["fee"]) == sum(D(row["fee"]) for row in rows)
    mean = sum(D(row["px"]) * D(row["sz"]) for row in rows) / 9
    assert D(merged["px"]) == mean.quantize(D("0.00000001"))
    (pushed,) = ears.take()["userFills"]
    assert [fill["sz"] for fill in pushed["fills"]] == ["9.0"]
    assert merged["startPosition"] == "0.0"


@pytest.mark.parametrize(
    "figures, mantissa", [(2, None), (3, None), (4, None), (5, 1), (5, 2), (5, 5)]
)
def test_aggregated_books_round_outward(
    exchange: Exchange, figures: int, mantissa: int | None
) -> None:
    query = {"type": "l2Book", "coin": "HYPE", "nSigFigs": figures, "mantissa": mantissa}
    book = post(exchange, "/info", query)
    plain = post(exchange, "/info", {"type": "l2Book", "coin": "HYPE"})
    bids, asks = ([D(level["px"]) for level in side] for side in book["levels"])
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] <= D(plain["levels"][0][0]["px"])
    assert asks[0] >= D(plain["levels"][1][0]["px"])
    assert D(book["spread"]) == asks[0] - bids[0]
    assert max(len(side) for side in book["levels"]) <= 20
    assert "spread" not in plain


@pytest.mark.parametrize("query, check", [
    ({"type": "allPerpMetas"}, lambda r: r[0]["universe"][159]["name"] == "HYPE"),
    ({"type": "maxMarketOrderNtls"}, lambda r: [25, "30000000.0"] in r),
    ({"type": "marginTable", "id": 56}, lambda r: r["marginTiers"][1]["maxLeverage"] == 20),
    ({"type": "marginTable", "id": 3}, lambda r: r["marginTiers"][0]["maxLeverage"] == 3),
    ({"type": "tokenDetails", "tokenId": "0x0d01dc56dcaaca66ad901c959b4011ec"},
     lambda r: (r["name"], r["weiDecimals"]) == ("HYPE", 8)),
    ({"type": "allBorrowLendReserveStates"}, lambda r: dict(map(tuple, r))[197]["ltv"] == "0.5"),
    ({"type": "borrowLendUserState", "user": "0x" + "1" * 40},
     lambda r: r == {"tokenToState": [], "health": "healthy", "healthFactor": None}),
    ({"type": "preTransferCheck", "user": "0x" + "1" * 40}, lambda r: r["fee"] == "1.0"),
    ({"type": "perpDexStatus", "dex": ""}, lambda r: r["totalNetDeposit"] == "0.0"),
    ({"type": "outcomeMeta"}, lambda r: r["outcomes"] == []),
    ({"type": "liquidatable"}, lambda r: r == []),
])
def test_other_reads(exchange: Exchange, query: Any, check: Any) -> None:
    assert check(post(exchange, "/info", query))


def test_one_of_several_dexes_is_not_here(exchange: Exchange) -> None:
    assert post(exchange, "/info", {"type": "meta", "dex": "xyz"})[0] == 422


def test_priority_needs_stake_and_one_kind_of_order(user: User) -> None:
    order = limit(HYPE, "sell", beside(user.ex, HYPE, "sell", 1), "5")
    rest = limit(HYPE, "buy", beside(user.ex, HYPE, "buy", -5), "5", "Gtc")

    def send(*orders: dict[str, Any]) -> Any:
        action = {"type": "order", "orders": list(orders), "grouping": {"p": 100}}
        return user.send(action)["response"]["data"]["statuses"]

    assert "staking" in send(order)[0]["error"]
    user.ex.operations.stake(user.address, D(5))
    assert "filled" in send(order)[0]
    assert "must be all IOC" in send(order, rest)[0]["error"]
