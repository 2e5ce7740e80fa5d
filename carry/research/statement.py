"""What was earned, as tables: by hour, day, carry or market, and statements of a day or a month.

Every number is exact; the command line rounds what it shows to people.
"""

from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Final

from carry.core import ledger
from carry.core.num import ZERO, show
from carry.core.types import Leg

from . import accounts
from .accounts import DAY_MS, HOUR_MS, Books, Earned, between
from .past import moment_ms, written

CAUSES: Final = (
    "net_usd", "funding_usd", "fees_usd", "basis_usd", "slippage_usd", "external_usd",
)  # fmt: skip
Report = dict[str, Any]


def causes(earned: Earned) -> Report:
    """An interval's figures as decimal strings. `net_usd` is the sum of the causes after it, fees
    subtracted; what nothing explains and what came from outside are beside it."""
    residual = earned.residual_usd
    return {
        **{name: show(getattr(earned.pnl, name)) for name in CAUSES},
        "residual_usd": None if residual is None else show(residual),
        "transfers_usd": show(earned.transfers_usd),
        "outside_usd": show(earned.outside_usd),
        "turnover_usd": show(earned.turnover_usd),
    }


def span(books: Books, since: str | None, until: str | None) -> tuple[int, int | None]:
    """[from, to) in ms of what was asked for, as dates or times in UTC; 0 and None: no bound.

    Raises NotThere for what is no time.
    """
    from_ms = moment_ms(since) if since else 0
    to_ms = moment_ms(until) if until else None
    return from_ms, None if to_ms is None or to_ms > books.end_ms else to_ms


def whole(books: Books, from_ms: int, to_ms: int | None) -> Report:
    (earned,) = between(books, [from_ms, to_ms])
    return {
        "from_ms": max(from_ms, books.first_ms),
        "to_ms": books.end_ms if to_ms is None else to_ms,
        **causes(earned),
    }


def rows(books: Books, by: str, from_ms: int, to_ms: int | None) -> list[Report]:
    """The interval cut up `by` hour, day, market or carry; the causes of all rows add up to it.

    Hours and days in which nothing happened are left out.
    """
    if by == "market":
        return [
            {"coin": coin, **causes(between(books, [from_ms, to_ms], [coin])[0])}
            for coin in books.coins
        ]
    if by == "carry":
        return [
            {
                "coin": one.coin,
                "began_ms": one.began_ms,
                "flat_ms": one.flat_ms,
                "expected_net": None if one.expected_net is None else show(one.expected_net),
                **causes(one.earned),
            }
            for one in accounts.rounds(books, from_ms, to_ms)
        ]
    step_ms = {"hour": HOUR_MS, "day": DAY_MS}[by]
    first = max(from_ms, books.first_ms)
    last = books.end_ms if to_ms is None else to_ms
    inner = range(first - first % step_ms + step_ms, last, step_ms)
    moments: list[int | None] = [from_ms, *inner, to_ms]
    starts = [first - first % step_ms, *inner]
    return [
        {by: written(start), **causes(earned)}
        for start, earned in zip(starts, between(books, moments), strict=True)
        if not earned.nothing
    ]


# --- statements -----------------------------------------------------------------------------------


def periods(books: Books, of: str, from_ms: int, to_ms: int | None) -> Iterator[tuple[int, int]]:
    """The days or months (UTC) that the interval touches, each whole, the oldest first."""
    start = _start(max(from_ms, books.first_ms), of)
    last = books.end_ms if to_ms is None else to_ms - 1
    while start <= last:
        after = _next(start, of)
        yield start, after
        start = after


def _start(at_ms: int, of: str) -> int:
    if of == "day":
        return at_ms - at_ms % DAY_MS
    day = datetime.fromtimestamp(at_ms // 1_000, timezone.utc)
    return int(day.replace(day=1, hour=0, minute=0, second=0).timestamp()) * 1_000


def _next(start_ms: int, of: str) -> int:
    return start_ms + DAY_MS if of == "day" else _start(start_ms + 32 * DAY_MS, of)


def statements(books: Books, of: str, from_ms: int = 0, to_ms: int | None = None) -> list[Report]:
    """A statement of each day or month that the interval touches, the oldest first."""
    found = list(periods(books, of, from_ms, to_ms))
    ends = [last for _, last in found]
    moments: list[int | None] = [first for first, _ in found[:1]]
    moments += [None if last > books.end_ms else last for last in ends]
    earned = between(books, moments)
    return [statement(books, *each, one) for each, one in zip(found, earned, strict=True)]


def statement(books: Books, from_ms: int, to_ms: int, earned: Earned) -> Report:
    """One period: what it earned by cause, equity before and after, fees by token, trades,
    payments and what was held at its end. Equity before the first hour is what the account was
    worth when the books began; None where it was not valued yet.
    """
    end = None if to_ms > books.end_ms else to_ms
    upto = books.end_ms + 1 if end is None else end
    lines = books.within(from_ms, upto)
    fills = [line for line in lines if line.kind == "fill"]
    fees: dict[str, Decimal] = {}
    for line in fills:
        leg = line.leg.value if line.leg is not None else ""
        token, fee = books.tokens.get((line.ref, line.coin or "", leg), ("USD", line.fees_usd))
        fees[token] = fees.get(token, ZERO) + fee
    paid = accounts.payments(books, from_ms, upto)
    return {
        "from_ms": from_ms,
        "to_ms": to_ms,
        "open": end is None,
        **causes(earned),
        "equity_before_usd": _equity(books, from_ms),
        "equity_after_usd": _equity(books, end),
        "fills": len(fills),
        "fees_by_token": {token: show(fees[token]) for token in sorted(fees)},
        "payments": {
            "paid": paid.paid,
            "missing": [{"coin": coin, "at_ms": at_ms} for coin, at_ms in paid.missing],
            "usd": show(paid.usd),
            "expected_usd": show(paid.expected_usd),
            "unpriced": paid.unpriced,
        },
        "transfers": [
            {"at_ms": line.at_ms, "usd": show(line.transfers_usd)}
            for line in lines
            if line.kind == "transfer"
        ],
        "external": [
            {
                "at_ms": line.at_ms,
                "coin": line.coin,
                "leg": line.leg.value if line.leg is not None else None,
                "sz": show(line.sz),
                "usd": show(line.external_usd),
                "trade": line.ref or None,
            }
            for line in lines
            if line.kind == "external" and line.sz
        ],
        "held": [_held(books, coin, upto) for coin in books.coins],
    }


def _equity(books: Books, at_ms: int | None) -> str | None:
    if at_ms is None:
        state = books.state
        value = ledger.account_value(state) if state.account.usd is not None else None
    else:
        told = [told for told in books.equity if told.at_ms <= at_ms]
        value = told[-1].equity_usd if told else books.state.account.baseline_usd
    return None if value is None else show(value)


def _held(books: Books, coin: str, upto: int) -> Report:
    held = {f"{leg.value}_sz": show(books.held(coin, leg, upto)) for leg in Leg}
    return {"coin": coin, **held}
