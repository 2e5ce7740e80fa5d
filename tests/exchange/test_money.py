"""Fees, funding, margin and liquidation to the last digit, and that money is conserved."""

from decimal import ROUND_DOWN, Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carry.exchange.accounts import SPLIT, UNIFIED, Account
from carry.exchange.assets import all_coins
from carry.exchange.funding import hourly_rate
from carry.exchange.margin import maintenance
from carry.exchange.model import Exchange
from carry.exchange.paths import HOUR_MS
from carry.exchange.settle import PERP_ADD, PERP_CROSS, SPOT_CROSS, book_perp, book_spot

from .conftest import BTC, HYPE, HYPE_SPOT, UBTC, User, beside, make_exchange, touch

D = Decimal
COINS = all_coins()


@pytest.mark.parametrize(
    "coin, px, sz, fee",
    [
        # trunc8(px * sz * 0.0007) / px, truncated at weiDecimals: fills published by others.
        ("HYPE", "41.353", "0.27", "0.00018899"),   # 0.00781571 / 41.353 = 0.000188999...
        ("SOL", "160.32", "1.267", "0.00088689"),   # 0.14218780 / 160.32 = 0.000886899...
        ("HYPE", "31.737", "0.31", "0.00021699"),
    ],
)
def test_a_spot_buy_pays_its_fee_in_the_base_token(
    coin: str, px: str, sz: str, fee: str
) -> None:
    account = Account("0x" + "1" * 40, SPLIT)
    booked = book_spot(
        account, COINS[coin].spot, is_buy=True, px=D(px), sz=D(sz), rate=SPOT_CROSS
    )
    assert booked.fee == D(fee)
    assert account.balance(COINS[coin].token.index).total == D(sz) - D(fee)
    assert account.balance(0).total == -D(px) * D(sz)


def test_a_spot_sell_pays_in_usdc_truncated_at_eight_decimals() -> None:
    """0.26 HYPE at 40.614: 10.55964 * 0.0007 = 0.007391748 -> 0.00739174."""
    account = Account("0x" + "1" * 40, SPLIT)
    account.balance(150).total = D(1)
    booked = book_spot(
        account, COINS["HYPE"].spot, is_buy=False, px=D("40.614"), sz=D("0.26"), rate=SPOT_CROSS
    )
    assert booked.fee == D("0.00739174")
    assert account.balance(0).total == D("10.55964") - D("0.00739174")


@pytest.mark.parametrize(
    "px, sz, rate, fee",
    [
        ("65239", "0.002", PERP_ADD, "0.019571"),    # 0.0195717
        ("4307.4", "0.0025", PERP_CROSS, "0.004845"),  # 10.7685 * 0.00045 = 0.004845825
        ("4303.7", "0.0025", PERP_CROSS, "0.004841"),  # 10.75925 * 0.00045 = 0.0048416625
    ],
)
def test_a_perp_fee_is_truncated_at_six_decimals(
    px: str, sz: str, rate: Decimal, fee: str
) -> None:
    account = Account("0x" + "1" * 40, SPLIT)
    booked = book_perp(
        account, COINS["ETH"].perp, is_buy=True, px=D(px), sz=D(sz), rate=rate
    )
    assert booked.fee == D(fee)
    assert account.perp_cash == -D(fee)


def test_closed_pnl_is_gross_of_fees() -> None:
    """(4303.7 - 4307.4) * 0.0025 = -0.00925, as a recorded fill shows."""
    account = Account("0x" + "1" * 40, SPLIT)
    eth = COINS["ETH"].perp
    book_perp(account, eth, is_buy=True, px=D("4307.4"), sz=D("0.0025"), rate=PERP_CROSS)
    closing = book_perp(account, eth, is_buy=False, px=D("4303.7"), sz=D("0.0025"), rate=PERP_CROSS)
    assert closing.closed_pnl == D("-0.00925")
    assert closing.direction == "Close Long"
    assert account.perp_cash == D("-0.00925") - D("0.004845") - D("0.004841")


