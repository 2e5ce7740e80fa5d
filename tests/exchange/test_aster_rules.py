"""The local Aster's own rules, asked for by requests that are signed here with eth-account."""

import hashlib
import hmac
import itertools
import json
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from eth_account import Account as Key
from eth_account.messages import encode_typed_data

from carry.exchange.aster.api import Api
from carry.exchange.aster.auth import Grant, Request
from carry.exchange.aster.model import Aster

from .aster_serving import AGENT, API_KEY, API_SECRET, USER

NOW = 1_790_000_000_000
D = Decimal


class Client:
    """Requests of one user at the API, without a socket."""

    def __init__(self, **options: Any) -> None:
        self.ex = Aster(3, NOW, **options)
        self.ex.open_account(USER.address, spot=D(5000), perp=D(5000))
        self.ex.approve(AGENT.address, USER.address)
        self.ex.doorman.give_key(USER.address, API_KEY, API_SECRET)
        self.api = Api(self.ex)
        self.serial = itertools.count(1)

    def nonce(self) -> str:
        return str(self.ex.now * 1_000 + next(self.serial))

    def text(self, params: dict[str, str], chain: int = 1666, key: Any = AGENT, **more: str) -> str:
        whole = {
            "nonce": self.nonce(), "user": USER.address, "signer": AGENT.address, **params, **more,
        }
        msg = urlencode({name: value for name, value in whole.items() if value != "-"})
        return f"{msg}&signature={sign(msg, chain, key)}"

    def send(self, method: str, path: str, text: str = "", **headers: str) -> tuple[int, Any]:
        query, body = (text, "") if method == "GET" else ("", text)
        reply = self.api.answer(Request(method, path, query, body, headers))
        assert reply is not None
        return reply[0], json.loads(reply[1])

    def call(self, method: str, path: str, **params: str) -> Any:
        return self.send(method, path, self.text(params))[1]

    def order(self, host: str = "fapi", **params: str) -> Any:
        whole = {
            "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", **params,
        }
        return self.call("POST", f"/{host}/v3/order", **whole)

    def mark(self, spot: bool = False) -> Decimal:
        symbol = self.ex.symbols[spot]["BTCUSDT"]
        return self.ex.reference_px(symbol)

    def px(self, share: str, tick: str = "0.1") -> str:
        return str((self.mark() * D(share)).quantize(D(tick)))


def sign(msg: str, chain: int, key: Any) -> str:
    kinds = {
        "EIP712Domain": [
            {"name": "name", "type": "string"}, {"name": "version", "type": "string"},
            {"name": "chainId", "type": "uint256"},
            {"name": "verifyingContract", "type": "address"},
        ],
        "Message": [{"name": "msg", "type": "string"}],
    }
    message = encode_typed_data(full_message={
        "types": kinds, "primaryType": "Message", "message": {"msg": msg},
        "domain": {
            "name": "AsterSignTransaction", "version": "1", "chainId": chain,
            "verifyingContract": "0x" + "0" * 40,
        },
    })
    return "0x" + key.sign_message(message).signature.hex().removeprefix("0x")


@pytest.fixture
def client() -> Client:
    return Client()


def test_a_signature_covers_every_byte(client: Client) -> None:
    good = client.text({"symbol": "BTCUSDT"})
    for place in range(0, len(good) - 132, 7):
        other = "x" if good[place] != "x" else "y"
        bad = good[:place] + other + good[place + 1 :]
        status, reply = client.send("GET", "/fapi/v3/openOrders", bad)
        assert status == 400, bad
        assert reply["code"] in (-1022, -1102), bad
    assert client.send("GET", "/fapi/v3/openOrders", good) == (200, [])


