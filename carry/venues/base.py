"""What the shell needs of a venue. Core types only; every money value is a `Decimal`.

Reads raise `ReadFailed` (transport, refused, unreadable) and never return a guess. Writes return an
outcome value and never raise: a write is accepted, refused, not sent or unknown, and only this
layer knows which.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import attrs

from carry.core.actions import Place, Query, Write
from carry.core.observations import (
    AgentRead,
    BalancesRead,
    BookSeen,
    BudgetRead,
    ClosesRead,
    ContextsRead,
    Event,
    Fault,
    FeesRead,
    FillsRead,
    LeverageRead,
    MarketsRead,
    ModeRead,
    OpenOrdersRead,
    OrderRecord,
    Outcome,
    PositionsRead,
    PrintsRead,
    ReceiptsRead,
    TransfersRead,
)
from carry.core.types import Fees, Leg, Market
from carry.core.venue import Capabilities


class ReadFailed(Exception):
    """A read gave no value. `kind`: "transport", "unreadable", "unsupported" or "budget"."""

    def __init__(self, source: str, kind: str, text: str) -> None:
        super().__init__(f"{source}: {kind}: {text}")
        self.source, self.kind, self.text = source, kind, text


@attrs.frozen(kw_only=True)
class Identity:
    """Whose account is traded with which key, as the venue tells it. Addresses lowercase.

    role: the venue's word for the account. master: of a sub-account, else None. agent: the key's
    address, None without one. agent_name, valid_until_at_ms: None where the venue does not tell.
    problem: why it cannot be traded, beginning with its name; None when it can.
    """

    account: str
    role: str
    master: str | None
    agent: str | None
    agent_name: str | None
    valid_until_at_ms: int | None
    problem: str | None


class Clock(Protocol):
    """Time as the bot knows it, ms. `venue_ms` is None until a venue stamp was read."""

    def mono_ms(self) -> int: ...
    def wall_ms(self) -> int: ...
    def venue_ms(self) -> int | None: ...
    def saw_venue(self, at_ms: int, sent_mono_ms: int) -> None:
        """A reply to a request sent at `sent_mono_ms` was stamped `at_ms` by the venue."""

    def journal_id(self, account: str) -> int:
        """64 bits for a new journal: random on a wall clock, a function of the run in lockstep."""

    def sync(self, venue: "Venue") -> None:
        """Lockstep: return when the reader holds every frame sent up to now. Wall: nothing."""

    def wait(self, venue: "Venue", ms: int) -> bool:
        """Let up to `ms` pass; return True early when an own order, fill or position changed."""


class MarketData(Protocol):
    """Public reads."""

    def markets(self, coins: Sequence[str]) -> MarketsRead: ...
    def contexts(self, coins: Sequence[str]) -> ContextsRead: ...
    def book(self, coin: str, leg: Leg) -> BookSeen: ...
    def prints(self, coin: str, since_ms: int) -> PrintsRead: ...
    def closes(self, coin: str, interval: str, window: int) -> ClosesRead: ...


class Overview(Protocol):
    """All pairs of a venue, for people who choose. coins: those that can be told to be the same
    on both legs.
    """

    coins: tuple[str, ...]

    def volumes(self) -> Mapping[str, tuple[Decimal, Decimal]]:
        """Quote coin traded in the last day by coin, (spot, perp), where both are told."""

    def fees(self) -> Fees:
        """The account's rates; the base tier's for who has none."""

    def shift(self, coin: str) -> int:
        """A perp of 10^shift coins has the size 1 here; 0 for most."""


class AccountReads(Protocol):
    """Private reads of the master account (never the agent's address). Times are the venue's."""

    def mode(self) -> ModeRead: ...
    def positions(self) -> PositionsRead: ...
    def balances(self) -> BalancesRead: ...
    def open_orders(self) -> OpenOrdersRead: ...
    def fills(self, since_ms: int) -> FillsRead: ...
    def receipts(self, since_ms: int) -> ReceiptsRead: ...
    def transfers(self, since_ms: int) -> TransfersRead: ...
    def fees(self) -> FeesRead: ...
    def leverage(self, coin: str) -> LeverageRead: ...
    def budget(self) -> BudgetRead: ...
    def agent_read(self) -> AgentRead: ...
    def order(self, query: Query) -> OrderRecord: ...


class Execution(Protocol):
    """Writes. Orders of one call travel in one signed action only when they are one `Place`."""

    def write(self, action: Write) -> Outcome: ...


class Stream(Protocol):
    """The background reader. `drain` parses what arrived; `gaps` names channels that lost data."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def drain(self) -> tuple[tuple[Event, ...], tuple[str, ...]]:
        """Events in order of arrival, and the channels that need a sweep since the last call."""

    def poll(self, timeout_s: float) -> bool:
        """Wait for and parse one message; True when it was about an own order, fill or position."""

    def received(self) -> int:
        """Text frames received on the present connection, for lockstep."""

    def ages_ms(self, mono_ms: int) -> Mapping[str, int]:
        """Age of the newest data by channel; a channel without any is absent."""


class Venue(MarketData, AccountReads, Execution, Protocol):
    """One account at one venue."""

    name: str
    network: str
    account: str
    capabilities: Capabilities

    @property
    def stream(self) -> Stream: ...

    def identify(self) -> Identity:
        """Ask who trades for whom; raises `ReadFailed`. Nothing is written before it was told."""

    def weight(self) -> tuple[int, int] | None:
        """IP weight spent so far, and what a minute allows; None where nothing is counted."""

    def recall(self, markets: Sequence[Market]) -> None:
        """What a journal remembers of the metadata; a later read of it replaces this."""

    def faults(self) -> tuple[Fault, ...]:
        """What only the core may answer ("signature"), found since the last call."""


__all__ = [
    "AccountReads",
    "Clock",
    "Execution",
    "Identity",
    "MarketData",
    "Place",
    "ReadFailed",
    "Stream",
    "Venue",
]
