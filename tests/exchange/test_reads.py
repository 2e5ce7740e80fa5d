"""Shapes of the reads, and the actions that change what an account may do."""

from decimal import Decimal
from typing import Any

from hyperliquid.utils import signing

from carry.exchange.accounts import SPLIT, UNIFIED
from carry.exchange.model import Exchange, _utc_date

from .conftest import BTC, HYPE, HYPE_SPOT, User, beside, make_exchange, post, touch

D = Decimal


def test_positions_in_the_universe_are_asset_ids(user: User) -> None:
    meta, ctxs = user.info("metaAndAssetCtxs")
    assert meta == user.info("meta")
    names = [row["name"] for row in meta["universe"]]
    assert [names[i] for i in (0, 1, 5, 152, 159)] == ["BTC", "ETH", "SOL", "PURR", "HYPE"]
    assert len(ctxs) == len(names)
    assert meta["universe"][159] == {
        "szDecimals": 2, "name": "HYPE", "maxLeverage": 10, "marginTableId": 52
    }
    assert meta["universe"][152]["isDelisted"] is True  # not among this exchange's coins
    assert sum("isDelisted" in row for row in meta["universe"]) > 30
    dead = ctxs[names.index("AVAX")]
    assert (dead["midPx"], dead["premium"], dead["impactPxs"]) == (None, None, None)
    ctx = ctxs[159]
    assert list(ctx) == ["funding", "openInterest", "prevDayPx", "dayNtlVlm", "premium",
                         "oraclePx", "markPx", "midPx", "impactPxs", "dayBaseVlm"]
    bid, ask = touch(user.ex, HYPE)
    assert D(ctx["midPx"]) == (bid + ask) / 2
    tables = dict(meta["marginTables"])
    assert tables[56]["marginTiers"][1] == {"lowerBound": "150000000.0", "maxLeverage": 20}


def test_spot_contexts_are_joined_by_coin_never_by_position(user: User) -> None:
    meta, ctxs = user.info("spotMetaAndAssetCtxs")
    assert len(ctxs) != len(meta["universe"])
    aligned = [a["name"] == b["coin"] for a, b in zip(meta["universe"], ctxs, strict=False)]
    assert not all(aligned)
    pair = next(row for row in meta["universe"] if row["name"] == "@142")
    tokens = {token["index"]: token for token in meta["tokens"]}
    base = tokens[pair["tokens"][0]]
    assert (pair["index"], base["name"], base["weiDecimals"]) == (142, "UBTC", 10)
    assert base["tokenId"] == "0x8f254b963e8468305d409b33aa137c67"
    assert meta["universe"][pair["index"] % len(meta["universe"])] != pair


def test_books_aggregate_outward(user: User) -> None:
    plain = user.info("l2Book", coin="BTC")
    coarse = user.info("l2Book", coin="BTC", nSigFigs=3, mantissa=None)
    assert D(coarse["levels"][0][0]["px"]) <= D(plain["levels"][0][0]["px"])
    assert D(coarse["levels"][1][0]["px"]) >= D(plain["levels"][1][0]["px"])
    assert len(user.info("l2Book", coin="BTC", fast=True)["levels"][0]) == 5


def test_predictions_point_at_an_hour_that_has_passed(user: User) -> None:
    rows = dict(user.info("predictedFundings"))
    venues = dict(rows["HYPE"])
    mine = venues["HlPerp"]
    assert mine["nextFundingTime"] < user.ex.now
    assert mine["fundingIntervalHours"] == 1
    assert venues["BybitPerp"] is None
    ctx = user.info("metaAndAssetCtxs")[1][HYPE]
    assert mine["fundingRate"] == ctx["funding"]


def test_small_reads(user: User) -> None:
    assert user.info("exchangeStatus") == {"time": user.ex.now, "specialStatuses": None}
    assert user.info("perpDexs") == [None]
    assert user.info("userRole") == {"role": "user"}
    assert user.info("extraAgents") == []
    assert [row[0] for row in user.info("portfolio")][:4] == ["day", "week", "month", "allTime"]
    fees = user.info("userFees")
    assert (fees["userSpotCrossRate"], fees["userAddRate"]) == ("0.0007", "0.00015")
    assert user.info("userNonFundingLedgerUpdates", startTime=0)[0]["delta"] == {
        "type": "deposit", "usdc": "10000.0"
    }
    assert set(user.info("allMids")) >= {"BTC", "HYPE", "@107", "PURR/USDC"}
    assert _utc_date(1_767_607_200_000) == "2026-01-05"
    assert _utc_date(951_782_400_000) == "2000-02-29"


def test_fills_are_paged_ascending_by_time_and_newest_first_without(user: User) -> None:
    for side in ("sell", "buy", "sell"):
        user.order(HYPE, side, beside(user.ex, HYPE, side, 1), "2")
        user.ex.advance(user.ex.now + 5_000)
    newest = [fill["time"] for fill in user.info("userFills")]
    by_time = [fill["time"] for fill in user.info("userFillsByTime", startTime=newest[-1])]
    assert newest == sorted(newest, reverse=True)
    assert by_time == sorted(newest)
    later = user.info("userFillsByTime", startTime=newest[-1] + 1)
    assert len(later) == len(newest) - 1
    history = user.info("historicalOrders")
    assert [row["status"] for row in history] == ["filled"] * 3


