"""Rows of the history, from the journal's rows and from states: values only, no database.

What is shown of a state is what `carry status` shows of it, so that a panel and the command agree.
"""

import datetime
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from carry.core import ledger
from carry.core.state import State
from carry.core.types import Leg
from carry.shell.reader import Reader
from carry.shell.status import Report, report

from .tables import (
    ACCOUNT_SNAPSHOT,
    ALERT,
    CANDLE,
    DECISION,
    FILL,
    FUNDING,
    GATE,
    PNL,
    POSTED,
    POSTING,
    SNAPSHOT,
    TRANSFER,
    Table,
)

Row = tuple[Any, ...]
Rows = dict[str, list[Row]]  # by the table's name

# Each has a table of its own, or is in every snapshot.
ELSEWHERE: Final = ("pnl_update", "fill", "fee", "funding", "transfer")
MINUTE_MS: Final = 60_000
QUARTER_MS: Final = 900_000
WATCHED: Final = ("positions", "balances", "context:", "quote:")


def moment(ms: int) -> datetime.datetime:
    """Epoch milliseconds as a time, without rounding."""
    zero = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return zero + datetime.timedelta(milliseconds=ms)


def _row(table: Table, values: dict[str, Any]) -> Row:
    """The values in the order of the table's columns. A nought that is not allowed is found here,
    not by the database half way through a batch."""
    row = tuple(values[name] for name in table.columns)
    for name, value in zip(table.columns, row, strict=True):
        assert value is not None or name in table.nulls, f"{table.name}.{name} is absent"
    return row


def books(
    reader: Reader, account: int, journal: str, after: int, upto: int, facts: bool = True
) -> Rows:
    """What was booked in the ticks after `after` up to `upto`, and what was said in them.

    facts: False when those ticks are known to have brought none, since finding them reads all.
    """
    if not facts:
        return _decided(reader, account, journal, after, upto)
    fills = reader.rows(
        "SELECT trade_id, coin, leg, at_ms, side, px, sz, fee, fee_in_base, fee_usd, oid, cloid, "
        "kind, seq FROM fills WHERE seq > ? AND seq <= ? ORDER BY seq, at_ms",
        after, upto,
    )  # fmt: skip
    payments = reader.rows(
        "SELECT coin, at_ms, usd, sz, rate, seq FROM funding WHERE seq > ? AND seq <= ? "
        "ORDER BY seq, at_ms",
        after, upto,
    )  # fmt: skip
    transfers = reader.rows(
        "SELECT transfer_id, at_ms, usd, kind, seq FROM transfers WHERE seq > ? AND seq <= ? "
        "ORDER BY seq, at_ms",
        after, upto,
    )  # fmt: skip
    alerts = reader.rows(
        "SELECT id, at_ms, level, name, coin, text, seq FROM alerts WHERE seq > ? AND seq <= ? "
        "ORDER BY id",
        after, upto,
    )  # fmt: skip
    return {
        FILL.name: [(account, *r[:3], moment(r[3]), *r[4:8], bool(r[8]), *r[9:]) for r in fills],
        FUNDING.name: [(account, r[0], moment(r[1]), *r[2:]) for r in payments],
        TRANSFER.name: [(account, r[0], moment(r[1]), *r[2:]) for r in transfers],
        ALERT.name: [
            (account, journal, r[0], moment(_when(reader, r[1], r[6])), *r[2:]) for r in alerts
        ],
        **_decided(reader, account, journal, after, upto),
    }


def _decided(reader: Reader, account: int, journal: str, after: int, upto: int) -> Rows:
    skipped = ", ".join(f"'{event}'" for event in ELSEWHERE)
    decisions = reader.rows(
        "SELECT seq, n, at_ms, event, coin, fields FROM decisions WHERE seq > ? AND seq <= ? "
        f"AND event NOT IN ({skipped}) ORDER BY seq, n",
        after, upto,
    )  # fmt: skip
    posted = reader.rows(
        f"SELECT seq, n, at_ms, kind, ref, coin, leg, {', '.join(POSTED)} FROM postings "
        "WHERE seq > ? AND seq <= ? ORDER BY seq, n",
        after, upto,
    )  # fmt: skip
    return {
        DECISION.name: [
            (account, journal, r[0], r[1], moment(_when(reader, r[2], r[0])), *r[3:])
            for r in decisions
        ],
        POSTING.name: [(account, journal, r[0], r[1], moment(r[2]), *r[3:]) for r in posted],
    }


def _when(reader: Reader, at_ms: int | None, seq: int) -> int:
    """When something was said. Before a process knew the venue's clock: when it was started."""
    if at_ms is not None:
        return at_ms
    started = reader.rows("SELECT wall_ms FROM starts WHERE seq <= ? ORDER BY id DESC LIMIT 1", seq)
    return int(started[0][0]) if started else 0


