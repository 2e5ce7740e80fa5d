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
from carry.core.actions import Fence, Place, Query
from carry.core.state import Idle, State
from carry.core.types import Leg
from carry.shell import gather, journal
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


@animal("a timeout is a failure: the order is sent again under a new nonce", "F20+F21+F36", 2, 9)
def retries_on_timeout() -> Any:
    def outcome(write: Any, posted: Any) -> Any:
        found = real(write, posted)
        if isinstance(found, seen.OutcomeUnknown):
            return seen.NotSent(intent=found.intent, why=found.why)
        return found

    real = replies.outcome_of
    return mock.patch("carry.venues.hyperliquid.venue.outcome_of", outcome)


@animal("an empty reply is read as flat", "F60+F63+F61", 9, 17)
def empty_is_flat() -> Any:
    def compare(state: State, coin: str, leg: Leg, held: Decimal, issued_ms: int) -> Any:
        carry = state.carries[coin]
        diff = held - carry.owned(leg) - carry.foreign(leg)
        if diff and leg.value in carry.known and not any(True for _ in state.of(coin, leg)):
            return holdings._appeared(state, carry, leg, diff)
        return real(state, coin, leg, held, issued_ms)

    real = holdings.compare
    return mock.patch.object(absorb, "compare", compare)


@animal("a snapshot's old fills are added again", "F44+F43+F67", 1, 2)
def snapshot_adds_fills() -> Any:
    def book_fill(state: State, fill: Any, *, complete: bool) -> Any:
        known = {k: v for k, v in state.seen.items() if k != fill.trade_id}
        again = not complete and fill.trade_id in state.seen
        return real(attrs.evolve(state, seen=known) if again else state, fill, complete=complete)

    real = holdings.book_fill
    return mock.patch.object(absorb, "book_fill", book_fill)


@animal("the hedge is sized from what was asked, not from what filled", "F37+F13+F14+F12", 0, 1)
def hedges_the_request() -> Any:
    def placed(place: Any, response: Any) -> Any:
        found = real(place, response)
        if isinstance(found, seen.Accepted) and not found.resting:
            return attrs.evolve(found, filled_sz=place.sz)
        return found

    real = replies._placed
    return mock.patch.object(replies, "_placed", placed)


@animal("a kill is forgotten by a restart", "F100+F111", 0, 1)
def kill_forgotten() -> Any:
    def load(self: Any) -> Any:
        state = real(self)
        if state is None:
            return None
        kept = {n: x for n, x in state.latches.items() if x.mode != "flatten"}
        return attrs.evolve(state, latches=kept)

    real = journal.Journal.load
    return mock.patch.object(journal.Journal, "load", load)


@animal("flat is said without asking the venue", "F21+F22+F28+F20+F36", 6, 12)
def says_flat_unasked() -> Any:
    def leave(state: State, carry: Any, look: Any, phase: Any) -> Any:
        found = real(state, carry, look, phase)
        stuck = any(i.unknown for i in state.of(carry.coin))
        return phases.Decision(phase=Idle(until_ms=state.now_ms)) if stuck else found

    real = phases.leave
    return mock.patch.object(phases, "leave", leave)


@animal("the machine's clock makes the nonces, also when it was set back", "F04")
def nonces_by_the_clock() -> Any:
    def next_nonce(state: State) -> Any:
        return state.wall_ms if state.wall_ms < state.nonce - 100 else real(state)

    real = writes.next_nonce
    return mock.patch.object(writes, "next_nonce", next_nonce)


@animal("an unknown order is resolved by its record, before its nonce is closed", "F21+F22", 0, 1)
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


@animal("a short that disappears is not missed", "F80+F81", 0, 1)
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


@animal("a stream that says nothing is a stream where nothing happened", "F27+F40+F41+F43")
def stream_is_the_truth() -> Any:
    def due(self: Any, state: State) -> list[str]:
        return [name for name in real(self, state) if name not in ("fills", "orders")
                or not state.account.fills_ms]  # fmt: skip

    real = gather.Gatherer._due
    return mock.patch.object(gather.Gatherer, "_due", due)


