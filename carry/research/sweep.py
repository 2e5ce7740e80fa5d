"""Many configurations over one recording, each run exactly, judged where they were not chosen.

The time is cut into equal parts. Every configuration runs over every part by the backtest's own
run, from flat, with the account's money; nothing is ranked by anything else. Walking forward, the
configuration that was best on all parts so far is judged on the next one: out of sample.

Each result is on the disk before the next is counted, so a sweep that is killed goes on where it
was. Runs are spread by joblib over the cores, or by its Dask backend over a cluster.
"""

import contextlib
import functools
import importlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs

from carry.base.codec import codec, digest
from carry.core.num import ZERO, use_exact_context
from carry.core.policy import Policy
from carry.core.state import RULES

from .backtest import capital_of, prepare
from .figures import figures
from .hourly import Run, Setup
from .space import Config

PART_HOURS_MIN: Final = 48
HOUR_MS: Final = 3_600_000
POLICY: Final = codec(Policy)


class NotThisSweep(Exception):
    """The file holds results of another sweep, or the recording is too short for the folds."""


class Missing(Exception):
    """An extra is not installed. Says which, and how to install it."""


@attrs.frozen(kw_only=True)
class Task:
    """One run: a configuration over one part. Hours since the epoch."""

    config: int
    part: int
    folder: str
    coins: tuple[str, ...]
    start_hour: int
    end_hour: int
    first_hour: int
    last_hour: int
    policy: Policy
    capital_usd: Decimal


@attrs.frozen(kw_only=True)
class Result:
    """What came of a run; exact. rate: net a year on the account's money."""

    config: int
    part: int
    net_usd: Decimal
    rate: Decimal
    entries: int
    funding_usd: Decimal
    costs_usd: Decimal
    held: Decimal
    residual_usd: Decimal


RESULT: Final = codec(Result)


@attrs.frozen(kw_only=True)
class Plan:
    """A whole sweep. parts: (start, end) hours; tasks: all of them, by part and configuration."""

    configs: Sequence[Config]
    parts: Sequence[tuple[int, int]]
    tasks: Sequence[Task]
    mark: str


