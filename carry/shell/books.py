"""What a tick leaves in the books, kept for ever: facts, lines of the ledger, prices of the hour.

`fills`, `funding` and `transfers` are what the venue told, each once. `postings` are what the core
booked of it, with the part that is ours and its cause: their sums are the totals of the state.
`marks` value what was held at a time that is over, so that a past hour can be told by cause.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from carry.core import deleverage, ledger
from carry.core.actions import Action, Posting
from carry.core.num import ZERO
from carry.core.observations import (
    FillSeen,
    FillsRead,
    Observations,
    ReceiptsRead,
    TransfersRead,
)
from carry.core.state import Carry, State
from carry.core.types import FundingReceipt, Leg, Transfer

HOUR_MS: Final = 3_600_000
LATE_MS: Final = 60_000
RATIO: Final = Decimal("0.000001")


def text(value: Decimal) -> str:
    return format(value, "f")


def maybe(value: Decimal | None) -> str | None:
    return None if value is None else text(value)


def facts(db: sqlite3.Connection, seq: int, observations: Observations) -> None:
    """What the venue told: what is seen twice is kept once."""
    fills = [event.fill for event in observations.events if isinstance(event, FillSeen)]
    receipts: list[FundingReceipt] = []
    transfers: list[Transfer] = []
    for read in observations.reads:
        if isinstance(read, FillsRead):
            fills.extend(read.fills)
        elif isinstance(read, ReceiptsRead):
            receipts.extend(read.receipts)
        elif isinstance(read, TransfersRead):
            transfers.extend(read.transfers)
    if fills:
        db.executemany(
            "INSERT INTO fills VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            [
                (
                    f.trade_id,
                    f.coin,
                    f.leg.value,
                    f.at_ms,
                    f.side.value,
                    text(f.px),
                    text(f.sz),
                    text(f.fee),
                    int(f.fee_in_base),
                    text(f.fee_usd),
                    f.oid,
                    f.cloid,
                    f.kind,
                    seq,
                )
                for f in fills
            ],
        )
    if receipts:
        db.executemany(
            "INSERT INTO funding VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            [(r.coin, r.at_ms, text(r.usd), text(r.sz), text(r.rate), seq) for r in receipts],
        )
    if transfers:
        db.executemany(
            "INSERT INTO transfers VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING",
            [(t.transfer_id, t.at_ms, text(t.usd), t.kind, seq) for t in transfers],
        )


def lines_of(actions: Sequence[Action]) -> tuple[Posting, ...]:
    return tuple(action for action in actions if isinstance(action, Posting))


def postings(db: sqlite3.Connection, seq: int, lines: Sequence[Posting]) -> None:
    """The lines of the ledger of a tick."""
    if lines:
        db.executemany(
            f"INSERT INTO postings VALUES ({','.join('?' * 19)})",
            [(seq, n, *_columns(line)) for n, line in enumerate(lines)],
        )


def moments(lines: Iterable[Posting], now_ms: int) -> dict[int, list[str]]:
    """When which coins need a price: a holding that changed is valued from that time on.

    What happened longer ago than `LATE_MS` is priced when it is booked: today's price was not its.
    """
    found: dict[int, list[str]] = {}
    for line in lines:
        if line.coin is not None and line.sz:
            late = not 0 <= now_ms - line.at_ms <= LATE_MS
            found.setdefault(now_ms if late else line.at_ms, []).append(line.coin)
    return found


def _columns(line: Posting) -> tuple[str | int | None, ...]:
    return (
        line.at_ms,
        line.kind,
        line.ref,
        line.coin,
        line.leg.value if line.leg is not None else None,
        text(line.sz),
        text(line.px),
        text(line.ref_px),
        text(line.funding_usd),
        text(line.fees_usd),
        text(line.slippage_usd),
        text(line.external_usd),
        text(line.ref_cost_usd),
        text(line.turnover_usd),
        text(line.transfers_usd),
        text(line.foreign_usd),
        text(line.outside_usd),
    )


def marks(db: sqlite3.Connection, state: State, coins: Iterable[str], at_ms: int) -> None:
    """The prices of some markets at `at_ms`; a market without both prices has none."""
    rows = []
    for coin in coins:
        carry = state.carries.get(coin)
        spot_px = ledger.price(carry, Leg.SPOT) if carry is not None else None
        perp_px = ledger.price(carry, Leg.PERP) if carry is not None else None
        if carry is None or spot_px is None or perp_px is None:
            continue
        context, forecast = carry.context, carry.forecast
        distance = deleverage.of_market(state, carry) if carry.perp_sz else None
        rows.append(
            (
                coin,
                at_ms,
                text(spot_px),
                text(perp_px),
                maybe(context.oracle_px if context is not None else None),
                maybe(context.funding_rate if context is not None else None),
                maybe(forecast.rate if forecast is not None else None),
                maybe(distance.quantize(RATIO) if distance is not None else None),
            )
        )
    if rows:
        db.executemany(
            "INSERT INTO marks VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING", rows
        )


def equity(db: sqlite3.Connection, state: State, at_ms: int) -> None:
    """The account as it was valued at `at_ms`, and what nothing explained of it."""
    account = state.account
    value = ledger.account_value(state) if account.usd is not None else None
    if value is not None:
        db.execute(
            "INSERT INTO equity VALUES (?,?,?) ON CONFLICT DO NOTHING",
            (at_ms, text(value), maybe(account.residual_usd)),
        )


def opening(state: State) -> tuple[Posting, ...]:
    """Lines that bring forward the totals of a journal that kept none: one for each holding."""
    at_ms = state.venue_ms or state.wall_ms
    lines = []
    for carry in state.carries.values():
        lines += _brought(carry, at_ms)
    account = state.account
    lines.append(
        Posting(
            kind="opening",
            ref="",
            at_ms=at_ms,
            coin=None,
            transfers_usd=account.transfers_usd,
            foreign_usd=account.outside.ref_cost_usd,
            outside_usd=account.outside.cash_usd,
        )
    )
    return tuple(lines)


def _brought(carry: Carry, at_ms: int) -> list[Posting]:
    """A market's totals with its spot, and its short; at today's prices, for want of the old."""
    total = carry.ledger
    perp_px = ledger.price(carry, Leg.PERP) or ZERO
    spot_px = ledger.price(carry, Leg.SPOT) or ZERO
    short_usd = carry.perp_sz * perp_px
    spot = Posting(
        kind="opening",
        ref="",
        at_ms=at_ms,
        coin=carry.coin,
        leg=Leg.SPOT,
        sz=carry.spot_sz,
        px=spot_px,
        ref_px=spot_px,
        funding_usd=total.funding_usd,
        fees_usd=total.fees_usd,
        slippage_usd=total.slippage_usd,
        external_usd=total.external_usd,
        ref_cost_usd=total.ref_cost_usd - short_usd,
        turnover_usd=total.turnover_usd,
    )
    perp = Posting(
        kind="opening",
        ref="",
        at_ms=at_ms,
        coin=carry.coin,
        leg=Leg.PERP,
        sz=carry.perp_sz,
        px=perp_px,
        ref_px=perp_px,
        ref_cost_usd=short_usd,
    )
    return [spot, perp]
