"""Money between wallets and accounts, who may sign for it, and what an account pays in fees."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hyperliquid.utils import signing

from carry.exchange.accounts import UNIFIED
from carry.exchange.model import Exchange
from carry.exchange.paths import HOUR_MS

from .conftest import HYPE, HYPE_SPOT, User, beside

MakeUser = Callable[..., User]
D = Decimal
USDC = "USDC:0x6d1e7cde53ba9467b783cb7c530ce054"
NEW = "0x" + "9" * 40


def agent_send(user: User, amount: str, source: str, target: str, **more: Any) -> Any:
    key = more.pop("key", None)
    action = {
        "type": "agentSendAsset", "destination": user.address, "sourceDex": source,
        "destinationDex": target, "token": USDC, "amount": amount, "fromSubAccount": "",
        "nonce": user.ex.now, **more,
    }
    return user.send(action, key=key)


def sub_of(user: User, name: str = "carry") -> str:
    user.ex.operations.give_volume(user.address, D(100_000))
    made: str = user.send({"type": "createSubAccount", "name": name})["response"]["data"]
    return made


@pytest.mark.parametrize("amount, source, target, words", [
    ("12.5", "spot", "", None), ("12.5", "", "spot", None),
    ("1.2345678", "spot", "", "Invalid send"), ("1", "", "", "Invalid send"),
    ("1", "xyz", "spot", "Invalid send"), ("1e-05", "spot", "", "Invalid send"),
    ("900000", "spot", "", "Insufficient balance for token transfer"),
    ("900000", "", "spot", "Insufficient balance for withdrawal"),
])
def test_an_agent_moves_usdc_between_own_wallets(
    user: User, amount: str, source: str, target: str, words: str | None
) -> None:
    reply = agent_send(user, amount, source, target, key=user.agent(61))
    if words is None:
        assert reply["status"] == "ok"
        row = user.info("userNonFundingLedgerUpdates")[-1]["delta"]
        assert (row["type"], row["amount"], row["fee"]) == ("send", amount, "0.0")
    else:
        assert reply == {"status": "err", "response": words}


def test_an_agent_sends_to_nobody_else(user: User, new_user: MakeUser) -> None:
    other = new_user(62)
    reply = agent_send(user, "5", "spot", "spot", destination=other.address, key=user.agent(61))
    assert reply["response"] == "Agent can only send asset to same user or their sub-accounts."
    sub = sub_of(user)
    reply = agent_send(user, "5", "spot", "", destination=sub, key=user.agent(61))
    assert reply["status"] == "ok"
    assert user.ex.accounts[sub].perp_cash == 5


@pytest.mark.parametrize("kind, action, words", [
    (signing.sign_usd_class_transfer_action,
     {"type": "usdClassTransfer", "amount": "5", "toPerp": True},
     "Action disabled when unified account is active"),
    (signing.sign_send_asset_action,
     {"type": "sendAsset", "destination": NEW, "sourceDex": "", "destinationDex": "spot",
      "token": USDC, "amount": "5", "fromSubAccount": ""},
     "Unified account only supports sending assets through spot"),
])
def test_a_unified_account_has_no_wallets_to_move_between(
    new_user: MakeUser, kind: Any, action: Any, words: str
) -> None:
    user = new_user(63, "1000", UNIFIED)
    assert user.move(kind, action)["response"] == words


def test_a_unified_account_sends_through_spot(new_user: MakeUser) -> None:
    user = new_user(64, "1000", UNIFIED)
    action = {
        "type": "sendAsset", "destination": NEW, "sourceDex": "spot", "destinationDex": "spot",
        "token": USDC, "amount": "5", "fromSubAccount": "",
    }
    assert user.move(signing.sign_send_asset_action, action)["status"] == "ok"
    assert user.account.spot[0].total == 994, "5 and the activation of a new address"
    assert user.ex.accounts[NEW].spot[0].total == 5
    assert user.ex.audit() == {}


def test_the_cost_of_a_token_goes_with_it(user: User) -> None:
    user.order(HYPE_SPOT, "buy", beside(user.ex, HYPE_SPOT, "buy", 1), "10")
    cost = user.account.spot[150].entry_ntl
    action = {
        "type": "spotSend", "destination": NEW, "amount": "4",
        "token": "HYPE:0x0d01dc56dcaaca66ad901c959b4011ec",
    }
    assert user.move(signing.sign_spot_transfer_action, action, "time")["status"] == "ok"
    theirs = user.ex.accounts[NEW].spot[150]
    assert user.account.spot[150].entry_ntl + theirs.entry_ntl == cost
    assert abs(theirs.entry_ntl / cost - D("0.4")) < D("0.001")
    assert user.ex.audit() == {}


def test_a_sub_account_is_a_user_of_its_own(user: User) -> None:
    sub = sub_of(user)
    deposit = {
        "type": "subAccountTransfer", "subAccountUser": sub, "isDeposit": True,
        "usd": 300_000_000,
    }
    assert user.send(deposit)["status"] == "ok"
    assert user.send(deposit, key=user.agent(65))["response"].startswith("Must deposit")
    order = {
        "type": "order", "grouping": "na",
        "orders": [{"a": HYPE, "b": False, "p": beside(user.ex, HYPE, "sell", 1), "s": "5",
                    "r": False, "t": {"limit": {"tif": "Ioc"}}}],
    }
    used = user.account.requests_used
    reply = user.send(order, vault=sub, key=user.agent(65))
    assert "filled" in reply["response"]["data"]["statuses"][0]
    account = user.ex.accounts[sub]
    assert (account.szi(HYPE), user.account.szi(HYPE)) == (-5, 0)
    assert (account.requests_used, user.account.requests_used) == (1, used)
    assert user.send(order, vault=NEW)["response"] == f"Vault not registered: {NEW}"
    assert user.ex.audit() == {}


@pytest.mark.parametrize("hype, discount", [
    ("10", "0"), ("11", "0.05"), ("101", "0.1"), ("1001", "0.15"), ("500001", "0.4"),
])
def test_staking_lowers_both_sides(user: User, hype: str, discount: str) -> None:
    user.ex.operations.stake(user.address, D(hype))
    fees = user.info("userFees")
    assert D(fees["activeStakingDiscount"]["discount"]) == D(discount)
    assert D(fees["userSpotCrossRate"]) == D("0.0007") * (1 - D(discount))
    user.order(HYPE_SPOT, "buy", beside(user.ex, HYPE_SPOT, "buy", 1), "10")
    user.order(HYPE_SPOT, "sell", beside(user.ex, HYPE_SPOT, "sell", 1), "9.9")
    sold = user.info("userFills")[0]
    exact = D(sold["px"]) * D(sold["sz"]) * D(fees["userSpotCrossRate"])
    assert D(sold["fee"]) == exact.quantize(D("0.00000001"), "ROUND_DOWN")


def test_the_referral_is_not_in_the_shown_rate(user: User) -> None:
    """A spot taker sale was charged 0.0007 x 0.96 = 0.000672 on the venue."""
    assert user.send({"type": "setReferrer", "code": "X"})["status"] == "ok"
    assert user.send({"type": "setReferrer", "code": "Y"})["response"] == "Referrer already set."
    fees = user.info("userFees")
    assert (fees["userSpotCrossRate"], fees["activeReferralDiscount"]) == ("0.0007", "0.04")
    user.order(HYPE_SPOT, "buy", beside(user.ex, HYPE_SPOT, "buy", 1), "10")
    user.order(HYPE_SPOT, "sell", beside(user.ex, HYPE_SPOT, "sell", 1), "9.9")
    sold = user.info("userFills")[0]
    exact = D(sold["px"]) * D(sold["sz"]) * D("0.000672")
    assert D(sold["fee"]) == exact.quantize(D("0.00000001"), "ROUND_DOWN")


def test_the_tier_is_assessed_daily_over_master_and_subs(user: User) -> None:
    """$3M of spot counts twice: $6M is tier 1 from the next UTC day on."""
    sub = user.ex.accounts[sub_of(user)]
    user.ex.fees.add_volume(sub, D(3_000_000), is_spot=True)
    assert user.info("userFees")["userCrossRate"] == "0.00045"
    user.ex.advance(user.ex.now + 24 * HOUR_MS)
    assert user.info("userFees")["userCrossRate"] == "0.0004"
    user.ex.advance(user.ex.now + 15 * 24 * HOUR_MS)
    assert user.info("userFees")["userCrossRate"] == "0.00045"


def test_a_builder_is_paid_apart_and_never_on_a_spot_buy(user: User, new_user: MakeUser) -> None:
    builder = new_user(66, "0")
    approve = {"type": "approveBuilderFee", "maxFeeRate": "0.01%", "builder": builder.address}
    order = {
        "type": "order", "grouping": "na", "builder": {"b": builder.address, "f": 10},
        "orders": [{"a": HYPE, "b": False, "p": beside(user.ex, HYPE, "sell", 1), "s": "50",
                    "r": False, "t": {"limit": {"tif": "Ioc"}}}],
    }
    assert user.send(order)["response"] == "Builder fee has not been approved."
    assert user.move(signing.sign_approve_builder_fee, approve)["status"] == "ok"
    user.send(order)
    paid = D(0)
    for fill in user.info("userFills"):
        value = D(fill["px"]) * D(fill["sz"])
        own, extra = (
            (value * rate).quantize(D("0.000001"), "ROUND_DOWN")
            for rate in (D("0.00045"), D("0.0001"))
        )
        assert (D(fill["builderFee"]), D(fill["fee"])) == (extra, own + extra)
        paid += extra
    assert builder.account.spot[0].total == paid
    spot = {**order["orders"][0], "a": HYPE_SPOT, "b": True,
            "p": beside(user.ex, HYPE_SPOT, "buy", 1)}
    user.send({**order, "orders": [spot]})
    assert "builderFee" not in user.info("userFills")[0]
    assert user.ex.audit() == {}


def test_agents(user: User) -> None:
    ex = user.ex

    def approve(number: int, name: str = "") -> Any:
        action = {"type": "approveAgent", "agentAddress": f"0x{number:040x}", "agentName": name}
        return user.move(signing.sign_agent, action)

    until = ex.now + 3_600_000
    assert approve(1001, f"bot valid_until {until}")["status"] == "ok"
    assert user.info("extraAgents")[0] == {
        "name": "bot", "address": f"0x{1001:040x}", "validUntil": until
    }
    assert approve(1002, f"x valid_until {ex.now - 1}")["response"] == (
        "Agent valid_until already expired."
    )
    assert approve(1003, f"x valid_until {ex.now + 200 * 86_400_000}")["status"] == "err"
    assert approve(1001, "other")["response"] == "Extra agent already used."
    assert approve(1004, "second")["status"] == approve(1005, "third")["status"] == "ok"
    assert approve(1006, "fourth")["response"] == (
        "Too many extra agents for cumulative volume traded. Current limit is 3"
    )
    assert approve(0, "third")["status"] == "ok"
    assert [row["name"] for row in user.info("extraAgents")] == ["bot", "second"]
    assert approve(1007, "fourth")["response"] == "User has pending agent removal"
    ex.advance(ex.now + 6_000)
    assert approve(1005, "third")["response"] == "Extra agent already used."
    sub_of(user)
    for number, name in ((1010, "a"), (1011, "b"), (1012, "c")):
        assert approve(number, name)["status"] == "ok"
    assert approve(1013, "d")["response"].endswith("Current limit is 5")


def test_mode_of_a_wallet_by_the_command_line(exchange: Exchange) -> None:
    from carry.exchange.options import build, parse

    words = ["--clock", "lockstep", "--fund", f"{NEW}=500@spot", "--volume", f"{NEW}=7"]
    gateway, _ = build(parse(words))
    account = gateway.exchange.accounts[NEW]
    assert (account.perp_cash, account.spot[0].total, account.volume) == (0, 500, 7)
    del exchange
