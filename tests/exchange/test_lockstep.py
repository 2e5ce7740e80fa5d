"""Lockstep: a run is a function of its seed and of its requests; stopping changes nothing."""

import hashlib
import json
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import websocket
from hyperliquid.utils import signing

from carry.exchange.faults import Faults
from carry.exchange.gateway import TIME_HEADER, Gateway
from carry.exchange.options import build, parse
from carry.exchange.server import main
from carry.exchange.state import save, snapshot

from .conftest import HYPE, HYPE_SPOT, User, beside, make_exchange
from .serving import Served, serve

FUNDED = User(make_exchange(), 7, None)
FUND = f"{FUNDED.address}=20000"


class Client:
    """A bot's way in, without a socket: posts to a gateway and hears one session."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.log: list[Any] = []
        self.user = User(gateway.exchange, 7, None)
        self.session = gateway.exchange.connect("bot")
        for kind in ("orderUpdates", "userFills", "userEvents"):
            self.subscribe(type=kind, user=self.user.address)
        self.subscribe(type="bbo", coin="HYPE")

    def subscribe(self, **subscription: Any) -> None:
        text = json.dumps({"method": "subscribe", "subscription": subscription})
        self.gateway.exchange.receive(self.session, text)

    def post(self, path: str, body: Any) -> Any:
        reply = self.gateway.post(path, json.dumps(body).encode())
        self.log += self.session.take()
        if reply is None:
            self.log.append(None)
            return None
        self.log.append([reply.status, reply.body.decode(), reply.headers])
        return json.loads(reply.body)

    def order(self, asset: int, side: str, sz: str, tif: str = "Ioc", percent: int = 1) -> Any:
        px = beside(self.gateway.exchange, asset, side, percent)
        wire = {"a": asset, "b": side == "buy", "p": px, "s": sz, "r": False,
                "t": {"limit": {"tif": tif}}}
        return self.act({"type": "order", "orders": [wire], "grouping": "na"})

    def act(self, action: Any) -> Any:
        nonce = self.user.nonce = max(self.user.nonce + 1, self.gateway.exchange.now)
        signature = signing.sign_l1_action(self.user.key, action, None, nonce, None, False)
        return self.post("/exchange", {"action": action, "nonce": nonce, "signature": signature})

    def first_half(self) -> None:
        self.post("/info", {"type": "meta"})
        self.order(HYPE_SPOT, "buy", "30")
        self.order(HYPE, "sell", "29.97")
        self.order(HYPE, "sell", "3", "Gtc", -1)
        self.order(HYPE_SPOT, "buy", "3", "Alo", -1)
        self.post("/lockstep", {"type": "wait", "ms": 2_500_000})

    def second_half(self) -> None:
        for _ in range(20):
            self.post("/lockstep", {"type": "wait", "ms": 60_000, "wake": True, "session": "bot"})
        self.order(HYPE, "buy", "20")
        self.post("/info", {"type": "userFunding", "user": self.user.address, "startTime": 0})
        self.post("/info", {"type": "userFills", "user": self.user.address})
        self.post("/info", {"type": "clearinghouseState", "user": self.user.address})


def make_gateway(*more: str) -> Gateway:
    options = parse(["--clock", "lockstep", "--seed", "9", "--fund", FUND, *more])
    return build(options)[0]


def test_time_stands_still_between_requests_and_moves_by_the_latency() -> None:
    gateway = make_gateway()
    start = gateway.exchange.now
    assert start % 3_600_000 == 20 * 60_000
    time.sleep(0.01)
    reply = gateway.post("/lockstep", b'{"type":"now"}')
    assert reply is not None
    assert json.loads(reply.body) == {
        "time": start, "seed": 9, "streams": {},
        "faults": {"requests_lost": 0, "replies_lost": 0, "requests": 0},
    }
    for _ in range(50):
        before = gateway.exchange.now
        reply = gateway.post("/info", b'{"type":"exchangeStatus"}')
        assert reply is not None
        assert 15 <= gateway.exchange.now - before <= 120
        assert reply.headers[TIME_HEADER] == str(gateway.exchange.now)
        assert before < json.loads(reply.body)["time"] < gateway.exchange.now


def test_a_wait_ends_at_an_own_fill_only_if_asked_to() -> None:
    for wake in (True, False):
        client = Client(make_gateway())
        exchange = client.gateway.exchange
        px = beside(exchange, HYPE, "buy", 0)
        wire = {"a": HYPE, "b": False, "p": px, "s": "5", "r": False,
                "t": {"limit": {"tif": "Alo"}}}
        client.act({"type": "order", "orders": [wire], "grouping": "na"})
        start = exchange.now
        answer = client.post(
            "/lockstep", {"type": "wait", "ms": 7_200_000, "wake": wake, "session": "bot"}
        )
        assert (exchange.now < start + 7_200_000) is wake
        assert answer["streams"] == {"bot": client.session.sent}
        assert bool(client.user.account.fills)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"type":"wait"}', b'{"type":"wait","ms":-1}',
                                  b'{"type":"jump"}', b"[]", b'{"type":"wait","ms":1e99}'])
def test_bad_lockstep_requests_are_422(body: bytes) -> None:
    reply = make_gateway().post("/lockstep", body)
    assert reply is not None
    assert reply.status == 422


def test_the_endpoint_exists_only_in_lockstep() -> None:
    gateway = Gateway(make_exchange(), lockstep=False)
    reply = gateway.post("/lockstep", b'{"type":"now"}')
    assert reply is not None
    assert reply.status == 404


def test_the_same_run_twice_and_with_a_stop_in_between(tmp_path: Path) -> None:
    """Half a run, saved, restored in a new exchange, second half: the same as in one go."""
    whole = Client(make_gateway())
    whole.first_half()
    whole.gateway.exchange.streams.disconnect(whole.session)
    resumed_here = Client(whole.gateway)
    resumed_here.user.nonce = whole.user.nonce
    resumed_here.second_half()

    file = tmp_path / "state.json"
    first = Client(make_gateway("--state", str(file)))
    first.first_half()
    assert first.log == whole.log
    saved = snapshot(first.gateway)
    options = parse(["--clock", "lockstep", "--seed", "9", "--fund", FUND, "--state", str(file)])
    save(file, first.gateway)
    gateway, _ = build(options)
    assert _plain(snapshot(gateway)) == _plain(saved)
    second = Client(gateway)
    second.user.nonce = first.user.nonce
    second.second_half()
    assert second.log == resumed_here.log
    assert gateway.exchange.audit() == {}


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def test_the_file_is_written_before_an_order_is_answered(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    client = Client(make_gateway("--state", str(file)))
    client.order(HYPE, "sell", "5")
    positions = json.loads(file.read_text())["accounts"][client.user.address]["positions"]
    assert Decimal(positions[0][1][0]) == Decimal(-5)


@pytest.mark.parametrize("text, reason", [
    ("", "not a state file"), ("[]", "not a state file"), ("{", "not a state file"),
    ('{"version":1,"seed":9,"market":"seeded 9","market_start_ms":1767607200000}', "damaged"),
    ('{"version":99,"seed":9,"market":"x","market_start_ms":1}', "version 99"),
    ('{"version":1,"seed":3,"market":"seeded 3","market_start_ms":1767607200000}', "--seed 3"),
])
def test_a_state_file_it_cannot_continue_is_refused(
    tmp_path: Path, text: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "state.json"
    file.write_text(text)
    assert main(["--clock", "lockstep", "--seed", "9", "--state", str(file)]) == 2
    assert reason in capsys.readouterr().err


def test_lost_requests_do_nothing_and_lost_replies_did_something() -> None:
    exchange = make_exchange(limits=False)
    User(exchange, 7)
    gateway = Gateway(exchange, lockstep=True, faults=Faults(1, 0.2, 0.1))
    client = Client(gateway)
    unanswered = 0
    for _ in range(200):
        done = exchange.nonces[client.user.address].used[-1:] if exchange.nonces else []
        lost_before = gateway.faults.counts["requests_lost"]
        reply = client.act({"type": "noop"})
        used = exchange.nonces[client.user.address].used[-1:] if exchange.nonces else []
        request_lost = gateway.faults.counts["requests_lost"] > lost_before
        assert (used == done) is request_lost
        unanswered += reply is None
    counts = gateway.faults.counts
    assert unanswered == counts["requests_lost"] + counts["replies_lost"]
    assert counts["requests_lost"] in range(20, 60)
    assert counts["replies_lost"] in range(5, 35)


@pytest.mark.parametrize("arguments, reason", [
    (["--fund", "0x12=5"], "--fund 0x12=5"), (["--fund", "0x" + "1" * 40 + "=x"], "--fund"),
    (["--agent", "0x1=0x2"], "--agent"), (["--coins", "DOGE"], "--coins DOGE"),
    (["--port", "99999"], "--port"), (["--speed", "-1"], "--speed"),
    (["--clock", "sun"], "--clock"),
    (["--lose-replies", "2"], "--lose-replies"), (["--step-ms", "7"], "--step-ms"),
    (["--market", "/nowhere"], "/nowhere"), (["--zzz"], "--zzz"),
    (["--agent", f"0x{'1' * 40}=0x{'2' * 40}"], "add --fund"),
])
def test_bad_arguments_are_exit_2_and_one_line(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


# In processes of their own.


class Reader(threading.Thread):
    """Hears a session to its end."""

    def __init__(self, served: Served) -> None:
        super().__init__(daemon=True)
        self.socket = websocket.create_connection(served.ws_url + "?session=r", timeout=10)
        self.frames: list[str] = []
        self.start()

    def run(self) -> None:
        try:
            while True:
                self.frames.append(str(self.socket.recv()))
        except (OSError, websocket.WebSocketException):
            return

    def drain(self, count: int) -> None:
        deadline = time.monotonic() + 10
        while len(self.frames) < count:
            assert time.monotonic() < deadline, (len(self.frames), count)
            time.sleep(0.001)


def _transcript(hash_seed: str) -> str:
    address = FUNDED.address
    with serve(
        "--clock", "lockstep", "--seed", "4", "--fund", FUND, "--coins", "HYPE,BTC",
        hash_seed=hash_seed,
    ) as served:
        reader = Reader(served)
        for subscription in (
            {"type": "bbo", "coin": "HYPE"}, {"type": "trades", "coin": "@107"},
            {"type": "l2Book", "coin": "BTC"}, {"type": "orderUpdates", "user": address},
            {"type": "userFills", "user": address}, {"type": "activeAssetCtx", "coin": "HYPE"},
        ):
            message = {"method": "subscribe", "subscription": subscription}
            reader.socket.send(json.dumps(message))
        reader.drain(11)
        log: list[Any] = [served.ready["network"]]
        served.post("/lockstep", {"type": "now"})
        for _ in range(30):
            log.append(served.wait(20_000, wake=True, session="r"))
            log.append(served.post("/info", {"type": "metaAndAssetCtxs"}))
            log.append(served.post("/info", {"type": "spotClearinghouseState", "user": address}))
        reader.drain(log[-3]["streams"]["r"])
        log += reader.frames[: log[-3]["streams"]["r"]]
        assert served.stop() == 0
    return hashlib.sha256(json.dumps(log).encode()).hexdigest()


def test_two_processes_with_other_hash_seeds_tell_the_same_story() -> None:
    assert _transcript("1") == _transcript("2")


def test_speed_paces_a_wait_and_others_are_served_meanwhile() -> None:
    with serve("--clock", "lockstep", "--speed", "100", "--fund", FUND) as served:
        began = time.monotonic()
        waiting = threading.Thread(target=served.wait, args=(40_000,))
        waiting.start()
        time.sleep(0.05)
        other = Served(served.process, served.ready)
        assert other.post("/info", {"type": "exchangeStatus"})["time"] > 0
        assert time.monotonic() - began < 0.35
        waiting.join(10)
        assert 0.38 < time.monotonic() - began < 3


def test_it_listens_on_loopback_only_and_ends_cleanly(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    with serve("--clock", "wall", "--fund", FUND, "--state", str(file)) as served:
        assert served.url.startswith("http://127.0.0.1:")
        assert served.ready["network"] == "testnet"
        assert served.http.get(served.url + "/info", timeout=5).status_code == 405
        assert served.http.post(served.url + "/nothing", json={}, timeout=5).status_code == 404
        assert served.stop() == 0
    assert json.loads(file.read_text())["version"] == 2
