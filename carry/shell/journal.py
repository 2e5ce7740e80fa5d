"""Write down, then act: one SQLite file, one transaction a tick (P2).

`commit` returns only when the tick is as durable as its actions need. A tick that reaches the venue
is synced to the disk before the first byte leaves; any other is written without waiting for it, and
the next synced one carries it along. If the disk refuses, the process must end: what the page cache
holds after a failed sync proves nothing.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from carry.base.codec import Undecodable, codec, digest
from carry.core.actions import (
    Action,
    Alert,
    Cancel,
    CancelForeign,
    Fence,
    MoveUsd,
    Note,
    Place,
    SetLeverage,
)
from carry.core.asked import Command
from carry.core.observations import Observations
from carry.core.policy import Policy
from carry.core.state import RULES, SCHEMA, State

from . import books
from .database import (
    Connect,
    bring_up,
    check,
    check_owner,
    connect_to,
    has_tables,
    make_private,
    statements,
    transaction,
    unfitting,
)
from .schema import LAYOUT, TABLES
from .version import in_force

CHECKPOINT_TICKS: Final = 1_000
KEEP_DAYS: Final = 30
PRUNE_ROWS_MAX: Final = 5_000
DAY_MS: Final = 86_400_000
REACHES_VENUE: Final = (Place, Cancel, CancelForeign, Fence, MoveUsd, SetLeverage)

STATE = codec(State)
OBSERVATIONS = codec(Observations)
COMMAND = codec(Command)
ACTIONS = codec(tuple[Action, ...])


class JournalFailed(Exception):
    """The disk did not take a commit: the process ends, and the next start recovers."""


@attrs.frozen
class Order:
    """A row of the inbox: what an operator asked for. `args` is JSON."""

    id: int
    at_ms: int
    who: str
    what: str
    args: str


class Journal:
    """The bot's side: the only writer of everything but the inbox."""

    def __init__(
        self,
        path: str,
        connection: sqlite3.Connection,
        checkpoint_ticks: int = CHECKPOINT_TICKS,
        keep_days: int = KEEP_DAYS,
    ) -> None:
        self.path = path
        self._db = connection
        self._checkpoint_ticks, self._keep_days = checkpoint_ticks, keep_days
        self._level = ""
        self._hour_ms = -1
        row = self._db.execute("SELECT seq, chain FROM state").fetchone()
        self.seq: int = row[0] if row else 0
        self._chain: str = row[1] if row else ""

    # --- start -----------------------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        path: str,
        *,
        network: str,
        account: str,
        connect: Connect = sqlite3.connect,
        checkpoint_ticks: int = CHECKPOINT_TICKS,
        keep_days: int = KEEP_DAYS,
    ) -> "Journal":
        """Open or make the journal of one account on one network; refuse any other's."""
        if path != ":memory:":
            make_private(Path(path))
        db = connect_to(path, connect)
        check(db, path)
        if has_tables(db):
            bring_up(db, path)
        else:
            with transaction(db):
                for statement in statements(TABLES):
                    db.execute(statement)
                facts = {
                    "layout": str(LAYOUT),
                    "schema": str(SCHEMA),
                    "rules": str(RULES),
                    "network": network,
                    "account": account.lower(),
                }
                db.executemany("INSERT INTO meta VALUES (?, ?)", sorted(facts.items()))
        check_owner(db, path, network, account)
        return cls(path, db, checkpoint_ticks, keep_days)

    def load(self) -> State | None:
        """The state of the last committed tick; None in a new journal."""
        row = self._db.execute("SELECT doc FROM state").fetchone()
        if row is None:
            return None
        try:
            state: State = STATE.decode(row[0], self._schema())
        except Undecodable as error:
            raise unfitting(self.path, self.seq, str(error)) from None
        return state

    def begin(self, state: State, journal_id: int) -> None:
        """The first state of a new journal, from which replay starts."""
        text = STATE.encode(state)
        with transaction(self._db):
            self._db.execute("INSERT INTO meta VALUES ('journal_id', ?)", (str(journal_id),))
            self._write_state(text, digest(text), "")
            self._write_checkpoint(None, "", text)

    @property
    def journal_id(self) -> int | None:
        value = self.meta("journal_id")
        return None if value is None else int(value)

    def meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _schema(self) -> int:
        return int(self.meta("schema") or SCHEMA)

    # --- a tick ----------------------------------------------------------------------------------

    def commit(self, observations: Observations, state: State, actions: Sequence[Action]) -> None:
        """All of a tick or nothing of it; durable when an action will reach the venue."""
        text = STATE.encode(state)
        seen = OBSERVATIONS.encode(observations)
        asked = ACTIONS.encode(tuple(actions))
        mark = digest(text)
        chain = digest(self._chain.encode() + seen + asked + mark.encode())
        seq = self.seq + 1
        self._sync("FULL" if any(isinstance(a, REACHES_VENUE) for a in actions) else "NORMAL")
        try:
            with transaction(self._db):
                self._db.execute(
                    "INSERT INTO ticks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        seq,
                        observations.mono_ms,
                        observations.venue_ms,
                        RULES,
                        seen.decode(),
                        asked.decode(),
                        mark,
                        chain,
                    ),
                )
                self.seq = seq
                self._write_state(text, mark, chain)
                self._book(observations, state, actions)
                self._say(observations, state, actions)
                if seq % self._checkpoint_ticks == 0:
                    self._write_checkpoint(observations.venue_ms, chain, text)
                    self._prune(observations.venue_ms)
        except sqlite3.Error as error:
            self.seq = seq - 1
            raise JournalFailed(
                f"{self.path}: tick {seq} could not be written ({error}). Nothing of it was sent. "
                "Free the disk or check it; the next start settles what is open"
            ) from error
        self._chain = chain

    def relabel(self, rules: int, mark: str | None) -> None:
        """Say of the newest tick that other `rules` decided it, or that its state was another's.

        For copies of a journal only: what is decided now is always by the rules of now.
        """
        self._db.execute("UPDATE ticks SET rules = ? WHERE seq = ?", (rules, self.seq))
        if mark is None:
            return
        seen, asked = self._db.execute(
            "SELECT observations, actions FROM ticks WHERE seq = ?", (self.seq,)
        ).fetchone()
        before = self._db.execute(
            "SELECT chain FROM ticks WHERE seq = ?", (self.seq - 1,)
        ).fetchone()
        chain = digest(f"{before[0] if before else ''}{seen}{asked}{mark}".encode())
        self._db.execute(
            "UPDATE ticks SET digest = ?, chain = ? WHERE seq = ?", (mark, chain, self.seq)
        )
        self._chain = chain

    def _sync(self, level: str) -> None:
        if level != self._level:
            self._db.execute(f"PRAGMA synchronous = {level}")
            self._level = level

    def _write_state(self, text: bytes, mark: str, chain: str) -> None:
        self._db.execute(
            "INSERT INTO state VALUES (1, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "seq = excluded.seq, digest = excluded.digest, chain = excluded.chain, "
            "doc = excluded.doc",
            (self.seq, mark, chain, text.decode()),
        )

    def _write_checkpoint(self, at_ms: int | None, chain: str, text: bytes) -> None:
        self._db.execute(
            "INSERT INTO checkpoints VALUES (?, ?, ?, ?)", (self.seq, at_ms, chain, text.decode())
        )

    def _book(
        self, observations: Observations, state: State, actions: Sequence[Action]
    ) -> None:
        """Facts, the lines of the ledger, and what was held is worth: each hour, each booking."""
        books.facts(self._db, self.seq, observations)
        lines = books.lines_of(actions)
        books.postings(self._db, self.seq, lines)
        at_ms = observations.venue_ms
        if at_ms is None:
            return
        hour_ms = at_ms - at_ms % books.HOUR_MS
        if hour_ms != self._hour_ms:
            self._hour_ms = hour_ms
            books.marks(self._db, state, state.carries, hour_ms)
            books.equity(self._db, state, hour_ms)
        for since_ms, coins in books.moments(lines, at_ms).items():
            books.marks(self._db, state, coins, since_ms)

    def _say(
        self, observations: Observations, state: State, actions: Sequence[Action]
    ) -> None:
        """Commands into the audit, notes into the decisions, alerts into the outbox."""
        at_ms = observations.venue_ms
        for command in observations.commands:
            doc = COMMAND.encode(command).decode()
            self._db.execute(
                "INSERT INTO audit VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING",
                (command.command_id, self.seq, at_ms, command.by, doc, in_force(state.policy)),
            )
        notes = [a for a in actions if isinstance(a, Note)]
        for n, note in enumerate(notes):
            fields = codec(dict[str, str]).encode(dict(note.fields)).decode()
            self._db.execute(
                "INSERT INTO decisions VALUES (?,?,?,?,?,?)",
                (self.seq, n, at_ms, note.event, note.coin, fields),
            )
        for alert in actions:
            if isinstance(alert, Alert):
                self._db.execute(
                    "INSERT INTO alerts (seq, at_ms, level, name, coin, text) VALUES (?,?,?,?,?,?)",
                    (self.seq, at_ms, alert.level, alert.name, alert.coin, alert.text),
                )

    def _prune(self, now_ms: int | None) -> None:
        """Forget ticks that are too old to be asked for, whole checkpoints at a time."""
        if now_ms is None:
            return
        oldest_ms = now_ms - self._keep_days * DAY_MS
        row = self._db.execute(
            "SELECT max(seq) FROM checkpoints WHERE at_ms < ?", (oldest_ms,)
        ).fetchone()
        if row[0] is None:
            return
        first = self._db.execute("SELECT min(seq) FROM ticks").fetchone()[0] or 0
        upto = min(row[0], first + PRUNE_ROWS_MAX)
        self._db.execute("DELETE FROM ticks WHERE seq <= ?", (upto,))
        # The last checkpoint at or below what is left stays: replay starts there.
        self._db.execute(
            "DELETE FROM checkpoints WHERE seq < (SELECT max(seq) FROM checkpoints WHERE seq <= ?)",
            (upto,),
        )

    # --- crashes ---------------------------------------------------------------------------------

    def crashed(self, observations: Observations, state: State, text: str) -> None:
        """A guard failed: keep what it saw, durably, before anything else happens."""
        self._sync("FULL")
        with transaction(self._db):
            self._db.execute(
                "INSERT INTO crash (seq, mono_ms, wall_ms, text, state, observations) "
                "VALUES (?,?,?,?,?,?)",
                (
                    self.seq,
                    observations.mono_ms,
                    observations.wall_ms,
                    text,
                    STATE.encode(state).decode(),
                    OBSERVATIONS.encode(observations).decode(),
                ),
            )

    def crashes_since(self, wall_ms: int) -> int:
        """How many guards failed at or after `wall_ms` (the machine's clock)."""
        row = self._db.execute(
            "SELECT count(*) FROM crash WHERE wall_ms >= ?", (wall_ms,)
        ).fetchone()
        return int(row[0])

    def crashed_last(self) -> str | None:
        """The text of a crash after which nothing was committed; None when ticks followed."""
        row = self._db.execute("SELECT text FROM crash WHERE seq >= ?", (self.seq,)).fetchone()
        return None if row is None else str(row[0])

    # --- the inbox -------------------------------------------------------------------------------

    def inbox(self, after: int) -> list[Order]:
        """Commands that the state has not seen, in the order they were given."""
        rows = self._db.execute(
            "SELECT id, at_ms, who, what, args FROM inbox WHERE id > ? ORDER BY id", (after,)
        )
        return [Order(*row) for row in rows]

    def given(self, upto: int) -> list[Order]:
        """Commands that were obeyed, up to a number. One that was refused when its turn came is
        none: it must not come into force by a restart.
        """
        rows = self._db.execute(
            "SELECT i.id, i.at_ms, i.who, i.what, i.args FROM inbox i "
            "JOIN audit a ON a.command_id = i.id WHERE i.id <= ? "
            "AND json_extract(a.doc, '$.\"$\"') <> 'Rejected' ORDER BY i.id",
            (upto,),
        )
        return [Order(*row) for row in rows]

    def ask(self, what: str, who: str, at_ms: int) -> None:
        """A command the process gives itself, such as a reload that a signal asked for."""
        with transaction(self._db):
            self._db.execute(
                "INSERT INTO inbox (at_ms, who, what, args) VALUES (?,?,?,'{}')",
                (at_ms, who, what),
            )

    def started(self, wall_ms: int, policy: Policy) -> None:
        """Which program and which policy took this journal on, and when."""
        with transaction(self._db):
            self._db.execute(
                "INSERT INTO starts (seq, wall_ms, version) VALUES (?,?,?)",
                (self.seq, wall_ms, in_force(policy)),
            )

    def close(self) -> None:
        self._db.close()
