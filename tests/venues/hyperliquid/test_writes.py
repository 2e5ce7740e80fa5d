"""From core action to bytes, and from reply to outcome: each text, each shape, each way to fail."""

import json
from decimal import Decimal as D
from typing import Any

import attrs
import pytest

from carry.core.actions import Cancel, CancelForeign, Fence, MoveUsd, Place, SetLeverage, Write
from carry.core.observations import (
    REFUSALS,
    Accepted,
    Cancelled,
    CancelUnanswered,
    Done,
    FenceHeld,
    FenceUnanswered,
    NonceClosed,
    NotSent,
    OutcomeUnknown,
    Refused,
)
from carry.core.types import Leg, Side, Tif
from carry.venues.hyperliquid.budget import Budget, Tier, of_read
from carry.venues.hyperliquid.constants import Network
from carry.venues.hyperliquid.metadata import NOTHING_KNOWN
from carry.venues.hyperliquid.replies import outcome_of
from carry.venues.hyperliquid.rest import Posted
from carry.venues.hyperliquid.venue import HyperliquidVenue
from carry.venues.hyperliquid.wire import Unsendable, action_of
from carry.venues.keys import AgentKey
from carry.venues.transport import PostFailed
from tests.venues.hyperliquid.support import (
    ACCOUNT,
    CLOID,
    TEST_KEY,
    FakeClock,
    FakeLink,
    FakeTransport,
    encoded,
    recorded,
    venue_of,
)
from tests.venues.hyperliquid.test_signing import Flaky

NONCE, EXPIRES = 1_700_000_000_000, 1_700_000_010_000
PLACE = Place(
    intent=7, coin="HYPE", leg=Leg.PERP, side=Side.SELL, px=D("27.500"), sz=D("1.50"),
    tif=Tif.IOC, reduce_only=False, cloid=CLOID, nonce=NONCE, expires_ms=EXPIRES, why="hedge",
)  # fmt: skip
CANCEL = Cancel(
    intent=8, coin="HYPE", leg=Leg.SPOT, cloid=CLOID, nonce=NONCE, expires_ms=EXPIRES, why="stale"
)
FOREIGN = CancelForeign(
    coin="HYPE", leg=Leg.PERP, oid="77738308", nonce=NONCE, expires_ms=EXPIRES, why="no intent"
)
LEVERAGE = SetLeverage(
    intent=9, coin="BTC", leverage=2, cross=True, nonce=NONCE, expires_ms=EXPIRES, why="start"
)
USDC_ID = "0x6d1e7cde53ba9467b783cb7c530ce054"
MOVE = MoveUsd(
    intent=10, usd=D("12.50"), to_perp=True, nonce=NONCE, expires_ms=EXPIRES, why="entry"
)
FENCE = Fence(intent=7, nonce=NONCE, why="unknown")


# --- what leaves ---------------------------------------------------------------------------------


def test_a_place_as_the_venue_hashes_it() -> None:
    expected = {
        "type": "order",
        "orders": [{"a": 3, "b": False, "p": "27.5", "s": "1.5", "r": False,
                    "t": {"limit": {"tif": "Ioc"}}, "c": CLOID}],
        "grouping": "na",
    }  # fmt: skip
    assert json.dumps(action_of(PLACE, 3)) == json.dumps(expected)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (CANCEL, {"type": "cancelByCloid", "cancels": [{"asset": 3, "cloid": CLOID}], "f": True}),
        (FOREIGN, {"type": "cancel", "cancels": [{"a": 3, "o": 77738308}], "f": True}),
        (LEVERAGE, {"type": "updateLeverage", "asset": 3, "isCross": True, "leverage": 2}),
        (FENCE, {"type": "noop"}),
    ],
)
def test_other_actions_key_by_key(write: Write, expected: Any) -> None:
    assert json.dumps(action_of(write, 3)) == json.dumps(expected)


@pytest.mark.parametrize(
    ("to_perp", "wallets"), [(True, ("spot", "")), (False, ("", "spot"))], ids=("in", "out")
)
def test_a_move_between_own_wallets(to_perp: bool, wallets: tuple[str, str]) -> None:
    """To the account itself and nobody else, under the request's own nonce."""
    transport = FakeTransport({}, [b'{"status":"ok","response":{"type":"default"}}'])
    venue = venue_of(transport)
    assert venue.write(attrs.evolve(MOVE, to_perp=to_perp)) == Done(intent=10)
    body = json.loads(transport.posted[-1])
    assert body["nonce"] == body["action"]["nonce"] == NONCE
    assert body["expiresAfter"] == EXPIRES
    expected = {
        "type": "agentSendAsset", "destination": venue.account, "sourceDex": wallets[0],
        "destinationDex": wallets[1], "token": f"USDC:{USDC_ID}", "amount": "12.5",
        "fromSubAccount": "", "nonce": NONCE,
    }  # fmt: skip
    assert json.dumps(body["action"]) == json.dumps(expected)


