"""Act: carry out a tick's actions in order, never raise, classify (P3).

The only retry policy of the program. The shell itself repeats nothing that may have left.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from carry.core.actions import (
    Action,
    Cancel,
    CancelForeign,
    Fence,
    MoveUsd,
    Place,
    Query,
    SetLeverage,
    Write,
)
from carry.core.observations import (
    CancelUnanswered,
    FenceUnanswered,
    NotSent,
    Outcome,
    OutcomeUnknown,
)
from carry.venues.base import ReadFailed, Venue

# what came of it         who tries again, and how
RETRY: Final[Mapping[str, str]] = {
    "ReadFailed": "shell: once within the tick when the transport failed; then a gap",
    "Accepted": "nobody",
    "Done": "nobody",
    "Cancelled": "nobody",
    "OrderRecord": "nobody; the core asks again while it is undecided",
    "NotSent": "core, on a later tick, as a new intent",
    "Refused": "core, on a later tick, as a new intent, when its code allows",
    "OutcomeUnknown": "nobody, ever: the fence decides",
    "CancelUnanswered": "core, with a new nonce: a cancel is safe to repeat",
    "FenceHeld": "nobody",
    "NonceClosed": "nobody",
    "FenceUnanswered": "core: the same fence again until the expiry has passed",
}


def execute(
    venue: Venue,
    actions: Sequence[Action],
    *,
    dry_run: bool = False,
    gap: Callable[[str], None] = lambda source: None,
    took: Callable[[str, int], None] = lambda stage, ns: None,
    clear: Callable[[Write], str] = lambda action: "",
) -> tuple[Outcome, ...]:
    """Send what reaches the venue, in the order given, and return what is known of each.

    gap: told the source of a query that gave no answer; the core asks again by itself. took: told
    how long an order was on its way, ns. clear: the last look before it is signed; its text is why
    not.
    """
    outcomes: list[Outcome] = []
    for action in actions:
        match action:
            case Place() | Cancel() | CancelForeign() | SetLeverage() | MoveUsd() | Fence():
                began_ns = time.perf_counter_ns()
                why = "dry run" if dry_run else clear(action)
                outcome = not_sent(action, why) if why else write(venue, action)
                if isinstance(action, Place) and not why:
                    took("order", time.perf_counter_ns() - began_ns)
                if outcome is not None:
                    outcomes.append(outcome)
            case Query():
                try:
                    outcomes.append(venue.order(action))
                except ReadFailed as failure:
                    gap(failure.source)
            case _:
                pass  # Alerts and notes are in the commit already.
    return tuple(outcomes)


def write(venue: Venue, action: Write) -> Outcome | None:
    """One write. The adapter does not raise; if it does, the bytes may have left."""
    try:
        return venue.write(action)
    except Exception as error:
        return unknown(action, f"{type(error).__name__} in the adapter")


def unknown(action: Write, why: str) -> Outcome | None:
    """What to believe of a write that gave no answer."""
    match action:
        case Place() | SetLeverage() | MoveUsd():
            return OutcomeUnknown(intent=action.intent, why=why)
        case Cancel():
            return CancelUnanswered(intent=action.intent, why=why)
        case Fence():
            return FenceUnanswered(intent=action.intent, why=why)
        case CancelForeign():
            return None  # The next read of open orders says whether it is still there.


def not_sent(action: Write, why: str) -> Outcome | None:
    """What to believe of a write of which no byte left."""
    match action:
        case Place() | SetLeverage() | MoveUsd():
            return NotSent(intent=action.intent, why=why)
        case _:
            return unknown(action, why)
