"""Isolated margin, liquidation events, auto-deleveraging by rank, delisting, caps and dust."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from carry.exchange.model import Exchange
from carry.exchange.paths import HOUR_MS

from .conftest import HYPE, HYPE_SPOT, User, beside
from .test_triggers import move_mark, status

MakeUser = Callable[..., User]
D = Decimal


def set_leverage(user: User, leverage: int, *, cross: bool) -> Any:
    return user.send(
        {"type": "updateLeverage", "asset": HYPE, "isCross": cross, "leverage": leverage}
    )


def add_margin(user: User, usd: int) -> Any:
    return user.send(
        {"type": "updateIsolatedMargin", "asset": HYPE, "isBuy": True, "ntli": usd * 1_000_000}
    )


def position(user: User) -> Any:
    rows = user.info("clearinghouseState")["assetPositions"]
    return rows[0]["position"] if rows else None


def open_isolated(user: User, leverage: int = 5, side: str = "sell", sz: str = "50") -> None:
    assert set_leverage(user, leverage, cross=False)["status"] == "ok"
    assert "filled" in user.order(HYPE, side, beside(user.ex, HYPE, side, 1), sz)


def test_margin_used_is_raw_plus_value(user: User) -> None:
    """marginUsed = rawUsd + positionValue (of a long), as on the venue's own sample."""
    open_isolated(user, side="buy")
    row = position(user)
    raw, value = D(row["leverage"]["rawUsd"]), D(row["positionValue"])
    assert D(row["marginUsed"]) == raw + value
    state = user.info("clearinghouseState")
    assert D(state["crossMarginSummary"]["totalNtlPos"]) == 0
    assert D(state["marginSummary"]["totalNtlPos"]) == value
    total, cross = (
        D(state[name]["accountValue"]) for name in ("marginSummary", "crossMarginSummary")
    )
    assert total - cross == D(row["marginUsed"])
    assert state["crossMaintenanceMarginUsed"] == "0.0"
    assert user.ex.audit() == {}


def test_liquidation_px_by_the_venues_formula(user: User) -> None:
    open_isolated(user, side="buy")
    row = position(user)
    worth, szi = D(row["marginUsed"]), D(row["szi"])
    value = D(row["positionValue"])
    room = worth - value / 20
    expected = value / szi - room / szi / (1 - D(1) / 20)
    assert abs(D(row["liquidationPx"]) - expected) < D("0.0000001")


def test_only_what_stays_above_the_floor_can_be_taken_out(user: User) -> None:
    open_isolated(user)
    free = D(user.info("clearinghouseState")["withdrawable"])
    assert add_margin(user, 100)["status"] == "ok"
    assert D(user.info("clearinghouseState")["withdrawable"]) == free - 100
    assert add_margin(user, -90)["status"] == "ok"
    assert add_margin(user, -90)["status"] == "err"
    assert add_margin(user, 10**6)["status"] == "err"
    assert user.ex.audit() == {}


def test_refusals(user: User) -> None:
    assert add_margin(user, 5)["response"] == "Position does not use isolated margin."
    open_isolated(user)
    assert set_leverage(user, 5, cross=True)["response"] == (
        "Cannot switch leverage type with open position."
    )
    assert set_leverage(user, 2, cross=False)["response"].startswith(
        "Isolated position does not have sufficient margin available to decrease leverage."
    )
    assert set_leverage(user, 8, cross=False)["status"] == "ok"
    top_up = {"type": "topUpIsolatedOnlyMargin", "asset": HYPE, "leverage": "2.5"}
    before = D(position(user)["marginUsed"])
    assert user.send(top_up)["status"] == "ok"
    after = position(user)
    assert D(after["marginUsed"]) > before * D("1.5")
    assert abs(D(after["positionValue"]) / D(after["marginUsed"]) - D("2.5")) < D("0.01")


def test_a_strict_isolated_market_keeps_its_margin(user: User) -> None:
    user.ex.operations.set_margin_mode("HYPE", "strictIsolated")
    assert user.info("meta")["universe"][HYPE]["marginMode"] == "strictIsolated"
    assert set_leverage(user, 5, cross=True)["status"] == "err"
    open_isolated(user)
    assert add_margin(user, 90)["status"] == "ok"
    assert add_margin(user, -1)["status"] == "err"


def test_funding_moves_the_positions_own_margin(user: User) -> None:
    open_isolated(user)
    posted = user.account.positions[HYPE].posted
    cash = user.account.perp_cash
    user.ex.advance(user.ex.now + HOUR_MS)
    paid = D(user.info("userFunding", startTime=0)[0]["delta"]["usdc"])
    assert user.account.positions[HYPE].posted == posted + paid
    assert user.account.perp_cash == cash


def test_closing_gives_the_margin_back(user: User) -> None:
    cash = user.account.perp_cash
    open_isolated(user)
    user.order(HYPE, "buy", beside(user.ex, HYPE, "buy", 1), "20", reduce_only=True)
    part = user.account.positions[HYPE].posted
    user.order(HYPE, "buy", beside(user.ex, HYPE, "buy", 1), "30", reduce_only=True)
    assert 0 < part < cash
    fills = user.info("userFills")
    moved = sum(D(fill["closedPnl"]) - D(fill["fee"]) for fill in fills)
    assert user.account.perp_cash == cash + moved
    assert user.account.positions[HYPE].posted == 0


