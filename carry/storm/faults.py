"""The storm: a plan of strikes carried out on bytes, streams, the venue and the host.

Each fault of the catalogue is one small function under its id. `on_call` faults take one request
and answer it; `on_time` faults change the world at a tick. A hit is counted when bytes or the
venue's state differ from what would have been, and so did something that a tick observed.
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs

from carry.core.observations import Observations
from carry.core.state import State
from carry.shell.value_calls import Call
from carry.venues.transport import PostFailed

from .draw import Strike
from .wire import StreamFaults

if TYPE_CHECKING:
    from .world import World

Answer = tuple[int, Any]
"""Status, and bytes or a value."""
Carried = Callable[["World", Call, random.Random], Answer]
Shows = Callable[[Observations], bool]
Struck = Callable[["World", random.Random], "Shows | bool | None"]
Fits = Callable[[Call], bool]
SHOWS_WITHIN_MS: Final = 120_000
BYTES_ONLY: Final = ("F01", "F24", "F32", "F67")
"""A signature, a count of statuses, an unreadable body, a full page: no values have them."""


class Nothing(Exception):
    """The fault found nothing to break here: it stays armed, and the call goes on unharmed."""


@attrs.frozen
class OnCall:
    fits: Fits
    carry: Carried


ON_CALL: Final[dict[str, OnCall]] = {}
ON_TIME: Final[dict[str, Struck]] = {}


def always(observations: Observations) -> bool:
    """What would have been observed is not there, whatever else is."""
    return True


def on_call(name: str, fits: Fits) -> Callable[[Carried], Carried]:
    def add(function: Carried) -> Carried:
        ON_CALL[name] = OnCall(fits, function)
        return function

    return add


def on_time(name: str) -> Callable[[Struck], Struck]:
    def add(function: Struck) -> Struck:
        ON_TIME[name] = function
        return function

    return add


def catalogue() -> tuple[str, ...]:
    """Every fault id, in order."""
    from . import faults_host, faults_market, faults_reads, faults_writes

    assert all((faults_host, faults_market, faults_reads, faults_writes))
    return tuple(sorted({*ON_CALL, *ON_TIME}, key=lambda name: int(name[1:])))


@attrs.define(eq=False)
class Hit:
    """Something that was changed. shows: whether a tick's observations differ by it.

    open: an intent was open when it struck.
    """

    fault: str
    open: bool
    at_ms: int
    shows: Shows


@attrs.define
class Condition:
    """Something that holds for a while. `carry`: answers a call, or None to let it pass.

    after: changes the answer of a call that passed; must return it unchanged if it does not mind.
    """

    fault: str
    until_ms: int
    carry: Callable[[Call], Answer | None] = lambda call: None
    after: Callable[[Call, Answer], Answer] = lambda call, answer: answer


class Storm:
    """The plan of a case, and what came of it."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.names = catalogue()
        has = [world.values and strike.fault in BYTES_ONLY for strike in world.case.strikes]
        plan = world.case.strikes
        self.waiting = [strike for strike, skip in zip(plan, has, strict=True) if not skip]
        self.skipped = Counter(s.fault for s, skip in zip(plan, has, strict=True) if skip)
        self.armed: list[Strike] = []
        self.fired: list[Strike] = []
        self.conditions: list[Condition] = []
        self.hits: Counter[str] = Counter()
        self.open_hits = 0
        self.over = False
        self.restore: Callable[[], None] | None = None
        self.touched: list[Hit] = []  # hits of the call that is being made
        # What the exchange said to the write being made, by its nonce and whether it is a fence.
        self.answers: dict[tuple[int, bool], Any] = {}
        self._unseen: list[Hit] = []
        self._state: State | None = None

    # --- calls --------------------------------------------------------------------------

    def carry(self, call: Call) -> Answer:
        """Answer one request, as the faults in force would have it."""
        now = self.world.exchange.now
        self.conditions = [c for c in self.conditions if c.until_ms > now]
        for condition in self.conditions:
            try:
                answer = condition.carry(call)
            except PostFailed:
                self.touch(condition.fault)
                raise
            if answer is not None:
                self.touch(condition.fault)
                return answer
        answer = self._struck(call)
        if answer is None:
            answer = self.world.land(call)
        for condition in self.conditions:
            changed = condition.after(call, answer)
            if changed != answer:
                self.touch(condition.fault)
                answer = changed
        return answer

    def _struck(self, call: Call) -> Answer | None:
        for strike in self.armed:
            fault = ON_CALL.get(strike.fault)
            if fault is None or not fault.fits(call):
                continue
            rng = random.Random(strike.key)
            self.armed.remove(strike)
            self.fired.append(strike)
            self.world.truth.note(f"{strike} on {call.kind}")
            self.touch(strike.fault)
            try:
                return fault.carry(self.world, call, rng)
            except Nothing:
                self.touched.pop()
                self.fired.pop()
                self.armed.append(strike)
                return None
        return None

    # --- ticks --------------------------------------------------------------------------

    def on_tick(self, observations: Observations, state: State) -> None:
        """Count what was seen, arm what is due, strike what needs no call."""
        self._state = state
        self._count(observations)
        while self.waiting and self.waiting[0].tick <= self.world.tick:
            self.armed.append(self.waiting.pop(0))
        for strike in list(self.armed):
            struck = ON_TIME.get(strike.fault)
            if struck is None:
                continue
            self.armed.remove(strike)
            self.fired.append(strike)
            shows = struck(self.world, random.Random(strike.key))
            if callable(shows):
                self.hit(strike.fault, shows)
            if shows is not False:
                self.world.truth.note(f"{strike}")
            else:
                # Nothing to break now: tried again at the next tick. (None: counted elsewhere.)
                self.fired.remove(strike)
                self.armed.append(strike)

    def _count(self, observations: Observations) -> None:
        oldest_ms = self.world.exchange.now - SHOWS_WITHIN_MS
        waiting, self._unseen = self._unseen, []
        for hit in waiting:
            if hit.shows(observations):
                self.hits[hit.fault] += 1
                self.open_hits += hit.open
            elif hit.at_ms >= oldest_ms:
                self._unseen.append(hit)

    def touch(self, fault: str) -> None:
        """The bytes of this call, or what they do, differ: whoever made it says if it shows."""
        self.touched.append(self._hit(fault, always))

    def settle(self, differs: bool) -> None:
        """The call is over: its hits show in the next tick, or in none."""
        if differs:
            self._unseen += self.touched
        self.touched.clear()

    def hit(self, fault: str, shows: Shows) -> None:
        """The world differs; it counts once a tick has seen it."""
        self._unseen.append(self._hit(fault, shows))

    def _hit(self, fault: str, shows: Shows) -> Hit:
        is_open = self._state is not None and bool(self._state.intents)
        return Hit(fault, is_open, self.world.exchange.now, shows)

    def hold(self, condition: Condition) -> None:
        self.conditions.append(condition)

    def between_lives(self) -> None:
        """The process is down: the moment at which its journal may be replaced."""
        if self.restore is not None:
            self.restore()
            self.restore = None

    def heal(self) -> None:
        """No more faults; what they bent is straight again."""
        world = self.world
        self.over = True
        self.waiting.clear()
        self.armed.clear()
        self.conditions.clear()
        world.link.faults = StreamFaults()
        world.clock.wall_offset_ms, world.clock.wall_stands_ms = 0, None
        world.exchange.post_only_until_ms = 0
        world.crash_at = None
        self.restore = None
        if world.key.address not in world.exchange.agents:
            world.exchange.approve(world.key.address, world.account)

    @property
    def total(self) -> int:
        return sum(self.hits.values())
