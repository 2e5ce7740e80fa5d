"""The venue's weight limit for one network address: 1200 in any minute, reads and writes together.

A sliding window, so that no minute holds more than the bound however requests are spread. The tiers
keep room: when reads have used theirs, an order still goes, and when orders have, a fence does.
Source: hyperliquid-docs, rate-limits-and-user-limits, read 2026-08.
"""

import enum
from collections import deque

_WINDOW_MS = 60_000
_PENALTY_MS = 10_000


class Tier(enum.IntEnum):
    """How much of the minute's 1200 may be in use before a request of this kind must wait."""

    READ = 840
    WRITE = 960
    URGENT = 1150  # fences, cancels, and what reduces: closing is never blocked by a budget


class Budget:
    """Weights spent in the last minute, by the clock of the bot (ms)."""

    def __init__(self) -> None:
        self._spent: deque[tuple[int, int]] = deque()
        self._sum = 0
        self._reads_from_ms = 0

    def used(self, now_ms: int) -> int:
        while self._spent and self._spent[0][0] <= now_ms - _WINDOW_MS:
            self._sum -= self._spent.popleft()[1]
        return self._sum

    def take(self, weight: int, tier: Tier, now_ms: int) -> bool:
        """Spend `weight` if `tier` allows it."""
        if tier is Tier.READ and now_ms < self._reads_from_ms:
            return False
        if self.used(now_ms) + weight > tier:
            return False
        self.charge(weight, now_ms)
        return True

    def charge(self, weight: int, now_ms: int) -> None:
        """Spend what is known only afterwards: the surcharge for rows returned."""
        if weight > 0:
            self._spent.append((now_ms, weight))
            self._sum += weight

    def refused(self, now_ms: int) -> None:
        """The venue answered 429: somebody else shares the address. Reads pause, writes go on."""
        self._reads_from_ms = now_ms + _PENALTY_MS
