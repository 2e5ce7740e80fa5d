"""`python -m tests.history.scale`: one year of hours and a week of seconds in a real PostgreSQL.

Prints the size of each table, and how long each panel's statement takes over six hours, two days,
a week and a year, in time of one processor. By hand: it writes over a gigabyte into a temporary
folder and takes minutes.
"""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

from carry.ops.history.migrations import migrate
from carry.ops.history.panels import BOARDS
from carry.ops.history.tables import (
    ACCOUNT_SNAPSHOT,
    CANDLE,
    FILL,
    FUNDING,
    GATE,
    LATENCY,
    ROLLUPS,
    SNAPSHOT,
    TABLES,
    Rollup,
    Table,
)

from .postgres import Server, folder_of_programs
from .test_dashboards import expanded

END = 1_790_000_000 // 3600 * 3600  # the hour at which it ends
DAY = 86_400
YEAR_DAYS, WEEK_DAYS = 365, 7
COINS = ("BTC", "HYPE")
RANGES = (("6 h", DAY // 4), ("2 d", 2 * DAY), ("7 d", 7 * DAY), ("1 y", YEAR_DAYS * DAY))
WIDTH = 1_000  # points on the screen
ROUNDS = 5
VALUES = {
    "smallint": "1", "integer": "7", "bigint": "floor(extract(epoch from t))::bigint",
    "boolean": "(extract(epoch from t)::bigint % 7 = 0)", "text": "'HEDGE_OK'",
    "numeric": "round((1000 + 100 * sin(extract(epoch from t) / 5000.0) + random())::numeric, 6)",
    "timestamptz": "t", "jsonb": "'{}'",
}  # fmt: skip
LONG = "'Holding HYPE: hedged; funding is collected'"


def fill(table: Table | Rollup, days: int, step_s: int, **given: str) -> str:
    """Rows of a table, one each `step_s` seconds, for every value of a list in `given`."""
    columns = table.columns
    values = [given.get(name, "t" if name == "time" else VALUES[columns[name]]) for name in columns]
    lists = [f"(VALUES {v[0]}) AS {v[1]}" for v in (_list(name, given) for name in given) if v]
    return (
        f"INSERT INTO {table.full} SELECT {', '.join(values)} FROM generate_series("
        f"to_timestamp({END - days * DAY}), to_timestamp({END}), '{step_s} s') AS t"
        + "".join(f", {one}" for one in lists)
    )


def _list(name: str, given: dict[str, str]) -> tuple[str, str] | None:
    listed = {"coin": COINS, "leg": ("spot", "perp"), "stage": ("tick", "order", "step")}
    if given[name] != name or name not in listed:
        return None
    return ", ".join(f"('{v}')" for v in listed[name]), f"{name}s({name})"


def statements() -> list[str]:
    snapshot, account, candle = ROLLUPS
    gates = "(VALUES " + ", ".join(f"('gate{n}')" for n in range(25)) + ") AS names(name)"
    return [
        "INSERT INTO carry.account (network, address) VALUES ('mainnet', '0x" + "a" * 40 + "')",
        fill(SNAPSHOT, WEEK_DAYS, 1, coin="coin", why=LONG),
        fill(ACCOUNT_SNAPSHOT, WEEK_DAYS, 1, why=LONG, mode="'NORMAL'", why_kind="'held'"),
        fill(CANDLE, YEAR_DAYS, 60, coin="coin", leg="leg"),
        fill(snapshot, YEAR_DAYS, 3600, coin="coin"),
        fill(account, YEAR_DAYS, 3600, mode="'NORMAL'"),
        fill(candle, YEAR_DAYS, 3600, coin="coin", leg="leg"),
        fill(FUNDING, YEAR_DAYS, 3600, coin="coin"),
        fill(FILL, YEAR_DAYS, 7_200, coin="coin", leg="'perp'", trade_id="t::text || coin"),
        fill(GATE, YEAR_DAYS, 900, coin="coin", name="name", passes="true") + f", {gates}",
        fill(LATENCY, YEAR_DAYS, 60, stage="stage"),
    ]


def main() -> int:
    programs = folder_of_programs()
    if programs is None:
        print("no PostgreSQL server is installed (Debian: postgresql)")
        return 1
    server = Server(programs)
    try:
        with server.connect() as db:
            migrate(db, WEEK_DAYS)
            for statement in statements():
                began = time.monotonic()
                rows = db.execute(statement).rowcount
                name = statement.split()[2]
                print(f"{name:32} {rows:>10} rows in {time.monotonic() - began:5.1f} s", flush=True)
            db.execute("VACUUM ANALYZE")
            print("\ntable                                  rows       MB  bytes/row")
            total = 0
            for table in (*TABLES, *ROLLUPS):
                rows, size = db.execute(
                    f"SELECT count(*), pg_total_relation_size('{table.full}') FROM {table.full}"
                ).fetchone()
                total += size
                each = size / rows if rows else 0
                print(f"{table.full:32} {rows:>10} {size / 1e6:8.1f} {each:10.0f}")
            print(f"{'all':32} {'':10} {total / 1e6:8.1f}")
            slowest = 0.0
            print("\nms, median of", ROUNDS, *(name for name, _ in RANGES), sep="\t")
            for board in BOARDS:
                for panel in board.panels:
                    if not panel.sql:
                        continue
                    took = [_took(db, panel.sql, panel.each, seconds) for _, seconds in RANGES]
                    slowest = max(slowest, *took)
                    times = " ".join(f"{ms:7.1f}" for ms in took)
                    print(f"{board.title[7:]}: {panel.title}"[:54].ljust(54), times, flush=True)
            print(f"slowest: {slowest:.1f} ms")
    finally:
        server.close()
    return 0


def _took(db: Any, sql: str, one: bool, seconds: int) -> float:
    coins = "'HYPE'" if one else "'BTC', 'HYPE'"
    step_ms = max(1_000, seconds * 1000 // WIDTH)
    text = expanded(sql, begin=END - seconds, end=END, interval_ms=step_ms, coins=coins)
    took = []
    for _ in range(ROUNDS):
        began = _worked_ms(db)
        db.execute(text).fetchall()
        took.append(_worked_ms(db) - began)
    return statistics.median(took)


def _worked_ms(db: Any) -> float:
    """Time the server's process has had a processor, which other work on the machine does not
    lengthen; nothing here waits for a disk."""
    return int(Path(f"/proc/{db.info.backend_pid}/schedstat").read_text().split()[0]) / 1e6


if __name__ == "__main__":
    sys.exit(main())
