"""A venue's probe: look, place far from the market, see, withdraw, and prove that nothing is left.

The course of it is the same everywhere; what differs between venues is behind a `Bench`. Nothing
here is journaled: a probe holds no position, and every order it made is named by a random run.
"""

import os
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Protocol

import attrs

from carry.core.num import show
from carry.core.types import Side
from carry.venues.base import ReadFailed

AWAY_BPS = 500
"""Default distance of a test order from the touch: 5 % of the price."""

LISTED_S = 10.0
"""How long a new order may be missing from the list of open orders before that is said."""

POLL_S = 0.5
FOLLOW_S = 1.0
AGREE_S = 2.0
"""Two answers that an order does not exist must be this far apart to be believed."""

DECIDE_S = 60.0
"""After the venue's own time has passed, how long an unknown outcome is asked for."""


class Stop(Exception):
    """The probe ends here: a sentence for the operator, and the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


@attrs.frozen(kw_only=True)
class Draft:
    """A test order: valid by the venue's rules, away from the market. `name`: the client's id."""

    name: str
    side: Side
    px: Decimal
    sz: Decimal


@attrs.frozen
class Skipped:
    """A side that cannot be tried, and why; no failure."""

    why: str


@attrs.frozen
class Placed:
    oid: str


@attrs.frozen
class Refused:
    """The venue said no; `advice`: the next step, "" when there is none."""

    text: str
    advice: str = ""


@attrs.frozen
class Unknown:
    """The order may rest, may fill, or may never have arrived."""

    why: str


@attrs.frozen
class NotSent:
    why: str


Outcome = Placed | Refused | Unknown | NotSent


@attrs.frozen(kw_only=True)
class Seen:
    """An order's own record. `state`: "open", "filled", "gone" or "absent"; `word`: the venue's."""

    state: str
    word: str
    filled: Decimal


class Bench(Protocol):
    """One instrument of one account. Reads raise `ReadFailed`; `Stop` ends the probe.

    settle_s: how long after its sending an order may still appear although its record does not
    exist. holding: what of the account a test order would change if it filled (position or coins).
    """

    title: str
    settle_s: float

    def look(self) -> Sequence[str]:
        """Read clock, rights, market and account; lines for people."""

    def holding(self) -> Decimal: ...

    def name(self, run: int, number: int) -> str:
        """A client id: of this run (64 random bits) and its order's number."""

    def draft(self, side: Side, name: str) -> Draft | Skipped: ...
    def place(self, draft: Draft) -> Outcome: ...
    def seen(self, draft: Draft) -> Seen: ...
    def open_names(self) -> frozenset[str]:
        """Client ids of everything that rests in this instrument."""

    def cancel(self, draft: Draft) -> Seen | str:
        """Ask for withdrawal: the order's end where the reply tells it, else what came instead
        ("" for an answer that tells nothing). Never raises."""

    def watch(self) -> Sequence[str]:
        """What the stream told since the last call; empty where nobody asked for it."""


@attrs.frozen(kw_only=True)
class Plan:
    """What to do. `delay_s`: between placing and withdrawing. `wait`: sleeps so many seconds.

    follow: tell what becomes of an order meanwhile, by the stream where the bench has one, and by
    its own record.
    """

    iterations: int
    delay_s: float
    follow: bool = False
    say: Callable[[str], object]
    wait: Callable[[float], None] = time.sleep
    now_s: Callable[[], float] = time.monotonic


@attrs.define
class _Run:
    """The state of a probe: orders that may still rest, and whether anything went wrong."""

    bench: Bench
    plan: Plan
    pending: dict[str, Draft] = attrs.field(factory=dict)
    accepted: set[str] = attrs.field(factory=set)
    made: list[Draft] = attrs.field(factory=list)
    failed: bool = False

    def say(self, text: str) -> None:
        self.plan.say(text)

    def fail(self, text: str) -> None:
        self.failed = True
        self.say(text)


def run(bench: Bench, plan: Plan) -> int:
    """The whole probe; its exit code: 0 when everything went as it should and nothing is left."""
    course = _Run(bench, plan)
    try:
        for line in bench.look():
            course.say(line)
        before = bench.holding()
        bench.open_names()  # what cannot be proven afterwards is not begun
    except ReadFailed as failed:
        course.say(f"FAILED before any order was placed: {failed}")
        return 1
    except Stop as stop:
        course.say(f"STOPPED before any order was placed: {stop}")
        return stop.code
    number = int.from_bytes(os.urandom(8), "big")
    code = 0
    try:
        for turn in range(plan.iterations):
            for side in Side:
                if not course.failed:
                    _try(course, side, bench.name(number, 2 * turn + (side is Side.SELL)))
    except Stop as stop:
        course.fail(f"STOPPED: {stop}")
        code = stop.code
    except ReadFailed as failed:
        course.fail(f"FAILED: {failed}")
    finally:
        # Also on Ctrl-C: what was placed is withdrawn before the process ends.
        proven = _prove(course, before)
    if not proven:
        return 1
    return code or int(course.failed)


