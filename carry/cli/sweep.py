"""`carry sweep`."""

import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from carry.core.num import show, use_exact_context
from carry.shell import screen

from . import progress
from .look import as_json

if TYPE_CHECKING:
    from carry.research.space import Axis
    from carry.research.sweep import Plan, Result

SHOWN = 10
_STEP = Decimal("0.000001")


@click.command()
@click.option(
    "--data", "folder", required=True, metavar="DIR", type=click.Path(path_type=Path),
    help="Recorded funding and prices (docs/BACKTEST.md says how files are named).",
)  # fmt: skip
@click.option(
    "--vary", "varied", multiple=True, required=True, metavar="KEY=A,B,C",
    help="What to try, once a key; KEY=LOW..HIGH with --random.",
)  # fmt: skip
@click.option("--random", "draws", type=click.IntRange(min=1), help="So many at random.")
@click.option("--seed", type=int, default=0, help="Which are drawn [0].")
@click.option("--folds", type=click.IntRange(min=1), default=4, help="Steps forward [4].")
@click.option("--coins", metavar="A,B", help="Markets [default: the config's, else all in DIR]")
@click.option("--from", "since", metavar="DATE", help="First hour, UTC [default: the first].")
@click.option("--to", "until", metavar="DATE", help="End, UTC, itself left out [default: the last]")
@click.option("--config", metavar="FILE", type=click.Path(path_type=Path),
              help="The policy to vary [default: every key's default]")  # fmt: skip
@click.option("--jobs", type=int, default=-1, help="Processes [all cores].")
@click.option("--cluster", metavar="ADDRESS", help="A Dask scheduler, such as tcp://host:8786.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("sweep.jsonl"),
              metavar="FILE", help="Results; it goes on where it was [sweep.jsonl].")  # fmt: skip
@as_json
def sweep(
    folder: Path,
    varied: tuple[str, ...],
    draws: int | None,
    seed: int,
    folds: int,
    coins: str | None,
    since: str | None,
    until: str | None,
    config: Path | None,
    jobs: int,
    cluster: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """Many settings over one recording, judged where they were not chosen (walk-forward)."""
    from carry.core.policy import Policy
    from carry.exchange.recorded import parse_date
    from carry.research import space
    from carry.research import sweep as sweeping
    from carry.shell.config_file import load

    use_exact_context()
    base = Policy() if config is None else load(config)[0]
    axes = [space.axis(text) for text in varied]
    dropped = 0

    def configs(policy: Policy) -> list[space.Config]:
        nonlocal dropped
        found, dropped = space.configs(policy, axes, draws, seed)
        return found

    plan = sweeping.plan(
        folder,
        tuple(name for name in (coins or "").split(",") if name) or base.coins,
        base,
        configs,
        folds,
        since_ms=parse_date(since),
        until_ms=parse_date(until),
    )
    with progress.bar(f"sweep of {len(plan.configs)} settings") as done:
        found = sweeping.run(plan, out, jobs=jobs, cluster=cluster, done=done)
    told = _figures(plan, found, axes, draws, dropped)
    click.echo(json.dumps(told) if as_json else "\n".join(_lines(told, out)))


def _figures(
    plan: "Plan",
    found: "dict[tuple[int, int], Result]",
    axes: "list[Axis]",
    draws: int | None,
    dropped: int,
) -> dict[str, Any]:
    from carry.research import sweep as sweeping
    from carry.research.backtest import iso

    parts = range(len(plan.parts))
    edges = {
        each.key: (each.values[0], each.values[-1])
        for each in axes
        if draws is None and len(each.values) > 1 and each.ordered
    }

    def row(number: int) -> dict[str, Any]:
        mine = [found[number, part] for part in parts]
        return {
            "config": number,
            "settings": dict(plan.configs[number].settings),
            "apr_on_capital": show(sweeping.mean_rate(found, number, parts).quantize(_STEP)),
            "net_usd": show(_sum(each.net_usd for each in mine).quantize(_STEP)),
            "entries": sum(each.entries for each in mine),
            "by_part": [show(each.rate) for each in mine],
            "residual_usd": show(max((each.residual_usd for each in mine), key=abs)),
        }

    order = sweeping.ranked(plan, found, len(parts) - 1)
    forward = sweeping.folds(plan, found)
    count = len(forward)
    return {
        "runs": len(plan.tasks),
        "configs": len(plan.configs),
        "contradicting": dropped,
        "parts": [[iso(start), iso(end)] for start, end in plan.parts],
        "best": [row(number) for number in order[:SHOWN]],
        "as_it_is": row(0),
        "folds": [
            {
                "part": fold.upto + 1,
                "config": fold.config,
                "settings": dict(plan.configs[fold.config].settings),
                "in_sample_apr": show(fold.chosen_rate.quantize(_STEP)),
                "out_of_sample_apr": show(fold.rate),
                "as_it_is_apr": show(fold.base_rate),
                "entries": fold.entries,
            }
            for fold in forward
        ],
        "out_of_sample_apr": show((_sum(f.rate for f in forward) / count).quantize(_STEP)),
        "as_it_is_apr": show((_sum(f.base_rate for f in forward) / count).quantize(_STEP)),
        "warnings": list(sweeping.warnings(plan, found, edges)),
    }


def _lines(told: dict[str, Any], out: Path) -> list[str]:
    parts = told["parts"]
    lines = [
        f"{told['configs']} settings x {len(parts)} parts, {parts[0][0]} to {parts[-1][1]}, each "
        f"an exact run; results in {out}",
    ]
    if told["contradicting"]:
        lines.append(f"{told['contradicting']} combinations contradict the config's rules: not run")
    rows = [
        (
            fold["part"],
            _named(fold["settings"]),
            f"{screen.percent(fold['in_sample_apr'], 2)} %",
            f"{screen.percent(fold['out_of_sample_apr'], 2)} %",
            f"{screen.percent(fold['as_it_is_apr'], 2)} %",
            fold["entries"],
        )
        for fold in told["folds"]
    ]
    head = ("part", "best of the parts before", "there", "out of sample", "as it is", "entries")
    lines += ["", "Chosen on what came before, judged on what came after (net a year on capital)"]
    lines += [screen.table(head, rows)]
    lines.append(
        f"out of sample {screen.percent(told['out_of_sample_apr'], 2)} % a year; the settings as "
        f"they are {screen.percent(told['as_it_is_apr'], 2)} %"
    )
    best_rows = [
        (_named(best["settings"]), f"{screen.percent(best['apr_on_capital'], 2)} %",
         screen.cut(best["net_usd"], 2), best["entries"])
        for best in told["best"]
    ]  # fmt: skip
    lines += ["", "Best over all of it, in hindsight"]
    lines += [screen.table(("settings", "a year", "net $", "entries"), best_rows)]
    return [*lines, *(f"WARNING: {text}" for text in told["warnings"])]


def _named(settings: dict[str, str]) -> str:
    words = [f"{key.partition('.')[2]} {value}" for key, value in settings.items()]
    return ", ".join(words) or "as it is"


def _sum(values: Iterable[Decimal]) -> Decimal:
    return sum(values, Decimal(0))
