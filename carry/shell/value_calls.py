"""A call to the exchange by values: what it carries, how it travels, what became of an action."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
import msgspec

from carry.core.actions import Cancel, CancelForeign, Fence, Place, Write
from carry.core.observations import (
    Accepted,
    Cancelled,
    CancelUnanswered,
    Done,
    FenceHeld,
    FenceUnanswered,
    NonceClosed,
    Outcome,
    OutcomeUnknown,
    Refused,
)
from carry.core.types import Tif
from carry.exchange.direct import Answered
from carry.venues.hyperliquid.refusals import closes_nonce, code_of, says_gone
from carry.venues.hyperliquid.replies import NO_INTENT, outcome_of
from carry.venues.hyperliquid.rest import Posted, shorten


@attrs.define
class Call:
    """One request on its way. `kind`: the action's or the read's type.

    do: by values, what it asks of the exchange in the name of an address; then there is no body.
    """

    path: str
    body: bytes
    decoded: Mapping[str, Any]
    kind: str
    landed: bool = False
    do: Callable[[str], Any] | None = None

    @classmethod
    def of(cls, path: str, body: bytes) -> "Call":
        decoded = msgspec.json.decode(body)
        kind = decoded["type"] if path == "/info" else decoded["action"]["type"]
        return cls(path=path, body=body, decoded=decoded, kind=kind)

    @property
    def is_write(self) -> bool:
        return self.path == "/exchange"

    @property
    def order(self) -> Mapping[str, Any] | None:
        """The order in it, None when it is no order."""
        if not self.is_write or self.kind != "order":
            return None
        order: Mapping[str, Any] = self.decoded["action"]["orders"][0]
        return order


class Passage(Protocol):
    """How a call gets to the exchange and its answer back: status and value, or `PostFailed`."""

    def __call__(self, call: Call) -> tuple[int, Any]: ...


def outcome_by_value(action: Write, status: int, answer: Any) -> Outcome:
    """What became of an action that left. Without a value at 200 nobody knows."""
    if status != 200 or not isinstance(answer, Answered):
        why = answer if isinstance(answer, str) else f"HTTP {status}: {shorten(answer)}"
        return outcome_of(action, Posted(True, status, None, why))
    text = None if answer.error is None else answer.error[:200]
    intent = NO_INTENT if isinstance(action, CancelForeign) else action.intent
    match action:
        case Cancel() | CancelForeign():
            if text is None or says_gone(text):
                return Cancelled(intent=intent, gone=text is not None)
            return CancelUnanswered(intent=intent, why=text)
        case Fence():
            if text is None:
                return FenceHeld(intent=intent)
            if closes_nonce(text):
                return NonceClosed(intent=intent)
            return FenceUnanswered(intent=intent, why=text)
    if text is not None:
        code = code_of(text)
        if code is None:
            return OutcomeUnknown(intent=intent, why=f"unknown answer: {text}")
        return Refused(intent=intent, code=code, text=text)
    if not isinstance(action, Place):
        return Done(intent=intent)
    # As with the venue's own reply: whether another's rest than an IOC's stays is not told.
    part = action.tif is not Tif.IOC and answer.filled < action.sz
    return Accepted(
        intent=intent,
        oid=str(answer.oid),
        filled_sz=answer.filled,
        resting=answer.rests or part,
    )
