"""A journal by value, for a run that lives in memory only: nothing is written, nothing survives."""

from collections.abc import Sequence

import attrs

from carry.core.actions import Action, Alert, Note
from carry.core.observations import FillSeen, FillsRead, Observations, ReceiptsRead
from carry.core.policy import Policy
from carry.core.state import State
from carry.core.types import Fill, FundingReceipt

from .journal import Journal, Order


@attrs.frozen
class Said:
    """A note or an alert of a tick. at_ms: the venue's time."""

    at_ms: int
    what: Note | Alert


class ValueJournal(Journal):
    """What the loop asks of a journal, and the books of the run as values.

    fills, receipts: each once, in the order they were learned. crashes: texts of failed checks.
    """

    def __init__(self, journal_id: int) -> None:
        self.path = ":memory:"
        self.seq = 0
        self.fills: dict[str, Fill] = {}
        self.receipts: dict[tuple[int, str], FundingReceipt] = {}
        self.said: list[Said] = []
        self.crashes: list[tuple[int, str]] = []
        self._id = journal_id

    def load(self) -> State | None:
        return None

    def begin(self, state: State, journal_id: int) -> None:
        self._id = journal_id

    @property
    def journal_id(self) -> int | None:
        return self._id

    def commit(self, observations: Observations, state: State, actions: Sequence[Action]) -> None:
        self.seq += 1
        for event in observations.events:
            if isinstance(event, FillSeen):
                self.fills.setdefault(event.fill.trade_id, event.fill)
        for read in observations.reads:
            if isinstance(read, FillsRead):
                for fill in read.fills:
                    self.fills.setdefault(fill.trade_id, fill)
            elif isinstance(read, ReceiptsRead):
                for one in read.receipts:
                    self.receipts.setdefault((one.at_ms, one.coin), one)
        at_ms = observations.venue_ms or observations.wall_ms
        for action in actions:
            if isinstance(action, Note | Alert):
                self.said.append(Said(at_ms, action))

    def crashed(self, observations: Observations, state: State, text: str) -> None:
        self.crashes.append((observations.wall_ms, text))

    def crashes_since(self, wall_ms: int) -> int:
        return sum(at_ms >= wall_ms for at_ms, _ in self.crashes)

    def crashed_last(self) -> str | None:
        return None

    def inbox(self, after: int) -> list[Order]:
        return []

    def given(self, upto: int) -> list[Order]:
        return []

    def ask(self, what: str, who: str, at_ms: int) -> None:
        raise NotImplementedError("nobody asks anything of a run by value")

    def started(self, wall_ms: int, policy: Policy) -> None:
        pass

    def close(self) -> None:
        pass
