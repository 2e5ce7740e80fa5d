"""`carry bundle`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click

from carry.core.num import use_exact_context
from carry.shell import places

from . import progress
from .look import as_json
from .where import where


@click.command()
@where
@as_json
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="Where to write it, such as report.carry.gz.",
)
@click.option("--from", "first", type=click.IntRange(min=1), help="First tick.")
@click.option("--to", "last", type=click.IntRange(min=1), help="Last tick.")
def bundle(
    config: Path | None,
    state_db: str | None,
    as_json: bool,
    out: Path,
    first: int | None,
    last: int | None,
) -> None:
    """One file that replays elsewhere: ticks, policy, versions; no key, address, URL or name.

    The newest thousand ticks unless told otherwise; `carry replay FILE` decides them again.
    """
    from carry.research import bundle as made

    use_exact_context()
    if out.exists():
        raise click.UsageError(f"{out} is there already; name another file")
    found = places.find(config, state_db, config_needed=False)
    secrets = () if found.wiring is None else tuple(_private(found.wiring))
    with progress.bar("bundle") as done:
        it = made.bundle(found.journal, out, first, last, secrets, done)
    if as_json:
        told = {
            "file": str(out),
            "ticks": it.ticks,
            "first": it.first,
            "last": it.last,
            "bytes": it.size,
            "replaced": it.replaced,
            "altered": it.altered,
            "replays_here": it.found.exit_code,
            "replays_there": it.again.exit_code,
        }
        click.echo(json.dumps(told))
        return
    click.echo(f"{out}: ticks {it.first} to {it.last}, {it.size:,} bytes, {it.replaced} texts out")
    click.echo(f"replays: {it.again.text.splitlines()[-1]}")
    if it.altered:
        click.echo(
            f"{it.altered} ticks decide otherwise without the texts that were taken out: say so "
            "when you pass it on"
        )
    click.echo("Sizes, prices and times of your orders are in it; the venue's record is public.")


def _private(part: Any) -> Iterator[str]:
    """Addresses of machines and of the account."""
    for field in attrs.fields(type(part)):
        value = getattr(part, field.name)
        if attrs.has(type(value)):
            yield from _private(value)
        elif value is not None and getattr(field.metadata.get("knob"), "kind", "") in PRIVATE:
            yield str(value)


PRIVATE = ("address", "url")