def test_a_partial_close_keeps_the_rest_of_the_cost_exact() -> None:
    """Short 3 at 10.0001: closing 1 at 9 releases 10.0001; 20.0002 of cost stays with 2."""
    account = Account("0x" + "1" * 40, SPLIT)
    hype = COINS["HYPE"].perp
    book_perp(account, hype, is_buy=False, px=D("10.0001"), sz=D(3), rate=D(0))
    closing = book_perp(account, hype, is_buy=True, px=D(9), sz=D(1), rate=D(0))
    assert closing.closed_pnl == D("1.0001")
    assert account.positions[HYPE].cost == D("-20.0002")
    flip = book_perp(account, hype, is_buy=True, px=D(9), sz=D(5), rate=D(0))
    assert flip.closed_pnl == D("2.0002")
    assert flip.direction == "Short > Long"
    assert (account.positions[HYPE].szi, account.positions[HYPE].cost) == (D(3), D(27))


@pytest.mark.parametrize(
    "premium, rate",
    [
        ("0.0005960000", "0.0000125"),    # inside the dead band: 0.0001 / 8
        ("-0.0004", "0.0000125"),
        ("0.00068", "0.0000225"),         # (0.00068 - 0.0005) / 8
        ("-0.0004653492", "0.0000043314"),  # (P + 0.0005) / 8 = 0.00000433135
        ("-0.00085", "-0.00004375"),
        ("0.5", "0.04"),                  # the cap, 4 % an hour
    ],
)
def test_the_funding_formula(premium: str, rate: str) -> None:
    assert hourly_rate(D(premium)) == D(rate)


def test_funding_is_paid_on_oracle_notional_and_shown_to_the_cent(user: User) -> None:
    """usdc = -szi * oracle * rate at the hour, six decimals, and cash moves by exactly that."""
    exchange = user.ex
    user.order(HYPE, "sell", beside(exchange, HYPE, "sell", 1), "50")
    cash = user.account.perp_cash
    exchange.advance(exchange.now + 5 * HOUR_MS)
    rows = user.info("userFunding", startTime=0)
    assert len(rows) == 5
    history = user.info("fundingHistory", coin="HYPE", startTime=rows[0]["time"])
    prints = {row["time"]: row for row in history}
    for row in rows:
        hour = row["time"] // HOUR_MS
        assert 15 <= row["time"] % HOUR_MS <= 110
        asset = exchange.coins["HYPE"].perp
        oracle = D(exchange.quotes.oracle(asset, hour * HOUR_MS)).scaleb(-asset.px_decimals)
        delta = row["delta"]
        assert delta["fundingRate"] == prints[row["time"]]["fundingRate"]
        exact = -D(delta["szi"]) * oracle * D(delta["fundingRate"])
        assert D(delta["usdc"]) == exact.quantize(D("0.000001"))
        assert hourly_rate(D(prints[row["time"]]["premium"])) == D(delta["fundingRate"])
    assert user.account.perp_cash - cash == sum(D(row["delta"]["usdc"]) for row in rows)
    assert not exchange.audit()


def test_the_running_predictor_ends_as_the_rate_charged(exchange: Exchange) -> None:
    hour = exchange.now // HOUR_MS
    last = exchange.funding.predicted("HYPE", (hour + 1) * HOUR_MS - 1)
    charged = exchange.funding.charged("HYPE", hour + 1)
    assert charged is not None
    assert charged[0] == last


@pytest.mark.parametrize(
    "coin, notional, margin",
    [
        ("BTC", "377667", "4720.8375"),          # 1.25 %
        ("BTC", "200000000", "3125000"),         # 150M * 1.25 % + 50M * 2.5 %
        ("HYPE", "30000000", "2000000"),         # 20M * 5 % + 10M * 10 %
        ("ETH", "1000", "20"),
        ("SOL", "1000", "25"),
    ],
)
def test_maintenance_margin_by_tier(coin: str, notional: str, margin: str) -> None:
    got = maintenance(COINS[coin].perp, D(notional))
    assert got.quantize(D("0.0001")) == D(margin)


