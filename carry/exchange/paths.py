"""The shape every market shares: one hour of a coin as minute knots, and what is read off it."""

from decimal import Decimal
from typing import Protocol

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
KNOTS = 61
"""Knots of an hour: its 60 minutes and the first instant of the next hour."""


class HourPath:
    """Oracle price, perp mid and spot mid of one hour at its minutes, in units of 1e-8 USD.

    Between two knots the path is a straight line.
    """

    __slots__ = ("oracle", "perp", "spot")

    def __init__(self, oracle: list[int], perp: list[int], spot: list[int]) -> None:
        self.oracle = oracle
        self.perp = perp
        self.spot = spot


class Print:
    """A recorded funding print: `rate` per hour (> 0: longs pay), `premium` where recorded."""

    __slots__ = ("premium", "rate")

    def __init__(self, rate: Decimal, premium: Decimal | None) -> None:
        self.rate = rate
        self.premium = premium


class Market(Protocol):
    """Prices as a pure function of the hour since the epoch: no state to save, none to restore."""

    name: str
    coins: tuple[str, ...]

    @property
    def start_ms(self) -> int:
        """Where play begins: a whole hour."""

    @property
    def first_hour(self) -> int:
        """The earliest hour, since the epoch, this market knows."""

    def path(self, coin: str, hour: int) -> HourPath:
        """The hour's path. Hours outside the data stand still at the nearest known price."""

    def printed(self, coin: str, hour: int) -> Print | None:
        """The print paid at the start of `hour`, where this market is a recording of one."""

    @property
    def prints_funding(self) -> bool:
        """Whether `printed` decides the funding, instead of the premium formula."""


def at(knots: list[int], ms_of_hour: int) -> int:
    """The value of a path `ms_of_hour` after its hour began."""
    minute, rest = divmod(ms_of_hour, MINUTE_MS)
    a = knots[minute]
    return a + (knots[minute + 1] - a) * rest // MINUTE_MS
