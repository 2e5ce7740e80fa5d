"""The course of a probe where time decides: records that lag, orders that never arrived."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from carry.base.clock import WallClock
from carry.base.secrets import Secret
from carry.core.types import Leg
from carry.exchange.aster.server import AsterServer
from carry.shell import probe as course
from carry.shell.probe import Plan, run
from carry.shell.probe_aster import AsterBench, Wanted
from carry.venues.aster.connect import agent_signer, connect
from carry.venues.aster.constants import CAPABILITIES, LATE_RECORD_MS, NONCE_WINDOW_MS, Network
from tests.exchange.aster_serving import AGENT, USER, serving

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def server() -> Iterator[AsterServer]:
    with serving() as made:
        yield made


@pytest.fixture
def go(server: AsterServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setattr(course, "POLL_S", 0.05)
    monkeypatch.setattr(course, "AGREE_S", 0.3)
    monkeypatch.setattr(course, "LISTED_S", 0.2)
    monkeypatch.setattr(course, "DECIDE_S", 1.0)
    rest = connect(
        network=Network.TESTNET,
        user=USER.address.lower(),
        urls={Leg.PERP: server.url, Leg.SPOT: server.url},
        signer=agent_signer(Secret(AGENT.key.hex()), USER.address.lower(), Network.TESTNET),
        clock=WallClock(),
        nonces=tmp_path,
        sync_ms=60_000,
    )

    def start(settle_s: float, leg: Leg = Leg.PERP) -> tuple[int, str]:
        said: list[str] = []
        bench = AsterBench(
            rest,
            Wanted(leg=leg, base="BTC"),
            Network.TESTNET,
            user=USER.address.lower(),
            agent=AGENT.address.lower(),
            settle_s=settle_s,
        )
        code = run(bench, Plan(iterations=1, delay_s=0, say=said.append))
        return code, "\n".join(said)

    yield start
    rest.close()


def resting(server: AsterServer) -> int:
    return len(server.exchange.accounts[USER.address.lower()].orders)


@pytest.mark.parametrize("kind", ["lose_request", "html_500", "http_503", "code_1006", "code_1007"])
@pytest.mark.parametrize("leg", [Leg.PERP, Leg.SPOT])
def test_an_order_that_never_arrived(server: AsterServer, go: Run, kind: str, leg: Leg) -> None:
    server.exchange.faults.add(kind, "POST", "/order")
    began = time.monotonic()
    code, said = go(1.0, leg)
    assert time.monotonic() - began > 1.3, "an absent record proves nothing before its time"
    assert code == 1
    assert "UNKNOWN" in said
    assert "the venue never had this order" in said
    assert "nothing left" in said
    assert resting(server) == 0


def test_an_order_whose_record_lags_is_still_found(server: AsterServer, go: Run) -> None:
    server.exchange.faults.add("lose_reply_late", "POST", "/order", ms=1_500)
    code, said = go(3.0)
    assert code == 1
    assert "UNKNOWN" in said
    assert "withdrawn (CANCELED)" in said
    assert "never had" not in said
    assert resting(server) == 0


def test_an_accepted_order_whose_record_lags_is_still_found(server: AsterServer, go: Run) -> None:
    server.exchange.faults.add("late_record", "POST", "/order", ms=900)
    code, said = go(0.2)
    assert code == 1
    assert "not among the open orders" in said
    assert "withdrawn (CANCELED)" in said
    assert resting(server) == 0


def test_an_accepted_order_that_nobody_knows_is_never_called_gone(
    server: AsterServer, go: Run
) -> None:
    server.exchange.faults.add("late_record", "POST", "/order", ms=60_000)
    code, said = go(0.2)
    assert code == 1
    assert "UNDECIDED" in said
    assert "look for it at the venue by hand" in said.splitlines()[-1]
    assert "nothing left" not in said


def test_the_time_given_covers_the_nonce_and_the_lag() -> None:
    """An order lands within the nonce's window; a record was seen to lag by 30 s."""
    assert LATE_RECORD_MS >= 30_000
    assert CAPABILITIES.expiry_ms == NONCE_WINDOW_MS


def test_a_fill_is_shouted(server: AsterServer, go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A price that turns: the order far from the market fills while it rests."""
    original = server.api.answer

    def answer(request: Any) -> Any:
        reply = original(request)
        if request.method == "POST":
            account = server.exchange.accounts[USER.address.lower()]
            for order in list(account.orders.values()):
                book = server.exchange.books[order.asset.asset_id]
                server.exchange.orders._give(book, order, order.sz)
        return reply

    server.api.answer = answer
    code, said = go(0.2)
    assert code == 1
    assert "FILLED 0.001" in said
    assert "CHANGED: held 0 before and 0.001 now" in said.splitlines()[-1]


def test_reads_that_break_off_are_named_once_and_nothing_is_sent(
    server: AsterServer, go: Run
) -> None:
    server.exchange.faults.add("limit_429", "GET", "/depth")
    code, said = go(0.2)
    assert code == 1
    assert "FAILED: depth: budget: HTTP 429: the venue limits this address" in said
    assert resting(server) == 0
