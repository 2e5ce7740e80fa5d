"""The venue's decimals, which travel as JSON strings. Exact; only plain numbers pass."""

import functools
import re
from decimal import Decimal

# [0-9], not \d: full-width and other digits are digits to Decimal. No sign but "-".
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,2})?")
_MAGNITUDE_MAX = 30


@functools.lru_cache(maxsize=8_192)  # a book's prices and sizes are mostly those of the last one
def number(text: str) -> Decimal:
    """A finite decimal below 10^30; raises `ValueError` for all else ("NaN", "1e400", " 1")."""
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text[:40]!r} is not a number")
    value = Decimal(text)
    if value and abs(value.adjusted()) > _MAGNITUDE_MAX:
        raise ValueError(f"{text[:40]!r} is out of any plausible range")
    return value


@functools.lru_cache(maxsize=8_192)
def positive(text: str) -> Decimal:
    """A number above zero: every price, and the size of everything that exists."""
    value = number(text)
    if value <= 0:
        raise ValueError(f"{text[:40]!r} is not above zero")
    return value


def not_negative(text: str) -> Decimal:
    value = number(text)
    if value < 0:
        raise ValueError(f"{text[:40]!r} is below zero")
    return value


def stamp_ms(value: int) -> int:
    """Epoch milliseconds before the year 5000; raises `ValueError` for all else."""
    if not 0 <= value < 100_000_000_000_000:
        raise ValueError(f"{value} is not a time in epoch milliseconds")
    return value
