"""The books of a journal, read once, and what any interval of time earned, by cause.

A line of the ledger belongs to the moment it happened at the venue. What was held is valued at the
newest price kept at or before a moment; the basis of an interval is what that value gained beyond
what was added. So every cause of an interval is a difference of two running totals, and the
intervals of any partition add up to the totals of the state, exactly.
"""

import bisect
import decimal
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import attrs

from carry.core import ledger
from carry.core.actions import Posting
from carry.core.ledger import Pnl
from carry.core.num import ZERO
from carry.core.state import State
from carry.core.types import FundingReceipt, Leg
from carry.shell.database import JournalRefused, NoJournal
from carry.shell.reader import Reader

EXACT: Final = decimal.Context(prec=60)  # no sum of a life's lines is as long
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
NAMES: Final = tuple(field.name for field in attrs.fields(Posting))
TEXTS: Final = ("kind", "ref", "coin", "leg", "at_ms")


@attrs.frozen(kw_only=True)
class Mark:
    """What a coin's legs were worth at `at_ms`, USD. Rates are fractions an interval, oracle and
    rates as the venue told them; liq_distance: the rise to liquidation, a fraction. None: unknown.
    """

    at_ms: int
    spot_px: Decimal
    perp_px: Decimal
    oracle_px: Decimal | None = None
    funding_rate: Decimal | None = None
    forecast_rate: Decimal | None = None
    liq_distance: Decimal | None = None


@attrs.frozen
class Told:
    """The account's value at the first tick at or after `at_ms`, and what nothing explained."""

    at_ms: int
    equity_usd: Decimal
    residual_usd: Decimal | None


@attrs.frozen
class Turn:
    """A change of phase that the bot told: "entry", "adopted" or "flat"."""

    at_ms: int
    coin: str
    event: str
    expected_net: Decimal | None


