"""`carry markets`."""

import json
import sys
from pathlib import Path

import click

from carry.core.num import use_exact_context
from carry.shell.screen import table

from .where import where


@click.command()
@where
@click.option("--base-url", metavar="U", help="Ask this address [default: the config's venue]")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def markets(
    config: Path | None, state_db: str | None, base_url: str | None, as_json: bool
) -> None:
    """All pairs of spot and perp: ids, funding, depth, cost, expected net, rank, and why not.

    Without a config it asks mainnet, with public reads only.
    """
    from carry.shell import outlook, places
    from carry.shell.connecting import public_venue
    from carry.shell.markets import survey

    use_exact_context()
    found = places.find(config, state_db, config_needed=False)
    with (
        public_venue(found, base_url) as (venue, overview, clock, policy),
        click.progressbar(length=100, label="markets", file=sys.stderr) as bar,
    ):

        def told(done: int, of: int) -> None:
            bar.update(100 * done // max(1, of) - bar.pos)

        rows = survey(venue, overview, clock, policy, progress=told)
    if as_json:
        click.echo(json.dumps([{"rank": n, **outlook.as_json(r)} for n, r in enumerate(rows, 1)]))
        return
    head = ("rank", *outlook.HEAD)
    click.echo(table(head, [(n, *outlook.cells(row)) for n, row in enumerate(rows, 1)]))
