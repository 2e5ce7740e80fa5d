"""The SQL of the panels. Macros and variables are Grafana's: `$__unixEpochFrom()`,
`$__interval_ms`, `$account` (a number), `${market:sqlstring}` (quoted names).

Up to two days are read by the second: for each point of the screen the newest row before it, which
an index finds, so that a panel costs by its width and not by the rows. More than that is read by
the hour. The last point is always the end of the range, so it is what `carry status` said then.
"""

from collections.abc import Sequence
from typing import Final

SECONDS_MAX: Final = 172_800
FROM, TO = "$__unixEpochFrom()", "$__unixEpochTo()"
MARKETS: Final = "${market:sqlstring}"
SHORT: Final = f"{TO} - {FROM} <= {SECONDS_MAX}"
# Points from the end backwards, so that the end is one of them.
POINTS: Final = (
    f"generate_series(to_timestamp({TO}), to_timestamp({FROM}), "
    "make_interval(secs => -greatest(1, $__interval_ms / 1000.0))) AS p(t)"
)
WITHIN: Final = "make_interval(secs => greatest(300, 2 * $__interval_ms / 1000.0))"


def by_market(columns: Sequence[str]) -> str:
    """Columns of each market over time."""
    return (
        f'SELECT p.t AS "time", m.coin AS metric, {_listed(columns, "s")} FROM {POINTS} '
        f"CROSS JOIN unnest(ARRAY[{MARKETS}]) AS m(coin) CROSS JOIN LATERAL ("
        "SELECT * FROM carry.snapshot AS r WHERE r.account = $account AND r.coin = m.coin "
        f'AND r."time" <= p.t AND r."time" > p.t - {WITHIN} ORDER BY r."time" DESC LIMIT 1) AS s '
        f"WHERE {SHORT}\nUNION ALL\n"
        f'SELECT s."time", s.coin, {_listed(columns, "s")} FROM carry.snapshot_1h AS s '
        f'WHERE s.account = $account AND s.coin IN ({MARKETS}) AND $__timeFilter(s."time") '
        f'AND NOT ({SHORT})\nORDER BY "time"'
    )


def of_account(columns: Sequence[str]) -> str:
    """Columns of the account over time."""
    return (
        f'SELECT p.t AS "time", {_listed(columns, "s")} FROM {POINTS} CROSS JOIN LATERAL ('
        "SELECT * FROM carry.account_snapshot AS r WHERE r.account = $account "
        f'AND r."time" <= p.t AND r."time" > p.t - {WITHIN} ORDER BY r."time" DESC LIMIT 1) AS s '
        f"WHERE {SHORT}\nUNION ALL\n"
        f'SELECT s."time", {_listed(columns, "s")} FROM carry.account_snapshot_1h AS s '
        f'WHERE s.account = $account AND $__timeFilter(s."time") AND NOT ({SHORT})\n'
        'ORDER BY "time"'
    )


def account_now(columns: Sequence[str]) -> str:
    """Columns of the account at the end of the range."""
    return (
        f'SELECT s."time", {_listed(columns, "s")} FROM carry.account_snapshot AS s '
        f'WHERE s.account = $account AND s."time" <= to_timestamp({TO}) '
        'ORDER BY s."time" DESC LIMIT 1'
    )


def markets_now(columns: Sequence[str]) -> str:
    """Columns of each market at the end of the range, a row each."""
    return (
        f"SELECT m.coin, {_listed(columns, 's')} FROM unnest(ARRAY[{MARKETS}]) AS m(coin) "
        "CROSS JOIN LATERAL (SELECT * FROM carry.snapshot AS r WHERE r.account = $account "
        f'AND r.coin = m.coin AND r."time" <= to_timestamp({TO}) ORDER BY r."time" DESC LIMIT 1) '
        "AS s CROSS JOIN LATERAL (SELECT funding_interval_h FROM carry.account_snapshot AS r "
        f'WHERE r.account = $account AND r."time" <= to_timestamp({TO}) '
        'ORDER BY r."time" DESC LIMIT 1) AS a ORDER BY m.coin'
    )


def _listed(columns: Sequence[str], table: str) -> str:
    """Names as they are; `expression AS name` with the table's name put in for `{}`."""
    return ", ".join(
        column.replace("{}", table) if " AS " in column else f"{table}.{column}"
        for column in columns
    )


CANDLES: Final = (
    'SELECT to_timestamp(floor(extract(epoch FROM c."time") / b.s) * b.s) AS "time", '
    '(array_agg(c.open ORDER BY c."time"))[1] AS open, max(c.high) AS high, min(c.low) AS low, '
    '(array_agg(c.close ORDER BY c."time" DESC))[1] AS close, sum(c.n) AS volume '
    "FROM carry.{table} AS c CROSS JOIN (SELECT greatest({least}, $__interval_ms / 1000.0) AS s) "
    "AS b WHERE c.account = $account AND c.coin = ${{market:sqlstring}} AND c.leg = '{leg}' "
    'AND $__timeFilter(c."time") AND {when} GROUP BY 1'
)