@pytest.mark.parametrize("mode", [SPLIT, UNIFIED])
def test_what_a_ledger_outside_can_rebuild(mode: str) -> None:
    """Cash from the reported rows alone equals cash as reported, residual 0, in both modes."""
    exchange = make_exchange()
    user = User(exchange, 2, "20000", mode)
    for asset, side, sz in ((HYPE_SPOT, "buy", "100"), (HYPE, "sell", "99.93")):
        user.order(asset, side, beside(exchange, asset, side, 1), sz)
    exchange.advance(exchange.now + 3 * HOUR_MS)
    for asset, side, sz in ((HYPE_SPOT, "sell", "40"), (HYPE, "buy", "39.9")):
        user.order(asset, side, beside(exchange, asset, side, 1), sz)
    exchange.advance(exchange.now + 2 * HOUR_MS)
    spot = perp = base = D(0)
    for fill in user.info("userFills"):
        value = D(fill["px"]) * D(fill["sz"])
        if fill["coin"] == "@107":
            sign = 1 if fill["side"] == "B" else -1
            spot -= sign * value
            base += sign * D(fill["sz"])
            if fill["feeToken"] == "USDC":
                spot -= D(fill["fee"])
            else:
                base -= D(fill["fee"])
        else:
            perp += D(fill["closedPnl"]) - D(fill["fee"])
    perp += sum(D(row["delta"]["usdc"]) for row in user.info("userFunding", startTime=0))
    state, balances = user.info("clearinghouseState"), user.info("spotClearinghouseState")
    usdc, hype = balances["balances"]
    assert D(hype["total"]) == base
    position = state["assetPositions"][0]["position"]
    if mode == SPLIT:
        assert D(usdc["total"]) == 10000 + spot
        value = D(state["marginSummary"]["accountValue"])
        assert value == 10000 + perp + D(position["unrealizedPnl"])
        # accountValue = totalRawUsd + sum(szi * mark)
        raw = D(state["marginSummary"]["totalRawUsd"])
        assert value == raw - D(position["positionValue"])
    else:
        assert D(usdc["total"]) == 20000 + spot + perp
        assert D(usdc["hold"]) == D(position["marginUsed"])
        assert state["marginSummary"]["accountValue"] == position["marginUsed"]
    assert not exchange.audit()


def test_split_wallets_do_not_pay_for_each_other(user: User) -> None:
    assert user.info("userAbstraction") == "default"
    status = user.order(UBTC, "buy", beside(user.ex, UBTC, "buy", 1), "0.07")
    assert status == {"error": "Insufficient spot balance asset=10142"}
    rich = User(user.ex, 3, "10000", UNIFIED)
    assert rich.info("userAbstraction") == "unifiedAccount"
    assert "filled" in rich.order(UBTC, "buy", beside(user.ex, UBTC, "buy", 1), "0.07")


@pytest.mark.parametrize("up", [True, False])
def test_withdrawable_keeps_the_initial_margin_or_a_tenth(user: User, up: bool) -> None:
    user.send({"type": "updateLeverage", "asset": BTC, "isCross": True,
               "leverage": 40 if up else 5})
    user.order(BTC, "sell", beside(user.ex, BTC, "sell", 1), "0.1")
    summary = user.info("clearinghouseState")
    value = D(summary["marginSummary"]["accountValue"])
    notional = D(summary["marginSummary"]["totalNtlPos"])
    kept = notional / 10 if up else notional / 5
    assert D(summary["withdrawable"]) == (value - kept).quantize(D("0.000001"))


def _transfer(amount: str, to_perp: bool, user: User) -> dict[str, Any]:
    ends = ("spot", "") if to_perp else ("", "spot")
    return {
        "type": "agentSendAsset", "destination": user.address, "sourceDex": ends[0],
        "destinationDex": ends[1], "token": "USDC:0x6d1e7cde53ba9467b783cb7c530ce054",
        "amount": amount, "fromSubAccount": "", "nonce": user.ex.now,
    }


def test_usdc_moves_between_wallets_and_not_beyond_them(user: User) -> None:
    assert user.send(_transfer("1000", True, user))["status"] == "ok"
    assert (user.account.perp_cash, user.account.spot[0].total) == (D(6000), D(4000))
    denied = user.send(_transfer("4000.5", True, user))
    assert denied["response"] == "Insufficient balance for token transfer"
    assert user.send(_transfer("7000", False, user))["response"].startswith("Insufficient balance")
    assert user.send(_transfer("1.0000001", True, user))["response"] == "Invalid send"
    other = _transfer("1", True, user) | {"destination": "0x" + "9" * 40}
    assert user.send(other)["response"].startswith("Agent can only send asset to same user")
    rich = User(user.ex, 3, "10000", UNIFIED)
    assert rich.send(_transfer("1", True, rich))["response"] == (
        "Unified account only supports sending assets through spot"
    )
    row = user.info("userNonFundingLedgerUpdates", startTime=0)[-1]["delta"]
    assert (row["type"], row["amount"], row["destinationDex"]) == ("send", "1000.0", "")


