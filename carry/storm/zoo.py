"""Broken bots, each from an incident in the field: what a storm must be able to tell from ours.

Each is a patch of at most 15 lines over real functions, put on for the length of a `with`. It
passes seeds without faults, and some seed with the named faults kills it.
"""

import contextlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final
from unittest import mock

import attrs

from carry.core import absorb, holdings, intents, phases, planning, writes
from carry.core import observations as seen
from carry.core import step as composition
from carry.core.actions import Fence, Query
from carry.core.state import Idle, State
from carry.core.types import Leg
from carry.shell import journal
from carry.venues.hyperliquid import replies

Patch = Callable[[], contextlib.AbstractContextManager[Any]]


@attrs.frozen
class Animal:
    """A broken bot. preset: the faults it is hunted with; seeds: those that kill it, at `TICKS`."""

    incident: str
    preset: str
    seeds: tuple[int, ...]
    patch: Patch


TICKS: Final = 300
ZOO: Final[dict[str, Animal]] = {}


def animal(incident: str, preset: str, *seeds: int) -> Callable[[Patch], Patch]:
    def add(patch: Patch) -> Patch:
        ZOO[patch.__name__] = Animal(incident, preset, seeds, patch)
        return patch

    return add


@contextlib.contextmanager
def all_of(*patches: Any) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield


@animal("a timeout is a failure: the order is sent again under a new nonce", "F20+F21+F36", 2, 12)
def retries_on_timeout() -> Any:
    def outcome(write: Any, posted: Any) -> Any:
        found = real(write, posted)
        if isinstance(found, seen.OutcomeUnknown):
            return seen.NotSent(intent=found.intent, why=found.why)
        return found

    real = replies.outcome_of
    return mock.patch("carry.venues.hyperliquid.venue.outcome_of", outcome)


@animal("an empty reply is read as flat", "F60+F63+F61", 0, 2, 10)
def empty_is_flat() -> Any:
    def compare(state: State, coin: str, leg: Leg, held: Decimal, issued_ms: int) -> Any:
        carry = state.carries[coin]
        diff = held - carry.owned(leg) - carry.foreign(leg)
        if diff and leg.value in carry.known and not any(True for _ in state.of(coin, leg)):
            return holdings._appeared(state, carry, leg, diff)
        return real(state, coin, leg, held, issued_ms)

    real = holdings.compare
    return mock.patch.object(absorb, "compare", compare)


@animal("a snapshot's old fills are added again", "F44+F43+F67", 1, 2, 3)
def snapshot_adds_fills() -> Any:
    def book_fill(state: State, fill: Any, *, complete: bool) -> Any:
        known = {k: v for k, v in state.seen.items() if k != fill.trade_id}
        again = not complete and fill.trade_id in state.seen
        return real(attrs.evolve(state, seen=known) if again else state, fill, complete=complete)

    real = holdings.book_fill
    return mock.patch.object(absorb, "book_fill", book_fill)


@animal("the hedge is sized from what was asked, not from what filled", "F37+F13+F14+F12", 0, 1, 2)
def hedges_the_request() -> Any:
    def placed(place: Any, response: Any) -> Any:
        found = real(place, response)
        if isinstance(found, seen.Accepted) and found.filled_sz >= place.sz * 9 / 10:
            return attrs.evolve(found, filled_sz=place.sz)
        return found

    real = replies._placed
    return mock.patch.object(replies, "_placed", placed)


@animal("a kill is forgotten by a restart", "F100+F111", 0, 1, 12)
def kill_forgotten() -> Any:
    def load(self: Any) -> Any:
        state = real(self)
        if state is None:
            return None
        kept = {n: x for n, x in state.latches.items() if x.mode != "flatten"}
        return attrs.evolve(state, latches=kept)

    real = journal.Journal.load
    return mock.patch.object(journal.Journal, "load", load)


@animal("flat is said without asking the venue", "F21+F22+F28+F20+F36", 1, 6, 12)
def says_flat_unasked() -> Any:
    def leave(state: State, carry: Any, look: Any, phase: Any) -> Any:
        found = real(state, carry, look, phase)
        stuck = any(i.unknown for i in state.of(carry.coin))
        return phases.Decision(phase=Idle(until_ms=state.now_ms)) if stuck else found

    real = phases.leave
    return mock.patch.object(phases, "leave", leave)


