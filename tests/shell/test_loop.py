"""The tick's order, the crash rule, the ends of a run: the loop itself, with the core's decisions
replaced where a mistake of ours is needed."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from carry.base.secrets import Redactor
from carry.core.actions import Alert, Fence, Note
from carry.core.guard import GuardFailed
from carry.core.observations import FenceHeld, ModeRead, NotSent, Observations
from carry.core.state import Latch, State
from carry.core.types import AccountMode
from carry.core.venue import Capabilities
from carry.shell import loop
from carry.shell.journal import Journal, JournalFailed
from carry.shell.logs import EventLog
from carry.shell.loop import Bot, CrashedTwice, Manner, is_flat
from carry.shell.reader import Reader, give

ACCOUNT = "0x" + "a" * 40
FENCE = Fence(intent=1, nonce=2, why="unknown")


class Clock:
    def __init__(self, trace: list[str]) -> None:
        self.now_ms, self.trace = 1_000_000, trace

    def mono_ms(self) -> int:
        return self.now_ms

    wall_ms = venue_ms = mono_ms

    def sync(self, venue: Any) -> None:
        pass

    def wait(self, venue: Any, ms: int) -> bool:
        self.trace.append("wait")
        self.now_ms += ms
        return False


class Stream:
    def poll(self, timeout_s: float) -> bool:
        return False

    def drain(self) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        return (), ()


class Venue:
    """Every read gives the same; writes give `answer`."""

    def __init__(self, trace: list[str], capabilities: Capabilities) -> None:
        self.stream, self.trace, self.capabilities = Stream(), trace, capabilities
        self.answer: Any = FenceHeld(intent=1)

    def write(self, action: Any) -> Any:
        self.trace.append("write")
        return self.answer

    def faults(self) -> tuple[Any, ...]:
        return ()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args: ModeRead(mode=AccountMode.UNIFIED, word="x", issued_ms=1)


class World:
    """A bot whose `step` is the test's."""

    def __init__(self, path: Path, state: State, capabilities: Capabilities) -> None:
        self.trace: list[str] = []
        self.stopping = False
        self.path, self.state = str(path / "carry.db"), state
        self.clock = Clock(self.trace)
        self.venue = Venue(self.trace, capabilities)
        self.log = EventLog(path / "logs", Redactor(), console=False)

    def bot(self, **manner: Any) -> Bot:
        journal = Journal.open(self.path, network="n", account=ACCOUNT)
        state = journal.load()
        if state is None:
            state = self.state
            journal.begin(state, 1)
        commit = journal.commit

        def traced(*args: Any) -> None:
            self.trace.append("commit")
            commit(*args)

        journal.commit = traced
        return Bot(
            venue=self.venue,
            clock=self.clock,
            journal=journal,
            state=state,
            policy=self.state.policy,
            from_file=self.state.policy,
            log=self.log,
            manner=Manner(**manner),
            stop=lambda: self.stopping,
        )


@pytest.fixture
def world(tmp_path: Path, state: State, capabilities: Capabilities) -> World:
    return World(tmp_path, state, capabilities)


@pytest.fixture
def decide(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Observations]]:
    """Replace `step`: actions by tick number, an exception to raise instead; gives what it saw."""

    def use(*ticks: Any) -> list[Observations]:
        seen: list[Observations] = []

        def step(state: State, observations: Observations) -> tuple[State, tuple[Any, ...]]:
            seen.append(observations)
            asked = ticks[len(seen) - 1] if len(seen) <= len(ticks) else ()
            if isinstance(asked, Exception):
                raise asked
            return attrs.evolve(state, seq=state.seq + 1, now_ms=observations.mono_ms), asked

        monkeypatch.setattr(loop, "step", step)
        return seen

    return use


def test_commit_comes_before_the_write_and_outcomes_come_next(world: World, decide: Any) -> None:
    """Write down, then act; a decisive outcome is thought about at once, without a wait."""
    seen = decide((), (FENCE,))
    world.bot(ticks_max=4).run()
    assert world.trace == ["commit", "commit", "write", "commit", "wait", "commit"]
    assert seen[0].restarted
    assert not seen[1].restarted
    assert seen[2].outcomes == (FenceHeld(intent=1),)
    assert [o.cause for o in seen] == ["interval", "interval", "urgent", "interval"]


def test_what_was_not_sent_waits_for_the_next_interval(world: World, decide: Any) -> None:
    """No budget, no connection: trying again at once would only spin."""
    world.venue.answer = NotSent(intent=1, why="no budget")
    seen = decide((), (FENCE,))
    world.bot(ticks_max=3).run()
    assert world.trace == ["commit", "commit", "write", "wait", "commit"]
    assert seen[2].outcomes == (NotSent(intent=1, why="no budget"),)


def test_nothing_is_written_when_the_commit_fails(world: World, decide: Any) -> None:
    decide((), (FENCE,))
    bot = world.bot()
    bot.journal._db.execute("DROP TABLE ticks")
    with pytest.raises(JournalFailed):
        bot.run()
    assert "write" not in world.trace


def test_a_failed_guard_is_caught_once(world: World, decide: Any) -> None:
    """A crash row; the same tick decided again with the crash as a fault; the run goes on."""
    seen = decide((), GuardFailed("a rule", FENCE), (FENCE,))
    world.bot(ticks_max=3).run()
    assert [fault.name for fault in seen[2].faults] == ["crash"]
    assert attrs.evolve(seen[2], faults=()) == seen[1]
    reader = Reader(world.path)
    ((text, kept),) = reader.rows("SELECT text, observations FROM crash")
    assert "a rule" in text
    assert '"faults":[]' in kept
    # The tick in the journal is the one that was acted on, fault and all: replay sees why.
    assert '"name":"crash"' in reader.rows("SELECT observations FROM ticks WHERE seq = 2")[0][0]
    assert world.trace == ["commit", "commit", "write", "commit"]


