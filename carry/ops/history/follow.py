"""Follows a journal tick by tick, deciding again what the bot decided: the state after each tick.

The journal keeps what was seen and asked, and a state only now and then. `step` makes the states in
between, and their digests prove that they are the bot's. Where that is not so (other rules, ticks
that were forgotten) the follower goes on blind, with what the observations alone show, until the
next state that the journal keeps.
"""

import itertools
from decimal import Decimal
from typing import Final

import attrs

from carry.base.codec import Undecodable, codec, digest
from carry.core.observations import (
    BookSeen,
    FillSeen,
    FillsRead,
    Observations,
    ReceiptsRead,
    TransfersRead,
)
from carry.core.state import State
from carry.core.step import gates, step
from carry.shell.reader import Reader, Tick
from carry.shell.status import gate

from .rows import MINUTE_MS, Candles, Gates, Rows, books, snapshot
from .tables import CANDLE, GATE

OBSERVATIONS: Final = codec(Observations)
STATE: Final = codec(State)
SECOND_MS: Final = 1_000
ALERTED: Final = b'"Alert"'


class Moved(Exception):
    """The copy is not where it was thought to be: another program copied the same journal, or
    another journal was put in place. Begin again from what the database says."""


@attrs.frozen
class Batch:
    """What a stretch of ticks brought. seq, chain: of its last tick.

    venue_ms: newest venue time in it. blind: ticks whose state is not known. behind: newest tick of
    the journal minus `seq`.
    """

    rows: Rows
    seq: int
    chain: str
    venue_ms: int | None
    ticks: int
    blind: int
    behind: int


class Follower:
    """One journal, from a watermark on.

    account: its number in the database; journal: its own id. seq, chain: of the tick that was
    copied last. sample_ms: one snapshot in so much of the venue's time, of the last tick in it.
    """

    def __init__(
        self, account: int, journal: str, seq: int = 0, chain: str = "", sample_ms: int = SECOND_MS
    ) -> None:
        self.account, self.journal, self.seq, self.chain = account, journal, seq, chain
        self._sample_ms = sample_ms
        self.candles, self._gates = Candles(), Gates()
        self._state: State | None = None
        self._begun = self._whole = False
        self._candles_from_ms: int | None = None

    def batch(self, reader: Reader, ticks_max: int) -> Batch:
        """The next ticks, at most `ticks_max`. All is read when this returns.

        Raises:
            Moved: these ticks do not follow what was copied.
        """
        newest = int(reader.rows("SELECT coalesce(max(seq), 0) FROM state")[0][0])
        if newest < self.seq:
            raise Moved
        first = not self._begun
        if first:
            self._begin(reader)
        ticks = list(itertools.islice(reader.ticks(self.seq), ticks_max))
        if not ticks:
            return Batch({}, self.seq, self.chain, None, 0, 0, 0)
        if ticks[0].seq == self.seq + 1 and self.seq and not _follows(ticks[0], self.chain):
            raise Moved
        made = _Made(self)
        kept = self._kept(reader, ticks)
        for tick in ticks:
            self._tick(reader, tick, made, kept)
        made.sample()
        last = ticks[-1]
        rows = books(reader, self.account, self.journal, self.seq, last.seq, first or made.facts)
        for name, found in made.rows().items():
            rows.setdefault(name, []).extend(found)
        self.seq, self.chain = last.seq, last.chain
        return Batch(
            rows, last.seq, last.chain, made.venue_ms, len(ticks), made.blind, newest - last.seq
        )

    # --- where to begin --------------------------------------------------------------------------

    def _begin(self, reader: Reader) -> None:
        """Find the state before the first tick to come, by the checkpoint before that."""
        self._begun = True
        oldest = reader.rows("SELECT min(seq) FROM ticks WHERE seq > ?", self.seq)[0][0]
        # A minute whose begin was forgotten is no candle.
        self._whole = oldest in (None, self.seq + 1)
        upto = self.seq if oldest is None else int(oldest) - 1
        start = _checkpoint(reader, upto)
        if start is None:
            return
        seq, state = start
        for tick in reader.ticks(seq, upto):
            if tick.seq != seq + 1:
                return  # a part in between was forgotten
            try:
                state, _ = step(state, OBSERVATIONS.decode(tick.observations, reader.schema))
            except Exception:
                return
            seq = tick.seq
        if seq == upto:
            self._state = state
            if state.venue_ms is not None:
                found = {"gates": [gate(one) for one in gates(state)]}
                self._gates.rows(self.account, found, state.venue_ms)

    def _kept(self, reader: Reader, ticks: list[Tick]) -> dict[int, State | None]:
        """States that the journal keeps of these ticks: read when they are needed."""
        kept: dict[int, State | None] = {
            int(seq): None
            for (seq,) in reader.rows(
                "SELECT seq FROM checkpoints WHERE seq >= ? AND seq <= ?",
                ticks[0].seq,
                ticks[-1].seq,
            )
        }
        live = reader.state()
        if live is not None and ticks[0].seq <= live[0] <= ticks[-1].seq:
            kept[live[0]] = live[1]
        return kept

    # --- a tick ----------------------------------------------------------------------------------

    def _tick(
        self, reader: Reader, tick: Tick, made: "_Made", kept: dict[int, State | None]
    ) -> None:
        made.facts |= ALERTED in tick.actions
        try:
            seen = OBSERVATIONS.decode(tick.observations, reader.schema)
        except Undecodable:
            self._state = None
            made.blind += 1
            return
        made.facts |= brings_facts(seen)
        # Of a tick that is the first of its bucket the one before was the last.
        if made.bucket(tick.venue_ms):
            made.sample()
        if tick.venue_ms is not None:
            self._prices(seen, tick.venue_ms, made)
            made.venue_ms = tick.venue_ms
        self._state = self._after(reader, tick, seen, kept)
        if self._state is None:
            made.blind += 1
        made.seen(tick, self._state)

    def _after(
        self, reader: Reader, tick: Tick, seen: Observations, kept: dict[int, State | None]
    ) -> State | None:
        """The state after a tick; None where neither deciding again nor the journal tells it."""
        state = self._state
        if state is not None:
            try:
                return step(state, seen)[0]
            except Exception:
                # Under the rules of this program; what the bot did is in the journal all the same.
                state = None
        if tick.seq in kept:
            live = kept[tick.seq]
            if live is not None:
                return live
            found = _checkpoint(reader, tick.seq)
            return found[1] if found is not None and found[0] == tick.seq else None
        return None

    def lost(self) -> None:
        """The state turned out not to be the bot's: blind from here on."""
        self._state = None

    def _prices(self, seen: Observations, venue_ms: int, made: "_Made") -> None:
        if self._candles_from_ms is None:
            next_ms = venue_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS
            self._candles_from_ms = 0 if self._whole else next_ms
        if venue_ms < self._candles_from_ms:
            return
        for event in seen.events:
            if isinstance(event, BookSeen):
                made.price(event.coin, event.leg.value, venue_ms, event.book.mid_px)


