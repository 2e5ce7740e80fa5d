"""Each open question of the venue, answered both ways: a switch that changes nothing is a lie."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hyperliquid.utils import signing

from carry.exchange.accounts import PORTFOLIO, UNIFIED
from carry.exchange.model import Exchange
from carry.exchange.options import Usage, parse
from carry.exchange.paths import HOUR_MS
from carry.exchange.switches import SWITCHES

from .conftest import (
    HYPE,
    HYPE_SPOT,
    UBTC,
    User,
    beside,
    limit,
    make_exchange,
    post,
    touch,
    trigger,
)

D = Decimal
SPEND = {"type": "spotSend", "destination": "0x" + "9" * 40, "token": "USDC", "amount": "5"}
RESERVE = {"type": "reserveRequestWeight", "weight": 10}


def user_of(ex: Exchange, mode: str = "split", usdc: str = "20000", number: int = 1) -> User:
    return User(ex, number, usdc, mode)


def subscribe(ex: Exchange, **subscription: Any) -> list[Any]:
    """What a session hears at once, without the first frame."""
    session = ex.connect()
    session.take()
    ex.receive(session, json.dumps({"method": "subscribe", "subscription": subscription}))
    return [json.loads(text) for text in session.take()]


def bad_coin(ex: Exchange) -> Any:
    return post(ex, "/info", {"type": "l2Book", "coin": "NOPE"})[0]


def body_of_429(ex: Exchange) -> Any:
    for _ in range(60):
        post(ex, "/info", {"type": "meta"})
    return post(ex, "/info", {"type": "meta"})


def token_rows(ex: Exchange) -> Any:
    tokens = post(ex, "/info", {"type": "spotMeta"})["tokens"]
    return all(token["index"] == i for i, token in enumerate(tokens))


def short(ex: Exchange, mode: str = "split", sz: str = "10") -> User:
    user = user_of(ex, mode)
    assert "filled" in user.order(HYPE, "sell", beside(ex, HYPE, "sell", 1), sz)
    return user


def funding_sign(ex: Exchange) -> Any:
    user = short(ex)
    ex.advance(ex.now + HOUR_MS)
    state = user.info("clearinghouseState")["assetPositions"][0]["position"]["cumFunding"]
    paid = D(user.info("userFunding", startTime=0)[0]["delta"]["usdc"])
    return D(state["allTime"]) == -paid


def filled_record_sz(ex: Exchange) -> Any:
    user = user_of(ex)
    done = user.order(HYPE, "sell", beside(ex, HYPE, "sell", 1), "10")["filled"]
    return user.info("orderStatus", oid=done["oid"])["order"]["order"]["sz"]


def records_kept(ex: Exchange) -> Any:
    return user_of(ex).account.records_kept


def fills_kept(ex: Exchange) -> Any:
    return user_of(ex).account.fills.maxlen


def spot_closed_pnl(ex: Exchange) -> Any:
    user = user_of(ex)
    user.order(HYPE_SPOT, "buy", beside(ex, HYPE_SPOT, "buy", 1), "10")
    user.order(HYPE_SPOT, "sell", beside(ex, HYPE_SPOT, "sell", 1), "5")
    sale, bought = user.info("userFills")[:2]
    cost = D(bought["px"]) * 10
    start = D(sale["startPosition"])
    gross = D(sale["px"]) * 5 - (cost * 5 / start).quantize(D("0.00000001"))
    return abs(D(sale["closedPnl"]) - gross) < D("0.000001")


def funding_rows(ex: Exchange) -> Any:
    user = short(ex)
    ex.advance(ex.now + 40 * HOUR_MS)
    rows = user.info("userFunding", startTime=0)
    return any(row["delta"]["nSamples"] for row in rows)


def new_account_mode(ex: Exchange) -> Any:
    user = user_of(ex)
    user.move(signing.sign_spot_transfer_action, {**SPEND, "amount": "5"}, "time")
    return ex.accounts["0x" + "9" * 40].mode


def spot_state_flag(ex: Exchange) -> Any:
    return subscribe(
        ex, type="spotState", user="0x" + "1" * 40, isPortfolioMargin=True
    )[0]["channel"]


def web_data_2(ex: Exchange) -> Any:
    return subscribe(ex, type="webData2", user="0x" + "1" * 40)[0]["channel"]


def hashed_numbers(ex: Exchange) -> Any:
    user = user_of(ex)
    order = limit(HYPE, "buy", beside(ex, HYPE, "buy", -3), "5", "Alo")
    sent = {"type": "order", "orders": [{**order, "s": "5.0"}], "grouping": "na"}
    signed = {"type": "order", "orders": [order], "grouping": "na"}
    return user.send(sent, signed=signed)["status"]


def unified_spot_send(ex: Exchange) -> Any:
    return user_of(ex, UNIFIED).move(signing.sign_spot_transfer_action, SPEND, "time")["status"]


def reserve_weight_signer(ex: Exchange) -> Any:
    user = user_of(ex)
    return user.send(RESERVE, key=user.agent(77))["status"]


def gtc_partial_reply(ex: Exchange) -> Any:
    user, other = user_of(ex), user_of(ex, number=2)
    bid, _ = touch(ex, HYPE)
    px = str(bid + D("0.001"))
    other.order(HYPE, "buy", px, "3", "Alo")
    return next(iter(user.order(HYPE, "sell", px, "5", "Gtc")))


def price_band(ex: Exchange) -> Any:
    user, (bid, _) = user_of(ex), touch(ex, HYPE)
    px = (bid * D("0.1")).quantize(D("0.01"))
    return next(iter(user.order(HYPE, "buy", str(px), "50", "Gtc")))


def price_band_text(ex: Exchange) -> Any:
    return user_of(ex).order(HYPE, "buy", "0.5", "50", "Gtc")["error"]


def duplicate_cloid(ex: Exchange) -> Any:
    user, cloid = user_of(ex), "0x" + "c" * 32
    px = beside(ex, HYPE, "buy", -3)
    user.order(HYPE, "buy", px, "5", "Alo", cloid=cloid)
    return user.order(HYPE, "buy", px, "5", "Alo", cloid=cloid)


def lone_trigger(ex: Exchange) -> Any:
    px = beside(ex, HYPE, "sell", 20)
    return user_of(ex).orders(trigger(HYPE, "sell", px, "5", "sl", reduce_only=False))[0]


def ioc_minimum(ex: Exchange) -> Any:
    """$10.60 at the limit price, below $10 at the best bid the seller meets or the ask he pays."""
    user, (_, ask) = user_of(ex), touch(ex, HYPE)
    px = beside(ex, HYPE, "buy", 20)
    sz = (D("10.6") / D(px)).quantize(D("0.01"))
    assert sz * ask < 10 < sz * D(px)
    return next(iter(user.order(HYPE, "buy", px, str(sz))))


def twap_minimum(ex: Exchange) -> Any:
    twap = {"a": HYPE, "b": True, "s": "10", "r": False, "m": 600, "t": False}
    reply = user_of(ex).send({"type": "twapOrder", "twap": twap})
    return next(iter(reply["response"]["data"]["status"]))


def base_fee_decimals(ex: Exchange) -> Any:
    user = user_of(ex)
    user.order(UBTC, "buy", beside(ex, UBTC, "buy", 1), "0.01234")
    fee = user.info("userFills")[0]["fee"]
    return len(fee.partition(".")[2]) > 8


def unified_funding_row(ex: Exchange) -> Any:
    user = short(ex, UNIFIED)
    ex.advance(ex.now + HOUR_MS)
    return len(user.info("userFunding", startTime=0))


def unified_total(ex: Exchange) -> Any:
    user = short(ex, UNIFIED, "100")
    ex.advance(ex.now + HOUR_MS)
    shown = D(user.info("spotClearinghouseState")["balances"][0]["total"])
    return shown == user.account.spot[0].total


def unified_liquidation_px(ex: Exchange) -> Any:
    user = short(ex, UNIFIED, "100")
    row = user.info("clearinghouseState")["assetPositions"][0]["position"]
    return D(row["liquidationPx"]) > 2 * D(row["entryPx"])


def master_downgrade(ex: Exchange) -> Any:
    user = user_of(ex, UNIFIED)
    action = {"type": "userSetAbstraction", "user": user.address, "abstraction": "disabled"}
    return user.move(signing.sign_user_set_abstraction_action, action)["status"]


def action_day(ex: Exchange) -> Any:
    """49,999 actions before midnight leave one for the rest of a rolling day."""
    user = user_of(ex, UNIFIED)
    midnight = ex.now - ex.now % (24 * HOUR_MS) + 24 * HOUR_MS
    ex.advance(midnight - 1_000)
    user.account.day_actions = [ex.now, 50_000]
    user.account.volume = D(10_000_000)
    ex.advance(midnight + 1_000)
    return user.send({"type": "noop"})["status"]


def agent_sets_portfolio(ex: Exchange) -> Any:
    user = user_of(ex, UNIFIED)
    action = {"type": "agentSetAbstraction", "abstraction": "p"}
    return user.send(action, key=user.agent(78))["status"]


def portfolio_max_usd(ex: Exchange) -> Any:
    user = user_of(ex, UNIFIED, "9000000")
    action = {"type": "agentSetAbstraction", "abstraction": "p"}
    return user.send(action)["status"]


def hype_ltv(ex: Exchange) -> Any:
    return post(ex, "/info", {"type": "borrowLendReserveState", "token": 150})["ltv"]


def ws_users(ex: Exchange) -> Any:
    heard = [
        subscribe(ex, type="userFills", user=f"0x{number:040x}")
        for number in range(1, 9)
    ]
    session = ex.connect()
    for number in range(9, 17):
        request = {"type": "userFills", "user": f"0x{number:040x}"}
        ex.receive(session, json.dumps({"method": "subscribe", "subscription": request}))
    return len(heard) + sum('"isSnapshot"' in text for text in session.take())


def ws_alive_by(ex: Exchange) -> Any:
    """A session that hears nothing but acknowledgements, for 90 s."""
    session = ex.connect()
    request = {"type": "orderUpdates", "user": "0x" + "1" * 40}
    for method in ("subscribe", "unsubscribe", "subscribe"):
        ex.receive(session, json.dumps({"method": method, "subscription": request}))
        ex.advance(ex.now + 30_000)
    return session.closed


def is_snapshot_later(ex: Exchange) -> Any:
    user = user_of(ex)
    session = ex.connect()
    request = {"type": "userFills", "user": user.address}
    ex.receive(session, json.dumps({"method": "subscribe", "subscription": request}))
    session.take()
    user.order(HYPE, "sell", beside(ex, HYPE, "sell", 1), "10")
    return "isSnapshot" in json.loads(session.take()[0])["data"]


def trades_on_subscribe(ex: Exchange) -> Any:
    return len(subscribe(ex, type="trades", coin="HYPE"))


def user_nonces(ex: Exchange) -> Any:
    """The same nonce for an order and for a transfer of the same key."""
    user = user_of(ex)
    nonce = ex.now
    user.send({"type": "noop"}, nonce=nonce)
    user.nonce = nonce - 1
    return user.move(signing.sign_spot_transfer_action, SPEND, "time")["status"]


def agent_expiry(ex: Exchange) -> Any:
    user = user_of(ex)
    key = user.agent(79)
    ex.agents[key.address.lower()].valid_until_ms = ex.now - 60_000
    return user.send({"type": "noop"}, key=key)["status"]


def replica_lag_ms(ex: Exchange) -> Any:
    user = user_of(ex)
    oid = user.order(HYPE, "buy", beside(ex, HYPE, "buy", -3), "5", "Alo")["resting"]["oid"]
    return len(user.info("openOrders")), user.info("orderStatus", oid=oid)["status"]


PROBES: dict[str, Callable[[Exchange], Any]] = {
    probe.__name__: probe
    for probe in (
        bad_coin, body_of_429, token_rows, funding_sign, filled_record_sz, records_kept,
        fills_kept, spot_closed_pnl, funding_rows, new_account_mode, spot_state_flag, web_data_2,
        hashed_numbers, unified_spot_send, reserve_weight_signer, gtc_partial_reply, price_band,
        price_band_text, duplicate_cloid, lone_trigger, ioc_minimum, twap_minimum,
        base_fee_decimals, unified_funding_row, unified_total, unified_liquidation_px,
        master_downgrade, action_day, agent_sets_portfolio, portfolio_max_usd, hype_ltv, ws_users,
        ws_alive_by, is_snapshot_later, trades_on_subscribe, user_nonces, agent_expiry,
        replica_lag_ms,
    )
}
SEEN: dict[str, tuple[Any, Any]] = {
    "bad_coin": (422, 500),
    "body_of_429": ((429, b"null"), (429, b"")),
    "token_rows": (True, False),
    "funding_sign": (True, False),
    "filled_record_sz": ("0.0", "10.0"),
    "records_kept": (2_000, 200),
    "fills_kept": (10_000, 2_000),
    "spot_closed_pnl": (True, False),
    "funding_rows": (False, True),
    "new_account_mode": ("split", "unified"),
    "spot_state_flag": ("subscriptionResponse", "error"),
    "web_data_2": ("subscriptionResponse", "error"),
    "hashed_numbers": ("err", "ok"),
    "unified_spot_send": ("err", "ok"),
    "reserve_weight_signer": ("err", "ok"),
    "gtc_partial_reply": ("resting", "filled"),
    "price_band": ("error", "resting"),
    "price_band_text": (
        "Order price cannot be more than 80% away from the reference price asset=159",
        "Price too far from oracle asset=159",
    ),
    "ioc_minimum": ("filled", "error"),
    "twap_minimum": ("running", "error"),
    "base_fee_decimals": (True, False),
    "unified_funding_row": (1, 0),
    "unified_total": (True, False),
    "unified_liquidation_px": (True, False),
    "master_downgrade": ("ok", "err"),
    "action_day": ("ok", "err"),
    "agent_sets_portfolio": ("err", "ok"),
    "portfolio_max_usd": ("ok", "err"),
    "hype_ltv": ("0.65", "0.5"),
    "ws_users": (10, 15),
    "ws_alive_by": (True, False),
    "is_snapshot_later": (False, True),
    "trades_on_subscribe": (2, 1),
    "user_nonces": ("err", "ok"),
    "agent_expiry": ("err", "ok"),
    "replica_lag_ms": ((1, "order"), (0, "unknownOid")),
}


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: switch.name)
def test_both_answers(switch: Any) -> None:
    """The default first, then the other; the exchange conserves money either way."""
    seen = []
    for value in switch.values:
        exchange = make_exchange(switches={switch.name: value})
        seen.append(PROBES[switch.name](exchange))
        assert exchange.audit() == {}
    if switch.name == "duplicate_cloid":
        assert "resting" in seen[0]
        assert seen[1] == {"error": "Invalid order: cloid already used asset=159"}
    elif switch.name == "lone_trigger":
        assert seen[0] == "waitingForTrigger"
        assert "reduce-only" in seen[1]["error"]
    else:
        assert tuple(seen) == SEEN[switch.name]


def test_the_table_is_whole() -> None:
    assert set(PROBES) == {switch.name for switch in SWITCHES}
    assert all(switch.section and len(switch.values) == 2 for switch in SWITCHES)


def test_portfolio_margin_counts_tokens() -> None:
    """Spot HYPE carries a short that USDC alone would not."""
    ex = make_exchange()
    user = user_of(ex, UNIFIED, "11000")
    ex.give_token(user.address, 150, D(400))
    px = beside(ex, HYPE, "sell", 1)
    assert "error" in user.order(HYPE, "sell", px, "6500")
    user.account.mode = PORTFOLIO
    assert ex.summary(user.account).collateral > 4_000
    assert "filled" in user.order(HYPE, "sell", px, "6500")
    state = user.info("spotClearinghouseState")
    hype = next(row for row in state["balances"] if row["coin"] == "HYPE")
    assert (hype["ltv"], hype["borrowed"]) == ("0.65", "0.0")
    assert state["portfolioMarginEnabled"] is True


def test_portfolio_margin_lends_usdc_at_five_percent_a_year() -> None:
    ex = make_exchange()
    user = user_of(ex, UNIFIED, "11000")
    ex.give_token(user.address, 150, D(1_000))
    user.account.mode = PORTFOLIO
    assert "filled" in user.order(HYPE_SPOT, "buy", beside(ex, HYPE_SPOT, "buy", 1), "700")
    owed = -user.account.spot[0].total
    assert owed > 1_000
    loan = user.info("borrowLendUserState")["tokenToState"][0][1]["borrow"]
    assert D(loan["value"]) == owed
    ex.advance(ex.now + 10 * HOUR_MS)
    interest = -user.account.spot[0].total - owed
    assert abs(interest - owed * D("0.05") * 10 / 8_760) < D("0.00001")
    assert ex.audit() == {}


@pytest.mark.parametrize("text, words", [
    ("nothing=1", "no such switch"), ("price_band=60", "expected 80 or 95"),
])
def test_the_command_line_names_what_there_is(text: str, words: str) -> None:
    with pytest.raises(Usage, match=words):
        parse(["--switch", text])
    assert parse(["--switch", "price_band=95"]).switches["price_band"] == "95"