@animal("the machine's clock makes the nonces, also when it was set back", "F04", 1, 2, 6)
def nonces_by_the_clock() -> Any:
    def next_nonce(state: State) -> Any:
        return state.wall_ms if state.wall_ms < state.nonce - 100 else real(state)

    real = writes.next_nonce
    return mock.patch.object(writes, "next_nonce", next_nonce)


@animal("an unknown order is resolved by its record, its nonce still open", "F21+F22", 0, 1, 2)
def record_before_fence() -> Any:
    def recorded(state: State, intent: Any, fact: Any) -> Any:
        if fact.status == "unknown" and intent.unknown:
            return intents.settled(state, intent, "never")
        return real(state, intent, fact)

    def pursue(state: State, answered: bool) -> Any:
        state, asked = chase(state, answered)
        return state, tuple(map(_query_instead(state), asked))

    real, chase = intents._recorded, intents.pursue
    return all_of(
        mock.patch.object(intents, "_recorded", recorded),
        mock.patch.object(composition, "pursue", pursue),
    )


def _query_instead(state: State) -> Callable[[Any], Any]:
    def turn(action: Any) -> Any:
        if not isinstance(action, Fence):
            return action
        i = state.intents[str(action.intent)]
        return Query(intent=i.no, coin=i.coin, leg=i.leg, cloid=i.cloid, why="no fence")

    return turn


@animal("a short that disappears is not missed", "F80+F81", 0, 1, 2)
def ghost_position() -> Any:
    def taken(state: State, carry: Any, fill: Any) -> Any:
        return state, ()

    def compare(state: State, coin: str, leg: Leg, held: Decimal, issued_ms: int) -> Any:
        return (state, ()) if leg.value in state.carries[coin].known else real(
            state, coin, leg, held, issued_ms
        )

    real = holdings.compare
    return all_of(
        mock.patch.object(holdings, "_taken", taken), mock.patch.object(absorb, "compare", compare)
    )


@animal("one reply is enough to believe that something is gone", "F60+F63+F28+F61", 5)
def believes_one_read() -> Any:
    def compare(state: State, coin: str, leg: Leg, held: Decimal, issued_ms: int) -> Any:
        state, said = real(state, coin, leg, held, issued_ms)
        doubt = state.carries[coin].doubts.get(leg.value)
        if doubt is None:
            return state, said
        return holdings._appeared(state, state.carries[coin], leg, doubt.diff)

    real = holdings.compare
    return mock.patch.object(absorb, "compare", compare)


@animal("repair does not wait for an order whose fate is unknown", "F20+F21+F22+F32", 6)
def repair_does_not_wait() -> Any:
    def view(*args: Any) -> Any:
        return attrs.evolve(real(*args), stuck=False)

    def free(state: State, carry: Any, leg: Leg, look: Any) -> bool:
        return all(i.unknown for i in state.of(carry.coin, leg))

    real = phases.view
    return all_of(
        mock.patch.object(composition, "view", view), mock.patch.object(planning, "_free", free)
    )


@animal("two replies of one lagging node are believed right after a fill", "F28+F26+F27", 6, 13)
def believes_a_lagging_node() -> Any:
    return all_of(
        mock.patch.object(holdings, "LAG_MS", -1), mock.patch.object(holdings, "CONFIRM_MS", -1)
    )


@animal("what others do with the account is taken for our own", "F80+F81", 0, 1, 2)
def others_are_ours() -> Any:
    def taken(state: State, carry: Any, fill: Any) -> Any:
        return real(state, attrs.evolve(carry, foreign_perp=carry.foreign_perp + fill.sz), fill)

    real = holdings._taken
    return mock.patch.object(holdings, "_taken", taken)


@animal("a process begins without what the last one had on its way", "F21+F22+F100", 2, 6)
def forgets_what_was_sent() -> Any:
    def load(self: Any) -> Any:
        state = real(self)
        return None if state is None else attrs.evolve(state, intents={})

    real = journal.Journal.load
    return mock.patch.object(journal.Journal, "load", load)


@animal("a nonce that is used up means that the order never landed", "F20+F27+F40", 6)
def closed_means_never() -> Any:
    def outcome(state: State, fact: Any) -> Any:
        intent = state.intents.get(str(getattr(fact, "intent", "")))
        if isinstance(fact, seen.NonceClosed) and intent is not None:
            return intents.settled(state, intent, "never")
        return real(state, fact)

    real = intents.outcome
    return mock.patch.object(absorb, "outcome", outcome)
