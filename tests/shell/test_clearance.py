"""The look before signing: each breach is refused even when the bot asks."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from carry.core.actions import Cancel, Fence, MoveUsd, Place, SetLeverage
from carry.core.observations import (
    Accepted,
    Balance,
    BalancesRead,
    Context,
    ContextsRead,
    MarketsRead,
    NotSent,
    Observations,
    OutcomeUnknown,
    Position,
    PositionsRead,
    Refused,
)
from carry.core.policy import MarketPolicy, Policy
from carry.core.types import Leg, Side, Tif
from carry.shell.clearance import Facts, Limits, fold, limits_of, passed, refused

D = Decimal
NOW = 1_000_000
VENUE = 1_700_000_000_000
LIMITS: Limits = attrs.evolve(
    limits_of(Policy(markets=(MarketPolicy(base="HYPE"), MarketPolicy(base="BTC")))),
    leg_usd=D(1000),
    slice_usd=D(250),
    move_usd=D(500),
    orders_per_min=30,
    leverage=1,
    band=D("0.06"),
)
PLACE = Place(
    intent=1,
    coin="HYPE",
    leg=Leg.SPOT,
    side=Side.BUY,
    px=D(25),
    sz=D(8),
    tif=Tif.IOC,
    reduce_only=False,
    cloid="0x" + "0" * 32,
    nonce=VENUE,
    expires_ms=VENUE + 10_000,
    why="enter",
)
SELL = attrs.evolve(PLACE, side=Side.SELL)
SHORT = attrs.evolve(PLACE, leg=Leg.PERP, side=Side.SELL)
COVER = attrs.evolve(PLACE, leg=Leg.PERP, side=Side.BUY, reduce_only=True)
LEVER = SetLeverage(
    intent=2, coin="HYPE", leverage=1, cross=True, nonce=VENUE, expires_ms=VENUE + 10_000, why=""
)
MOVE = MoveUsd(intent=3, usd=D(100), to_perp=True, nonce=VENUE, expires_ms=VENUE + 10_000, why="")
CANCEL = Cancel(
    intent=1, coin="HYPE", leg=Leg.SPOT, cloid="0x0", nonce=VENUE, expires_ms=VENUE + 1, why=""
)


def reads(spot: str = "0", perp: str = "0", issued_ms: int = NOW) -> Observations:
    positions = {}
    if perp != "0":
        positions["HYPE"] = Position(sz=D(perp), entry_ntl=D(0), margin_used=D(0))
    return Observations(
        mono_ms=issued_ms,
        wall_ms=VENUE,
        venue_ms=VENUE,
        reads=(
            MarketsRead(markets={"HYPE": None, "OLD": None}, broken={}, issued_ms=issued_ms),
            ContextsRead(
                contexts={
                    coin: Context(mark_px=D(25), oracle_px=D(25), funding_rate=D(0))
                    for coin in ("HYPE", "OLD")
                },
                issued_ms=issued_ms,
            ),
            PositionsRead(
                positions=positions,
                raw_usd=D(0),
                equity=D(0),
                margin_used=D(0),
                maintenance=D(0),
                at_ms=VENUE,
                issued_ms=issued_ms,
            ),
            BalancesRead(
                usd=Balance(total=D(0), hold=D(0)),
                coins={"HYPE": Balance(total=D(spot), hold=D(0))},
                issued_ms=issued_ms,
            ),
        ),
    )


def facts(own_spot: str = "0", own_perp: str = "0", **read: Any) -> Facts:
    return fold(Facts(own={"HYPE/spot": D(own_spot), "HYPE/perp": D(own_perp)}), reads(**read))


FLAT = facts()
HELD = facts("40", "-40", spot="40", perp="-40")  # at the cap: 40 x 25
WITHDRAW = type("Withdraw", (), {"coin": "HYPE", "nonce": VENUE, "expires_ms": VENUE + 1})()


@pytest.mark.parametrize(
    ("known", "action", "said"),
    [
        # actions and assets
        (FLAT, WITHDRAW, "Withdraw is no action that this bot takes"),
        (FLAT, attrs.evolve(PLACE, coin="DOGE"), "DOGE is not among the markets"),
        (FLAT, attrs.evolve(CANCEL, coin="DOGE"), "DOGE is not among the markets"),
        (FLAT, attrs.evolve(PLACE, coin="OLD"), "OLD is not configured: it may only be closed"),
        # a slice, and caps of both legs
        (FLAT, attrs.evolve(PLACE, sz=D("11.01")), "more than a slice, $250"),
        (HELD, attrs.evolve(PLACE, sz=D("4.01")), "the spot leg would be $1100.25"),
        (HELD, attrs.evolve(SHORT, sz=D("4.01")), "above its cap $1000 and more than the spot 40"),
        (facts(perp="-40"), attrs.evolve(SHORT, sz=D("44.01")), "the short would be 44.01"),
        (FLAT, attrs.evolve(PLACE, sz=D(0)), "is no order"),
        (FLAT, attrs.evolve(PLACE, sz=D("NaN")), "is no order"),
        (FLAT, attrs.evolve(PLACE, px=D("Infinity")), "is no order"),
        # the direction
        (HELD, attrs.evolve(COVER, reduce_only=False), "not reduce-only"),
        # the price band: 25 x 1.06 and 25 x 0.94
        (FLAT, attrs.evolve(PLACE, px=D("26.51"), sz=D(1)), "above 26.5, the price band"),
        (HELD, attrs.evolve(COVER, px=D("26.51")), "above 26.5, the price band"),
        (HELD, attrs.evolve(SELL, px=D("23.49")), "below 23.5, the price band"),
        (HELD, attrs.evolve(SHORT, px=D("23.49"), sz=D(1)), "below 23.5, the price band"),
        (FLAT, attrs.evolve(PLACE, coin="BTC"), "no price of BTC was seen"),
        # nonces and time
        (passed(FLAT, PLACE, NOW), CANCEL, "was used already"),
        (
            passed(FLAT, PLACE, NOW),
            attrs.evolve(PLACE, nonce=VENUE - 1),
            f"nonce {VENUE - 1} is not above {VENUE}, which was used already",
        ),
        (FLAT, attrs.evolve(PLACE, expires_ms=VENUE), "expires in 0 ms"),
        (FLAT, attrs.evolve(PLACE, expires_ms=VENUE + 60_001), "expires in 60001 ms"),
        (attrs.evolve(FLAT, venue_ms=None), PLACE, "the venue's clock is not known"),
        # leverage and moves
        (FLAT, attrs.evolve(LEVER, leverage=2), "leverage 2 is above 1"),
        (FLAT, attrs.evolve(LEVER, leverage=0), "leverage 0 is above 1"),
        (FLAT, attrs.evolve(LEVER, cross=False), "isolated margin"),
        (FLAT, attrs.evolve(MOVE, usd=D("500.01")), "$500.01 in a day is more than $500"),
        (FLAT, attrs.evolve(MOVE, usd=D(-1)), "nothing to move"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_each_breach_is_refused(known: Facts, action: Any, said: str) -> None:
    assert said in refused(known, LIMITS, action, NOW)


@pytest.mark.parametrize(
    ("known", "action"),
    [
        (FLAT, PLACE),
        (FLAT, attrs.evolve(PLACE, sz=D(11))),
        (FLAT, attrs.evolve(PLACE, px=D("26.5"), sz=D(1))),
        (FLAT, attrs.evolve(PLACE, px=D(1), sz=D(11))),  # far below rests; it gives nothing away
        (HELD, COVER),
        (HELD, attrs.evolve(COVER, sz=D(4000))),  # the venue shrinks it to the position
        (HELD, SELL),
        (HELD, attrs.evolve(SELL, coin="OLD")),
        (HELD, attrs.evolve(SELL, px=D("23.5"))),
        (FLAT, SHORT),
        # A hedge of spot that is there passes whatever its cap: naked would be worse.
        (facts("90", spot="90"), attrs.evolve(SHORT, sz=D(90))),
        (FLAT, LEVER),
        (FLAT, MOVE),
        (FLAT, CANCEL),
        (FLAT, Fence(intent=1, nonce=5, why="")),
        (passed(FLAT, PLACE, NOW), Fence(intent=1, nonce=VENUE, why="")),
        (passed(FLAT, PLACE, NOW), attrs.evolve(SELL, nonce=VENUE + 1)),
    ],
)
def test_what_a_bot_does_passes(known: Facts, action: Any) -> None:
    assert refused(known, LIMITS, action, NOW) == ""


def test_what_the_holder_of_the_account_owns_is_not_the_leg_s() -> None:
    """1000 coins of their own on the account: the cap counts what the bot adds to them."""
    known = facts(spot="1000")
    assert refused(known, LIMITS, PLACE, NOW) == ""
    grown = fold(known, reads(spot="1040", issued_ms=NOW + 1))
    assert "its cap" in refused(grown, LIMITS, PLACE, NOW + 2)


def test_many_orders_between_two_reads_count_as_filled() -> None:
    known, n = FLAT, 0
    while not (said := refused(known, LIMITS, attrs.evolve(PLACE, nonce=VENUE + n), NOW)):
        known = passed(known, attrs.evolve(PLACE, nonce=VENUE + n), NOW)
        n += 1
    assert n == 5  # 5 x 200 is the cap; a sixth would be 1200
    assert "the spot leg would be $1200" in said
    # A read that shows that none of them filled frees the room again.
    later = fold(known, reads(issued_ms=NOW + 1))
    assert refused(later, LIMITS, attrs.evolve(PLACE, nonce=VENUE + 50), NOW + 2) == ""


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (Accepted(intent=5, oid="1", filled_sz=D(1), resting=False), 1),
        (Refused(intent=5, code="other", text=""), 0),
        (NotSent(intent=5, why=""), 0),
        (Accepted(intent=5, oid="1", filled_sz=D(1), resting=True), 8),
        (OutcomeUnknown(intent=5, why=""), 8),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_order_counts_by_what_its_answer_says(answer: Any, counts: int) -> None:
    """An order that filled in part would else take the room of the next until a read."""
    known = facts("34", spot="34")  # 44 x 25 is the cap with its slack
    known = passed(known, attrs.evolve(PLACE, intent=5), NOW)
    heard = Observations(mono_ms=NOW + 1, wall_ms=VENUE, venue_ms=VENUE, outcomes=(answer,))
    known = fold(known, heard)
    most = attrs.evolve(PLACE, intent=6, nonce=VENUE + 1, sz=D(10 - counts))
    assert refused(known, LIMITS, most, NOW + 1) == ""
    more = attrs.evolve(most, sz=most.sz + D("0.01"))
    assert "its cap" in refused(known, LIMITS, more, NOW + 1)


def test_the_rate_of_what_adds_and_of_all() -> None:
    small = attrs.evolve(PLACE, sz=D("0.5"))
    known = FLAT
    for n in range(30):
        action = attrs.evolve(small, nonce=VENUE + n)
        assert refused(known, LIMITS, action, NOW) == ""
        known = passed(known, action, NOW)
    action = attrs.evolve(small, nonce=VENUE + 40)
    assert "30 orders that add in the last minute" in refused(known, LIMITS, action, NOW)
    assert refused(known, LIMITS, attrs.evolve(SELL, nonce=VENUE + 40), NOW) == ""
    assert refused(known, LIMITS, action, NOW + 60_000) == ""
    for n in range(1_200):
        known = passed(known, attrs.evolve(SELL, nonce=VENUE + 100 + n), NOW)
    last = VENUE + 2_000
    assert "writes in the last minute" in refused(
        known, LIMITS, attrs.evolve(SELL, nonce=last), NOW
    )
    assert refused(known, LIMITS, attrs.evolve(CANCEL, nonce=last), NOW) == ""


def test_moves_of_a_day_add_up() -> None:
    known = FLAT
    for n in range(5):
        action = attrs.evolve(MOVE, nonce=VENUE + n)
        assert refused(known, LIMITS, action, NOW) == ""
        known = passed(known, action, NOW)
    again = attrs.evolve(MOVE, nonce=VENUE + 9)
    assert "$600 in a day" in refused(known, LIMITS, again, NOW)
    assert refused(known, LIMITS, again, NOW + 86_400_000) == ""


def test_facts_stay_small() -> None:
    known = FLAT
    for n in range(5_000):
        at_ms = NOW + n * 1_000
        known = passed(known, attrs.evolve(SELL, nonce=VENUE + n), at_ms)
        known = fold(known, reads(issued_ms=at_ms + 1))
    assert len(known.sent) <= 61
