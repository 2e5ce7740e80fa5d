"""From the journal's alerts to the routes: folded into episodes, told at least once each."""

from carry.core.state import State
from carry.shell.reader import Reader

from .catalogue import cause_of, still_holds
from .memory import FORGET_MS, Memory
from .routes import AT_ONCE_MAX, NotTaken, Route

ROWS_MAX = 500  # taken up in one look; the rest follows at the next
BACKOFF_S = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
SAY_AFTER = 3  # failures in a row of a route, from which the others hear of it
OLD_MS = 86_400_000  # what a first look finds older than this is counted, not told


def take_up(memory: Memory, reader: Reader, now_ms: int, venue_ms: int | None) -> int:
    """Fold what the bot said since the last look; how many alerts that were.

    The mark moves in the transaction that keeps the episodes, so none is lost or counted twice.
    """
    rows = reader.rows(
        "SELECT id, at_ms, level, name, coin, text FROM alerts WHERE id > ? ORDER BY id LIMIT ?",
        memory.mark("alerts"),
        ROWS_MAX,
    )
    if not rows:
        return 0
    with memory.transaction():
        first = not memory.mark("alerts")
        for number, at_ms, level, name, coin, text in rows:
            old = first and None not in (at_ms, venue_ms) and (venue_ms or 0) - at_ms > OLD_MS
            if not old:
                memory.raised(
                    cause=cause_of(name),
                    market=coin or "",
                    level=level,
                    name=name,
                    text=text,
                    at_ms=at_ms,
                    now_ms=now_ms,
                )
            memory.add(f"alerts_{level}")
            memory.set_mark("alerts", number)
    return len(rows)


def settle(memory: Memory, state: State, now_ms: int, own: tuple[str, ...]) -> None:
    """End the episodes whose cause is gone. own: causes that ops raises and ends by itself."""
    over = []
    for number, cause, market, last_ms in memory.lasting():
        if cause in own:
            continue
        holds = still_holds(state, cause, market)
        if holds is False or (holds is None and now_ms - last_ms > FORGET_MS):
            over.append(number)
    if over:
        memory.ended(over, now_ms)


class Delivery:
    """One route's part of the outbox. Call `once` again after the seconds it returns."""

    def __init__(self, memory: Memory, route: Route, repeat_ms: int) -> None:
        self._memory, self.route, self._repeat_ms = memory, route, repeat_ms
        self.failures = 0
        self.failure: NotTaken | None = None

    def once(self, now_ms: int) -> float:
        due = self._memory.due(self.route.name, self.route.level, now_ms, self._repeat_ms)
        batch = due[:AT_ONCE_MAX]
        if not batch:
            return 1.0
        try:
            self.route.tell(batch)
        except NotTaken as refusal:
            self.failures += 1
            self.failure = refusal
            return max(refusal.wait_s, BACKOFF_S[min(self.failures, len(BACKOFF_S)) - 1])
        self.failures, self.failure = 0, None
        self._memory.told(self.route.name, batch, now_ms)
        # Twenty messages a minute are what a chat takes.
        return 0.0 if len(due) > len(batch) and self.route.name == "log" else 3.0
