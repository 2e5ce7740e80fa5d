"""Exact numbers: one Decimal context, steps, and canonical text.

Money, price, size and rate are `Decimal`; time and counts are `int`. A float never holds one of
them.
"""

import decimal
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

ZERO = Decimal(0)
ONE = Decimal(1)
BPS = Decimal("0.0001")


def use_exact_context() -> None:
    """Trap what would be a silent error: mixing in floats, NaN, division by zero.

    Sets the prototype for new threads as well as this thread's own context.
    """
    for context in (decimal.DefaultContext, decimal.getcontext()):
        context.prec = 28
        context.rounding = ROUND_HALF_EVEN
        context.traps[decimal.FloatOperation] = True
        context.traps[decimal.InvalidOperation] = True
        context.traps[decimal.DivisionByZero] = True


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` (> 0) that is not above `value`.

    >>> floor_to(Decimal("1.239"), Decimal("0.01"))
    Decimal('1.23')
    """
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` (> 0) that is not below `value`."""
    return (value / step).to_integral_value(ROUND_CEILING) * step


def show(value: Decimal) -> str:
    """Canonical text: no exponent, no trailing zero, no "-0".

    >>> show(Decimal("2000.0")), show(Decimal("-0.00")), show(Decimal("1E-7"))
    ('2000', '0', '0.0000001')
    """
    if not value:
        return "0"
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text
