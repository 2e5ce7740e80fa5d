"""The venue's own SDK, unchanged, against `carry exchange --clock wall`.

Every method a spot or perp trader has is called, and what it did is read through another endpoint
or channel than the one that did it. A method of the SDK that is neither called nor named here as
none of a trader's business fails the test.
"""

import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from eth_account import Account as Key
from hyperliquid.exchange import Exchange as SdkExchange
from hyperliquid.info import Info
from hyperliquid.utils.types import Cloid

from .judges import (
    AGENT,
    ARGUMENTS,
    HYPE_ID,
    MASTER,
    OTHER,
    POOLED,
    POOLED_AGENT,
    STRANGER,
    USDC_ID,
    Counted,
    D,
    now_ms,
    oid_of,
    public_methods,
    statuses,
    until,
)
from .serving import Served, serve

NOT_A_TRADERS = {
    # Deploying, validating, several signers, the other chain, gossip.
    "spot_deploy_register_token", "spot_deploy_user_genesis", "spot_deploy_freeze_user",
    "spot_deploy_enable_freeze_privilege", "spot_deploy_revoke_freeze_privilege",
    "spot_deploy_enable_quote_token", "spot_deploy_token_action_inner", "spot_deploy_genesis",
    "spot_deploy_register_spot", "spot_deploy_register_hyperliquidity",
    "spot_deploy_set_deployer_trading_fee_share", "perp_deploy_register_asset",
    "perp_deploy_set_oracle", "c_signer_unjail_self", "c_signer_jail_self", "c_signer_inner",
    "c_validator_register", "c_validator_change_profile", "c_validator_unregister", "multi_sig",
    "convert_to_multi_sig_user", "use_big_blocks", "gossip_priority_bid",
}
ME, GTC, ALO, IOC = MASTER.address, {"limit": {"tif": "Gtc"}}, {"limit": {"tif": "Alo"}}, {
    "limit": {"tif": "Ioc"}
}


class Sdk:
    """Everything a step needs: the reads, the master's and the agent's writes, the call count."""

    def __init__(self, served: Served) -> None:
        self.url = served.url
        self.calls: Counter[str] = Counter()
        plain = Info(served.url, skip_ws=True)
        self._meta, self._spot = plain.meta(), plain.spot_meta()
        self.info: Any = Counted(plain, self.calls)
        self.agent = self.exchange(AGENT, account_address=ME)
        self.master = self.exchange(MASTER)
        self.scheduled = 0

    def exchange(self, key: Any, **more: Any) -> Any:
        made = SdkExchange(key, self.url, meta=self._meta, spot_meta=self._spot, **more)
        return Counted(made, self.calls)

    def streaming(self) -> Info:
        return Info(self.url, meta=self._meta, spot_meta=self._spot)

    def mid(self, coin: str) -> float:
        return float(self.info.all_mids()[coin])

    def below(self, coin: str, digits: int = 2) -> float:
        """A price 10 % below the mid, on a tick."""
        return round(self.mid(coin) * 0.9, digits)

    def perp_usdc(self, address: str = ME) -> Decimal:
        return D(self.info.user_state(address)["withdrawable"])

    def spot(self, coin: str = "USDC", address: str = ME) -> Decimal:
        rows = self.info.spot_user_state(address)["balances"]
        return sum((D(row["total"]) for row in rows if row["coin"] == coin), D(0))

    def position(self, coin: str, address: str = ME) -> Any:
        for row in self.info.user_state(address)["assetPositions"]:
            if row["position"]["coin"] == coin:
                return row["position"]
        return None

    def open_oids(self, address: str = ME) -> list[int]:
        return [row["oid"] for row in self.info.open_orders(address)]


