"""The venue's two limits: weight of one network address, and actions of one account.

Weight: 1200 in any minute, reads and writes together.

A sliding window, so that no minute holds more than the bound however requests are spread. The tiers
keep room: histories leave some to books and positions, when reads have used theirs an order still
goes, and when orders have, a fence does.

Actions: 10,000 and one for each USD ever traded. An account that has used them up may send one
every ten seconds, until it trades (`Regime`); core stops entries long before (`actions_left`).
Source: hyperliquid-docs, rate-limits-and-user-limits, read 2026-08.
"""

import enum
from collections import deque

from carry.core.actions import Cancel, CancelForeign, Write
from carry.core.observations import (
    Accepted,
    BudgetRead,
    CancelUnanswered,
    FenceUnanswered,
    Outcome,
    Refused,
)

from .refusals import code_of

_WINDOW_MS = 60_000
_PENALTY_MS = 10_000
_REGIME_MS = 11_000  # documented as 10 s, measured as about 11
MINUTE_WEIGHT = 1_200


class Tier(enum.IntEnum):
    """How much of `MINUTE_WEIGHT` may be in use before a request of this kind must wait."""

    SLOW = 660  # a read that weighs much: history, settings
    READ = 840  # books, positions and balances: what is traded on
    DECIDE = 900  # reads that decide the fate of an order
    WRITE = 960
    URGENT = 1150  # fences, cancels, and what reduces: closing is never blocked by a budget


LIGHT = 2  # the weight of a book, of positions and of balances
DECISIVE = ("fills", "order")


def of_read(source: str, weight: int) -> Tier:
    """The tier of a read; what decides the fate of an order may use what is kept for orders."""
    if source.partition(":")[0] in DECISIVE:
        return Tier.DECIDE
    return Tier.READ if weight <= LIGHT else Tier.SLOW


class Budget:
    """Weights spent in the last minute, by the clock of the bot (ms); `spent`: ever."""

    def __init__(self) -> None:
        self._spent: deque[tuple[int, int]] = deque()
        self._sum = 0
        self._reads_from_ms = 0
        self.spent = 0

    def used(self, now_ms: int) -> int:
        while self._spent and self._spent[0][0] <= now_ms - _WINDOW_MS:
            self._sum -= self._spent.popleft()[1]
        return self._sum

    def take(self, weight: int, tier: Tier, now_ms: int) -> bool:
        """Spend `weight` if `tier` allows it."""
        if tier <= Tier.READ and now_ms < self._reads_from_ms:
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
            self.spent += weight

    def refused(self, now_ms: int) -> None:
        """The venue answered 429: somebody else shares the address. Reads pause, writes go on."""
        self._reads_from_ms = now_ms + _PENALTY_MS


class Regime:
    """One action every ten seconds, once the venue said that the account's actions are used up.

    The shell hands actions over with what reduces first, so that is what the free place goes to; a
    cancel always goes, since the venue counts those apart. A fill earns actions, and ends it.
    """

    def __init__(self) -> None:
        self._on = False
        self._next_ms = 0

    def holds(self, action: Write, now_ms: int) -> str | None:
        """Why `action` must wait; None when it may go."""
        if not self._on or now_ms >= self._next_ms or isinstance(action, Cancel | CancelForeign):
            return None
        left_s = -((now_ms - self._next_ms) // 1000)
        return f"the account's actions are used up: one every 10 s, the next in {left_s} s"

    def sent(self, outcome: Outcome, now_ms: int) -> None:
        """What came of an action whose bytes left."""
        if _exhausted(outcome):
            self._on = True
        elif isinstance(outcome, Accepted) and outcome.filled_sz > 0:
            self._on = False
        self._next_ms = now_ms + _REGIME_MS

    def read(self, budget: BudgetRead) -> None:
        """The venue's own count."""
        if budget.actions_left > 0:
            self._on = False


def _exhausted(outcome: Outcome) -> bool:
    if isinstance(outcome, Refused):
        return outcome.code == "budget"
    if isinstance(outcome, CancelUnanswered | FenceUnanswered):
        return code_of(outcome.why) == "budget"
    return False
