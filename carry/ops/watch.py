"""The second process: passes the bot's alerts on, says when it is silent, answers the chat.

It opens the journal read-only and holds no key, so that whatever goes wrong here cannot trade; of
the journal it writes the inbox alone, and what it must remember is in a file of its own (`ops.db`).
Silence is a fault (P13): no committed tick for `alerts.silence_ms_max` is an alert of its own, and
while anything is amiss the monitor elsewhere is not asked, so that it raises the alarm.
"""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any, Final, Protocol

from carry.base.secrets import Redactor
from carry.core.state import State
from carry.shell.database import JournalRefused
from carry.shell.logs import EventLog
from carry.shell.notify import notify
from carry.shell.places import Places
from carry.shell.reader import Reader
from carry.shell.status import report

from . import note
from .history.progress import Progress
from .memory import Memory
from .outbox import SAY_AFTER, Delivery, settle, take_up
from .routes import LogRoute, NotTaken, Route
from .web import Client, Unreachable
from .workers import Worker

LOOK_S: Final = 1.0
BEAT_S: Final = 10.0
PAUSE_S: Final = 1.0
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
# Raised here and ended here; the others are the bot's.
OWN: Final = (
    "bad_metrics_port",
    "heartbeat_unanswered",
    "history_down",
    "history_refused",
    "journal_unreadable",
    "silence",
    "telegram_down",
    "telegram_refused",
    "telegram_twice",
    "webhook_down",
)


MEANS: Final = {
    "history_down": "the history database takes no rows; the bot is not touched and nothing is "
    "lost, since the journal is copied once it does",
    "history_refused": "nothing is copied into the history until that is put right; nothing is "
    "lost meanwhile",
    "telegram_down": "Telegram cannot be reached; alerts wait and go out once it can, and nobody "
    "can command from the chat",
    "telegram_refused": "Telegram refuses our token or chat: look at telegram.token and chat_ids, "
    "and whether the chat was begun with /start",
    "telegram_twice": "another program reads the chat with our token: stop it, or give each a bot "
    "of its own; commands may reach the wrong one",
    "webhook_down": "the webhook does not take alerts; they wait and go out once it does",
}


class Way(Protocol):
    """Something that talks to the outside. failures: in a row."""

    failures: int
    failure: NotTaken | None


