"""A venue check with real orders: placed far from the market, seen, withdrawn, and none left.

Orders are post-only, so that even a market that runs to them cannot be taken from. What is not
answered is fenced and looked up like the bot's own orders. Everything that a probe placed is
withdrawn before it ends, however it ends. It must not run beside a bot of the same agent.
"""

import secrets
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final, NoReturn

import attrs

from carry.core.actions import Cancel, Fence, Place, Query
from carry.core.num import ZERO, ceil_to, show
from carry.core.observations import (
    Accepted,
    Cancelled,
    FenceHeld,
    NonceClosed,
    NotSent,
    OrderSeen,
    Outcome,
    OutcomeUnknown,
    Refused,
)
from carry.core.types import Book, Instrument, Leg, Market, Side, Tif
from carry.venues.base import Clock, ProbeFailed, ReadFailed

from .venue import HyperliquidVenue

AWAY: Final = Decimal("0.05")  # of the price, where no number of ticks is given
ABOVE_MINIMUM: Final = Decimal("1.2")  # of the venue's minimum, where no notional is given
SKEW_MS_MAX: Final = 5_000
TRIES: Final = 8  # of a withdrawal, a fence or a look
AGAIN_MS: Final = 1_000
LOOKS_APART_MS: Final = 2_100

Say = Callable[[str], object]


@attrs.frozen(kw_only=True)
class Plan:
    """What is asked for. notional: USD of an order, None derives it; delay_ms: until withdrawn."""

    leg: Leg
    base: str
    notional: Decimal | None = None
    iterations: int = 1
    delay_ms: int = 1_000
    offset_ticks: int | None = None
    monitor: bool = False


