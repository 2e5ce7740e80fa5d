"""What ops remembers: a small SQLite file of its own beside the journal, which stays the bot's.

Alerts become episodes here, one for each (market, cause) until it ends, and each route has its own
mark of how much it was told. A mark moves only after the route took the message, so each is told
at least once.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

BUSY_MS: Final = 5_000
FLAP_MS: Final = 600_000  # what returns this soon is the same episode
FORGET_MS: Final = 4_500_000  # the core repeats what holds each hour: longer without is an end
WARN_TIMES: Final = 24  # a warning is repeated so much later than a page
RANK: Final = {"info": 0, "warn": 1, "page": 2, "note": 3}

TABLES: Final = """
CREATE TABLE IF NOT EXISTS marks (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS episodes (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    cause    TEXT NOT NULL,
    market   TEXT NOT NULL,
    level    TEXT NOT NULL,
    name     TEXT NOT NULL,
    text     TEXT NOT NULL,
    at_ms    INTEGER,
    first_ms INTEGER NOT NULL,
    last_ms  INTEGER NOT NULL,
    count    INTEGER NOT NULL,
    ended_ms INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS episodes_by_cause ON episodes (cause, market, id);
CREATE TABLE IF NOT EXISTS told (
    episode INTEGER NOT NULL,
    route   TEXT NOT NULL,
    count   INTEGER NOT NULL,
    level   TEXT NOT NULL,
    at_ms   INTEGER NOT NULL,
    PRIMARY KEY (episode, route)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asked (
    number  INTEGER PRIMARY KEY,
    chat    INTEGER NOT NULL,
    what    TEXT NOT NULL,
    obeyed  INTEGER NOT NULL DEFAULT 0
) STRICT;
"""


@attrs.frozen
class Episode:
    """One cause in one market while it lasts. Times are the machine's, ms; `at_ms` the venue's.

    count: how often it was raised. told: how much of that the route asked about was told, and when.
    """

    id: int
    cause: str
    market: str
    level: str
    name: str
    text: str
    at_ms: int | None
    first_ms: int
    last_ms: int
    count: int
    told: int
    told_level: str
    told_ms: int


class Memory:
    """The file `ops.db`. Used from several threads; each call is one transaction."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._lock = threading.RLock()
        self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        for statement in TABLES.split(";\n"):
            if statement.strip():
                self._db.execute(statement)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing; one inside another is part of the outer one."""
        with self._lock:
            if self._db.in_transaction:
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def rows(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, args).fetchall()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # --- marks -----------------------------------------------------------------------------------

    def mark(self, key: str) -> int:
        """A number kept under a name; 0 before it was set."""
        found = self.rows("SELECT value FROM marks WHERE key = ?", key)
        return int(found[0][0]) if found else 0

    def set_mark(self, key: str, value: int) -> None:
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (key, value))

    def add(self, key: str, more: int = 1) -> None:
        """Count something."""
        with self.transaction() as db:
            db.execute(
                "INSERT INTO marks VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = value + excluded.value",
                (key, more),
            )

    def marks(self, prefix: str) -> dict[str, int]:
        """All marks whose name begins with `prefix`, by the rest of the name."""
        found = self.rows("SELECT key, value FROM marks WHERE substr(key, 1, ?) = ?",
                          len(prefix), prefix)  # fmt: skip
        return {str(key)[len(prefix) :]: int(value) for key, value in found}

    # --- episodes --------------------------------------------------------------------------------

    def raised(
        self,
        *,
        cause: str,
        market: str,
        level: str,
        name: str,
        text: str,
        at_ms: int | None,
        now_ms: int,
        every_ms: int = 0,
    ) -> int:
        """Fold one alert into its episode, or begin one; the episode's number.

        every_ms: raised again sooner than this while it lasts, it is not counted again.
        """
        with self.transaction() as db:
            last = db.execute(
                "SELECT id, level, last_ms, ended_ms FROM episodes WHERE cause = ? AND market = ? "
                "ORDER BY id DESC LIMIT 1",
                (cause, market),
            ).fetchone()
            if last is None or (last[3] is not None and now_ms - last[3] > FLAP_MS):
                made = db.execute(
                    "INSERT INTO episodes (cause, market, level, name, text, at_ms, first_ms, "
                    "last_ms, count) VALUES (?,?,?,?,?,?,?,?,1)",
                    (cause, market, level, name, text, at_ms, now_ms, now_ms),
                )
                return int(made.lastrowid or 0)
            if last[3] is None and now_ms - last[2] < every_ms:
                return int(last[0])
            worst = max(level, last[1], key=lambda word: RANK[word])
            db.execute(
                "UPDATE episodes SET level = ?, name = ?, text = ?, at_ms = ?, last_ms = ?, "
                "count = count + 1, ended_ms = NULL WHERE id = ?",
                (worst, name, text, at_ms, now_ms, last[0]),
            )
            return int(last[0])

    def lasting(self) -> list[tuple[int, str, str, int]]:
        """Episodes that have not ended: number, cause, market, when last raised."""
        return self.rows("SELECT id, cause, market, last_ms FROM episodes WHERE ended_ms IS NULL")

    def ended(self, numbers: Sequence[int], now_ms: int) -> None:
        with self.transaction() as db:
            db.executemany(
                "UPDATE episodes SET ended_ms = ? WHERE id = ? AND ended_ms IS NULL",
                [(now_ms, number) for number in numbers],
            )

    def end(self, cause: str, now_ms: int, market: str = "") -> None:
        """A cause that ops itself raised is over."""
        found = [n for n, c, m, _ in self.lasting() if (c, m) == (cause, market)]
        if found:
            self.ended(found, now_ms)

    def due(self, route: str, level: str, now_ms: int, repeat_ms: int) -> list[Episode]:
        """What a route must be told now: the new, what grew worse, and what still fails later."""
        found = [
            Episode(*row)
            for row in self.rows(
                "SELECT e.id, e.cause, e.market, e.level, e.name, e.text, e.at_ms, e.first_ms, "
                "e.last_ms, e.count, coalesce(t.count, 0), coalesce(t.level, ''), "
                "coalesce(t.at_ms, 0) FROM episodes e "
                "LEFT JOIN told t ON t.episode = e.id AND t.route = ? "
                "WHERE e.count > coalesce(t.count, 0) ORDER BY e.id",
                route,
            )
        ]
        return [
            one
            for one in found
            if RANK[one.level] >= RANK[level]
            and (
                not one.told
                or RANK[one.level] > RANK[one.told_level]
                or now_ms - one.told_ms >= repeat_ms * (1 if one.level == "page" else WARN_TIMES)
            )
        ]

    def told(self, route: str, episodes: Sequence[Episode], now_ms: int) -> None:
        """The route took them."""
        with self.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?, ?)",
                [(one.id, route, one.count, one.level, now_ms) for one in episodes],
            )
            self.add(f"delivered_{route}", len(episodes))

    def last_alerts(self, count: int) -> list[tuple[int, str, str, int, str]]:
        """The newest episodes: when last raised, level, name, how often, text."""
        return self.rows(
            "SELECT last_ms, level, name, count, text FROM episodes ORDER BY last_ms DESC, id DESC "
            "LIMIT ?",
            count,
        )
