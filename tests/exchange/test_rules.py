"""What the venue refuses, in its own words, and what it lets pass."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from carry.core.num import show
from carry.exchange.model import Exchange

from .conftest import BTC, HYPE, HYPE_SPOT, User, beside, touch

MakeUser = Callable[..., User]


@pytest.mark.parametrize(
    "asset, side, px, sz, tif, reduce_only, error",
    [
        (HYPE, "buy", "up", "0.4", "Ioc", False, "Order must have minimum value of $10. asset=159"),
        (HYPE_SPOT, "buy", "up", "0.3", "Ioc", False,
         "Order must have minimum value of 10 USDC. asset=10107"),
        (HYPE, "buy", "20.0005", "5", "Gtc", False,
         "Price must be divisible by tick size. asset=159"),
        (HYPE, "buy", "up", "5.001", "Ioc", False, "Order has invalid size. asset=159"),
        (HYPE, "buy", "up", "0", "Ioc", False, "Order has zero size. asset=159"),
        (HYPE, "buy", "up", "5", "Ioc", True,
         "Reduce only order would increase position. asset=159"),
        (HYPE_SPOT, "sell", "up", "5", "Ioc", True,
         "Reduce-only is invalid for spot trading. asset=10107"),
        (HYPE_SPOT, "sell", "up", "5", "Ioc", False, "Insufficient spot balance asset=10107"),
        (HYPE_SPOT, "buy", "up", "900", "Ioc", False, "Insufficient spot balance asset=10107"),
        (BTC, "buy", "up", "2", "Ioc", False, "Insufficient margin to place order. asset=0"),
        (HYPE, "buy", "down", "5", "Ioc", False,
         "Order could not immediately match against any resting orders. asset=159"),
        (HYPE, "buy", "1", "50", "Gtc", False,
         "Order price cannot be more than 80% away from the reference price asset=159"),
        (HYPE, "buy", "x", "50", "Gtc", False, "Order has invalid price. asset=159"),
        (152, "buy", "0.5", "50", "Gtc", False, "Trading is halted for this asset. asset=152"),
    ],
)
def test_refused_in_the_venues_words(
    user: User, asset: int, side: str, px: str, sz: str, tif: str, reduce_only: bool, error: str
) -> None:
    percent = {"up": 1, "down": -1}.get(px)
    price = px if percent is None else beside(user.ex, asset, side, percent)
    status = user.order(asset, side, price, sz, tif, reduce_only=reduce_only)
    assert status == {"error": error}
    assert user.account.fills == type(user.account.fills)()


def test_post_only_that_would_match_names_the_touch(user: User) -> None:
    bid, ask = touch(user.ex, HYPE)
    status = user.order(HYPE, "buy", beside(user.ex, HYPE, "buy", 1), "5", "Alo")
    bbo = f"{show(bid)}@{show(ask)}"
    assert status["error"] == (
        f"Post only order would have immediately matched, bbo was {bbo}. asset=159"
    )


def test_a_batch_answers_by_position_but_pre_validation_once(user: User) -> None:
    good = beside(user.ex, HYPE, "buy", -2)

    def order(px: str, sz: str) -> dict[str, Any]:
        return {"a": HYPE, "b": True, "p": px, "s": sz, "r": False, "t": {"limit": {"tif": "Alo"}}}

    def send(*orders: dict[str, Any]) -> Any:
        reply = user.send({"type": "order", "orders": list(orders), "grouping": "na"})
        return reply["response"]["data"]["statuses"]

    statuses = send(order(good, "5"), order(good, "0.1"), order(good, "6"))
    assert [next(iter(status)) for status in statuses] == ["resting", "error", "resting"]
    assert len(send(order(good, "5"), order("0.5", "50"), order(good, "6"))) == 1
    assert len(user.account.orders) == 2
    assert send() == [{"error": "Orders are empty."}]


def test_more_than_200_items_are_refused_whole_and_cost_nothing(user: User) -> None:
    reply = user.send({"type": "cancel", "cancels": [{"a": HYPE, "o": i} for i in range(201)]})
    assert reply == {"status": "err", "response": "Signed action over weight limit of 200."}
    assert user.account.requests_used == 0


def test_cancel_errors_and_success(user: User) -> None:
    px = beside(user.ex, HYPE, "buy", -2)
    oid = user.order(HYPE, "buy", px, "5", "Gtc", cloid="0x" + "a" * 32)["resting"]["oid"]
    reply = user.send(
        {"type": "cancel", "cancels": [{"a": HYPE, "o": oid + 1}, {"a": HYPE, "o": oid}]}
    )
    gone = {"error": "Order was never placed, already canceled, or filled. asset=159"}
    assert reply["response"] == {"type": "cancel", "data": {"statuses": [gone, "success"]}}
    again = user.send(
        {"type": "cancelByCloid", "cancels": [{"asset": HYPE, "cloid": "0x" + "a" * 32}]}
    )
    assert again["response"]["data"]["statuses"] == [gone]
    assert user.info("orderStatus", oid=oid)["order"]["status"] == "canceled"
    assert user.info("orderStatus", oid="0x" + "a" * 32)["order"]["order"]["oid"] == oid
    assert user.info("orderStatus", oid=7) == {"status": "unknownOid"}


def test_a_cloid_may_be_used_twice_and_the_newest_answers(user: User) -> None:
    px, cloid = beside(user.ex, HYPE, "buy", -2), "0x" + "b" * 32
    oids = [user.order(HYPE, "buy", px, "5", "Gtc", cloid=cloid)["resting"] for _ in range(2)]
    assert user.info("orderStatus", oid=cloid)["order"]["order"]["oid"] == oids[1]["oid"]


def test_reduce_only_shrinks_to_the_position_and_never_flips(user: User) -> None:
    user.order(HYPE, "sell", beside(user.ex, HYPE, "sell", 1), "10")
    status = user.order(HYPE, "buy", beside(user.ex, HYPE, "buy", 1), "25", reduce_only=True)
    assert status["filled"]["totalSz"] == "10.0"
    assert user.info("clearinghouseState")["assetPositions"] == []


def test_resting_reduce_only_follows_the_position_down(user: User) -> None:
    """Two of 6 and 7 over a short of 10: the oldest is cut to 3, then cancelled when it is flat."""
    user.order(HYPE, "sell", beside(user.ex, HYPE, "sell", 1), "10")
    px = beside(user.ex, HYPE, "buy", -3)
    old = user.order(HYPE, "buy", px, "6", "Alo", reduce_only=True)["resting"]["oid"]
    new = user.order(HYPE, "buy", px, "7", "Alo", reduce_only=True)["resting"]["oid"]
    assert {o["oid"]: o["sz"] for o in user.info("openOrders")} == {old: "3.0", new: "7.0"}
    user.order(HYPE, "buy", beside(user.ex, HYPE, "buy", 1), "10")
    assert user.info("openOrders") == []
    assert user.info("orderStatus", oid=new)["order"]["status"] == "reduceOnlyCanceled"


def test_a_whole_close_below_ten_dollars_passes_a_partial_one_does_not(user: User) -> None:
    sell, buy = (beside(user.ex, HYPE, side, 1) for side in ("sell", "buy"))
    user.order(HYPE, "sell", sell, "1")
    small = user.order(HYPE, "buy", buy, "0.2", reduce_only=True)
    assert small["error"].startswith("Order must have minimum value of $10.")
    user.order(HYPE, "buy", buy, "0.7", reduce_only=True)
    assert user.order(HYPE, "buy", buy, "0.3", reduce_only=True)["filled"]["totalSz"] == "0.3"


def test_price_time_priority_between_accounts(exchange: Exchange, new_user: MakeUser) -> None:
    """Inside the spread: the better price first, then the earlier order."""
    bid, ask = touch(exchange, HYPE)
    first, second, better, taker = (new_user(number) for number in (11, 12, 13, 14))
    low, high = f"{bid + Decimal('0.001')}", f"{bid + Decimal('0.002')}"
    assert Decimal(high) < ask
    for who, px in ((first, low), (second, low), (better, high)):
        assert "resting" in who.order(HYPE, "buy", px, "3", "Alo")
    taker.order(HYPE, "sell", low, "7")
    held = [str(who.account.szi(HYPE)) for who in (first, second, better)]
    assert held == ["3.00", "1.00", "3.00"]
    assert str(taker.account.szi(HYPE)) == "-7.00"
    assert not exchange.audit()


def test_own_orders_never_trade_with_each_other(user: User) -> None:
    bid, _ = touch(user.ex, HYPE)
    px = str(bid + Decimal("0.001"))
    oid = user.order(HYPE, "buy", px, "3", "Alo")["resting"]["oid"]
    user.order(HYPE, "sell", px, "3")
    assert user.info("orderStatus", oid=oid)["order"]["status"] == "selfTradeCanceled"


def test_books_are_finite_and_refill(user: User) -> None:
    user.ex.open_account(user.address, usdc=Decimal(10_000_000))
    px = beside(user.ex, HYPE_SPOT, "buy", 5)
    filled = Decimal(user.order(HYPE_SPOT, "buy", px, "150000")["filled"]["totalSz"])
    assert Decimal(1000) < filled < Decimal(150_000)
    assert user.ex.books[HYPE_SPOT].best(bids=False, now=user.ex.now) is None
    user.ex.advance(user.ex.now + 3_000)
    half = sum(sz for _, sz in user.ex.books[HYPE_SPOT].maker(bids=False, now=user.ex.now))
    user.ex.advance(user.ex.now + 6_000)
    full = sum(sz for _, sz in user.ex.books[HYPE_SPOT].maker(bids=False, now=user.ex.now))
    assert 0 < half < full


def test_a_resting_order_fills_when_the_market_comes_through_it(user: User) -> None:
    bid, ask = touch(user.ex, HYPE)
    for side, px in (("buy", bid), ("sell", ask)):
        assert "resting" in user.order(HYPE, side, str(px), "2", "Alo")
    user.ex.advance(user.ex.now + 3_600_000)
    fills = user.info("userFills")
    assert fills
    for fill in fills:
        assert fill["crossed"] is False
        assert Decimal(fill["px"]) == (bid if fill["side"] == "B" else ask)
        # The maker pays 0.015 %, truncated at six decimals.
        exact = Decimal(fill["px"]) * Decimal(fill["sz"]) * Decimal("0.00015")
        assert Decimal(fill["fee"]) == exact.quantize(Decimal("0.000001"), "ROUND_DOWN")


def test_post_only_window_after_an_upgrade(user: User) -> None:
    user.ex.post_only_until_ms = user.ex.now + 120_000
    px = beside(user.ex, HYPE, "buy", 1)
    assert user.order(HYPE, "buy", px, "5") == {
        "error": "Only post-only orders allowed immediately after a network upgrade asset=159"
    }


@pytest.mark.parametrize("leverage, reply", [
    (10, {"status": "ok", "response": {"type": "default"}}),
    (11, {"status": "err", "response": "Invalid leverage value"}),
    (0, {"status": "err", "response": "Invalid leverage value"}),
])
def test_leverage(user: User, leverage: int, reply: Any) -> None:
    action = {"type": "updateLeverage", "asset": HYPE, "isCross": True, "leverage": leverage}
    assert user.send(action) == reply
    data = user.info("activeAssetData", coin="HYPE")
    assert data["leverage"] == {"type": "cross", "value": 10}


def test_order_records_are_evicted_by_count(user: User) -> None:
    px = beside(user.ex, HYPE, "buy", -2)
    oid = user.order(HYPE, "buy", px, "5", "Gtc")["resting"]["oid"]
    order = user.account.orders[oid]
    for number in range(2_000):
        other = type(order)(
            oid=oid + 1 + number, address=user.address, asset=order.asset, is_buy=True,
            px=order.px, sz=1, tif="Gtc", reduce_only=False, cloid=None, time_ms=user.ex.now,
        )
        user.account.remember(other, "canceled", user.ex.now)
    assert user.info("orderStatus", oid=oid) == {"status": "unknownOid"}
    assert len(user.info("openOrders")) == 1
