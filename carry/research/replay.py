"""Decide journaled ticks again: the same observations through the same `step`, byte for byte.

Under the same rules there are 0 differences (P11). Under other rules the first one shows what the
change would have done. Each row also carries a hash over itself and the row before, so that a digit
changed in the file is found at its own tick, even where no decision depends on it.
"""

from typing import Final

import attrs

from carry.base.codec import Undecodable, codec, digest
from carry.core.actions import Action
from carry.core.observations import Observations
from carry.core.state import RULES, State
from carry.core.step import step
from carry.shell.database import JournalRefused
from carry.shell.reader import Reader, Tick
from carry.shell.say import render

OBSERVATIONS: Final = codec(Observations)
ACTIONS: Final = codec(tuple[Action, ...])
STATE: Final = codec(State)


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
        start = _start(reader, path, first)
        if start is None:
            return Replayed(True, 0, "0 ticks, 0 differences")
        seq, chain, state = start
        count = 0
        for tick in reader.ticks(seq, last):
            compared = first is None or tick.seq >= first
            try:
                state, difference = _again(tick, state, chain)
            except Undecodable as error:
                difference = f"tick {tick.seq}: a row that cannot be read ({error})"
            if difference is not None and compared:
                return Replayed(False, count, difference)
            chain = tick.chain
            count += compared
        return Replayed(True, count, f"{count} ticks, 0 differences")
    finally:
        reader.close()


def _start(reader: Reader, path: str, first: int | None) -> tuple[int, str, State] | None:
    oldest = reader.rows("SELECT min(seq) FROM ticks")[0][0]
    if oldest is None:
        return None
    wanted = oldest if first is None else max(first, oldest)
    found = reader.checkpoint(wanted - 1)
    if found is None and first is None:
        # The oldest ticks lost their checkpoint to pruning: begin at the first one there is.
        row = reader.rows("SELECT min(seq) FROM checkpoints")[0][0]
        found = None if row is None else reader.checkpoint(row)
    if found is None:
        raise JournalRefused(
            f"{path}: there is no checkpoint at or before tick {wanted}; ticks are kept from "
            f"{oldest} on"
        )
    return found


def _again(tick: Tick, state: State, chain: str) -> tuple[State, str | None]:
    """The state after the tick decided again, and the first difference to what the row says."""
    kept = digest(chain.encode() + tick.observations + tick.actions + tick.digest.encode())
    observations = OBSERVATIONS.decode(tick.observations)
    after, actions = step(state, observations)
    asked = ACTIONS.encode(actions)
    mark = digest(STATE.encode(after))
    rules = "" if tick.rules == RULES else f" (decided under rules {tick.rules}, now {RULES})"
    if asked != tick.actions:
        return after, (
            f"tick {tick.seq}: other actions{rules}\n"
            + "\n".join(f"- {line}" for line in _shown(state, observations, after, tick))
            + "\n"
            + "\n".join(f"+ {line}" for line in render(state, observations, after, actions))
        )
    if mark != tick.digest:
        lines = "\n".join(f"+ {line}" for line in render(state, observations, after, actions))
        return after, f"tick {tick.seq}: another state{rules}\n{lines}"
    if kept != tick.chain:
        return after, f"tick {tick.seq}: the row is not what was written (its hash differs)"
    return after, None


def _shown(state: State, observations: Observations, after: State, tick: Tick) -> tuple[str, ...]:
    return render(state, observations, after, ACTIONS.decode(tick.actions))