def read_markets(s: Sdk) -> None:
    info = s.info
    assert (info.name_to_asset("HYPE"), info.name_to_asset("UBTC/USDC")) == (159, 10142)
    assert D(info.all_mids()["BTC"]) > 1000
    assert info.perp_dexs() == [None]
    meta, ctxs = info.meta_and_asset_ctxs()
    assert [row["name"] for row in info.meta()["universe"]] == [
        row["name"] for row in meta["universe"]
    ]
    assert len(meta["universe"]) == len(ctxs)
    spot_meta, spot_ctxs = info.spot_meta_and_asset_ctxs()
    assert info.spot_meta() == spot_meta
    by_coin = {ctx["coin"]: ctx for ctx in spot_ctxs}
    assert len(spot_ctxs) != len(spot_meta["universe"])
    assert abs(D(by_coin["@107"]["midPx"]) / D(info.all_mids()["@107"]) - 1) < D("0.01")
    book = info.l2_snapshot("HYPE")
    assert [len(side) for side in book["levels"]] == [20, 20]
    now = now_ms()
    history = info.funding_history("HYPE", now - 30 * 24 * 3_600_000)
    assert len(history) == 500
    following = info.funding_history("HYPE", history[-1]["time"] + 1)
    assert following[0]["time"] > history[-1]["time"]
    candles = info.candles_snapshot("@107", "15m", now - 24 * 3_600_000, now)
    assert len(candles) == 97
    assert abs(D(candles[-1]["c"]) / D(info.all_mids()["@107"]) - 1) < D("0.01")


def read_a_newcomer(s: Sdk) -> None:
    """Reads of an address nobody has seen succeed and are empty."""
    info, who = s.info, STRANGER
    assert info.user_fees(who)["userCrossRate"] == "0.00045"
    assert info.user_role(who) == {"role": "missing"}
    assert info.user_rate_limit(who)["nRequestsCap"] == 10_000
    assert info.user_staking_summary(who)["delegated"] == "0.0"
    assert info.query_user_abstraction_state(who) == "default"
    assert info.query_user_dex_abstraction_state(who) is False
    assert info.query_sub_accounts(who) is None
    assert info.query_user_to_multi_sig_signers(who) is None
    assert info.query_referral_state(who)["referredBy"] is None
    assert info.query_perp_deploy_auction_status()["durationSeconds"] > 0
    assert info.query_spot_deploy_auction_status(who)["states"] == []
    assert info.portfolio(who)[0][0] == "day"
    for empty in (
        info.user_staking_delegations, info.user_staking_rewards, info.delegator_history,
        info.user_fills, info.historical_orders, info.extra_agents, info.user_vault_equities,
        info.user_twap_slice_fills, info.frontend_open_orders,
    ):
        assert empty(who) == []
    assert info.user_funding_history(who, 0) == []


def rest_read_and_cancel(s: Sdk) -> None:
    oid = oid_of(s.agent.order("HYPE", True, 5, s.below("HYPE"), GTC))
    assert s.open_oids() == [oid]
    assert s.info.query_order_by_oid(ME, oid)["order"]["status"] == "open"
    assert statuses(s.agent.cancel("HYPE", oid)) == ["success"]
    assert s.open_oids() == []
    assert s.info.historical_orders(ME)[0]["status"] == "canceled"

    cloid = Cloid.from_int(7)
    oid = oid_of(s.agent.order("@107", True, 5, s.below("@107"), ALO, cloid=cloid))
    found = s.info.query_order_by_cloid(ME, cloid)["order"]["order"]
    assert (found["oid"], found["cloid"]) == (oid, cloid.to_raw())
    held = next(b for b in s.info.spot_user_state(ME)["balances"] if b["coin"] == "USDC")["hold"]
    assert D(held) == D(found["limitPx"]) * 5
    assert statuses(s.agent.cancel_by_cloid("@107", cloid)) == ["success"]
    assert s.info.query_order_by_oid(ME, oid)["order"]["status"] == "canceled"


