"""The journal's file: made private, checked, and brought to the present shape before it is used."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from carry.base.codec import Undecodable, codec, digest, migrate
from carry.core.state import RULES, SCHEMA, State

from . import books, schema
from .schema import LAYOUT

BUSY_MS: Final = 5_000
LEDGER_LAYOUT: Final = 3  # the first whose journals keep the lines of the ledger
Connect = Callable[..., sqlite3.Connection]


class JournalRefused(Exception):
    """The file cannot be used as it is. Names the file and the next step."""


class NoJournal(JournalRefused):
    """There is nothing to look at yet: no bot has run here."""


def make_private(path: Path) -> None:
    """0600 in a folder that is 0700 when we make it: what it holds is nobody else's business."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        os.chmod(path, 0o600)
    except OSError as error:
        raise JournalRefused(f"{path}: {error.strerror}; give a file the bot may write") from None


def connect_to(path: str, connect: Connect) -> sqlite3.Connection:
    db = connect(path, isolation_level=None, check_same_thread=True)
    db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
    except sqlite3.DatabaseError as error:
        raise unreadable(path, str(error)) from None
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def has_tables(db: sqlite3.Connection) -> bool:
    return (
        db.execute("SELECT 1 FROM sqlite_schema WHERE type='table' AND name='meta'").fetchone()
        is not None
    )


def check(db: sqlite3.Connection, path: str, quick: bool = True) -> None:
    try:
        found = db.execute("PRAGMA quick_check(1)" if quick else "SELECT 'ok'").fetchone()[0]
        has_tables(db)
    except sqlite3.DatabaseError as error:
        raise unreadable(path, str(error)) from None
    if found != "ok":
        raise unreadable(path, str(found))


def bring_up(db: sqlite3.Connection, path: str) -> None:
    """Bring an older journal to this program's shape, after a copy; refuse a newer one."""
    facts = dict(db.execute("SELECT key, value FROM meta"))
    layout, written = int(facts.get("layout", 0)), int(facts.get("schema", 0))
    if layout > LAYOUT or written > SCHEMA:
        raise newer(path, max(layout, written))
    if (layout, written) == (LAYOUT, SCHEMA):
        if int(facts.get("rules", 0)) != RULES:
            with transaction(db):
                db.execute("UPDATE meta SET value = ? WHERE key = 'rules'", (str(RULES),))
                # What these rules decide can be replayed from here on, whatever came before.
                db.execute(
                    "INSERT OR IGNORE INTO checkpoints SELECT seq, NULL, chain, doc FROM state"
                )
        return
    if path != ":memory:":
        copy = f"{path}.schema{written}.bak"
        if not Path(copy).exists():
            db.execute("VACUUM INTO ?", (copy,))
            os.chmod(copy, 0o600)
    try:
        with transaction(db):
            for n in range(layout, LAYOUT):
                for statement in statements(schema.STEPS[n]):
                    db.execute(statement)
            _migrate_documents(db, written)
            if layout < LEDGER_LAYOUT:
                _bring_forward(db)
            db.execute("UPDATE meta SET value = ? WHERE key = 'layout'", (str(LAYOUT),))
            db.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(SCHEMA),))
            db.execute("UPDATE meta SET value = ? WHERE key = 'rules'", (str(RULES),))
    except (Undecodable, KeyError) as error:
        raise JournalRefused(
            f"{path}: written under schema {written}, and there is no way from there to {SCHEMA} "
            f"({error}). Use the program that wrote it, or start a new journal and `carry adopt`"
        ) from None


def _migrate_documents(db: sqlite3.Connection, written: int) -> None:
    """The latest state is carried over. Ticks of another schema cannot be replayed; they go."""
    row = db.execute("SELECT doc FROM state").fetchone()
    if written == SCHEMA or row is None:
        return
    document = migrate(written, msgspec.json.decode(row[0]))
    state = codec(State).decode(msgspec.json.encode(document))
    text = codec(State).encode(state)
    db.execute("UPDATE state SET doc = ?, digest = ?", (text.decode(), digest(text)))
    db.execute("DELETE FROM ticks")
    db.execute("DELETE FROM checkpoints")
    db.execute("INSERT INTO checkpoints SELECT seq, NULL, chain, doc FROM state")


def _bring_forward(db: sqlite3.Connection) -> None:
    """The first lines of a ledger that was kept as totals only: what they stand at."""
    row = db.execute("SELECT seq, doc FROM state").fetchone()
    if row is not None:
        books.postings(db, row[0], books.opening(codec(State).decode(row[1])))


def check_owner(db: sqlite3.Connection, path: str, network: str, account: str) -> None:
    facts = dict(db.execute("SELECT key, value FROM meta"))
    theirs = (facts.get("network"), facts.get("account"))
    if theirs != (network, account.lower()):
        raise JournalRefused(
            f"{path} is the journal of account {theirs[1]} on {theirs[0]}, and the config names "
            f"{account.lower()} on {network}: positions of one would be traded by the other. "
            "Give each its own file with --state-db"
        )


def statements(sql: str) -> list[str]:
    return [part.strip() for part in sql.split(";\n") if part.strip()]


def newer(path: str, number: int) -> JournalRefused:
    return JournalRefused(
        f"{path} was written by a newer program (schema {number}, this one knows {SCHEMA}): "
        "use that program; an older one would misread what is open"
    )


def unfitting(path: str, seq: int, text: str) -> JournalRefused:
    return JournalRefused(
        f"{path}: the state of tick {seq} does not fit this program ({text[:200]}). Keep the file; "
        "use the program that wrote it, or start with a new file and take what is held over with "
        "`carry adopt COIN SIZE`"
    )


def unreadable(path: str, text: str) -> JournalRefused:
    return JournalRefused(
        f"{path} is damaged or no journal ({text}). Keep the file; restore a copy, or start with a "
        "new one and take what is held over with `carry adopt COIN SIZE`"
    )