def test_the_forms_of_a_signature_that_live_clients_send(client: Client) -> None:
    for change in (
        lambda hexed: hexed,
        lambda hexed: hexed.removeprefix("0x"),
        lambda hexed: hexed[:-2] + f"{int(hexed[-2:], 16) - 27:02x}",
    ):
        text = client.text({})
        msg, _, hexed = text.rpartition("&signature=")
        status, _ = client.send("GET", "/fapi/v3/balance", f"{msg}&signature={change(hexed)}")
        assert status == 200
    # `user` may be left out; the body may be used for a POST's text, the query too.
    assert client.send("GET", "/fapi/v3/balance", client.text({}, user="-"))[0] == 200
    query = client.text({"symbol": "BTCUSDT", "leverage": "3"})
    reply = client.api.answer(Request("POST", "/fapi/v3/leverage", query, "", {}))
    assert reply is not None
    assert reply[0] == 200


@pytest.mark.parametrize(
    "change, code",
    [
        ({"chain": 714}, -1022),
        ({"key": Key.from_key("0x" + "99" * 32)}, -1022),
        ({"signer": Key.from_key("0x" + "99" * 32).address}, -1022),
        ({"user": "0x" + "12" * 20}, -1022),
        ({"signer": "-"}, -1102),
        ({"nonce": "-"}, -1102),
        ({"nonce": str(NOW * 1_000 + 10_500_000)}, -4225),
        ({"nonce": str(NOW * 1_000 - 10_500_000)}, -4225),
        ({"nonce": str(NOW)}, -4225),  # milliseconds where microseconds belong
    ],
)
def test_who_is_turned_away(client: Client, change: dict[str, Any], code: int) -> None:
    status, reply = client.send("GET", "/fapi/v3/balance", client.text({}, **change))
    assert (status, reply["code"]) == (400, code)


def test_nonces_are_used_once_and_the_list_has_a_floor(client: Client) -> None:
    text = client.text({})
    assert client.send("GET", "/fapi/v3/balance", text)[0] == 200
    assert client.send("GET", "/fapi/v3/balance", text)[1]["code"] == -4225
    early = client.nonce()
    for _ in range(100):
        assert client.send("GET", "/api/v3/openOrders", client.text({}))[0] == 200
    late = client.send("GET", "/fapi/v3/balance", client.text({}, nonce=early))
    assert late[1] == {"code": -4225, "msg": "Nonce Expired"}


def test_an_agent_has_rights_and_an_end(client: Client) -> None:
    grant = Grant(USER.address, "spot only", can_perp=False, expires_ms=NOW + 60_000)
    client.ex.doorman.approve(AGENT.address, grant)
    assert client.order(price=client.px("0.9"), quantity="0.001")["code"] == -4088
    assert client.order("api", price="50000.00", quantity="0.001")["status"] == "NEW"
    client.ex.advance(NOW + 60_000)
    assert client.call("GET", "/fapi/v3/balance")["code"] == -2015


def v1(client: Client, params: dict[str, str], secret: str = API_SECRET) -> str:
    text = urlencode(params)
    made = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return f"{text}&signature={made}"


@pytest.mark.parametrize(
    "params, headers, secret, code",
    [
        ({"timestamp": str(NOW)}, {}, API_SECRET, 0),
        ({"timestamp": str(NOW - 4_999)}, {}, API_SECRET, 0),
        ({"timestamp": str(NOW - 5_001)}, {}, API_SECRET, -1021),
        ({"timestamp": str(NOW - 5_001), "recvWindow": "6000"}, {}, API_SECRET, 0),
        ({"timestamp": str(NOW + 1_000)}, {}, API_SECRET, -1021),
        ({"timestamp": str(NOW * 1_000)}, {}, API_SECRET, -1021),
        ({}, {}, API_SECRET, -1102),
        ({"timestamp": str(NOW)}, {}, "other", -1022),
        ({"timestamp": str(NOW)}, {"x-mbx-apikey": "nobody"}, API_SECRET, -2015),
        ({"timestamp": str(NOW)}, {"x-mbx-apikey": ""}, API_SECRET, -2014),
    ],
)
def test_v1(
    client: Client, params: dict[str, str], headers: dict[str, str], secret: str, code: int
) -> None:
    text = v1(client, params, secret)
    sent = {"x-mbx-apikey": API_KEY, **headers}
    status, reply = client.send("GET", "/fapi/v2/balance", text, **sent)
    assert status == 200 if not code else reply["code"] == code
    # The new path does not take the old way in.
    assert client.send("GET", "/fapi/v3/balance", text, **sent)[1]["code"] == -1102


