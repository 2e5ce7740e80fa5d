"""The tables of the history, described once: the SQL, the feed and the dashboards are made of this.

All are in the schema `carry`. `account` is the number of (network, address) in `carry.account`, so
that several bots share one database. Times are the venue's clock; money, prices, sizes and rates
are exact decimals with the journal's signs; suffixes name units.
"""

from collections.abc import Sequence
from typing import Final

import attrs

SCHEMA: Final = "carry"
NUMBER: Final = "numeric"
TIME: Final = "timestamptz"

# How a column is folded into an hour: column of the hour -> (function, column of the second).
Folds = Sequence[tuple[str, str, str]]


@attrs.frozen(kw_only=True)
class Table:
    """A table. columns: name -> type; key: its primary key, which an upsert goes by.

    series: a row for each moment, so that TimescaleDB keeps it in chunks by `time`, with rows that
    belong together (`segment`) compressed together; otherwise a book, kept for ever.
    nulls: columns that may be absent.
    """

    name: str
    about: str
    key: tuple[str, ...]
    columns: dict[str, str]
    nulls: tuple[str, ...] = ()
    series: bool = False
    indexes: tuple[tuple[str, ...], ...] = ()

    @property
    def full(self) -> str:
        return f"{SCHEMA}.{self.name}"

    @property
    def segment(self) -> tuple[str, ...]:
        return tuple(column for column in self.key if column != "time")


@attrs.frozen(kw_only=True)
class Rollup:
    """Hours of a series under a name of their own: a continuous aggregate where there is one."""

    name: str
    about: str
    of: Table
    folds: Folds

    @property
    def full(self) -> str:
        return f"{SCHEMA}.{self.name}"

    @property
    def columns(self) -> dict[str, str]:
        """Name -> type, the key first."""
        key = {column: self.of.columns[column] for column in self.of.key}
        return {**key, **{name: self._type(how, source) for name, how, source in self.folds}}

    def _type(self, how: str, source: str) -> str:
        return "bigint" if how == "sum" else self.of.columns[source]


PNL: Final = ("net_usd", "funding_usd", "fees_usd", "basis_usd", "slippage_usd", "external_usd")
# The numbers of a line of the journal's table `postings`.
POSTED: Final = (
    "sz", "px", "ref_px", "funding_usd", "fees_usd", "slippage_usd", "external_usd",
    "ref_cost_usd", "turnover_usd", "transfers_usd", "foreign_usd", "outside_usd",
)  # fmt: skip
_PNL: Final = dict.fromkeys(PNL, NUMBER)
_QUOTES: Final = ("spot_bid", "spot_ask", "perp_bid", "perp_ask")
_SEEN: Final = ("mark_px", "oracle_px", "funding_rate", "forecast_rate", "next_payment_usd")
_MAYBE: Final = ("expected_net_bps", "delta_usd", "band_usd", "liq_distance", "liq_px")

