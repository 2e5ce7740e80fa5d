"""Orders that sleep, groups of them, and TWAPs: when they wake, what they become, why they go."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from carry.exchange.model import Exchange
from carry.exchange.paths import HOUR_MS
from carry.exchange.twap import NO_HASH

from .conftest import HYPE, HYPE_SPOT, User, beside, limit, post, trigger

MakeUser = Callable[..., User]
D = Decimal


def move_mark(ex: Exchange, share: str) -> None:
    """The market jumps: from now on every price is `share` of what it was."""
    path = ex.market.path

    def moved(coin: str, hour: int) -> Any:
        found = path(coin, hour)
        scaled = [
            [int(px * D(share)) for px in knots]
            for knots in (found.oracle, found.perp, found.spot)
        ]
        return type(found)(*scaled)

    ex.market.path = moved
    ex.quotes._hours.clear()
    for cache in (ex.quotes._touches, ex.quotes._ladders):
        cache.clear()
    ex.advance(ex.now + 2 * ex.quotes.step_ms)


def status(user: User, oid: int) -> str:
    found: str = user.info("orderStatus", oid=oid)["order"]["status"]
    return found


def hold_long(user: User, sz: str = "10") -> None:
    assert "filled" in user.order(HYPE, "buy", beside(user.ex, HYPE, "buy", 1), sz)


@pytest.mark.parametrize("side, tpsl, percent, works", [
    ("sell", "sl", 20, True), ("sell", "sl", -20, False),
    ("sell", "tp", -20, True), ("sell", "tp", 20, False),
])
def test_a_trigger_that_would_fire_at_once_is_refused(
    user: User, side: str, tpsl: str, percent: int, works: bool
) -> None:
    hold_long(user)
    px = beside(user.ex, HYPE, side, percent)
    (answer,) = user.orders(trigger(HYPE, side, px, "5", tpsl))
    if works:
        assert answer == "waitingForTrigger"
    else:
        assert answer == {"error": "Invalid TP/SL price. asset=159"}


def test_openorders_hides_what_frontend_shows(user: User) -> None:
    hold_long(user)
    px = beside(user.ex, HYPE, "sell", 20)
    user.orders(trigger(HYPE, "sell", px, "5", "sl"))
    (plain,) = user.info("openOrders")
    (shown,) = user.info("frontendOpenOrders")
    assert not {"isTrigger", "triggerPx", "orderType"} & set(plain)
    assert (shown["isTrigger"], shown["orderType"], shown["tif"]) == (True, "Stop Market", None)
    assert shown["triggerCondition"] == f"Price below {D(px).normalize():f}"
    assert user.info("spotClearinghouseState")["balances"][0]["hold"] == "0.0"


def test_a_stop_fires_on_the_mark_and_closes(user: User) -> None:
    hold_long(user)
    px = beside(user.ex, HYPE, "sell", 10)
    user.orders(trigger(HYPE, "sell", px, "10", "sl"))
    oid = user.info("openOrders")[0]["oid"]
    move_mark(user.ex, "0.97")
    assert status(user, oid) == "open"
    move_mark(user.ex, "0.9")
    assert status(user, oid) == "filled"
    assert user.account.szi(HYPE) == 0
    assert user.info("userFills")[0]["oid"] == oid
    assert user.ex.audit() == {}


def test_a_market_stop_finds_no_liquidity_beyond_ten_percent(user: User) -> None:
    hold_long(user)
    user.orders(trigger(HYPE, "sell", beside(user.ex, HYPE, "sell", 10), "10", "sl"))
    oid = user.info("openOrders")[0]["oid"]
    move_mark(user.ex, "0.7")
    assert status(user, oid) == "marketOrderNoLiquidityRejected"
    assert user.account.szi(HYPE) == 10


def test_a_limit_stop_rests_after_it_fired(user: User) -> None:
    hold_long(user)
    px = beside(user.ex, HYPE, "sell", 10)
    user.orders(trigger(HYPE, "sell", px, "10", "sl", market=False))
    oid = user.info("openOrders")[0]["oid"]
    move_mark(user.ex, "0.7")
    assert status(user, oid) == "open"
    assert user.account.orders[oid].tif == "Gtc"


def test_take_profit_and_stop_of_an_entry(user: User) -> None:
    """They sleep inside the entry, wake with its fill, and the one that fires ends the other."""
    ex = user.ex
    entry = limit(HYPE, "buy", beside(ex, HYPE, "buy", -5), "10", "Gtc")
    tp = trigger(HYPE, "sell", beside(ex, HYPE, "sell", -10), "10", "tp")
    sl = trigger(HYPE, "sell", beside(ex, HYPE, "sell", 20), "10", "sl")
    answers = user.orders(entry, tp, sl, grouping="normalTpsl")
    assert answers[1:] == ["waitingForFill"] * 2
    (row,) = user.info("frontendOpenOrders")
    kinds = [child["orderType"] for child in row["children"]]
    assert kinds == ["Take Profit Market", "Stop Market"]
    first, second = (child["oid"] for child in row["children"])
    move_mark(ex, "0.93")
    assert user.account.szi(HYPE) == 10
    assert {row["oid"] for row in user.info("frontendOpenOrders")} == {first, second}
    move_mark(ex, "1.25")
    assert (status(user, first), status(user, second)) == ("filled", "reduceOnlyCanceled")
    assert user.account.szi(HYPE) == 0


def test_a_partial_take_profit_ends_its_sibling(user: User) -> None:
    ex = user.ex
    hold_long(user)
    tp = trigger(HYPE, "sell", beside(ex, HYPE, "sell", -10), "4", "tp")
    sl = trigger(HYPE, "sell", beside(ex, HYPE, "sell", 20), "4", "sl")
    assert user.orders(tp, sl, grouping="positionTpsl") == ["waitingForTrigger"] * 2
    second = user.info("openOrders")[1]["oid"]
    move_mark(ex, "1.12")
    assert (user.account.szi(HYPE), status(user, second)) == (6, "siblingFilledCanceled")


def test_a_whole_position_exit_follows_the_position(user: User) -> None:
    hold_long(user)
    user.orders(
        trigger(HYPE, "sell", beside(user.ex, HYPE, "sell", 10), "0", "sl"),
        grouping="positionTpsl",
    )
    (shown,) = user.info("frontendOpenOrders")
    assert (shown["isPositionTpsl"], shown["sz"]) == (True, "0.0")
    hold_long(user, "7")
    move_mark(user.ex, "0.88")
    assert user.account.szi(HYPE) == 0
    assert D(user.info("userFills")[0]["sz"]) > 0


def test_cancelling_the_entry_cancels_its_exits(user: User) -> None:
    ex = user.ex
    entry = limit(HYPE, "buy", beside(ex, HYPE, "buy", -5), "10", "Gtc")
    sl = trigger(HYPE, "sell", beside(ex, HYPE, "sell", 20), "10", "sl")
    oid = user.orders(entry, sl, grouping="normalTpsl")[0]["resting"]["oid"]
    child = user.info("frontendOpenOrders")[0]["children"][0]["oid"]
    user.send({"type": "cancel", "cancels": [{"a": HYPE, "o": oid}]})
    assert status(user, child) == "canceled"
    assert user.account.children == user.account.triggers == ex.triggers.waiting == {}


@pytest.mark.parametrize("orders, words", [
    (1, "Unexpected number of trigger orders"), (4, "Unexpected number of trigger orders"),
])
def test_groups_of_a_wrong_shape(user: User, orders: int, words: str) -> None:
    entry = limit(HYPE, "buy", beside(user.ex, HYPE, "buy", -5), "10", "Gtc")
    sl = trigger(HYPE, "sell", beside(user.ex, HYPE, "sell", 20), "10", "sl")
    answers = user.orders(entry, *[sl] * (orders - 1), grouping="normalTpsl")
    assert [answer["error"] for answer in answers] == [words]
    assert user.info("openOrders") == []


def test_a_fast_cancel_does_not_reach_a_trigger(user: User) -> None:
    hold_long(user)
    user.orders(trigger(HYPE, "sell", beside(user.ex, HYPE, "sell", 20), "5", "sl"))
    oid = user.info("openOrders")[0]["oid"]
    item = {"a": HYPE, "o": oid}
    fast = user.send({"type": "cancel", "cancels": [item], "f": True})
    assert "error" in fast["response"]["data"]["statuses"][0]
    slow = user.send({"type": "cancel", "cancels": [item]})
    assert slow["response"]["data"]["statuses"] == ["success"]


def test_market_stops_wait_for_the_end_of_a_post_only_window(user: User) -> None:
    hold_long(user)
    user.orders(trigger(HYPE, "sell", beside(user.ex, HYPE, "sell", 5), "10", "sl"))
    user.ex.operations.upgrade(120_000)
    move_mark(user.ex, "0.93")
    assert user.account.szi(HYPE) == 10
    user.ex.advance(user.ex.now + 130_000)
    assert user.account.szi(HYPE) == 0


def test_a_spot_stop_sells_the_token(user: User) -> None:
    user.order(HYPE_SPOT, "buy", beside(user.ex, HYPE_SPOT, "buy", 1), "10")
    px = beside(user.ex, HYPE_SPOT, "sell", 10)
    user.orders(trigger(HYPE_SPOT, "sell", px, "9", "sl", reduce_only=False))
    move_mark(user.ex, "0.88")
    assert user.info("userFills")[0]["dir"] == "Sell"


# TWAPs.


def start_twap(user: User, sz: str = "60", minutes: int = 10, **more: Any) -> Any:
    twap = {"a": HYPE, "b": False, "s": sz, "r": False, "m": minutes, "t": False, **more}
    return user.send({"type": "twapOrder", "twap": twap})["response"]["data"]["status"]


def test_a_twap_trades_a_slice_every_half_minute(user: User) -> None:
    number = start_twap(user)["running"]["twapId"]
    user.ex.advance(user.ex.now + 61_000)
    rows = user.info("userTwapSliceFills")
    assert [row["fill"]["time"] - rows[-1]["fill"]["time"] for row in rows] == [60_000, 30_000, 0]
    assert {row["fill"]["sz"] for row in rows} == {"3.0"}
    assert {(row["twapId"], row["fill"]["twapId"], row["fill"]["hash"]) for row in rows} == {
        (number, number, NO_HASH)
    }
    user.ex.advance(user.ex.now + 10 * 60_000)
    assert user.account.szi(HYPE) == -60
    done, begun = user.info("twapHistory")
    assert (done["status"], begun["status"]) == ({"status": "finished"}, {"status": "activated"})
    assert done["state"]["executedSz"] == "60.0"
    assert user.ex.audit() == {}


def test_a_twap_stands_still_in_a_post_only_window_and_catches_up(user: User) -> None:
    start_twap(user)
    user.ex.advance(user.ex.now + 1)
    user.ex.operations.upgrade(145_000)
    user.ex.advance(user.ex.now + 149_000)
    held = user.account.szi(HYPE)
    user.ex.advance(user.ex.now + 30_000)
    assert user.account.szi(HYPE) == held - 9, "three slices at once, no more"


@pytest.mark.parametrize("more, words", [
    ({"minutes": 1}, "Invalid TWAP duration: 1 min(s)"),
    ({"minutes": 10_081}, "Invalid TWAP duration: 10081 min(s)"),
    ({"sz": "1"}, "TWAP order must have minimum value of $100."),
])
def test_refused_twaps(user: User, more: Any, words: str) -> None:
    assert start_twap(user, **more) == {"error": words}


def test_a_cancelled_twap_is_over(user: User) -> None:
    number = start_twap(user)["running"]["twapId"]
    cancel = {"type": "twapCancel", "a": HYPE, "t": number}
    assert user.send(cancel)["response"]["data"]["status"] == "success"
    again = user.send(cancel)["response"]["data"]["status"]
    assert again == {"error": "TWAP was never placed, already canceled, or filled."}
    user.ex.advance(user.ex.now + HOUR_MS)
    assert len(user.info("userTwapSliceFills")) <= 1


def test_its_channels(user: User) -> None:
    session = user.ex.connect()
    for kind in ("twapStates", "userTwapHistory", "userTwapSliceFills", "userEvents"):
        request = {"type": kind, "user": user.address}
        user.ex.receive(session, json.dumps({"method": "subscribe", "subscription": request}))
    session.take()
    start_twap(user)
    user.ex.advance(user.ex.now + 1_000)
    heard = [json.loads(text) for text in session.take()]
    by_channel: dict[str, Any] = {}
    for message in heard:
        by_channel.setdefault(message["channel"], message["data"])
    assert by_channel["twapStates"]["states"][0][1]["coin"] == "HYPE"
    assert by_channel["userTwapHistory"]["history"][0]["status"] == {"status": "activated"}
    assert by_channel["userTwapSliceFills"]["twapSliceFills"][0]["fill"]["sz"] == "3.0"
    kinds = {next(iter(m["data"])) for m in heard if m["channel"] == "user"}
    assert kinds == {"twapHistory", "twapSliceFills", "fills"}


def test_all_of_it_survives_a_stop(exchange: Exchange, new_user: MakeUser) -> None:
    from carry.exchange.gateway import Gateway
    from carry.exchange.state import Kept, snapshot

    from .conftest import make_exchange

    user = new_user(5)
    hold_long(user)
    user.orders(trigger(HYPE, "sell", beside(exchange, HYPE, "sell", 10), "0", "sl"),
                grouping="positionTpsl")
    entry = limit(HYPE, "buy", beside(exchange, HYPE, "buy", -5), "10", "Gtc")
    sl = trigger(HYPE, "sell", beside(exchange, HYPE, "sell", 20), "10", "sl")
    user.orders(entry, sl, grouping="normalTpsl")
    user.send({"type": "updateLeverage", "asset": 5, "isCross": False, "leverage": 3})
    start_twap(user)
    kept = json.loads(json.dumps(snapshot(Gateway(exchange, lockstep=True)), default=str))
    other = make_exchange()
    Kept(kept).restore(Gateway(other, lockstep=True))
    for kind in ("frontendOpenOrders", "twapHistory", "activeAssetData"):
        query = {"type": kind, "user": user.address, "coin": "SOL"}
        assert post(other, "/info", query) == post(exchange, "/info", query)
    for ex in (exchange, other):
        ex.advance(ex.now + HOUR_MS)
    query = {"type": "userFills", "user": user.address}
    assert post(other, "/info", query) == post(exchange, "/info", query)