@pytest.mark.parametrize(
    "host, change, code",
    [
        ("fapi", {"side": ""}, -1102),
        ("fapi", {"side": "LONG"}, -1117),
        ("fapi", {"type": "ICEBERG"}, -1116),
        ("fapi", {"timeInForce": "DAY"}, -1115),
        ("fapi", {"price": "", "quantity": "1"}, -1102),
        ("fapi", {"symbol": "HYPEUSDT"}, -1121),
        ("fapi", {"newClientOrderId": "a b"}, -4015),
        ("fapi", {"positionSide": "SHORT"}, -4061),
        ("fapi", {"price": "90000.05"}, -1111),
        ("fapi", {"symbol": "SOLUSDT", "price": "120.0010", "quantity": "1"}, -4014),
        ("fapi", {"symbol": "SOLUSDT", "price": "120.00001", "quantity": "1"}, -1111),
        ("fapi", {"quantity": "0.0015"}, -1111),
        ("fapi", {"quantity": "9999"}, -4005),
        ("fapi", {"price": "1000.0", "quantity": "0.001"}, -4164),
        ("fapi", {"price": "HIGH"}, -4016),
        ("fapi", {"price": "LOW", "side": "SELL"}, -4024),
        ("fapi", {"quantity": "1"}, None),
        ("fapi", {"quantity": "90"}, -2019),
        ("fapi", {"reduceOnly": "true"}, -2022),
        ("api", {"price": "50000.00", "quantity": "0.00009"}, -5076),
        ("api", {"price": "1000.00", "quantity": "0.1"}, -5060),
        ("api", {"price": "80000.00", "quantity": "0.1"}, -2018),
        ("api", {"price": "99000.00", "quantity": "0.1", "side": "SELL"}, -2018),
        # Everything is wrong: the first of the venue's order answers.
        ("fapi", {"price": "0.00001", "quantity": "0.00001"}, -1111),
    ],
)
def test_filters_in_order(
    client: Client, host: str, change: dict[str, str], code: int | None
) -> None:
    whole = {"price": client.px("0.9"), "quantity": "0.001", **change}
    whole["price"] = {"HIGH": client.px("1.05"), "LOW": client.px("0.95")}.get(
        whole["price"], whole["price"]
    )
    reply = client.order(host, **whole)
    assert reply.get("code") == code, reply


def test_a_post_only_order_that_would_match(client: Client) -> None:
    crossing = {"timeInForce": "GTX", "price": client.px("1.01"), "quantity": "0.001"}
    assert client.order(**crossing)["code"] == -5022
    client.ex.orders.gtx_error = False
    taken = client.order(**crossing)
    assert taken["status"] == "NEW"
    seen = client.call("GET", "/fapi/v3/order", symbol="BTCUSDT", orderId=str(taken["orderId"]))
    assert (seen["status"], seen["executedQty"]) == ("EXPIRED", "0.000")


def test_client_ids_are_unique_among_open_orders_only(client: Client) -> None:
    order = {"price": client.px("0.9"), "quantity": "0.001", "newClientOrderId": "mine"}
    first = client.order(**order)
    assert client.order(**order)["code"] == -4116
    by_name = {"symbol": "BTCUSDT", "origClientOrderId": "mine"}
    assert client.call("DELETE", "/fapi/v3/order", **by_name)["status"] == "CANCELED"
    assert client.call("DELETE", "/fapi/v3/order", **by_name)["code"] == -2011
    again = client.order(**order)
    assert again["orderId"] != first["orderId"]
    assert client.call("GET", "/fapi/v3/order", **by_name)["orderId"] == again["orderId"]


def test_hedge_mode_needs_a_side(client: Client) -> None:
    switch = {"dualSidePosition": "true"}
    assert client.call("POST", "/fapi/v3/positionSide/dual", **switch)["code"] == 200
    assert client.call("POST", "/fapi/v3/positionSide/dual", **switch)["code"] == -4059
    assert client.order(price=client.px("0.9"), quantity="0.001")["code"] == -4061