FILL: Final = Table(
    name="fill",
    about="Executions, as the journal booked them. fee_usd > 0 is paid.",
    key=("account", "trade_id", "coin", "leg"),
    columns={
        "account": "smallint", "trade_id": "text", "coin": "text", "leg": "text", "time": TIME,
        "side": "text", "px": NUMBER, "sz": NUMBER, "fee": NUMBER, "fee_in_base": "boolean",
        "fee_usd": NUMBER, "oid": "text", "cloid": "text", "kind": "text", "seq": "bigint",
    },
    nulls=("cloid",),
    indexes=(("account", "coin", "time"),),
)  # fmt: skip
FUNDING: Final = Table(
    name="funding",
    about="Funding payments. usd > 0 was received; rate > 0: longs paid shorts.",
    key=("account", "coin", "time"),
    columns={
        "account": "smallint", "coin": "text", "time": TIME, "usd": NUMBER, "sz": NUMBER,
        "rate": NUMBER, "seq": "bigint",
    },
)  # fmt: skip
TRANSFER: Final = Table(
    name="transfer",
    about="Money that came (usd > 0) or went other than by trading.",
    key=("account", "transfer_id"),
    columns={
        "account": "smallint", "transfer_id": "text", "time": TIME, "usd": NUMBER, "kind": "text",
        "seq": "bigint",
    },
    indexes=(("account", "time"),),
)  # fmt: skip
ALERT: Final = Table(
    name="alert",
    about="What an operator had to hear.",
    key=("account", "journal", "id"),
    columns={
        "account": "smallint", "journal": "text", "id": "bigint", "time": TIME, "level": "text",
        "name": "text", "coin": "text", "text": "text", "seq": "bigint",
    },
    nulls=("coin",),
    indexes=(("account", "time"),),
)  # fmt: skip
DECISION: Final = Table(
    name="decision",
    about="The bot's decisions (docs/EVENTS.md) other than those that have tables of their own.",
    key=("account", "journal", "seq", "n"),
    columns={
        "account": "smallint", "journal": "text", "seq": "bigint", "n": "integer", "time": TIME,
        "event": "text", "coin": "text", "fields": "jsonb",
    },
    nulls=("coin",),
    indexes=(("account", "time"),),
)  # fmt: skip
POSTING: Final = Table(
    name="posting",
    about="The lines of the ledger: what was booked when, and by how much it changed each cause of "
    "PnL. Their sums are the totals of `carry pnl`.",
    key=("account", "journal", "seq", "n"),
    columns={
        "account": "smallint", "journal": "text", "seq": "bigint", "n": "integer", "time": TIME,
        "kind": "text", "ref": "text", "coin": "text", "leg": "text",
        **dict.fromkeys(POSTED, NUMBER),
    },
    nulls=("coin", "leg"),
    indexes=(("account", "time"),),
)  # fmt: skip
SNAPSHOT: Final = Table(
    name="snapshot",
    about="A market after the last tick of a second: quotes, funding, both legs, liquidation and "
    "PnL by cause since the journal began. cap_usd: risk.per_symbol_notional_cap.",
    key=("account", "coin", "time"),
    columns={
        "account": "smallint", "coin": "text", "time": TIME, "seq": "bigint", "phase": "text",
        **dict.fromkeys((*_QUOTES, *_SEEN), NUMBER), "spot_sz": NUMBER, "perp_sz": NUMBER,
        **dict.fromkeys(_MAYBE, NUMBER), "naked": "boolean", "notional_usd": NUMBER,
        "cap_usd": NUMBER, **_PNL, "why": "text",
    },
    nulls=(*_QUOTES, *_SEEN, *_MAYBE, "notional_usd"),
    series=True,
)  # fmt: skip
ACCOUNT_SNAPSHOT: Final = Table(
    name="account_snapshot",
    about="The account after the last tick of a second. cap_usd: risk.portfolio_notional_cap; "
    "data_age_ms: of the oldest source of prices, positions and balances.",
    key=("account", "time"),
    columns={
        "account": "smallint", "time": TIME, "seq": "bigint", "mode": "text", "why_kind": "text",
        "why": "text", "equity_usd": NUMBER, **_PNL, "residual_usd": NUMBER,
        "transfers_usd": NUMBER, "notional_usd": NUMBER, "cap_usd": NUMBER,
        "liq_distance_warn": NUMBER, "liq_distance_min": NUMBER,
        "funding_interval_h": "integer", "actions_left": "bigint",
        "orders_last_minute": "integer", "orders_per_min_max": "integer",
        "intents_open": "integer", "intents_unknown": "integer", "latches": "integer",
        "gates_failing": "integer", "data_age_ms": "bigint",
    },
    nulls=("equity_usd", "residual_usd", "notional_usd", "actions_left", "data_age_ms"),
    series=True,
)  # fmt: skip
CANDLE: Final = Table(
    name="candle_1m",
    about="A minute of a leg's mid price, of every book the bot saw; n: how many.",
    key=("account", "coin", "leg", "time"),
    columns={
        "account": "smallint", "coin": "text", "leg": "text", "time": TIME, "open": NUMBER,
        "high": NUMBER, "low": NUMBER, "close": NUMBER, "n": "integer",
    },
    series=True,
)  # fmt: skip
GATE: Final = Table(
    name="gate",
    about="Gates of an entry, each quarter of an hour and when one changes sides. coin '': of the "
    "account.",
    key=("account", "coin", "name", "time"),
    columns={
        "account": "smallint", "coin": "text", "name": "text", "time": TIME, "passes": "boolean",
        "value": "text", "threshold": "text", "kind": "text",
    },
    series=True,
)  # fmt: skip
LATENCY: Final = Table(
    name="latency",
    about="How long the parts of a tick took, each minute. Quantiles are bounds: the true one is "
    "at most that; absent when beyond the last bound.",
    key=("account", "stage", "time"),
    columns={
        "account": "smallint", "stage": "text", "time": TIME, "n": "bigint", "mean_ms": NUMBER,
        "p50_ms": NUMBER, "p99_ms": NUMBER,
    },
    nulls=("p50_ms", "p99_ms"),
    series=True,
)  # fmt: skip

