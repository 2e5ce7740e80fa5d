"""The journal's ticks, decided again one after the other: what every look at the past starts from.

Each journaled observation goes through this program's `step`, from the checkpoint before the first
wanted tick on. The journal is read a batch at a time, so that a bot that writes it meanwhile is
never held up: no read transaction outlives a batch.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Final

import attrs

from carry.base.codec import Undecodable, codec
from carry.core.actions import Action
from carry.core.observations import Observations
from carry.core.state import SCHEMA, State
from carry.core.step import step
from carry.shell.reader import Reader, Tick

OBSERVATIONS: Final = codec(Observations)
ACTIONS: Final = codec(tuple[Action, ...])
STATE: Final = codec(State)


class NotThere(Exception):
    """The journal does not hold the tick or the time that was asked for. Says what it holds."""


class Unreadable(Exception):
    """A row of the journal that cannot be decoded. seq: its tick."""

    def __init__(self, seq: int, text: str) -> None:
        super().__init__(f"tick {seq}: a row that cannot be read ({text})")
        self.seq = seq


@attrs.frozen
class Start:
    """A state that replay can begin from: the one after tick `seq`, whose row has this `chain`."""

    seq: int
    chain: str
    state: State


@attrs.frozen
class Decided:
    """A journaled tick and what this program's `step` makes of it.

    before: the state it started from. chain: of the row before.
    """

    tick: Tick
    chain: str
    before: State
    observations: Observations
    after: State
    actions: tuple[Action, ...]

    def asked(self, schema: int = SCHEMA) -> tuple[Action, ...]:
        """What was asked for at the time. Raises Unreadable."""
        return journaled(self.tick, schema)


def journaled(tick: Tick, schema: int = SCHEMA) -> tuple[Action, ...]:
    """The actions of a row. Raises Unreadable."""
    try:
        found: tuple[Action, ...] = ACTIONS.decode(tick.actions, schema)
    except Undecodable as error:
        raise Unreadable(tick.seq, str(error)) from None
    return found


def span(reader: Reader) -> tuple[int, int] | None:
    """The oldest and newest tick that are kept; None when there is none."""
    first, last = reader.rows("SELECT min(seq), max(seq) FROM ticks")[0]
    return None if first is None else (first, last)


def start(reader: Reader, first: int | None = None) -> Start | None:
    """Where to begin in order to reach tick `first` (the oldest kept); None without any tick.

    Raises NotThere when no checkpoint is old enough.
    """
    kept = span(reader)
    if kept is None:
        return None
    wanted = kept[0] if first is None else max(first, kept[0])
    found = reader.checkpoint(wanted - 1)
    if found is None and first is None:
        # The oldest ticks lost their checkpoint to pruning: begin at the first one there is.
        row = reader.rows("SELECT min(seq) FROM checkpoints")[0][0]
        found = None if row is None else reader.checkpoint(row)
    if found is None:
        raise NotThere(
            f"{reader.path}: there is no checkpoint at or before tick {wanted}; ticks are kept "
            f"from {kept[0]} on"
        )
    return Start(*found)


def decided(
    reader: Reader,
    begin: Start,
    last: int | None = None,
    done: Callable[[int], None] = lambda seq: None,
) -> Iterator[Decided]:
    """The ticks after `begin`, up to and with `last` (the newest of now), each decided again.

    done: told the number of each tick. Raises Unreadable, NotThere (rows are missing).
    """
    kept = span(reader)
    upto = kept[1] if kept is not None else 0
    chain, state, seq = begin.chain, begin.state, begin.seq
    for tick in reader.ticks(begin.seq, upto if last is None else min(last, upto)):
        if tick.seq != seq + 1:
            raise NotThere(
                f"{reader.path}: ticks {seq + 1} to {tick.seq - 1} are gone: pruned meanwhile, "
                "or taken out. Name a later --from"
            )
        try:
            observations = OBSERVATIONS.decode(tick.observations, reader.schema)
        except Undecodable as error:
            raise Unreadable(tick.seq, str(error)) from None
        after, actions = step(state, observations)
        yield Decided(tick, chain, state, observations, after, actions)
        chain, state, seq = tick.chain, after, tick.seq
        done(seq)


def at(reader: Reader, when: str | None) -> int:
    """The tick that `when` names: its number, or a time (UTC unless it says), or None: the newest.

    A time names the last tick at or before it, by the venue's clock. Raises NotThere.
    """
    kept = span(reader)
    if kept is None:
        raise NotThere(f"{reader.path}: no tick is kept")
    if when is None:
        return kept[1]
    if when.isdigit():
        seq = int(when)
        if not kept[0] <= seq <= kept[1]:
            raise NotThere(
                f"{reader.path}: tick {seq} is not kept; ticks {kept[0]} to {kept[1]} are"
            )
        return seq
    wanted_ms = moment_ms(when)
    rows = reader.rows("SELECT max(seq) FROM ticks WHERE venue_ms <= ?", wanted_ms)
    if rows[0][0] is None:
        first_ms = reader.rows("SELECT min(venue_ms) FROM ticks")[0][0]
        since = "no tick has a time yet" if first_ms is None else f"from {written(first_ms)} on"
        raise NotThere(f"{reader.path}: no tick is kept of {when}; they are {since}")
    return int(rows[0][0])


def moment_ms(text: str) -> int:
    """A time such as 2026-05-03T14:00Z or "2026-05-03 14:00", epoch ms. Raises NotThere."""
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise NotThere(
            f"{text!r} is neither a tick's number nor a time such as 2026-05-03T14:00Z"
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=timezone.utc)
    since = found - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def written(at_ms: int) -> str:
    """A time as `moment_ms` reads it."""
    found = datetime.fromtimestamp(at_ms // 1_000, timezone.utc)
    return found.strftime("%Y-%m-%dT%H:%M:%SZ")
