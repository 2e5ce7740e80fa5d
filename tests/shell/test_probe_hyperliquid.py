"""The probe against the exchange: its whole way, and each thing that can be wrong.

Each fault gives one line that names it, and leaves no order, by the exchange's own word.
"""

import json
from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import pytest

from carry.core.types import Leg
from carry.exchange.accounts import UNIFIED
from carry.shell import probing
from carry.shell.probe import run
from carry.shell.probe_hyperliquid import EXPIRED_AFTER_MS, HyperliquidBench, Wanted
from carry.venues.hyperliquid.constants import Network
from carry.venues.keys import AgentKey
from carry.venues.transport import PostFailed, Reply
from tests.venues.hyperliquid.direct import ACCOUNT, AGENT, Desk

HYPE_TOKEN = 150
STRANGER = AgentKey(b"\x09" * 32)


def probe(desk: Desk, leg: str = "perp", **asked: Any) -> tuple[int, str]:
    """The exit code, and what was said."""
    said: list[str] = []
    wanted = Wanted(leg=Leg(leg), **{"base": "HYPE", **asked})
    bench = HyperliquidBench(desk.venue, desk.clock, wanted)
    course = probing.plan(
        desk.venue, desk.clock, 1, 0.5, wanted.monitor, lambda text: text, said.append
    )
    try:
        code = run(bench, course)
    finally:
        desk.transport.mangle = lambda path, body, send: send()
    assert all("\n" not in line for line in said)
    return code, "\n".join(said)


def passing(desk: Desk, leg: str = "perp", **asked: Any) -> str:
    code, said = probe(desk, leg, **asked)
    assert (code, desk.resting()) == (0, 0), said
    assert said.splitlines()[-1].startswith("nothing left")
    return said


def failing(desk: Desk, code: int, leg: str = "perp", **asked: Any) -> str:
    """What was said by a probe that ends with `code` and leaves nothing."""
    got, said = probe(desk, leg, **asked)
    assert (got, desk.resting()) == (code, 0), said
    return said


def test_a_perp_probe_places_shows_and_withdraws_both_sides() -> None:
    desk = Desk(mode=UNIFIED)
    said = passing(desk, monitor=True)
    assert said.count(": placed as order") == 2
    assert said.count(": seen among the open orders") == 2
    assert said.count(": withdrawn (canceled)") == 2
    assert said.count("is canceled") == 2  # the stream's own word
    assert len(desk.exchange.accounts[ACCOUNT].records) == 2
    assert not desk.exchange.accounts[ACCOUNT].fills


def test_a_spot_sell_without_coins_is_skipped_and_said() -> None:
    said = passing(Desk(), "spot")
    assert said.count(": placed as order") == 1
    assert "SELL skipped: " in said
    assert ", 0 free" in said


def test_with_coins_both_sides_of_spot_are_tried() -> None:
    desk = Desk()
    desk.exchange.give_token(ACCOUNT, HYPE_TOKEN, D(5))
    assert passing(desk, "spot").count(": placed as order") == 2


@pytest.mark.parametrize(("ticks", "leg"), [(1, "perp"), (50, "perp"), (7, "spot")])
def test_prices_lie_so_many_ticks_away(ticks: int, leg: str) -> None:
    """On the tick, and rounded away from the market."""
    desk = Desk(mode=UNIFIED)
    bid = desk.venue.book("HYPE", Leg(leg)).book.bid_px
    said = passing(desk, leg, offset_ticks=ticks)
    buy = next(line for line in said.splitlines() if line.startswith("BUY "))
    assert D(buy.split(" at ")[1].split(":")[0]) == bid - ticks * D("0.001")


# --- what can be wrong ---------------------------------------------------------------------------


def html(path: str, body: bytes, send: Callable[[], Reply]) -> Reply:
    return 500, {}, b"<html><body>Internal Server Error</body></html>"


def only(kind: str, then: Callable[..., Reply], times: int = 1, after: int = 0) -> Any:
    """A mangle that hits so many requests of a kind, the first `after` spared."""
    left, spared = [times], [after]

    def mangle(path: str, body: bytes, send: Callable[[], Reply]) -> Reply:
        request = json.loads(body)
        word = request.get("type") or request["action"]["type"]
        if word == kind and spared[0]:
            spared[0] -= 1
        elif word == kind and left[0]:
            left[0] -= 1
            return then(path, body, send)
        return send()

    return mangle


def lost_reply(path: str, body: bytes, send: Callable[[], Reply]) -> Reply:
    send()
    raise PostFailed(True, "connection reset")


def lost_request(path: str, body: bytes, send: Callable[[], Reply]) -> Reply:
    raise PostFailed(True, "connection reset")


@pytest.mark.parametrize(
    ("desk", "code", "said"),
    [
        (lambda: Desk(approve=False), 3, "agent not approved"),
        (lambda: Desk(key=STRANGER), 3, "agent not approved"),
        (lambda: Desk(usdc=None), 3, "wrong network or address"),
        (lambda: Desk(key=None), 3, "no agent key"),
        (lambda: Desk(skew_ms=9_000), 3, "clock: 9"),
        (lambda: Desk(skew_ms=-9_000), 3, "clock: -"),
        # Signed for another network than the server's: another signer is recovered there.
        (lambda: Desk(network=Network.MAINNET), 1, "read as another signer's"),
    ],
    ids=["wrong signer", "wrong key", "no account", "no key", "skew", "behind", "wrong network"],
)
@pytest.mark.parametrize("leg", ["spot", "perp"])
def test_who_and_when(desk: Callable[[], Desk], code: int, said: str, leg: str) -> None:
    made = desk()
    assert said in failing(made, code, leg)
    account = made.exchange.accounts.get(ACCOUNT)
    assert account is None or not account.records


