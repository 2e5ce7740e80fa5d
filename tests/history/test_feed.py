"""What is in the database is what is in the journal, row for row, however it got there."""

import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from carry.base.codec import codec
from carry.core.observations import BookSeen, Observations
from carry.core.step import step
from carry.ops.history.prepare import prepare
from carry.ops.history.rows import ELSEWHERE, moment
from carry.ops.history.tables import POSTED, ROLLUPS, TABLES
from carry.shell import places
from carry.shell.reader import Reader
from carry.shell.status import report

from .conftest import Database, drain, rolled
from .journals import HOURS, TICKS

OBSERVATIONS = codec(Observations)
BOOKS = {
    "fill": (
        "SELECT trade_id, coin, leg, at_ms, side, px, sz, fee, fee_in_base, fee_usd, oid, cloid, "
        "kind, seq FROM fills ORDER BY trade_id, coin, leg",
        "SELECT trade_id, coin, leg, time, side, px, sz, fee, fee_in_base, fee_usd, oid, cloid, "
        "kind, seq FROM carry.fill ORDER BY trade_id, coin, leg",
        {3: moment, 5: Decimal, 6: Decimal, 7: Decimal, 8: bool, 9: Decimal},
    ),
    "funding": (
        "SELECT coin, at_ms, usd, sz, rate, seq FROM funding ORDER BY coin, at_ms",
        "SELECT coin, time, usd, sz, rate, seq FROM carry.funding ORDER BY coin, time",
        {1: moment, 2: Decimal, 3: Decimal, 4: Decimal},
    ),
    "transfer": (
        "SELECT transfer_id, at_ms, usd, kind, seq FROM transfers ORDER BY transfer_id",
        "SELECT transfer_id, time, usd, kind, seq FROM carry.transfer ORDER BY transfer_id",
        {1: moment, 2: Decimal},
    ),
    "alert": (
        "SELECT id, at_ms, level, name, coin, text, seq FROM alerts ORDER BY id",
        "SELECT id, time, level, name, coin, text, seq FROM carry.alert ORDER BY id",
        {1: moment},
    ),
    "posting": (
        f"SELECT seq, n, at_ms, kind, ref, coin, leg, {', '.join(POSTED)} FROM postings "
        "ORDER BY seq, n",
        f"SELECT seq, n, time, kind, ref, coin, leg, {', '.join(POSTED)} FROM carry.posting "
        "ORDER BY seq, n",
        {2: moment, **dict.fromkeys(range(7, 7 + len(POSTED)), Decimal)},
    ),
    "decision": (
        "SELECT seq, n, at_ms, event, coin, fields FROM decisions WHERE event NOT IN "
        f"{ELSEWHERE} ORDER BY seq, n",
        "SELECT seq, n, time, event, coin, fields FROM carry.decision ORDER BY seq, n",
        {2: moment},
    ),
}


def journal_rows(journal: Path, book: str) -> list[tuple[Any, ...]]:
    sql, _, as_type = BOOKS[book]
    with sqlite3.connect(journal) as db:
        found = db.execute(sql).fetchall()
    db.close()
    return [tuple(as_type[n](v) if n in as_type else v for n, v in enumerate(row)) for row in found]


def same_books(database: Database, journal: Path) -> None:
    import json

    for book, (_, sql, _) in BOOKS.items():
        expected = journal_rows(journal, book)
        found = database.rows(sql)
        if book == "decision":
            expected = [(*row[:-1], json.loads(row[-1])) for row in expected]
        assert found == expected, book