def test_funding_is_paid_at_each_symbols_own_interval(client: Client) -> None:
    """Eight hours for BTC, four for ASTER; each receipt is -size x mark x rate."""
    client.order(symbol="BTCUSDT", side="SELL", type="MARKET", quantity="0.02", timeInForce="GTC")
    client.order(symbol="ASTERUSDT", side="SELL", type="MARKET", quantity="900")
    account = client.ex.accounts[USER.address.lower()]
    assert {s: account.szi(a.asset_id) for s, a in client.ex.symbols[False].items() if
            account.szi(a.asset_id)} == {"BTCUSDT": D("-0.02"), "ASTERUSDT": D(-900)}
    hour = 3_600_000
    end = (NOW // (24 * hour) + 2) * 24 * hour + 1
    client.ex.advance(end)
    rows = client.call(
        "GET", "/fapi/v3/income", incomeType="FUNDING_FEE", startTime=str(end - 24 * hour),
        limit="1000",
    )
    stamps = {
        symbol: [row["time"] for row in rows if row["symbol"] == symbol]
        for symbol in ("BTCUSDT", "ASTERUSDT")
    }
    assert [len(found) for found in stamps.values()] == [3, 6]
    assert all(at % (8 * hour) == 0 for at in stamps["BTCUSDT"])
    history = client.call("GET", "/fapi/v3/fundingRate", symbol="BTCUSDT", limit="100")
    rates = {row["fundingTime"]: D(row["fundingRate"]) for row in history}
    perp = client.ex.symbols[False]["BTCUSDT"]
    for row in rows:
        if row["symbol"] != "BTCUSDT":
            continue
        at = row["time"]
        mark = D(client.ex.quotes.mark(perp, at)).scaleb(-perp.px_decimals)
        assert abs(D(row["income"]) - D("0.02") * mark * rates[at]) < D("0.00000002")
    assert client.ex.audit() == {}


def test_a_record_that_lags_hides_an_order_that_rests(client: Client) -> None:
    client.ex.faults.add("late_record", "POST", "/order", ms=30_000)
    placed = client.order(price=client.px("0.9"), quantity="0.001", newClientOrderId="late")
    by_name = {"symbol": "BTCUSDT", "origClientOrderId": "late"}
    assert placed["status"] == "NEW"
    assert client.call("GET", "/fapi/v3/order", **by_name)["code"] == -2013
    assert client.call("GET", "/fapi/v3/openOrders", symbol="BTCUSDT") == []
    client.ex.advance(NOW + 30_000)
    assert client.call("GET", "/fapi/v3/order", **by_name)["status"] == "NEW"


@pytest.mark.parametrize("kind, status", [
    ("html_500_after", 500), ("http_503_after", 503), ("code_1006_after", 400),
    ("code_1007_after", 408), ("lose_reply", None),
])
def test_faults_after_it_was_done(client: Client, kind: str, status: int | None) -> None:
    client.ex.faults.add(kind, "POST", "/order")
    text = client.text({
        "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
        "quantity": "0.001", "price": client.px("0.9"),
    })
    reply = client.api.answer(Request("POST", "/fapi/v3/order", "", text, {}))
    assert (None if reply is None else reply[0]) == status
    assert len(client.call("GET", "/fapi/v3/openOrders", symbol="BTCUSDT")) == 1


def test_weights_are_counted_by_host_and_refused(client: Client) -> None:
    for _ in range(160):
        status, _ = client.send("GET", "/fapi/v3/fundingRate", "symbol=BTCUSDT&limit=1")
    reply = client.api.answer(Request("GET", "/fapi/v3/depth", "symbol=BTCUSDT&limit=5", "", {}))
    assert reply is not None
    assert (status, reply[2]["X-MBX-USED-WEIGHT-1M"]) == (200, "165")
    for _ in range(500):
        reply = client.api.answer(Request("GET", "/fapi/v3/depth", "symbol=BTCUSDT", "", {}))
        if reply is not None and reply[0] == 429:
            break
    assert reply is not None
    assert (reply[0], reply[2]["Retry-After"]) == (429, "10")
    assert client.send("GET", "/api/v3/ping")[0] == 200
