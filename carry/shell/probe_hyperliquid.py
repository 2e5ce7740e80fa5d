"""Hyperliquid's side of a probe: one leg of one coin, with the account and agent of a bot.

Orders are post-only, so that even a market that runs to them cannot be taken from. One that is not
answered is fenced like the bot's own. It must not run beside a bot of the same agent.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import attrs

from carry.core.actions import Cancel, Fence, Place, Query
from carry.core.num import BPS, ZERO, ceil_to, show
from carry.core.observations import (
    Accepted,
    Cancelled,
    FenceHeld,
    NonceClosed,
    OrderSeen,
    OutcomeUnknown,
)
from carry.core.observations import NotSent as NothingSent
from carry.core.observations import Refused as SaidNo
from carry.core.types import Leg, Market, Side, Tif
from carry.venues.base import Clock
from carry.venues.hyperliquid.venue import HyperliquidVenue

from .probe import AWAY_BPS, Draft, NotSent, Outcome, Placed, Refused, Seen, Skipped, Stop, Unknown

ABOVE_MINIMUM: Final = Decimal("1.2")  # of the venue's minimum, where no notional is given
SKEW_MS_MAX: Final = 5_000
FENCES: Final = 8
AGAIN_MS: Final = 1_000
EXPIRED_AFTER_MS: Final = 15_000
"""Past an order's expiry, by which nothing of it can land any more, fenced or not."""


@attrs.frozen(kw_only=True)
class Wanted:
    """The options of the command. notional: USD of an order, None derives it."""

    leg: Leg
    base: str
    notional: Decimal | None = None
    offset_ticks: int | None = None
    monitor: bool = False


