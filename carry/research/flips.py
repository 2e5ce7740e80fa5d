"""Where a decision would have turned: what is seen is moved, unit by unit, through the real `step`.

A *flip point* is a value of something that was seen at which the tick decides otherwise, while one
unit nearer to what was seen it does not. It is found by doubling the distance and then halving
the gap, and each probe is the whole `step`, so that a flip point is a fact about the program and
not about a formula copied from it. Between the value seen and the flip point nothing was found at
the distances that were tried; a decision that turns and turns back between two of them is missed.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import attrs

from carry.core import ledger
from carry.core.actions import Write
from carry.core.num import ONE, show
from carry.core.observations import (
    BookSeen,
    ClosesRead,
    Context,
    ContextsRead,
    Event,
    Observations,
    Read,
)
from carry.core.state import PHASE_NAMES, Carry, HedgeOk, Idle, Seen, State
from carry.core.step import gates, step
from carry.core.types import Book, Leg, Level

RATE_UNIT: Final = Decimal("1e-9")
RATE_REACH: Final = Decimal("0.01")
VOLATILITY_UNIT: Final = Decimal("1e-6")
VOLATILITY_REACH: Final = Decimal(100)
PX_REACH: Final = Decimal("0.9")  # of the price, down; up it may double
LATER_MS_MAX: Final = 30 * 86_400_000

Inputs = tuple[State, Observations]
Blocked = Mapping[str, tuple[str, ...]]
Put = Callable[[State, Observations, Decimal], Inputs]


@attrs.frozen(kw_only=True)
class Knob:
    """Something that was seen and could have been otherwise.

    value: as seen. unit: the smallest step. low, high: bounds of what is tried. put: gives the
    tick's inputs with it moved by so much (the difference, not the value).
    """

    name: str
    coin: str | None
    value: Decimal
    unit: Decimal
    low: Decimal
    high: Decimal
    put: Put


@attrs.frozen(kw_only=True)
class Flip:
    """at: the value at which it turns, and `unit` nearer to `value` it does not.

    what: "decision", or "gates" when only what blocks an entry turns. then: what it becomes.
    """

    knob: Knob
    at: Decimal
    what: str
    then: str

    @property
    def away(self) -> Decimal:
        return self.at - self.knob.value


def decision(inputs: Inputs) -> tuple[str, ...]:
    """What the real step decides on `inputs`: phases and writes, without sizes and prices."""
    after, actions = step(*inputs)
    moves = [f"{coin} {_phase(carry)}" for coin, carry in after.carries.items()]
    asked = [_write(action) for action in actions if isinstance(action, Write)]
    return (*moves, *sorted(asked))


def blocked(inputs: Inputs) -> Blocked:
    """The gates that do not pass after the real step, by market that waits to enter or to grow."""
    after = step(*inputs)[0]
    found = [gate for gate in gates(after) if not gate.passes]
    return {
        coin: tuple(gate.name for gate in found if gate.market in (None, coin))
        for coin, carry in after.carries.items()
        if isinstance(carry.phase, Idle) or carry.grows
    }


def _phase(carry: Carry) -> str:
    name = PHASE_NAMES[type(carry.phase)]
    if isinstance(carry.phase, HedgeOk) and carry.phase.leaving_ms is not None:
        name += " about to leave"
    return name + (" in repair" if carry.repair is not None else "")


def _write(action: Any) -> str:
    leg, side = getattr(action, "leg", None), getattr(action, "side", None)
    words = [
        getattr(action, "coin", None),
        type(action).__name__.lower(),
        None if side is None else side.value,
        None if leg is None else leg.value,
        "reduce-only" if getattr(action, "reduce_only", False) else None,
    ]
    return " ".join(word for word in words if word)


def flips(
    before: State,
    observations: Observations,
    done: Callable[[int, int], None] = lambda knobs, of: None,
) -> Iterator[Flip]:
    """The flip points of a tick, by knob, at most one in each direction. done: told how far."""
    real = decision((before, observations))
    found = list(knobs(step(before, observations)[0]))
    for number, knob in enumerate(found):
        done(number, len(found))
        probe = _Probe(before, observations, knob)
        if probe.decision(0) != real:
            continue  # what was seen cannot be said again in this knob's terms: nothing to move
        for direction in (-1, 1):
            flip = probe.search(direction)
            if flip is not None:
                yield flip


@attrs.define
class _Probe:
    """One knob of one tick; what was tried is kept."""

    before: State
    observations: Observations
    knob: Knob
    decisions: dict[int, tuple[str, ...]] = attrs.field(factory=dict)
    gates: dict[int, Blocked] = attrs.field(factory=dict)

    def inputs(self, units: int) -> Inputs:
        return self.knob.put(self.before, self.observations, units * self.knob.unit)

    def decision(self, units: int) -> tuple[str, ...]:
        if units not in self.decisions:
            self.decisions[units] = decision(self.inputs(units))
        return self.decisions[units]

    def blocked(self, units: int) -> Blocked:
        """Of the knob's own market, or of all."""
        if units not in self.gates:
            found, coin = blocked(self.inputs(units)), self.knob.coin
            mine = {each: names for each, names in found.items() if coin in (None, each)}
            self.gates[units] = mine
        return self.gates[units]

    def search(self, direction: int) -> Flip | None:
        """The turn of the decision, else that of the gates, in one direction."""
        knob = self.knob
        room = knob.high - knob.value if direction > 0 else knob.value - knob.low
        far = direction * int(room / knob.unit)
        if not far:
            return None
        units = _turn(self.decision, far)
        if units is not None:
            then = _decided(self.decision(0), self.decision(units))
            at = knob.value + units * knob.unit
            return Flip(knob=knob, at=at, what="decision", then=then)
        units = _turn(self.blocked, far) if self.blocked(0) else None
        if units is None:
            return None
        then = _gated(self.blocked(0), self.blocked(units))
        return Flip(knob=knob, at=knob.value + units * knob.unit, what="gates", then=then)


