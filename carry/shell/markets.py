"""All pairs of the venue side by side: what `carry markets` shows. Public reads only."""

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Final, TypeVar

import attrs

from carry.core.absorb import absorb
from carry.core.observations import BookSeen, Event, Observations, Read
from carry.core.policy import MarketPolicy, Policy
from carry.core.state import State
from carry.core.types import Fees, Leg
from carry.venues.base import Clock, Overview, ReadFailed, Venue

from .gather import PRINTS_BACK_H, H
from .outlook import Pair, mean_rate, pair, ranked

WAIT_S: Final = 5.0
WAITS_MAX: Final = 24  # two minutes: the venue's budget is by the minute

_T = TypeVar("_T")
Progress = Callable[[int, int], object]
"""Told how many of how many coins are done."""


def survey(
    venue: Venue,
    overview: Overview,
    clock: Clock,
    policy: Policy,
    *,
    progress: Progress = lambda done, of: None,
    pause: Callable[[float], object] = time.sleep,
) -> list[Pair]:
    """Every pair that can be told by its token, ranked. Raises `ReadFailed` when nothing answers.

    Coins of the policy and all of the venue's overview; those the venue does not list are left out
    unless the policy names them.
    """
    coins = tuple(dict.fromkeys((*policy.coins, *overview.coins)))
    named = {market.base: market for market in policy.markets}
    wide = attrs.evolve(
        policy, markets=tuple(named.get(coin, MarketPolicy(base=coin)) for coin in coins)
    )

    def patiently(read: Callable[[], _T]) -> _T:
        """A read that waits for the minute's budget, as often as it takes."""
        for _ in range(WAITS_MAX):
            try:
                return read()
            except ReadFailed as failure:
                if failure.kind != "budget":
                    raise
                pause(WAIT_S)
        return read()

    markets = patiently(lambda: venue.markets(coins))
    listed = sorted(markets.markets)
    reads: list[Read] = [markets, patiently(lambda: venue.contexts(listed))]
    fees = _fees(patiently, overview)
    volumes = patiently(overview.volumes)
    events: list[Event] = []
    means: dict[str, Decimal | None] = {}
    for done, coin in enumerate(listed):
        progress(done, len(listed))
        events += _books(patiently, venue, coin)
        # A book is stamped, so from here on the venue's clock is known.
        since_ms = (clock.venue_ms() or clock.wall_ms()) - PRINTS_BACK_H * H
        try:
            prints = patiently(partial(venue.prints, coin, since_ms))
            reads.append(prints)
            rates = (row.rate for row in prints.prints)
            means[coin] = mean_rate(rates, venue.capabilities.interval_h)
        except ReadFailed:
            means[coin] = None
    progress(len(listed), len(listed))
    # What was waited for is not old: all of it is judged as of the last moment it was seen.
    state = _state(wide, venue, clock, reads, events)
    return ranked(
        pair(
            state,
            carry,
            fees,
            mean=means.get(coin),
            volume_usd=volumes.get(coin),
            shift=overview.shift(coin),
        )
        for coin, carry in state.carries.items()
        if coin in markets.markets or coin in policy.coins
    )


def _books(
    patiently: Callable[[Callable[[], BookSeen]], BookSeen], venue: Venue, coin: str
) -> Sequence[Event]:
    """Both books; one that prices nothing is absent, and its gate says so."""
    found: list[Event] = []
    for leg in Leg:
        try:
            found.append(patiently(partial(venue.book, coin, leg)))
        except ReadFailed:
            continue
    return found


def _fees(patiently: Callable[[Callable[[], Fees]], Fees], overview: Overview) -> Fees | None:
    try:
        return patiently(overview.fees)
    except ReadFailed:
        return None


def _state(
    policy: Policy,
    venue: Venue,
    clock: Clock,
    reads: Sequence[Read],
    events: Sequence[Event],
) -> State:
    """A state that saw all of it at once."""
    at_ms = clock.mono_ms()
    newest = tuple(attrs.evolve(e, seen_ms=at_ms) for e in events if isinstance(e, BookSeen))
    fresh = tuple(attrs.evolve(read, issued_ms=at_ms) for read in reads)
    state = State.initial(policy, venue.capabilities)
    observed = Observations(
        mono_ms=at_ms,
        wall_ms=clock.wall_ms(),
        venue_ms=clock.venue_ms(),
        reads=fresh,
        events=newest,
    )
    return absorb(state, observed)[0]
