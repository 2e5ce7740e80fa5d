"""What the bot costs the venue, by the exchange's own counters (reference 6.1, 6.2)."""

import json
from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import attrs
import pytest

from carry.core.actions import MoveUsd
from carry.core.observations import Accepted, Done, NotSent, Refused
from carry.core.policy import MarketPolicy, Policy
from carry.core.state import Enter, HedgeOk
from carry.core.types import Leg, Side, Tif
from carry.exchange.accounts import SPLIT, UNIFIED
from carry.venues.hyperliquid.budget import Regime, Tier
from carry.venues.transport import PostFailed, Reply
from tests.venues.hyperliquid.direct import ACCOUNT, Desk
from tests.venues.hyperliquid.test_writes import CANCEL, FENCE, PLACE
from tests.venues.hyperliquid.whole import MINUTE_MS, Whole

POLICY = Policy(markets=(MarketPolicy(base="HYPE"), MarketPolicy(base="BTC")))
IP_LIMIT = 1_200


def whole(policy: Policy = POLICY, mode: str = UNIFIED, **more: Any) -> Whole:
    return Whole(Desk(coins=("BTC", "HYPE"), mode=mode, identified=True, **more), policy)


def unwilling() -> Policy:
    """Never enters: what it costs to look."""
    return attrs.evolve(
        POLICY, strategy=attrs.evolve(POLICY.strategy, enter_threshold_apr=D("1.9"))
    )


def held(bot: Whole) -> bool:
    return all(isinstance(c.phase, HedgeOk) for c in bot.state.carries.values())


def test_a_quiet_day() -> None:
    """At most 300 weight and one action in any minute, idle and hedged, once it has started."""
    idle = whole(unwilling())
    idle.run_ms(3 * MINUTE_MS)
    idle.count()
    idle.run_ms(37 * MINUTE_MS)
    assert 0 < idle.weight <= 300
    assert idle.actions == (0, 0)
    bot = whole()
    assert bot.run(lambda: held(bot), 2_000)
    bot.run_ms(3 * MINUTE_MS)
    bot.count()
    bot.run_ms(67 * MINUTE_MS)
    assert held(bot)
    assert 0 < bot.weight <= 300
    assert bot.actions[1] <= 1


def test_an_entry() -> None:
    """Two markets at once, slice by slice: within 80 % of the minute, an action an order."""
    bot = whole()
    assert bot.run(lambda: held(bot), 2_000)
    assert bot.weight <= IP_LIMIT * 8 // 10
    placed = len(bot.desk.exchange.accounts[ACCOUNT].records)
    assert placed <= bot.actions[0] <= placed + 10  # the leverage of each, and what is repeated


def hits(kind: str, share: int, then: Callable[[Callable[[], Reply]], Reply]) -> Any:
    """A mangle that hits every so many-th request of a kind."""
    count = [0]

    def mangle(path: str, body: bytes, send: Callable[[], Reply]) -> Reply:
        request = json.loads(body)
        if (request.get("type") or request["action"]["type"]) == kind:
            count[0] += 1
            if count[0] % share == 0:
                return then(send)
        return send()

    return mangle


def lost(send: Callable[[], Reply]) -> Reply:
    send()
    raise PostFailed(True, "lost")


def test_a_repair_storm() -> None:
    """Every second reply to an order is lost: fences, queries and looks stay within the minute."""
    bot = whole()
    bot.desk.transport.mangle = hits("order", 2, lost)
    bot.run(lambda: held(bot), 3_000)
    bot.desk.transport.mangle = lambda path, body, send: send()
    assert bot.run(lambda: held(bot) and not bot.state.intents, 3_000)
    assert bot.weight <= Tier.URGENT
    assert 0 < bot.actions[1] <= 60


def test_a_reconnect() -> None:
    """Each new connection asks for a sweep: ten in a row do not use the minute up."""
    bot = whole()
    assert bot.run(lambda: held(bot), 2_000)
    bot.run_ms(5 * MINUTE_MS)
    bot.count()
    for _ in range(10):
        bot.desk.link.abort()
        bot.run_ms(6_000)
    assert held(bot)
    assert bot.weight <= IP_LIMIT * 8 // 10
    assert bot.actions[1] <= 1


# --- the account's actions ----------------------------------------------------------------------


