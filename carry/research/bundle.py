"""A slice of a journal in one file that somebody else can replay: policy, ticks, versions.

It is a journal like any other, gzipped: its first state and its observations went through
`redact`, and its states, digests and hashes were made anew by deciding the redacted ticks, so that
`carry replay FILE` finds in it what it finds in the journal. No config is in it, only the policy
(how to trade); no key, token, address of an account or of a machine.
"""

import contextlib
import gzip
import json
import platform
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

from carry.base.codec import digest
from carry.core.actions import Action
from carry.core.state import RULES, SCHEMA, State
from carry.core.step import step
from carry.shell.journal import Journal
from carry.shell.reader import Reader
from carry.shell.version import program

from . import past, replay
from .past import ACTIONS, OBSERVATIONS, STATE, Decided
from .redact import StandIns

GZIP: Final = b"\x1f\x8b"
TICKS: Final = 1_000  # kept unless told otherwise: the newest
NOBODY: Final = "<redacted>"
FOR_EVER_DAYS: Final = 1_000_000


class Leaks(Exception):
    """A text that must not leave the machine is in the bundle; nothing was written."""


@attrs.frozen(kw_only=True)
class Bundled:
    """What was written.

    replaced: different texts that were taken out. altered: ticks that decide otherwise without
    them. found: how the journal's own slice replays; again: how the bundle does.
    """

    ticks: int
    first: int
    last: int
    size: int
    replaced: int
    altered: int
    found: replay.Replayed
    again: replay.Replayed


@contextlib.contextmanager
def opened(path: str) -> Iterator[str]:
    """The journal at `path`, unpacked into a temporary file while it is used if it is a bundle."""
    if not Path(path).is_file() or not _is_packed(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = str(Path(folder) / Path(path).name)
        with gzip.open(path) as packed, open(plain, "wb") as file:
            try:
                shutil.copyfileobj(packed, file)
            except (OSError, EOFError) as error:
                raise past.NotThere(f"{path}: the bundle is damaged ({error})") from None
        yield plain


def _is_packed(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == GZIP


def bundle(
    journal: str,
    out: Path,
    first: int | None = None,
    last: int | None = None,
    secrets: Iterable[str] = (),
    done: Callable[[int, int], None] = lambda ticks, of: None,
) -> Bundled:
    """Write ticks `first` to `last` (the newest thousand) of `journal` to `out`.

    secrets: texts known not to belong in it, looked for byte by byte before anything is kept.
    Raises NotThere, Leaks, Unreadable.
    """
    reader = Reader(journal)
    try:
        kept = past.span(reader)
        if kept is None:
            raise past.NotThere(f"{journal}: no tick is kept")
        upto = min(last or kept[1], kept[1])
        since = max(first if first is not None else upto - TICKS + 1, kept[0])
        begin = past.start(reader, since) if since > kept[0] else past.start(reader)
        if begin is None or begin.seq >= upto:
            raise past.NotThere(f"{journal}: no tick of {since} to {upto} can be replayed")
        since = max(since, begin.seq + 1)
        with tempfile.TemporaryDirectory() as folder:
            plain = str(Path(folder) / "carry.db")
            slice_ = _Slice(reader, since, upto, plain)
            replaced = slice_.write(begin, done)
            found = replay.replay(journal, since, upto)
            again = replay.replay(plain)
            _describe(plain, since, upto, found)
            content = Path(plain).read_bytes()
            _must_hold_none(content, secrets)
            packed = gzip.compress(content, mtime=0)
        out.write_bytes(packed)
    finally:
        reader.close()
    return Bundled(
        ticks=upto - since + 1,
        first=since,
        last=upto,
        size=len(packed),
        replaced=replaced,
        altered=slice_.altered,
        found=found,
        again=again,
    )


@attrs.define
class _Slice:
    """Ticks on their way from a journal into another."""

    reader: Reader
    first: int
    last: int
    path: str
    altered: int = 0

    def write(self, begin: past.Start, done: Callable[[int, int], None]) -> int:
        """How many texts were replaced."""
        ticks = past.decided(self.reader, begin, self.last)
        stand_ins: StandIns | None = None
        target: Journal | None = None
        state: State | None = None
        for it in ticks:
            if it.tick.seq < self.first:
                continue
            if stand_ins is None or target is None or state is None:
                stand_ins = StandIns(self._journal_id(it))
                state = _cleaned(STATE, it.before, stand_ins)
                target = self._begun(it.tick.seq, state)
            state = self._tick(it, state, target, stand_ins)
            done(it.tick.seq - self.first, self.last - self.first)
        assert target is not None, "a slice holds a tick"
        assert stand_ins is not None
        target.close()
        return stand_ins.count

    def _journal_id(self, it: Decided) -> int:
        return it.after.journal_id or it.before.journal_id

    def _begun(self, first: int, state: State) -> Journal:
        """A journal that goes on from the tick before `first`."""
        target = Journal.open(
            self.path,
            network=self.reader.meta("network") or "",
            account=NOBODY,
            keep_days=FOR_EVER_DAYS,
        )
        target.seq = first - 1
        target.begin(state, state.journal_id)
        return target

    def _tick(self, it: Decided, state: State, target: Journal, stand_ins: StandIns) -> State:
        """Decide the tick with nothing secret in it, and write what was asked at the time."""
        observations = _cleaned(OBSERVATIONS, it.observations, stand_ins)
        after, actions = step(state, observations)
        asked: tuple[Action, ...] = _cleaned(ACTIONS, it.asked(self.reader.schema), stand_ins)
        if ACTIONS.encode(it.actions) == it.tick.actions:
            # As it was, with the words that what is left says; a decision must be the same one.
            self.altered += replay.writes(asked) != replay.writes(actions)
            asked = actions
        target.commit(observations, after, asked)
        other_state = (
            it.tick.rules == RULES
            and self.reader.schema == SCHEMA
            and digest(STATE.encode(it.after)) != it.tick.digest
        )
        # A tick that does not replay here must not replay there: that may be what is reported.
        target.relabel(it.tick.rules, it.tick.digest if other_state else None)
        return after


def _cleaned(kind: Any, value: Any, stand_ins: StandIns) -> Any:
    document = msgspec.json.decode(kind.encode(value))
    return kind.decode(msgspec.json.encode(stand_ins.document(document)))


def _describe(path: str, first: int, last: int, found: replay.Replayed) -> None:
    """Say in the file what it is, without a name of this machine."""
    facts = {
        "program": program(),
        "rules": RULES,
        "schema": SCHEMA,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "machine": platform.machine(),
        "first": first,
        "last": last,
        "replays_here": {"exit": found.exit_code, "ticks": found.ticks, "changed": found.changed},
    }
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO meta VALUES ('bundle', ?)", (json.dumps(facts, sort_keys=True),))
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("VACUUM")


def described(path: str) -> dict[str, Any] | None:
    """What a bundle says of itself; None for a journal."""
    with opened(path) as plain:
        reader = Reader(plain)
        try:
            text = reader.meta("bundle")
        finally:
            reader.close()
    return None if text is None else json.loads(text)


def _must_hold_none(content: bytes, secrets: Iterable[str]) -> None:
    low = content.lower()
    for secret in secrets:
        if len(secret) >= 6 and secret.lower().encode() in low:
            raise Leaks(
                "a value of your config (an account, an address or a path) is still in the bundle; "
                "nothing was written. Please report this without the journal"
            )
