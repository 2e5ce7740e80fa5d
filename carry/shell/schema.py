"""Tables of the journal, and the way from an older shape of them to the present one.

Two stores in one file: `ticks` and `checkpoints` (replay; pruned) and the books (`fills`,
`funding`, `transfers`, `postings`, `marks`, `equity`, `audit`, `decisions`, `alerts`; kept for
ever). Money is text: a Decimal without loss. The columns of `postings` are the fields of the core's
`Posting`.
"""

from collections.abc import Mapping
from typing import Final

# Lines of the ledger, prices and equity by hour: in every journal since layout 3.
LEDGER: Final = """
CREATE TABLE postings (
    seq   INTEGER NOT NULL,
    n     INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    kind  TEXT NOT NULL,
    ref   TEXT NOT NULL,
    coin  TEXT,
    leg   TEXT,
    sz    TEXT NOT NULL,
    px    TEXT NOT NULL,
    ref_px        TEXT NOT NULL,
    funding_usd   TEXT NOT NULL,
    fees_usd      TEXT NOT NULL,
    slippage_usd  TEXT NOT NULL,
    external_usd  TEXT NOT NULL,
    ref_cost_usd  TEXT NOT NULL,
    turnover_usd  TEXT NOT NULL,
    transfers_usd TEXT NOT NULL,
    foreign_usd   TEXT NOT NULL,
    outside_usd   TEXT NOT NULL,
    PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE marks (
    coin    TEXT NOT NULL,
    at_ms   INTEGER NOT NULL,
    spot_px TEXT NOT NULL,
    perp_px TEXT NOT NULL,
    oracle_px     TEXT,
    funding_rate  TEXT,
    forecast_rate TEXT,
    liq_distance  TEXT,
    PRIMARY KEY (coin, at_ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE equity (
    at_ms        INTEGER PRIMARY KEY,
    equity_usd   TEXT NOT NULL,
    residual_usd TEXT
) STRICT;
"""

TABLES: Final = (
    """
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE state (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    seq    INTEGER NOT NULL,
    digest TEXT NOT NULL,
    chain  TEXT NOT NULL,
    doc    TEXT NOT NULL
) STRICT;

CREATE TABLE ticks (
    seq          INTEGER PRIMARY KEY,
    mono_ms      INTEGER NOT NULL,
    venue_ms     INTEGER,
    rules        INTEGER NOT NULL,
    observations TEXT NOT NULL,
    actions      TEXT NOT NULL,
    digest       TEXT NOT NULL,
    chain        TEXT NOT NULL
) STRICT;

CREATE TABLE checkpoints (
    seq   INTEGER PRIMARY KEY,
    at_ms INTEGER,
    chain TEXT NOT NULL,
    doc   TEXT NOT NULL
) STRICT;

CREATE TABLE fills (
    trade_id TEXT NOT NULL,
    coin     TEXT NOT NULL,
    leg      TEXT NOT NULL,
    at_ms    INTEGER NOT NULL,
    side     TEXT NOT NULL,
    px       TEXT NOT NULL CHECK (px GLOB '[0-9]*'),
    sz       TEXT NOT NULL CHECK (sz GLOB '[0-9]*'),
    fee      TEXT NOT NULL CHECK (fee GLOB '[-0-9]*'),
    fee_in_base INTEGER NOT NULL CHECK (fee_in_base IN (0, 1)),
    fee_usd  TEXT NOT NULL CHECK (fee_usd GLOB '[-0-9]*'),
    oid      TEXT NOT NULL,
    cloid    TEXT,
    kind     TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    PRIMARY KEY (trade_id, coin, leg)
) STRICT, WITHOUT ROWID;

CREATE TABLE funding (
    coin  TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    usd   TEXT NOT NULL CHECK (usd GLOB '[-0-9]*'),
    sz    TEXT NOT NULL CHECK (sz GLOB '[-0-9]*'),
    rate  TEXT NOT NULL CHECK (rate GLOB '[-0-9]*'),
    seq   INTEGER NOT NULL,
    PRIMARY KEY (coin, at_ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE transfers (
    transfer_id TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    usd   TEXT NOT NULL CHECK (usd GLOB '[-0-9]*'),
    kind  TEXT NOT NULL,
    seq   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE VIEW fees AS
    SELECT at_ms, coin, leg, trade_id, fee, fee_in_base, fee_usd FROM fills;

CREATE TABLE decisions (
    seq    INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    at_ms  INTEGER,
    event  TEXT NOT NULL,
    coin   TEXT,
    fields TEXT NOT NULL,
    PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE alerts (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    seq   INTEGER NOT NULL,
    at_ms INTEGER,
    level TEXT NOT NULL,
    name  TEXT NOT NULL,
    coin  TEXT,
    text  TEXT NOT NULL
) STRICT;

CREATE TABLE inbox (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    who   TEXT NOT NULL,
    what  TEXT NOT NULL,
    args  TEXT NOT NULL
) STRICT;

CREATE TABLE audit (
    command_id INTEGER PRIMARY KEY,
    seq   INTEGER NOT NULL,
    at_ms INTEGER,
    who   TEXT NOT NULL,
    doc   TEXT NOT NULL,
    version TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE starts (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    seq     INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    version TEXT NOT NULL
) STRICT;

CREATE TABLE crash (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    seq          INTEGER NOT NULL,
    mono_ms      INTEGER NOT NULL,
    wall_ms      INTEGER NOT NULL,
    text         TEXT NOT NULL,
    state        TEXT NOT NULL,
    observations TEXT NOT NULL
) STRICT;
"""
    + LEDGER
)

# From layout n to n + 1: SQL run in one transaction, after a copy of the file was made. A change of
# the documents alone (the core's SCHEMA) has its function in `base.codec.MIGRATIONS` instead.
LAYOUT: Final = 3
STEPS: Final[Mapping[int, str]] = {
    1: """
ALTER TABLE audit ADD COLUMN version TEXT NOT NULL DEFAULT '';
CREATE TABLE starts (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    seq     INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    version TEXT NOT NULL
) STRICT;
""",
    2: LEDGER,
}