def batches(s: Sdk) -> None:
    def order(number: int) -> dict[str, Any]:
        return {
            "coin": "ETH", "is_buy": True, "sz": 0.1, "limit_px": s.below("ETH", 1),
            "order_type": ALO, "reduce_only": False, "cloid": Cloid.from_int(100 + number),
        }

    made = statuses(s.agent.bulk_orders([order(number) for number in range(4)]))
    oids = [status["resting"]["oid"] for status in made]
    assert s.open_oids() == oids
    px = round(s.mid("ETH") * 0.91, 1)
    moved = oid_of(s.agent.modify_order(oids[0], "ETH", True, 0.2, px, ALO))
    rows = {row["oid"]: row for row in s.info.frontend_open_orders(ME)}
    assert oids[0] not in rows
    assert (D(rows[moved]["limitPx"]), rows[moved]["sz"]) == (D(str(px)), "0.2")
    again = {**order(9), "limit_px": px}
    both = s.agent.bulk_modify_orders_new(
        [{"oid": moved, "order": again}, {"oid": Cloid.from_int(101), "order": order(8)}]
    )
    assert all("resting" in status for status in statuses(both))
    assert s.info.query_order_by_oid(ME, oids[1])["order"]["status"] == "canceled"
    assert statuses(s.agent.bulk_cancel([{"coin": "ETH", "oid": oids[2]}])) == ["success"]
    gone = [{"coin": "ETH", "cloid": Cloid.from_int(number)} for number in (103, 109, 108, 77)]
    answers = statuses(s.agent.bulk_cancel_by_cloid(gone))
    assert answers[:3] == ["success"] * 3
    assert answers[3]["error"].startswith("Order was never placed, already canceled, or filled.")
    assert s.open_oids() == []


def take_and_hedge(s: Sdk) -> None:
    """A carry by hand: spot bought, perp sold, both read back from fills, balances, position."""
    began = now_ms()
    assert s.agent.update_leverage(3, "HYPE")["status"] == "ok"
    reply = s.agent.market_open("@107", True, 12)
    assert statuses(reply)[0]["filled"]["totalSz"] == "12.0"
    assert D("11.98") < s.spot("HYPE") < 12
    reply = s.agent.market_open("HYPE", False, 12, cloid=Cloid.from_int(31))
    assert statuses(reply)[0]["filled"]["totalSz"] == "12.0"
    held = s.position("HYPE")
    assert (held["szi"], held["leverage"]) == ("-12.0", {"type": "cross", "value": 3})
    fills = s.info.user_fills_by_time(ME, began, aggregate_by_time=True)
    assert [fill["dir"] for fill in fills] == ["Buy", "Open Short"]
    assert [fill["feeToken"] for fill in fills] == ["HYPE", "USDC"]
    # Lot sizes: what a fee took leaves a remainder that no order can sell.
    sold = s.agent.order("@107", False, 11.99, round(s.mid("@107") * 0.97, 3), IOC)
    assert statuses(sold)[0]["filled"]["totalSz"] == "11.99"
    assert s.spot("HYPE") < D("0.01")
    assert statuses(s.agent.market_close("HYPE"))[0]["filled"]["totalSz"] == "12.0"
    assert s.position("HYPE") is None
    assert D(s.info.user_fees(ME)["dailyUserVlm"][0]["userCross"]) > 500


def isolated(s: Sdk) -> None:
    assert s.agent.update_leverage(5, "SOL", is_cross=False)["status"] == "ok"
    statuses(s.agent.market_open("SOL", True, 10))
    held = s.position("SOL")
    assert held["leverage"]["type"] == "isolated"
    before, free = D(held["marginUsed"]), s.perp_usdc()
    assert s.agent.update_isolated_margin(50.0, "SOL")["status"] == "ok"
    assert abs(D(s.position("SOL")["marginUsed"]) - before - 50) < 5
    assert abs(free - s.perp_usdc() - 50) < 1
    refused = s.agent.update_isolated_margin(-5_000.0, "SOL")
    assert refused["status"] == "err"
    denied = s.agent.update_leverage(5, "SOL", is_cross=True)
    assert denied["response"] == "Cannot switch leverage type with open position."
    statuses(s.agent.market_close("SOL"))
    assert s.position("SOL") is None


def take_profit_and_stop(s: Sdk) -> None:
    mid = s.mid("BTC")

    def sell(kind: str, px: float) -> dict[str, Any]:
        return {
            "coin": "BTC", "is_buy": False, "sz": 0.01, "limit_px": round(px),
            "order_type": {"trigger": {"isMarket": True, "triggerPx": round(px), "tpsl": kind}},
            "reduce_only": True,
        }

    entry = {
        "coin": "BTC", "is_buy": True, "sz": 0.01, "limit_px": round(mid * 1.02),
        "order_type": IOC, "reduce_only": False,
    }
    reply = s.agent.bulk_orders(
        [entry, sell("tp", mid * 1.3), sell("sl", mid * 0.7)], grouping="normalTpsl"
    )
    assert statuses(reply)[1:] == ["waitingForTrigger"] * 2
    shown = {row["orderType"]: row for row in s.info.frontend_open_orders(ME)}
    assert set(shown) == {"Take Profit Market", "Stop Market"}
    assert shown["Stop Market"]["triggerCondition"].startswith("Price below")
    statuses(s.agent.market_close("BTC"))
    assert s.open_oids() == []
    stop = shown["Stop Market"]["oid"]
    gone = s.info.query_order_by_oid(ME, stop)["order"]["status"]
    assert gone == "reduceOnlyCanceled"