@pytest.mark.parametrize("usd", ["0", "-1", "0.0000001"])
def test_a_move_that_the_venue_would_refuse_is_not_sent(usd: str) -> None:
    transport = FakeTransport({})
    venue = venue_of(transport)
    assert isinstance(venue.write(attrs.evolve(MOVE, usd=D(usd))), NotSent)
    assert transport.posted == []


def test_a_refused_move_is_named() -> None:
    text = b'{"status":"err","response":"Insufficient balance for token transfer"}'
    venue = venue_of(FakeTransport({}, [text]))
    found = venue.write(MOVE)
    assert isinstance(found, Refused)
    assert found.code == "balance"


def test_a_move_before_the_quote_token_was_read_is_not_sent() -> None:
    transport = FakeTransport({})
    venue = venue_of(transport)
    venue._known = NOTHING_KNOWN
    assert isinstance(venue.write(MOVE), NotSent)
    assert transport.posted == []


@pytest.mark.parametrize(
    ("px", "text"),
    [("2000.0", "2000"), ("1E+3", "1000"), ("0.00010", "0.0001"), ("1E-7", "0.0000001")],
)
def test_numbers_are_canonical(px: str, text: str) -> None:
    assert action_of(attrs.evolve(PLACE, px=D(px)), 3)["orders"][0]["p"] == text


@pytest.mark.parametrize(
    "broken",
    [
        {"px": D("0")}, {"px": D("-1")}, {"sz": D("0")}, {"px": D("NaN")}, {"sz": D("Infinity")},
        {"px": D("0.000000001")}, {"cloid": CLOID.upper()}, {"cloid": CLOID[2:]}, {"cloid": ""},
        {"cloid": "0x" + "A" * 32},
    ],
)  # fmt: skip
def test_what_the_venue_would_read_otherwise_is_not_sent(broken: dict[str, Any]) -> None:
    place = attrs.evolve(PLACE, **broken)
    with pytest.raises(Unsendable):
        action_of(place, 3)
    transport = FakeTransport({})
    assert isinstance(venue_of(transport).write(place), NotSent)
    assert transport.posted == []


def test_the_asset_is_the_legs_own() -> None:
    transport = FakeTransport({}, [b"", b"", b""])
    venue = venue_of(transport)
    venue.write(PLACE)
    venue.write(attrs.evolve(PLACE, leg=Leg.SPOT))
    venue.write(LEVERAGE)
    perp, spot, leverage = (json.loads(body)["action"] for body in transport.posted)
    # HYPE is perp 3 and pair @107 of the fixture; BTC is perp 0.
    assert (perp["orders"][0]["a"], spot["orders"][0]["a"], leverage["asset"]) == (3, 10107, 0)


def test_a_fence_has_the_nonce_of_its_intent_and_never_expires() -> None:
    transport = FakeTransport({}, [b"", b""])
    venue = venue_of(transport)
    venue.write(PLACE)
    venue.write(FENCE)
    place, fence = map(json.loads, transport.posted)
    assert (place["nonce"], place["expiresAfter"]) == (NONCE, EXPIRES)
    assert (fence["nonce"], fence["expiresAfter"]) == (NONCE, None)
    assert fence["vaultAddress"] is None


def test_without_metadata_or_key_nothing_leaves() -> None:
    transport = FakeTransport({})
    venue = venue_of(transport)
    unknown = venue.write(attrs.evolve(PLACE, coin="DOGE"))
    assert isinstance(unknown, NotSent)
    assert "metadata of DOGE" in unknown.why
    reader = HyperliquidVenue(
        network=venue._network, account=ACCOUNT, coins=("HYPE",), key=None, clock=FakeClock(),
        transport=transport, link=venue.stream.link,
    )  # fmt: skip
    silent = reader.write(FENCE)
    assert isinstance(silent, FenceUnanswered)
    assert "no agent key" in silent.why
    assert transport.posted == []


