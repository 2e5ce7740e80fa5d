"""The ledger a second time, in fractions and another way: it imports nothing of carry.

It keeps the whole account as the venue does (cash, coins, a position) and every movement of what is
ours, and works out each figure from those lists when it is asked. Nothing is a running total.
"""

from fractions import Fraction
from typing import NamedTuple

F = Fraction


class Movement(NamedTuple):
    """What is ours of a leg changed by `sz`, at `px`, when the mid was `mid`."""

    leg: str
    sz: F
    px: F
    mid: F


class Second:
    """One market and the account's cash, from `cash` USD, `spot` coins and a position of `perp`."""

    def __init__(self, cash: F, spot: F, perp: F, px: dict[str, F]) -> None:
        self.cash = cash - perp * px["perp"]
        self.held = {"spot": spot, "perp": perp}
        self.theirs = dict(self.held)
        self.px = px
        self.movements: list[Movement] = []
        self.trades: list[Movement] = []  # those that were orders of ours
        self.fees: list[F] = []
        self.funding: list[F] = []
        self.transfers: list[F] = []
        self.gifts: list[F] = []  # what others' doings gained or lost us
        self.worth_at_start = self.worth()

    def worth(self) -> F:
        return self.cash + sum(self.held[leg] * self.px[leg] for leg in self.held)

    def ours(self, leg: str) -> F:
        return self.held[leg] - self.theirs[leg]

    # --- what happens -------------------------------------------------------------------

    def trade(self, leg: str, sz: F, px: F, fee: F, in_base: bool, mid: F) -> None:
        """An order of ours filled: `sz` signed, as traded."""
        net = sz - fee if in_base else sz
        self.cash -= sz * px + (0 if in_base else fee)
        self.held[leg] += net
        self.movements.append(Movement(leg, net, px, mid))
        self.trades.append(self.movements[-1])
        self.fees.append(fee * px if in_base else fee)

    def theirs_traded(self, leg: str, sz: F, px: F, fee: F) -> None:
        """Somebody else traded on the account: ADL, a liquidation, a hand. The fee is in USD."""
        self.cash -= sz * px + fee
        self.held[leg] += sz
        ours = self._taken(leg, sz)
        if ours:
            self.movements.append(Movement(leg, ours, px, self.px[leg]))
            self.gifts.append(ours * (self.px[leg] - px) - fee)

    def _taken(self, leg: str, sz: F) -> F:
        """How much of a change, already in `held`, was ours: what grows is theirs, what shrinks is
        theirs first, and never more than there is of either."""
        up = 1 if leg == "spot" else -1
        ours_before = self.held[leg] - sz - self.theirs[leg]
        ours = F(0)
        if sz * up < 0:
            rest = abs(sz) - min(abs(sz), max(F(0), self.theirs[leg] * up))
            ours = -up * min(rest, max(F(0), ours_before * up))
        self.theirs[leg] += sz - ours
        return ours

    def vanished(self, leg: str, sz: F) -> None:
        """The holding changed by `sz` and no trade tells how: coins for nothing, a position at the
        market."""
        paid = self.px[leg] if leg == "perp" else F(0)
        self.cash -= sz * paid
        self.held[leg] += sz
        ours = self._taken(leg, sz)
        if ours:
            self.movements.append(Movement(leg, ours, paid, self.px[leg]))
            if leg == "spot":
                self.gifts.append(ours * self.px[leg])

    def paid(self, usd: F, share: F) -> None:
        self.cash += usd
        self.funding.append(usd * share)

    def transferred(self, usd: F) -> None:
        self.cash += usd
        self.transfers.append(usd)

    def adopted(self, leg: str, sz: F) -> None:
        """Theirs becomes ours (or ours theirs, by the other sign) at the market."""
        self.theirs[leg] -= sz
        self.movements.append(Movement(leg, sz, self.px[leg], self.px[leg]))

    # --- what is asked ------------------------------------------------------------------

    def slippage(self) -> F:
        return sum((m.sz * (m.mid - m.px) for m in self.trades), F(0))

    def basis(self) -> F:
        return sum((m.sz * (self.px[m.leg] - m.mid) for m in self.movements), F(0))


def average(moves: list[tuple[F, F]]) -> tuple[F, F, F]:
    """(signed size open, its cost, gains) of (signed size, price), at average cost."""
    sz = cost = gains = F(0)
    for change, px in moves:
        if sz * change < 0:
            part = min(abs(change), abs(sz)) * (1 if change > 0 else -1)
            share = -part / sz
            gains += -part * px - cost * share
            cost -= cost * share
            sz += part
            change -= part
        sz += change
        cost += change * px
    return sz, cost, gains


def fifo(moves: list[tuple[F, F]]) -> F:
    """Gains first in, first out, of a history that never changes sides.

    The unit that came k-th goes k-th: both sides are laid out as stretches of one line, and where
    two stretches overlap, that much was opened at the one price and closed at the other.
    """
    side = next((1 if sz > 0 else -1 for sz, _ in moves if sz), 1)
    came, went = [], []
    at = {True: F(0), False: F(0)}
    for sz, px in moves:
        opens = sz * side > 0
        stretch = (at[opens], at[opens] + abs(sz), px)
        at[opens] = stretch[1]
        (came if opens else went).append(stretch)
    gains = F(0)
    for first, last, sold in went:
        for begin, end, bought in came:
            overlap = min(last, end) - max(first, begin)
            if overlap > 0:
                gains += side * overlap * (sold - bought)
    return gains
