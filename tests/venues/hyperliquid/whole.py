"""The whole bot over an exchange in this process: real loop, journal in memory, exchange's time."""

import sqlite3
from collections.abc import Callable
from typing import Any

from carry.base.secrets import Redactor
from carry.core.policy import Policy
from carry.core.state import State
from carry.shell.journal import Journal
from carry.shell.logs import EventLog
from carry.shell.loop import Bot, Manner
from tests.venues.hyperliquid.direct import ACCOUNT, Desk

MINUTE_MS = 60_000


class Silent(EventLog):
    def __init__(self) -> None:
        super().__init__(None, Redactor(), console=False)

    def emit(self, *args: Any) -> None: ...

    def warn(self, text: str) -> None: ...


class Quiet(Bot):
    """The loop without its rendering, which ends between two ticks when `enough` holds."""

    enough: Callable[[], bool] = staticmethod(lambda: False)

    def _over(self) -> bool:
        return self.enough() or super()._over()

    def _say(self, *args: Any) -> None:
        self._missed.clear()


class Whole:
    """A desk with a bot on it."""

    def __init__(self, desk: Desk, policy: Policy, *, interval_ms: int = 5_000) -> None:
        self.desk, self.policy = desk, policy
        self.stopping = False
        self._manner = Manner(interval_ms=interval_ms)
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self.boot()

    @property
    def weight(self) -> int:
        """The most IP weight of any 60 s since `count`, by the exchange's own meter."""
        return self.desk.exchange.meters.ip.peak

    @property
    def actions(self) -> tuple[int, int]:
        """Address actions since `count`: in all, and the most of any 60 s."""
        meter = self.desk.exchange.meters.actions.get(ACCOUNT)
        return (0, 0) if meter is None else (meter.total, meter.peak)

    def count(self) -> None:
        """Count from here on."""
        self.desk.exchange.meters.reset()

    def boot(self) -> None:
        desk = self.desk
        journal = Journal.open(
            ":memory:", network="test", account=ACCOUNT, connect=lambda *a, **m: self._db,
            checkpoint_ticks=10**9,
        )  # fmt: skip
        state = journal.load()
        if state is None:
            state = State.initial(self.policy, desk.venue.capabilities)
            journal.begin(state, 42)
        desk.venue.stream.start()
        self.bot = Quiet(
            venue=desk.venue,
            clock=desk.clock,
            journal=journal,
            state=state,
            policy=self.policy,
            from_file=self.policy,
            log=Silent(),
            manner=self._manner,
            stop=lambda: self.stopping,
        )

    @property
    def state(self) -> State:
        return self.bot.state

    def run(self, until: Callable[[], bool], ticks: int) -> bool:
        """Tick until `until` holds; False after so many ticks."""
        last = self.bot.journal.seq + ticks
        self.bot.enough = lambda: until() or self.bot.journal.seq >= last
        self.bot.run()
        return until()

    def run_ms(self, ms: int) -> None:
        end_ms = self.desk.exchange.now + ms
        self.run(lambda: self.desk.exchange.now >= end_ms, 10**9)
