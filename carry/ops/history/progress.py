"""How far the history is, for `carry status` and the metrics."""

import contextlib
import json
import time
from pathlib import Path

import attrs

from carry.shell.places import HISTORY


@attrs.define
class Progress:
    """How far the copy is. lag_ticks: committed and not copied; lag_ms: age of the oldest of them
    on the venue's clock; problem: why nothing is copied, "" while it is."""

    seq: int = 0
    lag_ticks: int = 0
    lag_ms: int = 0
    rows: int = 0
    blind: int = 0
    failures: int = 0
    problem: str = ""
    kind: str = ""


def leave(folder: Path, progress: Progress) -> None:
    """Put the progress where `carry status` finds it. A full disk is not our affair."""
    path = folder / HISTORY
    new = path.with_suffix(".new")
    facts = {"wall_ms": time.time_ns() // 1_000_000, **attrs.asdict(progress)}
    with contextlib.suppress(OSError):
        new.write_text(json.dumps(facts) + "\n")
        new.chmod(0o600)
        new.replace(path)
