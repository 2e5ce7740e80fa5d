"""A database that is away, slow, full, read-only or half migrated: nothing is missing, nothing is
double, and the bot's side of it is a sentence."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from carry.base.secrets import Redactor
from carry.ops.history import database as database_module
from carry.ops.history import feed as feed_module
from carry.ops.history.migrations import migrate
from carry.ops.main import memory_of
from carry.ops.metrics import Collector
from carry.ops.routes import LogRoute
from carry.ops.watch import Watch
from carry.shell import places, screen
from carry.shell.logs import EventLog

from .conftest import KEEP_DAYS, Database, drain, rolled
from .journals import Life
from .postgres import PASSWORD, Server
from .test_feed import everything

ROOT = Path(__file__).resolve().parents[2]
Fault = Callable[[Database, pytest.MonkeyPatch], Any]


@contextlib.contextmanager
def stopped(database: Database, patch: pytest.MonkeyPatch) -> Iterator[None]:
    database.server.stop()
    yield
    database.server.start()


@contextlib.contextmanager
def crashed(database: Database, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """All its processes end at once; what was committed a moment ago may be lost with them."""
    database.server.stop(signal.SIGQUIT)
    yield
    database.server.start()


@contextlib.contextmanager
def refusing(database: Database, patch: pytest.MonkeyPatch) -> Iterator[None]:
    with database.server.connect() as db:
        db.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (database.name,),
        )
        yield
        db.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")


@contextlib.contextmanager
def read_only(database: Database, patch: pytest.MonkeyPatch) -> Iterator[None]:
    with database.server.connect() as db:
        name = f"ALTER DATABASE {database.name} SET default_transaction_read_only ="
        db.execute(f"{name} on")
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (database.name,),
        )
        yield
        db.execute(f"{name} off")


@contextlib.contextmanager
def trigger(database: Database, body: str) -> Iterator[None]:
    """Something that happens at the last row of a transaction: after all others are in."""
    database.run(
        f"CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; "
        "RETURN NEW; END $$",
        "CREATE TRIGGER fault BEFORE UPDATE ON carry.feed FOR EACH ROW EXECUTE FUNCTION fault()",
    )
    yield
    database.run("DROP TRIGGER fault ON carry.feed", "DROP FUNCTION fault")


@contextlib.contextmanager
def full(database: Database, patch: pytest.MonkeyPatch) -> Iterator[None]:
    with trigger(database, "RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'"):
        yield


@contextlib.contextmanager
def slow(database: Database, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Slower than a statement may be."""
    with patch.context() as mine:
        mine.setitem(database_module.SESSION, "statement_timeout", "200ms")
        database.run(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
            f"'{database.name}' AND pid <> pg_backend_pid()"
        )
        with trigger(database, "PERFORM pg_sleep(30)"):
            yield
    database.run(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
        f"'{database.name}' AND pid <> pg_backend_pid()"
    )


