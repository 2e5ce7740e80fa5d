"""ccxt's own Aster client, unchanged, reads and trades on the local server.

Its builder fee is off, as it must be against a real account too: it would approve a fee otherwise.
"""

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import ccxt
import pytest

from carry.exchange.aster.server import AsterServer

from .aster_serving import AGENT, USER, serving

PERP, SPOT = "BTC/USDT:USDT", "BTC/USDT"


def client(server: AsterServer, key: Any = USER, **options: Any) -> Any:
    made = ccxt.aster({
        "privateKey": key.key.hex(), "enableRateLimit": False,
        "options": {"builderFee": False, "v3ChainId": 714, **options},
    })
    assert made.urls["api"]["fapiPublic"].startswith("https://"), "unchanged but for the address"
    made.urls["api"] = {
        name: server.url + ("/fapi" if name.startswith("fapi") else "/api")
        for name in made.urls["api"]
    }
    # Its nonce is the millisecond: two calls in one would be one nonce.
    made.enableRateLimit, made.rateLimit = True, 3
    return made


@pytest.fixture(scope="module")
def server() -> Iterator[AsterServer]:
    with serving(spot="20000", perp="20000") as made:
        yield made


@pytest.fixture(scope="module")
def api(server: AsterServer) -> Any:
    made = client(server)
    made.load_markets()
    return made


def test_it_reads_markets(api: Any) -> None:
    perp, spot = api.market(PERP), api.market(SPOT)
    assert (perp["precision"]["price"], perp["precision"]["amount"]) == (0.1, 0.001)
    assert (spot["precision"]["price"], spot["precision"]["amount"]) == (0.01, 0.00001)
    assert (perp["limits"]["cost"]["min"], spot["limits"]["cost"]["min"]) == (5, 5)
    book = api.fetch_order_book(PERP, 20)
    ticker = api.fetch_bids_asks([PERP])[PERP]
    assert book["bids"][0][0] < book["asks"][0][0]
    assert ticker["bid"] == pytest.approx(book["bids"][0][0], rel=0.01)
    assert len(api.fetch_ohlcv(SPOT, "15m", limit=96)) == 96
    assert api.fetch_ticker(SPOT)["quoteVolume"] == 3_100_000
    assert len(api.fetch_tickers()) == 5
    assert api.fetch_trades(PERP)[0]["price"] > 0
    assert abs(api.fetch_time() - api.milliseconds()) < 5_000


def test_it_reads_funding(api: Any) -> None:
    rate = api.fetch_funding_rate("ASTER/USDT:USDT")
    assert rate["nextFundingTimestamp"] % (4 * 3_600_000) == 0
    intervals = api.fetch_funding_intervals()
    assert intervals["ASTER/USDT:USDT"]["interval"] == "4h"
    assert intervals[PERP]["interval"] == "8h"
    history = api.fetch_funding_rate_history(PERP, limit=20)
    stamps = [row["timestamp"] for row in history]
    assert len(stamps) == 20
    assert {b - a for a, b in pairwise(stamps)} == {8 * 3_600_000}
    assert all(abs(row["fundingRate"]) <= 0.003 for row in history)


def test_it_rests_and_cancels_on_both_hosts(api: Any, server: AsterServer) -> None:
    for symbol in (PERP, SPOT):
        px = api.price_to_precision(symbol, api.fetch_bids_asks([symbol])[symbol]["bid"] * 0.9)
        placed = api.create_order(symbol, "limit", "buy", 0.002, float(px), {"postOnly": True})
        assert placed["status"] == "open"
        seen = api.fetch_open_orders(symbol)
        assert [(o["id"], o["price"], o["amount"]) for o in seen] == [
            (placed["id"], float(px), 0.002)
        ]
        used = api.fetch_balance({"type": "spot"})["USDT"]["used"] if symbol == SPOT else 0
        if symbol == SPOT:
            assert used == pytest.approx(0.002 * float(px))
        assert api.cancel_order(placed["id"], symbol)["status"] == "canceled"
        assert api.fetch_open_orders(symbol) == []
        assert api.fetch_order(placed["id"], symbol)["status"] == "canceled"
        with pytest.raises(ccxt.OrderNotFound):
            api.cancel_order(placed["id"], symbol)


