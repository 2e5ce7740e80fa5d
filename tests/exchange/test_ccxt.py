"""ccxt's client of the venue, unchanged, by requests and by websocket, on `--clock wall`.

As with the SDK: every method a trader has is called, each effect is read another way, and a method
that is neither called nor named as none of a trader's business fails the test.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import ccxt
import ccxt.pro
import pytest

from .judges import ARGUMENTS, MASTER, OTHER, POOLED, Counted, D, now_ms, public_methods, until
from .serving import Served, serve

A_TRADERS = (
    "fetch_", "create_", "cancel_", "edit_", "set_", "add_", "reduce_", "transfer", "withdraw",
    "approve_", "enable_", "reserve_", "load_",
)
NOT_A_TRADERS = {
    # Requests without being sent, other dexes, vaults of one's own; called by others below.
    "create_order_request", "create_orders_request", "cancel_orders_request", "create_vault",
    "fetch_hip3_markets", "set_sandbox_mode", "fetch_swap_markets", "fetch_spot_markets",
    "set_ref", "withdrawWs",
}
PERP, SPOT, SOL, ETH = "HYPE/USDC:USDC", "HYPE/USDC", "SOL/USDC:USDC", "ETH/USDC:USDC"
SETTINGS = {"enableRateLimit": False, "options": {"defaultSlippage": "0.03"}}


def client(served: Served, key: Any, kind: Any = ccxt.hyperliquid) -> Any:
    """An unchanged client whose addresses are the served exchange's."""
    made = kind(
        {**SETTINGS, "walletAddress": key.address, "privateKey": "0x" + bytes(key.key).hex()}
    )
    made.set_sandbox_mode(True)
    made.urls["api"] = {
        "public": served.url, "private": served.url, "ws": {"public": served.ws_url}
    }
    return made


class Judge:
    def __init__(self, served: Served) -> None:
        self.calls: Counter[str] = Counter()
        self.served = served
        self.x: Any = Counted(client(served, MASTER), self.calls)
        self.other: Any = Counted(client(served, OTHER), self.calls)
        self.pooled: Any = Counted(client(served, POOLED), self.calls)

    def info(self, kind: str, user: str = MASTER.address, **more: Any) -> Any:
        """The raw answer, past ccxt."""
        return self.served.post("/info", {"type": kind, "user": user, **more})

    def px(self, symbol: str, share: float = 1.0) -> float:
        market = self.x.market(symbol)
        coin = market["id"] if market["spot"] else market["baseName"]
        return float(self.info("allMids")[coin]) * share

    def perp(self) -> Any:
        return D(self.info("clearinghouseState")["withdrawable"])


def read_markets(j: Judge) -> None:
    x = j.x
    markets = x.load_markets()
    assert (markets[PERP]["baseId"], markets[SPOT]["baseId"]) == ("159", "10107")
    assert markets["BTC/USDC"]["id"] == "@142"
    assert D(x.fetch_currencies()["UBTC"]["precision"]) == D("1e-10")
    assert abs(x.fetch_tickers([PERP])[PERP]["last"] / j.px(PERP) - 1) < 0.01
    assert len(x.fetch_markets()) == len(markets)
    assert x.fetch_status()["status"] == "ok"
    assert abs(x.fetch_time() - now_ms()) < 5_000
    book = x.fetch_order_book(PERP)
    assert len(book["bids"]) == len(book["asks"]) == 20
    assert book["bids"][0][0] <= j.px(PERP) * 1.002
    mid = float(j.info("allMids")["@107"])
    candles = x.fetch_ohlcv(SPOT, "5m", limit=10)
    assert abs(candles[-1][4] / mid - 1) < 0.01
    rates = x.fetch_funding_rates()
    assert x.fetch_funding_rate(PERP)["symbol"] == PERP
    assert rates[PERP]["interval"] == "1h"
    history = x.fetch_funding_rate_history(PERP, since=now_ms() - 24 * 3_600_000)
    assert len(history) in (23, 24)
    assert x.fetch_open_interests([PERP])[PERP]["openInterestAmount"] > 1000
    assert x.fetch_open_interest(PERP)["symbol"] == PERP
    fee = x.fetch_trading_fee(PERP)
    assert (fee["taker"], fee["maker"]) == (0.00045, 0.00015)