class HyperliquidBench:
    """Implements `carry.shell.probe.Bench`."""

    def __init__(self, venue: HyperliquidVenue, clock: Clock, wanted: Wanted) -> None:
        self.title = f"hyperliquid {wanted.leg.value} {wanted.base} ({venue.network})"
        self.settle_s = (venue.capabilities.expiry_ms + EXPIRED_AFTER_MS) / 1_000
        self._venue, self._clock, self._wanted = venue, clock, wanted
        self._market: Market | None = None
        self._names: dict[str, int] = {}
        self._nonce = 0

    # --- looking ---------------------------------------------------------------------------------

    def look(self) -> Sequence[str]:
        venue, wanted = self._venue, self._wanted
        who = venue.identify()
        if who.problem is not None:
            raise Stop(who.problem, 3)
        if who.agent is None:
            raise Stop("no agent key: name where it is as account.agent_key in the config", 3)
        role = f"sub-account of {who.master}" if who.master else "master account"
        read = venue.markets((wanted.base,))
        market = read.markets.get(wanted.base)
        if market is None:
            raise Stop(read.broken.get(wanted.base, f"{wanted.base} is not listed"), 2)
        one = market.instrument(wanted.leg)
        if not one.tradable:
            raise Stop(f"{wanted.base} is delisted: choose another coin with --base", 2)
        self._market = market
        lines = [
            f"account {who.account} ({role}), agent {who.agent}",
            f"market: {one.symbol}, order number {one.asset}, lot {show(one.lot)}, minimum "
            f"${show(one.min_notional)}",
            *self._held(market),
            self._skew(),
        ]
        if wanted.monitor:
            venue.stream.start()
        return lines

    def _held(self, market: Market) -> Sequence[str]:
        """Balances and positions as they are before."""
        positions, balances = self._venue.positions(), self._venue.balances()
        lines = [
            f"USDC spot {show(balances.usd.total)} (held {show(balances.usd.hold)}), "
            f"perp wallet {show(positions.equity)}"
        ]
        held = balances.coins.get(market.coin)
        if held is not None:
            lines.append(f"{market.spot_token} {show(held.total)} (held {show(held.hold)})")
        lines += [f"position {coin} {show(p.sz)}" for coin, p in positions.positions.items()]
        return lines

    def _skew(self) -> str:
        venue_ms = self._clock.venue_ms()
        if venue_ms is None:
            return "clock: the venue stamped nothing yet"
        skew_ms = self._clock.wall_ms() - venue_ms
        text = f"clock: {skew_ms} ms from the venue's"
        if abs(skew_ms) > SKEW_MS_MAX:
            raise Stop(f"{text}, more than {SKEW_MS_MAX}: set the machine's clock (NTP)", 3)
        return text

    def holding(self) -> Decimal:
        """Base units: the perp's signed size, or the coins of the spot wallet."""
        coin = self._listed.coin
        if self._wanted.leg is Leg.PERP:
            position = self._venue.positions().positions.get(coin)
            return ZERO if position is None else position.sz
        held = self._venue.balances().coins.get(coin)
        return ZERO if held is None else held.total

    @property
    def _listed(self) -> Market:
        assert self._market is not None, "look() comes first"
        return self._market

    # --- one order -------------------------------------------------------------------------------

    def name(self, run: int, number: int) -> str:
        name = f"0x{run:016x}{number:016x}"
        self._names[name] = number + 1
        return name

    def draft(self, side: Side, name: str) -> Draft | Skipped:
        """On the tick, far behind the touch. A spot sell that the wallet does not cover is skipped;
        of a buy the venue itself says so."""
        wanted, one = self._wanted, self._listed.instrument(self._wanted.leg)
        book = self._venue.book(self._listed.coin, wanted.leg).book
        touch = book.touch(side.opposite)
        away = touch * AWAY_BPS * BPS
        if wanted.offset_ticks is not None:
            away = wanted.offset_ticks * one.rule.tick_at(touch)
        px = one.rule.down(touch - away) if side is Side.BUY else one.rule.up(touch + away)
        if px <= 0:
            raise Stop(
                f"--offset-ticks {wanted.offset_ticks} below {show(touch)} is no price: name fewer",
                2,
            )
        if wanted.notional is not None and wanted.notional < one.min_notional:
            raise Stop(
                f"--notional {show(wanted.notional)} is below the venue's minimum of "
                f"${show(one.min_notional)}",
                2,
            )
        sz = ceil_to((wanted.notional or one.min_notional * ABOVE_MINIMUM) / px, one.lot)
        if side is Side.SELL and wanted.leg is Leg.SPOT:
            held = self._venue.balances().coins.get(self._listed.coin)
            free = ZERO if held is None else held.total - held.hold
            if free < sz:
                return Skipped(f"{show(sz)} {self._listed.coin} needed, {show(free)} free")
        return Draft(name=name, side=side, px=px, sz=sz)

    def place(self, draft: Draft) -> Outcome:
        intent = self._names[draft.name]
        place = Place(
            intent=intent,
            coin=self._listed.coin,
            leg=self._wanted.leg,
            side=draft.side,
            px=draft.px,
            sz=draft.sz,
            tif=Tif.ALO,
            reduce_only=False,
            cloid=draft.name,
            nonce=self._next_nonce(),
            expires_ms=self._now_ms() + self._venue.capabilities.expiry_ms,
            why="probe",
        )
        match self._venue.write(place):
            case Accepted(resting=True, oid=oid):
                return Placed(oid)
            case Accepted(oid=oid):
                return Placed(f"{oid}, which did not rest")
            case SaidNo(code=code, text=text):
                return Refused(f"{text} ({code})", _ADVICE.get(code, ""))
            case NothingSent(why=why):
                return NotSent(why)
            case OutcomeUnknown(why=why):
                return self._fenced(place, why)
            case other:
                return Unknown(str(other))

    def _fenced(self, place: Place, why: str) -> Outcome:
        """Take the order's nonce for nothing: where that succeeds, the order never arrived."""
        fence = Fence(intent=place.intent, nonce=place.nonce, why="probe")
        for _ in range(FENCES):
            match self._venue.write(fence):
                case FenceHeld():
                    return NotSent(f"it never arrived ({why})")
                case NonceClosed():
                    break
            self._clock.wait(self._venue, AGAIN_MS)
        return Unknown(why)

    def seen(self, draft: Draft) -> Seen:
        """The record tells no filled size of an order that ended early; the holding does."""
        record = self._venue.order(
            Query(
                intent=self._names[draft.name],
                coin=self._listed.coin,
                leg=self._wanted.leg,
                cloid=draft.name,
                why="probe",
            )
        )
        filled = draft.sz if record.status == "filled" else ZERO
        if record.status == "unknown":
            return Seen(state="absent", word="no such order", filled=filled)
        return Seen(state=record.status, word=record.word, filled=filled)

    def cancel(self, draft: Draft) -> Seen | str:
        outcome = self._venue.write(
            Cancel(
                intent=self._names[draft.name],
                coin=self._listed.coin,
                leg=self._wanted.leg,
                cloid=draft.name,
                nonce=self._next_nonce(),
                expires_ms=self._now_ms() + self._venue.capabilities.expiry_ms,
                why="probe",
            )
        )
        return "" if isinstance(outcome, Cancelled) else str(getattr(outcome, "why", outcome))

    def open_names(self) -> frozenset[str]:
        coin, leg = self._listed.coin, self._wanted.leg
        return frozenset(
            order.cloid or f"oid {order.oid}"
            for order in self._venue.open_orders().orders
            if (order.coin, order.leg) == (coin, leg)
        )

    def watch(self) -> Sequence[str]:
        if not self._wanted.monitor:
            return ()
        return [
            f"stream: order {event.oid} is {event.word}"
            for event in self._venue.stream.drain()[0]
            if isinstance(event, OrderSeen) and event.cloid in self._names
        ]

    def _now_ms(self) -> int:
        """The venue's clock, or the machine's until a stamp was read."""
        venue_ms = self._clock.venue_ms()
        return self._clock.wall_ms() if venue_ms is None else venue_ms

    def _next_nonce(self) -> int:
        self._nonce = max(self._nonce + 1, self._now_ms())
        return self._nonce


_ADVICE: Final = {
    "identity": (
        "the signature was read as another signer's: is venue.network the network of this "
        "address, and the agent approved there?"
    ),
    "balance": "deposit, or ask for less with --notional",
    "margin": "deposit, move USDC to the perp wallet, or ask for less with --notional",
    "budget": "the account's actions are used up: it earns one for each USD traded",
}
