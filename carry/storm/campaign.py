"""Many seeds: run them on several processes, sum up what came of them, and shrink what broke."""

import concurrent.futures
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import attrs

from carry.core.num import ZERO, show
from carry.shell.say import render

from .draw import Case, Strike, draw
from .faults import BYTES_ONLY, catalogue
from .market import RALLY, REGIMES
from .phases import Outcome, beside_its_twin, live

SHRINK_RUNS_MAX: Final = 80
TRANSCRIPT_TICKS: Final = 12
STYLES: Final = ("taker", "maker")
Preset = str | None


class Job(NamedTuple):
    """A seed to run. twins: without its faults too; values: without bytes, see `World`. journals:
    a folder to keep its journal in."""

    seed: int
    ticks: int
    preset: Preset
    twins: bool = False
    values: bool = False
    journals: str | None = None


class BadPreset(ValueError):
    """A preset that names no fault of the catalogue."""


def case_of(seed: int, ticks: int, preset: Preset = None, values: bool = False) -> Case:
    """The case of a seed. Raises BadPreset.

    values: the same draw; faults that exist on bytes only are skipped when it is run.
    """
    known = catalogue()
    if preset not in (None, "none"):
        wrong = [name for name in str(preset).split("+") if name not in known]
        if wrong:
            raise BadPreset(f"{', '.join(wrong)}: no such fault; there are {', '.join(known)}")
        if values and all(name in BYTES_ONLY for name in str(preset).split("+")):
            raise BadPreset(f"{preset}: exists on bytes only; leave --values out")
    return draw(seed, ticks, known, preset)


def run_one(job: Job) -> Outcome:
    case = case_of(job.seed, job.ticks, job.preset)
    if job.twins:
        return beside_its_twin(case, values=job.values)
    outcome, world = live(case, values=job.values, checkpoints=job.journals is not None)
    if job.journals is not None:
        world.save(Path(job.journals) / f"seed{job.seed}.db")
    return outcome


def run_all(
    seeds: Iterable[int],
    ticks: int,
    preset: Preset = None,
    jobs: int = 1,
    done: Callable[[Outcome], None] = lambda outcome: None,
    *,
    twins: bool = False,
    values: bool = False,
    journals: str | None = None,
) -> list[Outcome]:
    """The outcomes of all seeds, by seed. `done` is told each as it comes.

    twins: run each seed without its faults too, to compare what they earn. values: without bytes.
    journals: a folder in which each seed's journal is kept.
    """
    work = [Job(seed, ticks, preset, twins, values, journals) for seed in seeds]
    outcomes: list[Outcome] = []
    for outcome in _outcomes(work, jobs):
        done(outcome)
        outcomes.append(outcome)
    return sorted(outcomes, key=lambda outcome: outcome.seed)


def _outcomes(work: Sequence[Job], jobs: int) -> Iterator[Outcome]:
    if jobs <= 1:
        yield from map(run_one, work)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for future in concurrent.futures.as_completed([pool.submit(run_one, job) for job in work]):
            yield future.result()


# --- a violation ----------------------------------------------------------------------------------


def shrink(case: Case, invariant: str, values: bool = False) -> Case:
    """The case with as few strikes as still break the same invariant (delta debugging)."""
    strikes, runs, size = case.strikes, 0, len(case.strikes)
    while size and runs < SHRINK_RUNS_MAX:
        at, shrunk = 0, False
        while at < len(strikes) and runs < SHRINK_RUNS_MAX:
            less = (*strikes[:at], *strikes[at + size :])
            runs += 1
            broken = live(attrs.evolve(case, strikes=less), values=values)[0].broken
            if broken is not None and broken[0] == invariant:
                strikes, shrunk = less, True
            else:
                at += size
        if not shrunk or size > 1:
            size //= 2
    return attrs.evolve(case, strikes=strikes)


def transcript(case: Case, values: bool = False) -> tuple[str, ...]:
    """The last ticks of a case as the scenarios tell them, then the storm's own notes."""
    _, world = live(case, keep=True, values=values)
    lines = [line for tick in world.history[-TRANSCRIPT_TICKS:] for line in render(*tick)]
    return (*lines, "", *world.truth.notes[-20:])


def reproduce(seed: int, ticks: int, preset: Preset, values: bool = False) -> str:
    """The command that runs this seed again."""
    more = f" --preset {preset}" if preset is not None else ""
    more += " --values" if values else ""
    return f"carry storm --seeds {seed}:{seed + 1} --ticks {ticks}{more}"