def plan(
    folder: Path,
    coins: Sequence[str],
    base: Policy,
    configs: Callable[[Policy], Sequence[Config]],
    folds: int,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> Plan:
    """Cut the time into `folds` + 1 parts. configs: made of the policy as the recording takes it.

    Raises BadRecording, NotThisSweep (parts of less than two days).
    """
    setup, content, *_ = prepare(folder, coins, base, since_ms=since_ms, until_ms=until_ms)
    found = configs(setup.policy)
    hours = setup.end_hour - setup.start_hour
    size = hours // (folds + 1)
    if size < PART_HOURS_MIN:
        raise NotThisSweep(
            f"{folder}: {hours} hours in {folds + 1} parts are {size} hours each; a run needs "
            f"{PART_HOURS_MIN}. Take fewer --folds or more data"
        )
    parts = [
        (setup.start_hour + n * size, setup.start_hour + (n + 1) * size) for n in range(folds + 1)
    ]
    tasks = [
        Task(
            config=config.number,
            part=n,
            folder=str(folder),
            coins=tuple(setup.tracks),
            start_hour=start,
            end_hour=end,
            first_hour=setup.start_hour,
            last_hour=setup.end_hour,
            policy=config.policy,
            capital_usd=capital_of(config.policy),
        )
        for n, (start, end) in enumerate(parts)
        for config in found
    ]
    text = [content, str(RULES), str(parts), *(POLICY.encode(c.policy).decode() for c in found)]
    return Plan(configs=found, parts=parts, tasks=tasks, mark=digest("\n".join(text).encode()))


@functools.lru_cache(maxsize=2)
def _recording(folder: str, coins: tuple[str, ...], first: int, last: int) -> Setup:
    """The recording, read once a process."""
    return prepare(
        Path(folder), coins, Policy(), since_ms=first * HOUR_MS, until_ms=last * HOUR_MS
    )[0]


def evaluate(task: Task) -> Result:
    """Run one configuration over one part, exactly. In a process or on a machine of its own."""
    use_exact_context()
    whole = _recording(task.folder, task.coins, task.first_hour, task.last_hour)
    setup = attrs.evolve(
        whole,
        policy=task.policy,
        start_hour=task.start_hour,
        end_hour=task.end_hour,
        capital_usd=task.capital_usd,
    )
    lived = Run(setup).live()
    row = figures(setup, lived).total
    return Result(
        config=task.config,
        part=task.part,
        net_usd=row.pnl.net_usd,
        rate=row.on_capital,
        entries=len(lived.notes("entry")),
        funding_usd=row.pnl.funding_usd,
        costs_usd=row.pnl.fees_usd - row.pnl.slippage_usd,
        held=row.held,
        residual_usd=lived.residual_usd,
    )


def run(
    it: Plan,
    kept: Path,
    *,
    jobs: int = -1,
    cluster: str | None = None,
    done: Callable[[int, int], None] = lambda runs, of: None,
) -> dict[tuple[int, int], Result]:
    """All results by configuration and part; those in `kept` already are not run again.

    jobs: processes, -1 for all cores. cluster: a Dask scheduler's address, instead of processes
    here. Raises NotThisSweep, Missing.
    """
    found = _resumed(it, kept)
    todo = [task for task in it.tasks if (task.config, task.part) not in found]
    done(len(found), len(it.tasks))
    if not todo:
        return found
    with kept.open("ab") as file:
        for result in _spread(todo, jobs, cluster):
            # On the disk first: what is counted is not run again, whatever happens.
            file.write(RESULT.encode(result) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            found[result.config, result.part] = result
            done(len(found), len(it.tasks))
    return found


def _spread(todo: Sequence[Task], jobs: int, cluster: str | None) -> Iterator[Result]:
    joblib = _extra("joblib", "research")
    with contextlib.ExitStack() as stack:
        if cluster is not None:
            client = _extra("dask.distributed", "cluster").Client(cluster)
            stack.enter_context(client)
            stack.enter_context(joblib.parallel_config(backend="dask"))
        spread = joblib.Parallel(n_jobs=jobs, return_as="generator")
        yield from spread(joblib.delayed(evaluate)(task) for task in todo)


def _extra(module: str, extra: str) -> Any:
    """A module that only this needs. Raises Missing."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Missing(
            f"carry sweep needs {module}: install the extra with `pip install 'carry[{extra}]'`"
        ) from None


def _resumed(it: Plan, kept: Path) -> dict[tuple[int, int], Result]:
    """What `kept` holds of this sweep; a file of another one is refused, a new one begun."""
    head = {"sweep": it.mark, "configs": len(it.configs), "parts": len(it.parts)}
    if not kept.exists():
        kept.write_text(json.dumps(head) + "\n")
        return {}
    lines = kept.read_bytes().split(b"\n")
    if _document(lines[0]) != head:
        raise NotThisSweep(
            f"{kept} holds the results of another sweep (other settings, folds, data or rules); "
            "name another file with --out, or remove it"
        )
    whole = lines[:-1]
    # A line that was being written when the process was killed is not one.
    with kept.open("rb+") as file:
        file.truncate(sum(len(line) + 1 for line in whole))
    results: Iterator[Result] = (RESULT.decode(line) for line in whole[1:])
    return {(each.config, each.part): each for each in results}


def _document(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


# --- what it says ---------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Fold:
    """Walking forward: the best of the parts up to `upto`, judged on the next. rate, base_rate: of
    the chosen and of the policy as it is there, net a year on the account's money."""

    upto: int
    config: int
    chosen_rate: Decimal
    rate: Decimal
    base_rate: Decimal
    entries: int


def mean_rate(found: dict[tuple[int, int], Result], config: int, parts: Sequence[int]) -> Decimal:
    """Of parts of equal length: the rate over all of them."""
    return sum((found[config, part].rate for part in parts), ZERO) / len(parts)


def ranked(it: Plan, found: dict[tuple[int, int], Result], upto: int) -> list[int]:
    """Configurations by their rate over the parts up to `upto`, best first; the plainest wins."""
    parts = range(upto + 1)
    return sorted(
        (config.number for config in it.configs),
        key=lambda number: (-mean_rate(found, number, parts), number),
    )


def folds(it: Plan, found: dict[tuple[int, int], Result]) -> list[Fold]:
    made = []
    for upto in range(len(it.parts) - 1):
        best = ranked(it, found, upto)[0]
        there = found[best, upto + 1]
        made.append(
            Fold(
                upto=upto,
                config=best,
                chosen_rate=mean_rate(found, best, range(upto + 1)),
                rate=there.rate,
                base_rate=found[0, upto + 1].rate,
                entries=there.entries,
            )
        )
    return made


def warnings(
    it: Plan, found: dict[tuple[int, int], Result], edges: dict[str, tuple[str, str]]
) -> Iterator[str]:
    """Why not to believe the best of all. edges: first and last value of each key of the grid."""
    last = len(it.parts) - 1
    best = ranked(it, found, last)[0]
    settings = dict(it.configs[best].settings)
    for key, (low, high) in edges.items():
        if settings.get(key) in (low, high):
            yield (
                f"the best has {key} = {settings[key]}, an edge of what was tried: what lies "
                "beyond was not looked at"
            )
    entries = sum(found[best, part].entries for part in range(len(it.parts)))
    if entries <= 1:
        yield f"the best rests on {entries} {'entry' if entries == 1 else 'entries'}: that is luck"
    if best == 0:
        return
    away = [found[best, part].rate - found[0, part].rate for part in range(len(it.parts))]
    mean = sum(away, ZERO) / len(away)
    spread = sum(((each - mean) ** 2 for each in away), ZERO) / max(1, len(away) - 1)
    error = (spread / len(away)).sqrt()
    if mean <= 2 * error:
        yield (
            f"the best is inside the noise: {_percent(mean)} % a year above the settings as they "
            f"are, give or take {_percent(error)} % from part to part"
        )


def _percent(fraction: Decimal) -> str:
    return format((fraction * 100).quantize(Decimal("0.01")), "f")
