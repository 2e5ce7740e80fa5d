"""Act: one row for each line of the retry table; never raises, never sends bytes twice."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from carry.core import observations as seen
from carry.core.actions import (
    Action,
    Alert,
    Cancel,
    CancelForeign,
    Fence,
    MoveUsd,
    Note,
    Place,
    Query,
    SetLeverage,
)
from carry.core.types import Leg, Side, Tif
from carry.shell.execute import RETRY, execute
from carry.venues.base import ReadFailed

TIMES: dict[str, Any] = {"nonce": 1, "expires_ms": 2, "why": "test"}
PLACE = Place(
    intent=1, coin="HYPE", leg=Leg.SPOT, side=Side.BUY, px=Decimal(1), sz=Decimal(1), tif=Tif.IOC,
    reduce_only=False, cloid="0x1", **TIMES,
)  # fmt: skip
CANCEL = Cancel(intent=2, coin="HYPE", leg=Leg.SPOT, cloid="0x1", **TIMES)
FOREIGN = CancelForeign(coin="HYPE", leg=Leg.SPOT, oid="9", **TIMES)
LEVERAGE = SetLeverage(intent=3, coin="HYPE", leverage=1, cross=True, **TIMES)
MOVE = MoveUsd(intent=6, usd=Decimal(9), to_perp=True, **TIMES)
FENCE = Fence(intent=4, nonce=7, why="unknown")
QUERY = Query(intent=5, coin="HYPE", leg=Leg.SPOT, cloid="0x1", why="unknown")


class Venue:
    """Returns or raises what it is told, and remembers what was sent."""

    def __init__(self, answer: Any = None) -> None:
        self.answer, self.sent = answer, []

    def write(self, action: Action) -> Any:
        self.sent.append(action)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    order = write


def run(venue: Venue, *actions: Action, **more: Any) -> tuple[seen.Outcome, ...]:
    return execute(venue, actions, **more)


@pytest.mark.parametrize(
    ("action", "answer"),
    [
        (PLACE, seen.Accepted(intent=1, oid="1", filled_sz=Decimal(1), resting=False)),
        (PLACE, seen.Refused(intent=1, code="margin", text="Insufficient margin")),
        (PLACE, seen.NotSent(intent=1, why="connection refused")),
        (PLACE, seen.OutcomeUnknown(intent=1, why="timeout")),
        (CANCEL, seen.Cancelled(intent=2, gone=True)),
        (CANCEL, seen.CancelUnanswered(intent=2, why="timeout")),
        (LEVERAGE, seen.Done(intent=3)),
        (FENCE, seen.FenceHeld(intent=4)),
        (FENCE, seen.NonceClosed(intent=4)),
        (FENCE, seen.FenceUnanswered(intent=4, why="timeout")),
        (QUERY, seen.OrderRecord(intent=5, status="open", oid="1", word="open", issued_ms=1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_answer_is_passed_on_and_nothing_is_repeated(action: Action, answer: Any) -> None:
    venue = Venue(answer)
    assert run(venue, action) == (answer,)
    assert venue.sent == [action]
    assert type(answer).__name__ in RETRY


def test_the_table_names_every_outcome_and_no_other() -> None:
    outcomes = {cls.__name__ for cls in seen.Outcome.__args__}
    assert set(RETRY) == outcomes | {"ReadFailed"}
    assert RETRY["OutcomeUnknown"].startswith("nobody, ever")


@pytest.mark.parametrize(
    ("action", "believed"),
    [
        (PLACE, seen.OutcomeUnknown),
        (LEVERAGE, seen.OutcomeUnknown),
        (MOVE, seen.OutcomeUnknown),
        (CANCEL, seen.CancelUnanswered),
        (FENCE, seen.FenceUnanswered),
        (FOREIGN, None),
    ],
)
def test_a_mistake_in_the_adapter_is_an_unknown(action: Action, believed: Any) -> None:
    """The bytes may have left before it raised."""
    outcomes = run(Venue(RuntimeError("a bug")), action)
    assert [type(outcome) for outcome in outcomes] == ([believed] if believed else [])


def test_a_query_without_an_answer_is_a_gap() -> None:
    missed: list[str] = []
    failed = ReadFailed("order:0x1", "transport", "timeout")
    assert run(Venue(failed), QUERY, gap=missed.append) == ()
    assert missed == ["order:0x1"]


def test_what_is_sent_keeps_the_order_of_the_core() -> None:
    """Whose nonces rise in it; what is only said is not sent."""
    venue = Venue(seen.Done(intent=1))
    note = Note(event="fee", coin=None, fields={})
    alert = Alert(level="warn", name="x", coin=None, text="x")
    hedge = attrs.evolve(PLACE, leg=Leg.PERP, side=Side.SELL)
    run(venue, FENCE, CANCEL, note, hedge, alert, QUERY, PLACE, LEVERAGE)
    assert venue.sent == [FENCE, CANCEL, hedge, QUERY, PLACE, LEVERAGE]


@pytest.mark.parametrize(
    ("action", "believed"),
    [
        (PLACE, seen.NotSent(intent=1, why="dry run")),
        (LEVERAGE, seen.NotSent(intent=3, why="dry run")),
        (MOVE, seen.NotSent(intent=6, why="dry run")),
        (CANCEL, seen.CancelUnanswered(intent=2, why="dry run")),
        (FENCE, seen.FenceUnanswered(intent=4, why="dry run")),
        (FOREIGN, None),
    ],
)
def test_a_dry_run_sends_nothing(action: Action, believed: Any) -> None:
    venue = Venue(seen.Done(intent=1))
    assert run(venue, action, dry_run=True) == ((believed,) if believed else ())
    assert venue.sent == []