def _try(course: _Run, side: Side, name: str) -> None:
    """One order: placed, listed, withdrawn, its record read."""
    bench, plan = course.bench, course.plan
    draft = bench.draft(side, name)
    word = side.value.upper()
    if isinstance(draft, Skipped):
        course.say(f"{word} skipped: {draft.why}")
        return
    what = f"{word} {show(draft.sz)} at {show(draft.px)}"
    course.pending[name] = draft
    course.made.append(draft)
    outcome = bench.place(draft)
    match outcome:
        case Refused():
            del course.pending[name]
            advice = f"; {outcome.advice}" if outcome.advice else ""
            course.fail(f"{what}: REFUSED: {outcome.text}{advice}")
            return
        case NotSent():
            del course.pending[name]
            course.fail(f"{what}: NOT SENT: {outcome.why}")
            return
        case Unknown():
            course.fail(f"{what}: UNKNOWN: {outcome.why}; asking the venue for {name}")
            _decide(course, draft)
            return
        case Placed():
            course.accepted.add(name)
            course.say(f"{what}: placed as order {outcome.oid}")
    if _listed(course, draft):
        course.say(f"{what}: seen among the open orders")
    else:
        course.fail(f"{what}: not among the open orders within {LISTED_S:.0f} s")
    if plan.follow:
        _follow(course, draft)
    else:
        plan.wait(plan.delay_s)
    _decide(course, draft)
    if plan.follow:
        for line in bench.watch():
            course.say(line)


def _follow(course: _Run, draft: Draft) -> None:
    """Wait, and say each change of the order that the stream or its record tells."""
    plan, told = course.plan, ""
    end_s = plan.now_s() + plan.delay_s
    while True:
        for line in course.bench.watch():
            course.say(line)
        try:
            seen = course.bench.seen(draft)
            now = f"{seen.word}, {show(seen.filled)} filled"
        except ReadFailed as failed:
            now = f"not read: {failed}"
        if now != told:
            course.say(f"{draft.name}: {now}")
            told = now
        left_s = end_s - plan.now_s()
        if left_s <= 0:
            return
        plan.wait(min(left_s, FOLLOW_S))


def _listed(course: _Run, draft: Draft) -> bool:
    end_s = course.plan.now_s() + LISTED_S
    while True:
        if draft.name in course.bench.open_names():
            return True
        if course.plan.now_s() >= end_s:
            return False
        course.plan.wait(POLL_S)


def _decide(course: _Run, draft: Draft) -> bool:
    """Withdraw an order and ask for its record until it is certain that nothing of it rests.

    A record that does not exist proves nothing until `settle_s` after the order left, and then
    only by two answers that agree; of an order that was accepted it proves nothing.
    """
    bench, plan = course.bench, course.plan
    began_s = plan.now_s()
    absent_s: float | None = None
    why = ""
    while plan.now_s() - began_s <= bench.settle_s + DECIDE_S:
        answer = bench.cancel(draft)
        try:
            seen = bench.seen(draft) if isinstance(answer, str) else answer
        except ReadFailed as failed:
            why, absent_s = str(failed), None
            plan.wait(POLL_S)
            continue
        now_s = plan.now_s()
        if seen.state in ("filled", "gone"):
            _ended(course, draft, seen)
            return True
        doubted = draft.name not in course.accepted and now_s - began_s > bench.settle_s
        if seen.state == "absent" and doubted:
            if absent_s is not None and now_s - absent_s >= AGREE_S:
                del course.pending[draft.name]
                course.say(f"{draft.name}: the venue never had this order")
                return True
            absent_s = now_s if absent_s is None else absent_s
        elif seen.state == "open":
            absent_s = None
        why = str(answer) or f"its record says {seen.word}"
        plan.wait(POLL_S)
    course.fail(f"{draft.name}: UNDECIDED: {why}")
    return False


def _ended(course: _Run, draft: Draft, seen: Seen) -> None:
    del course.pending[draft.name]
    side = draft.side.value.upper()
    if seen.filled:
        course.fail(
            f"{side} {show(draft.sz)} at {show(draft.px)}: FILLED {show(seen.filled)} although it "
            "was far from the market: close that by hand"
        )
        return
    course.say(f"{side} {show(draft.sz)} at {show(draft.px)}: withdrawn ({seen.word})")


def _prove(course: _Run, before: Decimal) -> bool:
    """Withdraw what may still rest, then read orders and holding: issued after the last action."""
    bench = course.bench
    for draft in tuple(course.pending.values()):
        if not _decide(course, draft):
            continue
    ours = frozenset(draft.name for draft in course.made)
    try:
        left = bench.open_names()
        after = bench.holding()
    except ReadFailed as failed:
        course.say(f"NOT PROVEN that nothing is left: {failed}; look at the venue by hand")
        return False
    if course.pending:
        names = ", ".join(course.pending)
        course.say(f"LEFT UNDECIDED: {names}; look for it at the venue by hand")
        return False
    if left & ours:
        course.say(f"LEFT OPEN: {', '.join(sorted(left & ours))}; withdraw it by hand")
        return False
    if after != before:
        course.say(
            f"CHANGED: held {show(before)} before and {show(after)} now; if that was not you, "
            "look at the venue"
        )
        return False
    others = f" ({len(left)} open orders of others are untouched)" if left else ""
    course.say(
        f"nothing left: none of {len(ours)} test orders rests and the holding is {show(after)} as "
        f"before, by reads after the last action{others}"
    )
    return True
