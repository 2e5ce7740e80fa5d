"""`carry db migrate`: whatever ends when, run again it gets there, and then it does nothing."""

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from carry.cli.db import db as db_command
from carry.ops.history import migrations
from carry.ops.history.migrations import (
    NEWEST,
    PLAIN,
    TIMESCALE,
    VERSIONS,
    HistoryRefused,
    choose,
    folded,
    folded_plainly,
    migrate,
    version_of,
)
from carry.ops.history.tables import ROLLUPS, TABLES

from .conftest import KEEP_DAYS, Database, drain, rolled
from .postgres import PASSWORD, Server

SHAPE = (
    "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
    "WHERE table_schema = 'carry' ORDER BY 1, 2"
)
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'carry' ORDER BY 1"
Databases = Callable[..., Database]


def shape(database: Database) -> list[Any]:
    return [*database.rows(SHAPE), *database.rows(INDEXES)]


def test_all_that_is_described_is_there(database: Database) -> None:
    found: dict[str, set[str]] = {}
    for table, column, *_ in database.rows(SHAPE):
        found.setdefault(table, set()).add(column)
    for one in (*TABLES, *ROLLUPS):
        assert found.pop(one.name) == set(one.columns), one.name
    assert set(found) == {"account", "feed", "migration"}


def test_run_again_it_changes_nothing(databases: Databases, server: Server) -> None:
    database = databases(empty=True)
    with server.connect(database.name) as db:
        first = migrate(db, KEEP_DAYS)
        before = shape(database)
        again = migrate(db, KEEP_DAYS)
    assert (first.before, first.after, first.kind) == (0, NEWEST, PLAIN)
    assert "plain tables" in first.said[0]
    assert (again.before, again.after, again.said) == (NEWEST, NEWEST, ())
    assert shape(database) == before


class Killed(BaseException):
    """The process is gone."""