def test_the_master_key_is_refused() -> None:
    desk = Desk()
    desk.exchange.open_account(AGENT.address, mode="split", usdc=D(1))
    assert "master key used as agent" in failing(desk, 3)


@pytest.mark.parametrize(
    ("leg", "asked", "code", "said"),
    [
        ("perp", {"notional": D(5)}, 2, "--notional 5 is below the venue's minimum of $10"),
        ("spot", {"notional": D(5)}, 2, "--notional 5 is below the venue's minimum of $10"),
        ("perp", {"offset_ticks": 99_999}, 2, "is no price: name fewer"),
        ("perp", {"base": "NONE"}, 2, "NONE: 0 perps have that name"),
        ("spot", {"notional": D(50_000)}, 1, "REFUSED: Insufficient spot balance"),
        ("perp", {"notional": D(5_000_000)}, 1, "REFUSED: Insufficient margin"),
    ],
)
def test_what_the_venue_s_rules_forbid(leg: str, asked: Any, code: int, said: str) -> None:
    assert said in failing(Desk(mode=UNIFIED), code, leg, **asked)


def test_no_balance() -> None:
    assert "Insufficient" in failing(Desk(usdc=D(0)), 1, "spot")
    assert "Insufficient margin" in failing(Desk(usdc=D(0)), 1, "perp")


@pytest.mark.parametrize("kind", ["userRole", "spotClearinghouseState", "l2Book"])
def test_html_instead_of_an_answer_is_reported(kind: str) -> None:
    desk = Desk(mode=UNIFIED)
    desk.transport.mangle = only(kind, html, 99)
    assert "HTTP 500: <html>" in failing(desk, 1)


def test_html_while_orders_rest_leaves_none() -> None:
    desk = Desk(mode=UNIFIED)
    desk.transport.mangle = only("frontendOpenOrders", html, 1, after=1)
    assert "HTTP 500" in failing(desk, 1)
    assert len(desk.exchange.accounts[ACCOUNT].records) == 1


@pytest.mark.parametrize("leg", ["spot", "perp"])
def test_a_lost_reply_is_resolved_by_the_client_id(leg: str) -> None:
    desk = Desk(mode=UNIFIED)
    desk.transport.mangle = only("order", lost_reply)
    said = failing(desk, 1, leg)
    assert "UNKNOWN: connection reset" in said
    assert "withdrawn (canceled)" in said
    assert said.splitlines()[-1].startswith("nothing left")


def test_an_order_that_never_arrived_is_said_to_be_none() -> None:
    desk = Desk(mode=UNIFIED)
    desk.transport.mangle = only("order", lost_request)
    assert "it never arrived (connection reset)" in failing(desk, 1)
    assert not desk.exchange.accounts[ACCOUNT].records


def test_an_order_that_cannot_be_fenced_is_asked_for_until_it_has_expired() -> None:
    desk = Desk(mode=UNIFIED)

    def deaf(path: str, body: bytes, send: Callable[[], Reply]) -> Reply:
        word = json.loads(body).get("action", {}).get("type")
        return lost_request(path, body, send) if word in ("order", "noop") else send()

    desk.transport.mangle = deaf
    began_ms = desk.clock.mono_ms()
    said = failing(desk, 1)
    assert "the venue never had this order" in said
    assert desk.clock.mono_ms() - began_ms > desk.venue.capabilities.expiry_ms + EXPIRED_AFTER_MS


def test_html_in_answer_to_an_order_is_no_refusal() -> None:
    desk = Desk(mode=UNIFIED)

    def landed(path: str, body: bytes, send: Callable[[], Reply]) -> Reply:
        send()
        return html(path, body, send)

    desk.transport.mangle = only("order", landed)
    said = failing(desk, 1)
    assert "UNKNOWN: HTTP 500" in said
    assert "REFUSED" not in said


def test_a_withdrawal_that_is_lost_is_repeated() -> None:
    desk = Desk(mode=UNIFIED)
    desk.transport.mangle = only("cancelByCloid", lost_request, 3)
    passing(desk)


def test_what_cannot_be_withdrawn_is_named() -> None:
    """The one case in which an order stays: then the line says which, where and what to do."""
    desk = Desk(mode=UNIFIED)
    desk.transport.mangle = only("cancelByCloid", lost_request, 10**6)
    code, said = probe(desk)
    last = said.splitlines()[-1]
    assert (code, desk.resting()) == (1, 1)
    assert last.startswith("LEFT UNDECIDED: 0x")
    assert last.endswith("look for it at the venue by hand")
    (record,) = desk.exchange.accounts[ACCOUNT].records.values()
    assert str(record.order.cloid) in last


def test_an_interruption_withdraws_first() -> None:
    desk = Desk(mode=UNIFIED)

    def interrupted(path: str, body: bytes, send: Callable[[], Reply]) -> Reply:
        raise KeyboardInterrupt

    desk.transport.mangle = only("frontendOpenOrders", interrupted, after=1)
    with pytest.raises(KeyboardInterrupt):
        probe(desk)
    assert len(desk.exchange.accounts[ACCOUNT].records) == 1
    assert desk.resting() == 0
