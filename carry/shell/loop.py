"""The tick: see, think, write down, act. One thread; whatever the venue, the clock, the network."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from carry.base.secrets import traceback_text
from carry.core.actions import Action, Alert, Note, Write
from carry.core.asked import Command, Rejected, SetPolicy
from carry.core.observations import (
    CancelUnanswered,
    Fault,
    FenceUnanswered,
    NotSent,
    Observations,
    Outcome,
)
from carry.core.policy import Policy
from carry.core.state import Idle, State
from carry.core.step import calm, step
from carry.venues.base import Clock, Venue

from .clearance import facts_of, fold, limits_of, passed, refused
from .commands import BACK, RELOAD, Refused, overridden, to_command
from .config_file import ConfigError
from .execute import execute
from .gather import Gatherer, Wishes
from .journal import Journal, Order
from .logs import EventLog
from .notify import notify
from .say import noteworthy, render
from .timings import Timings

HOUR_MS: Final = 3_600_000
WORKING_MS: Final = 1_000  # the longest wait while something is open
CRASHES_MAX: Final = 2  # within the hour: the second one ends the process
NOT_DECISIVE: Final = (NotSent, CancelUnanswered, FenceUnanswered)


class CrashedTwice(Exception):
    """Guards failed twice within the hour: the process ends, a person must look."""


@attrs.frozen(kw_only=True)
class Manner:
    """How this run differs from an endless one.

    once: a single look. dry_run: nothing is sent. until_flat_ms: end when everything is closed, or
    after this long; None for an endless run. ticks_max: end after so many (measurements, tests).
    live: a real network. paper: a simulated account on the config's market.
    unproven: the operator's words for real money without the evidence of `ladder`. entries: False
    for a run that keeps and leaves what it holds.
    """

    interval_ms: int = 1_000
    min_tick_ms: int = 20
    once: bool = False
    dry_run: bool = False
    live: bool = False
    paper: bool = False
    unproven: str | None = None
    entries: bool = True
    until_flat_ms: int | None = None
    ticks_max: int | None = None


class Bot:
    """One account's loop over a venue, a clock and a journal."""

    def __init__(
        self,
        *,
        venue: Venue,
        clock: Clock,
        journal: Journal,
        state: State,
        policy: Policy,
        from_file: Policy,
        log: EventLog,
        manner: Manner,
        stop: Callable[[], bool],
        ready: Callable[[State], str | None] = lambda state: None,
        reload: Callable[[], Policy | None] = lambda: None,
        hung_up: threading.Event | None = None,
        timings: Timings | None = None,
    ) -> None:
        self.venue, self.clock, self.journal, self.log = venue, clock, journal, log
        self.state, self.manner = state, manner
        self._from_file, self._stop, self._ready, self._reload = from_file, stop, ready, reload
        self._hung_up = hung_up or threading.Event()
        self.timings = timings or Timings()
        self._told_ready = False
        self._facts = facts_of(state)
        self._breaches: tuple[Fault, ...] = ()
        self.gatherer = Gatherer(venue, clock)
        self._outcomes: tuple[Outcome, ...] = ()
        self._missed: list[str] = []
        self._woken = self._looked = self._dry_look_done = False
        self._started_ms = clock.mono_ms()
        self._stopped_ms: int | None = None
        crash = journal.crashed_last()
        self._first: Wishes | None = Wishes(
            restarted=True,
            policy=policy if policy != state.policy else None,
            capabilities=venue.capabilities,
            journal_id=journal.journal_id,
            faults=(Fault(name="crash", text=crash),) if crash else (),
        )
        self.refusal: str | None = None

    def run(self) -> State:
        """Tick until the run is over; the state of the last committed tick."""
        while not self._over():
            began_ms, began_ns = self.clock.mono_ms(), time.perf_counter_ns()
            with self.timings.of("gather"):
                observations = self.gatherer.gather(self.state, self._outcomes, self._wishes())
            self._facts = fold(self._facts, observations)
            with self.timings.of("step"):
                before, (observations, after, actions) = self.state, self._think(observations)
            with self.timings.of("commit"):
                self.journal.commit(observations, after, actions)
            self.state = after
            self._alive()
            self._say(before, observations, after, actions)
            with self.timings.of("execute"):
                self._outcomes = execute(
                    self.venue,
                    actions,
                    dry_run=self.manner.dry_run,
                    gap=self._missed.append,
                    took=self.timings.took,
                    clear=self._clear,
                )
            self.timings.took("tick", time.perf_counter_ns() - began_ns)
            self.timings.write()
            # What a dry look asked for was not sent: one more tick, stopping, takes it back.
            self._dry_look_done = self._looked and self.manner.once and self.manner.dry_run
            decisive = any(not isinstance(o, NOT_DECISIVE) for o in self._outcomes)
            if self._looked and not decisive:
                self._woken = not self._over() and self._wait(began_ms)
        return self.state

    def _clear(self, action: Write) -> str:
        """The last look before signing; what it refuses is a mistake of ours, so entries stop."""
        now_ms = self.clock.mono_ms()
        text = refused(self._facts, limits_of(self.state.policy), action, now_ms)
        if not text:
            self._facts = passed(self._facts, action, now_ms)
            return ""
        what = f"{type(action).__name__} was refused before it was signed: {text}"
        self._breaches += (Fault(name="policy_check", text=what),)
        self.log.warn(what)
        return f"refused before it was signed: {text}"

    def _alive(self) -> None:
        """Tell systemd, after a tick that is committed whole: a bot that hangs is started again."""
        if not self._told_ready and self._looked:
            self._told_ready = notify("READY=1", f"STATUS=tick {self.journal.seq}")
        notify("WATCHDOG=1")

    # --- see -------------------------------------------------------------------------------------

    def _wishes(self) -> Wishes:
        first, self._first = self._first, None
        wishes = first or Wishes()
        # The first tick only fences: what operators asked needs prices, which come with the next.
        commands = () if wishes.restarted else self._commands()
        self._looked = not wishes.restarted
        if self._stopped_ms is None and (self._stop() or self._dry_look_done):
            self._stopped_ms = self.clock.mono_ms()
        faults: Callable[[], tuple[Fault, ...]] = getattr(self.venue, "faults", tuple)
        breaches, self._breaches = self._breaches, ()
        return attrs.evolve(
            wishes,
            faults=(*wishes.faults, *faults(), *breaches),
            cause="urgent" if self._woken or self._outcomes else "interval",
            stopping=self._stopped_ms is not None,
            once=self._enters_nothing(),
            commands=commands,
        )

    def _enters_nothing(self) -> bool:
        """A single look at a real network, and a run that only keeps what it holds."""
        manner = self.manner
        return not manner.entries or (manner.once and manner.live and not manner.dry_run)

    def _commands(self) -> tuple[Command, ...]:
        """What operators asked since the state's watermark; a policy builds on the one before."""
        if self._hung_up.is_set():
            self._hung_up.clear()
            self.journal.ask(RELOAD, "SIGHUP", self.clock.wall_ms())
        policy = self.state.policy
        found: list[Command] = []
        obeyed: list[Order] = []
        for order in self.journal.inbox(self.state.command_id):
            try:
                command = self._command(order, policy, obeyed)
            except (Refused, ConfigError, ValueError, LookupError, TypeError, AttributeError) as no:
                what, why = order.what[:40], str(no)[:400]
                found.append(Rejected(command_id=order.id, by=order.who, what=what, why=why))
                continue
            policy = getattr(command, "policy", policy)
            found.append(command)
            obeyed.append(order)
        return tuple(found)

    def _command(self, order: Order, policy: Policy, obeyed: list[Order]) -> Command:
        """obeyed: orders of this tick before this one."""
        if order.what != RELOAD:
            return to_command(order, policy, self._from_file)
        again = self._reload()
        if again is None:
            raise Refused("this run has no config to read again")
        self._from_file = again
        given = [*self.journal.given(self.state.command_id), *obeyed]
        effective, said = overridden(again, given)
        for sentence in said:
            self.log.say(sentence)
        return SetPolicy(
            command_id=order.id,
            by=order.who,
            key=BACK,
            policy=effective,
            before=policy.source,
            after=effective.source,
        )

    # --- think -----------------------------------------------------------------------------------

    def _think(self, observations: Observations) -> tuple[Observations, State, tuple[Action, ...]]:
        """`step`, and the one place where a failed guard is caught.

        What the tick saw is kept in a crash row. Then the same tick is decided again with the crash
        as a fault it saw, which latches REDUCE: what adds risk is gone, what reduces must pass the
        guard by itself, and replay sees why.
        """
        try:
            return (observations, *step(self.state, observations))
        except Exception as error:
            text = f"{type(error).__name__}: {error}"[:500]
            self._crashed(observations, text, error)
        fault = Fault(name="crash", text=text)
        observations = attrs.evolve(observations, faults=(*observations.faults, fault))
        try:
            return (observations, *step(self.state, observations))
        except Exception as error:
            self._crashed(observations, f"{type(error).__name__}: {error}"[:500], error)
            raise CrashedTwice(
                f"a guard failed again in REDUCE ({error}): nothing of this tick was sent"
            ) from error

    def _crashed(self, observations: Observations, text: str, error: BaseException) -> None:
        self.journal.crashed(observations, self.state, text)
        fields = {"text": text, "where": traceback_text(error)}
        self.log.emit("crash", observations.venue_ms, None, fields)
        self.log.warn(f"a check of our own failed, see the crash table: {text}")
        recent = self.journal.crashes_since(observations.wall_ms - HOUR_MS)
        if recent >= CRASHES_MAX:
            raise CrashedTwice(
                f"{recent} checks of our own failed within the hour, the last: {text}. Positions "
                "stay as they are at the venue; the next start begins in REDUCE"
            ) from error

    # --- say -------------------------------------------------------------------------------------

    def _say(
        self, before: State, observations: Observations, after: State, actions: Sequence[Action]
    ) -> None:
        at_ms = observations.venue_ms or observations.wall_ms
        for action in actions:
            if isinstance(action, Note):
                self.log.emit(action.event, at_ms, action.coin, action.fields)
            elif isinstance(action, Alert):
                fields = {"level": action.level, "name": action.name, "text": action.text}
                self.log.emit("alert", at_ms, action.coin, fields)
        lines = render(before, observations, after, actions)
        if self.manner.once or noteworthy(lines, before, after):
            self.log.emit(
                "tick", at_ms, None, {"seq": str(self.journal.seq), "lines": "\n".join(lines)}
            )
            for line in lines:
                self.log.say(line)
        for source in self._missed:
            self.log.emit("query_unanswered", at_ms, None, {"source": source})
        self._missed.clear()

    # --- end -------------------------------------------------------------------------------------

    def _over(self) -> bool:
        """Whether the run ends before the next tick."""
        if not self._looked:
            return False
        if self.refusal is None:
            self.refusal = self._ready(self.state)
        if self.refusal is not None:
            return True
        now_ms, grace_ms = self.clock.mono_ms(), self.state.policy.execution.shutdown_grace_ms
        manner = self.manner
        if manner.ticks_max is not None and self.journal.seq >= manner.ticks_max:
            return True
        if self._stopped_ms is not None:
            late = now_ms - self._stopped_ms >= grace_ms
            return late or (self.state.stopping and calm(self.state))
        if manner.once:
            late = now_ms - self._started_ms >= grace_ms
            return late or (calm(self.state) and not self._outcomes)
        if manner.until_flat_ms is not None:
            late = now_ms - self._started_ms >= manner.until_flat_ms
            return late or is_flat(self.state)
        return False

    def _wait(self, began_ms: int) -> bool:
        """Until something of ours happens or the interval is over; never two ticks too close.

        With an order open or a hedge amiss the next look comes soon, however long the interval.
        """
        state, ms = self.state, self.manner.interval_ms
        if state.intents or any(carry.repair for carry in state.carries.values()):
            ms = min(ms, WORKING_MS)
        woken = self.clock.wait(self.venue, ms)
        left_ms = began_ms + self.manner.min_tick_ms - self.clock.mono_ms()
        if woken and left_ms > 0:
            self.clock.wait(self.venue, left_ms)
        return woken


def is_flat(state: State) -> bool:
    """Closed by command, and confirmed: what is IDLE was read flat after its last action (P8)."""
    asked = any(latch.mode == "flatten" for latch in state.latches.values())
    return (
        asked
        and not state.intents
        and all(isinstance(c.phase, Idle) and not c.perp_sz for c in state.carries.values())
    )