def test_a_second_failed_guard_within_the_hour_ends_the_process(world: World, decide: Any) -> None:
    decide((), GuardFailed("one", FENCE), (), (), GuardFailed("two", FENCE))
    with pytest.raises(CrashedTwice, match="2 checks of our own failed within the hour"):
        world.bot().run()
    assert world.trace.count("commit") == 3


def test_two_failed_guards_a_day_apart_do_not(world: World, decide: Any) -> None:
    failed = GuardFailed("one", FENCE)
    seen = decide((), failed, (), (), failed)
    world.bot(ticks_max=5, interval_ms=loop.HOUR_MS).run()
    assert len(seen) == 7


def test_a_guard_that_fails_in_reduce_too_ends_the_process(world: World, decide: Any) -> None:
    decide((), GuardFailed("one", FENCE), GuardFailed("two", FENCE))
    with pytest.raises(CrashedTwice):
        world.bot().run()
    assert "write" not in world.trace


def test_a_restart_after_a_crash_begins_in_reduce(world: World, decide: Any) -> None:
    decide((), GuardFailed("one", FENCE), GuardFailed("two", FENCE))
    with pytest.raises(CrashedTwice):
        world.bot().run()
    seen = decide()
    world.bot(ticks_max=2).run()
    assert [fault.name for fault in seen[0].faults] == ["crash"]
    seen = decide()
    world.bot(ticks_max=3).run()
    assert seen[0].faults == ()  # it was taken in: the latch is in the state now


def test_the_real_core_latches_reduce_on_a_crash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault's name is the one the core knows."""
    real, calls = loop.step, [0]

    def fails_once(state: State, observations: Observations) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise GuardFailed("a rule", FENCE)
        return real(state, observations)

    monkeypatch.setattr(loop, "step", fails_once)
    state = world.bot(ticks_max=2).run()
    assert state.latches["crash"].mode == "reduce"
    ((level, name),) = Reader(world.path).rows("SELECT level, name FROM alerts")
    assert (level, name) == ("page", "crash")


def test_a_stop_is_seen_by_the_core_before_the_end(world: World, decide: Any) -> None:
    seen = decide()
    bot = world.bot()
    world.stopping = True
    bot.run()
    assert [o.stopping for o in seen] == [True, True] or seen[-1].stopping


def test_a_stop_ends_after_the_grace_whatever_is_left(world: World, decide: Any) -> None:
    """With a leg naked that cannot be repaired the process still ends."""
    decide()
    held = attrs.evolve(
        world.state.carries["HYPE"], spot_sz=Decimal(10)
    )  # no price known: it cannot be judged hedged
    world.state = attrs.evolve(world.state, carries={"HYPE": held})
    bot = world.bot()
    world.stopping = True
    began = world.clock.now_ms
    bot.run()
    grace = world.state.policy.execution.shutdown_grace_ms
    assert grace <= world.clock.now_ms - began <= grace + 5_000


def test_commands_reach_the_core_in_order_and_settings_build_on_each_other(
    world: World, decide: Any
) -> None:
    seen = decide()
    bot = world.bot(ticks_max=3)
    for what, args in (
        ("pause", "{}"),
        ("set", '{"key":"risk.slice_usd","value":"100"}'),
        ("nonsense", "{}"),
        ("set", '{"key":"risk.max_drawdown_usd","value":"50"}'),
    ):
        give(world.path, at_ms=1, who="me", what=what, args=args)
    bot.run()
    assert seen[0].commands == ()  # the first tick only fences
    pause, one, nonsense, two = seen[1].commands
    assert type(pause).__name__ == "Pause"
    assert one.policy.risk.slice_usd == 100
    assert two.policy.risk.slice_usd == 100
    assert two.policy.risk.max_drawdown_usd == 50
    assert (one.before, one.after) == ("250", "100")
    assert (one.command_id, two.command_id) == (2, 4)
    # What means nothing is answered, not passed over in silence.
    assert type(nonsense).__name__ == "Rejected"
    assert "'nonsense' is not known" in nonsense.why


def test_notes_and_alerts_are_in_the_log(world: World, decide: Any, tmp_path: Path) -> None:
    note = Note(event="fee", coin="HYPE", fields={"fee": "0.1"})
    decide((), (note, Alert(level="warn", name="x", coin=None, text="Do this.")))
    world.bot(ticks_max=2).run()
    text = (tmp_path / "logs/carry.log").read_text()
    assert '{"event": "fee", "at_ms": 1000000, "coin": "HYPE", "fee": "0.1"}' in text
    assert '"event": "alert"' in text
    assert (tmp_path / "logs/carry.log").stat().st_mode & 0o777 == 0o600


def test_flat_is_only_what_was_asked_to_be(state: State) -> None:
    assert not is_flat(state)
    asked = attrs.evolve(state, latches={"kill": Latch(mode="flatten", why="", since_ms=1)})
    assert is_flat(asked)
    held = attrs.evolve(asked.carries["HYPE"], perp_sz=Decimal(-1))
    assert not is_flat(attrs.evolve(asked, carries={"HYPE": held}))