def rest_and_cancel(j: Judge) -> None:
    x = j.x
    made = x.create_order(PERP, "limit", "buy", 5, j.px(PERP, 0.9), {"postOnly": True})
    (raw,) = j.info("frontendOpenOrders")
    assert (str(raw["oid"]), raw["tif"]) == (made["id"], "Alo")
    assert x.fetch_order(made["id"], PERP)["status"] == "open"
    # ccxt asked for leave to charge its own fee when it first signed something.
    assert j.info("maxBuilderFee", builder="0x6530512a6c89c7cfcebc3ba7fcd9ada5f30827a6") == 10
    assert j.info("referral")["referredBy"]["code"] == "CCXT1"
    x.edit_order(made["id"], PERP, "limit", "buy", 6, j.px(PERP, 0.91), {"postOnly": True})
    (raw,) = j.info("openOrders")
    assert raw["sz"] == "6.0"
    assert x.cancel_order(str(raw["oid"]), PERP)["info"] == "success"
    assert j.info("openOrders") == []
    orders = [
        {"symbol": symbol, "type": "limit", "side": "buy", "amount": 4,
         "price": j.px(symbol, 0.9), "params": {"clientOrderId": f"0x{number:032x}"}}
        for number, symbol in enumerate((PERP, SPOT, SOL), 1)
    ]
    oids = [order["id"] for order in x.create_orders(orders)]
    assert sorted(oids) == sorted(str(row["oid"]) for row in j.info("openOrders"))
    assert len(x.fetch_open_orders()) == 3
    changed = [
        {"id": oids[2], "symbol": SOL, "type": "limit", "side": "buy", "amount": 3,
         "price": j.px(SOL, 0.91), "params": {"clientOrderId": f"0x{9:032x}"}}
    ]
    x.edit_orders(changed)
    assert D(j.info("orderStatus", oid=f"0x{9:032x}")["order"]["order"]["sz"]) == 3
    x.cancel_orders([oids[0]], PERP)
    x.cancel_orders_for_symbols(
        [{"id": oids[1], "symbol": SPOT}]
    )
    x.cancel_order("0", SOL, {"clientOrderId": f"0x{9:032x}"})
    assert j.info("openOrders") == []
    assert {order["status"] for order in x.fetch_orders(PERP)} == {"canceled"}
    assert len(x.fetch_canceled_orders()) == len(x.fetch_canceled_and_closed_orders()) == 6
    with pytest.raises(ccxt.OrderNotFound):
        x.fetch_order("7", PERP)
    with pytest.raises(ccxt.InvalidOrder):
        x.create_order(PERP, "limit", "buy", 0.1, j.px(PERP))


