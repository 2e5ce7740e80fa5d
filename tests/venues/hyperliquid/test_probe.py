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
from carry.venues.base import ProbeFailed
from carry.venues.hyperliquid.constants import Network
from carry.venues.hyperliquid.probe import Plan, Probe
from carry.venues.keys import AgentKey
from carry.venues.transport import PostFailed, Reply
from tests.venues.hyperliquid.direct import ACCOUNT, AGENT, Desk

HYPE_TOKEN = 150
STRANGER = AgentKey(b"\x09" * 32)


def probe(desk: Desk, leg: str = "perp", **plan: Any) -> list[str]:
    """What was said."""
    said: list[str] = []
    wanted = Plan(leg=Leg(leg), **{"base": "HYPE", "delay_ms": 500, **plan})
    try:
        Probe(desk.venue, desk.clock, wanted, said.append).run()
    finally:
        desk.transport.mangle = lambda path, body, send: send()
        assert desk.resting() == 0
    return said


def failing(desk: Desk, leg: str = "perp", **plan: Any) -> str:
    with pytest.raises(ProbeFailed) as caught:
        probe(desk, leg, **plan)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_perp_probe_places_shows_and_withdraws_both_sides() -> None:
    desk = Desk(mode=UNIFIED)
    said = probe(desk, iterations=2, monitor=True)
    assert sum(": rests, order" in line for line in said) == 4
    assert sum(line.startswith("open: ") for line in said) == 4
    assert sum("is canceled" in line for line in said) >= 4  # the stream's own word
    assert said[-1] == "nothing is left: no order of the probe rests"
    assert len(desk.exchange.accounts[ACCOUNT].records) == 4
    assert not desk.exchange.accounts[ACCOUNT].fills


def test_a_spot_sell_without_coins_is_skipped_and_said() -> None:
    desk = Desk()
    said = probe(desk, "spot")
    assert sum(": rests, order" in line for line in said) == 1
    assert any(line.startswith("sell skipped: ") and ", 0 are free" in line for line in said)


def test_with_coins_both_sides_of_spot_are_tried() -> None:
    desk = Desk()
    desk.exchange.give_token(ACCOUNT, HYPE_TOKEN, D(5))
    assert sum(": rests, order" in line for line in probe(desk, "spot")) == 2


@pytest.mark.parametrize(("ticks", "leg"), [(1, "perp"), (50, "perp"), (7, "spot")])
def test_prices_lie_so_many_ticks_away(ticks: int, leg: str) -> None:
    """On the tick, and rounded away from the market."""
    desk = Desk(mode=UNIFIED)
    said = probe(desk, leg, offset_ticks=ticks)
    bid = D(next(line for line in said if line.startswith("bid ")).split()[1].strip(","))
    buy = next(line for line in said if line.startswith("buy "))
    assert D(buy.split(" at ")[1].split(":")[0]) == bid - ticks * D("0.001")


# --- what can be wrong ---------------------------------------------------------------------------


def html(path: str, body: bytes, send: Callable[[], Reply]) -> Reply:
    return 500, {}, b"<html><body>Internal Server Error</body></html>"


def only(kind: str, then: Callable[..., Reply], times: int = 1) -> Any:
    """A mangle that hits the first requests of a kind."""
    left = [times]

    def mangle(path: str, body: bytes, send: Callable[[], Reply]) -> Reply:
        request = json.loads(body)
        word = request.get("type") or request["action"]["type"]
        if word == kind and left[0]:
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
    ("desk", "said"),
    [
        (lambda: Desk(approve=False), "agent not approved"),
        (lambda: Desk(key=STRANGER), "agent not approved"),
        (lambda: Desk(usdc=None), "wrong network or address"),
        (lambda: Desk(key=None), "no agent key"),
        (lambda: Desk(skew_ms=9_000), "clock skew: this machine is 9"),
        (lambda: Desk(skew_ms=-9_000), "clock skew: this machine is -"),
        # Signed for another network than the server's: another signer is recovered there.
        (lambda: Desk(network=Network.MAINNET), "read as another signer's"),
    ],
    ids=["wrong signer", "wrong key", "no account", "no key", "skew", "behind", "wrong network"],
)
@pytest.mark.parametrize("leg", ["spot", "perp"])
def test_who_and_when(desk: Callable[[], Desk], said: str, leg: str) -> None:
    made = desk()
    assert said in failing(made, leg)
    account = made.exchange.accounts.get(ACCOUNT)
    assert account is None or not account.records