def test_killed_at_every_statement_it_goes_on(
    databases: Databases, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt dies one statement later than the last; the end is the same."""
    import psycopg

    whole, database = databases(), databases(empty=True)
    execute = psycopg.Connection.execute
    left = 0

    def dies(self: Any, query: Any, *args: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            self.close()
            raise Killed
        return execute(self, query, *args, **more)

    monkeypatch.setattr(psycopg.Connection, "execute", dies)
    attempts = 0
    while True:
        attempts += 1
        left = attempts * 3
        connection = server.connect(database.name)
        try:
            migrate(connection, KEEP_DAYS)
            break
        except Killed:
            continue
        finally:
            connection.close()
    monkeypatch.undo()
    assert attempts > 10
    assert shape(database) == shape(whole)
    assert database.rows("SELECT count(*) FROM carry.migration") == [(len(VERSIONS),)]


def test_two_at_once_do_it_once(databases: Databases, server: Server) -> None:
    database = databases(empty=True)
    code = (
        "import psycopg, sys; from carry.ops.history.migrations import migrate\n"
        "with psycopg.connect(sys.argv[1], autocommit=True) as db:\n"
        "    print(migrate(db, 7).before)"
    )
    words = [sys.executable, "-c", code, database.dsn]
    root = Path(__file__).resolve().parents[2]
    both = [subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(said) == ["0", str(NEWEST)]


def test_a_newer_database_is_left_alone(database: Database, server: Server) -> None:
    database.run(f"INSERT INTO carry.migration VALUES ({NEWEST + 1}, 'new', 'plain', now())")
    with (
        server.connect(database.name) as db,
        pytest.raises(HistoryRefused, match=f"version {NEWEST + 1} .* newer carry"),
    ):
        migrate(db, KEEP_DAYS)


# --- TimescaleDB --------------------------------------------------------------------------------

# The functions that are used, with the names and types of TimescaleDB's own (2.11 and later), so
# that PostgreSQL itself checks each call. What they do is TimescaleDB's affair.
STAND_IN = """
CREATE FUNCTION create_hypertable(relation regclass, time_column_name name,
    partitioning_column name = NULL, number_partitions integer = NULL,
    associated_schema_name name = NULL, associated_table_prefix name = NULL,
    chunk_time_interval anyelement = NULL::bigint, create_default_indexes boolean = true,
    if_not_exists boolean = false) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION add_compression_policy(hypertable regclass, compress_after interval,
    if_not_exists boolean = false) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION add_retention_policy(relation regclass, drop_after interval,
    if_not_exists boolean = false) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION remove_retention_policy(relation regclass, if_exists boolean = false)
    RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION add_continuous_aggregate_policy(continuous_aggregate regclass,
    start_offset interval, end_offset interval, schedule_interval interval,
    if_not_exists boolean = false) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION remove_continuous_aggregate_policy(continuous_aggregate regclass,
    if_not_exists boolean = false, if_exists boolean = NULL) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION time_bucket(bucket_width interval, ts timestamptz) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE AS $$ SELECT date_trunc('hour', ts, 'UTC') $$;
CREATE FUNCTION pick(state jsonb, value anyelement, at timestamptz) RETURNS jsonb
    LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN state IS NULL
    OR at > (state->>'at')::timestamptz THEN jsonb_build_object('at', at, 'v', value)
    ELSE state END $$;
CREATE FUNCTION earliest(state jsonb, value anyelement, at timestamptz) RETURNS jsonb
    LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN state IS NULL
    OR at < (state->>'at')::timestamptz THEN jsonb_build_object('at', at, 'v', value)
    ELSE state END $$
"""
AGGREGATES = """
CREATE AGGREGATE last(numeric, timestamptz) (SFUNC = pick, STYPE = jsonb);
CREATE AGGREGATE last(text, timestamptz) (SFUNC = pick, STYPE = jsonb);
CREATE AGGREGATE last(integer, timestamptz) (SFUNC = pick, STYPE = jsonb);
CREATE AGGREGATE first(numeric, timestamptz) (SFUNC = earliest, STYPE = jsonb)
"""


def statements() -> list[str]:
    return [s for _, _, made in VERSIONS for s in made(TIMESCALE, 7)]


def test_the_calls_of_timescaledb_are_calls_that_it_has(
    databases: Databases, server: Server
) -> None:
    """Everything but its two extensions of the grammar is run, against its own signatures."""
    database = databases(empty=True)
    database.run(*STAND_IN.split(";\n"), *AGGREGATES.split(";\n"), "CREATE SCHEMA carry")
    ran: list[str] = []
    for statement in statements():
        if "SET (timescaledb.compress" in statement:
            continue
        plain = statement.replace(
            "WITH (timescaledb.continuous, timescaledb.materialized_only = false) ", ""
        )
        ran.append(plain)
    database.run(*ran)
    with server.connect(database.name) as db:
        migrations.keep(db, 7)
    kinds = database.rows(
        "SELECT matviewname FROM pg_matviews WHERE schemaname = 'carry' ORDER BY 1"
    )
    assert [name for (name,) in kinds] == sorted(rollup.name for rollup in ROLLUPS)


def test_what_timescaledb_asks_of_them() -> None:
    """Its rules that no plain server knows."""
    text = statements()
    hypertables = [t for t in TABLES if t.series]
    for table in hypertables:
        assert "time" in table.key, "a unique index holds the time"
        [compressed] = [s for s in text if f"ALTER TABLE {table.full} SET" in s]
        [segment] = re.findall(r"compress_segmentby = '([^']*)'", compressed)
        [order] = re.findall(r"compress_orderby = '(\w+) DESC'", compressed)
        columns = segment.split(", ")
        assert {*columns, order} == set(table.key), "or a corrected row decompresses all"
        assert not set(columns) & {order}
        made = next(n for n, s in enumerate(text) if f"create_hypertable('{table.full}'" in s)
        assert made < text.index(compressed)
    for rollup in ROLLUPS:
        [made] = [s for s in text if f"MATERIALIZED VIEW {rollup.full} " in s]
        assert made.endswith(" WITH NO DATA"), "it may not be filled inside a transaction"
        assert f"FROM {rollup.of.full} " in made
        assert rollup.of in hypertables
        assert "GROUP BY" in made
        assert made.count("time_bucket(INTERVAL '1 hour', \"time\")") == 2
        assert " ORDER BY " not in made
    for table in hypertables:
        [drop] = [s for s in text if f"add_retention_policy('{table.full}'" in s]
        [days] = re.findall(r"INTERVAL '(\d+) days'", drop)
        for rollup in ROLLUPS:
            if rollup.of is table:
                [policy] = [s for s in text if f"policy('{rollup.full}'" in s]
                [start] = re.findall(r"start_offset => INTERVAL '(\d+) days'", policy)
                assert 1 <= int(start) < int(days), "an hour without its seconds is emptied"
                assert "end_offset => INTERVAL '1 hour'" in policy


def test_both_kinds_have_the_same_hours() -> None:
    """Name, order and function of each column, in the aggregate and in the plain statement."""
    for rollup in ROLLUPS:
        aggregate, plain = folded(rollup), folded_plainly(rollup)
        columns = re.findall(r'AS "(\w+)"', aggregate.split(" FROM ")[0])
        assert [*(c for c in rollup.of.key if c != "time"), *columns[1:]] == [
            *rollup.of.segment, *(name for name, _, _ in rollup.folds)
        ]  # fmt: skip
        assert columns[0] == "time"
        for name, how, source in rollup.folds:
            assert f'"{name}" = excluded."{name}"' in plain
            if how in ("first", "last"):
                assert f'{how}("{source}", "time") AS "{name}"' in aggregate
                assert f'{how}."{source}"' in plain
            else:
                assert f'{how}("{source}") AS "{name}"' in aggregate
                assert f'{how}("{source}") AS "{name}"' in plain


class Answers:
    """A connection that answers what a server with TimescaleDB would. For `choose` alone: it asks
    four questions, and no server here can give these answers."""

    broken = False

    def __init__(self, version: str | None, licence: str, refuses: str = "") -> None:
        self._version, self._licence, self._refuses = version, licence, refuses

    def execute(self, sql: str) -> "Answers":
        import psycopg

        if sql.startswith("CREATE EXTENSION") and self._refuses:
            raise psycopg.errors.InsufficientPrivilege(self._refuses)
        self._sql = sql
        return self

    def fetchone(self) -> Sequence[Any] | None:
        if "pg_available_extensions" in self._sql:
            return None if self._version is None else (self._version, None)
        return (self._version,) if "extversion" in self._sql else (self._licence,)


@pytest.mark.parametrize(
    "server_has, kind, says",
    [
        (Answers("2.17.2", "timescale"), TIMESCALE, "TimescaleDB 2.17.2"),
        (Answers("2.11.0-dev", "timescale"), TIMESCALE, "2.11.0"),
        (Answers("2.10.3", "timescale"), PLAIN, "older than 2.11"),
        (Answers("2.17.2", "apache"), PLAIN, "Apache edition"),
        (Answers(None, ""), PLAIN, "not on this server"),
        (Answers("2.17.2", "timescale", "permission denied"), PLAIN, "permission denied"),
    ],
)
def test_which_kind_a_new_database_becomes(server_has: Any, kind: str, says: str) -> None:
    found, why = choose(server_has)
    assert found == kind
    assert says in why


# --- the command --------------------------------------------------------------------------------


def invoke(tmp_path: Path, history: str, *words: str) -> Any:
    (tmp_path / "config.yaml").write_text(
        f"venue: {{name: embedded}}\nmarkets: [{{base: HYPE}}]\n{history}"
    )
    where = ["--config", str(tmp_path / "config.yaml"), "--state-db", str(tmp_path / "carry.db")]
    return CliRunner().invoke(db_command, ["migrate", *where, *words])


def test_the_command(databases: Databases, tmp_path: Path, monkeypatch: Any) -> None:
    database = databases(empty=True)
    monkeypatch.setenv("CARRY_TEST_DSN", database.dsn)
    history = "history: {dsn: {env: CARRY_TEST_DSN}}\n"
    first = invoke(tmp_path, history)
    again = invoke(tmp_path, history)
    assert f"plain: from version 0 to {NEWEST}\n" in first.output
    assert again.output == f"plain: version {NEWEST}, nothing to do\n"
    assert '"kind": "plain"' in invoke(tmp_path, history, "--json").output
    with database.server.connect(database.name) as db:
        assert version_of(db) == (NEWEST, PLAIN)


@pytest.mark.parametrize(
    "history, dsn, says",
    [
        ("", "", "history.dsn is not set"),
        ("history: {dsn: {env: CARRY_TEST_DSN}}\n", "", "CARRY_TEST_DSN is not set"),
        (
            "history: {dsn: {env: CARRY_TEST_DSN}}\n",
            f"postgresql://carry:{PASSWORD}@/x?host=/no/such/folder",
            "the history database: ",
        ),
        (
            "history: {dsn: {env: CARRY_TEST_DSN}}\n",
            f"user=carry password={PASSWORD} nonsense {PASSWORD}",
            "no address of a database",
        ),
    ],
)
def test_what_an_operator_must_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history: str, dsn: str, says: str
) -> None:
    """One line each, never the password."""
    pytest.importorskip("psycopg")
    monkeypatch.setenv("CARRY_TEST_DSN", dsn)
    done = invoke(tmp_path, history)
    assert says in str(done.exception)
    assert PASSWORD not in str(done.exception) + done.output


def test_without_the_extra_it_says_which(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setenv("CARRY_TEST_DSN", "x")
    done = invoke(tmp_path, "history: {dsn: {env: CARRY_TEST_DSN}}\n")
    assert "extra `timescale`" in str(done.exception)
    assert "pip install" in str(done.exception)


def test_hours_that_were_copied_late_are_refreshed(
    database: Database, lived: Path, feeds: Callable[..., Any]
) -> None:
    """TimescaleDB's own refresh reaches back some days only: of what is older it is asked, by
    whole hours, once."""
    database.run(
        "CREATE TABLE asked (view text, upto text, since text)",
        "CREATE PROCEDURE refresh_continuous_aggregate(continuous_aggregate regclass, "
        "window_start timestamptz, window_end timestamptz, force boolean = false) LANGUAGE sql "
        "AS 'INSERT INTO asked VALUES (continuous_aggregate::text, window_end::text, "
        "window_start::text)'",
    )
    feed = feeds(database, lived)
    feed._upkeep._rolled_s = float("inf")
    drain(feed)
    [(first, last)] = database.rows(
        "SELECT date_trunc('hour', min(time)), date_trunc('hour', max(time)) + INTERVAL '1 hour' "
        "FROM carry.candle_1m"
    )
    feed.progress.kind = TIMESCALE
    rolled(database, feed)
    rolled(database, feed)
    asked = database.rows("SELECT view, since::timestamptz, upto::timestamptz FROM asked")
    found = [(view.removeprefix("carry."), *window) for view, *window in asked]
    assert sorted(found) == sorted((rollup.name, first, last) for rollup in ROLLUPS)
    assert database.rows("SELECT count(*) FROM carry.snapshot_1h") == [(0,)], "it is not ours"