def test_it_trades_a_carry_and_every_cent_is_there(api: Any, server: AsterServer) -> None:
    before = api.fetch_balance({"type": "spot"})["USDT"]["free"]
    bought = api.create_order(SPOT, "market", "buy", 0.01)
    sold = api.create_order(PERP, "market", "sell", 0.01)
    # The acknowledgement says nothing of the fills; the record does.
    assert (bought["status"], bought["filled"]) == ("open", 0)
    assert api.fetch_order(bought["id"], SPOT)["status"] == "closed"
    assert api.fetch_order(sold["id"], PERP)["filled"] == 0.01
    spot = api.fetch_balance({"type": "spot"})
    (trade,) = api.fetch_my_trades(SPOT)
    assert trade["fee"]["currency"] == "BTC"
    assert spot["BTC"]["total"] == pytest.approx(0.01 - trade["fee"]["cost"], abs=1e-12)
    assert before - spot["USDT"]["free"] == pytest.approx(trade["cost"], abs=1e-6)
    (position,) = api.fetch_positions([PERP])
    assert (position["side"], position["contracts"]) == ("short", 0.01)
    closed = api.create_order(PERP, "limit", "buy", 0.02, position["markPrice"] * 1.01 // 1,
                              {"timeInForce": "IOC", "reduceOnly": "true"})
    done = api.fetch_order(closed["id"], PERP)
    assert (done["filled"], done["status"]) == (0.01, "closed")
    assert [p for p in api.fetch_positions([PERP]) if p["contracts"]] == []
    with pytest.raises(ccxt.OperationRejected):
        api.create_order(PERP, "market", "buy", 0.01, None, {"reduceOnly": "true"})
    assert server.exchange.audit() == {}


def test_it_moves_money_and_sets_leverage(api: Any) -> None:
    before = api.fetch_balance({"type": "swap"})["USDT"]["total"]
    assert api.transfer("USDT", 100, "spot", "future")["status"] == "ok"
    after = api.fetch_balance({"type": "swap"})["USDT"]["total"]
    assert after - before == pytest.approx(100)
    api.set_leverage(3, PERP)
    assert api.fetch_leverages([PERP])[PERP]["longLeverage"] == 3
    assert api.fetch_position_mode(PERP)["hedged"] is False
    fee = api.fetch_trading_fee(PERP)
    assert (fee["maker"], fee["taker"]) == (0.0001, 0.00035)


def test_it_batches(api: Any) -> None:
    px = float(api.price_to_precision(PERP, api.fetch_bids_asks([PERP])[PERP]["bid"] * 0.9))
    order = {"symbol": PERP, "type": "limit", "side": "buy", "amount": 0.002, "price": px}
    placed = api.create_orders([order, order])
    assert len(placed) == 2
    api.cancel_orders([row["id"] for row in placed], PERP)
    assert api.fetch_open_orders(PERP) == []


@pytest.mark.parametrize(
    "amount, px, error",
    [
        (0.002, 0.9, None),
        (0.0001, 0.9, ccxt.ExchangeError),  # below the step
        (0.001, 1.05, ccxt.ExchangeError),  # a buy above mark x 1.02
        (90, 0.9, ccxt.InsufficientFunds),
    ],
)
def test_filters_are_refused_by_their_code(
    api: Any, amount: float, px: float, error: type[Exception] | None
) -> None:
    bid = Decimal(str(api.fetch_bids_asks([PERP])[PERP]["bid"]))
    request = {
        "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTX",
        "quantity": str(amount), "price": str((bid * Decimal(str(px))).quantize(Decimal("0.1"))),
    }
    if error is None:
        placed = api.fapiPrivatePostV3Order(request)
        api.cancel_order(placed["orderId"], PERP)
        return
    with pytest.raises(error):
        api.fapiPrivatePostV3Order(request)
    assert api.fetch_open_orders(PERP) == []


def test_an_agent_trades_for_its_user(server: AsterServer) -> None:
    """ccxt names the key's own address as user: an agent alone signs as a stranger."""
    stranger = client(server, AGENT)
    with pytest.raises(ccxt.ExchangeError):
        stranger.fetch_balance({"type": "swap"})
