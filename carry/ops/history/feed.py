"""The worker of `carry ops` that copies the journal into the history database.

Rows and the mark of how far they reach go in together, so nothing is missing and nothing is double
whatever ends when. While the database is away nothing is kept in memory: the journal waits, and the
copy goes on where the mark is. The bot knows nothing of this.
"""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from carry.base.secrets import Redactor, SecretRefused, resolve
from carry.core.num import use_exact_context
from carry.shell.database import JournalRefused
from carry.shell.reader import Reader
from carry.shell.wiring import HistoryWiring

from ..outbox import BACKOFF_S
from ..routes import NotTaken
from . import upkeep
from .database import (
    account_of,
    answering,
    begun_candles,
    check_version,
    connect,
    driver,
    mark_of,
    write,
)
from .follow import Batch, Follower, Moved
from .latencies import Latencies
from .migrations import HistoryRefused
from .progress import Progress, leave
from .tables import LATENCY

if TYPE_CHECKING:
    import psycopg

TICKS_MAX: Final = 200  # in one transaction: bounds memory, and what is done again after a failure
PACE: Final = 1.0  # pause after a batch while behind, in units of the time it took
PAUSE_S: Final = 1.0
REFUSED_S: Final = 5.0
NICE: Final = 10
WRITE_S: Final = 5.0


