"""`carry storm`."""

import json
from pathlib import Path

import click


@click.command()
@click.option("--seeds", default="0:100", help="Seeds A:B, B excluded.")
@click.option("--ticks", type=click.IntRange(min=100), default=2_000, help="Ticks of each seed.")
@click.option("--preset", help='"none", or faults joined by "+", such as F20+F100.')
@click.option("--jobs", type=click.IntRange(min=1), default=1, help="Processes.")
@click.option("--twins", is_flag=True, help="Each seed without its faults too: funding kept.")
@click.option("--values", is_flag=True, help="Values instead of bytes: faster, fewer faults.")
@click.option(
    "--journals",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Keep each seed's journal, for `carry replay`.",
)
@click.option("--json", "as_json", is_flag=True, help="The figures as one JSON object.")
def storm(
    seeds: str,
    ticks: int,
    preset: str | None,
    jobs: int,
    twins: bool,
    values: bool,
    journals: Path | None,
    as_json: bool,
) -> int:
    """Run whole bots against the exchange under faults; exit 1 at a broken promise."""
    from carry.storm import campaign

    first, last = _range(seeds)
    try:
        campaign.case_of(first, ticks, preset, values)
    except campaign.BadPreset as error:
        raise click.UsageError(str(error)) from None
    if journals is not None:
        journals.mkdir(parents=True, exist_ok=True)
    with click.progressbar(length=last - first, label="storm", hidden=as_json) as bar:
        outcomes = campaign.run_all(
            range(first, last),
            ticks,
            preset,
            jobs,
            lambda outcome: bar.update(1),
            twins=twins,
            values=values,
            journals=None if journals is None else str(journals),
        )
    figures = campaign.summary(outcomes)
    broken = [outcome for outcome in outcomes if outcome.broken is not None]
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return 1 if broken else 0
    for outcome in broken[:3]:
        click.echo(campaign.told(outcome, ticks, preset, values))
        click.echo()
    hits, skipped = figures.pop("hits"), figures.pop("skipped")
    violations, regimes = figures.pop("violations"), figures.pop("regimes")
    click.echo("  ".join(f"{name} {count}" for name, count in hits.items()))
    if skipped:
        named = "  ".join(f"{name} {count}" for name, count in skipped.items())
        click.echo(f"skipped, since they exist on bytes only: {named}")
    for name, value in figures.items():
        click.echo(f"{name.replace('_', ' '):<26} {value}")
    click.echo("regime      seeds  worst naked     of a bound  longest beyond the band, no faults")
    for name, of in regimes.items():
        click.echo(
            f"{name:<10} {of['seeds']:>6} {of['worst_naked_usd']:>12} {of['bound_usd']:>14} "
            f"{of['longest_ms']:>20} ms {of['without_faults_ms']:>9} ms"
        )
        for style in campaign.STYLES:
            own = of[style]
            click.echo(
                f"  {style:<8} {own['seeds']:>6} {own['worst_naked_usd']:>12} "
                f"{own['bound_usd']:>14} {own['longest_ms']:>20} ms "
                f"{own['without_faults_ms']:>9} ms"
            )
    for each in violations:
        click.echo(f"seed {each['seed']}: {each['invariant']}: {each['text'].splitlines()[0]}")
    return 1 if broken else 0


def _range(text: str) -> tuple[int, int]:
    first, colon, last = text.partition(":")
    if not (first.isdigit() and (last.isdigit() or not colon)):
        raise click.UsageError(f"--seeds {text}: two numbers A:B, such as 0:100")
    begin = int(first)
    end = int(last) if colon else begin + 1
    if end <= begin:
        raise click.UsageError(f"--seeds {text}: B must be above A")
    return begin, end
