"""Answers to writes as outcomes of core. Pure; every answer has exactly one."""

from decimal import Decimal

from carry.core.actions import CancelForeign, Fence, MoveUsd, Place, SetLeverage, Write
from carry.core.num import ZERO
from carry.core.observations import (
    Accepted,
    CancelUnanswered,
    Done,
    FenceUnanswered,
    NotSent,
    Outcome,
    OutcomeUnknown,
    Refused,
)
from carry.core.types import Tif

from .parse import Order
from .replies import Answer, Taken, refusal_text
from .replies import NotSent as NothingSent
from .replies import Refused as SaidNo
from .replies import Unknown as Unclear

NO_INTENT = 0
"""`intent` of the outcome of an action that belongs to none (`CancelForeign`)."""


def intent_of(action: Write) -> int:
    return NO_INTENT if isinstance(action, CancelForeign) else action.intent


def unsent(action: Write, why: str) -> Outcome:
    """The outcome of a write of which no byte left."""
    if isinstance(action, (Place, SetLeverage, MoveUsd)):
        return NotSent(intent=action.intent, why=why)
    if isinstance(action, Fence):
        return FenceUnanswered(intent=action.intent, why=why)
    return CancelUnanswered(intent=intent_of(action), why=why)


def of_answer(action: Place | SetLeverage | MoveUsd, answer: Answer) -> Outcome | None:
    """What a write came to, unless it was taken (None: look at the reply).

    A refusal for its nonce is one for its time: these bytes were turned away because of when they
    came, which tells nothing about another program.
    """
    match answer:
        case Taken():
            return None
        case SaidNo():
            word = "expired" if answer.word == "nonce" else answer.word
            return Refused(intent=action.intent, code=word, text=refusal_text(answer)[:200])
        case Unclear():
            return OutcomeUnknown(intent=action.intent, why=answer.why)
        case NothingSent():
            return NotSent(intent=action.intent, why=answer.why)


def of_order(place: Place, order: Order) -> Outcome:
    """What became of an order that the venue has, by its own record."""
    if order.word == "REJECTED":
        return Refused(intent=place.intent, code="other", text="status REJECTED")
    filled = order.filled
    if place.tif is Tif.ALO and not order.open and not filled:
        return Refused(intent=place.intent, code="post_only_crossed", text=f"status {order.word}")
    if not ZERO <= filled <= place.sz:
        return OutcomeUnknown(intent=place.intent, why=f"filled {filled} of {place.sz}")
    return Accepted(intent=place.intent, oid=order.oid, filled_sz=filled, resting=order.open)


def at_rest(place: Place, oid: str, filled: Decimal = ZERO) -> Outcome:
    """Taken, and nothing more is known yet: it counts as resting until a read says otherwise."""
    return Accepted(intent=place.intent, oid=oid, filled_sz=filled, resting=True)


def done(action: SetLeverage | MoveUsd) -> Outcome:
    return Done(intent=action.intent)
