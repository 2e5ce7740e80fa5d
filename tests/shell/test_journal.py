"""Write down, then act: before or after a tick, never between; one file, one account."""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from carry.core.actions import Alert, Fence, Note
from carry.core.asked import Kill, Pause, Rejected
from carry.core.observations import (
    FillSeen,
    FillsRead,
    Observations,
    ReceiptsRead,
    TransfersRead,
)
from carry.core.state import SCHEMA, State
from carry.core.types import Fill, FundingReceipt, Leg, Side, Transfer
from carry.shell import database, schema
from carry.shell.database import JournalRefused
from carry.shell.journal import Journal, JournalFailed
from carry.shell.reader import Reader, give
from carry.shell.version import in_force

ACCOUNT = "0x" + "a" * 40
FILL = Fill(
    trade_id="7",
    coin="HYPE",
    leg=Leg.SPOT,
    side=Side.BUY,
    px=Decimal("20.50"),
    sz=Decimal("1.0"),
    fee=Decimal("1E-7"),
    fee_in_base=True,
    oid="1",
    cloid=None,
    at_ms=5,
)
RECEIPT = FundingReceipt(
    coin="HYPE", at_ms=6, usd=Decimal("-0.01"), sz=Decimal(-1), rate=Decimal("-0.0001")
)
TRANSFER = Transfer(transfer_id="t", usd=Decimal(100), at_ms=7, kind="deposit")
ACTIONS = (
    Fence(intent=1, nonce=2, why="unknown"),
    Note(event="fee", coin="HYPE", fields={"fee": "0.1"}),
    Alert(level="page", name="x", coin=None, text="A sentence."),
)


def full(tick: Observations) -> Observations:
    """A tick with every kind of fact that is kept for ever, some of it seen twice."""
    return attrs.evolve(
        tick,
        events=(FillSeen(fill=FILL),),
        reads=(
            FillsRead(fills=(FILL,), since_ms=0, issued_ms=1, issued_venue_ms=1),
            ReceiptsRead(receipts=(RECEIPT,), since_ms=0, issued_ms=1),
            TransfersRead(transfers=(TRANSFER,), since_ms=0, issued_ms=1),
        ),
        commands=(Pause(command_id=1, by="me"),),
    )


@pytest.fixture
def open_(tmp_path: Path) -> Callable[..., Journal]:
    def make(name: str = "carry.db", **more: Any) -> Journal:
        more = {"network": "testnet", "account": ACCOUNT, **more}
        return Journal.open(str(tmp_path / name), **more)

    return make


def dump(path: str) -> list[str]:
    db = sqlite3.connect(path)
    try:
        return list(db.iterdump())
    finally:
        db.close()


def test_a_tick_is_found_again(
    open_: Callable[..., Journal], state: State, tick: Observations
) -> None:
    journal = open_()
    assert journal.load() is None
    journal.begin(state, 2**64 - 1)
    after = attrs.evolve(state, seq=1, nonce=9)
    journal.commit(full(tick), after, ACTIONS)
    journal.commit(full(tick), attrs.evolve(after, seq=2), ())
    journal.close()

    again = open_()
    assert again.seq == 2
    assert again.journal_id == 2**64 - 1
    assert again.load() == attrs.evolve(after, seq=2)
    reader = Reader(again.path)
    assert reader.rows("SELECT trade_id, px, fee FROM fills") == [("7", "20.50", "0.0000001")]
    assert reader.rows("SELECT usd, rate FROM funding") == [("-0.01", "-0.0001")]
    assert reader.rows("SELECT count(*) FROM transfers") == [(1,)]
    assert reader.rows("SELECT who FROM audit") == [("me",)]
    assert reader.rows("SELECT event, fields FROM decisions") == [("fee", '{"fee":"0.1"}')]
    assert reader.rows("SELECT level, text FROM alerts") == [("page", "A sentence.")]
    assert [t.seq for t in reader.ticks(0)] == [1, 2]
    assert reader.checkpoint(0) == (0, "", state)