def test_a_wrong_signature_is_not_sent_and_is_a_fault() -> None:
    key = AgentKey(TEST_KEY)
    transport = FakeTransport({})
    venue = venue_of(transport, key=key)
    key._key = Flaky(key._key)
    assert isinstance(venue.write(PLACE), NotSent)
    assert transport.posted == []
    (fault,) = venue.faults()
    assert fault.name == "signature"
    assert "does not recover to agent" in fault.text
    assert venue.faults() == ()


def test_the_master_key_is_refused() -> None:
    key = AgentKey(TEST_KEY)
    with pytest.raises(ValueError, match="master"):
        HyperliquidVenue(
            network=Network.TESTNET, account="0x" + key.address[2:].upper(), coins=(), key=key,
            clock=FakeClock(), transport=FakeTransport({}), link=FakeLink(),
        )  # fmt: skip


# --- what comes back -----------------------------------------------------------------------------


def ok(kind: str, *statuses: Any) -> Any:
    return {"status": "ok", "response": {"type": kind, "data": {"statuses": list(statuses)}}}


def err(text: str) -> Any:
    return {"status": "err", "response": text}


DEFAULT = {"status": "ok", "response": {"type": "default"}}


def after(write: Write, reply: Any) -> Any:
    body = reply if isinstance(reply, bytes) else encoded(reply)
    return outcome_of(write, Posted(True, 200, body, ""))


def filled(sz: str, **more: Any) -> Any:
    return ok("order", {"filled": {"totalSz": sz, "avgPx": "27.5", "oid": 5, **more}})


RESTING = ok("order", {"resting": {"oid": 5, "cloid": CLOID}})


@pytest.mark.parametrize(
    ("tif", "reply", "filled_sz", "resting"),
    [
        (Tif.IOC, filled("1.5"), "1.5", False),
        (Tif.IOC, filled("0.4", cloid=CLOID), "0.4", False),  # the rest was cancelled silently
        (Tif.GTC, filled("1.5"), "1.5", False),
        (Tif.GTC, filled("0.4"), "0.4", True),  # the rest may be in the book
        (Tif.GTC, RESTING, "0", True),
        (Tif.ALO, RESTING, "0", True),
        (Tif.IOC, RESTING, "0", True),  # odd, and so not believed to be gone
    ],
)
def test_accepted(tif: Tif, reply: Any, filled_sz: str, resting: bool) -> None:
    expected = Accepted(intent=7, oid="5", filled_sz=D(filled_sz), resting=resting)
    assert after(attrs.evolve(PLACE, tif=tif), reply) == expected