def dead_mans_switch(s: Sdk) -> None:
    oid = oid_of(s.agent.order("ETH", True, 0.1, s.below("ETH", 1), ALO))
    early = s.agent.schedule_cancel(now_ms() + 1_000)
    assert early["status"] == "err"
    assert s.agent.schedule_cancel(now_ms() + 5_300)["status"] == "ok"
    poor = s.exchange(OTHER).schedule_cancel(now_ms() + 9_000)
    assert poor["response"].startswith("Cannot set scheduled cancel time until enough volume")
    s.scheduled = oid


def the_switch_went_off(s: Sdk) -> None:
    until(lambda: s.open_oids() == [])
    assert s.info.query_order_by_oid(ME, s.scheduled)["order"]["status"] == "scheduledCancel"


def expiry_and_nonce(s: Sdk) -> None:
    nonce = now_ms()
    assert s.agent.noop(nonce)["status"] == "ok"
    assert s.agent.noop(nonce)["response"] == f"Invalid nonce: duplicate nonce {nonce}"
    used = s.info.user_rate_limit(ME)["nRequestsUsed"]
    s.agent.set_expires_after(now_ms() - 1_000)
    late = s.agent.order("ETH", True, 0.1, s.below("ETH", 1), ALO)
    s.agent.set_expires_after(None)
    assert late == {"status": "err", "response": "Action already expired"}
    assert s.info.user_rate_limit(ME)["nRequestsUsed"] == used + 5
    assert s.open_oids() == []


def move_between_wallets(s: Sdk) -> None:
    spot, perp = s.spot(), s.perp_usdc()
    assert s.master.usd_class_transfer(100.0, True)["status"] == "ok"
    assert (s.spot(), s.perp_usdc()) == (spot - 100, perp + 100)
    assert s.master.send_asset(ME, "", "spot", USDC_ID, 40.0)["status"] == "ok"
    assert (s.spot(), s.perp_usdc()) == (spot - 60, perp + 60)
    rows = s.info.user_non_funding_ledger_updates(ME, 0)
    assert [row["delta"]["type"] for row in rows[-2:]] == ["accountClassTransfer", "send"]


def pay_others(s: Sdk) -> None:
    """The first transfer to an address costs its sender one USDC more."""
    perp = s.perp_usdc()
    assert s.master.usd_transfer(5.0, STRANGER)["status"] == "ok"
    assert (s.perp_usdc(STRANGER), s.perp_usdc()) == (5, perp - 6)
    assert s.info.user_role(STRANGER) == {"role": "user"}
    spot = s.spot()
    assert s.master.spot_transfer(7.0, OTHER.address, USDC_ID)["status"] == "ok"
    assert s.spot() == spot - 7
    last = s.info.user_non_funding_ledger_updates(OTHER.address, 0)[-1]["delta"]
    assert (last["type"], last["amount"], last["token"]) == ("spotTransfer", "7.0", "USDC")
    statuses(s.agent.market_open("@107", True, 1))
    had = s.spot("HYPE", OTHER.address)
    assert s.master.spot_transfer(0.5, OTHER.address, HYPE_ID)["status"] == "ok"
    assert s.spot("HYPE", OTHER.address) == had + D("0.5")
    assert s.master.withdraw_from_bridge(10.0, ME)["status"] == "ok"
    assert s.perp_usdc() == perp - 16
    assert s.info.user_non_funding_ledger_updates(ME, 0)[-1]["delta"]["fee"] == "1.0"
    assert s.master.vault_usd_transfer(
        "0xdfc24b077bc1425ad1dea75bcb6f8158e10df303", True, 25_000_000
    )["status"] == "ok"
    assert s.info.user_vault_equities(ME)[0]["equity"] == "25.0"
    agents_try = s.agent.usd_transfer(5.0, STRANGER)
    assert agents_try["response"].startswith("Must deposit before performing actions. User: 0x")


