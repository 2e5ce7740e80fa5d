"""The books as double entries: every transaction sums to zero, and all of them to `carry pnl`.

Debits are > 0, credits < 0. Of the bot alone: what is foreign is in no row.

    assets:usd              cash: spot trades, fees in USD, funding, transfers, gains of the short
    assets:spot:COIN        coins at what their lots cost
    assets:perp:COIN        the position at what its lots were opened at (a short is < 0), and
    assets:perp:COIN:entry  its other side: no money moves when a position is opened
    income:funding          payments received (credit) and made
    income:gains            what closing a lot gained: proceeds less cost
    income:unrealised       what is held at its price, less its cost: at the end, and taken back at
                            the beginning of an interval that does not begin with the books
    expenses:fees           of the bot's own fills, a fee in the coin at the price of its fill
    expenses:external       fees of what others did to the carry
    equity:transfers        money that came (credit) and went
    equity:adopted          coins and positions taken over from the operator, or given back
    equity:opening          what an older program's totals stood at

The income of an interval, negated, less its expenses is the net of `carry pnl`; funding and fees
are each its own line there, the rest is its basis, slippage and external.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from decimal import Decimal, localcontext
from typing import Final

import attrs

from carry.core import ledger
from carry.core.actions import Posting
from carry.core.num import ZERO, show
from carry.core.types import Leg

from . import lots
from .accounts import EXACT, Books, mark_at
from .past import written

HEAD: Final = (
    "time", "transaction", "kind", "ref", "coin", "leg", "account", "amount", "unit", "px",
    "lot_opened", "usd",
)  # fmt: skip
USD: Final = "USD"
INCOME: Final = ("income:", "expenses:")


@attrs.frozen(kw_only=True)
class Row:
    """One side of a transaction. amount: of `unit`, signed as `usd`; opened_ms: of the lot that a
    row opens or closes."""

    at_ms: int
    transaction: int
    kind: str
    account: str
    usd: Decimal
    ref: str = ""
    coin: str = ""
    leg: str = ""
    amount: Decimal | None = None
    unit: str = ""
    px: Decimal | None = None
    opened_ms: int | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        return (
            written(self.at_ms),
            str(self.transaction),
            self.kind,
            self.ref,
            self.coin,
            self.leg,
            self.account,
            "" if self.amount is None else show(self.amount),
            self.unit,
            "" if self.px is None else show(self.px),
            "" if self.opened_ms is None else written(self.opened_ms),
            show(self.usd),
        )


Side = tuple[str, Decimal, Decimal | None, str, int | None]  # account, usd, amount, unit, opened


def rows(books: Books, from_ms: int, to_ms: int | None, method: str) -> list[Row]:
    """The double entries of [from_ms, to_ms), by time; lots over the whole history."""
    pools = {
        (coin, leg): lots.Pool(coin, leg, method) for coin in books.coins for leg in Leg
    }
    made: list[Row] = []
    begun = from_ms <= books.first_ms
    with localcontext(EXACT):
        for number, line in enumerate(books.lines, 1):
            if to_ms is not None and line.at_ms >= to_ms:
                break
            if not begun and line.at_ms >= from_ms:
                begun = True
                made += _valued(books, pools.values(), from_ms, -1)
            sides = _sides(books, pools, line)
            if begun:
                made += _rows(line, number, sides)
        if not begun:
            made += _valued(books, pools.values(), from_ms, -1)
        made += _valued(books, pools.values(), to_ms, 1)
    return made


def _rows(line: Posting, number: int, sides: Iterable[Side]) -> Iterator[Row]:
    for account, usd, amount, unit, opened_ms in sides:
        if usd or amount:
            yield Row(
                at_ms=line.at_ms,
                transaction=number,
                kind=line.kind,
                ref=line.ref,
                coin=line.coin or "",
                leg=line.leg.value if line.leg is not None else "",
                account=account,
                usd=usd,
                amount=amount,
                unit=unit,
                px=line.px if line.sz else None,
                opened_ms=opened_ms,
            )


def _sides(
    books: Books, pools: dict[tuple[str, Leg], lots.Pool], line: Posting
) -> list[Side]:
    """Every side of one line: they sum to zero."""
    sides = list(_money(books, line))
    pool = pools.get((line.coin or "", line.leg)) if line.leg is not None else None
    if pool is not None and line.sz:
        # Who gave or took what changed hands: money, or the operator.
        contra = "assets:usd"
        if line.kind in ("adopted", "handed_over"):
            contra = "equity:adopted"
        elif line.kind == "opening":
            contra = "equity:opening"
        sides += _held(pool, line, contra)
    return sides


def _money(books: Books, line: Posting) -> Iterator[Side]:
    if line.kind == "opening":
        yield from _brought(line)
        return
    if line.funding_usd:
        yield "assets:usd", line.funding_usd, line.funding_usd, USD, None
        yield "income:funding", -line.funding_usd, None, "", None
    if line.fees_usd:
        leg = line.leg.value if line.leg is not None else ""
        token, fee = books.tokens.get((line.ref, line.coin or "", leg), (USD, line.fees_usd))
        # A fee in the coin was bought with the rest and is not among the coins: it cost money, too.
        yield "assets:usd", -line.fees_usd, -line.fees_usd, USD, None
        yield "expenses:fees", line.fees_usd, fee, token, None
    if line.transfers_usd:
        yield "assets:usd", line.transfers_usd, line.transfers_usd, USD, None
        yield "equity:transfers", -line.transfers_usd, None, "", None
    if line.kind == "external" and line.ref:
        fee = line.sz * (line.ref_px - line.px) - line.external_usd
        yield "assets:usd", -fee, -fee, USD, None
        yield "expenses:external", fee, fee, USD, None


def _brought(line: Posting) -> Iterator[Side]:
    """Totals of an older program: what they were, against the opening."""
    gains = line.sz * line.px - line.ref_cost_usd + line.slippage_usd + line.external_usd
    for account, usd in (
        ("income:funding", -line.funding_usd),
        ("expenses:fees", line.fees_usd),
        ("equity:transfers", -line.transfers_usd),
        ("income:gains", -gains),
    ):
        yield account, usd, None, "", None
        yield "equity:opening", -usd, None, "", None


def _held(pool: lots.Pool, line: Posting, contra: str) -> Iterator[Side]:
    """Lots closed at their cost, with the gain; a lot opened at its price."""
    name = f"assets:{pool.leg.value}:{pool.coin}"
    spot = pool.leg is Leg.SPOT
    closed, opened = pool.add(line)
    for part in closed:
        yield name, -part.cost_usd, -part.sz, pool.coin, part.opened_ms
        yield "income:gains", -part.gain_usd, None, "", part.opened_ms
        if spot:
            yield contra, part.proceeds_usd, part.proceeds_usd, USD, None
        else:
            yield f"{name}:entry", part.cost_usd, None, "", part.opened_ms
            yield contra, part.gain_usd, part.gain_usd, USD, None
    if opened is not None:
        other = contra if spot else f"{name}:entry"
        yield name, opened.cost_usd, opened.sz, pool.coin, opened.opened_ms
        yield other, -opened.cost_usd, -opened.cost_usd if spot else None, USD, None


def _valued(
    books: Books, pools: Iterable[lots.Pool], at_ms: int | None, sign: int
) -> Iterator[Row]:
    """What is held, less its cost, at the prices of a moment; None: now. sign -1: taken back."""
    for pool in pools:
        px = _price(books, pool.coin, pool.leg, at_ms)
        usd = ZERO if px is None else lots.unrealised_usd(pool.open, px) * sign
        if usd:
            sides = ((f"assets:{pool.leg.value}:{pool.coin}", usd), ("income:unrealised", -usd))
            for account, side in sides:
                yield Row(
                    at_ms=books.end_ms if at_ms is None else at_ms,
                    transaction=0,
                    kind="valuation",
                    coin=pool.coin,
                    leg=pool.leg.value,
                    account=account,
                    usd=side,
                    px=px,
                )


def _price(books: Books, coin: str, leg: Leg, at_ms: int | None) -> Decimal | None:
    """A leg's price where both legs have one, as the ledger asks for."""
    if at_ms is None or at_ms > books.end_ms:
        carry = books.state.carries[coin]
        both = {each: ledger.price(carry, each) for each in Leg}
        return both[leg] if None not in both.values() else None
    mark = mark_at(books, coin, at_ms)
    if mark is None:
        return None
    return mark.spot_px if leg is Leg.SPOT else mark.perp_px


def net_usd(made: Iterable[Row]) -> Decimal:
    """What the rows earned: income and expenses, negated."""
    with localcontext(EXACT):
        return -sum((row.usd for row in made if row.account.startswith(INCOME)), ZERO)


def as_csv(made: Iterable[Row]) -> str:
    """The rows as CSV with a head; money in USD, decimal text without loss."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(HEAD)
    out.writerows(row.cells for row in made)
    return text.getvalue()