@animal("an order is called dead at its expiry, fence or no fence", "F22+F32+F50")
def dead_at_its_expiry() -> Any:
    return mock.patch.object(intents, "LATE_AT_MS", -2_000)


@animal("one reply is enough to believe that something is gone", "F60+F63+F28+F61")
def believes_one_read() -> Any:
    def compare(state: State, coin: str, leg: Leg, held: Decimal, issued_ms: int) -> Any:
        state, said = real(state, coin, leg, held, issued_ms)
        doubt = state.carries[coin].doubts.get(leg.value)
        if doubt is None:
            return state, said
        return holdings._appeared(state, state.carries[coin], leg, doubt.diff)

    real = holdings.compare
    return mock.patch.object(absorb, "compare", compare)


@animal("the nonce begins anew with the process", "F04+F100+F111")
def nonces_start_over() -> Any:
    def load(self: Any) -> Any:
        state = real(self)
        return None if state is None else attrs.evolve(state, nonce=0)

    real = journal.Journal.load
    return mock.patch.object(journal.Journal, "load", load)


@animal("repair does not wait for an order whose fate is unknown", "F20+F21+F22+F32")
def repair_does_not_wait() -> Any:
    def view(*args: Any) -> Any:
        return attrs.evolve(real(*args), stuck=False)

    def free(state: State, carry: Any, leg: Leg) -> bool:
        return all(i.unknown for i in state.of(carry.coin, leg))

    real = phases.view
    return all_of(
        mock.patch.object(composition, "view", view), mock.patch.object(planning, "_free", free)
    )


@animal("a pause is forgotten by a restart", "F100+F111")
def pause_forgotten() -> Any:
    def load(self: Any) -> Any:
        state = real(self)
        if state is None:
            return None
        kept = {n: x for n, x in state.latches.items() if x.mode != "reduce"}
        return attrs.evolve(state, latches=kept)

    real = journal.Journal.load
    return mock.patch.object(journal.Journal, "load", load)


@animal("any status in the reply is taken for our order's", "F24+F32")
def takes_any_status() -> Any:
    def only_item(response: Any, kind: str) -> Any:
        try:
            return real(response, kind)
        except replies.Unrecognised:
            return {"error": "Order could not immediately match against any resting orders."}

    real = replies._only_item
    return mock.patch.object(replies, "_only_item", only_item)


@animal("too many requests means that nothing was done", "F34+F35")
def busy_is_not_sent() -> Any:
    def outcome(write: Any, posted: Any) -> Any:
        if posted.status in (429, 422) and isinstance(write, Place):
            return seen.NotSent(intent=write.intent, why=posted.why)
        return real(write, posted)

    real = replies.outcome_of
    return mock.patch("carry.venues.hyperliquid.venue.outcome_of", outcome)


@animal("a copy of the journal is as good as the journal", "F104")
def backup_is_trusted() -> Any:
    def journal_old(state: State, number: int, what: str, coin: str) -> Any:
        return state, ()

    return all_of(
        mock.patch.object(holdings, "journal_old", journal_old),
        mock.patch.object(absorb, "journal_old", journal_old),
    )


@animal("what was withdrawn did not fill", "F30+F25+F37")
def cancelled_is_unfilled() -> Any:
    def outcome(state: State, fact: Any) -> Any:
        intent = state.intents.get(str(getattr(fact, "intent", "")))
        if isinstance(fact, seen.Cancelled) and intent is not None:
            return intents.settled(state, intent, "never")
        return real(state, fact)

    real = intents.outcome
    return mock.patch.object(absorb, "outcome", outcome)


@animal("what others do with the account is taken for our own", "F80+F81")
def others_are_ours() -> Any:
    def taken(state: State, carry: Any, fill: Any) -> Any:
        return real(state, attrs.evolve(carry, foreign_perp=carry.foreign_perp + fill.sz), fill)

    real = holdings._taken
    return mock.patch.object(holdings, "_taken", taken)