def sub_accounts(s: Sdk) -> None:
    poor = s.exchange(OTHER).create_sub_account("early")
    assert poor["response"].startswith("Cannot create sub-accounts until enough volume traded.")
    sub = s.master.create_sub_account("carry")["response"]["data"]
    assert s.info.user_role(sub) == {"role": "subAccount", "data": {"master": ME.lower()}}
    assert s.master.sub_account_transfer(sub, True, 500_000_000)["status"] == "ok"
    assert s.perp_usdc(sub) == 500
    assert s.master.sub_account_spot_transfer(sub, True, USDC_ID, 90.0)["status"] == "ok"
    assert s.spot("USDC", sub) == 90
    (row,) = s.info.query_sub_accounts(ME)
    assert (row["name"], row["subAccountUser"]) == ("carry", sub)
    assert row["clearinghouseState"]["withdrawable"] == "500.0"
    for_sub = s.exchange(AGENT, vault_address=sub)
    statuses(for_sub.market_open("HYPE", False, 3))
    assert s.position("HYPE", sub)["szi"] == "-3.0"
    assert s.position("HYPE") is None
    statuses(for_sub.market_close("HYPE"))
    assert s.exchange(MASTER, vault_address=sub).usd_class_transfer(10.0, False)["status"] == "ok"
    assert s.spot("USDC", sub) == 100
    stranger = s.exchange(OTHER, vault_address=sub).noop(now_ms())
    assert stranger["response"].startswith("Vault not registered")


def agents_builders_referrer(s: Sdk) -> None:
    reply, key = s.master.approve_agent("spare")
    assert reply["status"] == "ok"
    named = s.exchange(Key.from_key(key), account_address=ME)
    assert named.noop(now_ms())["status"] == "ok"
    (row,) = s.info.extra_agents(ME)
    assert row["name"] == "spare"
    assert row["validUntil"] > now_ms() + 80 * 86_400_000
    assert s.info.user_role(row["address"]) == {"role": "agent", "data": {"user": ME.lower()}}
    reply, key = s.master.approve_agent()
    assert reply["status"] == "ok"
    assert s.agent.noop(now_ms())["response"] == (
        f"User or API Wallet {AGENT.address.lower()} does not exist."
    )
    s.agent = s.exchange(Key.from_key(key), account_address=ME)

    builder: dict[str, Any] = {"b": OTHER.address, "f": 10}
    refused = s.agent.market_open("HYPE", False, 1, builder=dict(builder))
    assert refused["response"] == "Builder fee has not been approved."
    assert s.master.approve_builder_fee(OTHER.address, "0.01%")["status"] == "ok"
    earned = s.spot("USDC", OTHER.address)
    statuses(s.agent.market_open("HYPE", False, 1, builder=dict(builder)))
    fill = s.info.user_fills(ME)[0]
    assert s.spot("USDC", OTHER.address) - earned == D(fill["builderFee"])
    assert s.master.set_referrer("CARRY")["status"] == "ok"
    assert s.info.query_referral_state(ME)["referredBy"]["code"] == "CARRY"
    assert s.info.user_fees(ME)["activeReferralDiscount"] == "0.04"
    statuses(s.agent.market_close("HYPE"))
    paid = s.info.user_fills(ME)[0]
    exact = D(paid["px"]) * D(paid["sz"]) * D("0.00045") * D("0.96")
    assert D(paid["fee"]) == exact.quantize(D("0.000001"), "ROUND_DOWN")
    assert s.master.token_delegate(STRANGER, 1, False)["status"] == "err"


def account_modes(s: Sdk) -> None:
    address = POOLED.address
    owner = s.exchange(POOLED)
    agent = s.exchange(POOLED_AGENT, account_address=address)
    assert agent.agent_set_abstraction("u")["status"] == "ok"
    assert s.info.query_user_abstraction_state(address) == "unifiedAccount"
    statuses(agent.market_open("HYPE", False, 5))
    hold = next(b for b in s.info.spot_user_state(address)["balances"] if b["coin"] == "USDC")
    assert D(hold["hold"]) > 5
    assert owner.usd_transfer(1.0, OTHER.address)["response"] == (
        "Action disabled when unified account is active"
    )
    statuses(agent.market_close("HYPE"))
    assert agent.agent_set_abstraction("i")["response"] == "Abstraction transition not allowed"
    assert owner.user_set_abstraction(address, "portfolioMargin")["status"] == "ok"
    assert s.info.spot_user_state(address)["portfolioMarginEnabled"] is True
    assert owner.user_set_abstraction(address, "disabled")["status"] == "ok"
    assert s.info.query_user_abstraction_state(address) == "disabled"
    assert owner.user_dex_abstraction(address, True)["status"] == "err"
    assert agent.agent_enable_dex_abstraction()["status"] == "err"