ORDER_TEXTS = [
    ("Price must be divisible by tick size.", "tick"),
    ("Order must have minimum value of $10.", "min_notional"),
    ("Order must have minimum value of 10 USDC.", "min_notional"),
    ("Insufficient margin to place order.", "margin"),
    ("Reduce only order would increase position.", "reduce_only"),
    ("Post only order would have immediately matched, bbo was 1866.7@1866.9.", "post_only_crossed"),
    ("Order could not immediately match against any resting orders.", "no_match"),
    ("Invalid TP/SL price.", "other"),
    ("No liquidity available for market order.", "no_match"),
    ("Order would increase open interest while open interest is capped", "oi_cap"),
    ("Order would increase open interest too quickly", "oi_cap"),
    ("Insufficient spot balance", "balance"),
    ("Order has insufficient spot balance to trade", "balance"),
    ("Order price too far from oracle", "price_band"),
    ("Price too far from oracle", "price_band"),
    ("Order price cannot be more than 80% away from the reference price", "price_band"),
    ("Order would cause position to exceed margin tier limit at current leverage", "margin"),
    ("Order has zero size.", "lot"),
    ("Order has invalid size.", "lot"),
    ("Order has invalid price.", "tick"),
    ("Orders are empty.", "other"),
    ("Invalid spot", "other"),
    ("Reduce-only is invalid for spot trading.", "other"),
    ("Only post-only orders allowed immediately after a network upgrade", "post_only_window"),
    ("Only post-only orders allowed immediately after network upgrade", "post_only_window"),
    ("User or API Wallet 0x281abb829ea0b0291ceaa3b14b5b5d893070e8d5 does not exist.", "identity"),
    ("L1 error: User or API Wallet 0x281abb does not exist.", "identity"),
    ("Must deposit before performing actions. User: 0x281abb", "identity"),
    ("Unable to recover signer.", "identity"),
    ("User has pending agent removal", "identity"),
    ("Invalid nonce: nonce too low 5 < 9", "nonce"),
    ("Invalid nonce: duplicate nonce 1700000000000", "nonce"),
    ("Action already expired", "expired"),
    ("Too many cumulative requests sent (97460 > 97456) for cumulative volume traded $87457.46. "
     "Place taker orders to free up 1 request per USDC traded.", "budget"),
    ("Signed action over weight limit of 200.", "other"),
    ("Invalid leverage value", "leverage"),
    ("Cannot switch leverage type with open position.", "leverage"),
    ("Isolated position does not have sufficient margin available to decrease leverage. To "
     "decrease leverage, add margin to the position.", "leverage"),
    ("Position does not use isolated margin.", "leverage"),
    ("Insufficient balance for token transfer", "balance"),
    ("Action disabled when unified account is active", "disabled"),
    ("Abstraction transition not allowed", "disabled"),
    ("Unified account only supports sending assets through spot", "disabled"),
    ("Invalid order: cloid already used", "other"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code"), ORDER_TEXTS)
@pytest.mark.parametrize("suffix", ["", " asset=10107"])
def test_each_text_for_an_order(text: str, code: str, suffix: str) -> None:
    assert code in REFUSALS
    refused = Refused(intent=7, code=code, text=(text + suffix)[:200])
    assert after(PLACE, ok("order", {"error": text + suffix})) == refused
    assert after(PLACE, err(text + suffix)) == refused


@pytest.mark.parametrize(
    "reply",
    [
        err("Something nobody has seen before."),
        ok("order", {"error": "Something nobody has seen before."}),
        ok("order"),
        ok("order", {"resting": {"oid": 5}}, {"resting": {"oid": 6}}),
        ok("order", "waitingForFill"),
        ok("order", {"resting": {}}),
        ok("order", {"resting": {"oid": "5"}}),
        ok("order", {"filled": {"oid": 5}}),
        ok("order", {"fulfilled": {"oid": 5}}),
        ok("order", {"resting": {"oid": 5}, "error": "no"}),
        ok("order", None),
        ok("cancel", "success"),
        filled("NaN"), filled("0"), filled("-1"), filled("1.6"), filled("１"), filled("1e400"),
        ok("order", {"resting": {"oid": 5, "cloid": "0x" + "f" * 32}}),
        {"status": "ok"}, {"status": "err"}, {"status": "maybe", "response": "x"},
        {"status": "err", "response": {"type": "order"}}, {"status": 200}, [], None, "ok", 5,
        DEFAULT, b"", b"{", b"null", b"<html>502 Bad Gateway</html>", b"\xff\xfe", b"[" * 5000,
        json.dumps(RESTING).encode()[:-3],
    ],
)  # fmt: skip
def test_all_else_leaves_an_order_unknown(reply: Any) -> None:
    outcome = after(PLACE, reply)
    assert isinstance(outcome, OutcomeUnknown), outcome
    assert outcome.why


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (ok("cancel", "success"), Cancelled(intent=8, gone=False)),
        (ok("cancel", {"error": "Order was never placed, already canceled, or filled."}),
         Cancelled(intent=8, gone=True)),
        (ok("cancel", {"error": "Order was never placed, already canceled, or filled. asset=173"}),
         Cancelled(intent=8, gone=True)),
    ],
)  # fmt: skip
def test_cancels(reply: Any, expected: Cancelled) -> None:
    assert after(CANCEL, reply) == expected
    assert after(FOREIGN, reply) == attrs.evolve(expected, intent=0)


@pytest.mark.parametrize(
    "reply",
    [err("Too many cumulative requests sent (2 > 1)"), ok("cancel"), ok("order", "success"),
     ok("cancel", "success", "success"), ok("cancel", {"error": "What?"}), ok("cancel", 5), b"{"],
)  # fmt: skip
def test_a_cancel_without_an_answer_is_repeated(reply: Any) -> None:
    assert isinstance(after(CANCEL, reply), CancelUnanswered)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (DEFAULT, FenceHeld(intent=7)),
        (err("Invalid nonce: duplicate nonce 1700000000000"), NonceClosed(intent=7)),
        (err("Invalid nonce: nonce too low 5 < 9"), NonceClosed(intent=7)),
        (err("L1 error: Invalid nonce: duplicate nonce 5"), NonceClosed(intent=7)),
    ],
)
def test_fences(reply: Any, expected: Any) -> None:
    assert after(FENCE, reply) == expected


@pytest.mark.parametrize(
    "reply",
    [err("Too many cumulative requests sent (2 > 1)"), err("nonce"),
     err("User or API Wallet 0x1 does not exist."), ok("order", {"resting": {"oid": 1}}), b"",
     b"<html>", {"status": "ok"}],
)  # fmt: skip
def test_a_fence_without_a_decisive_answer_is_repeated(reply: Any) -> None:
    assert isinstance(after(FENCE, reply), FenceUnanswered)