def everything(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """All that was copied, without when."""
    found = {}
    for table in (*TABLES, *ROLLUPS):
        columns = ", ".join(f'"{name}"' for name in table.columns)
        key = table.key if table in TABLES else table.of.key
        order = ", ".join(f'"{name}"' for name in key)
        found[table.name] = database.rows(f"SELECT {columns} FROM {table.full} ORDER BY {order}")
    return found


def test_every_row_of_the_journal_once(copied: Database, lived: Path) -> None:
    same_books(copied, lived)
    counts = {book: len(journal_rows(lived, book)) for book in BOOKS}
    assert min(counts.values()) > 0, counts
    assert copied.rows("SELECT network, address FROM carry.account")[0][0] == "storm"


def test_each_tick_is_as_status_shows_it(copied: Database, lived: Path) -> None:
    """Snapshots of every tick, against the states of a replay of our own."""
    rows = {
        (seq, coin): row
        for seq, coin, *row in copied.rows(
            "SELECT seq, coin, time, phase, spot_sz, perp_sz, delta_usd, funding_rate, "
            "liq_distance, net_usd, funding_usd, fees_usd, basis_usd, slippage_usd, external_usd "
            "FROM carry.snapshot"
        )
    }
    accounts = {
        seq: row
        for seq, *row in copied.rows(
            "SELECT seq, equity_usd, net_usd, residual_usd, mode FROM carry.account_snapshot"
        )
    }
    reader = Reader(str(lived))
    found = reader.checkpoint(0)
    assert found is not None
    state, last = found[2], {}
    for tick in reader.ticks(0):
        if tick.venue_ms is not None:
            last[tick.venue_ms // 1000] = tick.seq
    assert set(accounts) == set(last.values())
    for tick in reader.ticks(0):
        state, _ = step(state, OBSERVATIONS.decode(tick.observations))
        if tick.seq not in accounts:
            continue
        shown = report(tick.seq, state)
        for market in shown["markets"]:
            row = rows.pop((tick.seq, market["coin"]))
            wanted = [market[n] for n in ("spot_sz", "perp_sz", "delta_usd", "funding_rate")]
            wanted.append(market["liquidation_distance"])
            wanted += [market["pnl"][f"{c}_usd"] for c in ("net", "funding", "fees", "basis")]
            wanted += [market["pnl"][f"{c}_usd"] for c in ("slippage", "external")]
            assert row[0] == moment(tick.venue_ms // 1000 * 1000)
            assert row[1:] == [
                market["phase"],
                *(None if w is None else Decimal(w) for w in wanted),
            ]
        pnl = shown["pnl"]
        wanted = [shown["equity_usd"], pnl["net_usd"], pnl["residual_usd"]]
        assert accounts[tick.seq] == [
            *(None if w is None else Decimal(w) for w in wanted),
            shown["mode"],
        ]
    reader.close()
    assert rows == {}
    assert len(accounts) > TICKS * 3 // 4


def test_candles_hold_every_price_seen(copied: Database, lived: Path) -> None:
    wanted: dict[tuple[str, str, int], list[Any]] = {}
    reader = Reader(str(lived))
    for tick in reader.ticks(0):
        for event in OBSERVATIONS.decode(tick.observations).events:
            if isinstance(event, BookSeen) and tick.venue_ms is not None:
                key = (event.coin, event.leg.value, tick.venue_ms // 60_000 * 60_000)
                wanted.setdefault(key, []).append(event.book.mid_px)
    reader.close()
    rows = copied.rows("SELECT coin, leg, time, open, high, low, close, n FROM carry.candle_1m")
    assert {(c, leg, int(t.timestamp()) * 1000): tuple(row) for c, leg, t, *row in rows} == {
        key: (px[0], max(px), min(px), px[-1], len(px)) for key, px in wanted.items()
    }
    assert len(rows) > TICKS


def test_whatever_the_batches_the_result_is_the_same(
    databases: Callable[..., Database], journal: Path, feeds: Callable[..., Any]
) -> None:
    """One tick at a time, with ops ended and started again in between, or all at once."""
    one, other = databases(), databases()
    drain(feeds(one, journal))
    for n in range(1_000):
        feed = feeds(other, journal, ticks_max=1 + n % 30)
        feed.once()
        behind = feed.progress.lag_ticks
        feed.once()
        feed.close()
        if not behind:
            break
    for database in (one, other):
        rolled(database, feeds(database, journal))
    all_at_once, piecewise = everything(one), everything(other)
    # A gate that changed and changed back within a second may be seen by one and not the other.
    last = [{row[1:3]: row[4:] for row in found.pop("gate")} for found in (all_at_once, piecewise)]
    assert last[0] == last[1]
    assert all_at_once == piecewise


def test_hours_are_their_seconds(copied: Database) -> None:
    for coin, at, net, low in copied.rows(
        "SELECT coin, time, net_usd, delta_usd_min FROM carry.snapshot_1h"
    ):
        seconds = copied.rows(
            "SELECT net_usd, delta_usd FROM carry.snapshot WHERE coin = %s AND time >= %s "
            "AND time < %s + INTERVAL '1 hour' ORDER BY time",
            coin, at, at,
        )  # fmt: skip
        assert net == seconds[-1][0]
        assert low == min((d for _, d in seconds if d is not None), default=None)
    assert len(copied.rows("SELECT 1 FROM carry.snapshot_1h")) > 3
    assert copied.rows("SELECT sum(n) FROM carry.candle_1h") == copied.rows(
        "SELECT sum(n) FROM carry.candle_1m"
    )


def test_what_is_too_old_goes_and_its_hours_stay(
    database: Database, journal: Path, feeds: Callable[..., Any]
) -> None:
    feed = feeds(database, journal)
    drain(feed)
    rolled(database, feed)
    hours = everything(database)["snapshot_1h"]
    database.run("UPDATE carry.feed SET time = time + INTERVAL '2 days'")
    upkeep, follower = feed._upkeep, feed._follower
    upkeep._keep_days = 2
    with database.server.connect(database.name) as db:
        while not upkeep.prune(db, follower.account, follower.journal):
            pass
    cut = database.rows("SELECT date_trunc('hour', time - INTERVAL '2 days') FROM carry.feed")[0][0]
    assert database.rows("SELECT count(*) FROM carry.snapshot WHERE time < %s", cut) == [(0,)]
    assert database.rows("SELECT count(*) FROM carry.snapshot")[0][0] > 0
    assert everything(database)["snapshot_1h"] == hours
    same_books(database, journal)


def test_two_bots_in_one_database(
    database: Database, journal: Path, tmp_path: Path, feeds: Callable[..., Any]
) -> None:
    drain(feeds(database, journal))
    other = tmp_path / "other.db"
    other.write_bytes(journal.read_bytes())
    with sqlite3.connect(other) as db:
        db.execute(f"UPDATE meta SET value = '0x{'b' * 40}' WHERE key = 'account'")
    db.close()
    drain(feeds(database, other))
    for table in ("fill", "funding", "snapshot", "candle_1m", "gate"):
        counts = database.rows(f"SELECT account, count(*) FROM carry.{table} GROUP BY 1 ORDER BY 1")
        assert [n for n, _ in counts] == [1, 2]
        assert counts[0][1] == counts[1][1] > 0


def test_a_corrected_row_wins(database: Database, journal: Path, feeds: Callable[..., Any]) -> None:
    drain(feeds(database, journal))
    before = everything(database)
    database.run(
        "UPDATE carry.fill SET px = 1", "UPDATE carry.snapshot SET net_usd = 1",
        "UPDATE carry.candle_1m SET n = 0", "DELETE FROM carry.funding",
        "UPDATE carry.feed SET seq = 0, chain = ''",
    )  # fmt: skip
    feed = feeds(database, journal)
    drain(feed)
    after = everything(database)
    for name in ("fill", "funding", "snapshot", "candle_1m", "alert", "decision"):
        assert after[name] == before[name], name


def test_by_the_command_all_of_it_is_copied_again(
    database: Database, journal: Path, feeds: Callable[..., Any], tmp_path: Path
) -> None:
    feed = feeds(database, journal, ticks_max=50)
    feed.once()
    database.run("DELETE FROM carry.decision", "UPDATE carry.funding SET usd = 0")
    text = f"history: {{dsn: {{file: {tmp_path / 'again.dsn'}}}}}\njournal: {{path: {journal}}}\n"
    (tmp_path / "again.dsn").write_text(database.dsn)
    (tmp_path / "again.dsn").chmod(0o600)
    (tmp_path / "config.yaml").write_text(f"venue: {{name: embedded}}\nmarkets: []\n{text}")
    where = places.find(tmp_path / "config.yaml", None, config_needed=True)
    assert "copied once more" in prepare(where, again=True).said[-1]
    drain(feed)  # the one that runs notices by itself
    same_books(database, journal)


def test_a_journal_that_was_put_back_is_copied_again(
    database: Database, journal: Path, feeds: Callable[..., Any]
) -> None:
    """Its ticks have other chains under the same numbers."""
    feed = feeds(database, journal)
    drain(feed)
    with sqlite3.connect(journal) as db:
        db.execute("UPDATE ticks SET chain = 'another' WHERE seq = 100")
        db.execute("DELETE FROM ticks WHERE seq > 100")
        db.execute("UPDATE state SET seq = 100")
    db.close()
    database.run("UPDATE carry.fill SET px = 1 WHERE seq <= 100")
    again = feeds(database, journal, ticks_max=50)
    again.once()
    assert again.progress.seq == 50
    drain(again)
    same_books(database, journal)


def test_forgotten_ticks_leave_books_and_what_can_be_seen(
    database: Database, journal: Path, feeds: Callable[..., Any]
) -> None:
    """The journal keeps ticks for some days: copied later than that, states begin at a checkpoint,
    and a tick that cannot be decided again is skipped until the journal tells the state."""
    with sqlite3.connect(journal) as db:
        db.execute("DELETE FROM ticks WHERE seq <= 50")
        db.execute("DELETE FROM checkpoints WHERE seq <= 50")
        db.execute("UPDATE ticks SET digest = 'decided by other rules' WHERE seq = 70")
    db.close()
    feed = feeds(database, journal)
    drain(feed)
    same_books(database, journal)
    seqs = {row[0] for row in database.rows("SELECT seq FROM carry.account_snapshot")}
    # Some seconds have more than one tick.
    assert seqs < {*range(60, 70), *range(80, TICKS + 1)}
    assert {60, 69, 80, TICKS} < seqs
    assert feed.progress.blind == 9 + 10 == database.rows("SELECT blind FROM carry.feed")[0][0]


def test_text_that_the_database_cannot_hold(
    database: Database, journal: Path, feeds: Callable[..., Any]
) -> None:
    with sqlite3.connect(journal) as db:
        db.execute("UPDATE alerts SET text = 'a' || char(0) || 'b'")
        db.execute(
            "UPDATE decisions SET fields = ? WHERE event = 'flat'", ('{"why": "a\\u0000b"}',)
        )
    db.close()
    drain(feeds(database, journal))
    assert database.rows("SELECT DISTINCT text FROM carry.alert") == [("a�b",)]


@pytest.mark.parametrize("sample_ms", [600_000])
def test_fewer_snapshots_by_config(
    database: Database, journal: Path, feeds: Callable[..., Any], sample_ms: int
) -> None:
    """The last tick of each stretch, at the stretch's begin."""
    import attrs

    feed = feeds(database, journal)
    feed._wiring = attrs.evolve(feed._wiring, sample_ms=sample_ms)
    drain(feed)
    times = [row[0] for row in database.rows("SELECT time FROM carry.account_snapshot")]
    assert HOURS * 6 - 4 <= len(times) == len(set(times)) <= HOURS * 6 + 1
    newest = database.rows("SELECT max(seq) FROM carry.account_snapshot")[0][0]
    assert newest == feed.progress.seq == TICKS
