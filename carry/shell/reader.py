"""The journal as others see it: status, ops and replay read it, operators write its inbox."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from carry.base.codec import Undecodable, codec
from carry.core.state import SCHEMA, State

from .database import (
    BUSY_MS,
    JournalRefused,
    NoJournal,
    check,
    connect_to,
    has_tables,
    newer,
    transaction,
    unfitting,
    unreadable,
)

STATE = codec(State)
BATCH_TICKS: Final = 500


@attrs.frozen
class Tick:
    """One row of `ticks`; its documents are decoded by whoever needs them."""

    seq: int
    mono_ms: int
    venue_ms: int | None
    rules: int
    observations: bytes
    actions: bytes
    digest: str
    chain: str


class Reader:
    """The journal as others see it, read-only, while the bot runs."""

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise NoJournal(
                f"{path}: there is no journal. Start the bot with `carry run`, or name the journal "
                "with --state-db"
            )
        self.path = path
        # A journal the bot closed has no -shm file, and a read-only folder cannot get one.
        self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        self._db.execute("PRAGMA query_only = ON")
        self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        try:
            if not has_tables(self._db):
                raise NoJournal(f"{path}: the journal is empty; the bot has not started yet")
            self.schema = int(self._one("SELECT value FROM meta WHERE key = 'schema'") or SCHEMA)
        except sqlite3.DatabaseError as error:
            raise unreadable(path, str(error)) from None
        if self.schema > SCHEMA:
            raise newer(path, self.schema)

    def _one(self, sql: str, *args: Any) -> Any:
        row = self._db.execute(sql, args).fetchone()
        return None if row is None else row[0]

    def rows(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, args).fetchall()

    def meta(self, key: str) -> str | None:
        value = self._one("SELECT value FROM meta WHERE key = ?", key)
        return None if value is None else str(value)

    def state(self) -> tuple[int, State] | None:
        """The number of the last tick and the state after it."""
        row = self._db.execute("SELECT seq, doc FROM state").fetchone()
        if row is None:
            return None
        try:
            return row[0], STATE.decode(row[1], self.schema)
        except Undecodable as error:
            raise unfitting(self.path, row[0], str(error)) from None

    def settings(self) -> list[tuple[int, int, str, str]]:
        """What operators set and the bot obeyed: number, when (machine), who, its arguments."""
        return self._db.execute(
            "SELECT i.id, i.at_ms, i.who, i.args FROM inbox i "
            "JOIN audit a ON a.command_id = i.id WHERE i.what = 'set' "
            "AND json_extract(a.doc, '$.\"$\"') <> 'Rejected' ORDER BY i.id"
        ).fetchall()

    def last_alerts(self, count: int) -> list[dict[str, Any]]:
        """The newest alerts, the newest first."""
        rows = self._db.execute(
            "SELECT at_ms, level, name, coin, text FROM alerts ORDER BY id DESC LIMIT ?", (count,)
        )
        return [dict(zip(("at_ms", "level", "name", "coin", "text"), r, strict=True)) for r in rows]

    def checkpoint(self, at_or_before: int) -> tuple[int, str, State] | None:
        """Where replay of the tick after `at_or_before` can start: (seq, chain, state)."""
        row = self._db.execute(
            "SELECT seq, chain, doc FROM checkpoints WHERE seq <= ? ORDER BY seq DESC LIMIT 1",
            (at_or_before,),
        ).fetchone()
        return None if row is None else (row[0], row[1], STATE.decode(row[2], self.schema))

    def ticks(self, after: int, upto: int | None = None) -> Iterator[Tick]:
        """Ticks after number `after`, up to and with `upto`, in batches: a reader of months must
        not keep a transaction open, or the bot's log of changes could not be folded in."""
        last = upto if upto is not None else 1 << 62
        while True:
            rows = self.rows(
                "SELECT seq, mono_ms, venue_ms, rules, observations, actions, digest, chain "
                "FROM ticks WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
                after,
                last,
                BATCH_TICKS,
            )
            for seq, mono_ms, venue_ms, rules, seen, asked, mark, chain in rows:
                yield Tick(
                    seq, mono_ms, venue_ms, rules, seen.encode(), asked.encode(), mark, chain
                )
                after = seq
            if len(rows) < BATCH_TICKS:
                return

    def close(self) -> None:
        self._db.close()


def give(path: str, *, at_ms: int, who: str, what: str, args: str) -> int:
    """Put a command into the inbox of the journal at `path`; its number. The bot may run."""
    if not Path(path).is_file():
        raise NoJournal(
            f"{path}: there is no journal, so nobody would read the command. Start the bot with "
            "`carry run`, or name the journal with --state-db"
        )
    db = connect_to(path, sqlite3.connect)
    try:
        check(db, path, quick=False)
        if not has_tables(db):
            raise NoJournal(f"{path}: the journal is empty; the bot has not started yet")
        with transaction(db):
            row = db.execute(
                "INSERT INTO inbox (at_ms, who, what, args) VALUES (?,?,?,?)",
                (at_ms, who, what, args),
            )
            return int(row.lastrowid or 0)
    except sqlite3.Error as error:
        raise JournalRefused(f"{path}: the command could not be written ({error})") from None
    finally:
        db.close()