def _turn(look: Callable[[int], object], far: int) -> int | None:
    """Units, towards `far`, at which `look` differs from 0's while one unit nearer it does not."""
    real, sign, reach = look(0), 1 if far > 0 else -1, abs(far)
    near, distance = 0, 1
    while look(sign * distance) == real:
        if distance >= reach:
            return None
        near, distance = distance, min(distance * 2, reach)
    while distance - near > 1:
        middle = (near + distance) // 2
        if look(sign * middle) == real:
            near = middle
        else:
            distance = middle
    return sign * distance


def _decided(real: tuple[str, ...], there: tuple[str, ...]) -> str:
    new = [word for word in there if word not in real]
    gone = [word for word in real if word not in there]
    return "; ".join(new) or f"without {'; '.join(gone)}"


def _gated(real: Blocked, there: Blocked) -> str:
    told = []
    for coin in {**real, **there}:
        was, now = real.get(coin, ()), there.get(coin, ())
        told += [f"{coin}: {name} blocks" for name in now if name not in was]
        told += [f"{coin}: {name} passes" for name in was if name not in now]
        still = [name for name in was if name in now]
        if still and any(name not in now for name in was):
            told.append(f"still blocked by {', '.join(still)}")
    return "; ".join(told)


# --- what can be moved ---------------------------------------------------------------------------


def knobs(after: State) -> Iterator[Knob]:
    """What was known once the tick's observations were taken in."""
    for coin, carry in after.carries.items():
        yield from _rates(coin, carry)
        yield from _prices(coin, carry)
    yield Knob(
        name="time (ms later, nothing else seen)",
        coin=None,
        value=Decimal(0),
        unit=ONE,
        low=Decimal(0),
        high=Decimal(LATER_MS_MAX),
        put=_later,
    )


def _rates(coin: str, carry: Carry) -> Iterator[Knob]:
    forecast, context, measured = carry.forecast, carry.context, carry.volatility
    if forecast is not None:

        def forecasts(before: State, obs: Observations, by: Decimal) -> Inputs:
            # Prints of this tick are in the forecast already, and no newer than it: left unused.
            new = attrs.evolve(forecast, rate=forecast.rate + by)
            return _carry(before, coin, forecast=new), obs

        yield Knob(
            name=f"{coin} funding forecast an interval",
            coin=coin,
            value=forecast.rate,
            unit=RATE_UNIT,
            low=-RATE_REACH,
            high=RATE_REACH,
            put=forecasts,
        )
    if context is not None:

        def predicts(before: State, obs: Observations, by: Decimal) -> Inputs:
            def moved(old: Context) -> Context:
                return attrs.evolve(old, funding_rate=old.funding_rate + by)

            return _contexts(before, obs, coin, moved)

        yield Knob(
            name=f"{coin} funding rate predicted",
            coin=coin,
            value=context.funding_rate,
            unit=RATE_UNIT,
            low=-RATE_REACH,
            high=RATE_REACH,
            put=predicts,
        )
    if measured is not None:

        def shakes(before: State, obs: Observations, by: Decimal) -> Inputs:
            def blind(read: Read) -> Read:
                if isinstance(read, ClosesRead) and read.coin == coin:
                    return attrs.evolve(read, coin="")
                return read

            reads = tuple(blind(read) for read in obs.reads)
            new = {"volatility": measured + by, "volatility_ms": carry.volatility_ms}
            return _carry(before, coin, **new), attrs.evolve(obs, reads=reads)

        yield Knob(
            name=f"{coin} volatility a year",
            coin=coin,
            value=measured,
            unit=VOLATILITY_UNIT,
            low=Decimal(0),
            high=VOLATILITY_REACH,
            put=shakes,
        )


