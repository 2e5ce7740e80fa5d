"""Decimals as the venue writes and reads them. Written apart from the client's own formatter."""

import re
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from carry.core.num import show

ZERO = Decimal(0)
USD6 = Decimal("0.000001")
USD8 = Decimal("0.00000001")
RATE10 = Decimal("0.0000000001")

_PLAIN = re.compile(r"-?\d{1,20}(\.\d{1,20})?")


def wire(value: Decimal) -> str:
    """At least one fractional digit and no trailing zeros beyond it: "5.0", "0.0", "1670.1"."""
    text = show(value)
    return text if "." in text else text + ".0"


def wire_int(value: int, decimals: int) -> str:
    """`value` in units of 10**-decimals, written like `wire`.

    >>> wire_int(50, 1), wire_int(16701, 1), wire_int(-5, 3)
    ('5.0', '1670.1', '-0.005')
    """
    if value < 0:
        return "-" + wire_int(-value, decimals)
    text = str(value)
    if not decimals:
        return text + ".0"
    if len(text) <= decimals:
        text = text.zfill(decimals + 1)
    return text[:-decimals] + "." + (text[-decimals:].rstrip("0") or "0")


def units(value: int, decimals: int) -> Decimal:
    """An integer in units of 10**-decimals as an exact Decimal."""
    return Decimal(value).scaleb(-decimals)


def read_decimal(value: object) -> Decimal | None:
    """The Decimal of a plain number text as clients send it; None for anything else."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return Decimal(value)
    return None


def cut(value: Decimal, step: Decimal) -> Decimal:
    """`value` truncated toward zero to a multiple of a power of ten."""
    return value.quantize(step, ROUND_DOWN)


def near(value: Decimal, step: Decimal) -> Decimal:
    """`value` rounded half-even to a multiple of a power of ten."""
    return value.quantize(step, ROUND_HALF_EVEN)