def told(outcome: Outcome, ticks: int, preset: Preset, values: bool = False) -> str:
    """A violation for a person: what broke, the least that breaks it, what led to it, how to
    see it again.
    """
    assert outcome.broken is not None
    name, text = outcome.broken
    small = shrink(case_of(outcome.seed, ticks, preset), name, values)
    named: Sequence[Strike] = small.strikes
    return "\n".join(
        (
            f"seed {outcome.seed}: {name}: {text}",
            f"faults that are enough: {' '.join(map(str, named)) or 'none'}",
            "",
            *transcript(small, values),
            "",
            f"again: {reproduce(outcome.seed, ticks, preset, values)}",
        )
    )


# --- all of it ------------------------------------------------------------------------------------


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of a campaign. Money in USD as text, times in ms, shares as percent."""
    hits: Counter[str] = Counter()
    for outcome in outcomes:
        hits.update(outcome.hits)
    skipped: Counter[str] = Counter()
    for outcome in outcomes:
        skipped.update(outcome.skipped)
    ticks = sum(outcome.ticks for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    whole = [outcome for outcome in outcomes if outcome.broken is None and not outcome.halted]
    quiet = [outcome for outcome in outcomes if outcome.faultless]
    worst = max((outcome.worst_usd for outcome in outcomes), default=ZERO)
    return {
        "seeds": len(outcomes),
        "ticks": ticks,
        "ticks_per_s": round(ticks / seconds) if seconds else 0,
        "violations": [
            {"seed": o.seed, "invariant": o.broken[0], "text": o.broken[1]}
            for o in outcomes
            if o.broken is not None
        ],
        "faultless": len(quiet),
        "hits": {name: hits[name] for name in catalogue()},
        "skipped": dict(sorted(skipped.items())),
        "hits_total": sum(hits.values()),
        "hits_while_open_percent": _percent(sum(o.open_hits for o in outcomes), sum(hits.values())),
        "held_before_percent": _percent(sum(o.held_before for o in outcomes), len(outcomes)),
        "held_after_percent": _percent(sum(o.held_after for o in whole), len(whole)),
        "funding_kept_percent": kept_percent(outcomes),
        "worst_naked_usd": show(Decimal(worst).quantize(Decimal("0.01"))),
        "longest_naked_ms": max((o.longest_ms for o in outcomes), default=0),
        "restarts": sum(o.restarts for o in outcomes),
        "boundaries": sum(o.boundaries for o in outcomes),
        "markets": dict(sorted(Counter(str(o.markets) for o in outcomes).items())),
        "regimes": {name: regime(outcomes, name) for name in (*REGIMES, RALLY)},
    }


def regime(outcomes: Sequence[Outcome], name: str) -> dict[str, Any]:
    """Naked exposure in one regime: the worst, beside the slice and band of that seed.

    longest_ms: beyond the band, outages and what others did included; without_faults_ms: the
    longest of the seeds that had no fault. The same again by style.
    """
    mine = [o for o in outcomes if o.regime == name]
    styles = {style: [o for o in mine if o.style == style] for style in STYLES}
    return {**_naked(mine), **{style: _naked(own) for style, own in styles.items()}}


def _naked(mine: Sequence[Outcome]) -> dict[str, Any]:
    worst = max(mine, key=lambda o: o.worst_usd / (o.bound_usd or 1), default=None)
    cent = Decimal("0.01")
    return {
        "seeds": len(mine),
        "worst_naked_usd": show(worst.worst_usd.quantize(cent)) if worst else "0",
        "bound_usd": show(worst.bound_usd.quantize(cent)) if worst else "0",
        "longest_ms": max((o.longest_ms for o in mine), default=0),
        "without_faults_ms": max((o.longest_ms for o in mine if o.faultless), default=0),
    }


def kept_percent(outcomes: Sequence[Outcome]) -> float | None:
    """What was earned of what the same seeds earn without faults; None when no twin was run.

    Over the hours that both lived: a process that was stopped for an hour lives longer.
    """
    kept = whole = ZERO
    for outcome in outcomes:
        for hour, usd in (outcome.twin or {}).items():
            if usd > 0:
                kept += outcome.payments.get(hour, ZERO)
                whole += usd
    return float(round(100 * kept / whole, 1)) if whole else None


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0
