"""The venue's own SDK, unchanged, reads, places, fills and cancels on `--clock wall`."""

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from eth_account import Account as Key
from hyperliquid.exchange import Exchange as SdkExchange
from hyperliquid.info import Info
from hyperliquid.utils.types import Cloid

from .serving import Served, serve

MASTER = Key.from_key("0x" + "21" * 32)
AGENT = Key.from_key("0x" + "22" * 32)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    address = MASTER.address
    with serve(
        "--clock", "wall", "--seed", "5", "--fund", f"{address}=20000",
        "--agent", f"{AGENT.address}={address}",
    ) as server:
        yield server


@pytest.fixture(scope="module")
def info(served: Served) -> Info:
    return Info(served.url, skip_ws=True)


@pytest.fixture(scope="module")
def sdk(served: Served, info: Info) -> SdkExchange:
    return SdkExchange(
        AGENT, served.url, meta=info.meta(), spot_meta=info.spot_meta(),
        account_address=MASTER.address,
    )


def _until(seen: Callable[[], Any], seconds: float = 8) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = seen()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("nothing came in time")


def test_it_reads_markets(info: Info) -> None:
    assert info.coin_to_asset["HYPE"] == 159
    assert info.coin_to_asset["@142"] == 10142
    assert info.name_to_coin["UBTC/USDC"] == "@142"
    mids = info.all_mids()
    assert Decimal(mids["BTC"]) > 1000
    book = info.l2_snapshot("HYPE")
    assert [len(side) for side in book["levels"]] == [20, 20]
    meta, ctxs = info.meta_and_asset_ctxs()
    assert len(meta["universe"]) == len(ctxs)
    spot_meta, spot_ctxs = info.spot_meta_and_asset_ctxs()
    by_coin = {ctx["coin"]: ctx for ctx in spot_ctxs}
    assert len(spot_ctxs) != len(spot_meta["universe"])
    assert by_coin["@107"]["midPx"] is not None
    now = int(time.time() * 1000)
    history = info.funding_history("HYPE", now - 30 * 24 * 3_600_000)
    assert len(history) == 500
    candles = info.candles_snapshot("@107", "15m", now - 24 * 3_600_000, now)
    assert len(candles) == 97


def test_it_places_rests_cancels_and_fills(sdk: SdkExchange, info: Info) -> None:
    mid = float(info.all_mids()["HYPE"])
    rest = sdk.order("HYPE", True, round(mid * 0.9, 2), 5, {"limit": {"tif": "Gtc"}})
    oid = rest["response"]["data"]["statuses"][0]["resting"]["oid"]
    assert [order["oid"] for order in info.open_orders(MASTER.address)] == [oid]
    assert info.query_order_by_oid(MASTER.address, oid)["order"]["status"] == "open"
    assert sdk.cancel("HYPE", oid)["response"]["data"]["statuses"] == ["success"]

    cloid = Cloid.from_int(7)
    sdk.order("@107", True, round(mid * 0.9, 2), 5, {"limit": {"tif": "Alo"}}, cloid=cloid)
    status = info.query_order_by_cloid(MASTER.address, cloid)
    assert status["order"]["order"]["cloid"] == cloid.to_raw()
    assert sdk.cancel_by_cloid("@107", cloid)["response"]["data"]["statuses"] == ["success"]

    assert sdk.update_leverage(2, "HYPE")["status"] == "ok"
    opened = sdk.market_open("HYPE", False, 12.5)
    assert opened["response"]["data"]["statuses"][0]["filled"]["totalSz"] == "12.5"
    state = info.user_state(MASTER.address)
    assert state["assetPositions"][0]["position"]["szi"] == "-12.5"
    closed = sdk.market_close("HYPE")
    assert closed["response"]["data"]["statuses"][0]["filled"]["totalSz"] == "12.5"
    assert info.user_state(MASTER.address)["assetPositions"] == []
    assert len(info.user_fills(MASTER.address)) >= 2
    assert info.user_fees(MASTER.address)["userCrossRate"] == "0.00045"


def test_it_modifies_and_batches(sdk: SdkExchange, info: Info) -> None:
    mid = float(info.all_mids()["ETH"])
    order = {
        "coin": "ETH", "is_buy": True, "sz": 0.1, "limit_px": round(mid * 0.9, 1),
        "order_type": {"limit": {"tif": "Alo"}}, "reduce_only": False,
    }
    reply = sdk.bulk_orders([order, order])
    oids = [status["resting"]["oid"] for status in reply["response"]["data"]["statuses"]]
    moved = sdk.modify_order(
        oids[0], "ETH", True, 0.1, round(mid * 0.91, 1), {"limit": {"tif": "Alo"}}
    )
    assert "resting" in moved["response"]["data"]["statuses"][0]
    for row in info.open_orders(MASTER.address):
        sdk.cancel("ETH", row["oid"])
    assert info.open_orders(MASTER.address) == []


def test_the_master_moves_money_and_names_an_agent(served: Served, info: Info) -> None:
    master = SdkExchange(
        MASTER, served.url, meta=info.meta(), spot_meta=info.spot_meta()
    )
    before = Decimal(info.user_state(MASTER.address)["withdrawable"])
    assert master.usd_class_transfer(100.0, True)["status"] == "ok"
    assert Decimal(info.user_state(MASTER.address)["withdrawable"]) == before + 100
    assert master.usd_transfer(5.0, "0x" + "7" * 40)["status"] == "ok"
    assert Decimal(info.user_state("0x" + "7" * 40)["withdrawable"]) == 5
    reply, key = master.approve_agent("spare")
    assert reply["status"] == "ok"
    named = SdkExchange(
        Key.from_key(key), served.url, meta=info.meta(), spot_meta=info.spot_meta(),
        account_address=MASTER.address,
    )
    assert named.noop(int(time.time() * 1000))["status"] == "ok"
    assert [row["name"] for row in info.extra_agents(MASTER.address)] == ["spare"]


def test_it_hears_the_streams(served: Served, sdk: SdkExchange) -> None:
    streaming = Info(served.url, meta=sdk.info.meta(), spot_meta=sdk.info.spot_meta())
    heard: dict[str, list[Any]] = {}
    try:
        for subscription in (
            {"type": "bbo", "coin": "HYPE"},
            {"type": "l2Book", "coin": "HYPE"},
            {"type": "trades", "coin": "HYPE"},
            {"type": "activeAssetCtx", "coin": "HYPE"},
            {"type": "activeAssetCtx", "coin": "@107"},
            {"type": "allMids"},
            {"type": "userFills", "user": MASTER.address},
            {"type": "userEvents", "user": MASTER.address},
            {"type": "orderUpdates", "user": MASTER.address},
            {"type": "userFundings", "user": MASTER.address},
        ):
            streaming.subscribe(
                subscription,
                lambda message: heard.setdefault(message["channel"], []).append(message),
            )
        _until(lambda: "activeSpotAssetCtx" in heard and "userFundings" in heard)
        assert heard["userFills"][0]["data"]["isSnapshot"] is True
        sdk.market_open("HYPE", False, 3)
        _until(lambda: "orderUpdates" in heard and "user" in heard and len(heard["userFills"]) > 1)
        fill = heard["userFills"][1]["data"]["fills"][0]
        assert (fill["coin"], fill["sz"], fill["dir"]) == ("HYPE", "3.0", "Open Short")
        assert heard["orderUpdates"][0]["data"][0]["status"] == "filled"
        _until(lambda: "trades" in heard)
        sdk.market_close("HYPE")
    finally:
        streaming.disconnect_websocket()
