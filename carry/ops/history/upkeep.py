"""What keeps the history small and its hours right, a little at a time between batches.

Plain PostgreSQL has neither retention nor continuous aggregates, so both are done here. TimescaleDB
does both by itself, but refreshes only what is recent: hours that were copied late are refreshed
from here.
"""

import datetime
import time
from typing import TYPE_CHECKING, Any, Final

from .migrations import KEEP_MINUTES_DAYS, PLAIN, folded_plainly
from .tables import MINUTES, ROLLUPS, SCHEMA, SECONDS

if TYPE_CHECKING:
    import psycopg

ROLL_S: Final = 30.0
PRUNE_S: Final = 600.0
PRUNE_ROWS_MAX: Final = 20_000
HOUR: Final = datetime.timedelta(hours=1)
AT_ONCE: Final = datetime.timedelta(hours=24)  # hours rolled in one statement
LATE: Final = datetime.timedelta(hours=12)  # TimescaleDB's own refresh reaches further back


def rewind(connection: "psycopg.Connection[Any]", account: int, journal: str) -> None:
    """Copy a journal from its begin again: rows that differ are corrected."""
    connection.execute(
        f"UPDATE {SCHEMA}.feed SET seq = 0, chain = '' WHERE account = %s AND journal = %s",
        (account, journal),
    )


class Upkeep:
    """keep_days: how long seconds are kept, by the venue's clock of the account."""

    def __init__(self, keep_days: int) -> None:
        self._keep_days = keep_days
        self._rolled_s = self._pruned_s = float("-inf")

    def once(
        self, connection: "psycopg.Connection[Any]", account: int, journal: str, kind: str
    ) -> None:
        """At most one thing that is due."""
        now = time.monotonic()
        if now - self._rolled_s >= ROLL_S:
            if self.roll(connection, account, journal, kind):
                self._rolled_s = now
        elif kind == PLAIN and now - self._pruned_s >= PRUNE_S:
            if self.prune(connection, account, journal):
                self._pruned_s = now

    def roll(
        self, connection: "psycopg.Connection[Any]", account: int, journal: str, kind: str
    ) -> bool:
        """Bring hours up to what was copied; False when more is left to do at once."""
        row = connection.execute(
            f"SELECT dirty, time FROM {SCHEMA}.feed WHERE account = %s AND journal = %s",
            (account, journal),
        ).fetchone()
        if row is None or row[0] is None:
            return True
        begin = _hour(row[0])
        end = min(_hour(row[1]) + HOUR if row[1] else begin + HOUR, begin + AT_ONCE)
        end = max(end, begin + HOUR)
        whole = row[1] is None or end > row[1]
        if kind == PLAIN:
            with connection.transaction():
                # Locked, so that what is copied meanwhile is not taken for rolled.
                connection.execute(
                    f"SELECT 1 FROM {SCHEMA}.feed WHERE account = %s AND journal = %s FOR UPDATE",
                    (account, journal),
                )
                for rollup in ROLLUPS:
                    connection.execute(folded_plainly(rollup), (account, begin, end))
                self._rolled(connection, account, journal, None if whole else end)
            return whole
        now = datetime.datetime.now(datetime.timezone.utc)
        if begin < now - LATE:
            for rollup in ROLLUPS:
                connection.execute(
                    "CALL refresh_continuous_aggregate(%s::regclass, %s::timestamptz, "
                    "%s::timestamptz)",
                    (rollup.full, begin, end),
                )
        self._rolled(connection, account, journal, None if whole else end)
        return whole

    def _rolled(
        self,
        connection: "psycopg.Connection[Any]",
        account: int,
        journal: str,
        upto: datetime.datetime | None,
    ) -> None:
        connection.execute(
            f"UPDATE {SCHEMA}.feed SET dirty = %s WHERE account = %s AND journal = %s",
            (upto, account, journal),
        )

    def prune(self, connection: "psycopg.Connection[Any]", account: int, journal: str) -> bool:
        """Forget what is too old, some rows at a time; False when more is left to do at once."""
        row = connection.execute(
            f"SELECT time, dirty FROM {SCHEMA}.feed WHERE account = %s AND journal = %s",
            (account, journal),
        ).fetchone()
        if row is None or row[0] is None:
            return True
        for table in (*SECONDS, *MINUTES):
            days = self._keep_days if table in SECONDS else KEEP_MINUTES_DAYS
            oldest = _hour(row[0] - datetime.timedelta(days=days))
            if row[1] is not None:
                oldest = min(oldest, row[1])  # an hour needs its seconds until it is rolled
            gone = connection.execute(
                f"DELETE FROM {table.full} WHERE ctid = ANY (ARRAY (SELECT ctid FROM {table.full} "
                'WHERE account = %s AND "time" < %s LIMIT %s))',
                (account, oldest, PRUNE_ROWS_MAX),
            )
            if gone.rowcount >= PRUNE_ROWS_MAX:
                return False
        return True


def _hour(at: datetime.datetime) -> datetime.datetime:
    return at.replace(minute=0, second=0, microsecond=0)