def snapshot(account: int, seq: int, state: State, bucket_ms: int) -> tuple[Rows, Report]:
    """The rows of a state, and the report they are made of. bucket_ms: the second it is of."""
    found = report(seq, state)
    at = moment(bucket_ms)
    notional = Decimal(0)
    known = True
    markets: list[Row] = []
    for market in found["markets"]:
        values = _market(account, seq, state, market)
        values["time"] = at
        if values["notional_usd"] is None:
            known = known and not (state.carries[market["coin"]].perp_sz)
        else:
            notional += values["notional_usd"]
        markets.append(_row(SNAPSHOT, values))
    whole = _account(account, seq, state, found)
    whole |= {"time": at, "notional_usd": notional if known else None}
    return {SNAPSHOT.name: markets, ACCOUNT_SNAPSHOT.name: [_row(ACCOUNT_SNAPSHOT, whole)]}, found


def _market(account: int, seq: int, state: State, market: Report) -> dict[str, Any]:
    carry = state.carries[market["coin"]]
    context = carry.context
    quotes: dict[str, Decimal | None] = {}
    for leg in Leg:
        seen = carry.quotes.get(leg.value)
        quotes[f"{leg.value}_bid"] = None if seen is None else seen.book.bid_px
        quotes[f"{leg.value}_ask"] = None if seen is None else seen.book.ask_px
    px = ledger.price(carry, Leg.PERP)
    same = ("coin", "phase", "funding_rate", "forecast_rate", "next_payment_usd", "why")
    held = ("spot_sz", "perp_sz", "delta_usd", "band_usd", "expected_net_bps", "naked")
    return {
        **{name: market[name] for name in (*same, *held)},
        **quotes,
        "account": account,
        "seq": seq,
        "mark_px": None if context is None else context.mark_px,
        "oracle_px": None if context is None else context.oracle_px,
        "liq_distance": market["liquidation_distance"],
        "liq_px": market["liquidation_px"],
        "notional_usd": None if px is None else abs(carry.perp_sz) * px,
        "cap_usd": state.policy.risk.per_symbol_notional_cap,
        **{name: market["pnl"][name] for name in PNL},
    }


def _account(account: int, seq: int, state: State, found: Report) -> dict[str, Any]:
    risk = state.policy.risk
    watched = [ms for name, ms in found["ages_ms"].items() if name.startswith(WATCHED)]
    pnl, budget = found["pnl"], found["budget"]
    return {
        "account": account,
        "seq": seq,
        "mode": found["mode"],
        "why_kind": found["why"]["kind"],
        "why": found["why"]["text"],
        "equity_usd": found["equity_usd"],
        **{name: pnl[name] for name in (*PNL, "residual_usd", "transfers_usd")},
        "cap_usd": risk.portfolio_notional_cap,
        "liq_distance_warn": risk.liq_distance_warn,
        "liq_distance_min": risk.liq_distance_min,
        **{name: budget[name] for name in ("actions_left", "orders_last_minute")},
        "funding_interval_h": state.capabilities.interval_h,
        "orders_per_min_max": budget["orders_per_min_max"],
        "intents_open": len(found["intents_open"]),
        "intents_unknown": sum(1 for i in found["intents_open"] if i["status"] == "unknown"),
        "latches": len(found["latches"]),
        "gates_failing": sum(1 for g in found["gates"] if not g["passes"]),
        "data_age_ms": max(watched, default=None),
    }


class Gates:
    """Which gates are worth a row: all of them once in a quarter of an hour, else what changed."""

    def __init__(self) -> None:
        self._passes: dict[tuple[str, str], bool] = {}
        self._quarter = -1

    def rows(self, account: int, found: Report, bucket_ms: int) -> list[Row]:
        every = bucket_ms // QUARTER_MS != self._quarter
        self._quarter = bucket_ms // QUARTER_MS
        rows = []
        for gate in found["gates"]:
            coin, name, passes = gate["market"] or "", gate["name"], gate["passes"]
            if every or self._passes.get((coin, name)) != passes:
                values = {**gate, "account": account, "coin": coin, "time": moment(bucket_ms)}
                rows.append(_row(GATE, values))
            self._passes[coin, name] = passes
        return rows


class Candles:
    """Minutes of each leg's mid price. The last one is kept, since more of it may come."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], list[Any]] = {}  # minute, open, high, low, close, n

    def resume(self, rows: Iterable[Sequence[Any]]) -> None:
        """Minutes that are begun in the database: coin, leg, minute (ms), open to close, n."""
        for coin, leg, *rest in rows:
            self._open[coin, leg] = list(rest)

    def add(self, coin: str, leg: str, at_ms: int, px: Decimal) -> tuple[str, str, int]:
        """Fold one price in; the candle it went to."""
        minute = at_ms // MINUTE_MS * MINUTE_MS
        candle = self._open.get((coin, leg))
        if candle is not None and minute < candle[0] <= minute + QUARTER_MS:
            minute = candle[0]  # the venue's clock was corrected: what was told stays told
        if candle is None or candle[0] != minute:
            self._open[coin, leg] = [minute, px, px, px, px, 1]
        else:
            candle[2], candle[3] = max(candle[2], px), min(candle[3], px)
            candle[4], candle[5] = px, candle[5] + 1
        return coin, leg, minute

    def row(self, account: int, coin: str, leg: str) -> Row:
        minute, *rest = self._open[coin, leg]
        names = ("open", "high", "low", "close", "n")
        values = dict(zip(names, rest, strict=True))
        values |= {"account": account, "coin": coin, "leg": leg, "time": moment(minute)}
        return _row(CANDLE, values)
