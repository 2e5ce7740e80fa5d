"""What a person must know of a key of the policy, beside its default: unit, bounds, reason."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Knob:
    """What a person must know of one key.

    kind: "rate" | "usd" | "ratio" | "ms" | "h" | "count" | "bps" | "choice" | "bool" | "interval".
    lo, hi: inclusive bounds, None where there is none. optional: may be left out, then it is
    derived as `why` says. settable: may be changed at run time ("any", "down", "no").
    """

    kind: str
    why: str
    lo: Decimal | int | None = None
    hi: Decimal | int | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False
    settable: str = "no"


def knob(default: Any, kind: str, why: str, *, since: int = 1, **more: Any) -> Any:
    """A field with its `Knob`. since: the schema that added it; older journals get its default."""
    knob = Knob(kind=kind, why=why, **more)
    return attrs.field(default=default, metadata={"knob": knob, "since": since})


INTERVAL_MS = {
    "1m": 60_000,
    "5m": 300_000,
    "15m": 900_000,
    "1h": 3_600_000,
    "4h": 14_400_000,
}


def knobs(section: type) -> Iterator[tuple[str, Knob, Any]]:
    """Each key of a section class with its `Knob` and default; nested sections are not yielded."""
    for field in attrs.fields(section):
        if "knob" in field.metadata:
            yield field.name, field.metadata["knob"], field.default
