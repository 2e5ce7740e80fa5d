"""What a client spends, counted by the exchange itself: IP weight, address actions, sockets."""

import json
from decimal import Decimal
from typing import Any

import pytest

from carry.exchange.gateway import Gateway
from carry.exchange.model import Exchange
from carry.exchange.paths import HOUR_MS

from .conftest import HYPE, User, beside, limit, make_exchange, post

D = Decimal
ME = "0x" + "1" * 40


@pytest.mark.parametrize("query, weight", [
    ({"type": "l2Book", "coin": "HYPE"}, 2), ({"type": "allMids"}, 2),
    ({"type": "clearinghouseState", "user": ME}, 2), ({"type": "exchangeStatus"}, 2),
    ({"type": "spotClearinghouseState", "user": ME}, 2),
    ({"type": "orderStatus", "user": ME, "oid": 1}, 2),
    ({"type": "userRole", "user": ME}, 60), ({"type": "meta"}, 20), ({"type": "spotMeta"}, 20),
    ({"type": "metaAndAssetCtxs"}, 20), ({"type": "userFees", "user": ME}, 20),
    ({"type": "openOrders", "user": ME}, 20), ({"type": "predictedFundings"}, 20),
    ({"type": "activeAssetData", "user": ME, "coin": "HYPE"}, 20),
    ({"type": "recentTrades", "coin": "HYPE"}, 20),
    # 500 rows cost 20 + 25, 61 candles 20 + 1.
    ({"type": "fundingHistory", "coin": "HYPE", "startTime": 1_765_000_000_000}, 45),
    ({"type": "candleSnapshot", "req": {"coin": "HYPE", "interval": "1h",
      "startTime": 1_767_391_200_000, "endTime": 1_767_607_200_000}}, 21),
])
def test_weight_of_a_read(exchange: Exchange, query: Any, weight: int) -> None:
    post(exchange, "/info", query)
    assert exchange.meters.ip.by_kind == {query["type"]: weight}


@pytest.mark.parametrize("count, weight", [(1, 1), (39, 1), (40, 2), (79, 2), (80, 3)])
def test_weight_and_actions_of_a_batch(user: User, count: int, weight: int) -> None:
    """A batch of n is one request for the IP, plus one for each 40, and n for the address."""
    user.send({"type": "cancel", "cancels": [{"a": HYPE, "o": i} for i in range(count)]})
    assert user.ex.meters.ip.total == weight
    assert user.ex.meters.actions[user.address].by_kind == {"cancel": count}
    assert user.info("userRateLimit")["nRequestsUsed"] == count


def test_fills_cost_one_more_for_each_twenty(user: User) -> None:
    row = {"time": 1, "oid": 1, "dir": "Buy"}
    user.account.fills.extend(dict(row) for _ in range(59))
    user.info("userFills")
    assert user.ex.meters.ip.total == 22


def test_the_minute_rolls_and_the_429_costs_nothing(exchange: Exchange) -> None:
    for _ in range(20):
        post(exchange, "/info", {"type": "userRole", "user": ME})
    assert exchange.meters.ip.last_minute(exchange.now) == exchange.meters.ip.peak == 1_200
    assert post(exchange, "/info", {"type": "allMids"}) == (429, b"null")
    assert exchange.meters.refused_429 == 1
    exchange.advance(exchange.now + 59_999)
    assert post(exchange, "/info", {"type": "allMids"}) == (429, b"null")
    exchange.advance(exchange.now + 1)
    assert "HYPE" in post(exchange, "/info", {"type": "allMids"})
    assert exchange.meters.ip.last_minute(exchange.now) == 2
    assert exchange.meters.ip.peak == 1_200


def test_a_stale_action_costs_five_and_a_refused_one_nothing(user: User) -> None:
    user.send({"type": "noop"}, expires=user.ex.now - 1)
    assert user.account.requests_used == 5
    assert user.send({"type": "noop"})["status"] == "ok"
    user.account.requests_used = 10_000
    reply = user.send({"type": "noop"})
    assert reply["response"] == (
        "Too many cumulative requests sent (10001 > 10000) for cumulative volume traded $0.00. "
        "Place taker orders to free up 1 request per USDC traded."
    )
    assert user.account.requests_used == 10_000
    cancel = user.send({"type": "cancel", "cancels": [{"a": HYPE, "o": 1}]})
    assert cancel["status"] == "ok", "cancels have twice as many"
    user.ex.advance(user.ex.now + 10_000)
    assert user.send({"type": "noop"})["status"] == "ok", "one every ten seconds"
    assert user.send({"type": "noop"})["status"] == "err"