@attrs.frozen(kw_only=True, slots=False)
class Books:
    """One journal's books, all of the same tick. Lines are in the order of their time."""

    path: str
    seq: int
    state: State
    lines: tuple[Posting, ...]
    marks: dict[str, tuple[Mark, ...]]
    receipts: tuple[FundingReceipt, ...]
    equity: tuple[Told, ...]
    turns: tuple[Turn, ...]
    tokens: dict[tuple[str, str, str], tuple[str, Decimal]]  # of a fill: its fee's token, and fee

    @property
    def coins(self) -> tuple[str, ...]:
        return tuple(self.state.carries)

    @property
    def first_ms(self) -> int:
        """When the first line happened; the end when there is none."""
        return self.lines[0].at_ms if self.lines else self.end_ms

    @property
    def end_ms(self) -> int:
        """The venue's time of the newest tick: where what is not over ends."""
        at_ms = self.state.venue_ms
        return at_ms if at_ms is not None else self.state.wall_ms

    @cached_property
    def by_coin(self) -> dict[str | None, tuple[Posting, ...]]:
        """Lines by the market they count for: None for those of no market."""
        found: dict[str | None, list[Posting]] = {coin: [] for coin in (*self.coins, None)}
        for line in self.lines:
            found[line.coin if line.coin in self.state.carries else None].append(line)
        return {coin: tuple(lines) for coin, lines in found.items()}

    def within(self, from_ms: int, to_ms: int) -> tuple[Posting, ...]:
        """The lines of [from_ms, to_ms)."""
        first, last = (bisect.bisect_left(self.lines, ms, key=_at) for ms in (from_ms, to_ms))
        return self.lines[first:last]

    @cached_property
    def _changes(self) -> dict[tuple[str, Leg], tuple[list[int], list[Decimal]]]:
        """When the size of each leg changed, and what was held from then on."""
        found: dict[tuple[str, Leg], tuple[list[int], list[Decimal]]] = {}
        for line in self.lines:
            if line.coin is not None and line.leg is not None and line.sz:
                times, sizes = found.setdefault((line.coin, line.leg), ([], []))
                times.append(line.at_ms)
                sizes.append((sizes[-1] if sizes else ZERO) + line.sz)
        return found

    def held(self, coin: str, leg: Leg, at_ms: int) -> Decimal:
        """Signed size of a leg just before a moment, base units."""
        times, sizes = self._changes.get((coin, leg), ([], []))
        n = bisect.bisect_left(times, at_ms)
        return sizes[n - 1] if n else ZERO

    @cached_property
    def residuals(self) -> tuple[Told, ...]:
        """Of `equity`, where it was known how much nothing explained."""
        return tuple(told for told in self.equity if told.residual_usd is not None)

    @cached_property
    def missing(self) -> tuple[tuple[str, int], ...]:
        """(coin, time) at which a short was held and no payment was booked, by time.

        The newest payment may not have been read yet: it is not missed before half an interval.
        """
        interval_ms = self.state.capabilities.funding_interval_ms
        booked = {(r.coin, r.at_ms // interval_ms) for r in self.receipts}
        last_ms = self.end_ms - interval_ms // 2
        due = range(-(-self.first_ms // interval_ms), -(-last_ms // interval_ms))
        return tuple(
            (coin, n * interval_ms)
            for n in due
            for coin in self.coins
            if (coin, n) not in booked and self.held(coin, Leg.PERP, n * interval_ms)
        )


def _at(row: Any) -> int:
    at_ms: int = row.at_ms
    return at_ms


@attrs.frozen(kw_only=True)
class Earned:
    """What an interval earned, USD. `pnl.net_usd` is the sum of its causes. transfers_usd: money
    that came or went; outside_usd: cash of what is not the bot's; residual_usd: what nothing
    explains came to be, None where no interval of it is known."""

    pnl: Pnl = attrs.field(factory=Pnl)
    turnover_usd: Decimal = ZERO
    transfers_usd: Decimal = ZERO
    outside_usd: Decimal = ZERO
    residual_usd: Decimal | None = None

    def minus(self, other: "Earned") -> "Earned":
        residual = None
        if self.residual_usd is not None:
            residual = self.residual_usd - (other.residual_usd or ZERO)
        return Earned(
            pnl=Pnl(
                funding_usd=self.pnl.funding_usd - other.pnl.funding_usd,
                fees_usd=self.pnl.fees_usd - other.pnl.fees_usd,
                basis_usd=self.pnl.basis_usd - other.pnl.basis_usd,
                slippage_usd=self.pnl.slippage_usd - other.pnl.slippage_usd,
                external_usd=self.pnl.external_usd - other.pnl.external_usd,
            ),
            turnover_usd=self.turnover_usd - other.turnover_usd,
            transfers_usd=self.transfers_usd - other.transfers_usd,
            outside_usd=self.outside_usd - other.outside_usd,
            residual_usd=residual,
        )

    @property
    def nothing(self) -> bool:
        return self == Earned(residual_usd=self.residual_usd) and not self.residual_usd


# --- reading --------------------------------------------------------------------------------------


def read(path: str) -> Books:
    """The books of the journal at `path`, whether its bot runs or not. Raises JournalRefused."""
    reader = Reader(path)
    try:
        # One transaction: a tick that is committed meanwhile is in none of it.
        reader.rows("BEGIN")
        return _read(reader)
    finally:
        reader.close()


def _read(reader: Reader) -> Books:
    if not reader.rows("SELECT 1 FROM sqlite_schema WHERE name = 'postings'"):
        raise JournalRefused(
            f"{reader.path} was written by an older program that kept no lines of the ledger: "
            "start the bot once with this one, which brings the totals forward"
        )
    known = reader.state()
    if known is None:
        raise NoJournal(f"{reader.path}: no tick was committed yet; the bot is starting")
    lines = [_line(row) for row in reader.rows(
        f"SELECT {', '.join(NAMES)} FROM postings ORDER BY at_ms, seq, n"
    )]  # fmt: skip
    marks: dict[str, list[Mark]] = {}
    for coin, *row in reader.rows("SELECT * FROM marks ORDER BY coin, at_ms"):
        marks.setdefault(coin, []).append(Mark(**dict(zip(MARK, _numbers(row), strict=True))))
    return Books(
        path=reader.path,
        seq=known[0],
        state=known[1],
        lines=tuple(lines),
        marks={coin: tuple(rows) for coin, rows in marks.items()},
        receipts=tuple(
            FundingReceipt(
                coin=coin, at_ms=at_ms, usd=Decimal(usd), sz=Decimal(sz), rate=Decimal(rate)
            )
            for coin, at_ms, usd, sz, rate in reader.rows(
                "SELECT coin, at_ms, usd, sz, rate FROM funding ORDER BY at_ms, coin"
            )
        ),
        equity=tuple(
            Told(*_numbers(row)) for row in reader.rows("SELECT * FROM equity ORDER BY at_ms")
        ),
        turns=tuple(
            Turn(at_ms, coin, event, _number(json.loads(fields).get("expected_net")))
            for at_ms, coin, event, fields in reader.rows(
                "SELECT at_ms, coin, event, fields FROM decisions WHERE at_ms IS NOT NULL "
                "AND event IN ('entry', 'adopted', 'flat') ORDER BY seq, n"
            )
        ),
        tokens={
            (trade_id, coin, leg): (coin if in_base else "USD", Decimal(fee))
            for trade_id, coin, leg, fee, in_base in reader.rows(
                "SELECT trade_id, coin, leg, fee, fee_in_base FROM fills"
            )
        },
    )


MARK: Final = tuple(field.name for field in attrs.fields(Mark))


def _numbers(row: Sequence[Any]) -> list[Any]:
    return [_number(value) for value in row]


def _number(value: Any) -> Any:
    return Decimal(value) if isinstance(value, str) else value


def _line(row: Sequence[Any]) -> Posting:
    found = dict(zip(NAMES, row, strict=True))
    for name, value in found.items():
        if name not in TEXTS:
            found[name] = Decimal(value)
    found["leg"] = None if found["leg"] is None else Leg(found["leg"])
    return Posting(**found)


# --- running totals -------------------------------------------------------------------------------


@attrs.define
class _Sum:
    """The totals of one market up to a moment."""

    funding: Decimal = ZERO
    fees: Decimal = ZERO
    slippage: Decimal = ZERO
    external: Decimal = ZERO
    ref_cost: Decimal = ZERO
    turnover: Decimal = ZERO
    transfers: Decimal = ZERO
    outside: Decimal = ZERO
    spot: Decimal = ZERO
    perp: Decimal = ZERO

    def add(self, line: Posting) -> None:
        self.funding += line.funding_usd
        self.fees += line.fees_usd
        self.slippage += line.slippage_usd
        self.external += line.external_usd
        self.ref_cost += line.ref_cost_usd
        self.turnover += line.turnover_usd
        self.transfers += line.transfers_usd
        self.outside += line.outside_usd
        if line.leg is Leg.SPOT:
            self.spot += line.sz
        elif line.leg is Leg.PERP:
            self.perp += line.sz

    def earned(self, basis: Decimal) -> Earned:
        return Earned(
            pnl=Pnl(
                funding_usd=self.funding,
                fees_usd=self.fees,
                basis_usd=basis,
                slippage_usd=self.slippage,
                external_usd=self.external,
            ),
            turnover_usd=self.turnover,
            transfers_usd=self.transfers,
            outside_usd=self.outside,
        )


def mark_at(books: Books, coin: str, at_ms: int) -> Mark | None:
    """The newest prices of a coin at or before a moment."""
    marks = books.marks.get(coin, ())
    n = bisect.bisect_right(marks, at_ms, key=_at)
    return marks[n - 1] if n else None


def residual_at(books: Books, at_ms: int) -> Decimal | None:
    """What nothing explained at a moment; None before it was first measured."""
    n = bisect.bisect_right(books.residuals, at_ms, key=_at)
    return books.residuals[n - 1].residual_usd if n else None


def running(books: Books, coin: str | None, moments: Iterable[int | None]) -> list[Earned]:
    """The totals of one market (None: of no market) before each of rising moments; None: now."""
    with decimal.localcontext(EXACT):
        total, found = _Sum(), []
        lines = iter(books.by_coin[coin])
        line = next(lines, None)
        for at_ms in moments:
            while line is not None and (at_ms is None or line.at_ms < at_ms):
                total.add(line)
                line = next(lines, None)
            found.append(total.earned(_basis(books, coin, total, at_ms)))
        return found


def _basis(books: Books, coin: str | None, total: _Sum, at_ms: int | None) -> Decimal:
    if coin is None:
        return ZERO
    if at_ms is None or at_ms > books.end_ms:
        return ledger.pnl(books.state.carries[coin]).basis_usd
    mark = mark_at(books, coin, at_ms)
    if mark is None:
        return ZERO
    return total.spot * mark.spot_px + total.perp * mark.perp_px - total.ref_cost


def between(
    books: Books, moments: Sequence[int | None], coins: Iterable[str | None] | None = None
) -> list[Earned]:
    """What each interval between rising moments earned, of some markets or of all there is.

    The first moment may be 0: since the beginning; the last None: until now.
    """
    names = (*books.coins, None) if coins is None else tuple(coins)
    with decimal.localcontext(EXACT):
        whole = [Earned()] * len(moments)
        for coin in names:
            found = running(books, coin, moments)
            whole = [plus(one, more) for one, more in zip(whole, found, strict=True)]
        if coins is None:
            whole = [
                attrs.evolve(one, residual_usd=_residual(books, at_ms))
                for one, at_ms in zip(whole, moments, strict=True)
            ]
        return [after.minus(one) for one, after in pairwise(whole)]


def _residual(books: Books, at_ms: int | None) -> Decimal | None:
    if at_ms is None or at_ms > books.end_ms:
        return books.state.account.residual_usd
    return residual_at(books, at_ms)


def plus(one: Earned, more: Earned) -> Earned:
    return attrs.evolve(
        one,
        pnl=one.pnl.plus(more.pnl),
        turnover_usd=one.turnover_usd + more.turnover_usd,
        transfers_usd=one.transfers_usd + more.transfers_usd,
        outside_usd=one.outside_usd + more.outside_usd,
    )


# --- carries --------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Round:
    """One carry of a coin, from its entry to before the next one, within the interval asked for.

    flat_ms: when it was closed, None while it is held. until_ms: when the next began. expected_net:
    the fraction of notional that its entry expected over the horizon. A coin's first carry has what
    came before it, too; lines of a coin that never was entered are of a round without `began_ms`.
    """

    coin: str
    began_ms: int | None
    flat_ms: int | None
    until_ms: int | None
    expected_net: Decimal | None
    earned: Earned


def rounds(books: Books, from_ms: int = 0, to_ms: int | None = None) -> list[Round]:
    """Every carry with what it earned in [from_ms, to_ms), by the time it began."""
    found = []
    for coin in books.coins:
        begun = _begun(books, coin)
        starts = [0, *[turn.at_ms for turn, _ in begun[1:]]]
        inner = [at_ms for at_ms in starts if at_ms > from_ms and (not to_ms or at_ms < to_ms)]
        first = sum(1 for at_ms in starts if at_ms <= from_ms) - 1
        for n, earned in enumerate(between(books, [from_ms, *inner, to_ms], [coin]), first):
            turn, flat_ms = begun[n] if begun else (None, None)
            if turn is None and earned.nothing:
                continue
            found.append(
                Round(
                    coin=coin,
                    began_ms=None if turn is None else turn.at_ms,
                    flat_ms=flat_ms,
                    until_ms=starts[n + 1] if n + 1 < len(starts) else None,
                    expected_net=None if turn is None else turn.expected_net,
                    earned=earned,
                )
            )
    return sorted(found, key=lambda one: (one.began_ms or 0, one.coin))


def _begun(books: Books, coin: str) -> list[tuple[Turn, int | None]]:
    """The entries of a coin that followed no other, each with when it was flat again."""
    begun: list[tuple[Turn, int | None]] = []
    for turn in (turn for turn in books.turns if turn.coin == coin):
        if turn.event == "flat":
            if begun:
                begun[-1] = (begun[-1][0], turn.at_ms)
        elif not begun or begun[-1][1] is not None:
            begun.append((turn, None))
    return begun


# --- payments -------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Payments:
    """Funding of an interval as it was paid, beside what was to be expected.

    paid: payments received for the bot's shorts; missing: hours over which a short was held and no
    payment was booked. expected_usd: minus size x oracle price x rate of each payment, the price
    being the first one seen after it; unpriced: payments without such a price.
    """

    paid: int
    usd: Decimal
    missing: tuple[tuple[str, int], ...]
    expected_usd: Decimal
    unpriced: int


def payments(books: Books, from_ms: int, to_ms: int) -> Payments:
    """Match the payments of [from_ms, to_ms) with what the shorts held over each was to be paid."""
    interval_ms = books.state.capabilities.funding_interval_ms
    first, last = (bisect.bisect_left(books.receipts, ms, key=_at) for ms in (from_ms, to_ms))
    inside = [receipt for receipt in books.receipts[first:last] if receipt.coin in books.coins]
    expected, unpriced = ZERO, 0
    for receipt in inside:
        due_ms = receipt.at_ms - receipt.at_ms % interval_ms
        mark = mark_at(books, receipt.coin, due_ms)
        if mark is None or mark.oracle_px is None or mark.at_ms != due_ms:
            unpriced += 1
        else:
            expected -= receipt.sz * mark.oracle_px * receipt.rate
    return Payments(
        paid=len(inside),
        usd=sum((r.usd for r in inside), ZERO),
        missing=tuple(each for each in books.missing if from_ms <= each[1] < to_ms),
        expected_usd=expected,
        unpriced=unpriced,
    )
