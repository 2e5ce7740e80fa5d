"""One rendering of a tick: what was seen, believed, is working, was asked, and must be heard."""

from decimal import Decimal

import attrs

from carry.core.actions import Alert, Place
from carry.core.asked import Adopt
from carry.core.observations import (
    Accepted,
    FillSeen,
    Observations,
    OrderSeen,
    Refused,
)
from carry.core.state import Carry, Enter, HedgeOk, Intent, Kind, Sent, State
from carry.core.types import Fill, Leg, Side, Tif
from carry.shell.say import noteworthy, render

FILL = Fill(
    trade_id="7", coin="HYPE", leg=Leg.SPOT, side=Side.BUY, px=Decimal("20.50"), sz=Decimal("12.0"),
    fee=Decimal("0.0084"), fee_in_base=True, oid="1", cloid=None, at_ms=5,
)  # fmt: skip
INTENT = Intent(
    no=4, kind=Kind.ORDER, coin="HYPE", leg=Leg.PERP, side=Side.SELL, px=Decimal("20.4"),
    sz=Decimal("11.99"), tif=Tif.IOC, reduce_only=False, why="hedge", ref_px=Decimal("20.4"),
    nonce=1, cloid="0x1", expires_ms=1, sent_ms=1, at_ms=1, status=Sent(),
)  # fmt: skip
PLACE = Place(
    intent=4, coin="HYPE", leg=Leg.PERP, side=Side.SELL, px=Decimal("20.4"), sz=Decimal("11.99"),
    tif=Tif.IOC, reduce_only=False, cloid="0x1", nonce=1, expires_ms=1, why="hedge",
)  # fmt: skip


def test_a_tick_reads_like_a_transcript(state: State, tick: Observations) -> None:
    before = attrs.evolve(
        state, carries={"HYPE": Carry(coin="HYPE", phase=Enter(since_ms=1, target_sz=Decimal(12)))}
    )
    held = Carry(coin="HYPE", phase=HedgeOk(since_ms=1), spot_sz=Decimal("11.9916"))
    after = attrs.evolve(
        before, seq=4, now_ms=1_250, started_ms=250, carries={"HYPE": held}, intents={"4": INTENT}
    )
    seen = attrs.evolve(
        tick,
        outcomes=(
            Accepted(intent=3, oid="1", filled_sz=Decimal("12.0"), resting=False),
            Refused(intent=9, code="margin", text="Insufficient margin"),
        ),
        events=(
            FillSeen(fill=FILL),
            FillSeen(fill=FILL),
            OrderSeen(cloid="0x1", oid="1", status="filled", word="filled"),
        ),
        commands=(Adopt(command_id=2, by="me", coin="HYPE", sz=Decimal("5.0")),),
        gaps=("positions",),
    )
    alert = Alert(level="warn", name="x", coin=None, text="Do this.")
    assert render(before, seen, after, (PLACE, alert)) == (
        "tick 4  +1s  HYPE Enter -> HedgeOk",
        "  < #3 accepted, 12 filled, then gone",
        "  < #9 refused: margin (Insufficient margin)",
        "  < HYPE filled buy spot 12 @ 20.5, fee 0.0084 HYPE",
        "  < order 1 filled (filled)",
        "  < command 2 by me: adopt HYPE 5",
        "  < nothing from positions",
        "  = HYPE spot 11.9916  perp 0  delta ? usd  funding 0 usd  fees 0 usd",
        "  . HYPE #4 sell perp 11.99 left, sent",
        "  > HYPE #4 sell perp 11.99 @ 20.4 ioc  (hedge)",
        "  ! warn Do this.",
    )


def test_a_quiet_tick_is_not_shown(state: State, tick: Observations) -> None:
    lines = render(state, tick, state, ())
    assert lines == ("tick 0  +0s  HYPE Idle",)
    assert not noteworthy(lines, state, state)
    assert noteworthy((*lines, "  < something"), state, state)


def test_a_fill_that_was_booked_is_not_shown_again(state: State, tick: Observations) -> None:
    booked = attrs.evolve(state, seen={"7": 5})
    assert len(render(booked, attrs.evolve(tick, events=(FillSeen(fill=FILL),)), booked, ())) == 1
