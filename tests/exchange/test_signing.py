"""Who acts: signatures over the JSON as received, agents, nonces, expiry, budgets."""

import json
from decimal import Decimal
from typing import Any

import pytest
from eth_account import Account as Key
from hyperliquid.utils import signing

from carry.exchange.signing import connection_id, l1_digest, recover

from .conftest import HYPE, User, beside, post

KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
ADDRESS = "0x14791697260e4c9a71f18484c9f997b308e59325"
DAY_MS = 86_400_000


def test_the_published_hash_of_a_production_order() -> None:
    action = {
        "type": "order",
        "orders": [
            {"a": 4, "b": True, "p": "1670.1", "s": "0.0147", "r": False,
             "t": {"limit": {"tif": "Ioc"}}}
        ],
        "grouping": "na",
    }
    digest = connection_id(action, 1677777606040, None, None)
    assert digest.hex() == "0fcbeda5ae3c4950a548021552a4fea2226858c4453571bf3f24ba017eac2908"


def test_r_and_s_are_integers_so_leading_zeros_may_be_missing() -> None:
    """The first published vector has an `r` of 63 digits."""
    action = {"type": "dummy", "num": 100000000000}
    digest = l1_digest(connection_id(action, 0, None, None), "mainnet")
    signature = {
        "r": "0x53749d5b30552aeb2fca34b530185976545bb22d0b3ce6f62e31be961a59298",
        "s": "0x755c40ba9bf05223521753995abb2f73ab3229be8ec921f350cb447e384d8ed8",
        "v": 27,
    }
    assert recover(digest, signature) == ADDRESS


@pytest.mark.parametrize("vault, expires", [(None, None), ("0x" + "12" * 20, 99), (None, 2**40)])
def test_hashes_equal_the_sdks(vault: str | None, expires: int | None) -> None:
    action = {"type": "order", "orders": [{"a": 1, "b": True, "p": "2000.0", "s": "3.5",
              "r": False, "t": {"limit": {"tif": "Gtc"}}, "c": "0x" + "0" * 31 + "1"}],
              "grouping": "na"}
    for nonce in (0, 1583838, 1_790_000_000_000):
        mine = connection_id(action, nonce, vault, expires)
        assert mine == signing.action_hash(action, vault, nonce, expires)


def _stranger(reply: Any, user: User) -> bool:
    assert reply["status"] == "err", reply
    text: str = reply["response"]
    return text.startswith("User or API Wallet 0x") and user.address not in text


def test_what_is_not_the_venues_own_text_recovers_to_a_stranger(user: User) -> None:
    cancel = {"type": "cancel", "cancels": [{"a": HYPE, "o": 1}]}
    assert user.send({**cancel, "f": True})["status"] == "ok"
    assert _stranger(user.send({**cancel, "f": False}), user)
    by_cloid = {"type": "cancelByCloid", "cancels": [{"asset": HYPE, "cloid": "a" * 32}]}
    assert _stranger(user.send(by_cloid), user)
    # Key order is hashed as sent: signed in one order, posted in another, it is another action.
    swapped = {"cancels": cancel["cancels"], "type": "cancel"}
    assert _stranger(user.send(swapped, signed=cancel), user)
    assert user.send(swapped)["status"] == "ok"


def test_2000_0_is_hashed_literally(user: User) -> None:
    px = beside(user.ex, HYPE, "buy", -2)
    status = user.order(HYPE, "buy", px + "0", "5.0", "Alo")
    assert "resting" in status


def test_unrecoverable_and_unknown_signers(user: User, new_user: Any) -> None:
    body = {"action": {"type": "noop"}, "nonce": user.ex.now,
            "signature": {"r": "0x0", "s": "0x0", "v": 27}}
    reply = post(user.ex, "/exchange", body)
    assert reply == {"status": "err", "response": "Unable to recover signer."}
    nobody = new_user(77, None)
    reply = nobody.send({"type": "noop"})
    assert reply["response"] == f"User or API Wallet {nobody.address} does not exist."
    assert nobody.info("clearinghouseState")["assetPositions"] == []
    assert nobody.info("userRole") == {"role": "missing"}


def test_an_agent_acts_for_its_master_and_reads_as_empty(user: User, new_user: Any) -> None:
    agent = new_user(88, None)
    user.ex.approve(agent.address, user.address)
    status = agent.order(HYPE, "sell", beside(user.ex, HYPE, "sell", 1), "5")
    assert status["filled"]["totalSz"] == "5.0"
    assert user.account.szi(HYPE) == Decimal(-5)
    assert agent.info("clearinghouseState")["assetPositions"] == []
    assert agent.info("userRole") == {"role": "agent", "data": {"user": user.address}}


def test_approve_agent_by_signature_with_and_without_a_name(user: User) -> None:
    for number, name in ((91, ""), (92, "bot1"), (93, f"bot2 valid_until {user.ex.now + DAY_MS}")):
        agent = Key.from_key(f"0x{number:064x}").address.lower()
        action: dict[str, Any] = {
            "type": "approveAgent", "agentAddress": agent, "agentName": name,
            "nonce": user.ex.now + number,
        }
        signature = signing.sign_agent(user.key, action, False)
        if not name:
            del action["agentName"]
        body = {"action": action, "nonce": action["nonce"], "signature": signature}
        assert post(user.ex, "/exchange", body)["status"] == "ok"
    named = user.info("extraAgents")
    assert [row["name"] for row in named] == ["bot1", "bot2"]
    assert named[1]["validUntil"] == user.ex.now + DAY_MS
    agent_user = User(user.ex, 93, None)
    assert agent_user.send({"type": "noop"})["status"] == "ok"
    user.ex.advance(user.ex.now + DAY_MS + 1)
    assert "does not exist" in agent_user.send({"type": "noop"})["response"]


