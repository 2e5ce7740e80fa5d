"""Decide journaled ticks again: the same observations through the same `step`, byte for byte.

Under the same rules there are 0 differences (P11). Under other rules the first one shows what the
change would have done. Each row also carries a hash over itself and the row before, so that a digit
changed in the file is found at its own tick, even where no decision depends on it.
"""

import attrs

from carry.base.codec import digest
from carry.core.state import RULES
from carry.shell.reader import Reader
from carry.shell.say import render

from . import past
from .past import ACTIONS, STATE, Decided, Unreadable


@attrs.frozen
class Replayed:
    """How a replay went: `text` is for a person; `ticks` were compared."""

    same: bool
    ticks: int
    text: str


def replay(path: str, first: int | None = None, last: int | None = None) -> Replayed:
    """Decide the ticks `first` to `last` (inclusive; all that are kept unless named) again.

    Ticks between the checkpoint before `first` and `first` are run to get there and not compared.
    """
    reader = Reader(path)
    try:
        begin = past.start(reader, first)
        if begin is None:
            return Replayed(True, 0, "0 ticks, 0 differences")
        count = 0
        try:
            for tick in past.decided(reader, begin, last):
                if first is not None and tick.tick.seq < first:
                    continue
                difference = _difference(tick)
                if difference is not None:
                    return Replayed(False, count, difference)
                count += 1
        except Unreadable as error:
            return Replayed(False, count, str(error))
        return Replayed(True, count, f"{count} ticks, 0 differences")
    finally:
        reader.close()


def _difference(it: Decided) -> str | None:
    """The first difference between what is decided now and what the row says."""
    tick = it.tick
    kept = digest(it.chain.encode() + tick.observations + tick.actions + tick.digest.encode())
    rules = "" if tick.rules == RULES else f" (decided under rules {tick.rules}, now {RULES})"
    shown = render(it.before, it.observations, it.after, it.actions)
    if ACTIONS.encode(it.actions) != tick.actions:
        asked = render(it.before, it.observations, it.after, it.asked())
        return (
            f"tick {tick.seq}: other actions{rules}\n"
            + "\n".join(f"- {line}" for line in asked)
            + "\n"
            + "\n".join(f"+ {line}" for line in shown)
        )
    if digest(STATE.encode(it.after)) != tick.digest:
        lines = "\n".join(f"+ {line}" for line in shown)
        return f"tick {tick.seq}: another state{rules}\n{lines}"
    if kept != tick.chain:
        return f"tick {tick.seq}: the row is not what was written (its hash differs)"
    return None