BOOKS: Final = (FILL, FUNDING, TRANSFER, ALERT, DECISION, POSTING)
SECONDS: Final = (SNAPSHOT, ACCOUNT_SNAPSHOT)
MINUTES: Final = (CANDLE, GATE, LATENCY)
TABLES: Final = (*BOOKS, *SECONDS, *MINUTES)

_LAST_PNL: Final = [(name, "last", name) for name in PNL]
SNAPSHOT_1H: Final = Rollup(
    name="snapshot_1h",
    about="Hours of carry.snapshot.",
    of=SNAPSHOT,
    folds=[
        ("phase", "last", "phase"),
        *((name, "last", name) for name in (*_QUOTES, *_SEEN)),
        *((name, "last", name) for name in ("spot_sz", "perp_sz")),
        ("delta_usd", "last", "delta_usd"),
        ("delta_usd_min", "min", "delta_usd"),
        ("delta_usd_max", "max", "delta_usd"),
        ("band_usd", "last", "band_usd"),
        ("liq_distance", "min", "liq_distance"),
        ("liq_px", "min", "liq_px"),
        ("naked", "bool_or", "naked"),
        ("notional_usd", "last", "notional_usd"),
        ("cap_usd", "last", "cap_usd"),
        *_LAST_PNL,
    ],
)
ACCOUNT_1H: Final = Rollup(
    name="account_snapshot_1h",
    about="Hours of carry.account_snapshot.",
    of=ACCOUNT_SNAPSHOT,
    folds=[
        ("mode", "last", "mode"),
        ("equity_usd", "last", "equity_usd"),
        *_LAST_PNL,
        ("residual_usd", "last", "residual_usd"),
        ("transfers_usd", "last", "transfers_usd"),
        ("notional_usd", "last", "notional_usd"),
        ("cap_usd", "last", "cap_usd"),
        ("liq_distance_warn", "last", "liq_distance_warn"),
        ("liq_distance_min", "last", "liq_distance_min"),
        ("funding_interval_h", "last", "funding_interval_h"),
        ("actions_left", "min", "actions_left"),
        ("orders_last_minute", "max", "orders_last_minute"),
        ("intents_open", "max", "intents_open"),
        ("intents_unknown", "max", "intents_unknown"),
        ("latches", "max", "latches"),
        ("gates_failing", "last", "gates_failing"),
        ("data_age_ms", "max", "data_age_ms"),
    ],
)
CANDLE_1H: Final = Rollup(
    name="candle_1h",
    about="Hours of carry.candle_1m.",
    of=CANDLE,
    folds=[
        ("open", "first", "open"),
        ("high", "max", "high"),
        ("low", "min", "low"),
        ("close", "last", "close"),
        ("n", "sum", "n"),
    ],
)
ROLLUPS: Final = (SNAPSHOT_1H, ACCOUNT_1H, CANDLE_1H)


def upsert(table: Table) -> str:
    """One row in, by its key; a corrected row wins."""
    names = ", ".join(f'"{name}"' for name in table.columns)
    marks = ", ".join("%s" for _ in table.columns)
    key = ", ".join(f'"{name}"' for name in table.key)
    sets = ", ".join(
        f'"{name}" = excluded."{name}"' for name in table.columns if name not in table.key
    )
    return (
        f"INSERT INTO {table.full} ({names}) VALUES ({marks}) "
        f"ON CONFLICT ({key}) DO UPDATE SET {sets}"
    )
