"""`carry demo`: a whole week of a carry, offline, by the real engine, told as it happens.

Everything of the bot is the real thing, and the storm's judge watches each event. Only the hours in
which nothing happens are passed in quarters instead of seconds.
"""

import functools
import sqlite3
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from carry.base.clock import Streaming
from carry.core.actions import Action, Alert
from carry.core.num import use_exact_context
from carry.core.observations import Observations
from carry.core.state import PHASE_NAMES, State
from carry.exchange.market import SeededMarket
from carry.exchange.paths import HOUR_MS, MINUTE_MS, Market
from carry.shell import screen, status, why
from carry.shell.database import JournalRefused, make_private
from carry.shell.reader import Reader
from carry.shell.say import noteworthy, render

from .week import COINS, HOURS, LULL_MS, Cue, Scripted, case_of, cues, thin_out
from .world import StormClock, World

DAY_H: Final = 24
INTERVAL_MS: Final = 5_000
AGAIN_MS: Final = DAY_H * HOUR_MS  # an alert that is repeated sooner is not told again
SECOND_LOOK_MS: Final = 61_000  # after it, since a minute's weight does not hold every read
CLOSE_MS: Final = 12_000  # how long it looks closely after anything worth telling
HEARTBEAT_MS: Final = 28_000  # how long the stream is left alone: the venue closes a silent one
STEPS_A_LULL: Final = 8  # moves of the quotes in that time: by the second nobody could follow
WIDTH: Final = screen.WIDTH
ALERTS_MAX: Final = 3
# What a reader of a story does without: numbers of orders, and intents that were just asked for.
LEFT_OUT: Final = ("  < order ", "  . ", "  < nothing from ")


class Lapse(StormClock):
    """Time by the second while anything happens, by the hours while nothing does."""

    _looked_twice = False

    def wait(self, venue: Streaming, ms: int) -> bool:
        world = self._world
        assert isinstance(world, Demo)
        now_ms = world.exchange.now
        if ms < INTERVAL_MS or now_ms < world.close_until_ms:
            return super().wait(venue, ms)
        self._looked_twice = not self._looked_twice
        end_ms = now_ms + (SECOND_LOOK_MS if self._looked_twice else world.lull_ms)
        if world.next_ms is not None:
            end_ms = min(end_ms, world.next_ms + 1)
        while world.exchange.now < end_ms:
            if super().wait(venue, min(HEARTBEAT_MS, end_ms - world.exchange.now)):
                return True
        return False


class Demo(World):
    """One week. told: gets each line as it is said."""

    clock_type = Lapse
    network = "demo"
    operator = "owner"

    def __init__(self, seed: int, told: Callable[[str], None] = lambda line: None) -> None:
        use_exact_context()
        self._look, self._head = "", ""
        self.said: list[tuple[int, str]] = []
        self._told = told
        self.close_until_ms = 0
        self.lull_ms = LULL_MS
        self._alerts: dict[str, int] = {}
        super().__init__(case_of(seed))
        self.look_each(LULL_MS)
        thin_out(self.exchange)
        self.began_ms = self.exchange.now
        first, *later = cues()
        for cue in later:
            self.after(cue.at_ms, functools.partial(self._on, cue))
        self._on(first)

    def _market(self, start_ms: int) -> Market:
        return Scripted(SeededMarket(self.case.seed, start_ms, COINS))

    @property
    def next_ms(self) -> int | None:
        """When the script goes on."""
        return self._agenda[0].at_ms if self._agenda else None

    # --- the story ----------------------------------------------------------------------

    def _on(self, cue: Cue) -> None:
        if cue.title:
            self._say("")
            self._say(f"{day(self.exchange.now - self.began_ms)}  {cue.title}")
        if cue.says:
            self._say(f"  ~ {cue.says}")
        cue.does(self)
        self._look, self._head = cue.looks, ""
        self.close_until_ms = self.exchange.now + CLOSE_MS

    def look_each(self, ms: int) -> None:
        """How much is passed at once from now on while nothing happens."""
        self.lull_ms = ms
        step_ms = ms // STEPS_A_LULL
        self.exchange.quotes.step_ms = self.exchange.funding.sample_ms = step_ms

    def tell_of_death(self) -> None:
        self._say("  ~ The process is killed; its memory is the journal alone.")

    def committed(
        self, before: State, observations: Observations, after: State, actions: Sequence[Action]
    ) -> None:
        fresh = tuple(a for a in actions if not isinstance(a, Alert) or self._is_new(a))
        head, *lines = scene(before, observations, after, fresh, self.began_ms) or ("",)
        if head:
            self.close_until_ms = self.exchange.now + CLOSE_MS
        if head != self._head:
            self._say(*head.splitlines())
            self._head = head or self._head
        seen = picture(after, self._look) if self._look else ()
        if seen:
            self._look = ""
        self._say(*lines, *seen)
        super().committed(before, observations, after, actions)

    def _is_new(self, alert: Alert) -> bool:
        now_ms, before_ms = self.exchange.now, self._alerts.get(alert.name)
        if before_ms is not None and now_ms - before_ms < AGAIN_MS:
            return False
        self._alerts[alert.name] = now_ms
        return True

    def _say(self, *texts: str) -> None:
        for text in texts:
            self.said.append((self.bot.journal.seq, text))
            for line in wrapped(text):
                self._told(line)

    def live(self) -> None:
        """The whole week. Raises Violation where a promise was broken."""
        end_ms = self.began_ms + HOURS * HOUR_MS
        self.run(1 << 40, lambda: self.exchange.now >= end_ms)
        self._say("", "What the week came to")
        for line in came_to(self.bot.state, self.db):
            self._say(line)

    def save(self, path: Path) -> None:
        """Leave the journal at `path`, where the last demo's is replaced and nothing else."""
        if path.exists() and Reader(str(path)).meta("network") != self.network:
            raise JournalRefused(f"{path}: is not a demo's journal; name another with --state-db")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_suffix(path.suffix + ".new")
        new.unlink(missing_ok=True)
        make_private(new)
        target = sqlite3.connect(new)
        try:
            self.db.backup(target)
        finally:
            target.close()
        new.replace(path)