class History(Protocol):
    """What copies the journal into a database; `progress`: how far it is."""

    progress: Progress


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Watch:
    """What ops does each second. `workers`: threads beside it that must live."""

    def __init__(
        self,
        where: Places,
        log: EventLog,
        memory: Memory,
        routes: list[Route],
        stop: threading.Event | None = None,
        redact: Redactor | None = None,
    ) -> None:
        assert where.wiring is not None, "places.find(config_needed=True) reads it"
        self._where, self._log, self._alerts = where, log, where.wiring.alerts
        self.memory, self._stop = memory, stop or threading.Event()
        self._redact = redact or Redactor()
        self._seq, self._seq_at = -1, time.monotonic()
        self._beat_at = float("-inf")
        self._well = False
        self.latest: tuple[int, State] | None = None
        self.problem = ""
        self._client = Client()
        self._deliveries = [Delivery(memory, r, self._alerts.repeat_ms) for r in routes]
        self._log_delivery = next(d for d in self._deliveries if isinstance(d.route, LogRoute))
        self.workers: list[Worker] = []
        self.more_ways: list[Way] = []
        self.history: History | None = None
        for delivery in self._deliveries:
            if delivery is not self._log_delivery:
                self.add_worker(delivery.route.name.split("_")[0], self._pass_on(delivery))
        if self._alerts.heartbeat_url is not None:
            self.add_worker("heartbeat", self._ask_monitor)

    def add_worker(self, name: str, once: Any) -> None:
        self.workers.append(Worker(name, once, self._stop, self._redact))

    def silent_s(self) -> float:
        """Seconds since a new tick was seen."""
        return time.monotonic() - self._seq_at

    def venue_ms(self) -> int | None:
        """The venue's time of the newest tick that was seen."""
        return None if self.latest is None else self.latest[1].venue_ms

    def raised(self, name: str, text: str, level: str = "page", every_ms: int = HOUR_MS) -> None:
        """An alert of ops itself; while it lasts it counts once in `every_ms`."""
        self.memory.raised(
            cause=name,
            market="",
            level=level,
            name=name,
            text=text,
            at_ms=None,
            now_ms=wall_ms(),
            every_ms=every_ms,
        )

    def ended(self, name: str) -> None:
        self.memory.end(name, wall_ms())

    # --- a look ----------------------------------------------------------------------------------

    def look(self) -> None:
        """One look at the journal, at the threads, and at the clock."""
        now = time.monotonic()
        self._read(now)
        self._judge_silence(now)
        self._judge_routes()
        self._judge_workers()
        while self._log_delivery.once(wall_ms()) == 0.0:
            pass
        silent = (now - self._seq_at) * 1000 > self._alerts.silence_ms_max
        self._well = self._seq >= 0 and not silent and not self.problem
        if now - self._beat_at >= self._alerts.heartbeat_ms / 1000:
            self._beat(now)

    def _read(self, now: float) -> None:
        try:
            reader = Reader(self._where.journal)
        except JournalRefused as refused:
            self._unreadable(str(refused), now)
            return
        try:
            known = reader.state()
            if known is None:
                return
            self.latest = known
            seq, state = known
            take_up(self.memory, reader, wall_ms(), state.venue_ms)
            settle(self.memory, state, wall_ms(), OWN)
            self._note(reader, seq, state)
        except JournalRefused as refused:
            self._unreadable(str(refused), now)
            return
        finally:
            reader.close()
        self.ended("journal_unreadable")
        if seq != self._seq:
            self._seq, self._seq_at = seq, now

    def _unreadable(self, text: str, now: float) -> None:
        if now - self._beat_at >= self._alerts.heartbeat_ms / 1000:
            self._log.emit("ops_waits", wall_ms(), None, {"why": text})
        if self._seq >= 0:
            self.raised("journal_unreadable", f"{text}. Until it can be read nobody hears the bot")

    def _judge_silence(self, now: float) -> None:
        silent_ms = int((now - self._seq_at) * 1000)
        if silent_ms <= self._alerts.silence_ms_max:
            self.ended("silence")
            return
        self.raised(
            "silence",
            f"no tick was committed for {silent_ms // 1000} s: what is held stays as it is at the "
            "venue, and nobody hedges it. See logs/service.out, or start the bot",
            every_ms=self._alerts.repeat_ms,
        )

    def _judge_routes(self) -> None:
        """What one way out cannot say, the others must."""
        ways: list[Way] = [*self._deliveries, *self.more_ways]
        for kind, meaning in MEANS.items():
            failing = [
                way
                for way in ways
                if way.failure is not None
                and way.failure.cause == kind
                and way.failures >= SAY_AFTER
            ]
            if failing:
                way = failing[0]
                text = f"{way.failure}, {way.failures} times in a row: {meaning}"
                self.raised(kind, text, "warn")
            else:
                self.ended(kind)

    def _judge_workers(self) -> None:
        problems = [found for worker in self.workers if (found := worker.problem())]
        self.problem = "; ".join(problems)
        for worker in self.workers:
            if found := worker.problem():
                self.raised(f"ops_worker_{worker.name}", f"{found}. Restart carry ops")
            else:
                self.memory.end(f"ops_worker_{worker.name}", wall_ms())

    # --- threads ---------------------------------------------------------------------------------

    def _pass_on(self, delivery: Delivery) -> Any:
        return lambda: delivery.once(wall_ms())

    def _ask_monitor(self) -> float:
        """Tell a monitor elsewhere that all is well; when it is not, its alarm is ours."""
        if not self._well:
            return PAUSE_S
        url = self._alerts.heartbeat_url
        assert url is not None
        try:
            answer = self._client.ask("GET", url, None, BEAT_S)
            problem = "" if 200 <= answer.status < 300 else f"HTTP {answer.status}"
        except Unreachable as failure:
            problem = str(failure)
        if problem:
            self.memory.add("heartbeat_failures_in_a_row")
            if self.memory.mark("heartbeat_failures_in_a_row") >= SAY_AFTER:
                text = (
                    f"the monitor at heartbeat_url did not answer ({problem}): nobody elsewhere "
                    "would notice if this machine ended"
                )
                self.raised("heartbeat_unanswered", text, "warn")
            return min(BEAT_S, self._alerts.heartbeat_ms / 1000)
        self.memory.add("heartbeats")
        self.memory.set_mark("heartbeat_failures_in_a_row", 0)
        self.ended("heartbeat_unanswered")
        return self._alerts.heartbeat_ms / 1000

    # --- each day, each minute -------------------------------------------------------------------

    def _note(self, reader: Reader, seq: int, state: State) -> None:
        now_ms = wall_ms()
        hour = now_ms % DAY_MS // HOUR_MS
        if hour < self._alerts.note_at_h or self._alerts.note_at_h > 23:
            return
        write_note(self.memory, reader, seq, state, now_ms)

    def _beat(self, now: float) -> None:
        self._beat_at = now
        now_ms = wall_ms()
        facts = {
            "wall_ms": now_ms,
            "pid": os.getpid(),
            "seq": self._seq,
            "silent_ms": int((now - self._seq_at) * 1000),
            "problem": self.problem,
        }
        replace(self._where.run_folder / "heartbeat.json", facts)
        self._log.emit("ops_heartbeat", now_ms, None, {k: str(v) for k, v in facts.items()})
        if self.latest is not None:
            replace(self._where.run_folder / "status.json", report(*self.latest))

    def run(self) -> None:
        """Look every second until asked to stop. Fed to systemd only when a look is whole."""
        for worker in self.workers:
            worker.start()
        ready = False
        while not self._stop.is_set():
            self.look()
            if not ready:
                ready = notify("READY=1")
            if not self.problem:
                notify("WATCHDOG=1")
            self._stop.wait(LOOK_S)
        notify("STOPPING=1")


def write_note(memory: Memory, reader: Reader, seq: int, state: State, now_ms: int) -> bool:
    """Put the note of this day into the outbox; False when it is there already."""
    day = now_ms // DAY_MS
    if memory.mark("note_day") >= day:
        return False
    since_ms = memory.mark("note_venue_ms") or None
    strangers = memory.mark("telegram_strangers") - memory.mark("note_strangers")
    text = note.compose(reader, seq, state, since_ms, strangers)
    with memory.transaction():
        memory.raised(
            cause="daily_note",
            market="",
            level="note",
            name="daily_note",
            text=text,
            at_ms=state.venue_ms,
            now_ms=now_ms,
        )
        memory.end("daily_note", now_ms - DAY_MS)  # each is an episode of its own
        memory.set_mark("note_day", day)
        memory.set_mark("note_venue_ms", state.venue_ms or 0)
        memory.set_mark("note_strangers", memory.mark("telegram_strangers"))
    return True


def replace(path: Path, facts: dict[str, Any]) -> None:
    """A small file as a whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(facts) + "\n")
    new.chmod(0o600)
    new.replace(path)