@contextlib.contextmanager
def frozen(database: Database, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that neither answers nor goes away."""
    found = database.rows(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'carry' AND datname = %s",
        database.name,
    )
    assert len(found) == 1
    with patch.context() as mine:
        mine.setattr(feed_module, "answering", lambda db: database_module.answering(db, 0.5))
        database.server.freeze(found[0][0], True)
        try:
            yield
        finally:
            database.server.freeze(found[0][0], False)


@contextlib.contextmanager
def answer_lost(database: Database, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """It was committed, and nobody heard of it."""
    import psycopg

    write = feed_module.write

    def lost(*args: Any, **more: Any) -> int:
        write(*args, **more)
        raise psycopg.OperationalError("the connection was lost")

    with patch.context() as mine:
        mine.setattr(feed_module, "write", lost)
        yield


@contextlib.contextmanager
def half_migrated(database: Database, patch: pytest.MonkeyPatch) -> Iterator[None]:
    database.run("DELETE FROM carry.migration WHERE version = 3")
    database.run(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
        f"'{database.name}' AND pid <> pg_backend_pid()"
    )
    yield
    database.run("INSERT INTO carry.migration VALUES (3, 'rollups', 'plain', now())")


FAULTS: tuple[tuple[Fault, str, str], ...] = (
    (stopped, "history_down", ""),
    (refusing, "history_down", "not currently accepting connections"),
    (full, "history_down", "could not extend file"),
    (crashed, "history_down", ""),
    (read_only, "history_down", "read-only transaction"),
    (frozen, "history_down", ""),
    (slow, "history_down", "statement timeout"),
    (answer_lost, "history_down", "lost"),
    (half_migrated, "history_refused", "version 2 of 3: run `carry db migrate`"),
)


def again(feed: Any) -> None:
    """Until a batch is copied: the first call may only find that a connection is gone."""
    before = feed.progress.rows
    for _ in range(3):
        feed.once()
        if feed.progress.rows > before:
            return
    raise AssertionError(feed.progress)


@pytest.mark.timeout(240)
def test_through_every_fault_the_copy_is_the_same(
    database: Database,
    copied: Database,
    lived: Path,
    feeds: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One copy, every fault in the middle of it, small batches."""
    feed = feeds(database, lived, ticks_max=7)
    for fault, cause, says in FAULTS:
        again(feed)
        with fault(database, monkeypatch):
            began = time.monotonic()
            for _ in range(2):  # the first call may only find that a connection is gone
                feed.once()
                assert feed.failure is not None, fault
                if says in str(feed.failure):
                    break
            assert time.monotonic() - began < 60, fault
            assert feed.failure.cause == cause
            assert says in str(feed.failure), fault
            assert PASSWORD not in str(feed.failure)
            assert feed.progress.lag_ticks > 0
            assert feed._connection is None
    again(feed)
    drain(feed)
    rolled(database, feed)
    got, wanted = everything(database), everything(copied)
    got.pop("gate"), wanted.pop("gate")
    assert got == wanted


def test_two_copies_of_one_journal_at_once(
    database: Database, copied: Database, lived: Path, feeds: Callable[..., Any]
) -> None:
    """A second ops on the same folder is refused; one on a copy of it would be this."""
    one, other = feeds(database, lived, ticks_max=9), feeds(database, lived, ticks_max=13)
    for _ in range(60):
        one.once()
        other.once()
    assert (one.failure, other.failure) == (None, None)
    assert database.rows("SELECT seq FROM carry.feed") == copied.rows("SELECT seq FROM carry.feed")
    for table in ("fill", "funding", "candle_1m", "account_snapshot"):
        count = f"SELECT count(*) FROM carry.{table}"
        assert database.rows(count) == copied.rows(count)


def test_memory_is_bounded_however_long_it_was_away(
    database: Database, lived: Path, feeds: Callable[..., Any]
) -> None:
    """While it is away nothing is kept but the last minutes' latencies; then batch by batch."""
    feed = feeds(database, lived, ticks_max=10)
    biggest = 0
    batch = feed_module.Follower.batch

    def watched(self: Any, *args: Any) -> Any:
        nonlocal biggest
        made = batch(self, *args)
        biggest = max(biggest, made.ticks)
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed_module.Follower, "batch", watched)
        for n in range(20_000):
            feed._latencies.waiting.append(("tick", feed_module.time.time_ns(), n, 1, None, None))
        assert len(feed._latencies.waiting) < 10_000
        feed._latencies.waiting.clear()
        drain(feed)
    assert biggest == 10


# --- told ---------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("STATE_DIRECTORY", "LOGS_DIRECTORY", "NOTIFY_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "data" / "run").mkdir(parents=True)
    (tmp_path / "config.yaml").write_text(
        "venue: {name: embedded}\nmarkets: [{base: HYPE}]\nhistory: {dsn: {env: CARRY_TEST_DSN}}\n"
    )
    return tmp_path


def values(collector: Collector) -> dict[str, float]:
    return {
        sample.name: sample.value
        for metric in collector.collect()
        for sample in metric.samples
        if sample.name.startswith("carry_history")
    }


