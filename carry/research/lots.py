"""Lots: what was opened when and at what price, and what closing it gained, by FIFO or at average.

A lot is a signed size of one leg (> 0 long, < 0 short) at the price of its fill. Fees are not in
it: they are a cause of their own. What came or went without a trade is a lot, too: what was adopted
at the price of that day, what vanished closes for nothing. So over any history

    gains of what was closed + value of what is open at the mark - its cost
        = basis + slippage + external (without its fees)
"""

from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import Final

import attrs

from carry.core.actions import Posting
from carry.core.num import ZERO
from carry.core.types import Leg

from .accounts import EXACT

SHARE_USD: Final = Decimal("1E-12")  # an average cost that does not end is cut here
METHODS: Final = ("fifo", "average")


@attrs.frozen(kw_only=True)
class Lot:
    """What is open: `sz` signed, base units; `cost_usd` = size x price, signed alike."""

    opened_ms: int
    sz: Decimal
    cost_usd: Decimal


@attrs.frozen(kw_only=True)
class Closed:
    """A part of a lot that was closed: it cost `cost_usd` and brought `proceeds_usd`, both with the
    sign of `sz`. opened_ms: of its lot, or of the oldest in an average."""

    coin: str
    leg: Leg
    kind: str
    ref: str
    opened_ms: int
    closed_ms: int
    sz: Decimal
    cost_usd: Decimal
    proceeds_usd: Decimal

    @property
    def gain_usd(self) -> Decimal:
        return self.proceeds_usd - self.cost_usd


@attrs.frozen
class Lots:
    """Of one leg of a market: what is open, the oldest first, and what was closed, by time."""

    open: tuple[Lot, ...]
    closed: tuple[Closed, ...]


class Pool:
    """The open lots of one leg of a market. method: "fifo" or "average"."""

    def __init__(self, coin: str, leg: Leg, method: str) -> None:
        assert method in METHODS, method
        self.coin, self.leg, self._method = coin, leg, method
        self.open: list[Lot] = []

    def add(self, line: Posting) -> tuple[list[Closed], Lot | None]:
        """Book a line of this leg: the parts of lots it closed, and what it opened.

        A line that closes more than is open opens a lot of the other side with the rest.
        """
        closed: list[Closed] = []
        left = line.sz
        while left and self.open and self.open[0].sz * left < 0:
            first = self.open[0]
            sz = first.sz if abs(first.sz) <= abs(left) else -left
            cost = _cost(first, sz)
            closed.append(
                Closed(
                    coin=self.coin,
                    leg=self.leg,
                    kind=line.kind,
                    ref=line.ref,
                    opened_ms=first.opened_ms,
                    closed_ms=line.at_ms,
                    sz=sz,
                    cost_usd=cost,
                    proceeds_usd=sz * line.px,
                )
            )
            left += sz
            rest = attrs.evolve(first, sz=first.sz - sz, cost_usd=first.cost_usd - cost)
            self.open[:1] = [rest] if rest.sz else []
        if not left:
            return closed, None
        new = Lot(opened_ms=line.at_ms, sz=left, cost_usd=left * line.px)
        if self.open and self._method == "average":
            self.open = [_joined(self.open[0], new)]
        else:
            self.open.append(new)
        return closed, new


def lots(lines: Iterable[Posting], coin: str, leg: Leg, method: str) -> Lots:
    """The lots of a leg after `lines`, in their order."""
    pool = Pool(coin, leg, method)
    closed: list[Closed] = []
    with localcontext(EXACT):
        for line in lines:
            if line.coin == coin and line.leg is leg:
                closed += pool.add(line)[0]
    return Lots(tuple(pool.open), tuple(closed))


def _cost(lot: Lot, sz: Decimal) -> Decimal:
    """What a part of a lot cost; the last part takes what is left, so that nothing is lost."""
    if sz == lot.sz:
        return lot.cost_usd
    return (lot.cost_usd * sz / lot.sz).quantize(SHARE_USD)


def _joined(one: Lot, new: Lot) -> Lot:
    return attrs.evolve(one, sz=one.sz + new.sz, cost_usd=one.cost_usd + new.cost_usd)


def unrealised_usd(held: Iterable[Lot], px: Decimal) -> Decimal:
    """What closing all that is open at `px` would gain."""
    with localcontext(EXACT):
        return sum((lot.sz * px - lot.cost_usd for lot in held), ZERO)