class _Made:
    """The rows of one batch while they are made."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._rows: Rows = {}
        self._candles: dict[tuple[str, str, int], tuple[object, ...]] = {}
        self._last: tuple[Tick, State | None] | None = None
        self._bucket = -1
        self.facts = False
        self.blind = 0
        self.venue_ms: int | None = None

    def rows(self) -> Rows:
        return {**self._rows, CANDLE.name: list(self._candles.values())}

    def price(self, coin: str, leg: str, venue_ms: int, px: Decimal) -> None:
        candles = self._follower.candles
        key = candles.add(coin, leg, venue_ms, px)
        self._candles[key] = candles.row(self._follower.account, coin, leg)

    def bucket(self, venue_ms: int | None) -> bool:
        """Whether a tick at `venue_ms` begins another bucket of snapshots."""
        if venue_ms is None:
            return False
        before, self._bucket = self._bucket, venue_ms // self._follower._sample_ms
        return before not in (-1, self._bucket)

    def seen(self, tick: Tick, state: State | None) -> None:
        self._last = (tick, state)

    def sample(self) -> None:
        """Write down the state after the last tick, if it is known to be the bot's."""
        if self._last is None:
            return
        (tick, state), self._last = self._last, None
        if state is None or tick.venue_ms is None:
            return
        text = STATE.encode(state)
        if digest(text) != tick.digest:
            self._follower.lost()
            self.blind += 1
            return
        state = STATE.decode(text)  # as who reads the journal sees it: some texts follow its order
        each_ms = self._follower._sample_ms
        bucket_ms = tick.venue_ms // each_ms * each_ms
        rows, found = snapshot(self._follower.account, tick.seq, state, bucket_ms)
        rows[GATE.name] = self._follower._gates.rows(self._follower.account, found, bucket_ms)
        for name, more in rows.items():
            self._rows.setdefault(name, []).extend(more)


def brings_facts(seen: Observations) -> bool:
    """Whether a tick may have booked a fill, a payment or a transfer."""
    if any(isinstance(event, FillSeen) for event in seen.events):
        return True
    for read in seen.reads:
        if isinstance(read, FillsRead) and read.fills:
            return True
        if isinstance(read, ReceiptsRead) and read.receipts:
            return True
        if isinstance(read, TransfersRead) and read.transfers:
            return True
    return False


def _follows(tick: Tick, chain: str) -> bool:
    return tick.chain == digest(
        chain.encode() + tick.observations + tick.actions + tick.digest.encode()
    )


def _checkpoint(reader: Reader, seq: int) -> tuple[int, State] | None:
    try:
        found = reader.checkpoint(seq)
    except Undecodable:
        return None
    return None if found is None else (found[0], found[2])
