"""Decide journaled ticks again: the same observations through the same `step`.

Under the rules a tick was decided by, actions and state must come out byte for byte (P11): the
first difference is a fault. Under other rules there is a *decision diff*: at which ticks this
program would have sent something else. From such a tick on what was seen is no longer what would
have been seen, so that nothing is compared until the next checkpoint, where it begins anew.

Each row also carries a hash over itself and the row before, so that a digit changed in the file is
found at its own tick, even where no decision depends on it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import attrs

from carry.base.codec import digest
from carry.core.actions import Action, Write
from carry.core.state import RULES, SCHEMA
from carry.shell.reader import Reader
from carry.shell.say import render

from . import past
from .past import ACTIONS, STATE, Decided, Unreadable

SHOWN_MAX: Final = 3  # changed decisions of a journal that are kept as transcripts


@attrs.frozen(kw_only=True)
class Replayed:
    """How a replay went.

    ticks: decided again and compared. decisions: of them, those at which something was or would be
    sent to the venue; changed: of them, those at which it differs. said: ticks at which only
    alerts or notes do. left_out: ticks after a changed decision, which no longer happened like
    that. fault: the first difference where there must be none, in transcript form. shown: changed
    decisions likewise. rules: of the rows, ascending.
    """

    ticks: int = 0
    decisions: int = 0
    changed: int = 0
    said: int = 0
    left_out: int = 0
    fault: str | None = None
    shown: tuple[str, ...] = ()
    rules: tuple[int, ...] = ()

    @property
    def same(self) -> bool:
        return self.fault is None and not self.changed

    @property
    def exit_code(self) -> int:
        """0 nothing differs, 1 something does that must not, 3 decisions differ by other rules."""
        return 1 if self.fault is not None else 3 if self.changed else 0

    @property
    def text(self) -> str:
        """For a person."""
        if self.fault is not None:
            return self.fault
        other = [str(number) for number in self.rules if number != RULES]
        if not other and not self.changed and not self.said:
            return f"{self.ticks} ticks, 0 differences"
        lines = [*self.shown]
        more = self.changed - len(self.shown)
        if more > 0:
            lines.append(f"and {more} more")
        lines.append(
            f"decisions changed: {self.changed} of {self.decisions}, in {self.ticks} ticks"
            + (f" decided under rules {', '.join(other)}, now {RULES}" if other else "")
        )
        if self.said:
            lines.append(f"{self.said} ticks would only have said something else")
        if self.left_out:
            lines.append(
                f"{self.left_out} ticks after a changed decision are left out, to the next "
                "checkpoint: what was seen there followed from what was done"
            )
        return "\n".join(lines)


def together(all_of: Iterable[Replayed]) -> Replayed:
    """The sum of several journals; the first fault is kept."""
    found = list(all_of)
    return Replayed(
        ticks=sum(r.ticks for r in found),
        decisions=sum(r.decisions for r in found),
        changed=sum(r.changed for r in found),
        said=sum(r.said for r in found),
        left_out=sum(r.left_out for r in found),
        fault=next((r.fault for r in found if r.fault is not None), None),
        shown=tuple(text for r in found for text in r.shown)[:SHOWN_MAX],
        rules=tuple(sorted({number for r in found for number in r.rules})),
    )


def replay(
    path: str,
    first: int | None = None,
    last: int | None = None,
    *,
    lenient: bool = False,
    done: Callable[[int, int], None] = lambda ticks, of: None,
) -> Replayed:
    """Decide the ticks `first` to `last` (inclusive; all that are kept unless named) again.

    Ticks between the checkpoint before `first` and `first` are run to get there and not compared.
    lenient: a decision diff even where the rules are the same. done: told how far. Raises NotThere.
    """
    reader = Reader(path)
    try:
        return _Replay(reader, first, last, lenient, done).run()
    finally:
        reader.close()


@attrs.define
class _Replay:
    reader: Reader
    first: int | None
    last: int | None
    lenient: bool
    done: Callable[[int, int], None]
    found: Replayed = attrs.field(factory=Replayed)

    def run(self) -> Replayed:
        begin, kept = past.start(self.reader, self.first), past.span(self.reader)
        if begin is None or kept is None:
            return self.found
        upto = kept[1] if self.last is None else min(self.last, kept[1])
        try:
            while begin is not None:
                stopped = self._segment(begin, upto)
                begin = None if stopped is None else self._after(stopped, upto)
        except Unreadable as error:
            self.found = attrs.evolve(self.found, fault=str(error))
        return self.found

    def _segment(self, begin: past.Start, upto: int) -> int | None:
        """Compare from `begin` on; the tick at which history ended, None when it did not."""
        aligned = True  # the state is the one of the time, not only its decisions
        for it in past.decided(self.reader, begin, upto):
            seq = it.tick.seq
            self.done(seq - begin.seq, upto - begin.seq)
            if self.first is not None and seq < self.first:
                continue
            strict = aligned and it.tick.rules == RULES and not self.lenient
            if self.reader.schema != SCHEMA:
                strict = False  # an older program wrote fewer fields: its digests are of those
            fault = _fault(it) if strict else _tampered(it)
            if fault is not None:
                self.found = attrs.evolve(self.found, fault=fault)
                return None
            was, now = it.asked(self.reader.schema), it.actions
            self._count(it, was, now)
            aligned = aligned and (strict or digest(STATE.encode(it.after)) == it.tick.digest)
            if writes(was) != writes(now):
                return seq
        return None

    def _count(self, it: Decided, was: Sequence[Action], now: Sequence[Action]) -> None:
        then, today = writes(was), writes(now)
        found, changed = self.found, then != today
        rules = found.rules if it.tick.rules in found.rules else (*found.rules, it.tick.rules)
        self.found = attrs.evolve(
            found,
            ticks=found.ticks + 1,
            decisions=found.decisions + bool(then or today),
            changed=found.changed + changed,
            said=found.said + (not changed and tuple(was) != tuple(now)),
            rules=rules,
        )
        if changed and len(found.shown) < SHOWN_MAX:
            text = f"tick {it.tick.seq}: another decision\n{_transcripts(it, was)}"
            self.found = attrs.evolve(self.found, shown=(*found.shown, text))

    def _after(self, seq: int, upto: int) -> past.Start | None:
        """Where to begin anew after a decision that changed at `seq`."""
        row = self.reader.rows("SELECT min(seq) FROM checkpoints WHERE seq >= ?", seq)[0][0]
        at = upto if row is None else min(row, upto)
        self.found = attrs.evolve(self.found, left_out=self.found.left_out + at - seq)
        found = None if row is None or row >= upto else self.reader.checkpoint(row)
        return None if found is None else past.Start(*found)


def writes(actions: Iterable[Action]) -> tuple[Action, ...]:
    """What goes to the venue: the decisions."""
    return tuple(action for action in actions if isinstance(action, Write))


def _fault(it: Decided) -> str | None:
    """The first difference between what is decided now and what the row says."""
    tick = it.tick
    if ACTIONS.encode(it.actions) != tick.actions:
        return f"tick {tick.seq}: other actions\n{_transcripts(it, it.asked())}"
    if digest(STATE.encode(it.after)) != tick.digest:
        lines = "\n".join(_lines("+", it, it.actions))
        return f"tick {tick.seq}: another state\n{lines}"
    return _tampered(it)


def _tampered(it: Decided) -> str | None:
    tick = it.tick
    kept = digest(it.chain.encode() + tick.observations + tick.actions + tick.digest.encode())
    if kept != tick.chain:
        return f"tick {tick.seq}: the row is not what was written (its hash differs)"
    return None


def _transcripts(it: Decided, was: Sequence[Action]) -> str:
    """As it was with -, as it would be now with +."""
    return "\n".join((*_lines("-", it, was), *_lines("+", it, it.actions)))


def _lines(mark: str, it: Decided, actions: Sequence[Action]) -> Iterator[str]:
    for line in render(it.before, it.observations, it.after, actions):
        yield f"{mark} {line}"