def test_the_file_is_nobody_else_s(open_: Callable[..., Journal], state: State) -> None:
    journal = open_("deep/carry.db")
    journal.begin(state, 1)
    path = Path(journal.path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for beside in path.parent.glob("carry.db-*"):
        assert stat.S_IMODE(beside.stat().st_mode) == 0o600


def test_what_reaches_the_venue_is_synced_and_nothing_else(
    tmp_path: Path, state: State, tick: Observations
) -> None:
    seen: list[str] = []
    journal = Journal.open(
        str(tmp_path / "j.db"), network="n", account=ACCOUNT, connect=_traced(seen.append)
    )
    journal.begin(state, 1)

    def level(actions: Any) -> int:
        journal.commit(tick, state, actions)
        found: int = journal._db.execute("PRAGMA synchronous").fetchone()[0]
        return found

    assert level(ACTIONS[1:]) == 1  # NORMAL: notes and alerts wait for nobody
    assert level(ACTIONS) == 2  # FULL
    assert level(()) == 1
    assert seen.count("BEGIN IMMEDIATE") == seen.count("COMMIT") == 5


def _traced(see: Callable[[str], None]) -> Callable[..., sqlite3.Connection]:
    class Traced(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> Any:
            see(sql)
            return super().execute(sql, *args)

        def executemany(self, sql: str, *args: Any) -> Any:
            see(sql)
            return super().executemany(sql, *args)

    return lambda *args, **more: sqlite3.connect(*args, factory=Traced, **more)


class Dies(BaseException):
    """The process ends here."""


def _dying(at: int) -> Callable[..., sqlite3.Connection]:
    """Connections whose `at`-th statement is never reached; then every later one fails too."""
    left = [at]

    def count(sql: str) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise Dies(sql)

    return _traced(count)


def test_a_crash_at_every_statement_leaves_before_or_after(
    tmp_path: Path, state: State, tick: Observations
) -> None:
    """The n-th statement loop of SQLite's own tests: until a run gets through."""

    opened: list[sqlite3.Connection] = []

    def run(path: str, connect: Callable[..., sqlite3.Connection]) -> None:
        try:
            ticks(path, lambda *a, **more: opened.append(connect(*a, **more)) or opened[-1])
        finally:
            while opened:  # A process that ends lets go of its file; nothing is tidied up.
                opened.pop().close()

    def ticks(path: str, connect: Callable[..., sqlite3.Connection]) -> None:
        journal = Journal.open(
            path, network="n", account=ACCOUNT, connect=connect, checkpoint_ticks=2
        )
        if journal.load() is None:
            journal.begin(state, 1)
        for nonce in (1, 2, 3):
            if nonce > journal.seq:
                journal.commit(full(tick), attrs.evolve(state, nonce=nonce), ACTIONS)

    clean = str(tmp_path / "clean.db")
    run(clean, sqlite3.connect)
    for at in range(1, 200):
        path = str(tmp_path / f"{at}.db")
        try:
            run(path, _dying(at))
            break
        except Dies:
            pass
        # Recovery may die too, at any statement of it.
        with contextlib.suppress(Dies):
            run(path, _dying(at // 2 + 3))
        journal = Journal.open(path, network="n", account=ACCOUNT)
        found = journal.load()
        count = journal._db.execute("SELECT count(*) FROM ticks").fetchone()[0]
        assert count == journal.seq
        assert found == (None if found is None else attrs.evolve(state, nonce=journal.seq))
        journal.close()
        run(path, sqlite3.connect)
        assert dump(path) == dump(clean), at
    else:
        raise AssertionError("no run got through")
    assert at > 30


def test_a_disk_that_refuses_ends_the_process(
    tmp_path: Path, state: State, tick: Observations
) -> None:
    fails = [False]

    def see(sql: str) -> None:
        if fails[0] and sql == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")

    journal = Journal.open(
        str(tmp_path / "j.db"), network="n", account=ACCOUNT, connect=_traced(see)
    )
    journal.begin(state, 1)
    fails[0] = True
    with pytest.raises(
        JournalFailed, match=r"j\.db: tick 1 .*disk I/O error.*Nothing of it was sent"
    ):
        journal.commit(tick, state, ACTIONS)


def test_another_account_or_network_is_refused(open_: Callable[..., Journal], state: State) -> None:
    open_().begin(state, 1)
    for more in ({"network": "mainnet"}, {"account": "0x" + "b" * 40}):
        with pytest.raises(JournalRefused, match="is the journal of account"):
            open_(**more)


@pytest.mark.parametrize(
    "content", [b"this is no database " * 100, b"SQLite format 3\0" + b"\1" * 4096]
)
def test_a_damaged_file_is_refused_by_name(
    tmp_path: Path, open_: Callable[..., Journal], content: bytes
) -> None:
    (tmp_path / "carry.db").write_bytes(content)
    with pytest.raises(JournalRefused, match=r"carry\.db is damaged or no journal"):
        open_()
    with pytest.raises(JournalRefused, match=r"carry\.db is damaged or no journal"):
        Reader(str(tmp_path / "carry.db"))


def test_a_page_that_rotted_is_found_at_the_start(
    open_: Callable[..., Journal], state: State, tick: Observations
) -> None:
    journal = open_()
    journal.begin(state, 1)
    for _ in range(50):
        journal.commit(full(tick), state, ACTIONS)
    journal.close()
    content = bytearray(Path(journal.path).read_bytes())
    content[4096 * 3 : 4096 * 9] = os.urandom(4096 * 6)
    Path(journal.path).write_bytes(content)
    with pytest.raises(JournalRefused, match="damaged"):
        open_()


def test_a_newer_schema_is_refused(open_: Callable[..., Journal], state: State) -> None:
    journal = open_()
    journal.begin(state, 1)
    journal._db.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(SCHEMA + 1),))
    journal.close()
    with pytest.raises(JournalRefused, match="newer program"):
        open_()
    with pytest.raises(JournalRefused, match="newer program"):
        Reader(journal.path)


def test_an_older_schema_is_migrated_after_a_copy(
    open_: Callable[..., Journal],
    state: State,
    tick: Observations,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The state is carried over by a pure function; books stay; old ticks cannot be replayed."""
    journal = open_()
    journal.begin(state, 1)
    journal.commit(full(tick), state, ACTIONS)
    doc = journal._db.execute("SELECT doc FROM state").fetchone()[0]
    old = doc.replace('"intent_no"', '"last_no"')
    assert old != doc
    journal._db.execute("UPDATE state SET doc = ?", (old,))
    journal._db.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(SCHEMA - 1),))
    journal.close()
    before = Path(journal.path).read_bytes()
    with pytest.raises(JournalRefused, match="no way from there"):
        open_()

    def rename(document: dict[str, Any]) -> dict[str, Any]:
        document["intent_no"] = document.pop("last_no")
        return document

    monkeypatch.setattr("carry.base.codec.MIGRATIONS", {SCHEMA - 1: rename})
    again = open_()
    assert again.load() == state
    assert again.seq == 1
    assert again._db.execute("SELECT count(*) FROM fills").fetchone() == (1,)
    assert again._db.execute("SELECT count(*) FROM ticks").fetchone() == (0,)
    copy = Path(f"{journal.path}.schema{SCHEMA - 1}.bak")
    assert dump(str(copy)) != dump(journal.path)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert before[:16] == copy.read_bytes()[:16]


def test_an_older_layout_is_brought_up(
    open_: Callable[..., Journal], state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_().begin(state, 1)
    monkeypatch.setattr(database, "LAYOUT", schema.LAYOUT + 1)
    monkeypatch.setattr(
        schema, "STEPS", {schema.LAYOUT: "ALTER TABLE fills ADD COLUMN more TEXT;\n"}
    )
    again = open_()
    assert "more" in [row[1] for row in again._db.execute("PRAGMA table_info(fills)")]
    assert again.meta("layout") == str(schema.LAYOUT + 1)


def test_the_inbox_is_read_from_the_watermark_on(
    open_: Callable[..., Journal], state: State, tick: Observations, tmp_path: Path
) -> None:
    path = str(tmp_path / "carry.db")
    with pytest.raises(JournalRefused, match="there is no journal"):
        give(path, at_ms=1, who="me", what="pause", args="{}")
    journal = open_()
    journal.begin(state, 1)
    for what in ("pause", "resume", "kill"):
        give(path, at_ms=1, who="me", what=what, args="{}")
    assert [order.what for order in journal.inbox(1)] == ["resume", "kill"]
    assert journal.given(3) == []
    refused = Rejected(command_id=2, by="me", what="resume", why="no such latch")
    commands = (Pause(command_id=1, by="me"), refused, Kill(command_id=3, by="me"))
    journal.commit(attrs.evolve(tick, commands=commands), state, ())
    # What was refused when its turn came must not come into force by a restart.
    assert [order.what for order in journal.given(3)] == ["pause", "kill"]
    version = journal._db.execute("SELECT DISTINCT version FROM audit").fetchall()
    assert version == [(in_force(state.policy),)]
    assert "rules" in version[0][0]


def test_readers_cannot_write(open_: Callable[..., Journal], state: State) -> None:
    journal = open_()
    journal.begin(state, 1)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        Reader(journal.path).rows("DELETE FROM state")


def test_old_ticks_are_forgotten_and_the_books_are_not(
    open_: Callable[..., Journal], state: State, tick: Observations
) -> None:
    journal = open_(checkpoint_ticks=10, keep_days=1)
    journal.begin(state, 1)
    for n in range(100):
        at_ms = 1_000_000_000 + n * 3_600_000
        journal.commit(attrs.evolve(full(tick), venue_ms=at_ms), state, ACTIONS)
    kept = [t.seq for t in Reader(journal.path).ticks(0)]
    assert kept[-1] == 100
    assert 24 <= len(kept) <= 50
    found = Reader(journal.path).checkpoint(kept[0] - 1)
    assert found is not None
    assert found[0] <= kept[0] - 1
    assert journal._db.execute("SELECT count(*) FROM decisions").fetchone() == (100,)


def test_a_crash_row_says_whether_anything_followed(
    open_: Callable[..., Journal], state: State, tick: Observations
) -> None:
    journal = open_()
    journal.begin(state, 1)
    journal.commit(tick, state, ())
    assert journal.crashed_last() is None
    journal.crashed(tick, state, "a guard failed")
    assert journal.crashed_last() == "a guard failed"
    assert journal.crashes_since(tick.wall_ms) == 1
    assert journal.crashes_since(tick.wall_ms + 1) == 0
    journal.commit(tick, state, ())
    assert journal.crashed_last() is None