def candles(leg: str) -> str:
    """Open, high, low and close of a leg's mid, a row for each bar of the screen."""
    minutes = CANDLES.format(table="candle_1m", least=60, leg=leg, when=SHORT)
    hours = CANDLES.format(table="candle_1h", least=3600, leg=leg, when=f"NOT ({SHORT})")
    return f"{minutes}\nUNION ALL\n{hours}\nORDER BY 1"


PAYMENTS: Final = (
    'SELECT f."time", f.coin AS metric, f.usd AS received FROM carry.funding AS f '
    f'WHERE f.account = $account AND f.coin IN ({MARKETS}) AND $__timeFilter(f."time") '
    'ORDER BY f."time"'
)
SETTLED: Final = (
    'SELECT f."time", f.coin AS metric, f.rate AS settled, h.forecast_rate AS forecast '
    "FROM carry.funding AS f LEFT JOIN carry.snapshot_1h AS h ON h.account = f.account "
    "AND h.coin = f.coin AND h.\"time\" = date_trunc('hour', f.\"time\", 'UTC') "
    "- INTERVAL '1 hour' "
    f'WHERE f.account = $account AND f.coin IN ({MARKETS}) AND $__timeFilter(f."time") '
    'ORDER BY f."time"'
)
RECEIVED: Final = (
    "SELECT f.coin, sum(f.usd) FILTER (WHERE f.usd > 0) AS received_usd, "
    "-sum(f.usd) FILTER (WHERE f.usd < 0) AS paid_usd, sum(f.usd) AS net_usd, "
    "count(*) FILTER (WHERE f.usd > 0) AS hours_received, "
    "count(*) FILTER (WHERE f.usd < 0) AS hours_paid FROM carry.funding AS f "
    f'WHERE f.account = $account AND f.coin IN ({MARKETS}) AND $__timeFilter(f."time") '
    "GROUP BY f.coin ORDER BY f.coin"
)
FILLS: Final = (
    'SELECT f."time", f.coin, f.leg, f.side, f.sz, f.px, f.fee_usd, f.kind FROM carry.fill AS f '
    f'WHERE f.account = $account AND f.coin IN ({MARKETS}) AND $__timeFilter(f."time") '
    'ORDER BY f."time" DESC LIMIT 200'
)
ALERTS: Final = (
    'SELECT a."time", a.level, a.name, a.coin, a.text FROM carry.alert AS a '
    'WHERE a.account = $account AND $__timeFilter(a."time") ORDER BY a."time" DESC LIMIT 200'
)
DECISIONS: Final = (
    'SELECT d."time", d.event, d.coin, d.fields::text AS fields FROM carry.decision AS d '
    'WHERE d.account = $account AND $__timeFilter(d."time") ORDER BY d."time" DESC LIMIT 200'
)
GATES: Final = (
    "SELECT * FROM (SELECT DISTINCT ON (g.coin, g.name) g.coin, g.name, g.kind, g.passes, "
    'g.value, g.threshold, g."time" FROM carry.gate AS g WHERE g.account = $account '
    f'AND g."time" <= to_timestamp({TO}) AND g."time" > to_timestamp({TO}) - INTERVAL \'1 day\' '
    'ORDER BY g.coin, g.name, g."time" DESC) AS newest WHERE NOT passes ORDER BY coin, name'
)
LATENCIES: Final = (
    'SELECT l."time", l.stage AS metric, l.p99_ms / 1000 AS "at most" FROM carry.latency AS l '
    "WHERE l.account = $account AND $__timeFilter(l.\"time\") AND l.stage IN ('tick', 'order') "
    'ORDER BY l."time"'
)
MARKED_FILLS: Final = (
    "SELECT f.\"time\", f.side || ' ' || f.sz || ' ' || f.leg || ' at ' || f.px AS text, "
    "f.coin || ',fill,' || f.leg AS tags FROM carry.fill AS f WHERE f.account = $account "
    f'AND f.coin IN ({MARKETS}) AND $__timeFilter(f."time") ORDER BY 1 LIMIT 500'
)
MARKED_FUNDING: Final = (
    "SELECT f.\"time\", f.coin || ' funding ' || f.usd || ' USD' AS text, "
    "f.coin || ',funding' AS tags FROM carry.funding AS f WHERE f.account = $account "
    f'AND f.coin IN ({MARKETS}) AND $__timeFilter(f."time") AND {SHORT} ORDER BY 1 LIMIT 500'
)
MARKED_TURNS: Final = (
    "SELECT d.\"time\", d.coin || ' ' || d.event AS text, d.coin || ',' || d.event AS tags "
    "FROM carry.decision AS d WHERE d.account = $account "
    "AND d.event IN ('entry', 'hedged', 'resize', 'exit', 'flat') "
    f'AND d.coin IN ({MARKETS}) AND $__timeFilter(d."time") ORDER BY 1 LIMIT 500'
)
COPIED: Final = (
    'SELECT extract(epoch FROM max(f."time")) * 1000 AS "copied up to" FROM carry.feed AS f '
    "WHERE f.account = $account"
)
ACCOUNTS: Final = (
    "SELECT a.network || ' ' || a.address AS __text, a.id AS __value FROM carry.account AS a "
    "ORDER BY a.id"
)
COINS: Final = (
    "SELECT DISTINCT s.coin FROM carry.snapshot_1h AS s WHERE s.account = $account ORDER BY 1"
)
