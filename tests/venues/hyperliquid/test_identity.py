"""Who trades for whom (reference 0, 1.3, 8.2): each mistake is told by its name."""

import json
from typing import Any

import pytest

from carry.core.observations import Accepted, NotSent
from carry.venues.base import ReadFailed
from carry.venues.hyperliquid.constants import Network
from carry.venues.hyperliquid.signing import action_hash, l1_digest
from carry.venues.hyperliquid.venue import HyperliquidVenue
from carry.venues.keys import AgentKey, Signature
from tests.venues.hyperliquid.support import (
    ACCOUNT,
    TEST_KEY,
    TEST_KEY_ADDRESS,
    FakeClock,
    FakeLink,
    FakeTransport,
    venue_of,
)
from tests.venues.hyperliquid.test_writes import PLACE, filled

MASTER = "0x00000000000000000000000000000000000000bb"
OTHER = "0x00000000000000000000000000000000000000cc"
USER: Any = {"role": "user"}
MINE: Any = {"role": "agent", "data": {"user": ACCOUNT}}
SUB: Any = {"role": "subAccount", "data": {"master": MASTER.upper().replace("0X", "0x")}}


def roles(account: Any, agent: Any) -> Any:
    """Answers `userRole` by whose role is asked for."""
    return lambda request: account if request["user"] == ACCOUNT else agent


def unidentified(transport: FakeTransport) -> HyperliquidVenue:
    venue = HyperliquidVenue(
        network=Network.MAINNET,
        account=ACCOUNT,
        coins=("BTC", "HYPE"),
        key=AgentKey(TEST_KEY),
        clock=FakeClock(),
        transport=transport,
        link=FakeLink(),
        identified=False,
    )
    venue.markets(("BTC", "HYPE"))
    return venue


@pytest.mark.parametrize(
    ("account", "agent", "agents", "problem"),
    [
        (USER, MINE, [], None),
        (SUB, {"role": "agent", "data": {"user": MASTER}}, [], None),
        (USER, MINE, [{"address": TEST_KEY_ADDRESS, "name": "b", "validUntil": None}], None),
        (MINE, MINE, [], f"agent used as account: {ACCOUNT} is an agent of"),
        ({"role": "missing"}, MINE, [], "wrong network or address: mainnet knows no account"),
        ({"role": "vault"}, MINE, [], "vault used as account"),
        ({"role": "newRole"}, MINE, [], "unknown role: the venue calls"),
        (USER, {"role": "missing"}, [],
         f"agent not approved: mainnet does not know {TEST_KEY_ADDRESS}"),
        (USER, USER, [], f"master key used as agent: {TEST_KEY_ADDRESS} is an account of its own"),
        (USER, SUB, [], "master key used as agent"),
        (USER, {"role": "agent", "data": {"user": OTHER}}, [], "agent of another account"),
        (SUB, MINE, [], "agent of another account"),
        (USER, MINE, [{"address": TEST_KEY_ADDRESS, "name": "b", "validUntil": 5}],
         "agent expired"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_name(
    account: Any, agent: Any, agents: Any, problem: str | None
) -> None:
    transport = FakeTransport({"userRole": roles(account, agent), "extraAgents": agents})
    found = venue_of(transport).identify()
    assert (found.problem is None) == (problem is None)
    assert problem is None or (found.problem or "").startswith(problem)


def test_the_master_key_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(ValueError, match="which can withdraw"):
        HyperliquidVenue(
            network=Network.MAINNET,
            account=TEST_KEY_ADDRESS,
            coins=(),
            key=AgentKey(TEST_KEY),
            clock=FakeClock(),
            transport=FakeTransport({}),
            link=FakeLink(),
        )


def test_nothing_is_signed_before_roles_were_told() -> None:
    """After an outage at the start the first order asks; a mistake reaches the core by name."""
    down: Any = (502, {}, b"")
    transport = FakeTransport(
        {"userRole": down, "extraAgents": []}, [filled("1.5"), filled("1.5")]
    )
    venue = unidentified(transport)
    with pytest.raises(ReadFailed):
        venue.identify()
    outcome = venue.write(PLACE)
    assert isinstance(outcome, NotSent)
    assert "HTTP 502" in outcome.why
    transport.info["userRole"] = roles(USER, {"role": "missing"})
    assert isinstance(venue.write(PLACE), NotSent)
    (fault,) = venue.faults()
    assert (fault.name, fault.text.split(":")[0]) == ("identity", "agent not approved")
    assert not transport.posted
    transport.info["userRole"] = roles(USER, MINE)
    assert isinstance(venue.write(PLACE), Accepted)
    asked = len(transport.asked)
    venue.write(PLACE)
    assert len(transport.asked) == asked  # once is enough


def test_a_sub_account_is_traded_in_its_master_s_name() -> None:
    """Reference 2.1: `vaultAddress` names it, and is part of what is signed."""
    agent = {"role": "agent", "data": {"user": MASTER}}
    agents = {MASTER: [{"address": TEST_KEY_ADDRESS, "name": "b", "validUntil": 2_000_000_000_000}]}
    transport = FakeTransport(
        {"userRole": roles(SUB, agent), "extraAgents": lambda q: agents[q["user"]]},
        [filled("1.5")],
    )
    venue = unidentified(transport)
    found = venue.identify()
    assert (found.problem, found.master, found.agent_name) == (None, MASTER, "b")
    assert venue.agent_read().valid_until_at_ms == 2_000_000_000_000
    venue.write(PLACE)
    body = json.loads(transport.posted[0])
    assert body["vaultAddress"] == ACCOUNT
    digest = l1_digest(
        action_hash(body["action"], body["nonce"], ACCOUNT, body["expiresAfter"]), Network.MAINNET
    )
    assert AgentKey(TEST_KEY).made(Signature(**body["signature"]), digest)


@pytest.mark.parametrize(
    ("agents", "until"),
    [
        ([{"address": TEST_KEY_ADDRESS.upper().replace("0X", "0x"), "name": "b",
           "validUntil": 7}], 7),
        ([{"address": TEST_KEY_ADDRESS, "name": "b", "validUntil": None}], None),
        ([{"address": OTHER, "name": "b", "validUntil": 7}], None),  # ours has no name
    ],
)  # fmt: skip
def test_the_agent_s_end(agents: Any, until: int | None) -> None:
    venue = venue_of(FakeTransport({"extraAgents": agents}))
    assert venue.agent_read().valid_until_at_ms == until