def take(j: Judge) -> None:
    x = j.x
    x.set_leverage(4, PERP)
    bought = x.create_order(SPOT, "market", "buy", 8, j.px(SPOT))
    assert bought["filled"] == 8
    rows = {row["coin"]: row for row in j.info("spotClearinghouseState")["balances"]}
    assert D("7.99") < D(rows["HYPE"]["total"]) < 8
    assert x.fetch_balance({"type": "spot"})["HYPE"]["total"] == float(rows["HYPE"]["total"])
    x.create_order(PERP, "market", "sell", 8, j.px(PERP))
    held = j.info("clearinghouseState")["assetPositions"][0]["position"]
    assert (held["szi"], held["leverage"]["value"]) == ("-8.0", 4)
    position = x.fetch_position(PERP)
    assert (position["side"], position["contracts"]) == ("short", 8)
    assert [p["symbol"] for p in x.fetch_positions()] == [PERP]
    swap = x.fetch_balance({"type": "swap"})["USDC"]["total"]
    assert abs(swap - float(j.info("clearinghouseState")["marginSummary"]["accountValue"])) < 5
    fills = x.fetch_my_trades()
    assert [f["fee"]["currency"] for f in fills] == ["HYPE", "USDC"]
    # ccxt's builder takes his part of the perp fee, none of a spot buy's.
    assert "builderFee" in fills[1]["info"]
    assert "builderFee" not in fills[0]["info"]
    assert len(x.fetch_trades(PERP)) == 1
    x.create_order(PERP, "market", "buy", 8, j.px(PERP), {"reduceOnly": True})
    assert j.info("clearinghouseState")["assetPositions"] == []
    assert {order["id"] for order in x.fetch_closed_orders()} >= {bought["id"]}
    assert x.fetch_my_liquidations() == []
    assert x.fetch_funding_history(PERP, since=1) == []


def triggers_and_isolated(j: Judge) -> None:
    x = j.x
    x.set_margin_mode("isolated", SOL, {"leverage": 5})
    px = j.px(SOL)
    made = x.create_order(
        SOL, "market", "buy", 3, px,
        {"takeProfit": {"triggerPrice": px * 1.3, "type": "market", "price": px * 1.3},
         "stopLoss": {"triggerPrice": px * 0.7, "type": "market", "price": px * 0.7}},
    )
    assert made["id"] is not None
    kinds = {row["orderType"] for row in j.info("frontendOpenOrders")}
    assert kinds == {"Take Profit Market", "Stop Market"}

    def used() -> Any:
        return D(j.info("clearinghouseState")["assetPositions"][0]["position"]["marginUsed"])

    before = used()
    x.add_margin(SOL, 40)
    assert abs(used() - before - 40) < 3
    x.reduce_margin(SOL, 25)
    assert abs(used() - before - 15) < 3
    x.create_order(SOL, "market", "sell", 3, j.px(SOL), {"reduceOnly": True})
    assert j.info("openOrders") == []
    lone = x.create_order(
        PERP, "market", "sell", 3, j.px(PERP, 0.8), {"triggerPrice": j.px(PERP, 0.8)}
    )
    (row,) = j.info("frontendOpenOrders")
    assert (row["isTrigger"], row["reduceOnly"]) == (True, False)
    del lone
    x.cancel_order(str(row["oid"]), PERP)


def twaps_and_switch(j: Judge) -> None:
    x = j.x
    twap = x.create_twap_order(PERP, "buy", 30, 10 * 60_000)
    fill = until(lambda: j.info("userTwapSliceFills"))[0]
    assert fill["fill"]["hash"] == "0x" + "0" * 64
    assert str(fill["twapId"]) == twap["id"]
    x.cancel_twap_order(twap["id"], PERP)
    assert j.info("twapHistory")[0]["status"]["status"] == "terminated"
    x.create_order(PERP, "market", "sell", fill["fill"]["sz"], j.px(PERP), {"reduceOnly": True})
    assert x.cancel_all_orders_after(60_000)["status"] == "ok"
    with pytest.raises(ccxt.ExchangeError, match="until enough volume traded"):
        j.other.cancel_all_orders_after(60_000)


def money(j: Judge) -> None:
    x, perp = j.x, j.perp()
    x.transfer("USDC", 50, "spot", "swap")
    assert j.perp() == perp + 50
    sub = x.create_sub_account("ccxt")["response"]["data"]
    x.transfer("USDC", 30, "main", sub)
    assert j.info("clearinghouseState", sub)["withdrawable"] == "30.0"
    x.transfer("USDC", 5, sub, "main", {"type": "swap"})
    assert j.perp() == perp + 25
    x.withdraw("USDC", 10, MASTER.address)
    assert j.perp() == perp + 15
    kinds = [row["delta"]["type"] for row in j.info("userNonFundingLedgerUpdates", startTime=0)]
    assert kinds[-4:] == [
        "accountClassTransfer", "subAccountTransfer", "subAccountTransfer", "withdraw"
    ]
    assert len(x.fetch_ledger()) == len(kinds)
    assert x.fetch_withdrawals()[-1]["amount"] == 10
    assert x.fetch_deposits()[0]["amount"] == 40_000
    x.reserve_request_weight(100)
    assert j.perp() == perp + 15 - D("0.05")
    x.approve_builder_fee(OTHER.address, "0.05%")
    assert j.info("maxBuilderFee", builder=OTHER.address.lower()) == 50


