"""Websocket sessions: acknowledgements, cadence, order of frames, errors, silence."""

import itertools
import json
from decimal import Decimal
from typing import Any

import pytest

from carry.exchange.model import Exchange
from carry.exchange.sessions import Session

from .conftest import HYPE, HYPE_SPOT, User, beside, touch


def say(exchange: Exchange, session: Session, message: Any) -> list[Any]:
    """Sends a message; the frames that came back, without the plain-text one."""
    exchange.receive(session, message if isinstance(message, str) else json.dumps(message))
    return heard(session)


def heard(session: Session) -> list[Any]:
    return [json.loads(text) for text in session.take() if text.startswith("{")]


def subscribe(exchange: Exchange, session: Session, **subscription: Any) -> list[Any]:
    return say(exchange, session, {"method": "subscribe", "subscription": subscription})


def test_the_first_frame_is_plain_text_and_counted(exchange: Exchange) -> None:
    session = exchange.connect("a")
    assert session.take() == ["Websocket connection established."]
    assert session.sent == 1


def test_subscribe_is_acknowledged_then_snapshotted(exchange: Exchange, user: User) -> None:
    session = exchange.connect()
    ack, snapshot = subscribe(exchange, session, type="userFills", user=user.address)
    assert ack == {
        "channel": "subscriptionResponse",
        "data": {"method": "subscribe",
                 "subscription": {"type": "userFills", "user": user.address}},
    }
    assert snapshot["data"] == {"isSnapshot": True, "user": user.address, "fills": []}
    assert len(subscribe(exchange, session, type="orderUpdates", user=user.address)) == 1
    assert len(subscribe(exchange, session, type="userEvents", user=user.address)) == 1


@pytest.mark.parametrize("message, error", [
    ({"method": "subscribe", "subscription": {"type": "bbo", "coin": "NOPE"}},
     'Invalid subscription {"type":"bbo","coin":"NOPE"}'),
    ({"method": "subscribe", "subscription": {"type": "userFills", "user": "0x1"}},
     'Invalid subscription {"type":"userFills","user":"0x1"}'),
    ({"method": "unsubscribe", "subscription": {"type": "bbo", "coin": "HYPE"}},
     'Already unsubscribed: {"type":"bbo","coin":"HYPE"}'),
    ("hello", "Error parsing JSON into valid websocket request: hello"),
])
def test_errors_have_a_channel(exchange: Exchange, message: Any, error: str) -> None:
    assert say(exchange, exchange.connect(), message) == [{"channel": "error", "data": error}]


def test_twice_is_an_error_and_ten_users_are_the_limit(exchange: Exchange) -> None:
    session = exchange.connect()
    subscribe(exchange, session, type="bbo", coin="HYPE")
    (again,) = subscribe(exchange, session, type="bbo", coin="HYPE")
    assert again["data"] == 'Already subscribed: {"type":"bbo","coin":"HYPE"}'
    for number in range(10):
        subscribe(exchange, session, type="orderUpdates", user=f"0x{number:040x}")
    (error,) = subscribe(exchange, session, type="orderUpdates", user=f"0x{10:040x}")
    assert error == {"channel": "error", "data": "Cannot track more than 10 total users."}


def test_cadence_of_books_and_contexts(exchange: Exchange) -> None:
    session = exchange.connect()
    for kind in ({"type": "l2Book", "coin": "HYPE"},
                 {"type": "l2Book", "coin": "BTC", "fast": True},
                 {"type": "activeAssetCtx", "coin": "HYPE"},
                 {"type": "activeAssetCtx", "coin": "@107"}):
        subscribe(exchange, session, **kind)
    session.take()
    exchange.advance(exchange.now + 30_000)
    counts: dict[str, int] = {}
    for frame in heard(session):
        name = frame["channel"] + frame["data"]["coin"]
        counts[name] = counts.get(name, 0) + 1
    assert counts == {
        "l2BookHYPE": 6, "l2BookBTC": 60, "activeAssetCtxHYPE": 10, "activeSpotAssetCtx@107": 10
    }


def test_bbo_comes_only_when_it_changed(exchange: Exchange) -> None:
    session = exchange.connect()
    frames = subscribe(exchange, session, type="bbo", coin="HYPE")[1:]
    exchange.advance(exchange.now + 60_000)
    frames += heard(session)
    touches = [frame["data"]["bbo"] for frame in frames]
    assert 10 < len(touches) <= 21
    assert all(a != b for a, b in itertools.pairwise(touches))


