"""`carry db migrate`: the tables in a database, versioned. Run again it changes nothing.

Each version is one transaction with its own entry in `carry.migration`, so that a migration that is
killed goes on where it was. Continuous aggregates are made WITH NO DATA, which TimescaleDB allows
inside a transaction. Two that run at once wait for each other.

Which of two kinds a database is, is decided once and kept: `timescale` where the extension is there
with its community licence, `plain` else. Rollups have the same names and columns in both.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from .tables import MINUTES, ROLLUPS, SCHEMA, SECONDS, TABLES, Rollup, Table

if TYPE_CHECKING:
    import psycopg

LOCK: Final = 4_851_207_733_541  # any number that others are unlikely to take
TIMESCALE, PLAIN = "timescale", "plain"
# From 2.11 on a corrected row can be written into a compressed chunk.
OLDEST: Final = (2, 11)
KEEP_MINUTES_DAYS: Final = 400
# A chunk of seconds is a day, of minutes a week. Panels read the newest two days by the second.
COMPRESS_AFTER: Final = {
    **{t.name: "2 days" for t in SECONDS}, **{t.name: "7 days" for t in MINUTES}
}  # fmt: skip
CHUNK: Final = {**{t.name: "1 day" for t in SECONDS}, **{t.name: "7 days" for t in MINUTES}}
LOCK_WAIT: Final = "20s"


class HistoryRefused(Exception):
    """The database is not as it must be. The text says what to do."""


@attrs.frozen
class Done:
    """What a migration did. said: sentences for the operator."""

    kind: str
    before: int
    after: int
    said: tuple[str, ...]


Statements = Callable[[str, int], Sequence[str]]  # of (kind, keep_days)

_HEAD: Final = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.migration (version integer PRIMARY KEY, "
    "name text NOT NULL, kind text NOT NULL, at timestamptz NOT NULL DEFAULT now())",
)


def tables(kind: str, keep_days: int) -> list[str]:
    """The tables, the same in both kinds."""
    made = [
        f"CREATE TABLE {SCHEMA}.account (id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
        "network text NOT NULL, address text NOT NULL, UNIQUE (network, address))",
        f"CREATE TABLE {SCHEMA}.feed (account smallint NOT NULL, journal text NOT NULL, "
        "seq bigint NOT NULL, chain text NOT NULL, time timestamptz, dirty timestamptz, "
        "blind bigint NOT NULL DEFAULT 0, written timestamptz NOT NULL DEFAULT now(), "
        "PRIMARY KEY (account, journal))",
    ]
    for table in TABLES:
        made += _table(table)
    return made


def _table(table: Table) -> list[str]:
    columns = ", ".join(
        f'"{name}" {kind}{"" if name in table.nulls else " NOT NULL"}'
        for name, kind in table.columns.items()
    )
    about = table.about.replace("'", "''")
    return [
        f"CREATE TABLE {table.full} ({columns}, PRIMARY KEY ({_names(table.key)}))",
        f"COMMENT ON TABLE {table.full} IS '{about}'",
        *(f"CREATE INDEX ON {table.full} ({_names(index)})" for index in table.indexes),
    ]


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def series(kind: str, keep_days: int) -> list[str]:
    """Chunks by time and their compression; or an index that finds what is too old."""
    made: list[str] = []
    for table in (*SECONDS, *MINUTES):
        if kind == PLAIN:
            made.append(f'CREATE INDEX ON {table.full} USING brin ("time")')
            continue
        made += [
            f"SELECT create_hypertable('{table.full}', 'time', "
            f"chunk_time_interval => INTERVAL '{CHUNK[table.name]}', "
            "create_default_indexes => false)",
            f"ALTER TABLE {table.full} SET (timescaledb.compress, "
            f"timescaledb.compress_segmentby = '{', '.join(table.segment)}', "
            "timescaledb.compress_orderby = 'time DESC')",
            f"SELECT add_compression_policy('{table.full}', "
            f"INTERVAL '{COMPRESS_AFTER[table.name]}')",
            _retention(table, keep_days),
        ]
    return made


def _retention(table: Table, keep_days: int) -> str:
    days = keep_days if table in SECONDS else KEEP_MINUTES_DAYS
    return f"SELECT add_retention_policy('{table.full}', INTERVAL '{days} days')"


def rollups(kind: str, keep_days: int) -> list[str]:
    """Hours: continuous aggregates, or tables that the feed fills under the same names."""
    made: list[str] = []
    for rollup in ROLLUPS:
        if kind == PLAIN:
            columns = ", ".join(f'"{name}" {type_}' for name, type_ in rollup.columns.items())
            made.append(
                f"CREATE TABLE {rollup.full} ({columns}, PRIMARY KEY ({_names(rollup.of.key)}))"
            )
            continue
        made += [
            f"CREATE MATERIALIZED VIEW {rollup.full} "
            "WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS "
            f"{folded(rollup)} WITH NO DATA",
            _refreshing(rollup, keep_days),
        ]
    return made


def _refreshing(rollup: Rollup, keep_days: int) -> str:
    """Hours are refreshed as far back as their seconds are kept for sure: one whose seconds were
    dropped would be emptied."""
    days = keep_days - 1 if rollup.of in SECONDS else KEEP_MINUTES_DAYS - 1
    return (
        f"SELECT add_continuous_aggregate_policy('{rollup.full}', "
        f"start_offset => INTERVAL '{days} days', end_offset => INTERVAL '1 hour', "
        "schedule_interval => INTERVAL '30 minutes')"
    )


def folded(rollup: Rollup) -> str:
    """The hours of a rollup, as TimescaleDB makes them."""
    hows = {
        "last": 'last("{0}", "time")',
        "first": 'first("{0}", "time")',
        "min": 'min("{0}")',
        "max": 'max("{0}")',
        "sum": 'sum("{0}")',
        "bool_or": 'bool_or("{0}")',
    }
    segment = [f'"{column}"' for column in rollup.of.segment]
    bucket = "time_bucket(INTERVAL '1 hour', \"time\")"
    key = [f'{bucket} AS "time"' if c == "time" else f'"{c}"' for c in rollup.of.key]
    values = [f'{hows[how].format(source)} AS "{name}"' for name, how, source in rollup.folds]
    return (
        f"SELECT {', '.join((*key, *values))} FROM {rollup.of.full} "
        f"GROUP BY {', '.join((*segment, bucket))}"
    )


def folded_plainly(rollup: Rollup) -> str:
    """The hours of one account from (parameter 2) to (3) into their table, as plain PostgreSQL
    makes them; an hour that is there is replaced. First and last are rows of their own, found by
    the key: to sort each column of each hour for them would cost twenty times as much."""
    table, segment = rollup.of, rollup.of.segment
    bucket = "date_trunc('hour', \"time\", 'UTC')"
    folds = [
        f'{how}("{source}") AS "{name}"'
        for name, how, source in rollup.folds
        if how not in ("first", "last")
    ]
    ends = ['min("time") AS first_at', 'max("time") AS last_at']
    hours = (
        f"SELECT {', '.join((_names(segment), f'{bucket} AS hour', *ends, *folds))} "
        f'FROM {table.full} WHERE "account" = %s AND "time" >= %s AND "time" < %s '
        f"GROUP BY {_names(segment)}, {bucket}"
    )
    joins = "".join(
        f' JOIN {table.full} AS {row} ON {row}."time" = h.{row}_at'
        + "".join(f' AND {row}."{column}" = h."{column}"' for column in segment)
        for row in ("first", "last")
        if any(how == row for _, how, _ in rollup.folds)
    )
    values = [
        *("h.hour" if c == "time" else f'h."{c}"' for c in table.key),
        *(f'{how}."{source}"' if how in ("first", "last") else f'h."{name}"'
          for name, how, source in rollup.folds),
    ]  # fmt: skip
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name, _, _ in rollup.folds)
    return (
        f"INSERT INTO {rollup.full} ({_names(tuple(rollup.columns))}) "
        f"SELECT {', '.join(values)} FROM ({hours}) AS h{joins} "
        f"ON CONFLICT ({_names(table.key)}) DO UPDATE SET {sets}"
    )


# Only ever added to: a version that somebody has run is never changed.
VERSIONS: Final[Sequence[tuple[int, str, Statements]]] = (
    (1, "tables", tables),
    (2, "series", series),
    (3, "rollups", rollups),
)
NEWEST: Final = VERSIONS[-1][0]


def version_of(connection: "psycopg.Connection[Any]") -> tuple[int, str]:
    """The version of a database and its kind; (0, "") before the first migration."""
    found = connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.migration",)).fetchone()
    if found is None or found[0] is None:
        return 0, ""
    row = connection.execute(
        f"SELECT version, kind FROM {SCHEMA}.migration ORDER BY version DESC LIMIT 1"
    ).fetchone()
    return (0, "") if row is None else (int(row[0]), str(row[1]))


def migrate(connection: "psycopg.Connection[Any]", keep_days: int) -> Done:
    """Bring a database to the newest version. The connection must be in autocommit mode.

    Raises:
        HistoryRefused: it is of a newer program. psycopg.Error: as the database says.
    """
    connection.execute(f"SET lock_timeout = '{LOCK_WAIT}'")
    connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
    try:
        before, kind = version_of(connection)
        if before > NEWEST:
            raise HistoryRefused(
                f"the database is at version {before} and this program knows {NEWEST}: it was "
                "migrated by a newer carry. Use that one"
            )
        said: list[str] = []
        if not kind:
            kind, why = choose(connection)
            said.append(why)
        for version, name, statements in VERSIONS:
            if version <= before:
                continue
            with connection.transaction():
                for statement in (*_HEAD, *statements(kind, keep_days)):
                    connection.execute(statement)
                connection.execute(
                    f"INSERT INTO {SCHEMA}.migration (version, name, kind) VALUES (%s, %s, %s)",
                    (version, name, kind),
                )
        if kind == TIMESCALE:
            keep(connection, keep_days)
        return Done(kind, before, NEWEST, tuple(said))
    finally:
        if not connection.closed and not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))


def keep(connection: "psycopg.Connection[Any]", keep_days: int) -> None:
    """Policies that depend on the config, set anew: what TimescaleDB drops, and refreshes."""
    with connection.transaction():
        for table in (*SECONDS, *MINUTES):
            connection.execute(f"SELECT remove_retention_policy('{table.full}', if_exists => true)")
            connection.execute(_retention(table, keep_days))
        for rollup in ROLLUPS:
            connection.execute(
                f"SELECT remove_continuous_aggregate_policy('{rollup.full}', if_exists => true)"
            )
            connection.execute(_refreshing(rollup, keep_days))


def choose(connection: "psycopg.Connection[Any]") -> tuple[str, str]:
    """The kind that a new database becomes, and why."""
    import psycopg

    there = connection.execute(
        "SELECT default_version, installed_version FROM pg_available_extensions "
        "WHERE name = 'timescaledb'"
    ).fetchone()
    if there is None:
        return PLAIN, "TimescaleDB is not on this server: plain tables, which the feed keeps small"
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        row = connection.execute(
            "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
        ).fetchone()
        version = str(row[0]) if row else "0"
        licence = connection.execute(
            "SELECT current_setting('timescaledb.license', true)"
        ).fetchone()
    except psycopg.Error as error:
        if connection.broken:
            raise
        why = str(error).strip().splitlines()[0]
        return PLAIN, f"TimescaleDB is on this server and cannot be used ({why}): plain tables"
    if tuple(int(n) for n in version.split("-")[0].split(".")[:2]) < OLDEST:
        return PLAIN, f"TimescaleDB {version} is older than 2.11: plain tables"
    if licence is None or licence[0] != "timescale":
        return PLAIN, "this TimescaleDB is the Apache edition, without aggregates: plain tables"
    return TIMESCALE, f"TimescaleDB {version}"