def test_entries_stop_with_a_reserve() -> None:
    """Below 2,000 left nothing is entered; what was counted down by ourselves counts."""
    bot = whole()
    bot.desk.exchange.accounts[ACCOUNT].requests_used = 8_100
    bot.run(lambda: False, 40)
    assert not any(isinstance(c.phase, Enter | HedgeOk) for c in bot.state.carries.values())
    assert bot.actions == (0, 0)


def test_used_up_actions_are_one_in_ten_seconds() -> None:
    """The venue refuses the second; the bot then waits by itself. A cancel is counted apart."""
    desk = Desk(mode=UNIFIED, identified=True)
    desk.venue.markets(("HYPE",))
    account = desk.exchange.accounts[ACCOUNT]
    account.requests_used = 10**9
    book = desk.venue.book("HYPE", Leg.PERP).book
    px = (book.ask_px * D("1.05")).quantize(D("0.01"))
    order = attrs.evolve(PLACE, side=Side.SELL, px=px, sz=D(1), tif=Tif.ALO)

    def sent(n: int) -> Any:
        now = desk.exchange.now
        cloid = f"0x{n:032x}"
        place = attrs.evolve(order, nonce=now + n, expires_ms=now + 10_000, cloid=cloid)
        return desk.venue.write(place)

    first, second = sent(1), sent(2)
    refused = first if isinstance(first, Refused) else second
    assert isinstance(refused, Refused)
    assert refused.code == "budget"
    posts = desk.transport.posts
    third = sent(3)
    assert isinstance(third, NotSent)
    assert "one every 10 s, the next in 11 s" in third.why
    assert desk.transport.posts == posts
    desk.clock.wait(desk.venue, 11_100)
    sent(4)
    assert desk.transport.posts == posts + 1


def test_the_regime_ends_with_a_fill() -> None:
    regime = Regime()
    assert regime.holds(PLACE, 0) is None
    regime.sent(Refused(intent=1, code="budget", text="Too many cumulative requests sent"), 0)
    assert regime.holds(PLACE, 10_999) is not None
    assert regime.holds(FENCE, 10_999) is not None
    assert regime.holds(CANCEL, 10_999) is None
    assert regime.holds(PLACE, 11_000) is None
    regime.sent(Accepted(intent=1, oid="1", filled_sz=D(0), resting=True), 11_000)
    assert regime.holds(PLACE, 12_000) is not None
    regime.sent(Accepted(intent=1, oid="1", filled_sz=D(1), resting=False), 22_000)
    assert regime.holds(PLACE, 22_000) is None


# --- USDC between own wallets --------------------------------------------------------------------


@pytest.mark.parametrize("to_perp", [True, False])
def test_usdc_moves_between_the_wallets_of_the_account(to_perp: bool) -> None:
    """agentSendAsset (reference 2.4): both wallets, by other endpoints than the action's."""
    desk = Desk(mode=SPLIT, identified=True)
    desk.venue.markets(("HYPE",))
    before = desk.venue.balances().usd.total, desk.venue.positions().equity
    move = MoveUsd(
        intent=1, usd=D("123.456789"), to_perp=to_perp, nonce=desk.exchange.now,
        expires_ms=desk.exchange.now + 10_000, why="test",
    )  # fmt: skip
    assert isinstance(desk.venue.write(move), Done)
    sign = 1 if to_perp else -1
    after = desk.venue.balances().usd.total, desk.venue.positions().equity
    assert after == (before[0] - sign * D("123.456789"), before[1] + sign * D("123.456789"))
    too_much = attrs.evolve(move, usd=D(10**7), nonce=desk.exchange.now)
    refused = desk.venue.write(too_much)
    assert isinstance(refused, Refused)
    assert refused.code == "balance"


def test_a_unified_account_refuses_the_move_by_name() -> None:
    desk = Desk(mode=UNIFIED, identified=True)
    desk.venue.markets(("HYPE",))
    move = MoveUsd(
        intent=1, usd=D(5), to_perp=True, nonce=desk.exchange.now,
        expires_ms=desk.exchange.now + 10_000, why="test",
    )  # fmt: skip
    refused = desk.venue.write(move)
    assert isinstance(refused, Refused)
    assert refused.code == "disabled"
