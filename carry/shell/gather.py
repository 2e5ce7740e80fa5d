"""See: what a tick reads, by a plan that is a table, within a deadline.

A read that fails is a gap, never a value (P5). What the stream lost is swept at once by REST.
"""

import functools
from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import attrs

from carry.base.deadlines import Deadline
from carry.core.asked import Command
from carry.core.observations import (
    BookSeen,
    Event,
    Fault,
    Observations,
    Outcome,
    Read,
)
from carry.core.policy import Policy
from carry.core.state import Enter, Exit, HedgeOk, State
from carry.core.types import Leg
from carry.core.venue import Capabilities
from carry.venues.base import Clock, ReadFailed, Venue

READ_MS_MAX: Final = 10_000  # all reads of one tick
URGENT_MS: Final = 3_000  # ticks that follow a fill go without reads for this long
WEIGHT_PER_MIN_MAX: Final = 280  # below 300, with room for surcharges by rows
SLOW_WEIGHT_MAX: Final = 180  # of which what may wait leaves the rest to what may not
OVERLAP_MS: Final = 300_000  # histories are read again this far back
FIRST_BACK_MS: Final = 600_000  # how far back a new journal looks for fills
PRINTS_BACK_H: Final = 480  # one page of the venue's history
DOWN_READS: Final = 3  # reads without an answer in a row, after which a tick asks no more
BACKOFF_MS: Final = (1_000, 2_000, 4_000, 8_000, 15_000, 30_000)
MOMENT_AGAIN_MS: Final = 20_000
SWEEP_BACKOFF_MS: Final = 8_000  # what decides an unknown order is not kept waiting by an outage


@attrs.frozen
class Poll:
    """One kind of read: its weight at the venue, and how often (ms) at each tempo.

    per: "account", "coin", or "leg" (of a coin). The table's order is that of a start: what
    protects first, history last.
    """

    name: str
    weight: int
    idle_ms: int
    hedged_ms: int
    working_ms: int
    per: str = "account"


S, M, H = 1_000, 60_000, 3_600_000

# fmt: off
PLAN: Final = (
    # read, weight, then ms between two of them when idle, hedged, and working (an order is open,
    # an entry, an exit or a repair goes on)
    Poll("markets",   40, H,       H,       H),
    Poll("mode",      20, 15 * M,  15 * M,  15 * M),
    Poll("positions", 2,  15 * S,  10 * S,  2 * S),
    Poll("balances",  2,  15 * S,  10 * S,  2 * S),
    Poll("orders",    20, 2 * M,   2 * M,   10 * S),
    Poll("fills",     20, 2 * M,   M,       10 * S),
    Poll("receipts",  40, 10 * M,  3 * M,   3 * M),
    Poll("transfers", 20, 10 * M,  3 * M,   3 * M),
    Poll("contexts",  20, M,       M,       20 * S),
    Poll("leverage",  20, 30 * M,  30 * M,  30 * M, "coin"),
    Poll("book",      2,  10 * S,  12 * S,  4 * S,  "leg"),
    Poll("fees",      20, H,       H,       H),
    Poll("budget",    20, 30 * M,  30 * M,  10 * M),
    Poll("agent",     20, 6 * H,   6 * H,   6 * H),
    Poll("prints",    21, 15 * M,  15 * M,  15 * M, "coin"),
    Poll("closes",    22, 5 * M,   15 * M,  15 * M, "coin"),
)
# fmt: on

RANK: Final[Mapping[str, int]] = {poll.name: n for n, poll in enumerate(PLAN)}
POLL: Final[Mapping[str, Poll]] = {poll.name: poll for poll in PLAN}
# What may come a minute later, so that their periods, which meet, do not fill one minute.
SLOW: Final = ("markets", "mode", "leverage", "fees", "budget", "agent", "prints", "closes")
SWEEP: Final = ("positions", "balances", "orders", "fills")  # what a gap of the stream asks for
# Read together, in this order: equity is explained only by sources of one moment (P9).
MOMENT: Final = ("positions", "balances", "fills", "receipts", "transfers")