def test_it_is_liquidated_alone_and_costs_no_more_than_its_margin(user: User) -> None:
    session = user.ex.connect()
    request = {"type": "userEvents", "user": user.address}
    user.ex.receive(session, json.dumps({"method": "subscribe", "subscription": request}))
    open_isolated(user)
    cash = user.account.perp_cash
    session.take()
    move_mark(user.ex, "1.3")
    user.ex.advance(user.ex.now + 60_000)
    assert position(user) is None
    assert user.account.perp_cash == cash
    fill = user.info("userFills")[0]
    assert (fill["dir"], fill["liquidation"]["method"]) == ("Liquidated Isolated Short", "backstop")
    events = [json.loads(text)["data"] for text in session.take()]
    (told,) = [event["liquidation"] for event in events if "liquidation" in event]
    assert told["liquidated_user"] == user.address
    row = user.info("userNonFundingLedgerUpdates")[-1]["delta"]
    assert (row["type"], row["leverageType"]) == ("liquidation", "Isolated")
    assert user.ex.audit() == {}


def test_adl_takes_the_best_placed_first(exchange: Exchange, new_user: MakeUser) -> None:
    """(mark / entry) x (notional / account value): the same gain, the smaller account first."""
    broke, rich, poor = new_user(21, "700"), new_user(22, "100000"), new_user(23, "2000")
    for who in (rich, poor):
        assert "filled" in who.order(HYPE, "buy", beside(exchange, HYPE, "buy", 2), "100")
    sell = broke.order(HYPE, "sell", beside(exchange, HYPE, "sell", 2), "120")
    assert "filled" in sell, sell
    ranked: list[Any] = []
    check = exchange.liquidation._deleverage

    def seen(*arguments: Any, **more: Any) -> None:
        ranked.extend(exchange.liquidation.ranked(arguments[0], longs=True))
        check(*arguments, **more)

    exchange.liquidation._deleverage = seen
    move_mark(exchange, "1.5")
    exchange.advance(exchange.now + 30_000)
    assert broke.account.szi(HYPE) == 0
    assert ranked == [poor.account, rich.account]
    assert (poor.account.szi(HYPE), rich.account.szi(HYPE)) == (0, 80)
    assert poor.info("userFills")[0]["dir"] == "Auto-Deleveraging"
    assert exchange.audit() == {}


def test_a_delisted_perp_settles_and_keeps_its_row(user: User) -> None:
    ex = user.ex
    user.order(HYPE, "sell", beside(ex, HYPE, "sell", 1), "10")
    oid = user.order(HYPE, "sell", beside(ex, HYPE, "sell", -5), "10", "Alo")["resting"]["oid"]
    rows = len(user.info("meta")["universe"])
    ex.operations.delist("HYPE")
    meta, ctxs = user.info("metaAndAssetCtxs")
    assert len(meta["universe"]) == len(ctxs) == rows
    assert (meta["universe"][HYPE]["name"], meta["universe"][HYPE]["isDelisted"]) == ("HYPE", True)
    assert ctxs[HYPE]["midPx"] is None
    assert status(user, oid) == "delistedCanceled"
    fill = user.info("userFills")[0]
    assert (fill["dir"], fill["fee"], position(user)) == ("Settlement", "0.0", None)
    refused = user.order(HYPE, "sell", fill["px"], "10")
    assert refused == {"error": "Trading is halted for this asset. asset=159"}
    assert "filled" in user.order(HYPE_SPOT, "buy", beside(ex, HYPE_SPOT, "buy", 1), "5")
    ex.advance(ex.now + HOUR_MS)
    assert ex.audit() == {}


def test_open_interest_at_its_cap(user: User) -> None:
    user.order(HYPE, "sell", beside(user.ex, HYPE, "sell", 1), "10")
    user.ex.operations.cap_open_interest("HYPE")
    assert user.info("perpsAtOpenInterestCap") == ["HYPE"]
    more = user.order(HYPE, "sell", beside(user.ex, HYPE, "sell", 1), "10")
    assert more["error"].startswith(
        "Order would increase open interest while open interest is capped"
    )
    assert "filled" in user.order(HYPE, "buy", beside(user.ex, HYPE, "buy", 1), "10")


def test_dust_becomes_usdc_at_midnight(user: User) -> None:
    """A balance below one lot and worth a dollar at most; its order is known to nobody."""
    user.order(HYPE_SPOT, "buy", beside(user.ex, HYPE_SPOT, "buy", 1), "10")
    user.order(HYPE_SPOT, "sell", beside(user.ex, HYPE_SPOT, "sell", 1), "9.99")
    left, usdc = (user.account.spot[token].total for token in (150, 0))
    assert 0 < left < D("0.01")
    day = 24 * HOUR_MS
    user.ex.advance(user.ex.now - user.ex.now % day + day + 1_000)
    fill = user.info("userFills")[0]
    assert (fill["dir"], fill["tid"], fill["hash"]) == (
        "Spot Dust Conversion", 0, "0x" + "0" * 64
    )
    assert user.account.spot[150].total == 0
    assert user.account.spot[0].total == usdc + D(fill["px"]) * left - D(fill["fee"])
    assert user.info("orderStatus", oid=fill["oid"]) == {"status": "unknownOid"}
    assert user.ex.audit() == {}


def test_margin_tier_limit(user: User) -> None:
    user.ex.open_account(user.address, usdc=D(20_000_000))
    set_leverage(user, 10, cross=True)
    px = beside(user.ex, HYPE, "sell", -1)
    sz = str(int(19_000_000 / float(px)))
    assert "resting" in user.order(HYPE, "sell", px, sz, "Alo")
    user.account.positions.clear()
    big = user.order(HYPE, "sell", px, str(int(21_000_000 / float(px))), "Alo")
    assert big["error"].startswith("Order value above the maximum")
