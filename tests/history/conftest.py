"""A real PostgreSQL for the session, a database for each test, a bot's journal."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from carry.base.secrets import Redactor
from carry.core.num import use_exact_context
from carry.ops.history.feed import Feed
from carry.ops.history.migrations import migrate
from carry.shell.wiring import HistoryWiring, SecretRef

from .journals import eventful
from .postgres import Server, folder_of_programs

KEEP_DAYS = 3650


@pytest.fixture(autouse=True)
def exact() -> None:
    use_exact_context()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="the extra `timescale` is not installed")
    programs = folder_of_programs()
    if programs is None:
        # A user's tests need no server; `.ci/run` installs it and allows no skip.
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
    made = Server(programs)
    with made.connect() as db:
        db.execute("CREATE DATABASE migrated")
    with made.connect("migrated") as db:
        migrate(db, KEEP_DAYS)
    yield made
    made.close()


class Database:
    """One database of the server."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name
        self.dsn = server.dsn(name)

    def rows(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        with self.server.connect(self.name) as db:
            return db.execute(sql, args).fetchall()

    def run(self, *statements: str) -> None:
        with self.server.connect(self.name) as db:
            for statement in statements:
                db.execute(statement)


def make_database(server: Server, name: str, template: str = "migrated") -> Database:
    with server.connect() as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return Database(server, name)


@pytest.fixture
def databases(server: Server) -> Iterator[Callable[..., Database]]:
    """Makes databases, migrated ones unless asked for empty ones."""
    names: list[str] = []

    def make(empty: bool = False) -> Database:
        names.append(f"d{len(names)}")
        return make_database(server, names[-1], "template0" if empty else "migrated")

    yield make
    with server.connect() as db:
        for name in names:
            db.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(databases: Callable[..., Database]) -> Database:
    return databases()


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of some eventful hours. Not to be written to: `journal` is a copy."""
    return eventful(tmp_path_factory.mktemp("lived") / "carry.db")


@pytest.fixture
def journal(lived: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(lived, tmp_path / "carry.db"))


def make_feed(database: Database, journal: Path, folder: Path, **more: Any) -> Feed:
    """A feed of a journal into a database, as `carry ops` makes it."""
    secret = folder / f"{database.name}.dsn"
    secret.write_text(database.dsn)
    secret.chmod(0o600)
    wiring = HistoryWiring(dsn=SecretRef("file", str(secret)), keep_days=KEEP_DAYS)
    feed = Feed(str(journal), folder, wiring, Redactor(), **more)
    feed._gentle = True  # the thread is pytest's own
    return feed


@pytest.fixture
def feeds(tmp_path: Path) -> Iterator[Callable[..., Feed]]:
    """Makes feeds of a journal into a database."""
    made: list[Feed] = []

    def make(database: Database, journal: Path, **more: Any) -> Feed:
        made.append(make_feed(database, journal, tmp_path, **more))
        return made[-1]

    yield make
    for feed in made:
        feed.close()


@pytest.fixture(scope="session")
def copied(server: Server, lived: Path, tmp_path_factory: pytest.TempPathFactory) -> Database:
    """A database into which all of `lived` was copied, in small batches. Only to be read."""
    use_exact_context()
    database = make_database(server, "copied")
    feed = make_feed(database, lived, tmp_path_factory.mktemp("copied"), ticks_max=7)
    drain(feed)
    rolled(database, feed)
    feed.close()
    return database


def drain(feed: Feed) -> None:
    """Let a feed copy all there is; it must not fail."""
    for _ in range(1_000):
        feed.once()
        assert feed.failure is None, str(feed.failure)
        if feed.progress.lag_ticks == 0:
            return
    raise AssertionError(feed.progress)


def rolled(database: Database, feed: Feed) -> None:
    """Bring all hours up to date, now."""
    for _ in range(100):
        feed._upkeep._rolled_s = float("-inf")
        feed.once()
        if database.rows("SELECT 1 FROM carry.feed WHERE dirty IS NOT NULL") == []:
            return
    raise AssertionError("hours are never done")
