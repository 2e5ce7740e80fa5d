"""The SQL of the panels. Macros and variables are Grafana's: `$__unixEpochFrom()`,
`$__interval_ms`, `$account` (a number), `${market:sqlstring}` (quoted names).

Up to two days are read by the second: for each point of the screen the newest row before it, which
an index finds, so that a panel costs by its width and not by the rows. More than that is read by
the hour, the newest of each bar. The last point is always the end of the range, so it is what
`carry status` said then.
"""

from collections.abc import Sequence
from typing import Final

SECONDS_MAX: Final = 172_800
FROM, TO = "$__unixEpochFrom()", "$__unixEpochTo()"
MARKETS: Final = "${market:sqlstring}"
SHORT: Final = f"{TO} - {FROM} <= {SECONDS_MAX}"
STEP_S: Final = "greatest({least}, $__interval_ms / 1000.0)"
# Points from the end backwards, so that the end is one of them; and how far one looks back.
POINTS: Final = (
    f"generate_series(to_timestamp({TO}), to_timestamp({FROM}), "
    f"make_interval(secs => -{STEP_S.format(least=1)})) AS p(t)"
)
WITHIN: Final = "make_interval(secs => greatest(300, 2 * $__interval_ms / 1000.0))"


def bars(column: str, least: int) -> str:
    """The begin of the bar of the screen that a time falls into."""
    step = STEP_S.format(least=least)
    return f"to_timestamp(floor(extract(epoch FROM {column}) / {step}) * {step})"


HOURLY: Final = bars('s."time"', 3_600)


def by_market(columns: Sequence[str]) -> str:
    """Columns of each market over time."""
    listed = _listed(columns, "s")
    return (
        f'SELECT p.t AS "time", m.coin AS metric, {listed} FROM {POINTS} '
        f"CROSS JOIN unnest(ARRAY[{MARKETS}]) AS m(coin) CROSS JOIN LATERAL ("
        "SELECT * FROM carry.snapshot AS r WHERE r.account = $account AND r.coin = m.coin "
        f'AND r."time" <= p.t AND r."time" > p.t - {WITHIN} ORDER BY r."time" DESC LIMIT 1) AS s '
        f"WHERE {SHORT}\nUNION ALL\n"
        f'(SELECT DISTINCT ON ({HOURLY}, s.coin) s."time", s.coin, {listed} '
        f"FROM carry.snapshot_1h AS s WHERE s.account = $account AND s.coin IN ({MARKETS}) "
        f'AND $__timeFilter(s."time") AND NOT ({SHORT}) '
        f'ORDER BY {HOURLY}, s.coin, s."time" DESC)\nORDER BY "time"'
    )


def of_account(columns: Sequence[str]) -> str:
    """Columns of the account over time."""
    listed = _listed(columns, "s")
    return (
        f'SELECT p.t AS "time", {listed} FROM {POINTS} CROSS JOIN LATERAL ('
        "SELECT * FROM carry.account_snapshot AS r WHERE r.account = $account "
        f'AND r."time" <= p.t AND r."time" > p.t - {WITHIN} ORDER BY r."time" DESC LIMIT 1) AS s '
        f"WHERE {SHORT}\nUNION ALL\n"
        f'(SELECT DISTINCT ON ({HOURLY}) s."time", {listed} FROM carry.account_snapshot_1h AS s '
        f'WHERE s.account = $account AND $__timeFilter(s."time") AND NOT ({SHORT}) '
        f'ORDER BY {HOURLY}, s."time" DESC)\nORDER BY "time"'
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
    'SELECT {bar} AS "time", (array_agg(c.open ORDER BY c."time"))[1] AS open, '
    "max(c.high) AS high, min(c.low) AS low, "
    '(array_agg(c.close ORDER BY c."time" DESC))[1] AS close, sum(c.n) AS volume '
    "FROM carry.{table} AS c WHERE c.account = $account AND c.coin = {market} "
    "AND c.leg = '{leg}' AND $__timeFilter(c.\"time\") AND {when} GROUP BY 1"
)


def candles(leg: str) -> str:
    """Open, high, low and close of a leg's mid, a row for each bar of the screen."""
    parts = [
        CANDLES.format(
            bar=bars('c."time"', least), table=table, market=MARKETS, leg=leg, when=when
        )
        for table, least, when in (
            ("candle_1m", 60, SHORT), ("candle_1h", 3_600, f"NOT ({SHORT})")
        )
    ]  # fmt: skip
    return "\nUNION ALL\n".join(parts) + "\nORDER BY 1"


PAID: Final = bars('f."time"', 3_600)
MINUTELY: Final = bars('l."time"', 60)
PAYMENTS: Final = (
    f'SELECT {PAID} AS "time", f.coin AS metric, sum(f.usd) AS received '
    f"FROM carry.funding AS f WHERE f.account = $account AND f.coin IN ({MARKETS}) "
    'AND $__timeFilter(f."time") GROUP BY 1, 2 ORDER BY 1'
)
SETTLED: Final = (
    f'SELECT {PAID} AS "time", f.coin AS metric, avg(f.rate) AS settled, '
    "avg(h.forecast_rate) AS forecast "
    "FROM carry.funding AS f LEFT JOIN carry.snapshot_1h AS h ON h.account = f.account "
    "AND h.coin = f.coin AND h.\"time\" = date_trunc('hour', f.\"time\", 'UTC') "
    "- INTERVAL '1 hour' "
    f'WHERE f.account = $account AND f.coin IN ({MARKETS}) AND $__timeFilter(f."time") '
    "GROUP BY 1, 2 ORDER BY 1"
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
    f'SELECT {MINUTELY} AS "time", l.stage AS metric, '
    'max(l.p99_ms) / 1000 AS "at most" FROM carry.latency AS l WHERE l.account = $account '
    "AND l.stage IN ('tick', 'order') AND $__timeFilter(l.\"time\") "
    f"AND l.\"time\" > to_timestamp({TO}) - INTERVAL '7 days' GROUP BY 1, 2 ORDER BY 1"
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