def test_leverage() -> None:
    assert after(LEVERAGE, DEFAULT) == Done(intent=9)
    refused = after(LEVERAGE, err("Invalid leverage value"))
    assert refused == Refused(intent=9, code="leverage", text="Invalid leverage value")
    assert isinstance(after(LEVERAGE, ok("order")), OutcomeUnknown)
    assert isinstance(after(LEVERAGE, err("New words")), OutcomeUnknown)


@pytest.mark.parametrize(
    ("write", "unsent", "lost"),
    [
        (PLACE, NotSent, OutcomeUnknown),
        (LEVERAGE, NotSent, OutcomeUnknown),
        (CANCEL, CancelUnanswered, CancelUnanswered),
        (FOREIGN, CancelUnanswered, CancelUnanswered),
        (FENCE, FenceUnanswered, FenceUnanswered),
    ],
)
def test_whether_bytes_left_decides(write: Write, unsent: type, lost: type) -> None:
    script = [PostFailed(False, "refused"), PostFailed(True, "reset"), (502, {}, b"<html>"),
              (429, {}, b"null"), (422, {}, b"Failed to deserialize"), RuntimeError]  # fmt: skip
    transport = FakeTransport({}, script)
    venue = venue_of(transport)
    assert isinstance(venue.write(write), unsent)
    for _ in range(5):
        assert isinstance(venue.write(write), lost)


def test_recorded_replies() -> None:
    """Every recorded reply of `/exchange` is recognised."""
    for name in ("Orders_Above10", "Orders_Below10", "Orders_Cloid", "Orders_InvalidAuth",
                 "Cancel_NonExistent", "Cancel_Success", "CancelByCloid_Success"):  # fmt: skip
        for row in json.loads(recorded(f"hl-go-sonirico-cassettes/{name}.json").read_text()):
            action = row["request"]["action"]
            if action["type"] == "order":
                order = action["orders"][0]
                place = attrs.evolve(
                    PLACE, tif=Tif.GTC, sz=D(order["s"]), cloid=order.get("c", CLOID)
                )
                assert isinstance(after(place, row["response"]), (Accepted, Refused)), row
            else:
                assert isinstance(after(CANCEL, row["response"]), Cancelled), row


# --- the budget ----------------------------------------------------------------------------------


def test_reads_leave_room_for_writes_and_writes_for_fences() -> None:
    budget, now = Budget(), 1_000_000
    while budget.take(20, of_read("receipts", 20), now):
        pass
    assert budget.used(now) == 660, "the rest is for what is traded on"
    while budget.take(2, of_read("book:HYPE:spot", 2), now):
        pass
    assert budget.used(now) == 840
    while budget.take(20, of_read("fills", 20), now):
        pass
    assert budget.used(now) == 900
    while budget.take(1, Tier.WRITE, now):
        pass
    assert budget.used(now) == 960
    while budget.take(1, Tier.URGENT, now):
        pass
    assert budget.used(now) == 1150


def test_no_minute_holds_more_than_the_bound() -> None:
    """A sliding window: at 59.999 s what was spent at 0 still counts, at 60 s it does not."""
    budget = Budget()
    assert budget.take(840, Tier.READ, 0)
    assert not budget.take(1, Tier.READ, 59_999)
    assert budget.take(840, Tier.READ, 60_000)


def test_a_429_pauses_reads_not_writes() -> None:
    budget = Budget()
    budget.refused(0)
    assert not budget.take(2, Tier.READ, 9_999)
    assert budget.take(1, Tier.WRITE, 9_999)
    assert budget.take(2, Tier.READ, 10_000)


def test_without_budget_an_order_is_not_sent_but_what_reduces_is() -> None:
    clock = FakeClock()
    transport = FakeTransport({}, [RESTING, ok("cancel", "success"), DEFAULT])
    venue = venue_of(transport, clock=clock)
    venue.rest.budget.charge(960, clock.mono_ms())
    refused = venue.write(attrs.evolve(PLACE, leg=Leg.SPOT, side=Side.BUY))
    assert isinstance(refused, NotSent)
    assert "local budget" in refused.why
    assert isinstance(venue.write(PLACE), Accepted)  # a perp sale hedges
    assert isinstance(venue.write(CANCEL), Cancelled)
    assert isinstance(venue.write(FENCE), FenceHeld)