def streams(s: Sdk) -> None:
    """Every subscription the SDK knows; orders, fills and transfers as they happen."""
    streaming = s.streaming()
    heard: dict[str, list[Any]] = {}
    wanted: list[dict[str, Any]] = [
        {"type": "allMids"}, {"type": "l2Book", "coin": "HYPE"}, {"type": "bbo", "coin": "HYPE"},
        {"type": "trades", "coin": "HYPE"}, {"type": "candle", "coin": "HYPE", "interval": "1m"},
        {"type": "activeAssetCtx", "coin": "HYPE"}, {"type": "activeAssetCtx", "coin": "@107"},
        {"type": "activeAssetData", "user": ME, "coin": "HYPE"},
    ] + [
        {"type": kind, "user": ME}
        for kind in (
            "userFills", "userEvents", "orderUpdates", "userFundings", "webData2",
            "userNonFundingLedgerUpdates",
        )
    ]
    info: Any = Counted(streaming, s.calls)
    numbers: list[int] = []
    try:
        for subscription in wanted:
            numbers.append(info.subscribe(
                subscription,
                lambda message: heard.setdefault(message["channel"], []).append(message["data"]),
            ))
        at_once = {
            "allMids", "l2Book", "bbo", "trades", "candle", "activeAssetCtx", "activeSpotAssetCtx",
            "activeAssetData", "userFills", "userFundings", "webData2",
            "userNonFundingLedgerUpdates",
        }
        until(lambda: at_once <= set(heard))
        assert heard["userFills"][0]["isSnapshot"] is True
        assert heard["webData2"][0]["clearinghouseState"]["assetPositions"] == []
        moved = len(heard["userNonFundingLedgerUpdates"])
        assert s.master.usd_class_transfer(1.0, False)["status"] == "ok"
        statuses(s.agent.market_open("HYPE", False, 3))
        until(lambda: "orderUpdates" in heard and "user" in heard and len(heard["userFills"]) > 1)
        fill = heard["userFills"][1]["fills"][0]
        assert (fill["coin"], fill["sz"], fill["dir"]) == ("HYPE", "3.0", "Open Short")
        assert fill == s.info.user_fills(ME)[0] == heard["user"][0]["fills"][0]
        assert heard["orderUpdates"][0][0]["status"] == "filled"
        until(lambda: len(heard["userNonFundingLedgerUpdates"]) > moved)
        before = heard["l2Book"][0]
        assert before["levels"][0][0]["px"] < before["levels"][1][0]["px"]
        statuses(s.agent.market_close("HYPE"))
        assert info.unsubscribe(wanted[2], numbers[2])
        time.sleep(0.3)
        count = len(heard["bbo"])
        time.sleep(1.3)
        assert len(heard["bbo"]) == count
    finally:
        info.disconnect_websocket()


STEPS = (
    read_markets, read_a_newcomer, rest_read_and_cancel, batches, take_and_hedge, isolated,
    take_profit_and_stop, expiry_and_nonce, dead_mans_switch, account_modes, the_switch_went_off,
    move_between_wallets, pay_others, sub_accounts, agents_builders_referrer, streams,
)


@pytest.fixture
def sdk() -> Iterator[Sdk]:
    with serve("--seed", "5", *ARGUMENTS) as served:
        yield Sdk(served)


def test_every_method_of_a_trader(sdk: Sdk) -> None:
    for step in STEPS:
        step(sdk)
    traders = public_methods(SdkExchange) | public_methods(Info)
    traders -= NOT_A_TRADERS | {"set_perp_meta"}
    assert set(sdk.calls) == traders
    assert sum(sdk.calls.values()) >= 150