def test_nonces_are_a_window_of_the_hundred_highest(user: User) -> None:
    now = user.ex.now
    noop = {"type": "noop"}
    for nonce in range(now, now + 100):
        assert user.send(noop, nonce=nonce)["status"] == "ok"
    duplicate = user.send(noop, nonce=now + 5)
    assert duplicate["response"] == f"Invalid nonce: duplicate nonce {now + 5}"
    low = user.send(noop, nonce=now - 1)
    assert low["response"] == f"Invalid nonce: nonce too low {now - 1} < {now}"
    assert user.send(noop, nonce=now + 500)["status"] == "ok"
    # The smallest kept has moved up by one: the old one is now too low, not a duplicate.
    moved = user.send(noop, nonce=now)
    assert moved["response"] == f"Invalid nonce: nonce too low {now} < {now + 1}"


@pytest.mark.parametrize("offset, ok", [
    (-2 * DAY_MS, False), (-2 * DAY_MS + 1, True), (DAY_MS - 1, True), (DAY_MS, False),
])
def test_nonces_lie_between_two_days_ago_and_a_day_ahead(
    user: User, offset: int, ok: bool
) -> None:
    reply = user.send({"type": "noop"}, nonce=user.ex.now + offset)
    assert (reply["status"] == "ok") is ok
    if not ok:
        assert reply["response"].startswith("Invalid nonce: nonce too ")


def test_a_noop_takes_the_nonce_of_an_action_in_flight(user: User) -> None:
    nonce = user.ex.now + 7
    assert user.send({"type": "noop"}, nonce=nonce)["status"] == "ok"
    px = beside(user.ex, HYPE, "buy", 1)
    late = user.send(
        {"type": "order", "orders": [{"a": HYPE, "b": True, "p": px, "s": "5", "r": False,
         "t": {"limit": {"tif": "Ioc"}}}], "grouping": "na"}, nonce=nonce,
    )
    assert late["response"] == f"Invalid nonce: duplicate nonce {nonce}"
    assert not user.account.fills


def test_an_expired_action_costs_five_and_does_nothing(user: User) -> None:
    nonce = user.ex.now
    reply = user.send({"type": "noop"}, nonce=nonce, expires=user.ex.now - 1)
    assert reply == {"status": "err", "response": "Action already expired"}
    assert user.account.requests_used == 5
    assert user.send({"type": "noop"}, nonce=nonce, expires=user.ex.now)["status"] == "ok"


def test_the_address_budget_is_refused_at_http_200_then_one_in_ten_seconds(user: User) -> None:
    user.account.requests_used = 10_000
    user.account.last_action_ms = user.ex.now
    reply = user.send({"type": "noop"})
    assert reply["response"] == (
        "Too many cumulative requests sent (10001 > 10000) for cumulative volume traded $0.00. "
        "Place taker orders to free up 1 request per USDC traded."
    )
    cancel = {"type": "cancel", "cancels": [{"a": HYPE, "o": 1}]}
    assert user.send(cancel)["status"] == "ok"
    user.ex.advance(user.ex.now + 10_001)
    assert user.send({"type": "noop"})["status"] == "ok"
    assert user.info("userRateLimit")["nRequestsUsed"] == 10_002


def test_the_ip_budget_answers_429(user: User) -> None:
    statuses = [
        user.ex.http("/info", json.dumps({"type": "userRole", "user": user.address}).encode())[0]
        for _ in range(21)
    ]
    assert statuses == [200] * 20 + [429]
    user.ex.advance(user.ex.now + 60_001)
    assert user.info("userRole") == {"role": "user"}


def test_schedule_cancel_is_gated_on_volume(user: User) -> None:
    reply = user.send({"type": "scheduleCancel", "time": user.ex.now + 10_000})
    assert reply["response"] == (
        "Cannot set scheduled cancel time until enough volume traded. Required: $1000000. "
        "Traded: $0.00."
    )
    user.account.volume = Decimal(2_000_000)
    user.order(HYPE, "buy", beside(user.ex, HYPE, "buy", -2), "5", "Gtc")
    assert user.send({"type": "scheduleCancel", "time": user.ex.now + 10_000})["status"] == "ok"
    user.ex.advance(user.ex.now + 10_000)
    assert user.info("openOrders") == []
    assert user.info("historicalOrders")[0]["status"] == "scheduledCancel"


@pytest.mark.parametrize("body", [
    b"", b"null", b"{", b"[]", b'{"action":{"type":"noop"}}',
    b'{"action":{"type":"fly"},"nonce":1,"signature":{"r":"0x1","s":"0x1","v":27}}',
])
def test_what_is_not_an_action_is_422_or_an_error(user: User, body: bytes) -> None:
    status, answer = user.ex.http("/exchange", body)
    assert status in (200, 422)
    if status == 200:
        assert json.loads(answer)["status"] == "err"


@pytest.mark.parametrize("query", [
    {"type": "nothing"}, {}, [], {"type": "clearinghouseState"}, {"type": 7},
    {"type": "clearinghouseState", "user": "0x12"}, {"type": "l2Book", "coin": "NOPE"},
    {"type": "fundingHistory", "coin": "HYPE"}, {"type": "candleSnapshot", "req": {"coin": "HYPE"}},
])
def test_an_unknown_read_is_422_in_plain_text(user: User, query: Any) -> None:
    answer = user.ex.http("/info", json.dumps(query).encode())
    assert answer == (422, b"Failed to deserialize the JSON body into the target type")
