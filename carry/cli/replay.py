"""`carry replay`."""

import json
from pathlib import Path

import click

from carry.core.num import use_exact_context
from carry.shell import places

from . import progress
from .look import as_json
from .where import where


@click.command()
@where
@as_json
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--from", "first", type=click.IntRange(min=1), help="First tick to compare.")
@click.option("--to", "last", type=click.IntRange(min=1), help="Last tick to compare.")
@click.option("--diff", is_flag=True, help="Count what differs, under the same rules, too.")
def replay(
    config: Path | None,
    state_db: str | None,
    as_json: bool,
    files: tuple[Path, ...],
    first: int | None,
    last: int | None,
    diff: bool,
) -> int:
    """Decide journaled ticks again and compare; FILES: journals, bundles [default: the bot's].

    Exit 0: nothing differs. 1: something does although the rules are the same, or a row was
    changed. 3: decisions differ, by other rules than the ticks were decided by.
    """
    from carry.research.bundle import opened
    from carry.research.replay import replay as again
    from carry.research.replay import together

    use_exact_context()
    names = [str(file) for file in files]
    if not names:
        names = [places.find(config, state_db, config_needed=False).journal]
    results = []
    for name in names:
        with progress.bar(f"replay {Path(name).name}") as done, opened(name) as journal:
            results.append(again(journal, first, last, lenient=diff, done=done))
    result = together(results)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "journals": len(results),
                    "ticks": result.ticks,
                    "decisions": result.decisions,
                    "changed": result.changed,
                    "said_otherwise": result.said,
                    "left_out": result.left_out,
                    "rules": list(result.rules),
                    "fault": result.fault,
                    "shown": list(result.shown),
                }
            )
        )
    else:
        click.echo(result.text)
    return result.exit_code
