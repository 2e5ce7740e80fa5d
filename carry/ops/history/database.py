"""A connection to the history database that cannot hang, and the feed's place in it.

The driver is imported here when it is first needed, so that `carry` without the extra still starts.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from carry.base.secrets import Redactor, Secret

from .follow import Moved
from .migrations import NEWEST, HistoryRefused, version_of
from .rows import Rows, moment
from .tables import CANDLE, SCHEMA, SECONDS, TABLES, upsert

if TYPE_CHECKING:
    import psycopg

CONNECT_S: Final = 10
STATEMENT_S: Final = 40
# Longer than the server's own limit: only a server that does not answer at all runs into it.
SILENT_S: Final = 60.0
SESSION: Final = {
    "TimeZone": "UTC",
    "statement_timeout": f"{STATEMENT_S}s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "application_name": "carry",
}
INSTALL: Final = (
    "the history needs the extra `timescale`, which is not installed: "
    "`.venv/bin/python -m pip install 'psycopg[binary]>=3.1'`"
)


def driver() -> Any:
    """psycopg, or a line that says how to get it."""
    try:
        import psycopg
    except ImportError:
        raise HistoryRefused(INSTALL) from None
    return psycopg


def connect(dsn: Secret, redact: Redactor) -> "psycopg.Connection[Any]":
    """A connection in autocommit mode with limits set. What the address holds is made secret.

    Raises:
        HistoryRefused: the address is none. psycopg.Error: no connection.
    """
    postgres = driver()
    redact.add(dsn)
    try:
        parts = postgres.conninfo.conninfo_to_dict(dsn.reveal())
    except postgres.Error:
        # The driver's own text would quote the address, and the password in it.
        raise HistoryRefused(
            "history.dsn is no address of a database: postgresql://USER:PASSWORD@HOST:PORT/NAME"
        ) from None
    if parts.get("password"):
        redact.add(Secret(str(parts["password"])))
    given = {"connect_timeout": CONNECT_S, **{k: v for k, v in parts.items() if v is not None}}
    made: psycopg.Connection[Any] = postgres.connect(**given, autocommit=True)
    with answering(made):
        for name, value in SESSION.items():
            made.execute("SELECT set_config(%s, %s, false)", (name, value))
    return made


@contextlib.contextmanager
def answering(connection: "psycopg.Connection[Any]", seconds: float = SILENT_S) -> Iterator[None]:
    """Cut the connection when what is inside takes longer: the driver itself would wait for ever
    for a server that neither answers nor goes away."""
    try:
        line = socket.socket(fileno=os.dup(connection.fileno()))
    except Exception:  # a connection that is closed says so by itself
        yield
        return
    timer = threading.Timer(seconds, _cut, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        line.close()


def _cut(line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def check_version(connection: "psycopg.Connection[Any]") -> str:
    """The kind of a database that is ready.

    Raises:
        HistoryRefused: it is not migrated, or by another program.
    """
    version, kind = version_of(connection)
    if version < NEWEST:
        raise HistoryRefused(
            f"the history database is at version {version} of {NEWEST}: run `carry db migrate`"
        )
    if version > NEWEST:
        raise HistoryRefused(
            f"the history database is at version {version} and this program knows {NEWEST}: it "
            "was migrated by a newer carry"
        )
    return kind


def account_of(connection: "psycopg.Connection[Any]", network: str, address: str) -> int:
    """The number of an account, which is given to it when it is first seen."""
    sql = f"SELECT id FROM {SCHEMA}.account WHERE network = %s AND address = %s"
    row = connection.execute(sql, (network, address)).fetchone()
    if row is None:
        connection.execute(
            f"INSERT INTO {SCHEMA}.account (network, address) VALUES (%s, %s) "
            "ON CONFLICT DO NOTHING",
            (network, address),
        )
        row = connection.execute(sql, (network, address)).fetchone()
    assert row is not None
    return int(row[0])


def mark_of(connection: "psycopg.Connection[Any]", account: int, journal: str) -> tuple[int, str]:
    """How far a journal was copied: (tick, its chain); (0, "") at the begin."""
    row = connection.execute(
        f"SELECT seq, chain FROM {SCHEMA}.feed WHERE account = %s AND journal = %s",
        (account, journal),
    ).fetchone()
    return (0, "") if row is None else (int(row[0]), str(row[1]))


def begun_candles(
    connection: "psycopg.Connection[Any]", account: int
) -> list[tuple[str, str, int, Any, Any, Any, Any, int]]:
    """The newest candle of each leg, which may not be complete."""
    found = connection.execute(
        'SELECT DISTINCT ON (coin, leg) coin, leg, "time", open, high, low, close, n '
        f'FROM {CANDLE.full} WHERE account = %s AND "time" > coalesce((SELECT max("time") '
        f"FROM {SCHEMA}.feed WHERE account = %s), '-infinity') - INTERVAL '1 hour' "
        'ORDER BY coin, leg, "time" DESC',
        (account, account),
    ).fetchall()
    return [(r[0], r[1], int(r[2].timestamp()) * 1000, *r[3:]) for r in found]


def write(
    connection: "psycopg.Connection[Any]",
    account: int,
    journal: str,
    rows: Rows,
    *,
    after: int,
    seq: int,
    chain: str,
    venue_ms: int | None,
    blind: int,
) -> int:
    """All rows of the ticks after `after` up to `seq`, and the mark, or nothing; how many rows."""
    dirty = min((row[_TIME[name]] for name in _ROLLED for row in rows.get(name, ())), default=None)
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {SCHEMA}.feed (account, journal, seq, chain) VALUES (%s, %s, 0, '') "
            "ON CONFLICT DO NOTHING",
            (account, journal),
        )
        cursor.execute(
            f"SELECT seq FROM {SCHEMA}.feed WHERE account = %s AND journal = %s FOR UPDATE",
            (account, journal),
        )
        found = cursor.fetchone()
        if found is None or found[0] != after:
            raise Moved
        for table in TABLES:
            if more := rows.get(table.name):
                cursor.executemany(upsert(table), [_clean(row) for row in more])
        cursor.execute(
            f"UPDATE {SCHEMA}.feed SET seq = %s, chain = %s, time = coalesce(%s, time), "
            "dirty = least(dirty, %s), blind = blind + %s, written = now() "
            "WHERE account = %s AND journal = %s",
            (
                seq,
                chain,
                None if venue_ms is None else moment(venue_ms),
                dirty,
                blind,
                account,
                journal,
            ),
        )
    return sum(len(more) for more in rows.values())


_ROLLED: Final = (*(table.name for table in SECONDS), CANDLE.name)
_TIME: Final = {table.name: tuple(table.columns).index("time") for table in TABLES}


def _clean(row: Sequence[Any]) -> Sequence[Any]:
    """PostgreSQL takes every character but one."""
    if any(isinstance(value, str) and ("\0" in value or "\\u0000" in value) for value in row):
        return tuple(
            value.replace("\0", "�").replace("\\u0000", "\\ufffd")
            if isinstance(value, str)
            else value
            for value in row
        )
    return row
