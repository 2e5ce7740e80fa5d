"""An account that goes its own way over recorded books: where a what-if leaves what happened.

Everything about the market (books, rates, prices, metadata) stays as it was journaled; everything
about the account is answered from here. An order meets the book that was seen at the tick that
tells its outcome: what takes walks its levels and what was eaten is gone until the next book, what
rests fills whole once the other side's touch is seen at or through its price. Nothing is refused,
lost or late here, and nobody else trades against what we do: it is a reckoning, not evidence.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final

import attrs

from carry.core import ledger
from carry.core import observations as seen
from carry.core.actions import (
    Action,
    Cancel,
    Fence,
    MoveUsd,
    Place,
    Query,
    SetLeverage,
)
from carry.core.intents import cloid_of
from carry.core.num import ZERO
from carry.core.observations import Observations, Outcome, Read
from carry.core.state import State
from carry.core.types import AccountMode, Book, Fees, Fill, Leg, Side, Tif, Transfer

from .flips import shifted
from .wallet import Wallet

ANSWER_MS: Final = (
    300  # from an order to the tick that hears of it, when no journaled one is sooner
)
WORKING_MS: Final = 1_000  # between ticks while something is open
BETWEEN_MAX: Final = 120  # ticks put between two journaled ones
ACCOUNT_READS: Final = {
    "positions": seen.PositionsRead,
    "balances": seen.BalancesRead,
    "orders": seen.OpenOrdersRead,
    "fills": seen.FillsRead,
    "receipts": seen.ReceiptsRead,
    "transfers": seen.TransfersRead,
}


@attrs.define
class Resting:
    place: Place
    left: Decimal


@attrs.define(kw_only=True)
class Simulated(Wallet):
    """The account from the tick on at which history ended.

    last_common: the newest intent that history also had: what became of it is as journaled.
    resting: orders by intent; over: sizes filled of those that are gone. eaten: what was taken of
    the book that was seen last. asked: writes whose outcome the next tick hears.
    """

    fees: Fees
    journal_id: int
    last_common: int
    books: dict[tuple[str, Leg], Book]
    mono_ms: int
    resting: dict[int, Resting] = attrs.field(factory=dict)
    over: dict[int, Decimal] = attrs.field(factory=dict)
    eaten: dict[tuple[str, Leg, Side], Decimal] = attrs.field(factory=dict)
    asked: list[Action] = attrs.field(factory=list)
    untold: list[Fill] = attrs.field(factory=list)
    leverage: dict[str, SetLeverage] = attrs.field(factory=dict)

    @classmethod
    def fork(cls, state: State, last_common: int) -> "Simulated":
        """The account as `state` explains it: what is booked, and the USD that this leaves."""
        account = state.account
        assert account.usd is not None, "nothing is decided before balances were read"
        assert account.fees is not None
        coins, perps, entry, books, oracles = {}, {}, {}, {}, {}
        raw, holdings = account.raw_usd, ZERO
        for coin, carry in state.carries.items():
            coins[coin] = carry.spot_sz + carry.foreign_spot
            perps[coin] = carry.perp_sz + carry.foreign_perp
            read = account.positions.get(coin)
            px = ledger.price(carry, Leg.PERP) or ZERO
            moved = (perps[coin] - (read.sz if read else ZERO)) * px
            raw -= moved
            entry[coin] = (read.entry_ntl if read else ZERO) + moved
            holdings += coins[coin] * (ledger.price(carry, Leg.SPOT) or ZERO) + perps[coin] * px
            for leg in Leg:
                kept = carry.books.get(leg.value) or carry.quotes.get(leg.value)
                if kept is not None:
                    books[coin, leg] = kept.book
            if carry.context is not None:
                oracles[coin] = carry.context.oracle_px
        usd = ledger.cash(account, tuple(state.carries))
        if account.baseline_usd is not None:
            residual = account.residual_usd or ZERO
            usd = account.baseline_usd + ledger.explained(state) + residual - holdings
        mode = account.mode or AccountMode.UNIFIED
        return cls(
            mode=mode,
            fees=account.fees,
            usd=usd - raw if mode is AccountMode.SPLIT else usd,
            raw_usd=raw if mode is AccountMode.SPLIT else ZERO,
            journal_id=state.journal_id,
            last_common=last_common,
            interval_ms=state.capabilities.funding_interval_ms,
            receipts_floor_at_ms=state.receipts_floor_at_ms,
            transfers_floor_at_ms=state.transfers_floor_at_ms,
            since_ms=state.venue_ms or state.wall_ms,
            coins=coins,
            perps=perps,
            entry=entry,
            books=books,
            oracles=oracles,
            known=dict(state.seen),
            mono_ms=state.now_ms,
            at_ms=state.venue_ms or state.wall_ms,
        )

    # --- ticks ------------------------------------------------------------------------------------

    def obey(self, actions: Iterable[Action]) -> None:
        """Take what a tick asked for; the next one hears what came of it."""
        self.asked += actions

    def between(self, upto: Observations, state: State) -> Observations | None:
        """A tick before the next journaled one, when the bot would not have slept that long."""
        works = bool(self.asked or self.untold)
        at_ms = self.mono_ms + (ANSWER_MS if works else WORKING_MS)
        works = works or bool(state.intents) or any(c.repair for c in state.carries.values())
        if not works or at_ms >= upto.mono_ms:
            return None
        gone = at_ms - upto.mono_ms  # < 0
        return Observations(
            mono_ms=at_ms,
            wall_ms=upto.wall_ms + gone,
            venue_ms=None if upto.venue_ms is None else upto.venue_ms + gone,
            cause="urgent",
            stopping=upto.stopping,
            once=upto.once,
        )

    def tell(self, obs: Observations, wants: Sequence[str]) -> Observations:
        """The tick with the account's part replaced. wants: reads that the state asked for."""
        self.mono_ms = obs.mono_ms
        if obs.venue_ms is not None:
            self.pay(obs.venue_ms)
            self.at_ms = max(self.at_ms, obs.venue_ms)
        events = tuple(e for e in obs.events if self._market(e) or self._common(e))
        outcomes = [o for o in obs.outcomes if o.intent <= self.last_common]
        self._match()
        asked, self.asked = self.asked, []
        for action in asked:
            outcomes += self._done(action)
        told, self.untold = self.untold, []
        fills = tuple(seen.FillSeen(fill=fill) for fill in told)
        return attrs.evolve(
            obs,
            outcomes=tuple(outcomes),
            events=(*events, *fills),
            reads=tuple(self._reads(obs, wants)),
        )

    # --- what was journaled -----------------------------------------------------------------------

    def _market(self, event: seen.Event) -> bool:
        """Take a book in; whether the event is one."""
        if not isinstance(event, seen.BookSeen):
            return False
        key, book = (event.coin, event.leg), event.book
        if not ZERO < book.bid_px < book.ask_px:
            return True
        last = self.books.get(key)
        if not event.full and last is not None:
            # A touch alone: the depth that was last seen, moved to it.
            book = shifted(last, book.bid_px - last.bid_px, book.ask_px - last.ask_px)
        self.books[key] = book
        for side in Side:
            self.eaten.pop((*key, side), None)
        return True

    def _common(self, event: seen.Event) -> bool:
        """Whether news of an order is of one that history also had; its fills are booked here."""
        if isinstance(event, seen.OrderSeen):
            return self._is_common(event.cloid)
        if isinstance(event, seen.FillSeen) and self._is_common(event.fill.cloid):
            self.book(event.fill)
            return True
        return False

    def _is_common(self, cloid: str | None) -> bool:
        mine = cloid is not None and cloid.startswith(cloid_of(self.journal_id, 0)[:18])
        return mine and int(str(cloid)[18:], 16) <= self.last_common

    # --- what is done here ------------------------------------------------------------------------

    def _done(self, action: Action) -> list[Outcome]:
        match action:
            case Place():
                return [self._placed(action)]
            case Cancel():
                order = self.resting.pop(action.intent, None)
                if order is not None:
                    self.over[action.intent] = order.place.sz - order.left
                return [seen.Cancelled(intent=action.intent, gone=order is None)]
            case SetLeverage():
                self.leverage[action.coin] = action
                return [seen.Done(intent=action.intent)]
            case MoveUsd():
                usd = action.usd if action.to_perp else -action.usd
                self.usd, self.raw_usd = self.usd - usd, self.raw_usd + usd
                self.transfers.append(
                    Transfer(
                        transfer_id=f"simulated-{action.intent}",
                        usd=ZERO,
                        at_ms=self.at_ms,
                        kind="simulated",
                        moved_usd=usd,
                        nonce=action.nonce,
                    )
                )
                return [seen.Done(intent=action.intent)]
            case Fence():
                ours = action.intent in self.over or action.intent in self.resting
                filled = any(self._is_of(fill, action.intent) for fill in self.fills)
                closed = ours or filled
                kind = seen.NonceClosed if closed else seen.FenceHeld
                return [kind(intent=action.intent)]
            case Query():
                return [self._record(action)]
            case _:
                return []

    def _is_of(self, fill: Fill, intent: int) -> bool:
        return fill.cloid == cloid_of(self.journal_id, intent)

    def _record(self, action: Query) -> seen.OrderRecord:
        if action.intent in self.resting:
            status = "open"
        elif action.intent in self.over or any(self._is_of(f, action.intent) for f in self.fills):
            status = "gone"
        else:
            status = "unknown"
        return seen.OrderRecord(
            intent=action.intent, status=status, oid=None, word=status, issued_ms=self.mono_ms
        )

    def _placed(self, place: Place) -> Outcome:
        book, oid = self.books.get((place.coin, place.leg)), f"simulated-{place.intent}"
        sz = place.sz
        if place.reduce_only:
            sz = min(sz, max(ZERO, -place.side.sign * self.perps.get(place.coin, ZERO)))
        if not sz:
            return seen.Refused(intent=place.intent, code="reduce_only", text="nothing to reduce")
        if book is None:
            return seen.Refused(intent=place.intent, code="no_match", text="no book was recorded")
        touch = book.touch(place.side)
        crosses = touch <= place.px if place.side is Side.BUY else touch >= place.px
        if place.tif is Tif.ALO and crosses:
            return seen.Refused(intent=place.intent, code="post_only_crossed", text="crosses")
        filled = self._take(place, sz, book) if crosses else ZERO
        if filled < sz and place.tif is not Tif.IOC:
            self.resting[place.intent] = Resting(place, sz - filled)
            return seen.Accepted(intent=place.intent, oid=oid, filled_sz=filled, resting=True)
        if not filled:
            return seen.Refused(intent=place.intent, code="no_match", text="the book has none")
        self.over[place.intent] = filled
        return seen.Accepted(intent=place.intent, oid=oid, filled_sz=filled, resting=False)

    def _take(self, place: Place, sz: Decimal, book: Book) -> Decimal:
        """Walk the levels within the limit, past what was eaten already; what was filled."""
        key = (place.coin, place.leg, place.side)
        gone, left = self.eaten.get(key, ZERO), sz
        for level in book.levels(place.side):
            if (level.px - place.px) * place.side.sign > 0 or not left:
                break
            skipped = min(gone, level.sz)
            gone -= skipped
            part = min(left, level.sz - skipped)
            if part:
                self._fill(place, part, level.px, self.fees.taker(place.leg))
                left -= part
        self.eaten[key] = self.eaten.get(key, ZERO) + sz - left
        return sz - left

    def _fill(self, place: Place, sz: Decimal, px: Decimal, rate: Decimal) -> None:
        in_base = place.leg is Leg.SPOT and place.side is Side.BUY
        fill = Fill(
            trade_id=f"simulated-{place.intent}-{len(self.fills)}",
            coin=place.coin,
            leg=place.leg,
            side=place.side,
            px=px,
            sz=sz,
            fee=sz * rate if in_base else sz * px * rate,
            fee_in_base=in_base,
            oid=f"simulated-{place.intent}",
            cloid=place.cloid,
            at_ms=self.at_ms - 1,
            kind="simulated",
        )
        self.book(fill)
        self.untold.append(fill)

    def _match(self) -> None:
        """Fill what rests where the other side was seen at its price or beyond."""
        for number, order in list(self.resting.items()):
            place = order.place
            book = self.books.get((place.coin, place.leg))
            if book is None or (book.touch(place.side) - place.px) * place.side.sign > 0:
                continue
            self._fill(place, order.left, place.px, self.fees.maker(place.leg))
            self.over[number] = place.sz
            del self.resting[number]

    # --- what is read -----------------------------------------------------------------------------

    def _reads(self, obs: Observations, wants: Sequence[str]) -> Iterator[Read]:
        """The market's as they were; the account's from here, where one was due or is wanted."""
        account: dict[str, int] = {}
        names = {kind: name for name, kind in ACCOUNT_READS.items()}
        for read in obs.reads:
            name = names.get(type(read))
            if name is not None:
                account[name] = read.issued_ms
                if isinstance(read, seen.FillsRead):
                    for fill in read.fills:
                        if self._is_common(fill.cloid):
                            self.book(fill)
                elif isinstance(read, seen.ReceiptsRead):
                    self.settle(read)
                elif isinstance(read, seen.TransfersRead):
                    self.came(read)
                continue
            if isinstance(read, seen.PrintsRead):
                self.settle(read)
            elif isinstance(read, seen.ContextsRead):
                self.oracles.update({c: x.oracle_px for c, x in read.contexts.items()})
            elif isinstance(read, seen.LeverageRead) and read.coin in self.leverage:
                read = self._leverage(read.coin, read.issued_ms)
            yield read
        for name in wants:
            kind, _, coin = name.partition(":")
            if kind == "leverage" and coin in self.leverage:
                yield self._leverage(coin, obs.mono_ms)
            elif name in ACCOUNT_READS:
                account.setdefault(name, obs.mono_ms)
        for name in ACCOUNT_READS:
            if name in account:
                yield self._account(name, account[name])

    def _leverage(self, coin: str, issued_ms: int) -> seen.LeverageRead:
        asked = self.leverage[coin]
        return seen.LeverageRead(
            coin=coin, leverage=asked.leverage, cross=asked.cross, issued_ms=issued_ms
        )

    def _account(self, name: str, issued_ms: int) -> Read:
        match name:
            case "positions":
                return self.positions(issued_ms)
            case "balances":
                return self.balances(issued_ms)
            case "orders":
                return seen.OpenOrdersRead(orders=tuple(self._open()), issued_ms=issued_ms)
            case "fills":
                return seen.FillsRead(
                    fills=tuple(self.fills),
                    since_ms=0,
                    issued_ms=issued_ms,
                    issued_venue_ms=self.at_ms,
                )
            case "receipts":
                return seen.ReceiptsRead(
                    receipts=tuple(self.receipts), since_ms=0, issued_ms=issued_ms
                )
            case _:
                return seen.TransfersRead(
                    transfers=tuple(self.transfers), since_ms=0, issued_ms=issued_ms
                )

    def _open(self) -> Iterator[seen.OpenOrder]:
        for number, order in self.resting.items():
            place = order.place
            yield seen.OpenOrder(
                coin=place.coin,
                leg=place.leg,
                oid=f"simulated-{number}",
                cloid=place.cloid,
                side=place.side,
                px=place.px,
                sz=order.left,
            )