def test_the_master_key_is_refused() -> None:
    desk = Desk()
    desk.exchange.open_account(AGENT.address, mode="split", usdc=D(1))
    assert failing(desk).startswith("master key used as agent")


@pytest.mark.parametrize(
    ("leg", "plan", "said"),
    [
        ("perp", {"notional": D(5)}, "--notional 5: the venue's minimum is $10"),
        ("spot", {"notional": D(5)}, "--notional 5: the venue's minimum is $10"),
        ("perp", {"offset_ticks": 99_999}, "reaches below zero"),
        ("perp", {"base": "NONE"}, "NONE: 0 perps have that name"),
        ("spot", {"notional": D(50_000)}, "refused (balance): Insufficient spot balance"),
        ("perp", {"notional": D(5_000_000)}, "refused (margin): Insufficient margin"),
    ],
)
def test_what_the_venue_s_rules_forbid(leg: str, plan: Any, said: str) -> None:
    assert said in failing(Desk(mode=UNIFIED), leg, **plan)


def test_no_balance() -> None:
    assert "Insufficient" in failing(Desk(usdc=D(0)), "spot")
    assert "Insufficient margin" in failing(Desk(usdc=D(0)), "perp")


@pytest.mark.parametrize("kind", ["userRole", "spotClearinghouseState", "l2Book"])
def test_html_instead_of_an_answer_is_reported(kind: str) -> None:
    desk = Desk(mode=UNIFIED)
    desk.transport.mangle = only(kind, html, 99)
    assert "HTTP 500: <html>" in failing(desk)


def test_html_while_orders_rest_leaves_none() -> None:
    desk = Desk(mode=UNIFIED)
    desk.transport.mangle = only("frontendOpenOrders", html)
    assert "HTTP 500" in failing(desk)
    assert len(desk.exchange.accounts[ACCOUNT].records) == 2


@pytest.mark.parametrize("leg", ["spot", "perp"])
def test_a_lost_reply_is_resolved_by_the_client_id(leg: str) -> None:
    desk = Desk(mode=UNIFIED)
    desk.transport.mangle = only("order", lost_reply)
    said = probe(desk, leg)
    assert any("no answer (connection reset)" in line for line in said)
    assert any("buy" in line and ": rests, order" in line for line in said)


def test_an_order_that_never_arrived_is_said_to_be_none() -> None:
    desk = Desk(mode=UNIFIED)
    desk.transport.mangle = only("order", lost_request)
    assert "it never arrived (connection reset)" in failing(desk)
    assert not desk.exchange.accounts[ACCOUNT].records


def test_html_in_answer_to_an_order_is_no_refusal() -> None:
    desk = Desk(mode=UNIFIED)

    def landed(path: str, body: bytes, send: Callable[[], Reply]) -> Reply:
        send()
        return html(path, body, send)

    desk.transport.mangle = only("order", landed)
    assert any("no answer (HTTP 500" in line for line in probe(desk))


def test_a_withdrawal_that_is_lost_is_repeated() -> None:
    desk = Desk(mode=UNIFIED)
    desk.transport.mangle = only("cancelByCloid", lost_request, 3)
    assert probe(desk)[-1].startswith("nothing is left")


def test_what_cannot_be_withdrawn_is_named() -> None:
    """The one case in which an order stays: then the line says which, where and what to do."""
    desk = Desk(mode=UNIFIED)
    desk.transport.mangle = only("cancelByCloid", lost_request, 10**6)
    wanted = Plan(leg=Leg.PERP, base="HYPE", delay_ms=500)
    with pytest.raises(ProbeFailed, match=r"ORDERS MAY BE LEFT: buy 0\.\d+ at .*Withdraw them"):
        Probe(desk.venue, desk.clock, wanted, lambda text: None).run()
    assert desk.resting() == 2


def test_an_interruption_withdraws_first() -> None:
    desk = Desk(mode=UNIFIED)

    def interrupted(path: str, body: bytes, send: Callable[[], Reply]) -> Reply:
        raise KeyboardInterrupt

    desk.transport.mangle = only("frontendOpenOrders", interrupted)
    with pytest.raises(KeyboardInterrupt):
        probe(desk)
    assert len(desk.exchange.accounts[ACCOUNT].records) == 2