def test_silence_closes_after_a_minute_and_a_ping_keeps(exchange: Exchange, user: User) -> None:
    silent, pinged = exchange.connect("s"), exchange.connect("p")
    for session in (silent, pinged):
        subscribe(exchange, session, type="orderUpdates", user=user.address)
    exchange.advance(exchange.now + 50_000)
    assert say(exchange, pinged, {"method": "ping"}) == [{"channel": "pong"}]
    exchange.advance(exchange.now + 15_000)
    assert (silent.closed, pinged.closed) == (True, False)


def test_an_order_is_told_on_every_channel_of_its_user(exchange: Exchange, user: User) -> None:
    session = exchange.connect()
    for kind in ("orderUpdates", "userEvents", "userFills"):
        subscribe(exchange, session, type=kind, user=user.address.upper().replace("0X", "0x"))
    session.take()
    bid, _ = touch(exchange, HYPE)
    user.order(HYPE, "buy", str(bid - 1), "5", "Alo", cloid="0x" + "c" * 32)
    (frame,) = heard(session)
    (update,) = frame["data"]
    assert update["status"] == "open"
    assert update["order"]["cloid"] == "0x" + "c" * 32
    assert update["order"]["sz"] == "5.0"
    user.order(HYPE, "sell", beside(exchange, HYPE, "sell", 1), "7")
    frames = {frame["channel"]: frame["data"] for frame in heard(session)}
    assert frames["orderUpdates"][0]["status"] == "filled"
    assert "isSnapshot" not in frames["userFills"]
    assert frames["userFills"]["fills"] == frames["user"]["fills"] == user.info("userFills")


def test_funding_is_told_flat(exchange: Exchange, user: User) -> None:
    user.order(HYPE, "sell", beside(exchange, HYPE, "sell", 1), "7")
    session = exchange.connect()
    for kind in ("userFundings", "userEvents", "activeAssetCtx"):
        more = {"coin": "HYPE"} if kind == "activeAssetCtx" else {"user": user.address}
        subscribe(exchange, session, type=kind, **more)
    session.take()
    exchange.advance(exchange.now + 3_600_000)
    frames = [f for f in heard(session) if f["channel"] in ("userFundings", "user")]
    flat = frames[0]["data"]["fundings"][0]
    assert list(flat) == ["time", "coin", "usdc", "szi", "fundingRate", "nSamples"]
    assert frames[1]["data"] == {"funding": flat}
    assert Decimal(flat["usdc"]) > 0


def test_post_requests_over_the_socket(exchange: Exchange, user: User) -> None:
    session = exchange.connect()
    request = {"type": "info", "payload": {"type": "exchangeStatus"}}
    (frame,) = say(exchange, session, {"method": "post", "id": 5, "request": request})
    assert frame == {
        "channel": "post",
        "data": {"id": 5, "response": {"type": "info", "payload": {
            "type": "exchangeStatus", "data": {"time": exchange.now, "specialStatuses": None}}}},
    }
    bad = {"type": "info", "payload": {"type": "nothing"}}
    (frame,) = say(exchange, session, {"method": "post", "id": 6, "request": bad})
    assert frame["data"]["response"]["type"] == "error"
    assert frame["data"]["response"]["payload"].startswith("422 ")


def test_trades_of_users_are_on_the_tape(exchange: Exchange, user: User) -> None:
    session = exchange.connect()
    subscribe(exchange, session, type="trades", coin="@107")
    session.take()
    user.order(HYPE_SPOT, "buy", beside(exchange, HYPE_SPOT, "buy", 1), "5")
    frames = [f for f in heard(session) if f["channel"] == "trades"]
    (trade,) = frames[0]["data"]
    fill = user.info("userFills")[0]
    assert [trade[key] for key in ("side", "px", "sz", "tid", "hash")] == [
        "B", fill["px"], "5.0", fill["tid"], fill["hash"]
    ]
    assert trade["users"][0] == user.address
    assert user.info("recentTrades", coin="@107")[0] == trade
    assert len(user.info("recentTrades", coin="BTC")) == 10


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"method":"subscribe"}',
                                  '{"method":"post","id":"x"}', '{"method":7}', "\x00"])
def test_nonsense_is_answered_not_fatal(exchange: Exchange, text: str) -> None:
    (frame,) = say(exchange, exchange.connect(), text)
    assert frame["channel"] == "error"