def test_a_modify_that_fails_leaves_no_order(user: User) -> None:
    px = beside(user.ex, HYPE, "buy", -2)
    oid = user.order(HYPE, "buy", px, "5", "Gtc")["resting"]["oid"]
    order = {"a": HYPE, "b": True, "p": px, "s": "0.1", "r": False, "t": {"limit": {"tif": "Alo"}}}
    reply = user.send({"type": "modify", "oid": oid, "order": order})
    assert reply["response"] == (
        "Error placing new order during modify: Order must have minimum value of $10. asset=159"
    )
    assert user.info("openOrders") == []
    gone = user.send({"type": "batchModify", "modifies": [{"oid": oid, "order": order}]})
    assert gone == {"status": "err", "response": "Cannot modify canceled or filled order"}


def _signed(user: User, action: dict[str, Any], sign: Any) -> Any:
    signature = sign(user.key, action, False)
    nonce = action.get("time", action.get("nonce"))
    body = {"action": action, "nonce": nonce, "signature": signature}
    return post(user.ex, "/exchange", body)


def test_user_signed_transfers(exchange: Exchange, user: User) -> None:
    now = exchange.now
    to_perp = {"type": "usdClassTransfer", "amount": "100.5", "toPerp": True, "nonce": now}
    assert _signed(user, to_perp, signing.sign_usd_class_transfer_action)["status"] == "ok"
    assert (user.account.perp_cash, user.account.spot[0].total) == (D("5100.5"), D("4899.5"))
    stranger = "0x" + "8" * 40
    send = {"type": "usdSend", "destination": stranger, "amount": "10", "time": now + 1}
    assert _signed(user, send, signing.sign_usd_transfer_action)["status"] == "ok"
    # A first transfer to a new address costs the sender 1 USDC.
    assert user.account.perp_cash == D("5089.5")
    assert exchange.accounts[stranger].perp_cash == D(10)
    give = {"type": "spotSend", "destination": stranger, "amount": "5", "time": now + 2,
            "token": "USDC:0x6d1e7cde53ba9467b783cb7c530ce054"}
    assert _signed(user, give, signing.sign_spot_transfer_action)["status"] == "ok"
    assert exchange.accounts[stranger].spot[0].total == D(5)
    assert exchange.audit() == {}
    nobody = User(exchange, 71, None)
    reply = _signed(nobody, dict(send) | {"time": now + 3}, signing.sign_usd_transfer_action)
    assert reply["response"] == (
        f"Must deposit before performing actions. User: {nobody.address}"
    )
    rich = User(exchange, 72, "100", UNIFIED)
    again = dict(to_perp) | {"nonce": now + 4}
    reply = _signed(rich, again, signing.sign_usd_class_transfer_action)
    assert reply["response"] == "Action disabled when unified account is active"


def test_account_modes_change_only_when_flat_and_never_down_by_an_agent(user: User) -> None:
    agent = User(user.ex, 73, None)
    user.ex.approve(agent.address, user.address)
    user.order(HYPE, "sell", beside(user.ex, HYPE, "sell", 1), "2")
    up = {"type": "agentSetAbstraction", "abstraction": "u"}
    assert agent.send(up)["response"] == "Abstraction transition not allowed"
    user.order(HYPE, "buy", beside(user.ex, HYPE, "buy", 1), "2")
    cash = user.account.perp_cash + user.account.spot[0].total
    assert agent.send(up)["status"] == "ok"
    assert user.info("userAbstraction") == "unifiedAccount"
    assert user.account.spot[0].total == cash
    down = {"type": "agentSetAbstraction", "abstraction": "i"}
    assert agent.send(down)["response"] == "Abstraction transition not allowed"
    assert user.send(down)["status"] == "ok"
    assert user.info("userAbstraction") == "disabled"
    assert user.ex.audit() == {}


def test_margin_is_checked_again_when_a_resting_order_is_matched(exchange: Exchange) -> None:
    maker, taker = User(exchange, 74, "2000", SPLIT), User(exchange, 75, "20000", SPLIT)
    bid, _ = touch(exchange, HYPE)
    px = str(bid + D("0.001"))
    oid = maker.order(HYPE, "buy", px, "20", "Alo")["resting"]["oid"]
    maker.account.perp_cash -= 990
    exchange.house.cash += 990
    taker.order(HYPE, "sell", px, "20")
    assert maker.info("orderStatus", oid=oid)["order"]["status"] == "marginCanceled"
    assert not maker.account.fills


def test_holds_are_what_resting_orders_reserve(user: User) -> None:
    user.order(HYPE_SPOT, "buy", beside(user.ex, HYPE_SPOT, "buy", 1), "10")
    low, high = beside(user.ex, HYPE_SPOT, "buy", -5), beside(user.ex, HYPE_SPOT, "sell", -5)
    user.order(HYPE_SPOT, "buy", low, "7", "Alo")
    user.order(HYPE_SPOT, "sell", high, "4", "Alo")
    usdc, hype = user.info("spotClearinghouseState")["balances"]
    assert D(usdc["hold"]) == 7 * D(low)
    assert hype["hold"] == "4.0"
    assert D(hype["total"]) < 10


def test_coins_that_are_not_traded_here_are_delisted() -> None:
    exchange = make_exchange(coins=("BTC",))
    names = [row["name"] for row in post(exchange, "/info", {"type": "meta"})["universe"]
             if "isDelisted" not in row]
    assert names == ["BTC"]
    user = User(exchange, 76)
    assert "filled" in user.order(BTC, "sell", beside(exchange, BTC, "sell", 1), "0.001")