def modes(j: Judge) -> None:
    x, who = j.pooled, POOLED.address
    x.set_user_abstraction("unifiedAccount")
    assert j.info("userAbstraction", who) == "unifiedAccount"
    x.set_agent_abstraction("p")
    assert j.info("userAbstraction", who) == "portfolioMargin"
    with pytest.raises(ccxt.ExchangeError, match="Abstraction transition not allowed"):
        x.enable_user_dex_abstraction(True)


STEPS = (
    read_markets, rest_and_cancel, take, triggers_and_isolated, twaps_and_switch, money, modes,
)


@pytest.fixture
def judge() -> Iterator[Judge]:
    with serve("--seed", "6", *ARGUMENTS) as served:
        yield Judge(served)


def test_every_method_of_a_trader(judge: Judge) -> None:
    for step in STEPS:
        step(judge)
    traders = {name for name in public_methods(ccxt.hyperliquid) if name.startswith(A_TRADERS)}
    traders -= NOT_A_TRADERS | {name for name in traders if name.endswith("_request")}
    assert traders - set(judge.calls) == set()
    assert sum(judge.calls.values()) == 84


def test_its_websocket_client(judge: Judge) -> None:
    """What it watches is what the reads say, and orders go through the socket too."""
    asyncio.run(_watch(judge))


async def _watch(j: Judge) -> None:
    x = client(j.served, MASTER, ccxt.pro.hyperliquid)
    try:
        await x.load_markets()
        book = await x.watch_order_book(PERP)
        assert len(book["bids"]) == 20
        assert (await x.watch_ticker(SPOT))["symbol"] == SPOT
        assert PERP in await x.watch_tickers([PERP])
        assert (await x.watch_ohlcv(PERP, "1m"))[-1][4] > 0
        assert (await x.watch_trades(PERP))[-1]["symbol"] == PERP
        balance = await x.watch_balance({"type": "spot"})
        rows = j.info("spotClearinghouseState")["balances"]
        assert balance["USDC"]["total"] == float(rows[0]["total"])
        px = book["bids"][0][0]
        orders = asyncio.ensure_future(x.watch_orders())
        trades = asyncio.ensure_future(x.watch_my_trades())
        assert await x.watch_positions() == []
        await asyncio.sleep(0.5)
        made = await x.create_order_ws(PERP, "limit", "buy", 5, px * 0.9)
        assert [str(row["oid"]) for row in j.info("openOrders")] == [made["id"]]
        assert (await orders)[0]["id"] == made["id"]
        edited = await x.edit_order_ws(
            made["id"], PERP, "limit", "buy", 6, px * 0.91, {"postOnly": True}
        )
        (row,) = j.info("openOrders")
        assert (str(row["oid"]), row["sz"]) == (edited["id"], "6.0")
        await x.cancel_order_ws(edited["id"], PERP)
        assert j.info("openOrders") == []
        await x.create_order_ws(PERP, "market", "sell", 5, px)
        assert (await asyncio.wait_for(trades, 8))[0]["amount"] == 5
        assert j.info("userFills")[0]["sz"] == "5.0"
        held = await asyncio.wait_for(x.watch_positions(), 8)
        assert [(p["symbol"], p["contracts"]) for p in held] == [(PERP, 5)]
    finally:
        await x.close()