def _lose(user: User, equity: str) -> None:
    """Takes cash until the perp equity is `equity`, and books it to the house."""
    summary = user.ex.summary(user.account)
    gone = summary.value - D(equity)
    user.account.perp_cash -= gone
    user.ex.house.cash += gone


@pytest.mark.parametrize(
    "equity_of_mm, left, method",
    [("0.9", "0.8", "market"), ("0.5", "0", "backstop")],
)
def test_liquidation_partial_and_backstop(equity_of_mm: str, left: str, method: str) -> None:
    """A $200k short: 20 % first while equity is near maintenance, everything below two thirds."""
    exchange = make_exchange()
    user = User(exchange, 4, "200000")
    _, ask = touch(exchange, BTC)
    sz = (D(200_000) / ask).quantize(D("0.00001"))
    user.order(BTC, "sell", beside(exchange, BTC, "sell", 1), str(sz))
    needed = exchange.summary(user.account).maintenance
    _lose(user, str((needed * D(equity_of_mm)).quantize(D("0.000001"))))
    exchange.advance(exchange.now + 15_000)
    held = abs(user.account.szi(BTC))
    assert held == (sz * D(left)).quantize(D("0.00001"), ROUND_DOWN)
    fill = user.info("userFills")[0]
    assert fill["liquidation"]["method"] == method
    assert not exchange.audit()


def test_force_adl_shrinks_a_short_without_asking(user: User) -> None:
    user.order(HYPE, "sell", beside(user.ex, HYPE, "sell", 1), "50")
    px = user.ex.mark(user.ex.coins["HYPE"].perp)
    assert user.ex.force_adl(user.address, "HYPE", D("0.5"), px) == D(25)
    assert user.account.szi(HYPE) == D(-25)
    fill = user.info("userFills")[0]
    assert (fill["dir"], fill["fee"]) == ("Auto-Deleveraging", "0.0")
    assert D(fill["px"]) == px
    assert not user.ex.audit()


def test_a_liquidation_price_is_where_equity_meets_maintenance(user: User) -> None:
    user.order(HYPE, "sell", beside(user.ex, HYPE, "sell", 1), "200")
    state = user.info("clearinghouseState")
    position = state["assetPositions"][0]["position"]
    liq, sz = D(position["liquidationPx"]), -D(position["szi"])
    equity = D(state["marginSummary"]["totalRawUsd"]) - sz * liq
    assert abs(equity - sz * liq / 20) < D("0.0001")


_SIDES = st.sampled_from(["buy", "sell"])
_STEP = st.tuples(
    st.integers(0, 3), st.sampled_from([HYPE, HYPE_SPOT, BTC, UBTC]), _SIDES,
    st.sampled_from(["Ioc", "Gtc", "Alo"]), st.integers(-2, 2), st.integers(1, 40),
    st.booleans(), st.integers(0, 2_000_000),
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_STEP, min_size=5, max_size=25), st.integers(0, 3))
def test_money_is_conserved_whatever_users_do(steps: list[Any], seed: int) -> None:
    exchange = make_exchange(seed, limits=False)
    users = [User(exchange, 20 + i, "8000", UNIFIED if i % 2 else SPLIT) for i in range(4)]
    for who, asset, side, tif, percent, size, reduce_only, wait in steps:
        user = users[who]
        if percent == 0 and user.account.orders and size % 3 == 0:
            oid, order = next(iter(user.account.orders.items()))
            user.send({"type": "cancel", "cancels": [{"a": order.asset.asset_id, "o": oid}]})
        else:
            sz = D(size) * (D("0.7") if asset in (HYPE, HYPE_SPOT) else D("0.0004"))
            px = beside(exchange, asset, side, percent)
            wire = {
                "a": asset, "b": side == "buy", "p": px, "s": str(sz), "r": reduce_only,
                "t": {"limit": {"tif": tif}},
            }
            reply = user.send({"type": "order", "orders": [wire], "grouping": "na"})
            assert reply["status"] == "ok"
        assert exchange.audit() == {}
        exchange.advance(exchange.now + wait)
        assert exchange.audit() == {}
    for user in users:
        for token, balance in user.account.spot.items():
            assert balance.total >= 0 or token == 0, (token, balance.total)
