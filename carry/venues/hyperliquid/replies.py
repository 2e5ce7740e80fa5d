"""Replies of `/exchange` as outcomes. Pure, and total: every body has exactly one outcome.

A reply is believed only in a shape that is known completely; all else leaves the outcome unknown.
"""

from decimal import Decimal
from typing import Any

import msgspec

from carry.core.actions import Cancel, CancelForeign, Fence, MoveUsd, Place, SetLeverage, Write
from carry.core.observations import (
    Accepted,
    Cancelled,
    CancelUnanswered,
    Done,
    FenceHeld,
    FenceUnanswered,
    NonceClosed,
    NotSent,
    Outcome,
    OutcomeUnknown,
    Refused,
)
from carry.core.types import Tif
from carry.venues.numbers import number

from .refusals import closes_nonce, code_of, says_gone
from .rest import Posted, shorten

NO_INTENT = 0
"""`intent` of the outcome of an action that belongs to none (`CancelForeign`)."""


class _Reply(msgspec.Struct):
    status: str
    response: msgspec.Raw


class _Kind(msgspec.Struct):
    type: str


class _Statuses(msgspec.Struct):
    statuses: list[Any]


class _Items(msgspec.Struct):
    type: str
    data: _Statuses


class _Filled(msgspec.Struct):
    totalSz: str
    oid: int
    cloid: str | None = None


class _Resting(msgspec.Struct):
    oid: int
    cloid: str | None = None


class Unrecognised(Exception):
    """A body that is not one of the shapes the venue documents."""


class Declined(Exception):
    """`status: err`: the whole action was answered with a sentence."""


def _accepted_response(body: bytes) -> msgspec.Raw:
    """The `response` of `status: ok`; raises `Declined` for `err`, `Unrecognised` for all else."""
    try:
        reply = msgspec.json.decode(body, type=_Reply)
        if reply.status == "ok":
            return reply.response
        if reply.status == "err":
            raise Declined(msgspec.json.decode(reply.response, type=str))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Unrecognised(f"{error}: {shorten(body)}") from None
    raise Unrecognised(f"status {reply.status[:40]!r}")


def _only_item(response: msgspec.Raw, kind: str) -> Any:
    """The single entry of `statuses`; one is all we ask for."""
    try:
        items = msgspec.json.decode(response, type=_Items)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Unrecognised(str(error)) from None
    if items.type != kind:
        raise Unrecognised(f"the reply is to {items.type[:40]!r}, not to {kind!r}")
    if len(items.data.statuses) != 1:
        raise Unrecognised(f"{len(items.data.statuses)} statuses for 1 entry")
    return items.data.statuses[0]


def _default(response: msgspec.Raw) -> None:
    """Check the reply of an action that returns nothing."""
    try:
        kind = msgspec.json.decode(response, type=_Kind).type
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Unrecognised(str(error)) from None
    if kind != "default":
        raise Unrecognised(f"the reply is to {kind[:40]!r}, not the default one")


def _sentence(item: Any) -> str | None:
    """The text of `{"error": text}`; None for another shape."""
    if isinstance(item, dict) and item.keys() == {"error"} and isinstance(item["error"], str):
        return item["error"]
    return None


def _refused(intent: int, text: str) -> Outcome:
    code = code_of(text)
    if code is None:
        return OutcomeUnknown(intent=intent, why=f"unknown answer: {text[:200]}")
    return Refused(intent=intent, code=code, text=text[:200])