def test_the_alert_the_metrics_and_status(
    folder: Path, lived: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three failures in a row are an alert, which ends with the first batch that goes through."""
    from carry.ops.history.feed import Feed

    life = folder / "data" / "carry.db"
    life.write_bytes(lived.read_bytes())
    monkeypatch.setenv("CARRY_TEST_DSN", database.server.dsn("not_there"))
    where = places.find(None, None, config_needed=True)
    assert where.wiring is not None
    log = EventLog(where.logs, Redactor(), console=False, name="ops.log")
    watch = Watch(where, log, memory_of(where), [LogRoute(log)])
    feed = Feed(where.journal, where.run_folder, where.wiring.history, Redactor(), watch.venue_ms)
    feed._gentle = True
    watch.history = feed
    watch.more_ways.append(feed)
    watch.look()
    for _ in range(3):
        feed.once()
    watch.look()
    [(_, _, _, text)] = [
        (r[0], r[1], r[2], r[4]) for r in watch.memory.last_alerts(9) if r[2] == "history_down"
    ]
    assert "does not exist" in text
    assert "nothing is lost" in text
    found = values(Collector(watch, where))
    assert found["carry_history_up"] == 0
    assert found["carry_history_lag_ticks"] > 100
    assert found["carry_history_lag_seconds"] > 3_600
    shown = screen._history(where.history() or {})
    assert "ticks behind" in shown
    assert "does not exist" in shown
    monkeypatch.setenv("CARRY_TEST_DSN", database.dsn)
    drain(feed)
    watch.look()
    assert "history_down" not in [cause for _, cause, _, _ in watch.memory.lasting()]
    found = values(Collector(watch, where))
    assert (found["carry_history_up"], found["carry_history_lag_ticks"]) == (1, 0)
    assert found["carry_history_rows_total"] > 500
    feed._told_s = float("-inf")
    feed.once()
    assert "history: copied to tick" in screen._history(where.history() or {})
    feed.close()
    watch.memory.close()


@pytest.mark.timeout(120)
def test_the_process_and_no_password_anywhere(
    folder: Path, lived: Path, databases: Callable[..., Database]
) -> None:
    """`carry ops` itself copies, through a database that is not migrated at first; the password is
    in no file, no log and no output."""
    database = databases(empty=True)
    (folder / "data" / "carry.db").write_bytes(lived.read_bytes())
    environment = {**os.environ, "CARRY_TEST_DSN": database.dsn, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "carry", "ops"]
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=out, stderr=out)
    try:
        facts = until(folder, lambda facts: facts["failures"] > 0)
        assert "run `carry db migrate`" in facts["problem"]
        with database.server.connect(database.name) as db:
            migrate(db, KEEP_DAYS)
        facts = until(folder, lambda facts: facts["rows"] > 0 and not facts["lag_ticks"])
        assert facts["problem"] == ""
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert len(written) > 5
    for path in written:
        assert PASSWORD.encode() not in path.read_bytes(), path


def until(folder: Path, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end, facts = time.monotonic() + 80, {}
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            facts = json.loads((folder / "data" / "run" / "history.json").read_text())
            if holds(facts):
                return facts
        time.sleep(0.1)
    raise AssertionError((facts, (folder / "out").read_text()))


def test_it_follows_a_bot_that_runs(
    database: Database, tmp_path: Path, feeds: Callable[..., Any]
) -> None:
    """Batch by batch beside the ticks, the same as afterwards; the newest tick is always there."""
    life = Life(interval_ms=1_000)
    journal = tmp_path / "live.db"
    life.run(20)
    life.copy(journal)
    feed = feeds(database, journal)
    for _ in range(4):
        life.run(10)
        life.copy(journal)
        feed.once()
        newest = life.world.bot.journal.seq
        assert feed.progress.seq == newest
        assert database.rows("SELECT max(seq) FROM carry.account_snapshot") == [(newest,)]
    life.world.close()


def test_latencies_of_each_minute(
    database: Database, lived: Path, tmp_path: Path, feeds: Callable[..., Any]
) -> None:
    from carry.shell.timings import Timings

    now = [1_767_600_000_000]
    feed = feeds(database, lived, venue_ms=lambda: now[0])
    timings = Timings(tmp_path / "timings.json")
    timings.write()
    feed.once()
    for ms in (3, 3, 700):
        timings.took("tick", ms * 1_000_000)
    timings._written = float("-inf")
    timings.write()
    now[0] += 60_000
    feed.once()
    assert database.rows("SELECT stage, n, mean_ms, p50_ms, p99_ms FROM carry.latency") == [
        ("tick", 3, Decimal("235.333"), 5, 1000)
    ]
    now[0] += 60_000
    feed.once()
    assert database.rows("SELECT count(*) FROM carry.latency") == [(1,)]


def test_a_cut_reaches_only_its_own_connection(server: Server) -> None:
    """The deadline ends a call that hangs, and nothing after it."""
    import psycopg

    with server.connect() as db:
        began = time.monotonic()
        with pytest.raises(psycopg.Error), database_module.answering(db, 0.2):
            db.execute("SELECT pg_sleep(30)")
        assert time.monotonic() - began < 15
    with server.connect() as db, database_module.answering(db, 0.2):
        db.execute("SELECT 1")
    before = threading.active_count()
    time.sleep(0.3)
    assert threading.active_count() <= before


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"wall_ms": 1, "seq": "x"}', "no json"])
def test_status_survives_any_word_of_the_history(folder: Path, text: str) -> None:
    """A file of another version, or half a file, is no word at all."""
    (folder / "data" / "run" / "history.json").write_text(text)
    assert places.find(None, None, config_needed=True).history() is None