def _prices(coin: str, carry: Carry) -> Iterator[Knob]:
    """All prices together, each leg's book alone, and the touch that an entry would take."""
    px, market = ledger.price(carry, Leg.PERP), carry.market
    if px is None or market is None:
        return
    tick = max(market.instrument(leg).rule.tick_at(px) for leg in Leg)

    def all_move(before: State, obs: Observations, by: Decimal) -> Inputs:
        for leg in Leg:
            before, obs = _books(before, obs, coin, leg, lambda book: shifted(book, by, by))

        def moved(old: Context) -> Context:
            return attrs.evolve(old, mark_px=old.mark_px + by, oracle_px=old.oracle_px + by)

        return _contexts(before, obs, coin, moved)

    def knob(name: str, value: Decimal, unit: Decimal, low: Decimal, put: Put) -> Knob:
        return Knob(
            name=f"{coin} {name}",
            coin=coin,
            value=value,
            unit=unit,
            low=low,
            high=value * 2,
            put=put,
        )

    yield knob("price, both legs, mark and oracle", px, tick, px * (ONE - PX_REACH), all_move)
    for leg in Leg:
        seen = carry.quotes.get(leg.value)
        if seen is None:
            continue
        book, unit = seen.book, market.instrument(leg).rule.tick_at(seen.book.bid_px)
        low = book.mid_px * (ONE - PX_REACH)
        yield knob(f"{leg.value} book, mid", book.mid_px, unit, low, _mover(coin, leg, ONE, ONE))
        # Spot is bought and the perp sold to enter: these are the prices that an entry takes.
        if leg is Leg.SPOT:
            low, put = book.bid_px + unit, _mover(coin, leg, Decimal(0), ONE)
            yield knob("spot ask", book.ask_px, unit, low, put)
        else:
            low, put = book.bid_px * (ONE - PX_REACH), _mover(coin, leg, ONE, Decimal(0))
            bid = knob("perp bid", book.bid_px, unit, low, put)
            yield attrs.evolve(bid, high=book.ask_px - unit)


def _mover(coin: str, leg: Leg, bids: Decimal, asks: Decimal) -> Put:
    def put(before: State, obs: Observations, by: Decimal) -> Inputs:
        return _books(before, obs, coin, leg, lambda b: shifted(b, bids * by, asks * by))

    return put


def shifted(book: Book, bids: Decimal, asks: Decimal) -> Book:
    """The book with each side moved by so much; levels that would not be above 0 are dropped."""

    def side(levels: tuple[Level, ...], by: Decimal) -> tuple[Level, ...]:
        moved = tuple(Level(level.px + by, level.sz) for level in levels)
        return tuple(level for level in moved if level.px > 0)

    return attrs.evolve(book, bids=side(book.bids, bids), asks=side(book.asks, asks))


def _carry(before: State, coin: str, **changes: Any) -> State:
    old = before.carries.get(coin)
    if old is None:
        return before
    return attrs.evolve(before, carries={**before.carries, coin: attrs.evolve(old, **changes)})


def _books(
    before: State, obs: Observations, coin: str, leg: Leg, move: Callable[[Book], Book]
) -> Inputs:
    """A leg's books moved, both what was known before and what this tick saw."""

    def again(event: Event) -> Event:
        if isinstance(event, BookSeen) and (event.coin, event.leg) == (coin, leg):
            return attrs.evolve(event, book=move(event.book))
        return event

    old = before.carries.get(coin)
    if old is not None:
        changes = {}
        for name in ("books", "quotes"):
            kept: Mapping[str, Seen] = getattr(old, name)
            seen = kept.get(leg.value)
            if seen is not None:
                changes[name] = {**kept, leg.value: Seen(move(seen.book), seen.seen_ms)}
        before = _carry(before, coin, **changes)
    return before, attrs.evolve(obs, events=tuple(again(event) for event in obs.events))


def _contexts(
    before: State, obs: Observations, coin: str, move: Callable[[Context], Context]
) -> Inputs:
    """A market's numbers moved, both what was known before and what this tick read."""

    def again(read: Read) -> Read:
        if isinstance(read, ContextsRead) and coin in read.contexts:
            contexts = {**read.contexts, coin: move(read.contexts[coin])}
            return attrs.evolve(read, contexts=contexts)
        return read

    old = before.carries.get(coin)
    if old is not None and old.context is not None:
        before = _carry(before, coin, context=move(old.context))
    return before, attrs.evolve(obs, reads=tuple(again(read) for read in obs.reads))


def _later(before: State, obs: Observations, by: Decimal) -> Inputs:
    ms = int(by)
    venue_ms = None if obs.venue_ms is None else obs.venue_ms + ms
    later = attrs.evolve(obs, mono_ms=obs.mono_ms + ms, wall_ms=obs.wall_ms + ms, venue_ms=venue_ms)
    return before, later


def as_json(flip: Flip) -> dict[str, Any]:
    """Numbers as decimal strings."""
    return {
        "what_was_seen": flip.knob.name,
        "coin": flip.knob.coin,
        "value": show(flip.knob.value),
        "flips_at": show(flip.at),
        "away": show(flip.away),
        "unit": show(flip.knob.unit),
        "turns": flip.what,
        "then": flip.then,
    }