def day(gone_ms: int) -> str:
    """When in the week something happens, as a person says it."""
    hours, minutes = divmod(gone_ms // MINUTE_MS, 60)
    return f"Day {hours // DAY_H + 1}, {hours % DAY_H:02}:{minutes:02}"


def wrapped(text: str) -> list[str]:
    """At most 80 columns; what goes on is set in."""
    indent = " " * (len(text) - len(text.lstrip(" ")) + 2)
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=indent, break_on_hyphens=False, drop_whitespace=True
    ) or [""]


def scene(
    before: State,
    observations: Observations,
    after: State,
    actions: Sequence[Action],
    began_ms: int,
) -> tuple[str, ...]:
    """A tick as the renderer tells it, without its smaller print; nothing of one that says nothing.

    The head names the time and the markets that moved on.
    """
    lines = render(before, observations, after, actions)
    kept = [line for line in lines[1:] if not line.startswith(LEFT_OUT)]
    if not noteworthy((lines[0], *kept), before, after):
        return ()
    alerts = [line for line in kept if line.startswith("  ! ")]
    if len(alerts) > ALERTS_MAX:
        kept = [line for line in kept if line not in alerts[ALERTS_MAX:]]
        kept.append("  ! and more like these")
    at_ms = observations.venue_ms or observations.wall_ms
    moved = [
        f"{coin} {PHASE_NAMES[type(was.phase)]} -> {PHASE_NAMES[type(carry.phase)]}"
        for coin, carry in after.carries.items()
        if (was := before.carries.get(coin)) is not None
        and type(was.phase) is not type(carry.phase)
    ]
    seconds = (at_ms - began_ms) // 1000 % 60
    return (f"{day(at_ms - began_ms)}:{seconds:02}  {', '.join(moved)}".rstrip(), *kept)


def picture(state: State, looks: str) -> tuple[str, ...]:
    """What the state is like, in the words of `carry status`; nothing while it is not read yet."""
    if state.account.usd is None:
        return ()
    found = status.report(0, state)
    if looks == "markets":
        if any(m["why_kind"] == why.FAULT for m in found["markets"]):
            return ()
        return tuple(f"  ? {screen.sentence(m['why'], m['coin'])}" for m in found["markets"])
    held = [m for m in found["markets"] if m["spot_sz"] != "0"]
    lines = [line for m in held for line in screen.market_lines(m)]
    return tuple(f"  = {line.strip()}" for line in (*lines, screen.money(found["pnl"])))


def came_to(state: State, journal: sqlite3.Connection) -> tuple[str, ...]:
    """The end: profit and loss by cause, what nothing explains, and how much was done for it."""
    pnl = status.report(0, state)["pnl"]
    residual = pnl["residual_usd"]
    counts = {
        name: journal.cursor().execute(f"SELECT count(*) FROM {name}").fetchone()[0]
        for name in ("ticks", "fills", "funding")
    }
    return (
        f"  = {screen.money(pnl)}",
        f"  = residual {'unknown' if residual is None else f'${residual}'}: what no fill, fee, "
        "payment or price explains",
        f"  = {counts['ticks']} ticks, {state.intent_no} orders and settings, {counts['fills']} "
        f"fills, {counts['funding']} payments of funding",
    )
