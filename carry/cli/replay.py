"""`carry replay`."""

from pathlib import Path

import click

from carry.core.num import use_exact_context
from carry.shell import places

from .where import where


@click.command()
@where
@click.option("--from", "first", type=click.IntRange(min=1), help="First tick to compare.")
@click.option("--to", "last", type=click.IntRange(min=1), help="Last tick to compare.")
def replay(config: Path | None, state_db: str | None, first: int | None, last: int | None) -> int:
    """Decide journaled ticks again and compare actions and states; exit 1 at a difference."""
    from carry.research.replay import replay as again

    use_exact_context()
    found = places.find(config, state_db, config_needed=False)
    result = again(found.journal, first, last)
    click.echo(result.text)
    return 0 if result.same else 1