def test_reserved_weight_is_bought_from_the_perp_wallet(user: User) -> None:
    user.account.requests_used = 10_000
    cash = user.account.perp_cash
    user.ex.advance(user.ex.now + 10_000)
    assert user.send({"type": "reserveRequestWeight", "weight": 1_000})["status"] == "ok"
    assert user.account.perp_cash == cash - D("0.5")
    assert user.info("userRateLimit")["nRequestsUsed"] == 9_001
    assert user.send({"type": "noop"})["status"] == "ok"
    assert user.ex.audit() == {}


def test_open_orders_have_a_cap(user: User) -> None:
    px = beside(user.ex, HYPE, "buy", -5)
    order = user.order(HYPE, "buy", px, "1", "Alo")["resting"]["oid"]
    kept = user.account.orders[order]
    for number in range(1, 1_000):
        user.account.orders[-number] = kept
    assert user.order(HYPE, "buy", px, "1", "Alo")["error"].startswith("Too many open orders.")
    user.account.volume = D(5_000_000)
    assert "resting" in user.order(HYPE, "buy", px, "1", "Alo")
    short = user.order(HYPE, "sell", beside(user.ex, HYPE, "sell", 1), "1")
    assert "Too many" in short["error"]


def test_dead_mans_switch_fires_ten_times_a_day(user: User) -> None:
    user.ex.operations.give_volume(user.address, D(1_000_000))
    px = beside(user.ex, HYPE, "buy", -5)
    for _ in range(10):
        oid = user.order(HYPE, "buy", px, "1", "Alo")["resting"]["oid"]
        reply = user.send({"type": "scheduleCancel", "time": user.ex.now + 5_000})
        assert reply["status"] == "ok"
        user.ex.advance(user.ex.now + 5_000)
        assert user.info("orderStatus", oid=oid)["order"]["status"] == "scheduledCancel"
    again = {"type": "scheduleCancel", "time": user.ex.now + 5_000}
    assert user.send(again)["status"] == "err"
    user.ex.advance(user.ex.now + 24 * HOUR_MS)
    again["time"] = user.ex.now + 5_000
    assert user.send(again)["status"] == "ok"
    assert user.send({"type": "scheduleCancel"})["status"] == "ok"
    assert user.ex.scheduled == {}


def test_doors_of_one_ip(exchange: Exchange) -> None:
    sessions = [exchange.connect() for _ in range(11)]
    assert [session.closed for session in sessions] == [False] * 10 + [True]
    exchange.streams.disconnect(sessions[0])
    assert not exchange.connect().closed
    for session in exchange.streams.sessions[:]:
        exchange.streams.disconnect(session)
    opened = [exchange.connect() for _ in range(10)]
    for session in opened:
        exchange.streams.disconnect(session)
    while not (late := exchange.connect()).closed:
        exchange.streams.disconnect(late)
    exchange.advance(exchange.now + 60_001)
    assert not exchange.connect().closed


def test_two_thousand_messages_a_minute(exchange: Exchange) -> None:
    session = exchange.connect()
    for _ in range(2_000):
        exchange.receive(session, '{"method":"ping"}')
    assert not session.closed
    exchange.receive(session, '{"method":"ping"}')
    assert session.closed


def test_the_lockstep_endpoint_shows_the_meters() -> None:
    exchange = make_exchange()
    gateway = Gateway(exchange, lockstep=True)
    user = User(exchange, 1)
    user.orders(*[limit(HYPE, "buy", beside(exchange, HYPE, "buy", -5), "1", "Alo")] * 3)
    reply = gateway.post("/lockstep", b'{"type":"meters","reset":true}')
    assert reply is not None
    shown = json.loads(reply.body)
    assert shown["ipWeight"]["total"] == 1
    assert shown["actions"][user.address]["byKind"] == {"order": 3}
    again = gateway.post("/lockstep", b'{"type":"meters"}')
    assert again is not None
    assert json.loads(again.body)["actions"] == {}