def _placed(place: Place, response: msgspec.Raw) -> Outcome:
    item = _only_item(response, "order")
    text = _sentence(item)
    if text is not None:
        return _refused(place.intent, text)
    if not isinstance(item, dict) or len(item) != 1:
        raise Unrecognised(f"order status {str(item)[:80]!r}")
    ((word, detail),) = item.items()
    try:
        if word == "filled":
            filled = msgspec.convert(detail, _Filled)
            oid, echo, filled_sz = filled.oid, filled.cloid, number(filled.totalSz)
        elif word == "resting":
            resting = msgspec.convert(detail, _Resting)
            oid, echo, filled_sz = resting.oid, resting.cloid, Decimal(0)
        else:
            raise Unrecognised(f"order status {word[:40]!r}")
    except (msgspec.MsgspecError, ValueError) as error:
        raise Unrecognised(str(error)) from None
    if echo is not None and echo != place.cloid:
        raise Unrecognised(f"the reply names cloid {echo[:40]}, not {place.cloid}")
    if word == "filled" and not 0 < filled_sz <= place.sz:
        raise Unrecognised(f"filled {filled_sz} of {place.sz}")
    # An IOC's rest is cancelled silently; whether another's rest stays in the book is not told.
    rests = word == "resting" or (place.tif is not Tif.IOC and filled_sz < place.sz)
    return Accepted(intent=place.intent, oid=str(oid), filled_sz=filled_sz, resting=rests)


def _place_outcome(place: Place, posted: Posted) -> Outcome:
    if not posted.left:
        return NotSent(intent=place.intent, why=posted.why)
    if posted.body is None:
        return OutcomeUnknown(intent=place.intent, why=posted.why)
    try:
        return _placed(place, _accepted_response(posted.body))
    except Declined as declined:
        return _refused(place.intent, str(declined))
    except Unrecognised as shape:
        return OutcomeUnknown(intent=place.intent, why=f"unknown shape: {shape}")


def _plain_outcome(action: SetLeverage | MoveUsd, posted: Posted) -> Outcome:
    if not posted.left:
        return NotSent(intent=action.intent, why=posted.why)
    if posted.body is None:
        return OutcomeUnknown(intent=action.intent, why=posted.why)
    try:
        _default(_accepted_response(posted.body))
    except Declined as declined:
        return _refused(action.intent, str(declined))
    except Unrecognised as shape:
        return OutcomeUnknown(intent=action.intent, why=f"unknown shape: {shape}")
    return Done(intent=action.intent)


def _cancel_outcome(intent: int, posted: Posted) -> Outcome:
    if posted.body is None:
        return CancelUnanswered(intent=intent, why=posted.why)
    try:
        item = _only_item(_accepted_response(posted.body), "cancel")
        if item == "success":
            return Cancelled(intent=intent, gone=False)
        text = _sentence(item) or f"unknown shape: {str(item)[:80]}"
    except Declined as declined:
        text = str(declined)
    except Unrecognised as shape:
        text = f"unknown shape: {shape}"
    if says_gone(text):
        return Cancelled(intent=intent, gone=True)
    return CancelUnanswered(intent=intent, why=text[:200])


def _fence_outcome(fence: Fence, posted: Posted) -> Outcome:
    if posted.body is None:
        return FenceUnanswered(intent=fence.intent, why=posted.why)
    try:
        _default(_accepted_response(posted.body))
    except Declined as declined:
        if closes_nonce(str(declined)):
            return NonceClosed(intent=fence.intent)
        return FenceUnanswered(intent=fence.intent, why=str(declined)[:200])
    except Unrecognised as shape:
        return FenceUnanswered(intent=fence.intent, why=f"unknown shape: {shape}")
    return FenceHeld(intent=fence.intent)


def outcome_of(write: Write, posted: Posted) -> Outcome:
    """What became of `write`."""
    match write:
        case Place():
            return _place_outcome(write, posted)
        case SetLeverage() | MoveUsd():
            return _plain_outcome(write, posted)
        case Cancel():
            return _cancel_outcome(write.intent, posted)
        case CancelForeign():
            return _cancel_outcome(NO_INTENT, posted)
        case Fence():
            return _fence_outcome(write, posted)


def unsent(write: Write, why: str) -> Outcome:
    """The outcome of a write of which no byte left."""
    return outcome_of(write, Posted(False, 0, None, why))