class Probe:
    """One probe of one leg of one coin."""

    def __init__(self, venue: HyperliquidVenue, clock: Clock, plan: Plan, say: Say) -> None:
        self._venue, self._clock, self._plan, self._say = venue, clock, plan, say
        self._placed: dict[str, Place] = {}
        self._number = 0
        self._nonce = 0

    def run(self) -> None:
        """The whole probe. Raises `ProbeFailed`; no order of it is left then, or that is said."""
        try:
            market = self._ready()
            for turn in range(1, self._plan.iterations + 1):
                self._say(f"--- {turn} of {self._plan.iterations}")
                self._turn(market)
        except ReadFailed as failure:
            self._clear()
            self._fail(f"{failure}; nothing of the probe is left. Try again when the venue answers")
        except BaseException:
            self._clear()
            raise
        self._clear()
        self._say("nothing is left: no order of the probe rests")

    # --- before the first order --------------------------------------------------------------

    def _ready(self) -> Market:
        venue, plan = self._venue, self._plan
        who = venue.identify()
        if who.problem is not None:
            self._fail(who.problem)
        if who.agent is None:
            self._fail("no agent key: name where it is as account.agent_key in the config")
        role = f"sub-account of {who.master}" if who.master else "master account"
        self._say(f"account {who.account} ({role}), agent {who.agent}")
        read = venue.markets((plan.base,))
        market = read.markets.get(plan.base)
        if market is None:
            self._fail(read.broken.get(plan.base, f"{plan.base} is not listed"))
        one = market.instrument(plan.leg)
        if not one.tradable:
            self._fail(f"{plan.base} is delisted: choose another coin with --base")
        self._say(
            f"{one.symbol}: order number {one.asset}, lot {show(one.lot)}, minimum "
            f"${show(one.min_notional)}"
        )
        self._shown(market)
        venue_ms = self._clock.venue_ms()
        skew = None if venue_ms is None else self._clock.wall_ms() - venue_ms
        if skew is not None and abs(skew) > SKEW_MS_MAX:
            self._fail(
                f"clock skew: this machine is {skew} ms from the venue, {SKEW_MS_MAX} are the "
                "most: set the clock (NTP)"
            )
        if plan.monitor:
            venue.stream.start()
        return market

    def _shown(self, market: Market) -> None:
        """Balances and positions as they are before."""
        positions, balances = self._venue.positions(), self._venue.balances()
        self._say(f"USDC spot {show(balances.usd.total)} (held {show(balances.usd.hold)}), "
                  f"perp wallet {show(positions.equity)}")  # fmt: skip
        held = balances.coins.get(market.coin)
        if held is not None:
            self._say(f"{market.spot_token} {show(held.total)} (held {show(held.hold)})")
        for coin, position in positions.positions.items():
            self._say(f"position {coin} {show(position.sz)}")

    # --- one turn ----------------------------------------------------------------------------

    def _turn(self, market: Market) -> None:
        book = self._venue.book(market.coin, self._plan.leg).book
        self._say(f"bid {show(book.bid_px)}, ask {show(book.ask_px)}")
        for side in Side:
            px, sz = self._terms(market.instrument(self._plan.leg), book, side)
            if side is Side.SELL and self._plan.leg is Leg.SPOT:
                held = self._venue.balances().coins.get(market.coin)
                free = ZERO if held is None else held.total - held.hold
                if free < sz:
                    self._say(
                        f"sell skipped: {show(sz)} {market.coin} are needed, {show(free)} are free"
                    )
                    continue
            self._place(market.coin, side, px, sz)
        self._seen()
        self._watch(self._plan.delay_ms)
        self._clear()

    def _terms(self, one: Instrument, book: Book, side: Side) -> tuple[Decimal, Decimal]:
        """Price on the tick, far behind the touch, and size on the lot."""
        plan = self._plan
        touch = book.touch(side.opposite)
        away = touch * AWAY
        if plan.offset_ticks is not None:
            away = plan.offset_ticks * one.rule.tick_at(touch)
        buys = side is Side.BUY
        px = one.rule.down(touch - away) if buys else one.rule.up(touch + away)
        if px <= 0:
            self._fail(f"--offset-ticks {plan.offset_ticks} reaches below zero: name fewer")
        notional = plan.notional or one.min_notional * ABOVE_MINIMUM
        sz = ceil_to(notional / px, one.lot)
        if sz * px < one.min_notional:
            self._fail(
                f"--notional {show(notional)}: the venue's minimum is ${show(one.min_notional)}"
            )
        return px, sz

    def _place(self, coin: str, side: Side, px: Decimal, sz: Decimal) -> None:
        self._number += 1
        place = Place(
            intent=self._number,
            coin=coin,
            leg=self._plan.leg,
            side=side,
            px=px,
            sz=sz,
            tif=Tif.ALO,
            reduce_only=False,
            cloid=f"0x{secrets.randbits(128):032x}",
            nonce=self._next_nonce(),
            expires_ms=self._now_ms() + self._venue.capabilities.expiry_ms,
            why="probe",
        )
        self._placed[place.cloid] = place
        what = f"{side.value} {show(sz)} {coin} {place.leg.value} at {show(px)}"
        outcome = self._venue.write(place)
        if isinstance(outcome, OutcomeUnknown):
            self._say(f"{what}: no answer ({outcome.why}); looked up by its client id")
            outcome = self._resolved(place, outcome)
        self._judge(place, what, outcome)

    def _judge(self, place: Place, what: str, outcome: Outcome) -> None:
        match outcome:
            case Accepted(resting=True, oid=oid):
                self._say(f"{what}: rests, order {oid}")
            case Accepted(filled_sz=filled):
                self._fail(f"{what}: {show(filled)} filled, although it was far away: look at it")
            case Refused(code=code, text=text):
                self._placed.pop(place.cloid)
                self._fail(f"{what}: refused ({code}): {text}{_HINTS.get(code, '')}")
            case NotSent(why=why):
                self._placed.pop(place.cloid)
                self._fail(f"{what}: not sent: {why}")
            case _:
                self._fail(f"{what}: unknown outcome, and the venue does not tell: {outcome}")

    def _resolved(self, place: Place, unknown: OutcomeUnknown) -> Outcome:
        """Close the nonce, then believe the venue's record: two looks apart for "never"."""
        fence = Fence(intent=place.intent, nonce=place.nonce, why="probe")
        for _ in self._tries():
            closed = self._venue.write(fence)
            if isinstance(closed, FenceHeld):
                return NotSent(intent=place.intent, why=f"it never arrived ({unknown.why})")
            if isinstance(closed, NonceClosed):
                break
        query = Query(
            intent=place.intent, coin=place.coin, leg=place.leg, cloid=place.cloid, why="probe"
        )
        missing = 0
        for _ in self._tries():
            record = self._venue.order(query)
            if record.status == "open":
                oid = record.oid or ""
                return Accepted(intent=place.intent, oid=oid, filled_sz=ZERO, resting=True)
            if record.status == "unknown":
                missing += 1
                if missing > 1:
                    return NotSent(intent=place.intent, why=f"it is not there ({unknown.why})")
                self._clock.wait(self._venue, LOOKS_APART_MS)
                continue
            return Refused(intent=place.intent, code="other", text=f"it ended as {record.word}")
        return unknown

    def _seen(self) -> None:
        """The venue's list of open orders shows every order that was taken."""
        missing: list[str] = []
        for _ in self._tries():
            orders = self._venue.open_orders().orders
            listed = {order.cloid: order for order in orders}
            missing = [cloid for cloid in self._placed if cloid not in listed]
            if not missing:
                break
        for cloid in self._placed:
            if cloid not in missing:
                order = listed[cloid]
                self._say(f"open: {order.side.value} {show(order.sz)} at {show(order.px)}")
        if missing:
            self._fail(f"{len(missing)} orders were taken, but the venue does not list them")

    def _watch(self, ms: int) -> None:
        """Let time pass; say what the stream tells of the orders, if it is followed."""
        end_ms = self._clock.mono_ms() + ms
        while (left_ms := end_ms - self._clock.mono_ms()) > 0:
            self._clock.wait(self._venue, left_ms)
            self._told()

    def _told(self) -> None:
        if not self._plan.monitor:
            return
        for event in self._venue.stream.drain()[0]:
            if isinstance(event, OrderSeen) and event.cloid in self._placed:
                self._say(f"stream: order {event.oid} is {event.word}")

    # --- the end -----------------------------------------------------------------------------

    def _clear(self) -> None:
        """Withdraw all that was placed and look whether it is gone. Raises when it is not."""
        if not self._placed:
            return
        last = "it is still listed"
        for _ in self._tries():
            for place in self._placed.values():
                outcome = self._venue.write(
                    Cancel(
                        intent=place.intent,
                        coin=place.coin,
                        leg=place.leg,
                        cloid=place.cloid,
                        nonce=self._next_nonce(),
                        expires_ms=self._now_ms() + self._venue.capabilities.expiry_ms,
                        why="probe",
                    )
                )
                if not isinstance(outcome, Cancelled):
                    last = getattr(outcome, "why", last)
            try:
                listed = {order.cloid for order in self._venue.open_orders().orders}
            except ReadFailed as failure:
                last = str(failure)
                continue
            if not listed.intersection(self._placed):
                self._told()
                for place in self._placed.values():
                    self._say(f"withdrawn: {place.side.value} at {show(place.px)}")
                self._placed.clear()
                return
        left = ", ".join(f"{p.side.value} {show(p.sz)} at {show(p.px)} ({p.cloid})"
                         for p in self._placed.values())  # fmt: skip
        self._placed.clear()
        self._fail(f"ORDERS MAY BE LEFT: {left}: {last}. Withdraw them at the venue")

    def _tries(self) -> Iterator[int]:
        for n in range(TRIES):
            if n:
                self._clock.wait(self._venue, AGAIN_MS)
            yield n

    def _now_ms(self) -> int:
        """The venue's clock, or the machine's until a stamp was read."""
        venue_ms = self._clock.venue_ms()
        return self._clock.wall_ms() if venue_ms is None else venue_ms

    def _next_nonce(self) -> int:
        self._nonce = max(self._nonce + 1, self._now_ms())
        return self._nonce

    def _fail(self, text: str) -> NoReturn:
        raise ProbeFailed(text)


_HINTS: Final = {
    "identity": (
        ". The signature was read as another signer's: is venue.network the network of this "
        "address, and the agent approved there?"
    ),
    "balance": ". Deposit, or ask for less with --notional",
    "margin": ". Deposit, move USDC to the perp wallet, or ask for less with --notional",
    "budget": ". The account's actions are used up: it earns one for each USD traded",
}