class Feed:
    """Call `once` again after the seconds it returns. failures and failure: as others say it.

    venue_ms: the venue's time of the newest tick, None before one is known.
    """

    def __init__(
        self,
        journal: str,
        run_folder: Path,
        wiring: HistoryWiring,
        redact: Redactor,
        venue_ms: Callable[[], int | None] = lambda: None,
        ticks_max: int = TICKS_MAX,
    ) -> None:
        self._journal, self._folder = journal, run_folder
        self._wiring, self._redact, self._venue_ms = wiring, redact, venue_ms
        self._ticks_max = ticks_max
        self._latencies = Latencies(run_folder / "timings.json")
        self._connection: psycopg.Connection[Any] | None = None
        self._follower: Follower | None = None
        self._upkeep = upkeep.Upkeep(wiring.keep_days)
        self._told_s = float("-inf")
        self._gentle = False
        self.progress = Progress()
        self.failures = 0
        self.failure: NotTaken | None = None

    def once(self) -> float:
        """Copy one batch, or find out why not. Never raises for the database or the journal."""
        self._be_gentle()
        self._latencies.look(self._venue_ms())
        began = time.monotonic()
        try:
            batch = self._copy()
        except JournalRefused:
            self._forget()  # `silence` or `journal_unreadable` tell of it
            return self._said(PAUSE_S)
        except Moved:
            self._forget()
            return PAUSE_S
        except sqlite3.Error as error:
            # Of an older program, and not brought forward yet: the bot does that when it starts.
            return self._failed("history_refused", f"the journal: {error}", REFUSED_S)
        except (HistoryRefused, SecretRefused) as refusal:
            return self._failed("history_refused", str(refusal), REFUSED_S)
        except Exception as error:
            if not isinstance(error, _errors()):
                raise
            return self._failed("history_down", _first_line(error), 0.0)
        self.failures, self.failure = 0, None
        self.progress.failures, self.progress.problem = 0, ""
        took_s = time.monotonic() - began
        return self._said(min(took_s * PACE, PAUSE_S) if batch.behind > 0 else PAUSE_S)

    def close(self) -> None:
        """End the connection, at the end of the process."""
        self._forget()

    def _be_gentle(self) -> None:
        """What is behind is caught up below the bot: this thread alone, where the system can."""
        if self._gentle:
            return
        self._gentle = True
        use_exact_context()
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)

    # --- one batch -------------------------------------------------------------------------------

    def _copy(self) -> Batch:
        reader = Reader(self._journal)
        try:
            connection, follower = self._begun(reader)
            after = follower.seq
            batch = follower.batch(reader, self._ticks_max)
        finally:
            reader.close()
        waiting = len(self._latencies.waiting)
        latencies = self._latencies.rows(follower.account)
        rows = {**batch.rows, LATENCY.name: latencies}
        if batch.ticks or latencies:
            with answering(connection):
                count = write(
                    connection,
                    follower.account,
                    follower.journal,
                    rows,
                    after=after,
                    seq=batch.seq,
                    chain=batch.chain,
                    venue_ms=batch.venue_ms,
                    blind=batch.blind,
                )
            self.progress.rows += count
            self.progress.blind += batch.blind
        for _ in range(waiting):
            self._latencies.waiting.popleft()
        with answering(connection):
            self._upkeep.once(connection, follower.account, follower.journal, self.progress.kind)
        self._measure(batch)
        return batch

    def _begun(self, reader: Reader) -> "tuple[psycopg.Connection[Any], Follower]":
        if self._connection is not None and self._follower is not None:
            return self._connection, self._follower
        self._forget()
        dsn = self._wiring.dsn
        assert dsn is not None, "without an address there is no worker"
        connection = connect(resolve(dsn.kind, dsn.name), self._redact)
        try:
            with answering(connection):
                self.progress.kind = check_version(connection)
                network, address = reader.meta("network") or "", reader.meta("account") or ""
                journal = reader.meta("journal_id") or ""
                account = account_of(connection, network, address)
                seq, chain = mark_of(connection, account, journal)
                if seq and _rewound(reader, seq, chain):
                    seq, chain = 0, ""
                    upkeep.rewind(connection, account, journal)
                follower = Follower(account, journal, seq, chain, self._wiring.sample_ms)
                if seq:
                    follower.candles.resume(begun_candles(connection, account))
        except BaseException:
            connection.close()
            raise
        self._connection, self._follower = connection, follower
        return connection, follower

    def _measure(self, batch: Batch) -> None:
        now_ms = self._venue_ms()
        self.progress.seq, self.progress.lag_ticks = batch.seq, batch.behind
        if batch.behind == 0:
            self.progress.lag_ms = 0
        elif now_ms is not None and batch.venue_ms is not None:
            self.progress.lag_ms = max(0, now_ms - batch.venue_ms)

    # --- what went wrong -------------------------------------------------------------------------

    def _failed(self, cause: str, text: str, wait_s: float) -> float:
        self._forget()
        text = self._redact(text)
        self.failures += 1
        self.failure = NotTaken(cause, text)
        self.progress.failures, self.progress.problem = self.failures, text
        self._count_lag()
        backoff_s = BACKOFF_S[min(self.failures, len(BACKOFF_S)) - 1]
        return self._said(max(wait_s, backoff_s))

    def _count_lag(self) -> None:
        """How far behind it is while nothing can be copied."""
        with contextlib.suppress(JournalRefused, Exception):
            reader = Reader(self._journal)
            try:
                newest = int(reader.rows("SELECT coalesce(max(seq), 0) FROM ticks")[0][0])
                first = reader.rows(
                    "SELECT venue_ms FROM ticks WHERE seq > ? AND venue_ms IS NOT NULL "
                    "ORDER BY seq LIMIT 1",
                    self.progress.seq,
                )
            finally:
                reader.close()
            self.progress.lag_ticks = newest - self.progress.seq
            now_ms = self._venue_ms()
            if now_ms is not None and first:
                self.progress.lag_ms = max(0, now_ms - int(first[0][0]))

    def _forget(self) -> None:
        """Begin again from what the database says: it alone knows what was written."""
        connection, self._connection, self._follower = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    def _said(self, wait_s: float) -> float:
        """Leave the progress where `carry status` finds it."""
        now = time.monotonic()
        if now - self._told_s >= WRITE_S:
            self._told_s = now
            leave(self._folder, self.progress)
        return wait_s


def _rewound(reader: Reader, seq: int, chain: str) -> bool:
    """Whether the journal is not the one that was copied up to `seq`: an older copy was put back.
    A tick that was forgotten meanwhile proves nothing."""
    rows = reader.rows("SELECT chain FROM ticks WHERE seq = ?", seq)
    if rows:
        return bool(chain) and rows[0][0] != chain
    newest = int(reader.rows("SELECT coalesce(max(seq), 0) FROM state")[0][0])
    return newest < seq


def _errors() -> tuple[type[BaseException], ...]:
    """What the driver raises; a mistake of ours is not among it and ends in the worker's alert."""
    try:
        return (driver().Error, OSError)
    except HistoryRefused:
        return (OSError,)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