@functools.cache
def names(poll: Poll, coins: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The reads of a row with their coin: "positions", "leverage:HYPE", "book:HYPE:spot"."""
    if poll.per == "account":
        return ((poll.name, ""),)
    if poll.per == "coin":
        return tuple((f"{poll.name}:{coin}", coin) for coin in coins)
    return tuple((f"{poll.name}:{coin}:{leg.value}", coin) for coin in coins for leg in Leg)


def tempo(state: State, coin: str | None = None) -> str:
    """How closely to look: "working", "hedged" or "idle"; at one market, or the busiest of all."""
    carries = [c for c in state.carries.values() if coin in (None, c.coin)]
    intents = [i for i in state.intents.values() if coin in (None, i.coin)]
    if intents or any(isinstance(c.phase, Enter | Exit) or c.repair for c in carries):
        return "working"
    return "hedged" if any(isinstance(c.phase, HedgeOk) for c in carries) else "idle"


def period_ms(poll: Poll, at: str) -> int:
    return {"idle": poll.idle_ms, "hedged": poll.hedged_ms, "working": poll.working_ms}[at]


def weight_per_min(coins: int, at: str) -> Decimal:
    """Weight of the plan's reads in a minute with so many markets, before stretching."""
    total = Decimal(0)
    for poll in PLAN:
        times = {"account": 1, "coin": coins, "leg": 2 * coins}[poll.per]
        total += Decimal(poll.weight * times * M) / period_ms(poll, at)
    return total


@functools.cache
def stretch(coins: int, at: str) -> Decimal:
    """By how much to lengthen the periods so that many markets stay within the weight (>= 1)."""
    if at == "working":
        return Decimal(1)  # A hedge in the making is worth the weight; the budget bounds it.
    return max(Decimal(1), weight_per_min(coins, at) / WEIGHT_PER_MIN_MAX)


@attrs.frozen(kw_only=True)
class Wishes:
    """What the loop adds to a tick: flags, what it learned of itself, what operators asked."""

    cause: str = "interval"
    restarted: bool = False
    stopping: bool = False
    once: bool = False
    policy: Policy | None = None
    capabilities: Capabilities | None = None
    journal_id: int | None = None
    commands: tuple[Command, ...] = ()
    faults: tuple[Fault, ...] = ()


class Gatherer:
    """Remembers when each read last succeeded or failed; nothing else.

    slow_weight_max: of a minute's weight, what reads that may wait are left; a venue that counts
    none may be asked for everything at once.
    """

    def __init__(self, venue: Venue, clock: Clock) -> None:
        self._venue, self._clock = venue, clock
        self.slow_weight_max = SLOW_WEIGHT_MAX
        self._looked_ms = 0
        self._read_ms: dict[str, int] = {}
        self._failed: dict[str, tuple[int, int]] = {}  # name: (answers missed in a row, when)
        self._spent: deque[tuple[int, int]] = deque()  # weights of reads, in the last minute
        self._room = 0
        self._unprotected = True  # what a start waits for is asked for again soon
        self._moment_ms = -MOMENT_AGAIN_MS  # when all of a moment were last asked for
        self._lost: dict[str, bool] = {}  # channels of the stream that missed something
        self._hasty = False  # reads of this tick end when something of ours happens

    @property
    def failing(self) -> tuple[str, ...]:
        """Reads whose last try failed."""
        return tuple(self._failed)

    def gather(self, state: State, outcomes: tuple[Outcome, ...], wishes: Wishes) -> Observations:
        """One tick's observations: outcomes, what streamed, and the reads that are due."""
        clock = self._clock
        clock.sync(self._venue)
        events, gaps = self._drain()
        reads: list[Read] = []
        # The first tick reads nothing: the fence of what was in flight goes out before all else,
        # and what is read from then on is newer than the start.
        if not wishes.restarted and not self._may_skip(wishes):
            self._hasty = not self._lost and not state.any_unknown
            due = self._due(state)
            seen, reads, failed = self._read_all(due, state)
            gaps += failed
            if due:
                clock.sync(self._venue)
                later, lost = self._drain()
                events, gaps = events + seen + later, gaps + lost
        return Observations(
            mono_ms=clock.mono_ms(),
            wall_ms=clock.wall_ms(),
            venue_ms=clock.venue_ms(),
            cause=wishes.cause,
            restarted=wishes.restarted,
            stopping=wishes.stopping,
            once=wishes.once,
            policy=wishes.policy,
            capabilities=wishes.capabilities,
            journal_id=wishes.journal_id,
            outcomes=outcomes,
            events=newest_quotes(events),
            reads=tuple(reads),
            commands=wishes.commands,
            faults=wishes.faults,
            gaps=tuple(dict.fromkeys(gaps)),
        )

    def _may_skip(self, wishes: Wishes) -> bool:
        """Whether this tick goes without reads: one that follows a fill decides at once.

        What the stream and the outcomes say is enough for a hedge; the reads come with the next
        tick, and never later than URGENT_MS after the last ones.
        """
        now_ms = self._clock.mono_ms()
        if wishes.cause == "urgent" and not self._lost and now_ms - self._looked_ms < URGENT_MS:
            return True
        self._looked_ms = now_ms
        return False

    def _drain(self) -> tuple[list[Event], list[str]]:
        events, gaps = self._venue.stream.drain()
        self._lost.update(dict.fromkeys(gaps, True))
        return list(events), [f"stream:{name}" for name in gaps]

    def _due(self, state: State) -> list[str]:
        """Names of the reads for now, in the order of the plan."""
        self._room = self.slow_weight_max
        self._unprotected = state.protected_ms is None
        now_ms, coins = self._clock.mono_ms(), tuple(state.carries)
        wanted = {name for name in state.wants if name.split(":")[0] in RANK}
        wanted.update(name for name in self._lost if name.split(":")[0] in RANK)
        if any(name.split(":")[0] != "book" for name in self._lost):
            wanted.update(SWEEP)
        self._lost.clear()
        tempos = {"": tempo(state), **{coin: tempo(state, coin) for coin in coins}}
        for poll in PLAN:
            for name, coin in names(poll, coins):
                at, last_ms = tempos[coin], self._read_ms.get(name)
                wait_ms = int(period_ms(poll, at) * stretch(len(coins), at))
                if last_ms is None or now_ms - last_ms >= wait_ms:
                    if last_ms is not None and at != "working" and self._waits(poll, now_ms):
                        continue
                    wanted.add(name)
        slow = wanted & {"receipts", "transfers"}
        if slow and now_ms - self._moment_ms >= self._moment_wait_ms():
            self._moment_ms = now_ms
            wanted.update(MOMENT)
        else:
            wanted -= slow  # one without the others explains nothing
        ready = [name for name in wanted if self._may_try(name, now_ms)]
        return sorted(ready, key=lambda name: (RANK[name.split(":")[0]], name))

    def _moment_wait_ms(self) -> int:
        """How soon the sources of one moment are read together again. When one of them failed, all
        are repeated for it: each tick, they would use up the weight that books need.
        """
        if not any(name in self._failed for name in MOMENT):
            return 0
        return SWEEP_BACKOFF_MS if self._unprotected else MOMENT_AGAIN_MS

    def _waits(self, poll: Poll, now_ms: int) -> bool:
        """Whether a slow read is left to a later minute: periods coincide, and this one is full."""
        while self._spent and self._spent[0][0] <= now_ms - M:
            self._spent.popleft()
        used = sum(weight for _, weight in self._spent)
        self._room = min(self._room, self.slow_weight_max - used)
        if poll.name not in SLOW or self._room >= poll.weight:
            self._room -= poll.weight
            return False
        return True

    def _may_try(self, name: str, now_ms: int) -> bool:
        if name not in self._failed:
            return True
        times, last_ms = self._failed[name]
        wait_ms = BACKOFF_MS[max(0, min(times, len(BACKOFF_MS)) - 1)]
        if name in SWEEP or self._unprotected:
            wait_ms = min(wait_ms, SWEEP_BACKOFF_MS)
        return now_ms - last_ms >= wait_ms

    def _read_all(
        self, due: Sequence[str], state: State
    ) -> tuple[list[Event], list[Read], list[str]]:
        seen: list[Event] = []
        reads: list[Read] = []
        gaps: list[str] = []
        start_ms = self._clock.mono_ms()
        # No single call may outlive the tick's deadline either; that one is the machine's time.
        rest = getattr(self._venue, "rest", None)
        if rest is not None:
            rest.until = Deadline.after(READ_MS_MAX / 1000)
        try:
            self._read_due(due, state, start_ms, seen, reads, gaps)
        finally:
            if rest is not None:
                rest.until = None  # A write has a deadline of its own.
        return seen, reads, gaps

    def _read_due(
        self,
        due: Sequence[str],
        state: State,
        start_ms: int,
        seen: list[Event],
        reads: list[Read],
        gaps: list[str],
    ) -> None:
        unanswered = 0  # reads in a row
        for n, name in enumerate(due):
            # A fill of an order that rests is hedged before anything else is read; what was left
            # out is still due. Not so when the stream lost something: then reading comes first.
            if n and self._hasty and self._news():
                break
            if self._clock.mono_ms() - start_ms > READ_MS_MAX:
                gaps.append(name)
                continue
            # A venue that is down is not asked for everything: weight is kept for its return.
            down = unanswered >= DOWN_READS
            got = "down" if down else self._read(name, state, start_ms)
            now_ms = self._clock.mono_ms()
            if got == "budget":
                # Nothing was asked, so nothing is down: it waits for weight, not for the venue.
                gaps.append(name)
                self._failed[name] = (0, now_ms)
                continue
            if not down:
                self._spent.append((now_ms, POLL[name.split(":")[0]].weight))
            if isinstance(got, str):
                unanswered += 1
                gaps.append(name)
                self._failed[name] = (self._failed.get(name, (0, 0))[0] + 1, now_ms)
                continue
            unanswered = 0
            self._read_ms[name] = now_ms
            self._failed.pop(name, None)
            if isinstance(got, BookSeen):
                seen.append(got)
            else:
                reads.append(got)

    def _news(self) -> bool:
        """Whether something of ours happened, by a stream that is read up to now."""
        self._clock.sync(self._venue)
        return self._venue.stream.poll(0)

    def _read(self, name: str, state: State, start_ms: int) -> Read | BookSeen | str:
        """One read, tried again once when only the transport failed and time is left; the kind of
        its failure.
        """
        for attempt in (1, 2):
            try:
                return read(self._venue, self._clock, name, state)
            except ReadFailed as failure:
                left_ms = READ_MS_MAX - (self._clock.mono_ms() - start_ms)
                again = attempt == 1 and name not in self._failed
                if failure.kind != "transport" or not again or left_ms < READ_MS_MAX // 2:
                    return failure.kind
        return "transport"


def read(venue: Venue, clock: Clock, name: str, state: State) -> Read | BookSeen:
    """Ask the venue for what `name` says. Raises ReadFailed."""
    now_ms = clock.venue_ms() or clock.wall_ms()
    kind, _, rest = name.partition(":")
    match kind:
        case "markets":
            return venue.markets(tuple(state.carries))
        case "mode":
            return venue.mode()
        case "positions":
            return venue.positions()
        case "balances":
            return venue.balances()
        case "orders":
            return venue.open_orders()
        case "fills":
            return venue.fills(since_ms(state.fills_floor_at_ms, now_ms))
        case "receipts":
            return venue.receipts(since_ms(state.receipts_floor_at_ms, now_ms))
        case "transfers":
            return venue.transfers(since_ms(state.transfers_floor_at_ms, now_ms))
        case "contexts":
            return venue.contexts(tuple(state.carries))
        case "leverage":
            return venue.leverage(rest)
        case "book":
            coin, _, leg = rest.partition(":")
            return venue.book(coin, Leg(leg))
        case "fees":
            return venue.fees()
        case "budget":
            return venue.budget()
        case "agent":
            return venue.agent_read()
        case "prints":
            forecast = state.carries[rest].forecast
            first_ms = now_ms - PRINTS_BACK_H * H
            # What is older than the page decays to nothing; after months off it is left out.
            since = max(first_ms, forecast.last_at_ms + 1) if forecast else first_ms
            return venue.prints(rest, since)
        case "closes":
            wanted = state.policy.strategy.volatility
            return venue.closes(rest, wanted.interval, wanted.window)
        case _:
            raise AssertionError(f"a read without a call: {name}")


def since_ms(floor_at_ms: int, now_ms: int) -> int:
    """From where to read a history: an overlap before the floor below which all is booked."""
    if floor_at_ms == 0:
        return max(0, now_ms - FIRST_BACK_MS)
    return max(0, floor_at_ms - OVERLAP_MS)


def newest_quotes(events: Sequence[Event]) -> tuple[Event, ...]:
    """All events, but of the quotes of one instrument only the newest: the rest is history."""
    last: dict[tuple[str, Leg, bool], int] = {}
    for n, event in enumerate(events):
        if isinstance(event, BookSeen):
            last[event.coin, event.leg, event.full] = n
    return tuple(
        event
        for n, event in enumerate(events)
        if not isinstance(event, BookSeen) or last[event.coin, event.leg, event.full] == n
    )
